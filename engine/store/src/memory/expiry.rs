//! Retention in memory: the model of what the databases do, see [`Tail`](crate::Tail).

use std::collections::BTreeSet;

use amends_core::{SagaId, ShardId, Time};
use uuid::Uuid;

use super::state::{Expired, Saga, State, is_settled};

impl State {
    /// Deletes the expired sagas that it finds first, and says how many.
    pub(super) fn expire(&mut self, shard: ShardId, now: Time, limit: usize) -> u64 {
        let mut due: Vec<(Time, SagaId)> = (self.of_shard(shard))
            .filter(|saga| saga.state.is_terminal())
            .filter_map(|saga| Some((saga.expires_at.filter(|at| *at <= now)?, saga)))
            .filter(|(_, saga)| is_settled(saga, &self.sagas, Some(now)))
            .map(|(at, saga)| (at, saga.id))
            .collect();
        due.sort_unstable();
        let gone: BTreeSet<SagaId> = due.into_iter().take(limit).map(|(_, id)| id).collect();
        self.take_rows_of(shard, &gone);
        for id in &gone {
            self.sagas.remove(id);
        }
        self.keys.retain(|_, key| !gone.contains(&key.saga));
        self.incidents.retain(|name, _| !gone.contains(&name.saga));
        gone.len() as u64
    }

    fn take_rows_of(&mut self, shard: ShardId, gone: &BTreeSet<SagaId>) {
        let ends = self.last_batches(shard);
        let Some((epoch, _)) = ends.first().copied() else {
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

    pub(super) fn of_shard(&self, shard: ShardId) -> impl Iterator<Item = &crate::SagaRecord> {
        (self.sagas.values().map(|Saga { record, .. }| record))
            .filter(move |record| record.id.shard() == shard)
    }
}
