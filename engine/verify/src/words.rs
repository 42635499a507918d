//! What happens, in words: events, with the steps' own names.

use amends_core::{OperationKind, Place};
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

    /// A place: `charge`, or `cars#2`.
    #[must_use]
    pub fn step(&self, place: Place) -> String {
        let id = self
            .steps
            .get(place.step.index())
            .map_or("?", String::as_str);
        if place.item == 0 {
            id.to_owned()
        } else {
            format!("{id}#{}", place.item)
        }
    }

    /// An event.
    #[must_use]
    pub fn event(&self, event: &Event) -> String {
        match event {
            Event::Succeeds {
                place, operation, ..
            } => format!("{} succeeds", self.operation(*place, *operation)),
            Event::Lacks { place, field } => format!(
                "{} succeeds, and its answer lacks {field}",
                self.step(*place)
            ),
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
            Event::IsUnusable { place } => {
                format!(
                    "{} has its effect, and its answer cannot be used",
                    self.step(*place)
                )
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
            Event::IsLostOnce { place, effect } => format!(
                "of one attempt of {} nothing is heard, and it is tried again; it was {} effect",
                self.step(*place),
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
            other => self.event_around(other),
        }
    }

    /// An event that is not about an attempt.
    fn event_around(&self, event: &Event) -> String {
        match event {
            Event::ChildIsPinned { place } => self.child(*place, "is found"),
            Event::ChildIsRefused { place } => self.child(*place, "is refused"),
            Event::ChildCompletes { place, .. } => self.child(*place, "completes"),
            Event::ChildIsUndone { place } => self.child(*place, "is undone"),
            Event::ChildIsGivenUp { place } => self.child(*place, "is given up"),
            Event::SignalComes { signal, .. } => format!("the signal {signal} comes"),
            Event::SignalLacks { signal, field } => {
                format!("the signal {signal} comes, and it lacks {field}")
            }
            Event::TakesLong { place } => {
                format!("the compensation of {} takes long", self.step(*place))
            }
            Event::TimePasses => "the next timer fires".to_owned(),
            Event::DeadlinePasses => "the saga's deadline passes".to_owned(),
            Event::IsCancelled => "the saga is cancelled".to_owned(),
            Event::Succeeds { .. }
            | Event::Lacks { .. }
            | Event::Rejects { .. }
            | Event::IsFatal { .. }
            | Event::IsUnusable { .. }
            | Event::Fails { .. }
            | Event::IsUnknown { .. }
            | Event::IsLostOnce { .. }
            | Event::FindsNothing { .. }
            | Event::IsAbsent { .. }
            | Event::ArrivesLate { .. } => String::new(),
        }
    }

    fn child(&self, place: Place, does: &str) -> String {
        format!("the child saga of {} {does}", self.step(place))
    }

    pub(crate) fn operation(&self, place: Place, operation: OperationKind) -> String {
        let step = self.step(place);
        match operation {
            OperationKind::Forward => step,
            OperationKind::Compensate => format!("the compensation of {step}"),
            OperationKind::Query => format!("the query about {step}"),
        }
    }
}

fn with(effect: bool) -> &'static str {
    if effect { "with" } else { "without" }
}
