//! Going forward.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::{Acknowledged, StartRefusal};

use crate::pump::{Pump, definition, failed, payload, rejected, succeeded};

pub const ORDER: &str = r#"
apiVersion: amends/v1
name: place-order
steps:
  - id: reserve
    call: inventory.reserve
    input: {sku: "${{ input.sku }}"}
    retry: {initialInterval: 1s, backoff: 2, jitter: 0, maxAttempts: 3}
    compensate: {call: inventory.release}
  - id: charge
    kind: pivot
    call: payments.charge
    retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}
  - id: ship
    kind: retriable
    call: shipping.create
    input: {reserved: "${{ steps.reserve.output.ok }}"}
  - id: notify
    kind: retriable
    when: has(input.email)
    call: mail.send
output: {shipped: "${{ steps.ship.output.ok }}"}
"#;

#[test]
fn a_saga_runs_its_steps_in_order_and_one_row_holds_what_follows_from_an_answer() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a","email":"x@y"}"#);
    assert_eq!(pump.out(), ["reserve:forward:1"]);
    assert_eq!(pump.command("reserve").input, payload(r#"{"sku":"a"}"#));
    for step in ["reserve", "charge", "ship", "notify"] {
        assert_eq!(pump.answer(step, succeeded()), Acknowledged::Recorded);
    }
    assert_eq!(pump.state(saga), SagaState::Completed);
    assert_eq!(
        pump.facts(saga),
        [
            "started",
            "scheduled forward reserve",
            "succeeded forward reserve:1",
            "scheduled forward charge",
            "succeeded forward charge:1",
            "scheduled forward ship",
            "succeeded forward ship:1",
            "scheduled forward notify",
            "succeeded forward notify:1",
            "completed",
        ]
    );
    assert_eq!(
        pump.journal.len(),
        5,
        "a start and four answers are five rows"
    );
    assert_eq!(
        pump.folded(saga).output(),
        Some(&payload(r#"{"shipped":true}"#))
    );
    assert_eq!(pump.shard.active(), 0, "what has ended leaves memory");
}

#[test]
fn a_step_whose_condition_is_false_is_skipped() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    for step in ["reserve", "charge", "ship"] {
        pump.answer(step, succeeded());
    }
    assert_eq!(pump.state(saga), SagaState::Completed);
    assert!(pump.facts(saga).contains(&"skipped notify".to_owned()));
}

#[test]
fn a_failed_attempt_is_tried_again_when_it_is_due_and_not_before() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", failed());
    assert!(pump.out().is_empty());
    pump.pass(Duration::from_millis(999));
    assert!(pump.out().is_empty());
    pump.pass(Duration::from_millis(1));
    assert_eq!(pump.out(), ["reserve:forward:2"]);
    pump.answer("reserve", failed());
    pump.pass(Duration::from_secs(2));
    assert_eq!(pump.out(), ["reserve:forward:3"]);
    pump.answer("reserve", succeeded());
    assert_eq!(
        pump.facts(saga)[2..5],
        [
            "failed forward reserve:1 again",
            "failed forward reserve:2 again",
            "succeeded forward reserve:3"
        ]
    );
}

#[test]
fn an_attempt_that_takes_too_long_is_unknown_and_tried_again() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let first = pump.send("reserve");
    pump.pass(Duration::from_secs(30));
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("unknown forward reserve:1 again")
    );
    pump.pass(Duration::from_secs(1));
    // F27: the result of the attempt that timed out decides, and the newer attempt is taken back.
    assert_eq!(
        pump.reply(&first, succeeded(), None),
        Acknowledged::Recorded
    );
    assert_eq!(pump.withdrawals.len(), 2);
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("scheduled forward charge")
    );
}

#[test]
fn a_command_that_waits_for_a_participant_does_not_use_up_its_time() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.pass(Duration::from_secs(3_600));
    assert_eq!(pump.out(), ["reserve:forward:1"]);
    assert_eq!(pump.state(saga), SagaState::Running);
}

#[test]
fn nobody_serves_a_step_within_its_schedule_time() {
    let yaml = r#"
apiVersion: amends/v1
name: a
steps:
  - {id: one, call: p.one, timeout: {attempt: 5s, schedule: 10s}, compensate: {call: p.undo}}
"#;
    let mut pump = Pump::new();
    let saga = pump.start(&definition(yaml), "{}");
    pump.pass(Duration::from_secs(10));
    assert_eq!(pump.withdrawals.len(), 1);
    pump.never_sent("one");
    assert_eq!(
        pump.facts(saga)[2..],
        [
            "withdrawn one SCHEDULE_TIMEOUT",
            "abort STEP_FAILED SCHEDULE_TIMEOUT",
            "compensated"
        ]
    );
}

