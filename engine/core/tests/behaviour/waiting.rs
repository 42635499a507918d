//! What waits without a participant, and what is only said: signals, sleeps, events, failures on purpose.

use std::time::Duration;

use amends_core::fact::Fact;
use amends_core::journal::SagaState;
use amends_core::limits::SIGNALS_PENDING_MAX;
use amends_core::shard::{SignalRefusal, Target, Verb};
use amends_core::{OperationKind, SagaId};

use crate::pump::{Pump, definition, payload, rejected, succeeded};

fn approval(on_timeout: &str) -> String {
    format!(
        r#"
apiVersion: amends/v1
name: approval
defaults: {{retry: {{initialInterval: 1s, jitter: 0, maxAttempts: 2}}, timeout: 10s}}
signals:
  decided: {{schema: {{type: object, required: [approved]}}}}
  other: {{}}
steps:
  - {{id: hold, call: p.hold, compensate: {{call: p.release}}}}
  - {{id: ask, wait: {{signal: decided, timeout: 1h, onTimeout: {on_timeout}}}}}
  - {{id: refuse, when: "has(steps.ask.output) && !steps.ask.output.approved", fail: {{code: NOT_APPROVED, message: "Refused by ${{{{ steps.ask.output.by }}}}"}}}}
  - {{id: pay, kind: pivot, call: p.pay, input: {{status: "${{{{ steps.ask.status }}}}"}}}}
"#
    )
}

fn asking(on_timeout: &str) -> (Pump, SagaId) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(&approval(on_timeout)), "{}");
    pump.answer("hold", succeeded());
    (pump, saga)
}

