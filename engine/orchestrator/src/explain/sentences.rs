//! An explanation in words.

use amends_core::fact::{AbortReason, ChildOutcome, IncidentReason};
use amends_core::journal::SagaState;
use amends_core::saga::{Abort, OpenIncident, Phase};
use amends_core::shard::ChildState;

use super::left::left;
use super::{Known, counted, named};
use crate::explanation::{Awaited, Owed, Sentence, Topic, WaitsFor};

/// The most important first.
pub(super) fn sentences(known: &Known, waits: &[WaitsFor], owed: &[Owed]) -> Vec<Sentence> {
    let saga = &known.saga;
    let mut sentences = vec![state(known, owed.len())];
    sentences.extend(saga.abort().map(|abort| aborted(known, abort)));
    if let Some(cancel) = saga.cancel_pending() {
        let text = format!(
            "{} asked for a cancel ({}): it waits until it is known whether the pivot had its effect.",
            cancel.by, cancel.reason
        );
        sentences.push(plain(Topic::State, text));
    }
    if !saga.terminal() {
        sentences.extend(saga.incidents().iter().map(|open| incident(known, open)));
    }
    for wait in waits {
        let topic = match wait.what {
            // The incident's own sentence says more.
            Awaited::Operator(_) => continue,
            Awaited::Turn(_) => Topic::Turn,
            _ => Topic::WaitsFor,
        };
        sentences.push(Sentence {
            topic,
            at: wait.at.clone(),
            text: sentence(&wait.text),
        });
    }
    for owed in owed {
        let text = match &owed.action {
            Some(action) => format!("{} has to be undone by {action}", named(&owed.at)),
            None => format!("the child saga of {} has to be undone", named(&owed.at)),
        };
        sentences.push(Sentence {
            topic: Topic::Owed,
            at: Some(owed.at.clone()),
            text: sentence(&format!("{text}: {}", owed.why)),
        });
    }
    sentences.extend(left(known));
    sentences.extend(deadline(known));
    sentences.extend(passed_over(known));
    sentences.sort_by_key(|sentence| sentence.topic);
    sentences
}

/// Of a saga that cannot be read.
pub(super) fn unreadable(why: &str) -> Sentence {
    let actions = IncidentReason::RecordUnreadable
        .suggested_actions(None)
        .join("; ");
    let text =
        format!("Its history cannot be read by this version: {why}. What can be done: {actions}.");
    plain(Topic::State, text)
}

fn plain(topic: Topic, text: String) -> Sentence {
    Sentence {
        topic,
        at: None,
        text,
    }
}

fn state(known: &Known, owed: usize) -> Sentence {
    let saga = &known.saga;
    let over = saga.ended_at().unwrap_or(saga.updated_at());
    let text = match saga.state() {
        SagaState::Running => {
            let done = saga.steps().iter().filter(|step| step.lets_go_on()).count();
            let steps = counted(saga.steps().len(), "step is", "steps are");
            format!(
                "It runs since {}: {done} of {steps} done.",
                saga.started_at()
            )
        }
        SagaState::Completed => format!("It completed at {over}."),
        SagaState::Compensating => {
            let since = saga.abort().map_or(saga.updated_at(), |abort| abort.at);
            let owed = counted(owed, "compensation is", "compensations are");
            format!("It is being undone since {since}: {owed} owed.")
        }
        SagaState::Compensated => format!("It was undone at {over}."),
        SagaState::Parked => {
            let open = saga.incidents().len();
            let since = saga.incidents().iter().map(|open| open.opened_at).min();
            let since = since.unwrap_or(saga.updated_at());
            let open = counted(open, "incident waits", "incidents wait");
            format!("It is parked since {since}: {open} for a person.")
        }
        SagaState::Terminated => match saga.child_state() {
            ChildState::Ended(ChildOutcome::Terminated { message }) => {
                format!("An operator gave it up at {over}: {message}.")
            }
            _ => format!("An operator gave it up at {over}."),
        },
    };
    plain(Topic::State, text)
}

fn aborted(known: &Known, abort: &Abort) -> Sentence {
    let at = abort.at;
    let (place, why) = match &abort.reason {
        AbortReason::StepFailed {
            place,
            code,
            message,
        } => {
            let named = known.named(*place);
            (
                Some(*place),
                format!("{named} ended with {code}: {message}"),
            )
        }
        AbortReason::Cancelled { by, reason } => (None, format!("{by} cancelled it: {reason}")),
        AbortReason::DeadlineExceeded => (None, "its deadline passed".to_owned()),
        AbortReason::Operator { by, reason } => (None, format!("{by} wanted it undone: {reason}")),
        AbortReason::ParentAborted { code, message } => (
            None,
            format!("the saga that asked for it does not want it any more, for {code}: {message}"),
        ),
        AbortReason::OutputInvalid { code, message } => (
            None,
            format!("its output has no value, for {code}: {message}"),
        ),
    };
    Sentence {
        topic: Topic::Abort,
        at: place.map(|place| known.at(place)),
        text: sentence(&format!("it was aborted at {at} because {why}")),
    }
}

fn incident(known: &Known, open: &OpenIncident) -> Sentence {
    let incident = &open.incident;
    let about = match (incident.place, incident.operation) {
        (Some(place), Some(operation)) => {
            format!(" at {}, {}", known.named(place), operation.as_str())
        }
        (Some(place), None) => format!(" at {}", known.named(place)),
        (None, _) => String::new(),
    };
    let text = format!(
        "Incident {}, {}{about}, since {}: {}. What can be done: {}.",
        open.number,
        incident.reason.as_str(),
        open.opened_at,
        incident.message.trim_end_matches('.'),
        incident
            .reason
            .suggested_actions(incident.operation)
            .join("; "),
    );
    Sentence {
        topic: Topic::Incident,
        at: incident.place.map(|place| known.at(place)),
        text,
    }
}

fn deadline(known: &Known) -> Option<Sentence> {
    let saga = &known.saga;
    let at = saga.deadline_at()?;
    if saga.terminal() || saga.abort().is_some() {
        return None;
    }
    let text = if saga.deadline_passed() {
        format!("Its deadline passed at {at}.")
    } else {
        format!("Its forward part has to be done by {at}.")
    };
    Some(plain(Topic::Deadline, text))
}

/// Places that failed and that the saga went on past.
fn passed_over(known: &Known) -> impl Iterator<Item = Sentence> + '_ {
    let saga = &known.saga;
    let continued = saga
        .places()
        .filter(|place| saga.place(*place).forward.phase == Phase::Continued);
    continued.map(|place| {
        let error = saga.place(place).forward.error.as_ref();
        let why = error.map_or("without a result", |(code, _)| code.as_str());
        Sentence {
            topic: Topic::Step,
            at: Some(known.at(place)),
            text: sentence(&format!(
                "{} ended with {why}, and the saga went on past it",
                known.named(place)
            )),
        }
    })
}

/// With a capital at its beginning and a full stop at its end.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!(
        "{}{}.",
        first.unwrap_or_default(),
        letters.as_str().trim_end_matches('.')
    )
}
