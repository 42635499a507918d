//! The form is frozen by `golden/`, one body a line: what was written once is read for ever.

use std::time::Duration;

use amends_core::key::hash_128;
use amends_core::{Fact, Outcome, Time};
use amends_definitions::{Payload, StepIndex};
use bytes::Bytes;
use proptest::prelude::*;

use super::{RecordError, decode, encode, encode_takeover, fact_to_json};
use facts::{facts_of_1, facts_of_2, payload};

mod facts;

const GOLDEN_1: &str = include_str!("../../golden/v1.jsonl");
const GOLDEN_2: &str = include_str!("../../golden/v2.jsonl");
/// Set to write the newest golden file anew, after a deliberate change.
const UPDATE: &str = "AMENDS_UPDATE_GOLDEN";

fn every_fact() -> Vec<Fact> {
    [facts_of_1(), facts_of_2()].concat()
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
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v2.jsonl");
        std::fs::write(path, &written).unwrap();
    } else {
        assert_eq!(
            written, GOLDEN_2,
            "set {UPDATE}=1 only if no released version wrote the old form"
        );
    }
}

#[test]
fn what_version_1_wrote_is_read_for_ever() {
    let bodies: Vec<&str> = GOLDEN_1.lines().collect();
    for (fact, body) in facts_of_1().into_iter().zip(&bodies) {
        assert_eq!(decode(1, body.as_bytes()), Ok(vec![fact]), "{body}");
    }
    // And the takeover record.
    assert_eq!(bodies.len(), facts_of_1().len() + 1);
    let hash = format!("{:?}", hash_128(GOLDEN_1.as_bytes()));
    assert_eq!(hash, GOLDEN_1_HASH, "golden/v1.jsonl is frozen");
}

/// xxh3-128 of the file as the first version that kept journals had it.
const GOLDEN_1_HASH: &str = "846ba14db1fe93ef2dbbc092605e4e11";

#[test]
fn what_version_2_wrote_is_read_for_ever() {
    let bodies: Vec<&str> = GOLDEN_2.lines().collect();
    for (fact, body) in every_fact().into_iter().zip(&bodies) {
        assert_eq!(decode(1, body.as_bytes()), Ok(vec![fact]), "{body}");
    }
    assert_eq!(bodies.len(), every_fact().len() + 1);
}

#[test]
fn every_kind_of_fact_is_in_the_golden_files() {
    let kinds = |facts: Vec<Fact>| {
        let mut kinds: Vec<&str> = facts.iter().map(Fact::kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    let (of_1, all) = (kinds(facts_of_1()), kinds(every_fact()));
    assert_eq!((of_1.len(), all.len()), (15, 30), "{all:?}");
}

#[test]
fn a_row_of_version_1_has_nothing_of_version_2() {
    for fact in facts_of_2() {
        // A new word in an old field is known or not, whatever the row's version.
        let body = String::from_utf8(encode(std::slice::from_ref(&fact))).unwrap();
        let older = body.replacen("{\"v\":2", "{\"v\":1", 1);
        let kind = facts_of_1().iter().any(|old| old.kind() == fact.kind());
        let field = [
            "\"item\":",
            "\"round\":",
            "\"ordering_key\":",
            "\"parent\":",
        ];
        let field = field.iter().any(|field| body.contains(field));
        assert_eq!(
            decode(1, older.as_bytes()).is_err(),
            field || !kind,
            "{older}"
        );
    }
}

#[test]
fn several_facts_keep_their_order_and_each_shows_alone() {
    let facts = every_fact();
    let body = encode(&facts);
    assert_eq!(decode(1, &body), Ok(facts.clone()));
    let shown: Vec<String> = facts.iter().map(fact_to_json).collect();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        format!("{{\"v\":2,\"facts\":[{}]}}", shown.join(","))
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
        ("{\"v\":3,\"rows\":[]}", "version 3"),
        ("{\"v\":3,\"facts\":[]}", "version 3"),
        ("{\"v\":0,\"facts\":[]}", "version 0"),
        ("{\"v\":2}", "missing field `facts`"),
        ("{\"v\":1}", "missing field `facts`"),
        ("{\"v\":1,\"facts\":[],\"x\":0}", "unknown field `x`"),
        (
            "{\"v\":1,\"facts\":[{\"kind\":\"moved\"}]}",
            "no fact of kind \"moved\"",
        ),
        (
            "{\"v\":2,\"facts\":[{\"kind\":\"moved\"}]}",
            "no fact of kind \"moved\"",
        ),
        (
            "{\"v\":2,\"facts\":[{\"kind\":\"slept\",\"item\":1}]}",
            "lacks the field `step`",
        ),
        (
            "{\"v\":2,\"facts\":[{\"kind\":\"incident_closed\",\"item\":1}]}",
            "lacks the field `step`",
        ),
        (
            "{\"v\":2,\"facts\":[{\"kind\":\"items_listed\",\"step\":1,\"items\":[]}]}",
            "lacks the field `keys`",
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
    for field in [
        "operation",
        "outcome",
        "verdict",
        "cause",
        "reason",
        "act",
        "hash",
        "child",
        "saga",
    ] {
        // A reason is a word in an incident alone.
        let good = (GOLDEN_2.lines())
            .filter(|l| field != "reason" || l.contains("incident"))
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
                place,
                round,
                input,
                ..
            } => {
                (place.step, place.item) = (StepIndex(step), u32::from(step) / 2);
                (*round, *input) = (u32::from(step) / 3, json);
            }
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
            Fact::ItemsListed { items, keys, .. } => (*items, *keys) = (json, vec![code, message]),
            Fact::SignalReceived(signal) => {
                (signal.payload, signal.dedupe_id) = (json, Some(code));
            }
            Fact::Emitted { data, subject, .. } => (*data, *subject) = (json, Some(message)),
            Fact::Continued { output, .. } => *output = Some(json),
            Fact::ChildRequested(requested) => {
                (requested.input, requested.key) = (json, Some(code));
            }
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
    fn no_damaged_body_panics(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let lines: Vec<&str> = GOLDEN_2.lines().collect();
        let line = lines[which.index(lines.len())];
        let mut bytes = line.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut { bytes.truncate(at); }
        let _ = decode(1, &bytes);
    }
}
