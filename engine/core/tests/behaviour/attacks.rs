//! Ways that were thought of to break a promise: each broke one once, or could.

use std::time::Duration;

use amends_core::fact::Fact;
use amends_core::journal::SagaState;
use amends_core::saga::Phase;
use amends_core::shard::{Acknowledged, BatchLimits, History, Shard, Target, TurnRecovered, Verb};
use amends_core::{OperationKind, Outcome, ShardId};

use crate::family::Family;
use crate::items::{answer, out};
use crate::pump::{Pump, definition, failed, incarnation, payload, rejected, succeeded};

fn at(step: &str, item: u32) -> Target {
    Target {
        step: step.into(),
        item,
        operation: OperationKind::Forward,
    }
}

#[test]
fn a_parked_compensation_leaves_its_room_to_the_next_item() {
    let mut pump = Pump::new();
    let narrow = definition(
        r#"
apiVersion: amends/v1
name: narrow
defaults: {retry: {maxAttempts: 1}}
steps:
  - id: hold
    foreach: {in: input.cars, maxParallel: 1}
    call: p.hold
    compensate: {call: p.cancel}
  - {id: pay, kind: pivot, call: p.pay}
"#,
    );
    let saga = pump.start(&narrow, r#"{"cars":[1,2,3]}"#);
    for item in 1..=3 {
        answer(&mut pump, "hold", item, succeeded());
    }
    pump.answer("pay", rejected("NO"));
    assert_eq!(out(&pump), ["hold[3]:compensate:1"]);
    answer(&mut pump, "hold", 3, rejected("CANNOT"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        out(&pump),
        ["hold[2]:compensate:1"],
        "I23: independent compensations go on"
    );
}

const PARENT: &str = r#"
apiVersion: amends/v1
name: parent
defaults: {retry: {maxAttempts: 1}}
steps:
  - {id: child, saga: {name: child, input: INPUT}, onError: [{then: park}]}
  - {id: after, call: p.after, compensate: {call: p.undo_after}}
"#;

#[test]
fn what_a_person_did_instead_of_a_child_that_was_never_asked_for_is_theirs_to_undo() {
    let parent = PARENT.replace("INPUT", "{n: \"${{ 1 / input.zero }}\"}");
    let mut pump = Pump::new();
    let saga = pump.start(&definition(&parent), r#"{"zero":0}"#);
    assert_eq!(pump.state(saga), SagaState::Parked);
    let (target, output) = (at("child", 0), payload("{}"));
    let resolve = Verb::Resolve { target, output };
    assert_eq!(pump.order(saga, resolve, false), Ok(SagaState::Running));
    pump.answer("after", rejected("NO"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    let reasons: Vec<_> = pump
        .incidents
        .values()
        .map(|open| open.reason.as_str())
        .collect();
    assert_eq!(reasons, ["CHILD_NOT_UNDONE"]);
}

#[test]
fn what_a_person_did_instead_of_a_child_that_was_refused_is_theirs_to_undo() {
    let mut family = Family::new(
        "apiVersion: amends/v1\nname: other\nsteps:\n  - {id: c, call: p.c, compensate: {call: p.undo_c}}\n",
    );
    let saga = family
        .parents
        .start(&definition(&PARENT.replace("INPUT", "{}")), "{}");
    family.talk();
    let pump = &mut family.parents;
    assert_eq!(
        pump.state(saga),
        SagaState::Parked,
        "there is no such child"
    );
    let (target, output) = (at("child", 0), payload("{}"));
    let resolve = Verb::Resolve { target, output };
    assert_eq!(pump.order(saga, resolve, false), Ok(SagaState::Running));
    pump.answer("after", rejected("NO"));
    assert_eq!(
        pump.state(saga),
        SagaState::Parked,
        "I47: it neither ends nor waits in silence"
    );
}

const ASKED: &str = r#"
apiVersion: amends/v1
name: asked
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 1}, timeout: 10s}
steps:
  - {id: hold, call: bare.hold, compensate: {call: bare.release}}
  - {id: pay, kind: pivot, call: bare.pay, query: bare.has_paid, retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}}
  - {id: ship, kind: retriable, call: bare.ship}
"#;

#[test]
fn an_answer_from_before_an_operators_retry_says_nothing_of_what_came_after() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ASKED), "{}");
    pump.answer("hold", succeeded());
    pump.answer("pay", failed());
    pump.pass(Duration::from_secs(1));
    pump.answer("pay", failed());
    // The query's attempts are lost on their way, and one of them comes back much later.
    let early = pump.send("pay");
    pump.commands.clear();
    pump.pass(Duration::from_secs(11));
    pump.answer("pay", failed());
    assert_eq!(pump.state(saga), SagaState::Parked);
    let (target, input) = (at("pay", 0), None);
    pump.order(saga, Verb::Retry { target, input }, false)
        .expect("it is parked");
    pump.answer("pay", failed());
    pump.pass(Duration::from_secs(1));
    pump.answer("pay", failed());
    assert_eq!(pump.out(), ["pay:query:3"]);
    let acknowledged = pump.reply(&early, Outcome::Absent, None);
    assert_eq!(acknowledged, Acknowledged::Late);
    assert!(
        pump.folded(saga).abort().is_none(),
        "I26: the attempt after the retry is still in doubt"
    );
}

