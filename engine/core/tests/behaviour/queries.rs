//! `query`: somebody is asked before anything is decided on a guess.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::limits::QUERY_ATTEMPTS_MAX;
use amends_core::saga::Phase;
use amends_core::shard::{Acknowledged, Target, Verb};
use amends_core::{OperationKind, Outcome, SagaId};

use crate::pump::{Pump, definition, failed, payload, rejected, succeeded};

const ASKED: &str = r#"
apiVersion: amends/v1
name: asked
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}, timeout: 10s}
steps:
  - {id: hold, call: bare.hold, query: bare.has_held, input: {n: 1}, retry: {maxAttempts: 1}, compensate: {call: bare.release, input: {out: "${{ self.output }}"}}}
  - {id: pay, kind: pivot, call: bare.pay, query: bare.has_paid, input: {n: 2}, onError: [{codes: [ODD], then: park}]}
  - {id: ship, kind: retriable, call: bare.ship}
"#;

/// The first step's only attempt has failed, and nobody knows whether it had its effect.
fn unclear() -> (Pump, SagaId) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ASKED), "{}");
    pump.answer("hold", failed());
    (pump, saga)
}

/// The pivot's two attempts have failed.
fn in_doubt() -> (Pump, SagaId) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ASKED), "{}");
    pump.answer("hold", succeeded());
    pump.answer("pay", failed());
    pump.pass(Duration::from_secs(1));
    pump.answer("pay", failed());
    (pump, saga)
}

fn parked_because(pump: &Pump) -> Vec<&'static str> {
    let incidents = pump.incidents.values();
    incidents.map(|open| open.reason.as_str()).collect()
}

