//! A start that waits for its saga.

use std::time::{Duration, Instant};

use amends_proto::v1;
use tonic::Code;

use crate::node::{Node, order, refusal};
use crate::participant::{Participant, rejected, succeeded};

fn waiting(key: &str, seconds: i64) -> v1::StartSagaRequest {
    v1::StartSagaRequest {
        key: Some(key.into()),
        wait: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..order()
    }
}

async fn started(node: &Node, request: v1::StartSagaRequest) -> v1::StartSagaResponse {
    let answer = node.sagas().start_saga(request).await;
    answer.expect("it starts").into_inner()
}

#[tokio::test]
async fn a_start_answers_with_the_end_of_its_saga_the_first_time_and_again() {
    let node = Node::with_order().await;
    let shop = Participant::attached(&node, "shop-1").await;
    let shop = shop.work(|command| match command.action.as_str() {
        "shop.charge" => rejected("CARD_DECLINED"),
        _ => succeeded("null"),
    });
    let first = started(&node, waiting("A-1", 20)).await;
    assert!(first.created && first.settled);
    assert_eq!(first.state(), v1::SagaState::Compensated);
    let abort = first.abort.clone().expect("it was aborted");
    assert_eq!(
        (abort.kind.as_str(), abort.code.as_str()),
        ("STEP_FAILED", "CARD_DECLINED")
    );
    // It ended long ago, so nothing is waited for.
    let again = started(&node, waiting("A-1", 3_600)).await;
    assert_eq!(
        (again.created, again.settled, &again.name),
        (false, true, &first.name)
    );
    assert_eq!(
        (again.state(), again.abort),
        (v1::SagaState::Compensated, first.abort)
    );
    let now = started(&node, waiting("A-1", 0)).await;
    assert!(now.settled && !now.created);
    shop.abort();
    node.stop().await;
}

#[tokio::test]
async fn the_time_may_be_over_first_and_a_start_that_does_not_wait_says_nothing_of_the_end() {
    let node = Node::with_order().await;
    let waited = started(&node, waiting("A-1", 0)).await;
    assert_eq!((waited.created, waited.settled), (true, false));
    assert_eq!(waited.state(), v1::SagaState::Running);
    let plain = v1::StartSagaRequest {
        wait: None,
        ..waiting("A-1", 0)
    };
    let plain = started(&node, plain).await;
    assert_eq!(
        (plain.settled, plain.state()),
        (false, v1::SagaState::Unspecified)
    );
}

#[tokio::test]
async fn a_wait_may_take_longer_than_a_short_call() {
    let limit = Duration::from_millis(200);
    let node = Node::start_with(|options| options.request_timeout = limit).await;
    node.apply(crate::node::ORDER).await.unwrap();
    let began = Instant::now();
    let waited = started(&node, waiting("A-1", 1)).await;
    assert!(!waited.settled && began.elapsed() > limit * 2);
    assert_eq!(waited.state(), v1::SagaState::Running);
}

#[tokio::test]
async fn b10_a_wait_out_of_its_range_is_an_invalid_argument_and_starts_nothing() {
    let node = Node::with_order().await;
    for seconds in [-1, 3_601, i64::MAX] {
        let found = refusal(node.sagas().start_saga(waiting("A-1", seconds)).await);
        assert_eq!(found, (Code::InvalidArgument, "DURATION_INVALID".into()));
    }
    assert!(started(&node, waiting("A-1", 0)).await.created);
}
