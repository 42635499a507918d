//! A saga's life as clients and a participant see it.

use std::sync::Mutex;

use amends_proto::v1;
use tonic::Code;

use crate::node::{Node, nobody, refusal};
use crate::participant::{Participant, outcome, rejected, succeeded};

#[tokio::test]
async fn a_saga_runs_to_its_end_and_its_history_reads_back() {
    let node = Node::with_order().await;
    let shop = Participant::attached(&node, "shop-1")
        .await
        .work(|_| succeeded(r#"{"ok": true}"#));
    let name = node.start_order("A-1").await.unwrap().name;
    let saga = node.settled(&name).await;
    assert_eq!(saga.state(), v1::SagaState::Completed);
    let ids: Vec<&str> = saga.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["reserve", "charge", "ship"]);
    let forward = saga.steps[0].forward.as_ref().unwrap();
    assert_eq!(
        (forward.state(), forward.attempts),
        (v1::StepState::Succeeded, 1)
    );
    assert_eq!(
        (&forward.input[..], &forward.output[..]),
        (&br#"{"order":"A-1"}"#[..], &br#"{"ok": true}"#[..])
    );
    assert!(saga.steps[0].compensation.is_some() && saga.steps[1].compensation.is_none());

    let whole = v1::ListSagaHistoryRequest {
        name: name.clone(),
        page_size: 1_000,
        ..Default::default()
    };
    let whole = node
        .sagas()
        .list_saga_history(whole)
        .await
        .unwrap()
        .into_inner()
        .entries;
    assert_eq!(
        (whole[0].kind.as_str(), whole.last().unwrap().kind.as_str()),
        ("started", "completed")
    );
    assert!(whole.iter().all(|entry| !entry.body.is_empty()));
    assert_eq!(paged(&node, &name).await, whole);
    assert_eq!(followed(&node, &name).await, whole);
    shop.abort();
    node.stop().await;
}

/// The history in pages of one fact. Rows are not split: such a page is as long as its row.
async fn paged(node: &Node, name: &str) -> Vec<v1::HistoryEntry> {
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListSagaHistoryRequest {
            name: name.into(),
            page_size: 1,
            page_token,
        };
        let page = node
            .sagas()
            .list_saga_history(request)
            .await
            .expect("the saga exists")
            .into_inner();
        assert!(
            page.entries
                .iter()
                .all(|entry| entry.position == page.entries[0].position)
        );
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return entries;
        }
    }
}

/// The history as it is followed.
async fn followed(node: &Node, name: &str) -> Vec<v1::HistoryEntry> {
    let follow = v1::FollowSagaHistoryRequest { name: name.into() };
    let rows = node.sagas().follow_saga_history(follow).await;
    let (mut rows, mut entries) = (rows.expect("the saga exists").into_inner(), Vec::new());
    while let Some(row) = rows.message().await.expect("the node is there") {
        entries.extend(row.entries);
    }
    entries
}

#[tokio::test]
async fn a_watch_and_a_followed_history_end_with_the_saga() {
    let node = Node::with_order().await;
    let name = node.start_order("A-1").await.unwrap().name;
    let watch = v1::WatchSagaRequest { name: name.clone() };
    let mut watch = node.sagas().watch_saga(watch).await.unwrap().into_inner();
    let follow = v1::FollowSagaHistoryRequest { name };
    let mut follow = node
        .sagas()
        .follow_saga_history(follow)
        .await
        .unwrap()
        .into_inner();
    let first = watch.message().await.unwrap().unwrap().saga.unwrap();
    assert_eq!(first.state(), v1::SagaState::Running);
    let shop = Participant::attached(&node, "shop-1")
        .await
        .work(|command| match command.action.as_str() {
            "shop.charge" => rejected("CARD_DECLINED"),
            _ => succeeded("null"),
        });
    let mut last = first;
    while let Some(seen) = watch.message().await.unwrap() {
        last = seen.saga.unwrap();
    }
    assert_eq!(last.state(), v1::SagaState::Compensated);
    let abort = last.abort.unwrap();
    assert_eq!(
        (
            abort.kind.as_str(),
            abort.step.as_str(),
            abort.code.as_str()
        ),
        ("STEP_FAILED", "charge", "CARD_DECLINED")
    );
    let undone = last.steps[0].compensation.as_ref().unwrap();
    assert_eq!(undone.state(), v1::StepState::Succeeded);
    let mut kinds = Vec::new();
    while let Some(row) = follow.message().await.unwrap() {
        kinds.extend(row.entries.into_iter().map(|entry| entry.kind));
    }
    assert_eq!(
        (kinds[0].as_str(), kinds.last().unwrap().as_str()),
        ("started", "compensated")
    );
    assert!(kinds.iter().any(|kind| kind == "abort_decided"));
    shop.abort();
}

#[tokio::test]
async fn a_wait_that_is_too_short_says_so() {
    let node = Node::with_order().await;
    let name = node.start_order("A-1").await.unwrap().name;
    for nanos in [0, 50_000_000] {
        let timeout = Some(prost_types::Duration { seconds: 0, nanos });
        let waited = node
            .sagas()
            .wait_saga(v1::WaitSagaRequest {
                name: name.clone(),
                timeout,
            })
            .await
            .unwrap();
        assert!(!waited.into_inner().settled);
    }
}

