//! Journal records. Whatever the bytes of a row are, reading them gives facts or a reason; facts that were read can be
//! written, and whatever is written is read as what it was.

use std::path::Path;

use amends_core::Fact;
use amends_store::record::{decode, encode, fact_to_json};
use amends_tests::fuzz::{self, Choices};

use crate::facts;

const WORDS: &[&str] = &[
    "{\"v\":1,\"facts\":[",
    "{\"v\":2,\"facts\":[",
    "]}",
    "{\"kind\":\"",
    "\"}",
    ",",
    ":",
    "null",
    "true",
    "\"step\":0",
    "\"step\":65536",
    "\"item\":1",
    "\"round\":1",
    "\"attempt\":4294967296",
    "\"operation\":\"query\"",
    "\"outcome\":\"absent\"",
    "\"input\":",
    "\"output\":",
    "\"hash\":\"",
    "\"until_us\":-9223372036854775808",
    "\"retry_after_ns\":18446744073709551615",
    "\"reason\":\"PAUSED\"",
    "\"leak\":true",
    "\"verdict\":\"first\"",
    "\\u0000",
    "[[[[[[[[",
    "1e400",
    "\"v\":3",
    "\"v\":1.0",
];

pub fn run() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let lines = fuzz::files(golden, ".jsonl");
    let mut corpus: Vec<Vec<u8>> = lines
        .iter()
        .flat_map(|file| file.split(|byte| *byte == b'\n'))
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    // The choices of one fact of each kind.
    corpus.extend((0..facts::KINDS).map(|kind| {
        let kind = u8::try_from(kind).expect("few kinds");
        (0..200_u8)
            .map(|nth| if nth == 1 { kind } else { nth.wrapping_mul(37) })
            .collect()
    }));
    fuzz::run(&super::target("records", corpus, WORDS), record);
}

fn record(input: &[u8]) {
    if let Ok(read) = decode(7, input) {
        written_and_read(&read);
    }
    let mut choices = Choices::new(input);
    let made: Vec<Fact> = (0..=choices.below(3))
        .map(|_| {
            let kind = choices.below(facts::KINDS);
            facts::fact(kind, &mut choices)
        })
        .collect();
    written_and_read(&made);
}

fn written_and_read(facts: &[Fact]) {
    let body = encode(facts);
    assert_eq!(decode(7, &body).as_deref(), Ok(facts));
    for fact in facts {
        let shown: serde_json::Value = serde_json::from_str(&fact_to_json(fact)).expect("JSON");
        assert_eq!(shown["kind"], fact.kind());
    }
}

#[test]
fn every_kind_of_fact_is_made() {
    for kind in 0..facts::KINDS {
        let fact = facts::fact(kind, &mut Choices::new(&[]));
        assert_eq!(facts::kind_of(&fact), kind, "{}", fact.kind());
    }
}
