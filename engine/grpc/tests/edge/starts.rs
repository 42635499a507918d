//! Starts that are refused, and starts that find their saga.

use amends_proto::v1;
use tonic::Code;

use crate::node::{Node, PARENT, order, refusal};

#[tokio::test]
async fn b5_an_unknown_definition_and_revision_0_are_not_found() {
    let node = Node::with_order().await;
    let unknown = v1::StartSagaRequest { definition: format!("{PARENT}/definitions/nothing"), ..order() };
    assert_eq!(refusal(node.sagas().start_saga(unknown).await).0, Code::NotFound);
    for revision in [0, 2, u32::MAX] {
        let request = v1::StartSagaRequest { revision: Some(revision), ..order() };
        assert_eq!(refusal(node.sagas().start_saga(request).await).0, Code::NotFound, "{revision}");
    }
}

#[tokio::test]
async fn b6_the_same_key_with_the_same_input_is_the_same_saga_and_with_another_input_already_exists() {
    let node = Node::with_order().await;
    let first = node.start_order("A-1").await.unwrap();
    let again = v1::StartSagaRequest { key: Some("A-1".into()), input: r#"{ "order_id":"A-1" }"#.into(), ..order() };
    let again = node.sagas().start_saga(again).await.unwrap().into_inner();
    assert_eq!((again.name, first.created, again.created), (first.name, true, false));
    let other = v1::StartSagaRequest { key: Some("A-1".into()), input: r#"{"order_id": "A-2"}"#.into(), ..order() };
    assert_eq!(refusal(node.sagas().start_saga(other).await), (Code::AlreadyExists, "KEY_REUSED".into()));
}

#[tokio::test]
async fn b7_an_empty_key_and_one_of_10_kib_are_invalid_arguments() {
    let node = Node::with_order().await;
    for key in ["".to_owned(), "k".repeat(10 * 1024), "k".repeat(513), "a\0".into()] {
        let found = refusal(node.start_order(&key).await);
        assert_eq!(found, (Code::InvalidArgument, "KEY_INVALID".into()));
    }
}

#[tokio::test]
async fn b8_input_that_is_not_acceptable_json_is_an_invalid_argument_and_starts_nothing() {
    let node = Node::with_order().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for input in [&deep, "1e400", "NaN", r#"{"a":1,"a":1}"#, r#""\ud800""#, r#""\u0000""#, "{", ""] {
        let request = v1::StartSagaRequest { input: input.to_owned().into(), ..order() };
        // An empty input is `{}`, which the definition's schema refuses.
        assert_eq!(refusal(node.sagas().start_saga(request).await).0, Code::InvalidArgument);
    }
    let listed = node.sagas().list_sagas(v1::ListSagasRequest { parent: PARENT.into(), ..Default::default() }).await;
    assert!(listed.unwrap().into_inner().sagas.is_empty());
}

#[tokio::test]
async fn b9_input_over_1_mib_and_a_message_over_4_mib_are_resource_exhausted() {
    let node = Node::with_order().await;
    for bytes in [1024 * 1024, 5 * 1024 * 1024] {
        let input = format!(r#"{{"order_id": "{}"}}"#, "x".repeat(bytes)).into();
        let found = refusal(node.sagas().start_saga(v1::StartSagaRequest { input, ..order() }).await);
        assert_eq!(found, (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE".into()), "{bytes}");
    }
    assert!(node.start_order("after").await.unwrap().created);
}

#[tokio::test]
async fn a_trace_context_is_kept_and_a_broken_one_ignored() {
    let node = Node::with_order().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (key, sent, kept) in [("good", parent, parent), ("broken", "00-nonsense", "")] {
        let mut request = tonic::Request::new(v1::StartSagaRequest { key: Some(key.into()), ..order() });
        request.metadata_mut().insert("traceparent", sent.parse().unwrap());
        let name = node.sagas().start_saga(request).await.unwrap().into_inner().name;
        let saga = node.sagas().get_saga(v1::GetSagaRequest { name }).await.unwrap().into_inner().saga.unwrap();
        assert_eq!(saga.traceparent, kept);
    }
}
