//! Sagas that only wait leave memory, and are back on time.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::limits::{ASLEEP_AFTER, LOADS_IN_FLIGHT};
use amends_core::shard::{Acknowledged, Input, LoadedSaga};
use amends_core::{SagaId, Time};

use crate::pump::{Pump, definition, failed, succeeded};

const NAP: &str = r"
apiVersion: amends/v1
name: nap
steps:
  - {id: nap, sleep: 1h}
  - {id: a, call: p.a, compensate: {call: p.undo_a}}
";

const APPROVAL: &str = r"
apiVersion: amends/v1
name: approval
signals: {go: {}}
steps:
  - {id: approved, wait: {signal: go}}
  - {id: a, call: p.a, compensate: {call: p.undo_a}}
";

const PATIENT: &str = r"
apiVersion: amends/v1
name: patient
steps:
  - {id: a, call: p.a, retry: {initialInterval: 5m, maxInterval: 1h, jitter: 0}, compensate: {call: p.undo_a}}
";

#[test]
fn a_saga_that_sleeps_leaves_memory_and_wakes_on_time() {
    for crash in [false, true] {
        let mut pump = Pump::new();
        let saga = pump.start(&definition(NAP), "{}");
        let until = pump.now + Duration::from_secs(3_600);
        assert_eq!(pump.shard.active(), 0);
        assert_eq!(pump.rows[&saga].wake_at, Some(until));
        assert_eq!(pump.shard.next_wake(), Some(until));
        pump.pass(Duration::from_secs(1_800));
        if crash {
            pump.crash();
            assert_eq!(pump.shard.active(), 0, "nobody wakes it for that");
        }
        pump.pass(Duration::from_secs(1_800) - Duration::from_micros(1));
        assert!(pump.loads.is_empty() && pump.out().is_empty(), "not early");
        pump.pass(Duration::from_micros(1));
        assert_eq!(pump.out(), ["a:forward:1"]);
        assert_eq!(pump.rows[&saga].wake_at, None, "it is in memory (I38)");
        pump.answer("a", succeeded());
        assert_eq!(pump.state(saga), SagaState::Completed);
    }
}

#[test]
fn a_saga_that_waits_for_a_signal_alone_is_woken_by_nothing_else() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(APPROVAL), "{}");
    assert_eq!(pump.shard.active(), 0);
    assert_eq!(pump.rows[&saga].wake_at, Some(Time::INFINITY));
    assert_eq!(pump.shard.next_wake(), None);
    pump.crash();
    assert_eq!((pump.shard.active(), pump.loads.len()), (0, 0));
    assert_eq!(pump.signal(saga, "go", "{}"), Ok(true));
    assert_eq!(pump.out(), ["a:forward:1"]);
    assert_eq!(pump.rows[&saga].wake_at, None);
}

#[test]
fn what_changes_nothing_wakes_a_saga_for_a_moment_alone() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(APPROVAL), "{}");
    for _ in 0..3 {
        pump.signal(saga, "no_such", "{}")
            .expect_err("it is not declared");
        assert_eq!(pump.shard.active(), 0);
    }
    assert_eq!(pump.journal.len(), 1);
    assert_eq!(pump.shard.next_wake(), None);
}

#[test]
fn a_retry_that_is_far_away_is_slept_through_and_was_never_sent_before() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(PATIENT), "{}");
    pump.answer("a", failed());
    assert_eq!(pump.shard.active(), 0);
    pump.pass(Duration::from_secs(300));
    assert_eq!(pump.out(), ["a:forward:2"]);
    assert!(!pump.command("a").resent, "nobody can have sent it");
    pump.pass(Duration::from_secs(1));
    pump.crash();
    assert!(
        pump.command("a").resent,
        "the owner before may have sent it"
    );
    pump.answer("a", succeeded());
    assert_eq!(pump.state(saga), SagaState::Completed);
}

