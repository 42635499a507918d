//! Replay equality (I14): after every commit the fold of what was decoded from the journal is the state that the shard works
//! with. Deliberately not here: what a state must look like (`amends_core::invariants`, and the checker).

use std::collections::BTreeSet;

use amends_core::SagaId;
use amends_core::journal::ShardBatch;
use amends_core::saga::Saga;
use amends_core::shard::Shard;

use crate::history::Event;
use crate::lane::Around;

/// Compares the sagas of a batch that has just become durable; a later owner may have gone on meanwhile.
pub fn compare(shard: &Shard, batch: &ShardBatch, around: &mut Around<'_>) {
    let sagas: BTreeSet<SagaId> = batch.rows.iter().map(|row| row.saga).collect();
    for saga in sagas {
        let last = batch.rows.iter().rfind(|row| row.saga == saga);
        let last = last.map_or(0, |row| row.position);
        if around.store.last_row(saga) > last {
            continue;
        }
        if let Some(live) = shard.saga(saga) {
            let same = around
                .store
                .folded(saga)
                .is_some_and(|folded| same(folded, live));
            around
                .history
                .record(around.world, Event::Compared { saga, same });
        }
    }
}

/// Two states are the same, their definitions aside.
pub fn same(a: &Saga, b: &Saga) -> bool {
    a.steps() == b.steps()
        && a.incidents() == b.incidents()
        && a.abort() == b.abort()
        && a.cancel_pending() == b.cancel_pending()
        && a.output() == b.output()
        && a.signals() == b.signals()
        && (a.turn_granted(), a.deadline_passed()) == (b.turn_granted(), b.deadline_passed())
        && (a.state(), a.facts(), a.updated_at(), a.ended_at())
            == (b.state(), b.facts(), b.updated_at(), b.ended_at())
}
