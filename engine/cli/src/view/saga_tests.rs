//! How sagas look, as text that a person reads.

use amends_proto::v1::StepState;

use super::*;
use crate::output::{Format, render};

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn compensated() -> proto::Saga {
    let operation = |state: StepState, attempts, code: &str, action: &str| proto::Operation {
        state: state.into(),
        attempts,
        code: code.to_owned(),
        action: action.to_owned(),
        ..proto::Operation::default()
    };
    proto::Saga {
        name: "namespaces/default/sagas/019aa578-c07b-8abc-bfff-ffffffffffff".to_owned(),
        definition: "namespaces/default/definitions/place-order".to_owned(),
        revision: 1,
        key: "A-1".to_owned(),
        state: SagaState::Compensated.into(),
        start_time: at(1_763_712_000),
        end_time: at(1_763_712_002),
        update_time: at(1_763_712_002),
        abort: Some(proto::AbortReason {
            kind: "STEP_FAILED".to_owned(),
            step: "charge".to_owned(),
            code: "CARD_DECLINED".to_owned(),
            message: "no money".to_owned(),
            time: at(1_763_712_001),
        }),
        input: br#"{"order_id":"A-1"}"#.to_vec().into(),
        steps: vec![
            proto::Step {
                id: "reserve_stock".to_owned(),
                action: "inventory.reserve".to_owned(),
                kind: "compensatable".to_owned(),
                forward: Some(operation(StepState::Succeeded, 1, "", "inventory.reserve")),
                compensation: Some(operation(StepState::Succeeded, 2, "", "inventory.release")),
                ..proto::Step::default()
            },
            proto::Step {
                id: "charge".to_owned(),
                action: "payments.charge".to_owned(),
                kind: "pivot".to_owned(),
                forward: Some(operation(
                    StepState::Failed,
                    1,
                    "CARD_DECLINED",
                    "payments.charge",
                )),
                compensation: None,
                ..proto::Step::default()
            },
        ],
        ..proto::Saga::default()
    }
}

