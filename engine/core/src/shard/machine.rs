//! The shard machine: its queue, its timers, and the batch in flight. What each input means is in `deciding`; what follows
//! from a batch for the sagas that it touched, in `sleeping` and `rows`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{Incarnation, SagaId, ShardId};
use crate::journal::ShardBatch;
use crate::saga::Saga;
use crate::shard::entry::{Entry, InBatch, KeyName, Moment, Queued, Slot};
use crate::shard::io::{Existing, History, Input, Output, Start, Surroundings};
use crate::shard::loading::Loads;
use crate::shard::sleeping::Sleepers;
use crate::shard::starts::keyed_start;
use crate::shard::turns::{Held, TurnRecovered, Turns};
use crate::time::Time;

/// One shard: its sagas, its timers, its commands in flight, and what is decided but not yet committed.
///
/// ```text
/// handle* → prepare → Some(batch) → the store → committed | rolled_back → take_outputs
///                   → None        →                                       take_outputs
/// ```
#[derive(Debug)]
pub struct Shard {
    pub(super) id: ShardId,
    pub(super) incarnation: Incarnation,
    pub(super) epoch: u64,
    /// The position of the takeover record that opened it: what stands before was decided by other clocks.
    pub(super) opened_at: u64,
    pub(super) next_position: u64,
    pub(super) sagas: BTreeMap<SagaId, Slot>,
    /// Keys of sagas that this owner started and that are still in memory: what a look-up in the store may have missed.
    pub(super) keys: BTreeMap<KeyName, Existing>,
    /// When sagas in memory are looked at again.
    pub(super) timers: BTreeSet<(Time, SagaId)>,
    /// When sagas that sleep have to be back in memory.
    pub(super) sleepers: Sleepers,
    /// Sagas in memory that only wait, and whose rows do not say so yet.
    pub(super) resting: BTreeSet<SagaId>,
    pub(super) turns: Turns,
    pub(super) loads: Loads,
    /// What was due by then may have been sent by an earlier owner.
    pub(super) taken_over_at: Option<Time>,
    /// By the clocks of earlier owners it may have been as late as this.
    pub(super) sent_until: Time,
    pub(super) queue: VecDeque<Queued>,
    in_flight: Option<InBatch>,
    pub(super) outputs: Vec<Output>,
    deposed: bool,
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

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            inputs: usize::MAX,
            rows: crate::limits::BATCH_ROWS_MAX,
            bytes: crate::limits::BATCH_BYTES_MAX,
        }
    }
}

impl Shard {
    /// A shard that this node has just taken over: `epoch` is the position of its takeover record, the last of the journal.
    #[must_use]
    pub fn new(id: ShardId, incarnation: Incarnation, epoch: u64) -> Self {
        Self {
            id,
            incarnation,
            epoch,
            opened_at: epoch,
            next_position: epoch + 1,
            sagas: BTreeMap::new(),
            keys: BTreeMap::new(),
            timers: BTreeSet::new(),
            sleepers: Sleepers::default(),
            resting: BTreeSet::new(),
            turns: Turns::default(),
            loads: Loads::default(),
            taken_over_at: None,
            sent_until: Time::EPOCH,
            queue: VecDeque::new(),
            in_flight: None,
            outputs: Vec::new(),
            deposed: false,
        }
    }

    /// Which shard.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The position of its takeover record.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Says how late it may have been by the clocks of earlier owners: what was due by then counts as sent, whatever this
    /// owner's clock says. After the takeover, and before any saga is recovered.
    pub fn count_as_sent(&mut self, until: Time) {
        self.sent_until = self.sent_until.max(until);
    }

    /// Says who needs a turn, of the sagas that have not ended, those that sleep included: after the takeover, and before
    /// any saga is recovered and any input taken.
    pub fn recover_turns(&mut self, turns: Vec<TurnRecovered>) {
        for TurnRecovered {
            saga,
            namespace,
            definition,
            turn,
        } in turns
        {
            let group = self.turns.shared((namespace, definition));
            self.turns.set(saga, Some(Held { group, turn }));
        }
        // The owner before may have ended between an end and the turn that it freed.
        let free = self.turns.free();
        self.queue.extend(free.into_iter().map(Queued::Wake));
    }

    /// Says when sagas that sleep have to be back in memory: after the takeover, and before any input is taken. Those that
    /// only something from outside can wake need not be named. What was scheduled before `now` is assumed sent.
    pub fn recover_sleepers(&mut self, sleepers: Vec<(SagaId, Time)>, now: Time) {
        self.taken_over_at = self.taken_over_at.max(Some(now));
        for (saga, at) in sleepers {
            if at < Time::INFINITY {
                self.sleepers.put(saga, at);
            }
        }
    }

