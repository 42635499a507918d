//! What must hold for any input: no panic, no overflow, bounded time, and the same answer each time.

mod seeded;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use amends_definitions::limits::{
    DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX, DOCUMENT_NODES_MAX, STEPS_MAX,
};
use amends_definitions::{Checked, Payload, check, from_normal_form, render, to_normal_form};
use proptest::prelude::*;
use seeded::config;

const PLACE_ORDER: &str = include_str!("../corpus/accepted/place-order.saga.yaml");
const EVERY_KEY: &str = include_str!("../corpus/accepted/every-served-key.saga.yaml");
const EVERY_CONSTRUCT: &str = include_str!("../corpus/accepted/every-construct.saga.yaml");

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn checking_arbitrary_bytes_neither_panics_nor_accepts(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(checked(&bytes).definition.is_none());
    }

    #[test]
    fn checking_arbitrary_text_neither_panics_nor_accepts(text in "[ -~\\n]{0,300}|\\PC{0,200}") {
        prop_assert!(checked(text.as_bytes()).definition.is_none());
    }

    #[test]
    fn a_document_with_a_part_replaced_is_checked_without_panic(
        source in prop::sample::select(vec![EVERY_KEY, EVERY_CONSTRUCT, PLACE_ORDER]),
        at in any::<prop::sample::Index>(),
        removed in 0_usize..30,
        inserted in prop::sample::select(vec![
            "", " ", "\n", "\t", ":", "- ", "[", "]", "{", "}", "${{", "}}", "'", "\"", "&a ", "*a", "!t ", "#", "|",
            "no", "1e3", "null", "steps", "input", "0", "-1", "\u{0}", "é", "\u{2028}", "? ", "---\n", "%YAML 1.2\n", "<<: ",
        ]),
    ) {
        let at = at.index(source.len());
        let end = (at + removed).min(source.len());
        let mut mutated = source.as_bytes()[..at].to_vec();
        mutated.extend_from_slice(inserted.as_bytes());
        mutated.extend_from_slice(&source.as_bytes()[end..]);
        let checked = checked(&mutated);
        if let Some(definition) = checked.definition {
            let normal_form = to_normal_form(&definition);
            let again = from_normal_form(normal_form.as_bytes()).expect("a normal form reads back");
            prop_assert_eq!(again.hash(), definition.hash());
        }
    }

    #[test]
    fn an_arbitrary_expression_is_checked_without_panic(
        expression in "[a-z0-9_.\\[\\](){}!?:<>=&|+*/%'\" -]{1,80}|(input|steps|\\.[a-z]|\\(|\\)|\\[|\\]|\\{|\\}|'|\"|[0-9]|\\+|==|&&| \\? | : |!|,|has|all|map){1,25}"
    ) {
        let mut quoted = String::new();
        for char in expression.chars() {
            if matches!(char, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(char);
        }
        let source = format!(
            "apiVersion: amends/v1\nname: test\nkey: \"{quoted}\"\nsteps: [{{id: a, call: p.a, compensate: {{none: x}}}}]\n"
        );
        let checked = checked(source.as_bytes());
        if let Some(definition) = checked.definition {
            let normal_form = to_normal_form(&definition);
            let again = from_normal_form(normal_form.as_bytes()).expect("a normal form reads back");
            prop_assert_eq!(again.hash(), definition.hash());
        }
    }

    #[test]
    fn a_normal_form_with_a_part_replaced_is_read_without_panic(
        source in prop::sample::select(vec![EVERY_KEY, EVERY_CONSTRUCT]),
        at in any::<prop::sample::Index>(),
        removed in 0_usize..20,
        inserted in "[ -~]{0,6}",
    ) {
        let definition = check(source.as_bytes()).definition.expect("a definition");
        let normal_form = to_normal_form(&definition);
        let at = at.index(normal_form.len());
        let end = (at + removed).min(normal_form.len());
        let mutated = format!("{}{inserted}{}", &normal_form[..at], &normal_form[end..]);
        match from_normal_form(mutated.as_bytes()) {
            Ok(read) => {
                let again = to_normal_form(&read);
                let again = from_normal_form(again.as_bytes()).expect("it reads back");
                prop_assert_eq!(again.hash(), read.hash());
            }
            Err(error) => prop_assert!(!error.to_string().contains("OUT_OF_RESOURCES")),
        }
    }

    #[test]
    fn a_payload_is_accepted_just_when_another_reader_accepts_it(
        text in "[\\[\\]{}:,\"a0-9.eE+ \\\\utrnfl-]{0,24}"
    ) {
        let accepted = Payload::check(text.clone().into()).is_ok();
        let other = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        // The other one lets duplicate keys and `\u0000` pass.
        prop_assert!(!accepted || other, "{text}");
        if other && !accepted {
            prop_assert!(text.contains("\\u0000") || text.matches('"').count() >= 4, "{text}");
        }
    }

    #[test]
    fn a_canonical_form_is_canonical_and_means_the_same(value in json(4)) {
        let payload = Payload::check(value.to_string().into()).expect("JSON");
        let canonical = payload.canonical();
        let again = Payload::check(canonical.clone().into()).expect("JSON");
        prop_assert_eq!(again.canonical(), canonical.clone());
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&canonical).expect("JSON"), value);
    }
}

