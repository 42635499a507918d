//! Definitions: applied, read, listed, linted.

use amends_proto::v1;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::node::{Node, ORDER, PARENT, refusal};

#[tokio::test]
async fn a_definition_is_applied_once_and_read_back() {
    let node = Node::start().await;
    let applied = node.apply(ORDER).await.unwrap();
    assert!(applied.created);
    let again = node.apply(ORDER).await.unwrap();
    assert!(!again.created);
    let changed = node
        .apply(&ORDER.replace("name: order", "name: order\nversion: second"))
        .await
        .unwrap();
    let changed = changed.definition.unwrap();
    assert_eq!((changed.revision, changed.version.as_str()), (2, "second"));
    let name = format!("{PARENT}/definitions/order");
    let mut definitions = node.definitions();
    let first = v1::GetDefinitionRequest {
        name: name.clone(),
        revision: Some(1),
    };
    let first = definitions
        .get_definition(first)
        .await
        .unwrap()
        .into_inner()
        .definition
        .unwrap();
    assert_eq!(
        (first.revision, first.source.as_str(), first.hash.len()),
        (1, ORDER, 64)
    );
    assert_eq!(first.step_ids, ["reserve", "charge", "ship"]);
    let list = v1::ListDefinitionsRequest {
        parent: PARENT.into(),
        ..Default::default()
    };
    let list = definitions
        .list_definitions(list)
        .await
        .unwrap()
        .into_inner()
        .definitions;
    assert_eq!(
        (list.len(), list[0].revision, list[0].source.as_str()),
        (1, 2, "")
    );
    let zero = v1::GetDefinitionRequest {
        name,
        revision: Some(0),
    };
    assert_eq!(
        refusal(definitions.get_definition(zero).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn b27_b30_a_document_with_errors_is_an_invalid_argument_with_a_violation_for_each() {
    let node = Node::start().await;
    let broken = "apiVersion: amends/v1\nname: order\nsteps:\n  - {id: a, call: shop.a, retires: 3}\n  - {id: a, call: shop.b}\n";
    let status = node.apply(broken).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    assert!(!details.bad_request().unwrap().field_violations.is_empty());
    let lint = v1::LintDefinitionRequest {
        parent: PARENT.into(),
        source: broken.into(),
    };
    let found = node
        .definitions()
        .lint_definition(lint)
        .await
        .unwrap()
        .into_inner()
        .diagnostics;
    assert!(
        found
            .iter()
            .any(|found| found.severity() == v1::diagnostic::Severity::Error && found.line == 4),
        "{found:?}"
    );
    let list = v1::ListDefinitionsRequest {
        parent: PARENT.into(),
        ..Default::default()
    };
    assert!(
        node.definitions()
            .list_definitions(list)
            .await
            .unwrap()
            .into_inner()
            .definitions
            .is_empty()
    );
}

#[tokio::test]
async fn b37_a_document_under_another_name_than_its_resource_is_an_invalid_argument() {
    let node = Node::start().await;
    for (id, reason) in [("other", None), ("Not A Label", Some("NAME_INVALID"))] {
        let request = v1::ApplyDefinitionRequest {
            parent: PARENT.into(),
            source: ORDER.into(),
            definition_id: id.into(),
        };
        let (code, found) = refusal(node.definitions().apply_definition(request).await);
        assert_eq!(code, Code::InvalidArgument);
        assert!(reason.is_none_or(|reason| reason == found));
    }
}

#[tokio::test]
async fn pages_of_definitions_are_whole_whatever_they_are_read_in() {
    let node = Node::start().await;
    for number in 0..70 {
        let source = ORDER.replace("name: order", &format!("name: order-{number:02}"));
        node.apply(&source).await.unwrap();
    }
    for size in [1_000, 70, 69, 33, 32, 31] {
        let (mut names, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListDefinitionsRequest {
                parent: PARENT.into(),
                page_size: size,
                page_token,
            };
            let page = node.definitions().list_definitions(request).await.unwrap();
            let page = page.into_inner();
            names.extend(page.definitions.into_iter().map(|one| one.name));
            if page.next_page_token.is_empty() {
                break;
            }
            assert_eq!(names.len() % size as usize, 0);
            page_token = page.next_page_token;
        }
        let expected: Vec<_> = (0..70)
            .map(|number| format!("{PARENT}/definitions/order-{number:02}"))
            .collect();
        assert_eq!(names, expected, "{size}");
    }
}

#[tokio::test]
async fn the_schema_of_the_language_is_served() {
    let node = Node::start().await;
    let request = v1::GetDefinitionSchemaRequest {};
    let answer = node.definitions().get_definition_schema(request).await;
    let schema = answer.unwrap().into_inner().schema;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(schema["properties"]["steps"].is_object());
}

#[tokio::test]
async fn a_new_revision_says_what_it_means_for_sagas_in_flight() {
    let node = Node::with_order().await;
    node.start_order("A-1").await.unwrap();
    node.start_order("A-2").await.unwrap();
    let same = node.apply(ORDER).await.unwrap();
    assert_eq!(same.impact, None, "nothing was created");
    let changed = ORDER.replace("call: shop.ship", "call: shop.ship\n    timeout: 5s");
    let impact = node.apply(&changed).await.unwrap().impact.unwrap();
    assert_eq!(
        impact.in_flight,
        [v1::RevisionInFlight {
            revision: 1,
            sagas: 2
        }]
    );
    assert!(impact.changed.is_empty(), "{impact:?}");
}

#[tokio::test]
async fn b37_a_revision_with_sagas_in_flight_is_not_deleted_and_says_how_many() {
    let node = Node::with_order().await;
    let name = node.start_order("A-1").await.unwrap().name;
    let delete = async |name: &str, revision| {
        let name = name.to_owned();
        let request = v1::DeleteDefinitionRequest { name, revision };
        node.definitions().delete_definition(request).await
    };
    let order = format!("{PARENT}/definitions/order");
    let status = delete(&order, 1).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(
        (info.reason.as_str(), info.metadata["sagas"].as_str()),
        ("DEFINITION_IN_USE", "1")
    );
    for (name, revision, code) in [
        (order.as_str(), 0, Code::InvalidArgument),
        (order.as_str(), 2, Code::NotFound),
        ("namespaces/other/definitions/order", 1, Code::NotFound),
        ("order", 1, Code::InvalidArgument),
    ] {
        assert_eq!(
            refusal(delete(name, revision).await).0,
            code,
            "{name} {revision}"
        );
    }
    let cancel = v1::CancelSagaRequest {
        name: name.clone(),
        reason: "make room".into(),
    };
    node.sagas().cancel_saga(cancel).await.unwrap();
    let shop = crate::participant::Participant::attached(&node, "shop-1").await;
    let shop = shop.work(|_| crate::participant::succeeded("null"));
    node.settled(&name).await;
    delete(&order, 1).await.unwrap();
    assert_eq!(refusal(delete(&order, 1).await).0, Code::NotFound);
    assert_eq!(refusal(node.start_order("A-2").await).0, Code::NotFound);
    shop.abort();
}
