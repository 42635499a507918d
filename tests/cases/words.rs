//! A recorded fact as one short line: what a case's `history` is written in.

use amends_core::fact::{AttemptEnded, ChildOutcome, Fact};
use amends_core::{OperationKind, Place};
use amends_definitions::Definition;

pub fn line(definition: &Definition, fact: &Fact) -> String {
    let at = |place: &Place| place_name(definition, *place);
    let of = |place: &Place, operation: OperationKind| named(definition, *place, operation);
    match fact {
        Fact::Skipped { step } => format!("skipped {}", at(&Place::from(*step))),
        Fact::ItemsListed { step, keys, .. } => {
            format!("listed {} {}", at(&Place::from(*step)), keys.join(" "))
        }
        Fact::Scheduled {
            place,
            operation,
            round,
            ..
        } => format!("scheduled {}{}", of(place, *operation), round_name(*round)),
        Fact::StepFailed {
            place,
            operation,
            code,
            ..
        } => format!("step failed {} {code}", of(place, *operation)),
        Fact::AttemptEnded(ended) => attempt(definition, ended),
        Fact::Withdrawn {
            place,
            operation,
            code,
            ..
        } => format!("withdrawn {} {code}", of(place, *operation)),
        Fact::SignalReceived(signal) => format!("received {}", signal.signal),
        Fact::ChildRequested(request) => {
            format!("requested {} {}", at(&request.place), request.name)
        }
        Fact::ChildPinned { place, .. } => format!("pinned {}", at(place)),
        Fact::ChildEnded {
            place,
            operation,
            outcome,
            ..
        } => format!("child {} {}", came_to(outcome), of(place, *operation)),
        Fact::AbortDecided(reason) => format!("abort {} {}", reason.kind(), reason.code()),
        Fact::LateResult { ended, leak } => {
            let leak = if *leak { " leak" } else { "" };
            format!("late {}{leak}", attempt(definition, ended))
        }
        Fact::IncidentOpened(incident) => {
            let place = incident.place.map(|place| place_name(definition, place));
            let line = format!(
                "incident {} {}",
                incident.reason.as_str(),
                place.unwrap_or_default()
            );
            line.trim_end().to_owned()
        }
        Fact::Operated(operated) => match operated.act.place() {
            Some(place) => format!("operated {} {}", operated.act.as_str(), at(&place)),
            None => format!("operated {}", operated.act.as_str()),
        },
        other => {
            let kind = other.kind().replace('_', " ");
            match other.place() {
                Some(place) => format!("{kind} {}", at(&place)),
                None => kind,
            }
        }
    }
}

fn attempt(definition: &Definition, ended: &AttemptEnded) -> String {
    let mut line = format!(
        "{} {}{}#{}",
        ended.outcome.as_str().replace('_', " "),
        named(definition, ended.place, ended.operation),
        round_name(ended.round),
        ended.attempt
    );
    if let Some((code, _)) = ended.outcome.error() {
        line.push(' ');
        line.push_str(code);
    }
    if ended.retry_at.is_some() {
        line.push_str(", again");
    }
    line
}

fn came_to(outcome: &ChildOutcome) -> &'static str {
    match outcome {
        ChildOutcome::Completed { .. } => "completed",
        ChildOutcome::Compensated { .. } => "compensated",
        ChildOutcome::Refused { .. } => "refused",
        ChildOutcome::Terminated { .. } => "terminated",
    }
}

fn named(definition: &Definition, place: Place, operation: OperationKind) -> String {
    let name = place_name(definition, place);
    match operation {
        OperationKind::Forward => name,
        OperationKind::Compensate => format!("undo {name}"),
        OperationKind::Query => format!("query {name}"),
    }
}

fn place_name(definition: &Definition, place: Place) -> String {
    let step = definition.step(place.step).id();
    match place.item {
        0 => step.to_owned(),
        item => format!("{step}[{item}]"),
    }
}

fn round_name(round: u32) -> String {
    match round {
        0 => String::new(),
        round => format!("@{round}"),
    }
}
