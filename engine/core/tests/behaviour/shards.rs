//! The shard's own promises: batches, going back, loading, losing the shard.

use amends_core::fact::IncidentReason;
use amends_core::journal::SagaState;
use amends_core::shard::{
    Acknowledged, BatchLimits, Command, Existing, History, Input, LoadedSaga, OrderRefusal, Output,
    Shard, SignalRefusal, StartRefusal, Verb,
};
use amends_core::{ShardId, Time};

use crate::forward::ORDER;
use crate::pump::{Pump, definition, incarnation, succeeded};

#[test]
fn nothing_leaves_before_it_is_durable() {
    let mut pump = Pump::new();
    pump.offer_start(&definition(ORDER), r#"{"sku":"a"}"#, None, None);
    let batch = pump
        .shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier)
        .expect("there is something to write");
    assert_eq!(batch.rows.len(), 1);
    assert!(pump.shard.take_outputs().is_empty());
    pump.offer_start(&definition(ORDER), r#"{"sku":"b"}"#, None, None);
    assert!(
        !pump.shard.is_ready(pump.now),
        "one batch is in flight at most"
    );
    assert!(
        pump.shard
            .prepare(pump.now, BatchLimits::default(), &pump.barrier)
            .is_none()
    );
    pump.shard.committed();
    let outputs = pump.shard.take_outputs();
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Send(_)))
    );
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Started { result: Ok(_), .. }))
    );
}

#[test]
fn a_definite_failure_goes_back_and_decides_again() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let command = pump.send("reserve");
    let before = format!("{:?}", pump.shard.saga(saga));
    let position = pump.journal.last().expect("it began").position;
    for _ in 0..3 {
        pump.offer_reply(&command, succeeded(), None);
        let batch = pump
            .shard
            .prepare(pump.now, BatchLimits::default(), &pump.barrier)
            .expect("a batch");
        assert_eq!(
            batch.rows[0].position,
            position + 1,
            "no position is skipped"
        );
        pump.shard.rolled_back(None);
        assert_eq!(format!("{:?}", pump.shard.saga(saga)), before);
        assert!(pump.shard.take_outputs().is_empty());
    }
    pump.commands.clear();
    pump.run();
    assert_eq!(pump.out(), ["charge:forward:1"]);
    let answers: Vec<_> = pump.acknowledged.values().collect();
    assert_eq!(
        answers,
        [
            &Acknowledged::Recorded,
            &Acknowledged::Late,
            &Acknowledged::Late
        ]
    );
}

#[test]
fn a_lost_batch_is_decided_again_behind_the_takeover_record() {
    let mut pump = Pump::new();
    let (token, _) = pump.offer_start(&definition(ORDER), r#"{"sku":"a"}"#, None, None);
    let first = pump
        .shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier)
        .expect("a batch")
        .rows[0]
        .position;
    pump.shard.rolled_back(Some(first));
    assert_eq!(pump.shard.epoch(), first);
    let again = pump
        .shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier)
        .expect("a batch");
    assert_eq!((again.epoch, again.rows[0].position), (first, first + 1));
    pump.store(&again);
    pump.shard.committed();
    pump.let_out();
    assert!(pump.started[&token].is_ok());
    assert_eq!(pump.commands[0].epoch, first);
}

#[test]
fn a_keyed_start_that_was_rolled_back_waits_for_its_key_to_be_looked_up_again() {
    let mut pump = Pump::new();
    let (token, _) = pump.offer_start(&definition(ORDER), "{}", Some("k"), None);
    pump.shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier)
        .expect("a batch");
    pump.shard.rolled_back(None);
    assert!(
        pump.shard
            .prepare(pump.now, BatchLimits::default(), &pump.barrier)
            .is_none()
    );
    assert!(pump.started.is_empty());
    let winner = amends_core::SagaId::new(pump.now, ShardId(3), 77);
    for start in pump.shard.starts_to_look_up() {
        let input_hash = start.key.expect("it has a key").input_hash;
        start.existing = Some(Existing {
            saga: winner,
            input_hash,
            revision: 4,
        });
    }
    pump.run();
    let answer = pump.started[&token]
        .clone()
        .expect("the winner is returned");
    assert_eq!(
        (answer.saga, answer.created, answer.revision),
        (winner, false, 4)
    );
}

