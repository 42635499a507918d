//! What the demo prints at the end: how the sagas ended, two of them in full, and the audit.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_proto::v1::{Saga, SagaState, StepState};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::company::Company;
use super::starts::Started;
use crate::connection::{Connection, id_of};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::grid::grid;
use crate::output::{View as _, write_out};
use crate::verbs::saga::{facts, get};
use crate::view::history::HistoryView;
use crate::view::saga::{SagaView, state_word};
use amends_example_order_fulfilment::audit::{AuditReport, Ending};

/// How many sagas are read at once.
const READS_AT_ONCE: usize = 16;

/// How every started saga ended.
#[derive(Debug)]
pub struct Ends {
    sagas: Vec<Saga>,
}

impl Ends {
    /// Reads every saga whose start was acknowledged.
    ///
    /// # Errors
    /// If the server does not answer; a saga that it does not know is counted as lost.
    pub async fn read(connection: &Connection, started: &[Started]) -> Result<Self, Failure> {
        let read: Vec<Option<Saga>> = stream::iter(started.to_vec())
            .map(|started| async move {
                match get(connection, &started.saga).await {
                    Ok(saga) => Ok(Some(saga)),
                    Err(failure) if failure.exit() == Exit::NotFound => Ok(None),
                    Err(failure) => Err(failure),
                }
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self {
            sagas: read.into_iter().flatten().collect(),
        })
    }

    /// How each order's saga ended; an order whose saga is not there, or has not ended, has no ending.
    #[must_use]
    pub fn endings(&self) -> BTreeMap<String, Ending> {
        let ending = |saga: &Saga| match state(saga) {
            SagaState::Completed => Some(Ending::Completed),
            SagaState::Compensated => Some(Ending::Compensated),
            SagaState::Parked => Some(Ending::Parked),
            SagaState::Terminated => Some(Ending::Terminated),
            SagaState::Running | SagaState::Compensating | SagaState::Unspecified => None,
        };
        self.sagas
            .iter()
            .filter_map(|saga| Some((saga.key.clone(), ending(saga)?)))
            .collect()
    }

    /// A line for each way to end.
    fn table(&self) -> String {
        // In the order of the protocol's states: what completed comes first.
        let mut counts: BTreeMap<(i32, String), u64> = BTreeMap::new();
        for saga in &self.sagas {
            *counts.entry((saga.state, why(saga))).or_default() += 1;
        }
        let rows = counts
            .into_iter()
            .map(|((end, why), count)| vec![state_word(end), why, count.to_string()]);
        grid(&["END", "BECAUSE", "SAGAS"], rows)
    }

    /// The completed saga that had the hardest time.
    fn happy(&self) -> Option<&Saga> {
        let completed = self
            .sagas
            .iter()
            .filter(|saga| state(saga) == SagaState::Completed);
        completed.max_by_key(|saga| attempts(saga))
    }

    /// The compensated saga with the most to undo.
    fn compensated(&self) -> Option<&Saga> {
        let compensated = self
            .sagas
            .iter()
            .filter(|saga| state(saga) == SagaState::Compensated);
        compensated.max_by_key(|saga| (undone(saga), attempts(saga)))
    }
}

/// Prints all of it.
///
/// # Errors
/// If the server does not answer, or standard output takes nothing.
pub async fn print(
    connection: &Connection,
    ends: &Ends,
    audit: &AuditReport,
    company: &Company,
    took: Duration,
) -> Result<(), Failure> {
    let mut text = format!(
        "\nHow the sagas ended ({})\n\n{}",
        company.misfortunes(),
        ends.table()
    );
    for (title, saga) in [
        ("A happy saga", ends.happy()),
        ("A compensated saga", ends.compensated()),
    ] {
        if let Some(saga) = saga {
            let history = HistoryView::from(facts(connection, &saga.name).await?);
            let view = SagaView::from(saga.clone());
            text.push_str(&format!(
                "\n{title}: {}\n\n{}\n{}",
                id_of(&saga.name),
                view.table(),
                history.table()
            ));
        }
    }
    text.push_str(&format!(
        "\nThe audit, from the services' own books\n\n{audit}\n"
    ));
    let verdict = if holds(audit) {
        "holds"
    } else {
        "DOES NOT HOLD"
    };
    text.push_str(&format!(
        "\nThe audit {verdict}, after {:.1} s.\n",
        took.as_secs_f64()
    ));
    write_out(&text)
}

/// Nothing was found, and no saga waits for a person: in this story none has to.
#[must_use]
pub fn holds(audit: &AuditReport) -> bool {
    audit.holds() && audit.unsettled == 0
}

fn state(saga: &Saga) -> SagaState {
    SagaState::try_from(saga.state).unwrap_or(SagaState::Unspecified)
}

fn why(saga: &Saga) -> String {
    let abort = saga
        .abort
        .as_ref()
        .map(|abort| match (abort.code.as_str(), abort.step.as_str()) {
            ("", _) => abort.kind.clone(),
            (code, "") => code.to_owned(),
            (code, step) => format!("{code} at {step}"),
        });
    let incident = saga
        .incidents
        .first()
        .map(|incident| incident.reason.clone());
    incident.or(abort).unwrap_or_else(|| "-".to_owned())
}

fn attempts(saga: &Saga) -> u32 {
    let operations = saga
        .steps
        .iter()
        .flat_map(|step| [&step.forward, &step.compensation]);
    operations
        .flatten()
        .map(|operation| operation.attempts)
        .sum()
}

fn undone(saga: &Saga) -> usize {
    let compensations = saga
        .steps
        .iter()
        .filter_map(|step| step.compensation.as_ref());
    compensations
        .filter(|operation| operation.state() == StepState::Succeeded)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_proto::v1::AbortReason;

    #[test]
    fn ends_are_counted_by_state_and_reason() {
        let completed = Saga {
            state: SagaState::Completed.into(),
            ..Saga::default()
        };
        let declined = Saga {
            state: SagaState::Compensated.into(),
            abort: Some(AbortReason {
                kind: "STEP_FAILED".to_owned(),
                step: "charge".to_owned(),
                code: "CARD_DECLINED".to_owned(),
                ..AbortReason::default()
            }),
            ..Saga::default()
        };
        let ends = Ends {
            sagas: vec![completed.clone(), declined, completed],
        };
        assert_eq!(
            ends.table(),
            "END          BECAUSE                  SAGAS\n\
             completed    -                        2\n\
             compensated  CARD_DECLINED at charge  1\n"
        );
    }
}
