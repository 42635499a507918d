//! What is recorded, in words: facts, with the steps' own names.

use amends_core::fact::{AttemptEnded, ChildOutcome, Fact};
use amends_core::{Outcome, Place};
use amends_definitions::Payload;

use crate::words::Words;

/// A fact, in words.
#[must_use]
pub fn fact_in_words(words: &Words, fact: &Fact) -> String {
    match fact {
        Fact::Started(started) => format!("started with {}", on_one_line(&started.input)),
        Fact::TurnGranted => "its turn came".into(),
        Fact::Skipped { step: index } => format!("{} is skipped", words.step(Place::from(*index))),
        Fact::ItemsListed {
            step: index, keys, ..
        } => {
            format!(
                "{} is done for {} items",
                words.step(Place::from(*index)),
                keys.len()
            )
        }
        Fact::Scheduled {
            place, operation, ..
        } => format!("{} is sent", words.operation(*place, *operation)),
        Fact::StepFailed {
            place,
            operation,
            code,
            message,
        } => format!(
            "{} fails with {code}: {message}",
            words.operation(*place, *operation)
        ),
        Fact::AttemptEnded(ended) => attempt_in_words(words, ended),
        Fact::LateResult { ended, leak } => {
            let warning = if *leak {
                "; its effect may be left behind"
            } else {
                ""
            };
            format!("too late: {}{warning}", attempt_in_words(words, ended))
        }
        Fact::Withdrawn {
            place,
            operation,
            code,
            ..
        } => format!(
            "{} was never sent ({code})",
            words.operation(*place, *operation)
        ),
        other => waiting_in_words(words, other),
    }
}

/// What signals, sleeps, children and events record.
fn waiting_in_words(words: &Words, fact: &Fact) -> String {
    let step = |place: &Place| words.step(*place);
    match fact {
        Fact::SignalAwaited { place, .. } => format!("{} waits for its signal", step(place)),
        Fact::SignalReceived(signal) => format!("signal {} is accepted", signal.signal),
        Fact::SignalConsumed { place, number } => format!("{} takes signal {number}", step(place)),
        Fact::SignalUnconsumed { number } => format!("nothing took signal {number}"),
        Fact::Sleeping { place, until } => format!("{} sleeps until {until}", step(place)),
        Fact::Slept { place } => format!("{} has slept", step(place)),
        Fact::ChildRequested(request) => {
            format!(
                "{} asks for a child saga of {}",
                step(&request.place),
                request.name
            )
        }
        Fact::ChildPinned {
            place, revision, ..
        } => format!(
            "the child saga of {} is pinned to revision {revision}",
            step(place)
        ),
        Fact::ChildEnded { place, outcome, .. } => format!(
            "the child saga of {} {}",
            step(place),
            child_in_words(outcome)
        ),
        Fact::Emitted {
            place, event_type, ..
        } => format!("{} emits {event_type}", step(place)),
        other => saga_in_words(words, other),
    }
}

/// What is about the saga as a whole, or leads to its end.
fn saga_in_words(words: &Words, fact: &Fact) -> String {
    let step = |place: &Place| words.step(*place);
    match fact {
        Fact::Continued { place, .. } => format!("the saga goes on past {}", step(place)),
        Fact::DeadlinePassed => "the deadline passed".into(),
        Fact::AbortDecided(reason) => format!(
            "the saga aborts: {} ({}: {})",
            reason.kind(),
            reason.code(),
            reason.message()
        ),
        Fact::Settling { place, until } => {
            format!("{} settles until {until} before it is undone", step(place))
        }
        Fact::CancelPending { .. } => "the cancel waits for the pivot".into(),
        Fact::CancelDropped => "the cancel is dropped: the pivot succeeded".into(),
        Fact::IncidentOpened(incident) => format!(
            "parked: {} {}: {}",
            incident.reason.as_str(),
            incident
                .place
                .map(|place| words.step(place))
                .unwrap_or_default(),
            incident.message
        ),
        Fact::IncidentClosed { .. } => "the incident is closed".into(),
        Fact::Operated(operated) => format!("{} {}", operated.by, operated.act.as_str()),
        Fact::Completed { output } => format!("completed with {}", on_one_line(output)),
        Fact::Compensated => "compensated".into(),
        // The others are in words above.
        other => other.kind().to_owned(),
    }
}

fn attempt_in_words(words: &Words, ended: &AttemptEnded) -> String {
    let operation = words.operation(ended.place, ended.operation);
    let attempt = ended.attempt;
    let what = match &ended.outcome {
        Outcome::Succeeded { output } => {
            format!("succeeded with {}", on_one_line(output))
        }
        other => match other.error() {
            Some((code, message)) => format!("{}: {code}: {message}", other.as_str()),
            None => other.as_str().to_owned(),
        },
    };
    let retry = ended
        .retry_at
        .map_or_else(String::new, |at| format!(", again at {at}"));
    format!("{operation}, attempt {attempt}: {what}{retry}")
}

fn child_in_words(outcome: &ChildOutcome) -> String {
    match outcome {
        ChildOutcome::Completed { .. } => "completed".into(),
        ChildOutcome::Compensated { code, .. } => format!("was undone ({code})"),
        ChildOutcome::Refused { code, .. } => format!("was refused ({code})"),
        ChildOutcome::Terminated { .. } => "was given up".into(),
    }
}

/// A payload as it was given, without what only lays it out: input from a file has lines of its own.
pub(crate) fn on_one_line(payload: &Payload) -> String {
    let text = String::from_utf8_lossy(payload.as_bytes());
    let (mut quoted, mut escaped) = (false, false);
    text.chars()
        .filter(|character| {
            let kept = quoted || !character.is_ascii_whitespace();
            if !escaped && *character == '"' {
                quoted = !quoted;
            }
            escaped = quoted && !escaped && *character == '\\';
            kept
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_with_lines_of_its_own_is_told_on_one_line() {
        let given = b"{\n  \"a b\": [1, 2],\r\n\t\"c\": \"say \\\"x y\\\" \\\\\", \"d\": null }\n";
        let payload = Payload::check(given.to_vec().into()).expect("it is JSON");
        assert_eq!(
            on_one_line(&payload),
            r#"{"a b":[1,2],"c":"say \"x y\" \\","d":null}"#
        );
    }
}
