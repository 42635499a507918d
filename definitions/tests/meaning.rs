//! What the language means once it is read: defaults and whose they are, the roots that exist in some places alone, and every
//! bound of it at n and at n + 1. How documents are refused is in the corpus.

use std::time::Duration;

use amends_definitions::limits::{
    CODE_BYTES_MAX, CONCURRENCY_MAX, ENTRIES_MAX, ITEMS_MAX, PARTICIPANT_ACTIONS_MAX,
    SCHEMA_PATTERNS_MAX,
};
use amends_definitions::{
    Compensation, Concurrency, Deadline, Definition, OnLimit, Payload, Scope, Sleep, Step, Then,
    Work, check, render,
};

const EVERY_CONSTRUCT: &str = include_str!("../corpus/accepted/every-construct.saga.yaml");
const SECOND: Duration = Duration::from_secs(1);

fn definition(source: &str) -> Definition {
    let checked = check(source.as_bytes());
    checked.definition.unwrap_or_else(|| {
        panic!(
            "{}",
            render("test", source.as_bytes(), &checked.diagnostics)
        )
    })
}

fn with_steps(top: &str, steps: &str) -> String {
    format!("apiVersion: amends/v1\nname: test\n{top}\nsteps:\n{steps}\n")
}

fn step<'d>(definition: &'d Definition, id: &str) -> &'d Step {
    definition.step(definition.step_index(id).expect("the step is there"))
}

fn payload(json: &str) -> Payload {
    Payload::check(json.to_owned().into()).expect("a payload")
}

fn text(payload: &Payload) -> &str {
    std::str::from_utf8(payload.as_bytes()).expect("JSON is UTF-8")
}

fn codes(source: &str) -> Vec<&'static str> {
    let found = check(source.as_bytes()).diagnostics;
    found.iter().map(|found| found.code).collect()
}

#[test]
fn a_definition_says_of_its_sagas_what_its_document_says() {
    let definition = definition(EVERY_CONSTRUCT);
    let ordering_key = definition.ordering_key().expect("an ordering key");
    assert_eq!(ordering_key.source(), "input.customer");
    let days = |days: u64| days * 24 * 60 * 60 * SECOND.as_secs();
    assert_eq!(
        definition.deadline(),
        Some(Deadline {
            after: Duration::from_secs(days(30)),
            then: Then::Park
        })
    );
    assert_eq!(
        definition.concurrency(),
        Some(Concurrency {
            max: 100,
            on_limit: OnLimit::Reject
        })
    );
    assert_eq!(definition.retention(), Duration::from_secs(days(90)));
    let signals: Vec<(&str, bool)> = definition
        .signals()
        .iter()
        .map(|(id, signal)| (id.as_str(), signal.schema().is_some()))
        .collect();
    assert_eq!(signals, [("approved", true), ("hurried", false)]);
    assert_eq!(
        definition.compensation().park_after,
        Duration::from_secs(36 * 60 * 60)
    );
}

#[test]
fn holes_are_filled_from_the_participant_then_from_the_defaults() {
    let definition = definition(EVERY_CONSTRUCT);
    let reserve = step(&definition, "reserve");
    assert_eq!(reserve.timeouts().attempt, 20 * SECOND);
    assert_eq!(reserve.timeouts().schedule, Some(7200 * SECOND));
    assert_eq!(reserve.timeouts().heartbeat, Some(5 * SECOND));
    assert_eq!(reserve.retry().initial_interval, 2 * SECOND);
    assert_eq!(reserve.retry().max_attempts, 4);
    assert_eq!(reserve.retry().non_retryable, ["ALSO_BROKEN", "BROKEN"]);
    let settle = step(&definition, "settle");
    assert_eq!(settle.timeouts().attempt, 25 * SECOND);
    assert_eq!(settle.retry().max_attempts, 7);
}

