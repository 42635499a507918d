//! Sagas come into memory: those that something waits for are asked of the store, a bounded number at a time.

use std::collections::VecDeque;

use crate::fact::{Fact, IncidentReason, Started};
use crate::id::SagaId;
use crate::journal::JournalRow;
use crate::limits::{LOAD_AGAIN_AFTER, LOADS_IN_FLIGHT};
use crate::saga::{DueCommand, Saga, due};
use crate::shard::entry::{Asked, Entry, Inherited, Loading, Queued, Row, Slot, Unreadable};
use crate::shard::io::{History, Input, LoadedSaga, Output};
use crate::shard::machine::Shard;
use crate::time::Time;

/// What the store was asked for.
#[derive(Debug, Default)]
pub(super) struct Loads {
    /// Answers that are awaited.
    in_flight: usize,
    /// Those that are asked for when there is room.
    soon: VecDeque<SagaId>,
}

impl Loads {
    /// So many more can be asked for at once.
    pub fn room(&self) -> usize {
        LOADS_IN_FLIGHT.saturating_sub(self.in_flight + self.soon.len())
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Shard {
    /// Makes an input wait for its saga, if that is not in memory: asks the store for it.
    pub(super) fn awaits_load(&mut self, saga: SagaId, queued: &Queued) -> bool {
        match self.sagas.get_mut(&saga) {
            Some(Slot::Present(entry)) => {
                // Something arrived for it: its own timers may try again.
                entry.refused &= !matches!(queued, Queued::Input { .. });
                return false;
            }
            Some(Slot::Unreadable(_) | Slot::Absent) => return false,
            Some(Slot::Loading(loading)) => {
                let woken = |queued: &Queued| matches!(queued, Queued::Wake(_));
                if !(woken(queued) && loading.waiting.iter().any(woken)) {
                    loading.waiting.push_back(queued.clone());
                }
                if loading.asked != Asked::Later {
                    return true;
                }
            }
            None => {
                let loading = Loading {
                    waiting: VecDeque::from([queued.clone()]),
                    asked: Asked::Later,
                };
                self.sagas.insert(saga, Slot::Loading(loading));
            }
        }
        self.loads.soon.push_back(saga);
        self.set_asked(saga, Asked::Soon);
        self.ask_store();
        true
    }

    /// Asks the store for as many sagas as it may be asked for at a time.
    fn ask_store(&mut self) {
        while self.loads.in_flight < LOADS_IN_FLIGHT
            && let Some(saga) = self.loads.soon.pop_front()
        {
            self.loads.in_flight += 1;
            self.set_asked(saga, Asked::Now);
            self.outputs.push(Output::Load { saga });
        }
    }

    fn set_asked(&mut self, saga: SagaId, asked: Asked) {
        if let Some(Slot::Loading(loading)) = self.sagas.get_mut(&saga) {
            loading.asked = asked;
        }
    }

    /// The store's answer: what waited is decided next, in its order.
    pub(super) fn loaded(&mut self, saga: SagaId, loaded: LoadedSaga, now: Time) {
        let waiting = match self.sagas.get_mut(&saga) {
            Some(Slot::Loading(loading)) if loading.asked == Asked::Now => {
                std::mem::take(&mut loading.waiting)
            }
            Some(Slot::Loading(_) | Slot::Present(_) | Slot::Absent | Slot::Unreadable(_))
            | None => return,
        };
        self.sagas.remove(&saga);
        self.loads.in_flight = self.loads.in_flight.saturating_sub(1);
        match loaded {
            LoadedSaga::Found(history) => {
                // What waited comes before the comparison with its flights: that one may find it ended, and let it go.
                let taken_over_at = self.taken_over_at.unwrap_or(now);
                let comparison = self.install(history, taken_over_at, Some(Time::EPOCH));
                self.sleepers.forget(saga);
                self.queue.extend(waiting);
                self.queue.extend(comparison);
            }
            LoadedSaga::Absent => self.absent(saga, waiting),
            LoadedSaga::Unavailable => self.unavailable(saga, waiting, now),
        }
        self.ask_store();
    }

    /// There is no such saga: what can begin it is decided, and everything else answered.
    fn absent(&mut self, saga: SagaId, waiting: VecDeque<Queued>) {
        for queued in waiting {
            match queued {
                Queued::Input {
                    input: Input::Child(_),
                    ..
                } => {
                    self.sagas.insert(saga, Slot::Absent);
                    self.queue.push_back(queued);
                }
                Queued::Input { input, .. } => self.answer_absent(&input),
                Queued::Wake(_)
                | Queued::Reconcile(_)
                | Queued::ParkUnreadable(_)
                | Queued::Park { .. } => {}
            }
        }
    }

    /// The store could not say: who waits for an answer is refused, and everything else is kept until it can.
    fn unavailable(&mut self, saga: SagaId, waiting: VecDeque<Queued>, now: Time) {
        let mut kept = VecDeque::new();
        for queued in waiting {
            match &queued {
                Queued::Input {
                    input: Input::Child(_) | Input::ChildAnswered(_),
                    ..
                }
                | Queued::Wake(_) => kept.push_back(queued),
                Queued::Input { input, .. } => self.refuse(input),
                Queued::Reconcile(_) | Queued::ParkUnreadable(_) | Queued::Park { .. } => {}
            }
        }
        if !kept.is_empty() {
            let loading = Loading {
                waiting: kept,
                asked: Asked::Later,
            };
            self.sagas.insert(saga, Slot::Loading(loading));
            self.sleepers.put(saga, now + LOAD_AGAIN_AFTER);
        }
    }

    /// Puts a saga from the store into memory, and says what is to be decided for it.
    pub(super) fn install(
        &mut self,
        history: History,
        taken_over_at: Time,
        wake_at: Option<Time>,
    ) -> Option<Queued> {
        let id = history.saga;
        let state = history.state;
        let (read, known) = match (history.definition, history.rows) {
            (Err(message), rows) => (
                Err((IncidentReason::DefinitionMissing, message)),
                rows.ok().and_then(|rows| known(&rows)),
            ),
            (Ok(_), Err(message)) => (Err((IncidentReason::RecordUnreadable, message)), None),
            (Ok(definition), Ok(rows)) => match Saga::replay(id, definition, &rows) {
                Ok(saga) => {
                    let before = rows.iter().rfind(|row| row.position < self.opened_at);
                    let position = rows.first().map_or(0, |row| row.position);
                    (Ok((saga, position, before.map(|row| row.at))), None)
                }
                Err(error) => {
                    let message = error.to_string();
                    (
                        Err((IncidentReason::RecordUnreadable, message)),
                        known(&rows),
                    )
                }
            },
        };
        match read {
            Ok((saga, position, before)) => {
                let row = Row {
                    state,
                    turn_granted: saga.turn_granted(),
                    wake_at: wake_at.filter(|_| !state.is_terminal()),
                };
                // The clock may be behind what the owner before saw: what it scheduled, it may have sent.
                let inherited_at = taken_over_at.max(saga.updated_at());
                let ahead = self.sent_ahead(&saga, inherited_at);
                // Nor is a decision dated earlier than these: see `Entry::time`.
                let dates = ahead.iter().map(|ahead| ahead.due_at);
                let settles_from = before.map(|at| dates.fold(at.max(taken_over_at), Time::max));
                let inherited = Inherited {
                    at: inherited_at,
                    last_order: saga.last_order,
                    ahead,
                };
                let entry = Entry {
                    inherited: Some(inherited),
                    settles_from,
                    row: Some(row),
                    ..Entry::new(saga, position)
                };
                self.put_slot(id, Slot::Present(Box::new(entry)));
                Some(Queued::Reconcile(id))
            }
            Err((reason, message)) => {
                let slot = Slot::Unreadable(Unreadable {
                    reason,
                    message,
                    state,
                    known,
                });
                self.put_slot(id, slot);
                let unknown = state != super::refusing::UNREADABLE_STATE && !state.is_terminal();
                unknown.then_some(Queued::ParkUnreadable(id))
            }
        }
    }
}

impl Shard {
    /// What is due later than this, and was due already by the clocks of earlier owners.
    fn sent_ahead(&self, saga: &Saga, inherited_at: Time) -> Vec<DueCommand> {
        if self.sent_until <= inherited_at {
            return Vec::new();
        }
        let due = due(saga, self.sent_until);
        let open = due.commands.into_iter().chain(due.awaited);
        open.filter(|command| command.due_at > inherited_at)
            .collect()
    }
}

/// How a saga that cannot be read began, and how many incidents it has had.
fn known(rows: &[JournalRow]) -> Option<Box<(Started, u32)>> {
    let facts = || rows.iter().flat_map(|row| &row.facts);
    let Some(Fact::Started(started)) = facts().next() else {
        return None;
    };
    let incidents = facts().filter(|fact| matches!(fact, Fact::IncidentOpened(_)));
    let count = u32::try_from(incidents.count()).unwrap_or(u32::MAX);
    Some(Box::new((started.clone(), count)))
}
