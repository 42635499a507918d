//! One fact of each kind, with each field, as the golden files hold them.

use std::time::Duration;

use amends_core::fact::{
    AbortReason, Act, AttemptEnded, ChildOutcome, ChildRequested, Incident, IncidentReason,
    Operated, Parent, SignalReceived, Started,
};
use amends_core::{Fact, OperationKind, Outcome, Place, SagaId, ShardId, Time, Verdict};
use amends_definitions::{DefinitionHash, Payload, StepIndex};
use bytes::Bytes;

pub(super) fn payload(text: &'static str) -> Payload {
    Payload::trusted(Bytes::from_static(text.as_bytes()))
}

pub(super) fn ended(outcome: Outcome) -> AttemptEnded {
    AttemptEnded {
        place: StepIndex(2).into(),
        operation: OperationKind::Forward,
        round: 0,
        attempt: 3,
        outcome,
        verdict: None,
        instance: None,
        sent_at: None,
        retry_at: None,
    }
}

pub(super) fn started() -> Started {
    Started {
        namespace: "default".into(),
        definition: "place-order".into(),
        revision: 7,
        hash: DefinitionHash([0xab; 32]),
        key: None,
        input: payload("null"),
        ordering_key: None,
        concurrency_max: None,
        parent: None,
        traceparent: None,
        tracestate: None,
    }
}

fn beginnings() -> Vec<Fact> {
    let full = Started {
        key: Some("A-1 \"quoted\" \u{1F980}\n".into()),
        input: payload("{ \"n\": 12345678901234567890, \"x\":1.0 }"),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        tracestate: Some("vendor=1".into()),
        ..started()
    };
    let step = StepIndex(1);
    let operation = OperationKind::Compensate;
    vec![
        Fact::Started(started()),
        Fact::Started(full),
        Fact::Skipped { step },
        Fact::Scheduled {
            place: step.into(),
            operation,
            round: 0,
            input: payload("{\"a\":[]}"),
        },
        Fact::StepFailed {
            place: step.into(),
            operation,
            code: "EXPRESSION_FAILED".into(),
            message: "no".into(),
        },
        Fact::Withdrawn {
            place: step.into(),
            operation,
            round: 0,
            attempt: 1,
            code: "SCHEDULE_TIMEOUT".into(),
        },
        Fact::Settling {
            place: step.into(),
            until: Time::from_micros(1_763_712_000_000_001),
        },
        Fact::CancelPending {
            by: "ann".into(),
            reason: "no longer wanted".into(),
        },
        Fact::CancelDropped,
        Fact::Completed {
            output: payload("{}"),
        },
        Fact::Compensated,
    ]
}

fn outcomes() -> Vec<Fact> {
    let code = || "CODE".to_owned();
    let message = || "in words".to_owned();
    let outcomes = [
        Outcome::Succeeded {
            output: payload("null"),
        },
        Outcome::Unusable {
            code: code(),
            message: message(),
        },
        Outcome::Rejected {
            code: code(),
            message: message(),
        },
        Outcome::Failed {
            code: code(),
            message: message(),
            retry_after: None,
        },
        Outcome::Failed {
            code: code(),
            message: message(),
            retry_after: Some(Duration::from_nanos(1_500_000_001)),
        },
        Outcome::Fatal {
            code: code(),
            message: message(),
        },
        Outcome::Unknown {
            code: code(),
            message: message(),
        },
        Outcome::NothingToUndo,
        Outcome::Superseded,
    ];
    let mut facts: Vec<Fact> = outcomes
        .into_iter()
        .map(|o| Fact::AttemptEnded(ended(o)))
        .collect();
    let full = AttemptEnded {
        operation: OperationKind::Compensate,
        verdict: Some(Verdict::NothingToUndo),
        instance: Some("inventory-1".into()),
        sent_at: Some(Time::from_micros(1)),
        retry_at: Some(Time::INFINITY),
        ..ended(Outcome::NothingToUndo)
    };
    facts.push(Fact::LateResult {
        ended: full.clone(),
        leak: true,
    });
    facts.push(Fact::LateResult {
        ended: ended(Outcome::Superseded),
        leak: false,
    });
    for verdict in [Verdict::First, Verdict::Duplicate, Verdict::Superseded] {
        facts.push(Fact::AttemptEnded(AttemptEnded {
            verdict: Some(verdict),
            ..full.clone()
        }));
    }
    facts
}

