//! The shard machine: its queue, its timers, and the batch in flight. What each input means is in `deciding`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{Incarnation, SagaId, ShardId};
use crate::journal::{SagaInsert, SagaState, SagaUpdate, ShardBatch};
use crate::saga::Saga;
use crate::shard::entry::{InBatch, KeyName, Queued, Slot};
use crate::shard::flight::Frame;
use crate::shard::io::{
    Acknowledged, CancelRefusal, Existing, History, Input, OrderRefusal, Output, SignalRefusal,
    Start, StartRefusal, Surroundings,
};
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
    pub(super) next_position: u64,
    pub(super) sagas: BTreeMap<SagaId, Slot>,
    /// Keys of sagas that this owner started and that are still in memory: what a look-up in the store may have missed.
    pub(super) keys: BTreeMap<KeyName, Existing>,
    timers: BTreeSet<(Time, SagaId)>,
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
            next_position: epoch + 1,
            sagas: BTreeMap::new(),
            keys: BTreeMap::new(),
            timers: BTreeSet::new(),
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

    /// Brings an active saga back into memory, after the takeover and before the first input for it. Its commands become
    /// outputs of the next [`Shard::prepare`]; attempts that were scheduled before `now` are assumed sent.
    pub fn recover(&mut self, history: History, now: Time) {
        if !self.sagas.contains_key(&history.saga) {
            let comparison = self.install(history, now);
            self.queue.extend(comparison);
        }
    }

    /// Takes an input: it is queued, and decided by the next [`Shard::prepare`].
    pub fn handle(&mut self, input: Input, now: Time) {
        if self.deposed {
            return self.refuse(&input);
        }
        if let Input::Loaded { saga, loaded } = input {
            return self.loaded(saga, loaded, now);
        }
        self.queue.push_back(Queued::Input {
            input,
            looked_up: true,
        });
    }

    /// When [`Shard::prepare`] has something to do by itself: the earliest timer.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
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
        self.fire_timers(now);
        let mut batch = InBatch::default();
        while batch.inputs.len() < limits.inputs
            && batch.rows.len() < limits.rows
            && batch.payload_bytes < limits.bytes
            && let Some(queued) = self.pop_decidable()
        {
            if self.decide(&queued, &mut batch, now, surroundings) {
                batch.inputs.push(queued);
            }
        }
        self.withdraw_unsent(&mut batch, now, surroundings);
        self.settle_touched(&mut batch, now);
        if batch.rows.is_empty() {
            self.outputs.append(&mut batch.outputs);
            self.evict_ended(&batch);
            return None;
        }
        let (inserts, updates) = self.saga_rows(&batch);
        batch.first_position = batch
            .rows
            .first()
            .map_or(self.next_position, |row| row.position);
        let shard_batch = ShardBatch {
            shard: self.id,
            epoch: self.epoch,
            rows: std::mem::take(&mut batch.rows),
            inserts,
            updates,
            keys: std::mem::take(&mut batch.keys),
            incidents_opened: Vec::new(),
            incidents_closed: Vec::new(),
        };
        self.in_flight = Some(batch);
        Some(shard_batch)
    }

    /// The batch in flight is durable: its outputs are there.
    pub fn committed(&mut self, now: Time) {
        let _ = now;
        if let Some(mut batch) = self.in_flight.take() {
            self.outputs.append(&mut batch.outputs);
            self.evict_ended(&batch);
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
        for (saga, before) in batch.before {
            match before {
                Some(slot) => {
                    self.remove_slot(saga);
                    self.put_slot(saga, slot);
                }
                // What waits for the store's answer is no part of the batch.
                None if matches!(self.sagas.get(&saga), Some(Slot::Loading(_))) => {}
                None => {
                    self.remove_slot(saga);
                }
            }
        }
        for mut queued in batch.inputs.into_iter().rev() {
            if let Queued::Input {
                input: Input::Start { start, .. },
                looked_up,
            } = &mut queued
            {
                *looked_up = start.key.is_none();
            }
            self.queue.push_front(queued);
        }
    }

    /// The keyed starts whose key has to be looked up in the store again: put what was found into `existing`. They are
    /// decided after this call, so make it only together with the answer.
    pub fn starts_to_look_up(&mut self) -> Vec<&mut Start> {
        let mut starts = Vec::new();
        for queued in &mut self.queue {
            if let Queued::Input {
                input: Input::Start { start, .. },
                looked_up,
            } = queued
                && !*looked_up
            {
                *looked_up = true;
                starts.push(&mut **start);
            }
        }
        starts
    }

    /// The store definitely refuses the data of the one input at the head of the queue (after [`Shard::rolled_back`], alone
    /// in its batch): the input is refused, and its saga parks as `RECORD_REFUSED`.
    pub fn refuse_first(&mut self, message: &str, now: Time) {
        let _ = now;
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
                Slot::Loading(waiting) => Some(waiting),
                Slot::Present(_) | Slot::Unreadable(_) => None,
            });
        let waiting: Vec<Queued> = loading.flatten().collect();
        let queue = std::mem::take(&mut self.queue);
        for queued in in_flight.into_iter().chain(waiting).chain(queue) {
            if let Queued::Input { input, .. } = queued {
                self.refuse(&input);
            }
        }
        self.timers.clear();
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
            Some(Slot::Loading(_) | Slot::Unreadable(_)) | None => None,
        }
    }

    /// Remembers how a saga was before this batch, once.
    pub(super) fn touch(&mut self, saga: SagaId, batch: &mut InBatch) {
        batch
            .before
            .entry(saga)
            .or_insert_with(|| self.sagas.get(&saga).cloned());
    }

    /// Puts a slot, and its timer.
    pub(super) fn put_slot(&mut self, saga: SagaId, slot: Slot) {
        if let Slot::Present(entry) = &slot
            && let Some(at) = entry.wake_at
        {
            self.timers.insert((at, saga));
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

    fn fire_timers(&mut self, now: Time) {
        while let Some((at, saga)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(Slot::Present(entry)) = self.sagas.get_mut(&saga) {
                entry.wake_at = None;
                self.queue.push_back(Queued::Wake(saga));
            }
        }
    }

    /// Compares each touched saga with its flights: what it asks for now leaves with the batch.
    fn settle_touched(&mut self, batch: &mut InBatch, now: Time) {
        let touched: Vec<SagaId> = batch.before.keys().copied().collect();
        let changed: BTreeSet<SagaId> = batch.rows.iter().map(|row| row.saga).collect();
        for id in touched {
            let Some(Slot::Present(entry)) = self.sagas.get_mut(&id) else {
                continue;
            };
            let due = crate::saga::due(&entry.saga, now);
            let frame = Frame {
                incarnation: self.incarnation,
                epoch: self.epoch,
                loaded_at: entry.loaded_at,
                now,
            };
            entry
                .flights
                .reconcile(&entry.saga, &due, &frame, &mut batch.outputs);
            let wake_at = [due.wake_at, entry.flights.wake_at()]
                .into_iter()
                .flatten()
                .min();
            if entry.wake_at != wake_at {
                if let Some(at) = entry.wake_at {
                    self.timers.remove(&(at, id));
                }
                if let Some(at) = wake_at {
                    self.timers.insert((at, id));
                }
                entry.wake_at = wake_at;
            }
            if changed.contains(&id) {
                batch.outputs.push(Output::Changed {
                    saga: id,
                    state: entry.saga.state(),
                });
            }
        }
    }

    fn saga_rows(&self, batch: &InBatch) -> (Vec<SagaInsert>, Vec<SagaUpdate>) {
        let (mut inserts, mut updates) = (Vec::new(), Vec::new());
        for (id, before) in &batch.before {
            match (before, self.sagas.get(id)) {
                (None, Some(Slot::Present(entry))) => inserts.push(insert_row(&entry.saga)),
                (Some(Slot::Present(old)), Some(Slot::Present(entry)))
                    if old.saga.state() != entry.saga.state() =>
                {
                    updates.push(update_row(&entry.saga));
                }
                (Some(Slot::Unreadable(old)), Some(Slot::Unreadable(new)))
                    if old.state != new.state =>
                {
                    let at = batch
                        .rows
                        .iter()
                        .rfind(|row| row.saga == *id)
                        .map(|row| row.at);
                    updates.push(SagaUpdate {
                        id: *id,
                        state: new.state,
                        turn_granted: true,
                        wake_at: None,
                        updated_at: at.unwrap_or_default(),
                        ended_at: None,
                        expires_at: None,
                    });
                }
                _ => {}
            }
        }
        (inserts, updates)
    }

    /// Sagas that have ended leave memory, with their keys.
    fn evict_ended(&mut self, batch: &InBatch) {
        for id in batch.before.keys() {
            let ended = match self.sagas.get(id) {
                Some(Slot::Present(entry)) => entry.saga.state().is_terminal(),
                Some(Slot::Unreadable(unreadable)) => unreadable.state.is_terminal(),
                Some(Slot::Loading(_)) | None => false,
            };
            if ended && let Some(Slot::Present(entry)) = self.remove_slot(*id) {
                let started = entry.saga.started();
                if let Some(key) = &started.key {
                    let hash = crate::key::hash_128(key.as_bytes());
                    self.keys.remove(&(
                        started.namespace.clone(),
                        started.definition.clone(),
                        hash,
                    ));
                }
            }
        }
    }

    /// Answers an input that is not decided here any more.
    pub(super) fn refuse(&mut self, input: &Input) {
        let output = match input {
            Input::Start { token, .. } => Output::Started {
                token: *token,
                result: Err(StartRefusal::Unavailable),
            },
            Input::Cancel { token, .. } => Output::Cancelled {
                token: *token,
                result: Err(CancelRefusal::Unavailable),
            },
            Input::Outcome {
                token: Some(token), ..
            } => Output::Acknowledge {
                token: *token,
                acknowledged: Acknowledged::Unavailable,
            },
            Input::Signal { token, .. } => Output::Signalled {
                token: *token,
                result: Err(SignalRefusal::Unavailable),
            },
            Input::Order { token, .. } => Output::Acted {
                token: *token,
                result: Err(OrderRefusal::Unavailable),
            },
            Input::Outcome { token: None, .. }
            | Input::Sent { .. }
            | Input::Withdrawn { .. }
            | Input::Heartbeat { .. }
            | Input::Child(_)
            | Input::ChildAnswered(_)
            | Input::Loaded { .. } => return,
        };
        self.outputs.push(output);
    }
}

fn insert_row(saga: &Saga) -> SagaInsert {
    let started = saga.started();
    SagaInsert {
        id: saga.id(),
        namespace: started.namespace.clone(),
        definition: started.definition.clone(),
        revision: started.revision,
        hash: started.hash,
        key: started.key.clone(),
        turn: None,
        parent: None,
        state: saga.state(),
        wake_at: None,
        started_at: saga.started_at(),
        updated_at: saga.updated_at(),
        ended_at: saga.ended_at(),
        expires_at: None,
    }
}

fn update_row(saga: &Saga) -> SagaUpdate {
    SagaUpdate {
        id: saga.id(),
        state: saga.state(),
        turn_granted: true,
        wake_at: None,
        updated_at: saga.updated_at(),
        ended_at: saga.ended_at(),
        expires_at: None,
    }
}

/// A state that an unreadable saga is shown in.
pub(super) const UNREADABLE_STATE: SagaState = SagaState::Parked;
