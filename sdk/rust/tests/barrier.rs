//! The barrier on SQLite and on PostgreSQL, by the same cases: a shop that sells from its stock.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use amends_sdk::barrier::{Barrier, BarrierDatabase, Tx};
use amends_sdk::testing::{Call, Pair};
use amends_sdk::{Answer, Context, Fail, FailKind, Outcome, Participant, Verdict};
use amends_tests::postgres::Cluster;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::postgres::{PgPoolOptions, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqlitePoolOptions};

/// A participant with ten pieces in stock, and a way to count them.
struct Shop {
    participant: Participant,
    stock: Box<dyn Fn() -> Pin<Box<dyn Future<Output = i64> + Send>> + Send + Sync>,
    prune: Box<dyn Fn() -> Pin<Box<dyn Future<Output = u64> + Send>> + Send + Sync>,
    _directory: Option<tempfile::TempDir>,
}

/// What the handler does after it took the pieces.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sale {
    quantity: i64,
    #[serde(default)]
    then: String,
}

const TAKE: &str = "UPDATE stock SET on_hand = on_hand - $1";
const GIVE: &str = "UPDATE stock SET on_hand = on_hand + $1";
const COUNT: &str = "SELECT CAST(on_hand AS BIGINT) FROM stock";

async fn take_sqlite(context: Context, mut tx: Tx<Sqlite>, sale: Sale) -> Result<Value, Fail> {
    sqlx::query(TAKE)
        .bind(sale.quantity)
        .execute(&mut *tx)
        .await?;
    let left: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *tx).await?;
    afterwards(&context, tx, &sale, left)
}

async fn take_postgres(context: Context, mut tx: Tx<Postgres>, sale: Sale) -> Result<Value, Fail> {
    sqlx::query(TAKE)
        .bind(sale.quantity)
        .execute(&mut *tx)
        .await?;
    let left: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *tx).await?;
    afterwards(&context, tx, &sale, left)
}

async fn give_sqlite(context: Context, mut tx: Tx<Sqlite>, sale: Sale) -> Result<Value, Fail> {
    sqlx::query(GIVE)
        .bind(sale.quantity)
        .execute(&mut *tx)
        .await?;
    afterwards(&context, tx, &sale, 1)
}

async fn give_postgres(context: Context, mut tx: Tx<Postgres>, sale: Sale) -> Result<Value, Fail> {
    sqlx::query(GIVE)
        .bind(sale.quantity)
        .execute(&mut *tx)
        .await?;
    afterwards(&context, tx, &sale, 1)
}

fn afterwards<DB: BarrierDatabase>(
    context: &Context,
    tx: Tx<DB>,
    sale: &Sale,
    left: i64,
) -> Result<Value, Fail> {
    let first = context.attempt() == 1;
    match sale.then.as_str() {
        _ if left < 0 => Err(Fail::rejected("OUT_OF_STOCK").message("sold out")),
        "fail" if first => Err(Fail::failed("SHELF_STUCK")),
        "fatal" if first => Err(Fail::fatal("NO_SHELF").message("none was built")),
        "reject" if first => Err(Fail::rejected("NOT_TODAY")),
        "panic" if first => panic!("the shelf fell"),
        "huge" => Ok(json!("x".repeat(amends_sdk::limits::PAYLOAD_BYTES_MAX))),
        "keep" if first => {
            std::mem::forget(tx);
            Ok(Value::Null)
        }
        // Different at each run, so that a stored answer shows.
        _ => Ok(json!({"left": left, "receipt": uuid::Uuid::new_v4().to_string()})),
    }
}

async fn sqlite_shop() -> Shop {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.db");
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new()
        .connect_with(options)
        .await
        .unwrap();
    let barrier = Barrier::new(pool.clone());
    let both = tokio::join!(barrier.migrate(), barrier.migrate());
    both.0.and(both.1).unwrap();
    sqlx::query("CREATE TABLE stock (on_hand INTEGER)")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO stock VALUES (10)")
        .execute(&pool)
        .await
        .unwrap();
    let participant = Participant::new("shop")
        .serve("take", barrier.action(take_sqlite))
        .serve("give", barrier.compensation(give_sqlite));
    Shop {
        participant: with_courier(participant, &barrier),
        stock: Box::new(move || {
            let pool = pool.clone();
            Box::pin(async move { sqlx::query_scalar(COUNT).fetch_one(&pool).await.unwrap() })
        }),
        prune: prune(&barrier),
        _directory: Some(directory),
    }
}

