//! Undoing: order, what is awaited, what is not owed, and cancels.

use std::time::Duration;

use amends_core::OperationKind;
use amends_core::journal::SagaState;
use amends_core::shard::{Acknowledged, CancelDisposition, CancelRefusal};
use amends_core::{Outcome, Verdict};

use crate::forward::ORDER;
use crate::pump::{Pump, definition, failed, fatal, payload, rejected, succeeded};

const CHAIN: &str = r#"
apiVersion: amends/v1
name: chain
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}, timeout: 10s}
steps:
  - {id: a, call: p.a, compensate: {call: p.undo_a}}
  - {id: b, call: p.b, when: "!has(input.skip_b)", compensate: {none: "it only reads"}}
  - {id: c, call: p.c, compensate: {call: p.undo_c}}
  - {id: d, call: p.d, compensate: {call: p.undo_d}}
"#;

const WIDE: &str = r#"
apiVersion: amends/v1
name: wide
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}, timeout: 10s}
steps:
  - {id: root, needs: [], call: p.root, compensate: {call: p.undo_root}}
  - {id: left, needs: [root], call: p.left, compensate: {call: p.undo_left}}
  - {id: right, needs: [root], call: p.right, compensate: {call: p.undo_right}}
  - {id: join, needs: [left, right], call: p.join, compensate: {call: p.undo_join}}
"#;

#[test]
fn compensations_run_in_reverse_through_skipped_and_uncompensated_steps() {
    for input in ["{}", r#"{"skip_b":true}"#] {
        let mut pump = Pump::new();
        let saga = pump.start(&definition(CHAIN), input);
        pump.answer("a", succeeded());
        if input == "{}" {
            pump.answer("b", succeeded());
        }
        pump.answer("c", succeeded());
        pump.answer("d", rejected("NO"));
        assert_eq!(pump.state(saga), SagaState::Compensating);
        assert_eq!(pump.out(), ["c:compensate:1"]);
        assert_eq!(pump.command("c").action.as_str(), "p.undo_c");
        assert_eq!(
            pump.command("c").input,
            payload(r#"{"input":{},"output":{"ok":true},"reason":"NO"}"#)
        );
        pump.answer("c", succeeded());
        assert_eq!(pump.out(), ["a:compensate:1"]);
        pump.answer("a", Outcome::NothingToUndo);
        assert_eq!(pump.state(saga), SagaState::Compensated);
    }
}

#[test]
fn the_first_step_is_refused_and_there_is_nothing_to_undo() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(CHAIN), "{}");
    pump.answer("a", fatal());
    assert_eq!(
        pump.facts(saga)[2..],
        [
            "fatal forward a:1",
            "abort STEP_FAILED NO_SUCH_ACTION",
            "compensated"
        ]
    );
}

