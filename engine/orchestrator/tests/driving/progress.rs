//! Sagas from start to end: done, undone, tried again, cancelled; and what may be read of them.

use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::{Acknowledged, CancelDisposition};
use amends_orchestrator::{Kind, Options};
use tokio::time::Instant;

use crate::world::{ORDER, Participant, World, ended, failed, rejected, start, succeeded};

#[tokio::test(start_paused = true)]
async fn a_saga_runs_to_its_end_and_each_result_is_answered_once_it_is_durable() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "order", "{}").await;
    for action in ["shop.reserve", "shop.charge", "shop.ship"] {
        let command = shop.command().await;
        assert_eq!(
            (command.action.as_str(), command.attempt, command.resent),
            (action, 1, false)
        );
        let rows_before = world.memory.journal_rows();
        assert_eq!(
            shop.answer(&command, succeeded()).await,
            Acknowledged::Recorded
        );
        assert!(world.memory.journal_rows() > rows_before);
        assert_eq!(shop.answer(&command, succeeded()).await, Acknowledged::Late);
    }
    assert_eq!(ended(&node, saga).await, SagaState::Completed);
    let view = node.saga("default", saga).await.unwrap();
    assert_eq!(view.saga.unwrap().state(), SagaState::Completed);
    let page = node.history("default", saga, 1, 100).await.unwrap();
    assert_eq!(page.step_ids, ["reserve", "charge", "ship"]);
    assert_eq!(page.bodies.len(), page.rows.len());
    assert!(
        page.bodies[0][0].contains("started"),
        "{:?}",
        page.bodies[0]
    );
    let missing = node.history("other", saga, 1, 100).await.unwrap_err();
    assert_eq!(missing.kind, Kind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_sagas_over_two_lanes_all_complete() {
    let world = World::new(16);
    let node = world
        .node_with(Options {
            lanes: 2,
            ..Options::default()
        })
        .await;
    Participant::attach(&node, "shop-1", 100).succeed_always();
    Participant::attach(&node, "shop-2", 7).succeed_always();
    let mut sagas = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let node = node.clone();
        sagas.spawn(async move {
            let saga = start(&node, "order", "{}").await;
            ended(&node, saga).await
        });
    }
    while let Some(state) = sagas.join_next().await {
        assert_eq!(state.unwrap(), SagaState::Completed);
    }
    assert_eq!(world.sagas().await.len(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_beside_one_that_is_written_if_enough_waits_for_it() {
    let world = World::new(64);
    let node = world.node("one").await;
    world.hold_appends(true);
    let mut sagas = tokio::task::JoinSet::new();
    let mut begin = async |count: usize| {
        for _ in 0..count {
            let node = node.clone();
            sagas.spawn(async move { start(&node, "order", "{}").await });
        }
        // Time stands still as long as anything can be done.
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.hold_appends(true).iter().sum::<usize>()
    };
    // Sixteen in a row are of one shard, and a shard has one batch at a time: the first brings fifteen more to wait for it.
    let first = begin(1).await;
    let (too_few, enough, both_at_work) = (begin(15 + 127).await, begin(1).await, begin(300).await);
    assert_eq!((first, too_few, enough, both_at_work), (1, 0, 128, 0));
    world.hold_appends(false);
    assert_eq!(sagas.join_all().await.len(), 444);
    assert_eq!(world.sagas().await.len(), 444);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_hangs_holds_up_its_own_batch_alone() {
    let world = World::new(64);
    let node = world.node("one").await;
    world.hold_appends(true);
    let hanging = tokio::spawn({
        let node = node.clone();
        async move { start(&node, "order", "{}").await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(world.hold_appends(true), [1]);
    // Fifteen more are of the same shard.
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let node = node.clone();
        others.spawn(async move { start(&node, "order", "{}").await });
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(world.hold_appends(true), [0; 0], "it may come back soon");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.hold_appends(false), [5]);
    assert_eq!(others.join_all().await.len(), 20);
    hanging.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rejected_pivot_undoes_what_was_done() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "order", "{}").await;
    let reserve = shop.command().await;
    shop.answer(&reserve, succeeded()).await;
    let charge = shop.command().await;
    shop.answer(&charge, rejected()).await;
    let release = shop.command().await;
    assert_eq!(release.action.as_str(), "shop.release");
    assert_eq!(release.forward_key, Some(reserve.key.clone()));
    shop.answer(&release, succeeded()).await;
    assert_eq!(ended(&node, saga).await, SagaState::Compensated);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_made_again_after_its_interval() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    start(&node, "order", "{}").await;
    let first = shop.command().await;
    let failed_at = Instant::now();
    shop.answer(&first, failed()).await;
    let second = shop.command().await;
    let waited = failed_at.elapsed();
    assert_eq!((second.key, second.attempt), (first.key, 2));
    assert!(
        (Duration::from_secs(1)..Duration::from_millis(1_100)).contains(&waited),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_a_result_times_out_and_is_made_again() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    start(&node, "order", "{}").await;
    let first = shop.command().await;
    let sent_at = Instant::now();
    let second = shop.command().await;
    assert_eq!(second.attempt, 2);
    assert!(sent_at.elapsed() >= first.timeout);
    assert_eq!(
        shop.answer(&second, succeeded()).await,
        Acknowledged::Recorded
    );
    assert_eq!(shop.answer(&first, succeeded()).await, Acknowledged::Late);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_takes_back_what_nobody_took() {
    let world = World::new(4);
    let node = world.node("one").await;
    let saga = start(&node, "order", "{}").await;
    let disposition = node.cancel("default", saga, "me", "no need").await.unwrap();
    assert_eq!(disposition, CancelDisposition::Aborted);
    assert_eq!(ended(&node, saga).await, SagaState::Compensated);
    assert!(world.facts(saga).await.contains(&"withdrawn"));
    let mut shop = Participant::attach(&node, "shop-1", 10);
    assert!(shop.command_soon().await.is_none());
    let again = node
        .cancel("default", saga, "me", "again")
        .await
        .unwrap_err();
    assert_eq!(
        (again.kind, again.reason),
        (Kind::FailedPrecondition, "SAGA_ENDED")
    );
    let elsewhere = node.cancel("other", saga, "me", "no").await.unwrap_err();
    assert_eq!(elsewhere.kind, Kind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_of_the_end_and_an_idle_node_does_nothing() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "order", "{}").await;
    let mut changes = node.subscribe(saga);
    let reserve = shop.command().await;
    shop.answer(&reserve, rejected()).await;
    changes
        .wait_for(|state| *state == Some(SagaState::Compensated))
        .await
        .unwrap();
    let rows = world.memory.journal_rows();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.memory.journal_rows(), rows);
}

#[tokio::test(start_paused = true)]
async fn a_document_is_checked_applied_once_and_read_back() {
    let world = World::new(1);
    let node = world.node("one").await;
    let again = node
        .apply_definition("default", ORDER, Some("order"))
        .await
        .unwrap();
    assert!(!again.created && again.record.revision == 1);
    let other = ORDER.replace("30s", "31s");
    let second = node
        .apply_definition("default", &other, None)
        .await
        .unwrap();
    assert!(second.created && second.record.revision == 2);
    assert_eq!(
        node.definition("default", "order", None)
            .await
            .unwrap()
            .revision,
        2
    );
    assert_eq!(
        node.definition("default", "order", Some(1))
            .await
            .unwrap()
            .source,
        ORDER
    );
    assert_eq!(
        node.list_definitions("default", None, 10)
            .await
            .unwrap()
            .len(),
        2
    );
    let misnamed = node
        .apply_definition("default", ORDER, Some("ordre"))
        .await
        .unwrap_err();
    assert_eq!(misnamed.reason, "NAME_MISMATCH");
    let broken = node
        .apply_definition(
            "default",
            "apiVersion: amends/v1\nname: x\nsteps: 3\n",
            None,
        )
        .await
        .unwrap_err();
    assert_eq!(broken.kind, Kind::InvalidArgument);
    assert!(
        broken.violations[0].0.starts_with("source:3:"),
        "{:?}",
        broken.violations
    );
    assert!(node.lint_definition("default", ORDER).unwrap().is_empty());
    assert_eq!(
        node.lint_definition("nowhere", ORDER).unwrap_err().kind,
        Kind::NotFound
    );
}
