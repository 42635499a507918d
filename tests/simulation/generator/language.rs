//! That the generator writes the whole language: every key at every place where the language has it, every word that can be
//! chosen, every key beside each kind of step and each work, and every root that expressions read. What is left out is named,
//! with its reason.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use amends_definitions::language_schema;
use serde_json::Value;

use super::{BRANCH, LAST, LEAF, document};
use crate::dice::Dice;

/// Definitions that are read, and so many seeds of each.
const DOCUMENTS: [(&str, u64); 4] = [("made-0", 300), (LEAF, 40), (BRANCH, 40), (LAST, 40)];

/// Places of the language's schema that are never written, and why. None is.
const LEFT_OUT: [(&str, &str); 0] = [];

/// Keys that the language refuses beside each other.
const REFUSED: [(&str, &[&str]); 9] = [
    // Passed once, and by an effect outside the saga; what is behind it is never undone.
    (
        "pivot",
        &["wait", "sleep", "emit", "fail", "foreach", "compensate"],
    ),
    // Only going forward, and never undone.
    ("retriable", &["fail", "compensate"]),
    ("compensatable", &[]),
    // Nobody answers, and nothing is tried again.
    ("wait", NO_ANSWER),
    ("sleep", NO_ANSWER),
    ("emit", NO_ANSWER),
    ("fail", NO_ANSWER),
    // Its own definition says how it is tried and undone.
    (
        "saga",
        &["input", "retry", "timeout", "query", "compensate"],
    ),
    ("call", &[]),
];

const NO_ANSWER: &[&str] = &[
    "input",
    "outputSchema",
    "retry",
    "timeout",
    "query",
    "compensate",
];

const WORKS: [&str; 6] = ["call", "wait", "sleep", "saga", "emit", "fail"];

/// What expressions read; `event` is of starts that an event leads to, and there are none.
const ROOTS: [&str; 16] = [
    "input.id",
    "steps.c0.status",
    "steps.c0.output",
    "self.input",
    "self.output",
    "self.error",
    "self.reason",
    "saga.id",
    "saga.key",
    "saga.startedAt",
    "signals.more",
    "{{ item }}",
    "{{ thing }}",
    "string(thing)",
    "error.code",
    "error.message",
];

/// What was written.
#[derive(Default)]
struct Written {
    text: String,
    paths: BTreeSet<String>,
    pairs: BTreeSet<(String, String)>,
}

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(write)
}

fn write() -> Written {
    let schema = schema();
    let mut written = Written::default();
    for (name, seeds) in DOCUMENTS {
        for seed in 0..seeds {
            let yaml = document(&mut Dice::new(seed), name).yaml;
            let value: Value = serde_saphyr::from_str(&yaml).expect("it is YAML");
            written_at(&schema, &value, "", &mut written.paths);
            let steps = value["steps"].as_array().expect("there are steps");
            steps.iter().for_each(|step| written.pairs_of(step));
            written.text += &yaml;
        }
    }
    written
}

impl Written {
    fn pairs_of(&mut self, step: &Value) {
        let keys: Vec<&String> = step.as_object().expect("a mapping").keys().collect();
        let kind = step["kind"].as_str().unwrap_or("compensatable");
        let works = keys.iter().filter(|key| WORKS.contains(&key.as_str()));
        for one in works.map(|key| key.as_str()).chain([kind]) {
            let pairs = keys.iter().map(|key| (one.to_owned(), (*key).clone()));
            self.pairs.extend(pairs);
        }
    }
}

fn schema() -> Value {
    serde_json::from_str(&language_schema()).expect("it is JSON")
}

#[test]
fn every_key_is_written_at_every_place_where_the_language_has_it() {
    let mut places = BTreeSet::new();
    places_of(&schema(), "", &mut places);
    assert!(places.len() > 150, "{places:?}");
    let written = written();
    let left_out: BTreeSet<String> = LEFT_OUT.iter().map(|(at, _)| (*at).to_owned()).collect();
    let missing: BTreeSet<&String> = places.difference(&written.paths).collect();
    let named: BTreeSet<&String> = left_out.iter().collect();
    assert_eq!(
        missing, named,
        "the generator never writes these, or they are named in vain"
    );
    let roots = ROOTS.iter().filter(|root| !written.text.contains(**root));
    assert_eq!(
        roots.collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "no expression reads these"
    );
}

#[test]
fn every_key_is_written_beside_each_kind_and_each_work_that_takes_it() {
    let schema = schema();
    let step = &schema["properties"]["steps"]["items"]["properties"];
    let keys: BTreeSet<&str> = step
        .as_object()
        .expect("keys")
        .keys()
        .map(String::as_str)
        .collect();
    let written = &written().pairs;
    for (one, refused) in REFUSED {
        for key in &keys {
            let other_work = WORKS.contains(&one) && WORKS.contains(key) && *key != one;
            let taken = !refused.contains(key) && !other_work;
            let is = written.contains(&(one.to_owned(), (*key).to_owned()));
            assert_eq!(
                is, taken,
                "`{key}` beside `{one}`: written {is}, in the language {taken}"
            );
        }
    }
}

/// Every place of the language: keys with what they are in, and words to choose from.
fn places_of(schema: &Value, at: &str, places: &mut BTreeSet<String>) {
    if let Some(words) = schema["enum"].as_array() {
        places.extend(words.iter().map(|word| format!("{at} = {word}")));
    }
    if is_text_or_mapping(schema) {
        places.insert(format!("{at} as a text"));
        places.insert(format!("{at} as a mapping"));
    }
    if let Some(properties) = schema["properties"].as_object() {
        for (key, value) in properties {
            let at = format!("{at}.{key}");
            places_of(value, &at, places);
            places.insert(at);
        }
    }
    if schema["additionalProperties"].is_object() {
        places_of(&schema["additionalProperties"], &format!("{at}.*"), places);
    }
    if schema["items"].is_object() {
        places_of(&schema["items"], &format!("{at}[]"), places);
    }
}

/// The places of the language at which this value says something.
fn written_at(schema: &Value, value: &Value, at: &str, places: &mut BTreeSet<String>) {
    if schema["enum"].is_array() {
        places.insert(format!("{at} = {value}"));
    }
    if is_text_or_mapping(schema) {
        let how = if value.is_object() { "mapping" } else { "text" };
        places.insert(format!("{at} as a {how}"));
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let known = &schema["properties"][key];
        if known.is_object() {
            let at = format!("{at}.{key}");
            written_at(known, value, &at, places);
            places.insert(at);
        } else if schema["additionalProperties"].is_object() {
            let known = &schema["additionalProperties"];
            written_at(known, value, &format!("{at}.*"), places);
        }
    }
    for value in value.as_array().into_iter().flatten() {
        written_at(&schema["items"], value, &format!("{at}[]"), places);
    }
}

fn is_text_or_mapping(schema: &Value) -> bool {
    schema["type"] == serde_json::json!(["string", "object"])
}