#[test]
fn a_batch_is_bounded_and_the_rest_waits() {
    let mut pump = Pump::new();
    let order = definition(ORDER);
    for _ in 0..5 {
        pump.offer_start(&order, r#"{"sku":"a"}"#, None, None);
    }
    let limits = BatchLimits {
        rows: 2,
        ..BatchLimits::default()
    };
    let batch = pump
        .shard
        .prepare(pump.now, limits, &pump.barrier)
        .expect("a batch");
    assert_eq!(batch.rows.len(), 2);
    assert_eq!(pump.shard.queued(), 3);
}

#[test]
fn data_that_the_store_refuses_parks_its_saga_and_no_other() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let command = pump.send("reserve");
    let token = pump.offer_reply(&command, succeeded(), None);
    let limits = BatchLimits {
        inputs: 1,
        ..BatchLimits::default()
    };
    pump.shard
        .prepare(pump.now, limits, &pump.barrier)
        .expect("a batch");
    pump.shard.rolled_back(None);
    pump.shard.refuse_first("value out of range");
    pump.run();
    assert_eq!(pump.acknowledged[&token], Acknowledged::Unreadable);
    assert_eq!(pump.state(saga), SagaState::Parked);
    let (token, _) = pump.offer_start(&definition(ORDER), r#"{"sku":"b"}"#, None, None);
    pump.shard
        .prepare(pump.now, limits, &pump.barrier)
        .expect("a batch");
    pump.shard.rolled_back(None);
    pump.shard.refuse_first("value out of range");
    pump.run();
    assert_eq!(
        pump.started[&token],
        Err(StartRefusal::Data {
            message: "value out of range".into()
        })
    );
}

#[test]
fn a_lost_shard_answers_everything_as_unavailable_and_decides_nothing() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let command = pump.send("reserve");
    let waiting = pump.offer_reply(&command, succeeded(), None);
    pump.shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier)
        .expect("a batch");
    let (start, _) = pump.offer_start(&definition(ORDER), "{}", None, None);
    pump.shard.depose();
    pump.let_out();
    assert_eq!(pump.acknowledged[&waiting], Acknowledged::Unavailable);
    assert_eq!(pump.started[&start], Err(StartRefusal::Unavailable));
    assert_eq!(
        pump.cancel(saga),
        Err(amends_core::shard::CancelRefusal::Unavailable)
    );
    assert_eq!(
        pump.order(saga, Verb::Pause, false),
        Err(OrderRefusal::Unavailable)
    );
    assert_eq!(
        pump.signal(saga, "go", "{}"),
        Err(SignalRefusal::Unavailable)
    );
    assert!(
        pump.shard
            .prepare(pump.now, BatchLimits::default(), &pump.barrier)
            .is_none()
    );
}

#[test]
fn a_saga_that_cannot_be_read_parks_with_its_reason_once_and_hides_no_other() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let other = pump.start(&definition(ORDER), r#"{"sku":"b"}"#);
    let command = pump.send("reserve");
    let mut shard = Shard::new(ShardId(3), incarnation(), 100);
    let broken = History {
        rows: Err("unknown version 9".into()),
        ..pump.history(saga)
    };
    shard.recover(broken, pump.now);
    shard.recover(pump.history(other), pump.now);
    let batch = shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier)
        .expect("a batch");
    assert_eq!(batch.updates.len(), 1);
    assert_eq!(
        (batch.updates[0].id, batch.updates[0].state),
        (saga, SagaState::Parked)
    );
    shard.committed();
    let sends = shard
        .take_outputs()
        .iter()
        .filter(|output| matches!(output, Output::Send(_)))
        .count();
    assert_eq!(sends, 1, "the other saga goes on");
    pump.shard = shard;
    assert_eq!(
        pump.reply(&command, succeeded(), None),
        Acknowledged::Unreadable
    );
    // A successor may be able to read it.
    let of_successor = Command {
        epoch: pump.shard.epoch() + 1,
        ..command
    };
    assert_eq!(
        pump.reply(&of_successor, succeeded(), None),
        Acknowledged::Unavailable
    );
}

