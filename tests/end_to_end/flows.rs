//! What a saga does: completes, compensates, retries, is cancelled, parks.

use amends_proto::v1::{SagaState, StepState, cancel_saga_response::Disposition};
use amends_sdk::{Fail, StartOptions};
use amends_tests::server::Store;
use serde_json::{Value, json};
use tonic::Code;

use crate::stage::{Stage, willing};

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_completes_with_an_output_and_a_history() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let actor = stage.attach_willing();
        let name = stage.start("o1").await;
        let saga = stage.settled_as(&name, SagaState::Completed).await;
        assert_eq!(actor.actions(&name), ["reserve", "hold", "pay", "ship"]);
        let output: Value = serde_json::from_slice(&saga.output).unwrap();
        assert_eq!(output, json!({"tracking": "TRK-1"}));
        assert_eq!(saga.key, "o1");
        assert!(saga.end_time.is_some() && saga.abort.is_none());
        for step in &saga.steps {
            let forward = step.forward.as_ref().unwrap();
            assert_eq!(forward.state(), StepState::Succeeded, "{step:?}");
            assert_eq!(forward.attempts, 1);
        }
        let history = stage.client.history(&name).await.unwrap();
        let succeeded = history.iter().filter(|entry| entry.outcome == "succeeded");
        assert_eq!(succeeded.count(), 4, "{history:?}");
        assert!(history.is_sorted_by_key(|entry| (entry.position, entry.index)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_undoes_what_was_done_in_reverse() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let actor = stage.attach(|call| async move {
            match call.action.as_str() {
                "pay" => Err(Fail::rejected("CARD_DECLINED").message("no money")),
                _ => Ok(willing(&call)),
            }
        });
        let name = stage.start("o1").await;
        let saga = stage.settled_as(&name, SagaState::Compensated).await;
        let expected = ["reserve", "hold", "pay", "unhold", "release"];
        assert_eq!(actor.actions(&name), expected);
        let abort = saga.abort.unwrap();
        assert_eq!(
            (abort.kind.as_str(), abort.step.as_str()),
            ("STEP_FAILED", "pay")
        );
        assert_eq!(
            (abort.code.as_str(), abort.message.as_str()),
            ("CARD_DECLINED", "no money")
        );
        let calls = actor.calls();
        let release = calls.iter().find(|call| call.action == "release").unwrap();
        assert!(release.compensates);
        assert_eq!(release.input["input"], json!({"order": "o1"}));
        assert_eq!(release.input["output"], json!({"done": "reserve"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_tried_again_with_the_same_operation_key() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let actor = stage.attach(|call| async move {
            match (call.action.as_str(), call.attempt) {
                ("hold", 1 | 2) => Err(Fail::failed("BUSY")),
                _ => Ok(willing(&call)),
            }
        });
        let name = stage.start("o1").await;
        let saga = stage.settled_as(&name, SagaState::Completed).await;
        let calls = actor.calls();
        let holds: Vec<_> = calls.iter().filter(|call| call.action == "hold").collect();
        let attempts: Vec<u32> = holds.iter().map(|call| call.attempt).collect();
        assert_eq!(attempts, [1, 2, 3]);
        assert!(holds.iter().all(|call| call.key == holds[0].key));
        assert_eq!(saga.steps[1].forward.as_ref().unwrap().attempts, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_undoes_the_step_as_well() {
    let stage = Stage::open(Store::Sqlite).await;
    let actor = stage.attach(|call| async move {
        match call.action.as_str() {
            "hold" => Err(Fail::failed("BUSY")),
            _ => Ok(willing(&call)),
        }
    });
    let name = stage.start("o1").await;
    let saga = stage.settled_as(&name, SagaState::Compensated).await;
    // Five attempts, and their effect is not known to be none: without a barrier its compensation waits for the settle time.
    let mut expected = vec!["reserve"];
    expected.extend(["hold"; 5]);
    expected.extend(["unhold", "release"]);
    assert_eq!(actor.actions(&name), expected);
    assert_eq!(saga.abort.unwrap().step, "hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_behind_the_point_of_no_return_is_tried_until_it_succeeds() {
    let stage = Stage::open(Store::Sqlite).await;
    let actor = stage.attach(|call| async move {
        match (call.action.as_str(), call.attempt) {
            ("ship", 1..=12) => Err(Fail::failed("NO_CARRIER")),
            _ => Ok(willing(&call)),
        }
    });
    let name = stage.start("o1").await;
    stage.settled_as(&name, SagaState::Completed).await;
    let ships = actor
        .actions(&name)
        .into_iter()
        .filter(|action| action == "ship");
    assert_eq!(ships.count(), 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_behind_the_point_of_no_return_parks_in_plain_sight() {
    let stage = Stage::open(Store::Sqlite).await;
    let _actor = stage.attach(|call| async move {
        match call.action.as_str() {
            "ship" => Err(Fail::rejected("NO_SUCH_STREET")),
            _ => Ok(willing(&call)),
        }
    });
    let name = stage.start("o1").await;
    let saga = stage.settled_as(&name, SagaState::Parked).await;
    assert_eq!(saga.incidents.len(), 1, "{saga:?}");
    let incident = &saga.incidents[0];
    assert_eq!(incident.step, "ship");
    assert!(
        !incident.reason.is_empty() && incident.open_time.is_some(),
        "{incident:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_undoes_what_was_done_and_may_be_repeated() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let actor = stage.attach(|call| async move {
            match call.action.as_str() {
                // The cancel arrives between two attempts of this one.
                "hold" => Err(Fail::failed("BUSY").retry_after(std::time::Duration::from_secs(20))),
                _ => Ok(willing(&call)),
            }
        });
        let name = stage.start("o1").await;
        reached(&stage, &name, "failed").await;
        let first = stage
            .client
            .cancel(&name, "the customer left")
            .await
            .unwrap();
        assert_eq!(first.disposition(), Disposition::Aborted);
        let again = stage.client.cancel(&name, "twice").await.unwrap();
        assert_eq!(again.disposition(), Disposition::AlreadyAborted);
        let saga = stage.settled_as(&name, SagaState::Compensated).await;
        let abort = saga.abort.unwrap();
        assert_eq!(abort.kind, "CANCELLED");
        assert!(abort.message.contains("the customer left"), "{abort:?}");
        let actions = actor.actions(&name);
        assert_eq!(actions.last().unwrap(), "release");
        assert!(!actions.contains(&"pay".to_owned()), "{actions:?}");
        let error = stage.client.cancel(&name, "too late").await.unwrap_err();
        assert_eq!(error.code(), Some(Code::FailedPrecondition));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn independent_steps_run_at_the_same_time_and_a_skipped_one_counts_as_done() {
    let definition = "\
apiVersion: amends/v1
name: parallel
steps:
  - {id: left, needs: [], call: shop.reserve, compensate: {call: shop.release}}
  - {id: right, needs: [], call: shop.hold, compensate: {call: shop.unhold}}
  - {id: never, needs: [left], when: input.wanted, call: shop.pay, compensate: {none: \"nothing to undo\"}}
  - {id: last, needs: [never, right], kind: retriable, call: shop.ship}
";
    let stage = Stage::open(Store::Sqlite).await;
    stage.client.apply_definition(definition).await.unwrap();
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let actor = stage.attach(move |call| {
        let barrier = barrier.clone();
        async move {
            if ["reserve", "hold"].contains(&call.action.as_str()) {
                // Neither gets past this unless the other runs as well.
                barrier.wait().await;
            }
            Ok(willing(&call))
        }
    });
    let options = StartOptions::key("p1");
    let input = json!({"wanted": false});
    let started = stage.client.start("parallel", &input, &options).await;
    let name = started.unwrap().name;
    let saga = stage.settled_as(&name, SagaState::Completed).await;
    assert_eq!(
        saga.steps[2].forward.as_ref().unwrap().state(),
        StepState::Skipped
    );
    assert_eq!(actor.actions(&name).last().unwrap(), "ship");
}

/// Waits until an attempt of the saga came to this.
pub async fn reached(stage: &Stage, saga: &str, outcome: &str) {
    let mut follow = stage.client.follow_history(saga).await.unwrap();
    while let Some(row) = follow.message().await.unwrap() {
        if row.entries.iter().any(|entry| entry.outcome == outcome) {
            return;
        }
    }
    panic!("{saga} ended before an attempt came to {outcome}");
}
