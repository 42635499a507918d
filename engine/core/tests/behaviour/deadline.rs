//! The saga's own time, `timeout` and `onTimeout`.

use std::time::Duration;

use amends_core::SagaId;
use amends_core::journal::SagaState;
use amends_core::shard::{CancelDisposition, Verb};

use crate::pump::{Pump, definition, failed, rejected, succeeded};

fn hurried(on_timeout: &str) -> String {
    format!(
        r#"
apiVersion: amends/v1
name: hurried
timeout: 1h
onTimeout: {on_timeout}
orderingKey: input.who
defaults: {{retry: {{initialInterval: 40m, maxInterval: 40m, backoff: 1, jitter: 0, maxAttempts: 3}}, timeout: 10s}}
steps:
  - {{id: hold, call: p.hold, compensate: {{call: p.release}}}}
  - {{id: pay, kind: pivot, call: p.pay}}
  - {{id: ship, kind: retriable, call: p.ship}}
"#
    )
}

fn start(on_timeout: &str) -> (Pump, SagaId) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(&hurried(on_timeout)), r#"{"who":"a"}"#);
    (pump, saga)
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn a_saga_that_is_late_is_undone_and_what_is_in_flight_is_awaited() {
    let (mut pump, saga) = start("compensate");
    pump.answer("hold", succeeded());
    pump.pass(Duration::from_secs(3_599));
    assert_eq!(pump.state(saga), SagaState::Running);
    assert_eq!(pump.out(), ["pay:forward:1"]);
    let facts = pump.facts(saga).len();
    pump.pass(Duration::from_secs(1));
    assert_eq!(
        pump.facts(saga)[facts..],
        ["deadline_passed"],
        "the pivot may be at work: it is waited for"
    );
    pump.answer("pay", rejected("NO"));
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert_eq!(pump.out(), ["hold:compensate:1"]);
}

#[test]
fn a_step_that_is_tried_again_is_overtaken_by_the_deadline() {
    let (mut pump, saga) = start("compensate");
    pump.answer("hold", failed());
    pump.pass(Duration::from_secs(40 * 60));
    pump.answer("hold", failed());
    pump.pass(Duration::from_secs(20 * 60));
    assert_eq!(
        pump.folded(saga).abort().expect("aborted").reason.code(),
        "DEADLINE_EXCEEDED"
    );
    assert_eq!(pump.out(), ["hold:compensate:1"]);
    assert!(
        pump.command("hold")
            .input
            .as_bytes()
            .ends_with(br#""reason":"DEADLINE_EXCEEDED"}"#)
    );
}

#[test]
fn behind_the_point_of_no_return_a_deadline_leads_to_nothing() {
    let (mut pump, saga) = start("compensate");
    pump.answer("hold", succeeded());
    pump.answer("pay", succeeded());
    pump.pass(HOUR);
    assert_eq!(pump.facts(saga).last().expect("one"), "deadline_passed");
    assert_eq!(pump.state(saga), SagaState::Running);
    pump.answer("ship", succeeded());
    assert_eq!(pump.state(saga), SagaState::Completed);
    assert_eq!(
        pump.facts(saga)
            .iter()
            .filter(|fact| *fact == "deadline_passed")
            .count(),
        1
    );
}

#[test]
fn a_deadline_and_a_cancel_that_wait_for_the_pivot_are_dropped_by_its_success() {
    let (mut pump, saga) = start("compensate");
    pump.answer("hold", succeeded());
    let pay = pump.send("pay");
    assert_eq!(pump.cancel(saga), Ok(CancelDisposition::Pending));
    pump.pass(Duration::from_secs(3_590));
    assert!(!pump.folded(saga).deadline_passed());
    pump.pass(Duration::from_secs(10));
    assert!(pump.folded(saga).deadline_passed());
    pump.reply(&pay, succeeded(), None);
    assert!(pump.facts(saga).contains(&"cancel_dropped".to_owned()));
    assert!(pump.out().contains(&"ship:forward:1".to_owned()));
}

#[test]
fn a_late_saga_parks_and_goes_on_when_somebody_lets_it() {
    let (mut pump, saga) = start("park");
    pump.answer("hold", failed());
    pump.pass(Duration::from_secs(40 * 60));
    pump.answer("hold", failed());
    pump.pass(Duration::from_secs(20 * 60));
    assert_eq!(pump.state(saga), SagaState::Parked);
    let incident = pump.incidents.values().next().expect("one is open");
    assert_eq!(incident.reason.as_str(), "DEADLINE_EXCEEDED");
    pump.pass(HOUR);
    assert!(pump.commands.is_empty(), "a retry is held back");
    pump.order(saga, Verb::Resume, false).expect("it is parked");
    assert_eq!(pump.out(), ["hold:forward:3"]);
    pump.pass(HOUR);
    assert!(
        pump.incidents.is_empty(),
        "it passes once: {:?}",
        pump.facts(saga)
    );
}

#[test]
fn a_late_saga_that_is_parked_is_undone_by_a_person() {
    let (mut pump, saga) = start("park");
    pump.answer("hold", succeeded());
    pump.answer("pay", rejected("NO"));
    assert_eq!(pump.state(saga), SagaState::Compensating);
    pump.pass(HOUR);
    assert!(
        !pump.folded(saga).deadline_passed(),
        "the deadline is of the way forward"
    );
    let (mut pump, saga) = start("park");
    pump.answer("hold", failed());
    pump.pass(HOUR);
    pump.pass(HOUR);
    pump.order(saga, Verb::Compensate, false).expect("parked");
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert!(pump.incidents.is_empty());
}

#[test]
fn who_waits_for_a_turn_too_long_ends_without_having_begun() {
    let yaml = hurried("compensate");
    let definition = definition(&yaml);
    let mut pump = Pump::new();
    let start = |pump: &mut Pump| {
        let input = r#"{"who":"a"}"#;
        let (_, saga) = pump.offer_start_in_line(&definition, input, None, None, Some("a"));
        pump.run();
        saga
    };
    let first = start(&mut pump);
    let second = start(&mut pump);
    pump.answer("hold", succeeded());
    pump.answer("pay", succeeded());
    pump.pass(HOUR);
    assert_eq!(pump.state(first), SagaState::Running);
    assert_eq!(
        pump.facts(second),
        [
            "started",
            "deadline_passed",
            "abort DEADLINE_EXCEEDED DEADLINE_EXCEEDED",
            "compensated"
        ]
    );
}
