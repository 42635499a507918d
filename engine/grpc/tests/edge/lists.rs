//! Lists, their filters and their pages.

use std::collections::BTreeSet;

use amends_proto::v1;
use tonic::Code;

use crate::node::{Node, PARENT, refusal};

fn query() -> v1::ListSagasRequest {
    v1::ListSagasRequest {
        parent: PARENT.into(),
        page_size: 2,
        ..Default::default()
    }
}

#[tokio::test]
async fn pages_hold_every_saga_once_and_the_newest_first() {
    let node = Node::with_order().await;
    let mut started = BTreeSet::new();
    for index in 0..5 {
        started.insert(node.start_order(&format!("A-{index}")).await.unwrap().name);
    }
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = v1::ListSagasRequest {
            page_token: token,
            ..query()
        };
        let page = node.sagas().list_sagas(request).await.unwrap().into_inner();
        assert!(
            page.sagas.len() <= 2
                && page
                    .sagas
                    .iter()
                    .all(|saga| saga.steps.is_empty() && saga.input.is_empty())
        );
        seen.extend(page.sagas.into_iter().map(|saga| saga.name));
        (token, pages) = (page.next_page_token, pages + 1);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (3, 5));
    assert!(seen.is_sorted_by(|newer, older| newer > older));
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), started);
}

#[tokio::test]
async fn filters_choose_by_key_state_and_definition() {
    let node = Node::with_order().await;
    let wanted = node.start_order("A-1").await.unwrap().name;
    node.start_order("A-2").await.unwrap();
    let count = async |request: v1::ListSagasRequest| {
        node.sagas()
            .list_sagas(request)
            .await
            .unwrap()
            .into_inner()
            .sagas
    };
    let by_key = count(v1::ListSagasRequest {
        key: "A-1".into(),
        ..query()
    })
    .await;
    assert_eq!(
        by_key.iter().map(|saga| &saga.name).collect::<Vec<_>>(),
        [&wanted]
    );
    let running = vec![v1::SagaState::Running.into()];
    assert_eq!(
        count(v1::ListSagasRequest {
            states: running,
            ..query()
        })
        .await
        .len(),
        2
    );
    let parked = vec![
        v1::SagaState::Parked.into(),
        v1::SagaState::Completed.into(),
    ];
    assert!(
        count(v1::ListSagasRequest {
            states: parked,
            ..query()
        })
        .await
        .is_empty()
    );
    assert!(
        count(v1::ListSagasRequest {
            definition_id: "another".into(),
            ..query()
        })
        .await
        .is_empty()
    );
}

/// From pages of one saga each.
async fn all(node: &Node, request: v1::ListSagasRequest) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListSagasRequest {
            page_size: 1,
            page_token: token,
            ..request.clone()
        };
        let page = node
            .sagas()
            .list_sagas(request)
            .await
            .expect("a page")
            .into_inner();
        assert!(page.sagas.len() <= 1);
        names.extend(page.sagas.into_iter().map(|saga| saga.name));
        token = page.next_page_token;
        if token.is_empty() {
            return names;
        }
    }
}

#[tokio::test]
async fn sagas_are_listed_by_revision() {
    let node = Node::with_order().await;
    let older = node.start_order("A-1").await.unwrap().name;
    let newer = crate::node::ORDER.replace("name: order", "name: order\ndescription: another");
    node.apply(&newer).await.unwrap();
    let mut of_2 = Vec::new();
    for key in ["A-2", "A-3"] {
        of_2.push(node.start_order(key).await.unwrap().name);
    }
    of_2.reverse();
    let of = |revision| v1::ListSagasRequest {
        definition_id: "order".into(),
        revision,
        ..query()
    };
    assert_eq!(all(&node, of(1)).await, [older]);
    assert_eq!(all(&node, of(2)).await, of_2);
    assert!(all(&node, of(3)).await.is_empty());
    let unnamed = v1::ListSagasRequest {
        definition_id: String::new(),
        ..of(1)
    };
    assert_eq!(
        refusal(node.sagas().list_sagas(unnamed).await),
        (Code::InvalidArgument, "FILTER_INVALID".into())
    );
}

#[tokio::test]
async fn b11_a_forged_token_and_one_of_another_query_or_namespace_are_invalid_arguments() {
    let node = Node::with_order().await;
    for index in 0..3 {
        node.start_order(&format!("A-{index}")).await.unwrap();
    }
    let token = node
        .sagas()
        .list_sagas(query())
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    assert!(!token.is_empty());
    let same = v1::ListSagasRequest {
        page_token: token.clone(),
        page_size: 1,
        ..query()
    };
    assert_eq!(
        node.sagas()
            .list_sagas(same)
            .await
            .unwrap()
            .into_inner()
            .sagas
            .len(),
        1
    );
    let running = vec![v1::SagaState::Running.into()];
    for request in [
        v1::ListSagasRequest {
            parent: "namespaces/other".into(),
            page_token: token.clone(),
            ..query()
        },
        v1::ListSagasRequest {
            states: running,
            page_token: token.clone(),
            ..query()
        },
        v1::ListSagasRequest {
            definition_id: "order".into(),
            page_token: token.clone(),
            ..query()
        },
        v1::ListSagasRequest {
            page_token: format!("{token}00"),
            ..query()
        },
        v1::ListSagasRequest {
            page_token: "' OR 1=1 --".into(),
            ..query()
        },
        v1::ListSagasRequest {
            page_token: "0".repeat(1024 * 1024),
            ..query()
        },
    ] {
        assert_eq!(
            refusal(node.sagas().list_sagas(request).await),
            (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into())
        );
    }
}

#[tokio::test]
async fn b11_a_token_of_another_call_is_an_invalid_argument() {
    let node = Node::with_order().await;
    for index in 0..3 {
        node.start_order(&format!("A-{index}")).await.unwrap();
    }
    let page = node.sagas().list_sagas(query()).await.unwrap();
    let token = page.into_inner().next_page_token;
    let other_call = v1::ListDefinitionsRequest {
        parent: PARENT.into(),
        page_token: token,
        ..Default::default()
    };
    assert_eq!(
        refusal(node.definitions().list_definitions(other_call).await).0,
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn b12_b19_filters_without_sense_are_invalid_arguments() {
    let node = Node::start().await;
    for (request, reason) in [
        (
            v1::ListSagasRequest {
                page_size: 1_001,
                ..query()
            },
            "PAGE_SIZE_INVALID",
        ),
        (
            v1::ListSagasRequest {
                states: vec![0],
                ..query()
            },
            "ENUM_INVALID",
        ),
        (
            v1::ListSagasRequest {
                states: vec![99],
                ..query()
            },
            "ENUM_INVALID",
        ),
        (
            v1::ListSagasRequest {
                definition_id: "'; DROP TABLE sagas".into(),
                ..query()
            },
            "NAME_INVALID",
        ),
        (
            v1::ListSagasRequest {
                key: "k".repeat(1024 * 1024),
                ..query()
            },
            "KEY_INVALID",
        ),
    ] {
        assert_eq!(
            refusal(node.sagas().list_sagas(request).await),
            (Code::InvalidArgument, reason.into())
        );
    }
}
