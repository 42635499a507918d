//! The checks that every participant owes, and what the ledger refuses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use amends_example_money_transfer::{LedgerOptions, books, participant};
use amends_sdk::testing::{Call, Pair};
use amends_sdk::{Answer, Outcome, Participant};
use serde_json::{Value, json};
use sqlx::SqlitePool;

struct Bank {
    books: SqlitePool,
    ledger: Participant,
    _directory: tempfile::TempDir,
}

async fn bank() -> Bank {
    let directory = tempfile::tempdir().unwrap();
    let books = books::open(&directory.path().join("ledger.db")).await;
    let books = books.unwrap();
    let options = LedgerOptions::default();
    let ledger = participant(books.clone(), &options).await.unwrap();
    Bank {
        ledger,
        books,
        _directory: directory,
    }
}

impl Bank {
    async fn act(&self, key: &str, action: &str, input: Value) -> Answer {
        Call::forward(key)
            .input(&input)
            .run(&self.ledger, action)
            .await
    }
}

fn id(answer: &Answer) -> String {
    let Outcome::Succeeded(output) = &answer.outcome else {
        panic!("{answer:?}");
    };
    let output: Value = serde_json::from_slice(output).unwrap();
    output["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_hold_passes_the_checks_that_every_action_with_a_compensation_owes() {
    let bank = bank().await;
    let statement = async || books::statement(&bank.books).await.unwrap();
    let pair = Pair::new(&bank.ledger, "hold", "release_hold")
        .action_input(&json!({"account": "alice", "amount_minor": 700}))
        .compensation_input(&json!({"output": null}));
    pair.check_action_twice(statement).await.unwrap();
    pair.check_compensation_twice(statement).await.unwrap();
    pair.check_compensation_without_action(statement)
        .await
        .unwrap();
    pair.check_late_action(statement).await.unwrap();
}

#[tokio::test]
async fn money_moves_once_however_often_it_is_asked_for() {
    let bank = bank().await;
    let before = books::statement(&bank.books).await.unwrap();
    let mut hold = String::new();
    for _ in 0..2 {
        let wish = json!({"account": "alice", "amount_minor": 700});
        hold = id(&bank.act("k/hold", "hold", wish).await);
        id(&bank.act("k/debit", "debit", json!({"hold": hold})).await);
        let gift = json!({"account": "carol", "amount_minor": 700, "ref": "k"});
        id(&bank.act("k/credit", "credit", gift).await);
    }
    let after = books::statement(&bank.books).await.unwrap();
    assert_eq!(after.balances["alice"], before.balances["alice"] - 700);
    assert_eq!(after.balances["carol"], 700);
    assert_eq!((after.held, after.under_way), (0, 0));
    assert_eq!(after.total(), before.total());
    // Another debit of the same hold is another operation, and the hold is gone.
    let again = bank.act("k2/debit", "debit", json!({"hold": hold})).await;
    assert_eq!(again.code(), Some("NOT_HELD"));
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_name_and_changes_nothing() {
    let bank = bank().await;
    let before = books::statement(&bank.books).await.unwrap();
    let too_much = json!({"account": "carol", "amount_minor": 1});
    let nobody = json!({"account": "nobody", "amount_minor": 1});
    let code = |answer: Answer| answer.code().unwrap().to_owned();
    assert_eq!(
        code(bank.act("1", "hold", too_much).await),
        "INSUFFICIENT_FUNDS"
    );
    assert_eq!(
        code(bank.act("2", "hold", nobody.clone()).await),
        "UNKNOWN_ACCOUNT"
    );
    assert_eq!(
        code(bank.act("3", "credit", nobody).await),
        "UNKNOWN_ACCOUNT"
    );
    assert_eq!(books::statement(&bank.books).await.unwrap(), before);
}
