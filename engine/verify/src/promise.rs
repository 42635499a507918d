//! What a saga promises, checked on every world that is reached, against the participants' own books.

use amends_core::fact::{Fact, IncidentReason};
use amends_core::journal::SagaState;
use amends_core::{OperationKind, invariants};
use amends_definitions::Compensation;

use crate::event::Event;
use crate::world::{Stage, World};

/// A promise that does not hold, in words.
pub(crate) type Broken = String;

/// Checks a world that was reached by these facts.
pub(crate) fn check(stage: &Stage, world: &World, facts: &[Fact], new: bool) -> Result<(), Broken> {
    expressions(stage, world, facts)?;
    // Of a state that was there before, these were checked then.
    if !new {
        return Ok(());
    }
    invariants::check(&world.saga)?;
    books(stage, world)
}

/// The same event again must not change anything: participants and networks repeat themselves.
pub(crate) fn check_duplicate(stage: &Stage, world: &World, event: &Event) -> Result<(), Broken> {
    let (place, operation) = match event {
        Event::Succeeds {
            place, operation, ..
        }
        | Event::Rejects {
            place, operation, ..
        } => (*place, *operation),
        _ => return Ok(()),
    };
    // A new attempt may be open by then: what comes again is then its own outcome, not a duplicate.
    if world.saga.operation(place, operation).is_open() {
        return Ok(());
    }
    let mut again = world.clone();
    let facts = again.apply(stage, event);
    if facts.is_empty() {
        return Ok(());
    }
    let kinds: Vec<&str> = facts.iter().map(Fact::kind).collect();
    Err(format!(
        "I12: the same outcome again records {}",
        kinds.join(", ")
    ))
}

/// A world in which nothing can happen any more has to be an end, or to say whom it waits for.
pub(crate) fn check_end(stage: &Stage, world: &World, events: &[Event]) -> Result<(), Broken> {
    let idle = events.iter().all(|event| {
        matches!(
            event,
            Event::IsCancelled | Event::DeadlinePasses | Event::ArrivesLate { .. }
        )
    });
    let waits_for_signal = stage
        .definition
        .step_indices()
        .flat_map(|step| world.saga.places_of(step))
        .any(|place| {
            matches!(
                world.saga.operation(place, OperationKind::Forward).phase,
                amends_core::saga::Phase::Awaiting { .. }
            )
        });
    let explained = world.saga.terminal() || !world.saga.incidents().is_empty() || waits_for_signal;
    if idle && !explained {
        return Err(
            "I47: nothing can happen any more, and the saga has neither ended nor parked".into(),
        );
    }
    Ok(())
}

/// Where an expression without a value leads to something that nobody undoes or finishes. What comes of an input, an answer or
/// a signal that lacks what is read of it is an end for a person, and no broken promise of the definition: who sent it is to blame.
fn expressions(stage: &Stage, world: &World, facts: &[Fact]) -> Result<(), Broken> {
    if world.lacks {
        return Ok(());
    }
    for fact in facts {
        match fact {
            Fact::StepFailed {
                place,
                operation: OperationKind::Compensate,
                code,
                message,
            } if is_evaluation(code) => {
                let id = stage.definition.step(place.step).id();
                return Err(format!(
                    "the compensation of `{id}` cannot be called, so its effect stays: {message}"
                ));
            }
            Fact::StepFailed {
                place,
                operation: OperationKind::Forward,
                code,
                message,
            } if is_evaluation(code) && world.saga.past_point_of_no_return() => {
                let id = stage.definition.step(place.step).id();
                return Err(format!(
                    "step `{id}` cannot be begun behind the point of no return: {message}"
                ));
            }
            Fact::IncidentOpened(incident)
                if incident.reason == IncidentReason::ExpressionFailed
                    && incident.place.is_none() =>
            {
                return Err(format!("the saga cannot complete: {}", incident.message));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_evaluation(code: &str) -> bool {
    ["EXPRESSION_FAILED", "COST_EXCEEDED", "PAYLOAD_TOO_LARGE"].contains(&code)
}

/// I34: a saga that was undone left nothing behind, as the participants know; what it left is said aloud.
fn books(stage: &Stage, world: &World) -> Result<(), Broken> {
    if world.saga.state() != SagaState::Compensated {
        return Ok(());
    }
    for (place, book) in &world.books {
        let step = stage.definition.step(place.step);
        let undoable = matches!(
            step.compensation(),
            Compensation::Call(_) | Compensation::Child
        );
        if undoable && book.done && !book.undone {
            return Err(format!(
                "I34: the saga is compensated, and the effect of `{}` is still there",
                step.id()
            ));
        }
    }
    Ok(())
}
