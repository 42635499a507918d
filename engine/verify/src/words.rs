//! What happens, in words: events and facts with the steps' own names.

use amends_core::fact::{AttemptEnded, ChildOutcome, Fact};
use amends_core::{OperationKind, Outcome, Place};
use amends_definitions::Definition;

use crate::event::Event;
use crate::world::ANY_CODE;

/// The names of a definition's steps.
#[derive(Clone, Debug)]
pub struct Words {
    steps: Vec<String>,
}

impl Words {
    /// Those of a definition.
    #[must_use]
    pub fn of(definition: &Definition) -> Self {
        Self {
            steps: definition
                .steps()
                .iter()
                .map(|step| step.id().to_owned())
                .collect(),
        }
    }

    /// A place: `charge`, or `cars[2]`.
    #[must_use]
    pub fn step(&self, place: Place) -> String {
        let id = self
            .steps
            .get(place.step.index())
            .map_or("?", String::as_str);
        if place.item == 0 {
            id.to_owned()
        } else {
            format!("{id}[{}]", place.item)
        }
    }

    /// An event.
    #[must_use]
    pub fn event(&self, event: &Event) -> String {
        match event {
            Event::Succeeds {
                place, operation, ..
            } => format!("{} succeeds", self.operation(*place, *operation)),
            Event::Rejects {
                place,
                operation,
                code,
            } if code == ANY_CODE => format!("{} is rejected", self.operation(*place, *operation)),
            Event::Rejects {
                place,
                operation,
                code,
            } => format!(
                "{} is rejected with {code}",
                self.operation(*place, *operation)
            ),
            Event::IsFatal { place, operation } => {
                format!("{} can never work", self.operation(*place, *operation))
            }
            Event::Fails {
                place,
                operation,
                effect,
            } => format!(
                "{} fails until its budget is spent, {} effect",
                self.operation(*place, *operation),
                with(*effect)
            ),
            Event::IsUnknown {
                place,
                operation,
                effect,
            } => format!(
                "of {} nothing is heard until its budget is spent; it was {} effect",
                self.operation(*place, *operation),
                with(*effect)
            ),
            Event::FindsNothing { place } => {
                format!(
                    "the compensation of {} finds nothing to undo",
                    self.step(*place)
                )
            }
            Event::IsAbsent { place } => {
                format!(
                    "the query about {} answers that it had no effect",
                    self.step(*place)
                )
            }
            Event::ArrivesLate { place, .. } => {
                format!("the lost result of {} arrives late", self.step(*place))
            }
            Event::ChildIsPinned { place } => self.child(*place, "is found"),
            Event::ChildIsRefused { place } => self.child(*place, "is refused"),
            Event::ChildCompletes { place, .. } => self.child(*place, "completes"),
            Event::ChildIsUndone { place } => self.child(*place, "is undone"),
            Event::ChildIsGivenUp { place } => self.child(*place, "is given up"),
            Event::SignalComes { signal, .. } => format!("the signal {signal} comes"),
            Event::TakesLong { place } => {
                format!("the compensation of {} takes long", self.step(*place))
            }
            Event::TimePasses => "the next timer fires".to_owned(),
            Event::DeadlinePasses => "the saga's deadline passes".to_owned(),
            Event::IsCancelled => "the saga is cancelled".to_owned(),
        }
    }

    fn child(&self, place: Place, does: &str) -> String {
        format!("the child saga of {} {does}", self.step(place))
    }

    fn operation(&self, place: Place, operation: OperationKind) -> String {
        let step = self.step(place);
        match operation {
            OperationKind::Forward => step,
            OperationKind::Compensate => format!("the compensation of {step}"),
            OperationKind::Query => format!("the query about {step}"),
        }
    }
}

/// A fact, in words.
#[must_use]
pub fn fact_in_words(words: &Words, fact: &Fact) -> String {
    let step = |place: &Place| words.step(*place);
    match fact {
        Fact::Started(started) => format!(
            "started with {}",
            String::from_utf8_lossy(started.input.as_bytes())
        ),
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
        Fact::Completed { output } => format!(
            "completed with {}",
            String::from_utf8_lossy(output.as_bytes())
        ),
        Fact::Compensated => "compensated".into(),
    }
}

fn attempt_in_words(words: &Words, ended: &AttemptEnded) -> String {
    let operation = words.operation(ended.place, ended.operation);
    let attempt = ended.attempt;
    let what = match &ended.outcome {
        Outcome::Succeeded { output } => {
            format!(
                "succeeded with {}",
                String::from_utf8_lossy(output.as_bytes())
            )
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

fn with(effect: bool) -> &'static str {
    if effect { "with" } else { "without" }
}
