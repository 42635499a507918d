//! The language as a JSON Schema of draft 7: what editors complete, explain and check with while an author types. It is
//! written out without references, so that every key carries its own words in every editor. Deliberately not here: what a
//! schema cannot say (names that refer to each other, expressions, the kinds on the graph), which `check` finds.

mod parts;
mod step;

use serde_json::{Map, Value, json};

use crate::limits::{
    CONCURRENCY_MAX, DESCRIPTION_BYTES_MAX, ENTRIES_MAX, ID_BYTES_MAX, LABEL_BYTES_MAX,
    NAME_BYTES_MAX, PARTICIPANT_ACTIONS_MAX, STEPS_MAX,
};
use parts::{
    any, choice, duration, expression, integer, retry, retry_policy, schema, text, timeout,
};

/// The JSON Schema of a definition, draft 7, as JSON with its final newline.
///
/// # Example
///
/// ```
/// let schema = amends_definitions::language_schema();
/// assert!(schema.contains("\"compensatable\""));
/// ```
#[must_use]
pub fn language_schema() -> String {
    let mut schema = mapping("saga definition, amends/v1", definition());
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["description"] =
        json!("A business transaction over several services that ends fully done or fully undone.");
    schema["dependencies"] = json!({"onTimeout": ["timeout"]});
    format!("{schema:#}\n")
}

fn definition() -> Vec<Key> {
    let mut keys = identity();
    keys.extend(starting());
    keys.extend(policies());
    keys.push(Key::required(
        "steps",
        "The steps, a DAG by `needs`. Without `needs` a step waits for the step above it.",
        json!({"type": "array", "minItems": 1, "maxItems": STEPS_MAX, "items": step::step()}),
    ));
    keys.push(Key::new(
        "output",
        "Computes the saga's output at the end: a mapping whose scalars may be expressions, or one expression.",
        any(),
    ));
    keys
}

fn identity() -> Vec<Key> {
    vec![
        Key::required(
            "apiVersion",
            "The version of the language.",
            json!({"type": "string", "enum": ["amends/v1"]}),
        ),
        Key::required(
            "name",
            "The definition's name, a DNS label: lower-case letters, digits and `-`.",
            pattern(
                text(NAME_BYTES_MAX),
                "^[a-z]([a-z0-9-]*[a-z0-9])?$",
                "a name has lower-case letters, digits and `-`, begins with a letter and does not end with `-`",
            ),
        ),
        Key::new(
            "version",
            "The author's own version, for people: the server numbers revisions by content. Quote it where it looks like a number.",
            text(LABEL_BYTES_MAX),
        ),
        Key::new(
            "description",
            "What the saga does, for people.",
            text(DESCRIPTION_BYTES_MAX),
        ),
        Key::new(
            "labels",
            "Names and values, for people.",
            json!({"type": "object", "maxProperties": ENTRIES_MAX, "additionalProperties": text(LABEL_BYTES_MAX)}),
        ),
    ]
}

fn starting() -> Vec<Key> {
    vec![
        Key::new(
            "key",
            "The business key, an expression over `input`: a start is idempotent on (namespace, name, key). Default: a new id for each start.",
            expression(),
        ),
        Key::new(
            "orderingKey",
            "An expression over `input`. Sagas with the same value run one at a time, first come first served.",
            expression(),
        ),
        Key::new(
            "inputSchema",
            "A JSON Schema. A start's input is checked against it.",
            schema(),
        ),
        Key::new(
            "timeout",
            "The deadline of the forward part, such as `1h`. See `onTimeout`.",
            duration(),
        ),
        Key::new(
            "onTimeout",
            "What follows when `timeout` is over: `compensate` undoes what was done, `park` asks a person.",
            choice(&["compensate", "park"], "compensate"),
        ),
        Key::new(
            "concurrency",
            "How many sagas of this definition run at a time.",
            mapping(
                "concurrency",
                vec![
                    Key::required(
                        "max",
                        "The most that run at a time.",
                        integer(1, CONCURRENCY_MAX),
                    ),
                    Key::new(
                        "onLimit",
                        "What becomes of one more: `queue` lets it wait, `reject` refuses the start.",
                        choice(&["queue", "reject"], "queue"),
                    ),
                ],
            ),
        ),
        Key::new(
            "signals",
            "The signals that the saga's steps wait for, by id. A signal that comes early is kept.",
            json!({
                "type": "object",
                "maxProperties": ENTRIES_MAX,
                "propertyNames": {"pattern": parts::SNAKE_CASE},
                "additionalProperties": mapping(
                    "signal",
                    vec![Key::new("schema", "A JSON Schema. A signal's payload is checked against it.", schema())],
                ),
            }),
        ),
        Key::new(
            "retention",
            "How long the history is kept after the end. Default: 30d.",
            duration(),
        ),
    ]
}

