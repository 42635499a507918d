//! State from a fact: the only way a saga changes. Total: any fact on any state gives a state, and never a panic. What is
//! about a place that does not exist changes nothing. Each family of facts has a file of its own.

mod attempt;
mod child;
mod place;
mod waiting;

use std::sync::Arc;

use amends_definitions::{Definition, Payload, StepIndex};

use crate::fact::{AbortReason, Act, AttemptEnded, Fact, Incident, Operated, Started};
use crate::id::{Place, SagaId};
use crate::outcome::{OperationKind, Outcome};
use crate::saga::mark::Mark;
use crate::saga::marked::Marked;
use crate::saga::place::{Operation, Phase, PlaceStatus};
use crate::saga::state::{Abort, CancelRequest, End, OpenIncident, Saga};
use crate::time::Time;

/// The state after the first fact.
pub(crate) fn begin(id: SagaId, definition: Arc<Definition>, started: Started, at: Time) -> Saga {
    let steps = Marked::new(definition.steps().len());
    let mut saga = Saga {
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
        incidents_opened: 0,
        steps,
        last_order: 0,
        turn_granted: false,
        deadline_passed: false,
        signals: None,
        facts: 1,
    };
    saga.turn_granted = !saga.needs_turn();
    saga
}

/// The state after one more fact.
pub(crate) fn evolve(saga: &mut Saga, fact: &Fact, at: Time) {
    saga.facts = saga.facts.saturating_add(1);
    saga.updated_at = at;
    match fact {
        // A second start says nothing: `replay` refuses it.
        Fact::Started(_) => {}
        Fact::LateResult { ended, leak } => late_result(saga, ended, *leak),
        Fact::TurnGranted => saga.turn_granted = true,
        Fact::DeadlinePassed => saga.deadline_passed = true,
        Fact::Scheduled { .. } | Fact::AttemptEnded(_) | Fact::Withdrawn { .. } => {
            attempt::evolve(saga, fact, at);
        }
        Fact::Skipped { .. }
        | Fact::ItemsListed { .. }
        | Fact::StepFailed { .. }
        | Fact::Continued { .. }
        | Fact::Settling { .. } => place::evolve(saga, fact),
        Fact::SignalAwaited { .. }
        | Fact::SignalConsumed { .. }
        | Fact::Sleeping { .. }
        | Fact::Slept { .. }
        | Fact::Emitted { .. } => waiting::evolve(saga, fact),
        Fact::ChildRequested(_) | Fact::ChildPinned { .. } | Fact::ChildEnded { .. } => {
            child::evolve(saga, fact);
        }
        Fact::SignalReceived(signal) => {
            saga.payload_bytes += payload_bytes(&signal.payload);
            Arc::make_mut(saga.signals.get_or_insert_default()).receive(signal);
        }
        Fact::SignalUnconsumed { number } => {
            if let Some(signals) = &mut saga.signals {
                Arc::make_mut(signals).take(*number);
            }
        }
        Fact::AbortDecided(reason) => aborted(saga, reason, at),
        Fact::CancelPending { by, reason } => {
            saga.cancel_pending = Some(CancelRequest {
                by: by.clone(),
                reason: reason.clone(),
            });
        }
        Fact::CancelDropped => saga.cancel_pending = None,
        Fact::IncidentOpened(incident) => incident_opened(saga, incident, at),
        Fact::IncidentClosed { place, operation } => {
            saga.incidents
                .retain(|open| !open.is_about(*place, *operation));
        }
        Fact::Operated(operated) => operated_on(saga, operated, at),
        Fact::Completed { output } => {
            saga.payload_bytes += payload_bytes(output);
            ended(saga, End::Completed(output.clone()), at);
        }
        Fact::Compensated => ended(saga, End::Compensated, at),
    }
    if let Some(place) = fact.place() {
        // By hand a step is skipped with its items.
        let whole = matches!(fact, Fact::Operated(_)) && place.item == 0;
        renew(saga, place.step, (!whole).then_some(place.item));
        attempt::settle_listed(saga, place.step);
    }
}

/// Renews the marks of a step, and of this item of it, or of all.
fn renew(saga: &mut Saga, step: StepIndex, item: Option<u32>) {
    let items = saga.steps.get(step.index());
    let items = items.and_then(|status| status.items.as_ref());
    let count = items.map_or(0, |items| items.places.len());
    let renewed = match item {
        None => 0..count,
        Some(item) => match usize::try_from(item) {
            Ok(item) if (1..=count).contains(&item) => item - 1..item,
            Ok(_) | Err(_) => 0..0,
        },
    };
    // Looked at first: what is as it was must not make a copy of the others.
    let stale = items.is_some_and(|items| renewed.clone().any(|at| items.places.is_stale(at)));
    if stale
        && let Some(status) = saga.steps.get_mut(step.index())
        && let Some(items) = &mut status.items
    {
        let places = &mut Arc::make_mut(items).places;
        for at in renewed {
            places.renew(at);
        }
    }
    saga.steps.renew(step.index());
}

