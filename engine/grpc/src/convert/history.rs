//! Facts, as histories show them.

use amends_core::fact::{AbortReason, Act, AttemptEnded, ChildOutcome, Fact};
use amends_core::journal::JournalRow;
use amends_core::{OperationKind, Outcome, Place};
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
    let at = |place: Option<Place>, which: Option<OperationKind>| v1::HistoryEntry {
        step: place.map(|place| named(place.step)).unwrap_or_default(),
        item: place.map_or(0, |place| place.item),
        operation: which.map(operation).unwrap_or_default(),
        ..plain.clone()
    };
    // Where a fact is about a place, its columns say so; an operation only where the fact names one.
    let there = || at(fact.place(), None);
    match fact {
        Fact::Started(_)
        | Fact::TurnGranted
        | Fact::SignalUnconsumed { .. }
        | Fact::DeadlinePassed
        | Fact::CancelDropped
        | Fact::Completed { .. }
        | Fact::Compensated => plain,
        Fact::Skipped { .. }
        | Fact::ItemsListed { .. }
        | Fact::SignalAwaited { .. }
        | Fact::SignalConsumed { .. }
        | Fact::Sleeping { .. }
        | Fact::Slept { .. }
        | Fact::Continued { .. } => there(),
        Fact::Emitted { event_type, .. } => because(there(), "", event_type),
        Fact::SignalReceived(signal) => v1::HistoryEntry {
            by: signal.by.clone(),
            ..because(plain, "", &signal.signal)
        },
        Fact::ChildRequested(request) => v1::HistoryEntry {
            round: request.round,
            ..because(there(), "", &request.name)
        },
        Fact::ChildPinned { round, child, .. } => v1::HistoryEntry {
            round: *round,
            ..because(there(), "", &child.to_string())
        },
        Fact::ChildEnded {
            place,
            round,
            operation,
            outcome,
        } => child_ended(at(Some(*place), Some(*operation)), *round, outcome),
        Fact::Settling { place, .. } => at(Some(*place), Some(OperationKind::Compensate)),
        Fact::Scheduled {
            place,
            operation,
            round,
            ..
        } => v1::HistoryEntry {
            attempt: 1,
            round: *round,
            ..at(Some(*place), Some(*operation))
        },
        Fact::StepFailed {
            place,
            operation,
            code,
            message,
        } => because(at(Some(*place), Some(*operation)), code, message),
        Fact::Withdrawn {
            place,
            operation,
            round,
            attempt,
            code,
        } => v1::HistoryEntry {
            attempt: *attempt,
            round: *round,
            ..because(at(Some(*place), Some(*operation)), code, "")
        },
        Fact::AttemptEnded(ended) | Fact::LateResult { ended, .. } => {
            attempt(at(Some(ended.place), Some(ended.operation)), ended)
        }
        Fact::AbortDecided(reason) => v1::HistoryEntry {
            by: aborted_by(reason),
            ..because(there(), reason.code(), reason.message())
        },
        Fact::CancelPending { by, reason } => v1::HistoryEntry {
            by: by.clone(),
            ..because(plain, "", reason)
        },
        Fact::IncidentOpened(incident) => {
            let about = at(incident.place, incident.operation);
            because(about, incident.reason.as_str(), &incident.message)
        }
        Fact::IncidentClosed { place, operation } => at(*place, *operation),
        Fact::Operated(operated) => v1::HistoryEntry {
            by: operated.by.clone(),
            ..because(
                at(fact.place(), operated_on(&operated.act)),
                operated.act.as_str(),
                &operated.reason,
            )
        },
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
        round: ended.round,
        outcome: Outcome::as_str(&ended.outcome).to_owned(),
        verdict: verdict.unwrap_or_default(),
        instance: ended.instance.clone().unwrap_or_default(),
        ..because(entry, code, message)
    }
}

fn child_ended(entry: v1::HistoryEntry, round: u32, outcome: &ChildOutcome) -> v1::HistoryEntry {
    let (came_to, code, message) = match outcome {
        ChildOutcome::Completed { .. } => ("completed", "", ""),
        ChildOutcome::Compensated { code, message } => ("compensated", &**code, &**message),
        ChildOutcome::Refused { code, message } => ("refused", &**code, &**message),
        ChildOutcome::Terminated { message } => ("terminated", "", &**message),
    };
    v1::HistoryEntry {
        outcome: came_to.to_owned(),
        round,
        ..because(entry, code, message)
    }
}

fn aborted_by(reason: &AbortReason) -> String {
    match reason {
        AbortReason::Cancelled { by, .. } | AbortReason::Operator { by, .. } => by.clone(),
        AbortReason::StepFailed { .. }
        | AbortReason::DeadlineExceeded
        | AbortReason::ParentAborted { .. }
        | AbortReason::OutputInvalid { .. } => String::new(),
    }
}

fn operated_on(act: &Act) -> Option<OperationKind> {
    match act {
        Act::Retry { operation, .. } | Act::Resolve { operation, .. } => Some(*operation),
        Act::Skip { .. } | Act::ResolveAbsent { .. } => Some(OperationKind::Forward),
        Act::Compensate | Act::Pause | Act::Resume | Act::Terminate => None,
    }
}

fn operation(operation: OperationKind) -> String {
    operation.as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use amends_core::fact::Operated;
    use amends_core::{SagaId, ShardId, Time, Verdict};

    use super::*;

    #[test]
    fn an_attempt_shows_who_ran_it_and_what_it_came_to() {
        let ended = AttemptEnded {
            place: Place::item(StepIndex(1), 4),
            operation: OperationKind::Forward,
            round: 2,
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
        assert_eq!((first.item, first.round), (4, 2));
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

    #[test]
    fn what_people_did_shows_who_and_why() {
        let operated = Operated {
            by: "ann".into(),
            reason: "the bank is back".into(),
            act: Act::Retry {
                place: Place::item(StepIndex(0), 2),
                operation: OperationKind::Compensate,
                input: None,
            },
        };
        let row = JournalRow {
            position: 1,
            saga: SagaId::new(Time::EPOCH, ShardId(0), 1),
            at: Time::EPOCH,
            facts: vec![Fact::Operated(operated)],
        };
        let entry = entries(&row, &[], &["hold".into()]).remove(0);
        assert_eq!((entry.by.as_str(), entry.code.as_str()), ("ann", "retry"));
        assert_eq!(entry.message, "the bank is back");
        assert_eq!(
            (entry.step.as_str(), entry.item, entry.operation.as_str()),
            ("hold", 2, "compensate")
        );
    }
}
