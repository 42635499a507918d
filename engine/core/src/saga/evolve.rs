//! State from a fact: the only way a saga changes. Total: any fact on any state gives a state, and never a panic, as long
//! as its step exists (`replay` checks that for what comes from a journal).

use std::sync::Arc;

use amends_definitions::{Definition, Payload, StepIndex};

use crate::fact::{AttemptEnded, Fact, Started};
use crate::id::SagaId;
use crate::outcome::{OperationKind, Outcome};
use crate::saga::state::{
    Abort, CancelRequest, End, OpenIncident, Operation, Phase, Saga, StepStatus,
};
use crate::time::Time;

/// The state after the first fact.
pub(crate) fn begin(id: SagaId, definition: Arc<Definition>, started: Started, at: Time) -> Saga {
    let steps = definition
        .steps()
        .iter()
        .map(|_| StepStatus {
            forward: Operation::default(),
            compensation: Operation::default(),
        })
        .collect();
    Saga {
        id,
        payload_bytes: payload_bytes(&started.input),
        definition,
        started: Arc::new(started),
        started_at: at,
        updated_at: at,
        ended_at: None,
        end: None,
        abort: None,
        cancel_pending: None,
        incidents: Vec::new(),
        steps,
        facts: 1,
    }
}

/// The state after one more fact.
pub(crate) fn evolve(saga: &mut Saga, fact: &Fact, at: Time) {
    saga.facts = saga.facts.saturating_add(1);
    saga.updated_at = at;
    match fact {
        // A second start says nothing: `replay` refuses it.
        Fact::Started(_) => {}
        Fact::Skipped { step } => saga.steps[step.index()].forward.phase = Phase::Skipped,
        Fact::Scheduled {
            place,
            operation,
            input,
            ..
        } => scheduled(saga, place.step, *operation, input, at),
        Fact::StepFailed {
            place,
            operation,
            code,
            message,
        } => {
            let target = operation_mut(saga, place.step, *operation);
            target.error = Some((code.clone(), message.clone()));
            target.phase = refused_phase(*operation);
        }
        Fact::AttemptEnded(ended) => attempt_ended(saga, ended, at),
        Fact::Withdrawn {
            place,
            operation,
            attempt,
            code,
            ..
        } => {
            let target = operation_mut(saga, place.step, *operation);
            withdrawn(target, *operation, *attempt, code);
        }
        Fact::AbortDecided(reason) => {
            saga.abort = Some(Abort {
                reason: reason.clone(),
                at,
            });
            saga.cancel_pending = None;
            abandon_pending_retries(saga, at);
        }
        Fact::Settling { place, until } => {
            saga.steps[place.step.index()].compensation.phase = Phase::Settling { until: *until };
        }
        Fact::CancelPending { by, reason } => {
            saga.cancel_pending = Some(CancelRequest {
                by: by.clone(),
                reason: reason.clone(),
            });
        }
        Fact::CancelDropped => saga.cancel_pending = None,
        Fact::LateResult { .. } => {}
        Fact::TurnGranted
        | Fact::ItemsListed { .. }
        | Fact::SignalAwaited { .. }
        | Fact::SignalReceived(_)
        | Fact::SignalConsumed { .. }
        | Fact::SignalUnconsumed { .. }
        | Fact::Sleeping { .. }
        | Fact::Slept { .. }
        | Fact::ChildRequested(_)
        | Fact::ChildPinned { .. }
        | Fact::ChildEnded { .. }
        | Fact::Emitted { .. }
        | Fact::Continued { .. }
        | Fact::DeadlinePassed
        | Fact::Operated(_) => {}
        Fact::IncidentOpened(incident) => {
            saga.incidents.push(OpenIncident {
                incident: incident.clone(),
                opened_at: at,
            });
        }
        Fact::IncidentClosed { place, operation } => saga
            .incidents
            .retain(|open| open.incident.place != *place || open.incident.operation != *operation),
        Fact::Completed { output } => {
            saga.payload_bytes += payload_bytes(output);
            saga.end = Some(End::Completed(output.clone()));
            saga.ended_at = Some(at);
        }
        Fact::Compensated => {
            saga.end = Some(End::Compensated);
            saga.ended_at = Some(at);
        }
    }
}

