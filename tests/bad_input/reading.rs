//! Pages, filters, and numbers that are no enum.

use amends_proto::v1;
use amends_proto::v1::definition_service_client::DefinitionServiceClient;
use tonic::Code;

use super::{healthy, refused, stage, works};

fn list() -> v1::ListSagasRequest {
    v1::ListSagasRequest {
        parent: "namespaces/default".to_owned(),
        page_size: 1,
        ..v1::ListSagasRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b11_a_page_token_that_is_forged_or_of_another_query_is_an_invalid_argument() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    for number in 0..3 {
        stage.start(&format!("o{number}")).await;
    }
    let token = sagas
        .list_sagas(list())
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    assert!(!token.is_empty());
    let mut bent = token.clone();
    let last = if bent.pop() == Some('0') { '1' } else { '0' };
    bent.push(last);
    let with = |token: &str| v1::ListSagasRequest {
        page_token: token.to_owned(),
        ..list()
    };
    let half = &token[..token.len() / 2];
    for forged in [
        bent.as_str(),
        half,
        "0",
        "zz",
        "é",
        "' OR 1=1 --",
        &"0".repeat(100_000),
    ] {
        let answer = sagas.list_sagas(with(forged)).await;
        refused(answer, Code::InvalidArgument, "PAGE_TOKEN_INVALID", forged);
    }
    let elsewhere = v1::ListSagasRequest {
        parent: "namespaces/other".to_owned(),
        ..with(&token)
    };
    let filtered = v1::ListSagasRequest {
        states: vec![v1::SagaState::Running.into()],
        ..with(&token)
    };
    let of_definition = v1::ListSagasRequest {
        definition_id: "shop".to_owned(),
        ..with(&token)
    };
    for other in [elsewhere, filtered, of_definition] {
        let about = format!("{other:?}");
        let answer = sagas.list_sagas(other).await;
        refused(answer, Code::InvalidArgument, "PAGE_TOKEN_INVALID", &about);
    }
    let mut definitions = DefinitionServiceClient::new(stage.channel().await);
    let other_call = v1::ListDefinitionsRequest {
        parent: "namespaces/default".to_owned(),
        page_size: 1,
        page_token: token.clone(),
    };
    let answer = definitions.list_definitions(other_call).await;
    refused(
        answer,
        Code::InvalidArgument,
        "PAGE_TOKEN_INVALID",
        "another call",
    );
    let next = sagas.list_sagas(with(&token)).await.unwrap().into_inner();
    assert_eq!(next.sagas.len(), 1, "the genuine one still leads on");
    works(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_a_filter_with_sql_in_it_finds_nothing_or_is_an_invalid_argument() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    let sql = "x'; DROP TABLE sagas; --";
    let by_key = v1::ListSagasRequest {
        key: sql.to_owned(),
        ..list()
    };
    assert!(
        sagas
            .list_sagas(by_key)
            .await
            .unwrap()
            .into_inner()
            .sagas
            .is_empty()
    );
    let by_definition = v1::ListSagasRequest {
        definition_id: sql.to_owned(),
        ..list()
    };
    let answer = sagas.list_sagas(by_definition).await;
    refused(answer, Code::InvalidArgument, "NAME_INVALID", sql);
    let endless = v1::ListSagasRequest {
        key: "k".repeat(1 << 20),
        ..list()
    };
    let answer = sagas.list_sagas(endless).await;
    refused(answer, Code::InvalidArgument, "KEY_INVALID", "1 MiB");
    for page_size in [1_001, u32::MAX] {
        let answer = sagas
            .list_sagas(v1::ListSagasRequest {
                page_size,
                ..list()
            })
            .await;
        refused(
            answer,
            Code::InvalidArgument,
            "PAGE_SIZE_INVALID",
            &page_size.to_string(),
        );
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b19_a_number_that_is_no_enum_is_an_invalid_argument() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    for number in [99, -1, i32::MAX] {
        let request = v1::ListSagasRequest {
            states: vec![number],
            ..list()
        };
        let answer = sagas.list_sagas(request).await;
        refused(
            answer,
            Code::InvalidArgument,
            "ENUM_INVALID",
            &number.to_string(),
        );
    }
    healthy(&stage).await;
}
