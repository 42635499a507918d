//! Many starts of one caller: each answered, ends told from what was committed, and never more than once.

use std::collections::BTreeMap;

use amends_core::journal::SagaState;
use amends_orchestrator::{Options, StartEvent, StartItem, StartRequest, Starter};
use tokio::sync::mpsc;

use crate::world::{Participant, World, ended, rejected, request};

type Events = mpsc::UnboundedReceiver<StartEvent>;

fn item(sequence: u64, request: StartRequest) -> StartItem {
    StartItem {
        sequence,
        tell_settled: true,
        request,
    }
}

fn keyed(sequence: u64, id: &str) -> StartItem {
    item(sequence, request("keyed", &format!(r#"{{"id":"{id}"}}"#)))
}

/// The next event, in words.
async fn next(events: &mut Events) -> (u64, String) {
    match events.recv().await.unwrap() {
        StartEvent::Answered { sequence, result } => {
            let word = match result {
                Ok(answer) if answer.created => "started".to_owned(),
                Ok(_) => "found".to_owned(),
                Err(refusal) => refusal.reason.to_owned(),
            };
            (sequence, word)
        }
        StartEvent::Settled {
            sequence,
            settlement,
            ..
        } => {
            let state = settlement.state.map_or("gone", SagaState::as_str);
            let saga = settlement.saga.as_ref();
            assert!(saga.is_none_or(|saga| Some(saga.state()) == settlement.state));
            (sequence, state.to_owned())
        }
    }
}

/// Answers found sagas' catch-ups as a caller does.
async fn catch_up(starter: &Starter, events: &mut Events) -> u64 {
    match events.recv().await.unwrap() {
        StartEvent::Answered {
            sequence,
            result: Ok(answer),
        } => {
            assert!(!answer.created);
            starter.catch_up("default", sequence, answer.saga).await;
            sequence
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn ends_are_told_without_a_read() {
    let world = World::new(16);
    let lanes = Options {
        lanes: 2,
        ..Options::default()
    };
    let node = world.node_with(lanes).await;
    Participant::attach(&node, "shop-1", 100).succeed_always();
    let (starter, mut events) = node.starter();
    let items = (0..200).map(|sequence| item(sequence, request("order", "{}")));
    starter.start(items.collect()).await;
    let mut told: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for _ in 0..400 {
        let (sequence, word) = next(&mut events).await;
        told.entry(sequence).or_default().push(word);
    }
    assert_eq!(told.len(), 200);
    assert!(
        told.values()
            .all(|words| words[..] == ["started", "completed"])
    );
    assert!(events.try_recv().is_err());
    assert_eq!(world.histories(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_told_among_what_is_not() {
    let world = World::new(4);
    let node = world.node("one").await;
    let (starter, mut events) = node.starter();
    let nothing = request("nothing", "{}");
    let starts = vec![
        item(1, nothing),
        item(2, request("order", r#"{"amount":0}"#)),
        item(3, request("order", "{}")),
        item(4, request("order", r#"{"amount":1}"#)),
    ];
    starter.start(starts).await;
    let mut told = BTreeMap::new();
    for _ in 0..4 {
        let (sequence, word) = next(&mut events).await;
        told.insert(sequence, word);
    }
    let words: Vec<&str> = told.values().map(String::as_str).collect();
    let expected = [
        "DEFINITION_NOT_FOUND",
        "INPUT_INVALID",
        "started",
        "started",
    ];
    assert_eq!(words, expected);
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_was_there_is_told_once_whenever_it_settles() {
    let world = World::new(4);
    let node = world.node("one").await;
    let (starter, mut events) = node.starter();
    starter.start(vec![keyed(1, "a")]).await;
    assert_eq!(next(&mut events).await, (1, "started".into()));
    // While it runs.
    starter.start(vec![keyed(2, "a")]).await;
    assert_eq!(catch_up(&starter, &mut events).await, 2);
    assert!(events.try_recv().is_err());
    Participant::attach(&node, "shop-1", 10).succeed_always();
    let mut told = [next(&mut events).await, next(&mut events).await];
    told.sort();
    let completed = || "completed".to_owned();
    assert_eq!(told, [(1, completed()), (2, completed())]);
    // After its end.
    starter.start(vec![keyed(3, "a")]).await;
    assert_eq!(catch_up(&starter, &mut events).await, 3);
    assert_eq!(next(&mut events).await, (3, completed()));
    // After retention deleted it, between the look at its key and the read.
    world.expire_while_read();
    starter.start(vec![keyed(4, "a")]).await;
    assert_eq!(catch_up(&starter, &mut events).await, 4);
    assert_eq!(next(&mut events).await, (4, "gone".into()));
    assert!(events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_fails_is_told_with_its_reason() {
    let world = World::new(4);
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let (starter, mut events) = node.starter();
    starter.start(vec![item(1, request("order", "{}"))]).await;
    assert_eq!(next(&mut events).await, (1, "started".into()));
    let command = shop.command().await;
    shop.answer(&command, rejected()).await;
    match events.recv().await.unwrap() {
        StartEvent::Settled {
            saga, settlement, ..
        } => {
            assert_eq!(settlement.state, Some(SagaState::Compensated));
            let told = settlement.saga.as_ref().unwrap();
            assert_eq!(told.abort().unwrap().reason.code(), "NO");
            assert_eq!(ended(&node, saga).await, SagaState::Compensated);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_nobody_can_decide_is_unavailable() {
    let world = World::new(4);
    let node = world.node("one").await;
    let (starter, mut events) = node.starter();
    world.hide_keys(true);
    starter.start(vec![keyed(1, "a")]).await;
    assert_eq!(next(&mut events).await, (1, "UNAVAILABLE".into()));
    world.hide_keys(false);
    starter.start(vec![keyed(1, "a")]).await;
    assert_eq!(next(&mut events).await, (1, "started".into()));
    // The node stops where it is.
    drop(node);
    starter.start(vec![keyed(2, "b")]).await;
    assert_eq!(next(&mut events).await, (2, "UNAVAILABLE".into()));
}
