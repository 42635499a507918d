//! The form is frozen by `golden/v1.jsonl`, one body a line: what was written once is read for ever.

use std::time::Duration;

use amends_core::fact::{AbortReason, AttemptEnded, Incident, IncidentReason, Started};
use amends_core::{Fact, OperationKind, Outcome, Time, Verdict};
use amends_definitions::{DefinitionHash, Payload, StepIndex};
use bytes::Bytes;
use proptest::prelude::*;

use super::{RecordError, decode, encode, encode_takeover, fact_to_json};

const GOLDEN: &str = include_str!("../../golden/v1.jsonl");
/// Set to write the golden file anew, after a deliberate change.
const UPDATE: &str = "AMENDS_UPDATE_GOLDEN";

fn payload(text: &'static str) -> Payload {
    Payload::trusted(Bytes::from_static(text.as_bytes()))
}

fn ended(outcome: Outcome) -> AttemptEnded {
    AttemptEnded {
        step: StepIndex(2),
        operation: OperationKind::Forward,
        attempt: 3,
        outcome,
        verdict: None,
        instance: None,
        sent_at: None,
        retry_at: None,
    }
}

fn started() -> Started {
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
            operation, round: 0,
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
            operation, round: 0,
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
            step: None,
            operation: None,
        },
        Fact::IncidentClosed {
            step: Some(step),
            operation: Some(OperationKind::Forward),
        },
    ];
    facts.extend(IncidentReason::ALL.map(|reason| {
        Fact::IncidentOpened(Incident {
            step: (reason != IncidentReason::HistoryFull).then_some(step),
            operation: (reason == IncidentReason::CompensationRefused)
                .then_some(OperationKind::Compensate),
            reason,
            message: message(),
        })
    }));
    facts
}

fn every_fact() -> Vec<Fact> {
    [beginnings(), outcomes(), ends()].concat()
}

#[test]
fn every_fact_has_the_bytes_that_it_always_had() {
    let mut written = String::new();
    for fact in every_fact() {
        written += std::str::from_utf8(&encode(std::slice::from_ref(&fact))).unwrap();
        written.push('\n');
    }
    written += std::str::from_utf8(&encode_takeover("node \"1\"")).unwrap();
    written.push('\n');
    if std::env::var_os(UPDATE).is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v1.jsonl");
        std::fs::write(path, &written).unwrap();
    } else {
        assert_eq!(
            written, GOLDEN,
            "set {UPDATE}=1 only if no released version wrote the old form"
        );
    }
}

#[test]
fn what_was_written_once_is_read_for_ever() {
    let bodies: Vec<&str> = GOLDEN.lines().collect();
    for (fact, body) in every_fact().into_iter().zip(&bodies) {
        assert_eq!(decode(1, body.as_bytes()), Ok(vec![fact]), "{body}");
    }
    assert_eq!(bodies.len(), every_fact().len() + 1);
}

#[test]
fn every_kind_of_fact_is_in_the_golden_file() {
    let mut kinds: Vec<&str> = every_fact().iter().map(Fact::kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 15, "{kinds:?}");
}

#[test]
fn several_facts_keep_their_order_and_each_shows_alone() {
    let facts = every_fact();
    let body = encode(&facts);
    assert_eq!(decode(1, &body), Ok(facts.clone()));
    let shown: Vec<String> = facts.iter().map(fact_to_json).collect();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        format!("{{\"v\":1,\"facts\":[{}]}}", shown.join(","))
    );
}

#[test]
fn a_payload_comes_back_as_the_text_that_it_was() {
    for text in [
        "1.0",
        "1e2",
        "12345678901234567890123",
        "{ \"b\" : 1 , \"a\" : 2 }",
        "\"\\u00e9\"",
    ] {
        let fact = Fact::Completed {
            output: payload(text),
        };
        assert_eq!(
            decode(1, &encode(std::slice::from_ref(&fact))),
            Ok(vec![fact])
        );
    }
}