#[test]
fn documents_made_to_hurt_are_refused_fast() {
    let flow = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
    let keys: String = (0..1_000_000).fold(String::new(), |mut keys, n| {
        writeln!(keys, "k{n}: 1").expect("writing to a string cannot fail");
        keys
    });
    let laughs = (0..20).fold("a0: &a0 [x, x]\n".to_owned(), |mut laughs, n| {
        let reference = format!("*a{n}, ").repeat(10);
        writeln!(laughs, "a{}: &a{} [{reference}]", n + 1, n + 1)
            .expect("writing to a string cannot fail");
        laughs
    });
    let hurting: Vec<(&str, String)> = vec![
        ("DOCUMENT_TOO_DEEP", flow(10_000)),
        ("DOCUMENT_TOO_DEEP", flow(100_000)),
        ("DOCUMENT_TOO_DEEP", format!("a: {}", "{a: ".repeat(10_000))),
        ("DOCUMENT_TOO_LARGE", keys.clone()),
        ("DOCUMENT_TOO_LARGE", keys[..DOCUMENT_BYTES_MAX].to_owned()),
        ("DOCUMENT_TOO_LARGE", "x".repeat(64 * 1024 * 1024)),
        ("ALIASES_FORBIDDEN", laughs),
        (
            "DOCUMENT_TOO_LARGE",
            format!("a: [{}]", "1,".repeat(DOCUMENT_BYTES_MAX / 2 - 4)),
        ),
        ("NOT_A_MAPPING", "x".repeat(DOCUMENT_BYTES_MAX)),
        (
            "NOT_A_MAPPING",
            format!("\"{}\"", "\\n".repeat(DOCUMENT_BYTES_MAX / 2 - 1)),
        ),
    ];
    for (code, source) in hurting {
        let begin = Instant::now();
        let checked = check(source.as_bytes());
        let took = begin.elapsed();
        let codes: Vec<&str> = checked.diagnostics.iter().map(|found| found.code).collect();
        assert!(codes.contains(&code), "{code}: {codes:?}");
        // Generous for a debug build on a busy machine; a release build takes a few milliseconds.
        assert!(took < Duration::from_secs(5), "{code} took {took:?}");
    }
}

