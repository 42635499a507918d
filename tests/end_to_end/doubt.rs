//! When nobody knows: attempts that run out of time, pivots in doubt, steps in flight at an abort.

use std::sync::Arc;

use amends_proto::v1::{SagaState, StepState, cancel_saga_response::Disposition};
use amends_sdk::{Fail, StartOptions};
use amends_tests::server::Store;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::flows::reached;
use crate::stage::{SHOP, Stage, willing};

/// The shop, in a hurry at this step.
fn hurried(step: &str) -> String {
    let quick = "timeout: 300ms\n    retry: {initialInterval: 20ms, backoff: 1, maxInterval: 20ms, maxAttempts: 2, jitter: 0}";
    let call = format!("    call: shop.{step}\n");
    assert!(SHOP.contains(&call));
    SHOP.replace(&call, &format!("{call}    {quick}\n"))
}

async fn start_newest(stage: &Stage, definition: &str) -> String {
    let applied = stage.client.apply_definition(definition).await.unwrap();
    let options = StartOptions {
        revision: Some(applied.definition.unwrap().revision),
        ..StartOptions::key("o1")
    };
    let input = json!({"order": "o1"});
    let started = stage.client.start("shop", &input, &options).await;
    started.unwrap().name
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_runs_out_of_time_is_unknown_and_tried_again_with_the_same_key() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let gate = Arc::new(Semaphore::new(0));
        let script_gate = gate.clone();
        let actor = stage.attach(move |call| {
            let gate = script_gate.clone();
            async move {
                if call.action == "hold" && call.attempt == 1 {
                    gate.acquire().await.unwrap().forget();
                }
                Ok(willing(&call))
            }
        });
        let name = start_newest(&stage, &hurried("hold")).await;
        let saga = stage.settled_as(&name, SagaState::Completed).await;
        // The first attempt ends long after the second decided the step, and changes nothing.
        gate.add_permits(1);
        let calls = actor.calls();
        let holds: Vec<_> = calls.iter().filter(|call| call.action == "hold").collect();
        assert_eq!(holds.len(), 2, "{holds:?}");
        assert_eq!(holds[0].key, holds[1].key);
        let history = stage.client.history(&name).await.unwrap();
        assert!(history.iter().any(|entry| entry.outcome == "unknown"));
        assert_eq!(saga.steps[1].forward.as_ref().unwrap().attempts, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pivot_in_doubt_parks_keeps_a_cancel_pending_and_is_settled_by_a_late_answer() {
    for store in Store::ALL {
        let mut stage = Stage::open(store).await;
        let gate = Arc::new(Semaphore::new(0));
        let script_gate = gate.clone();
        let actor = stage.attach(move |call| {
            let gate = script_gate.clone();
            async move {
                if call.action == "pay" {
                    gate.acquire().await.unwrap().forget();
                }
                Ok(willing(&call))
            }
        });
        let name = start_newest(&stage, &hurried("pay")).await;
        let saga = stage.settled_as(&name, SagaState::Parked).await;
        assert_eq!(saga.incidents.len(), 1, "{saga:?}");
        assert_eq!(saga.incidents[0].reason, "PIVOT_IN_DOUBT");
        let cancelled = stage.client.cancel(&name, "changed my mind").await.unwrap();
        assert_eq!(cancelled.disposition(), Disposition::Pending);
        assert!(stage.client.get(&name).await.unwrap().cancel_pending);
        // What is in doubt stays so over a crash: nobody guesses.
        stage.server.crash_and_restart();
        let again = stage.settled_as(&name, SagaState::Parked).await;
        assert!(again.cancel_pending);
        let before = actor.actions(&name);
        assert!(!before.contains(&"unhold".to_owned()), "{before:?}");
        assert!(!before.contains(&"ship".to_owned()), "{before:?}");
        let mut watch = stage.client.watch(&name).await.unwrap();
        gate.add_permits(10);
        let mut last = None;
        while let Some(next) = watch.message().await.unwrap() {
            last = next.saga;
        }
        let saga = last.unwrap();
        assert_eq!(saga.state(), SagaState::Completed, "{saga:?}");
        assert!(
            !saga.cancel_pending && saga.incidents.is_empty(),
            "{saga:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_in_flight_at_an_abort_is_awaited_and_undone() {
    let definition = "\
apiVersion: amends/v1
name: both
steps:
  - {id: slow, needs: [], call: shop.reserve, compensate: {call: shop.release}}
  - {id: refused, needs: [], call: shop.hold, compensate: {call: shop.unhold}}
";
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        stage.client.apply_definition(definition).await.unwrap();
        let gate = Arc::new(Semaphore::new(0));
        let script_gate = gate.clone();
        let actor = stage.attach(move |call| {
            let gate = script_gate.clone();
            async move {
                match call.action.as_str() {
                    "reserve" => gate.acquire().await.unwrap().forget(),
                    "hold" => return Err(Fail::rejected("NO")),
                    _ => {}
                }
                Ok(willing(&call))
            }
        });
        let input = json!({});
        let options = StartOptions::key("b1");
        let started = stage.client.start("both", &input, &options).await;
        let name = started.unwrap().name;
        reached(&stage, &name, "rejected").await;
        let saga = stage.client.get(&name).await.unwrap();
        assert_eq!(saga.state(), SagaState::Compensating, "{saga:?}");
        assert!(!actor.actions(&name).contains(&"release".to_owned()));
        gate.add_permits(1);
        let saga = stage.settled_as(&name, SagaState::Compensated).await;
        let compensation = saga.steps[0].compensation.as_ref().unwrap();
        assert_eq!(compensation.state(), StepState::Succeeded, "{saga:?}");
        let actions = actor.actions(&name);
        // A rejected step had no effect: there is nothing of it to undo.
        assert!(!actions.contains(&"unhold".to_owned()), "{actions:?}");
        assert_eq!(actions.last().unwrap(), "release");
    }
}