async fn postgres_shop() -> Shop {
    postgres_shop_in(Cluster::shared()).await
}

async fn postgres_shop_in(cluster: &Cluster) -> Shop {
    let url = cluster.create_database().unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect(&url)
        .await
        .unwrap();
    let barrier = Barrier::new(pool.clone());
    let both = tokio::join!(barrier.migrate(), barrier.migrate());
    both.0.and(both.1).unwrap();
    sqlx::query("CREATE TABLE stock (on_hand BIGINT)")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO stock VALUES (10)")
        .execute(&pool)
        .await
        .unwrap();
    let participant = Participant::new("shop")
        .serve("take", barrier.action(take_postgres))
        .serve("give", barrier.compensation(give_postgres));
    Shop {
        participant: with_courier(participant, &barrier),
        stock: Box::new(move || {
            let pool = pool.clone();
            Box::pin(async move { sqlx::query_scalar(COUNT).fetch_one(&pool).await.unwrap() })
        }),
        prune: prune(&barrier),
        _directory: None,
    }
}

fn prune<DB: BarrierDatabase>(
    barrier: &Barrier<DB>,
) -> Box<dyn Fn() -> Pin<Box<dyn Future<Output = u64> + Send>> + Send + Sync> {
    let barrier = barrier.clone();
    Box::new(move || {
        let barrier = barrier.clone();
        Box::pin(async move { barrier.prune(Duration::ZERO).await.unwrap() })
    })
}

/// The second mode: the courier is outside of the database, and answers with how often it was called.
fn with_courier<DB: BarrierDatabase>(
    participant: Participant,
    barrier: &Barrier<DB>,
) -> Participant {
    let calls = Arc::new(AtomicU32::new(0));
    let recalls = calls.clone();
    participant
        .serve(
            "call",
            barrier.intent(move |context: Context, sale: Sale| {
                let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
                async move {
                    match sale.then.as_str() {
                        "fail" if context.attempt() == 1 => Err(Fail::failed("NO_ANSWER")),
                        "reject" => Err(Fail::rejected("NO_COURIER")),
                        _ => Ok(call),
                    }
                }
            }),
        )
        .serve(
            "recall",
            barrier.intent_compensation(move |context: Context, sale: Sale| {
                let call = recalls.fetch_add(1, Ordering::SeqCst) + 1;
                async move {
                    match sale.then.as_str() {
                        "fail" if context.attempt() == 1 => Err(Fail::failed("NO_ANSWER")),
                        _ => Ok(call),
                    }
                }
            }),
        )
}

async fn on_both(case: impl AsyncFn(&Shop)) {
    case(&sqlite_shop().await).await;
    case(&postgres_shop().await).await;
}

impl Shop {
    async fn stock(&self) -> i64 {
        (self.stock)().await
    }

    async fn run(&self, action: &str, call: Call, then: &str) -> Answer {
        let sale = Sale {
            quantity: 3,
            then: then.to_owned(),
        };
        call.input(&sale).run(&self.participant, action).await
    }
}

fn said(answer: &Answer) -> (&str, Verdict) {
    let outcome = match &answer.outcome {
        Outcome::Succeeded(_) => "succeeded",
        Outcome::NotSucceeded(fail) => fail.code(),
        Outcome::NothingToUndo => "nothing to undo",
        Outcome::Superseded => "superseded",
        Outcome::Absent => "absent",
    };
    (outcome, answer.verdict)
}