#[test]
fn what_a_row_lacks_or_has_too_much_of_is_said() {
    for (body, says) in [
        ("", "EOF"),
        ("null", "expected struct"),
        ("{\"v\":2,\"rows\":[]}", "version 2"),
        ("{\"v\":2,\"facts\":[]}", "version 2"),
        ("{\"v\":1}", "missing field `facts`"),
        ("{\"v\":1,\"facts\":[],\"x\":0}", "unknown field `x`"),
        (
            "{\"v\":1,\"facts\":[{\"kind\":\"moved\"}]}",
            "no fact of kind \"moved\"",
        ),
        (
            "{\"v\":1,\"facts\":[{\"kind\":\"skipped\"}]}",
            "lacks the field `step`",
        ),
        (
            "{\"v\":1,\"facts\":[{\"kind\":\"skipped\",\"step\":70000}]}",
            "70000",
        ),
        (
            "{\"v\":1,\"facts\":[{\"kind\":\"skipped\",\"step\":1,\"colour\":2}]}",
            "unknown field `colour`",
        ),
        (
            "{\"v\":1,\"facts\":[{\"kind\":\"completed\"}]}",
            "lacks the field `output`",
        ),
        (
            "{\"v\":1,\"takeover\":{\"node\":\"n\"}}",
            "unknown field `takeover`",
        ),
    ] {
        let RecordError { position, message } = decode(9, body.as_bytes()).unwrap_err();
        assert!(message.contains(says), "{body}: {message}");
        assert_eq!(position, 9);
    }
}

#[test]
fn a_bad_word_is_named() {
    for field in ["operation", "outcome", "verdict"] {
        let good = GOLDEN
            .lines()
            .find(|l| l.contains(&format!("\"{field}\":\"")))
            .unwrap();
        let (before, after) = good.split_once(&format!("\"{field}\":\"")).unwrap();
        let rest = &after[after.find('"').unwrap()..];
        let bad = format!("{before}\"{field}\":\"odd{rest}");
        let error = decode(1, bad.as_bytes()).unwrap_err();
        assert!(
            error.message.contains(&format!("no {field} \"odd\"")),
            "{bad}: {error}"
        );
    }
}

fn any_json() -> impl Strategy<Value = Payload> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
    ];
    let tree = leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    tree.prop_map(|value| Payload::trusted(Bytes::from(value.to_string())))
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let all = every_fact();
    let texts = (
        ".{0,16}",
        ".{0,64}",
        any_json(),
        any::<u16>(),
        any::<i64>(),
        any::<u64>(),
    );
    (0..all.len(), texts).prop_map(move |(which, (code, message, json, step, time, nanos))| {
        let mut fact = all[which].clone();
        match &mut fact {
            Fact::Started(started) => {
                started.key = Some(code);
                started.namespace = message.into();
                started.input = json;
            }
            Fact::Scheduled {
                place: at.into(), input, ..
            } => (at.0, *input) = (step, json),
            Fact::StepFailed {
                code: c,
                message: m,
                ..
            } => (*c, *m) = (code, message),
            Fact::Settling { until, .. } => *until = Time::from_micros(time),
            Fact::AttemptEnded(ended) | Fact::LateResult { ended, .. } => {
                ended.sent_at = Some(Time::from_micros(time));
                ended.instance = Some(message.clone());
                ended.outcome = match nanos % 3 {
                    0 => Outcome::Succeeded { output: json },
                    1 => Outcome::Rejected { code, message },
                    _ => Outcome::Failed {
                        code,
                        message,
                        retry_after: Some(Duration::from_nanos(nanos)),
                    },
                };
            }
            Fact::Completed { output } => *output = json,
            _ => {}
        }
        fact
    })
}

proptest! {
    #[test]
    fn facts_read_back(facts in prop::collection::vec(any_fact(), 0..6)) {
        prop_assert_eq!(decode(1, &encode(&facts)), Ok(facts));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode(1, &bytes);
    }

    #[test]
    fn no_damaged_body_panics(which in 0..40_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let line = GOLDEN.lines().nth(which % GOLDEN.lines().count().max(1)).unwrap_or("{}");
        let mut bytes = line.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut { bytes.truncate(at); }
        let _ = decode(1, &bytes);
    }
}
