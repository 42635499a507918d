//! Expressions and mappings, end to end.

use super::*;
use crate::{Call, Definition};

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

fn scope(input: &Payload) -> Scope<'_> {
    Scope {
        input,
        saga_id: &"0191",
        saga_key: Some("key-1"),
        saga_started_at: &"2026-01-02T03:04:05Z",
        steps: &[
            StepScope {
                id: "first",
                status: "skipped",
                output: None,
            },
            StepScope {
                id: "tested",
                status: "waiting",
                output: None,
            },
        ],
        ..Scope::of_input(input)
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
    let mapping = definition.steps()[1]
        .call()
        .and_then(Call::input)
        .expect("an input");
    let steps = [
        StepScope {
            id: "first",
            status: output.as_ref().map_or("skipped", |_| "succeeded"),
            output: output.as_ref(),
        },
        StepScope {
            id: "tested",
            status: "waiting",
            output: None,
        },
    ];
    let scope = Scope {
        steps: &steps,
        ..scope(&input)
    };
    mapping
        .evaluate(&scope)
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

#[test]
fn what_has_no_value_says_why_without_payload_data() {
    let input =
        r#"{"qty": 3, "price": 1.5, "big": 123456789012345678901, "text": "secret", "list": [1]}"#;
    for (expression, expected) in [
        ("input.nope", "`input.nope`: `input` has no field `nope`"),
        (
            "input.text.nope",
            "`input.text.nope`: `input.text` is a string, not an object",
        ),
        ("input.nope + 1", "`input.nope + 1`: no field `nope`"),
        (
            "steps.first.output.n",
            "`steps.first.output.n`: step `first` is skipped and has no output",
        ),
        (
            "1 / (input.qty - 3)",
            "`1 / (input.qty - 3)`: division by zero",
        ),
        (
            "1 % (input.qty - 3)",
            "`1 % (input.qty - 3)`: division by zero",
        ),
        (
            "9223372036854775807 + input.qty",
            "`9223372036854775807 + input.qty`: overflow in `add`",
        ),
        (
            "input.qty + input.price",
            "`input.qty + input.price`: `add` does not work on (int, float); int and double do not mix, use double() or int()",
        ),
        ("input.list[3]", "`input.list[3]`: no such index"),
        (
            "input.list['a' + 'b']",
            "`input.list['a' + 'b']`: `[ ]` does not work on (list, string)",
        ),
        (
            "input.big + 1",
            "`input.big + 1`: an integer beyond 64 bits cannot be computed with",
        ),
        (
            "input.big == input.big",
            "`input.big == input.big`: an integer beyond 64 bits cannot be computed with",
        ),
        ("1.0 / 0.0", "`1.0 / 0.0`: JSON has no inf"),
        (
            "duration('1s')",
            "`duration('1s')`: JSON has no google.protobuf.Duration; string() makes it a string",
        ),
        ("{1: 2}", "`{1: 2}`: a key is not a string"),
        (
            "!input.text",
            "`!input.text`: `!` does not work on (string)",
        ),
    ] {
        assert_eq!(
            failure(expression, input),
            format!("EXPRESSION_FAILED: {expected}")
        );
    }
}

#[test]
fn payloads_pass_through_byte_for_byte() {
    let input = "{ \"big\" : 123456789012345678901234567890, \"d\": 1.500, \"s\": \"\\u00e9\\/\" }";
    assert_eq!(value("input", input), input);
    assert_eq!(value("input.big", input), "123456789012345678901234567890");
    assert_eq!(value("input.d", input), "1.500");
    assert_eq!(value("input.s", input), "\"\\u00e9\\/\"");
    assert_eq!(
        value("true ? input.big : 0", input),
        "123456789012345678901234567890"
    );
}

#[test]
fn a_mapping_keeps_constants_and_fills_in_values() {
    let definition = definition(
        "    input:\n      z: [1, 1.50, \"2\", null, true, 12345678901234567890123]\n      a: \"n=${{ input.n }} ${{ input.d }} ${{ input.b }} $${{ x }}\"\n      empty: {}\n    compensate: {none: test}",
        "",
    );
    let input = payload(r#"{"n": 1, "d": 1.0, "b": true}"#);
    let mapping = definition.steps()[1]
        .call()
        .and_then(Call::input)
        .expect("an input");
    let value = mapping.evaluate(&scope(&input)).expect("a value");
    assert_eq!(
        value.text(),
        r#"{"a":"n=1 1.0 true ${{ x }}","empty":{},"z":[1,1.5,"2",null,true,12345678901234567890123]}"#
    );
    for wrong in [
        r#"{"n": null, "d": 1, "b": 1}"#,
        r#"{"n": [1], "d": 1, "b": 1}"#,
    ] {
        let input = payload(wrong);
        let error = mapping.evaluate(&scope(&input)).expect_err("not text");
        assert_eq!(error.code, "EXPRESSION_FAILED");
    }
}

#[test]
fn a_condition_is_a_bool_and_a_key_is_a_string_or_an_integer() {
    let definition = |when: &str| {
        definition(
            &format!("    when: {when}\n    compensate: {{none: test}}"),
            "key: input.key",
        )
    };
    let long = |bytes: usize| format!("{{\"key\": \"{}\"}}", "k".repeat(bytes));
    let by_key = definition("input.yes");
    let key = |input: &str| {
        let input = payload(input);
        let key = by_key.key().expect("a key");
        key.evaluate_key(&scope(&input))
            .map_err(|error| error.message)
    };
    assert_eq!(key(r#"{"key": "order-\u00e9"}"#), Ok("order-é".to_owned()));
    assert_eq!(key(r#"{"key": -17}"#), Ok("-17".to_owned()));
    assert_eq!(
        key(r#"{"key": 123456789012345678901}"#),
        Ok("123456789012345678901".to_owned())
    );
    assert_eq!(
        key(&long(KEY_BYTES_MAX)).map(|key| key.len()),
        Ok(KEY_BYTES_MAX)
    );
    for wrong in [
        r#"{"key": ""}"#,
        r#"{"key": 1.5}"#,
        r#"{"key": null}"#,
        r#"{"key": true}"#,
        r#"{"key": {}}"#,
        "{}",
        "[]",
    ] {
        assert!(key(wrong).is_err(), "{wrong}");
    }
    assert!(key(&long(KEY_BYTES_MAX + 1)).is_err());
    let when = |when: &str, input: &str| {
        let definition = definition(when);
        let input = payload(input);
        let when = definition.steps()[1].when().expect("a condition");
        when.evaluate_bool(&scope(&input))
            .map_err(|error| error.message)
    };
    assert_eq!(when("input.yes", r#"{"yes": true}"#), Ok(true));
    assert_eq!(when("\"${{ !input.yes }}\"", r#"{"yes": true}"#), Ok(false));
    assert_eq!(when("has(steps.first.output)", "{}"), Ok(false));
    assert_eq!(when("\"true\"", "{}"), Ok(true));
    assert_eq!(
        when("input.yes", r#"{"yes": "true"}"#),
        Err("`input.yes`: the value is not a bool".to_owned())
    );
}

#[test]
fn a_compensation_sees_its_step() {
    let definition = definition(
        "    compensate:\n      call: a.undo\n      input:\n        input: ${{ self.input.n }}\n        out: ${{ self.output }}\n        code: \"${{ self.error == null ? 'none' : self.error.code }}\"\n        why: ${{ self.reason }}\n        mine: ${{ steps.tested.status }}\n        whole: ${{ self }}",
        "",
    );
    let crate::Compensation::Call(call) = definition.steps()[1].compensation() else {
        panic!("a call");
    };
    let (input, action_input, output) = (payload("{}"), payload("{\"n\":1}"), payload("{\"r\":2}"));
    let mut scope = scope(&input);
    scope.itself = Some(SelfScope {
        input: &action_input,
        output: Some(&output),
        error: Some(("TIMEOUT", "late")),
        reason: "CANCELLED",
    });
    let value = |scope: &Scope<'_>| {
        let mapping = call.input().expect("an input");
        mapping.evaluate(scope).expect("a value").text().to_owned()
    };
    assert_eq!(
        value(&scope),
        r#"{"code":"TIMEOUT","input":1,"mine":"waiting","out":{"r":2},"whole":{"input":{"n":1},"output":{"r":2},"error":{"code":"TIMEOUT","message":"late"},"reason":"CANCELLED"},"why":"CANCELLED"}"#
    );
    scope.itself = scope.itself.map(|itself| SelfScope {
        output: None,
        error: None,
        ..itself
    });
    assert_eq!(
        value(&scope),
        r#"{"code":"none","input":1,"mine":"waiting","out":null,"whole":{"input":{"n":1},"output":null,"error":null,"reason":"CANCELLED"},"why":"CANCELLED"}"#
    );
}

#[test]
fn what_costs_too_much_is_stopped_the_same_way_each_time() {
    let list = format!("{{\"l\":[{}]}}", vec!["1"; 1000].join(","));
    let text = format!(
        "{{\"s\":\"{}\",\"l\":[{}]}}",
        "x".repeat(500_000),
        vec!["1"; 100].join(",")
    );
    for (expression, input) in [
        ("input.l.map(a, input.l.map(b, a * b))", &list),
        ("input.l.exists(a, input.l.exists(b, a + b == 7))", &list),
        (
            "input.l.all(a, input.l.all(b, true) || true) || true",
            &list,
        ),
        ("input.l.map(a, input.s)", &text),
        ("input.l.map(a, input.s + input.s)", &text),
        ("input.l.exists(a, input.s == input.s + 'x')", &text),
        ("input.l.exists(a, input.s.contains('y'))", &text),
        ("input.l.exists(a, input - 1 == 0)", &text),
    ] {
        for _ in 0..2 {
            let error = evaluate(expression, input, None).expect_err(expression);
            assert_eq!(error.code, "COST_EXCEEDED", "{expression}: {error}");
        }
    }
    assert_eq!(value("input.l.map(a, a + 1).size()", &list), "1000");
}

#[test]
fn the_keys_of_a_list_share_one_budget_that_holds_at_n_and_not_at_n_plus_1() {
    use crate::limits::{EXPRESSION_SCAN_BYTES, EXPRESSION_UNITS_MAX, ITEM_KEYS_UNITS_MAX};
    let key = Expression::compile("item.id").expect("an expression");
    let (input, none) = (payload("{}"), Vec::new());
    // Looking for the key in so many bytes costs one unit, and one for each unit's bytes.
    let costing = |units: u64| {
        let bytes = (units - 1) as usize * EXPRESSION_SCAN_BYTES;
        let rest = bytes - r#"{"id":"k","pad":""}"#.len();
        payload(&format!(r#"{{"id":"k","pad":"{}"}}"#, "x".repeat(rest)))
    };
    let each = 8_000;
    let count = (ITEM_KEYS_UNITS_MAX / each) as usize;
    let of = |last: u64| {
        let mut items = vec![costing(each); count - 1];
        items.extend([costing(last)]);
        items
    };
    let keys = |items: &[Payload]| key.evaluate_keys(&scope(&input), "item", items);
    assert_eq!(keys(&none), Ok(Vec::new()));
    assert_eq!(keys(&of(each)).map(|keys| keys.len()), Ok(count));
    let error = keys(&of(each + 1)).expect_err("one unit too much");
    assert_eq!(error.code, "COST_EXCEEDED");
    assert!(
        error
            .message
            .contains("4000000 units for all items together"),
        "{error}"
    );
    // What one key may cost is bounded as before.
    let list = format!(r#"{{"id":[{}]}}"#, vec!["1"; 1000].join(","));
    let dear = "string(item.id.map(a, item.id.map(b, a * b)).size())";
    let dear = Expression::compile(dear).expect("an expression");
    let error = dear
        .evaluate_keys(&scope(&input), "item", &[payload(&list)])
        .expect_err("too much");
    assert!(
        error
            .message
            .ends_with(&format!("costs more than {EXPRESSION_UNITS_MAX} units")),
        "{error}"
    );
}

#[test]
fn what_is_too_large_is_refused() {
    let half = format!("{{\"s\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES_MAX / 2));
    let error = evaluate("input.s + input.s", &half, None).expect_err("too large");
    assert_eq!(error.code, "PAYLOAD_TOO_LARGE");
    let error = evaluate("[input.s, input.s]", &half, None).expect_err("too large");
    assert_eq!(error.code, "PAYLOAD_TOO_LARGE");
    let definition = definition(
        "    input: [[[\"${{ input }}\"]]]\n    compensate: {none: test}",
        "",
    );
    let mapping = definition.steps()[1]
        .call()
        .and_then(Call::input)
        .expect("an input");
    let nested = |depth: usize| payload(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    let fits = nested(PAYLOAD_DEPTH_MAX - 3);
    assert!(mapping.evaluate(&scope(&fits)).is_ok());
    let deep = nested(PAYLOAD_DEPTH_MAX - 2);
    let error = mapping.evaluate(&scope(&deep)).expect_err("too deep");
    assert_eq!(error.code, "PAYLOAD_TOO_LARGE");
}

#[test]
fn limits_of_expressions_hold_at_n_and_not_at_n_plus_1() {
    use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};
    let code = |source: &str| {
        let compiled = compile::with_room(|| Expression::compile(source));
        compiled.expect("no panic").map_err(|fault| fault.code)
    };
    let long = |bytes: usize| format!("'{}'", "x".repeat(bytes - 2));
    assert!(code(&long(EXPRESSION_BYTES_MAX)).is_ok());
    assert_eq!(
        code(&long(EXPRESSION_BYTES_MAX + 1)).err(),
        Some("EXPRESSION_TOO_LONG")
    );
    let sum = |terms: usize| vec!["1"; terms].join("+");
    assert!(code(&sum(EXPRESSION_DEPTH_MAX)).is_ok());
    assert_eq!(
        code(&sum(EXPRESSION_DEPTH_MAX + 1)).err(),
        Some("EXPRESSION_TOO_DEEP")
    );
    let brackets = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(code(&brackets(EXPRESSION_DEPTH_MAX)).is_ok());
    assert_eq!(
        code(&brackets(EXPRESSION_DEPTH_MAX + 1)).err(),
        Some("EXPRESSION_TOO_DEEP")
    );
    assert!(code("[1].map(a, [1].map(b, b))").is_ok());
    assert_eq!(
        code("[1].map(a, [1].map(b, [1].map(c, c)))").err(),
        Some("EXPRESSION_TOO_DEEP")
    );
    assert!(code("'a'.matches('a{64}')").is_ok());
    assert_eq!(
        code("'a'.matches('a{65}')").err(),
        Some("EXPRESSION_PATTERN")
    );
    let pattern = |bytes: usize| format!("'a'.matches('{}')", "a".repeat(bytes));
    assert!(code(&pattern(128)).is_ok());
    assert_eq!(code(&pattern(129)).err(), Some("EXPRESSION_PATTERN"));
}

/// Evaluates on a stack of 2 MiB, the size of a worker's: an overflow would abort the whole test.
#[test]
fn the_deepest_sources_neither_overflow_the_stack_nor_panic() {
    let repeat = |unit: &str, end: &str| {
        let times = (crate::limits::EXPRESSION_BYTES_MAX - end.len()) / unit.len();
        format!("{}{end}", unit.repeat(times))
    };
    let sources = [
        repeat("1+", "1"),
        repeat("1-", "1"),
        repeat("!", "true"),
        repeat("-", "1"),
        repeat("- -", "1"),
        repeat("a.", "b"),
        repeat("a[", "1"),
        repeat("(", "1"),
        repeat("[", "1"),
        repeat("{1:", "1"),
        repeat("a?", "b"),
        repeat("a?b:", "c"),
        repeat("a&&", "b"),
        repeat("a||b&&", "c"),
        repeat("a<", "b"),
        repeat("a in ", "b"),
        repeat("f(", "1"),
        repeat("'\\\\", "'"),
        repeat("a.f().", "g()"),
        repeat("a[0]", ""),
        repeat("has(", "a.b"),
        repeat("x.all(x,", "x"),
        format!("{}1{}", "[".repeat(32), "]".repeat(32)),
        format!("{}1{}", "[1].map(x,".repeat(30), ")".repeat(30)),
        format!("{}1{}", "(1+".repeat(32), ")".repeat(32)),
        format!("{}1{}", "{'a':[".repeat(16), "]}".repeat(16)),
    ];
    let compiled: Vec<Expression> = compile::with_room(|| {
        let compile = |source: &String| Expression::compile(source).ok();
        sources.iter().filter_map(compile).collect()
    })
    .expect("no panic");
    assert!(compiled.len() >= 5, "{compiled:?}");
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let run = thread.spawn(move || {
        let input = payload(r#"{"a":[1,2]}"#);
        for expression in compiled {
            let scope = scope(&input);
            let _value_or_error = expression.evaluate(&scope);
        }
    });
    run.expect("a thread").join().expect("no panic");
}
