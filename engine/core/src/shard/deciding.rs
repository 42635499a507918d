//! What each input means for its saga: from here to `starts`, `outcomes`, `orders` and `children`. Everything there changes
//! memory and the batch in the making alone.

use std::sync::Arc;

use crate::fact::Fact;
use crate::id::SagaId;
use crate::journal::{JournalRow, payload_bytes};
use crate::saga::decide::Decision;
use crate::shard::command::withdraw;
use crate::shard::entry::{InBatch, Moment, Queued, Slot};
use crate::shard::flight::Overdue;
use crate::shard::io::Input;
use crate::shard::machine::Shard;
use crate::shard::turns::Held;
use crate::time::Time;

impl Shard {
    /// Decides one input. False if it waits for its saga to be loaded, and is not part of the batch.
    pub(super) fn decide(&mut self, queued: &Queued, batch: &mut InBatch, at: Moment<'_>) -> bool {
        if let Some(saga) = needs(queued)
            && self.awaits_load(saga, queued)
        {
            return false;
        }
        match queued {
            // What comes back may have slept through its time.
            Queued::Wake(saga) | Queued::Reconcile(saga) => self.wake(*saga, batch, at),
            Queued::ParkUnreadable(saga) => self.park_unreadable(*saga, batch, at.now),
            Queued::Park {
                saga,
                reason,
                message,
            } => {
                self.on_saga(*saga, batch, at, |decision| decision.park(*reason, message));
            }
            Queued::Input { input, .. } => match input {
                Input::Start { token, start } => self.start(*token, start, batch, at),
                Input::Outcome { token, report } => self.outcome(*token, report, batch, at),
                Input::Withdrawn { attempt } => self.withdrawn(attempt, batch, at),
                Input::Signal { token, signal } => self.signal(*token, signal, batch, at),
                Input::Order { token, order } => self.order(*token, order, batch, at),
                Input::Child(wish) => self.child(wish, batch, at),
                Input::ChildAnswered(answer) => self.child_answered(answer, batch, at),
                Input::Cancel { .. } => self.cancel(input, batch, at),
                // They never get into the queue.
                Input::Loaded { .. } | Input::Sent { .. } | Input::Heartbeat { .. } => {}
            },
        }
        true
    }

    /// Runs a decision on a saga in memory, and turns its facts into a row.
    pub(super) fn on_saga<T>(
        &mut self,
        id: SagaId,
        batch: &mut InBatch,
        at: Moment<'_>,
        decide: impl FnOnce(&mut Decision<'_>) -> T,
    ) -> Option<T> {
        self.touch(id, batch);
        let Some(Slot::Present(entry)) = self.sagas.get_mut(&id) else {
            return None;
        };
        let now = entry.time(at.now);
        let saga = Arc::make_mut(&mut entry.saga);
        let decision = Decision::new(saga, now, at.surroundings);
        let mut decision = decision.settling_from(entry.settles_from);
        let result = decide(&mut decision);
        let facts = decision.into_facts();
        debug_assert_eq!(crate::invariants::check(&entry.saga), Ok(()));
        let needs_turn = entry.saga.needs_turn();
        self.push_row(id, facts, now, batch);
        if needs_turn {
            self.follow_turn(id, batch);
        }
        Some(result)
    }

    pub(super) fn push_row(
        &mut self,
        saga: SagaId,
        facts: Vec<Fact>,
        at: Time,
        batch: &mut InBatch,
    ) {
        if facts.is_empty() {
            return;
        }
        batch.payload_bytes += facts.iter().map(payload_bytes).sum::<usize>();
        batch.rows.push(JournalRow {
            position: self.next_position,
            saga,
            at,
            facts,
        });
        self.next_position += 1;
    }

    /// A saga's time came: attempts that took too long, commands that nobody took, settle times, its turn.
    fn wake(&mut self, id: SagaId, batch: &mut InBatch, at: Moment<'_>) {
        self.touch(id, batch);
        let Some(Slot::Present(entry)) = self.sagas.get_mut(&id) else {
            return;
        };
        for (attempt, overdue) in entry.flights.take_overdue(at.now) {
            let Some(Slot::Present(entry)) = self.sagas.get(&id) else {
                return;
            };
            // Also what was sent: it must not be sent again, on another stream, after this.
            batch.outputs.push(withdraw(&entry.saga, attempt));
            let said = match overdue {
                Overdue::Withdraw => continue,
                Overdue::TimedOut => ("ATTEMPT_TIMEOUT", "no result within the attempt's time"),
                Overdue::Silent => ("HEARTBEAT_TIMEOUT", "no heartbeat within its time"),
            };
            self.unknown((id, attempt), said, batch, at);
        }
        let Some(Slot::Present(entry)) = self.sagas.get(&id) else {
            return;
        };
        let waits = entry.saga.needs_turn() && !entry.saga.turn_granted();
        let granted = waits && !entry.saga.terminal() && self.turns.may_begin(id);
        self.on_saga(id, batch, at, |decision| {
            if granted {
                decision.grant_turn();
            }
            decision.wake();
        });
    }

    /// Puts a saga that needs a turn where its state says, and wakes those that may begin since.
    pub(super) fn follow_turn(&mut self, id: SagaId, batch: &mut InBatch) {
        let Some(Slot::Present(entry)) = self.sagas.get(&id) else {
            return;
        };
        let (started, granted) = (entry.saga.started(), entry.saga.turn_granted());
        let held = if entry.saga.terminal() {
            None
        } else {
            Held::of(started, entry.position, granted)
        };
        if self.turns.get(id) != held.as_ref() {
            self.set_turn(id, held, batch);
        }
    }

    /// Changes where a saga stands among those that need a turn.
    pub(super) fn set_turn(&mut self, id: SagaId, held: Option<Held>, batch: &mut InBatch) {
        let gone = held.is_none();
        let before = self.turns.set(id, held);
        if gone && let Some(before) = &before {
            let freed = self.turns.freed_by(before);
            self.queue.extend(freed.into_iter().map(Queued::Wake));
        }
        batch.turns.push((id, before));
    }
}

/// The saga that has to be in memory for this, or has to be known not to exist.
fn needs(queued: &Queued) -> Option<SagaId> {
    match queued {
        Queued::Wake(saga) => Some(*saga),
        Queued::Reconcile(_) | Queued::ParkUnreadable(_) | Queued::Park { .. } => None,
        Queued::Input { input, .. } => match input {
            Input::Outcome { report, .. } => Some(report.attempt.saga),
            Input::Cancel { saga, .. } => Some(*saga),
            Input::Signal { signal, .. } => Some(signal.saga),
            Input::Order { order, .. } => Some(order.saga),
            Input::Child(wish) => Some(wish.child),
            Input::ChildAnswered(answer) => Some(answer.parent.saga),
            // What is said of an attempt on its way matters only to who handed it out.
            Input::Start { .. }
            | Input::Sent { .. }
            | Input::Withdrawn { .. }
            | Input::Heartbeat { .. }
            | Input::Loaded { .. } => None,
        },
    }
}
