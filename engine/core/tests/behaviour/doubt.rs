//! What nobody knows: pivots in doubt, and results that come after the decision.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::Acknowledged;
use amends_core::{Outcome, Verdict};

use crate::forward::ORDER;
use crate::pump::{Pump, definition, failed, fatal, rejected, succeeded};

/// A pivot whose two attempts both failed.
fn in_doubt() -> (Pump, amends_core::SagaId, amends_core::shard::Command) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    let first = pump.send("charge");
    pump.reply(&first, failed(), None);
    pump.pass(Duration::from_secs(1));
    pump.answer("charge", failed());
    (pump, saga, first)
}

#[test]
fn a_pivot_whose_budget_is_spent_is_in_doubt_and_parks() {
    let (pump, saga, _) = in_doubt();
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("incident PIVOT_IN_DOUBT")
    );
    assert!(pump.out().is_empty(), "neither an abort nor a later step");
}

#[test]
fn a_late_success_of_a_pivot_in_doubt_sends_the_saga_forward() {
    let (mut pump, saga, first) = in_doubt();
    assert_eq!(
        pump.reply(&first, succeeded(), None),
        Acknowledged::Recorded
    );
    assert_eq!(pump.out(), ["ship:forward:1"]);
    pump.answer("ship", succeeded());
    assert_eq!(pump.state(saga), SagaState::Completed);
}

#[test]
fn only_a_proven_absence_of_every_attempt_aborts() {
    let (mut pump, saga, first) = in_doubt();
    pump.reply(&first, rejected("NO"), None);
    assert_eq!(
        pump.state(saga),
        SagaState::Parked,
        "the second attempt is still in doubt"
    );
    let mut second = first;
    second.attempt = 2;
    pump.reply(&second, rejected("NO"), None);
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert_eq!(pump.out(), ["reserve:compensate:1"]);
}

#[test]
fn the_barriers_recorded_refusal_proves_absence_for_all_attempts() {
    let (mut pump, saga, first) = in_doubt();
    pump.reply(&first, rejected("NO"), Some(Verdict::Duplicate));
    assert_eq!(pump.state(saga), SagaState::Compensating);
}

#[test]
fn a_fatal_outcome_behind_a_barrier_says_nothing_about_a_later_attempt() {
    // The barrier runs a later attempt again: it may have had the effect that its compensation has to undo.
    let mut pump = Pump::new();
    pump.barrier.0 = true;
    let saga = pump.start(&definition(TWICE), "{}");
    let first = pump.send("a");
    pump.commands.clear();
    pump.pass(Duration::from_secs(12));
    let second = pump.send("a");
    assert_eq!(second.attempt, 2);
    pump.reply(&first, fatal(), Some(Verdict::First));
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert!(pump.out().contains(&"a:compensate:1".to_owned()));
}

const TWICE: &str = r#"
apiVersion: amends/v1
name: twice
defaults: {retry: {initialInterval: 1s, maxAttempts: 2}, timeout: 10s}
steps:
  - {id: a, call: p.a, compensate: {call: p.undo_a}}
"#;

#[test]
fn an_unusable_answer_of_a_pivot_is_a_success_that_a_person_has_to_look_at() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    pump.answer(
        "charge",
        Outcome::Unusable {
            code: "OUTPUT_TOO_LARGE".into(),
            message: "2 MiB".into(),
        },
    );
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("incident OUTPUT_UNUSABLE")
    );
    assert!(pump.cancel(saga).is_err(), "its effect happened");
}

const PAIR: &str = r#"
apiVersion: amends/v1
name: pair
defaults: {retry: {maxAttempts: 1}, timeout: 10s}
steps:
  - {id: a, call: p.a, compensate: {call: p.undo_a}}
"#;

#[test]
fn a_success_after_an_unbarriered_compensation_is_said_aloud() {
    for (verdict, leak) in [(None, true), (Some(Verdict::First), false)] {
        let mut pump = Pump::new();
        pump.barrier.0 = verdict.is_some();
        let saga = pump.start(&definition(PAIR), "{}");
        let action = pump.send("a");
        pump.commands.clear();
        pump.pass(Duration::from_secs(25));
        pump.answer("a", succeeded());
        assert_eq!(pump.state(saga), SagaState::Compensated);
        assert_eq!(
            pump.reply(&action, succeeded(), verdict),
            Acknowledged::Late
        );
        assert!(
            pump.facts(saga)
                .contains(&format!("late_result leak={leak}"))
        );
        assert_eq!(
            pump.state(saga),
            SagaState::Compensated,
            "nothing follows an end"
        );
        assert_eq!(pump.folded(saga).incidents().len(), usize::from(leak));
        let facts = pump.facts(saga).len();
        pump.reply(&action, succeeded(), verdict);
        assert!(
            pump.facts(saga).len() <= facts + 1,
            "the same again does not pile up"
        );
    }
}

#[test]
fn a_success_that_comes_while_it_settles_is_taken_and_undone_at_once() {
    let mut pump = Pump::new();
    pump.barrier.0 = false;
    let saga = pump.start(&definition(PAIR), "{}");
    let action = pump.send("a");
    pump.commands.clear();
    pump.reply(&action, failed(), None);
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("settling a")
    );
    assert_eq!(
        pump.reply(&action, succeeded(), None),
        Acknowledged::Recorded
    );
    assert_eq!(pump.out(), ["a:compensate:1"]);
}

#[test]
fn a_superseded_action_never_had_an_effect() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(PAIR), "{}");
    let action = pump.send("a");
    pump.reply(&action, Outcome::Superseded, Some(Verdict::Superseded));
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn an_outcome_that_does_not_fit_its_operation_counts_as_an_error() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", Outcome::NothingToUndo);
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("failed forward reserve:1 again")
    );
}
