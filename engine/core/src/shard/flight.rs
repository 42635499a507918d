//! What is on its way: which attempts were handed out, which were sent, and until when they are waited for. Volatile:
//! after a takeover it is made anew from what the sagas' states ask for.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_definitions::{ActionName, Compensation, StepIndex, Timeouts};

use crate::id::{AttemptName, Incarnation, OperationKey, OperationName};
use crate::outcome::OperationKind;
use crate::saga::{Due, DueCommand, Saga};
use crate::shard::io::{Command, Output};
use crate::time::Time;

/// One attempt that was handed out, or that an earlier owner may have sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub attempt: u32,
    /// When this owner sent it.
    pub sent_at: Option<Time>,
    /// When it is taken for unknown.
    pub deadline: Option<Time>,
    /// When it is taken back, if it was not sent by then, and what that is called.
    pub withdraw_at: Option<(Time, &'static str)>,
    /// An earlier owner may have sent it.
    pub resent: bool,
    /// It was asked back because of the abort, or because nobody took it.
    pub withdraw_code: Option<&'static str>,
}

/// What became due, of a saga's flights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Its attempt's time is over.
    Unknown,
    /// Nobody took it in time.
    Withdraw,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flights(BTreeMap<(StepIndex, OperationKind), Flight>);

impl Flights {
    pub fn get(&self, step: StepIndex, operation: OperationKind, attempt: u32) -> Option<&Flight> {
        self.0
            .get(&(step, operation))
            .filter(|flight| flight.attempt == attempt)
    }

    pub fn get_mut(
        &mut self,
        step: StepIndex,
        operation: OperationKind,
        attempt: u32,
    ) -> Option<&mut Flight> {
        self.0
            .get_mut(&(step, operation))
            .filter(|flight| flight.attempt == attempt)
    }

    /// Its result is there: nobody waits for it any more.
    pub fn land(&mut self, step: StepIndex, operation: OperationKind, attempt: u32) {
        if self.get(step, operation, attempt).is_some() {
            self.0.remove(&(step, operation));
        }
    }

    /// The earliest time at which one of them becomes overdue.
    pub fn wake_at(&self) -> Option<Time> {
        self.0
            .values()
            .flat_map(|flight| [flight.deadline, flight.withdraw_at.map(|(at, _)| at)])
            .flatten()
            .min()
    }

    /// Those that are overdue, each once.
    pub fn take_overdue(&mut self, now: Time) -> Vec<(StepIndex, OperationKind, u32, Overdue)> {
        let mut overdue = Vec::new();
        for ((step, operation), flight) in &mut self.0 {
            if flight.deadline.is_some_and(|deadline| deadline <= now) {
                flight.deadline = None;
                overdue.push((*step, *operation, flight.attempt, Overdue::Unknown));
            } else if let Some((at, code)) = flight.withdraw_at
                && at <= now
            {
                flight.withdraw_at = None;
                flight.withdraw_code = Some(code);
                overdue.push((*step, *operation, flight.attempt, Overdue::Withdraw));
            }
        }
        overdue
    }

    /// Makes the flights what the state asks for: takes back what is in flight and not due, hands out what is due and not
    /// in flight.
    pub fn reconcile(&mut self, saga: &Saga, due: &Due, frame: &Frame, outputs: &mut Vec<Output>) {
        self.take_back(saga, due, frame, outputs);
        for command in &due.commands {
            if self.is_missing(command) {
                let resent = frame
                    .loaded_at
                    .is_some_and(|loaded_at| command.due_at <= loaded_at);
                let timeouts = timeouts(saga, command.place.step, command.operation);
                let flight = Flight {
                    attempt: command.attempt,
                    sent_at: None,
                    deadline: None,
                    withdraw_at: withdraw_at(saga, command, timeouts, frame.now),
                    resent,
                    withdraw_code: None,
                };
                self.0
                    .insert((command.place.step, command.operation), flight);
                outputs.push(Output::Send(Box::new(make_command(
                    saga, command, timeouts, frame, resent,
                ))));
            }
        }
        for command in &due.awaited {
            // Only after a takeover: an earlier owner may have sent it, and its result gets one more attempt's time.
            if self.is_missing(command) {
                let attempt_time = timeouts(saga, command.place.step, command.operation).attempt;
                let flight = Flight {
                    attempt: command.attempt,
                    sent_at: None,
                    deadline: Some(frame.now + attempt_time),
                    withdraw_at: None,
                    resent: true,
                    withdraw_code: None,
                };
                self.0
                    .insert((command.place.step, command.operation), flight);
            }
        }
    }

    /// Asks back what the state does not ask for any more.
    fn take_back(&mut self, saga: &Saga, due: &Due, frame: &Frame, outputs: &mut Vec<Output>) {
        let wanted = |list: &[DueCommand], key: &(StepIndex, OperationKind), attempt: u32| {
            list.iter().any(|command| {
                (command.place.step, command.operation) == *key && command.attempt == attempt
            })
        };
        self.0.retain(|key, flight| {
            if wanted(&due.commands, key, flight.attempt) {
                return true;
            }
            if wanted(&due.awaited, key, flight.attempt) {
                flight.ask_back(saga, *key, frame, outputs);
                return true;
            }
            let asked = flight.withdraw_code.is_some();
            if !asked || flight.sent_at.is_some() {
                outputs.push(withdraw(saga, key.0, key.1, flight.attempt));
            }
            // An older attempt ended the operation, and this one is still in doubt: that it never left would settle it.
            let in_doubt = flight.sent_at.is_none()
                && !flight.resent
                && saga.end.is_none()
                && saga.operation(key.0, key.1).is_in_doubt(flight.attempt);
            if in_doubt {
                flight.withdraw_code.get_or_insert("OVERTAKEN");
                flight.withdraw_at = None;
            }
            in_doubt
        });
    }

