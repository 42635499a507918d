//! Definitions made at random over the whole language, each well formed: every one is accepted, its normal form reads back, is a
//! document itself, and has the same hash on each way; and samples can be made up for it. Hashes of known definitions are
//! pinned: a store keeps them for ever.

mod seeded;

use amends_definitions::{Samples, check, from_normal_form, render, to_normal_form};
use proptest::prelude::*;
use seeded::config;
use serde_json::{Map, Value, json};

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn any_definition_of_the_language_has_one_hash_however_it_is_read(document in document()) {
        let source = document.to_string();
        let checked = check(source.as_bytes());
        let text = || render("generated", source.as_bytes(), &checked.diagnostics);
        let Some(definition) = &checked.definition else {
            return Err(TestCaseError::fail(text()));
        };
        let samples = Samples::of(definition);
        prop_assert!(!samples.inputs.is_empty());
        prop_assert_eq!(samples.outputs.len(), definition.steps().len());
        let normal_form = to_normal_form(definition);
        let again = from_normal_form(normal_form.as_bytes()).expect("a normal form reads back");
        prop_assert_eq!(again.hash(), definition.hash());
        prop_assert_eq!(to_normal_form(&again), normal_form.clone());
        let mut form: Value = serde_json::from_str(&normal_form).expect("JSON");
        let document = form["definition"].take().to_string();
        let checked = check(document.as_bytes());
        let read = checked.definition.expect("a normal form is a document");
        prop_assert_eq!(read.hash(), definition.hash());
    }

    #[test]
    fn a_definition_with_a_key_taken_away_is_checked_without_panic(
        document in document(),
        at in any::<prop::sample::Index>(),
    ) {
        let mut document = document;
        let mut places = 0;
        count(&document, &mut places);
        let mut left = at.index(places);
        remove(&mut document, &mut left);
        let source = document.to_string();
        let checked = check(source.as_bytes());
        prop_assert!(checked.diagnostics.iter().all(|found| found.code != "OUT_OF_RESOURCES"));
        match checked.definition {
            Some(definition) => {
                let normal_form = to_normal_form(&definition);
                let again = from_normal_form(normal_form.as_bytes()).expect("it reads back");
                prop_assert_eq!(again.hash(), definition.hash());
            }
            None => prop_assert!(!checked.diagnostics.is_empty()),
        }
    }
}

#[test]
fn the_hashes_of_known_definitions_never_change() {
    for (source, hash) in [
        (
            include_str!("../corpus/accepted/place-order.saga.yaml"),
            "3d6ff4c8f80e27d2e21a22a02205db54d7eaeea1b5ad48a50236fbe3d981c3d4",
        ),
        (
            include_str!("../corpus/accepted/every-served-key.saga.yaml"),
            "3a313753948bbeea8621489a55af1eb0115c3451f5319eb521905d7369c9c73f",
        ),
        (
            include_str!("../corpus/accepted/every-construct.saga.yaml"),
            "67314672b60caf016227662e37a428299cca8071fc9be0e0dc1b1dc1446158f9",
        ),
        (
            include_str!("../corpus/accepted/example-transfer-money.saga.yaml"),
            "312f764aacc06aa4ff9d17721535f0dcccaa72d7410b4dd03ae4177eb994286a",
        ),
    ] {
        let definition = check(source.as_bytes()).definition.expect("a definition");
        assert_eq!(definition.hash().to_string(), hash, "{}", definition.name());
    }
}

/// The number of keys of all mappings.
fn count(value: &Value, places: &mut usize) {
    match value {
        Value::Object(entries) => {
            *places += entries.len();
            entries.values().for_each(|value| count(value, places));
        }
        Value::Array(items) => items.iter().for_each(|item| count(item, places)),
        _ => {}
    }
}

/// Takes away the key of a mapping before which `left` others stand; if it did.
fn remove(value: &mut Value, left: &mut usize) -> bool {
    match value {
        Value::Object(entries) => {
            if let Some(key) = entries.keys().nth(*left).cloned() {
                entries.remove(&key);
                return true;
            }
            *left -= entries.len();
            entries.values_mut().any(|value| remove(value, left))
        }
        Value::Array(items) => items.iter_mut().any(|item| remove(item, left)),
        _ => false,
    }
}

