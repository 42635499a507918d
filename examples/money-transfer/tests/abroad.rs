//! What a bank has to keep to that is asked what became of an order: its "no" is for ever, and so is its "yes".

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use amends_example_money_transfer::{AbroadOptions, Bank, abroad};
use amends_sdk::testing::Call;
use amends_sdk::{Answer, Outcome, Participant};
use serde_json::json;

struct Stage {
    bank: Bank,
    participant: Participant,
    _directory: tempfile::TempDir,
}

async fn stage() -> Stage {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(&directory.path().join("abroad.db"))
        .await
        .unwrap();
    Stage {
        participant: abroad(&bank, &AbroadOptions::default()),
        bank,
        _directory: directory,
    }
}

impl Stage {
    async fn order(&self) -> Answer {
        let payment = json!({"to": "SE-1", "amount_minor": 700});
        Call::forward("k")
            .input(&payment)
            .run(&self.participant, "order")
            .await
    }

    async fn find(&self) -> Answer {
        Call::query("q", "k").run(&self.participant, "find").await
    }

    async fn recall(&self) -> Answer {
        Call::compensate("c", "k")
            .run(&self.participant, "recall")
            .await
    }

    async fn ordered_minor(&self) -> i64 {
        self.bank.ordered_minor().await.unwrap()
    }
}

#[tokio::test]
async fn an_order_is_taken_once_found_and_recalled() {
    let stage = stage().await;
    for _ in 0..2 {
        assert!(matches!(stage.order().await.outcome, Outcome::Succeeded(_)));
        assert!(matches!(stage.find().await.outcome, Outcome::Succeeded(_)));
        assert_eq!(stage.ordered_minor().await, 700);
    }
    for _ in 0..2 {
        assert!(matches!(
            stage.recall().await.outcome,
            Outcome::Succeeded(_)
        ));
        assert_eq!(stage.ordered_minor().await, 0);
    }
    // It had its effect, whatever became of that.
    assert!(matches!(stage.find().await.outcome, Outcome::Succeeded(_)));
    assert_eq!(stage.order().await.code(), Some("REFERENCE_CLOSED"));
}

#[tokio::test]
async fn an_order_that_was_asked_about_before_it_came_is_not_taken() {
    let stage = stage().await;
    assert!(matches!(stage.find().await.outcome, Outcome::Absent));
    assert_eq!(stage.order().await.code(), Some("REFERENCE_CLOSED"));
    assert!(matches!(stage.find().await.outcome, Outcome::Absent));
    assert_eq!(stage.ordered_minor().await, 0);
}

#[tokio::test]
async fn an_order_that_was_recalled_before_it_came_is_not_taken() {
    let stage = stage().await;
    assert!(matches!(
        stage.recall().await.outcome,
        Outcome::Succeeded(_)
    ));
    assert_eq!(stage.order().await.code(), Some("REFERENCE_CLOSED"));
    assert_eq!(stage.ordered_minor().await, 0);
}
