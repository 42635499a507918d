//! What follows from a batch for the sagas that it touched: their commands and timers, and whether they leave memory. A saga
//! that has ended leaves it, and one that only waits: then its row tells when it has to be back. What lets it rest rides in
//! a batch like everything else, because rows alone fence; if the saga itself had none to write, in the shard's next one.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::SagaId;
use crate::journal::SagaState;
use crate::limits::{ASLEEP_AFTER, RESTS_PER_BATCH};
use crate::saga::{Due, due};
use crate::shard::command::Frame;
use crate::shard::entry::{Entry, InBatch, Queued, Slot};
use crate::shard::io::{ChildAnswer, Output};
use crate::shard::machine::Shard;
use crate::time::Time;

/// When sagas that sleep have to be back in memory: each once.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    by_time: BTreeSet<(Time, SagaId)>,
    by_saga: BTreeMap<SagaId, Time>,
}

impl Sleepers {
    /// A saga has to be back at this time, whatever was said of it before.
    pub fn put(&mut self, saga: SagaId, at: Time) {
        self.forget(saga);
        self.by_saga.insert(saga, at);
        self.by_time.insert((at, saga));
    }

    /// A saga is back, or asked for.
    pub fn forget(&mut self, saga: SagaId) {
        if let Some(at) = self.by_saga.remove(&saga) {
            self.by_time.remove(&(at, saga));
        }
    }

    /// The one that has to be back first, and when.
    pub fn first(&self) -> Option<(Time, SagaId)> {
        self.by_time.first().copied()
    }
}

impl Shard {
    /// Compares each touched saga with its flights: what it asks for now leaves with the batch.
    pub(super) fn settle_touched(&mut self, batch: &mut InBatch, now: Time) {
        for (id, before) in &batch.before {
            let Some(Slot::Present(entry)) = self.sagas.get_mut(id) else {
                continue;
            };
            let outputs = &mut batch.outputs;
            let due = due(&entry.saga, now);
            let frame = Frame {
                incarnation: self.incarnation,
                epoch: self.epoch,
                inherited: entry.inherited.as_ref(),
                now,
            };
            entry.flights.reconcile(&entry.saga, &due, &frame, outputs);
            let wake_at = entry.wait_for(due, now, outputs);
            if entry.wake_at != wake_at {
                if let Some(at) = entry.wake_at {
                    self.timers.remove(&(at, *id));
                }
                if let Some(at) = wake_at {
                    self.timers.insert((at, *id));
                }
                entry.wake_at = wake_at;
            }
            let before = match before {
                Some(Slot::Present(before)) => Some(&before.saga),
                Some(Slot::Loading(_) | Slot::Absent | Slot::Unreadable(_)) | None => None,
            };
            let changed = before.is_none_or(|before| before.facts() != entry.saga.facts());
            if changed {
                let state = entry.saga.state();
                outputs.push(Output::Changed {
                    saga: *id,
                    state,
                    settled: state.is_settled().then(|| entry.saga.clone()),
                    incidents_before: before.map_or(0, |before| before.incidents_opened),
                });
            }
            // A parent is told when it asks, and when its child ends.
            if let Some(parent) = entry.saga.parent()
                && (batch.answers.contains(id) || changed && entry.saga.terminal())
            {
                outputs.push(Output::AnswerParent(Box::new(ChildAnswer {
                    parent: parent.clone(),
                    state: entry.saga.child_state(),
                })));
            }
        }
    }

    /// Sagas that only wait, and whose own last batch could not say so, are recorded with this one.
    pub(super) fn rest_others(&mut self, batch: &mut InBatch, now: Time) {
        for _ in 0..RESTS_PER_BATCH {
            let Some(id) = self.resting.pop_first() else {
                return;
            };
            if let Some(Slot::Present(entry)) = self.sagas.get(&id)
                && entry
                    .rests_until
                    .is_some_and(|until| until > now + ASLEEP_AFTER)
            {
                self.touch(id, batch);
            }
        }
    }

