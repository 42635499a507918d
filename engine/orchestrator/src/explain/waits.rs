//! What a saga waits for, and what it owes.

use amends_core::saga::{Operation, Phase, PlaceStatus};
use amends_core::{OperationKind, Place, Time};
use amends_definitions::{ActionName, Compensation, CompensationOrder, Work};
use amends_store::TurnRecord;

use super::Known;
use crate::dispatch::{Server, Whereabouts};
use crate::explanation::{Awaited, ChildName, Owed, WaitsFor};

/// What the saga waits for: persons first, then its turn, then its places in the definition's order.
pub(super) fn waits(known: &Known) -> Vec<WaitsFor> {
    let saga = &known.saga;
    if saga.terminal() {
        return Vec::new();
    }
    let mut waits: Vec<WaitsFor> = (saga.incidents().iter())
        .map(|open| WaitsFor {
            at: open.incident.place.map(|place| known.at(place)),
            what: Awaited::Operator(open.incident.reason.as_str()),
            since: Some(open.opened_at),
            until: None,
            text: format!(
                "a person has to look at incident {} ({})",
                open.number,
                open.incident.reason.as_str()
            ),
        })
        .collect();
    waits.extend(turn(known));
    for place in saga.places() {
        let status = saga.place(place);
        waits.extend(forward(known, place, status));
        waits.extend(compensation(known, place, status));
        if let Some(query) = &status.query {
            let action = saga.definition().step(place.step).call();
            let action = action.and_then(|call| call.query());
            waits.extend(
                action
                    .and_then(|action| attempt(known, place, OperationKind::Query, query, action)),
            );
        }
    }
    waits
}

/// Compensations that are owed, in the definition's order.
pub(super) fn owed(known: &Known) -> Vec<Owed> {
    let saga = &known.saga;
    if saga.abort().is_none() || saga.terminal() {
        return Vec::new();
    }
    let owes = saga.places().filter(|place| saga.owes_compensation(*place));
    let owed = owes.map(|place| {
        let action = match saga.definition().step(place.step).compensation() {
            Compensation::Call(call) => Some(call.action().clone()),
            Compensation::None { .. } | Compensation::Child | Compensation::NotApplicable => None,
        };
        Owed {
            at: known.at(place),
            place,
            action,
            why: why_owed(known, place),
        }
    });
    owed.collect()
}

fn why_owed(known: &Known, place: Place) -> String {
    let saga = &known.saga;
    let status = saga.place(place);
    if let Some(open) = saga.incident_about(place, OperationKind::Compensate) {
        return format!("it is parked: incident {} is open", open.number);
    }
    match status.compensation.phase {
        Phase::Settling { until } => {
            return format!("until {until} a late execution of its action can still show itself");
        }
        Phase::Scheduled { due_at } if due_at > known.now => {
            return format!("its next attempt is due at {due_at}");
        }
        Phase::Scheduled { .. } => return "it is under way".to_owned(),
        _ => {}
    }
    if status.forward.is_open() {
        return "the outcome of its action is still awaited".to_owned();
    }
    if status.query_is_open() {
        return "its participant is asked whether the action had its effect".to_owned();
    }
    let definition = saga.definition();
    let before: Vec<&str> = match definition.compensation().order {
        CompensationOrder::Parallel => Vec::new(),
        CompensationOrder::Reverse => (definition.graph().descendants(place.step).iter())
            .filter(|step| {
                let mut places = saga.places_of(**step);
                places.any(|place| saga.owes_compensation(place))
            })
            .map(|step| definition.step(*step).id())
            .collect(),
    };
    if before.is_empty() {
        "it is next".to_owned()
    } else {
        format!("it comes after that of {}", before.join(", "))
    }
}

