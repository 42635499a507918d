//! Signals, operators' acts, and what expressions meet when a saga runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amends_proto::v1::act::Act;
use amends_proto::v1::definition_service_client::DefinitionServiceClient;
use amends_proto::v1::operator_service_client::OperatorServiceClient;
use amends_proto::v1::{self, SagaState};
use amends_sdk::{Fail, StartOptions};
use amends_tests::server::Store;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

use super::{refused, stage, works};
use crate::stage::{Actor, Stage, willing};

/// A person decides, and nobody else.
const APPROVAL: &str = "\
apiVersion: amends/v1
name: approval
signals:
  decided: {schema: {type: object, required: [approved]}}
steps:
  - {id: decision, wait: {signal: decided}}
";

/// Computes from its input what it asks the shop for, item by item.
const EACH: &str = "\
apiVersion: amends/v1
name: each
steps:
  - id: first
    call: shop.reserve
    input: {order: \"${{ input.order }}\"}
    compensate: {call: shop.release}
  - id: each
    foreach: {in: input.list, as: item, maxItems: 20}
    call: shop.hold
    input: {share: \"${{ input.total / item }}\"}
    compensate: {call: shop.unhold}
";

async fn operators(stage: &Stage) -> OperatorServiceClient<Channel> {
    OperatorServiceClient::new(stage.channel().await).max_encoding_message_size(64 << 20)
}

async fn approval(stage: &Stage) -> String {
    stage.client.apply_definition(APPROVAL).await.unwrap();
    let options = StartOptions::key("a1");
    let started = stage.client.start("approval", &json!({}), &options).await;
    started.unwrap().name
}

fn decided(name: &str) -> v1::SignalSagaRequest {
    v1::SignalSagaRequest {
        name: name.to_owned(),
        signal: "decided".to_owned(),
        payload: r#"{"approved": true}"#.into(),
        dedupe_id: None,
    }
}

fn act(name: &str, act: Act) -> v1::OperateSagaRequest {
    v1::OperateSagaRequest {
        name: name.to_owned(),
        act: Some(v1::Act { act: Some(act) }),
        reason: "the test says so".to_owned(),
        dry_run: false,
    }
}

fn target(step: &str) -> Option<v1::Target> {
    let step = step.to_owned();
    Some(v1::Target {
        step,
        ..v1::Target::default()
    })
}

/// A saga parked behind its point of no return, of a street that does not exist.
async fn parked(stage: &Stage) -> (String, Actor) {
    // A retry of what was refused is another operation: its first attempt is number 1 again.
    let met = Arc::new(AtomicBool::new(false));
    let actor = stage.attach(move |call| {
        let first = call.action == "ship" && !met.swap(true, Ordering::SeqCst);
        async move {
            if first {
                Err(Fail::rejected("NO_SUCH_STREET"))
            } else {
                Ok(willing(&call))
            }
        }
    });
    let name = stage.start("o1").await;
    stage.settled_as(&name, SagaState::Parked).await;
    (name, actor)
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_a_filter_of_incidents_that_is_no_fingerprint_is_an_invalid_argument() {
    let stage = stage().await;
    let (_name, _actor) = parked(&stage).await;
    let mut operators = operators(&stage).await;
    let list = |fingerprint: &str| v1::ListIncidentsRequest {
        parent: "namespaces/default".to_owned(),
        fingerprint: fingerprint.to_owned(),
        ..v1::ListIncidentsRequest::default()
    };
    for filter in [
        "' OR '1'='1",
        "shop@1/ship/NO_SUCH_STREET'; DROP TABLE amends.incidents; --",
        "shop@1/ship/%",
        "shop@1/ship/NO_SUCH_STREET**",
        "shop@1/../..",
        "shop@-1/ship/X",
        "\0",
        &"(".repeat(10_000),
        &"a".repeat(1 << 20),
        &format!("{}*", "a".repeat(1 << 20)),
    ] {
        let answer = operators.list_incidents(list(filter)).await;
        refused(answer, Code::InvalidArgument, "FINGERPRINT_INVALID", filter);
    }
    let by_reason = v1::ListIncidentsRequest {
        reason: "PAUSED' --".to_owned(),
        ..list("")
    };
    let answer = operators.list_incidents(by_reason).await;
    refused(answer, Code::InvalidArgument, "FILTER_INVALID", "a reason");
    let all = operators.list_incidents(list("shop@1/*")).await.unwrap();
    assert_eq!(all.into_inner().incidents.len(), 1);
    works(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b14_a_signal_that_nobody_declared_came_too_late_or_was_one_too_many_is_refused() {
    let stage = stage().await;
    let name = approval(&stage).await;
    let sagas = stage.sagas().await;
    for signal in ["other", "", "'; --", &"s".repeat(1 << 20)] {
        let signal = v1::SignalSagaRequest {
            signal: signal.to_owned(),
            ..decided(&name)
        };
        let answer = sagas.clone().signal_saga(signal).await;
        refused(answer, Code::InvalidArgument, "SIGNAL_UNDECLARED", "a name");
    }
    let unfit = v1::SignalSagaRequest {
        payload: "[1]".into(),
        ..decided(&name)
    };
    let answer = sagas.clone().signal_saga(unfit).await;
    refused(answer, Code::InvalidArgument, "SIGNAL_INVALID", "[1]");
    // The step that waits takes the first, also in a pause; as many as a saga keeps are kept, and not one more.
    let pause = act(&name, Act::Pause(v1::Pause {}));
    operators(&stage).await.operate_saga(pause).await.unwrap();
    let mut sent = JoinSet::new();
    for _ in 0..2_001 {
        let (mut sagas, signal) = (sagas.clone(), decided(&name));
        sent.spawn(async move { sagas.signal_saga(signal).await });
    }
    while let Some(answer) = sent.join_next().await {
        assert!(answer.unwrap().unwrap().into_inner().accepted);
    }
    let answer = sagas.clone().signal_saga(decided(&name)).await;
    refused(answer, Code::ResourceExhausted, "SIGNALS_FULL", "2,002");
    let saga = stage.client.get(&name).await.unwrap();
    assert_eq!(saga.pending_signals.len(), 2_000);
    let resume = act(&name, Act::Resume(v1::Resume {}));
    operators(&stage).await.operate_saga(resume).await.unwrap();
    stage.settled_as(&name, SagaState::Completed).await;
    let answer = sagas.clone().signal_saga(decided(&name)).await;
    refused(answer, Code::FailedPrecondition, "SAGA_ENDED", "too late");
    works(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_what_would_break_a_saga_is_a_failed_precondition_and_changes_nothing() {
    let stage = stage().await;
    let (name, _actor) = parked(&stage).await;
    let mut operators = operators(&stage).await;
    let before = stage.client.history(&name).await.unwrap().len();
    let skip = |step| {
        Act::Skip(v1::Skip {
            target: target(step),
        })
    };
    let retry = |step| {
        Act::Retry(v1::Retry {
            target: target(step),
            input: None,
        })
    };
    for (what, reason) in [
        (Act::Resume(v1::Resume {}), "NOT_PARKED"),
        (skip("pay"), "PIVOT"),
        (skip("reserve"), "NOT_READY"),
        (retry("reserve"), "NOT_PARKED"),
        (
            Act::Compensate(v1::Compensate {}),
            "BEHIND_POINT_OF_NO_RETURN",
        ),
    ] {
        let about = format!("{what:?}");
        let answer = operators.operate_saga(act(&name, what)).await;
        let error = refused_with_one_of(answer, &[reason, "NOT_PARKED"], &about);
        assert!(!error.message.is_empty(), "{about}");
    }
    for what in [skip("nothing"), skip("' OR 1=1"), skip("")] {
        let status = operators.operate_saga(act(&name, what)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    for reason in ["", " ", "a\0b", &"x".repeat(1_025)] {
        let request = v1::OperateSagaRequest {
            reason: reason.to_owned(),
            ..act(&name, Act::Pause(v1::Pause {}))
        };
        let answer = operators.operate_saga(request).await;
        refused(answer, Code::InvalidArgument, "REASON_INVALID", reason);
    }
    let nothing = v1::OperateSagaRequest {
        act: None,
        ..act(&name, Act::Pause(v1::Pause {}))
    };
    let answer = operators.operate_saga(nothing).await;
    refused(answer, Code::InvalidArgument, "ACT_MISSING", "nothing");
    let after = stage.client.history(&name).await.unwrap().len();
    assert_eq!(before, after, "a refusal is not on record");
    let answer = operators.operate_saga(act(&name, retry("ship"))).await;
    assert_eq!(answer.unwrap().into_inner().state(), SagaState::Running);
    stage.settled_as(&name, SagaState::Completed).await;
    let answer = operators.operate_saga(act(&name, retry("ship"))).await;
    assert_eq!(answer.unwrap_err().code(), Code::FailedPrecondition);
    works(&stage).await;
}

#[track_caller]
fn refused_with_one_of<T: std::fmt::Debug>(
    answer: Result<T, tonic::Status>,
    reasons: &[&str],
    about: &str,
) -> amends_sdk::RpcError {
    let error = amends_sdk::RpcError::from(answer.expect_err(about));
    assert_eq!(error.code, Code::FailedPrecondition, "{about}: {error}");
    let reason = error.reason.as_deref().unwrap_or_default();
    assert!(reasons.contains(&reason), "{about}: {error}");
    error
}

async fn each(stage: &Stage, input: Value) -> v1::Saga {
    let options = StartOptions::random_key();
    let started = stage.client.start("each", &input, &options).await.unwrap();
    stage.settled(&started.name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn b35_an_expression_without_a_value_fails_its_step_with_a_reason() {
    let stage = stage().await;
    stage.client.apply_definition(EACH).await.unwrap();
    let actor = stage.attach_willing();
    let order = "o";
    for input in [
        // Divided by zero, overflowed, of a wrong type, and not there at all.
        json!({"order": order, "list": [0], "total": 1}),
        json!({"order": order, "list": [-1], "total": i64::MIN}),
        json!({"order": order, "list": ["two"], "total": 1}),
        json!({"order": order, "list": [1]}),
    ] {
        let saga = each(&stage, input.clone()).await;
        assert_eq!(saga.state(), SagaState::Compensated, "{input}: {saga:?}");
        let abort = saga.abort.unwrap();
        assert_eq!(
            (abort.step.as_str(), abort.code.as_str()),
            ("each", "EXPRESSION_FAILED"),
            "{input}"
        );
        assert!(!abort.message.is_empty(), "{input}");
        let actions = actor.actions(&saga.name);
        assert_eq!(actions, ["reserve", "release"], "{input}");
    }
    works_with(&stage, actor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b36_a_list_that_is_none_or_has_too_much_fails_its_step_and_an_empty_one_completes() {
    let stage = stage().await;
    stage.client.apply_definition(EACH).await.unwrap();
    let actor = stage.attach_willing();
    let input = |list: Value| json!({"order": "o", "list": list, "total": 6});
    let list = |items: usize| Value::from(vec![3; items]);
    for (wrong, code) in [
        (json!("no list"), "ITEMS_NOT_A_LIST"),
        (json!({"a": 1}), "ITEMS_NOT_A_LIST"),
        (json!(null), "ITEMS_NOT_A_LIST"),
        (list(21), "TOO_MANY_ITEMS"),
        (list(400_000), "TOO_MANY_ITEMS"),
    ] {
        let saga = each(&stage, input(wrong)).await;
        assert_eq!(saga.state(), SagaState::Compensated, "{code}");
        assert_eq!(saga.abort.unwrap().code, code);
        assert_eq!(actor.actions(&saga.name), ["reserve", "release"], "{code}");
    }
    let (million, options) = (input(list(1_000_000)), StartOptions::random_key());
    let refused = stage.client.start("each", &million, &options).await;
    let error = refused.unwrap_err();
    assert_eq!(error.code(), Some(Code::ResourceExhausted), "{error}");
    assert_eq!(error.reason(), Some("PAYLOAD_TOO_LARGE"));
    let none = each(&stage, input(json!([]))).await;
    assert_eq!(none.state(), SagaState::Completed, "{none:?}");
    let most = each(&stage, input(list(20))).await;
    assert_eq!(most.state(), SagaState::Completed, "{most:?}");
    assert_eq!(most.steps[1].items.len(), 20);
    works_with(&stage, actor).await;
}

async fn works_with(stage: &Stage, actor: Actor) {
    actor.leave().await;
    works(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b34_an_expression_that_would_cost_too_much_is_refused_or_stopped() {
    let stage = stage().await;
    let when = |expression: &str| {
        format!(
            "apiVersion: amends/v1\nname: costly\nsteps:\n  - {{id: a, when: \"{expression}\", call: shop.reserve, compensate: {{call: shop.release}}}}\n"
        )
    };
    let nested = "input.l.exists(a, input.l.exists(b, input.l.exists(c, a == b)))";
    for expression in [
        nested,
        "input.s.matches('(a{1,64}){1,64}')",
        "range(1000000000) == []",
    ] {
        let error = stage.client.apply_definition(&when(expression)).await;
        assert_eq!(
            error.unwrap_err().code(),
            Some(Code::InvalidArgument),
            "{expression:.40}"
        );
    }
    let costly = "input.l.all(a, input.l.all(b, a + b != 7))";
    stage.client.apply_definition(&when(costly)).await.unwrap();
    let input = json!({"l": vec![1; 2_000]});
    let options = StartOptions::random_key();
    let began = std::time::Instant::now();
    let started = stage
        .client
        .start("costly", &input, &options)
        .await
        .unwrap();
    let saga = stage
        .settled_as(&started.name, SagaState::Compensated)
        .await;
    assert_eq!(saga.abort.unwrap().code, "COST_EXCEEDED");
    assert!(began.elapsed() < super::AT_ONCE, "{:?}", began.elapsed());
    works(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b37_a_revision_with_sagas_in_flight_is_not_deleted_and_says_how_many() {
    let stage = stage().await;
    let name = approval(&stage).await;
    let mut definitions = DefinitionServiceClient::new(stage.channel().await);
    let request = v1::DeleteDefinitionRequest {
        name: "namespaces/default/definitions/approval".to_owned(),
        revision: 1,
    };
    let answer = definitions.delete_definition(request.clone()).await;
    let error = refused(
        answer,
        Code::FailedPrecondition,
        "DEFINITION_IN_USE",
        "in flight",
    );
    assert_eq!(error.metadata["sagas"], "1");
    assert!(
        stage
            .client
            .signal(&name, "decided", &json!({"approved": true}), None)
            .await
            .unwrap()
    );
    stage.settled_as(&name, SagaState::Completed).await;
    definitions
        .delete_definition(request.clone())
        .await
        .unwrap();
    let answer = definitions.delete_definition(request).await;
    refused(answer, Code::NotFound, "DEFINITION_NOT_FOUND", "gone");
    works(&stage).await;
}

const TOKEN: &str = "hunter2-hunter2";

/// A server that asks for a token, kept in a file that nobody else reads.
async fn guarded() -> (tempfile::TempDir, Stage) {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = path.display().to_string();
    let stage = Stage::open_with(Store::Sqlite, &[("admin_token_file", &path)]).await;
    (directory, stage)
}

fn overriding() -> [Act; 5] {
    [
        Act::Skip(v1::Skip {
            target: target("ship"),
        }),
        Act::Resolve(v1::Resolve {
            target: target("ship"),
            output: r#"{"tracking": "by hand"}"#.into(),
        }),
        Act::Resolve(v1::Resolve::default()),
        Act::ResolveAbsent(v1::ResolveAbsent {
            target: target("ship"),
        }),
        Act::Terminate(v1::Terminate {}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_what_overrides_the_engine_is_denied_without_the_admin_token() {
    let (_directory, stage) = guarded().await;
    let (name, actor) = parked(&stage).await;
    let mut operators = operators(&stage).await;
    let denied = Code::PermissionDenied;
    let strangers = [None, Some("Bearer hunter2"), Some("Basic hunter2-hunter2")];
    for said in strangers {
        let with = |request: v1::OperateSagaRequest| authorized(request, said);
        for what in overriding() {
            for dry_run in [false, true] {
                let request = v1::OperateSagaRequest {
                    dry_run,
                    ..act(&name, what.clone())
                };
                let answer = operators.operate_saga(with(request)).await;
                let error = refused(answer, denied, "ADMIN_TOKEN_REQUIRED", &format!("{what:?}"));
                assert!(error.message.contains("--token-file"), "{error}");
            }
            let batch = authorized(all_ships(what.clone()), said);
            let answer = operators.operate_incidents(batch).await;
            let about = format!("all: {what:?}");
            refused(answer.map(drop), denied, "ADMIN_TOKEN_REQUIRED", &about);
        }
        // Nobody learns whether a saga is there.
        let nobody = with(act(
            "namespaces/default/sagas/x",
            Act::Terminate(v1::Terminate {}),
        ));
        let answer = operators.operate_saga(nobody).await;
        refused(
            answer,
            denied,
            "ADMIN_TOKEN_REQUIRED",
            "a saga that is not there",
        );
        // What the engine allows by itself needs no token.
        for what in [Act::Pause(v1::Pause {}), Act::Resume(v1::Resume {})] {
            let answer = operators.operate_saga(with(act(&name, what))).await;
            answer.unwrap();
        }
    }
    let saga = stage.settled_as(&name, SagaState::Parked).await;
    assert_eq!(saga.incidents.len(), 1, "{saga:?}");

    let admin = stage.client.clone().admin_token(TOKEN).unwrap();
    let resolve = &overriding()[1];
    let would = admin.operate(&name, resolve.clone(), "seen", true).await;
    assert_eq!(would.unwrap().state(), SagaState::Completed);
    admin
        .operate(&name, resolve.clone(), "seen", false)
        .await
        .unwrap();
    stage.settled_as(&name, SagaState::Completed).await;
    drop(actor);
    assert!(!stage.server.ever_said("hunter2"), "{}", stage.server.log());
    works(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_an_admin_acts_on_all_of_a_kind_and_everybody_is_one_where_no_token_is_asked_for() {
    let (_directory, asking) = guarded().await;
    let token = asking.client.clone().admin_token(TOKEN).unwrap();
    let open = stage().await;
    for (stage, client) in [(&asking, token), (&open, open.client.clone())] {
        let (name, _actor) = parked(stage).await;
        let batch = amends_sdk::BatchAct {
            fingerprint: "shop@1/ship/NO_SUCH_STREET".to_owned(),
            act: Act::Terminate(v1::Terminate {}),
            reason: "given up".to_owned(),
            dry_run: false,
            rate: 1_000,
            limit: 0,
        };
        let mut told = client.operate_incidents(batch).await.unwrap();
        let told = told.message().await.unwrap().unwrap();
        assert_eq!(
            (told.saga.as_str(), told.reason.as_str()),
            (name.as_str(), "")
        );
        stage.settled_as(&name, SagaState::Terminated).await;
    }
}

fn authorized<T>(message: T, said: Option<&str>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(said) = said {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", said.parse().unwrap());
    }
    request
}

fn all_ships(act: Act) -> v1::OperateIncidentsRequest {
    v1::OperateIncidentsRequest {
        parent: "namespaces/default".to_owned(),
        fingerprint: "shop@1/ship/NO_SUCH_STREET".to_owned(),
        act: Some(v1::Act { act: Some(act) }),
        reason: "the test says so".to_owned(),
        dry_run: false,
        rate: 0,
        limit: 0,
    }
}
