//! The shard machine.

use crate::id::{Incarnation, SagaId, ShardId};
use crate::journal::ShardBatch;
use crate::shard::io::{History, Input, Output, Surroundings};
use crate::time::Time;

/// One shard: its sagas, its timers, its commands in flight, and what is decided but not yet committed.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
}

/// How much one batch may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Inputs that are decided for it.
    pub inputs: usize,
    /// Rows.
    pub rows: usize,
    /// Bytes of payloads, give or take one row.
    pub bytes: usize,
}

impl Shard {
    /// A shard that this node has just taken over: `epoch` is the position of its takeover record, the last of the journal.
    #[must_use]
    pub fn new(id: ShardId, incarnation: Incarnation, epoch: u64) -> Self {
        let _ = (incarnation, epoch);
        Self { id }
    }

    /// Which shard.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Brings an active saga back into memory, after the takeover and before the first input. Its commands become
    /// outputs; attempts that were scheduled before are assumed sent.
    pub fn recover(&mut self, history: History, now: Time) {
        let _ = (history, now);
    }

    /// Takes an input: it is queued, and decided by the next [`Shard::prepare`].
    pub fn handle(&mut self, input: Input, now: Time) {
        let _ = (input, now);
    }

    /// When [`Shard::prepare`] has something to do by itself: the earliest timer.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        None
    }

    /// Something is queued or a timer is due, and no batch is in flight.
    #[must_use]
    pub fn is_ready(&self, now: Time) -> bool {
        let _ = now;
        false
    }

    /// Fires due timers and decides what is queued, within the limits. None if there is nothing to write: then the outputs
    /// are there at once. Else the batch is in flight until [`Shard::committed`] or [`Shard::rolled_back`].
    pub fn prepare(&mut self, now: Time, limits: BatchLimits, surroundings: &dyn Surroundings) -> Option<ShardBatch> {
        let _ = (now, limits, surroundings);
        None
    }

    /// The batch in flight is durable: its outputs are there.
    pub fn committed(&mut self, now: Time) {
        let _ = now;
    }

    /// The batch in flight was definitely not written: back to the last committed state, its inputs queued again, in
    /// their order. If a takeover record was written in its place, `retaken` is that record's position: the new epoch.
    /// Keyed starts among the inputs lose what was looked up for them and are asked for by [`Shard::starts_to_look_up`].
    pub fn rolled_back(&mut self, retaken: Option<u64>) {
        let _ = retaken;
    }

    /// The keyed starts at hand whose key has to be looked up in the store (again) before they are decided, with a way to
    /// answer.
    pub fn starts_to_look_up(&mut self) -> Vec<&mut crate::shard::io::Start> {
        Vec::new()
    }

    /// The store definitely refuses the data of the one input at the head of the queue (after [`Shard::rolled_back`], alone
    /// in its batch): the input is refused, and its saga parks as `RECORD_REFUSED`.
    pub fn refuse_first(&mut self, message: &str, now: Time) {
        let _ = (message, now);
    }

    /// Another node owns the shard: everything that waits is answered as unavailable, and nothing is decided any more.
    pub fn depose(&mut self) {}

    /// What may leave.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        Vec::new()
    }

    /// Sagas in memory.
    #[must_use]
    pub fn active(&self) -> usize {
        0
    }

    /// Inputs that wait for a decision.
    #[must_use]
    pub fn queued(&self) -> usize {
        0
    }

    /// The saga, as of the last commit, if it is in memory.
    #[must_use]
    pub fn saga(&self, id: SagaId) -> Option<&crate::saga::Saga> {
        let _ = id;
        None
    }
}
