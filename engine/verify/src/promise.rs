//! What a saga promises, checked on every world that is reached, against the participants' own books.

use amends_core::fact::{Fact, IncidentReason};
use amends_core::journal::SagaState;
use amends_core::{OperationKind, Place, invariants};
use amends_definitions::Compensation;

use crate::event::Event;
use crate::world::{Stage, World};

/// A promise that does not hold, in words.
pub(crate) type Broken = String;

/// A kind of answer, and what it answers.
pub(crate) type Answer = (std::mem::Discriminant<Event>, Place, OperationKind);

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
    if answered(world, event).is_none() {
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

/// What kind of answer an event is, if what it answers is over. If a new attempt is open by then, what comes again is that
/// one's own outcome.
pub(crate) fn answered(world: &World, event: &Event) -> Option<Answer> {
    let (place, operation) = repeated(event)?;
    // A child goes on once its revision is found.
    let goes_on = matches!(event, Event::ChildIsPinned { .. });
    let over = goes_on || !world.saga.operation(place, operation).is_open();
    over.then(|| (std::mem::discriminant(event), place, operation))
}

/// Whose answer an event is; none if it is none, or if it is not heard.
fn repeated(event: &Event) -> Option<(Place, OperationKind)> {
    match event {
        Event::Succeeds {
            place, operation, ..
        }
        | Event::Rejects {
            place, operation, ..
        }
        | Event::IsFatal { place, operation } => Some((*place, *operation)),
        Event::Lacks { place, .. }
        | Event::IsUnusable { place }
        | Event::ChildIsPinned { place }
        | Event::ChildIsRefused { place }
        | Event::ChildCompletes { place, .. }
        | Event::ChildIsUndone { place }
        | Event::ChildIsGivenUp { place } => Some((*place, OperationKind::Forward)),
        Event::FindsNothing { place } => Some((*place, OperationKind::Compensate)),
        Event::IsAbsent { place } => Some((*place, OperationKind::Query)),
        Event::Fails { .. }
        | Event::IsUnknown { .. }
        | Event::IsLostOnce { .. }
        | Event::ArrivesLate { .. }
        | Event::SignalComes { .. }
        | Event::SignalLacks { .. }
        | Event::TakesLong { .. }
        | Event::TimePasses
        | Event::DeadlinePasses
        | Event::IsCancelled => None,
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use amends_definitions::check;

    use super::*;
    use crate::explore::{Options, stage};

    const SOURCE: &str = "apiVersion: amends/v1
name: repeated
steps:
  - {id: child, saga: {name: child}}
  - {id: hold, call: p.hold, query: p.find, compensate: {call: p.release}}
  - {id: pay, kind: pivot, call: p.pay, query: p.find}
  - {id: ship, kind: retriable, call: p.ship}
output: {x: \"${{ steps.ship.output.x }}\"}
";

    /// Walks through all that may happen, and says which kinds of answers were repeated on the way.
    #[test]
    fn every_kind_of_answer_is_repeated_and_changes_nothing() {
        let definition = check(SOURCE.as_bytes()).definition.expect("it is right");
        let stage = stage(&Arc::new(definition), &Options::default());
        let (first, _) = World::begin(&stage, stage.samples.inputs[0].clone());
        let mut known = std::collections::HashSet::new();
        let mut kinds = std::collections::BTreeSet::new();
        let mut open = vec![first];
        while let Some(world) = open.pop() {
            for event in world.events(&stage) {
                let mut next = world.clone();
                next.apply(&stage, &event);
                if answered(&next, &event).is_some() {
                    let words = format!("{event:?}");
                    kinds.extend(words.split_once(' ').map(|(kind, _)| kind.to_owned()));
                    assert_eq!(check_duplicate(&stage, &next, &event), Ok(()), "{words}");
                }
                if known.insert(crate::digest::digest(&stage, &next)) {
                    open.push(next);
                }
            }
        }
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        assert_eq!(
            kinds,
            [
                "ChildCompletes",
                "ChildIsGivenUp",
                "ChildIsPinned",
                "ChildIsRefused",
                "ChildIsUndone",
                "FindsNothing",
                "IsAbsent",
                "IsFatal",
                "IsUnusable",
                "Lacks",
                "Rejects",
                "Succeeds",
            ]
        );
    }
}