#[tokio::test]
async fn it_passes_the_checks_that_every_participant_owes() {
    on_both(async |shop| {
        let sale = Sale {
            quantity: 3,
            then: String::new(),
        };
        let pair = Pair::new(&shop.participant, "take", "give")
            .action_input(&sale)
            .compensation_input(&sale);
        pair.check_action_twice(async || shop.stock().await)
            .await
            .unwrap();
        pair.check_compensation_twice(async || shop.stock().await)
            .await
            .unwrap();
        pair.check_compensation_without_action(async || shop.stock().await)
            .await
            .unwrap();
        pair.check_late_action(async || shop.stock().await)
            .await
            .unwrap();
        assert_eq!(shop.stock().await, 10);
    })
    .await;
}

#[tokio::test]
async fn a_participant_without_a_barrier_does_not_pass_them() {
    let stock = Arc::new(AtomicU32::new(10));
    let (take, give) = (stock.clone(), stock.clone());
    let shop = Participant::new("shop")
        .action("take", move |_, _: Value| {
            take.fetch_sub(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .action("give", move |_, _: Value| {
            give.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        });
    let pair = Pair::new(&shop, "take", "give");
    let effect = async || stock.load(Ordering::SeqCst);
    let twice = pair.check_action_twice(effect).await.unwrap_err();
    assert!(twice.to_string().contains("changed the effect"), "{twice}");
    assert!(pair.check_compensation_twice(effect).await.is_err());
    assert!(
        pair.check_compensation_without_action(effect)
            .await
            .is_err()
    );
    assert!(pair.check_late_action(effect).await.is_err());
}

#[tokio::test]
async fn a_rejection_takes_the_effect_back_and_is_final() {
    on_both(async |shop| {
        let first = shop.run("take", Call::forward("a"), "reject").await;
        assert_eq!(said(&first), ("NOT_TODAY", Verdict::First));
        assert_eq!(shop.stock().await, 10);
        let later = shop
            .run("take", Call::forward("a").attempt(2), "reject")
            .await;
        assert_eq!(said(&later), ("NOT_TODAY", Verdict::Duplicate));
        assert_eq!(later.outcome, first.outcome);
        let undo = shop.run("give", Call::compensate("b", "a"), "").await;
        assert_eq!(said(&undo), ("nothing to undo", Verdict::NothingToUndo));
        assert_eq!(shop.stock().await, 10);
    })
    .await;
}

#[tokio::test]
async fn a_failure_and_a_panic_record_nothing() {
    on_both(async |shop| {
        for (key, then, code) in [("a", "fail", "SHELF_STUCK"), ("b", "panic", "PANIC")] {
            let first = shop.run("take", Call::forward(key), then).await;
            assert_eq!(said(&first), (code, Verdict::None));
            assert_eq!(shop.stock().await, 10);
            let second = shop.run("take", Call::forward(key).attempt(2), then).await;
            assert_eq!(said(&second), ("succeeded", Verdict::First));
            assert_eq!(shop.stock().await, 7);
            let undo = shop
                .run("give", Call::compensate(format!("{key}c"), key), then)
                .await;
            assert_eq!(said(&undo), (code, Verdict::None));
            let undo = shop
                .run(
                    "give",
                    Call::compensate(format!("{key}c"), key).attempt(2),
                    then,
                )
                .await;
            assert_eq!(said(&undo), ("succeeded", Verdict::First));
            assert_eq!(shop.stock().await, 10);
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_fatal_runs_again_in_a_later_attempt_alone() {
    on_both(async |shop| {
        let first = shop.run("take", Call::forward("a"), "fatal").await;
        assert_eq!(said(&first), ("NO_SHELF", Verdict::First));
        let again = shop.run("take", Call::forward("a"), "fatal").await;
        assert_eq!(said(&again), ("NO_SHELF", Verdict::Duplicate));
        assert_eq!(again.outcome, first.outcome);
        let later = shop
            .run("take", Call::forward("a").attempt(2), "fatal")
            .await;
        assert_eq!(said(&later), ("succeeded", Verdict::First));

        shop.run("take", Call::forward("b"), "fatal").await;
        let undo = shop.run("give", Call::compensate("bc", "b"), "").await;
        assert_eq!(said(&undo), ("nothing to undo", Verdict::NothingToUndo));
        let later = shop.run("take", Call::forward("b").attempt(2), "").await;
        assert_eq!(said(&later), ("superseded", Verdict::Superseded));
        assert_eq!(shop.stock().await, 7);
    })
    .await;
}

#[tokio::test]
async fn a_compensation_that_was_refused_runs_again_in_a_later_attempt() {
    on_both(async |shop| {
        shop.run("take", Call::forward("a"), "").await;
        let refused = shop.run("give", Call::compensate("c", "a"), "reject").await;
        assert_eq!(said(&refused), ("NOT_TODAY", Verdict::First));
        assert_eq!(shop.stock().await, 7);
        let again = shop.run("give", Call::compensate("c", "a"), "reject").await;
        assert_eq!(said(&again), ("NOT_TODAY", Verdict::Duplicate));
        let later = shop
            .run("give", Call::compensate("c", "a").attempt(2), "reject")
            .await;
        assert_eq!(said(&later), ("succeeded", Verdict::First));
        assert_eq!(shop.stock().await, 10);
    })
    .await;
}

#[tokio::test]
async fn an_input_that_does_not_parse_and_an_output_too_large_are_fatal_without_effect() {
    on_both(async |shop| {
        let call = Call::forward("a").input(&json!({"quantity": "many"}));
        let unread = call.run(&shop.participant, "take").await;
        assert_eq!(said(&unread), ("INPUT_INVALID", Verdict::First));
        let huge = shop.run("take", Call::forward("b"), "huge").await;
        assert_eq!(said(&huge), ("OUTPUT_TOO_LARGE", Verdict::First));
        assert!(matches!(&huge.outcome, Outcome::NotSucceeded(f) if f.kind() == FailKind::Fatal));
        assert_eq!(shop.stock().await, 10);
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_keeps_its_transaction_has_no_effect() {
    let shop = postgres_shop().await;
    let kept = shop.run("take", Call::forward("a"), "keep").await;
    assert_eq!(said(&kept), ("TRANSACTION_KEPT", Verdict::None));
    assert_eq!(shop.stock().await, 10);
}

#[tokio::test]
async fn an_action_does_not_compensate_and_a_compensation_needs_its_action() {
    on_both(async |shop| {
        let cases = [
            ("take", Call::compensate("a", "f")),
            ("give", Call::forward("b")),
            ("give", Call::compensate("c", "")),
            ("call", Call::compensate("d", "f")),
            ("recall", Call::forward("e")),
        ];
        for (action, call) in cases {
            let answer = shop.run(action, call, "").await;
            assert_eq!(said(&answer), ("WRONG_OPERATION", Verdict::None));
        }
        assert_eq!(shop.stock().await, 10);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_duplicates_have_one_effect_and_one_answer() {
    on_both(async |shop| {
        let calls = (0..16).map(|_| shop.run("take", Call::forward("a"), ""));
        let answers = futures_util::future::join_all(calls).await;
        let first = answers
            .iter()
            .filter(|a| a.verdict == Verdict::First)
            .count();
        assert_eq!(first, 1);
        for answer in &answers {
            assert_eq!(answer.outcome, answers[0].outcome);
        }
        assert_eq!(shop.stock().await, 7);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_racing_its_compensation_never_leaves_an_effect() {
    on_both(async |shop| {
        let races = (0..40).map(async |n| {
            let (key, undo) = (format!("{n}"), format!("{n}c"));
            let act = async || shop.run("take", Call::forward(&key), "").await;
            let undo = async || shop.run("give", Call::compensate(&undo, &key), "").await;
            let (one, two, first, second) = tokio::join!(act(), act(), undo(), undo());
            assert_eq!(first.outcome, second.outcome, "{one:?} {two:?}");
            let undone = matches!(first.outcome, Outcome::Succeeded(_));
            let acted = [&one, &two].iter().any(|a| a.verdict == Verdict::First);
            let refused = [&one, &two]
                .iter()
                .any(|a| a.code() == Some("OUT_OF_STOCK"));
            assert_eq!(undone, acted && !refused, "{one:?} {two:?} {first:?}");
        });
        futures_util::future::join_all(races).await;
        assert_eq!(shop.stock().await, 10);
    })
    .await;
}

/// The case `dtm/barrier-disorder`: a try hangs, its cancel comes twice at once, then the try arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_try_after_two_cancels_at_once_has_no_effect() {
    on_both(async |shop| {
        let cancel = async |attempt| {
            let call = Call::compensate("cancel", "try").attempt(attempt);
            shop.run("give", call, "").await
        };
        let (first, second) = tokio::join!(cancel(1), cancel(2));
        assert_eq!(first.outcome, Outcome::NothingToUndo);
        assert_eq!(second.outcome, Outcome::NothingToUndo);
        let late = shop.run("take", Call::forward("try"), "").await;
        assert_eq!(said(&late), ("superseded", Verdict::Superseded));
        assert_eq!(shop.stock().await, 10);
    })
    .await;
}

#[tokio::test]
async fn an_intent_is_performed_again_until_its_outcome_is_recorded() {
    on_both(async |shop| {
        let first = shop.run("call", Call::forward("a"), "fail").await;
        assert_eq!(said(&first), ("NO_ANSWER", Verdict::None));
        let second = shop
            .run("call", Call::forward("a").attempt(2), "fail")
            .await;
        assert_eq!(
            second,
            Answer::new(Outcome::Succeeded("2".into()), Verdict::First)
        );
        let third = shop
            .run("call", Call::forward("a").attempt(3), "fail")
            .await;
        assert_eq!(
            third,
            Answer::new(Outcome::Succeeded("2".into()), Verdict::Duplicate)
        );
    })
    .await;
}

#[tokio::test]
async fn an_intent_is_always_compensated_and_closed_after() {
    on_both(async |shop| {
        for (key, then) in [("a", ""), ("b", "fail"), ("c", "reject")] {
            shop.run("call", Call::forward(key), then).await;
            let undo = || Call::compensate(format!("{key}c"), key);
            let failed = shop.run("recall", undo(), "fail").await;
            assert_eq!(said(&failed), ("NO_ANSWER", Verdict::None));
            let late = shop.run("call", Call::forward(key).attempt(2), "").await;
            assert_eq!(said(&late), ("superseded", Verdict::Superseded));
            let done = shop.run("recall", undo().attempt(2), "fail").await;
            assert_eq!(said(&done), ("succeeded", Verdict::First));
            let again = shop.run("recall", undo(), "").await;
            assert_eq!(said(&again), ("succeeded", Verdict::Duplicate));
            assert_eq!(again.outcome, done.outcome);
        }
        let nothing = shop.run("recall", Call::compensate("dc", "d"), "").await;
        assert_eq!(said(&nothing), ("nothing to undo", Verdict::NothingToUndo));
        let late = shop.run("call", Call::forward("d"), "").await;
        assert_eq!(said(&late), ("superseded", Verdict::Superseded));
    })
    .await;
}

#[tokio::test]
async fn pruned_rows_are_gone_and_others_stay() {
    on_both(async |shop| {
        shop.run("take", Call::forward("a"), "").await;
        assert_eq!((shop.prune)().await, 1);
        assert_eq!((shop.prune)().await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_crashes_is_an_attempt_that_failed_and_what_was_recorded_stays() {
    let cluster = Cluster::start().unwrap();
    let shop = postgres_shop_in(&cluster).await;
    let first = shop.run("take", Call::forward("a"), "").await;
    cluster.crash_and_restart().unwrap();
    let mut attempt = 1;
    let again = loop {
        attempt += 1;
        let again = shop
            .run("take", Call::forward("a").attempt(attempt), "")
            .await;
        if again.code() != Some("BARRIER_UNAVAILABLE") {
            break again;
        }
        assert!(attempt < 20, "{again:?}");
    };
    assert_eq!(again, Answer::new(first.outcome, Verdict::Duplicate));
    assert_eq!(shop.stock().await, 7);
}