#[test]
fn a_query_is_over_when_the_last_attempt_in_doubt_turns_out_never_to_have_left() {
    let mut pump = Pump::new();
    let saga = pump.start(
        &definition(&ASKED.replace(
            "steps:\n  - {id: hold, call: bare.hold, compensate: {call: bare.release}}",
            "steps:",
        )),
        "{}",
    );
    let first = pump.send("pay");
    pump.pass(Duration::from_secs(11));
    assert_eq!(pump.out(), ["pay:forward:1", "pay:forward:2"]);
    pump.reply(&first, rejected("NO"), None);
    assert!(
        pump.out().contains(&"pay:query:1".to_owned()),
        "{:?}",
        pump.out()
    );
    pump.withdrawals.retain(|withdrawn| withdrawn.attempt == 2);
    pump.never_sent("pay");
    assert_eq!(pump.state(saga), SagaState::Compensated);
    assert!(
        !pump
            .folded(saga)
            .place(amends_definitions::StepIndex(0))
            .query_is_open()
    );
}

#[test]
fn an_items_unusable_output_keeps_its_step_from_letting_go_on() {
    let mut family = Family::new(
        "apiVersion: amends/v1\nname: child\nsteps:\n  - {id: c, call: p.c, compensate: {call: p.undo_c}}\noutput: {got: 1}\n",
    );
    let parent = definition(
        r#"
apiVersion: amends/v1
name: parent
steps:
  - {id: first, kind: retriable, foreach: {in: input.items}, saga: {name: child}, outputSchema: {type: object, required: [missing]}}
  - {id: last, kind: retriable, call: p.last}
"#,
    );
    let saga = family.parents.start(&parent, r#"{"items":[1]}"#);
    family.talk();
    family.children.answer("c", succeeded());
    family.talk();
    assert_eq!(family.parents.state(saga), SagaState::Parked);
    assert!(family.parents.out().is_empty());
    let folded = family.parents.folded(saga);
    assert_eq!(
        folded
            .operation(amends_definitions::StepIndex(0), OperationKind::Forward)
            .phase,
        Phase::Listed
    );
}

#[test]
fn the_same_late_success_again_and_again_is_recorded_once() {
    let mut pump = Pump::new();
    let saga = pump.start(
        &definition(
            r#"
apiVersion: amends/v1
name: late
defaults: {retry: {maxAttempts: 1}, timeout: 10s}
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release}}
  - {id: pay, kind: pivot, call: p.pay}
"#,
        ),
        "{}",
    );
    let hold = pump.send("hold");
    pump.pass(Duration::from_secs(11));
    assert_eq!(pump.state(saga), SagaState::Compensating);
    for _ in 0..10 {
        pump.reply(&hold, succeeded(), Some(amends_core::Verdict::Duplicate));
    }
    let late = pump
        .journal
        .iter()
        .flat_map(|row| &row.facts)
        .filter(|fact| matches!(fact, Fact::LateResult { .. }))
        .count();
    assert!(late <= 1, "{late}");
}

