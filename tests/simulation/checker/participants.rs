//! At the participants: I16, I29 to I34. Read from their own log, which the engine does not see, and from what was sent to them.

use std::collections::BTreeMap;

use amends_core::fact::{Fact, IncidentReason};
use amends_core::id::Place;
use amends_core::journal::SagaState;
use amends_core::{OperationKey, OperationKind, SagaId};
use amends_definitions::Compensation;

use crate::checker::case::Case;
use crate::checker::model::{End, Model};
use crate::checker::{Evidence, Found};
use crate::generator::PARTICIPANTS;
use crate::history::{Effect, Event};

pub fn check(evidence: &Evidence<'_>, found: &mut Found) {
    for case in evidence.cases.values() {
        once(case, found);
        same_answer(case, found);
        conservation(evidence, case, found);
    }
    epochs(evidence, found);
    credit(evidence, found);
}

/// I29, I30, I31: an effect happens once, is undone once, and behind a barrier never after its compensation.
fn once(case: &Case<'_>, found: &mut Found) {
    let mut done: BTreeMap<(&str, u32, u32), (u32, u32, bool)> = BTreeMap::new();
    for (_, performed) in &case.performed {
        let key = &performed.key;
        let (does, undoes, compensated) = done
            .entry((&key.step, key.item, performed.forward_round))
            .or_default();
        let barrier = PARTICIPANTS[performed.participant].1;
        match performed.effect {
            Effect::Done => {
                *does += 1;
                found.expect(!(barrier && *compensated), "I31", case.id, || {
                    format!("{} is done after its compensation", key.step)
                });
            }
            Effect::Undone => {
                *undoes += 1;
                found.expect(*does > 0, "I30", case.id, || {
                    format!("{} is undone and was never done", key.step)
                });
            }
            Effect::None => {}
        }
        *compensated |= key.operation == OperationKind::Compensate
            && matches!(performed.said, Some("succeeded" | "nothing_to_undo"));
        let (does, undoes) = (*does, *undoes);
        found.expect(does <= 1 && undoes <= 1, "I29", case.id, || {
            format!(
                "{} is done {does} times and undone {undoes} times",
                key.step
            )
        });
    }
}

/// I33: a duplicate is told what was told before, byte for byte.
fn same_answer(case: &Case<'_>, found: &mut Found) {
    let mut first: BTreeMap<&OperationKey, (&str, u64)> = BTreeMap::new();
    for (_, performed) in &case.performed {
        let Some(said) = performed.said else {
            continue;
        };
        match performed.verdict {
            Some("first") => {
                first.insert(&performed.key, (said, performed.output));
            }
            Some("duplicate") => {
                let same = first
                    .get(&*performed.key)
                    .is_none_or(|first| *first == (said, performed.output));
                found.expect(same, "I33", case.id, || {
                    format!(
                        "a duplicate of {} is told something else",
                        performed.key.step
                    )
                });
            }
            _ => {}
        }
    }
}

/// I32: a command of an older epoch than was seen of its saga is not taken in hand, as long as that process lives.
fn epochs(evidence: &Evidence<'_>, found: &mut Found) {
    let mut seen: BTreeMap<(usize, SagaId), u64> = BTreeMap::new();
    for entry in evidence.entries {
        match &entry.event {
            Event::Admitted {
                participant,
                saga,
                epoch,
            } => {
                let newest = seen.entry((*participant, *saga)).or_default();
                let fresh = *epoch >= *newest;
                found.expect(fresh, "I32", *saga, || {
                    format!("a command of epoch {epoch} is obeyed after one of {newest}")
                });
                *newest = (*newest).max(*epoch);
            }
            Event::Fault {
                what: "participant",
                whom,
                ..
            } => seen.retain(|(participant, _), _| participant != whom),
            _ => {}
        }
    }
}

/// I16: nothing leaves for a participant that has no room for it.
fn credit(evidence: &Evidence<'_>, found: &mut Found) {
    for case in evidence.cases.values() {
        for (index, _, sent) in &case.sent {
            let had = evidence.rooms.before(*index, sent);
            found.expect(had > 0, "I16", case.id, || {
                format!("{} leaves for somebody who has no room", sent.key.step)
            });
        }
    }
}

/// I34: a completed saga has had every effect that it did not skip, a compensated one has none left. Where no barrier orders
/// what comes late and the network keeps no bounds, what is left is said aloud - unless nobody was ever told of it.
fn conservation(evidence: &Evidence<'_>, case: &Case<'_>, found: &mut Found) {
    let last = case.facts.last().map_or(0, |seen| seen.index);
    let model = Model::until(case, last);
    for index in case.definition.step_indices() {
        for place in model.places(index) {
            if model.items.contains_key(&index) == (place.item > 0) {
                effect_of(evidence, case, &model, place, found);
            }
        }
    }
}

fn effect_of(
    evidence: &Evidence<'_>,
    case: &Case<'_>,
    model: &Model,
    place: Place,
    found: &mut Found,
) {
    let step = case.definition.step(place.step);
    let Some(action) = step.action() else {
        return;
    };
    let effect = case.effect(step.id(), place.item);
    let barrier = PARTICIPANTS.contains(&(action.participant(), true));
    let reads = matches!(step.compensation(), Compensation::None { .. });
    let excused = !barrier
        && !evidence.world.plan.bounded
        && (leak_is_said(case, step.id()) || is_hidden(evidence, case, step.id()));
    // What a person has said of it, nobody else knows better.
    if model.by_hand.contains(&place) {
        return;
    }
    let course = model.course(place, OperationKind::Forward);
    let done = course.end == End::Succeeded && !course.continued;
    let fine = match case.state {
        SagaState::Completed if done => effect == 1,
        SagaState::Completed if course.end == End::Skipped => effect == 0,
        SagaState::Compensated if reads => (0..=1).contains(&effect),
        SagaState::Compensated => effect == 0 || excused,
        SagaState::Completed
        | SagaState::Running
        | SagaState::Compensating
        | SagaState::Parked
        | SagaState::Terminated => (0..=1).contains(&effect),
    };
    found.expect(fine, "I34", case.id, || {
        format!(
            "{:?}, and {} has effect {effect}",
            case.state,
            case.name(place)
        )
    });
}

fn leak_is_said(case: &Case<'_>, step: &str) -> bool {
    case.facts.iter().any(|seen| {
        matches!(seen.fact, Fact::IncidentOpened(incident)
            if incident.reason == IncidentReason::PossibleLeakedEffect
                && incident.place.is_some_and(|place| case.definition.step(place.step).id() == step))
    })
}

/// The effect happened in an attempt that never said so: its participant died over it, or with the result that no node had
/// taken yet.
fn is_hidden(evidence: &Evidence<'_>, case: &Case<'_>, step: &str) -> bool {
    let done = case
        .performed
        .iter()
        .filter(|(_, performed)| *performed.key.step == *step && performed.effect == Effect::Done);
    done.into_iter().any(|(index, performed)| {
        let later = &evidence.entries[*index..];
        !later.iter().any(|entry| match &entry.event {
            Event::Acknowledged {
                key,
                attempt,
                said,
                how,
                honest: true,
                ..
            } => {
                (key, *attempt) == (&performed.key, performed.attempt)
                    && matches!(*said, "succeeded" | "unusable")
                    && matches!(*how, "recorded" | "late")
            }
            _ => false,
        })
    })
}