fn document() -> impl Strategy<Value = Value> {
    let steps = (
        prop::collection::vec(step(Role::Compensatable), 1..6),
        prop::option::of(step(Role::Pivot)),
        prop::collection::vec(step(Role::Retriable), 0..4),
        any::<u64>(),
    );
    (surroundings(), steps).prop_map(|(mut top, (before, pivot, behind, needs))| {
        top.insert("apiVersion".into(), json!("amends/v1"));
        top.insert("name".into(), json!("generated"));
        top.insert("steps".into(), connected(before, pivot, behind, needs));
        Value::Object(top)
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Compensatable,
    Pivot,
    Retriable,
}

/// Ids and needs that fit the kinds: the bits choose among what fits.
fn connected(
    before: Vec<Map<String, Value>>,
    pivot: Option<Map<String, Value>>,
    behind: Vec<Map<String, Value>>,
    mut bits: u64,
) -> Value {
    let abortable = before.len() + usize::from(pivot.is_some());
    let last = before.len();
    let all = before.into_iter().chain(pivot).chain(behind);
    let steps: Vec<Value> = all
        .enumerate()
        .map(|(place, mut step)| {
            step.insert("id".into(), json!(format!("s{place}")));
            let all_of = |range: std::ops::Range<usize>| -> Vec<String> {
                range.map(|place| format!("s{place}")).collect()
            };
            let needs = match place {
                place if place < last => (0..place)
                    .filter(|_| {
                        bits = bits.rotate_left(1);
                        bits & 1 == 1
                    })
                    .map(|place| format!("s{place}"))
                    .collect(),
                place if place < abortable => all_of(0..last),
                _ => all_of(0..abortable),
            };
            step.insert("needs".into(), json!(needs));
            Value::Object(step)
        })
        .collect();
    Value::Array(steps)
}

/// A mapping of which each key may be missing.
fn some_of(
    keys: Vec<(&'static str, BoxedStrategy<Value>)>,
) -> impl Strategy<Value = Map<String, Value>> {
    let (names, values): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
    let values: Vec<_> = values.into_iter().map(prop::option::of).collect();
    values.prop_map(move |values| {
        let entries = names.iter().zip(values);
        entries
            .filter_map(|(name, value)| Some(((*name).to_owned(), value?)))
            .collect()
    })
}

fn one_of(values: Vec<Value>) -> BoxedStrategy<Value> {
    prop::sample::select(values).boxed()
}

fn retry() -> BoxedStrategy<Value> {
    let fields = some_of(vec![
        ("initialInterval", one_of(vec![json!("1s"), json!("500ms")])),
        ("backoff", one_of(vec![json!(1), json!(2.5), json!(1000)])),
        ("maxInterval", one_of(vec![json!("1m"), json!("1h30m")])),
        ("jitter", one_of(vec![json!(0), json!(0.25), json!(1)])),
        (
            "maxAttempts",
            one_of(vec![json!(0), json!(1), json!(1_000_000)]),
        ),
        ("maxElapsed", one_of(vec![json!("1ms"), json!("9d")])),
        ("nonRetryable", one_of(vec![json!([]), json!(["B", "A"])])),
    ]);
    prop_oneof![Just(json!("named")), fields.prop_map(Value::Object)].boxed()
}

fn timeout() -> BoxedStrategy<Value> {
    let fields = some_of(vec![
        ("total", one_of(vec![json!("2h"), json!("9d")])),
        ("schedule", one_of(vec![json!("1ms"), json!("20d")])),
        ("heartbeat", one_of(vec![json!("1ms"), json!("900ms")])),
    ]);
    let attempt = one_of(vec![json!("1s"), json!("1h")]);
    let parts = (fields, attempt.clone()).prop_map(|(mut fields, attempt)| {
        fields.insert("attempt".into(), attempt);
        Value::Object(fields)
    });
    prop_oneof![attempt, parts].boxed()
}

fn schema() -> BoxedStrategy<Value> {
    one_of(vec![
        json!({}),
        json!(true),
        json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["b"]}),
        json!({"pattern": "^a+$", "$defs": {"x": {"minimum": 1.5}}, "items": {"$ref": "#/$defs/x"}}),
    ])
}

fn surroundings() -> impl Strategy<Value = Map<String, Value>> {
    let layer = || vec![("timeout", timeout()), ("retry", retry())];
    let mut compensation = layer();
    compensation.push(("order", one_of(vec![json!("reverse"), json!("parallel")])));
    compensation.push(("parkAfter", one_of(vec![json!("1s"), json!("3d")])));
    let mut participant = layer();
    participant.push(("actions", one_of(vec![json!(["act", "undo", "look"])])));
    let max = (1_u32..=1_000_000).prop_map(Value::from).boxed();
    let on_limit = one_of(vec![json!("queue"), json!("reject")]);
    let concurrency = (max, prop::option::of(on_limit)).prop_map(|(max, on_limit)| {
        let on_limit = on_limit.map(|on_limit| ("onLimit".to_owned(), on_limit));
        Value::Object(
            [("max".to_owned(), max)]
                .into_iter()
                .chain(on_limit)
                .collect(),
        )
    });
    let keys = some_of(vec![
        ("version", one_of(vec![json!("1.10"), json!("no")])),
        (
            "description",
            one_of(vec![json!("a\nb"), json!("é \u{2028}")]),
        ),
        (
            "labels",
            one_of(vec![json!({}), json!({"a": "b", "0": "1"})]),
        ),
        (
            "key",
            one_of(vec![json!("input.a"), json!("${{ input.a }}")]),
        ),
        ("orderingKey", one_of(vec![json!("input['a b']")])),
        ("inputSchema", schema()),
        (
            "output",
            one_of(vec![json!({"a": ["${{ steps.s0.status }}", null]})]),
        ),
        ("retention", one_of(vec![json!("30d"), json!("1ms")])),
        ("concurrency", concurrency.boxed()),
        (
            "compensation",
            some_of(compensation).prop_map(Value::Object).boxed(),
        ),
        ("defaults", some_of(layer()).prop_map(Value::Object).boxed()),
    ]);
    let deadline = prop::option::of(some_of(vec![(
        "onTimeout",
        one_of(vec![json!("compensate"), json!("park")]),
    )]));
    let participant = some_of(participant);
    (keys, deadline, participant, schema()).prop_map(|(mut top, deadline, participant, schema)| {
        if let Some(deadline) = deadline {
            top.insert("timeout".into(), json!("10d"));
            top.extend(deadline);
        }
        top.insert("participants".into(), json!({"p": participant}));
        top.insert(
            "signals".into(),
            json!({"go": {"schema": schema}, "stop": {}}),
        );
        top.insert("retryPolicies".into(), json!({"named": {"maxAttempts": 3}}));
        top
    })
}

fn step(role: Role) -> BoxedStrategy<Map<String, Value>> {
    let works = match role {
        Role::Compensatable => prop_oneof![
            3 => call(role),
            1 => child(),
            1 => wait(role),
            1 => sleep(),
            1 => emit(),
            1 => fail(),
        ]
        .boxed(),
        Role::Pivot => prop_oneof![call(role), child()].boxed(),
        Role::Retriable => prop_oneof![call(role), child(), wait(role), sleep(), emit()].boxed(),
    };
    let route = routes(role);
    let beside = some_of(vec![("when", condition()), ("onError", route)]);
    let foreach = match role {
        Role::Pivot => Just(None).boxed(),
        _ => prop::option::of(foreach()).boxed(),
    };
    (works, beside, foreach)
        .prop_map(move |(mut step, beside, foreach)| {
            let fails = step.contains_key("fail");
            step.extend(beside);
            if fails {
                step.insert("when".into(), json!("saga.id == 'x'"));
            }
            step.extend(foreach.map(|foreach| ("foreach".to_owned(), foreach)));
            match role {
                Role::Compensatable => {}
                Role::Pivot => drop(step.insert("kind".into(), json!("pivot"))),
                Role::Retriable => drop(step.insert("kind".into(), json!("retriable"))),
            }
            step
        })
        .boxed()
}

fn condition() -> BoxedStrategy<Value> {
    one_of(vec![
        json!(true),
        json!("has(input.a) && input.a > 1"),
        json!("${{ has(signals.go) || saga.key == null }}"),
        json!("input.list.exists(x, x == 'a')"),
    ])
}

fn mapping() -> BoxedStrategy<Value> {
    one_of(vec![
        json!({}),
        json!("${{ input }}"),
        json!({"text": "a ${{ input.a }} $${{ b", "list": [1, 1.5, null, true, "no"], "n": -0.0}),
        json!([{"deep": {"er": ["${{ {'a': [saga.startedAt]} }}"]}}]),
    ])
}

fn call(role: Role) -> BoxedStrategy<Map<String, Value>> {
    let keys = some_of(vec![
        ("input", mapping()),
        ("retry", retry()),
        ("timeout", timeout()),
        ("outputSchema", schema()),
        ("query", one_of(vec![json!("p.look"), json!("q.look")])),
    ]);
    let undo = some_of(vec![
        (
            "input",
            one_of(vec![
                json!({"a": "${{ self.input }}", "b": "${{ self.reason }}"}),
            ]),
        ),
        ("retry", retry()),
        ("timeout", timeout()),
    ]);
    let undo = prop_oneof![
        Just(json!({"none": "nothing to undo"})),
        undo.prop_map(|mut undo| {
            undo.insert("call".into(), json!("p.undo"));
            Value::Object(undo)
        }),
    ];
    (keys, one_of(vec![json!("p.act"), json!("q.act")]), undo)
        .prop_map(move |(mut step, action, undo)| {
            step.insert("call".into(), action);
            if role == Role::Compensatable {
                step.insert("compensate".into(), undo);
            }
            step
        })
        .boxed()
}

fn work(
    key: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Map<String, Value>> {
    value
        .prop_map(move |value| Map::from_iter([(key.to_owned(), value)]))
        .boxed()
}

fn wait(role: Role) -> BoxedStrategy<Map<String, Value>> {
    let mut then = vec![json!("continue"), json!("park")];
    if role == Role::Compensatable {
        then.push(json!("compensate"));
    }
    let then = prop::option::of(one_of(then));
    let timed = then.prop_map(|then| {
        let then = then.map(|then| ("onTimeout".to_owned(), then));
        let wait = [
            ("signal".to_owned(), json!("go")),
            ("timeout".to_owned(), json!("48h")),
        ];
        Value::Object(wait.into_iter().chain(then).collect())
    });
    work("wait", prop_oneof![Just(json!({"signal": "stop"})), timed])
}

fn sleep() -> BoxedStrategy<Map<String, Value>> {
    work(
        "sleep",
        one_of(vec![
            json!("1ms"),
            json!("9d23h"),
            json!({"until": "input.due"}),
        ]),
    )
}

fn child() -> BoxedStrategy<Map<String, Value>> {
    let keys = some_of(vec![
        ("key", one_of(vec![json!("saga.id")])),
        ("input", mapping()),
    ]);
    let child = keys.prop_map(|mut child| {
        child.insert("name".into(), json!("child-1"));
        json!({"saga": child})
    });
    (child, prop::option::of(schema()))
        .prop_map(|(child, schema)| {
            let schema = schema.map(|schema| ("outputSchema".to_owned(), schema));
            child
                .as_object()
                .cloned()
                .into_iter()
                .flatten()
                .chain(schema)
                .collect()
        })
        .boxed()
}

fn emit() -> BoxedStrategy<Map<String, Value>> {
    let keys = some_of(vec![
        (
            "subject",
            one_of(vec![json!("a ${{ saga.id }}"), json!("plain")]),
        ),
        ("data", mapping()),
    ]);
    work(
        "emit",
        keys.prop_map(|mut emit| {
            emit.insert("type".into(), json!("com.example.done"));
            Value::Object(emit)
        }),
    )
}

fn fail() -> BoxedStrategy<Map<String, Value>> {
    let keys = some_of(vec![(
        "message",
        one_of(vec![json!("${{ input.a }} is wrong")]),
    )]);
    work(
        "fail",
        keys.prop_map(|mut fail| {
            fail.insert("code".into(), json!("NOT_ALLOWED"));
            Value::Object(fail)
        }),
    )
}

fn foreach() -> BoxedStrategy<Value> {
    let keys = some_of(vec![
        ("as", one_of(vec![json!("line")])),
        ("maxItems", (500_u32..=1000).prop_map(Value::from).boxed()),
        ("maxParallel", (1_u32..=500).prop_map(Value::from).boxed()),
    ]);
    let list = one_of(vec![
        json!("input.list"),
        json!("${{ input.list.filter(x, x > 1) }}"),
    ]);
    (keys, list, any::<bool>())
        .prop_map(|(mut foreach, list, keyed)| {
            let item = foreach.get("as").map_or("item", |_| "line");
            if keyed {
                foreach.insert("key".into(), json!(format!("{item}.id")));
            }
            foreach.insert("in".into(), list);
            Value::Object(foreach)
        })
        .boxed()
}

fn routes(role: Role) -> BoxedStrategy<Value> {
    let mut then = vec![json!("continue"), json!("park")];
    if role != Role::Retriable {
        then.push(json!("compensate"));
    }
    let route = (
        some_of(vec![
            (
                "codes",
                one_of(vec![json!(["B", "A", "FATAL"]), json!(["EXHAUSTED"])]),
            ),
            ("when", one_of(vec![json!("error.code != 'C'")])),
            (
                "output",
                one_of(vec![json!({"why": "${{ error.message }}"})]),
            ),
        ]),
        one_of(then),
    );
    let route = route.prop_map(|(mut route, then)| {
        if then != json!("continue") {
            route.remove("output");
        }
        route.insert("then".into(), then);
        Value::Object(route)
    });
    prop::collection::vec(route, 0..3)
        .prop_map(Value::Array)
        .boxed()
}
