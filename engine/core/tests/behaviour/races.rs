//! Inputs that cross: attempts that overtake one another, an abort before a command left, a batch that is undone.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::{Acknowledged, Input, Target, Verb};
use amends_core::{AttemptName, OperationKind, OperationName, Outcome, SagaId};

use crate::forward::ORDER;
use crate::pump::{Pump, attempt_of, definition, failed, payload, rejected, succeeded};

const SIDE_BY_SIDE: &str = r#"
apiVersion: amends/v1
name: side-by-side
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}, timeout: 10s}
steps:
  - {id: root, needs: [], call: p.root, compensate: {call: p.undo_root}}
  - {id: side, needs: [], call: p.side, compensate: {call: p.undo_side}}
  - {id: next, needs: [root], call: p.next, compensate: {call: p.undo_next}}
"#;

const ONE: &str = r#"
apiVersion: amends/v1
name: one
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}, timeout: 10s}
steps:
  - {id: a, call: p.a, compensate: {call: p.undo_a}}
"#;

#[test]
fn a_step_that_was_scheduled_and_aborted_in_one_batch_was_never_sent_and_owes_nothing() {
    let mut pump = Pump::new();
    pump.barrier.0 = false;
    let saga = pump.start(&definition(SIDE_BY_SIDE), "{}");
    let (root, side) = (pump.send("root"), pump.send("side"));
    pump.commands.clear();
    pump.offer_reply(&root, succeeded(), None);
    pump.offer_reply(&side, rejected("NO"), None);
    pump.run();
    assert_eq!(
        pump.out(),
        ["root:compensate:1"],
        "next never left (I18), so nothing of it is awaited: {:?}",
        pump.facts(saga)
    );
    assert!(
        pump.facts(saga)
            .contains(&"withdrawn next ABORTED".to_owned())
    );
    pump.answer("root", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_late_refusal_cancels_the_retry_that_was_not_due_and_a_pivot_is_not_in_doubt_for_it() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    let charge = pump.send("charge");
    pump.commands.clear();
    pump.pass(Duration::from_secs(30));
    assert!(pump.out().is_empty(), "the second attempt is not due yet");
    // F27.
    pump.reply(&charge, rejected("CARD_DECLINED"), None);
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert_eq!(pump.out(), ["reserve:compensate:1"]);
}

#[test]
fn a_late_refusal_takes_back_the_newer_attempt_that_nobody_took_and_a_pivot_is_not_in_doubt_for_it()
{
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    let charge = pump.send("charge");
    pump.commands.clear();
    pump.pass(Duration::from_secs(31));
    assert_eq!(pump.out(), ["charge:forward:2"]);
    pump.reply(&charge, rejected("CARD_DECLINED"), None);
    assert_eq!(pump.state(saga), SagaState::Parked);
    pump.never_sent("charge");
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert_eq!(pump.out(), ["reserve:compensate:1"]);
}

#[test]
fn a_late_refusal_in_the_batch_in_which_the_retry_comes_due_leaves_no_doubt() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    let charge = pump.send("charge");
    pump.commands.clear();
    pump.pass(Duration::from_secs(30));
    pump.offer_reply(&charge, rejected("CARD_DECLINED"), None);
    pump.now = pump.now + Duration::from_secs(2);
    pump.run();
    assert_eq!(
        pump.out(),
        ["reserve:compensate:1"],
        "{:?}",
        pump.facts(saga)
    );
}

#[test]
fn a_success_of_the_attempt_still_in_doubt_counts_after_the_refusal_of_another() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    let first = pump.send("charge");
    pump.commands.clear();
    pump.pass(Duration::from_secs(31));
    let second = pump.send("charge");
    pump.reply(&first, rejected("CARD_DECLINED"), None);
    assert_eq!(
        pump.state(saga),
        SagaState::Parked,
        "the second attempt may have charged"
    );
    assert_eq!(
        pump.reply(&second, succeeded(), None),
        Acknowledged::Recorded
    );
    assert_eq!(pump.out(), ["ship:forward:1"], "{:?}", pump.facts(saga));
    assert!(pump.folded(saga).incidents().is_empty());
}

