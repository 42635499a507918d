//! What an operator who gave a saga up left as it is: for whoever settles it by hand. Deliberately not here: what is still
//! going to be undone (`waits`).

use amends_core::Place;
use amends_core::fact::ChildOutcome;
use amends_core::journal::SagaState;
use amends_core::saga::{Phase, PlaceStatus};

use super::Known;
use super::sentences::sentence;
use crate::explanation::{Sentence, Topic};

/// A sentence for each place of a terminated saga whose action had, or may have had, an effect that nothing undid.
pub(super) fn left(known: &Known) -> impl Iterator<Item = Sentence> + '_ {
    let saga = &known.saga;
    let given_up = saga.state() == SagaState::Terminated;
    let places = saga.places().filter(move |_| given_up);
    places.filter_map(|place| {
        let said = said(known, place, saga.place(place))?;
        Some(Sentence {
            topic: Topic::Left,
            at: Some(known.at(place)),
            text: sentence(&format!("left as it is: {} {said}", known.named(place))),
        })
    })
}

fn said(known: &Known, place: Place, status: &PlaceStatus) -> Option<String> {
    let undone = matches!(
        status.compensation.phase,
        Phase::Succeeded | Phase::Unusable | Phase::NothingToUndo
    );
    if undone {
        return None;
    }
    if let Some(child) = &status.child
        && let Some(pinned) = child.pinned
    {
        let became = match &child.outcome {
            None => "is as it is",
            Some(ChildOutcome::Completed { .. }) => "has completed",
            Some(ChildOutcome::Terminated { .. }) => "was given up, too",
            Some(ChildOutcome::Compensated { .. } | ChildOutcome::Refused { .. }) => return None,
        };
        return Some(format!("has a child saga, {}, that {became}", pinned.child));
    }
    if !known.saga.may_have_effect(place) {
        return None;
    }
    let effect = if status.forward.effect {
        "has had its effect"
    } else if status.forward.is_open() {
        "had an attempt under way, which may have its effect still"
    } else {
        "may have had its effect"
    };
    let undoing = if status.compensation.unclear.is_empty() {
        "nothing undid it"
    } else {
        "an attempt to undo it may have done so"
    };
    Some(format!("{effect}, and {undoing}"))
}