#[test]
fn a_store_that_cannot_load_refuses_for_now() {
    let mut pump = Pump::new();
    let absent = amends_core::SagaId::new(Time::EPOCH, ShardId(3), 5);
    let token = amends_core::shard::Token(1_000);
    let cancel = Input::Cancel {
        token,
        namespace: "default".into(),
        saga: absent,
        by: "x".into(),
        reason: "y".into(),
    };
    pump.shard.handle(cancel, pump.now);
    assert!(
        pump.shard
            .prepare(pump.now, BatchLimits::default(), &pump.barrier)
            .is_none()
    );
    assert!(matches!(
        pump.shard.take_outputs()[..],
        [Output::Load { .. }]
    ));
    pump.shard.handle(
        Input::Loaded {
            saga: absent,
            loaded: LoadedSaga::Unavailable,
        },
        pump.now,
    );
    pump.let_out();
    assert_eq!(
        pump.cancelled[&1_000],
        Err(amends_core::shard::CancelRefusal::Unavailable)
    );
}

const NAP: &str = r"
apiVersion: amends/v1
name: nap
steps:
  - {id: nap, sleep: 30s}
  - {id: a, call: p.a, compensate: {call: p.undo_a}}
";

/// Decides what is queued, and has the store refuse it.
fn refuse(pump: &mut Pump) -> bool {
    let batch = pump
        .shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier);
    if batch.is_none() {
        return false;
    }
    pump.shard.rolled_back(None);
    pump.shard.refuse_first("value out of range");
    true
}

#[test]
fn what_a_timer_leads_to_and_the_store_refuses_is_not_tried_again_and_again() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(NAP), "{}");
    pump.now = pump.now + std::time::Duration::from_secs(30);
    assert!(refuse(&mut pump), "its time came");
    pump.run();
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(pump.shard.next_wake(), None, "it does not spin");
    pump.pass(std::time::Duration::from_secs(600));
    let rows = pump.journal.len();
    assert_eq!(
        pump.facts(saga).last().map(String::as_str),
        Some("incident RECORD_REFUSED")
    );
    // Something that arrives lets it try again.
    pump.cancel(saga).expect("it can be cancelled");
    assert!(pump.journal.len() > rows);
}

#[test]
fn a_saga_whose_parking_is_refused_as_well_rests_until_something_arrives() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(NAP), "{}");
    let rows = pump.journal.len();
    pump.now = pump.now + std::time::Duration::from_secs(30);
    assert!(refuse(&mut pump), "its time came");
    assert!(refuse(&mut pump), "it was to be parked");
    assert!(!refuse(&mut pump), "nothing is tried any more");
    assert!(!pump.shard.is_ready(pump.now) && pump.shard.next_wake().is_none());
    assert_eq!((pump.journal.len(), pump.shard.active()), (rows, 1));
    pump.signal(saga, "no_such", "{}")
        .expect_err("it is not declared");
    pump.run();
    assert_eq!(pump.out(), ["a:forward:1"], "its timers try again");
}

#[test]
fn a_saga_without_its_definition_parks_as_an_incident_that_is_listed() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let history = History {
        definition: Err("revision 1 is missing".into()),
        ..pump.history(saga)
    };
    let mut shard = Shard::new(ShardId(3), incarnation(), 100);
    shard.recover(history, pump.now);
    let batch = shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier)
        .expect("a batch");
    let opened: Vec<_> = batch
        .incidents_opened
        .iter()
        .map(|incident| (incident.name.saga, incident.name.number, incident.reason))
        .collect();
    assert_eq!(opened, [(saga, 1, IncidentReason::DefinitionMissing)]);
}