fn ended(saga: &mut Saga, end: End, at: Time) {
    saga.end = Some(end);
    saga.ended_at = Some(at);
}

/// An abort lets nothing begin going forward, and what only waits is over. A saga that had completed goes on: undoing.
fn aborted(saga: &mut Saga, reason: &AbortReason, at: Time) {
    let held_since = saga.held_since();
    saga.abort = Some(Abort {
        reason: reason.clone(),
        at,
    });
    saga.cancel_pending = None;
    if let Some(End::Completed(_)) = saga.end {
        saga.end = None;
        saga.ended_at = None;
    }
    let last_due = held_since.map_or(at, |held| held.min(at));
    for step in saga.definition.step_indices() {
        // What is not under way is not copied.
        if !saga.steps.mark(step.index()).has(Mark::OPEN) {
            continue;
        }
        let Some(status) = saga.steps.get_mut(step.index()) else {
            continue;
        };
        attempt::abandon(&mut status.itself, last_due);
        if let Some(items) = &mut status.items {
            let places = &mut Arc::make_mut(items).places;
            for at in 0..places.len() {
                if places.mark(at).has(Mark::OPEN)
                    && let Some(place) = places.get_mut(at)
                {
                    attempt::abandon(place, last_due);
                }
            }
        }
        renew(saga, step, None);
    }
}

/// What comes too late decides nothing; but that an effect which is still to be undone did happen is known from now on.
fn late_result(saga: &mut Saga, ended: &AttemptEnded, leak: bool) {
    if let Outcome::Succeeded { output } = &ended.outcome {
        saga.payload_bytes += payload_bytes(output);
    }
    if !leak
        && ended.operation == OperationKind::Forward
        && let Some(status) = place_mut(saga, ended.place)
    {
        status.forward.effect = true;
    }
}

fn incident_opened(saga: &mut Saga, incident: &Incident, at: Time) {
    saga.incidents_opened = saga.incidents_opened.saturating_add(1);
    saga.incidents.push(OpenIncident {
        number: saga.incidents_opened,
        incident: Arc::new(incident.clone()),
        opened_at: at,
    });
}

fn operated_on(saga: &mut Saga, operated: &Operated, at: Time) {
    match &operated.act {
        Act::Retry {
            place,
            operation,
            input: None,
        } => place::retried(saga, *place, *operation, at),
        // The schedule of the new round follows as a fact of its own.
        Act::Retry {
            input: Some(input), ..
        } => saga.payload_bytes += payload_bytes(input),
        Act::Skip { place } => place::skipped(saga, *place),
        Act::Resolve {
            place,
            operation,
            output,
        } => {
            saga.payload_bytes += payload_bytes(output);
            place::resolved(saga, *place, *operation, output);
        }
        Act::ResolveAbsent { place } => {
            if let Some(status) = place_mut(saga, *place) {
                place::absent(status);
            }
        }
        Act::ResolveNotUndone { place } => {
            if let Some(status) = place_mut(saga, *place) {
                status.compensation.unclear.clear();
            }
        }
        Act::Terminate => ended(saga, End::Terminated(operated.reason.clone()), at),
        // How a saga ends that is taken for completed follows as a fact of its own.
        Act::ResolveSaga | Act::Compensate | Act::Pause | Act::Resume => {}
    }
}

/// A place; none if it does not exist.
fn place_mut(saga: &mut Saga, place: Place) -> Option<&mut PlaceStatus> {
    let step = saga.steps.get_mut(place.step.index())?;
    match place.item.checked_sub(1) {
        None => Some(&mut step.itself),
        Some(at) => {
            let at = usize::try_from(at).ok()?;
            let items = step.items.as_mut()?;
            // Looked at first: what does not exist must not make a copy of the others.
            items.places.get(at)?;
            Arc::make_mut(items).places.get_mut(at)
        }
    }
}

/// An operation of a place; none if the place does not exist.
fn operation_mut(
    saga: &mut Saga,
    place: Place,
    operation: OperationKind,
) -> Option<&mut Operation> {
    let status = place_mut(saga, place)?;
    Some(match operation {
        OperationKind::Forward => &mut status.forward,
        OperationKind::Compensate => &mut status.compensation,
        OperationKind::Query => status.query.get_or_insert_default(),
    })
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

fn payload_bytes(payload: &Payload) -> u64 {
    u64::try_from(payload.as_bytes().len()).unwrap_or(u64::MAX)
}