fn scheduled(
    saga: &mut Saga,
    step: StepIndex,
    operation: OperationKind,
    input: &Payload,
    at: Time,
) {
    let order = 1 + saga
        .steps
        .iter()
        .map(|status| status.forward.order.max(status.compensation.order))
        .max()
        .unwrap_or(0);
    saga.payload_bytes += payload_bytes(input);
    let target = operation_mut(saga, step, operation);
    target.phase = Phase::Scheduled { due_at: at };
    target.input = Some(input.clone());
    target.attempt = 1;
    target.first_at = Some(at);
    target.unclear.insert(1);
    target.order = order;
}

fn withdrawn(target: &mut Operation, operation: OperationKind, attempt: u32, code: &str) {
    target.unclear.remove(&attempt);
    // One that was overtaken says nothing about how its operation ended.
    if matches!(target.phase, Phase::Scheduled { .. }) {
        target.error = Some((code.to_owned(), "it was never sent".into()));
    }
    target.phase = ended_phase(target, operation);
}

fn attempt_ended(saga: &mut Saga, ended: &AttemptEnded, at: Time) {
    if let Outcome::Succeeded { output } = &ended.outcome {
        saga.payload_bytes += payload_bytes(output);
    }
    let operation = ended.operation;
    let target = operation_mut(saga, ended.place.step, operation);
    target.barrier |= ended.verdict.is_some();
    // While an older attempt ends, the one under way was sent, if it was, at some time until now.
    let under_way = matches!(target.phase, Phase::Scheduled { due_at } if due_at <= at);
    let overtaken = (under_way && ended.attempt < target.attempt).then_some(at);
    target.last_sent_at = target.last_sent_at.max(ended.sent_at).max(overtaken);
    if let Some((code, message)) = ended.outcome.error() {
        target.error = Some((code.to_owned(), message.to_owned()));
    }
    match &ended.outcome {
        Outcome::Succeeded { output } => {
            target.output = Some(output.clone());
            target.error = None;
            target.phase = Phase::Succeeded;
        }
        Outcome::Unusable { .. } => target.phase = Phase::Unusable,
        Outcome::NothingToUndo => target.phase = Phase::NothingToUndo,
        Outcome::Rejected { .. }
        | Outcome::Fatal { .. }
        | Outcome::Superseded
        | Outcome::Absent => {
            if ended.verdict.is_some() {
                // The barrier's recorded "no" speaks for the operation: no attempt had, or will have, an effect.
                target.unclear.clear();
            } else {
                target.unclear.remove(&ended.attempt);
                abandon_pending_retry(target, at);
            }
            target.phase = refused_phase(operation);
        }
        Outcome::Failed { .. } | Outcome::Unknown { .. } => match ended.retry_at {
            Some(due_at) => {
                target.attempt = ended.attempt.saturating_add(1);
                target.unclear.insert(target.attempt);
                target.phase = Phase::Scheduled { due_at };
            }
            None => target.phase = ended_phase(target, operation),
        },
    }
}

/// An abort lets no forward attempt begin: those that were not yet due never will be.
fn abandon_pending_retries(saga: &mut Saga, at: Time) {
    for status in &mut saga.steps {
        let forward = &mut status.forward;
        if abandon_pending_retry(forward, at) {
            forward.phase = ended_phase(forward, OperationKind::Forward);
        }
    }
}

/// An attempt that was not yet due never left. False if there is none.
fn abandon_pending_retry(operation: &mut Operation, at: Time) -> bool {
    let pending = matches!(operation.phase, Phase::Scheduled { due_at } if due_at > at);
    if pending {
        operation.unclear.remove(&operation.attempt);
    }
    pending
}

/// Where an operation is that ended without success and without a "no" of its own.
fn ended_phase(operation: &Operation, kind: OperationKind) -> Phase {
    match kind {
        OperationKind::Forward if operation.unclear.is_empty() => Phase::Refused,
        OperationKind::Forward => Phase::Unresolved,
        OperationKind::Compensate | OperationKind::Query => Phase::Parked,
    }
}

fn refused_phase(kind: OperationKind) -> Phase {
    match kind {
        OperationKind::Forward => Phase::Refused,
        OperationKind::Compensate | OperationKind::Query => Phase::Parked,
    }
}

fn operation_mut(saga: &mut Saga, step: StepIndex, operation: OperationKind) -> &mut Operation {
    let status = &mut saga.steps[step.index()];
    match operation {
        OperationKind::Forward => &mut status.forward,
        OperationKind::Compensate | OperationKind::Query => &mut status.compensation,
    }
}

fn payload_bytes(payload: &Payload) -> u64 {
    u64::try_from(payload.as_bytes().len()).unwrap_or(u64::MAX)
}
