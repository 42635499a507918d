//! The four services on both databases: the checks that every participant owes, then a whole day of orders, driven by
//! the test in place of an engine with every command delivered twice, and the audit after it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use amends_example_order_fulfilment::audit::{self, Ending};
use amends_example_order_fulfilment::books::{Database, seed_books};
use amends_example_order_fulfilment::services::participant;
use amends_example_order_fulfilment::{
    BooksUrls, Chaos, Order, ParticipantKind, ParticipantOptions, generate_orders,
};
use amends_sdk::testing::{Call, Pair};
use amends_sdk::{Answer, Outcome, Participant, Verdict};
use amends_tests::postgres::Cluster;
use serde_json::{Value, json};
use sqlx::{Postgres, Sqlite};

const SEED: u64 = 3;
const ORDERS: usize = 60;

struct Shop {
    urls: BooksUrls,
    services: BTreeMap<ParticipantKind, Participant>,
    _directory: Option<tempfile::TempDir>,
}

async fn sqlite_shop() -> Shop {
    let directory = tempfile::tempdir().unwrap();
    let urls = BooksUrls::sqlite_in(directory.path());
    let services = open::<Sqlite>(&urls).await;
    Shop {
        urls,
        services,
        _directory: Some(directory),
    }
}

async fn postgres_shop() -> Shop {
    let urls = BooksUrls::all_in(&Cluster::shared().create_database().unwrap());
    let services = open::<Postgres>(&urls).await;
    Shop {
        urls,
        services,
        _directory: None,
    }
}

async fn open<DB: Database>(urls: &BooksUrls) -> BTreeMap<ParticipantKind, Participant> {
    seed_books(urls, SEED, ORDERS).await.unwrap();
    // Books that are open are left as they are.
    seed_books(urls, SEED + 1, ORDERS).await.unwrap();
    let options = ParticipantOptions {
        seed: SEED,
        chaos: Chaos {
            fail_percent: 20,
            ..Chaos::default()
        },
        ..ParticipantOptions::default()
    };
    let mut services = BTreeMap::new();
    for kind in ParticipantKind::ALL {
        let pool = DB::open(urls.of(kind)).await.unwrap();
        services.insert(kind, participant(kind, &options, pool).await.unwrap());
    }
    services
}

impl Shop {
    /// Delivers a command twice, as often as it fails, and returns the answer that both came to.
    async fn deliver(&self, kind: ParticipantKind, action: &str, call: Call) -> Answer {
        for attempt in 1..4 {
            let call = call.clone().attempt(attempt);
            let service = &self.services[&kind];
            let first = call.run(service, action).await;
            let second = call.run(service, action).await;
            assert_eq!(first.outcome, second.outcome);
            let failed = first.code() == Some("CARRIER_UNREACHABLE");
            if !failed {
                return first;
            }
        }
        panic!("{action} goes on failing");
    }

    async fn act(
        &self,
        order: &Order,
        kind: ParticipantKind,
        action: &str,
        input: &Value,
    ) -> Answer {
        let call = Call::forward(format!("{}/{action}", order.order_id)).input(input);
        self.deliver(kind, action, call).await
    }

    async fn undo(&self, order: &Order, kind: ParticipantKind, undo: &str, action: &str) -> Answer {
        let id = &order.order_id;
        let call = Call::compensate(format!("{id}/{undo}"), format!("{id}/{action}"));
        self.deliver(kind, undo, call.input(&json!({"order_id": id})))
            .await
    }

    /// What the definition says, by hand.
    async fn place(&self, order: &Order) -> Ending {
        use ParticipantKind::{Inventory, Mail, Payments, Shipping};
        let id = &order.order_id;
        let reserve = json!({"order_id": id, "items": order.items});
        let authorize =
            json!({"order_id": id, "customer": order.customer, "amount_minor": order.total_minor});
        let of_order = json!({"order_id": id, "address": order.address});
        let reserved = self.act(order, Inventory, "reserve", &reserve).await;
        let authorized = self.act(order, Payments, "authorize", &authorize).await;
        let done = succeeded(&reserved) && succeeded(&authorized);
        let done = done && succeeded(&self.act(order, Payments, "capture", &of_order).await);
        if !done {
            // Compensations arrive whether their action had an effect or not.
            let void = self.undo(order, Payments, "void", "authorize").await;
            assert_eq!(succeeded(&void), succeeded(&authorized));
            let release = self.undo(order, Inventory, "release", "reserve").await;
            assert_eq!(succeeded(&release), succeeded(&reserved));
            return Ending::Compensated;
        }
        assert!(succeeded(
            &self.act(order, Shipping, "create", &of_order).await
        ));
        if let Some(email) = &order.email {
            let mail = json!({"order_id": id, "recipient": email, "text": "on its way"});
            assert!(succeeded(&self.act(order, Mail, "send", &mail).await));
        }
        Ending::Completed
    }
}

