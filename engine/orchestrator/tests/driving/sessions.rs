//! Participants: credit, loss, return, replacement, leaving; and results that are refused.

use std::time::Duration;

use amends_core::Incarnation;
use amends_core::journal::SagaState;
use amends_core::shard::Acknowledged;
use amends_definitions::ActionName;
use amends_orchestrator::{Attachment, AttemptOutcome, Delivery, Kind, Options};
use tokio::time::Instant;

use crate::world::{Participant, World, attachment, ended, failed, start, succeeded};

#[tokio::test(start_paused = true)]
async fn commands_go_against_credit_alone() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 2);
    for _ in 0..5 {
        start(&node, "order", "{}").await;
    }
    shop.command().await;
    shop.command().await;
    assert!(shop.command_soon().await.is_none());
    shop.session.handle.credit(1);
    assert!(shop.command_soon().await.is_some());
    assert!(shop.command_soon().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_burst_comes_in_bounded_deliveries_shared_between_instances() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..400 {
        let node = node.clone();
        starts.spawn(async move { start(&node, "order", "{}").await });
    }
    starts.join_all().await;
    let mut shop = Participant::attach(&node, "shop-1", 300);
    let (mut commands, mut deliveries) = (0, 0);
    while commands < 300 {
        let Some(Delivery::Commands(batch)) = shop.session.deliveries.recv().await else {
            panic!("commands")
        };
        assert!(batch.len() <= 128);
        commands += batch.len();
        deliveries += 1;
    }
    assert_eq!((commands, deliveries), (300, 3));
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_on_the_way_is_sent_again_to_the_same_instance_and_what_is_in_hand_is_not() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let (first, second) = (
        start(&node, "order", "{}").await,
        start(&node, "order", "{}").await,
    );
    let commands = [shop.command().await, shop.command().await];
    let held = commands
        .iter()
        .find(|command| command.key.saga == first)
        .unwrap()
        .clone();
    drop(shop);
    tokio::time::advance(Duration::from_secs(1)).await;
    let mut back = attachment("shop-1", 10);
    back.in_hand = vec![(held.key.clone(), held.attempt)];
    let mut shop = Participant::attach_as(&node, back);
    let again = shop.command().await;
    assert_eq!(
        (again.key.saga, again.attempt, again.resent),
        (second, 1, true)
    );
    // Its time runs from its first sending.
    assert!(again.timeout + Duration::from_secs(1) <= held.timeout);
    assert!(
        tokio::time::timeout(Duration::from_secs(6), shop.command())
            .await
            .is_err()
    );
    assert_eq!(
        shop.answer(&held, succeeded()).await,
        Acknowledged::Recorded
    );
    assert_eq!(
        shop.answer(&again, succeeded()).await,
        Acknowledged::Recorded
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_of_an_instance_that_does_not_return_are_unknown_and_made_again_elsewhere() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut lost = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "order", "{}").await;
    let command = lost.command().await;
    let mut other = Participant::attach(&node, "shop-2", 10);
    let lost_at = Instant::now();
    drop(lost);
    let again = other.command().await;
    assert_eq!((again.key.clone(), again.attempt), (command.key, 2));
    let waited = lost_at.elapsed();
    assert!(
        waited >= Options::default().session_lease && waited < command.timeout,
        "{waited:?}"
    );
    let history = node.history("default", saga, 1, 100).await.unwrap();
    assert!(
        history
            .bodies
            .concat()
            .iter()
            .any(|fact| fact.contains("STREAM_LOST") && fact.contains("shop-1")),
        "{:?}",
        history.bodies
    );
    other.succeed_always();
}

#[tokio::test(start_paused = true)]
async fn a_newer_session_of_an_instance_replaces_the_older() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut old = Participant::attach(&node, "shop-1", 10);
    let mut new = Participant::attach(&node, "shop-1", 10);
    assert!(old.session.deliveries.recv().await.is_none());
    // The end of the old stream is not the loss of the instance.
    drop(old);
    start(&node, "order", "{}").await;
    let command = new.command().await;
    assert_eq!(
        new.answer(&command, succeeded()).await,
        Acknowledged::Recorded
    );
}

#[tokio::test(start_paused = true)]
async fn a_draining_session_gets_no_new_commands_and_may_still_answer() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut leaving = Participant::attach(&node, "shop-1", 10);
    start(&node, "order", "{}").await;
    let command = leaving.command().await;
    leaving.session.handle.drain();
    assert_eq!(
        leaving.answer(&command, succeeded()).await,
        Acknowledged::Recorded
    );
    assert!(leaving.command_soon().await.is_none());
    let mut staying = Participant::attach(&node, "shop-2", 10);
    assert_eq!(staying.command().await.action.as_str(), "shop.charge");
}