fn policies() -> Vec<Key> {
    vec![
        Key::new(
            "participants",
            "What the saga expects of its participants, by name, and defaults for their actions. Addresses live in the server's configuration.",
            json!({
                "type": "object",
                "maxProperties": ENTRIES_MAX,
                "additionalProperties": mapping("participant", participant()),
            }),
        ),
        Key::new(
            "defaults",
            "What a step's `timeout` and `retry` are where the step does not say.",
            mapping(
                "defaults",
                vec![
                    Key::new("timeout", parts::TIMEOUT, timeout()),
                    Key::new("retry", parts::RETRY, retry()),
                ],
            ),
        ),
        Key::new(
            "retryPolicies",
            "Policies that `retry` can name.",
            json!({
                "type": "object",
                "maxProperties": ENTRIES_MAX,
                "additionalProperties": retry_policy(),
            }),
        ),
        Key::new(
            "compensation",
            "How the saga is undone.",
            mapping("compensation", compensation()),
        ),
    ]
}

fn participant() -> Vec<Key> {
    vec![
        Key::new(
            "actions",
            "The actions that the saga may call. Another one is an error of `lint`.",
            json!({"type": "array", "maxItems": PARTICIPANT_ACTIONS_MAX, "items": text(ID_BYTES_MAX)}),
        ),
        Key::new("timeout", parts::TIMEOUT, timeout()),
        Key::new("retry", parts::RETRY, retry()),
    ]
}

fn compensation() -> Vec<Key> {
    vec![
        Key::new(
            "order",
            "`reverse` undoes against the direction of the needs, independent steps in parallel; `parallel` undoes all at once.",
            choice(&["reverse", "parallel"], "reverse"),
        ),
        Key::new("retry", parts::RETRY_COMPENSATION, retry()),
        Key::new("timeout", parts::TIMEOUT, timeout()),
        Key::new(
            "parkAfter",
            "A compensation that is not done after this long becomes an incident; it is never dropped. Default: 24h.",
            duration(),
        ),
    ]
}

/// A key of a mapping.
struct Key {
    name: &'static str,
    about: &'static str,
    value: Value,
    required: bool,
}

impl Key {
    fn new(name: &'static str, about: &'static str, value: Value) -> Self {
        Self {
            name,
            about,
            value,
            required: false,
        }
    }

    fn required(name: &'static str, about: &'static str, value: Value) -> Self {
        Self {
            required: true,
            ..Self::new(name, about, value)
        }
    }
}

/// A mapping that has these keys and no others. Editors show its title where a whole one is offered.
fn mapping(title: &str, keys: Vec<Key>) -> Value {
    let required: Vec<&str> = (keys.iter().filter(|key| key.required))
        .map(|key| key.name)
        .collect();
    let mut schema = json!({"type": "object", "title": title, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let mut properties = Map::new();
    for key in keys {
        let mut value = key.value;
        value["description"] = json!(key.about);
        properties.insert(key.name.to_owned(), value);
    }
    schema["properties"] = Value::Object(properties);
    schema
}

/// Adds to a mapping that it has exactly one of some keys, each with the further keys that do not go with it. Said with
/// `dependencies` rather than `oneOf`, so that an editor marks the key that is too many; `missing` is what it says of none.
fn exactly_one(mapping: &mut Value, keys: &[(&str, &[&str])], missing: &str) {
    let mut alternatives = Vec::new();
    let mut dependencies = Map::new();
    for (key, excluded) in keys {
        alternatives.push(json!({"required": [key], "errorMessage": missing}));
        let others = keys.iter().map(|(other, _)| other);
        let others = others.filter(|other| *other != key).chain(*excluded);
        let none: Map<String, Value> = others
            .map(|other| ((*other).to_owned(), json!(false)))
            .collect();
        dependencies.insert((*key).to_owned(), json!({"properties": none}));
    }
    mapping["anyOf"] = json!(alternatives);
    mapping["dependencies"] = Value::Object(dependencies);
}

/// Either a text or a mapping, in one schema: what one of the two says does not concern the other, and an editor that finds
/// something wrong in the mapping says that, instead of that it is no text.
fn either(text: &Value, mapping: Value) -> Value {
    let mut schema = mapping;
    if let Some(parts) = text.as_object() {
        for (key, value) in parts {
            schema[key] = value.clone();
        }
    }
    schema["type"] = json!(["string", "object"]);
    schema
}

/// A text of a form, and what an editor says of another.
fn pattern(mut schema: Value, pattern: &str, otherwise: &str) -> Value {
    schema["pattern"] = json!(pattern);
    schema["patternErrorMessage"] = json!(otherwise);
    schema
}