fn forward(known: &Known, place: Place, status: &PlaceStatus) -> Option<WaitsFor> {
    let step = known.saga.definition().step(place.step);
    let named = known.named(place);
    let waits = |what, until, text| {
        Some(WaitsFor {
            at: Some(known.at(place)),
            what,
            since: known.last_at(place),
            until,
            text,
        })
    };
    match status.forward.phase {
        Phase::Scheduled { .. } => {
            let action = step.action()?;
            attempt(
                known,
                place,
                OperationKind::Forward,
                &status.forward,
                action,
            )
        }
        Phase::Awaiting { until } => {
            let Work::Wait(wait) = step.work() else {
                return None;
            };
            let signal = wait.signal();
            let text = match until {
                Some(until) => format!("{named} waits for signal {signal}, until {until}"),
                None => format!("{named} waits for signal {signal}"),
            };
            waits(Awaited::Signal(signal.to_owned()), until, text)
        }
        Phase::Sleeping { until } => {
            let text = format!("{named} sleeps until {until}");
            waits(Awaited::Sleep, Some(until), text)
        }
        Phase::ChildRequested | Phase::ChildUnderWay => {
            let child = status.child.as_ref()?;
            let name = &child.requested.name;
            let (what, text) = match &child.pinned {
                None => (
                    ChildName::Definition(name.clone()),
                    format!("{named} asks for a revision of its child's definition {name}"),
                ),
                Some(pinned) => (
                    ChildName::Saga(pinned.child),
                    format!(
                        "{named} waits for its child saga {} of {name}",
                        pinned.child
                    ),
                ),
            };
            waits(Awaited::Child(what), None, text)
        }
        _ => None,
    }
}

fn compensation(known: &Known, place: Place, status: &PlaceStatus) -> Option<WaitsFor> {
    let named = known.named(place);
    match status.compensation.phase {
        Phase::Settling { until } if until > known.now => Some(WaitsFor {
            at: Some(known.at(place)),
            what: Awaited::Settling,
            since: known.last_at(place),
            until: Some(until),
            text: format!(
                "{named} settles: until {until} a late execution of its action can still show itself"
            ),
        }),
        Phase::Scheduled { .. } => {
            if let Some(pinned) = status.child.as_ref().and_then(|child| child.pinned) {
                return Some(WaitsFor {
                    at: Some(known.at(place)),
                    what: Awaited::Child(ChildName::Saga(pinned.child)),
                    since: known.last_at(place),
                    until: None,
                    text: format!(
                        "{named} waits until its child saga {} is undone",
                        pinned.child
                    ),
                });
            }
            let Compensation::Call(call) = known.saga.definition().step(place.step).compensation()
            else {
                return None;
            };
            let operation = OperationKind::Compensate;
            attempt(known, place, operation, &status.compensation, call.action())
        }
        _ => None,
    }
}

/// What a scheduled attempt waits for.
fn attempt(
    known: &Known,
    place: Place,
    kind: OperationKind,
    operation: &Operation,
    action: &ActionName,
) -> Option<WaitsFor> {
    let Phase::Scheduled { due_at } = operation.phase else {
        return None;
    };
    let held = kind == OperationKind::Forward
        && known.saga.abort().is_none()
        && !known.saga.has_come(due_at, due_at);
    if held {
        return None;
    }
    let (number, what) = (operation.attempt, described(kind, &known.named(place)));
    let (awaited, since, until, text) = if due_at > known.now {
        let last = match &operation.error {
            Some((code, message)) if message.is_empty() => format!(", after {code}"),
            Some((code, message)) => format!(", after {code}: {message}"),
            None => String::new(),
        };
        let text = format!("attempt {number} of {what} ({action}) is due at {due_at}{last}");
        let since = known.last_at(place).unwrap_or(due_at);
        (Awaited::Retry(action.clone()), since, Some(due_at), text)
    } else {
        let text = format!("attempt {number} of {what}");
        under_way(known, (place, kind), due_at, action, &text)
    };
    Some(WaitsFor {
        at: Some(known.at(place)),
        what: awaited,
        since: Some(since),
        until,
        text,
    })
}

