//! Expressions and mappings, end to end.

use super::*;
use crate::Definition;

/// A definition around one step whose input, condition or compensation is under test.
fn definition(step: &str, rest: &str) -> Definition {
    let source = format!(
        "apiVersion: amends/v1\nname: test\n{rest}\nsteps:\n  - id: first\n    call: a.first\n    compensate: {{none: test}}\n  - id: tested\n    call: a.tested\n{step}\n"
    );
    let checked = crate::check(source.as_bytes());
    checked.definition.unwrap_or_else(|| {
        panic!(
            "{}",
            crate::render("test", source.as_bytes(), &checked.diagnostics)
        )
    })
}

fn payload(json: &str) -> Payload {
    Payload::check(Bytes::copy_from_slice(json.as_bytes())).expect("a payload")
}

fn scope<'a>(input: &'a Payload, output: Option<&'a Payload>) -> Scope<'a> {
    Scope {
        input,
        saga_id: "0191",
        saga_key: Some("key-1"),
        saga_started_at: "2026-01-02T03:04:05Z",
        steps: vec![
            StepScope {
                id: "first",
                status: if output.is_some() {
                    "succeeded"
                } else {
                    "skipped"
                },
                output,
            },
            StepScope {
                id: "tested",
                status: "waiting",
                output: None,
            },
        ],
        itself: None,
    }
}

/// Evaluates an expression as a mapping's whole value.
fn evaluate(
    expression: &str,
    input: &str,
    output: Option<&str>,
) -> Result<String, EvaluationError> {
    let mut quoted = String::new();
    json::write_string(&mut quoted, &format!("${{{{ {expression} }}}}"));
    let definition = definition(
        &format!("    input: {quoted}\n    compensate: {{none: test}}"),
        "",
    );
    let input = payload(input);
    let output = output.map(payload);
    let mapping = definition.steps()[1].input().expect("an input");
    mapping
        .evaluate(&scope(&input, output.as_ref()))
        .map(|payload| payload.text().to_owned())
}

fn value(expression: &str, input: &str) -> String {
    evaluate(expression, input, Some("{\"n\":3}"))
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
}

fn failure(expression: &str, input: &str) -> String {
    match evaluate(expression, input, None) {
        Err(error) => error.to_string(),
        Ok(value) => panic!("{expression} is {value}"),
    }
}

#[test]
fn values_keep_their_types() {
    for (expression, expected) in [
        ("1 + 2", "3"),
        ("input.qty * 2", "6"),
        ("input.price", "1.50"),
        ("input.price + 1.0", "2.5"),
        ("double(input.qty)", "3.0"),
        ("input.items", "[ {\"sku\": \"a\"} ,2]"),
        ("input.items[0].sku", "\"a\""),
        ("input[\"qty\"]", "3"),
        ("{'b': 1, 'a': input.qty}", "{\"a\":3,\"b\":1}"),
        ("[1, 'x', null, true, 1.0]", "[1,\"x\",null,true,1.0]"),
        ("input.qty > 2 ? 'many' : 'few'", "\"many\""),
        ("steps.first.output.n + 1", "4"),
        ("steps.first.status", "\"succeeded\""),
        (
            "steps.first",
            "{\"status\":\"succeeded\",\"output\":{\"n\":3}}",
        ),
        ("has(input.nothing)", "false"),
        ("has(input.qty) && has(steps.first.output)", "true"),
        ("saga.id + ':' + saga.key", "\"0191:key-1\""),
        ("saga.startedAt", "\"2026-01-02T03:04:05Z\""),
        ("timestamp(saga.startedAt).getFullYear()", "2026"),
        ("'a\"\\n' + 'é'", "\"a\\\"\\né\""),
        ("input.items.size()", "2"),
        ("[3, 1].map(x, x * 2).filter(x, x > 2)", "[6]"),
        ("[1, 2].exists(x, x == 2)", "true"),
        ("'abc'.matches('^a.c$')", "true"),
        ("1 == 1.0", "true"),
    ] {
        let input = r#"{"qty": 3, "price": 1.50, "items": [ {"sku": "a"} ,2]}"#;
        assert_eq!(value(expression, input), expected, "{expression}");
    }
}

#[test]
fn keys_of_a_map_are_visited_in_order() {
    let input = r#"{"m":{"d":1,"b":2,"a":3,"c":4,"e":5,"f":6,"g":7}}"#;
    for _ in 0..20 {
        assert_eq!(
            value("input.m.map(k, k)", input),
            r#"["a","b","c","d","e","f","g"]"#
        );
    }
    assert_eq!(
        value("input.m.map(k, input.m[k])", input),
        "[3,2,4,1,5,6,7]"
    );
    assert_eq!(
        value("{3: 'c', 1: 'a', 2: 'b'}.map(k, k)", input),
        "[1,2,3]"
    );
}
