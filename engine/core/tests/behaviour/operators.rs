//! What persons do about a saga, and what they are refused.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::{Acknowledged, OrderRefusal, Target, Verb};
use amends_core::{OperationKind, Outcome, SagaId};

use crate::pump::{Pump, definition, failed, payload, rejected, succeeded};

const SHOP: &str = r#"
apiVersion: amends/v1
name: shop
defaults: {retry: {initialInterval: 10s, backoff: 1, jitter: 0, maxAttempts: 2}, timeout: 10s}
compensation: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 2}}
steps:
  - {id: hold, call: p.hold, compensate: {call: p.release}}
  - {id: look, call: p.look, onError: [{codes: [ASK, EXHAUSTED], then: park}], compensate: {call: p.unlook}}
  - {id: pay, kind: pivot, call: p.pay, onError: [{codes: [ASK], then: park}]}
  - {id: ship, kind: retriable, call: p.ship, input: {n: 1}, outputSchema: {type: object, required: [ok]}, retry: {maxAttempts: 2}}
  - {id: mail, kind: retriable, call: p.mail}
"#;

fn shop() -> (Pump, SagaId) {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(SHOP), "{}");
    (pump, saga)
}

fn paid() -> (Pump, SagaId) {
    let (mut pump, saga) = shop();
    for step in ["hold", "look", "pay"] {
        pump.answer(step, succeeded());
    }
    (pump, saga)
}

fn forward(step: &str) -> Target {
    target(step, OperationKind::Forward)
}

fn undoing(step: &str) -> Target {
    target(step, OperationKind::Compensate)
}

fn target(step: &str, operation: OperationKind) -> Target {
    Target {
        step: step.into(),
        item: 0,
        operation,
    }
}

fn retry(target: Target) -> Verb {
    let input = None;
    Verb::Retry { target, input }
}

fn patched(target: Target) -> Verb {
    let input = Some(payload(r#"{"patched":true}"#));
    Verb::Retry { target, input }
}

fn resolve(target: Target) -> Verb {
    let output = payload(r#"{"ok":"by hand"}"#);
    Verb::Resolve { target, output }
}

/// The code of a refusal; nothing is recorded then.
fn refused(pump: &mut Pump, saga: SagaId, verb: Verb) -> &'static str {
    let rows = pump.journal.len();
    let refusal = pump.order(saga, verb, false).expect_err("it is refused");
    assert_eq!(pump.journal.len(), rows);
    match refusal {
        OrderRefusal::Refused { code, message } => {
            assert!(!message.is_empty());
            code
        }
        OrderRefusal::UnknownStep => "UNKNOWN_STEP",
        other => panic!("{other:?}"),
    }
}

fn accepted(pump: &mut Pump, saga: SagaId, verb: Verb) -> SagaState {
    pump.order(saga, verb, false).expect("it is accepted")
}

#[test]
fn a_paused_saga_begins_nothing_and_goes_on_where_it_was() {
    let (mut pump, saga) = shop();
    assert_eq!(accepted(&mut pump, saga, Verb::Pause), SagaState::Parked);
    assert_eq!(refused(&mut pump, saga, Verb::Pause), "PAUSED");
    assert_eq!(
        pump.answer("hold", succeeded()),
        Acknowledged::Recorded,
        "what is in flight is awaited"
    );
    assert!(pump.commands.is_empty(), "and nothing begins");
    pump.crash();
    assert!(pump.commands.is_empty());
    assert_eq!(accepted(&mut pump, saga, Verb::Resume), SagaState::Running);
    assert_eq!(pump.out(), ["look:forward:1"]);
    assert_eq!(refused(&mut pump, saga, Verb::Resume), "NOT_PARKED");
    assert!(pump.incidents.is_empty());
}

#[test]
fn a_pause_holds_a_retry_that_was_not_due_and_not_one_that_was() {
    let (mut pump, saga) = shop();
    pump.answer("hold", failed());
    accepted(&mut pump, saga, Verb::Pause);
    pump.pass(Duration::from_secs(3_600));
    assert!(pump.commands.is_empty());
    accepted(&mut pump, saga, Verb::Resume);
    assert_eq!(pump.out(), ["hold:forward:2"]);
    accepted(&mut pump, saga, Verb::Pause);
    assert_eq!(pump.out(), ["hold:forward:2"], "it may have left");
    pump.answer("hold", succeeded());
    assert_eq!(pump.state(saga), SagaState::Parked);
}

#[test]
fn an_abort_ends_a_pause_and_what_the_pause_held_never_leaves() {
    let (mut pump, saga) = shop();
    pump.answer("hold", failed());
    accepted(&mut pump, saga, Verb::Pause);
    pump.pass(Duration::from_secs(3_600));
    pump.cancel(saga).expect("a pause does not stop a cancel");
    assert_eq!(
        pump.out(),
        ["hold:compensate:1"],
        "the first attempt may have had its effect, the second never left"
    );
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert_eq!(refused(&mut pump, saga, Verb::Pause), "COMPENSATING");
    assert_eq!(refused(&mut pump, saga, Verb::Compensate), "COMPENSATING");
}

#[test]
fn a_pause_does_not_hold_an_abort_that_comes_by_itself() {
    let (mut pump, saga) = shop();
    pump.answer("hold", succeeded());
    accepted(&mut pump, saga, Verb::Pause);
    pump.answer("look", rejected("NO"));
    assert_eq!(pump.state(saga), SagaState::Compensating);
    assert_eq!(pump.out(), ["hold:compensate:1"]);
}

#[test]
fn a_saga_whose_last_step_succeeds_while_it_is_paused_completes_when_it_is_resumed() {
    let (mut pump, saga) = paid();
    pump.answer("ship", succeeded());
    accepted(&mut pump, saga, Verb::Pause);
    pump.answer("mail", succeeded());
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        accepted(&mut pump, saga, Verb::Resume),
        SagaState::Completed
    );
}

#[test]
fn a_parked_step_is_tried_again_with_the_same_key_and_a_new_budget() {
    let (mut pump, saga) = paid();
    pump.answer("ship", failed());
    pump.pass(Duration::from_secs(10));
    pump.answer("ship", failed());
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        refused(&mut pump, saga, patched(forward("ship"))),
        "EFFECT_UNCLEAR"
    );
    assert_eq!(
        accepted(&mut pump, saga, retry(forward("ship"))),
        SagaState::Running
    );
    assert_eq!(pump.command("ship").attempt, 3);
    assert_eq!(pump.command("ship").key.round, 0);
    pump.answer("ship", failed());
    pump.pass(Duration::from_secs(10));
    assert_eq!(pump.command("ship").attempt, 4);
    pump.answer("ship", failed());
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        refused(&mut pump, saga, retry(forward("mail"))),
        "NOT_PARKED"
    );
    assert_eq!(
        refused(&mut pump, saga, retry(forward("nothing"))),
        "UNKNOWN_STEP"
    );
}