#[test]
fn limits_of_documents_hold_at_n_and_not_at_n_plus_1() {
    let codes = |source: String| {
        let found = check(source.as_bytes()).diagnostics;
        found.iter().map(|found| found.code).collect::<Vec<_>>()
    };
    let head = "apiVersion: amends/v1\nname: test\n";
    let steps = |n: usize| {
        (0..n).fold(format!("{head}steps:\n"), |mut steps, n| {
            writeln!(
                steps,
                "  - {{id: s{n}, call: a.b, compensate: {{none: x}}}}"
            )
            .expect("writing to a string cannot fail");
            steps
        })
    };
    assert_eq!(codes(steps(STEPS_MAX)), Vec::<&str>::new());
    assert_eq!(codes(steps(STEPS_MAX + 1)), ["TOO_MANY"]);
    let one = "steps: [{id: s, call: a.b, compensate: {none: x}";
    let padded = |bytes: usize| {
        let document = format!("{head}{one}}}]\n#");
        format!("{document}{}", "x".repeat(bytes - document.len()))
    };
    assert_eq!(codes(padded(DOCUMENT_BYTES_MAX)), Vec::<&str>::new());
    assert_eq!(
        codes(padded(DOCUMENT_BYTES_MAX + 1)),
        ["DOCUMENT_TOO_LARGE"]
    );
    // The top, `steps` and the step are three of the levels.
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 3), "]".repeat(depth - 3));
        format!("{head}{one}, input: {open}{close}}}]\n")
    };
    assert_eq!(codes(nested(DOCUMENT_DEPTH_MAX)), Vec::<&str>::new());
    assert_eq!(codes(nested(DOCUMENT_DEPTH_MAX + 1)), ["DOCUMENT_TOO_DEEP"]);
    let nodes = |n: usize| format!("{head}{one}, input: [{}1]}}]\n", "1,".repeat(n - 1));
    let others = 18;
    assert_eq!(
        codes(nodes(DOCUMENT_NODES_MAX - others)),
        Vec::<&str>::new()
    );
    assert_eq!(
        codes(nodes(DOCUMENT_NODES_MAX - others + 1)),
        ["DOCUMENT_TOO_LARGE"]
    );
}

#[test]
fn limits_of_texts_hold_at_n() {
    use amends_definitions::limits::{
        DESCRIPTION_BYTES_MAX, ENTRIES_MAX, ID_BYTES_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX,
    };
    let text = |bytes: usize| "a".repeat(bytes);
    let entries = |value: &str| {
        let entries: Vec<String> = (0..ENTRIES_MAX).map(|n| format!("e{n}: {value}")).collect();
        format!("{{{}}}", entries.join(", "))
    };
    // One more of each is in the corpus.
    let source = format!(
        "apiVersion: amends/v1\nname: {}\nversion: {}\ndescription: {}\nlabels: {}\nretryPolicies: {}\nsteps: [{{id: {}, call: {}.{}, compensate: {{none: {}}}}}]\n",
        text(NAME_BYTES_MAX),
        text(LABEL_BYTES_MAX),
        text(DESCRIPTION_BYTES_MAX),
        entries(&text(LABEL_BYTES_MAX)),
        entries("{maxAttempts: 1000000, backoff: 1000, jitter: 1, maxElapsed: 3650d}"),
        text(ID_BYTES_MAX),
        text(ID_BYTES_MAX),
        text(ID_BYTES_MAX),
        text(DESCRIPTION_BYTES_MAX),
    );
    let checked = check(source.as_bytes());
    assert!(checked.definition.is_some(), "{:?}", checked.diagnostics);
}

#[test]
fn patterns_are_bounded_in_number() {
    use amends_definitions::limits::DEFINITION_PATTERNS_MAX;
    let source = |n: u32| {
        let uses: Vec<&str> = (0..n).map(|_| "\"${{ 'a'.matches('a') }}\"").collect();
        format!(
            "apiVersion: amends/v1\nname: test\nsteps: [{{id: a, call: p.a, compensate: {{none: x}}, input: [{}]}}]\n",
            uses.join(", ")
        )
    };
    assert!(
        check(source(DEFINITION_PATTERNS_MAX).as_bytes())
            .definition
            .is_some()
    );
    let found = check(source(DEFINITION_PATTERNS_MAX + 1).as_bytes()).diagnostics;
    assert_eq!(
        found.iter().map(|found| found.code).collect::<Vec<_>>(),
        ["EXPRESSION_PATTERN"]
    );
}