/// What an attempt waits for that is due.
fn under_way(
    known: &Known,
    (place, kind): (Place, OperationKind),
    due_at: Time,
    action: &ActionName,
    attempt: &str,
) -> (Awaited, Time, Option<Time>, String) {
    let participant = || Awaited::Participant(action.clone());
    let outcome = || Awaited::Outcome(action.clone());
    match known.whereabouts(place, kind) {
        Some(Whereabouts::Queued {
            server: Server::Nobody { since },
        }) => {
            let text = format!(
                "no participant serves {action} since {since}: {attempt} waits for one since {due_at}"
            );
            (participant(), *since, None, text)
        }
        Some(Whereabouts::Queued {
            server: Server::Busy { instances },
        }) => {
            let busy = super::counted(
                *instances,
                "instance serves it, and takes no more commands",
                "instances serve it, and none takes more commands",
            );
            let text = format!("{attempt} ({action}) waits since {due_at}: {busy}");
            (participant(), due_at, None, text)
        }
        Some(Whereabouts::Sent {
            instance,
            since,
            attached,
        }) => {
            let lost = if *attached {
                ""
            } else {
                ", whose stream is lost: it may return"
            };
            let text =
                format!("{attempt} ({action}) is with instance {instance} since {since}{lost}");
            (
                outcome(),
                *since,
                timeout_of(known, place, kind, *since),
                text,
            )
        }
        None => {
            let text =
                format!("{attempt} ({action}) is due since {due_at}, and its outcome is not known");
            (outcome(), due_at, None, text)
        }
    }
}

fn timeout_of(known: &Known, place: Place, kind: OperationKind, sent: Time) -> Option<Time> {
    let step = known.saga.definition().step(place.step);
    let timeout = match (kind, step.compensation()) {
        (OperationKind::Compensate, Compensation::Call(call)) => call.timeouts().attempt,
        (OperationKind::Compensate, _) => return None,
        (OperationKind::Forward | OperationKind::Query, _) => step.timeouts().attempt,
    };
    Some(sent + timeout)
}

fn described(kind: OperationKind, named: &str) -> String {
    match kind {
        OperationKind::Forward => named.to_owned(),
        OperationKind::Compensate => format!("the compensation of {named}"),
        OperationKind::Query => format!("the query of {named}"),
    }
}

fn turn(known: &Known) -> Option<WaitsFor> {
    let saga = &known.saga;
    if saga.turn_granted() {
        return None;
    }
    let own = known.turns.iter().find(|turn| turn.saga == saga.id())?;
    let same_group = |other: &&TurnRecord| {
        other.namespace == own.namespace
            && other.definition == own.definition
            && other.saga != own.saga
    };
    let in_line = |other: &&TurnRecord| {
        own.turn.ordering_hash.is_some()
            && other.turn.ordering_hash == own.turn.ordering_hash
            && other.turn.position < own.turn.position
    };
    let group = || known.turns.iter().filter(same_group);
    let before: Vec<&TurnRecord> = group().filter(in_line).collect();
    let first = before.iter().min_by_key(|other| other.turn.position);
    let text = match (first, own.turn.concurrency_max) {
        (Some(first), _) => {
            let key = saga.started().ordering_key.as_deref().unwrap_or_default();
            format!(
                "it is not its turn: saga {} with the ordering key {key:?} runs first, and {} before it",
                first.saga,
                super::counted(before.len(), "saga stands", "sagas stand")
            )
        }
        (None, Some(max)) => {
            let running = group().filter(|other| other.turn.granted).count();
            format!(
                "it is not its turn: {running} sagas of {} run, and at most {max} may",
                saga.started().definition
            )
        }
        (None, None) => "its turn is about to come".to_owned(),
    };
    Some(WaitsFor {
        at: None,
        what: Awaited::Turn(first.map(|first| first.saga)),
        since: Some(saga.started_at()),
        until: None,
        text,
    })
}