#[test]
fn a_saga_is_a_header_and_its_steps() {
    let expected = "\
saga        019aa578-c07b-8abc-bfff-ffffffffffff
definition  place-order, revision 1
key         A-1
state       compensated
started     2025-11-21T08:00:00.000000Z
ended       2025-11-21T08:00:02.000000Z (2.000 s)
abort       STEP_FAILED at charge: CARD_DECLINED: no money
input       {\"order_id\":\"A-1\"}

STEP           KIND           ACTION             FORWARD    TRIES  CODE           COMPENSATION  TRIES  CODE
reserve_stock  compensatable  inventory.reserve  succeeded  1      -              succeeded     2      -
charge         pivot          payments.charge    failed     1      CARD_DECLINED  -             -      -
";
    assert_eq!(SagaView::from(compensated()).table(), expected);
}

#[test]
fn an_incident_says_since_when_and_what_to_do() {
    let mut saga = compensated();
    saga.steps.clear();
    saga.incidents.push(proto::Incident {
        reason: "PIVOT_IN_DOUBT".to_owned(),
        step: "charge".to_owned(),
        message: "nobody knows".to_owned(),
        open_time: at(1_763_712_000),
        suggested_actions: vec!["ask".to_owned()],
        fingerprint: "place-order@1/charge/TIMEOUT".to_owned(),
        ..proto::Incident::default()
    });
    let text = SagaView::from(saga).table();
    assert!(
        text.ends_with(
            "\nincident PIVOT_IN_DOUBT at charge since 2025-11-21T08:00:00.000000Z: nobody knows
  fingerprint: place-order@1/charge/TIMEOUT
  do: ask
    amends saga resolve 019aa578-c07b-8abc-bfff-ffffffffffff charge --result JSON --reason WHY
    amends saga resolve-absent 019aa578-c07b-8abc-bfff-ffffffffffff charge --reason WHY
    amends saga retry 019aa578-c07b-8abc-bfff-ffffffffffff charge --reason WHY
"
        ),
        "{text}"
    );
}

#[test]
fn json_and_yaml_have_the_protocols_meaning() {
    let view = SagaView::from(compensated());
    let json: serde_json::Value =
        serde_json::from_str(&render(Format::Json, &view).expect("a form")).expect("JSON");
    assert_eq!(json["input"]["order_id"], "A-1");
    assert_eq!(json["state"], "compensated");
    assert_eq!(json["output"], serde_json::Value::Null);
    assert_eq!(json["steps"][0]["compensation"]["attempts"], 2);
    assert_eq!(json["abort"]["time"], "2025-11-21T08:00:01.000000Z");
    let yaml = render(Format::Yaml, &view).expect("a form");
    assert!(yaml.contains("\nstate: compensated\n"), "{yaml}");
    assert!(yaml.contains("\ninput:\n  order_id: A-1\n"), "{yaml}");
}

#[test]
fn a_list_has_a_line_for_each_saga_and_keeps_the_token_of_the_next_page() {
    let mut saga = compensated();
    saga.key.clear();
    saga.state = 77;
    let list = SagaListView::new(vec![saga], "next");
    assert_eq!(
        list.table(),
        "SAGA                                  DEFINITION      KEY  STATE       STARTED                      TOOK\n\
         019aa578-c07b-8abc-bfff-ffffffffffff  place-order r1  -    unknown_77  2025-11-21T08:00:00.000000Z  2.000 s\n"
    );
    assert!(
        render(Format::Json, &list)
            .expect("a form")
            .contains("\"next_page_token\": \"next\"")
    );
}

#[test]
fn a_saga_that_waits_says_for_what_and_what_to_type() {
    let mut saga = compensated();
    saga.abort = None;
    saga.end_time = None;
    saga.state = SagaState::Running.into();
    saga.ordering_key = "acme".to_owned();
    saga.waits_for_turn = true;
    saga.deadline_time = at(1_763_798_400);
    saga.pending_signals = vec![proto::PendingSignal {
        signal: "approved".to_owned(),
        sender: "ann".to_owned(),
        ..proto::PendingSignal::default()
    }];
    saga.steps = vec![proto::Step {
        id: "decision".to_owned(),
        kind: "compensatable".to_owned(),
        work: "wait".to_owned(),
        signal: "approved".to_owned(),
        forward: Some(proto::Operation {
            state: StepState::AwaitingSignal.into(),
            until_time: at(1_763_715_600),
            ..proto::Operation::default()
        }),
        ..proto::Step::default()
    }];
    let expected = "\
saga        019aa578-c07b-8abc-bfff-ffffffffffff
definition  place-order, revision 1
key         A-1
ordering    acme
state       running (it waits for its turn)
started     2025-11-21T08:00:00.000000Z
deadline    2025-11-22T08:00:00.000000Z
signals     approved from ann, not taken yet
input       {\"order_id\":\"A-1\"}

STEP      KIND           ACTION             FORWARD          TRIES  CODE  COMPENSATION  TRIES  CODE
decision  compensatable  wait for approved  awaiting signal  0      -     -             -      -

it waits
  decision: for the signal approved until 2025-11-21T09:00:00.000000Z
    amends saga signal 019aa578-c07b-8abc-bfff-ffffffffffff approved --payload JSON
";
    assert_eq!(SagaView::from(saga).table(), expected);
}

#[test]
fn a_cancel_that_has_to_wait_says_what_for() {
    let answer = |disposition| proto::CancelSagaResponse { disposition };
    let text = |disposition| CancelledView::new("x".to_owned(), &answer(disposition)).table();
    assert_eq!(text(1), "aborted\n");
    assert!(text(2).starts_with("already aborted"));
    assert!(
        text(3).starts_with("pending: nobody knows yet"),
        "{}",
        text(3)
    );
}
