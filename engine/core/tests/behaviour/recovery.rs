//! Crashes: what was volatile is gone, and the saga goes on as recorded.

use std::time::Duration;

use amends_core::SagaId;
use amends_core::journal::SagaState;
use amends_core::shard::Acknowledged;

use crate::forward::ORDER;
use crate::pump::{Pump, attempt_of, definition, failed, rejected, succeeded};

#[test]
fn after_a_crash_the_same_attempt_is_sent_again() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let before = pump.send("reserve");
    pump.pass(Duration::from_secs(1));
    pump.crash();
    let after = pump.command("reserve").clone();
    assert_eq!(
        (&after.key, after.attempt),
        (&before.key, 1),
        "no attempt is burned (F3)"
    );
    assert!(after.resent);
    assert!(after.epoch > before.epoch);
    pump.reply(&before, succeeded(), None);
    assert_eq!(pump.state(saga), SagaState::Running);
    assert_eq!(
        pump.out(),
        ["charge:forward:1"],
        "a result counts whatever its epoch"
    );
}

#[test]
fn a_deposed_owner_does_not_call_unknown_what_its_successor_sent() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let ours = pump.send("reserve");
    // The successor has gone on; this owner has not noticed.
    let mut theirs = ours.clone();
    theirs.attempt = 2;
    let unknown_saga = SagaId::new(pump.now, saga.shard(), 77);
    for key_saga in [saga, unknown_saga] {
        theirs.key.saga = key_saga;
        for (epoch, answer) in [
            (ours.epoch, Acknowledged::UnknownOperation),
            (ours.epoch + 1, Acknowledged::Unavailable),
        ] {
            theirs.epoch = epoch;
            assert_eq!(pump.reply(&theirs, succeeded(), None), answer, "{key_saga}");
        }
    }
    let mut resent = ours;
    resent.epoch += 1;
    assert_eq!(
        pump.reply(&resent, succeeded(), None),
        Acknowledged::Recorded,
        "what it knows counts whatever its epoch: the fence is the journal's"
    );
}

#[test]
fn a_result_takes_back_what_waits_to_be_sent_again() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let before = pump.send("reserve");
    pump.crash();
    assert_eq!(pump.out(), ["reserve:forward:1"]);
    // It was told before the command was there to be taken out of the queue: nobody but the shard knows of both.
    pump.reply(&before, rejected("NO"), None);
    assert_eq!(pump.state(saga), SagaState::Compensated);
    assert_eq!(pump.withdrawals, [attempt_of(&before)]);
}

#[test]
fn a_crash_at_every_point_of_a_happy_and_of_a_compensated_run_ends_the_same() {
    for refuse_at in [None, Some("charge")] {
        for crash_at in 0..12 {
            let mut pump = Pump::new();
            let saga = pump.start(&definition(ORDER), r#"{"sku":"a","email":"x@y"}"#);
            for turn in 0..12 {
                if turn == crash_at {
                    pump.pass(Duration::from_millis(1));
                    pump.crash();
                }
                let Some(command) = pump.commands.first().cloned() else {
                    break;
                };
                let step = command.key.step.to_string();
                let command = pump.send(&step);
                let refuse = refuse_at == Some(step.as_str());
                pump.reply(
                    &command,
                    if refuse { rejected("NO") } else { succeeded() },
                    None,
                );
            }
            let end = if refuse_at.is_some() {
                SagaState::Compensated
            } else {
                SagaState::Completed
            };
            assert_eq!(pump.state(saga), end, "crash at {crash_at}");
        }
    }
}

#[test]
fn a_retry_survives_a_crash_and_is_not_early() {
    let mut pump = Pump::new();
    pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", failed());
    pump.crash();
    assert!(pump.out().is_empty());
    pump.pass(Duration::from_secs(1));
    assert_eq!(pump.out(), ["reserve:forward:2"]);
}

const PARALLEL: &str = r#"
apiVersion: amends/v1
name: parallel
defaults: {retry: {maxAttempts: 1}, timeout: 10s}
steps:
  - {id: a, needs: [], call: p.a, compensate: {call: p.undo_a}}
  - {id: b, needs: [], call: p.b, compensate: {call: p.undo_b}}
"#;

#[test]
fn what_was_in_flight_at_the_abort_gets_one_more_attempts_time_after_a_crash() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(PARALLEL), "{}");
    pump.send("b");
    pump.answer("a", rejected("NO"));
    pump.pass(Duration::from_secs(9));
    pump.crash();
    assert!(
        pump.out().is_empty(),
        "no forward command after the abort (I9)"
    );
    pump.pass(Duration::from_secs(9));
    assert_eq!(pump.state(saga), SagaState::Compensating);
    pump.pass(Duration::from_secs(1));
    assert_eq!(pump.out(), ["b:compensate:1"]);
}

#[test]
fn an_abort_of_what_an_earlier_owner_may_have_sent_does_not_call_it_withdrawn() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(PARALLEL), "{}");
    pump.pass(Duration::from_secs(1));
    pump.crash();
    pump.answer("a", rejected("NO"));
    pump.never_sent("b");
    assert_eq!(
        pump.state(saga),
        SagaState::Compensating,
        "the earlier owner may have sent it"
    );
    pump.pass(Duration::from_secs(10));
    assert_eq!(pump.out(), ["b:compensate:1"]);
}

#[test]
fn what_leaves_while_the_abort_asks_it_back_has_all_of_its_time() {
    let mut pump = Pump::new();
    pump.start(&definition(PARALLEL), "{}");
    pump.pass(Duration::from_secs(1));
    pump.crash();
    pump.answer("a", rejected("NO"));
    pump.pass(Duration::from_secs(3));
    pump.send("b");
    pump.pass(Duration::from_secs(9));
    assert_eq!(pump.out(), ["b:forward:1"], "it left nine seconds ago");
    pump.pass(Duration::from_secs(1));
    assert_eq!(pump.out(), ["b:forward:1", "b:compensate:1"]);
}
