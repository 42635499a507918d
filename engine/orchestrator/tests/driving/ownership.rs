//! Who owns the shards: restarts, two nodes for one store, leases, leaving.

use std::time::Duration;

use amends_core::ShardId;
use amends_core::journal::SagaState;
use amends_core::shard::Acknowledged;
use amends_orchestrator::{Error, Kind, Options, StartRequest};
use amends_store::AppendError;
use tokio::time::Instant;

use crate::world::{Participant, World, attachment, ended, request, start, succeeded};

#[tokio::test(start_paused = true)]
async fn a_restart_replays_what_is_active_and_sends_the_same_attempts_again() {
    let world = World::new(8);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "order", "{}").await;
    let reserve = shop.command().await;
    shop.answer(&reserve, succeeded()).await;
    let charge = shop.command().await;
    drop((node, shop));
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let again = shop.command().await;
    assert_eq!(
        (&again.key, again.attempt, again.resent),
        (&charge.key, charge.attempt, true)
    );
    assert!(again.epoch > charge.epoch);
    assert_eq!(
        shop.answer(&again, succeeded()).await,
        Acknowledged::Recorded
    );
    shop.succeed_always();
    assert_eq!(ended(&node, saga).await, SagaState::Completed);
}

#[tokio::test(start_paused = true)]
async fn what_a_participant_has_in_hand_across_a_restart_is_not_sent_again() {
    let world = World::new(8);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "order", "{}").await;
    let reserve = shop.command().await;
    drop((node, shop));
    let node = world.node("one").await;
    let mut back = attachment("shop-1", 10);
    back.in_hand = vec![(reserve.key.clone(), reserve.attempt)];
    let mut shop = Participant::attach_as(&node, back);
    assert!(
        tokio::time::timeout(Duration::from_secs(20), shop.command())
            .await
            .is_err()
    );
    assert_eq!(
        shop.answer(&reserve, succeeded()).await,
        Acknowledged::Recorded
    );
    shop.succeed_always();
    assert_eq!(ended(&node, saga).await, SagaState::Completed);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_active_sagas_come_back_page_by_page() {
    let world = World::new(2);
    let node = world.node("one").await;
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..2_500 {
        let node = node.clone();
        starts.spawn(async move { start(&node, "order", "{}").await });
    }
    let sagas = starts.join_all().await;
    drop(node);
    let node = world.node("one").await;
    Participant::attach(&node, "shop-1", 1_000).succeed_always();
    // A start while the rest comes back waits its turn and is served.
    let late = start(&node, "order", "{}").await;
    for saga in sagas.into_iter().chain([late]) {
        assert_eq!(ended(&node, saga).await, SagaState::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deposed_node_that_has_not_noticed_leaves_the_results_of_its_successors_commands_to_it() {
    let world = World::new(4);
    let first = world.node("one").await;
    let mut stale = Participant::attach(&first, "shop-1", 10);
    let saga = start(&first, "order", "{}").await;
    let reserve = stale.command().await;
    let second = world.node("one").await;
    let mut shop = Participant::attach(&second, "shop-1", 10);
    shop.answer(&reserve, succeeded()).await;
    let charge = shop.command().await;
    assert!(charge.epoch > reserve.epoch);
    assert_eq!(
        stale.answer(&charge, succeeded()).await,
        Acknowledged::Unavailable,
        "the participant keeps it"
    );
    assert_eq!(
        shop.answer(&charge, succeeded()).await,
        Acknowledged::Recorded
    );
    shop.succeed_always();
    assert_eq!(ended(&second, saga).await, SagaState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_second_process_of_the_same_name_deposes_the_first() {
    let world = World::new(4);
    let first = world.node("one").await;
    let mut shop = Participant::attach(&first, "shop-1", 10);
    let saga = start(&first, "order", "{}").await;
    let reserve = shop.command().await;
    let second = world.node("one").await;
    // The first does not know yet: its next batch meets the takeover record.
    assert_eq!(
        shop.answer(&reserve, succeeded()).await,
        Acknowledged::Unavailable
    );
    assert!(matches!(
        first.failed().await,
        Error::ShardLost { .. } | Error::LeaseLost { .. }
    ));
    assert!(!*first.health().borrow());
    assert_eq!(
        first
            .start_saga(request("order", "{}"))
            .await
            .unwrap_err()
            .kind,
        Kind::Unavailable
    );
    Participant::attach(&second, "shop-1", 10).succeed_always();
    assert_eq!(ended(&second, saga).await, SagaState::Completed);
    assert_eq!(
        world
            .facts(saga)
            .await
            .iter()
            .filter(|kind| **kind == "attempt_ended")
            .count(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn another_node_takes_over_when_the_lease_has_run_out_and_not_before() {
    let world = World::new(4);
    let first = world.node("one").await;
    let mut shop = Participant::attach(&first, "shop-1", 10);
    let saga = start(&first, "order", "{}").await;
    let reserve = shop.command().await;
    let beside = world.another_way_in();
    let waiting = tokio::spawn(async move { beside.node("two").await });
    // Longer than a lease, and shorter than an attempt.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(!waiting.is_finished(), "a live lease is respected");

    let hung_at = Instant::now();
    world.hang_renewals();
    first.health().wait_for(|healthy| !healthy).await.unwrap();
    assert!(
        hung_at.elapsed() < Options::default().lease,
        "commands stop before the lease ends"
    );
    assert_eq!(
        first
            .start_saga(request("order", "{}"))
            .await
            .unwrap_err()
            .kind,
        Kind::Unavailable
    );
    let second = waiting.await.unwrap();
    assert_eq!(
        shop.answer(&reserve, succeeded()).await,
        Acknowledged::Unavailable
    );
    assert!(matches!(first.failed().await, Error::ShardLost { .. }));
    Participant::attach(&second, "shop-1", 10).succeed_always();
    assert_eq!(ended(&second, saga).await, SagaState::Completed);
    assert_eq!(
        world
            .facts(saga)
            .await
            .iter()
            .filter(|kind| **kind == "attempt_ended")
            .count(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_takes_what_comes_says_goodbye_and_hands_over_at_once() {
    let world = World::new(4);
    let first = world.node("one").await;
    let mut shop = Participant::attach(&first, "shop-1", 10);
    let saga = start(&first, "order", "{}").await;
    let reserve = shop.command().await;
    let draining = {
        let first = first.clone();
        tokio::spawn(async move { first.drain(Duration::from_secs(30)).await })
    };
    while shop.goodbyes == 0 {
        shop.delivery().await;
    }
    assert_eq!(
        first
            .start_saga(request("order", "{}"))
            .await
            .unwrap_err()
            .reason,
        "DRAINING"
    );
    assert_eq!(
        first.attach(attachment("shop-2", 1)).unwrap_err().kind,
        Kind::Unavailable
    );
    assert_eq!(
        shop.answer(&reserve, succeeded()).await,
        Acknowledged::Recorded
    );
    draining.await.unwrap();
    assert!(shop.session.deliveries.recv().await.is_none());
    assert!(matches!(first.failed().await, Error::Stopped));

    let began = Instant::now();
    let second = world.node("two").await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "the lease was given up"
    );
    let mut shop = Participant::attach(&second, "shop-1", 10);
    assert_eq!(shop.command().await.action.as_str(), "shop.charge");
    assert_eq!(
        second.saga("default", saga).await.unwrap().record.state,
        SagaState::Running
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_longer_than_its_grace() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    start(&node, "order", "{}").await;
    shop.command().await;
    let began = Instant::now();
    node.drain(Duration::from_secs(8)).await;
    assert!(began.elapsed() <= Duration::from_secs(8));
}

#[tokio::test(start_paused = true)]
async fn a_shard_with_a_gap_is_stopped_and_the_others_are_served() {
    let world = World::new(4);
    world.break_journal(ShardId(2));
    let node = world.node("one").await;
    Participant::attach(&node, "shop-1", 10).succeed_always();
    let (mut served, mut refused) = (0, 0);
    for number in 0..40 {
        let request = StartRequest {
            key: Some(format!("k{number}")),
            ..request("order", "{}")
        };
        match node.start_saga(request).await {
            Ok(answer) => {
                assert_ne!(answer.saga.shard(), ShardId(2));
                assert_eq!(ended(&node, answer.saga).await, SagaState::Completed);
                served += 1;
            }
            Err(refusal) => {
                assert_eq!(refusal.kind, Kind::Unavailable);
                refused += 1;
            }
        }
    }
    assert!(served > 0 && refused > 0, "{served} {refused}");
    for _ in 0..200 {
        start(&node, "order", "{}").await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_sessions() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    drop(node);
    assert!(shop.session.deliveries.recv().await.is_none());
}

/// The batch of a start is lost, and before its owner can find out what became of it, the shards have another owner.
#[tokio::test(start_paused = true)]
async fn an_owner_that_is_deposed_while_it_finds_out_tells_what_became_of_its_batch_and_no_more() {
    for landed in [false, true] {
        let world = World::new(1);
        let first = world.node("one").await;
        world.hold_takeovers(true);
        let source = "injected".into();
        world
            .memory
            .fail_next(AppendError::Unknown { source }, landed);
        let starting = {
            let first = first.clone();
            tokio::spawn(async move { first.start_saga(request("order", "{}")).await })
        };
        first.health().wait_for(|healthy| !healthy).await.unwrap();
        let second = world.another_way_in().node("one").await;
        world.hold_takeovers(false);
        let answer = starting.await.unwrap();
        assert_eq!(answer.is_ok(), landed, "{answer:?}");
        assert_eq!(world.sagas().await.len(), usize::from(landed));
        assert!(matches!(
            first.failed().await,
            Error::ShardLost { .. } | Error::LeaseLost { .. }
        ));
        Participant::attach(&second, "shop-1", 10).succeed_always();
        let saga = match answer {
            Ok(answer) => answer.saga,
            Err(_) => start(&second, "order", "{}").await,
        };
        assert_eq!(ended(&second, saga).await, SagaState::Completed);
    }
}
