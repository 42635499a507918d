//! A lane of the memory store: every write is checked first, and done at once under the lock.

use amends_core::ShardId;
use amends_core::journal::ShardBatch;
use async_trait::async_trait;

use super::MemoryStore;
use super::state::Row;
use crate::{AppendError, Author, Batch, Error, Lane, Takeover, record};

pub(super) struct MemoryLane {
    pub(super) store: MemoryStore,
}

#[async_trait]
impl Lane for MemoryLane {
    async fn append(&mut self, batch: &Batch) -> Result<(), AppendError> {
        let mut state = self.store.state();
        state.faulty(|state| {
            let places = |b: &ShardBatch| -> Vec<_> {
                b.rows.iter().map(|row| (b.shard, row.position)).collect()
            };
            state.positions_are_free(&batch.shards.iter().flat_map(places).collect::<Vec<_>>())?;
            state.rows_are_new(batch)?;
            for of_shard in &batch.shards {
                state.write(batch.id, of_shard);
            }
            Ok(())
        })
    }

    async fn tails(&mut self, shards: &[ShardId]) -> Result<Vec<u64>, Error> {
        let state = self.store.state();
        shards
            .iter()
            .map(|shard| state.tail(*shard).checked())
            .collect()
    }

    async fn take_over(&mut self, records: &[Takeover]) -> Result<(), AppendError> {
        let mut state = self.store.state();
        state.faulty(|state| {
            let places: Vec<_> = records
                .iter()
                .map(|record| (record.shard, record.position))
                .collect();
            state.positions_are_free(&places)?;
            for record in records {
                let row = Row {
                    author: Author {
                        epoch: record.position,
                        batch: record.batch,
                    },
                    saga: None,
                    at: record.at,
                    body: record::encode_takeover(&record.node),
                };
                state.journal.insert((record.shard, record.position), row);
            }
            Ok(())
        })
    }

    async fn author(&mut self, shard: ShardId, position: u64) -> Result<Option<Author>, Error> {
        Ok(self
            .store
            .state()
            .journal
            .get(&(shard, position))
            .map(|row| row.author))
    }
}
