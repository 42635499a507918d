//! Names of namespaces, definitions and sagas, in every request that has one.

use amends_proto::v1;
use tonic::Code;

use crate::node::{Node, nobody, order, refusal};

#[tokio::test]
async fn b1_to_b3_a_start_in_an_empty_a_climbing_a_nul_or_an_endless_namespace_is_an_invalid_argument()
 {
    let node = Node::start().await;
    for namespace in [
        "".to_owned(),
        "..".into(),
        "../x".into(),
        "a\0b".into(),
        "a".repeat(1_001),
    ] {
        let request = v1::StartSagaRequest {
            parent: format!("namespaces/{namespace}"),
            ..order()
        };
        let found = refusal(node.sagas().start_saga(request).await);
        assert_eq!(
            found,
            (Code::InvalidArgument, "NAME_INVALID".into()),
            "{namespace:?}"
        );
    }
    let request = v1::StartSagaRequest {
        parent: String::new(),
        ..order()
    };
    assert_eq!(
        refusal(node.sagas().start_saga(request).await).0,
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn b4_an_unknown_namespace_is_not_found_for_sagas() {
    let node = Node::with_order().await;
    let (parent, name) = ("namespaces/nowhere".to_owned(), nobody("nowhere"));
    let mut sagas = node.sagas();
    let start = v1::StartSagaRequest {
        parent: parent.clone(),
        definition: format!("{parent}/definitions/order"),
        ..order()
    };
    assert_eq!(refusal(sagas.start_saga(start).await).0, Code::NotFound);
    let list = v1::ListSagasRequest {
        parent,
        ..Default::default()
    };
    assert_eq!(refusal(sagas.list_sagas(list).await).0, Code::NotFound);
    let get = v1::GetSagaRequest { name: name.clone() };
    assert_eq!(refusal(sagas.get_saga(get).await).0, Code::NotFound);
    let wait = v1::WaitSagaRequest {
        name: name.clone(),
        timeout: None,
    };
    assert_eq!(refusal(sagas.wait_saga(wait).await).0, Code::NotFound);
    let watch = v1::WatchSagaRequest { name: name.clone() };
    assert_eq!(refusal(sagas.watch_saga(watch).await).0, Code::NotFound);
    let follow = v1::FollowSagaHistoryRequest { name };
    assert_eq!(
        refusal(sagas.follow_saga_history(follow).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn b4_an_unknown_namespace_is_not_found_for_definitions() {
    let node = Node::with_order().await;
    let parent = "namespaces/nowhere".to_owned();
    let mut definitions = node.definitions();
    let get = v1::GetDefinitionRequest {
        name: format!("{parent}/definitions/order"),
        revision: None,
    };
    assert_eq!(
        refusal(definitions.get_definition(get).await).0,
        Code::NotFound
    );
    let list = v1::ListDefinitionsRequest {
        parent: parent.clone(),
        ..Default::default()
    };
    assert_eq!(
        refusal(definitions.list_definitions(list).await).0,
        Code::NotFound
    );
    let apply = v1::ApplyDefinitionRequest {
        parent: parent.clone(),
        source: crate::node::ORDER.into(),
        ..Default::default()
    };
    assert_eq!(
        refusal(definitions.apply_definition(apply).await).0,
        Code::NotFound
    );
    let lint = v1::LintDefinitionRequest {
        parent,
        source: String::new(),
    };
    assert_eq!(
        refusal(definitions.lint_definition(lint).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn b4_a_saga_of_another_namespace_is_as_absent_as_one_that_never_was() {
    let node = Node::with_order().await;
    let started = node.start_order("A-1").await.unwrap();
    let elsewhere = started
        .name
        .replace("namespaces/default", "namespaces/other");
    let mut sagas = node.sagas();
    let absent = refusal(
        sagas
            .get_saga(v1::GetSagaRequest {
                name: nobody("other"),
            })
            .await,
    );
    assert_eq!(
        refusal(
            sagas
                .get_saga(v1::GetSagaRequest {
                    name: elsewhere.clone()
                })
                .await
        ),
        absent
    );
    let history = v1::ListSagaHistoryRequest {
        name: elsewhere.clone(),
        ..Default::default()
    };
    assert_eq!(refusal(sagas.list_saga_history(history).await), absent);
    let cancel = v1::CancelSagaRequest {
        name: elsewhere,
        reason: "mine".into(),
    };
    assert_eq!(refusal(sagas.cancel_saga(cancel).await), absent);
}

#[tokio::test]
async fn b18_a_definition_of_another_namespace_than_the_parent_is_an_invalid_argument() {
    let node = Node::with_order().await;
    let request = v1::StartSagaRequest {
        parent: "namespaces/other".into(),
        ..order()
    };
    let found = refusal(node.sagas().start_saga(request).await);
    assert_eq!(found, (Code::InvalidArgument, "NAMESPACE_MISMATCH".into()));
}