#[test]
fn an_attempt_that_overtook_a_refusal_settles_from_its_own_sending() {
    let mut pump = Pump::new();
    pump.barrier.0 = false;
    let saga = pump.start(&definition(ONE), "{}");
    let first = pump.send("a");
    pump.commands.clear();
    pump.pass(Duration::from_secs(12));
    pump.send("a");
    pump.commands.clear();
    pump.reply(&first, rejected("SOLD_OUT"), None);
    assert!(
        pump.out().is_empty(),
        "the second attempt was sent just now (I19): {:?}",
        pump.facts(saga)
    );
    pump.pass(Duration::from_secs(10));
    assert_eq!(pump.out(), ["a:compensate:1"]);
}

#[test]
fn an_attempt_that_was_sent_again_has_no_more_time_and_settles_from_its_last_sending() {
    let mut pump = Pump::new();
    pump.barrier.0 = false;
    let one = ONE.replace("maxAttempts: 2", "maxAttempts: 1");
    let saga = pump.start(&definition(&one), "{}");
    pump.send("a");
    pump.pass(Duration::from_secs(8));
    pump.send("a");
    pump.commands.clear();
    pump.pass(Duration::from_secs(2));
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("settling a"),
        "a stream that comes and goes does not keep an attempt alive (F33)"
    );
    pump.pass(Duration::from_millis(7_999));
    assert!(pump.out().is_empty());
    pump.pass(Duration::from_millis(1));
    assert_eq!(pump.out(), ["a:compensate:1"]);
}

#[test]
fn an_attempt_that_an_earlier_owner_may_have_sent_settles_from_the_takeover() {
    let yaml = ONE.replace("timeout: 10s", "timeout: {attempt: 10s, schedule: 4s}");
    let mut pump = Pump::new();
    pump.barrier.0 = false;
    let saga = pump.start(&definition(&yaml), "{}");
    pump.answer("a", failed());
    pump.pass(Duration::from_secs(60));
    pump.send("a");
    pump.crash();
    pump.pass(Duration::from_secs(4));
    pump.never_sent("a");
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("settling a"),
        "the second attempt left just before the takeover (I19)"
    );
    pump.pass(Duration::from_millis(5_999));
    assert!(pump.out().is_empty());
    pump.pass(Duration::from_millis(1));
    assert_eq!(pump.out(), ["a:compensate:1"]);
}

#[test]
fn what_nobody_takes_after_a_takeover_is_taken_back_before_it_is_given_up() {
    let yaml = ONE.replace("timeout: 10s", "timeout: {attempt: 10s, schedule: 4s}");
    let mut pump = Pump::new();
    let saga = pump.start(&definition(&yaml), "{}");
    pump.pass(Duration::from_secs(1));
    pump.crash();
    pump.pass(Duration::from_secs(4));
    assert_eq!(
        pump.withdrawals.len(),
        1,
        "else it would leave later, maybe after the abort (I9)"
    );
    pump.never_sent("a");
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("unknown forward a:1 again"),
        "the earlier owner may have sent it"
    );
}

#[test]
fn a_settle_time_that_was_over_before_the_takeover_is_not_slept_through() {
    let mut pump = Pump::new();
    pump.barrier.0 = false;
    pump.start(
        &definition(&ONE.replace("maxAttempts: 2", "maxAttempts: 1")),
        "{}",
    );
    pump.answer("a", failed());
    pump.now = pump.now + Duration::from_secs(60);
    pump.crash();
    // By whose clock it was over, nobody knows: it runs again.
    pump.pass(Duration::from_millis(9_999));
    assert!(pump.out().is_empty());
    pump.pass(Duration::from_millis(1));
    assert_eq!(pump.out(), ["a:compensate:1"], "no timer is lost (I37)");
}