#[test]
fn what_bounds_calls_does_not_bound_compensations() {
    let definition = definition(EVERY_CONSTRUCT);
    let Compensation::Call(undo) = step(&definition, "reserve").compensation() else {
        panic!("a call undoes it");
    };
    // Its own attempt, the compensations' total, the participant's heartbeat and first interval, but not its bounds.
    assert_eq!(undo.timeouts().attempt, 15 * SECOND);
    assert_eq!(undo.timeouts().total, Some(2 * 24 * 3600 * SECOND));
    assert_eq!(undo.timeouts().heartbeat, Some(5 * SECOND));
    assert_eq!(undo.retry().initial_interval, 2 * SECOND);
    assert_eq!(undo.retry().max_attempts, 0);
}

#[test]
fn a_retriable_step_is_not_bounded_by_the_defaults_of_others() {
    let definition = definition(&with_steps(
        "participants: {a: {retry: {maxAttempts: 2, maxElapsed: 1h, jitter: 0}}}\ndefaults: {retry: {maxAttempts: 3}}",
        "  - {id: one, kind: retriable, call: a.one}\n  - {id: two, kind: retriable, call: a.two, retry: {maxAttempts: 5}}",
    ));
    let retry = step(&definition, "one").retry();
    assert_eq!((retry.max_attempts, retry.max_elapsed), (0, None));
    assert_eq!(retry.jitter.to_bits(), 0.0_f64.to_bits());
    assert_eq!(step(&definition, "two").retry().max_attempts, 5);
}

#[test]
fn a_wait_whose_time_is_over_compensates_or_parks_where_it_cannot() {
    let definition = definition(&with_steps(
        "signals: {go: {}}",
        "  - {id: before, wait: {signal: go, timeout: 1h}}\n  - {id: behind, kind: retriable, wait: {signal: go}}",
    ));
    let wait = |id| match step(&definition, id).work() {
        Work::Wait(wait) => (wait.signal(), wait.timeout(), wait.on_timeout()),
        _ => panic!("a wait"),
    };
    assert_eq!(
        wait("before"),
        ("go", Some(3600 * SECOND), Then::Compensate)
    );
    assert_eq!(wait("behind"), ("go", None, Then::Park));
}

#[test]
fn undoing_a_step_is_a_call_or_its_child_or_nothing() {
    let definition = definition(EVERY_CONSTRUCT);
    for (id, expected) in [
        ("reserve", "call"),
        ("announce", "nothing"),
        ("approval", "nothing"),
        ("refuse", "nothing"),
        ("invoice", "child"),
        ("settle", "nothing"),
        ("archive", "nothing"),
    ] {
        let found = match step(&definition, id).compensation() {
            Compensation::Call(_) => "call",
            Compensation::Child => "child",
            Compensation::NotApplicable => "nothing",
            Compensation::None { .. } => "none",
        };
        assert_eq!(found, expected, "{id}");
    }
}

