//! Going back: I17 to I21, I23, I24. `before` is asked of each fact before it is taken in, `between` behind each row, `after`
//! at the end of the saga.

use std::collections::BTreeMap;

use amends_core::OperationKind;
use amends_core::Outcome;
use amends_core::fact::Fact;
use amends_core::id::Place;
use amends_definitions::{Compensation, CompensationOrder, StepIndex};

use crate::checker::Found;
use crate::checker::case::{Case, Seen};
use crate::checker::model::{End, Model};
use crate::world::World;

pub fn before(model: &Model, case: &Case<'_>, seen: &Seen<'_>, world: &World, found: &mut Found) {
    if let Fact::Scheduled {
        place,
        operation: OperationKind::Compensate,
        ..
    } = seen.fact
    {
        only_what_may_have_effect(model, case, *place, found);
        reverse_order(model, case, *place, found);
        settle_time(model, case, seen, *place, world, found);
    }
    if matches!(seen.fact, Fact::Compensated) {
        all_undone(model, case, found);
    }
    refused_is_said(case, seen, found);
}

/// I24, in the journal: whatever else the saga meets - a cancel, a deadline, an incident of another step - each row behind the
/// abort has begun what is owed and has nothing before it, or a person was asked about that very compensation.
pub fn between(model: &Model, case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    if model.aborted_at.is_none() || model.ended || model.record_refused {
        return;
    }
    for place in owed_with_nothing_before(model, case) {
        let begun = model.course(place, OperationKind::Compensate).end != End::NotBegun
            || model
                .course(place, OperationKind::Compensate)
                .until
                .is_some()
            || model.course(place, OperationKind::Query).end == End::Open
            || no_room(model, case, place);
        found.expect(begun, "I24", case.id, || {
            format!(
                "nothing stands before the compensation of {}, and it is not begun with {}",
                case.name(place),
                seen.fact.kind()
            )
        });
    }
}

/// What is owed, in its turn, and no incident of its own is open: one place after the other.
fn owed_with_nothing_before(model: &Model, case: &Case<'_>) -> Vec<Place> {
    let reverse = case.definition.compensation().order == CompensationOrder::Reverse;
    let blocks = |step: &StepIndex| model.owes(case, *step) || model.is_open(*step);
    let definition = &case.definition;
    let free = definition
        .step_indices()
        .filter(|step| !reverse || !definition.graph().descendants(*step).iter().any(blocks));
    let places = free.flat_map(|step| model.places(step));
    let owed = places.filter(|place| {
        let open = model.course(*place, OperationKind::Forward).end == End::Open;
        let asked = (Some(*place), Some(OperationKind::Compensate));
        model.owes_at(case, *place) && !open && !model.incidents.contains(&asked)
    });
    owed.collect()
}

/// As many items of its step are being undone as may be at a time.
fn no_room(model: &Model, case: &Case<'_>, place: Place) -> bool {
    let foreach = case.definition.step(place.step).foreach();
    foreach.is_some_and(|foreach| {
        let under_way = model.places(place.step).filter(|place| {
            let open = |kind| model.course(*place, kind).end == End::Open;
            open(OperationKind::Compensate) || open(OperationKind::Query)
        });
        under_way.count() >= foreach.max_parallel() as usize
    })
}

/// I24, in the end: nothing that could be undone was left lying, for whatever reason.
fn none_left_lying(model: &Model, case: &Case<'_>, found: &mut Found) {
    if model.aborted_at.is_none() || model.ended || model.record_refused {
        return;
    }
    let left = owed_with_nothing_before(model, case);
    found.expect(left.is_empty(), "I24", case.id, || {
        let left: Vec<String> = left.iter().map(|place| case.name(*place)).collect();
        format!("{left:?} are owed, nothing stands before them, and nobody undoes them")
    });
}

/// I17, I23, I24 at the end: a compensated saga owes nothing; one that owes something has not ended, and works on it.
pub fn after(model: &Model, case: &Case<'_>, found: &mut Found) {
    none_left_lying(model, case, found);
    let owes: Vec<&str> = case
        .definition
        .step_indices()
        .filter(|step| model.owes(case, *step))
        .map(|step| case.definition.step(step).id())
        .collect();
    let compensated = case.state == amends_core::journal::SagaState::Compensated;
    // A success that came after the end is said aloud instead (F28).
    let leak = |id: &str| {
        case.facts.iter().any(|seen| {
            matches!(seen.fact, Fact::LateResult { ended, leak: true }
                if case.definition.step(ended.place.step).id() == id)
        })
    };
    found.expect(
        !compensated || owes.iter().all(|id| leak(id)),
        "I23",
        case.id,
        || format!("it ended, and {owes:?} are owed"),
    );
}