/// A barrier keeps a refusal for ever: the same operation would only hear it again.
#[test]
fn a_refused_step_is_tried_again_as_another_operation_with_the_same_input() {
    let (mut pump, saga) = paid();
    pump.answer("ship", rejected("CLOSED"));
    assert_eq!(
        accepted(&mut pump, saga, retry(forward("ship"))),
        SagaState::Running
    );
    let sent = pump.send("ship");
    assert_eq!((sent.key.round, sent.attempt), (1, 1));
    assert_eq!(sent.input, payload(r#"{"n":1}"#));
}

#[test]
fn with_another_input_it_is_another_operation_and_the_old_ones_success_is_a_leak() {
    let (mut pump, saga) = paid();
    let first = pump.send("ship");
    pump.reply(&first, rejected("BAD_ADDRESS"), None);
    accepted(&mut pump, saga, patched(forward("ship")));
    let second = pump.send("ship");
    assert_eq!((second.key.round, second.attempt), (1, 1));
    assert_eq!(second.input, payload(r#"{"patched":true}"#));
    assert_ne!(first.key.to_string(), second.key.to_string());
    assert_eq!(pump.reply(&first, succeeded(), None), Acknowledged::Late);
    assert!(
        pump.facts(saga)
            .contains(&"incident POSSIBLE_LEAKED_EFFECT".to_owned())
    );
    pump.reply(&second, succeeded(), None);
    assert_eq!(pump.out(), ["mail:forward:1"]);
}

#[test]
fn an_unclear_step_that_is_known_to_be_absent_takes_another_input() {
    let (mut pump, saga) = paid();
    pump.answer("ship", failed());
    pump.pass(Duration::from_secs(10));
    pump.answer("ship", failed());
    let absent = || Verb::ResolveAbsent {
        target: forward("ship"),
    };
    assert_eq!(accepted(&mut pump, saga, absent()), SagaState::Parked);
    let incident = pump.incidents.values().next().expect("one is open");
    assert_eq!(incident.reason.as_str(), "STEP_REFUSED");
    assert_eq!(refused(&mut pump, saga, absent()), "EFFECT_KNOWN");
    accepted(&mut pump, saga, patched(forward("ship")));
    assert_eq!(pump.command("ship").key.round, 1);
}

#[test]
fn a_parked_step_is_taken_for_done_with_an_output_that_fits() {
    let (mut pump, saga) = paid();
    pump.answer("ship", rejected("NO"));
    let wrong = Verb::Resolve {
        target: forward("ship"),
        output: payload("3"),
    };
    assert_eq!(refused(&mut pump, saga, wrong), "OUTPUT_INVALID");
    assert_eq!(
        accepted(&mut pump, saga, resolve(forward("ship"))),
        SagaState::Running
    );
    assert_eq!(pump.out(), ["mail:forward:1"]);
    pump.answer("mail", rejected("NO"));
    let target = forward("mail");
    assert_eq!(
        accepted(&mut pump, saga, Verb::Skip { target }),
        SagaState::Completed
    );
}

#[test]
fn a_pivot_is_never_skipped_and_its_doubt_is_settled_by_who_knows() {
    for known in ["done", "absent"] {
        let (mut pump, saga) = shop();
        pump.answer("hold", succeeded());
        pump.answer("look", succeeded());
        pump.answer("pay", failed());
        pump.pass(Duration::from_secs(10));
        pump.answer("pay", failed());
        assert_eq!(pump.state(saga), SagaState::Parked);
        let target = forward("pay");
        assert_eq!(refused(&mut pump, saga, Verb::Skip { target }), "PIVOT");
        assert_eq!(refused(&mut pump, saga, Verb::Compensate), "PIVOT_IN_DOUBT");
        if known == "done" {
            accepted(&mut pump, saga, resolve(forward("pay")));
            assert_eq!(pump.out(), ["ship:forward:1"]);
            assert_eq!(
                refused(&mut pump, saga, Verb::Compensate),
                "BEHIND_POINT_OF_NO_RETURN"
            );
        } else {
            let target = forward("pay");
            accepted(&mut pump, saga, Verb::ResolveAbsent { target });
            assert_eq!(pump.out(), ["look:compensate:1"]);
        }
        assert!(pump.incidents.is_empty());
    }
}

#[test]
fn a_step_that_is_held_back_and_ready_can_be_skipped_and_no_other() {
    let (mut pump, saga) = shop();
    let skip = |step| Verb::Skip {
        target: forward(step),
    };
    assert_eq!(refused(&mut pump, saga, skip("hold")), "NOT_PARKED");
    accepted(&mut pump, saga, Verb::Pause);
    assert_eq!(refused(&mut pump, saga, skip("hold")), "NOT_PARKED");
    assert_eq!(
        refused(&mut pump, saga, skip("mail")),
        "NOT_READY",
        "what comes behind the pivot must not begin before it"
    );
    pump.answer("hold", succeeded());
    assert_eq!(accepted(&mut pump, saga, skip("look")), SagaState::Parked);
    assert!(pump.commands.is_empty(), "it is paused all the same");
    accepted(&mut pump, saga, Verb::Resume);
    assert_eq!(pump.out(), ["pay:forward:1"]);
}

#[test]
fn what_is_skipped_after_a_possible_effect_stays_owed() {
    let (mut pump, saga) = shop();
    pump.answer("hold", succeeded());
    pump.answer("look", failed());
    pump.pass(Duration::from_secs(10));
    pump.answer("look", failed());
    let target = forward("look");
    accepted(&mut pump, saga, Verb::Skip { target });
    pump.answer("pay", rejected("NO"));
    assert_eq!(pump.out(), ["look:compensate:1"]);
}

#[test]
fn a_parked_compensation_is_tried_again_patched_or_taken_for_done() {
    let parked = || {
        let (mut pump, saga) = shop();
        pump.answer("hold", succeeded());
        pump.cancel(saga).expect("it can be");
        pump.answer("look", rejected("NO"));
        pump.answer("hold", rejected("CANNOT"));
        assert_eq!(pump.state(saga), SagaState::Parked);
        (pump, saga)
    };
    let (mut pump, saga) = parked();
    assert_eq!(
        accepted(&mut pump, saga, retry(undoing("hold"))),
        SagaState::Compensating
    );
    assert_eq!(pump.out(), ["hold:compensate:2"]);
    pump.answer("hold", succeeded());
    assert_eq!(pump.state(saga), SagaState::Compensated);

    let (mut pump, saga) = parked();
    accepted(&mut pump, saga, patched(undoing("hold")));
    let command = pump.command("hold").clone();
    assert_eq!((command.key.round, command.attempt), (1, 1));
    assert_eq!(command.forward_key.expect("the action's").round, 0);
    pump.answer("hold", failed());
    pump.pass(Duration::from_secs(1));
    pump.answer("hold", failed());
    assert_eq!(
        refused(&mut pump, saga, patched(undoing("hold"))),
        "EFFECT_UNCLEAR"
    );
    accepted(&mut pump, saga, resolve(undoing("hold")));
    assert_eq!(pump.state(saga), SagaState::Compensated);

    let (mut pump, saga) = parked();
    let target = forward("hold");
    assert_eq!(
        refused(&mut pump, saga, Verb::Skip { target }),
        "COMPENSATING"
    );
}

#[test]
fn an_action_that_is_known_to_be_absent_owes_nothing_any_more() {
    let (mut pump, saga) = shop();
    pump.answer("hold", failed());
    pump.cancel(saga).expect("it can be");
    pump.answer("hold", rejected("CANNOT"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    let target = forward("hold");
    accepted(&mut pump, saga, Verb::ResolveAbsent { target });
    assert_eq!(pump.state(saga), SagaState::Compensated);
    assert!(pump.incidents.is_empty());
}

#[test]
fn an_answer_that_cannot_be_used_is_asked_for_again_and_never_doubted() {
    let (mut pump, saga) = shop();
    pump.answer("hold", succeeded());
    pump.answer("look", succeeded());
    let unusable = || Outcome::Unusable {
        code: "OUTPUT_TOO_LARGE".into(),
        message: "too large".into(),
    };
    pump.answer("pay", unusable());
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        refused(&mut pump, saga, patched(forward("pay"))),
        "EFFECT_UNCLEAR"
    );
    accepted(&mut pump, saga, retry(forward("pay")));
    assert_eq!(
        refused(&mut pump, saga, Verb::Compensate),
        "BEHIND_POINT_OF_NO_RETURN",
        "it has had its effect"
    );
    pump.answer("pay", rejected("NO"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    accepted(&mut pump, saga, retry(forward("pay")));
    pump.answer("pay", succeeded());
    assert_eq!(pump.out(), ["ship:forward:1"]);
}

#[test]
fn a_saga_is_undone_by_a_person_from_where_it_is_parked() {
    let (mut pump, saga) = shop();
    pump.answer("hold", succeeded());
    pump.answer("look", rejected("ASK"));
    assert_eq!(pump.state(saga), SagaState::Parked);
    assert_eq!(
        accepted(&mut pump, saga, Verb::Compensate),
        SagaState::Compensating
    );
    assert_eq!(pump.out(), ["hold:compensate:1"]);
    assert!(pump.incidents.is_empty());
}

#[test]
fn a_terminated_saga_is_as_it_is_and_takes_nothing_more() {
    let (mut pump, saga) = shop();
    let action = pump.send("hold");
    assert_eq!(
        accepted(&mut pump, saga, Verb::Terminate),
        SagaState::Terminated
    );
    assert!(pump.folded(saga).terminal());
    assert_eq!(pump.reply(&action, succeeded(), None), Acknowledged::Late);
    for verb in [
        Verb::Terminate,
        Verb::Resume,
        Verb::Compensate,
        retry(forward("hold")),
    ] {
        assert_eq!(refused(&mut pump, saga, verb), "ENDED");
    }
}

#[test]
fn what_leaked_is_undone_by_hand_and_said_to_be_also_when_the_saga_has_ended() {
    let (mut pump, saga) = shop();
    pump.barrier.0 = false;
    let action = pump.send("hold");
    pump.reply(&action, rejected("NO"), None);
    assert_eq!(pump.state(saga), SagaState::Compensated);
    let undone = || resolve(undoing("hold"));
    assert_eq!(refused(&mut pump, saga, undone()), "NOT_PARKED");
    pump.reply(&action, succeeded(), None);
    let leaks = pump.incidents.values().map(|open| open.reason.as_str());
    assert_eq!(leaks.collect::<Vec<_>>(), ["POSSIBLE_LEAKED_EFFECT"]);
    assert_eq!(accepted(&mut pump, saga, undone()), SagaState::Compensated);
    assert!(pump.incidents.is_empty());
    assert_eq!(refused(&mut pump, saga, undone()), "NOT_PARKED");
}

#[test]
fn a_rehearsal_answers_and_changes_nothing() {
    let (mut pump, saga) = shop();
    let rows = pump.journal.len();
    assert_eq!(
        pump.order(saga, Verb::Compensate, true),
        Ok(SagaState::Compensating)
    );
    assert_eq!(pump.journal.len(), rows);
    assert_eq!(pump.out(), ["hold:forward:1"]);
}
