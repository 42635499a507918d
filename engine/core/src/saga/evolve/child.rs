//! Child sagas, as their parent knows them.

use crate::fact::{ChildOutcome, ChildRequested, Fact};
use crate::id::Place;
use crate::outcome::OperationKind;
use crate::saga::evolve::place::succeeded;
use crate::saga::evolve::{payload_bytes, place_mut};
use crate::saga::place::{ChildStatus, Failure, Operation, Phase, PinnedChild};
use crate::saga::state::Saga;

/// The facts about children.
pub(super) fn evolve(saga: &mut Saga, fact: &Fact) {
    match fact {
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
        | Fact::Skipped { .. }
        | Fact::ItemsListed { .. }
        | Fact::Scheduled { .. }
        | Fact::StepFailed { .. }
        | Fact::AttemptEnded(_)
        | Fact::Withdrawn { .. }
        | Fact::SignalAwaited { .. }
        | Fact::SignalReceived(_)
        | Fact::SignalConsumed { .. }
        | Fact::SignalUnconsumed { .. }
        | Fact::Sleeping { .. }
        | Fact::Slept { .. }
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
