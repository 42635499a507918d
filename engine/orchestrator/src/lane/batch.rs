//! What goes into the next batch: bounded over all shards, fair between them. A lane with two committers uses the second
//! while the first is at work, if enough waits for it to be worth a commit of its own.

use amends_core::journal::ShardBatch;
use amends_core::shard::BatchLimits;
use amends_core::{ShardId, Time, limits};
use amends_store::Batch;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::task::LaneTask;
use crate::limits::{BESIDE_INPUTS_MIN, LANE_BYTES_MAX, LANE_ROWS_MAX};

/// The way to a committer, and the shards of the batch that is under way there.
#[derive(Debug)]
pub(crate) struct Way {
    batches: mpsc::UnboundedSender<Batch>,
    shards: Option<Vec<ShardId>>,
}

impl Way {
    pub(crate) fn new(batches: mpsc::UnboundedSender<Batch>) -> Self {
        Self {
            batches,
            shards: None,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.shards.is_some()
    }

    /// The shard is in the batch.
    pub(super) fn carries(&self, id: ShardId) -> bool {
        self.shards.as_ref().is_some_and(|ids| ids.contains(&id))
    }

    fn send(&mut self, batch: Batch) {
        self.shards = Some(batch.shards.iter().map(|batch| batch.shard).collect());
        // A committer that is gone has stopped with the node.
        let _ = self.batches.send(batch);
    }

    /// Its batch is there, and it is free: these shards were in it.
    pub(super) fn arrived(&mut self) -> Vec<ShardId> {
        self.shards.take().unwrap_or_default()
    }
}

impl LaneTask {
    /// Makes batches of what is ready, for committers that are free.
    pub(super) fn decide(&mut self, now: Time) {
        while let Some(way) = self.free_way() {
            let batches = match self.ready_suspect(now) {
                Some(suspect) => self.decide_suspect(suspect, now).into_iter().collect(),
                None => self.decide_ready(now),
            };
            // What has nothing to write is not ready any more.
            if !batches.is_empty() {
                self.ways[way].send(Batch {
                    id: Uuid::new_v4(),
                    shards: batches,
                });
            }
        }
    }

    /// A committer that has something to do, and is free to do it. Beside one that is at work only if enough is ready: a
    /// batch costs much the same whatever is in it. While a shard is under suspicion its batches are alone.
    pub(super) fn free_way(&self) -> Option<usize> {
        if self.ready.is_empty() {
            return None;
        }
        let free = self.ways.iter().position(|way| !way.is_busy())?;
        let alone = !self.ways.iter().any(Way::is_busy);
        let beside = || self.suspects.is_empty() && self.are_queued(BESIDE_INPUTS_MIN);
        (alone || beside()).then_some(free)
    }

    /// At least so many inputs are ready.
    fn are_queued(&self, inputs: usize) -> bool {
        let slots = self.ready.iter().filter_map(|id| self.slots.get(id));
        let mut so_far = slots.scan(0, |sum, slot| {
            *sum += slot.shard.queued();
            Some(*sum)
        });
        so_far.any(|sum| sum >= inputs)
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