fn succeeded(answer: &Answer) -> bool {
    matches!(answer.outcome, Outcome::Succeeded(_))
}

async fn a_day(shop: &Shop) {
    let before = audit::books(&shop.urls).await.unwrap();
    let orders = generate_orders(SEED, ORDERS);
    let endings = orders
        .iter()
        .map(async |order| (order.order_id.clone(), shop.place(order).await));
    let endings: BTreeMap<_, _> = futures_util::future::join_all(endings)
        .await
        .into_iter()
        .collect();
    let after = audit::books(&shop.urls).await.unwrap();
    let report = audit::reconcile(&before, &after, &orders, &endings);
    assert!(report.holds(), "{report}");
    assert!(report.completed > ORDERS / 2, "{report}");
    assert!(report.compensated > 3, "{report}");
    assert_eq!(report.completed + report.compensated, ORDERS);
}

async fn checks(shop: &Shop) {
    use ParticipantKind::{Inventory, Payments};
    let of_order = json!({"order_id": "checked"});
    // Rows that say "released" and "voided" stay; what counts is what is held.
    let held = async || {
        let books = audit::books(&shop.urls).await.unwrap();
        let traces = books.orders.get("checked").cloned().unwrap_or_default();
        (
            books.stock,
            books.balances_minor,
            traces.held,
            traces.authorized_minor,
        )
    };
    let pairs = [
        Pair::new(&shop.services[&Inventory], "reserve", "release").action_input(&json!({
            "order_id": "checked",
            "items": [{"sku": "tea-assam-250g", "quantity": 1, "unit_price_minor": 890}],
        })),
        Pair::new(&shop.services[&Payments], "authorize", "void").action_input(&json!({
            "order_id": "checked", "customer": "newcomer", "amount_minor": 890,
        })),
    ];
    for pair in pairs {
        let pair = pair.compensation_input(&of_order);
        pair.check_action_twice(held).await.unwrap();
        pair.check_compensation_twice(held).await.unwrap();
        pair.check_compensation_without_action(held).await.unwrap();
        pair.check_late_action(held).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_orders_ends_wholly_or_not_at_all_on_sqlite() {
    a_day(&sqlite_shop().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_orders_ends_wholly_or_not_at_all_on_postgres() {
    a_day(&postgres_shop().await).await;
}

#[tokio::test]
async fn stock_and_cards_pass_the_checks_that_every_participant_owes() {
    checks(&sqlite_shop().await).await;
    checks(&postgres_shop().await).await;
}

#[tokio::test]
async fn a_process_dies_after_the_parcel_is_booked_and_its_successor_answers_from_the_record() {
    let directory = tempfile::tempdir().unwrap();
    let urls = BooksUrls::sqlite_in(directory.path());
    seed_books(&urls, SEED, ORDERS).await.unwrap();
    let chaos = Chaos {
        die_after_commit_percent: 100,
        die: || panic!("the process dies"),
        ..Chaos::default()
    };
    let options = ParticipantOptions {
        chaos,
        ..ParticipantOptions::default()
    };
    let pool = Sqlite::open(&urls.shipping).await.unwrap();
    let shipping = participant(ParticipantKind::Shipping, &options, pool)
        .await
        .unwrap();
    let call = Call::forward("k").input(&json!({"order_id": "o", "address": "1 Mill Lane"}));
    let died = call.run(&shipping, "create").await;
    assert_eq!(died.code(), Some("PANIC"));
    let again = call.attempt(2).run(&shipping, "create").await;
    assert_eq!(again.verdict, Verdict::Duplicate);
    assert!(succeeded(&again));
    let books = audit::books(&urls).await.unwrap();
    assert_eq!(books.orders["o"].shipments, ["TRK-o"]);
}

#[tokio::test]
async fn a_database_that_is_none_is_an_error_that_says_what_one_is() {
    let urls = BooksUrls::all_in("mysql://localhost/books");
    let error = seed_books(&urls, SEED, ORDERS).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("expected sqlite:FILE or postgres://"),
        "{error}"
    );
    let nowhere = BooksUrls::sqlite_in(&PathBuf::from("/nowhere/at/all"));
    assert!(seed_books(&nowhere, SEED, ORDERS).await.is_err());
}
