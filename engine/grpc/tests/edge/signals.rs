//! Signals: accepted, buffered, doubled, refused.

use amends_proto::v1;
use tonic::Code;

use crate::node::{Node, PARENT, nobody, refusal};

/// Waits for a person, whatever a participant does.
const APPROVAL: &str = "apiVersion: amends/v1
name: approval
signals:
  decided: {schema: {type: object, required: [approved], properties: {approved: {type: boolean}}}}
steps:
  - id: decision
    wait: {signal: decided, timeout: 1h}
output: {approved: '${{ steps.decision.output.approved }}'}
";

async fn started() -> (Node, String) {
    let node = Node::start().await;
    node.apply(APPROVAL).await.expect("the definition is sound");
    let request = v1::StartSagaRequest {
        parent: PARENT.into(),
        definition: format!("{PARENT}/definitions/approval"),
        ..Default::default()
    };
    let started = node.sagas().start_saga(request).await;
    (node, started.expect("it starts").into_inner().name)
}

fn decided(name: &str, payload: &'static str) -> v1::SignalSagaRequest {
    v1::SignalSagaRequest {
        name: name.into(),
        signal: "decided".into(),
        payload: payload.into(),
        dedupe_id: None,
    }
}

#[tokio::test]
async fn a_signal_lets_its_step_go_on_and_a_double_one_is_told_apart() {
    let (node, name) = started().await;
    let saga = node
        .sagas()
        .get_saga(v1::GetSagaRequest { name: name.clone() })
        .await;
    let saga = saga.unwrap().into_inner().saga.unwrap();
    let waits = saga.steps[0].forward.as_ref().unwrap();
    assert_eq!(waits.state(), v1::StepState::AwaitingSignal);
    assert!(waits.until_time.is_some());
    assert_eq!(
        (saga.steps[0].work.as_str(), saga.steps[0].signal.as_str()),
        ("wait", "decided")
    );
    let signal = v1::SignalSagaRequest {
        dedupe_id: Some("mail-7".into()),
        ..decided(&name, r#"{"approved": true}"#)
    };
    let first = node.sagas().signal_saga(signal.clone()).await.unwrap();
    assert!(first.into_inner().accepted);
    let saga = node.settled(&name).await;
    assert_eq!(saga.state(), v1::SagaState::Completed);
    assert_eq!(&saga.output[..], br#"{"approved":true}"#);
    assert_eq!(
        refusal(
            node.sagas()
                .signal_saga(decided(&name, r#"{"approved": true}"#))
                .await
        ),
        (Code::FailedPrecondition, "SAGA_ENDED".into())
    );
}

#[tokio::test]
async fn a_dedupe_id_counts_once_while_the_saga_runs() {
    let (node, name) = started().await;
    let pause = v1::OperateSagaRequest {
        name: name.clone(),
        act: Some(v1::Act {
            act: Some(v1::act::Act::Pause(v1::Pause {})),
        }),
        reason: "look first".into(),
        dry_run: false,
    };
    node.operators().operate_saga(pause).await.unwrap();
    let mut accepted = Vec::new();
    for id in ["a", "a", "b"] {
        let signal = v1::SignalSagaRequest {
            dedupe_id: Some(id.into()),
            ..decided(&name, r#"{"approved": false}"#)
        };
        let answer = node.sagas().signal_saga(signal).await.unwrap();
        accepted.push(answer.into_inner().accepted);
    }
    assert_eq!(accepted, [true, false, true]);
}

#[tokio::test]
async fn b14_signals_without_sense_are_refused_and_nothing_is_buffered() {
    let (node, name) = started().await;
    let sound = decided(&name, r#"{"approved": true}"#);
    let named = |signal: &str| v1::SignalSagaRequest {
        signal: signal.into(),
        ..sound.clone()
    };
    let deduped = |id: String| v1::SignalSagaRequest {
        dedupe_id: Some(id),
        ..sound.clone()
    };
    let to = |name: &str| v1::SignalSagaRequest {
        name: name.into(),
        ..sound.clone()
    };
    let elsewhere = name.replace("default", "other");
    let large = v1::SignalSagaRequest {
        payload: format!("\"{}\"", "x".repeat(1 << 20)).into(),
        ..sound.clone()
    };
    let invalid = Code::InvalidArgument;
    for (request, code, reason) in [
        (named("undeclared"), invalid, "SIGNAL_UNDECLARED"),
        (named(""), invalid, "SIGNAL_UNDECLARED"),
        (named(&"s".repeat(1 << 20)), invalid, "SIGNAL_UNDECLARED"),
        (
            decided(&name, r#"{"approved": 1}"#),
            invalid,
            "SIGNAL_INVALID",
        ),
        (decided(&name, ""), invalid, "SIGNAL_INVALID"),
        (decided(&name, "{"), invalid, "PAYLOAD_INVALID"),
        (deduped(String::new()), invalid, "DEDUPE_ID_INVALID"),
        (deduped("x".repeat(513)), invalid, "DEDUPE_ID_INVALID"),
        (deduped("a\0".into()), invalid, "DEDUPE_ID_INVALID"),
        (large, Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"),
        (to(&nobody("default")), Code::NotFound, "SAGA_NOT_FOUND"),
        (to(&elsewhere), Code::NotFound, "SAGA_NOT_FOUND"),
        (to("x"), invalid, "NAME_INVALID"),
    ] {
        assert_eq!(
            refusal(node.sagas().signal_saga(request).await),
            (code, reason.into())
        );
    }
    let saga = node.sagas().get_saga(v1::GetSagaRequest { name }).await;
    let saga = saga.unwrap().into_inner().saga.unwrap();
    assert!(
        saga.pending_signals.is_empty(),
        "{:?}",
        saga.pending_signals
    );
    assert_eq!(saga.state(), v1::SagaState::Running);
}
