//! A new owner whose clock is not its predecessor's. Where it is behind, what that one may have sent by its own clock counts as
//! sent; where it is ahead, what has to settle does so from the takeover.

use std::time::Duration;

use amends_core::SagaId;
use amends_core::journal::SagaState;
use amends_core::shard::{Acknowledged, Command, Verb};

use crate::pump::{Pump, definition, failed, rejected, succeeded};

const BARE: &str = r#"
apiVersion: amends/v1
name: retried
defaults: {retry: {initialInterval: 30s, jitter: 0, maxAttempts: 3}, timeout: 10s}
steps:
  - {id: a, call: bare.a, compensate: {call: bare.undo_a}}
"#;

const SECOND: Duration = Duration::from_secs(1);

/// One attempt failed and the next, due thirty seconds later, was sent; then a process took over, whose clock is twenty
/// seconds behind that.
fn taken_over() -> (Pump, SagaId, [Command; 2]) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(BARE), "{}");
    let first = pump.send("a");
    pump.reply(&first, failed(), None);
    pump.pass(SECOND * 30);
    let second = pump.send("a");
    assert_eq!(second.attempt, 2);
    pump.sent_until = pump.now + SECOND * 5;
    pump.now = pump.now - SECOND * 20;
    pump.crash();
    assert!(pump.out().is_empty(), "by this clock it is not due");
    (pump, saga, [first, second])
}

#[test]
fn the_result_of_a_retry_that_is_not_due_by_this_clock_is_taken() {
    let (mut pump, saga, [_, second]) = taken_over();
    let told = pump.reply(&second, succeeded(), None);
    assert_eq!(told, Acknowledged::Recorded);
    assert_eq!(pump.state(saga), SagaState::Completed);
}

#[test]
fn what_was_sent_by_another_clock_is_awaited_and_undone() {
    let (mut pump, saga, [first, _]) = taken_over();
    pump.cancel(saga).expect("it can be cancelled");
    assert_eq!(pump.state(saga), SagaState::Compensating);
    // The first attempt had no effect, and the second may have had it.
    pump.reply(&first, rejected("NO"), None);
    assert_eq!(pump.state(saga), SagaState::Compensating);
    // It is due, it is given up, and has had its time to show itself.
    pump.pass(SECOND * 41);
    assert_eq!(pump.out(), ["a:compensate:1"]);
    pump.answer("a", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn an_older_refusal_does_not_take_back_what_another_clock_sent() {
    let (mut pump, saga, [first, _]) = taken_over();
    pump.reply(&first, rejected("NO"), None);
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert!(
        !pump
            .facts(saga)
            .iter()
            .any(|fact| fact.contains("withdrawn"))
    );
    pump.pass(SECOND * 41);
    assert_eq!(pump.out(), ["a:compensate:1"]);
}

#[test]
fn what_was_not_due_by_any_clock_never_left() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(BARE), "{}");
    let first = pump.send("a");
    pump.reply(&first, failed(), None);
    pump.sent_until = pump.now + SECOND * 20;
    pump.crash();
    pump.cancel(saga).expect("it can be cancelled");
    pump.reply(&first, rejected("NO"), None);
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

/// It stays in memory while it settles.
const SETTLES: &str = r#"
apiVersion: amends/v1
name: settles
defaults: {retry: {maxAttempts: 1}, timeout: 40s}
steps:
  - {id: a, call: bare.a, compensate: {call: bare.undo_a}}
"#;

/// It leaves memory while it settles.
const SETTLES_ASLEEP: &str = r#"
apiVersion: amends/v1
name: settles-asleep
defaults: {retry: {maxAttempts: 1}, timeout: 5m}
steps:
  - {id: a, call: bare.a, compensate: {call: bare.undo_a}}
"#;

/// The only attempt failed, and whether it had its effect has to show itself.
fn settling(yaml: &str) -> (Pump, SagaId) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(yaml), "{}");
    pump.answer("a", failed());
    assert_eq!(settle_times(&pump, saga), 1);
    (pump, saga)
}

fn settle_times(pump: &Pump, saga: SagaId) -> usize {
    let facts = pump.facts(saga);
    facts.iter().filter(|fact| *fact == "settling a").count()
}

