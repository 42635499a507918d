//! Between server and participant: keys, traces, streams that are lost with work in hand, overload.

use std::sync::Arc;
use std::time::Duration;

use amends_proto::v1::acknowledgement::Disposition;
use amends_proto::v1::{self, SagaState, attach_request};
use amends_sdk::{Client, StartOptions};
use amends_tests::server::Store;
use serde_json::json;
use tokio::sync::Semaphore;
use tonic::Code;

use crate::stage::{Stage, hello, succeeded, willing};

#[tokio::test(flavor = "multi_thread")]
async fn starts_with_one_key_are_one_saga_even_at_the_same_time_and_after_a_crash() {
    for store in Store::ALL {
        let mut stage = Stage::open(store).await;
        let actor = stage.attach_willing();
        let mut starts = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let client = stage.client.clone();
            starts.spawn(async move {
                let options = StartOptions::key("same");
                client
                    .start("shop", &json!({"order": "same"}), &options)
                    .await
                    .unwrap()
            });
        }
        let started = starts.join_all().await;
        assert_eq!(started.iter().filter(|start| start.created).count(), 1);
        assert!(started.iter().all(|start| start.name == started[0].name));
        let name = &started[0].name;
        stage.settled_as(name, SagaState::Completed).await;
        stage.server.crash_and_restart();
        // Equal as JSON is equal, whatever the blanks.
        let options = StartOptions::key("same");
        let bytes = br#"{ "order" : "same" }"#.to_vec();
        let again = stage
            .client
            .start_raw("shop", bytes, &options)
            .await
            .unwrap();
        assert_eq!((again.created, &again.name), (false, name));
        let other = stage
            .client
            .start("shop", &json!({"order": "other"}), &options)
            .await;
        let other = other.unwrap_err();
        assert_eq!(other.code(), Some(Code::AlreadyExists));
        assert_eq!(other.reason(), Some("KEY_REUSED"));
        assert_eq!(actor.actions(name).len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_a_start_reaches_every_attempt() {
    let stage = Stage::open(Store::Sqlite).await;
    let actor = stage.attach_willing();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let options = StartOptions {
        traceparent: Some(format!("00-{trace}-b7ad6b7169203331-01")),
        ..StartOptions::key("o1")
    };
    let input = json!({"order": "o1"});
    let started = stage.client.start("shop", &input, &options).await;
    let name = started.unwrap().name;
    let saga = stage.settled_as(&name, SagaState::Completed).await;
    assert!(saga.traceparent.contains(trace), "{}", saga.traceparent);
    let calls = actor.calls();
    assert_eq!(calls.len(), 4);
    for call in calls {
        let traceparent = call.traceparent.unwrap();
        assert!(traceparent.contains(trace), "{traceparent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_lost_its_stream_brings_its_result_on_the_next() {
    for store in Store::ALL {
        let stage = Stage::open_with(store, &[("session_lease_ms", "20000")]).await;
        let mut first = stage.bare_stream().await;
        first.greet(hello("one", 1)).await;
        let name = stage.start("o1").await;
        let command = first.command().await;
        assert_eq!(
            (command.action.as_str(), command.attempt),
            ("shop.reserve", 1)
        );
        drop(first);
        let mut second = stage.bare_stream().await;
        let in_hand = v1::AttemptKey {
            operation_key: command.operation_key.clone(),
            attempt: command.attempt,
        };
        second
            .greet(v1::Hello {
                in_hand: vec![in_hand],
                ..hello("one", 10)
            })
            .await;
        let recorded = second.answer(succeeded(&command)).await;
        assert_eq!(
            recorded.disposition(),
            Disposition::Recorded,
            "{recorded:?}"
        );
        // The acknowledgement might have been lost as well.
        let again = second.answer(succeeded(&command)).await;
        assert_eq!(again.disposition(), Disposition::Late, "{again:?}");
        drop(second);
        let actor = stage.attach_willing();
        let saga = stage.settled_as(&name, SagaState::Completed).await;
        assert_eq!(saga.steps[0].forward.as_ref().unwrap().attempts, 1);
        assert!(!actor.actions(&name).contains(&"reserve".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_dies_in_the_middle_of_a_step_is_asked_again() {
    for store in Store::ALL {
        let stage = Stage::open_with(store, &[("session_lease_ms", "200")]).await;
        let mut dying = stage.bare_stream().await;
        dying.greet(hello("dying", 1)).await;
        let name = stage.start("o1").await;
        let command = dying.command().await;
        drop(dying);
        let actor = stage.attach_willing();
        let saga = stage.settled_as(&name, SagaState::Completed).await;
        let calls = actor.calls();
        let reserve = calls.iter().find(|call| call.action == "reserve").unwrap();
        assert_eq!(
            reserve.key, command.operation_key,
            "attempts share the operation's key"
        );
        assert!(reserve.attempt >= 2, "{reserve:?}");
        assert!(saga.steps[0].forward.as_ref().unwrap().attempts >= 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_gets_no_more_than_it_has_room_for() {
    let stage = Stage::open(Store::Sqlite).await;
    let mut stream = stage.bare_stream().await;
    stream.greet(hello("small", 2)).await;
    for number in 0..5 {
        stage.start(&format!("o{number}")).await;
    }
    let (mut open, mut asked) = (Vec::new(), 0);
    while asked < 2 {
        if let v1::attach_response::Message::Commands(batch) = stream.hear().await.unwrap() {
            asked += batch.commands.len();
            open.extend(batch.commands);
        }
    }
    assert_eq!(asked, 2);
    // An answer does not make room by itself.
    stream.answer(succeeded(&open[0])).await;
    let credit = v1::Credit { commands: 1 };
    stream.say(attach_request::Message::Credit(credit)).await;
    let third = stream.command().await;
    assert!(
        open.iter()
            .all(|command| command.operation_key != third.operation_key)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_refused_with_a_time_to_come_back_and_what_was_accepted_is_kept() {
    for store in Store::ALL {
        let stage = Stage::open_with(store, &[("active_max", "5")]).await;
        let gate = Arc::new(Semaphore::new(0));
        let script_gate = gate.clone();
        let _actor = stage.attach(move |call| {
            let gate = script_gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(willing(&call))
            }
        });
        let mut accepted = Vec::new();
        for number in 0..5 {
            accepted.push(stage.start(&format!("o{number}")).await);
        }
        let client = Client::connect_lazy(&stage.server.address()).unwrap();
        let client = client.retry_for(Duration::ZERO);
        let options = StartOptions::key("one too many");
        let refused = client.start("shop", &json!({"order": "x"}), &options).await;
        let refused = refused.unwrap_err();
        let refusal = refused.rpc().unwrap();
        assert_eq!(refusal.code, Code::ResourceExhausted, "{refusal:?}");
        assert_eq!(refusal.reason.as_deref(), Some("OVERLOADED"));
        assert!(refusal.retry_after.is_some_and(|after| !after.is_zero()));
        gate.add_permits(1_000);
        for name in accepted {
            stage.settled_as(&name, SagaState::Completed).await;
        }
        // There is room again, and the refused start left nothing behind.
        stage.start("one too many").await;
    }
}
