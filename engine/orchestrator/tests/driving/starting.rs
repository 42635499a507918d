//! Starts: what is refused, keys, and how much is taken.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_orchestrator::{Kind, Options, StartRequest};

use crate::world::{Participant, World, ended, payload, request, start};

type Case = (fn(&mut StartRequest), Kind, &'static str);

const BAD_STARTS: [Case; 9] = [
    (
        |start| start.namespace = "nowhere".into(),
        Kind::NotFound,
        "NAMESPACE_NOT_FOUND",
    ),
    (
        |start| start.definition = "ordre".into(),
        Kind::NotFound,
        "DEFINITION_NOT_FOUND",
    ),
    (
        |start| start.revision = Some(0),
        Kind::NotFound,
        "DEFINITION_NOT_FOUND",
    ),
    (
        |start| start.revision = Some(7),
        Kind::NotFound,
        "DEFINITION_NOT_FOUND",
    ),
    (
        |start| start.input = payload(r#"{"amount":0}"#),
        Kind::InvalidArgument,
        "INPUT_INVALID",
    ),
    (
        |start| start.key = Some(String::new()),
        Kind::InvalidArgument,
        "KEY_INVALID",
    ),
    (
        |start| start.key = Some("k".repeat(513)),
        Kind::InvalidArgument,
        "KEY_INVALID",
    ),
    (
        |start| {
            start.definition = "keyed".into();
            start.input = payload(r#"{"id":"a"}"#);
            start.key = Some("b".into());
        },
        Kind::InvalidArgument,
        "KEY_MISMATCH",
    ),
    (
        |start| start.definition = "keyed".into(),
        Kind::InvalidArgument,
        "KEY_INVALID",
    ),
];

#[tokio::test(start_paused = true)]
async fn bad_starts_get_their_answers_and_leave_nothing_behind() {
    let world = World::new(4);
    let node = world.node("one").await;
    for (spoil, kind, reason) in BAD_STARTS {
        let mut request = request("order", "{}");
        spoil(&mut request);
        let refusal = node.start_saga(request).await.unwrap_err();
        assert_eq!((refusal.kind, refusal.reason), (kind, reason), "{refusal}");
    }
    assert!(world.sagas().await.is_empty());
    let bad = request("order", r#"{"amount":0}"#);
    let violations = node.start_saga(bad).await.unwrap_err().violations;
    assert_eq!(violations[0].0, "input/amount");
    let both = StartRequest {
        key: Some("a".into()),
        ..request("keyed", r#"{"id":"a"}"#)
    };
    assert!(node.start_saga(both).await.unwrap().created);
}

#[tokio::test(start_paused = true)]
async fn equal_starts_with_one_key_at_once_are_one_saga() {
    let world = World::new(16);
    let node = world
        .node_with(Options {
            lanes: 2,
            ..Options::default()
        })
        .await;
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let node = node.clone();
        starts.spawn(async move {
            node.start_saga(request("keyed", r#"{"id":"a"}"#))
                .await
                .unwrap()
        });
    }
    let answers = starts.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.saga == answers[0].saga && answer.revision == 1)
    );
    assert_eq!(world.sagas().await.len(), 1);
    assert!(world.lookups() < 50, "keys are looked up in batches");

    let other = node
        .start_saga(request("keyed", r#"{"id":"a","more":1}"#))
        .await
        .unwrap_err();
    assert_eq!(
        (other.kind, other.reason),
        (Kind::AlreadyExists, "KEY_REUSED")
    );
    assert_eq!(other.metadata["saga"], answers[0].saga.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_remembered_after_its_saga_has_ended_and_after_a_restart() {
    let world = World::new(4);
    let node = world.node("one").await;
    Participant::attach(&node, "shop-1", 10).succeed_always();
    let saga = start(&node, "keyed", r#"{"id":"a"}"#).await;
    assert_eq!(ended(&node, saga).await, SagaState::Completed);
    let again = node
        .start_saga(request("keyed", r#"{ "id" : "a" }"#))
        .await
        .unwrap();
    assert_eq!(
        (again.saga, again.created, again.revision),
        (saga, false, 1)
    );
    drop(node);
    let node = world.node("one").await;
    let again = node
        .start_saga(request("keyed", r#"{"id":"a"}"#))
        .await
        .unwrap();
    assert_eq!((again.saga, again.created), (saga, false));
}

#[tokio::test(start_paused = true)]
async fn more_than_is_held_is_refused_and_what_was_taken_is_kept() {
    let world = World::new(4);
    let node = world
        .node_with(Options {
            active_max: 3,
            ..Options::default()
        })
        .await;
    for _ in 0..3 {
        start(&node, "order", "{}").await;
    }
    let refusal = node.start_saga(request("order", "{}")).await.unwrap_err();
    assert_eq!(refusal.reason, "OVERLOADED");
    assert_eq!(
        refusal.kind,
        Kind::ResourceExhausted {
            retry_after: Some(Duration::from_secs(1))
        }
    );
    assert_eq!(world.sagas().await.len(), 3);
    Participant::attach(&node, "shop-1", 10).succeed_always();
    for record in world.sagas().await {
        assert_eq!(ended(&node, record.id).await, SagaState::Completed);
    }
    start(&node, "order", "{}").await;
}
