//! What persons say of what nobody else can: the output of a saga that has none, a signal that never came, a compensation
//! that undid nothing.

use std::time::Duration;

use amends_core::OperationKind;
use amends_core::fact::IncidentReason;
use amends_core::journal::SagaState;
use amends_core::saga::Saga;
use amends_core::shard::{Acknowledged, OrderRefusal, Target, Verb};
use amends_core::{Outcome, SagaId};

use crate::pump::{Pump, definition, failed, payload, rejected, succeeded};

const TRACKED: &str = r#"
apiVersion: amends/v1
name: tracked
signals: {go: {schema: {type: object, required: [ok]}}}
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release, retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}}}
  - {id: pay, kind: pivot, call: p.pay}
  - {id: wait, kind: retriable, wait: {signal: go, timeout: 1h, onTimeout: park}}
output: {tracking: "${{ steps.pay.output.tracking }}"}
"#;

fn tracked() -> (Pump, SagaId) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(TRACKED), "{}");
    (pump, saga)
}

/// Every step is done, and the output has no value.
fn without_output() -> (Pump, SagaId) {
    let (mut pump, saga) = tracked();
    pump.answer("hold", succeeded());
    pump.answer("pay", succeeded());
    pump.signal(saga, "go", r#"{"ok":1}"#).expect("it fits");
    assert_eq!(pump.state(saga), SagaState::Parked);
    (pump, saga)
}

/// The compensation spent its budget, and nobody knows whether it undid something.
fn not_undone() -> (Pump, SagaId) {
    let (mut pump, saga) = tracked();
    pump.barrier.0 = false;
    pump.answer("hold", succeeded());
    pump.answer("pay", rejected("NO"));
    pump.answer("hold", failed());
    pump.pass(Duration::from_secs(1));
    pump.answer("hold", failed());
    assert_eq!(pump.state(saga), SagaState::Parked);
    (pump, saga)
}

fn target(step: &str, operation: OperationKind) -> Target {
    Target {
        step: step.into(),
        item: 0,
        operation,
    }
}

fn output() -> Verb {
    let output = payload(r#"{"tracking":"T-1"}"#);
    Verb::ResolveSaga { output }
}

fn absent(operation: OperationKind) -> Verb {
    let target = target("hold", operation);
    Verb::ResolveAbsent { target }
}

fn retry(input: Option<&'static str>) -> Verb {
    Verb::Retry {
        target: target("hold", OperationKind::Compensate),
        input: input.map(payload),
    }
}

fn refused(pump: &mut Pump, saga: SagaId, verb: Verb) -> &'static str {
    let rows = pump.journal.len();
    let refusal = pump.order(saga, verb, false);
    assert_eq!(pump.journal.len(), rows, "nothing is recorded");
    match refusal {
        Err(OrderRefusal::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

fn accepted(pump: &mut Pump, saga: SagaId, verb: Verb) -> SagaState {
    pump.order(saga, verb, false).expect("it is accepted")
}

#[test]
fn a_saga_whose_output_alone_has_no_value_is_completed_by_a_person() {
    let (mut pump, saga) = without_output();
    assert_eq!(
        pump.order(saga, output(), true),
        Ok(SagaState::Completed),
        "a rehearsal says so"
    );
    assert_eq!(
        accepted(&mut pump, saga, Verb::Resume),
        SagaState::Parked,
        "by itself it never gets a value"
    );
    assert_eq!(accepted(&mut pump, saga, output()), SagaState::Completed);
    assert!(pump.incidents.is_empty());
    let folded = pump.folded(saga);
    let said = folded.output().map(|output| output.as_bytes().to_vec());
    assert_eq!(said.as_deref(), Some(&br#"{"tracking":"T-1"}"#[..]));
    assert_eq!(refused(&mut pump, saga, output()), "ENDED");
}

#[test]
fn what_is_suggested_for_an_output_without_a_value_can_be_done() {
    let (pump, saga) = without_output();
    let folded: Saga = pump.folded(saga);
    let incident = &folded.incidents()[0].incident;
    assert_eq!(incident.reason, IncidentReason::ExpressionFailed);
    let actions = incident.reason.suggested_actions(incident.operation);
    assert!(actions[0].starts_with("resolve the saga"), "{actions:?}");
    assert!(
        actions.iter().all(|action| !action.contains("skip")),
        "{actions:?}"
    );
    let of_a_step = incident
        .reason
        .suggested_actions(Some(OperationKind::Compensate));
    assert!(of_a_step.iter().all(|action| !action.contains("skip")));
}

#[test]
fn a_saga_is_resolved_for_its_output_alone() {
    let (mut pump, saga) = tracked();
    assert_eq!(refused(&mut pump, saga, output()), "NOT_PARKED");
    accepted(&mut pump, saga, Verb::Pause);
    assert_eq!(
        refused(&mut pump, saga, output()),
        "NOT_PARKED",
        "a pause is something else"
    );
    accepted(&mut pump, saga, Verb::Resume);
    pump.cancel(saga).expect("it can be");
    assert_eq!(refused(&mut pump, saga, output()), "COMPENSATING");
}

#[test]
fn a_wait_is_resolved_with_what_its_signal_could_have_said() {
    let (mut pump, saga) = tracked();
    pump.answer("hold", succeeded());
    pump.answer("pay", succeeded());
    pump.pass(Duration::from_secs(3_600));
    assert_eq!(pump.state(saga), SagaState::Parked);
    let resolve = |output| Verb::Resolve {
        target: target("wait", OperationKind::Forward),
        output: payload(output),
    };
    for wrong in ["null", r#"{"no":1}"#] {
        assert_eq!(refused(&mut pump, saga, resolve(wrong)), "SIGNAL_INVALID");
    }
    accepted(&mut pump, saga, resolve(r#"{"ok":1}"#));
    let folded = pump.folded(saga);
    let place = folded.definition().step_index("wait").expect("a step");
    assert!(folded.steps()[place.index()].lets_go_on());
}

#[test]
fn a_compensation_that_is_known_to_have_undone_nothing_takes_another_input() {
    let (mut pump, saga) = not_undone();
    let patched = || retry(Some(r#"{"patched":true}"#));
    let compensation = || absent(OperationKind::Compensate);
    assert_eq!(refused(&mut pump, saga, patched()), "EFFECT_UNCLEAR");
    assert_eq!(
        accepted(&mut pump, saga, compensation()),
        SagaState::Parked,
        "it is still owed, and a person still asked"
    );
    assert_eq!(pump.incidents.len(), 1);
    assert_eq!(refused(&mut pump, saga, compensation()), "EFFECT_KNOWN");
    assert_eq!(
        refused(&mut pump, saga, absent(OperationKind::Query)),
        "NOT_PARKED"
    );
    pump.crash();
    assert_eq!(
        accepted(&mut pump, saga, patched()),
        SagaState::Compensating
    );
    let command = pump.command("hold").clone();
    assert_eq!((command.key.round, command.attempt), (1, 1));
    assert_eq!(command.input, payload(r#"{"patched":true}"#));
    pump.answer("hold", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);
    assert!(pump.incidents.is_empty());
}

#[test]
fn what_was_wrongly_said_to_have_undone_nothing_is_said_aloud() {
    let (mut pump, saga) = tracked();
    pump.barrier.0 = false;
    pump.answer("hold", succeeded());
    pump.answer("pay", rejected("NO"));
    let first = pump.send("hold");
    pump.reply(&first, failed(), None);
    pump.pass(Duration::from_secs(1));
    let second = pump.send("hold");
    pump.reply(&second, failed(), None);
    accepted(&mut pump, saga, absent(OperationKind::Compensate));
    accepted(&mut pump, saga, retry(Some("{}")));
    let patched = pump.send("hold");
    assert_eq!(pump.reply(&second, succeeded(), None), Acknowledged::Late);
    let leaks = pump.incidents.values().map(|open| open.reason.as_str());
    assert_eq!(leaks.collect::<Vec<_>>(), ["POSSIBLE_LEAKED_EFFECT"]);
    pump.reply(&patched, succeeded(), None);
    assert_eq!(pump.state(saga), SagaState::Compensated);
}

#[test]
fn a_late_success_ends_what_was_said_to_have_undone_nothing() {
    let (mut pump, saga) = tracked();
    pump.barrier.0 = false;
    pump.answer("hold", succeeded());
    pump.answer("pay", rejected("NO"));
    let first = pump.send("hold");
    let unknown = || Outcome::Unknown {
        code: "LOST".into(),
        message: "lost".into(),
    };
    pump.reply(&first, unknown(), None);
    pump.pass(Duration::from_secs(1));
    pump.answer("hold", unknown());
    accepted(&mut pump, saga, absent(OperationKind::Compensate));
    assert_eq!(
        pump.reply(&first, succeeded(), None),
        Acknowledged::Recorded
    );
    assert_eq!(pump.state(saga), SagaState::Compensated);
}
