//! `onError`: where a failure leads, and what is owed all the same.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::{Target, Verb};
use amends_core::{OperationKind, Outcome, SagaId};

use crate::pump::{Pump, definition, failed, fatal, payload, rejected, succeeded};

const ROUTED: &str = r#"
apiVersion: amends/v1
name: routed
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}, timeout: 10s}
steps:
  - id: first
    call: p.first
    input: {x: "${{ input.x }}"}
    onError:
      - {codes: [SOFT], when: "error.message == 'never'", then: park}
      - {codes: [SOFT, EXHAUSTED], then: continue, output: {code: "${{ error.code }}"}}
      - {codes: [FATAL, EXPRESSION_FAILED], then: continue}
      - {codes: [ASK], then: park}
      - {codes: [BROKEN_ROUTE], when: "1 / input.zero == 1", then: continue}
    compensate: {call: p.undo_first, input: {out: "${{ self.output }}", error: "${{ self.error }}"}}
  - id: pay
    kind: pivot
    call: p.pay
    input: {status: "${{ steps.first.status }}", code: "${{ has(steps.first.output) && has(steps.first.output.code) ? steps.first.output.code : '' }}"}
    onError: [{codes: [LATER], then: park}, {then: compensate}]
  - {id: ship, kind: retriable, call: p.ship, retry: {maxAttempts: 1}, onError: [{codes: [SOFT], then: continue}]}
"#;

fn routed(input: &str) -> (Pump, SagaId) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ROUTED), input);
    (pump, saga)
}

const INPUT: &str = r#"{"x":1,"zero":0}"#;

