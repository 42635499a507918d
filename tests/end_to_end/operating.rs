//! What operators do about sagas that wait for a person, on either store, and through a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amends_proto::v1::act::Act;
use amends_proto::v1::{self, SagaState};
use amends_sdk::{BatchAct, Fail, IncidentOptions, StartOptions};
use amends_tests::server::Store;
use serde_json::json;

use crate::stage::{Actor, Stage, willing};

/// A shop that ships nothing before it is mended.
fn attach_broken(stage: &Stage, mended: &Arc<AtomicBool>) -> Actor {
    let mended = mended.clone();
    stage.attach(move |call| {
        let works = mended.load(Ordering::SeqCst);
        async move {
            match call.action.as_str() {
                "ship" if !works => Err(Fail::rejected("NO_SUCH_STREET")),
                _ => Ok(willing(&call)),
            }
        }
    })
}

fn retry_each(fingerprint: &str) -> BatchAct {
    BatchAct {
        fingerprint: fingerprint.to_owned(),
        act: Act::Retry(v1::Retry::default()),
        reason: "the street is on the map now".to_owned(),
        dry_run: false,
        rate: 1_000,
        limit: 0,
    }
}

async fn told(stage: &Stage, batch: BatchAct) -> Vec<v1::OperateIncidentsResponse> {
    let mut stream = stage.client.operate_incidents(batch).await.unwrap();
    let mut told = Vec::new();
    while let Some(one) = stream.message().await.unwrap() {
        told.push(one);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_incidents_survives_a_crash_and_is_retried_as_a_whole() {
    for store in Store::ALL {
        let mut stage = Stage::open(store).await;
        let mended = Arc::new(AtomicBool::new(false));
        let actor = attach_broken(&stage, &mended);
        let mut names = Vec::new();
        for number in 0..5 {
            let name = stage.start(&format!("o{number}")).await;
            stage.settled_as(&name, SagaState::Parked).await;
            names.push(name);
        }
        stage.server.crash_and_restart();
        let page = IncidentOptions {
            fingerprint: Some("shop@1/*".to_owned()),
            page_size: 3,
            ..IncidentOptions::default()
        };
        let first = stage.client.incidents(&page).await.unwrap();
        let rest = IncidentOptions {
            page_token: first.next_page_token,
            ..page
        };
        let rest = stage.client.incidents(&rest).await.unwrap();
        assert!(rest.next_page_token.is_empty());
        let listed = first.incidents.iter().chain(&rest.incidents);
        let listed: Vec<_> = listed.map(|incident| incident.saga.clone()).collect();
        assert_eq!(listed, names, "the oldest first, each once");
        let groups = stage.client.incident_groups(Some("shop")).await.unwrap();
        assert_eq!(groups.len(), 1, "{groups:?}");
        let fingerprint = &groups[0].fingerprint;
        assert_eq!(
            (fingerprint.as_str(), groups[0].incidents),
            ("shop@1/ship/NO_SUCH_STREET", 5)
        );
        assert!(
            told(&stage, retry_each("shop@1/pay/NO_SUCH_STREET"))
                .await
                .is_empty()
        );

        mended.store(true, Ordering::SeqCst);
        let dry = BatchAct {
            dry_run: true,
            ..retry_each(fingerprint)
        };
        assert_eq!(told(&stage, dry).await.len(), 5);
        let done = told(&stage, retry_each(fingerprint)).await;
        assert!(done.iter().all(|one| one.reason.is_empty()), "{done:?}");
        assert_eq!(done.len(), 5);
        for name in &names {
            stage.settled_as(name, SagaState::Completed).await;
            let ships = actor
                .actions(name)
                .into_iter()
                .filter(|action| action == "ship");
            assert_eq!(ships.count(), 2);
        }
        assert!(stage.client.incident_groups(None).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_says_what_it_waits_for_and_a_signal_after_a_crash_lets_it_go_on() {
    let definition = "\
apiVersion: amends/v1
name: approval
signals:
  decided: {schema: {type: object, required: [approved]}}
steps:
  - {id: hold, call: shop.hold, compensate: {call: shop.unhold}}
  - {id: decision, wait: {signal: decided, timeout: 1h}}
output: {approved: \"${{ steps.decision.output.approved }}\"}
";
    for store in Store::ALL {
        let mut stage = Stage::open(store).await;
        stage.client.apply_definition(definition).await.unwrap();
        let options = StartOptions::key("a1");
        let started = stage.client.start("approval", &json!({}), &options).await;
        let name = started.unwrap().name;
        let explained = stage.client.explain(&name).await.unwrap();
        assert_eq!(explained.waits_for.len(), 1, "{explained:?}");
        let awaited = &explained.waits_for[0];
        assert_eq!(
            (awaited.kind.as_str(), awaited.subject.as_str()),
            ("PARTICIPANT", "shop.hold")
        );
        let actor = stage.attach_willing();
        reached(&stage, &name, "signal_awaited").await;
        let listed = stage.client.participants().await.unwrap();
        assert_eq!((listed.len(), listed[0].participant.as_str()), (1, "shop"));
        stage.server.crash_and_restart();
        let explained = stage.client.explain(&name).await.unwrap();
        let awaited = &explained.waits_for[0];
        assert_eq!(
            (awaited.kind.as_str(), awaited.subject.as_str()),
            ("SIGNAL", "decided")
        );
        assert!(awaited.until_time.is_some());
        let approved = json!({"approved": true});
        for accepted in [true, false] {
            let answer = stage
                .client
                .signal(&name, "decided", &approved, Some("m1"))
                .await;
            match answer {
                Ok(answer) => assert_eq!(answer, accepted),
                // The first one let it end before the second came.
                Err(error) => assert_eq!((error.reason(), accepted), (Some("SAGA_ENDED"), false)),
            }
        }
        let saga = stage.settled_as(&name, SagaState::Completed).await;
        assert_eq!(&saga.output[..], br#"{"approved":true}"#);
        assert_eq!(actor.actions(&name), ["hold"]);
    }
}

/// Waits until a fact of this kind stands in the saga's history.
async fn reached(stage: &Stage, saga: &str, kind: &str) {
    let mut follow = stage.client.follow_history(saga).await.unwrap();
    while let Some(row) = follow.message().await.unwrap() {
        if row.entries.iter().any(|entry| entry.kind == kind) {
            return;
        }
    }
    panic!("{saga} ended without {kind}");
}
