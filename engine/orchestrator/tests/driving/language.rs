//! What needs more than calls: signals, sleep, turns, limits, children, heartbeats, also across restarts.

use std::time::Duration;

use amends_core::SagaId;
use amends_core::journal::SagaState;
use amends_core::shard::Acknowledged;
use amends_orchestrator::{Kind, Options, Orchestrator, SignalRequest, StartRequest};
use tokio::time::Instant;

use crate::world::{Participant, World, ended, payload, request, start, succeeded};

const APPROVAL: &str = r#"
apiVersion: amends/v1
name: approval
signals: {decided: {schema: {type: object, required: [ok]}}}
steps:
  - {id: hold, call: shop.reserve, compensate: {call: shop.release}}
  - {id: approval, wait: {signal: decided, timeout: 48h, onTimeout: compensate}}
  - {id: charge, kind: pivot, call: shop.charge}
"#;

const NAP: &str = r#"
apiVersion: amends/v1
name: nap
steps:
  - {id: nap, sleep: 15m}
  - {id: note, kind: retriable, call: shop.note}
"#;

const LINE: &str = r#"
apiVersion: amends/v1
name: line
orderingKey: ${{ input.account }}
steps:
  - {id: note, kind: retriable, call: shop.note, timeout: 1h}
"#;

const NARROW: &str = r#"
apiVersion: amends/v1
name: narrow
concurrency: {max: 2, onLimit: reject}
steps:
  - {id: note, kind: retriable, call: shop.note}
"#;

const SLOW: &str = r#"
apiVersion: amends/v1
name: slow
steps:
  - id: note
    kind: retriable
    call: shop.note
    timeout: {attempt: 10m, heartbeat: 5s}
    retry: {initialInterval: 1s, jitter: 0}
"#;

pub async fn apply(node: &Orchestrator, sources: &[&str]) {
    for source in sources {
        let applied = node.apply_definition("default", source, None).await;
        applied.unwrap();
    }
}

fn signal(saga: SagaId, json: &str, dedupe_id: Option<&str>) -> SignalRequest {
    SignalRequest {
        namespace: "default".into(),
        saga,
        signal: "decided".into(),
        payload: payload(json),
        by: "ann".into(),
        dedupe_id: dedupe_id.map(Into::into),
    }
}