#[test]
fn a_signal_lets_its_wait_go_on_with_what_it_says() {
    let (mut pump, saga) = asking("compensate");
    assert_eq!(pump.facts(saga).last().expect("one"), "signal_awaited ask");
    assert_eq!(
        pump.signal(saga, "decided", r#"{"approved":true}"#),
        Ok(true)
    );
    assert_eq!(
        pump.command("pay").input,
        payload(r#"{"status":"succeeded"}"#)
    );
}

#[test]
fn a_signal_that_says_no_fails_the_saga_on_purpose_in_its_words() {
    let (mut pump, saga) = asking("compensate");
    let no = r#"{"approved":false,"by":"bob"}"#;
    assert_eq!(pump.signal(saga, "decided", no), Ok(true));
    assert_eq!(
        pump.folded(saga).abort().expect("aborted").reason.message(),
        "Refused by bob"
    );
    assert_eq!(pump.out(), ["hold:compensate:1"]);
}

#[test]
fn an_early_signal_waits_for_its_wait_and_a_second_is_said_to_be_left() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(&approval("compensate")), "{}");
    for by in ["first", "second"] {
        let json = format!(r#"{{"approved":true,"by":"{by}"}}"#);
        assert_eq!(pump.signal(saga, "decided", &json), Ok(true));
    }
    pump.answer("hold", succeeded());
    let folded = pump.folded(saga);
    let ask = folded.definition().step_index("ask").expect("a step");
    assert_eq!(
        folded.place(ask).forward.output,
        Some(payload(r#"{"approved":true,"by":"first"}"#)),
        "the oldest first"
    );
    pump.answer("pay", succeeded());
    assert_eq!(
        pump.facts(saga)[pump.facts(saga).len() - 2..],
        ["signal_unconsumed", "completed"]
    );
    assert_eq!(pump.rows[&saga].state, SagaState::Completed);
}

#[test]
fn a_signal_that_does_not_come_in_time_compensates() {
    let (mut pump, saga) = asking("compensate");
    pump.pass(Duration::from_secs(3_599));
    assert_eq!(pump.state(saga), SagaState::Running);
    pump.pass(Duration::from_secs(1));
    assert_eq!(
        pump.folded(saga).abort().expect("aborted").reason.code(),
        "WAIT_TIMEOUT"
    );
    assert_eq!(
        pump.signal(saga, "decided", r#"{"approved":true}"#),
        Ok(true),
        "accepted while it compensates, and taken by nothing"
    );
    pump.answer("hold", succeeded());
    assert_eq!(
        pump.facts(saga)[pump.facts(saga).len() - 2..],
        ["signal_unconsumed", "compensated"]
    );
}

#[test]
fn a_signal_that_does_not_come_in_time_lets_it_go_on_without_an_output() {
    let (mut pump, saga) = asking("continue");
    pump.pass(Duration::from_secs(3_600));
    assert!(pump.facts(saga).contains(&"continued ask".to_owned()));
    assert_eq!(
        pump.command("pay").input,
        payload(r#"{"status":"continued"}"#)
    );
}

#[test]
fn a_signal_that_does_not_come_in_time_parks_and_comes_late_all_the_same() {
    let (mut pump, saga) = asking("park");
    pump.pass(Duration::from_secs(3_600));
    assert_eq!(pump.state(saga), SagaState::Parked);
    let incident = pump.incidents.values().next().expect("one is open");
    assert_eq!(incident.reason.as_str(), "SIGNAL_TIMEOUT");
    assert_eq!(incident.code.as_deref(), Some("WAIT_TIMEOUT"));
    assert_eq!(pump.signal(saga, "other", "{}"), Ok(true));
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        pump.signal(saga, "decided", r#"{"approved":true}"#),
        Ok(true)
    );
    assert_eq!(pump.out(), ["pay:forward:1"]);
    assert_eq!(pump.state(saga), SagaState::Running);
    assert!(pump.incidents.is_empty());
}

#[test]
fn a_parked_wait_is_tried_again_by_a_person() {
    let (mut pump, saga) = asking("park");
    pump.pass(Duration::from_secs(3_600));
    let target = Target {
        step: "ask".into(),
        item: 0,
        operation: OperationKind::Forward,
    };
    let with_input = Verb::Retry {
        target: target.clone(),
        input: Some(payload("{}")),
    };
    assert!(pump.order(saga, with_input, false).is_err());
    let input = None;
    pump.order(saga, Verb::Retry { target, input }, false)
        .expect("it is parked");
    assert_eq!(pump.state(saga), SagaState::Running);
    pump.pass(Duration::from_secs(3_599));
    assert_eq!(pump.state(saga), SagaState::Running);
    pump.pass(Duration::from_secs(1));
    assert_eq!(pump.state(saga), SagaState::Parked);
}

#[test]
fn a_signal_is_refused_with_what_is_wrong_and_nothing_is_recorded() {
    let (mut pump, saga) = asking("compensate");
    let rows = pump.journal.len();
    assert_eq!(
        pump.signal(saga, "decide", "{}"),
        Err(SignalRefusal::Undeclared {
            declared: vec!["decided".into(), "other".into()]
        })
    );
    assert!(matches!(
        pump.signal(saga, "decided", "{}"),
        Err(SignalRefusal::Invalid { violations }) if violations.len() == 1
    ));
    assert_eq!(pump.journal.len(), rows);
    pump.cancel(saga).expect("it can be");
    pump.answer("hold", succeeded());
    assert_eq!(
        pump.signal(saga, "other", "{}"),
        Err(SignalRefusal::Ended {
            state: SagaState::Compensated
        })
    );
}

#[test]
fn so_many_signals_wait_and_no_more() {
    let (mut pump, saga) = asking("compensate");
    let tokens: Vec<u64> = (0..=SIGNALS_PENDING_MAX)
        .map(|_| pump.offer_signal(saga, "other", "{}"))
        .collect();
    pump.run();
    let (last, others) = tokens.split_last().expect("many");
    for token in others {
        assert_eq!(pump.signalled[token], Ok(true));
    }
    assert_eq!(pump.signalled[last], Err(SignalRefusal::Full));
}

const PLACES: &str = r#"
apiVersion: amends/v1
name: places
signals: {go: {}}
steps:
  - {id: a, needs: [], wait: {signal: go}}
  - {id: b, needs: [], wait: {signal: go}}
  - {id: c, needs: [], foreach: {in: input.items}, wait: {signal: go}}
output: {a: "${{ steps.a.output }}", b: "${{ steps.b.output }}", c: "${{ steps.c.output }}"}
"#;

#[test]
fn several_waits_take_signals_in_the_order_of_their_places() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(PLACES), r#"{"items":[1,2]}"#);
    for json in ["1", "2", "3", "4"] {
        assert_eq!(pump.signal(saga, "go", json), Ok(true));
    }
    assert_eq!(pump.state(saga), SagaState::Completed);
    assert_eq!(
        pump.folded(saga).output(),
        Some(&payload(r#"{"a":1,"b":2,"c":[3,4]}"#))
    );
}

const NAPS: &str = r#"
apiVersion: amends/v1
name: naps
steps:
  - {id: nap, sleep: 15m}
  - {id: until, sleep: {until: input.until}}
  - {id: say, emit: {type: com.example.awake, subject: "nap ${{ saga.id }}", data: {until: "${{ input.until }}"}}}
"#;

#[test]
fn a_sleep_is_over_when_its_time_has_come_and_one_that_has_passed_at_once() {
    let mut pump = Pump::new();
    // 08:20 is later than 08:15, when the first nap is over.
    let later = r#"{"until":"2025-11-21T09:20:00+01:00"}"#;
    let saga = pump.start(&definition(NAPS), later);
    pump.pass(Duration::from_secs(899));
    assert_eq!(pump.facts(saga).last().expect("one"), "sleeping nap");
    pump.pass(Duration::from_secs(1));
    assert_eq!(pump.facts(saga).last().expect("one"), "sleeping until");
    pump.crash();
    pump.pass(Duration::from_secs(299));
    assert_eq!(pump.state(saga), SagaState::Running);
    pump.pass(Duration::from_secs(1));
    assert_eq!(
        pump.facts(saga)[pump.facts(saga).len() - 3..],
        ["slept until", "emitted say", "completed"]
    );
    let passed = r#"{"until":"2001-01-01T00:00:00Z"}"#;
    let saga = pump.start(&definition(NAPS), passed);
    pump.pass(Duration::from_secs(900));
    let rows: Vec<_> = pump.journal.iter().filter(|row| row.saga == saga).collect();
    assert_eq!(rows.len(), 2, "what is over at once stands in the same row");
    let said = rows[1].facts.iter().find_map(|fact| match fact {
        Fact::Emitted { subject, data, .. } => Some((subject.clone(), data.clone())),
        _ => None,
    });
    let subject = Some(format!("nap {saga}"));
    assert_eq!(
        said,
        Some((subject, payload(r#"{"until":"2001-01-01T00:00:00Z"}"#)))
    );
}

#[test]
fn a_time_that_is_none_fails_its_step() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(NAPS), r#"{"until":"tomorrow"}"#);
    pump.pass(Duration::from_secs(900));
    assert_eq!(pump.state(saga), SagaState::Compensated);
    let abort = pump.folded(saga).abort().expect("aborted").reason.clone();
    assert_eq!(abort.code(), "EXPRESSION_FAILED");
    assert!(abort.message().contains("RFC 3339"), "{}", abort.message());
}

#[test]
fn a_refusal_beside_a_wait_ends_the_wait() {
    let yaml = r#"
apiVersion: amends/v1
name: beside
signals: {go: {}}
steps:
  - {id: nap, needs: [], sleep: 1h}
  - {id: wait, needs: [], wait: {signal: go, timeout: 1h}}
  - {id: call, needs: [], call: p.call, compensate: {call: p.undo}}
"#;
    let mut pump = Pump::new();
    let saga = pump.start(&definition(yaml), "{}");
    pump.answer("call", rejected("NO"));
    assert_eq!(pump.state(saga), SagaState::Compensated);
    pump.pass(Duration::from_secs(7_200));
    assert_eq!(pump.facts(saga).last().expect("one"), "compensated");
}
