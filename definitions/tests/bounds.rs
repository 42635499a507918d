//! The bounds of expressions, under attack: what one evaluation may cost in steps, bytes and stack, that it fails the same
//! way each time, and that whatever it yields is a payload. Deliberately not here: time. The costs were measured so that
//! the budget is spent in some 50 ms of a release build, and `AMENDS_MEASURE=1` measures them again.

#![expect(clippy::unwrap_in_result, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use amends_definitions::limits::{
    EXPRESSION_BYTES_MAX, EXPRESSION_COMPREHENSIONS_MAX, EXPRESSION_DEPTH_MAX,
    EXPRESSION_PATTERN_BYTES_MAX, PAYLOAD_BYTES_MAX,
};
use amends_definitions::{Definition, EvaluationError, Payload, Scope, check};

/// Half of a worker's: the other half is for what calls.
const STACK_BYTES: usize = 1024 * 1024;

/// The value of a mapping in YAML, twice the same, evaluated on a worker's stack.
fn evaluate(mapping: &str, input: &str) -> Result<String, EvaluationError> {
    let definition = definition(&format!("input: {mapping}")).expect(mapping);
    let input = Payload::check(input.to_owned().into()).expect("a payload");
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let run = thread.spawn(move || {
        let mapping = definition.steps()[0].call().and_then(|call| call.input());
        let mapping = mapping.expect("an input");
        let begin = Instant::now();
        let value = mapping.evaluate(&Scope::of_input(&input));
        let took = begin.elapsed();
        assert_eq!(mapping.evaluate(&Scope::of_input(&input)), value);
        (value, took)
    });
    let (value, took) = run.expect("a thread").join().expect("no panic");
    if std::env::var_os("AMENDS_MEASURE").is_some() && took > Duration::from_millis(10) {
        println!("{took:>12.3?}  {mapping:.100}");
    }
    let value = value?;
    let again = Payload::check(value.to_bytes()).expect("a value is a payload");
    assert_eq!(again, value);
    Ok(String::from_utf8(value.as_bytes().to_vec()).expect("JSON is UTF-8"))
}

/// A definition with one step, or the codes of what is wrong.
fn definition(step: &str) -> Result<Definition, Vec<&'static str>> {
    let source = format!(
        "apiVersion: amends/v1\nname: test\nsteps:\n  - id: tested\n    call: a.tested\n    compensate: {{none: x}}\n    {step}\n"
    );
    let checked = check(source.as_bytes());
    let codes = checked.diagnostics.iter().map(|found| found.code);
    checked.definition.ok_or_else(|| codes.collect())
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

fn whole(expression: &str) -> String {
    quoted(&format!("${{{{ {expression} }}}}"))
}

fn code(mapping: &str, input: &str) -> &'static str {
    evaluate(mapping, input).map_or_else(|error| error.code, |_| "")
}

/// So many equal values of a mapping.
fn many(n: usize, value: &str) -> String {
    format!("[{}]", vec![quoted(value); n].join(","))
}

fn text(n: usize, unit: &str) -> String {
    format!("{{\"s\":\"{}\",\"z\":1}}", unit.repeat(n / unit.len()))
}

fn random_text(n: usize) -> String {
    let mut state = 7_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state.is_multiple_of(2) { 'a' } else { 'b' }
    };
    format!(
        "{{\"s\":\"{}\"}}",
        (0..n).map(|_| next()).collect::<String>()
    )
}

#[test]
fn b34_a_pattern_that_is_slow_on_a_long_text_costs_too_much() {
    let long = random_text(1_000_000);
    for pattern in [
        "[ab]*a[ab]{64}c",
        "(a|b)*a(a|b){60}c",
        "(((a?b?){4}){4}){4}c",
        "([ab]?){64}c",
        "a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?aaaaaaaaaaaaaaaac",
        ".*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*c",
    ] {
        let matches = whole(&format!("input.s.matches('{pattern}')"));
        assert_eq!(code(&matches, &long), "COST_EXCEEDED", "{pattern}");
        // On a text of a usual length, any pattern is within the budget.
        assert_eq!(code(&matches, &random_text(1_000)), "", "{pattern}");
    }
    let simple = whole("input.s.matches('[c-z]+@')");
    assert_eq!(evaluate(&simple, &long).as_deref(), Ok("false"));
}

