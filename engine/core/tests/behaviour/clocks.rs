//! A new owner whose clock is behind its predecessor's: what that one may have sent by its own clock counts as sent.

use std::time::Duration;

use amends_core::SagaId;
use amends_core::journal::SagaState;
use amends_core::shard::{Acknowledged, Command};

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