#[test]
fn a_leak_is_said_aloud_even_when_the_history_is_full() {
    use std::fmt::Write as _;
    let mut yaml = String::from(
        "apiVersion: amends/v1\nname: full\ndefaults: {retry: {maxAttempts: 1}, timeout: 10s}\nsteps:\n",
    );
    for step in 0..10 {
        let _ = writeln!(
            yaml,
            "  - {{id: s{step}, needs: [], call: p.s, input: \"${{{{ input }}}}\", compensate: {{call: p.undo, input: {{x: 1}}}}}}"
        );
    }
    let mut pump = Pump::new();
    pump.barrier.0 = false;
    let input = format!(r#"{{"big":"{}"}}"#, "x".repeat(1_000_000));
    let saga = pump.start(&definition(&yaml), &input);
    let late = pump.command("s0").clone();
    for step in 0..10 {
        pump.send(&format!("s{step}"));
    }
    pump.commands.clear();
    pump.pass(Duration::from_secs(30));
    for step in 0..10 {
        pump.answer(&format!("s{step}"), succeeded());
    }
    assert_eq!(pump.state(saga), SagaState::Compensated);
    pump.reply(&late, succeeded(), None);
    assert_eq!(pump.folded(saga).incidents().len(), 1);
}

#[test]
fn a_refusal_that_comes_while_it_settles_ends_the_saga_undone() {
    let mut pump = Pump::new();
    pump.barrier.0 = false;
    let saga = pump.start(
        &definition(&ONE.replace("maxAttempts: 2", "maxAttempts: 1")),
        "{}",
    );
    let action = pump.send("a");
    pump.commands.clear();
    pump.pass(Duration::from_secs(5));
    pump.reply(&action, failed(), None);
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("settling a")
    );
    pump.reply(&action, rejected("NO"), None);
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_compensation_that_nobody_takes_within_the_time_of_all_attempts_parks_and_does_not_spin() {
    let yaml = r#"
apiVersion: amends/v1
name: one
defaults: {retry: {maxAttempts: 1}, timeout: 10s}
steps:
  - {id: a, call: p.a, compensate: {call: p.undo_a, timeout: {attempt: 5s, total: 20s, schedule: 15s}}}
"#;
    let mut pump = Pump::new();
    let saga = pump.start(&definition(yaml), "{}");
    pump.answer("a", failed());
    for _ in 0..20 {
        pump.pass(Duration::from_secs(1));
        if !pump.withdrawals.is_empty() {
            pump.never_sent("a");
        }
    }
    assert_eq!(
        pump.state(saga),
        SagaState::Parked,
        "{:?}",
        pump.facts(saga)
    );
    assert_eq!(pump.out().len(), 0);
    assert!(pump.shard.next_wake().is_none());
}

#[test]
fn what_waits_for_its_saga_to_be_loaded_survives_a_batch_that_is_undone() {
    let mut pump = Pump::new();
    let order = definition(ORDER);
    let ended = pump.start(&order, r#"{"sku":"a"}"#);
    let command = pump.send("reserve");
    pump.reply(&command, rejected("NO"), None);
    assert_eq!(pump.state(ended), SagaState::Compensated);
    pump.shard.handle(sent(ended), pump.now);
    let token = pump.offer_reply(&command, rejected("NO"), None);
    pump.offer_start(&order, r#"{"sku":"b"}"#, None, None);
    pump.shard
        .prepare(pump.now, pump.limits, &pump.barrier)
        .expect("the start is to be written");
    pump.shard.rolled_back(None);
    pump.run();
    assert_eq!(
        pump.acknowledged.get(&token),
        Some(&Acknowledged::Late),
        "every outcome is answered (I13)"
    );
}

#[test]
fn an_attempt_that_beats_is_waited_for_to_its_own_end_and_a_silent_one_is_not() {
    let yaml = ONE.replace("timeout: 10s", "timeout: {attempt: 60s, heartbeat: 5s}");
    // The attempt's own end at 60 s comes before the silence after its last beat at 56 s.
    for (beats, lasts) in [(0, 5), (3, 17), (14, 60)] {
        let mut pump = Pump::new();
        let saga = pump.start(&definition(&yaml), "{}");
        pump.pass(Duration::from_secs(100));
        let attempt = attempt_of(&pump.send("a"));
        for _ in 0..beats {
            pump.pass(Duration::from_secs(4));
            let attempt = attempt.clone();
            pump.shard.handle(Input::Heartbeat { attempt }, pump.now);
            pump.run();
        }
        pump.pass(Duration::from_secs(lasts - 4 * beats) - Duration::from_micros(1));
        assert_eq!(pump.facts(saga).len(), 2, "{beats} beats");
        pump.pass(Duration::from_micros(1));
        assert_eq!(
            pump.facts(saga).last().map(String::as_str),
            Some("unknown forward a:1 again"),
            "{beats} beats"
        );
    }
}

const ITEMS: &str = r#"
apiVersion: amends/v1
name: items
steps:
  - id: each
    foreach: {in: "${{ input.list }}"}
    call: bare.each
    query: bare.look
    retry: {maxAttempts: 1}
    input: {item: "${{ item }}"}
    compensate: {call: bare.undo}
"#;

#[test]
fn commands_of_items_carry_their_place_and_those_about_an_action_its_key() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ITEMS), r#"{"list":["x","y"]}"#);
    let first = pump.commands[0].clone();
    let second = pump.commands[1].clone();
    assert_eq!((first.key.item, second.key.item), (1, 2));
    assert_eq!(second.input, payload(r#"{"item":"y"}"#));
    pump.reply(&first, failed(), None);
    assert_eq!(pump.out(), ["each:forward:1", "each:query:1"]);
    let query = pump.command_of(OperationKind::Query);
    assert_eq!(query.key.item, 1);
    assert_eq!(query.forward_key.as_ref(), Some(&first.key));
    assert_eq!(query.action.as_str(), "bare.look");
    pump.reply(&query, Outcome::Absent, None);
    pump.reply(&second, succeeded(), None);
    let undo = pump.command_of(OperationKind::Compensate);
    assert_eq!(
        (undo.key.item, undo.forward_key.as_ref()),
        (2, Some(&second.key))
    );
    pump.reply(&undo, succeeded(), None);
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_new_round_has_a_key_of_its_own_and_results_of_the_round_before_are_late() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    pump.answer("charge", succeeded());
    let before = pump.send("ship");
    pump.reply(&before, rejected("ADDRESS"), None);
    assert_eq!(pump.state(saga), SagaState::Parked);
    let retry = Verb::Retry {
        target: Target {
            step: "ship".into(),
            item: 0,
            operation: OperationKind::Forward,
        },
        input: Some(payload(r#"{"to":"elsewhere"}"#)),
    };
    assert_eq!(pump.order(saga, retry, false), Ok(SagaState::Running));
    let after = pump.command("ship").clone();
    assert_eq!((after.key.round, after.attempt), (1, 1));
    assert_eq!(after.input, payload(r#"{"to":"elsewhere"}"#));
    assert_eq!(
        pump.reply(&before, rejected("ADDRESS"), None),
        Acknowledged::Late
    );
    assert_eq!(pump.state(saga), SagaState::Running);
    assert_eq!(pump.out(), ["ship:forward:1"], "it is out once");
    // What is said of the round before is not said of this one, whose first attempt has the same number.
    let facts = pump.facts(saga).len();
    let attempt = attempt_of(&before);
    pump.shard.handle(Input::Sent { attempt }, pump.now);
    pump.run();
    pump.pass(Duration::from_secs(3_600));
    assert_eq!(
        pump.facts(saga).len(),
        facts,
        "nobody took it: {:?}",
        pump.facts(saga)
    );
    pump.reply(&after, succeeded(), None);
    assert_eq!(pump.state(saga), SagaState::Completed);
}

fn sent(saga: SagaId) -> Input {
    Input::Sent {
        attempt: AttemptName {
            saga,
            name: OperationName {
                step: "reserve".into(),
                item: 0,
                round: 0,
                operation: OperationKind::Forward,
            },
            attempt: 1,
        },
    }
}
