//! What places go through without a participant: skipped, listed, failed, gone past, and what a person decides.

use std::sync::Arc;

use amends_definitions::{Payload, Work};

use crate::fact::{ChildOutcome, Fact};
use crate::id::Place;
use crate::outcome::OperationKind;
use crate::saga::evolve::attempt::listed;
use crate::saga::evolve::{operation_mut, payload_bytes, place_mut, refused_phase};
use crate::saga::mark::Mark;
use crate::saga::place::{Failure, Operation, Phase, PlaceStatus, StepStatus};
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
        Fact::Started(_)
        | Fact::TurnGranted
        | Fact::Scheduled { .. }
        | Fact::AttemptEnded(_)
        | Fact::Withdrawn { .. }
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
    let child = operation == OperationKind::Forward && saga.runs_child(place);
    let Some(target) = operation_mut(saga, place, operation) else {
        return;
    };
    if child || target.attempt == 0 {
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
        let places = &mut Arc::make_mut(items).places;
        for at in 0..places.len() {
            if !places.mark(at).has(Mark::DONE)
                && let Some(item) = places.get_mut(at)
            {
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
    // A compensation that is not parked goes its way: what was undone by hand is a leak.
    if operation == OperationKind::Compensate && target.phase != Phase::Parked {
        return;
    }
    target.effect = true;
    succeeded(target, Some(output.clone()));
    if operation == OperationKind::Forward
        && let Some(status) = place_mut(saga, place)
        && let Some(child) = &mut status.child
    {
        // A child that had not completed has nothing that it could undo: what stands for it now is the person's.
        if !matches!(child.outcome, Some(ChildOutcome::Completed { .. })) {
            child.pinned = None;
        }
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
    if place.compensation.phase == Phase::Parked {
        place.compensation.phase = Phase::NothingToUndo;
    }
}

pub(super) fn succeeded(target: &mut Operation, output: Option<Payload>) {
    target.output = output;
    target.error = None;
    target.failure = None;
    target.phase = Phase::Succeeded;
}

pub(super) fn set_forward(saga: &mut Saga, place: Place, phase: Phase) {
    if let Some(status) = place_mut(saga, place) {
        status.forward.phase = phase;
    }
}

fn step_failed(saga: &mut Saga, place: Place, operation: OperationKind, code: &str, message: &str) {
    let step = saga.definition.steps().get(place.step.index());
    let on_purpose = step.is_some_and(|step| match step.work() {
        Work::Fail(fail) => fail.code() == code,
        Work::Call(_) | Work::Wait(_) | Work::Sleep(_) | Work::Saga(_) | Work::Emit(_) => false,
    });
    let Some(target) = operation_mut(saga, place, operation) else {
        return;
    };
    target.error = Some((code.to_owned(), message.to_owned()));
    target.failure = Some(match target.phase {
        Phase::Awaiting { .. } => Failure::TimedOut,
        Phase::Waiting if on_purpose => Failure::Refused,
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
