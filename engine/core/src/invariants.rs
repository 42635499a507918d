//! What must hold of a saga's state after every decision, as one function: asserted in debug builds after each decision,
//! and by tests and simulation. Numbers are those of the project's list of invariants. What only a history can show - that
//! nothing is scheduled after an abort, that nothing leaves before it is durable - is not here.

use amends_definitions::{Compensation, CompensationOrder, Foreach, StepIndex};

use crate::id::Place;
use crate::outcome::OperationKind;
use crate::saga::state::End;
use crate::saga::{Operation, Phase, PlaceStatus, Saga, due};

/// Checks a state.
///
/// # Errors
/// The first invariant that does not hold, by number and in words.
pub fn check(saga: &Saga) -> Result<(), String> {
    check_marks(saga)?;
    check_end(saga)?;
    for step in saga.definition.step_indices() {
        check_needs(saga, step)?;
        check_items(saga, step)?;
        for place in saga.places_of(step) {
            check_attempts(saga, place)?;
            check_compensation(saga, place)?;
            check_failure(saga, place)?;
        }
    }
    check_abort(saga)?;
    check_incidents(saga)?;
    check_signals(saga)?;
    check_wake_source(saga)
}

fn id(saga: &Saga, place: Place) -> String {
    let step = saga.definition.step(place.step).id();
    match place.item {
        0 => step.to_owned(),
        item => format!("{step}[{item}]"),
    }
}

/// What is passed by unlooked at is what a look would pass by.
fn check_marks(saga: &Saga) -> Result<(), String> {
    let items = |step: StepIndex| {
        let items = saga.steps[step.index()].items.as_ref()?;
        items.places.first_stale()
    };
    let stale = saga
        .definition
        .step_indices()
        .find_map(|step| Some(format!("item {} of {}", items(step)? + 1, step.index())));
    let stale = stale.or_else(|| saga.steps.first_stale().map(|at| format!("step {at}")));
    stale.map_or(Ok(()), |stale| {
        Err(format!("the mark of {stale} is not what it is"))
    })
}

fn check_end(saga: &Saga) -> Result<(), String> {
    let Some(end) = &saga.end else {
        return Ok(());
    };
    // A settle time may run on when a late refusal has shown that nothing is owed.
    let in_flight = saga.places().any(|place| {
        let status = saga.place(place);
        let sent = |operation: &Operation| matches!(operation.phase, Phase::Scheduled { .. });
        status.forward.is_open() || sent(&status.compensation) || status.query_is_open()
    });
    let child = saga.places().find(|place| saga.has_child_under_way(*place));
    if let Some(place) = child {
        return Err(format!(
            "I28: ended, and the child of {} is not",
            id(saga, place)
        ));
    }
    match end {
        End::Terminated(_) => Ok(()),
        End::Completed(_) | End::Compensated if in_flight => {
            Err("I1: ended with something in flight".into())
        }
        End::Completed(_) => {
            let done = saga.steps.iter().all(|step| step.lets_go_on());
            if done && saga.abort.is_none() {
                Ok(())
            } else {
                Err("I2: completed with a step undone".into())
            }
        }
        End::Compensated => match saga.places().find(|place| saga.owes_compensation(*place)) {
            Some(place) => Err(format!(
                "I17: compensated, and {} is still owed",
                id(saga, place)
            )),
            None if saga.abort.is_none() => Err("I2: compensated without an abort".into()),
            None => Ok(()),
        },
    }
}

/// I8, and that nothing begins before its turn.
fn check_needs(saga: &Saga, step: StepIndex) -> Result<(), String> {
    let status = &saga.steps[step.index()];
    let begun =
        |place: &PlaceStatus| place.forward.phase != Phase::Waiting || place.forward.attempt > 0;
    let any_begun = begun(&status.itself)
        || status
            .items
            .iter()
            .any(|items| items.places.iter().any(begun));
    if !any_begun {
        return Ok(());
    }
    let name = saga.definition.step(step).id();
    let skipped = status.itself.forward.phase == Phase::Skipped;
    if !saga.turn_granted && !skipped {
        return Err(format!("I15: {name} began before the saga's turn"));
    }
    let done = |need: &StepIndex| saga.steps[need.index()].lets_go_on();
    if saga.definition.graph().needs(step).iter().all(done) {
        Ok(())
    } else {
        Err(format!("I8: {name} began before what it needs was done"))
    }
}

