//! The JSON Schema of the language against the language: what is accepted is valid, what is rejected for its shape is not,
//! and no key is known to one of the two alone. Deliberately not here: an editor at work (the tests of the whole).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use amends_definitions::{Severity, check, language_schema};
use serde_json::Value;

/// A key that is like no key of the language.
const NO_KEY: &str = "qqqqqqqqqqqqqqqqqqqqqqqq";

/// Every mapping of the language with fixed keys: where the schema has it, and a document with such a mapping in which `KEY`
/// stands for a key. The document has nothing else wrong in the mapping's neighbourhood that would keep it from being read.
const MAPPINGS: [(&str, &str); 18] = [
    ("", "KEY: 1"),
    ("/properties/concurrency", "concurrency: {KEY: 1}"),
    (
        "/properties/signals/additionalProperties",
        "signals: {a: {KEY: 1}}",
    ),
    (
        "/properties/participants/additionalProperties",
        "participants: {p: {KEY: 1}}",
    ),
    ("/properties/defaults", "defaults: {KEY: 1}"),
    (
        "/properties/retryPolicies/additionalProperties",
        "retryPolicies: {a: {KEY: 1}}",
    ),
    ("/properties/compensation", "compensation: {KEY: 1}"),
    ("/properties/steps/items", "steps: [{KEY: 1}]"),
    (
        "/properties/steps/items/properties/retry",
        "steps: [{id: a, call: p.a, retry: {KEY: 1}}]",
    ),
    (
        "/properties/steps/items/properties/timeout",
        "steps: [{id: a, call: p.a, timeout: {KEY: 1}}]",
    ),
    (
        "/properties/steps/items/properties/compensate",
        "steps: [{id: a, call: p.a, compensate: {KEY: 1}}]",
    ),
    (
        "/properties/steps/items/properties/foreach",
        "steps: [{id: a, call: p.a, foreach: {KEY: 1}}]",
    ),
    (
        "/properties/steps/items/properties/onError/items",
        "steps: [{id: a, call: p.a, onError: [{KEY: 1}]}]",
    ),
    (
        "/properties/steps/items/properties/wait",
        "steps: [{id: a, wait: {KEY: 1}}]",
    ),
    (
        "/properties/steps/items/properties/sleep",
        "steps: [{id: a, sleep: {KEY: 1}}]",
    ),
    (
        "/properties/steps/items/properties/saga",
        "steps: [{id: a, saga: {KEY: 1}}]",
    ),
    (
        "/properties/steps/items/properties/emit",
        "steps: [{id: a, emit: {KEY: 1}}]",
    ),
    (
        "/properties/steps/items/properties/fail",
        "steps: [{id: a, fail: {KEY: 1}}]",
    ),
];

/// Keys of the language that are not part of its schema, because nothing serves them.
const WITHOUT_SCHEMA: [&str; 2] = ["triggers", "events"];

#[test]
fn the_schema_is_one_of_draft_7_and_says_what_each_key_means() {
    let schema = schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(jsonschema::meta::is_valid(&schema));
    let mut keys = 0;
    each_mapping(&schema, &mut |path, mapping| {
        assert_eq!(mapping["additionalProperties"], false, "{path}");
        for (key, value) in mapping["properties"].as_object().expect("an object") {
            keys += 1;
            let about = value["description"].as_str().unwrap_or_default();
            assert!(about.len() > 10, "{path}: `{key}` has no description");
        }
    });
    assert!(keys > 80, "{keys}");
}

#[test]
fn every_mapping_of_the_schema_is_compared_with_the_parser() {
    let mut found = BTreeSet::new();
    each_mapping(&schema(), &mut |path, mapping| {
        // Mappings with the same keys are one mapping at several places.
        found.insert((keys(mapping), path.to_owned()));
    });
    let schema = schema();
    let compared: BTreeSet<_> = MAPPINGS
        .iter()
        .map(|(path, _)| keys(at(&schema, path)))
        .collect();
    for (keys, path) in found {
        assert!(compared.contains(&keys), "{path}: {keys:?}");
    }
}

#[test]
fn the_parser_knows_every_key_of_the_schema() {
    let schema = schema();
    for (path, fragment) in MAPPINGS {
        for key in keys(at(&schema, path)) {
            let refused = messages(fragment, &key, "UNKNOWN_KEY");
            assert!(refused.is_empty(), "{path}: `{key}`: {refused:?}");
        }
    }
}

#[test]
fn the_schema_knows_every_key_of_the_parser() {
    let schema = schema();
    let mut compared = 0;
    for (path, fragment) in MAPPINGS {
        // The parser says which keys it knows where a key is like none of them.
        let helps = messages(fragment, NO_KEY, "UNKNOWN_KEY");
        let Some(help) = helps.iter().find(|help| help.contains(" knows ")) else {
            // What is refused as a whole is not read.
            let later = messages(fragment, NO_KEY, "NOT_SERVED_YET");
            assert!(!later.is_empty(), "{path}: {helps:?}");
            continue;
        };
        let (_, list) = help.split_once(" knows ").expect("it is there");
        let known = list.split(", ").map(|key| key.trim_matches('`').to_owned());
        let known: BTreeSet<String> = known
            .filter(|key| !WITHOUT_SCHEMA.contains(&key.as_str()))
            .collect();
        let described = keys(at(&schema, path));
        let missing: Vec<_> = known.difference(&described).collect();
        assert!(missing.is_empty(), "{path}: {missing:?}");
        compared += 1;
    }
    assert_eq!(compared, MAPPINGS.len());
}

