//! A shard as its lane holds it.

use amends_core::Time;
use amends_core::shard::{Input, Shard};

use super::narrow::Suspect;

/// A shard as its lane holds it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) shard: Shard,
    /// What waits until the shard's active sagas are back; none once they are. An input that came in between could make a
    /// page of histories stale that is on its way.
    pub(super) waiting: Option<Vec<Input>>,
    /// Its wake time as it stands in the lane's timers.
    pub(super) wake: Option<Time>,
    /// Keys of its starts are being looked up again: nothing is decided until then.
    pub(super) looking_up: bool,
    /// The store refuses something that it wants to write.
    pub(super) suspect: Option<Suspect>,
    /// Sagas in memory, as it was last counted.
    pub(super) active: usize,
    /// Sagas that came back after the takeover.
    pub(super) recovered: usize,
}

impl Slot {
    pub(super) fn new(shard: Shard) -> Self {
        Self {
            shard,
            waiting: Some(Vec::new()),
            wake: None,
            looking_up: false,
            suspect: None,
            active: 0,
            recovered: 0,
        }
    }

    pub(super) fn take(&mut self, input: Input, now: Time) {
        match &mut self.waiting {
            Some(waiting) if !self.shard.is_deposed() => waiting.push(input),
            _ => self.shard.handle(input, now),
        }
    }

    /// Every active saga is back: what waited is taken.
    pub(super) fn open(&mut self, now: Time) {
        for input in self.waiting.take().unwrap_or_default() {
            self.shard.handle(input, now);
        }
    }

    pub(super) fn is_ready(&self, now: Time) -> bool {
        !self.looking_up && self.shard.is_ready(now)
    }

    /// Nothing waits in it.
    pub(super) fn is_idle(&self, now: Time) -> bool {
        !self.looking_up
            && !self.shard.is_ready(now)
            && self.waiting.as_ref().is_none_or(Vec::is_empty)
    }
}