/// I21: a step under `foreach` is what its items are, and not too many of them are under way.
fn check_items(saga: &Saga, step: StepIndex) -> Result<(), String> {
    let status = &saga.steps[step.index()];
    let name = saga.definition.step(step).id();
    let Some(items) = &status.items else {
        return Ok(());
    };
    if (items.values.len(), items.keys.len()) != (items.places.len(), items.places.len()) {
        return Err(format!("I21: the items of {name} do not fit their places"));
    }
    let all_done = items.places.iter().all(|place| place.forward.lets_go_on());
    if all_done != status.itself.forward.lets_go_on() {
        return Err(format!("I21: {name} is not what its items are"));
    }
    let max = saga.definition.step(step).foreach();
    let max = max.map_or(1, Foreach::max_parallel);
    let under_way = |open: fn(&PlaceStatus) -> bool| {
        let count = items.places.iter().filter(|place| open(place)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    // What an operator has tried again comes on top.
    let retried = items.places.iter().any(|place| {
        let again = |operation: &Operation| operation.uncounted > 0 || operation.round > 0;
        again(&place.forward) || again(&place.compensation)
    });
    let forward = under_way(|place| place.forward.is_open());
    let backward = under_way(|place| matches!(place.compensation.phase, Phase::Scheduled { .. }));
    if !retried && (forward > max || backward > max) {
        return Err(format!(
            "I21: of {name} {forward} items forward and {backward} backward at a time"
        ));
    }
    Ok(())
}

/// I10.
fn check_attempts(saga: &Saga, place: Place) -> Result<(), String> {
    let status = saga.place(place);
    let operations = [&status.forward, &status.compensation];
    for operation in operations
        .into_iter()
        .chain(status.query.iter().map(|query| &**query))
    {
        let made = |attempt: &u32| (1..=operation.attempt).contains(attempt);
        if !operation.unclear.iter().all(made) {
            return Err(format!(
                "I10: {} has an attempt in doubt that was never made",
                id(saga, place)
            ));
        }
        let calls = matches!(operation.phase, Phase::Scheduled { .. });
        if calls && (operation.attempt <= operation.uncounted || operation.first_at.is_none()) {
            return Err(format!(
                "I10: {} is scheduled without an attempt that counts",
                id(saga, place)
            ));
        }
    }
    Ok(())
}

/// I17, I18, I19, I20.
fn check_compensation(saga: &Saga, place: Place) -> Result<(), String> {
    let status = saga.place(place);
    let id = id(saga, place);
    if status.compensation.attempt == 0 {
        return Ok(());
    }
    if saga.abort.is_none() {
        return Err(format!("I18: {id} is compensated without an abort"));
    }
    if status.forward.attempt == 0 && !status.forward.effect {
        return Err(format!("I18: {id} is compensated and was never scheduled"));
    }
    if !matches!(
        saga.definition.step(place.step).compensation(),
        Compensation::Call(_) | Compensation::Child
    ) {
        return Err(format!("I18: {id} is compensated and has no compensation"));
    }
    if status.query_is_open() {
        return Err(format!("I19: {id} is compensated while it is asked for"));
    }
    if saga.definition.compensation().order == CompensationOrder::Reverse {
        for later in saga.definition.graph().descendants(place.step) {
            if saga.owes_for_step(*later) {
                let later = saga.definition.step(*later).id();
                return Err(format!("I20: {id} is compensated before {later}"));
            }
        }
    }
    Ok(())
}

/// I3, I23: whatever failed and was not gone past has somebody who was asked about it.
fn check_failure(saga: &Saga, place: Place) -> Result<(), String> {
    if saga.end.is_some() {
        return Ok(());
    }
    let status = saga.place(place);
    let asked = |operation| saga.incident_about(place, operation).is_some();
    if status.compensation.phase == Phase::Parked && !asked(OperationKind::Compensate) {
        return Err(format!("I23: {} is parked in silence", id(saga, place)));
    }
    let silent = saga.abort.is_none()
        && status.forward.is_failed()
        && !status.query_is_open()
        && !asked(OperationKind::Forward);
    if silent {
        return Err(format!("I3: {} has failed in silence", id(saga, place)));
    }
    Ok(())
}

/// I24, I25, I26.
fn check_abort(saga: &Saga) -> Result<(), String> {
    if saga.abort.is_none() {
        return Ok(());
    }
    if saga.past_point_of_no_return() {
        return Err("I25: aborted behind the point of no return".into());
    }
    if saga.pivot_in_doubt() {
        return Err("I26: aborted while the pivot is in doubt".into());
    }
    if saga.held_since().is_some() {
        return Err("I24: held back while it compensates".into());
    }
    if saga.cancel_pending.is_some() {
        return Err("I40: a cancel is pending after the abort".into());
    }
    Ok(())
}

/// I3.
fn check_incidents(saga: &Saga) -> Result<(), String> {
    let mut last = 0;
    for open in &saga.incidents {
        if open.number <= last || open.number > saga.incidents_opened {
            return Err(format!("I3: incident {} is out of order", open.number));
        }
        last = open.number;
        if open
            .incident
            .place
            .is_some_and(|place| !saga.has_place(place))
        {
            return Err(format!("I3: incident {} is about nothing", open.number));
        }
    }
    Ok(())
}

/// I39.
fn check_signals(saga: &Saga) -> Result<(), String> {
    let Some(signals) = saga.signals() else {
        return Ok(());
    };
    if saga.end.is_some() && !signals.pending.is_empty() {
        return Err("I39: ended, and does not say which signals nothing took".into());
    }
    let numbers: Vec<u32> = signals.pending().map(|signal| signal.number).collect();
    if !numbers.is_sorted_by(|a, b| a < b)
        || numbers.last().is_some_and(|last| *last > signals.received)
    {
        return Err("I39: signals are out of their order".into());
    }
    let waits = |signal: &str| {
        saga.places().any(|place| {
            let waiting = matches!(saga.place(place).forward.phase, Phase::Awaiting { .. });
            let wait = match saga.definition.step(place.step).work() {
                amends_definitions::Work::Wait(wait) => Some(wait.signal()),
                amends_definitions::Work::Call(_)
                | amends_definitions::Work::Sleep(_)
                | amends_definitions::Work::Saga(_)
                | amends_definitions::Work::Emit(_)
                | amends_definitions::Work::Fail(_) => None,
            };
            waiting && wait == Some(signal)
        })
    };
    match signals.pending().find(|signal| waits(&signal.signal)) {
        Some(signal) => Err(format!(
            "I39: `{}` is awaited, and signal {} is not taken",
            signal.signal, signal.number
        )),
        None => Ok(()),
    }
}

/// I37, I38: what is neither ended nor parked has something that will move it.
fn check_wake_source(saga: &Saga) -> Result<(), String> {
    if saga.end.is_some() || !saga.incidents.is_empty() || !saga.turn_granted {
        return Ok(());
    }
    let due = due(saga, saga.updated_at);
    let asked_for = !due.commands.is_empty() || !due.awaited.is_empty() || !due.children.is_empty();
    let waits = saga
        .places()
        .any(|place| matches!(saga.place(place).forward.phase, Phase::Awaiting { .. }));
    if asked_for || waits || due.wake_at.is_some() {
        Ok(())
    } else {
        Err("I38: nothing will ever move it".into())
    }
}
