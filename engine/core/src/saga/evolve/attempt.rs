//! What attempts do to their operation: scheduled, ended, withdrawn, abandoned by an abort.

use std::sync::Arc;

use amends_definitions::{Payload, StepIndex};

use crate::fact::{AttemptEnded, Fact};
use crate::id::Place;
use crate::outcome::{OperationKind, Outcome};
use crate::saga::evolve::{ended_phase, operation_mut, payload_bytes, place_mut, refused_phase};
use crate::saga::mark::Mark;
use crate::saga::marked::Marked;
use crate::saga::place::{Failure, Items, Operation, Phase, PlaceStatus};
use crate::saga::state::Saga;
use crate::time::Time;

/// The facts about attempts.
pub(super) fn evolve(saga: &mut Saga, fact: &Fact, at: Time) {
    match fact {
        Fact::Scheduled {
            place,
            operation,
            round,
            input,
        } => scheduled(saga, *place, *operation, *round, input, at),
        Fact::AttemptEnded(ended) => attempt_ended(saga, ended, at),
        Fact::Withdrawn {
            place,
            operation,
            round,
            attempt,
            code,
        } => {
            if let Some(target) = operation_mut(saga, *place, *operation)
                && target.round == *round
            {
                withdrawn(target, *operation, *attempt, code);
                if let (OperationKind::Forward, Some(place)) = (operation, place_mut(saga, *place))
                {
                    forget_query(place);
                }
            }
        }
        Fact::Started(_)
        | Fact::TurnGranted
        | Fact::Skipped { .. }
        | Fact::ItemsListed { .. }
        | Fact::StepFailed { .. }
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
        | Fact::AbortDecided(_)
        | Fact::Settling { .. }
        | Fact::CancelPending { .. }
        | Fact::CancelDropped
        | Fact::LateResult { .. }
        | Fact::IncidentOpened(_)
        | Fact::IncidentClosed { .. }
        | Fact::Operated(_)
        | Fact::Completed { .. }
        | Fact::Compensated => {}
    }
}

/// A step under `foreach` has succeeded once each of its items lets go on: its output is the list of theirs.
pub(super) fn settle_listed(saga: &mut Saga, step: StepIndex) {
    let Some(status) = saga.steps.get(step.index()) else {
        return;
    };
    let (phase @ (Phase::Listed | Phase::Succeeded), Some(items)) =
        (status.itself.forward.phase, &status.items)
    else {
        return;
    };
    let (output, phase) = match (items.places.all_have(Mark::DONE), phase) {
        // An item's output turned out to be unusable after all, in the row in which it came.
        (false, Phase::Succeeded) => (None, Phase::Listed),
        (true, Phase::Listed) => {
            let outputs = items.places.iter();
            let outputs = outputs.map(|place| place.forward.output.as_ref());
            (Some(Payload::list(outputs)), Phase::Succeeded)
        }
        (_, _) => return,
    };
    if let Some(status) = saga.steps.get_mut(step.index()) {
        status.itself.forward.output = output;
        status.itself.forward.phase = phase;
    }
    saga.steps.renew(step.index());
}

/// An attempt that was not due by then never left: it never will. What only waited is over, a child that has no revision
/// will not exist, and one that has must be undone.
pub(super) fn abandon(place: &mut PlaceStatus, last_due: Time) {
    let forward = &mut place.forward;
    match forward.phase {
        Phase::Scheduled { .. } => {
            if abandon_pending_retry(forward, last_due) {
                forward.phase = ended_phase(forward, OperationKind::Forward);
            }
        }
        Phase::Awaiting { .. } | Phase::Sleeping { .. } | Phase::ChildRequested => {
            forward.unclear.clear();
            forward.failure = Some(Failure::Overtaken);
            forward.phase = Phase::Refused;
        }
        Phase::ChildUnderWay => forward.phase = Phase::Unresolved,
        Phase::Waiting
        | Phase::Listed
        | Phase::Settling { .. }
        | Phase::Succeeded
        | Phase::Continued
        | Phase::Unusable
        | Phase::Skipped
        | Phase::Refused
        | Phase::Unresolved
        | Phase::NothingToUndo
        | Phase::Parked => {}
    }
}

fn scheduled(
    saga: &mut Saga,
    place: Place,
    operation: OperationKind,
    round: u32,
    input: &Payload,
    at: Time,
) {
    saga.payload_bytes += payload_bytes(input);
    let order = saga.last_order.saturating_add(1);
    let Some(target) = operation_mut(saga, place, operation) else {
        return;
    };
    if target.round == round {
        // The same operation once more: its attempts go on from where they were.
        target.uncounted = target.attempt;
    } else {
        *target = Operation {
            round,
            last_sent_at: target.last_sent_at,
            barrier: target.barrier,
            ..Operation::default()
        };
    }
    target.phase = Phase::Scheduled { due_at: at };
    target.input = Some(input.clone());
    target.attempt = target.attempt.saturating_add(1);
    target.first_at = Some(at);
    target.unclear.insert(target.attempt);
    target.order = order;
    saga.last_order = order;
    if operation == OperationKind::Forward
        && let Some(status) = place_mut(saga, place)
    {
        status.query = None;
    }
}

fn withdrawn(target: &mut Operation, operation: OperationKind, attempt: u32, code: &str) {
    target.unclear.remove(&attempt);
    // One that was overtaken says nothing about how its operation ended.
    if matches!(target.phase, Phase::Scheduled { .. }) {
        target.error = Some((code.to_owned(), "it was never sent".into()));
        target.failure = Some(Failure::Exhausted);
    }
    if !target.lets_go_on() {
        target.phase = ended_phase(target, operation);
    }
}