#[tokio::test]
async fn b10_a_wait_with_a_negative_or_an_endless_timeout_is_an_invalid_argument() {
    let node = Node::with_order().await;
    let name = node.start_order("A-1").await.unwrap().name;
    for (seconds, nanos) in [
        (-1, 0),
        (3_600, 1),
        (0, -1),
        (i64::MAX, 999_999_999),
        (253_402_300_799, 0),
    ] {
        let timeout = Some(prost_types::Duration { seconds, nanos });
        let request = v1::WaitSagaRequest {
            name: name.clone(),
            timeout,
        };
        assert_eq!(
            refusal(node.sagas().wait_saga(request).await),
            (Code::InvalidArgument, "DURATION_INVALID".into())
        );
    }
}

#[tokio::test]
async fn b13_a_cancel_is_honoured_before_the_pivot_and_refused_behind_it_and_at_the_end() {
    let node = Node::with_order().await;
    let cancel = async |name: &str| {
        let request = v1::CancelSagaRequest {
            name: name.into(),
            reason: "the customer called".into(),
        };
        node.sagas()
            .cancel_saga(request)
            .await
            .map(|response| response.into_inner().disposition())
    };
    assert_eq!(refusal(cancel(&nobody("default")).await).0, Code::NotFound);

    let mut shop = Participant::attached(&node, "shop-1").await;
    let early = node.start_order("early").await.unwrap().name;
    let reserve = shop.commands().await.remove(0);
    assert_eq!(
        cancel(&early).await.unwrap(),
        v1::cancel_saga_response::Disposition::Aborted
    );
    assert_eq!(
        cancel(&early).await.unwrap(),
        v1::cancel_saga_response::Disposition::AlreadyAborted
    );
    shop.outcomes(vec![outcome(&reserve, succeeded("null"))])
        .await;
    let release = shop.commands().await.remove(0);
    assert_eq!(release.operation(), v1::OperationKind::Compensate);
    assert_eq!(release.forward_operation_key, reserve.operation_key);
    shop.outcomes(vec![outcome(&release, succeeded("null"))])
        .await;
    assert_eq!(
        node.settled(&early).await.state(),
        v1::SagaState::Compensated
    );
    assert_eq!(refusal(cancel(&early).await).0, Code::FailedPrecondition);

    let late = node.start_order("late").await.unwrap().name;
    for _ in 0..2 {
        let command = shop.commands().await.remove(0);
        shop.outcomes(vec![outcome(&command, succeeded("null"))])
            .await;
    }
    let ship = shop.commands().await.remove(0);
    assert_eq!(refusal(cancel(&late).await).0, Code::FailedPrecondition);
    shop.outcomes(vec![outcome(&ship, succeeded("null"))]).await;
    assert_eq!(node.settled(&late).await.state(), v1::SagaState::Completed);
}

#[tokio::test]
async fn a_cancel_needs_a_reason() {
    let node = Node::with_order().await;
    let name = node.start_order("A-1").await.unwrap().name;
    for reason in ["".to_owned(), " ".into(), "a\0".into(), "x".repeat(1_025)] {
        let request = v1::CancelSagaRequest {
            name: name.clone(),
            reason,
        };
        assert_eq!(
            refusal(node.sagas().cancel_saga(request).await),
            (Code::InvalidArgument, "REASON_INVALID".into())
        );
    }
}

#[tokio::test]
async fn an_output_that_cannot_be_used_is_an_effect_that_is_undone() {
    let node = Node::with_order().await;
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&seen);
    let shop = Participant::attached(&node, "shop-1")
        .await
        .work(move |command| {
            log.lock().unwrap().push(command.action.clone());
            if command.action == "shop.reserve" {
                succeeded("{not json")
            } else {
                succeeded("null")
            }
        });
    let name = node.start_order("A-1").await.unwrap().name;
    let saga = node.settled(&name).await;
    assert_eq!(saga.state(), v1::SagaState::Compensated);
    assert_eq!(
        saga.steps[0].forward.as_ref().unwrap().code,
        "OUTPUT_INVALID"
    );
    assert_eq!(*seen.lock().unwrap(), ["shop.reserve", "shop.release"]);
    shop.abort();
}

#[tokio::test]
async fn open_streams_are_told_when_the_node_leaves() {
    let node = Node::with_order().await;
    let name = node.start_order("A-1").await.unwrap().name;
    let mut watch = node
        .sagas()
        .watch_saga(v1::WatchSagaRequest { name: name.clone() })
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap().unwrap();
    let mut sagas = node.sagas();
    let wait = tokio::spawn(async move {
        sagas
            .wait_saga(v1::WaitSagaRequest {
                name,
                timeout: None,
            })
            .await
    });
    node.stop().await;
    assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(wait.await.unwrap().unwrap_err().code(), Code::Unavailable);
}