/// I17: everything that may have had an effect and can be undone was undone.
fn all_undone(model: &Model, case: &Case<'_>, found: &mut Found) {
    for step in case.definition.step_indices() {
        found.expect(!model.owes(case, step), "I17", case.id, || {
            format!(
                "compensated, and {} is owed",
                case.definition.step(step).id()
            )
        });
        let open = model.is_open(step);
        found.expect(!open, "I21", case.id, || {
            format!(
                "compensated, and {} is in flight",
                case.definition.step(step).id()
            )
        });
    }
    found.expect(model.aborted_at.is_some(), "I2", case.id, || {
        "compensated without an abort".to_owned()
    });
}

/// I18: nothing is compensated that cannot have had an effect.
fn only_what_may_have_effect(model: &Model, case: &Case<'_>, place: Place, found: &mut Found) {
    let forward = model.course(place, OperationKind::Forward);
    found.expect(model.aborted_at.is_some(), "I18", case.id, || {
        format!("{} is compensated without an abort", case.name(place))
    });
    let compensation = case.definition.step(place.step).compensation();
    let child = matches!(compensation, Compensation::Child);
    let had = if child {
        model.may_have_child(place)
    } else {
        model.may_have_effect(place)
    };
    found.expect(had, "I18", case.id, || {
        let end = forward.end;
        format!(
            "{} is compensated and its action is {end:?}",
            case.name(place)
        )
    });
    let undoable = child || matches!(compensation, Compensation::Call(_));
    found.expect(undoable, "I18", case.id, || {
        format!(
            "{} is compensated and has no compensation",
            case.name(place)
        )
    });
}

/// I20, I21: all that depends on a step is undone, and nothing of it is in flight, before the step is.
fn reverse_order(model: &Model, case: &Case<'_>, place: Place, found: &mut Found) {
    if case.definition.compensation().order != CompensationOrder::Reverse {
        return;
    }
    for later in case.definition.graph().descendants(place.step) {
        let name = case.definition.step(*later).id();
        found.expect(!model.owes(case, *later), "I20", case.id, || {
            format!("{} is compensated before {name}", case.name(place))
        });
        let open = model.is_open(*later);
        found.expect(!open, "I21", case.id, || {
            format!(
                "{} is compensated while {name} is in flight",
                case.name(place)
            )
        });
    }
}

/// I19: without a barrier an unknown action has an attempt's time to show itself before it is compensated.
fn settle_time(
    model: &Model,
    case: &Case<'_>,
    seen: &Seen<'_>,
    place: Place,
    world: &World,
    found: &mut Found,
) {
    let step = case.definition.step(place.step);
    let barrier = case.stands_behind_barrier(place);
    let end = model.course(place, OperationKind::Forward).end;
    let known = matches!(end, End::Succeeded | End::Unusable);
    let asked = step.call().is_some_and(|call| call.query().is_some());
    if barrier || known || asked || !world.plan.bounded {
        return;
    }
    // What a process sends again has no more time than is left: each attempt counts from its first sending by each.
    let mut first: BTreeMap<(u32, u32, usize, u32), amends_core::Time> = BTreeMap::new();
    for (index, at, sent) in &case.sent {
        let key = &sent.key;
        let forward = key.operation == OperationKind::Forward;
        if *index < seen.decided && forward && (&*key.step, key.item) == (step.id(), place.item) {
            let attempt = (key.round, sent.attempt, sent.node, sent.life);
            first.entry(attempt).or_insert(*at);
        }
    }
    let Some(last) = first.into_values().max() else {
        return;
    };
    // Clocks of nodes go wrong by the way of a message at most, in a world with bounds.
    let settled = seen.at + std::time::Duration::from_millis(5) >= last + step.timeouts().attempt;
    found.expect(settled, "I19", case.id, || {
        let after = seen.at.since(last);
        format!(
            "{} is compensated {after:?} after its last sending",
            case.name(place)
        )
    });
}

/// I23: a compensation that ended without success needs a person, and says so in the same row.
fn refused_is_said(case: &Case<'_>, seen: &Seen<'_>, found: &mut Found) {
    let Fact::AttemptEnded(ended) = seen.fact else {
        return;
    };
    let done = matches!(
        ended.outcome,
        Outcome::Succeeded { .. } | Outcome::Unusable { .. } | Outcome::NothingToUndo
    );
    if ended.operation != OperationKind::Compensate || done || ended.retry_at.is_some() {
        return;
    }
    let said = seen.row.facts.iter().any(|fact| {
        matches!(fact, Fact::IncidentOpened(incident)
            if incident.place == Some(ended.place) && incident.operation == Some(ended.operation))
    });
    found.expect(said, "I23", case.id, || {
        format!(
            "the compensation of {} ended, and nobody is told",
            case.name(ended.place)
        )
    });
}