#[test]
fn independent_compensations_run_side_by_side_the_latest_first() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(WIDE), "{}");
    for step in ["root", "left", "right"] {
        pump.answer(step, succeeded());
    }
    pump.answer("join", rejected("NO"));
    assert_eq!(pump.out(), ["right:compensate:1", "left:compensate:1"]);
    pump.answer("left", succeeded());
    assert_eq!(
        pump.out(),
        ["right:compensate:1"],
        "the root waits for both"
    );
    pump.answer("right", succeeded());
    pump.answer("root", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_step_in_flight_at_the_abort_is_awaited_and_undone() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(WIDE), "{}");
    pump.answer("root", succeeded());
    let right = pump.send("right");
    pump.answer("left", rejected("NO"));
    assert!(
        pump.out().iter().all(|out| out != "root:compensate:1"),
        "the root waits for what is in flight"
    );
    assert_eq!(
        pump.reply(&right, succeeded(), None),
        Acknowledged::Recorded
    );
    assert_eq!(pump.out(), ["right:compensate:1"]);
    pump.answer("right", succeeded());
    pump.answer("root", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_step_in_flight_at_the_abort_that_never_answers_is_undone_all_the_same() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(WIDE), "{}");
    pump.answer("root", succeeded());
    pump.send("right");
    pump.commands
        .retain(|command| *command.key.step != *"right");
    pump.answer("left", rejected("NO"));
    pump.pass(Duration::from_secs(10));
    assert_eq!(
        pump.out(),
        ["right:compensate:1"],
        "no forward attempt begins after the abort"
    );
    pump.answer("right", Outcome::NothingToUndo);
    pump.answer("root", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn what_is_awaited_or_given_up_is_taken_back_so_that_no_other_stream_gets_it() {
    let mut pump = Pump::new();
    pump.start(&definition(WIDE), "{}");
    pump.answer("root", succeeded());
    pump.send("right");
    pump.answer("left", rejected("NO"));
    let taken_back = |pump: &Pump| -> Vec<String> {
        let named = pump.withdrawals.iter();
        named
            .map(|named| format!("{}:{}", named.name.step, named.attempt))
            .collect()
    };
    assert_eq!(
        taken_back(&pump),
        ["right:1"],
        "in flight at the abort (I9)"
    );
    let mut pump = Pump::new();
    pump.start(&definition(WIDE), "{}");
    pump.send("root");
    pump.pass(Duration::from_secs(10));
    assert_eq!(taken_back(&pump), ["root:1"], "its time is over");
}

#[test]
fn a_command_that_was_never_sent_is_withdrawn_at_the_abort_and_owes_nothing() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(WIDE), "{}");
    pump.answer("root", succeeded());
    pump.answer("left", rejected("NO"));
    pump.never_sent("right");
    assert!(
        pump.facts(saga)
            .contains(&"withdrawn right ABORTED".to_owned())
    );
    assert_eq!(pump.out(), ["root:compensate:1"]);
    pump.answer("root", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_retry_that_was_not_due_at_the_abort_never_happens_and_its_step_is_undone() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(WIDE), "{}");
    pump.answer("root", succeeded());
    pump.answer("right", failed());
    pump.answer("left", rejected("NO"));
    assert_eq!(pump.out(), ["right:compensate:1"]);
    pump.answer("right", succeeded());
    pump.answer("root", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
    assert!(
        !pump
            .facts(saga)
            .contains(&"failed forward right:2".to_owned())
    );
}

#[test]
fn a_spent_budget_aborts_and_the_step_itself_is_undone() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(CHAIN), "{}");
    pump.answer("a", failed());
    pump.pass(Duration::from_secs(1));
    pump.answer("a", failed());
    assert_eq!(
        pump.facts(saga)[3..],
        [
            "failed forward a:2",
            "abort STEP_FAILED BROKEN",
            "scheduled compensate a"
        ]
    );
}

#[test]
fn a_refusal_does_not_clear_an_earlier_attempt_without_a_barrier_and_does_with_one() {
    for (verdict, owed) in [
        (None, true),
        (Some(Verdict::First), false),
        (Some(Verdict::Duplicate), false),
    ] {
        let mut pump = Pump::new();
        let saga = pump.start(&definition(CHAIN), "{}");
        pump.answer("a", failed());
        pump.pass(Duration::from_secs(1));
        let second = pump.send("a");
        pump.reply(&second, rejected("SOLD_OUT"), verdict);
        assert_eq!(
            pump.state(saga) == SagaState::Compensating,
            owed,
            "{verdict:?}"
        );
    }
}