    /// Brings an active saga back into memory, after the takeover and before the first input for it. Its commands become
    /// outputs of the next [`Shard::prepare`]; attempts that were scheduled before `now` are assumed sent.
    pub fn recover(&mut self, history: History, now: Time) {
        self.taken_over_at = self.taken_over_at.max(Some(now));
        if !self.sagas.contains_key(&history.saga) {
            let comparison = self.install(history, now, None);
            self.queue.extend(comparison);
        }
    }

    /// Takes an input: it is queued, and decided by the next [`Shard::prepare`]. What is never recorded holds at once.
    pub fn handle(&mut self, input: Input, now: Time) {
        if self.deposed {
            return self.refuse(&input);
        }
        match input {
            Input::Loaded { saga, loaded } => return self.loaded(saga, loaded, now),
            Input::Sent { attempt } => return self.sent(&attempt, now),
            Input::Heartbeat { attempt } => return self.heartbeat(&attempt, now),
            Input::Start { .. }
            | Input::Outcome { .. }
            | Input::Withdrawn { .. }
            | Input::Signal { .. }
            | Input::Order { .. }
            | Input::Child(_)
            | Input::ChildAnswered(_)
            | Input::Cancel { .. } => {}
        }
        self.queue.push_back(Queued::Input {
            input,
            looked_up: true,
        });
    }

