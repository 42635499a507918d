//! The checks that every participant owes, and what the services refuse.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use amends_example_trip_booking::{Service, books, participant};
use amends_sdk::testing::{Call, Pair};
use amends_sdk::{Answer, Outcome, Participant};
use serde_json::{Value, json};
use sqlx::SqlitePool;

async fn open(service: Service) -> (Participant, SqlitePool, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let books = books::open(directory.path(), service).await.unwrap();
    let participant = participant(service, books.clone()).await.unwrap();
    (participant, books, directory)
}

async fn act(participant: &Participant, key: &str, action: &str, input: Value) -> Answer {
    Call::forward(key)
        .input(&input)
        .run(participant, action)
        .await
}

#[tokio::test]
async fn holds_pass_the_checks_that_every_action_with_a_compensation_owes() {
    for (service, wish) in [
        (Service::Flights, json!({"trip_id": "t", "name": "AM-101"})),
        (
            Service::Hotels,
            json!({"trip_id": "t", "name": "harbour-view"}),
        ),
        (Service::Cars, json!({"trip_id": "t", "city": "lisbon"})),
    ] {
        let (participant, books, _directory) = open(service).await;
        // Rows that say "cancelled" stay; what counts is what is held, and what is free.
        let held = async || {
            let free = sqlx::query_scalar("SELECT SUM(free) FROM offers");
            let free: i64 = free.fetch_one(&books).await.unwrap();
            (books::count_holds(&books, "held").await.unwrap(), free)
        };
        let pair = Pair::new(&participant, "hold", "cancel")
            .action_input(&wish)
            .compensation_input(&json!({"output": null}));
        pair.check_action_twice(held).await.unwrap();
        pair.check_compensation_twice(held).await.unwrap();
        pair.check_compensation_without_action(held).await.unwrap();
        pair.check_late_action(held).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_held_for_a_trip_is_confirmed_once_and_nothing_of_another_trip() {
    let (cars, books, _directory) = open(Service::Cars).await;
    for (key, trip, city) in [
        ("1", "t", "lisbon"),
        ("2", "t", "porto"),
        ("3", "u", "porto"),
    ] {
        act(&cars, key, "hold", json!({"trip_id": trip, "city": city})).await;
    }
    for _ in 0..2 {
        let answer = act(&cars, "4", "confirm", json!({"trip_id": "t"})).await;
        let Outcome::Succeeded(output) = answer.outcome else {
            panic!("{answer:?}");
        };
        let output: Value = serde_json::from_slice(&output).unwrap();
        assert_eq!(output, json!({"confirmed": 2}));
    }
    assert_eq!(books::count_holds(&books, "held").await.unwrap(), 1);
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_name() {
    let (cars, books, _directory) = open(Service::Cars).await;
    let answer = act(&cars, "1", "hold", json!({"trip_id": "t", "city": "faro"})).await;
    assert_eq!(answer.code(), Some("NOTHING_FREE"));
    let answer = act(
        &cars,
        "2",
        "hold",
        json!({"trip_id": "t", "city": "atlantis"}),
    )
    .await;
    assert_eq!(answer.code(), Some("UNKNOWN_OFFER"));
    assert_eq!(books::count_holds(&books, "held").await.unwrap(), 0);
    let (payments, books, _directory) = open(Service::Payments).await;
    for (key, account) in [("3", "linus"), ("4", "nobody")] {
        let charge = json!({"account": account, "amount_minor": 1_001});
        let answer = act(&payments, key, "charge", charge).await;
        assert_eq!(answer.code(), Some("CARD_DECLINED"));
    }
    assert_eq!(books::balance_minor(&books, "linus").await.unwrap(), 1_000);
}