fn ends() -> Vec<Fact> {
    let code = || "CARD_DECLINED".to_owned();
    let message = || "the bank says no".to_owned();
    let step = StepIndex(4);
    let mut facts = vec![
        Fact::AbortDecided(AbortReason::StepFailed {
            place: step.into(),
            code: code(),
            message: message(),
        }),
        Fact::AbortDecided(AbortReason::Cancelled {
            by: "ann".into(),
            reason: "why not".into(),
        }),
        Fact::AbortDecided(AbortReason::OutputInvalid {
            code: code(),
            message: message(),
        }),
        Fact::IncidentClosed {
            place: None,
            operation: None,
        },
        Fact::IncidentClosed {
            place: Some(step.into()),
            operation: Some(OperationKind::Forward),
        },
    ];
    facts.extend(IncidentReason::ALL.into_iter().take(12).map(|reason| {
        Fact::IncidentOpened(Incident {
            place: (reason != IncidentReason::HistoryFull).then_some(step.into()),
            operation: (reason == IncidentReason::CompensationRefused)
                .then_some(OperationKind::Compensate),
            reason,
            code: None,
            message: message(),
        })
    }));
    facts
}

/// What version 1 could say, in the order of its golden file.
pub(super) fn facts_of_1() -> Vec<Fact> {
    [beginnings(), outcomes(), ends()].concat()
}

/// What version 2 says beside that: every kind and every field that version 1 had not.
pub(super) fn facts_of_2() -> Vec<Fact> {
    [
        turns_and_parents(),
        items(),
        signals_and_sleeps(),
        children(),
        courses(),
        acts(),
    ]
    .concat()
}

fn item() -> Place {
    Place::item(StepIndex(3), 12)
}

fn saga() -> SagaId {
    SagaId::new(
        Time::from_micros(1_763_712_000_123_456),
        ShardId(0xabc),
        u64::MAX,
    )
}

fn turns_and_parents() -> Vec<Fact> {
    let parent = |item, round| Parent {
        saga: saga(),
        step: "book".into(),
        item,
        round,
        depth: 8,
    };
    let turn = Started {
        ordering_key: Some("traveller \"7\"".into()),
        concurrency_max: Some(u32::MAX),
        parent: Some(parent(0, 0)),
        ..started()
    };
    let child = Started {
        parent: Some(parent(3, 1)),
        ..started()
    };
    vec![Fact::Started(turn), Fact::Started(child), Fact::TurnGranted]
}

fn items() -> Vec<Fact> {
    let forward = OperationKind::Forward;
    let of_item = AttemptEnded {
        place: item(),
        round: 2,
        ..ended(Outcome::Superseded)
    };
    let query = AttemptEnded {
        operation: OperationKind::Query,
        ..ended(Outcome::Absent)
    };
    vec![
        Fact::ItemsListed {
            step: StepIndex(3),
            items: payload("[ 1, null ,{\"a\":1.0}]"),
            keys: vec!["Hamburg".into(), String::new(), "\"quoted\"\n".into()],
        },
        Fact::ItemsListed {
            step: StepIndex(3),
            items: payload("[]"),
            keys: vec![],
        },
        Fact::Scheduled {
            place: item(),
            operation: OperationKind::Query,
            round: u32::MAX,
            input: payload("null"),
        },
        Fact::StepFailed {
            place: item(),
            operation: forward,
            code: "WAIT_TIMEOUT".into(),
            message: "late".into(),
        },
        Fact::AttemptEnded(of_item.clone()),
        Fact::AttemptEnded(query),
        Fact::LateResult {
            ended: of_item,
            leak: true,
        },
        Fact::Withdrawn {
            place: item(),
            operation: forward,
            round: 1,
            attempt: 2,
            code: "OVERTAKEN".into(),
        },
        Fact::Settling {
            place: item(),
            until: Time::INFINITY,
        },
        Fact::Continued {
            place: item(),
            output: None,
        },
        Fact::Continued {
            place: StepIndex(0).into(),
            output: Some(payload("null")),
        },
    ]
}

