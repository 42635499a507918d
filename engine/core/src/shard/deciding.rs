//! What each input means for its saga. Everything here changes memory and the batch in the making alone.

use std::collections::VecDeque;

use amends_definitions::StepIndex;

use crate::fact::{
    Act, AttemptEnded, ChildOutcome, ChildRequested, Fact, Incident, IncidentReason, SignalReceived,
};
use crate::id::{AttemptName, SagaId};
use crate::journal::{JournalRow, KeyInsert};
use crate::outcome::{OperationKind, Outcome};
use crate::saga::decide::{Decision, start};
use crate::saga::{DueCommand, Saga};
use crate::shard::entry::{Entry, InBatch, Queued, Slot, Unreadable};
use crate::shard::flight::{Flights, Overdue, action, attempt_time, withdraw};
use crate::shard::io::{
    Acknowledged, CancelRefusal, Existing, History, Input, LoadedSaga, OrderRefusal, Output,
    Report, SignalRefusal, Start, StartAnswer, StartRefusal, Surroundings, Token,
};
use crate::shard::machine::{Shard, UNREADABLE_STATE};
use crate::time::Time;

impl Shard {
    /// Decides one input. False if it waits for its saga to be loaded, and is not part of the batch.
    pub(super) fn decide(
        &mut self,
        queued: &Queued,
        batch: &mut InBatch,
        now: Time,
        surroundings: &dyn Surroundings,
    ) -> bool {
        if let Queued::Input {
            input:
                Input::Outcome {
                    report:
                        Report {
                            attempt: AttemptName { saga, .. },
                            ..
                        },
                    ..
                }
                | Input::Cancel { saga, .. },
            ..
        } = queued
            && self.awaits_load(*saga, queued)
        {
            return false;
        }
        match queued {
            // What comes back may have slept through its time.
            Queued::Wake(saga) | Queued::Reconcile(saga) => {
                self.wake(*saga, batch, now, surroundings);
            }
            Queued::ParkUnreadable(saga) => self.park_unreadable(*saga, batch, now),
            Queued::Park {
                saga,
                reason,
                message,
            } => {
                self.on_saga(*saga, batch, now, surroundings, |decision| {
                    decision.park(*reason, message)
                });
            }
            Queued::Input { input, .. } => match input {
                Input::Start { token, start } => {
                    self.start(*token, start, batch, now, surroundings)
                }
                Input::Outcome { token, report } => {
                    self.outcome(*token, report, batch, now, surroundings)
                }
                Input::Sent { attempt } => self.sent(attempt, batch, now),
                Input::Withdrawn { attempt } => {
                    self.withdrawn(attempt, batch, now, surroundings);
                }
                // Nothing asks for these yet.
                Input::Heartbeat { .. }
                | Input::Signal { .. }
                | Input::Order { .. }
                | Input::Child(_)
                | Input::ChildAnswered(_) => {}
                Input::Cancel { .. } => self.cancel(queued, batch, now, surroundings),
                // It never gets into the queue.
                Input::Loaded { .. } => {}
            },
        }
        true
    }

    /// Makes an input wait for its saga, if that is not in memory: asks the store for it.
    fn awaits_load(&mut self, saga: SagaId, queued: &Queued) -> bool {
        match self.sagas.get_mut(&saga) {
            Some(Slot::Present(_) | Slot::Unreadable(_)) => return false,
            Some(Slot::Loading(waiting)) => waiting.push_back(queued.clone()),
            None => {
                self.sagas
                    .insert(saga, Slot::Loading(VecDeque::from([queued.clone()])));
                self.outputs.push(Output::Load { saga });
            }
        }
        true
    }

