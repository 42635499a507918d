//! What goes into the next batch: bounded over all shards, fair between them. A lane with two committers uses the second
//! while the first is at work, if enough waits for it to be worth a commit of its own.

use amends_core::journal::ShardBatch;
use amends_core::shard::BatchLimits;
use amends_core::{ShardId, Time, limits};
use amends_store::Batch;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::task::LaneTask;
use crate::limits::{BESIDE_AFTER, BESIDE_INPUTS_MIN, LANE_BYTES_MAX, LANE_ROWS_MAX};

/// The way to a committer.
#[derive(Debug)]
pub(crate) struct Way {
    batches: mpsc::UnboundedSender<Batch>,
    /// The shards of the batch that is under way there.
    shards: Option<Vec<ShardId>>,
    /// When its last batch went.
    since: Instant,
}

impl Way {
    pub(crate) fn new(batches: mpsc::UnboundedSender<Batch>) -> Self {
        Self {
            batches,
            shards: None,
            since: Instant::now(),
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.shards.is_some()
    }

    /// Its batch takes so long that nobody should wait for it.
    fn is_late(&self) -> bool {
        self.since.elapsed() >= BESIDE_AFTER
    }

    /// The shard is in the batch.
    pub(super) fn carries(&self, id: ShardId) -> bool {
        self.shards.as_ref().is_some_and(|ids| ids.contains(&id))
    }

    fn send(&mut self, batch: Batch) {
        self.since = Instant::now();
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
    /// batch costs much the same whatever is in it. While a shard is under suspicion its batches are alone. A batch that takes too long
    /// keeps nothing else waiting.
    pub(super) fn free_way(&self) -> Option<usize> {
        if self.ready.is_empty() {
            return None;
        }
        let ways = self.ways.iter().enumerate();
        // Turn by turn: a connection that is never used may be lost without anybody's notice.
        let (free, _) = ways
            .filter(|(_, way)| !way.is_busy())
            .min_by_key(|(_, way)| way.since)?;
        let alone = !self.ways.iter().any(|way| way.is_busy() && !way.is_late());
        let beside = || self.is_unsuspected() && self.are_queued(BESIDE_INPUTS_MIN);
        (alone || beside()).then_some(free)
    }

    /// When a batch that is under way becomes so late that what waits for it may go another way.
    pub(super) fn late_at(&self) -> Option<Instant> {
        let free = self.ways.iter().any(|way| !way.is_busy());
        let wait = free && !self.ready.is_empty();
        let under_way = self.ways.iter().filter(|way| way.is_busy() && wait);
        under_way.map(|way| way.since + BESIDE_AFTER).min()
    }

    /// No shard that is ready is looked at closely, or has to be tried without the others.
    fn is_unsuspected(&self) -> bool {
        let mut close = self.suspects.iter().chain(&self.one_by_one);
        !close.any(|id| self.ready.contains(id))
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
