//! Steps whose effect nobody knows, and a participant that can be asked: absent, there, or no answer to that either.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends_proto::v1::SagaState;
use amends_sdk::{Context, Fail, Participant, ParticipantOptions, StartOptions};
use amends_tests::server::Store;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::stage::Stage;

const BANK: &str = "\
apiVersion: amends/v1
name: transfer
defaults: {timeout: 300ms, retry: {initialInterval: 20ms, backoff: 1, maxInterval: 20ms, maxAttempts: 1, jitter: 0}}
compensation: {retry: {initialInterval: 20ms, backoff: 1, maxInterval: 20ms, jitter: 0}}
steps:
  - id: hold
    call: bank.hold
    query: bank.find_hold
    compensate: {call: bank.release, input: {hold: \"${{ self.output.id }}\"}}
  - {id: debit, kind: pivot, call: bank.debit, query: bank.find_debit}
  - {id: tell, kind: retriable, call: bank.tell}
";

/// What the bank's books say of the step whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Books {
    Found,
    Absent,
    Closed,
}

/// A bank whose answers about one step are lost: it carries it out, or not, and never says so.
struct Bank {
    calls: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Bank {
    fn attach(stage: &Stage, lost: &'static str, books: Books) -> Self {
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut bank = Participant::new("bank").options(ParticipantOptions {
            backoff: (Duration::from_millis(10), Duration::from_millis(100)),
            ..ParticipantOptions::default()
        });
        for action in ["hold", "release", "debit", "tell"] {
            let calls = calls.clone();
            bank = bank.action(action, move |_: Context, input: Value| {
                calls.lock().unwrap().push(format!("{action} {input}"));
                async move {
                    if action == lost {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Fail>(json!({"id": "answered"}))
                }
            });
        }
        for query in ["find_hold", "find_debit"] {
            let calls = calls.clone();
            bank = bank.query(query, move |context: Context, _: Value| {
                assert!(context.forward_operation_key().is_some());
                calls.lock().unwrap().push(query.to_owned());
                async move {
                    match books {
                        Books::Found => Ok(Some(json!({"id": "in the books"}))),
                        Books::Absent => Ok(None),
                        Books::Closed => Err(Fail::failed("CLOSED")),
                    }
                }
            });
        }
        let address = stage.server.address();
        let task = tokio::spawn(async move {
            let for_ever = std::future::pending::<()>();
            bank.run_until(&address, for_ever).await.unwrap();
        });
        Self { calls, task }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn transferred(stage: &Stage) -> String {
    stage.client.apply_definition(BANK).await.unwrap();
    let options = StartOptions::key("t1");
    let started = stage.client.start("transfer", &json!({}), &options).await;
    started.unwrap().name
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_step_is_asked_for_before_it_is_undone() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let bank = Bank::attach(&stage, "hold", Books::Found);
        let name = transferred(&stage).await;
        stage.settled_as(&name, SagaState::Compensated).await;
        assert_eq!(
            bank.calls(),
            [
                "hold {}",
                "find_hold",
                "release {\"hold\":\"in the books\"}"
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_step_that_never_happened_is_not_undone() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let bank = Bank::attach(&stage, "hold", Books::Absent);
        let name = transferred(&stage).await;
        stage.settled_as(&name, SagaState::Compensated).await;
        assert_eq!(bank.calls(), ["hold {}", "find_hold"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pivot_in_doubt_is_asked_for_and_the_saga_goes_where_the_answer_says() {
    for store in Store::ALL {
        for (books, end, then) in [
            (Books::Found, SagaState::Completed, "tell {}"),
            (
                Books::Absent,
                SagaState::Compensated,
                "release {\"hold\":\"answered\"}",
            ),
        ] {
            let stage = Stage::open(store).await;
            let bank = Bank::attach(&stage, "debit", books);
            let name = transferred(&stage).await;
            stage.settled_as(&name, end).await;
            assert_eq!(bank.calls(), ["hold {}", "debit {}", "find_debit", then]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pivot_of_which_the_books_say_nothing_parks_in_doubt() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        let bank = Bank::attach(&stage, "debit", Books::Closed);
        let name = transferred(&stage).await;
        let saga = stage.settled_as(&name, SagaState::Parked).await;
        assert_eq!(saga.incidents[0].reason, "PIVOT_IN_DOUBT");
        let calls = bank.calls();
        assert_eq!(
            calls,
            ["hold {}", "debit {}", "find_debit"],
            "its budget is the step's: one attempt"
        );
    }
}