fn attempt_ended(saga: &mut Saga, ended: &AttemptEnded, at: Time) {
    if let Outcome::Succeeded { output } = &ended.outcome {
        saga.payload_bytes += payload_bytes(output);
    }
    let operation = ended.operation;
    let Some(target) = operation_mut(saga, ended.place, operation) else {
        return;
    };
    if target.round != ended.round {
        return;
    }
    target.barrier |= ended.verdict.is_some();
    // While an older attempt ends, the one under way was sent, if it was, at some time until now.
    let under_way = matches!(target.phase, Phase::Scheduled { due_at } if due_at <= at);
    let overtaken = (under_way && ended.attempt < target.attempt).then_some(at);
    target.last_sent_at = target.last_sent_at.max(ended.sent_at).max(overtaken);
    if let Some((code, message)) = ended.outcome.error() {
        target.error = Some((code.to_owned(), message.to_owned()));
    }
    apply(target, ended, at);
    if let Some(place) = place_mut(saga, ended.place) {
        match operation {
            OperationKind::Query => answered(place, &ended.outcome),
            OperationKind::Forward => forget_query(place),
            OperationKind::Compensate => {}
        }
    }
}

fn apply(target: &mut Operation, ended: &AttemptEnded, at: Time) {
    let operation = ended.operation;
    match &ended.outcome {
        // What a route or a person has gone past stays as it is: only its effect is known now.
        Outcome::Succeeded { .. } | Outcome::Unusable { .. }
            if matches!(target.phase, Phase::Continued | Phase::Skipped) =>
        {
            target.effect = true;
        }
        Outcome::Succeeded { output } => {
            target.output = Some(output.clone());
            target.error = None;
            target.failure = None;
            target.effect = true;
            target.phase = Phase::Succeeded;
        }
        Outcome::Unusable { .. } => {
            target.effect = true;
            target.failure = None;
            target.phase = Phase::Unusable;
        }
        Outcome::NothingToUndo => target.phase = Phase::NothingToUndo,
        Outcome::Absent => {
            target.unclear.clear();
            target.phase = Phase::NothingToUndo;
        }
        Outcome::Rejected { .. } | Outcome::Fatal { .. } | Outcome::Superseded => {
            let fatal = matches!(ended.outcome, Outcome::Fatal { .. });
            if ended.verdict.is_some() && !fatal {
                // The barrier's recorded "no" speaks for the operation: no attempt had, or will have, an effect.
                target.unclear.clear();
            } else if ended.verdict.is_some() {
                // A recorded *fatal* speaks for its attempt and those before it: a later one runs again.
                target.unclear.retain(|attempt| *attempt > ended.attempt);
                abandon_pending_retry(target, at);
            } else {
                target.unclear.remove(&ended.attempt);
                abandon_pending_retry(target, at);
            }
            if !target.lets_go_on() {
                target.failure = Some(failure(&ended.outcome));
                target.phase = refused_phase(operation);
            }
        }
        Outcome::Failed { .. } | Outcome::Unknown { .. } => match ended.retry_at {
            Some(due_at) => {
                target.attempt = ended.attempt.saturating_add(1);
                target.unclear.insert(target.attempt);
                target.phase = Phase::Scheduled { due_at };
            }
            None => {
                target.failure = Some(Failure::Exhausted);
                target.phase = ended_phase(target, operation);
            }
        },
    }
}

/// What kind of "no" an outcome is.
fn failure(outcome: &Outcome) -> Failure {
    match outcome {
        Outcome::Fatal { .. } => Failure::Fatal,
        Outcome::Superseded => Failure::Overtaken,
        Outcome::Succeeded { .. }
        | Outcome::Unusable { .. }
        | Outcome::Rejected { .. }
        | Outcome::Failed { .. }
        | Outcome::Unknown { .. }
        | Outcome::NothingToUndo
        | Outcome::Absent => Failure::Refused,
    }
}

/// What a query says counts as the action's own word.
fn answered(place: &mut PlaceStatus, outcome: &Outcome) {
    let forward = &mut place.forward;
    match outcome {
        Outcome::Succeeded { output } => {
            forward.effect = true;
            if !forward.lets_go_on() {
                forward.output = Some(output.clone());
                forward.error = None;
                forward.failure = None;
                forward.phase = Phase::Succeeded;
            }
        }
        Outcome::Unusable { code, message } => {
            forward.effect = true;
            if !forward.lets_go_on() {
                forward.error = Some((code.clone(), message.clone()));
                forward.failure = None;
                forward.phase = Phase::Unusable;
            }
        }
        Outcome::Absent => {
            forward.unclear.clear();
            if !forward.lets_go_on() {
                forward.phase = Phase::Refused;
            }
        }
        Outcome::Rejected { .. }
        | Outcome::Failed { .. }
        | Outcome::Fatal { .. }
        | Outcome::Unknown { .. }
        | Outcome::NothingToUndo
        | Outcome::Superseded => {}
    }
}

/// The action has said itself what was asked.
fn forget_query(place: &mut PlaceStatus) {
    let settled = place.forward.effect || place.forward.unclear.is_empty();
    if settled
        && let Some(query) = &mut place.query
        && query.is_open()
    {
        query.unclear.clear();
        query.phase = Phase::Skipped;
    }
}

/// An attempt that was not yet due never left. False if there is none.
fn abandon_pending_retry(operation: &mut Operation, last_due: Time) -> bool {
    let pending = matches!(operation.phase, Phase::Scheduled { due_at } if due_at > last_due);
    if pending {
        operation.unclear.remove(&operation.attempt);
    }
    pending
}

/// The places of a list of items.
pub(super) fn listed(values: Vec<Payload>, keys: &[String]) -> Arc<Items> {
    Arc::new(Items {
        places: Marked::new(values.len()),
        values: values.into(),
        keys: keys.into(),
    })
}
