//! What goes into the next batch: bounded over all shards, fair between them.

use amends_core::journal::ShardBatch;
use amends_core::shard::BatchLimits;
use amends_core::{ShardId, Time, limits};
use amends_store::Batch;
use uuid::Uuid;

use super::task::LaneTask;
use crate::limits::{LANE_BYTES_MAX, LANE_ROWS_MAX};

impl LaneTask {
    /// Makes a batch of what is ready, unless one is in flight.
    pub(super) fn decide(&mut self, now: Time) {
        if self.in_flight.is_some() || self.ready.is_empty() {
            return;
        }
        let batches = match self.ready_suspect(now) {
            Some(suspect) => self.decide_suspect(suspect, now).into_iter().collect(),
            None => self.decide_ready(now),
        };
        if batches.is_empty() {
            return;
        }
        self.in_flight = Some(batches.iter().map(|batch| batch.shard).collect());
        // A committer that is gone has stopped with the node.
        let _ = self.committer.send(Batch {
            id: Uuid::new_v4(),
            shards: batches,
        });
    }

    fn decide_ready(&mut self, now: Time) -> Vec<ShardBatch> {
        let turn: Vec<ShardId> = self
            .ready
            .range(self.rotor..)
            .chain(self.ready.range(..self.rotor))
            .copied()
            .collect();
        let (mut rows, mut bytes) = (LANE_ROWS_MAX, LANE_BYTES_MAX);
        let mut batches = Vec::new();
        let mut one_is_in = false;
        for id in turn {
            if rows == 0 || bytes == 0 {
                self.rotor = id;
                break;
            }
            if self.one_by_one.contains(&id) && one_is_in {
                continue;
            }
            self.ready.remove(&id);
            let limits = BatchLimits {
                inputs: usize::MAX,
                rows: rows.min(limits::BATCH_ROWS_MAX),
                bytes: bytes.min(limits::BATCH_BYTES_MAX),
            };
            if let Some(batch) = self.prepare(id, now, limits) {
                rows = rows.saturating_sub(batch.rows.len());
                bytes = bytes.saturating_sub(batch.payload_bytes());
                one_is_in |= self.one_by_one.remove(&id);
                batches.push(batch);
            }
        }
        batches
    }

    fn decide_suspect(&mut self, id: ShardId, now: Time) -> Option<ShardBatch> {
        let inputs = self.slots.get(&id)?.suspect?.inputs;
        self.ready.remove(&id);
        let batch = self.prepare(
            id,
            now,
            BatchLimits {
                inputs,
                ..BatchLimits::default()
            },
        );
        if batch.is_none() {
            self.clear(id);
        }
        batch
    }

    fn prepare(&mut self, id: ShardId, now: Time, limits: BatchLimits) -> Option<ShardBatch> {
        self.touched.insert(id);
        self.slots
            .get_mut(&id)?
            .shard
            .prepare(now, limits, &*self.node.registry)
    }
}