#[test]
fn the_first_route_that_is_for_a_failure_lets_the_saga_go_on_with_its_output() {
    let (mut pump, saga) = routed(INPUT);
    pump.answer("first", rejected("SOFT"));
    assert_eq!(
        pump.command("pay").input,
        payload(r#"{"code":"SOFT","status":"continued"}"#)
    );
    pump.answer("pay", rejected("NO"));
    assert_eq!(
        pump.state(saga),
        SagaState::Compensated,
        "a refusal had no effect that would be owed"
    );
}

#[test]
fn fatal_outcomes_and_what_was_never_sent_have_routes_too() {
    let (mut pump, _) = routed(INPUT);
    pump.answer("first", fatal());
    assert_eq!(
        pump.command("pay").input,
        payload(r#"{"code":"","status":"continued"}"#)
    );
    let (pump, _) = routed("{}");
    assert_eq!(pump.out(), ["pay:forward:1"]);
}

#[test]
fn what_is_gone_past_after_a_possible_effect_stays_owed() {
    let (mut pump, saga) = routed(INPUT);
    pump.answer("first", failed());
    pump.pass(Duration::from_secs(1));
    pump.answer("first", failed());
    assert_eq!(
        pump.command("pay").input,
        payload(r#"{"code":"BROKEN","status":"continued"}"#)
    );
    pump.answer("pay", rejected("NO"));
    assert_eq!(pump.out(), ["first:compensate:1"]);
    assert_eq!(
        pump.command("first").input,
        payload(r#"{"error":{"code":"BROKEN","message":"it broke"},"out":null}"#),
        "what the route put in the output's place is not the action's output"
    );
    pump.answer("first", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_late_success_of_what_was_gone_past_changes_nothing_but_what_is_known() {
    let (mut pump, saga) = routed(INPUT);
    let first = pump.send("first");
    pump.reply(&first, failed(), None);
    pump.pass(Duration::from_secs(1));
    pump.answer("first", failed());
    pump.reply(&first, succeeded(), None);
    let folded = pump.folded(saga);
    let step = folded.definition().step_index("first").expect("a step");
    assert!(folded.place(step).forward.effect);
    assert_eq!(
        folded.place(step).forward.output,
        Some(payload(r#"{"code":"BROKEN"}"#))
    );
    let rows = pump.journal.len();
    pump.reply(&first, succeeded(), None);
    assert_eq!(pump.journal.len(), rows, "the same again is no news");
    pump.answer("pay", succeeded());
    pump.answer("ship", succeeded());
    assert_eq!(pump.state(saga), SagaState::Completed);
}

#[test]
fn a_failure_that_no_route_is_for_compensates() {
    let (mut pump, saga) = routed(INPUT);
    pump.answer("first", rejected("HARD"));
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_route_that_fails_itself_is_the_failure() {
    let (mut pump, saga) = routed(INPUT);
    pump.answer("first", rejected("BROKEN_ROUTE"));
    let reason = pump.folded(saga).abort().expect("aborted").reason.clone();
    assert_eq!(reason.code(), "EXPRESSION_FAILED");
    assert!(reason.message().contains("division by zero"));
}

#[test]
fn a_step_that_is_sent_to_a_person_waits_and_can_be_undone_from_there() {
    let (mut pump, saga) = routed(INPUT);
    pump.answer("first", rejected("ASK"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    let incident = pump.incidents.values().next().expect("one is open");
    assert_eq!(incident.reason.as_str(), "ROUTED_TO_PARK");
    assert_eq!(incident.code.as_deref(), Some("ASK"));
    pump.order(saga, Verb::Compensate, false)
        .expect("nothing speaks against it");
    assert_eq!(pump.state(saga), SagaState::Compensated);
    assert_eq!(
        pump.folded(saga).abort().expect("aborted").reason.kind(),
        "OPERATOR"
    );
}

#[test]
fn a_pivot_in_doubt_is_never_routed() {
    let (mut pump, saga) = routed(INPUT);
    pump.answer("first", succeeded());
    let attempt = pump.send("pay");
    pump.reply(&attempt, failed(), None);
    pump.pass(Duration::from_secs(1));
    pump.answer("pay", rejected("LATER"));
    let incident = pump.incidents.values().next().expect("one is open");
    assert_eq!(incident.reason.as_str(), "PIVOT_IN_DOUBT");
    pump.reply(&attempt, rejected("LATER"), None);
    let incident = pump.incidents.values().next().expect("one is open");
    assert_eq!(
        incident.reason.as_str(),
        "ROUTED_TO_PARK",
        "the doubt is gone, and the route is for what is left"
    );
    let target = Target {
        step: "pay".into(),
        item: 0,
        operation: OperationKind::Forward,
    };
    let input = Some(payload(r#"{"patched":true}"#));
    pump.order(saga, Verb::Retry { target, input }, false)
        .expect("it is without effect");
    assert_eq!(pump.command("pay").key.round, 1);
    pump.answer("pay", succeeded());
    assert_eq!(pump.out(), ["ship:forward:1"]);
}

#[test]
fn behind_the_point_of_no_return_a_route_lets_it_go_on_and_all_else_parks() {
    let (mut pump, saga) = routed(INPUT);
    pump.answer("first", succeeded());
    pump.answer("pay", succeeded());
    pump.answer("ship", rejected("SOFT"));
    assert_eq!(pump.state(saga), SagaState::Completed);
    let (mut pump, saga) = routed(INPUT);
    pump.answer("first", succeeded());
    pump.answer("pay", succeeded());
    pump.answer("ship", rejected("HARD"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        pump.incidents.values().next().expect("one").reason.as_str(),
        "STEP_REFUSED"
    );
}

#[test]
fn an_output_that_does_not_satisfy_its_schema_had_its_effect_and_has_no_route() {
    let yaml = r#"
apiVersion: amends/v1
name: checked
steps:
  - id: only
    call: p.only
    outputSchema: {type: object, required: [ref]}
    onError: [{then: continue}]
    compensate: {call: p.undo}
"#;
    let mut pump = Pump::new();
    let saga = pump.start(&definition(yaml), "{}");
    pump.answer("only", succeeded());
    assert_eq!(
        pump.facts(saga)[2..],
        [
            "unusable forward only:1",
            "abort STEP_FAILED OUTPUT_INVALID",
            "scheduled compensate only"
        ]
    );
    assert_eq!(
        pump.command("only").input,
        payload(r#"{"input":{},"output":null,"reason":"OUTPUT_INVALID"}"#)
    );
    let good = Outcome::Succeeded {
        output: payload(r#"{"ref":1}"#),
    };
    let mut pump = Pump::new();
    let saga = pump.start(&definition(yaml), "{}");
    pump.answer("only", good);
    assert_eq!(pump.state(saga), SagaState::Completed);
}
