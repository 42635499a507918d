//! What a journal tells: as short lines for people, and what it asks to be sent.

use std::collections::BTreeMap;

use amends_core::fact::{Act, Fact};
use amends_core::shard::Command;
use amends_core::{AttemptName, OperationKind, Place, SagaId};

use crate::pump::{Pump, attempt_of};

impl Pump {
    /// A saga's facts, one short line each.
    pub fn facts(&self, saga: SagaId) -> Vec<String> {
        let definition = &self.definitions[&saga];
        let id = |place: &Place| match place.item {
            0 => definition.step(place.step).id().to_owned(),
            item => format!("{}[{item}]", definition.step(place.step).id()),
        };
        self.journal
            .iter()
            .filter(|row| row.saga == saga)
            .flat_map(|row| &row.facts)
            .map(|fact| match fact {
                Fact::Scheduled {
                    place, operation, ..
                } => format!("scheduled {} {}", operation.as_str(), id(place)),
                Fact::Skipped { step } => format!("skipped {}", id(&Place::from(*step))),
                Fact::AttemptEnded(ended) => format!(
                    "{} {} {}:{}{}",
                    ended.outcome.as_str(),
                    ended.operation.as_str(),
                    id(&ended.place),
                    ended.attempt,
                    if ended.retry_at.is_some() {
                        " again"
                    } else {
                        ""
                    }
                ),
                Fact::Withdrawn { place, code, .. } => format!("withdrawn {} {code}", id(place)),
                Fact::Settling { place, .. } => format!("settling {}", id(place)),
                Fact::StepFailed { place, code, .. } => {
                    format!("step_failed {} {code}", id(place))
                }
                Fact::AbortDecided(reason) => format!("abort {} {}", reason.kind(), reason.code()),
                Fact::IncidentOpened(incident) => format!("incident {}", incident.reason.as_str()),
                Fact::LateResult { leak, .. } => format!("late_result leak={leak}"),
                Fact::Operated(operated) => format!("operated {}", operated.act.as_str()),
                other => match other.place() {
                    Some(place) => format!("{} {}", other.kind(), id(&place)),
                    None => other.kind().to_owned(),
                },
            })
            .collect()
    }

    /// I7, I9, I10: a command leaves only if the journal asks for this very attempt, at this time, and no abort forbids it.
    pub fn check_send(&self, command: &Command) {
        let mut due = BTreeMap::new();
        let mut last: BTreeMap<(Place, OperationKind), (u32, u32)> = BTreeMap::new();
        let mut aborted = false;
        for row in self
            .journal
            .iter()
            .filter(|row| row.saga == command.key.saga)
        {
            let definition = &self.definitions[&row.saga];
            let mut plan = |place: Place, operation, round, attempt, at| {
                let step = definition.step(place.step).id();
                due.insert((step, place.item, operation, round, attempt), at);
            };
            for fact in &row.facts {
                match fact {
                    Fact::Scheduled {
                        place,
                        operation,
                        round,
                        ..
                    } => {
                        // A question that is asked once more goes on counting.
                        let before = last.get(&(*place, *operation));
                        let before = before.filter(|(of, _)| of == round);
                        let attempt = before.map_or(1, |(_, attempt)| attempt + 1);
                        plan(*place, *operation, *round, attempt, row.at);
                        last.insert((*place, *operation), (*round, attempt));
                    }
                    Fact::AttemptEnded(ended) => {
                        if let Some(at) = ended.retry_at {
                            let next = (ended.round, ended.attempt + 1);
                            plan(ended.place, ended.operation, next.0, next.1, at);
                            last.insert((ended.place, ended.operation), next);
                        }
                    }
                    Fact::Operated(operated) => {
                        if let Act::Retry {
                            place,
                            operation,
                            input: None,
                        } = &operated.act
                        {
                            let known = last.entry((*place, *operation)).or_default();
                            known.1 += 1;
                            plan(*place, *operation, known.0, known.1, row.at);
                        }
                    }
                    Fact::AbortDecided(_) => aborted = true,
                    _ => {}
                }
            }
        }
        let AttemptName { name, attempt, .. } = attempt_of(command);
        let step = &*name.step;
        let at = due.get(&(step, name.item, name.operation, name.round, attempt));
        assert!(
            at.is_some_and(|at| *at <= self.now),
            "{step}:{attempt} left without a durable intent"
        );
        let forward = name.operation == OperationKind::Forward;
        assert!(
            !(aborted && forward),
            "{step}:{attempt} left after the abort"
        );
    }
}