#[test]
fn without_a_barrier_an_unknown_outcome_settles_before_it_is_undone() {
    let mut pump = Pump::new();
    pump.barrier.0 = false;
    let saga = pump.start(&definition(CHAIN), "{}");
    pump.answer("a", failed());
    pump.pass(Duration::from_secs(1));
    pump.answer("a", failed());
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("settling a")
    );
    pump.pass(Duration::from_secs(9));
    assert!(pump.out().is_empty());
    pump.pass(Duration::from_secs(1));
    assert_eq!(pump.out(), ["a:compensate:1"]);
    pump.answer("a", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_compensation_is_tried_again_without_bound_and_a_refused_one_parks_alone() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(WIDE), "{}");
    for step in ["root", "left", "right"] {
        pump.answer(step, succeeded());
    }
    pump.answer("join", rejected("NO"));
    pump.answer("left", rejected("CANNOT"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    for _ in 0..20 {
        pump.answer("right", failed());
        pump.pass(Duration::from_secs(360));
    }
    assert_eq!(pump.out(), ["right:compensate:21"]);
    pump.answer("right", succeeded());
    assert!(
        pump.out().is_empty(),
        "the root waits for the one that parked"
    );
    assert_eq!(pump.state(saga), SagaState::Parked);
}

#[test]
fn a_late_success_of_a_parked_compensation_resolves_it() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(CHAIN), "{}");
    pump.answer("a", succeeded());
    pump.answer("b", rejected("NO"));
    let undo = pump.send("a");
    pump.reply(&undo, rejected("CANNOT"), None);
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(pump.reply(&undo, succeeded(), None), Acknowledged::Recorded);
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_compensation_parks_after_a_day() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(CHAIN), "{}");
    pump.answer("a", succeeded());
    pump.answer("b", rejected("NO"));
    for _ in 0..400 {
        if pump.out().is_empty() {
            break;
        }
        pump.answer("a", failed());
        pump.pass(Duration::from_secs(360));
    }
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("incident COMPENSATION_EXHAUSTED")
    );
}

#[test]
fn a_compensation_that_nobody_takes_parks_after_a_day_and_a_late_success_resolves_it() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(CHAIN), "{}");
    pump.answer("a", succeeded());
    pump.answer("b", rejected("NO"));
    let undo = pump.command("a").clone();
    pump.pass(Duration::from_secs(24 * 3_600 - 1));
    assert_eq!(pump.state(saga), SagaState::Compensating);
    pump.pass(Duration::from_secs(1));
    assert_eq!(pump.state(saga), SagaState::Parked);
    pump.reply(&undo, succeeded(), None);
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_cancel_aborts_before_the_point_of_no_return_and_is_idempotent() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    let charge = pump.send("charge");
    assert_eq!(
        pump.cancel(saga),
        Ok(CancelDisposition::Pending),
        "the pivot is in doubt"
    );
    assert_eq!(pump.cancel(saga), Ok(CancelDisposition::Pending));
    pump.reply(&charge, rejected("CARD_DECLINED"), None);
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert_eq!(pump.cancel(saga), Ok(CancelDisposition::AlreadyAborted));
    pump.answer("reserve", succeeded());
    assert_eq!(
        pump.cancel(saga),
        Err(CancelRefusal::Ended {
            state: SagaState::Compensated
        })
    );
}

#[test]
fn a_cancel_that_waits_for_the_pivot_is_dropped_by_its_success() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    let charge = pump.send("charge");
    pump.cancel(saga).expect("it is pending");
    pump.reply(&charge, succeeded(), None);
    assert!(pump.facts(saga).contains(&"cancel_dropped".to_owned()));
    assert_eq!(pump.cancel(saga), Err(CancelRefusal::BehindPointOfNoReturn));
    pump.answer("ship", succeeded());
    assert_eq!(pump.state(saga), SagaState::Completed);
}

#[test]
fn a_cancel_of_what_does_not_exist_is_not_found() {
    let mut pump = Pump::new();
    let absent = amends_core::SagaId::new(pump.now, pump.shard.id(), 99);
    assert_eq!(pump.cancel(absent), Err(CancelRefusal::NotFound));
    assert_eq!(pump.shard.active(), 0);
}

#[test]
fn an_unusable_output_is_an_effect_that_is_undone_without_it() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(CHAIN), "{}");
    pump.answer(
        "a",
        Outcome::Unusable {
            code: "OUTPUT_INVALID".into(),
            message: "not JSON".into(),
        },
    );
    assert_eq!(pump.out(), ["a:compensate:1"]);
    assert_eq!(
        pump.command("a").input,
        payload(r#"{"input":{},"output":null,"reason":"OUTPUT_INVALID"}"#)
    );
    let forward_key = pump
        .command("a")
        .forward_key
        .clone()
        .expect("it names what it undoes");
    assert_eq!(forward_key.operation, OperationKind::Forward);
    pump.answer("a", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}
