//! What places go through beside attempts: items, waits, sleeps, children, events, and what a person decides.

use std::sync::Arc;

use amends_definitions::Payload;

use crate::fact::{ChildOutcome, ChildRequested, Fact};
use crate::id::Place;
use crate::outcome::OperationKind;
use crate::saga::evolve::attempt::listed;
use crate::saga::evolve::{operation_mut, payload_bytes, place_mut, refused_phase};
use crate::saga::place::{
    ChildStatus, Failure, Operation, Phase, PinnedChild, PlaceStatus, StepStatus,
};
use crate::saga::state::Saga;
use crate::time::Time;

/// The facts about places that no attempt is part of.
pub(super) fn evolve(saga: &mut Saga, fact: &Fact) {
    match fact {
        Fact::Skipped { step } => set_forward(saga, Place::from(*step), Phase::Skipped),
        Fact::ItemsListed { step, items, keys } => {
            saga.payload_bytes += payload_bytes(items);
            if let Some(status) = saga.steps.get_mut(step.index()) {
                let values = items.items().unwrap_or_default();
                status.items = Some(listed(values, keys));
                status.itself.forward.phase = Phase::Listed;
            }
        }
        Fact::StepFailed {
            place,
            operation,
            code,
            message,
        } => step_failed(saga, *place, *operation, code, message),
        Fact::SignalAwaited { place, until } => {
            set_forward(saga, *place, Phase::Awaiting { until: *until });
        }
        Fact::SignalConsumed { place, number } => {
            let taken = saga
                .signals
                .as_mut()
                .and_then(|signals| Arc::make_mut(signals).take(*number));
            if let (Some(signal), Some(status)) = (taken, place_mut(saga, *place)) {
                succeeded(&mut status.forward, Some(signal.payload));
            }
        }
        Fact::Sleeping { place, until } => {
            set_forward(saga, *place, Phase::Sleeping { until: *until });
        }
        Fact::Slept { place } => {
            if let Some(status) = place_mut(saga, *place) {
                succeeded(&mut status.forward, None);
            }
        }
        Fact::Emitted { place, data, .. } => {
            saga.payload_bytes += payload_bytes(data);
            if let Some(status) = place_mut(saga, *place) {
                status.forward.effect = true;
                succeeded(&mut status.forward, None);
            }
        }
        Fact::Continued { place, output } => {
            saga.payload_bytes += output.as_ref().map_or(0, payload_bytes);
            if let Some(status) = place_mut(saga, *place) {
                status.forward.output = output.clone();
                status.forward.phase = Phase::Continued;
            }
        }
        Fact::Settling { place, until } => {
            if let Some(status) = place_mut(saga, *place) {
                status.compensation.phase = Phase::Settling { until: *until };
            }
        }
        Fact::ChildRequested(requested) => child_requested(saga, requested),
        Fact::ChildPinned {
            place,
            round,
            child,
            revision,
            hash,
        } => {
            let pinned = PinnedChild {
                child: *child,
                revision: *revision,
                hash: *hash,
            };
            child_pinned(saga, *place, *round, pinned);
        }
        Fact::ChildEnded {
            place,
            round,
            operation,
            outcome,
        } => child_ended(saga, *place, *round, *operation, outcome),
        Fact::Started(_)
        | Fact::TurnGranted
        | Fact::Scheduled { .. }
        | Fact::AttemptEnded(_)
        | Fact::Withdrawn { .. }
        | Fact::SignalReceived(_)
        | Fact::SignalUnconsumed { .. }
        | Fact::DeadlinePassed
        | Fact::AbortDecided(_)
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

/// A person has an operation tried again, with the input that it has: one more attempt, or all that led to it.
pub(super) fn retried(saga: &mut Saga, place: Place, operation: OperationKind, at: Time) {
    let order = saga.last_order.saturating_add(1);
    let Some(target) = operation_mut(saga, place, operation) else {
        return;
    };
    if target.attempt == 0 || target.input.is_none() {
        target.failure = None;
        target.phase = Phase::Waiting;
        return;
    }
    target.uncounted = target.attempt;
    target.attempt = target.attempt.saturating_add(1);
    target.unclear.insert(target.attempt);
    target.first_at = Some(at);
    target.failure = None;
    target.phase = Phase::Scheduled { due_at: at };
    target.order = order;
    saga.last_order = order;
    if operation == OperationKind::Forward
        && let Some(status) = place_mut(saga, place)
        && let Some(query) = &mut status.query
    {
        // What it answers next is about more attempts than before.
        query.phase = Phase::Waiting;
    }
}

/// A person takes a place for skipped; a step, with all its items that are not done. What it may have done stays owed.
pub(super) fn skipped(saga: &mut Saga, place: Place) {
    if place.item == 0
        && let Some(StepStatus {
            items: Some(items), ..
        }) = saga.steps.get_mut(place.step.index())
    {
        for item in &mut Arc::make_mut(items).places {
            if !item.forward.lets_go_on() {
                item.forward.phase = Phase::Skipped;
            }
        }
        // Its own phase follows from its items.
        return;
    }
    set_forward(saga, place, Phase::Skipped);
}

/// A person takes an operation for done.
pub(super) fn resolved(saga: &mut Saga, place: Place, operation: OperationKind, output: &Payload) {
    let Some(target) = operation_mut(saga, place, operation) else {
        return;
    };
    target.effect = true;
    succeeded(target, Some(output.clone()));
    if operation == OperationKind::Forward
        && let Some(status) = place_mut(saga, place)
        && let Some(child) = &mut status.child
    {
        let output = output.clone();
        child.outcome = Some(ChildOutcome::Completed { output });
    }
}

/// The action is known to have had no effect.
pub(super) fn absent(place: &mut PlaceStatus) {
    place.forward.unclear.clear();
    place.forward.effect = false;
    if !place.forward.lets_go_on() {
        place.forward.phase = Phase::Refused;
        place.forward.failure = Some(Failure::Refused);
    }
}

fn succeeded(target: &mut Operation, output: Option<Payload>) {
    target.output = output;
    target.error = None;
    target.failure = None;
    target.phase = Phase::Succeeded;
}

fn set_forward(saga: &mut Saga, place: Place, phase: Phase) {
    if let Some(status) = place_mut(saga, place) {
        status.forward.phase = phase;
    }
}

fn step_failed(saga: &mut Saga, place: Place, operation: OperationKind, code: &str, message: &str) {
    let Some(target) = operation_mut(saga, place, operation) else {
        return;
    };
    target.error = Some((code.to_owned(), message.to_owned()));
    target.failure = Some(match target.phase {
        Phase::Awaiting { .. } => Failure::TimedOut,
        Phase::Waiting
        | Phase::Listed
        | Phase::Settling { .. }
        | Phase::Scheduled { .. }
        | Phase::Sleeping { .. }
        | Phase::ChildRequested
        | Phase::ChildUnderWay
        | Phase::Succeeded
        | Phase::Continued
        | Phase::Unusable
        | Phase::Skipped
        | Phase::Refused
        | Phase::Unresolved
        | Phase::NothingToUndo
        | Phase::Parked => Failure::NotSent,
    });
    // What had its effect and fails all the same has an output that cannot be used.
    let unusable = operation == OperationKind::Forward && target.phase == Phase::Succeeded;
    if unusable {
        target.output = None;
        target.phase = Phase::Unusable;
    } else {
        target.phase = refused_phase(operation);
    }
}

fn child_requested(saga: &mut Saga, requested: &ChildRequested) {
    saga.payload_bytes += payload_bytes(&requested.input);
    let order = saga.last_order.saturating_add(1);
    let Some(status) = place_mut(saga, requested.place) else {
        return;
    };
    status.child = Some(Box::new(ChildStatus {
        requested: requested.clone(),
        pinned: None,
        outcome: None,
    }));
    status.forward = Operation {
        phase: Phase::ChildRequested,
        round: requested.round,
        input: Some(requested.input.clone()),
        attempt: 1,
        order,
        ..Operation::default()
    };
    saga.last_order = order;
}

fn child_pinned(saga: &mut Saga, place: Place, round: u32, pinned: PinnedChild) {
    if let Some(status) = place_mut(saga, place)
        && let Some(child) = &mut status.child
        && child.requested.round == round
    {
        child.pinned = Some(pinned);
        status.forward.unclear.insert(1);
        status.forward.phase = Phase::ChildUnderWay;
    }
}

fn child_ended(
    saga: &mut Saga,
    place: Place,
    round: u32,
    operation: OperationKind,
    outcome: &ChildOutcome,
) {
    if let ChildOutcome::Completed { output } = outcome {
        saga.payload_bytes += payload_bytes(output);
    }
    let Some(status) = place_mut(saga, place) else {
        return;
    };
    let Some(child) = &mut status.child else {
        return;
    };
    if child.requested.round != round {
        return;
    }
    child.outcome = Some(outcome.clone());
    match operation {
        OperationKind::Forward | OperationKind::Query => child_done(&mut status.forward, outcome),
        OperationKind::Compensate => child_undone(&mut status.compensation, outcome),
    }
}

fn child_done(forward: &mut Operation, outcome: &ChildOutcome) {
    match outcome {
        ChildOutcome::Completed { output } => {
            forward.effect = true;
            succeeded(forward, Some(output.clone()));
        }
        ChildOutcome::Compensated { code, message } | ChildOutcome::Refused { code, message } => {
            forward.unclear.clear();
            forward.error = Some((code.clone(), message.clone()));
            forward.failure = Some(Failure::Refused);
            forward.phase = Phase::Refused;
        }
        ChildOutcome::Terminated { message } => {
            forward.error = Some(("CHILD_TERMINATED".into(), message.clone()));
            forward.failure = Some(Failure::Exhausted);
            forward.phase = Phase::Unresolved;
        }
    }
}

fn child_undone(compensation: &mut Operation, outcome: &ChildOutcome) {
    match outcome {
        ChildOutcome::Compensated { .. } => succeeded(compensation, None),
        ChildOutcome::Refused { .. } => compensation.phase = Phase::NothingToUndo,
        ChildOutcome::Completed { .. } | ChildOutcome::Terminated { .. } => {
            compensation.error = Some((
                "CHILD_NOT_UNDONE".into(),
                match outcome {
                    ChildOutcome::Terminated { message } => message.clone(),
                    ChildOutcome::Completed { .. }
                    | ChildOutcome::Compensated { .. }
                    | ChildOutcome::Refused { .. } => "it has completed".to_owned(),
                },
            ));
            compensation.phase = Phase::Parked;
        }
    }
}
