//! Retention in memory: the model of what the databases do, see [`Tail`](crate::Tail).

use std::collections::BTreeSet;

use amends_core::{SagaId, ShardId};
use uuid::Uuid;

use super::state::{Expired, Saga, State, is_settled};
use crate::{ExpiryPage, Looked, SagaRecord, Swept};

impl State {
    /// Deletes what has expired of a page.
    pub(super) fn expire(&mut self, page: &ExpiryPage) -> Swept {
        let within = |saga: &&SagaRecord| {
            let id = saga.id.as_uuid();
            id > page.above() && id < page.below()
        };
        let looked: Vec<Looked> = (self.of_shard(page.shard).filter(within))
            .take(page.limit)
            .map(|saga| Looked {
                saga: saga.id,
                due: saga.expires_at.filter(|_| saga.state.is_terminal()),
            })
            .collect();
        let is_settled = |id: &SagaId| {
            (self.sagas.get(id))
                .is_some_and(|saga| is_settled(&saga.record, &self.sagas, Some(page.now)))
        };
        let expired: Vec<SagaId> = (page.expired(&looked).into_iter())
            .filter(is_settled)
            .collect();
        let gone: BTreeSet<SagaId> = expired.iter().copied().collect();
        self.take_rows_of(page.shard, &gone);
        for id in &gone {
            self.sagas.remove(id);
        }
        self.keys.retain(|_, key| !gone.contains(&key.saga));
        self.incidents.retain(|name, _| !gone.contains(&name.saga));
        page.swept(&looked, &expired)
    }

    fn take_rows_of(&mut self, shard: ShardId, gone: &BTreeSet<SagaId>) {
        let ends = self.last_batches(shard);
        let Some((epoch, _)) = ends.first().copied().filter(|_| !gone.is_empty()) else {
            return;
        };
        let ends: BTreeSet<Uuid> = ends.into_iter().map(|(_, batch)| batch).collect();
        let mut deleted = 0;
        self.journal.retain(|(of, position), row| {
            if *of != shard || !row.saga.is_some_and(|saga| gone.contains(&saga)) {
                return true;
            }
            if ends.contains(&row.author.batch) {
                row.saga = None;
                row.body.clear();
                return true;
            }
            deleted += u64::from(*position >= epoch);
            false
        });
        let expired = self.expired.entry(shard).or_default();
        if expired.epoch != epoch {
            *expired = Expired { epoch, rows: 0 };
        }
        expired.rows += deleted;
    }

    /// The last batch of the journal, and that before each takeover record, the newest first, each with its epoch.
    fn last_batches(&self, shard: ShardId) -> Vec<(u64, Uuid)> {
        let below = |position: u64| {
            let rows = self.journal.range((shard, 0)..(shard, position));
            rows.map(|(_, row)| row.author).next_back()
        };
        let of_journal = below(u64::MAX);
        let authors = std::iter::successors(of_journal, |author| below(author.epoch));
        authors.map(|author| (author.epoch, author.batch)).collect()
    }

    pub(super) fn of_shard(&self, shard: ShardId) -> impl Iterator<Item = &SagaRecord> {
        (self.sagas.values().map(|Saga { record, .. }| record))
            .filter(move |record| record.id.shard() == shard)
    }
}
