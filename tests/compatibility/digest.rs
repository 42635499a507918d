//! A saga's state as text, and what it asks for: the same words for the same state, whatever its fields are called. What
//! stands here is frozen in files, so it is only ever added to, and only where it is not the default.

use std::fmt::Write;

use amends_core::fact::ChildOutcome;
use amends_core::saga::place::ChildStatus;
use amends_core::saga::{DueChild, DueCommand, Operation, Phase, Saga, due};
use amends_core::shard::Want;
use amends_core::{Place, Time};
use amends_definitions::{Definition, Payload};

/// The state and what is due at a time; one line each for the saga, its places, incidents and dues.
pub fn digest(saga: &Saga, now: Time) -> Vec<String> {
    let definition = saga.definition();
    let mut lines = vec![head(saga)];
    for place in saga.places() {
        let status = saga.place(place);
        let id = id(definition, place);
        lines.push(format!("{id} forward {}", operation(&status.forward)));
        if status.compensation != Operation::default() {
            let undone = operation(&status.compensation);
            lines.push(format!("{id} compensate {undone}"));
        }
        if let Some(query) = &status.query {
            lines.push(format!("{id} query {}", operation(query)));
        }
        if let Some(known) = &status.child {
            lines.push(format!("{id} child {}", child(known)));
        }
    }
    for open in saga.incidents() {
        let incident = &open.incident;
        lines.push(format!(
            "incident {} {} at {} of {} {} code {} since {}",
            open.number,
            incident.reason.as_str(),
            incident
                .place
                .map_or_else(|| "-".to_owned(), |place| id(definition, place)),
            definition.name(),
            incident.operation.map_or("-", |of| of.as_str()),
            incident.code.as_deref().unwrap_or("-"),
            open.opened_at
        ));
    }
    for signal in saga.signals().into_iter().flat_map(|all| all.pending()) {
        let json = text(Some(&signal.payload));
        lines.push(format!("signal {} {} {json}", signal.number, signal.signal));
    }
    asked_for(saga, now, &mut lines);
    lines
}

fn head(saga: &Saga) -> String {
    let mut line = format!("saga {} facts {}", saga.state().as_str(), saga.facts());
    if let Some(abort) = saga.abort() {
        let (kind, code) = (abort.reason.kind(), abort.reason.code());
        write!(line, " abort {kind} {code} at {}", abort.at).expect("a string");
    }
    if let Some(pending) = saga.cancel_pending() {
        write!(line, " cancel of {}", pending.by).expect("a string");
    }
    if saga.needs_turn() {
        write!(line, " turn {}", saga.turn_granted()).expect("a string");
    }
    if saga.deadline_passed() {
        line.push_str(" deadline passed");
    }
    if let Some(output) = saga.output() {
        write!(line, " output {}", text(Some(output))).expect("a string");
    }
    if let Some(at) = saga.ended_at() {
        write!(line, " ended {at}").expect("a string");
    }
    line
}

fn operation(operation: &Operation) -> String {
    let mut line = phase(operation.phase);
    if operation.order > 0 {
        write!(line, " order {}", operation.order).expect("a string");
    }
    if operation.attempt > 0 {
        let (round, attempt) = (operation.round, operation.attempt);
        write!(line, " round {round} attempt {attempt}").expect("a string");
    }
    if let Some(input) = &operation.input {
        write!(line, " input {}", text(Some(input))).expect("a string");
    }
    if let Some(output) = &operation.output {
        write!(line, " output {}", text(Some(output))).expect("a string");
    }
    if let Some((code, _)) = &operation.error {
        write!(line, " error {code}").expect("a string");
    }
    if operation.effect {
        line.push_str(" effect");
    }
    if !operation.unclear.is_empty() {
        write!(line, " unclear {:?}", operation.unclear).expect("a string");
    }
    if operation.barrier {
        line.push_str(" barrier");
    }
    line
}

fn phase(phase: Phase) -> String {
    match phase {
        Phase::Waiting => "waiting".to_owned(),
        Phase::Listed => "listed".to_owned(),
        Phase::Settling { until } => format!("settling until {until}"),
        Phase::Scheduled { due_at } => format!("scheduled for {due_at}"),
        Phase::Awaiting { until: None } => "awaiting".to_owned(),
        Phase::Awaiting { until: Some(at) } => format!("awaiting until {at}"),
        Phase::Sleeping { until } => format!("sleeping until {until}"),
        Phase::ChildRequested => "child requested".to_owned(),
        Phase::ChildUnderWay => "child under way".to_owned(),
        Phase::Succeeded => "succeeded".to_owned(),
        Phase::Continued => "continued".to_owned(),
        Phase::Unusable => "unusable".to_owned(),
        Phase::Skipped => "skipped".to_owned(),
        Phase::Refused => "refused".to_owned(),
        Phase::Unresolved => "unresolved".to_owned(),
        Phase::NothingToUndo => "nothing to undo".to_owned(),
        Phase::Parked => "parked".to_owned(),
    }
}

fn child(child: &ChildStatus) -> String {
    let mut line = format!(
        "{} {}",
        child.requested.name,
        text(Some(&child.requested.input))
    );
    if let Some(pinned) = &child.pinned {
        write!(line, " is {} at {}", pinned.child, pinned.revision).expect("a string");
    }
    let came_to = child.outcome.as_ref().map(|outcome| match outcome {
        ChildOutcome::Completed { .. } => "completed",
        ChildOutcome::Compensated { .. } => "compensated",
        ChildOutcome::Refused { .. } => "refused",
        ChildOutcome::Terminated { .. } => "terminated",
    });
    if let Some(came_to) = came_to {
        write!(line, " came to {came_to}").expect("a string");
    }
    line
}

fn asked_for(saga: &Saga, now: Time, lines: &mut Vec<String>) {
    let definition = saga.definition();
    let due = due(saga, now);
    let attempt = |command: &DueCommand| {
        format!(
            "{} {} round {} attempt {} since {}",
            id(definition, command.place),
            command.operation.as_str(),
            command.round,
            command.attempt,
            command.due_at
        )
    };
    lines.extend(
        due.commands
            .iter()
            .map(|due| format!("send {}", attempt(due))),
    );
    lines.extend(
        due.awaited
            .iter()
            .map(|due| format!("await {}", attempt(due))),
    );
    lines.extend(due.children.iter().map(|child| match child {
        DueChild::Resolve(request) => format!("resolve {}", request.requested.name),
        DueChild::Ask(wish) => match wish.want {
            Want::Run => format!("ask {} to run", wish.child),
            Want::Undo { .. } => format!("ask {} to be undone", wish.child),
        },
    }));
    if let Some(at) = due.wake_at {
        lines.push(format!("wake at {at}"));
    }
}

fn id(definition: &Definition, place: Place) -> String {
    let step = definition.step(place.step).id();
    match place.item {
        0 => step.to_owned(),
        item => format!("{step}[{item}]"),
    }
}

fn text(payload: Option<&Payload>) -> String {
    payload.map_or_else(String::new, |payload| {
        String::from_utf8_lossy(payload.as_bytes()).into_owned()
    })
}