fn signals_and_sleeps() -> Vec<Fact> {
    let step = Place::from(StepIndex(5));
    let until = Time::from_micros(1_763_712_000_000_001);
    let received = SignalReceived {
        number: 1,
        signal: "approval_decided".into(),
        payload: payload("{ \"approved\": true }"),
        by: "ann".into(),
        dedupe_id: None,
    };
    vec![
        Fact::SignalAwaited {
            place: step,
            until: Some(until),
        },
        Fact::SignalAwaited {
            place: item(),
            until: None,
        },
        Fact::SignalReceived(received.clone()),
        Fact::SignalReceived(SignalReceived {
            number: 2,
            dedupe_id: Some("m-1".into()),
            payload: payload("null"),
            ..received
        }),
        Fact::SignalConsumed {
            place: item(),
            number: 1,
        },
        Fact::SignalUnconsumed { number: 2 },
        Fact::Sleeping {
            place: item(),
            until,
        },
        Fact::Slept { place: step },
        Fact::Emitted {
            place: step,
            event_type: "org.example.shipped".into(),
            subject: None,
            data: payload("null"),
        },
        Fact::Emitted {
            place: item(),
            event_type: "org.example.shipped".into(),
            subject: Some("order/7".into()),
            data: payload("{\"n\": 1e2}"),
        },
    ]
}

fn children() -> Vec<Fact> {
    let requested = ChildRequested {
        place: StepIndex(6).into(),
        round: 0,
        name: "confirm-bookings".into(),
        key: None,
        input: payload("{}"),
    };
    let ended = |operation, outcome| Fact::ChildEnded {
        place: item(),
        round: 1,
        operation,
        outcome,
    };
    let code = || "CARD_DECLINED".to_owned();
    let message = || "the bank says no".to_owned();
    let (forward, compensate) = (OperationKind::Forward, OperationKind::Compensate);
    vec![
        Fact::ChildRequested(requested.clone()),
        Fact::ChildRequested(ChildRequested {
            place: item(),
            round: 1,
            key: Some("trip-7".into()),
            ..requested
        }),
        Fact::ChildPinned {
            place: item(),
            round: 1,
            child: saga(),
            revision: 7,
            hash: DefinitionHash([0xcd; 32]),
        },
        ended(
            forward,
            ChildOutcome::Completed {
                output: payload("null"),
            },
        ),
        ended(
            compensate,
            ChildOutcome::Compensated {
                code: code(),
                message: message(),
            },
        ),
        ended(
            forward,
            ChildOutcome::Refused {
                code: code(),
                message: message(),
            },
        ),
        ended(forward, ChildOutcome::Terminated { message: message() }),
    ]
}

fn courses() -> Vec<Fact> {
    let by = || "ann".to_owned();
    let reason = || "why not".to_owned();
    let (code, message) = ("CODE".to_owned(), "in words".to_owned());
    let mut facts = vec![
        Fact::DeadlinePassed,
        Fact::AbortDecided(AbortReason::StepFailed {
            place: item(),
            code: code.clone(),
            message: message.clone(),
        }),
        Fact::AbortDecided(AbortReason::DeadlineExceeded),
        Fact::AbortDecided(AbortReason::Operator {
            by: by(),
            reason: reason(),
        }),
        Fact::AbortDecided(AbortReason::ParentAborted {
            code: code.clone(),
            message: message.clone(),
        }),
        Fact::IncidentClosed {
            place: Some(item()),
            operation: None,
        },
        Fact::IncidentOpened(Incident {
            place: Some(item()),
            operation: Some(OperationKind::Query),
            reason: IncidentReason::StepRefused,
            code: Some(code),
            message: message.clone(),
        }),
    ];
    facts.extend(IncidentReason::ALL.into_iter().skip(12).map(|reason| {
        Fact::IncidentOpened(Incident {
            place: None,
            operation: None,
            reason,
            code: None,
            message: message.clone(),
        })
    }));
    facts
}

fn acts() -> Vec<Fact> {
    let retry = |place, input| Act::Retry {
        place,
        operation: OperationKind::Compensate,
        input,
    };
    let acts = [
        retry(StepIndex(0).into(), None),
        retry(item(), Some(payload("null"))),
        Act::Skip { place: item() },
        Act::Resolve {
            place: item(),
            operation: OperationKind::Forward,
            output: payload("{ \"by\": \"hand\" }"),
        },
        Act::ResolveAbsent { place: item() },
        Act::Compensate,
        Act::Pause,
        Act::Resume,
        Act::Terminate,
        Act::ResolveSaga,
        Act::ResolveNotUndone { place: item() },
    ];
    let operated = |act| {
        Fact::Operated(Operated {
            by: "ann".into(),
            reason: "the bank \u{1F980} called".into(),
            act,
        })
    };
    acts.into_iter().map(operated).collect()
}