#[test]
fn a_signal_is_seen_once_it_has_come() {
    let definition = definition(&with_steps(
        "signals: {go: {}, stop: {}}\noutput: {by: '${{ signals.go.by }}', stopped: '${{ has(signals.stop) }}', went: '${{ has(signals.go.by) }}'}",
        "  - {id: one, wait: {signal: go}}\n  - {id: two, wait: {signal: stop}}",
    ));
    let output = definition.output().expect("an output");
    let (input, go) = (payload("{}"), payload(r#"{"by":"me","n":12}"#));
    let mut scope = Scope {
        signals: vec![("go", Some(&go)), ("stop", None)],
        ..Scope::of_input(&input)
    };
    let value = output.evaluate(&scope).expect("a value");
    assert_eq!(text(&value), r#"{"by":"me","stopped":false,"went":true}"#);
    scope.signals = vec![("go", None), ("stop", None)];
    let error = output.evaluate(&scope).expect_err("nothing has come");
    assert_eq!(error.message, "`signals.go.by`: no signal `go` has come");
}

#[test]
fn an_item_is_seen_under_its_name() {
    let definition = definition(&with_steps(
        "",
        "  - {id: one, foreach: {in: input.cars, as: car, key: car.city}, call: a.one, input: {all: '${{ car }}', double: '${{ car.n * 2 }}'}, compensate: {call: a.undo, input: '${{ car.city }}'}}",
    ));
    let one = step(&definition, "one");
    let foreach = one.foreach().expect("it is for each");
    assert_eq!(foreach.name(), "car");
    let (input, car) = (
        payload(r#"{"cars":[{"city":"Rome","n":3}]}"#),
        payload(r#"{"city":"Rome","n":3}"#),
    );
    let scope = Scope {
        item: Some(("car", &car)),
        ..Scope::of_input(&input)
    };
    let key = foreach.key().expect("a key").evaluate_key(&scope);
    assert_eq!(key.as_deref(), Ok("Rome"));
    let mapping = one.call().and_then(|call| call.input()).expect("an input");
    assert_eq!(
        text(&mapping.evaluate(&scope).expect("a value")),
        r#"{"all":{"city":"Rome","n":3},"double":6}"#
    );
    let Compensation::Call(undo) = one.compensation() else {
        panic!("a call undoes it");
    };
    let undo = undo.input().expect("an input").evaluate(&scope);
    assert_eq!(text(&undo.expect("a value")), r#""Rome""#);
    let error = mapping.evaluate(&Scope::of_input(&input));
    assert_eq!(
        error.expect_err("there is no item").message,
        "`car`: there is no `car`"
    );
}

#[test]
fn a_route_sees_the_failure() {
    let definition = definition(&with_steps(
        "",
        "  - {id: one, call: a.one, compensate: {none: x}, onError: [{codes: [B, A, B], when: error.message.startsWith('gone'), then: continue, output: {code: '${{ error.code }}', all: '${{ error }}'}}]}",
    ));
    let route = &step(&definition, "one").on_error()[0];
    assert_eq!(route.codes(), ["A", "B"]);
    assert_eq!(route.then(), Then::Continue);
    let input = payload("{}");
    let scope = |message| Scope {
        error: Some(("A", message)),
        ..Scope::of_input(&input)
    };
    let when = route.when().expect("a condition");
    assert_eq!(when.evaluate_bool(&scope("gone away")), Ok(true));
    assert_eq!(when.evaluate_bool(&scope("still there")), Ok(false));
    let output = route.output().expect("an output");
    assert_eq!(
        text(&output.evaluate(&scope("g\"one")).expect("a value")),
        r#"{"all":{"code":"A","message":"g\"one"},"code":"A"}"#
    );
    let error = when.evaluate_bool(&Scope::of_input(&input));
    assert!(
        error
            .expect_err("no error")
            .message
            .contains("no `error` here")
    );
}

#[test]
fn a_large_item_costs_what_it_weighs() {
    let definition = definition(&with_steps(
        "",
        "  - {id: one, foreach: {in: input, as: big}, call: a.one, input: '${{ big.list.all(x, big.list.all(y, x == y)) }}', compensate: {none: x}}",
    ));
    let big = payload(&format!("{{\"list\":[{}]}}", vec!["1"; 5000].join(",")));
    let input = payload("[]");
    let scope = Scope {
        item: Some(("big", &big)),
        ..Scope::of_input(&input)
    };
    let call = step(&definition, "one").call().expect("a call");
    let error = call.input().expect("an input").evaluate(&scope);
    assert_eq!(error.expect_err("too much").code, "COST_EXCEEDED");
}

#[test]
fn a_sleep_is_for_a_while_or_until_a_time() {
    let definition = definition(&with_steps(
        "",
        "  - {id: short, sleep: 1m30s}\n  - {id: long, sleep: {until: '${{ input.due }}'}}",
    ));
    assert!(matches!(
        step(&definition, "short").work(),
        Work::Sleep(Sleep::For(time)) if *time == 90 * SECOND
    ));
    let Work::Sleep(Sleep::Until(until)) = step(&definition, "long").work() else {
        panic!("until a time");
    };
    assert_eq!(until.source(), "input.due");
}

#[test]
fn bad_input_of_the_language_is_refused_by_its_number() {
    let call =
        |rest: &str| format!("  - {{id: one, call: a.one, compensate: {{none: x}}, {rest}}}");
    let cycle = "  - {id: one, needs: [two], sleep: 1s}\n  - {id: two, needs: [one], sleep: 1s}";
    let second = "\n  - {id: two, kind: pivot, call: a.two}";
    for (number, top, steps, code) in [
        ("B28", "", cycle.to_owned(), "CYCLE"),
        ("B28", "", call("needs: [one]"), "CYCLE"),
        ("B28", "", call("needs: [two]"), "UNKNOWN_STEP"),
        ("B28", "", format!("{}\n{}", call(""), call("")), "DUPLICATE_STEP"),
        ("B28", "", "  - {id: one, fail: {code: GONE}}\n  - {id: two, sleep: 1s}".into(), "UNREACHABLE_STEP"),
        ("B29", "", format!("  - {{id: one, kind: pivot, call: a.one}}{second}"), "NOT_WELL_FORMED"),
        ("B29", "", format!("  - {{id: one, kind: retriable, call: a.one}}{second}"), "NOT_WELL_FORMED"),
        ("B29", "", "  - {id: one, kind: pivot, foreach: {in: input}, call: a.one}".into(), "NOT_WELL_FORMED"),
        ("B29", "", "  - {id: one, kind: retriable, call: a.one, onError: [{codes: [EXHAUSTED], then: compensate}]}".into(), "NOT_WELL_FORMED"),
        ("B30", "", "  - {id: one, call: a.one}".into(), "COMPENSATION_MISSING"),
        ("B31", "", call("retry: {maxAttempts: -1}"), "RETRY_BOUNDS"),
        ("B31", "", call("retry: {backoff: .nan}"), "RETRY_BOUNDS"),
        ("B31", "", call("retry: {initialInterval: 2m, maxInterval: 1m}"), "RETRY_BOUNDS"),
        ("B32", "", call("timeout: 0s"), "DURATION"),
        ("B32", "timeout: 1m", call("timeout: 2m"), "TIMEOUT_ABOVE_DEADLINE"),
        ("B32", "", call("timeout: {attempt: 5s, heartbeat: 6s}"), "HEARTBEAT_ABOVE_ATTEMPT"),
        ("B33", "", call("when: input +"), "EXPRESSION_SYNTAX"),
        ("B33", "", call("when: order.id == 1"), "UNKNOWN_ROOT"),
        ("B33", "", call("when: size(input)"), "EXPRESSION_TYPE"),
        ("B33", "", format!("{}{second}", call("when: steps.two.output")), "NOT_AN_ANCESTOR"),
        ("B34", "", call("when: \"input.matches('(a{64}){64}')\""), "EXPRESSION_PATTERN"),
    ] {
        let found = codes(&with_steps(top, &steps));
        assert!(found.contains(&code), "{number}: {steps}: {found:?}");
    }
}

#[test]
fn whole_numbers_are_taken_at_n_and_not_at_n_plus_1() {
    let items = |max: u32| {
        let foreach = format!("foreach: {{in: input, maxParallel: {max}, maxItems: {max}}}");
        with_steps("", &format!("  - {{id: one, {foreach}, sleep: 1s}}"))
    };
    assert_eq!(codes(&items(ITEMS_MAX)), Vec::<&str>::new());
    assert_eq!(codes(&items(1)), Vec::<&str>::new());
    assert_eq!(codes(&items(ITEMS_MAX + 1)), ["OUT_OF_BOUNDS"; 2]);
    assert_eq!(codes(&items(0)), ["OUT_OF_BOUNDS"; 2]);
    let concurrency = |max: u64| {
        let top = format!("concurrency: {{max: {max}}}");
        with_steps(&top, "  - {id: one, sleep: 1s}")
    };
    let max = u64::from(CONCURRENCY_MAX);
    assert_eq!(codes(&concurrency(max)), Vec::<&str>::new());
    assert_eq!(codes(&concurrency(max + 1)), ["OUT_OF_BOUNDS"]);
    assert_eq!(codes(&concurrency(u64::MAX)), ["OUT_OF_BOUNDS"]);
}

#[test]
fn lists_and_codes_are_taken_at_n_and_not_at_n_plus_1() {
    let route = "{codes: [A], when: error.code == 'B', then: park}";
    let routes = |n: usize| {
        let routes = vec![route; n].join(", ");
        with_steps(
            "",
            &format!("  - {{id: one, sleep: 1s, onError: [{routes}]}}"),
        )
    };
    let all_codes = |n: usize, code: &str| {
        let codes = vec![code; n].join(", ");
        let route = format!("{{codes: [{codes}], then: park}}");
        with_steps(
            "",
            &format!("  - {{id: one, sleep: 1s, onError: [{route}]}}"),
        )
    };
    let actions = |n: usize| {
        let actions: Vec<String> = (0..n).map(|n| format!("a{n}")).collect();
        let top = format!("participants: {{p: {{actions: [{}]}}}}", actions.join(", "));
        with_steps(&top, "  - {id: one, sleep: 1s}")
    };
    let participants = |n: usize| {
        let participants: Vec<String> = (0..n).map(|n| format!("p{n}: {{}}")).collect();
        let top = format!("participants: {{{}}}", participants.join(", "));
        with_steps(&top, "  - {id: one, sleep: 1s}")
    };
    let signals = |n: usize| {
        let signals: Vec<String> = (0..n).map(|n| format!("s{n}: {{}}")).collect();
        let waits: Vec<String> = (0..n)
            .map(|n| format!("  - {{id: w{n}, wait: {{signal: s{n}}}}}"))
            .collect();
        let top = format!("signals: {{{}}}", signals.join(", "));
        with_steps(&top, &waits.join("\n"))
    };
    let code = |bytes: usize| all_codes(1, &"A".repeat(bytes));
    for (at_n, above, expected) in [
        (routes(ENTRIES_MAX), routes(ENTRIES_MAX + 1), "TOO_MANY"),
        (
            all_codes(ENTRIES_MAX, "A"),
            all_codes(ENTRIES_MAX + 1, "A"),
            "TOO_MANY",
        ),
        (
            actions(PARTICIPANT_ACTIONS_MAX),
            actions(PARTICIPANT_ACTIONS_MAX + 1),
            "TOO_MANY",
        ),
        (
            participants(ENTRIES_MAX),
            participants(ENTRIES_MAX + 1),
            "TOO_MANY",
        ),
        (code(CODE_BYTES_MAX), code(CODE_BYTES_MAX + 1), "TOO_LONG"),
    ] {
        assert_eq!(codes(&at_n), Vec::<&str>::new());
        assert_eq!(codes(&above), [expected]);
    }
    assert_eq!(codes(&signals(ENTRIES_MAX)), Vec::<&str>::new());
    assert_eq!(codes(&signals(ENTRIES_MAX + 1))[0], "TOO_MANY");
}

#[test]
fn the_patterns_of_all_schemas_count_together() {
    let source = |n: usize| {
        let schema = |n: usize| format!("{{anyOf: [{}]}}", vec!["{pattern: a}"; n].join(", "));
        let half = SCHEMA_PATTERNS_MAX / 2;
        let top = format!(
            "inputSchema: {}\nsignals: {{go: {{schema: {}}}}}",
            schema(half),
            schema(1)
        );
        let step = format!(
            "  - {{id: one, saga: {{name: child}}, outputSchema: {}}}\n  - {{id: two, wait: {{signal: go}}}}",
            schema(n - half - 1)
        );
        with_steps(&top, &step)
    };
    assert_eq!(codes(&source(SCHEMA_PATTERNS_MAX)), Vec::<&str>::new());
    assert_eq!(codes(&source(SCHEMA_PATTERNS_MAX + 1)), ["SIGNAL_SCHEMA"]);
}

#[test]
fn defaults_that_make_a_definition_too_large_are_refused() {
    let codes_of_policy: Vec<String> = (0..ENTRIES_MAX)
        .map(|n| format!("C{n}_{}", "X".repeat(CODE_BYTES_MAX - 5)))
        .collect();
    let source = |steps: usize| {
        let top = format!(
            "defaults: {{retry: {{nonRetryable: [{}]}}}}",
            codes_of_policy.join(", ")
        );
        let steps: Vec<String> = (0..steps)
            .map(|n| format!("  - {{id: s{n}, call: a.b, compensate: {{none: x}}}}"))
            .collect();
        with_steps(&top, &steps.join("\n"))
    };
    assert_eq!(codes(&source(200)), Vec::<&str>::new());
    assert_eq!(codes(&source(400)), ["DOCUMENT_TOO_LARGE"]);
}