#[tokio::test(start_paused = true)]
async fn results_for_what_is_not_there_are_refused() {
    let world = World::new(4);
    let options = Options {
        namespaces: vec!["other".into()],
        ..Options::default()
    };
    let node = world.node_with(options).await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    start(&node, "order", "{}").await;
    let command = shop.command().await;
    let mut of_another_life = command.clone();
    of_another_life.key.incarnation = Incarnation(uuid::Uuid::from_u128(1));
    let mut of_another_namespace = command.clone();
    of_another_namespace.key.namespace = "other".into();
    let mut of_another_round = command.clone();
    of_another_round.key.round = 1;
    let mut of_another_step = command.clone();
    of_another_step.key.step = "nowhere".into();
    let mut of_a_later_attempt = command.clone();
    of_a_later_attempt.attempt = 9;
    for (refused, answer) in [
        (of_another_life, Acknowledged::UnknownOperation),
        (of_another_namespace, Acknowledged::NotServed),
        (of_another_round, Acknowledged::UnknownOperation),
        (of_another_step, Acknowledged::UnknownOperation),
        (of_a_later_attempt, Acknowledged::UnknownOperation),
    ] {
        assert_eq!(
            shop.answer(&refused, succeeded()).await,
            answer,
            "{:?}",
            refused.key
        );
    }
    let mut mail = attachment("mail-1", 10);
    mail.actions = vec![(ActionName::new("mail.send"), false)];
    let mut mail = Participant::attach_as(&node, mail);
    assert_eq!(
        mail.answer(&command, succeeded()).await,
        Acknowledged::NotServed
    );
    assert_eq!(
        shop.answer(&command, succeeded()).await,
        Acknowledged::Recorded
    );
    let mut nowhere = attachment("shop-2", 1);
    nowhere.namespace = "nowhere".into();
    assert_eq!(node.attach(nowhere).unwrap_err().kind, Kind::NotFound);
}

/// Every attempt fails, so the step may have had its effect: behind a barrier it is undone at once, without one after a
/// time in which a late execution can still show itself.
#[tokio::test(start_paused = true)]
async fn an_action_without_a_barrier_is_undone_after_a_settle_time_only() {
    for barrier in [true, false] {
        let world = World::new(4);
        let node = world.node("one").await;
        let mut attachment = attachment("shop-1", 10);
        attachment
            .actions
            .iter_mut()
            .for_each(|(_, offered)| *offered = barrier);
        let mut shop = Participant::attach_as(&node, attachment);
        let saga = start(&node, "order", "{}").await;
        for _ in 0..3 {
            let attempt = shop.command().await;
            shop.answer(&attempt, failed()).await;
        }
        let failed_at = Instant::now();
        let release = shop.command().await;
        assert_eq!(release.action.as_str(), "shop.release");
        assert_eq!(failed_at.elapsed() < Duration::from_secs(1), barrier);
        shop.answer(&release, succeeded()).await;
        assert_eq!(ended(&node, saga).await, SagaState::Compensated);
        assert_eq!(world.facts(saga).await.contains(&"settling"), !barrier);
    }
}

#[tokio::test(start_paused = true)]
async fn many_results_in_one_message_are_answered_even_with_room_for_one() {
    let world = World::new(4);
    let node = world
        .node_with(Options {
            queue_max: 1,
            ..Options::default()
        })
        .await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    for _ in 0..5 {
        start(&node, "order", "{}").await;
    }
    let mut outcomes = Vec::new();
    let mut commands = Vec::new();
    for _ in 0..5 {
        let command = shop.command().await;
        let (key, attempt) = (command.key.clone(), command.attempt);
        outcomes.push(AttemptOutcome {
            key,
            attempt,
            epoch: Some(command.epoch),
            outcome: succeeded(),
            verdict: None,
        });
        commands.push(command);
    }
    shop.session.handle.outcomes(outcomes).await;
    for command in commands {
        assert_eq!(shop.acknowledged(&command).await, Acknowledged::Recorded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_from_somebody_who_does_not_serve_it_takes_nothing_from_those_who_do() {
    let world = World::new(1);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 1);
    start(&node, "order", "{}").await;
    let first = shop.command().await;
    let saga = start(&node, "order", "{}").await;
    let mut queued = first.clone();
    queued.key.saga = saga;
    let mut stranger = Participant::attach_as(
        &node,
        Attachment {
            actions: vec![(ActionName::new("shop.other"), true)],
            ..attachment("stranger", 1)
        },
    );
    assert_eq!(
        stranger.answer(&queued, succeeded()).await,
        Acknowledged::NotServed
    );
    shop.session.handle.credit(1);
    assert_eq!(shop.command().await.key.saga, saga, "it still waits (I38)");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_from_whoever_does_not_serve_the_action_leaves_the_command_with_its_participant()
{
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    start(&node, "order", "{}").await;
    let command = shop.command().await;
    let mut thief = Participant::attach_as(
        &node,
        amends_orchestrator::Attachment {
            participant: "thief".into(),
            actions: vec![(amends_definitions::ActionName::new("thief.steal"), false)],
            ..attachment("thief-1", 10)
        },
    );
    assert_eq!(
        thief.answer(&command, succeeded()).await,
        Acknowledged::NotServed
    );
    drop(shop);
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let again = shop.command().await;
    assert_eq!((again.key, again.resent), (command.key, true));
}
