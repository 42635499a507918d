//! What is recorded of a saga, in words that cases can expect.

use amends_core::fact::Fact;
use amends_core::{Place, SagaId};

use crate::pump::Pump;

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
}