#[test]
fn nobody_serves_a_step_within_the_time_of_all_attempts() {
    let yaml = r#"
apiVersion: amends/v1
name: a
steps:
  - {id: one, call: p.one, timeout: {attempt: 5s, total: 10s}, compensate: {call: p.undo}}
"#;
    let mut pump = Pump::new();
    let saga = pump.start(&definition(yaml), "{}");
    pump.pass(Duration::from_secs(10));
    pump.never_sent("one");
    assert_eq!(pump.facts(saga)[2], "withdrawn one TOTAL_TIMEOUT");
}

#[test]
fn independent_steps_run_side_by_side() {
    let yaml = r#"
apiVersion: amends/v1
name: trip
steps:
  - {id: flight, needs: [], call: p.flight, compensate: {call: p.cancel}}
  - {id: hotel, needs: [], call: p.hotel, compensate: {call: p.cancel}}
  - {id: pay, needs: [flight, hotel], kind: pivot, call: p.pay}
"#;
    let mut pump = Pump::new();
    let saga = pump.start(&definition(yaml), "{}");
    assert_eq!(pump.out(), ["flight:forward:1", "hotel:forward:1"]);
    pump.answer("hotel", succeeded());
    assert_eq!(pump.out(), ["flight:forward:1"]);
    pump.answer("flight", succeeded());
    pump.answer("pay", succeeded());
    assert_eq!(pump.state(saga), SagaState::Completed);
}

#[test]
fn a_key_has_one_saga_and_another_input_is_refused() {
    let mut pump = Pump::new();
    let order = definition(ORDER);
    let first = pump.offer_start(&order, r#"{"sku":"a"}"#, Some("k"), None);
    let same = pump.offer_start(&order, r#"{ "sku" : "a" }"#, Some("k"), None);
    let other = pump.offer_start(&order, r#"{"sku":"b"}"#, Some("k"), None);
    pump.run();
    let answer = |token: u64| pump.started[&token].clone();
    assert!(answer(first.0).expect("it starts").created);
    let second = answer(same.0).expect("it exists");
    assert_eq!((second.created, second.saga), (false, first.1));
    assert_eq!(
        answer(other.0),
        Err(StartRefusal::KeyReused { saga: first.1 })
    );
    assert_eq!(pump.states.len(), 1);
}

#[test]
fn an_expression_without_a_value_fails_its_step_before_anything_is_sent() {
    let yaml = r#"
apiVersion: amends/v1
name: a
steps:
  - {id: one, call: p.one, compensate: {call: p.undo}}
  - {id: two, call: p.two, input: {x: "${{ input.missing }}"}, compensate: {call: p.undo}}
"#;
    let mut pump = Pump::new();
    let saga = pump.start(&definition(yaml), "{}");
    pump.answer("one", succeeded());
    assert_eq!(
        pump.facts(saga)[3..],
        [
            "step_failed two EXPRESSION_FAILED",
            "abort STEP_FAILED EXPRESSION_FAILED",
            "scheduled compensate one"
        ]
    );
}

#[test]
fn a_refused_step_behind_the_pivot_parks_and_a_late_success_sets_it_going_again() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    pump.answer("charge", succeeded());
    pump.answer("ship", rejected("NO_SUCH_ADDRESS"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("incident STEP_REFUSED")
    );
}

#[test]
fn a_result_for_what_was_never_scheduled_is_unknown() {
    let mut pump = Pump::new();
    pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let mut command = pump.send("reserve");
    command.attempt = 2;
    assert_eq!(
        pump.reply(&command, succeeded(), None),
        Acknowledged::UnknownOperation
    );
    command.attempt = 1;
    command.key.step = "charge".into();
    assert_eq!(
        pump.reply(&command, succeeded(), None),
        Acknowledged::NotServed
    );
    command.key.step = "no_such".into();
    assert_eq!(
        pump.reply(&command, succeeded(), None),
        Acknowledged::UnknownOperation
    );
    command.key.step = "reserve".into();
    command.key.namespace = "other".into();
    assert_eq!(
        pump.reply(&command, succeeded(), None),
        Acknowledged::UnknownOperation
    );
}

#[test]
fn the_same_result_again_changes_nothing() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let command = pump.send("reserve");
    pump.reply(&command, succeeded(), None);
    let facts = pump.facts(saga);
    assert_eq!(pump.reply(&command, succeeded(), None), Acknowledged::Late);
    assert_eq!(pump.facts(saga), facts);
}