    fn is_missing(&self, command: &DueCommand) -> bool {
        self.get(command.place.step, command.operation, command.attempt)
            .is_none()
    }
}

impl Flight {
    /// The abort came after its scheduling: it must not leave any more, nor again on another stream (I9); if it has left, its
    /// result is awaited.
    fn ask_back(
        &mut self,
        saga: &Saga,
        (step, operation): (StepIndex, OperationKind),
        frame: &Frame,
        outputs: &mut Vec<Output>,
    ) {
        if self.withdraw_code.is_some() {
            return;
        }
        self.withdraw_code = Some("ABORTED");
        self.withdraw_at = None;
        // What an earlier owner may have sent gets one more attempt's time for its result.
        if self.sent_at.is_none() && self.resent && self.deadline.is_none() {
            self.deadline = Some(frame.now + timeouts(saga, step, operation).attempt);
        }
        outputs.push(withdraw(saga, step, operation, self.attempt));
    }
}

/// What commands and their times depend on, beside their saga.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub incarnation: Incarnation,
    pub epoch: u64,
    /// When the saga came from the store: what was due by then may have been sent before. None if it began in memory.
    pub loaded_at: Option<Time>,
    pub now: Time,
}

/// The times of an operation.
pub(super) fn timeouts(saga: &Saga, step: StepIndex, operation: OperationKind) -> &Timeouts {
    let step = saga.definition().step(step);
    match (operation, step.compensation()) {
        (OperationKind::Compensate, Compensation::Call(call)) => call.timeouts(),
        (OperationKind::Forward | OperationKind::Compensate | OperationKind::Query, _) => {
            step.timeouts()
        }
    }
}

/// When a command that nobody took is taken back: at the end of its time to be taken, or of all attempts' time. A
/// compensation is not: it is owed whether somebody takes it or not, and parks in the end.
fn withdraw_at(
    saga: &Saga,
    command: &DueCommand,
    timeouts: &Timeouts,
    now: Time,
) -> Option<(Time, &'static str)> {
    if command.operation == OperationKind::Compensate {
        return None;
    }
    let first_at = saga
        .operation(command.place.step, command.operation)
        .first_at
        .unwrap_or(now);
    let schedule = timeouts
        .schedule
        .map(|schedule| (now.max(command.due_at) + schedule, "SCHEDULE_TIMEOUT"));
    let total = timeouts
        .total
        .map(|total| (first_at + total, "TOTAL_TIMEOUT"));
    [schedule, total]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
}

/// The action that an operation calls.
pub(super) fn action(
    saga: &Saga,
    step: StepIndex,
    operation: OperationKind,
) -> Option<&ActionName> {
    let step = saga.definition().step(step);
    match (operation, step.compensation()) {
        (OperationKind::Compensate, Compensation::Call(call)) => Some(call.action()),
        (OperationKind::Query, _) => step.call().and_then(amends_definitions::Call::query),
        (OperationKind::Forward | OperationKind::Compensate, _) => step.action(),
    }
}

/// How long an attempt that is sent now may take: its own time, and what is left of all attempts' time.
pub(super) fn attempt_time(
    saga: &Saga,
    step: StepIndex,
    operation: OperationKind,
    now: Time,
) -> Duration {
    let timeouts = timeouts(saga, step, operation);
    let first_at = saga.operation(step, operation).first_at.unwrap_or(now);
    timeouts.total.map_or(timeouts.attempt, |total| {
        timeouts.attempt.min((first_at + total).since(now))
    })
}

pub(super) fn withdraw(
    saga: &Saga,
    step: StepIndex,
    operation: OperationKind,
    attempt: u32,
) -> Output {
    Output::Withdraw {
        namespace: saga.started().namespace.clone(),
        attempt: AttemptName {
            saga: saga.id(),
            name: OperationName {
                step: saga.definition().step(step).id().into(),
                item: 0,
                round: 0,
                operation,
            },
            attempt,
        },
        action: action(saga, step, operation)
            .expect("what is in flight calls an action")
            .clone(),
    }
}

fn make_command(
    saga: &Saga,
    due: &DueCommand,
    timeouts: &Timeouts,
    frame: &Frame,
    resent: bool,
) -> Command {
    let started = saga.started();
    let key = |operation| OperationKey {
        incarnation: frame.incarnation,
        namespace: started.namespace.to_string(),
        saga: saga.id(),
        step: saga.definition().step(due.place.step).id().to_owned(),
        item: 0,
        round: 0,
        operation,
    };
    let forward_key = match due.operation {
        OperationKind::Forward => None,
        OperationKind::Compensate | OperationKind::Query => Some(key(OperationKind::Forward)),
    };
    let input = saga.operation(due.place.step, due.operation).input.clone();
    Command {
        key: key(due.operation),
        forward_key,
        attempt: due.attempt,
        action: action(saga, due.place.step, due.operation)
            .expect("what is due calls an action")
            .clone(),
        definition: started.definition.clone(),
        revision: started.revision,
        epoch: frame.epoch,
        input: input.unwrap_or_else(amends_definitions::Payload::empty_object),
        timeout: attempt_time(saga, due.place.step, due.operation, frame.now).min(timeouts.attempt),
        heartbeat: timeouts.heartbeat,
        traceparent: started.traceparent.clone(),
        tracestate: started.tracestate.clone(),
        due_at: due.due_at,
        resent,
    }
}