    /// When [`Shard::prepare`] has something to do by itself: the earliest timer, or sleeper that can be loaded.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        self.earliest()
    }

    /// Something is queued or a timer is due, and no batch is in flight.
    #[must_use]
    pub fn is_ready(&self, now: Time) -> bool {
        self.in_flight.is_none()
            && !self.deposed
            && (!self.queue.is_empty() || self.next_wake().is_some_and(|at| at <= now))
    }

    /// Fires due timers and decides what is queued, within the limits. None if there is nothing to write: then the outputs
    /// are there at once. Else the batch is in flight until [`Shard::committed`] or [`Shard::rolled_back`].
    pub fn prepare(
        &mut self,
        now: Time,
        limits: BatchLimits,
        surroundings: &dyn Surroundings,
    ) -> Option<ShardBatch> {
        if self.in_flight.is_some() || self.deposed {
            return None;
        }
        self.taken_over_at.get_or_insert(now);
        self.fire_timers(now);
        let at = Moment { now, surroundings };
        let mut batch = InBatch {
            first_position: self.next_position,
            ..InBatch::default()
        };
        while batch.inputs.len() < limits.inputs
            && batch.rows.len() < limits.rows
            && batch.payload_bytes < limits.bytes
            && let Some(queued) = self.pop_decidable()
        {
            if self.decide(&queued, &mut batch, at) {
                batch.inputs.push(queued);
            }
        }
        self.withdraw_unsent(&mut batch, at);
        self.settle_touched(&mut batch, now);
        if batch.rows.is_empty() {
            self.outputs.append(&mut batch.outputs);
            self.leave_memory(&batch);
            return None;
        }
        self.rest_others(&mut batch, now);
        let written = self.write(&mut batch);
        self.in_flight = Some(batch);
        Some(written)
    }

    /// The batch in flight is durable: its outputs are there.
    pub fn committed(&mut self) {
        if let Some(mut batch) = self.in_flight.take() {
            self.outputs.append(&mut batch.outputs);
            self.leave_memory(&batch);
        }
    }

    /// The batch in flight was definitely not written: back to the last committed state, its inputs queued again, in
    /// their order. If a takeover record was written in its place, `retaken` is that record's position: the new epoch.
    /// Keyed starts have to be looked up again: see [`Shard::starts_to_look_up`].
    pub fn rolled_back(&mut self, retaken: Option<u64>) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        self.next_position = batch.first_position;
        if let Some(position) = retaken {
            self.epoch = position;
            self.next_position = position + 1;
        }
        for name in &batch.key_names {
            self.keys.remove(name);
        }
        for (saga, held) in batch.turns.into_iter().rev() {
            self.turns.set(saga, held);
        }
        for (saga, before) in batch.before {
            self.remove_slot(saga);
            if let Some(slot) = before {
                self.put_slot(saga, slot);
            }
        }
        for mut queued in batch.inputs.into_iter().rev() {
            if let Some((_, looked_up)) = keyed_start(&mut queued) {
                *looked_up = false;
            }
            self.queue.push_front(queued);
        }
    }

    /// The keyed starts whose key has to be looked up in the store again: what to ask for before
    /// [`Shard::starts_to_look_up`].
    #[must_use]
    pub fn unlooked_starts(&mut self) -> Vec<&Start> {
        self.queue
            .iter_mut()
            .filter_map(keyed_start)
            .filter(|(_, looked_up)| !**looked_up)
            .map(|(start, _)| &*start)
            .collect()
    }

    /// The keyed starts whose key has to be looked up in the store again: put what was found into `existing`. They are
    /// decided after this call, so make it only together with the answer.
    pub fn starts_to_look_up(&mut self) -> Vec<&mut Start> {
        let mut starts = Vec::new();
        for (start, looked_up) in self.queue.iter_mut().filter_map(keyed_start) {
            if !*looked_up {
                *looked_up = true;
                starts.push(start);
            }
        }
        starts
    }

    /// The store definitely refuses the data of the one input at the head of the queue (after [`Shard::rolled_back`], alone
    /// in its batch): the input is refused, and its saga parks as `RECORD_REFUSED`.
    pub fn refuse_first(&mut self, message: &str) {
        if let Some(queued) = self.queue.pop_front() {
            self.refuse_data(&queued, message);
        }
    }

    /// Another node owns the shard: everything that waits is answered as unavailable, and nothing is decided any more.
    pub fn depose(&mut self) {
        self.deposed = true;
        let in_flight = self
            .in_flight
            .take()
            .map(|batch| batch.inputs)
            .unwrap_or_default();
        let loading = std::mem::take(&mut self.sagas)
            .into_values()
            .filter_map(|slot| match slot {
                Slot::Loading(loading) => Some(loading.waiting),
                Slot::Present(_) | Slot::Absent | Slot::Unreadable(_) => None,
            });
        let waiting: Vec<Queued> = loading.flatten().collect();
        let queue = std::mem::take(&mut self.queue);
        for queued in in_flight.into_iter().chain(waiting).chain(queue) {
            if let Queued::Input { input, .. } = queued {
                self.refuse(&input);
            }
        }
        self.timers.clear();
        self.sleepers = Sleepers::default();
        self.resting.clear();
        self.turns.clear();
        self.loads.clear();
        self.keys.clear();
    }

    /// Another node owns the shard.
    #[must_use]
    pub fn is_deposed(&self) -> bool {
        self.deposed
    }

    /// What may leave.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Sagas in memory.
    #[must_use]
    pub fn active(&self) -> usize {
        self.sagas.len()
    }

    /// Inputs that wait for a decision.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The saga as it is decided, which may be ahead of what is committed; for tests and simulation, never for answers.
    #[must_use]
    pub fn saga(&self, id: SagaId) -> Option<&Saga> {
        match self.sagas.get(&id) {
            Some(Slot::Present(entry)) => Some(&entry.saga),
            Some(Slot::Loading(_) | Slot::Absent | Slot::Unreadable(_)) | None => None,
        }
    }

    /// A saga as it was before the batch in flight, if that touched it.
    pub(super) fn in_flight_before(&mut self, saga: SagaId) -> Option<&mut Entry> {
        match self.in_flight.as_mut()?.before.get_mut(&saga)? {
            Some(Slot::Present(entry)) => Some(entry),
            Some(Slot::Loading(_) | Slot::Absent | Slot::Unreadable(_)) | None => None,
        }
    }

    /// Remembers how a saga was before this batch, once. What waits for the store's answer is no part of a batch.
    pub(super) fn touch(&mut self, saga: SagaId, batch: &mut InBatch) {
        if let Some(slot @ (Slot::Present(_) | Slot::Absent | Slot::Unreadable(_))) =
            self.sagas.get(&saga)
        {
            batch
                .before
                .entry(saga)
                .or_insert_with(|| Some(slot.clone()));
        }
    }

    /// Remembers that there was no such saga before this batch, or that the store had said so.
    pub(super) fn touch_new(&mut self, saga: SagaId, batch: &mut InBatch) {
        batch
            .before
            .entry(saga)
            .or_insert_with(|| self.sagas.get(&saga).cloned());
    }

    /// Puts a slot, and its timer.
    pub(super) fn put_slot(&mut self, saga: SagaId, slot: Slot) {
        if let Slot::Present(entry) = &slot {
            if let Some(at) = entry.wake_at {
                self.timers.insert((at, saga));
            }
            if entry.rests_until.is_some() {
                self.resting.insert(saga);
            }
        }
        self.sagas.insert(saga, slot);
    }

    /// Takes a slot away, and its timer.
    pub(super) fn remove_slot(&mut self, saga: SagaId) -> Option<Slot> {
        let slot = self.sagas.remove(&saga)?;
        if let Slot::Present(entry) = &slot
            && let Some(at) = entry.wake_at
        {
            self.timers.remove(&(at, saga));
        }
        Some(slot)
    }

    /// The next input, unless it is a start whose key has to be looked up first: then it waits, and so does what is behind.
    fn pop_decidable(&mut self) -> Option<Queued> {
        match self.queue.front() {
            Some(Queued::Input {
                looked_up: false, ..
            })
            | None => None,
            Some(_) => self.queue.pop_front(),
        }
    }
}
