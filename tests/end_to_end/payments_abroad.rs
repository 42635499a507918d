//! `examples/money-transfer`, pay-abroad: what an answer that is lost on its way from a bank abroad leads to, on a real server.

use std::time::Duration;

use amends_example_money_transfer::{
    AbroadOptions, Bank, LedgerOptions, PAY_ABROAD, abroad, books, participant,
};
use amends_proto::v1::{Saga, SagaState, StepState};
use amends_sdk::StartOptions;
use amends_tests::server::Store;
use serde_json::json;

use crate::examples::{Attached, forward, step};
use crate::stage::Stage;

const AMOUNT: i64 = 1_200;

/// Longer than any attempt of it.
const LOST: Duration = Duration::from_secs(600);

struct Payment {
    saga: Saga,
    kinds: Vec<(String, String, String)>,
    alice_paid: i64,
    held: i64,
    ordered: i64,
}

/// One payment from alice, with a bank that is as slow as this.
async fn pay(options: AbroadOptions) -> Payment {
    let stage = Stage::open(Store::Sqlite).await;
    let definition = PAY_ABROAD.replace("timeout: 5s", "timeout: 500ms");
    assert_ne!(definition, PAY_ABROAD);
    stage.client.apply_definition(&definition).await.unwrap();
    let directory = stage.server.directory();
    let ledger_books = books::open(&directory.join("ledger.db")).await.unwrap();
    let bank = Bank::open(&directory.join("abroad.db")).await.unwrap();
    let ledger = participant(ledger_books.clone(), &LedgerOptions::default()).await;
    let _ledger = Attached::new(&stage, ledger.unwrap());
    let _abroad = Attached::new(&stage, abroad(&bank, &options));

    let input = json!({"payment_id": "p1", "from": "alice", "to": "SE-1", "amount_minor": AMOUNT});
    let start = StartOptions::keyed_by_definition();
    let started = stage.client.start("pay-abroad", &input, &start).await;
    let saga = stage.settled(&started.unwrap().name).await;
    let history = stage.client.history(&saga.name).await.unwrap();
    let of_order = history.into_iter().filter(|entry| entry.step == "order");
    let statement = books::statement(&ledger_books).await.unwrap();
    let opening = books::OPENING[0].1;
    Payment {
        kinds: of_order
            .map(|entry| (entry.kind, entry.operation, entry.outcome))
            .collect(),
        saga,
        alice_paid: opening - statement.balances["alice"],
        held: statement.held,
        ordered: bank.ordered_minor().await.unwrap(),
    }
}

impl Payment {
    /// How the saga ended, what alice has paid, what is held of hers, and what the bank was told to pay.
    #[track_caller]
    fn ended_as(&self, state: SagaState, amounts: (i64, i64, i64)) {
        assert_eq!(self.saga.state(), state, "{:?}", self.saga);
        assert_eq!((self.alice_paid, self.held, self.ordered), amounts);
    }

    fn has(&self, operation: &str, outcome: &str) -> bool {
        let ended = |(kind, asked, said): &&(String, String, String)| {
            (kind.as_str(), asked.as_str(), said.as_str()) == ("attempt_ended", operation, outcome)
        };
        self.kinds.iter().any(|entry| ended(&entry))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_answers_is_not_asked_again() {
    let payment = pay(AbroadOptions::default()).await;
    payment.ended_as(SagaState::Completed, (AMOUNT, 0, AMOUNT));
    assert!(
        payment.has("forward", "succeeded")
            && !payment
                .kinds
                .iter()
                .any(|(_, operation, _)| operation == "query")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_answer_is_lost_is_found_and_recalled() {
    let lost = AbroadOptions {
        answer_takes: LOST,
        ..AbroadOptions::default()
    };
    let payment = pay(lost).await;
    payment.ended_as(SagaState::Compensated, (0, 0, 0));
    assert!(payment.has("forward", "unknown"), "{:?}", payment.kinds);
    assert!(payment.has("query", "succeeded"), "{:?}", payment.kinds);
    assert!(
        payment.has("compensate", "succeeded"),
        "{:?}",
        payment.kinds
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_never_reached_the_bank_has_nothing_to_recall() {
    let lost = AbroadOptions {
        order_takes: LOST,
        ..AbroadOptions::default()
    };
    let payment = pay(lost).await;
    payment.ended_as(SagaState::Compensated, (0, 0, 0));
    assert!(payment.has("query", "absent"), "{:?}", payment.kinds);
    let recalled = &step(&payment.saga, "order").compensation;
    assert!(
        recalled.as_ref().is_none_or(|recall| recall.attempts == 0),
        "{recalled:?}"
    );
    assert_eq!(forward(&payment.saga, "debit"), StepState::Waiting);
}