#[test]
fn a_saga_that_is_woken_again_and_again_is_still_looked_at_as_often_as_it_needs() {
    let parent = format!("{}signals: {{go: {{}}}}\n", PARENT.replace("INPUT", "{}")).replace(
        "  - {id: after, ",
        "  - {id: last, wait: {signal: go}}\n  - {id: after, ",
    );
    let mut pump = Pump::new();
    let saga = pump.start(&definition(&parent), "{}");
    // What lets it rest rides in the batches of others.
    let quick = definition(
        "apiVersion: amends/v1\nname: quick\nsteps:\n  - {id: say, kind: retriable, emit: {type: said}}\n",
    );
    let go_on = |pump: &mut Pump| {
        pump.pass(Duration::from_secs(50));
        pump.start(&quick, "{}");
        pump.pass(Duration::from_secs(50));
    };
    for _ in 0..20 {
        go_on(&mut pump);
        pump.signal(saga, "go", "{}").expect("it runs");
    }
    let before = pump.loads.len();
    for _ in 0..60 {
        go_on(&mut pump);
    }
    let loads = pump.loads.len() - before;
    assert!(loads <= 10, "once in ten minutes, and not {loads} times");
}

#[test]
fn a_turn_that_had_not_come_has_not_come_because_its_saga_cannot_be_read() {
    let one = definition(
        "apiVersion: amends/v1\nname: one\nsteps:\n  - {id: a, call: p.a, compensate: {call: p.undo_a}}\n",
    );
    let mut pump = Pump::new();
    let mut line = || {
        let (_, saga) = pump.offer_start_in_line(&one, "{}", None, None, Some("k"));
        pump.run();
        saga
    };
    let (first, second) = (line(), line());
    let turns = [first, second].map(|saga| TurnRecovered {
        saga,
        namespace: "default".into(),
        definition: "one".into(),
        turn: pump.rows[&saga].turn.expect("it needs one"),
    });
    assert_eq!(
        turns.each_ref().map(|turn| turn.turn.granted),
        [true, false]
    );
    let epoch = pump.journal.last().expect("they began").position + 1;
    let mut shard = Shard::new(ShardId(3), incarnation(), epoch);
    shard.recover_turns(turns.to_vec());
    let broken = History {
        rows: Err("unknown version 9".into()),
        ..pump.history(second)
    };
    shard.recover(broken, pump.now);
    let batch = shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier)
        .expect("it is parked");
    assert_eq!(batch.updates[0].id, second);
    assert!(!batch.updates[0].turn_granted, "I15: the first still runs");
}

#[test]
fn a_refused_pivot_that_a_route_goes_past_is_the_point_of_no_return() {
    let mut pump = Pump::new();
    let saga = pump.start(
        &definition(
            r#"
apiVersion: amends/v1
name: past
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release}}
  - {id: pay, kind: pivot, call: p.pay, onError: [{codes: [FREE], then: continue}]}
  - {id: ship, kind: retriable, call: p.ship}
"#,
        ),
        "{}",
    );
    pump.answer("hold", succeeded());
    pump.answer("pay", rejected("FREE"));
    assert!(pump.cancel(saga).is_err(), "I25");
    pump.answer("ship", rejected("CLOSED"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    let target = at("ship", 0);
    let skipped = pump.order(saga, Verb::Skip { target }, false);
    assert_eq!(skipped, Ok(SagaState::Completed));
}
