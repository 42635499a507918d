//! Bytes to payloads, against another reader of JSON: what is accepted here is JSON there, with the same values, also
//! where a reference is looked up in the text; and canonical forms are canonical.

use std::sync::LazyLock;

use amends_definitions::{Definition, Payload, Scope, check};
use amends_tests::fuzz;
use serde_json::Value;

/// Bad input B8, and what is close to it.
const SEEDS: [&[u8]; 22] = [
    br#"{"a":{"b":[1,2.50,1e2,-0,true,false,null,"\u00e9\n\/"]},"b":"\ud83e\udd80"}"#,
    br#"{ "b" : 1 , "\u0061" : { "\u0062" : "\\\"" } }"#,
    br#"{"x\\":1,"y\"":"\\","a":"\\\\"}"#,
    br#"{"a":"]}[{","b":{"a":"\"}"},"c":["]"]}"#,
    b"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]",
    b"1e400",
    b"-1E-400",
    b"NaN",
    b"Infinity",
    br#"{"a":1,"a":2}"#,
    br#""\ud800""#,
    br#""\u0000""#,
    b"\"\xff\"",
    b"\xef\xbb\xbf{}",
    b"01",
    b"123456789012345678901234567890",
    b"0.1e-7",
    b" \t\r\n{} ",
    b"{}{}",
    b"[1,]",
    b"\"\x01\"",
    b"",
];

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\\"",
    "\\\\",
    "\\u0061",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\"a\":",
    "\"b\":",
    "\"a\":{\"b\":",
    "null",
    "true",
    "false",
    "-",
    "0",
    "1",
    ".5",
    "e9",
    "E-9",
    "1e308",
    "1e309",
    " ",
    "\n",
    "9223372036854775808",
];

static READERS: LazyLock<Definition> = LazyLock::new(|| {
    let step = |id: &str, value: &str| {
        format!(
            "- {{id: {id}, needs: [], call: a.b, compensate: {{none: x}}, input: \"${{{{ {value} }}}}\"}}\n"
        )
    };
    let steps: String = PATHS
        .iter()
        .enumerate()
        .flat_map(|(nth, (path, _))| {
            [
                step(&format!("p{nth}"), path),
                step(&format!("c{nth}"), &format!("true ? {path} : null")),
            ]
        })
        .collect();
    let source = format!("apiVersion: amends/v1\nname: readers\nsteps:\n{steps}");
    let checked = check(source.as_bytes());
    checked.definition.expect("a definition")
});

const PATHS: [(&str, &str); 4] = [
    ("input.a", "/a"),
    ("input.b", "/b"),
    ("input.a.b", "/a/b"),
    ("input.b.a", "/b/a"),
];

pub fn run() {
    let corpus = SEEDS.map(<[u8]>::to_vec).to_vec();
    fuzz::run(&super::target("payloads", corpus, WORDS), payload);
}

fn payload(bytes: &[u8]) {
    let other = serde_json::from_slice::<Value>(bytes);
    let Ok(payload) = Payload::check(bytes.to_vec().into()) else {
        return;
    };
    let other = one_zero(other.expect("another reader accepts it as well"));
    assert_eq!(parsed(payload.as_bytes()), other);
    let canonical = payload.canonical();
    let again = Payload::check(canonical.clone().into()).expect("a canonical form is a payload");
    assert_eq!(again.canonical(), canonical);
    assert_eq!(parsed(&canonical), other);
    assert!(!canonical.contains(&b' ') || canonical.contains(&b'"'));
    lookups(&payload, &other);
}

/// What expressions read out of the text is what the other reader has there.
fn lookups(payload: &Payload, other: &Value) {
    let scope = Scope::of_input(payload);
    for (nth, step) in READERS.steps().iter().enumerate() {
        let (path, pointer) = PATHS[nth / 2];
        let mapping = step.call().and_then(|call| call.input()).expect("an input");
        let found = mapping
            .evaluate(&scope)
            .map(|value| parsed(value.as_bytes()));
        let expected = objects_alone(other, pointer);
        assert_eq!(found.ok().as_ref(), expected, "{path}");
    }
}

/// A pointer of JSON may go into lists; a field of an expression does not.
fn objects_alone<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    pointer
        .split('/')
        .skip(1)
        .try_fold(value, |value, field| value.as_object()?.get(field))
}

fn parsed(bytes: &[u8]) -> Value {
    one_zero(serde_json::from_slice(bytes).expect("JSON"))
}

/// The other reader takes the integer `-0` for the double, and here it is 0.
fn one_zero(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => Value::from(0),
        Value::Array(items) => items.into_iter().map(one_zero).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, one_zero(value)))
            .collect(),
        other => other,
    }
}
