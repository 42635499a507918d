//! Explorations of whole definitions: their ends, their broken promises, and how many states there are.

use std::sync::Arc;
use std::time::Duration;

use amends_definitions::{Definition, Payload, check};
use amends_verify::{Exploration, Options, explore, explore_telling};

fn definition(source: &str) -> Arc<Definition> {
    let checked = check(source.as_bytes());
    let diagnostics = format!("{:?}", checked.diagnostics);
    Arc::new(
        checked
            .definition
            .unwrap_or_else(|| panic!("{diagnostics}")),
    )
}

fn ends(found: &Exploration) -> Vec<&str> {
    found.ends.keys().map(String::as_str).collect()
}

const ORDER: &str = "apiVersion: amends/v1
name: place-order
steps:
  - id: reserve
    call: inventory.reserve
    input: {sku: \"${{ input.sku }}\"}
    compensate: {call: inventory.release, input: {id: \"${{ input.sku }}\"}}
  - {id: charge, kind: pivot, call: payments.charge}
  - {id: ship, kind: retriable, call: shipping.create}
";

#[test]
fn an_order_ends_done_undone_or_parked_with_its_reason() {
    let found = explore(&definition(ORDER), &Options::default());
    assert!(found.violations.is_empty(), "{:?}", found.violations);
    assert_eq!(
        ends(&found),
        [
            "compensated",
            "completed",
            "parked going forward: OUTPUT_UNUSABLE at charge",
            "parked going forward: OUTPUT_UNUSABLE at ship",
            "parked going forward: PIVOT_IN_DOUBT at charge",
            "parked going forward: STEP_REFUSED at ship",
            "parked undoing: COMPENSATION_EXHAUSTED at reserve",
            "parked undoing: COMPENSATION_REFUSED at reserve",
        ]
    );
}

#[test]
fn a_barrier_takes_the_alarm_away() {
    let bare = explore(&definition(ORDER), &Options::default());
    assert_eq!(bare.alarms.keys().collect::<Vec<_>>(), ["reserve"]);
    let options = Options {
        barrier: true,
        ..Options::default()
    };
    let behind = explore(&definition(ORDER), &options);
    assert!(behind.alarms.is_empty(), "{:?}", behind.alarms);
    assert!(behind.violations.is_empty(), "{:?}", behind.violations);
}

#[test]
fn a_compensation_that_needs_an_output_that_may_be_missing_is_found_by_the_shortest_way() {
    let source = ORDER.replace("id: \"${{ input.sku }}\"", "id: \"${{ self.output.id }}\"");
    let found = explore(&definition(&source), &Options::default());
    let broken: Vec<_> = found
        .violations
        .iter()
        .map(|broken| broken.promise.as_str())
        .collect();
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(
        broken[0].contains("the compensation of `reserve` cannot be called"),
        "{broken:?}"
    );
    let trace = &found.violations[0].trace;
    assert!(trace[0].starts_with("a saga begins"), "{trace:?}");
    assert!(trace.len() <= 4, "{trace:?}");
}

fn branches(branches: usize, length: usize) -> String {
    let mut source = String::from("apiVersion: amends/v1\nname: wide\nsteps:\n");
    source.push_str("  - {id: first, call: p.first, compensate: {call: p.undo_first}}\n");
    let mut lasts = Vec::new();
    for branch in 0..branches {
        let mut before = "first".to_owned();
        for step in 0..length {
            let id = format!("b{branch}_s{step}");
            source.push_str(&format!(
                "  - {{id: {id}, needs: [{before}], call: p.{id}, compensate: {{call: p.undo_{id}}}}}\n"
            ));
            before = id;
        }
        lasts.push(before);
    }
    source.push_str(&format!(
        "  - {{id: pay, kind: pivot, needs: [{}], call: p.pay}}\n",
        lasts.join(", ")
    ));
    source.push_str("  - {id: tell, kind: retriable, call: p.tell}\n");
    source
}

const TRACKED: &str = "apiVersion: amends/v1
name: tracked
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release, input: {id: \"${{ input.id }}\"}}}
  - {id: pay, kind: pivot, call: p.pay}
  - {id: ship, kind: retriable, call: p.ship, input: {id: \"${{ steps.pay.output.id }}\"}}
output: {tracking: \"${{ steps.ship.output.tracking }}\"}
";

/// A saga like this, all of whose steps are done, waits for a person: that is an end which authors have to see.
#[test]
fn answers_that_lack_what_is_read_of_them_lead_to_ends_for_a_person() {
    let found = explore(&definition(TRACKED), &Options::default());
    let of_expressions: Vec<_> = ends(&found)
        .into_iter()
        .filter(|end| end.contains("EXPRESSION_FAILED"))
        .collect();
    assert_eq!(
        of_expressions,
        [
            "parked going forward: EXPRESSION_FAILED",
            "parked going forward: EXPRESSION_FAILED at ship",
            "parked undoing: EXPRESSION_FAILED at hold",
        ]
    );
    assert_eq!(
        found.unassured,
        [
            "input.id",
            "steps.pay.output.id",
            "steps.ship.output.tracking"
        ]
    );
    assert!(found.violations.is_empty(), "{:?}", found.violations);
    let way = &found.ends["parked going forward: EXPRESSION_FAILED"].trace;
    assert_eq!(
        way.last().map(String::as_str),
        Some("ship succeeds, and its answer lacks tracking")
    );
}

#[test]
fn what_a_schema_requires_is_never_missing() {
    let schema = "outputSchema: {type: object, required: [id, tracking]}";
    let source = TRACKED
        .replace(
            "steps:",
            "inputSchema: {type: object, required: [id]}\nsteps:",
        )
        .replace("call: p.pay}", &format!("call: p.pay, {schema}}}"))
        .replace("call: p.ship,", &format!("call: p.ship, {schema},"));
    let found = explore(&definition(&source), &Options::default());
    assert!(found.unassured.is_empty(), "{:?}", found.unassured);
    assert!(
        ends(&found)
            .iter()
            .all(|end| !end.contains("EXPRESSION_FAILED"))
    );
}

/// Explores `source`, with a `SCHEMA` that requires nothing and with one that requires what is given, and says which ends the
/// first has and the second has not.
fn ends_without(source: &str, empty: &str, requires: &str) -> Vec<String> {
    let bare = explore(
        &definition(&source.replace("SCHEMA", empty)),
        &Options::default(),
    );
    let required = explore(
        &definition(&source.replace("SCHEMA", requires)),
        &Options::default(),
    );
    for found in [&bare, &required] {
        assert!(found.violations.is_empty(), "{:?}", found.violations);
        assert!(!found.truncated && found.ends.contains_key("completed"));
    }
    assert!(required.unassured.is_empty(), "{:?}", required.unassured);
    assert!(!bare.unassured.is_empty());
    let more = |end: &&String| !required.ends.contains_key(*end);
    bare.ends.keys().filter(more).cloned().collect()
}

#[test]
fn an_input_may_lack_what_no_schema_requires_of_it() {
    let (empty, requires) = ("{type: object}", "{type: object, required: [x]}");
    for (step, ends) in [
        (
            "call: p.ship, when: input.x == 'now'",
            "parked going forward: EXPRESSION_FAILED at ship",
        ),
        (
            "call: p.ship, input: {x: \"${{ input.x }}\"}",
            "parked going forward: EXPRESSION_FAILED at ship",
        ),
        (
            "saga: {name: s, key: input.x}",
            "parked going forward: EXPRESSION_FAILED at ship",
        ),
        (
            "call: p.ship, foreach: {in: input.x}",
            "parked going forward: EXPRESSION_FAILED at ship",
        ),
        (
            "call: p.ship}\noutput: {x: \"${{ input.x }}\"",
            "parked going forward: EXPRESSION_FAILED",
        ),
        (
            "call: p.ship}\nkey: input.x\nlabels: {a: b",
            "refused at the start: KEY_INVALID",
        ),
        (
            "call: p.ship}\norderingKey: input.x\nlabels: {a: b",
            "refused at the start: ORDERING_KEY_INVALID",
        ),
    ] {
        let source = format!(
            "apiVersion: amends/v1
name: lacking
inputSchema: SCHEMA
steps:
  - {{id: pay, kind: pivot, call: p.pay}}
  - {{id: ship, kind: retriable, {step}}}
"
        );
        assert_eq!(ends_without(&source, empty, requires), [ends], "{step}");
    }
}

/// Its effect stays: what a compensation reads has to be there.
#[test]
fn a_compensation_may_lack_what_it_reads_of_the_input() {
    let source = ORDER
        .replace("steps:", "inputSchema: SCHEMA\nsteps:")
        .replace("    input: {sku: \"${{ input.sku }}\"}\n", "");
    let ends = ends_without(&source, "{}", "{type: object, required: [sku]}");
    assert_eq!(ends, ["parked undoing: EXPRESSION_FAILED at reserve"]);
}

#[test]
fn an_input_that_is_given_lacks_nothing() {
    let source = ORDER.replace("    input: {sku: \"${{ input.sku }}\"}\n", "");
    let input = Payload::check(br#"{"sku":"s"}"#.to_vec().into()).expect("JSON");
    let options = Options {
        input: Some(input),
        ..Options::default()
    };
    let found = explore(&definition(&source), &options);
    assert!(found.unassured.is_empty(), "{:?}", found.unassured);
    assert!(
        !ends(&found)
            .iter()
            .any(|end| end.contains("EXPRESSION_FAILED"))
    );
}

#[test]
fn one_field_is_left_out_at_a_time() {
    let source = "apiVersion: amends/v1
name: lacking
steps:
  - {id: hold, call: p.hold, input: {a: \"${{ input.a }}\"}, compensate: {call: p.release}}
  - {id: pay, kind: pivot, call: p.pay}
  - {id: ship, kind: retriable, call: p.ship, input: {b: \"${{ input.b }}\"}}
";
    let found = explore(&definition(source), &Options::default());
    let way = &found.ends["parked going forward: EXPRESSION_FAILED at ship"].trace;
    assert_eq!(
        way[0],
        r#"a saga begins with {"a":"sample"}, which lacks b"#
    );
}

#[test]
fn an_item_may_lack_what_no_schema_requires_of_it() {
    let source = "apiVersion: amends/v1
name: lacking
inputSchema: {type: object, required: [cars], properties: {cars: {type: array, items: SCHEMA}}}
steps:
  - {id: pay, kind: pivot, call: p.pay}
  - id: cars
    kind: retriable
    foreach: {in: input.cars, as: car}
    call: cars.hold
    input: {city: \"${{ car.city }}\"}
";
    let ends = ends_without(source, "{type: object}", "{type: object, required: [city]}");
    assert_eq!(ends, ["parked going forward: EXPRESSION_FAILED at cars#1"]);
}

#[test]
fn a_signal_may_lack_what_no_schema_requires_of_it() {
    let source = "apiVersion: amends/v1
name: lacking
signals: {go: {schema: SCHEMA}}
steps:
  - {id: wait, wait: {signal: go}}
  - {id: pay, kind: pivot, call: p.pay}
  - {id: ship, kind: retriable, call: p.ship, input: {by: \"${{ steps.wait.output.by }}\"}}
";
    let ends = ends_without(source, "{type: object}", "{type: object, required: [by]}");
    assert_eq!(ends, ["parked going forward: EXPRESSION_FAILED at ship"]);
    let bare = explore(
        &definition(&source.replace("SCHEMA", "{}")),
        &Options::default(),
    );
    let way = bare.ends[&ends[0]].trace.join("\n");
    assert!(
        way.contains("the signal go comes, and it lacks by"),
        "{way}"
    );
}

#[test]
fn what_cannot_be_left_out_is_said() {
    let source = "apiVersion: amends/v1
name: assuming
steps:
  - {id: ship, kind: retriable, call: p.ship, input: {x: \"${{ input.of[input.which].x }}\"}}
";
    let found = explore(&definition(source), &Options::default());
    assert_eq!(
        found.assumed,
        ["`x` is there: it is read of a computed value"]
    );
}

#[test]
fn an_exploration_says_how_far_it_is_and_that_it_was_cut_short() {
    let mut told = Vec::new();
    let options = Options {
        states_max: 3_000,
        ..Options::default()
    };
    let found = explore_telling(&definition(&branches(3, 2)), &options, &mut |far| {
        told.push(far)
    });
    assert!(found.truncated);
    assert_eq!(found.states, 3_000);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].states > 1_024 && told[0].open > 0, "{told:?}");
}

/// As the README says. A debug build is optimised for this test, and other tests run beside it.
#[test]
fn twelve_steps_in_three_branches_are_explored_whole() {
    let bound = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 10 });
    let began = std::time::Instant::now();
    let found = explore(&definition(&branches(3, 3)), &Options::default());
    let took = began.elapsed();
    assert!(!found.truncated);
    assert!(found.violations.is_empty(), "{:?}", found.violations);
    eprintln!(
        "{} transitions, {} ends in {took:?}",
        found.transitions,
        found.ends.len()
    );
    assert_eq!(found.states, 349_740);
    assert!(took < bound, "{took:?}");
    assert!(found.ends.contains_key("completed"));
    assert!(
        found
            .ends
            .contains_key("parked undoing: COMPENSATION_REFUSED at b2_s1")
    );
}

#[test]
fn inputs_that_look_alike_at_first_are_told_apart() {
    let source = "apiVersion: amends/v1
name: two-ways
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release}}
  - {id: refuse, when: input.bad, fail: {code: BAD}}
  - {id: ship, kind: retriable, call: p.ship}
";
    let found = explore(&definition(source), &Options::default());
    let ends = ends(&found);
    assert!(ends.contains(&"completed"), "not bad: {ends:?}");
    assert!(ends.contains(&"compensated"), "bad: {ends:?}");
}

#[test]
fn a_child_that_is_given_up_parks_the_undoing_of_its_parent() {
    let source = "apiVersion: amends/v1
name: parent
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release}}
  - {id: child, saga: {name: child}}
  - {id: pay, kind: pivot, call: p.pay}
";
    let found = explore(&definition(source), &Options::default());
    assert!(found.violations.is_empty(), "{:?}", found.violations);
    assert!(
        ends(&found).contains(&"parked undoing: CHILD_NOT_UNDONE at child"),
        "{:?}",
        ends(&found)
    );
}