#[test]
fn what_the_language_accepts_is_valid() {
    let validator = validator();
    let documents = [
        documents("corpus/accepted", |_| true),
        documents("tests/language", |_| true),
    ];
    assert!(documents[0].len() >= 8 && documents[1].len() >= 3);
    for path in documents.concat() {
        let found: Vec<String> = validator
            .iter_errors(&read(&path))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
}

#[test]
fn a_document_uses_every_key_that_the_schema_has() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/language/every-key.saga.yaml");
    let mut used = BTreeSet::new();
    let document = read(&path);
    let mut open = vec![&document];
    while let Some(node) = open.pop() {
        match node {
            Value::Object(entries) => {
                used.extend(entries.keys().cloned());
                open.extend(entries.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    each_mapping(&schema(), &mut |path, mapping| {
        let unused: Vec<String> = keys(mapping).difference(&used).cloned().collect();
        assert!(unused.is_empty(), "{path}: {unused:?}");
    });
    // Where all of its keys are served, it is a definition.
    let found = check(&fs::read(&path).expect("the document is readable")).diagnostics;
    let served = found.iter().all(|found| found.code != "NOT_SERVED_YET");
    let mut errors = found.iter();
    let error = errors.find(|found| found.severity == Severity::Error);
    assert!(!served || error.is_none(), "{error:?}");
}

#[test]
fn what_is_rejected_for_its_shape_is_not_valid() {
    let validator = validator();
    let shapes = [
        "a-list",
        "a-scalar",
        "actions",
        "api-version",
        "compensation-none-and-call",
        "durations",
        "missing-keys",
        "missing-steps",
        "name-not-a-dns-label",
        "no-steps",
        "step-ids",
        "too-long-texts",
        "unknown-key",
        "unknown-key-top",
        "unknown-kind",
        "version-as-a-number",
        "wrong-types",
    ];
    let chosen = |name: &str| shapes.contains(&name);
    let documents = documents("corpus/rejected", chosen);
    assert_eq!(documents.len(), shapes.len());
    for path in documents {
        assert!(!validator.is_valid(&read(&path)), "{}", path.display());
    }
}

#[test]
fn a_step_does_one_thing_within_its_bounds() {
    let validator = validator();
    let valid = |step: &str| {
        let document = format!("apiVersion: amends/v1\nname: a\nsteps:\n  - {step}\n");
        validator.is_valid(&serde_saphyr::from_str(&document).expect("YAML"))
    };
    assert!(valid("{id: a, call: p.a}"));
    assert!(valid("{id: a, sleep: 5m}"));
    assert!(!valid("{id: a}"));
    assert!(!valid("{id: a, call: p.a, sleep: 5m}"));
    assert!(!valid("{id: a, sleep: 5m, input: {}}"));
    assert!(valid("{id: a, saga: {name: b}, outputSchema: {}}"));
    assert!(!valid("{id: a, saga: {name: b}, input: {}}"));
    assert!(valid(
        "{id: a, wait: {signal: b, timeout: 1h, onTimeout: park}}"
    ));
    assert!(!valid("{id: a, wait: {signal: b, onTimeout: park}}"));
    assert!(!valid("{id: a, call: p.a, compensate: {}}"));
    assert!(!valid(
        "{id: a, call: p.a, compensate: {none: a, call: p.b}}"
    ));
    assert!(!valid(
        "{id: a, call: p.a, compensate: {none: a, retry: b}}"
    ));
    assert!(!valid("{id: a, call: p.a, timeout: 5}"));
    assert!(!valid("{id: a, call: p.a, retry: {backoff: 0.99}}"));
    assert!(!valid("{id: a, call: p.a, retry: {jitter: 1.01}}"));
}

fn schema() -> Value {
    serde_json::from_str(&language_schema()).expect("JSON")
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&schema()).expect("a schema")
}

fn at<'s>(schema: &'s Value, path: &str) -> &'s Value {
    schema
        .pointer(path)
        .unwrap_or_else(|| panic!("the schema has nothing at {path}"))
}

fn keys(mapping: &Value) -> BTreeSet<String> {
    let properties = mapping["properties"].as_object().expect("a mapping");
    properties.keys().cloned().collect()
}

/// Visits each part of the schema that describes a mapping with fixed keys.
fn each_mapping(schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    let mut open = vec![(String::new(), schema)];
    while let Some((path, node)) = open.pop() {
        // Not the parts that only say which keys exclude each other.
        if node.get("type").is_some() && node.get("properties").is_some() {
            visit(&path, node);
        }
        match node {
            Value::Object(entries) => {
                let entries = entries.iter();
                open.extend(entries.map(|(key, value)| (format!("{path}/{key}"), value)));
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                open.extend(items.map(|(nth, item)| (format!("{path}/{nth}"), item)));
            }
            _ => {}
        }
    }
}

/// What a code says, as message or help, of a document with this key in this place.
fn messages(fragment: &str, key: &str, code: &str) -> Vec<String> {
    let fragment = fragment.replace("KEY", key);
    let mut source = String::new();
    // A key twice would be another mistake.
    let rest = [
        "apiVersion: amends/v1",
        "name: a",
        "steps: [{id: z, call: p.z}]",
    ];
    for line in rest {
        let (name, _) = line.split_once(':').expect("a line");
        if !fragment.starts_with(&format!("{name}:")) {
            source.push_str(&format!("{line}\n"));
        }
    }
    source.push_str(&fragment);
    let found = check(source.as_bytes()).diagnostics;
    found
        .into_iter()
        .filter(|found| found.code == code)
        .map(|found| found.help.unwrap_or(found.message))
        .collect()
}

fn documents(folder: &str, chosen: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).expect("the folder is there");
    let mut documents: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.strip_suffix(".saga.yaml").is_some_and(&chosen)
        })
        .collect();
    documents.sort();
    documents
}

fn read(path: &Path) -> Value {
    let source = fs::read_to_string(path).expect("the document is readable");
    serde_saphyr::from_str(&source).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
