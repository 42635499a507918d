//! `examples/trip-booking`: trips are booked wholly or not at all, one after the other for each traveller.

use std::collections::BTreeMap;

use amends_example_trip_booking::{BOOK_TRIP, CONFIRM_BOOKINGS, Service, books, participant};
use amends_proto::v1::{self, SagaState, StepState};
use amends_sdk::StartOptions;
use amends_tests::server::Store;
use serde_json::{Value, json};
use sqlx::SqlitePool;

use crate::examples::{Attached, ends_as, forward, recorded, retry, step};
use crate::stage::Stage;

struct Agency {
    stage: Stage,
    books: BTreeMap<Service, SqlitePool>,
    attached: Vec<Attached>,
}

/// A trip that can be: a seat, a room and two cars are free, and `ada` can pay.
fn trip(id: &str) -> Value {
    json!({
        "trip_id": id,
        "traveller_id": "ada",
        "flight": {"trip_id": id, "name": "AM-101"},
        "hotel": {"trip_id": id, "name": "harbour-view"},
        "cars": [{"trip_id": id, "city": "lisbon"}, {"trip_id": id, "city": "porto"}],
    })
}

impl Agency {
    /// A server with the definitions, and books; nobody is attached yet.
    async fn closed() -> Self {
        let stage = Stage::open(Store::Sqlite).await;
        for definition in [CONFIRM_BOOKINGS, BOOK_TRIP] {
            stage.client.apply_definition(definition).await.unwrap();
        }
        let mut all = BTreeMap::new();
        for service in Service::ALL {
            let directory = stage.server.directory();
            all.insert(service, books::open(directory, service).await.unwrap());
        }
        Self {
            stage,
            books: all,
            attached: Vec::new(),
        }
    }

    async fn open() -> Self {
        let mut agency = Self::closed().await;
        agency.attach_all().await;
        agency
    }

    async fn attach_all(&mut self) {
        for (service, books) in &self.books {
            let participant = participant(*service, books.clone()).await.unwrap();
            self.attached.push(Attached::new(&self.stage, participant));
        }
    }

    async fn book(&self, trip: &Value) -> String {
        let options = StartOptions::keyed_by_definition();
        let started = self.stage.client.start("book-trip", trip, &options).await;
        started.unwrap().name
    }

    /// How many holds of each service are in this state.
    async fn holds(&self, state: &str) -> [i64; 3] {
        let mut counts = [0; 3];
        let services = [Service::Flights, Service::Hotels, Service::Cars];
        for (count, service) in counts.iter_mut().zip(services) {
            *count = books::count_holds(&self.books[&service], state)
                .await
                .unwrap();
        }
        counts
    }

    async fn balance(&self, traveller: &str) -> i64 {
        let books = &self.books[&Service::Payments];
        books::balance_minor(books, traveller).await.unwrap()
    }

