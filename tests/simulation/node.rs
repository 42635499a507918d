//! A node: its process, its clock, its lease, its lanes. Deliberately not here: what a lane does (`lane`), and what is done to
//! a node (`world`).

use std::collections::BTreeMap;
use std::time::Duration;

use amends_core::id::AttemptName;
use amends_core::shard::Surroundings;
use amends_core::{OperationKey, ShardId, Time};
use amends_definitions::ActionName;

use crate::book::Book;
use crate::generator::PARTICIPANTS;
use crate::lane::Lane;
use crate::plan::Plan;
use crate::ways::Ways;
use crate::world::Event;

/// Whether a node's process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    Up,
    /// Stopped by a signal: what arrives waits.
    Paused,
    Down,
}

/// Who waits for the answer to an input.
#[derive(Clone, Debug)]
pub enum Waiter {
    Client(u32),
    Participant {
        participant: usize,
        life: u32,
        key: std::sync::Arc<OperationKey>,
        name: AttemptName,
        /// Of its command.
        epoch: u64,
        said: &'static str,
        honest: bool,
    },
}

/// A node.
#[derive(Debug)]
pub struct Node {
    pub process: Process,
    /// Which process; what is meant for an earlier one is lost.
    pub life: u32,
    pub lanes: Vec<Lane>,
    pub book: Book,
    pub clock: Clock,
    /// When its lease was last renewed, on the world's clock.
    pub renewed_at: Time,
    /// It noticed that its lease is late.
    pub late: bool,
    /// It was stopped since.
    pub stopped: bool,
    /// Shards that it is taking over, and how late it may have been by their former owners' clocks.
    pub opening: BTreeMap<ShardId, Time>,
    pub waiters: BTreeMap<u64, Waiter>,
    pub tokens: u64,
    /// What arrived while it was paused.
    pub mailbox: Vec<Event>,
    /// It is paused for so long as soon as a batch has left.
    pub pauses_at_write: Option<Duration>,
    /// When it is looked at next because of its timers.
    pub tick_at: Option<Time>,
    /// It has owned shards before.
    pub seasoned: bool,
}

impl Node {
    pub fn new(plan: &Plan, now: Time) -> Self {
        let lane = || Lane::new(Ways::new(plan.ways, plan.beside_min, now));
        Self {
            process: Process::Down,
            life: 0,
            lanes: (0..plan.lanes).map(|_| lane()).collect(),
            book: Book::default(),
            clock: Clock::new(now, now),
            renewed_at: now,
            late: false,
            stopped: false,
            opening: BTreeMap::new(),
            waiters: BTreeMap::new(),
            tokens: 0,
            mailbox: Vec::new(),
            pauses_at_write: None,
            tick_at: None,
            seasoned: false,
        }
    }

    pub fn lane_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0) % self.lanes.len()
    }

    /// The shards that it serves.
    pub fn shards(&self) -> Vec<ShardId> {
        let lanes = self.lanes.iter();
        lanes.flat_map(|lane| lane.slots.keys().copied()).collect()
    }

    /// It lost a saga's shard and has not noticed: what it has in memory of the saga is older than this epoch.
    pub fn knows_older(&self, key: &OperationKey, epoch: u64) -> bool {
        let shard = key.saga.shard();
        let slot = self.lanes[self.lane_of(shard)].slots.get(&shard);
        slot.is_some_and(|slot| slot.shard.epoch() < epoch && slot.shard.saga(key.saga).is_some())
    }

    /// Remembers who waits, under a new token.
    pub fn wait(&mut self, waiter: Waiter) -> amends_core::shard::Token {
        self.tokens += 1;
        self.waiters.insert(self.tokens, waiter);
        amends_core::shard::Token(self.tokens)
    }

    /// The lease is over, or will be before a command could be thought to have left in time.
    pub fn lease_is_late(&self, lease: Duration, now: Time) -> bool {
        now > self.renewed_at + lease.mul_f64(0.8)
    }
}

/// What a node knows of barriers: what those say who are attached.
pub struct Known<'a>(pub &'a Book);

impl Surroundings for Known<'_> {
    fn stands_behind_barrier(&self, _namespace: &str, action: &ActionName) -> bool {
        participant_of(action).is_some_and(|id| PARTICIPANTS[id].1 && self.0.is_attached(id))
    }
}

/// Who serves an action.
pub fn participant_of(action: &ActionName) -> Option<usize> {
    PARTICIPANTS
        .iter()
        .position(|(name, _)| *name == action.participant())
}

/// A node's idea of the database's time, as `engine/orchestrator/src/clock.rs` has it: a sample at each renewal, plus
/// monotonic time since; never back, and after a jump back at half its pace until the database has caught up.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    sample: Time,
    sampled_at: Time,
    told: Time,
    told_at: Time,
}

impl Clock {
    /// The database said `sample` at `now`, which is the world's time.
    pub fn new(sample: Time, now: Time) -> Self {
        Self {
            sample,
            sampled_at: now,
            told: sample,
            told_at: now,
        }
    }

    pub fn now(&mut self, world: Time) -> Time {
        let wanted = self.sample + world.since(self.sampled_at);
        let slowest = self.told + world.since(self.told_at) / 2;
        let now = wanted.max(slowest);
        if now > self.told {
            self.told = now;
            self.told_at = world;
        }
        now
    }

    pub fn sample(&mut self, sample: Time, world: Time) {
        self.now(world);
        self.sample = sample;
        self.sampled_at = world;
    }
}