#[test]
fn diagnostics_are_bounded_in_number() {
    use amends_definitions::limits::DIAGNOSTICS_MAX;
    let unknown = |n: usize| {
        (0..n).fold(
            "apiVersion: amends/v1\nname: test\nsteps: []\n".to_owned(),
            |mut keys, n| {
                writeln!(keys, "unknown{n}: 1").expect("writing to a string cannot fail");
                keys
            },
        )
    };
    let found = |n: usize| check(unknown(n).as_bytes()).diagnostics.len();
    assert_eq!(found(DIAGNOSTICS_MAX - 1), DIAGNOSTICS_MAX);
    assert_eq!(found(DIAGNOSTICS_MAX), DIAGNOSTICS_MAX);
}

#[test]
fn the_hash_sees_what_matters_and_not_how_it_is_written() {
    let hash = |source: &str| {
        let checked = check(source.as_bytes());
        checked.definition.expect("a definition").hash()
    };
    let plain = "apiVersion: amends/v1\nname: test\nsteps:\n- id: a\n  call: p.a\n  input: {x: 1, y: '${{ input.y }}'}\n  compensate: {none: x}\n";
    let same = "# a comment\nname: 'test'\nsteps: [{compensate: {\"none\": x}, needs: [], kind: compensatable, timeout: 30s, id: a, input: {y: \"${{ input.y }}\", x: 1}, call: p.a, retry: {maxAttempts: 10}}]\napiVersion: amends/v1\n";
    assert_eq!(hash(plain), hash(same));
    assert_ne!(hash(plain), hash(&plain.replace("x: 1", "x: 2")));
    assert_ne!(hash(plain), hash(&plain.replace("p.a", "p.b")));
    assert_ne!(hash(plain), hash(&plain.replace("input.y", "input.z")));
}

#[test]
fn a_normal_form_of_another_version_is_refused() {
    let definition = check(PLACE_ORDER.as_bytes())
        .definition
        .expect("a definition");
    let normal_form = to_normal_form(&definition);
    assert!(normal_form.starts_with("{\"v\":1,"));
    for (wrong, message) in [
        (
            normal_form.replacen("\"v\":1", "\"v\":2", 1),
            "its version is not known",
        ),
        (
            String::new(),
            "the text ends where a value is expected at byte 0",
        ),
        ("[]".to_owned(), "it is not an object"),
        ("{\"v\":1}".to_owned(), "it has no `definition`"),
        (
            normal_form.replacen("inventory.reserve", "inventory", 1),
            "ACTION: `inventory` is not `participant.action`",
        ),
        ("[".repeat(100_000), "nested deeper than 64 at byte 64"),
    ] {
        let error = from_normal_form(wrong.as_bytes()).expect_err("it is wrong");
        assert_eq!(
            error.to_string(),
            format!("not a definition in normal form: {message}")
        );
    }
}

#[test]
fn a_diagnostic_is_json() {
    let checked = check(b"apiVersion: amends/v1\nname: \"a\\\"b\"\nsteps: []\n");
    for diagnostic in checked.diagnostics {
        let json: serde_json::Value = serde_json::from_str(&diagnostic.to_json()).expect("JSON");
        assert_eq!(json["code"], diagnostic.code);
        assert_eq!(json["line"], diagnostic.line);
        assert_eq!(json["message"], diagnostic.message);
    }
}

#[test]
fn a_definition_is_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    let definition = check(PLACE_ORDER.as_bytes())
        .definition
        .expect("a definition");
    is_shared(&definition);
}

/// Checks and renders, and insists that a rejection says why.
fn checked(source: &[u8]) -> Checked {
    let checked = check(source);
    let _text = render("test.saga.yaml", source, &checked.diagnostics);
    // The checker has a thread of its own: this is how a panic there looks from here.
    let mut codes = checked.diagnostics.iter().map(|found| found.code);
    assert!(codes.all(|code| code != "OUT_OF_RESOURCES"));
    assert!(checked.definition.is_some() || !checked.diagnostics.is_empty());
    checked
}

fn json(depth: u32) -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e9_f64..1e9).prop_map(Into::into),
        "[^\u{0}]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(depth, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("[^\u{0}]{0,6}", inner, 0..6)
                .prop_map(|entries| { serde_json::Value::Object(entries.into_iter().collect()) }),
        ]
    })
}
