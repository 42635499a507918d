//! The store fails in every way it can: nothing is lost, nothing is written twice.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::Acknowledged;
use amends_orchestrator::{Kind, Orchestrator};
use amends_store::AppendError;

use crate::world::{Participant, World, ended, request, start, succeeded};

fn cause() -> Box<dyn std::error::Error + Send + Sync> {
    "injected".into()
}

/// What a saga of `order` leaves behind when everything succeeds.
const COMPLETED: [&str; 8] = [
    "started",
    "scheduled",
    "attempt_ended",
    "scheduled",
    "attempt_ended",
    "scheduled",
    "attempt_ended",
    "completed",
];

#[tokio::test(start_paused = true)]
async fn every_failure_of_every_append_is_survived() {
    type Failure = fn() -> (AppendError, bool);
    let failures: [Failure; 6] = [
        || (AppendError::Again { source: cause() }, false),
        || (AppendError::Unavailable { source: cause() }, false),
        || (AppendError::KeyTaken, false),
        || (AppendError::Data { source: cause() }, false),
        || (AppendError::Unknown { source: cause() }, false),
        || (AppendError::Unknown { source: cause() }, true),
    ];
    for (number, failure) in failures.into_iter().enumerate() {
        for before in 0..4 {
            let world = World::new(1);
            let node = world.node("one").await;
            let (definition, input) = ("order", "{}");
            let inject = |append| {
                if append == before {
                    let (error, landed) = failure();
                    world.memory.fail_next(error, landed);
                }
            };
            inject(0);
            let saga = start(&node, definition, input).await;
            let mut shop = Participant::attach(&node, "shop-1", 10);
            for append in 1..4 {
                let command = shop.command().await;
                inject(append);
                assert_eq!(
                    shop.answer(&command, succeeded()).await,
                    Acknowledged::Recorded,
                    "{number} {before}"
                );
            }
            assert_eq!(
                ended(&node, saga).await,
                SagaState::Completed,
                "{number} {before}"
            );
            assert_eq!(world.facts(saga).await, COMPLETED, "{number} {before}");
            assert_eq!(world.sagas().await.len(), 1);
            assert!(*node.health().borrow());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_batch_whose_resolution_is_lost_too_is_resolved_at_last() {
    for (landed, takeovers_landed) in [(false, false), (false, true), (true, false)] {
        let world = World::new(4);
        let node = world.node("one").await;
        world
            .memory
            .fail_next(AppendError::Unknown { source: cause() }, landed);
        world
            .memory
            .fail_next(AppendError::Unknown { source: cause() }, takeovers_landed);
        world
            .memory
            .fail_next(AppendError::Unavailable { source: cause() }, false);
        let saga = start(&node, "order", "{}").await;
        Participant::attach(&node, "shop-1", 10).succeed_always();
        assert_eq!(ended(&node, saga).await, SagaState::Completed);
        assert_eq!(world.facts(saga).await, COMPLETED);
        assert_eq!(world.sagas().await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_sent_carries_the_epoch_of_a_shard_that_was_taken_anew() {
    let world = World::new(1);
    let node = world.node("one").await;
    let waiting = start(&node, "order", "{}").await;
    let lost = AppendError::Unknown { source: cause() };
    world.memory.fail_next(lost, false);
    start(&node, "order", "{}").await;
    let mut shop = Participant::attach(&node, "shop-1", 2);
    let (first, second) = (shop.command().await, shop.command().await);
    assert_eq!(first.key.saga, waiting);
    assert_eq!(
        first.epoch, second.epoch,
        "participants refuse an older epoch (I32)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_keyed_start_whose_batch_was_lost_is_one_saga() {
    for landed in [false, true] {
        let world = World::new(4);
        let node = world.node("one").await;
        world
            .memory
            .fail_next(AppendError::Unknown { source: cause() }, landed);
        let answer = node
            .start_saga(request("keyed", r#"{"id":"a"}"#))
            .await
            .unwrap();
        assert!(answer.created);
        let again = node
            .start_saga(request("keyed", r#"{"id":"a"}"#))
            .await
            .unwrap();
        assert_eq!((again.saga, again.created), (answer.saga, false));
        assert_eq!(world.sagas().await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_the_store_refuses_is_found_and_its_neighbours_commit() {
    let world = World::new(2);
    world.refuse_poison();
    let node = world.node("one").await;
    // The first append is held up, so that the rest gathers in one batch.
    world
        .memory
        .fail_next(AppendError::Unavailable { source: cause() }, false);
    let mut starts = tokio::task::JoinSet::new();
    for number in 0..40 {
        let node = node.clone();
        let input = if number == 20 {
            r#"{"poison":true}"#
        } else {
            "{}"
        };
        starts.spawn(async move { node.start_saga(request("order", input)).await });
    }
    let answers = starts.join_all().await;
    let refused: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        (refused[0].kind, refused[0].reason),
        (Kind::InvalidArgument, "RECORD_REFUSED")
    );
    assert_eq!(world.sagas().await.len(), 39);
    assert!(
        (2..=12).contains(&world.refused()),
        "{} tries",
        world.refused()
    );
    start(&node, "order", "{}").await;
}

#[tokio::test(start_paused = true)]
async fn starts_are_refused_while_the_store_takes_no_writes() {
    let world = World::new(1);
    let node = world.node("one").await;
    for _ in 0..8 {
        world
            .memory
            .fail_next(AppendError::Unavailable { source: cause() }, false);
    }
    let taken = {
        let node = node.clone();
        tokio::spawn(async move { start(&node, "order", "{}").await })
    };
    node.health().wait_for(|healthy| !healthy).await.unwrap();
    let refusal = node.start_saga(request("order", "{}")).await.unwrap_err();
    assert_eq!(refusal.kind, Kind::Unavailable);
    node.health().wait_for(|healthy| *healthy).await.unwrap();
    assert_eq!(taken.await.unwrap(), world.sagas().await[0].id);
    assert_eq!(world.sagas().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_saga_whose_history_cannot_be_read_is_parked_and_hides_no_other() {
    let world = World::new(1);
    let node = world.node("one").await;
    let (broken, sound) = (
        start(&node, "order", "{}").await,
        start(&node, "order", "{}").await,
    );
    let position = node.history("default", broken, 1, 10).await.unwrap().rows[0].position;
    drop(node);
    world.memory.overwrite_body(broken.shard(), position, b"{");
    let node = world.node("one").await;
    Participant::attach(&node, "shop-1", 10).succeed_always();
    assert_eq!(ended(&node, sound).await, SagaState::Completed);
    assert_eq!(ended(&node, broken).await, SagaState::Parked);
    assert!(node.saga("default", broken).await.unwrap().saga.is_err());
    let unreadable = node.cancel("default", broken, "me", "").await.unwrap_err();
    assert_eq!(unreadable.reason, "RECORD_UNREADABLE");
}

/// Random failures under load; the seed is fixed.
#[tokio::test(start_paused = true)]
async fn a_storm_of_failures_loses_and_doubles_nothing() {
    let world = World::new(8);
    let node = world.node("one").await;
    let mut storm = 7_u64;
    for _ in 0..200 {
        storm = storm
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let (error, landed) = match storm >> 61 {
            0 | 1 => (AppendError::Again { source: cause() }, false),
            2 => (AppendError::Unavailable { source: cause() }, false),
            3 => (AppendError::KeyTaken, false),
            4 | 5 => (AppendError::Unknown { source: cause() }, false),
            _ => (AppendError::Unknown { source: cause() }, true),
        };
        world.memory.fail_next(error, landed);
    }
    Participant::attach(&node, "shop-1", 20).succeed_always();
    let mut sagas = tokio::task::JoinSet::new();
    for number in 0..200 {
        let node = node.clone();
        sagas.spawn(async move {
            let saga = persist(&node, number).await;
            (saga, ended(&node, saga).await)
        });
    }
    for (saga, state) in sagas.join_all().await {
        assert_eq!(state, SagaState::Completed);
        let facts = world.facts(saga).await;
        assert_eq!(
            facts.iter().filter(|kind| **kind == "scheduled").count(),
            1,
            "{facts:?}"
        );
    }
    assert_eq!(world.sagas().await.len(), 100);
}

/// Starts until it is told: two callers for each key.
async fn persist(node: &Orchestrator, number: u32) -> amends_core::SagaId {
    loop {
        match node
            .start_saga(request("keyed", &format!(r#"{{"id":"k{}"}}"#, number / 2)))
            .await
        {
            Ok(answer) => return answer.saga,
            Err(refusal) if refusal.kind == Kind::Unavailable => {}
            Err(refusal) => panic!("{refusal}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
