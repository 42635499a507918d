//! `examples/money-transfer`: a person decides about large transfers, money cools off, and whatever happens it is neither
//! made nor lost.

use amends_example_money_transfer::{DEFINITION, LedgerOptions, books, participant};
use amends_proto::v1::{SagaState, StepState};
use amends_sdk::StartOptions;
use amends_tests::process::{Process, Program};
use amends_tests::server::Store;
use serde_json::{Value, json};
use sqlx::SqlitePool;
use tonic::Code;

use crate::examples::{Attached, ends_as, forward, recorded, retry};
use crate::stage::{PATIENCE, Stage};

const SMALL: i64 = 1_000;
const LARGE: i64 = 1_000_001;

struct Bank {
    stage: Stage,
    books: SqlitePool,
    attached: Option<Attached>,
}

/// The definition with other times.
fn hurried(changes: &[(&str, &str)]) -> String {
    let mut definition = DEFINITION.to_owned();
    for (from, to) in changes {
        assert!(definition.contains(from), "{from}");
        definition = definition.replace(from, to);
    }
    definition
}

const COOLS_BRIEFLY: (&str, &str) = ("sleep: 15m", "sleep: 200ms");

impl Bank {
    /// A server with the definition in a hurry, and books; the ledger is not attached yet.
    async fn closed(changes: &[(&str, &str)]) -> Self {
        let stage = Stage::open(Store::Sqlite).await;
        let definition = hurried(changes);
        stage.client.apply_definition(&definition).await.unwrap();
        let file = stage.server.directory().join("ledger.db");
        Self {
            books: books::open(&file).await.unwrap(),
            stage,
            attached: None,
        }
    }

    async fn open(changes: &[(&str, &str)]) -> Self {
        let mut bank = Self::closed(changes).await;
        bank.attach().await;
        bank
    }

    async fn attach(&mut self) {
        let options = LedgerOptions::default();
        let ledger = participant(self.books.clone(), &options).await;
        self.attached = Some(Attached::new(&self.stage, ledger.unwrap()));
    }

    async fn transfer(&self, amount_minor: i64, to: &str) -> String {
        let input = json!({
            "transfer_id": format!("{amount_minor}-{to}"), "from": "alice", "to": to, "amount_minor": amount_minor,
        });
        let options = StartOptions::keyed_by_definition();
        let started = self.stage.client.start("transfer-money", &input, &options);
        started.await.unwrap().name
    }

    async fn decide(&self, saga: &str, approved: bool) -> bool {
        let decision = json!({"approved": approved, "by": "dora"});
        let client = &self.stage.client;
        let sent = client.signal(saga, "approval_decided", &decision, Some("form-1"));
        sent.await.unwrap()
    }