    /// Whether the hotel keeps its word.
    async fn hotel_honours(&self, honours: bool) {
        sqlx::query("UPDATE offers SET honoured = $1 WHERE name = 'harbour-view'")
            .bind(honours)
            .execute(&self.books[&Service::Hotels])
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_held_paid_for_and_confirmed_by_its_child() {
    let agency = Agency::open().await;
    let before = agency.balance("ada").await;
    let name = agency.book(&trip("t1")).await;
    let saga = agency.stage.settled_as(&name, SagaState::Completed).await;
    assert_eq!(agency.holds("confirmed").await, [1, 1, 2]);
    assert_eq!(agency.holds("held").await, [0, 0, 0]);
    assert_eq!(before - agency.balance("ada").await, 18_900 + 31_000);
    // The output of the cars is a list in the order of the input.
    let cars = step(&saga, "cars");
    let keys: Vec<&str> = cars.items.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(keys, ["lisbon", "porto"]);
    let output = cars.forward.as_ref().unwrap().output.clone();
    let output: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(
        (&output[0]["price_minor"], &output[1]["price_minor"]),
        (&json!(5_500), &json!(4_800))
    );
    let child = agency.stage.client.get(&step(&saga, "confirm").child).await;
    let child = child.unwrap();
    assert_eq!(child.state(), SagaState::Completed);
    let output: Value = serde_json::from_slice(&child.output).unwrap();
    assert_eq!(output, json!({"confirmed": 4}));
    // The same trip again is the same saga.
    assert_eq!(agency.book(&trip("t1")).await, name);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_car_that_is_refused_undoes_everything_and_each_car_by_itself() {
    let agency = Agency::open().await;
    let mut wish = trip("t1");
    let faro = json!({"trip_id": "t1", "city": "faro"});
    wish["cars"].as_array_mut().unwrap().insert(1, faro);
    let name = agency.book(&wish).await;
    let saga = agency.stage.settled_as(&name, SagaState::Compensated).await;
    let abort = saga.abort.as_ref().unwrap();
    assert_eq!(
        (abort.step.as_str(), abort.code.as_str()),
        ("cars", "NOTHING_FREE")
    );
    assert_eq!(agency.holds("held").await, [0, 0, 0]);
    assert_eq!(agency.holds("cancelled").await, [1, 1, 2]);
    assert_eq!(agency.balance("ada").await, 200_000);
    // A car that was refused had no effect: there is nothing of it to undo.
    let undone = |item: &v1::Item| {
        let compensation = item.compensation.as_ref();
        compensation.is_some_and(|one| one.state() == StepState::Succeeded)
    };
    let undone: Vec<bool> = step(&saga, "cars").items.iter().map(undone).collect();
    assert_eq!(undone, [true, false, true], "{saga:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hotel_that_nobody_knows_and_a_card_that_is_declined_undo_the_trip() {
    let agency = Agency::open().await;
    let mut nowhere = trip("t1");
    nowhere["hotel"]["name"] = json!("nowhere");
    let mut poor = trip("t2");
    poor["traveller_id"] = json!("linus");
    for (wish, at, code) in [
        (nowhere, "hotel", "UNKNOWN_OFFER"),
        (poor, "charge", "CARD_DECLINED"),
    ] {
        let name = agency.book(&wish).await;
        let saga = agency.stage.settled_as(&name, SagaState::Compensated).await;
        let abort = saga.abort.unwrap();
        assert_eq!((abort.step.as_str(), abort.code.as_str()), (at, code));
        assert_eq!(agency.holds("held").await, [0, 0, 0]);
    }
    assert_eq!(agency.holds("confirmed").await, [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_without_cars_needs_none() {
    let agency = Agency::open().await;
    let mut wish = trip("t1");
    wish["cars"] = json!([]);
    let name = agency.book(&wish).await;
    agency.stage.settled_as(&name, SagaState::Completed).await;
    assert_eq!(agency.holds("confirmed").await, [1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_parks_is_mended_and_its_parent_goes_on() {
    let agency = Agency::open().await;
    agency.hotel_honours(false).await;
    let parent = agency.book(&trip("t1")).await;
    recorded(&agency.stage, &parent, "child_pinned", "confirm").await;
    let saga = agency.stage.client.get(&parent).await.unwrap();
    let child = step(&saga, "confirm").child.clone();
    // The child exists a moment after its parent has pinned it.
    let mut parked = agency
        .stage
        .client
        .wait(&child, crate::stage::PATIENCE)
        .await;
    while parked.is_err() {
        tokio::task::yield_now().await;
        parked = agency
            .stage
            .client
            .wait(&child, crate::stage::PATIENCE)
            .await;
    }
    let parked = parked.unwrap().saga.unwrap();
    assert_eq!(parked.state(), SagaState::Parked, "{parked:?}");
    assert_eq!(parked.incidents[0].reason, "STEP_REFUSED");
    assert_eq!(parked.incidents[0].step, "hotel");
    let saga = agency.stage.client.get(&parent).await.unwrap();
    assert_eq!(saga.state(), SagaState::Running, "{saga:?}");
    agency.hotel_honours(true).await;
    // The barrier keeps a rejection for good: only an input that is given anew, though it says the same, is asked anew.
    let again = Some(json!({"trip_id": "t1"}));
    retry(&agency.stage, &child, "hotel", again).await;
    ends_as(&agency.stage, &child, SagaState::Completed).await;
    ends_as(&agency.stage, &parent, SagaState::Completed).await;
    assert_eq!(agency.holds("confirmed").await, [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_cannot_be_is_refused_parks_the_paid_trip_and_is_tried_again() {
    let stage = Stage::open(Store::Sqlite).await;
    let mut agency = Agency {
        stage,
        books: BTreeMap::new(),
        attached: Vec::new(),
    };
    // Somebody forgot the child's definition.
    let applied = agency.stage.client.apply_definition(BOOK_TRIP).await;
    applied.unwrap();
    for service in Service::ALL {
        let books = books::open(agency.stage.server.directory(), service).await;
        agency.books.insert(service, books.unwrap());
    }
    agency.attach_all().await;
    let name = agency.book(&trip("t1")).await;
    let saga = agency.stage.settled_as(&name, SagaState::Parked).await;
    assert_eq!(saga.incidents[0].step, "confirm", "{saga:?}");
    assert_eq!(agency.holds("held").await, [1, 1, 2]);
    let applied = agency.stage.client.apply_definition(CONFIRM_BOOKINGS).await;
    applied.unwrap();
    retry(&agency.stage, &name, "confirm", None).await;
    ends_as(&agency.stage, &name, SagaState::Completed).await;
    assert_eq!(agency.holds("confirmed").await, [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_trips_of_one_traveller_run_one_after_the_other_over_a_crash() {
    let mut agency = Agency::closed().await;
    let first = agency.book(&trip("t1")).await;
    let second = agency.book(&trip("t2")).await;
    let mut other = trip("t3");
    other["traveller_id"] = json!("linus");
    let other = agency.book(&other).await;
    recorded(&agency.stage, &first, "scheduled", "hotel").await;
    // Another traveller's trip does not wait.
    recorded(&agency.stage, &other, "scheduled", "hotel").await;
    agency.stage.server.crash_and_restart();
    let waiting = agency.stage.client.get(&second).await.unwrap();
    assert_eq!(waiting.state(), SagaState::Running);
    assert_eq!(
        forward(&waiting, "flight"),
        StepState::Waiting,
        "{waiting:?}"
    );
    agency.attach_all().await;
    agency.stage.settled_as(&first, SagaState::Completed).await;
    agency.stage.settled_as(&second, SagaState::Completed).await;
    agency
        .stage
        .settled_as(&other, SagaState::Compensated)
        .await;
    // Both are in one shard, where positions tell what came first.
    let first = agency.stage.client.history(&first).await.unwrap();
    let second = agency.stage.client.history(&second).await.unwrap();
    let ended = first.last().unwrap();
    let granted = second.iter().find(|entry| entry.kind == "turn_granted");
    let granted = granted.unwrap();
    let begun = second
        .iter()
        .find(|entry| entry.kind == "scheduled")
        .unwrap();
    assert_eq!(ended.kind, "completed");
    assert!(granted.position >= ended.position, "{granted:?} {ended:?}");
    assert!(begun.position >= granted.position, "{begun:?} {granted:?}");
    assert_eq!(agency.holds("confirmed").await, [2, 2, 4]);
}
