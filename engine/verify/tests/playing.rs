//! Simulations of one way: what a script says happens, or it is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use amends_core::journal::SagaState;
use amends_definitions::{Definition, Payload, check};
use amends_verify::{Failure, Script, simulate};

const APPROVED: &str = "apiVersion: amends/v1
name: approved
signals: {go: {schema: {type: object, required: [ok]}}}
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release}}
  - {id: wait, wait: {signal: go, timeout: 1d}}
  - {id: confirm, saga: {name: confirm}}
  - {id: pay, kind: pivot, call: p.pay}
";

fn definition() -> Arc<Definition> {
    Arc::new(check(APPROVED.as_bytes()).definition.expect("it is right"))
}

fn script(signal: &'static str) -> Script {
    let payload = Payload::check(signal.as_bytes().into()).expect("JSON");
    Script {
        signals: BTreeMap::from([("go".to_owned(), payload)]),
        ..Script::default()
    }
}

#[test]
fn a_script_goes_its_way() {
    let played = simulate(&definition(), &script(r#"{"ok":true}"#)).expect("it fits");
    assert_eq!(played.saga.state(), SagaState::Completed);
    assert_eq!(played.waits_for, None);
}

#[test]
fn what_never_happens_is_refused() {
    let played = simulate(&definition(), &script(r#"{"ok":true}"#)).expect("it fits");
    let rows = played
        .lines
        .iter()
        .map(|line| line.row)
        .max()
        .unwrap_or_default();
    for after in [rows, rows + 1] {
        let crash = Script {
            crash_after: Some(after),
            ..script(r#"{"ok":true}"#)
        };
        let cancel = Script {
            cancel_after: Some(after),
            ..script(r#"{"ok":true}"#)
        };
        for script in [crash, cancel] {
            let played = simulate(&definition(), &script).map(|_| ());
            let refused = played.is_err_and(|why| why.contains(&format!("{rows} rows")));
            assert_eq!(refused, after > rows, "{script:?}");
        }
    }
}

#[test]
fn a_signal_that_a_server_would_refuse_is_refused() {
    let refused = simulate(&definition(), &script(r#"{"no":1}"#)).map(|_| ());
    let why = refused.expect_err("its schema wants more");
    assert!(why.contains("signal `go`"), "{why}");
}

#[test]
fn a_child_fails_with_the_code_that_is_given() {
    let failures = BTreeMap::from([(
        "confirm".to_owned(),
        Failure::Rejected("NO_DESK".to_owned()),
    )]);
    let script = Script {
        failures,
        ..script(r#"{"ok":true}"#)
    };
    let played = simulate(&definition(), &script).expect("it fits");
    assert_eq!(played.saga.state(), SagaState::Compensated);
    let abort = played.saga.abort().expect("it was aborted");
    assert_eq!(abort.reason.code(), "NO_DESK");
}

const CARS: &str = "apiVersion: amends/v1
name: cars
steps:
  - id: cars
    foreach: {in: '[1, 2, 3]', as: car, maxParallel: 1}
    call: cars.hold
    retry: {maxAttempts: 1}
    compensate: {call: cars.cancel}
  - {id: pay, kind: pivot, call: p.pay}
";

fn cars(failures: &[(&str, Failure)], stuck: &[&str]) -> Result<Vec<String>, String> {
    let script = Script {
        failures: failures
            .iter()
            .map(|(place, how)| ((*place).to_owned(), how.clone()))
            .collect(),
        stuck: stuck.iter().map(|place| (*place).to_owned()).collect(),
        ..Script::default()
    };
    let definition = Arc::new(check(CARS.as_bytes()).definition.expect("it is right"));
    let played = simulate(&definition, &script)?;
    Ok(played.lines.into_iter().map(|line| line.text).collect())
}

#[test]
fn one_item_fails_alone() {
    let no = || Failure::Rejected("NO".to_owned());
    let said = cars(&[("cars#2", no())], &["cars#1"])
        .expect("it fits")
        .join("\n");
    for expected in [
        "cars#1, attempt 1: succeeded",
        "cars#2, attempt 1: rejected: NO",
        "parked: COMPENSATION_REFUSED cars#1",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // What is said of an item goes before what is said of its step.
    let both = cars(&[("cars", no()), ("cars#1", Failure::Exhausted)], &[]).expect("it fits");
    assert!(
        both.join("\n").contains("cars#1, attempt 1: failed"),
        "{both:#?}"
    );
}

#[test]
fn an_item_that_there_is_not_is_refused() {
    for place in ["cars#4", "cars#0", "cars#x", "cars#", "pay#1", "trains#1"] {
        let why = cars(&[(place, Failure::Exhausted)], &[]).expect_err(place);
        assert!(why.contains("there is no"), "{why}");
        let why = cars(&[], &[place]).expect_err(place);
        assert!(why.contains("there is no"), "{why}");
    }
}

#[test]
fn a_step_is_rejected_with_a_code_and_nothing_else() {
    for (code, fits) in [
        ("NO_STOCK_2", true),
        ("bad code", false),
        ("no_stock", false),
        ("2_LATE", false),
        ("", false),
    ] {
        let failures = BTreeMap::from([("hold".to_owned(), Failure::Rejected(code.to_owned()))]);
        let script = Script {
            failures,
            ..script(r#"{"ok":true}"#)
        };
        let refused = simulate(&definition(), &script).err();
        let why = format!("no participant rejects `hold` with `{code}`");
        let said = refused.as_ref().is_none_or(|said| said.contains(&why));
        assert!(refused.is_none() == fits && said, "{refused:?}");
    }
}