/// Waits until the rows of so many sagas say that they sleep; ten minutes at most.
async fn asleep(world: &World, count: usize) {
    let sleeping = async {
        loop {
            let sagas = world.sagas().await;
            if sagas.iter().filter(|saga| saga.wake_at.is_some()).count() == count {
                return;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(600), sleeping).await;
    waited.expect("they sleep within ten minutes");
}

#[tokio::test(start_paused = true)]
async fn b14_bad_signals_get_their_answers_and_a_duplicate_counts_once() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[APPROVAL]).await;
    Participant::attach(&node, "shop-1", 10).succeed_always();
    let saga = start(&node, "approval", "{}").await;
    let good = signal(saga, r#"{"ok":true}"#, Some("click-1"));
    for (bad, kind, reason) in [
        (
            SignalRequest {
                signal: "decide".into(),
                ..good.clone()
            },
            Kind::InvalidArgument,
            "SIGNAL_UNDECLARED",
        ),
        (
            signal(saga, "{}", None),
            Kind::InvalidArgument,
            "SIGNAL_INVALID",
        ),
        (
            signal(saga, r#"{"ok":true}"#, Some("")),
            Kind::InvalidArgument,
            "DEDUPE_ID_INVALID",
        ),
        (
            SignalRequest {
                namespace: "nowhere".into(),
                ..good.clone()
            },
            Kind::NotFound,
            "NAMESPACE_NOT_FOUND",
        ),
        (
            signal(
                SagaId::new(amends_core::Time::EPOCH, saga.shard(), 1),
                "{}",
                None,
            ),
            Kind::NotFound,
            "SAGA_NOT_FOUND",
        ),
    ] {
        let refusal = node.signal(bad).await.unwrap_err();
        assert_eq!((refusal.kind, refusal.reason), (kind, reason), "{refusal}");
    }
    assert!(node.signal(good).await.unwrap());
    assert_eq!(ended(&node, saga).await, SagaState::Completed);
    let late = signal(saga, r#"{"ok":true}"#, Some("click-2"));
    let late = node.signal(late).await.unwrap_err();
    assert_eq!(
        (late.kind, late.reason),
        (Kind::FailedPrecondition, "SAGA_ENDED")
    );
}

#[tokio::test(start_paused = true)]
async fn more_signals_than_a_saga_keeps_are_refused() {
    let world = World::new(1);
    let node = world.node("one").await;
    apply(&node, &[APPROVAL]).await;
    let saga = start(&node, "approval", "{}").await;
    for number in 0..amends_core::limits::SIGNALS_PENDING_MAX {
        let id = number.to_string();
        let accepted = node.signal(signal(saga, r#"{"ok":true}"#, Some(&id))).await;
        assert!(accepted.unwrap());
    }
    let again = node.signal(signal(saga, r#"{"ok":true}"#, Some("7"))).await;
    assert!(!again.unwrap(), "a duplicate is no new one");
    let full = node.signal(signal(saga, r#"{"ok":true}"#, None)).await;
    let full = full.unwrap_err();
    assert_eq!(full.reason, "SIGNALS_FULL");
    assert!(matches!(full.kind, Kind::ResourceExhausted { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_signal_wakes_a_saga_that_sleeps_also_after_a_restart() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[APPROVAL]).await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "approval", "{}").await;
    let hold = shop.command().await;
    shop.answer(&hold, succeeded()).await;
    asleep(&world, 1).await;
    drop((node, shop));
    let node = world.node("one").await;
    Participant::attach(&node, "shop-1", 10).succeed_always();
    assert!(world.reads().is_empty(), "nothing wakes it");
    let accepted = node.signal(signal(saga, r#"{"ok":true}"#, None)).await;
    assert!(accepted.unwrap());
    assert_eq!(ended(&node, saga).await, SagaState::Completed);
    assert_eq!(world.reads().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn sleepers_wake_on_time_after_a_restart_and_are_read_many_at_once() {
    const SAGAS: usize = 200;
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[NAP]).await;
    let mut sagas = Vec::new();
    for _ in 0..SAGAS {
        sagas.push(start(&node, "nap", "{}").await);
    }
    let began = Instant::now();
    asleep(&world, SAGAS).await;
    drop(node);
    let node = world.node("one").await;
    Participant::attach(&node, "shop-1", 1_000).succeed_always();
    for saga in sagas {
        assert_eq!(ended(&node, saga).await, SagaState::Completed);
    }
    let (nap, took) = (Duration::from_secs(900), began.elapsed());
    assert!(
        took >= nap && took < nap + Duration::from_secs(10),
        "{took:?}"
    );
    let reads = world.reads();
    let read: usize = reads.iter().map(|(_, count)| count).sum();
    assert_eq!(read, SAGAS);
    assert!(reads.len() <= SAGAS / 4, "{} reads", reads.len());
    assert!(reads.iter().all(|(at, _)| *at >= began + nap));
}

#[tokio::test(start_paused = true)]
async fn what_a_signal_arrived_for_does_not_wait_for_a_crowd_that_wakes() {
    const CROWD: usize = 500;
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[NAP, APPROVAL]).await;
    let mut shop = Participant::attach(&node, "shop-1", 10_000);
    let saga = start(&node, "approval", "{}").await;
    let hold = shop.command().await;
    shop.answer(&hold, succeeded()).await;
    for _ in 0..CROWD {
        start(&node, "nap", "{}").await;
    }
    let began = Instant::now();
    asleep(&world, CROWD + 1).await;
    tokio::time::sleep_until(began + Duration::from_secs(900)).await;
    while world.reads().is_empty() {
        tokio::time::advance(Duration::from_millis(1)).await;
        tokio::task::yield_now().await;
    }
    let accepted = node.signal(signal(saga, r#"{"ok":true}"#, None)).await;
    assert!(accepted.unwrap());
    let read: usize = world.reads().iter().map(|(_, count)| count).sum();
    assert!(read <= CROWD / 2, "{read} of {CROWD} came before it");
}

#[tokio::test(start_paused = true)]
async fn sagas_with_one_ordering_key_run_in_the_order_of_their_starts_across_a_restart() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[LINE]).await;
    let mut sagas = Vec::new();
    for _ in 0..4 {
        sagas.push(start(&node, "line", r#"{"account":"a"}"#).await);
    }
    let homes: std::collections::BTreeSet<_> = sagas.iter().map(|saga| saga.shard()).collect();
    assert_eq!(homes.len(), 1, "one owner knows their order");
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let first = shop.command().await;
    assert_eq!(first.key.saga, sagas[0]);
    assert!(shop.command_soon().await.is_none(), "one at a time");
    let why = node.explain("default", sagas[2]).await.unwrap();
    let turn = why.waits_for.iter().find(|wait| wait.what.kind() == "TURN");
    assert_eq!(turn.unwrap().what.subject(), sagas[0].to_string());
    shop.answer(&first, succeeded()).await;
    let second = shop.command().await;
    assert_eq!(second.key.saga, sagas[1]);
    drop((node, shop));
    let node = world.node("one").await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    for saga in &sagas[1..] {
        let command = shop.command().await;
        assert_eq!(command.key.saga, *saga);
        assert!(shop.command_soon().await.is_none(), "one at a time");
        shop.answer(&command, succeeded()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_saga_more_than_a_limit_is_refused_until_one_ends() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[NARROW]).await;
    let first = start(&node, "narrow", "{}").await;
    start(&node, "narrow", "{}").await;
    let refusal = node.start_saga(request("narrow", "{}")).await.unwrap_err();
    assert_eq!(refusal.reason, "CONCURRENCY_LIMIT");
    assert!(matches!(refusal.kind, Kind::ResourceExhausted { .. }));
    assert_eq!(refusal.metadata["max"], "2");
    Participant::attach(&node, "shop-1", 10).succeed_always();
    assert_eq!(ended(&node, first).await, SagaState::Completed);
    start(&node, "narrow", "{}").await;
}

/// The two revisions order by different fields, so one key has two homes: only the unique index sees both.
#[tokio::test(start_paused = true)]
async fn one_key_with_two_homes_is_one_saga() {
    let world = World::new(64);
    for lanes in [1, 2] {
        let options = Options {
            lanes,
            ..Options::default()
        };
        let node = world.node_with(options).await;
        let name = format!("moved-{lanes}");
        let of = |field: &str| {
            format!(
                "apiVersion: amends/v1\nname: {name}\nkey: input.id\norderingKey: input.{field}\nsteps:\n  - {{id: note, kind: retriable, call: shop.note}}\n"
            )
        };
        apply(&node, &[&of("a"), &of("b")]).await;
        let mut created = 0;
        for id in 0..20 {
            let input = format!(r#"{{"id":"{id}","a":"x{id}","b":"y{id}"}}"#);
            let one = StartRequest {
                revision: Some(1),
                ..request(&name, &input)
            };
            let two = StartRequest {
                revision: Some(2),
                ..request(&name, &input)
            };
            let (one, two) = tokio::join!(node.start_saga(one), node.start_saga(two));
            let (one, two) = (one.unwrap(), two.unwrap());
            assert_eq!((one.saga, one.revision), (two.saga, two.revision));
            created += usize::from(one.created) + usize::from(two.created);
        }
        assert_eq!(created, 20);
        drop(node);
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_an_attempt_alive_and_their_absence_ends_it() {
    let world = World::new(4);
    let node = world.node("one").await;
    apply(&node, &[SLOW]).await;
    let mut shop = Participant::attach(&node, "shop-1", 10);
    let saga = start(&node, "slow", "{}").await;
    let command = shop.command().await;
    assert_eq!(command.heartbeat, Some(Duration::from_secs(5)));
    let attempt = [(command.key.clone(), command.attempt)];
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        shop.session.handle.heartbeats(&attempt);
    }
    assert_eq!(world.facts(saga).await, ["started", "scheduled"]);
    let silent = Instant::now();
    let second = shop.command().await;
    assert_eq!((second.key.saga, second.attempt), (saga, 2));
    let waited = silent.elapsed();
    assert!(
        waited >= Duration::from_secs(5) && waited < Duration::from_secs(8),
        "{waited:?}"
    );
    let why = node.explain("default", saga).await.unwrap();
    let first = &why.attempts[0];
    assert_eq!(first.code.as_deref(), Some("HEARTBEAT_TIMEOUT"));
    assert_eq!(first.instance.as_deref(), Some("shop-1"));
    assert_eq!(
        shop.answer(&second, succeeded()).await,
        Acknowledged::Recorded
    );
}