#[test]
fn a_pattern_is_compiled_once_and_not_for_each_item() {
    let skus = vec!["\"AB-1234\""; 1000].join(",");
    let all = whole("input.l.all(sku, sku.matches('^[A-Z]{2}-\\\\d{4}$'))");
    assert_eq!(
        evaluate(&all, &format!("{{\"l\":[{skus}]}}")).as_deref(),
        Ok("true")
    );
    // Compiled for each item, these took 0.4 s within the budget.
    let classes = "\\\\pL".repeat(EXPRESSION_PATTERN_BYTES_MAX / 4);
    for slow in [classes.as_str(), "\\\\w{64}", "(\\\\w{8}){8}"] {
        let refused = definition(&format!(
            "input: {}",
            whole(&format!("'a'.matches('{slow}')"))
        ));
        assert_eq!(refused.err(), Some(vec!["EXPRESSION_PATTERN"]), "{slow}");
    }
}

#[test]
fn two_patterns_of_one_expression_are_kept_apart() {
    let both = "input.s.matches('^a') && !input.s.matches('^b') && input.s.matches('^a')";
    assert_eq!(
        evaluate(&whole(both), r#"{"s":"ab"}"#).as_deref(),
        Ok("true")
    );
    assert_eq!(
        evaluate(&whole(both), r#"{"s":"ba"}"#).as_deref(),
        Ok("false")
    );
    let error = evaluate(&whole("input.s.matches('a')"), r#"{"s":1}"#).expect_err("no text");
    assert_eq!(
        error.message,
        "`input.s.matches('a')`: `matches` does not work on (int, string)"
    );
}

#[test]
fn many_small_values_of_a_large_payload_cost_what_searching_it_takes() {
    let behind = |before: &str| format!("{{\"s\":{before},\"z\":1}}");
    let keys: String = (0..80_000).map(|key| format!("\"k{key}\":1,")).collect();
    let inputs = [
        behind(&format!("\"{}\"", "a".repeat(1_000_000))),
        behind(&format!("\"{}\"", "\\n".repeat(500_000))),
        behind(&format!("[{}1]", "1,".repeat(500_000))),
        format!("{{{keys}\"z\":1}}"),
    ];
    // Each of these goes through 25 megabytes, twice, and that takes its time in a debug build.
    for input in &inputs {
        let value = "${{ input.z }}";
        assert_eq!(code(&many(3000, value), input), "COST_EXCEEDED", "{value}");
    }
    for value in ["${{ input.z + 1 }}", "x${{ input.z }}"] {
        assert_eq!(code(&many(3000, value), &inputs[0]), "COST_EXCEEDED");
        assert_eq!(code(&many(20, value), &inputs[0]), "");
    }
    assert_eq!(code(&many(9000, "${{ input.z }}"), r#"{"z":1}"#), "");
}

#[test]
fn a_mapping_stops_growing_at_the_size_of_a_payload() {
    // Each text is within the bound. All of them together took gigabytes.
    let controls = text(1_000_000, "\\u0001");
    for value in ["${{ input.s }}", "x${{ input.s }}", "${{ input.s + 'x' }}"] {
        for input in [&text(1_000_000, "a"), &controls] {
            assert_eq!(code(&many(3000, value), input), "PAYLOAD_TOO_LARGE");
        }
    }
    let half = text(PAYLOAD_BYTES_MAX / 2 - 10, "a");
    assert_eq!(code(&many(2, "${{ input.s }}"), &half), "");
}

#[test]
fn what_multiplies_itself_costs_too_much() {
    let numbers = |n: usize| format!("{{\"l\":[{}]}}", vec!["1"; n].join(","));
    let doubling = |unit: &str, times: usize| format!("{unit}{}", ".map(x, x + x)".repeat(times));
    for (expression, input) in [
        (doubling("[input.s]", 25), text(500_000, "a")),
        (doubling("[[1]]", 25), "{}".to_owned()),
        (
            "input.l.map(a, input.l.map(b, a * b))".to_owned(),
            numbers(1000),
        ),
        (
            "input.l.all(a, input.l.all(b, a == b))".to_owned(),
            numbers(1000),
        ),
        (
            "input.l.map(a, input.l).map(a, a + a)".to_owned(),
            numbers(1000),
        ),
        (
            "input.l.exists_one(a, input.l.filter(b, b == a).size() == 7)".to_owned(),
            numbers(1000),
        ),
    ] {
        assert_eq!(
            code(&whole(&expression), &input),
            "COST_EXCEEDED",
            "{expression}"
        );
    }
}

#[test]
fn maps_with_very_many_keys_cost_what_they_take() {
    let keys = |n: usize| {
        let entries: Vec<String> = (0..n).map(|key| format!("\"kkkkk{key}\":1")).collect();
        format!("{{\"m\":{{{}}}}}", entries.join(","))
    };
    for expression in [
        "{'a': input.m}",
        "input.m.all(k, true)",
        "input.m == input.m",
    ] {
        assert_eq!(
            code(&whole(expression), &keys(70_000)),
            "COST_EXCEEDED",
            "{expression}"
        );
        assert_eq!(code(&whole(expression), &keys(10_000)), "", "{expression}");
    }
}

#[test]
fn b35_numbers_out_of_range_missing_keys_and_wrong_types_fail_with_a_reason() {
    let input = r#"{"n":-9223372036854775808,"l":[1],"b":123456789012345678901,"d":1.5,"s":"x"}"#;
    for expression in [
        "input.n / -1",
        "input.n % -1",
        "-input.n",
        "input.n - 1",
        "input.n * 2",
        "9223372036854775807 + 1",
        "0u - 1u",
        "uint(input.n)",
        "int(1e300)",
        "int(double('nan'))",
        "5 / (input.n - input.n)",
        "5 % 0",
        "5u / 0u",
        "1.0 / 0.0",
        "input.l[1]",
        "input.l[-1]",
        "input.l[9223372036854775807]",
        "input.nope.nope",
        "{'a': 1}.b",
        "input.b + 1",
        "input.n + input.d",
        "timestamp(9223372036854775807)",
        "timestamp('9999-12-31T23:59:59Z') + duration('2562047h')",
        "timestamp('0001-01-01T00:00:00Z') - duration('2562047h')",
        "duration('9223372036854775807h')",
        "duration('2562047h') + duration('2562047h')",
        "timestamp('2026-01-01T00:00:00Z').getHours('+99999999999:00')",
        "timestamp('2026-01-01T00:00:00Z').getHours('+1é:00')",
        "string(b'\\xff')",
        "input.s[0]",
        "{1.5: 1}",
        "{'a': 1, 'a': 2}",
        "{1: 1, 1u: 2}",
    ] {
        assert_eq!(
            code(&whole(expression), input),
            "EXPRESSION_FAILED",
            "{expression}"
        );
    }
}

#[test]
fn a_failure_tells_no_payload_data() {
    let input = r#"{"s":"secret","t":"+secret"}"#;
    for expression in [
        "duration(input.s)",
        "timestamp(input.s)",
        "int(input.s)",
        "uint(input.s)",
        "double(input.s)",
        "bool(input.s)",
        "input[input.s]",
        "{'a': 1}[input.s]",
        "timestamp('2026-01-01T00:00:00Z').getHours(input.s)",
        "timestamp('2026-01-01T00:00:00Z').getHours(input.t)",
        "input.s + 1",
        "-input.s",
        "{input.s: 1, input.s: 2}",
    ] {
        let error = evaluate(&whole(expression), input).expect_err(expression);
        assert!(!error.message.contains("secret"), "{error}");
    }
}

#[test]
fn no_value_holds_a_nul_because_no_payload_does() {
    for value in [
        r#""${{ 'a\\u0000b' }}""#,
        r#""${{ 'a\\x00b' }}""#,
        r#""${{ '\\000' }}""#,
        r#""${{ string(b'\\000') }}""#,
        r#""${{ {'\\u0000': 1} }}""#,
        r#""${{ input['\\u0000'] }}""#,
        r#""x ${{ '\\u0000' }}""#,
        r#""${{ 'a\0b' }}""#,
        r#""a\0b""#,
        r#"{"a\0b": 1}"#,
    ] {
        assert!(definition(&format!("input: {value}")).is_err(), "{value}");
    }
    // A description or a label with one was accepted, and could not be read back from the store.
    let source = b"apiVersion: amends/v1\nname: test\ndescription: \"a\\0b\"\nsteps: [{id: a, call: a.b, compensate: {none: x}}]\n";
    let codes: Vec<&str> = check(source)
        .diagnostics
        .iter()
        .map(|found| found.code)
        .collect();
    assert_eq!(codes, ["ENCODING"]);
}

#[test]
fn bounds_hold_in_every_field_that_takes_an_expression() {
    let long = |bytes: usize| format!("'{}' == ''", "x".repeat(bytes - "'' == ''".len()));
    let deep = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    let nested = |depth: usize| {
        let open: String = (0..depth).map(|nth| format!("[1].all(v{nth}, ")).collect();
        format!("{open}true{}", ")".repeat(depth))
    };
    let within = [
        long(EXPRESSION_BYTES_MAX),
        deep(EXPRESSION_DEPTH_MAX),
        nested(EXPRESSION_COMPREHENSIONS_MAX),
    ];
    let beyond = [
        (long(EXPRESSION_BYTES_MAX + 1), "EXPRESSION_TOO_LONG"),
        (deep(EXPRESSION_DEPTH_MAX + 1), "EXPRESSION_TOO_DEEP"),
        (
            nested(EXPRESSION_COMPREHENSIONS_MAX + 1),
            "EXPRESSION_TOO_DEEP",
        ),
    ];
    let fields = |expression: &str| {
        let (bare, value) = (quoted(expression), whole(expression));
        [
            format!("when: {bare}"),
            format!("input: {value}"),
            format!("input: {{a: [{value}]}}"),
            format!(
                "input: {}",
                quoted(&format!("text ${{{{ {expression} }}}}"))
            ),
        ]
    };
    for expression in within {
        for field in fields(&expression) {
            assert_eq!(definition(&field).map(|_| ()), Ok(()), "{field}");
        }
    }
    for (expression, code) in beyond {
        for field in fields(&expression) {
            assert_eq!(definition(&field).err(), Some(vec![code]), "{field}");
        }
    }
}

#[test]
fn the_deepest_expressions_fit_into_half_the_stack_of_a_worker() {
    let around = |open: &str, close: &str, inner: &str| {
        let mut deepest = None;
        for times in 1..=EXPRESSION_DEPTH_MAX {
            let expression = format!("{}{inner}{}", open.repeat(times), close.repeat(times));
            if definition(&format!("input: {}", whole(&expression))).is_ok() {
                deepest = Some(expression);
            }
        }
        deepest.expect(open)
    };
    for expression in [
        around("(1+", ")", "input.n"),
        around("[", "]", "input.n"),
        around("{'a': ", "}.a", "input.n"),
        around("size([", "])", "input.n"),
        around("(1 in [", "])", "input.n"),
        around("[", "][0]", "input.n"),
        around("string(", ")", "input.n"),
        around("(true ? ", " : 1)", "input.n"),
        around("", ".map(x, [x])", "[input.n]"),
        around("", ".filter(x, true)", "[input.n]"),
        around("", ".map(x, [x].exists_one(y, true))", "[input.n]"),
        around("", ".map(x, [x].all(y, y == y && y in [y]))", "[true]"),
    ] {
        assert_eq!(code(&whole(&expression), r#"{"n":1}"#), "", "{expression}");
    }
}

/// Nothing that a string or a comment hides from a count of brackets makes the parser recurse without bound.
#[test]
fn brackets_behind_strings_and_comments_are_counted() {
    let fill = |head: &str, unit: &str| {
        let times = (EXPRESSION_BYTES_MAX - head.len()) / unit.len();
        format!("{head}{}", unit.repeat(times))
    };
    for head in [
        "r'\\' == ",
        "1 // it's\n + ",
        "'''\"''' == ",
        "bR\"\\\" == ",
    ] {
        for unit in ["(", "[", "f(", "{1:", "a[", "(1+", "[1].all(x,"] {
            let field = format!("when: {}", quoted(&fill(head, unit)));
            assert_eq!(
                definition(&field).err(),
                Some(vec!["EXPRESSION_TOO_DEEP"]),
                "{field}"
            );
        }
    }
    assert_eq!(
        evaluate(&whole(r"r'\' + r'}}'"), "{}").as_deref(),
        Ok(r#""\\}}""#)
    );
    for chain in ["a?b:", "!", "-", "a||", "a&&", "a.b().", "a in ", "1 < "] {
        let field = format!("when: {}", quoted(&format!("{}a", fill("", chain))));
        if let Err(codes) = definition(&field) {
            assert!(!codes.contains(&"OUT_OF_RESOURCES"), "{chain}");
        }
    }
}

/// A schema with many alternatives against a list with many items takes as many comparisons as both multiply to.
#[test]
fn a_schema_that_multiplies_with_a_payload_refuses_it_unseen() {
    let alternatives: Vec<String> = (0..3_000).map(|n| format!("{{const: {n}}}")).collect();
    let source = format!(
        "apiVersion: amends/v1\nname: costly\ninputSchema: {{items: {{oneOf: [{}]}}}}\nsteps:\n  - {{id: a, kind: retriable, call: p.a}}\n",
        alternatives.join(", ")
    );
    let definition = amends_definitions::check(source.as_bytes())
        .definition
        .expect("within the bounds of a schema");
    let schema = definition.input_schema().expect("it has one");
    let list = |items: usize| {
        let text = format!("[{}]", vec!["1"; items].join(","));
        amends_definitions::Payload::check(text.into_bytes().into()).expect("JSON")
    };
    assert_eq!(schema.check(&list(100)), Ok(()));
    let refused = schema.check(&list(100_000)).expect_err("too much work");
    assert!(
        refused[0]
            .1
            .contains("the most that are held against a schema of"),
        "{refused:?}"
    );
}