/// Nothing is sent for all of this time, and the compensation right behind it.
fn undone_after(pump: &mut Pump, saga: SagaId, time: Duration) {
    pump.pass(time - SECOND);
    assert!(
        pump.out().is_empty(),
        "it has not settled: {:?}",
        pump.out()
    );
    pump.pass(SECOND);
    assert_eq!(pump.out(), ["a:compensate:1"]);
    pump.answer("a", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_settle_time_runs_again_from_a_takeover_by_the_new_owners_clock() {
    for (yaml, time) in [(SETTLES, SECOND * 40), (SETTLES_ASLEEP, SECOND * 300)] {
        let (mut pump, saga) = settling(yaml);
        // The new owner's clock is an hour ahead: what was recorded is long over by it.
        pump.now = pump.now + SECOND * 3600;
        pump.crash();
        undone_after(&mut pump, saga, time);
        assert_eq!(settle_times(&pump, saga), 2, "{yaml}");
    }
}

#[test]
fn a_settle_time_that_begins_after_a_takeover_does_not_count_from_a_sending_before_it() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(BARE), "{}");
    pump.answer("a", failed());
    pump.now = pump.now + SECOND * 20;
    pump.crash();
    pump.cancel(saga).expect("it can be cancelled");
    undone_after(&mut pump, saga, SECOND * 10);
}

#[test]
fn takeovers_in_a_row_put_a_compensation_off_by_one_settle_time_from_the_last() {
    for yaml in [SETTLES, SETTLES_ASLEEP] {
        let (mut pump, saga) = settling(yaml);
        for _ in 0..5 {
            pump.now = pump.now + SECOND * 7;
            pump.crash();
        }
        let attempt = if yaml == SETTLES { 40 } else { 300 };
        undone_after(&mut pump, saga, SECOND * attempt);
        // It is looked at when what was recorded is over, and not with each takeover.
        assert_eq!(settle_times(&pump, saga), 2);
    }
}

#[test]
fn a_settle_time_that_a_clock_behind_has_left_is_not_shortened() {
    let (mut pump, saga) = settling(SETTLES);
    pump.now = pump.now - SECOND * 20;
    pump.crash();
    undone_after(&mut pump, saga, SECOND * 60);
    assert_eq!(settle_times(&pump, saga), 1);
}

#[test]
fn a_saga_that_comes_back_into_memory_does_not_settle_again() {
    let (mut pump, saga) = settling(SETTLES_ASLEEP);
    pump.now = pump.now + SECOND;
    pump.crash();
    // It is loaded by what arrives for it, twice, and once it is due.
    for _ in 0..2 {
        pump.pass(SECOND * 70);
        pump.order(saga, Verb::Pause, true)
            .expect_err("it is undone");
    }
    undone_after(&mut pump, saga, SECOND * 160);
    assert_eq!((pump.loads.len(), settle_times(&pump, saga)), (3, 2));
}

/// Behind `a` one step is sent and the other fails at once, in the same decision.
const SENDS_AND_FAILS: &str = r#"
apiVersion: amends/v1
name: sends-and-fails
defaults: {retry: {maxAttempts: 1}, timeout: 10s}
steps:
  - {id: a, call: bare.a, compensate: {call: bare.undo_a}}
  - {id: b, needs: [a], call: bare.b, compensate: {call: bare.undo_b}}
  - {id: c, needs: [a], fail: {code: STOP, message: stop}}
"#;

#[test]
fn what_is_scheduled_and_aborted_at_once_never_left_whatever_the_clock_says() {
    for behind in [Duration::ZERO, SECOND * 20] {
        let mut pump = Pump::new();
        let saga = pump.start(&definition(SENDS_AND_FAILS), "{}");
        let first = pump.send("a");
        pump.order(saga, Verb::Pause, false)
            .expect("it can be paused");
        // By the new owner's clock it is not later than the saga's own time.
        pump.now = pump.now - behind;
        pump.crash();
        pump.reply(&first, succeeded(), None);
        pump.order(saga, Verb::Resume, false)
            .expect("it can be resumed");
        let facts = pump.facts(saga);
        let said = |wanted: &str| facts.iter().any(|fact| fact == wanted);
        assert!(said("scheduled forward b"), "{facts:?}");
        assert!(said("withdrawn b ABORTED"), "{facts:?}");
        pump.pass(behind);
        assert_eq!(pump.out(), ["a:compensate:1"], "{behind:?}");
        pump.answer("a", succeeded());
        assert_eq!(pump.state(saga), SagaState::Compensated, "{behind:?}");
    }
}
