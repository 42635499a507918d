//! Facts, as histories show them.

use amends_core::fact::{AbortReason, AttemptEnded, Fact};
use amends_core::journal::JournalRow;
use amends_core::{OperationKind, Outcome};
use amends_definitions::StepIndex;
use amends_proto::v1;
use bytes::Bytes;

use super::time::timestamp;

/// The entries of one row. `bodies` are its facts as JSON, in the same order.
#[must_use]
pub fn entries(row: &JournalRow, bodies: &[String], step_ids: &[String]) -> Vec<v1::HistoryEntry> {
    let named = |step: StepIndex| step_ids.get(step.index()).cloned().unwrap_or_default();
    let numbered = row.facts.iter().enumerate();
    let entry = |(index, fact): (usize, &Fact)| v1::HistoryEntry {
        position: row.position,
        index: u32::try_from(index).unwrap_or(u32::MAX),
        time: timestamp(row.at),
        body: bodies
            .get(index)
            .map(|body| Bytes::copy_from_slice(body.as_bytes()))
            .unwrap_or_default(),
        ..describe(fact, named)
    };
    numbered.map(entry).collect()
}

/// What a fact says, as columns.
fn describe(fact: &Fact, named: impl Fn(StepIndex) -> String) -> v1::HistoryEntry {
    let plain = v1::HistoryEntry {
        kind: fact.kind().to_owned(),
        ..v1::HistoryEntry::default()
    };
    let at = |step: Option<StepIndex>, which: Option<OperationKind>| v1::HistoryEntry {
        step: step.map(&named).unwrap_or_default(),
        operation: which.map(operation).unwrap_or_default(),
        ..plain.clone()
    };
    match fact {
        Fact::Started(_) | Fact::CancelDropped | Fact::Completed { .. } | Fact::Compensated => {
            plain
        }
        Fact::Skipped { step } => at(Some(*step), None),
        Fact::Settling { step, .. } => at(Some(*step), Some(OperationKind::Compensate)),
        Fact::Scheduled {
            step, operation, ..
        } => v1::HistoryEntry {
            attempt: 1,
            ..at(Some(*step), Some(*operation))
        },
        Fact::StepFailed {
            step,
            operation,
            code,
            message,
        } => because(at(Some(*step), Some(*operation)), code, message),
        Fact::Withdrawn {
            step,
            operation,
            attempt,
            code,
        } => v1::HistoryEntry {
            attempt: *attempt,
            ..because(at(Some(*step), Some(*operation)), code, "")
        },
        Fact::AttemptEnded(ended) | Fact::LateResult { ended, .. } => {
            attempt(at(Some(ended.step), Some(ended.operation)), ended)
        }
        Fact::AbortDecided(reason) => because(
            at(aborting_step(reason), None),
            reason.code(),
            reason.message(),
        ),
        Fact::CancelPending { reason, .. } => because(plain, "", reason),
        Fact::IncidentOpened(incident) => {
            let about = at(incident.step, incident.operation);
            because(about, incident.reason.as_str(), &incident.message)
        }
        Fact::IncidentClosed { step, operation } => at(*step, *operation),
    }
}

fn because(entry: v1::HistoryEntry, code: &str, message: &str) -> v1::HistoryEntry {
    v1::HistoryEntry {
        code: code.to_owned(),
        message: message.to_owned(),
        ..entry
    }
}

fn attempt(entry: v1::HistoryEntry, ended: &AttemptEnded) -> v1::HistoryEntry {
    let (code, message) = ended.outcome.error().unwrap_or_default();
    let verdict = ended.verdict.map(|verdict| verdict.as_str().to_owned());
    v1::HistoryEntry {
        attempt: ended.attempt,
        outcome: Outcome::as_str(&ended.outcome).to_owned(),
        verdict: verdict.unwrap_or_default(),
        instance: ended.instance.clone().unwrap_or_default(),
        ..because(entry, code, message)
    }
}

fn aborting_step(reason: &AbortReason) -> Option<StepIndex> {
    match reason {
        AbortReason::StepFailed { step, .. } => Some(*step),
        AbortReason::Cancelled { .. } | AbortReason::OutputInvalid { .. } => None,
    }
}

fn operation(operation: OperationKind) -> String {
    operation.as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use amends_core::{SagaId, ShardId, Time, Verdict};

    use super::*;

    #[test]
    fn an_attempt_shows_who_ran_it_and_what_it_came_to() {
        let ended = AttemptEnded {
            step: StepIndex(1),
            operation: OperationKind::Forward,
            attempt: 3,
            outcome: Outcome::Rejected {
                code: "OUT_OF_STOCK".into(),
                message: "none left".into(),
            },
            verdict: Some(Verdict::First),
            instance: Some("inventory-1".into()),
            sent_at: None,
            retry_at: None,
        };
        let row = JournalRow {
            position: 17,
            saga: SagaId::new(Time::EPOCH, ShardId(0), 1),
            at: Time::from_micros(5),
            facts: vec![Fact::AttemptEnded(ended), Fact::Compensated],
        };
        let entries = entries(
            &row,
            &["{\"a\":1}".into(), "{}".into()],
            &["reserve".into(), "charge".into()],
        );
        let first = &entries[0];
        assert_eq!((first.position, first.index, first.attempt), (17, 0, 3));
        assert_eq!(
            (
                first.kind.as_str(),
                first.step.as_str(),
                first.operation.as_str()
            ),
            ("attempt_ended", "charge", "forward")
        );
        assert_eq!(
            (
                first.outcome.as_str(),
                first.code.as_str(),
                first.verdict.as_str()
            ),
            ("rejected", "OUT_OF_STOCK", "first")
        );
        assert_eq!(
            (&first.body[..], first.instance.as_str()),
            (&b"{\"a\":1}"[..], "inventory-1")
        );
        assert_eq!(
            (entries[1].index, entries[1].kind.as_str()),
            (1, "compensated")
        );
    }
}
