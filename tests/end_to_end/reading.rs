//! Observing: lists, filters, pages, watching, following, definitions and their revisions, SQL.

use std::collections::BTreeSet;
use std::sync::Arc;

use amends_proto::v1::SagaState;
use amends_sdk::{ListOptions, StartOptions};
use amends_tests::server::Store;
use serde_json::json;
use sqlx::{Connection as _, Row as _};
use tokio::sync::Semaphore;

use crate::stage::{SHOP, Stage, willing};

#[tokio::test(flavor = "multi_thread")]
async fn sagas_are_listed_by_state_definition_and_key_in_pages() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let other = SHOP.replace("name: shop\n", "name: other-shop\n");
        stage.client.apply_definition(&other).await.unwrap();
        let _actor = stage.attach(|call| async move {
            match call.input["order"].as_str() {
                Some("bad") => Err(amends_sdk::Fail::rejected("NO")),
                _ => Ok(willing(&call)),
            }
        });
        let mut names = BTreeSet::new();
        for number in 0..7 {
            names.insert(stage.start(&format!("o{number}")).await);
        }
        let bad = stage.start("bad").await;
        let options = StartOptions::key("elsewhere");
        let input = json!({"order": "x"});
        let elsewhere = stage.client.start("other-shop", &input, &options).await;
        let elsewhere = elsewhere.unwrap().name;
        for name in names.iter().chain([&bad, &elsewhere]) {
            stage.settled(name).await;
        }
        // Three pages of completed sagas of the first definition, nothing twice, the newest first.
        let mut options = ListOptions {
            states: vec![SagaState::Completed],
            definition: Some("shop".to_owned()),
            page_size: 3,
            ..ListOptions::default()
        };
        let (mut listed, mut pages) = (Vec::new(), 0);
        loop {
            let page = stage.client.list(&options).await.unwrap();
            assert!(page.sagas.len() <= 3);
            listed.extend(page.sagas);
            pages += 1;
            if page.next_page_token.is_empty() {
                break;
            }
            options.page_token = page.next_page_token;
        }
        assert_eq!(pages, 3);
        let listed_names: BTreeSet<String> = listed.iter().map(|saga| saga.name.clone()).collect();
        assert_eq!((listed.len(), &listed_names), (7, &names));
        let times: Vec<_> = listed
            .iter()
            .map(|saga| saga.start_time.unwrap().seconds)
            .collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
        let by_key = ListOptions {
            key: Some("bad".to_owned()),
            ..ListOptions::default()
        };
        let found = stage.client.list(&by_key).await.unwrap().sagas;
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0].name, found[0].state()),
            (&bad, SagaState::Compensated)
        );
        let none = ListOptions {
            states: vec![SagaState::Parked, SagaState::Running],
            ..ListOptions::default()
        };
        assert!(stage.client.list(&none).await.unwrap().sagas.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_each_change_and_a_follow_each_fact_until_the_saga_ends() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let gate = Arc::new(Semaphore::new(0));
        let script_gate = gate.clone();
        let _actor = stage.attach(move |call| {
            let gate = script_gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(willing(&call))
            }
        });
        let name = stage.start("o1").await;
        let mut watch = stage.client.watch(&name).await.unwrap();
        let first = watch.message().await.unwrap().unwrap().saga.unwrap();
        assert_eq!(first.state(), SagaState::Running);
        let mut follow = stage.client.follow_history(&name).await.unwrap();
        gate.add_permits(4);
        let mut last = first;
        while let Some(next) = watch.message().await.unwrap() {
            last = next.saga.unwrap();
        }
        assert_eq!(last.state(), SagaState::Completed);
        let mut followed = Vec::new();
        while let Some(row) = follow.message().await.unwrap() {
            followed.extend(row.entries);
        }
        let history = stage.client.history(&name).await.unwrap();
        assert_eq!(followed, history);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_saga_stays_pinned_to_its_revision_through_a_crash() {
    for store in Store::ALL {
        let mut stage = Stage::open(store).await;
        let gate = Arc::new(Semaphore::new(0));
        let script_gate = gate.clone();
        let actor = stage.attach(move |call| {
            let gate = script_gate.clone();
            async move {
                if call.action == "reserve" && call.revision == 1 {
                    gate.acquire().await.unwrap().forget();
                }
                Ok(willing(&call))
            }
        });
        let old = stage.start("old").await;
        // The second revision has no step `hold`.
        let shorter = SHOP.replace(
            "  - id: hold\n    call: shop.hold\n    compensate: {call: shop.unhold, retry: quick}\n",
            "",
        );
        let applied = stage.client.apply_definition(&shorter).await.unwrap();
        assert!(applied.created);
        assert_eq!(applied.definition.unwrap().revision, 2);
        let again = stage.client.apply_definition(&shorter).await.unwrap();
        assert!(!again.created, "the same content is no new revision");
        let new = newest(&stage, "new").await;
        stage.settled_as(&new, SagaState::Completed).await;
        assert_eq!(actor.actions(&new), ["reserve", "pay", "ship"]);
        stage.server.crash_and_restart();
        gate.add_permits(8);
        let saga = stage.settled_as(&old, SagaState::Completed).await;
        assert_eq!((saga.revision, saga.steps.len()), (1, 4));
        assert!(actor.actions(&old).contains(&"hold".to_owned()));
        let first = stage.client.get_definition("shop", Some(1)).await.unwrap();
        assert_eq!(first.source, SHOP);
        let newest = stage.client.get_definition("shop", None).await.unwrap();
        assert_eq!((newest.revision, newest.source), (2, shorter));
        let listed = stage
            .client
            .list_definitions(10, "")
            .await
            .unwrap()
            .definitions;
        assert_eq!(listed.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_answer_in_sql() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let _actor = stage.attach(|call| async move {
            match call.action.as_str() {
                "pay" => Err(amends_sdk::Fail::rejected("CARD_DECLINED")),
                _ => Ok(willing(&call)),
            }
        });
        let name = stage.start("o1").await;
        stage.settled_as(&name, SagaState::Compensated).await;
        let id: uuid::Uuid = name.rsplit('/').next().unwrap().parse().unwrap();
        let url = stage.server.database_url();
        let steps: BTreeSet<String> = match store {
            Store::Postgres => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                let rows = sqlx::query("SELECT * FROM amends.steps WHERE saga_id = $1");
                let rows = rows.bind(id).fetch_all(&mut connection).await.unwrap();
                rows.iter().map(|row| row.get("step")).collect()
            }
            Store::Sqlite => {
                let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
                let rows = sqlx::query("SELECT * FROM steps WHERE state <> 'waiting'");
                let rows = rows.fetch_all(&mut connection).await.unwrap();
                rows.iter().map(|row| row.get("step")).collect()
            }
        };
        assert_eq!(steps, ["reserve", "hold", "pay"].map(str::to_owned).into());
    }
}

/// A start by the newest revision; a node may believe in the one before for a second.
async fn newest(stage: &Stage, key: &str) -> String {
    let options = StartOptions {
        revision: Some(2),
        ..StartOptions::key(key)
    };
    let started = stage
        .client
        .start("shop", &json!({"order": key}), &options)
        .await;
    started.unwrap().name
}
