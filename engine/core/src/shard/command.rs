//! Commands and their times, made of a saga's state: nothing here is kept.

use std::time::Duration;

use amends_definitions::{Compensation, Payload, StepIndex, Timeouts};

use crate::id::{AttemptName, Incarnation, OperationKey, OperationName};
use crate::outcome::OperationKind;
use crate::saga::{DueCommand, Saga};
use crate::shard::entry::Inherited;
use crate::shard::flight::Attempt;
use crate::shard::io::{Command, Output};
use crate::time::Time;

/// What commands and their times depend on, beside their saga.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub incarnation: Incarnation,
    pub epoch: u64,
    /// What an earlier owner may have sent; none if the saga began with this one.
    pub inherited: Option<&'a Inherited>,
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
pub(super) fn withdraw_at(
    saga: &Saga,
    command: &DueCommand,
    timeouts: &Timeouts,
    now: Time,
) -> Option<(Time, &'static str)> {
    if command.operation == OperationKind::Compensate {
        return None;
    }
    let first_at = saga
        .operation(command.place, command.operation)
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

/// How long an attempt that is sent now may take: its own time, and what is left of all attempts' time.
pub(super) fn attempt_time(saga: &Saga, attempt: Attempt, now: Time) -> Duration {
    let timeouts = timeouts(saga, attempt.place.step, attempt.operation);
    let operation = saga.operation(attempt.place, attempt.operation);
    let first_at = operation.first_at.unwrap_or(now);
    timeouts.total.map_or(timeouts.attempt, |total| {
        timeouts.attempt.min((first_at + total).since(now))
    })
}

pub(super) fn withdraw(saga: &Saga, attempt: Attempt) -> Output {
    Output::Withdraw {
        namespace: saga.started().namespace.clone(),
        attempt: attempt_name(saga, attempt),
        action: saga
            .action(attempt.place.step, attempt.operation)
            .expect("what is in flight calls an action")
            .clone(),
    }
}

/// What everybody outside calls an attempt.
pub(super) fn attempt_name(saga: &Saga, attempt: Attempt) -> AttemptName {
    let step = saga.definition().step(attempt.place.step);
    AttemptName {
        saga: saga.id(),
        name: OperationName {
            step: step.shared_id().clone(),
            item: attempt.place.item,
            round: attempt.round,
            operation: attempt.operation,
        },
        attempt: attempt.attempt,
    }
}

pub(super) fn make_command(
    saga: &Saga,
    due: &DueCommand,
    timeouts: &Timeouts,
    frame: &Frame<'_>,
    resent: bool,
) -> Command {
    let started = saga.started();
    let key = |operation, round| OperationKey {
        incarnation: frame.incarnation,
        namespace: started.namespace.clone(),
        saga: saga.id(),
        step: saga.definition().step(due.place.step).shared_id().clone(),
        item: due.place.item,
        round,
        operation,
    };
    let forward_key = match due.operation {
        OperationKind::Forward => None,
        OperationKind::Compensate | OperationKind::Query => {
            let round = saga.operation(due.place, OperationKind::Forward).round;
            Some(key(OperationKind::Forward, round))
        }
    };
    let input = saga.operation(due.place, due.operation).input.clone();
    Command {
        key: key(due.operation, due.round),
        forward_key,
        attempt: due.attempt,
        action: saga
            .action(due.place.step, due.operation)
            .expect("what is due calls an action")
            .clone(),
        definition: started.definition.clone(),
        revision: started.revision,
        epoch: frame.epoch,
        input: input.unwrap_or_else(Payload::empty_object),
        timeout: attempt_time(saga, Attempt::from(due), frame.now).min(timeouts.attempt),
        heartbeat: timeouts.heartbeat,
        traceparent: started.traceparent.clone(),
        tracestate: started.tracestate.clone(),
        due_at: due.due_at,
        resent,
    }
}
