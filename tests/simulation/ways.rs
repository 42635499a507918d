//! Which of a lane's committers takes the next batch, and what goes into it. Follows
//! `engine/orchestrator/src/lane/batch.rs`: a second batch leaves beside one that is being written if enough waits for it, or if
//! that one takes too long; which of the two is durable first is chance. Deliberately not here: what becomes of a batch.

use std::time::Duration;

use amends_core::journal::ShardBatch;
use amends_core::shard::BatchLimits;
use amends_core::{ShardId, Time};

use crate::committer::Committer;
use crate::history::Event;
use crate::lane::{Around, Lane};
use crate::marks::Mark;
use crate::plant::Plant;
use crate::store::Batch;

/// How long what is ready waits for a batch that is being written, if another committer is free.
const BESIDE_AFTER: Duration = Duration::from_millis(200);

/// A committer, and when its last batch went, on the world's clock.
#[derive(Debug)]
pub struct Way {
    pub committer: Committer,
    since: Time,
}

/// A lane's committers.
#[derive(Debug)]
pub struct Ways {
    pub all: Vec<Way>,
    /// Inputs that have to be ready for a batch beside one that is being written.
    beside_min: usize,
}

impl Way {
    pub fn is_busy(&self) -> bool {
        !self.committer.is_idle()
    }

    fn is_late(&self, world: Time) -> bool {
        world >= self.since + BESIDE_AFTER
    }
}

impl Ways {
    pub fn new(count: usize, beside_min: usize, now: Time) -> Self {
        let way = || Way {
            committer: Committer::default(),
            since: now,
        };
        Self {
            all: std::iter::repeat_with(way).take(count).collect(),
            beside_min,
        }
    }

    /// A batch with rows of this shard is under way.
    pub fn carry(&self, shard: ShardId) -> bool {
        let mut shards = self.under_way().flat_map(|batch| &batch.shards);
        shards.any(|of| of.shard == shard)
    }

    /// The batches that are under way.
    pub fn under_way(&self) -> impl Iterator<Item = &Batch> {
        self.all.iter().filter_map(|way| way.committer.under_way())
    }
}

impl Lane {
    /// Makes batches of what is ready, for committers that are free.
    pub fn decide(&mut self, around: &mut Around<'_>) {
        while let Some(way) = self.free_way(around) {
            let suspect = self.ready_suspect(around.now);
            let batches = match suspect {
                Some(suspect) => self.decide_suspect(suspect, around),
                None => self.decide_ready(around),
            };
            if batches.is_empty() {
                return;
            }
            let id = around.fresh();
            let event = Event::Decided {
                batch: id,
                node_time: around.now,
            };
            around.history.record(around.world, event);
            let beside = self.ways.all.iter().any(Way::is_busy);
            around.marks.hit_if(beside, Mark::WrittenBeside);
            around.way = way;
            let way = &mut self.ways.all[way];
            way.since = around.world;
            let batch = Batch {
                id,
                shards: batches,
            };
            way.committer.write(batch, around);
        }
    }

    /// When a batch that is under way becomes so late that what waits for it may go another way, on the world's clock.
    pub fn late_at(&self, now: Time, world: Time) -> Option<Time> {
        let free = self.ways.all.iter().any(|way| !way.is_busy());
        let waits = self.slots.values().any(|slot| slot.can_decide(now));
        let under_way = self.ways.all.iter();
        let under_way = under_way.filter(|way| free && waits && way.is_busy());
        let late = under_way.map(|way| way.since + BESIDE_AFTER);
        late.filter(|at| *at > world).min()
    }

    /// A committer that has something to do, and is free to do it. While a shard is under suspicion its batches are alone.
    fn free_way(&self, around: &Around<'_>) -> Option<usize> {
        let ready: Vec<ShardId> = self.ready(around);
        if ready.is_empty() {
            return None;
        }
        let ways = self.ways.all.iter().enumerate();
        let (free, _) = ways
            .filter(|(_, way)| !way.is_busy())
            .min_by_key(|(_, way)| way.since)?;
        let alone = !(self.ways.all.iter()).any(|way| way.is_busy() && !way.is_late(around.world));
        let close = |id: &ShardId| self.suspects.contains(id) || self.one_by_one.contains(id);
        let queued = ready.iter().map(|id| self.slots[id].shard.queued());
        let beside = !ready.iter().any(close) && queued.sum::<usize>() >= self.ways.beside_min;
        (alone || beside).then_some(free)
    }

    /// Shards with something to decide, in their turn.
    fn ready(&self, around: &Around<'_>) -> Vec<ShardId> {
        let turn = ShardId(self.rotor);
        let slots = self.slots.range(turn..).chain(self.slots.range(..turn));
        slots
            .filter(|(_, slot)| slot.is_ready(around))
            .map(|(id, _)| *id)
            .collect()
    }

    fn decide_ready(&mut self, around: &mut Around<'_>) -> Vec<ShardBatch> {
        let ready = self.ready(around);
        self.rotor = self.rotor.wrapping_add(1) % 8;
        // Small limits, so that batches are cut in the middle of a queue.
        let limits = BatchLimits {
            inputs: usize::MAX,
            rows: 6,
            bytes: 64 * 1024,
        };
        let mut batches = Vec::new();
        let mut one_is_in = false;
        for id in ready {
            if self.one_by_one.contains(&id) && one_is_in {
                continue;
            }
            if let Some(batch) = self.prepare(id, limits, around) {
                one_is_in |= self.one_by_one.remove(&id);
                batches.push(batch);
            }
        }
        batches
    }

    fn decide_suspect(&mut self, id: ShardId, around: &mut Around<'_>) -> Vec<ShardBatch> {
        let Some(inputs) = self.slots.get(&id).and_then(|slot| slot.suspect) else {
            return Vec::new();
        };
        let limits = BatchLimits {
            inputs: inputs.inputs,
            ..BatchLimits::default()
        };
        let batch = self.prepare(id, limits, around);
        if batch.is_none() {
            self.clear(id);
        }
        batch.into_iter().collect()
    }

    fn prepare(
        &mut self,
        id: ShardId,
        limits: BatchLimits,
        around: &mut Around<'_>,
    ) -> Option<ShardBatch> {
        let two = self.ways.all.len() > 1;
        let slot = self.slots.get_mut(&id)?;
        let now = crate::planted::time(around.now, around.plant);
        let mut batch = slot.shard.prepare(now, limits, around.known)?;
        match around.plant {
            Some(Plant::ReleaseBeforeCommit) => slot.shard.committed(),
            Some(Plant::SplitShard) if two => slot.go_on(),
            Some(plant) => crate::planted::rewrite(&mut batch, plant),
            None => {}
        }
        Some(batch)
    }
}