    /// So much has gone from alice to another, and nothing is held or under way.
    async fn has_moved(&self, amount_minor: i64, to: &str) {
        let statement = books::statement(&self.books).await.unwrap();
        let opening = |account: &str| {
            let known = books::OPENING.iter().find(|(name, _)| *name == account);
            known.unwrap().1
        };
        assert_eq!(
            statement.balances["alice"],
            opening("alice") - amount_minor,
            "{statement}"
        );
        assert_eq!(
            statement.balances[to],
            opening(to) + amount_minor,
            "{statement}"
        );
        assert_eq!((statement.held, statement.under_way), (0, 0), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_transfer_needs_nobody_but_cools_off() {
    let bank = Bank::open(&[COOLS_BRIEFLY]).await;
    let name = bank.transfer(SMALL, "bob").await;
    let saga = bank.stage.settled_as(&name, SagaState::Completed).await;
    assert_eq!(forward(&saga, "approval"), StepState::Skipped);
    assert_eq!(forward(&saga, "refuse"), StepState::Skipped);
    let output: Value = serde_json::from_slice(&saga.output).unwrap();
    assert!(output["debit"].is_string() && output["credit"].is_string());
    bank.has_moved(SMALL, "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transfer_waits_for_a_person_over_a_crash_and_goes_on_when_approved() {
    let mut bank = Bank::open(&[COOLS_BRIEFLY]).await;
    let name = bank.transfer(LARGE, "bob").await;
    recorded(&bank.stage, &name, "signal_awaited", "approval").await;
    let wrong = json!({"approved": true});
    let client = &bank.stage.client;
    let refused = client.signal(&name, "approval_decided", &wrong, None).await;
    assert_eq!(refused.unwrap_err().code(), Some(Code::InvalidArgument));
    let held = books::statement(&bank.books).await.unwrap().held;
    assert_eq!(held, LARGE);
    bank.stage.server.crash_and_restart();
    assert!(bank.decide(&name, true).await);
    let saga = bank.stage.settled_as(&name, SagaState::Completed).await;
    assert_eq!(forward(&saga, "approval"), StepState::Succeeded);
    bank.has_moved(LARGE, "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_a_person_refuses_releases_what_was_held() {
    let bank = Bank::open(&[COOLS_BRIEFLY]).await;
    let name = bank.transfer(LARGE, "bob").await;
    recorded(&bank.stage, &name, "signal_awaited", "approval").await;
    assert!(bank.decide(&name, false).await);
    let saga = bank.stage.settled_as(&name, SagaState::Compensated).await;
    let abort = saga.abort.unwrap();
    assert_eq!(
        (
            abort.step.as_str(),
            abort.code.as_str(),
            abort.message.as_str()
        ),
        ("refuse", "NOT_APPROVED", "Refused by dora")
    );
    bank.has_moved(0, "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_before_the_wait_is_kept_over_a_crash_and_counts_once() {
    let mut bank = Bank::closed(&[COOLS_BRIEFLY]).await;
    let name = bank.transfer(LARGE, "bob").await;
    assert!(bank.decide(&name, true).await);
    bank.stage.server.crash_and_restart();
    // The same form again is not another decision.
    assert!(!bank.decide(&name, true).await);
    bank.attach().await;
    bank.stage.settled_as(&name, SagaState::Completed).await;
    let history = bank.stage.client.history(&name).await.unwrap();
    let awaited = history.iter().any(|entry| entry.kind == "signal_awaited");
    assert!(!awaited, "{history:?}");
    bank.has_moved(LARGE, "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_nobody_decides_about_in_time_is_undone() {
    let bank = Bank::open(&[("timeout: 48h", "timeout: 300ms")]).await;
    let name = bank.transfer(LARGE, "bob").await;
    let saga = bank.stage.settled_as(&name, SagaState::Compensated).await;
    assert_eq!(saga.abort.unwrap().code, "WAIT_TIMEOUT");
    bank.has_moved(0, "bob").await;
    let late = json!({"approved": true, "by": "dora"});
    let client = &bank.stage.client;
    let refused = client.signal(&name, "approval_decided", &late, None).await;
    assert_eq!(refused.unwrap_err().code(), Some(Code::FailedPrecondition));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_is_as_long_as_it_says_over_a_crash() {
    let mut bank = Bank::open(&[("sleep: 15m", "sleep: 4s")]).await;
    let name = bank.transfer(SMALL, "bob").await;
    let asleep = recorded(&bank.stage, &name, "sleeping", "cooling_off").await;
    bank.stage.server.crash_and_restart();
    bank.stage.settled_as(&name, SagaState::Completed).await;
    let history = bank.stage.client.history(&name).await.unwrap();
    let awake = history.iter().find(|entry| entry.kind == "slept").unwrap();
    let seconds =
        |time: &prost_types::Timestamp| time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000;
    let slept = seconds(awake.time.as_ref().unwrap()) - seconds(asleep.time.as_ref().unwrap());
    assert!((4_000..20_000).contains(&slept), "{slept} ms");
    bank.has_moved(SMALL, "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_that_is_refused_parks_and_an_operator_sends_the_money_elsewhere() {
    let bank = Bank::open(&[COOLS_BRIEFLY]).await;
    let name = bank.transfer(SMALL, "nobody").await;
    let saga = bank.stage.settled_as(&name, SagaState::Parked).await;
    assert_eq!(saga.incidents[0].reason, "STEP_REFUSED");
    assert_eq!(saga.incidents[0].code, "UNKNOWN_ACCOUNT");
    // What has left an account is in plain sight until it arrives.
    let statement = books::statement(&bank.books).await.unwrap();
    assert_eq!(statement.under_way, SMALL);
    let elsewhere = json!({"account": "carol", "amount_minor": SMALL, "ref": "mended"});
    retry(&bank.stage, &name, "credit", Some(elsewhere)).await;
    ends_as(&bank.stage, &name, SagaState::Completed).await;
    bank.has_moved(SMALL, "carol").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_falls_silent_in_a_debit_is_given_up_and_the_money_moves_once() {
    let bank = Bank::closed(&[COOLS_BRIEFLY, ("heartbeat: 5s", "heartbeat: 1s")]).await;
    let mut slow = ledger_process(&bank, "slow", 8_000);
    let name = bank.transfer(SMALL, "bob").await;
    slow.wait_for_log("asking the other bank", PATIENCE);
    slow.suspend();
    let mut quick = ledger_process(&bank, "quick", 0);
    let saga = bank.stage.settled_as(&name, SagaState::Completed).await;
    let history = bank.stage.client.history(&name).await.unwrap();
    let silent = history.iter().find(|entry| entry.outcome == "unknown");
    assert_eq!(silent.unwrap().code, "HEARTBEAT_TIMEOUT", "{history:?}");
    assert!(saga.steps[4].forward.as_ref().unwrap().attempts > 1);
    // The first one wakes, and finds that its work was done.
    slow.resume();
    slow.terminate();
    slow.ended_within(PATIENCE).unwrap();
    quick.terminate();
    quick.ended_within(PATIENCE).unwrap();
    bank.has_moved(SMALL, "bob").await;
}

fn ledger_process(bank: &Bank, name: &str, debit_takes_ms: u64) -> Process {
    let directory = bank.stage.server.directory();
    let books = directory.join("ledger.db").into_os_string();
    let takes = debit_takes_ms.to_string();
    Program::of_workspace("ledger-participant")
        .args(["--server", &bank.stage.server.address()])
        .args(["--debit-takes-ms", &takes, "--books"])
        .args([books])
        .start(&directory.join(format!("{name}.log")))
}