#[test]
fn an_unclear_effect_is_asked_for_instead_of_being_given_time_to_settle() {
    let (pump, saga) = unclear();
    assert_eq!(pump.out(), ["hold:query:1"]);
    let query = pump.command("hold");
    assert_eq!(query.action.as_str(), "bare.has_held");
    assert_eq!(query.input, payload(r#"{"n":1}"#), "the action's own");
    assert_eq!(
        query.forward_key.as_ref().map(|key| key.operation),
        Some(OperationKind::Forward)
    );
    assert!(!pump.facts(saga).contains(&"settling hold".to_owned()));
}

#[test]
fn what_is_absent_owes_nothing() {
    let (mut pump, saga) = unclear();
    pump.answer("hold", Outcome::Absent);
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn what_is_there_is_undone_at_once_with_its_output() {
    let (mut pump, saga) = unclear();
    pump.answer("hold", succeeded());
    assert_eq!(pump.out(), ["hold:compensate:1"]);
    assert_eq!(
        pump.command("hold").input,
        payload(r#"{"out":{"ok":true}}"#)
    );
    pump.answer("hold", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn who_never_answers_is_asked_so_often_and_then_it_settles() {
    let yaml = ASKED.replace("maxAttempts: 1}", "maxAttempts: 3, nonRetryable: [BROKEN]}");
    let mut pump = Pump::new();
    let saga = pump.start(&definition(&yaml), "{}");
    pump.answer("hold", failed());
    for attempt in 1..=3 {
        assert_eq!(pump.out(), [format!("hold:query:{attempt}")]);
        pump.answer("hold", rejected("NO_IDEA"));
        pump.pass(Duration::from_secs(3));
    }
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("settling hold"),
        "as often as the action itself"
    );
    pump.pass(Duration::from_secs(10));
    assert_eq!(pump.out(), ["hold:compensate:1"]);
}

#[test]
fn a_step_that_is_tried_without_bound_is_not_asked_about_without_bound() {
    let yaml = ASKED.replace("maxAttempts: 2}", "maxAttempts: 0}");
    let mut pump = Pump::new();
    let yaml = yaml.replace("retry: {maxAttempts: 1}", "retry: {maxElapsed: 1s}");
    let saga = pump.start(&definition(&yaml), "{}");
    pump.answer("hold", failed());
    let mut asked = 0;
    while pump.out().iter().any(|name| name.starts_with("hold:query")) {
        asked += 1;
        pump.answer("hold", failed());
        pump.pass(Duration::from_secs(600));
    }
    assert!(asked <= QUERY_ATTEMPTS_MAX, "{asked}");
    assert_eq!(pump.out(), ["hold:compensate:1"]);
    assert_eq!(pump.state(saga), SagaState::Compensating);
}

#[test]
fn a_query_that_nobody_takes_does_not_keep_its_compensation_for_ever() {
    let (mut pump, saga) = unclear();
    pump.pass(Duration::from_secs(24 * 3_600 - 1));
    assert_eq!(pump.out(), ["hold:query:1"]);
    pump.pass(Duration::from_secs(30));
    assert!(
        pump.out().contains(&"hold:compensate:1".to_owned()),
        "{:?}",
        pump.facts(saga)
    );
}

#[test]
fn the_actions_own_late_word_ends_the_question() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ASKED), "{}");
    let action = pump.send("hold");
    pump.reply(&action, failed(), None);
    let query = pump.send("hold");
    assert_eq!(
        pump.reply(&action, succeeded(), None),
        Acknowledged::Recorded
    );
    let folded = pump.folded(saga);
    let hold = folded.definition().step_index("hold").expect("a step");
    assert_eq!(
        folded.operation(hold, OperationKind::Query).phase,
        Phase::Skipped
    );
    assert_eq!(
        pump.command_of(OperationKind::Compensate)
            .key
            .step
            .to_string(),
        "hold".to_owned()
    );
    assert_eq!(
        pump.reply(&query, Outcome::Absent, None),
        Acknowledged::Late,
        "it is known better"
    );
}

#[test]
fn behind_a_barrier_nobody_has_to_be_asked() {
    let yaml = ASKED.replace("bare.", "p.");
    let mut pump = Pump::new();
    pump.start(&definition(&yaml), "{}");
    pump.answer("hold", failed());
    assert_eq!(pump.out(), ["hold:compensate:1"]);
}

#[test]
fn a_pivot_in_doubt_is_asked_for_before_a_person_is() {
    let (mut pump, saga) = in_doubt();
    assert_eq!(pump.out(), ["pay:query:1"]);
    assert_eq!(pump.state(saga), SagaState::Running);
    assert_eq!(
        pump.cancel(saga),
        Ok(amends_core::shard::CancelDisposition::Pending),
        "it is in doubt all the same"
    );
    pump.answer("pay", succeeded());
    assert_eq!(pump.out(), ["ship:forward:1"]);
    assert!(pump.facts(saga).contains(&"cancel_dropped".to_owned()));
}

#[test]
fn a_pivot_that_is_absent_aborts() {
    let (mut pump, saga) = in_doubt();
    pump.answer("pay", Outcome::Absent);
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert_eq!(pump.out(), ["hold:compensate:1"]);
}

#[test]
fn a_pivot_that_nobody_knows_of_parks_and_is_asked_for_again_after_a_retry() {
    let (mut pump, saga) = in_doubt();
    pump.answer("pay", failed());
    pump.pass(Duration::from_secs(1));
    pump.answer("pay", failed());
    assert_eq!(parked_because(&pump), ["PIVOT_IN_DOUBT"]);
    let target = Target {
        step: "pay".into(),
        item: 0,
        operation: OperationKind::Forward,
    };
    let other_input = Verb::Retry {
        target: target.clone(),
        input: Some(payload("{}")),
    };
    let refused = pump.order(saga, other_input, false).expect_err("unclear");
    assert!(format!("{refused:?}").contains("EFFECT_UNCLEAR"));
    let input = None;
    pump.order(saga, Verb::Retry { target, input }, false)
        .expect("the same operation again");
    assert_eq!(pump.out(), ["pay:forward:3"]);
    pump.answer("pay", failed());
    pump.pass(Duration::from_secs(1));
    assert_eq!(pump.out(), ["pay:forward:4"], "its budget counts anew");
    pump.answer("pay", failed());
    assert_eq!(pump.out(), ["pay:query:3"]);
    pump.answer("pay", Outcome::Absent);
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert!(pump.incidents.is_empty());
}

#[test]
fn an_answer_that_comes_after_the_last_question_counts_all_the_same() {
    let (mut pump, saga) = in_doubt();
    let query = pump.send("pay");
    pump.reply(&query, failed(), None);
    pump.pass(Duration::from_secs(1));
    pump.answer("pay", failed());
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        pump.reply(&query, succeeded(), None),
        Acknowledged::Recorded
    );
    assert_eq!(pump.out(), ["ship:forward:1"]);
    assert!(pump.incidents.is_empty());
}

#[test]
fn a_question_survives_a_crash() {
    let (mut pump, saga) = in_doubt();
    pump.crash();
    assert_eq!(pump.out(), ["pay:query:1"]);
    pump.answer("pay", Outcome::Absent);
    assert_eq!(pump.state(saga), SagaState::Compensating);
}
