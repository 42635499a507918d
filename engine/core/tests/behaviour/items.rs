//! `foreach`: items side by side, in their order, each undone by itself.

use std::time::Duration;

use amends_core::fact::Fact;
use amends_core::journal::SagaState;
use amends_core::saga::Phase;
use amends_core::shard::{Target, Verb};
use amends_core::{OperationKind, Outcome, SagaId};

use crate::pump::{Pump, definition, failed, payload, rejected, succeeded};

const CARS: &str = r#"
apiVersion: amends/v1
name: cars
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}, timeout: 10s}
steps:
  - id: hold
    foreach: {in: input.cars, as: car, key: car.city, maxParallel: 2, maxItems: 4}
    call: p.hold
    input: {city: "${{ car.city }}"}
    onError:
      - {codes: [GONE], then: continue}
      - {codes: [CLOSED], then: continue, output: {closed: "${{ car.city }}"}}
      - {codes: [ASK], then: park}
    compensate: {call: p.cancel, input: {city: "${{ car.city }}", ref: "${{ self.output.ref }}", why: "${{ self.reason }}"}}
  - {id: pay, kind: pivot, call: p.pay, input: {refs: "${{ steps.hold.output }}"}}
output: ${{ steps.hold.output }}
"#;

fn cars(cities: &[&str]) -> (Pump, SagaId) {
    let cars: Vec<String> = cities
        .iter()
        .map(|city| format!(r#"{{"city":"{city}"}}"#))
        .collect();
    let mut pump = Pump::new();
    let saga = pump.start(
        &definition(CARS),
        &format!(r#"{{"cars":[{}]}}"#, cars.join(",")),
    );
    (pump, saga)
}

/// What is out, with its items.
pub fn out(pump: &Pump) -> Vec<String> {
    let name = |command: &amends_core::shard::Command| {
        let key = &command.key;
        let kind = key.operation.as_str();
        format!("{}[{}]:{kind}:{}", key.step, key.item, command.attempt)
    };
    pump.commands.iter().map(name).collect()
}

/// Answers what is out for an item.
pub fn answer(pump: &mut Pump, step: &str, item: u32, outcome: Outcome) {
    let command = pump
        .commands
        .iter()
        .find(|command| *command.key.step == *step && command.key.item == item)
        .unwrap_or_else(|| panic!("no command for {step}[{item}]: {:?}", out(pump)))
        .clone();
    pump.reply(&command, outcome, None);
}

fn held(reference: &str) -> Outcome {
    Outcome::Succeeded {
        output: payload(&format!(r#"{{"ref":"{reference}"}}"#)),
    }
}

#[test]
fn items_run_in_their_order_and_no_more_at_a_time_than_there_is_room() {
    let (mut pump, saga) = cars(&["rome", "oslo", "bonn", "lyon"]);
    assert_eq!(out(&pump), ["hold[1]:forward:1", "hold[2]:forward:1"]);
    assert_eq!(pump.command("hold").input, payload(r#"{"city":"rome"}"#));
    answer(&mut pump, "hold", 2, held("o"));
    assert_eq!(out(&pump), ["hold[1]:forward:1", "hold[3]:forward:1"]);
    answer(&mut pump, "hold", 3, held("b"));
    answer(&mut pump, "hold", 4, held("l"));
    assert_eq!(out(&pump), ["hold[1]:forward:1"]);
    answer(&mut pump, "hold", 1, held("r"));
    assert_eq!(
        pump.command("pay").input,
        payload(r#"{"refs":[{"ref":"r"},{"ref":"o"},{"ref":"b"},{"ref":"l"}]}"#),
        "the output stands in the order of the input"
    );
    pump.answer("pay", succeeded());
    assert_eq!(pump.state(saga), SagaState::Completed);
}

#[test]
fn an_empty_list_is_done_at_once() {
    let (pump, saga) = cars(&[]);
    assert_eq!(pump.command("pay").input, payload(r#"{"refs":[]}"#));
    assert_eq!(pump.facts(saga)[1], "items_listed hold");
}

#[test]
fn what_is_no_list_of_different_items_fails_the_step_before_anything_is_sent() {
    let cases = [
        (r#"{"cars":3}"#, "ITEMS_NOT_A_LIST"),
        (r#"{"cars":{"city":"rome"}}"#, "ITEMS_NOT_A_LIST"),
        (
            r#"{"cars":[{"city":"a"},{"city":"a"}]}"#,
            "DUPLICATE_ITEM_KEY",
        ),
        (
            r#"{"cars":[{"city":1},{"city":2},{"city":3},{"city":4},{"city":5}]}"#,
            "TOO_MANY_ITEMS",
        ),
        (r#"{"cars":[{"city":"a"},{}]}"#, "EXPRESSION_FAILED"),
        ("{}", "EXPRESSION_FAILED"),
    ];
    for (input, code) in cases {
        let mut pump = Pump::new();
        let saga = pump.start(&definition(CARS), input);
        assert_eq!(
            pump.facts(saga),
            [
                "started",
                &format!("step_failed hold {code}"),
                &format!("abort STEP_FAILED {code}"),
                "compensated",
            ],
            "{input}"
        );
    }
    let (pump, _) = cars(&["1", "2", "3", "4"]);
    assert_eq!(
        pump.commands.len(),
        2,
        "as many as are allowed are accepted"
    );
}

/// Each key alone is within the budget of an expression, and they all come to more than a list's keys may cost.
const COSTLY_KEYS: &str = r#"
apiVersion: amends/v1
name: costly-keys
steps:
  - id: hold
    foreach: {in: input.cars, as: car, key: 'car + string(input.cars.map(a, input.cars.map(b, a == b)).size())'}
    call: p.hold
    compensate: {call: p.cancel}
"#;

#[test]
fn keys_that_cost_too_much_together_fail_the_step_before_anything_is_sent() {
    let start = |cars: u32| {
        let cars: Vec<String> = (0..cars).map(|nth| format!(r#""{nth}""#)).collect();
        let mut pump = Pump::new();
        let input = format!(r#"{{"cars":[{}]}}"#, cars.join(","));
        let saga = pump.start(&definition(COSTLY_KEYS), &input);
        (pump.facts(saga), pump.commands.len())
    };
    let (facts, sent) = start(30);
    assert_eq!((facts[1].as_str(), sent), ("items_listed hold", 10));
    let (facts, sent) = start(120);
    assert_eq!(facts[1], "step_failed hold COST_EXCEEDED");
    assert_eq!(
        (facts.last().map(String::as_str), sent),
        (Some("compensated"), 0)
    );
}

#[test]
fn an_item_that_is_refused_aborts_and_each_other_is_undone_by_itself_the_latest_first() {
    let (mut pump, saga) = cars(&["rome", "oslo", "bonn", "lyon"]);
    answer(&mut pump, "hold", 1, held("r"));
    answer(&mut pump, "hold", 2, held("o"));
    let awaited = pump.send("hold");
    assert_eq!(awaited.key.item, 3);
    answer(&mut pump, "hold", 4, rejected("NO"));
    pump.commands.retain(|command| command.key.item != 3);
    assert_eq!(
        out(&pump),
        ["hold[2]:compensate:1", "hold[1]:compensate:1"],
        "two at a time"
    );
    assert_eq!(
        pump.command_of(OperationKind::Compensate).input,
        payload(r#"{"city":"oslo","ref":"o","why":"NO"}"#)
    );
    pump.reply(&awaited, held("b"), None);
    assert_eq!(out(&pump), ["hold[2]:compensate:1", "hold[1]:compensate:1"]);
    answer(&mut pump, "hold", 1, succeeded());
    assert_eq!(out(&pump), ["hold[2]:compensate:1", "hold[3]:compensate:1"]);
    answer(&mut pump, "hold", 3, succeeded());
    answer(&mut pump, "hold", 2, Outcome::NothingToUndo);
    assert_eq!(pump.state(saga), SagaState::Compensated);
    let begun = pump
        .journal
        .iter()
        .flat_map(|row| &row.facts)
        .filter(|fact| matches!(fact, Fact::Scheduled { .. }))
        .count();
    assert_eq!(begun, 4 + 3);
}

#[test]
fn no_further_item_begins_after_an_abort() {
    let (mut pump, saga) = cars(&["rome", "oslo", "bonn", "lyon"]);
    answer(&mut pump, "hold", 1, rejected("NO"));
    answer(&mut pump, "hold", 2, held("o"));
    assert_eq!(out(&pump), ["hold[2]:compensate:1"]);
    answer(&mut pump, "hold", 2, succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn an_item_that_is_gone_past_leaves_null_or_what_its_route_says() {
    let (mut pump, saga) = cars(&["rome", "oslo", "bonn"]);
    answer(&mut pump, "hold", 1, rejected("GONE"));
    answer(&mut pump, "hold", 2, rejected("CLOSED"));
    answer(&mut pump, "hold", 3, held("b"));
    assert_eq!(
        pump.command("pay").input,
        payload(r#"{"refs":[null,{"closed":"oslo"},{"ref":"b"}]}"#)
    );
    pump.answer("pay", rejected("NO"));
    assert_eq!(
        out(&pump),
        ["hold[3]:compensate:1"],
        "a refusal owes nothing"
    );
    answer(&mut pump, "hold", 3, succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_parked_item_stops_its_step_alone_and_a_person_can_skip_it() {
    let (mut pump, saga) = cars(&["rome", "oslo", "bonn"]);
    answer(&mut pump, "hold", 2, rejected("ASK"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(out(&pump), ["hold[1]:forward:1", "hold[3]:forward:1"]);
    answer(&mut pump, "hold", 1, held("r"));
    answer(&mut pump, "hold", 3, held("b"));
    assert!(pump.commands.is_empty());
    let target = |item| Target {
        step: "hold".into(),
        item,
        operation: OperationKind::Forward,
    };
    let refused = pump.order(saga, Verb::Skip { target: target(1) }, false);
    assert!(refused.is_err(), "it is not parked: {refused:?}");
    assert!(
        pump.order(saga, Verb::Skip { target: target(9) }, false)
            .is_err()
    );
    let retry = Verb::Retry {
        target: target(0),
        input: None,
    };
    assert!(pump.order(saga, retry, false).is_err(), "which item?");
    pump.order(saga, Verb::Skip { target: target(2) }, false)
        .expect("it is parked");
    assert_eq!(
        pump.command("pay").input,
        payload(r#"{"refs":[{"ref":"r"},null,{"ref":"b"}]}"#)
    );
    assert_eq!(pump.state(saga), SagaState::Running);
}

#[test]
fn a_step_is_skipped_with_all_of_its_items_that_are_not_done() {
    let (mut pump, saga) = cars(&["rome", "oslo"]);
    let skip = Verb::Skip {
        target: Target {
            step: "hold".into(),
            item: 0,
            operation: OperationKind::Forward,
        },
    };
    assert!(pump.order(saga, skip.clone(), false).is_err(), "in flight");
    answer(&mut pump, "hold", 1, rejected("ASK"));
    assert!(pump.order(saga, skip.clone(), false).is_err(), "in flight");
    answer(&mut pump, "hold", 2, rejected("ASK"));
    pump.order(saga, skip, false).expect("both are parked");
    assert_eq!(
        pump.command("pay").input,
        payload(r#"{"refs":[null,null]}"#)
    );
    assert_eq!(pump.state(saga), SagaState::Running);
    assert!(pump.incidents.is_empty());
}

#[test]
fn an_items_attempts_and_a_crash_between_them_are_its_own() {
    let (mut pump, saga) = cars(&["rome", "oslo"]);
    answer(&mut pump, "hold", 1, failed());
    pump.crash();
    assert_eq!(out(&pump), ["hold[2]:forward:1"]);
    pump.pass(Duration::from_secs(1));
    assert_eq!(out(&pump), ["hold[2]:forward:1", "hold[1]:forward:2"]);
    answer(&mut pump, "hold", 2, held("o"));
    answer(&mut pump, "hold", 1, held("r"));
    let folded = pump.folded(saga);
    let step = folded.definition().step_index("hold").expect("a step");
    assert_eq!(folded.place(step).forward.phase, Phase::Succeeded);
    pump.answer("pay", succeeded());
    assert_eq!(
        pump.folded(saga).output(),
        Some(&payload(r#"[{"ref":"r"},{"ref":"o"}]"#))
    );
}