#[test]
fn an_old_result_finds_its_sleeping_saga() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(PATIENT), "{}");
    let command = pump.send("a");
    pump.reply(&command, failed(), None);
    assert_eq!(pump.shard.active(), 0);
    assert_eq!(
        pump.reply(&command, succeeded(), None),
        Acknowledged::Recorded
    );
    assert_eq!(pump.state(saga), SagaState::Completed);
    assert_eq!(pump.shard.active(), 0);
    assert_eq!(pump.shard.next_wake(), None, "its time is forgotten");
}

#[test]
fn the_store_is_asked_for_so_many_sagas_at_a_time() {
    let mut pump = Pump::new();
    let nap = definition(NAP);
    let count = 3 * LOADS_IN_FLIGHT;
    for _ in 0..count {
        pump.offer_start(&nap, "{}", None, None);
    }
    pump.run();
    assert_eq!(pump.shard.active(), 0);
    pump.mute = true;
    pump.now = pump.now + Duration::from_secs(3_600);
    pump.run();
    assert_eq!(pump.loads.len(), LOADS_IN_FLIGHT);
    assert!(
        !pump.shard.is_ready(pump.now),
        "nothing can be done before the store answers"
    );
    let mut answered = 0;
    while answered < pump.loads.len() {
        let saga = pump.loads[answered];
        answered += 1;
        pump.load(saga);
        pump.run();
        assert!(pump.loads.len() - answered <= LOADS_IN_FLIGHT);
    }
    assert_eq!((answered, pump.commands.len()), (count, count));
}

#[test]
fn a_store_that_cannot_say_is_asked_again_and_no_timer_is_lost() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(NAP), "{}");
    pump.mute = true;
    pump.pass(Duration::from_secs(3_600));
    assert_eq!(pump.loads, [saga]);
    unavailable(&mut pump, saga);
    assert_eq!(pump.loads, [saga]);
    pump.mute = false;
    pump.pass(Duration::from_secs(10));
    assert_eq!(pump.out(), ["a:forward:1"]);
}

fn unavailable(pump: &mut Pump, saga: SagaId) {
    let loaded = LoadedSaga::Unavailable;
    pump.shard.handle(Input::Loaded { saga, loaded }, pump.now);
    pump.run();
}

#[test]
fn going_to_sleep_is_undone_with_its_batch() {
    let mut pump = Pump::new();
    let (_, saga) = pump.offer_start(&definition(NAP), "{}", None, None);
    let first = pump.shard.prepare(pump.now, pump.limits, &pump.barrier);
    pump.shard.rolled_back(None);
    assert_eq!((pump.shard.active(), pump.shard.next_wake()), (0, None));
    let second = pump.shard.prepare(pump.now, pump.limits, &pump.barrier);
    assert_eq!(first, second);
    pump.store(&second.expect("a batch"));
    assert!(pump.shard.saga(saga).is_some(), "it is not durable yet");
    pump.shard.committed();
    assert!(pump.shard.saga(saga).is_none());
    pump.pass(Duration::from_secs(3_600));
    let before = format!("{:?}", pump.shard.saga(saga));
    let command = pump.send("a");
    pump.offer_reply(&command, failed(), None);
    for _ in 0..2 {
        pump.shard
            .prepare(pump.now, pump.limits, &pump.barrier)
            .expect("a batch");
        pump.shard.rolled_back(None);
        assert_eq!(format!("{:?}", pump.shard.saga(saga)), before);
    }
}

#[test]
fn a_short_pause_is_waited_for_in_memory() {
    let mut pump = Pump::new();
    let yaml = NAP.replace("1h", &format!("{}s", ASLEEP_AFTER.as_secs()));
    let saga = pump.start(&definition(&yaml), "{}");
    assert_eq!(pump.shard.active(), 1);
    assert_eq!(pump.rows[&saga].wake_at, None);
    pump.pass(ASLEEP_AFTER);
    assert_eq!(pump.out(), ["a:forward:1"]);
    assert!(pump.loads.is_empty());
}
