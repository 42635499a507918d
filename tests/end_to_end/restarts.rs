//! The server goes away, killed or asked to, and comes back.

use std::sync::Arc;
use std::time::Duration;

use amends_proto::v1::SagaState;
use amends_sdk::{Client, Fail, StartOptions};
use amends_tests::server::Store;
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tonic::Code;

use crate::flows::reached;
use crate::stage::{PATIENCE, Stage, willing};

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_goes_on_where_a_killed_server_left_it() {
    for store in Store::ALL {
        let mut stage = Stage::open(store).await;
        let gate = Arc::new(Semaphore::new(0));
        let entered = Arc::new(Notify::new());
        let (script_gate, script_entered) = (gate.clone(), entered.clone());
        let actor = stage.attach(move |call| {
            let (gate, entered) = (script_gate.clone(), script_entered.clone());
            async move {
                if call.action == "hold" {
                    entered.notify_one();
                    gate.acquire().await.unwrap().forget();
                }
                Ok(willing(&call))
            }
        });
        let name = stage.start("o1").await;
        entered.notified().await;
        stage.server.kill();
        // The attempt ends while nobody is there to be told.
        gate.add_permits(10);
        stage.server.start_again();
        let saga = stage.settled_as(&name, SagaState::Completed).await;
        let actions = actor.actions(&name);
        assert_eq!(
            actions.iter().filter(|action| *action == "reserve").count(),
            1,
            "{actions:?}"
        );
        assert_eq!(saga.key, "o1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_goes_on_where_a_killed_server_left_it() {
    for store in Store::ALL {
        let mut stage = Stage::open(store).await;
        let entered = Arc::new(Notify::new());
        let gate = Arc::new(Semaphore::new(0));
        let (script_entered, script_gate) = (entered.clone(), gate.clone());
        let actor = stage.attach(move |call| {
            let (entered, gate) = (script_entered.clone(), script_gate.clone());
            async move {
                match call.action.as_str() {
                    "pay" => return Err(Fail::rejected("CARD_DECLINED")),
                    "release" => {
                        entered.notify_one();
                        gate.acquire().await.unwrap().forget();
                    }
                    _ => {}
                }
                Ok(willing(&call))
            }
        });
        let name = stage.start("o1").await;
        entered.notified().await;
        stage.server.kill();
        gate.add_permits(10);
        stage.server.start_again();
        stage.settled_as(&name, SagaState::Compensated).await;
        let actions = actor.actions(&name);
        assert_eq!(
            actions.iter().filter(|action| *action == "unhold").count(),
            1,
            "{actions:?}"
        );
        assert_eq!(
            actions.iter().filter(|action| *action == "pay").count(),
            1,
            "{actions:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_waits_out_its_pause_over_a_restart() {
    let mut stage = Stage::open(Store::Sqlite).await;
    let actor = stage.attach(|call| async move {
        match (call.action.as_str(), call.attempt) {
            ("hold", 1) => Err(Fail::failed("BUSY").retry_after(Duration::from_secs(3))),
            _ => Ok(willing(&call)),
        }
    });
    let name = stage.start("o1").await;
    reached(&stage, &name, "failed").await;
    let failed = std::time::Instant::now();
    stage.server.crash_and_restart();
    stage.settled_as(&name, SagaState::Completed).await;
    assert!(
        failed.elapsed() > Duration::from_millis(2_500),
        "{:?}",
        failed.elapsed()
    );
    let calls = actor.calls();
    let holds: Vec<u32> = calls
        .iter()
        .filter(|c| c.action == "hold")
        .map(|c| c.attempt)
        .collect();
    assert_eq!(holds, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_asked_to_end_takes_what_is_in_flight_and_nothing_new() {
    for store in Store::ALL {
        let mut stage = Stage::open(store).await;
        let gate = Arc::new(Semaphore::new(0));
        let entered = Arc::new(Notify::new());
        let (script_gate, script_entered) = (gate.clone(), entered.clone());
        let actor = stage.attach(move |call| {
            let (gate, entered) = (script_gate.clone(), script_entered.clone());
            async move {
                if call.action == "hold" {
                    entered.notify_one();
                    gate.acquire().await.unwrap().forget();
                }
                Ok(willing(&call))
            }
        });
        let name = stage.start("o1").await;
        entered.notified().await;
        stage.server.process().terminate();
        stage
            .server
            .process()
            .wait_for_log("shutting down", PATIENCE);
        let client = Client::connect_lazy(&stage.server.address()).unwrap();
        let client = client.retry_for(Duration::ZERO);
        let refused = refused_start(&client).await;
        assert_eq!(refused, Code::Unavailable);
        // The attempt under way may end, and its result is taken.
        gate.add_permits(10);
        let status = stage.server.process().ended_within(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(0), "{}", stage.server.log());
        let log = stage.server.log();
        assert!(!log.contains("panicked"), "{log}");
        stage.server.start_again();
        let saga = stage.settled_as(&name, SagaState::Completed).await;
        assert_eq!(saga.steps[1].forward.as_ref().unwrap().attempts, 1);
        let holds = actor
            .actions(&name)
            .into_iter()
            .filter(|action| action == "hold");
        assert_eq!(holds.count(), 1);
    }
}

/// Starts until one is refused: the signal takes a moment to be heard.
async fn refused_start(client: &Client) -> Code {
    for number in 0..10_000 {
        let options = StartOptions::key(format!("late {number}"));
        if let Err(error) = client.start("shop", &json!({"order": "x"}), &options).await {
            return error.code().unwrap();
        }
    }
    panic!("a server that was asked to end takes start after start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_leaves_hands_over_without_a_second_attempt() {
    let stage = Stage::open(Store::Sqlite).await;
    let first = stage.attach_willing();
    let name = stage.start("o1").await;
    stage.settled_as(&name, SagaState::Completed).await;
    first.leave().await;
    let waiting = stage.start("o2").await;
    let second = stage.attach_willing();
    let saga = stage.settled_as(&waiting, SagaState::Completed).await;
    assert_eq!(second.actions(&waiting).len(), 4);
    assert!(
        saga.steps
            .iter()
            .all(|step| step.forward.as_ref().unwrap().attempts == 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_slept_through_its_lease_writes_nothing_when_it_wakes() {
    for store in Store::ALL {
        let mut stage = Stage::open_with(store, &[("lease_ms", "3000")]).await;
        let gate = Arc::new(Semaphore::new(0));
        let entered = Arc::new(Notify::new());
        let (script_gate, script_entered) = (gate.clone(), entered.clone());
        let sleeper = stage.attach(move |call| {
            let (gate, entered) = (script_gate.clone(), script_entered.clone());
            async move {
                if call.action == "hold" {
                    entered.notify_one();
                    gate.acquire().await.unwrap().forget();
                }
                Ok(willing(&call))
            }
        });
        let name = stage.start("o1").await;
        entered.notified().await;
        stage.server.process().suspend();
        // It takes over when the lease has run out, and not before.
        let heir = stage.server.start_beside();
        let client = Client::connect_lazy(&heir.address()).unwrap();
        let awake = Stage {
            server: heir,
            client,
        };
        let actor = awake.attach_willing();
        let saga = awake.settled_as(&name, SagaState::Completed).await;
        assert_eq!(actor.actions(&name), ["hold", "pay", "ship"]);
        let history = awake.client.history(&name).await.unwrap();
        // The sleeper wakes with a result for a step that another node has finished, and has to find out by itself.
        gate.add_permits(10);
        stage.server.process().resume();
        let status = stage.server.process().ended_within(PATIENCE).unwrap();
        assert!(!status.success(), "{}", stage.server.log());
        assert!(
            !stage.server.log().contains("panicked"),
            "{}",
            stage.server.log()
        );
        assert_eq!(awake.client.history(&name).await.unwrap(), history);
        assert_eq!(awake.client.get(&name).await.unwrap(), saga);
        drop(sleeper);
        let next = awake.start("o2").await;
        awake.settled_as(&next, SagaState::Completed).await;
    }
}
