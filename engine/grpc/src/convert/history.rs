//! Facts, as histories show them.

use amends_core::fact::{AbortReason, Act, AttemptEnded, ChildOutcome, Fact};
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
    let place = fact.place();
    let (round, attempt) = numbers(fact);
    let (code, message) = words(fact);
    let entry = v1::HistoryEntry {
        kind: fact.kind().to_owned(),
        step: place.map(|place| named(place.step)).unwrap_or_default(),
        item: place.map_or(0, |place| place.item),
        operation: operation(fact).unwrap_or_default(),
        round,
        attempt,
        by: by(fact).unwrap_or_default().to_owned(),
        code,
        message,
        ..v1::HistoryEntry::default()
    };
    match fact {
        Fact::AttemptEnded(ended) | Fact::LateResult { ended, .. } => came_to(entry, ended),
        Fact::ChildEnded { outcome, .. } => v1::HistoryEntry {
            outcome: child(outcome).to_owned(),
            ..entry
        },
        _ => entry,
    }
}

/// The operation that a fact names.
fn operation(fact: &Fact) -> Option<String> {
    let operation = match fact {
        Fact::Scheduled { operation, .. }
        | Fact::StepFailed { operation, .. }
        | Fact::Withdrawn { operation, .. }
        | Fact::ChildEnded { operation, .. } => *operation,
        Fact::AttemptEnded(ended) | Fact::LateResult { ended, .. } => ended.operation,
        Fact::Settling { .. } => OperationKind::Compensate,
        Fact::IncidentOpened(incident) => incident.operation?,
        Fact::IncidentClosed { operation, .. } => (*operation)?,
        Fact::Operated(operated) => match &operated.act {
            Act::Retry { operation, .. } | Act::Resolve { operation, .. } => *operation,
            Act::Skip { .. } | Act::ResolveAbsent { .. } => OperationKind::Forward,
            Act::ResolveNotUndone { .. } => OperationKind::Compensate,
            Act::ResolveSaga | Act::Compensate | Act::Pause | Act::Resume | Act::Terminate => {
                return None;
            }
        },
        _ => return None,
    };
    Some(operation.as_str().to_owned())
}

/// The round and the attempt that a fact names; 0 for none.
fn numbers(fact: &Fact) -> (u32, u32) {
    match fact {
        Fact::Scheduled { round, .. } => (*round, 1),
        Fact::Withdrawn { round, attempt, .. } => (*round, *attempt),
        Fact::AttemptEnded(ended) | Fact::LateResult { ended, .. } => (ended.round, ended.attempt),
        Fact::ChildRequested(request) => (request.round, 0),
        Fact::ChildPinned { round, .. } | Fact::ChildEnded { round, .. } => (*round, 0),
        _ => (0, 0),
    }
}

/// Who did it.
fn by(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::SignalReceived(signal) => Some(&signal.by),
        Fact::CancelPending { by, .. }
        | Fact::AbortDecided(
            AbortReason::Cancelled { by, .. } | AbortReason::Operator { by, .. },
        ) => Some(by),
        Fact::Operated(operated) => Some(&operated.by),
        _ => None,
    }
}

/// A code, and words: a failure's, or whatever tells most of the fact in a line.
fn words(fact: &Fact) -> (String, String) {
    let (code, message) = match fact {
        Fact::StepFailed { code, message, .. } => (&**code, &**message),
        Fact::Withdrawn { code, .. } => (&**code, ""),
        Fact::AttemptEnded(ended) | Fact::LateResult { ended, .. } => {
            ended.outcome.error().unwrap_or_default()
        }
        Fact::SignalReceived(signal) => ("", &*signal.signal),
        Fact::ChildRequested(request) => ("", &*request.name),
        Fact::ChildPinned { child, .. } => return (String::new(), child.to_string()),
        Fact::ChildEnded { outcome, .. } => match outcome {
            ChildOutcome::Completed { .. } => ("", ""),
            ChildOutcome::Compensated { code, message }
            | ChildOutcome::Refused { code, message } => (&**code, &**message),
            ChildOutcome::Terminated { message } => ("", &**message),
        },
        Fact::Emitted { event_type, .. } => ("", &**event_type),
        Fact::AbortDecided(reason) => (reason.code(), reason.message()),
        Fact::CancelPending { reason, .. } => ("", &**reason),
        Fact::IncidentOpened(incident) => (incident.reason.as_str(), &*incident.message),
        Fact::Operated(operated) => (operated.act.as_str(), &*operated.reason),
        _ => ("", ""),
    };
    (code.to_owned(), message.to_owned())
}

fn child(outcome: &ChildOutcome) -> &'static str {
    match outcome {
        ChildOutcome::Completed { .. } => "completed",
        ChildOutcome::Compensated { .. } => "compensated",
        ChildOutcome::Refused { .. } => "refused",
        ChildOutcome::Terminated { .. } => "terminated",
    }
}

fn came_to(entry: v1::HistoryEntry, ended: &AttemptEnded) -> v1::HistoryEntry {
    let verdict = ended.verdict.map(|verdict| verdict.as_str().to_owned());
    v1::HistoryEntry {
        outcome: Outcome::as_str(&ended.outcome).to_owned(),
        verdict: verdict.unwrap_or_default(),
        instance: ended.instance.clone().unwrap_or_default(),
        ..entry
    }
}

#[cfg(test)]
mod tests {
    use amends_core::fact::Operated;
    use amends_core::{Place, SagaId, ShardId, Time, Verdict};

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
