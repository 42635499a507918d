//! Names, keys, inputs and cancels.

use amends_proto::v1::definition_service_client::DefinitionServiceClient;
use amends_proto::v1::{self, SagaState};
use tonic::Code;

use super::starting_many::many_are_refused;
use super::{healthy, refused, stage, works};
use crate::stage::{SHOP, Stage, hello};

fn start(input: impl Into<Vec<u8>>) -> v1::StartSagaRequest {
    v1::StartSagaRequest {
        parent: "namespaces/default".to_owned(),
        definition: "namespaces/default/definitions/shop".to_owned(),
        revision: None,
        key: None,
        input: input.into().into(),
        wait: None,
    }
}

/// Every call that names a namespace, with this one.
async fn every_call(stage: &Stage, parent: &str, code: Code, reason: &str) {
    let mut sagas = stage.sagas().await;
    let request = v1::StartSagaRequest {
        parent: parent.to_owned(),
        definition: format!("{parent}/definitions/shop"),
        ..start("{}")
    };
    refused(sagas.start_saga(request).await, code, reason, parent);
    many_are_refused(&mut sagas, parent, code, reason).await;
    let request = v1::ListSagasRequest {
        parent: parent.to_owned(),
        ..v1::ListSagasRequest::default()
    };
    refused(sagas.list_sagas(request).await, code, reason, parent);
    let name = format!("{parent}/sagas/019aa578-c07b-8abc-bfff-ffffffffffff");
    let request = v1::GetSagaRequest { name: name.clone() };
    let got = sagas.get_saga(request).await;
    if reason == "NAMESPACE_NOT_FOUND" {
        // Whether a saga is missing, or its namespace, is not told.
        assert_eq!(got.unwrap_err().code(), Code::NotFound);
    } else {
        refused(got, code, reason, parent);
    }
    let mut definitions = DefinitionServiceClient::new(stage.channel().await);
    let request = v1::ApplyDefinitionRequest {
        parent: parent.to_owned(),
        source: SHOP.to_owned(),
        definition_id: String::new(),
    };
    refused(
        definitions.apply_definition(request).await,
        code,
        reason,
        parent,
    );
    let mut stream = stage.bare_stream().await;
    let greeting = v1::Hello {
        namespace: parent.to_owned(),
        ..hello("one", 1)
    };
    stream
        .say(v1::attach_request::Message::Hello(greeting))
        .await;
    refused(stream.hear().await, code, reason, parent);
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_an_empty_namespace_is_an_invalid_argument() {
    let stage = stage().await;
    for parent in ["", "namespaces", "namespaces/"] {
        every_call(&stage, parent, Code::InvalidArgument, "NAME_INVALID").await;
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_a_namespace_that_climbs_or_has_a_nul_is_an_invalid_argument() {
    let stage = stage().await;
    for parent in [
        "namespaces/..",
        "namespaces/../namespaces/default",
        "namespaces/default/../default",
        "namespaces/def\0ault",
        "namespaces/DEFAULT",
        "namespaces/default\n",
        "namespaces/d%65fault",
        "namespaces/défault",
    ] {
        every_call(&stage, parent, Code::InvalidArgument, "NAME_INVALID").await;
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_a_namespace_of_1001_characters_is_an_invalid_argument() {
    let stage = stage().await;
    for length in [64, 1_001] {
        let parent = format!("namespaces/{}", "a".repeat(length));
        every_call(&stage, &parent, Code::InvalidArgument, "NAME_INVALID").await;
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_namespace_that_does_not_exist_is_not_found() {
    let stage = stage().await;
    for parent in [
        "namespaces/nobody".to_owned(),
        format!("namespaces/{}", "a".repeat(63)),
    ] {
        every_call(&stage, &parent, Code::NotFound, "NAMESPACE_NOT_FOUND").await;
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_a_definition_or_revision_that_does_not_exist_is_not_found() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    for (definition, revision) in [
        ("no-such", None),
        ("shop", Some(0)),
        ("shop", Some(2)),
        ("shop", Some(u32::MAX)),
    ] {
        let request = v1::StartSagaRequest {
            definition: format!("namespaces/default/definitions/{definition}"),
            revision,
            ..start("{}")
        };
        let answer = sagas.start_saga(request).await;
        refused(answer, Code::NotFound, "DEFINITION_NOT_FOUND", definition);
    }
    // It exists, in another namespace.
    let request = v1::StartSagaRequest {
        parent: "namespaces/other".to_owned(),
        definition: "namespaces/other/definitions/shop".to_owned(),
        ..start("{}")
    };
    refused(
        sagas.start_saga(request).await,
        Code::NotFound,
        "DEFINITION_NOT_FOUND",
        "other",
    );
    let request = v1::StartSagaRequest {
        parent: "namespaces/other".to_owned(),
        ..start("{}")
    };
    refused(
        sagas.start_saga(request).await,
        Code::InvalidArgument,
        "NAMESPACE_MISMATCH",
        "two",
    );
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_a_key_that_comes_again_with_another_input_already_exists() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    let keyed = |input: &str| v1::StartSagaRequest {
        key: Some("once".to_owned()),
        ..start(input)
    };
    let first = sagas
        .start_saga(keyed(r#"{"order": 1}"#))
        .await
        .unwrap()
        .into_inner();
    let id = first.name.rsplit('/').next().unwrap().to_owned();
    for other in [
        r#"{"order": 2}"#,
        r#"{"order": "1"}"#,
        r#"{"order": 1.5}"#,
        "{}",
        r#"{"order": 1, "more": null}"#,
    ] {
        let answer = sagas.start_saga(keyed(other)).await;
        // Whoever may start here may read here, so the saga that has the key is named.
        let error = refused(answer, Code::AlreadyExists, "KEY_REUSED", other);
        assert_eq!(error.metadata["saga"], id, "{error:?}");
    }
    let again = sagas
        .start_saga(keyed(r#"{"order":1}"#))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((again.created, again.name), (false, first.name));
    works(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_key_that_is_empty_endless_or_no_text_is_an_invalid_argument() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    for key in [
        String::new(),
        "k".repeat(513),
        "k".repeat(10 * 1024),
        "a\0b".to_owned(),
    ] {
        let request = v1::StartSagaRequest {
            key: Some(key.clone()),
            ..start("{}")
        };
        refused(
            sagas.start_saga(request).await,
            Code::InvalidArgument,
            "KEY_INVALID",
            &key,
        );
    }
    healthy(&stage).await;
    let longest = v1::StartSagaRequest {
        key: Some("k".repeat(512)),
        ..start("{}")
    };
    assert!(
        sagas
            .start_saga(longest)
            .await
            .unwrap()
            .into_inner()
            .created
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_given_key_that_is_not_the_computed_one_is_an_invalid_argument() {
    let stage = stage().await;
    let keyed = SHOP.replace("name: shop\n", "name: keyed\nkey: input.order\n");
    stage.client.apply_definition(&keyed).await.unwrap();
    let mut sagas = stage.sagas().await;
    let request = v1::StartSagaRequest {
        definition: "namespaces/default/definitions/keyed".to_owned(),
        key: Some("b".to_owned()),
        ..start(r#"{"order": "a"}"#)
    };
    refused(
        sagas.start_saga(request).await,
        Code::InvalidArgument,
        "KEY_MISMATCH",
        "b",
    );
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b8_an_input_that_is_not_sound_json_is_refused_before_anything_is_written() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    let deep = |open: &str, close: &str| {
        format!("{{\"a\": {}{}}}", open.repeat(10_000), close.repeat(10_000))
    };
    let inputs: [Vec<u8>; 16] = [
        deep("[", "]").into(),
        deep("{\"a\":", "}").into(),
        b"{\"a\": 1e400}".to_vec(),
        b"{\"a\": -1e400}".to_vec(),
        b"{\"a\": NaN}".to_vec(),
        b"{\"a\": Infinity}".to_vec(),
        b"{\"a\": 1, \"a\": 2}".to_vec(),
        b"{\"b\": {\"a\": 1, \"\\u0061\": 2}}".to_vec(),
        b"{\"a\": \"\\ud800\"}".to_vec(),
        b"{\"a\": \"\\u0000\"}".to_vec(),
        b"{\"\\u0000\": 1}".to_vec(),
        b"{\"a\": \"\xff\"}".to_vec(),
        b"{\"a\": 1} trailing".to_vec(),
        b"{\"a\": 1,}".to_vec(),
        b"{\"a\"".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
    ];
    for input in inputs {
        let about = String::from_utf8_lossy(&input).into_owned();
        let answer = sagas.start_saga(start(input)).await;
        refused(answer, Code::InvalidArgument, "PAYLOAD_INVALID", &about);
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b8_an_input_against_the_definitions_schema_is_an_invalid_argument_by_field() {
    let stage = stage().await;
    let schema =
        "inputSchema: {type: object, required: [order], properties: {order: {type: string}}}\n";
    let strict = SHOP.replace("name: shop\n", &format!("name: strict\n{schema}"));
    stage.client.apply_definition(&strict).await.unwrap();
    let mut sagas = stage.sagas().await;
    for input in ["{}", r#"{"order": 1}"#, "[]", "null"] {
        let request = v1::StartSagaRequest {
            definition: "namespaces/default/definitions/strict".to_owned(),
            ..start(input)
        };
        let answer = sagas.start_saga(request).await;
        let error = refused(answer, Code::InvalidArgument, "INPUT_INVALID", input);
        assert!(!error.violations.is_empty(), "{error:?}");
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_an_input_above_the_limit_is_too_large_and_one_at_the_limit_is_not() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    let of_size = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    for bytes in [(1 << 20) + 1, 2 << 20, 5 << 20, 16 << 20] {
        let input = of_size(bytes);
        assert_eq!(input.len(), bytes);
        let answer = sagas.start_saga(start(input)).await;
        refused(
            answer,
            Code::ResourceExhausted,
            "PAYLOAD_TOO_LARGE",
            &bytes.to_string(),
        );
    }
    healthy(&stage).await;
    let most = v1::StartSagaRequest {
        key: Some("as large as can be".to_owned()),
        ..start(of_size(1 << 20))
    };
    sagas.start_saga(most).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_a_time_that_cannot_be_is_an_invalid_argument() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    let name = format!(
        "namespaces/default/sagas/{}",
        "019aa578-c07b-8abc-bfff-ffffffffffff"
    );
    for (seconds, nanos) in [
        (-1, 0),
        (0, -1),
        (1, -1),
        (60 * 60, 1),
        (253_402_300_799, 0),
        (i64::MAX, i32::MAX),
        (i64::MIN, 0),
        (0, 1_000_000_000),
    ] {
        let request = v1::WaitSagaRequest {
            name: name.clone(),
            timeout: Some(prost_types::Duration { seconds, nanos }),
        };
        let answer = sagas.wait_saga(request).await;
        refused(
            answer,
            Code::InvalidArgument,
            "DURATION_INVALID",
            &format!("{seconds} {nanos}"),
        );
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_a_cancel_of_what_ended_passed_its_pivot_or_never_was_is_refused() {
    let stage = stage().await;
    let mut sagas = stage.sagas().await;
    let cancel = |name: &str, reason: &str| v1::CancelSagaRequest {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let unknown = "namespaces/default/sagas/019aa578-c07b-8abc-bfff-ffffffffffff";
    let answer = sagas.cancel_saga(cancel(unknown, "why not")).await;
    refused(answer, Code::NotFound, "SAGA_NOT_FOUND", unknown);
    for name in [
        "namespaces/default/sagas/1",
        "namespaces/default/sagas/",
        "namespaces/default/sagas/019AA578-C07B-8ABC-BFFF-FFFFFFFFFFFF",
    ] {
        let answer = sagas.cancel_saga(cancel(name, "why not")).await;
        refused(answer, Code::InvalidArgument, "NAME_INVALID", name);
    }
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let entered = std::sync::Arc::new(tokio::sync::Notify::new());
    let (script_gate, script_entered) = (gate.clone(), entered.clone());
    let _actor = stage.attach(move |call| {
        let (gate, entered) = (script_gate.clone(), script_entered.clone());
        async move {
            if call.action == "ship" {
                entered.notify_one();
                gate.acquire().await.unwrap().forget();
            }
            Ok(crate::stage::willing(&call))
        }
    });
    let name = stage.start("o1").await;
    for reason in ["", "  ", "a\0b", &"w".repeat(1_025)] {
        let answer = sagas.cancel_saga(cancel(&name, reason)).await;
        refused(answer, Code::InvalidArgument, "REASON_INVALID", reason);
    }
    entered.notified().await;
    let answer = sagas.cancel_saga(cancel(&name, "too late")).await;
    refused(
        answer,
        Code::FailedPrecondition,
        "BEHIND_POINT_OF_NO_RETURN",
        &name,
    );
    gate.add_permits(100);
    stage.settled_as(&name, SagaState::Completed).await;
    let answer = sagas.cancel_saga(cancel(&name, "too late")).await;
    refused(answer, Code::FailedPrecondition, "SAGA_ENDED", &name);
    // From another namespace it does not exist.
    let elsewhere = name.replace("/default/", "/other/");
    let answer = sagas.cancel_saga(cancel(&elsewhere, "not mine")).await;
    refused(answer, Code::NotFound, "SAGA_NOT_FOUND", &elsewhere);
}