    /// Runs a decision on a saga in memory, and turns its facts into a row.
    fn on_saga<T>(
        &mut self,
        id: SagaId,
        batch: &mut InBatch,
        now: Time,
        surroundings: &dyn Surroundings,
        decide: impl FnOnce(&mut Decision<'_>) -> T,
    ) -> Option<T> {
        self.touch(id, batch);
        let Some(Slot::Present(entry)) = self.sagas.get_mut(&id) else {
            return None;
        };
        // A saga's own time never goes backwards.
        let now = now.max(entry.saga.updated_at());
        let mut decision = Decision::new(&mut entry.saga, now, surroundings);
        let result = decide(&mut decision);
        let facts = decision.into_facts();
        debug_assert_eq!(crate::invariants::check(&entry.saga), Ok(()));
        self.push_row(id, facts, now, batch);
        Some(result)
    }

    fn push_row(&mut self, saga: SagaId, facts: Vec<Fact>, at: Time, batch: &mut InBatch) {
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

    fn start(
        &mut self,
        token: Token,
        request: &Start,
        batch: &mut InBatch,
        now: Time,
        surroundings: &dyn Surroundings,
    ) {
        let started = &request.started;
        let name = request.key.map(|key| {
            (
                started.namespace.clone(),
                started.definition.clone(),
                key.key_hash,
            )
        });
        let existing = request
            .existing
            .or_else(|| name.as_ref().and_then(|name| self.keys.get(name)).copied());
        if let (Some(existing), Some(key)) = (existing, request.key) {
            let result = if existing.input_hash == key.input_hash {
                Ok(StartAnswer {
                    saga: existing.saga,
                    created: false,
                    revision: existing.revision,
                })
            } else {
                Err(StartRefusal::KeyReused {
                    saga: existing.saga,
                })
            };
            batch.outputs.push(Output::Started { token, result });
            return;
        }
        self.touch(request.id, batch);
        let (saga, facts) = start(
            request.id,
            request.definition.clone(),
            started.clone(),
            now,
            surroundings,
            true,
        );
        debug_assert_eq!(crate::invariants::check(&saga), Ok(()));
        if let (Some(name), Some(key)) = (name, request.key) {
            let existing = Existing {
                saga: request.id,
                input_hash: key.input_hash,
                revision: started.revision,
            };
            batch.keys.push(KeyInsert {
                namespace: started.namespace.clone(),
                definition: started.definition.clone(),
                key_hash: key.key_hash,
                saga: request.id,
                input_hash: key.input_hash,
            });
            self.keys.insert(name.clone(), existing);
            batch.key_names.push(name);
        }
        self.put_slot(
            request.id,
            Slot::Present(Box::new(Entry {
                saga,
                flights: Flights::default(),
                loaded_at: None,
                wake_at: None,
            })),
        );
        self.push_row(request.id, facts, now, batch);
        let answer = StartAnswer {
            saga: request.id,
            created: true,
            revision: started.revision,
        };
        batch.outputs.push(Output::Started {
            token,
            result: Ok(answer),
        });
    }

    fn outcome(
        &mut self,
        token: Option<Token>,
        report: &Report,
        batch: &mut InBatch,
        now: Time,
        surroundings: &dyn Surroundings,
    ) {
        let acknowledged = match self.sagas.get_mut(&report.attempt.saga) {
            None | Some(Slot::Loading(_)) => Acknowledged::Unavailable,
            Some(Slot::Unreadable(_)) => Acknowledged::Unreadable,
            Some(Slot::Present(entry)) => match resolve(&entry.saga, report) {
                Err(refused) => refused,
                Ok(mut ended) => {
                    ended.sent_at = entry.sent_at(ended.place.step, ended.operation, ended.attempt);
                    let (step, operation, attempt) =
                        (ended.place.step, ended.operation, ended.attempt);
                    let round = ended.round;
                    let unsent = entry.unsent_successor(step, operation, attempt);
                    let acknowledged =
                        self.on_saga(report.attempt.saga, batch, now, surroundings, |decision| {
                            let acknowledged = decision.outcome(ended);
                            if let Some(unsent) = unsent {
                                decision.withdrawn_overtaken(step.into(), operation, round, unsent);
                            }
                            acknowledged
                        });
                    if let Some(Slot::Present(entry)) = self.sagas.get_mut(&report.attempt.saga) {
                        entry.flights.land(step, operation, attempt);
                    }
                    acknowledged.unwrap_or(Acknowledged::UnknownOperation)
                }
            },
        };
        if let Some(token) = token {
            batch.outputs.push(Output::Acknowledge {
                token,
                acknowledged,
            });
        }
    }

    fn sent(&mut self, named: &AttemptName, batch: &mut InBatch, now: Time) {
        let (saga, operation, attempt) = (named.saga, named.name.operation, named.attempt);
        self.touch(saga, batch);
        let Some(Slot::Present(entry)) = self.sagas.get_mut(&saga) else {
            return;
        };
        let Some(step) = entry.saga.definition().step_index(&named.name.step) else {
            return;
        };
        let time = attempt_time(&entry.saga, step, operation, now);
        if let Some(flight) = entry.flights.get_mut(step, operation, attempt) {
            flight.sent_at = Some(now);
            // Sent again on another stream, it has no more time than before.
            flight.deadline.get_or_insert(now + time);
            flight.withdraw_at = None;
        }
    }

    fn withdrawn(
        &mut self,
        named: &AttemptName,
        batch: &mut InBatch,
        now: Time,
        surroundings: &dyn Surroundings,
    ) {
        let (saga, operation, attempt) = (named.saga, named.name.operation, named.attempt);
        let Some(Slot::Present(entry)) = self.sagas.get_mut(&saga) else {
            return;
        };
        let Some(step) = entry.saga.definition().step_index(&named.name.step) else {
            return;
        };
        // Only what this owner handed out, asked back and did not send.
        let flight = entry
            .flights
            .get(step, operation, attempt)
            .filter(|flight| flight.sent_at.is_none());
        let Some((flight, code)) = flight.and_then(|flight| Some((flight, flight.withdraw_code?)))
        else {
            return;
        };
        if flight.resent {
            // An earlier owner may have sent it: its result may still come, until the deadline if there is one.
            if flight.deadline.is_none() {
                let said = (code, "nobody took it after a restart");
                self.unknown(
                    (saga, step, operation, attempt),
                    said,
                    batch,
                    now,
                    surroundings,
                );
            }
            return;
        }
        self.on_saga(saga, batch, now, surroundings, |decision| {
            decision.withdrawn(step.into(), operation, named.name.round, attempt, code)
        });
        if let Some(Slot::Present(entry)) = self.sagas.get_mut(&saga) {
            entry.flights.land(step, operation, attempt);
        }
    }

    /// What was scheduled and aborted within one batch never left, and never will: it is without effect.
    pub(super) fn withdraw_unsent(
        &mut self,
        batch: &mut InBatch,
        now: Time,
        surroundings: &dyn Surroundings,
    ) {
        let touched: Vec<SagaId> = batch.before.keys().copied().collect();
        for id in touched {
            let Some(Slot::Present(entry)) = self.sagas.get(&id) else {
                continue;
            };
            if entry.saga.abort().is_none() {
                continue;
            }
            let unsent: Vec<_> = crate::saga::due(&entry.saga, now)
                .awaited
                .into_iter()
                .filter(|command| !entry.may_have_left(command))
                .collect();
            for DueCommand {
                place,
                operation,
                round,
                attempt,
                ..
            } in unsent
            {
                self.on_saga(id, batch, now, surroundings, |decision| {
                    decision.withdrawn(place, operation, round, attempt, "ABORTED")
                });
            }
        }
    }

    fn cancel(
        &mut self,
        queued: &Queued,
        batch: &mut InBatch,
        now: Time,
        surroundings: &dyn Surroundings,
    ) {
        let Queued::Input {
            input:
                Input::Cancel {
                    token,
                    namespace,
                    saga,
                    by,
                    reason,
                },
            ..
        } = queued
        else {
            return;
        };
        let result = match self.sagas.get_mut(saga) {
            None | Some(Slot::Loading(_)) => Err(CancelRefusal::Unavailable),
            Some(Slot::Unreadable(_)) => Err(CancelRefusal::Unreadable),
            Some(Slot::Present(entry)) if entry.saga.started().namespace != *namespace => {
                Err(CancelRefusal::NotFound)
            }
            Some(Slot::Present(_)) => self
                .on_saga(*saga, batch, now, surroundings, |decision| {
                    decision.cancel(by, reason)
                })
                .unwrap_or(Err(CancelRefusal::NotFound)),
        };
        batch.outputs.push(Output::Cancelled {
            token: *token,
            result,
        });
    }

    /// A saga's time came: attempts that took too long, commands that nobody took, settle times.
    fn wake(
        &mut self,
        id: SagaId,
        batch: &mut InBatch,
        now: Time,
        surroundings: &dyn Surroundings,
    ) {
        self.touch(id, batch);
        let Some(Slot::Present(entry)) = self.sagas.get_mut(&id) else {
            return;
        };
        for (step, operation, attempt, overdue) in entry.flights.take_overdue(now) {
            let Some(Slot::Present(entry)) = self.sagas.get(&id) else {
                return;
            };
            // Also what was sent: it must not be sent again, on another stream, after this.
            let back = withdraw(&entry.saga, step, operation, attempt);
            batch.outputs.push(back);
            if overdue == Overdue::Withdraw {
                continue;
            }
            let said = ("ATTEMPT_TIMEOUT", "no result within the attempt's time");
            self.unknown(
                (id, step, operation, attempt),
                said,
                batch,
                now,
                surroundings,
            );
        }
        self.on_saga(id, batch, now, surroundings, |decision| decision.wake());
    }

    /// Nobody knows what became of an attempt in flight: a code and words say why.
    fn unknown(
        &mut self,
        (id, step, operation, attempt): (SagaId, StepIndex, OperationKind, u32),
        (code, message): (&str, &str),
        batch: &mut InBatch,
        now: Time,
        surroundings: &dyn Surroundings,
    ) {
        self.touch(id, batch);
        let Some(Slot::Present(entry)) = self.sagas.get_mut(&id) else {
            return;
        };
        let sent_at = entry.sent_at(step, operation, attempt);
        entry.flights.land(step, operation, attempt);
        let ended = AttemptEnded {
            place: step.into(),
            operation,
            round: 0,
            attempt,
            outcome: Outcome::Unknown {
                code: code.into(),
                message: message.into(),
            },
            verdict: None,
            instance: None,
            sent_at,
            retry_at: None,
        };
        self.on_saga(id, batch, now, surroundings, |decision| {
            decision.outcome(ended)
        });
    }

    /// The store's answer: what waited is decided next, in its order.
    pub(super) fn loaded(&mut self, saga: SagaId, loaded: LoadedSaga, now: Time) {
        let Some(Slot::Loading(_)) = self.sagas.get(&saga) else {
            return;
        };
        let Some(Slot::Loading(waiting)) = self.remove_slot(saga) else {
            return;
        };
        match loaded {
            LoadedSaga::Found(history) => {
                // What waited comes before the comparison with its flights: that one may find it ended, and let it go.
                let comparison = self.install(history, now);
                self.queue.extend(waiting);
                self.queue.extend(comparison);
            }
            LoadedSaga::Absent => {
                for queued in waiting {
                    if let Queued::Input { input, .. } = queued {
                        self.answer_absent(&input);
                    }
                }
            }
            LoadedSaga::Unavailable => {
                for queued in waiting {
                    if let Queued::Input { input, .. } = queued {
                        self.refuse(&input);
                    }
                }
            }
        }
    }

    /// Puts a saga from the store into memory, and says what is to be decided for it.
    pub(super) fn install(&mut self, history: History, now: Time) -> Option<Queued> {
        let id = history.saga;
        let state = history.state;
        let read = match (history.definition, history.rows) {
            (Err(message), _) => Err((IncidentReason::DefinitionMissing, message)),
            (Ok(_), Err(message)) => Err((IncidentReason::RecordUnreadable, message)),
            (Ok(definition), Ok(rows)) => Saga::replay(id, definition, &rows)
                .map_err(|error| (IncidentReason::RecordUnreadable, error.to_string())),
        };
        match read {
            Ok(saga) => {
                let entry = Entry {
                    saga,
                    flights: Flights::default(),
                    loaded_at: Some(now),
                    wake_at: None,
                };
                self.put_slot(id, Slot::Present(Box::new(entry)));
                Some(Queued::Reconcile(id))
            }
            Err((reason, message)) => {
                self.put_slot(
                    id,
                    Slot::Unreadable(Unreadable {
                        reason,
                        message,
                        state,
                    }),
                );
                let unknown = state != UNREADABLE_STATE && !state.is_terminal();
                unknown.then_some(Queued::ParkUnreadable(id))
            }
        }
    }

    fn park_unreadable(&mut self, id: SagaId, batch: &mut InBatch, now: Time) {
        self.touch(id, batch);
        let Some(Slot::Unreadable(unreadable)) = self.sagas.get_mut(&id) else {
            return;
        };
        unreadable.state = UNREADABLE_STATE;
        let incident = Incident {
            place: None,
            operation: None,
            reason: unreadable.reason,
            code: None,
            message: unreadable.message.clone(),
        };
        self.push_row(id, vec![Fact::IncidentOpened(incident)], now, batch);
        batch.outputs.push(Output::Changed {
            saga: id,
            state: UNREADABLE_STATE,
        });
    }

    fn answer_absent(&mut self, input: &Input) {
        let output = match input {
            Input::Outcome {
                token: Some(token), ..
            } => Output::Acknowledge {
                token: *token,
                acknowledged: Acknowledged::UnknownOperation,
            },
            Input::Cancel { token, .. } => Output::Cancelled {
                token: *token,
                result: Err(CancelRefusal::NotFound),
            },
            Input::Signal { token, .. } => Output::Signalled {
                token: *token,
                result: Err(SignalRefusal::NotFound),
            },
            Input::Order { token, .. } => Output::Acted {
                token: *token,
                result: Err(OrderRefusal::NotFound),
            },
            Input::Outcome { token: None, .. }
            | Input::Start { .. }
            | Input::Sent { .. }
            | Input::Withdrawn { .. }
            | Input::Heartbeat { .. }
            | Input::Child(_)
            | Input::ChildAnswered(_)
            | Input::Loaded { .. } => return,
        };
        self.outputs.push(output);
    }

    /// The store refuses what this input leads to.
    pub(super) fn refuse_data(&mut self, queued: &Queued, message: &str) {
        let saga = match queued {
            Queued::Wake(saga) | Queued::Reconcile(saga) => Some(*saga),
            // To park was what was refused: the saga stays in memory as it is.
            Queued::ParkUnreadable(_) | Queued::Park { .. } => None,
            Queued::Input { input, .. } => match input {
                Input::Start { token, .. } => {
                    let result = Err(StartRefusal::Data {
                        message: message.to_owned(),
                    });
                    self.outputs.push(Output::Started {
                        token: *token,
                        result,
                    });
                    None
                }
                Input::Outcome { token, report } => {
                    if let Some(token) = token {
                        let acknowledged = Acknowledged::Unreadable;
                        self.outputs.push(Output::Acknowledge {
                            token: *token,
                            acknowledged,
                        });
                    }
                    Some(report.attempt.saga)
                }
                Input::Cancel { token, saga, .. } => {
                    let result = Err(CancelRefusal::Unavailable);
                    self.outputs.push(Output::Cancelled {
                        token: *token,
                        result,
                    });
                    Some(*saga)
                }
                Input::Signal { token, signal } => {
                    let result = Err(SignalRefusal::Unavailable);
                    let token = *token;
                    self.outputs.push(Output::Signalled { token, result });
                    Some(signal.saga)
                }
                Input::Order { token, order } => {
                    let result = Err(OrderRefusal::Unavailable);
                    let token = *token;
                    self.outputs.push(Output::Acted { token, result });
                    Some(order.saga)
                }
                Input::Child(wish) => Some(wish.child),
                Input::ChildAnswered(answer) => Some(answer.parent.saga),
                Input::Sent { attempt }
                | Input::Withdrawn { attempt }
                | Input::Heartbeat { attempt } => Some(attempt.saga),
                Input::Loaded { saga, .. } => Some(*saga),
            },
        };
        if let Some(saga) = saga {
            let (reason, message) = (IncidentReason::RecordRefused, message.to_owned());
            self.queue.push_front(Queued::Park {
                saga,
                reason,
                message,
            });
        }
    }
}

/// Finds what a report is about, or refuses it.
fn resolve(saga: &Saga, report: &Report) -> Result<AttemptEnded, Acknowledged> {
    if saga.started().namespace != report.namespace {
        return Err(Acknowledged::UnknownOperation);
    }
    let step = saga
        .definition()
        .step_index(&report.attempt.name.step)
        .ok_or(Acknowledged::UnknownOperation)?;
    let action =
        action(saga, step, report.attempt.name.operation).ok_or(Acknowledged::UnknownOperation)?;
    if report.instance.is_some() && !report.serves.contains(action) {
        return Err(Acknowledged::NotServed);
    }
    Ok(AttemptEnded {
        place: step.into(),
        operation: report.attempt.name.operation,
        round: report.attempt.name.round,
        attempt: report.attempt.attempt,
        outcome: report.outcome.clone(),
        verdict: report.verdict,
        instance: report.instance.as_deref().map(str::to_owned),
        sent_at: None,
        retry_at: None,
    })
}

fn payload_bytes(fact: &Fact) -> usize {
    let ended = |ended: &AttemptEnded| match &ended.outcome {
        Outcome::Succeeded { output } => output.as_bytes().len(),
        Outcome::Unusable { .. }
        | Outcome::Rejected { .. }
        | Outcome::Failed { .. }
        | Outcome::Fatal { .. }
        | Outcome::Unknown { .. }
        | Outcome::NothingToUndo
        | Outcome::Superseded
        | Outcome::Absent => 0,
    };
    match fact {
        Fact::Started(started) => started.input.as_bytes().len(),
        Fact::Scheduled { input, .. } => input.as_bytes().len(),
        Fact::AttemptEnded(attempt) | Fact::LateResult { ended: attempt, .. } => ended(attempt),
        Fact::Completed { output }
        | Fact::ItemsListed { items: output, .. }
        | Fact::SignalReceived(SignalReceived {
            payload: output, ..
        })
        | Fact::ChildRequested(ChildRequested { input: output, .. })
        | Fact::ChildEnded {
            outcome: ChildOutcome::Completed { output },
            ..
        }
        | Fact::Emitted { data: output, .. }
        | Fact::Continued {
            output: Some(output),
            ..
        } => output.as_bytes().len(),
        Fact::Operated(operated) => match &operated.act {
            Act::Retry {
                input: Some(payload),
                ..
            }
            | Act::Resolve {
                output: payload, ..
            } => payload.as_bytes().len(),
            Act::Retry { input: None, .. }
            | Act::Skip { .. }
            | Act::ResolveAbsent { .. }
            | Act::Compensate
            | Act::Pause
            | Act::Resume
            | Act::Terminate => 0,
        },
        Fact::Skipped { .. }
        | Fact::StepFailed { .. }
        | Fact::Withdrawn { .. }
        | Fact::AbortDecided(_)
        | Fact::Settling { .. }
        | Fact::CancelPending { .. }
        | Fact::CancelDropped
        | Fact::IncidentOpened(_)
        | Fact::IncidentClosed { .. }
        | Fact::TurnGranted
        | Fact::SignalAwaited { .. }
        | Fact::SignalConsumed { .. }
        | Fact::SignalUnconsumed { .. }
        | Fact::Sleeping { .. }
        | Fact::Slept { .. }
        | Fact::ChildPinned { .. }
        | Fact::ChildEnded { .. }
        | Fact::Continued { output: None, .. }
        | Fact::DeadlinePassed
        | Fact::Compensated => 0,
    }
}