    /// Sagas that have ended leave memory, with their keys; and those that only wait, once their rows say so.
    pub(super) fn leave_memory(&mut self, batch: &InBatch) {
        for id in batch.before.keys() {
            match self.sagas.get(id) {
                Some(Slot::Present(entry)) if entry.saga.terminal() => self.forget_ended(*id),
                Some(Slot::Present(entry)) => {
                    if let Some(until) = entry.rests_until {
                        if entry.row_says(until) {
                            self.fall_asleep(*id, until);
                        } else {
                            self.resting.insert(*id);
                        }
                    }
                }
                Some(Slot::Unreadable(unreadable)) if unreadable.state.is_terminal() => {
                    self.sagas.remove(id);
                }
                Some(Slot::Unreadable(_) | Slot::Loading(_) | Slot::Absent) | None => {}
            }
        }
    }

    fn forget_ended(&mut self, id: SagaId) {
        let Some(Slot::Present(entry)) = self.remove_slot(id) else {
            return;
        };
        let started = entry.saga.started();
        if let Some(key) = &started.key {
            let hash = crate::key::hash_128(key.as_bytes());
            self.keys
                .remove(&(started.namespace.clone(), started.definition.clone(), hash));
        }
    }

    fn fall_asleep(&mut self, id: SagaId, until: Time) {
        self.forget_ended(id);
        if until < Time::INFINITY {
            self.sleepers.put(id, until);
        }
    }

    /// When something has to be done by itself: the earliest timer, or the earliest sleeper, if it can be loaded.
    pub(super) fn earliest(&self) -> Option<Time> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let sleeper = self
            .sleepers
            .first()
            .filter(|_| self.loads.room() > 0)
            .map(|(at, _)| at);
        [timer, sleeper].into_iter().flatten().min()
    }

    /// Queues what is due.
    pub(super) fn fire_timers(&mut self, now: Time) {
        while let Some((at, saga)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(Slot::Present(entry)) = self.sagas.get_mut(&saga) {
                entry.wake_at = None;
                self.queue.push_back(Queued::Wake(saga));
            }
        }
        for _ in 0..self.loads.room() {
            let Some((at, saga)) = self.sleepers.first() else {
                return;
            };
            if at > now {
                return;
            }
            self.sleepers.forget(saga);
            self.queue.push_back(Queued::Wake(saga));
        }
    }
}

impl Entry {
    /// What it waits for: asks what is due of others about its children, and says when it is looked at again.
    fn wait_for(&mut self, due: Due, now: Time, outputs: &mut Vec<Output>) -> Option<Time> {
        self.asks.reconcile(due.children, now, outputs);
        let wake_at = [due.wake_at, self.asks.wake_at()]
            .into_iter()
            .flatten()
            .min();
        if !self.flights.is_empty() || self.refused || self.saga.terminal() {
            self.rests_until = None;
            let wake_at = [wake_at, self.flights.wake_at()]
                .into_iter()
                .flatten()
                .min();
            return wake_at.filter(|_| !self.refused);
        }
        // Whose turn may come any moment is not sent away at once.
        let queues = self.saga.state() == SagaState::Running && !self.saga.turn_granted();
        let drowsy_at = self.saga.updated_at() + ASLEEP_AFTER;
        if queues && now < drowsy_at {
            self.rests_until = None;
            return Some(wake_at.map_or(drowsy_at, |at| at.min(drowsy_at)));
        }
        let until = wake_at.unwrap_or(Time::INFINITY);
        self.rests_until = (until > now + ASLEEP_AFTER).then_some(until);
        wake_at
    }

    /// Its row brings it back by then.
    fn row_says(&self, until: Time) -> bool {
        self.row
            .and_then(|row| row.wake_at)
            .is_some_and(|at| at <= until)
    }
}
