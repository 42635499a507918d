//! The participant `ledger`. A hold takes an amount off an account and keeps it; releasing it gives it back; a debit makes
//! it leave for good; a credit makes it arrive. Each is one transaction of the books, lent by the barrier, so that a
//! command that is delivered twice has its effect once.

use std::time::Duration;

use amends_sdk::barrier::{Barrier, Tx};
use amends_sdk::{Context, Fail, Participant};
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, SqlitePool};

/// How the ledger runs.
#[derive(Debug, Clone, Default)]
pub struct LedgerOptions {
    /// How long a debit takes: another bank is asked. Meanwhile the SDK's heartbeats say that somebody is at it.
    pub debit_takes: Duration,
}

#[derive(Deserialize)]
struct Amount {
    account: String,
    amount_minor: i64,
}

#[derive(Deserialize)]
struct Debit {
    hold: String,
}

/// What each action answers: the name of what it wrote.
#[derive(Serialize)]
struct Written {
    id: String,
}

/// The ledger over these books.
///
/// # Errors
/// Where the barrier's table cannot be made.
pub async fn participant(
    books: SqlitePool,
    options: &LedgerOptions,
) -> Result<Participant, sqlx::Error> {
    let barrier = Barrier::new(books);
    barrier.migrate().await?;
    let debit_takes = options.debit_takes;
    // Outside of the transaction: a slow bank must not keep the books locked.
    let debit = barrier.action(debit).before(move |context| async move {
        tracing::info!(attempt = context.attempt(), "asking the other bank");
        tokio::time::sleep(debit_takes).await;
        Ok(())
    });
    Ok(Participant::new("ledger")
        .serve("hold", barrier.action(hold))
        .serve("release_hold", barrier.compensation(release_hold))
        .serve("debit", debit)
        .serve("credit", barrier.action(credit)))
}

async fn hold(context: Context, mut tx: Tx<Sqlite>, wish: Amount) -> Result<Written, Fail> {
    let take = "UPDATE accounts SET balance_minor = balance_minor - $2 WHERE account = $1 AND balance_minor >= $2";
    let take = sqlx::query(take)
        .bind(&wish.account)
        .bind(wish.amount_minor);
    if take.execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(refusal(&mut tx, &wish).await?);
    }
    // Named after its operation: a compensation is told that name, even when nobody knows what the action answered.
    let id = context.operation_key().to_owned();
    sqlx::query("INSERT INTO holds (id, account, amount_minor, state) VALUES ($1, $2, $3, 'held')")
        .bind(&id)
        .bind(&wish.account)
        .bind(wish.amount_minor)
        .execute(&mut *tx)
        .await?;
    Ok(Written { id })
}

/// Why nothing could be held. An `Err` of a query is no refusal: `?` makes it a failure, which is tried again.
async fn refusal(tx: &mut Tx<Sqlite>, wish: &Amount) -> Result<Fail, Fail> {
    let known = sqlx::query("SELECT 1 FROM accounts WHERE account = $1").bind(&wish.account);
    Ok(match known.fetch_optional(&mut **tx).await? {
        Some(_) => Fail::rejected("INSUFFICIENT_FUNDS").message(format!(
            "{} does not have {}",
            wish.account, wish.amount_minor
        )),
        None => unknown_account(&wish.account),
    })
}

async fn release_hold(
    context: Context,
    mut tx: Tx<Sqlite>,
    _: serde::de::IgnoredAny,
) -> Result<(), Fail> {
    let release = "UPDATE holds SET state = 'released' WHERE id = $1 AND state = 'held' RETURNING account, amount_minor";
    let held: Vec<(String, i64)> = sqlx::query_as(release)
        .bind(context.forward_operation_key())
        .fetch_all(&mut *tx)
        .await?;
    for (account, amount_minor) in held {
        sqlx::query("UPDATE accounts SET balance_minor = balance_minor + $2 WHERE account = $1")
            .bind(account)
            .bind(amount_minor)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

async fn debit(context: Context, mut tx: Tx<Sqlite>, debit: Debit) -> Result<Written, Fail> {
    let take = "UPDATE holds SET state = 'debited' WHERE id = $1 AND state = 'held' RETURNING account, amount_minor";
    let held: Option<(String, i64)> = sqlx::query_as(take)
        .bind(&debit.hold)
        .fetch_optional(&mut *tx)
        .await?;
    let Some((account, amount_minor)) = held else {
        return Err(Fail::rejected("NOT_HELD").message("there is no such hold"));
    };
    enter(&context, &mut tx, &account, -amount_minor).await
}

async fn credit(context: Context, mut tx: Tx<Sqlite>, gift: Amount) -> Result<Written, Fail> {
    let give = "UPDATE accounts SET balance_minor = balance_minor + $2 WHERE account = $1";
    let give = sqlx::query(give)
        .bind(&gift.account)
        .bind(gift.amount_minor);
    if give.execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(unknown_account(&gift.account));
    }
    enter(&context, &mut tx, &gift.account, gift.amount_minor).await
}

async fn enter(
    context: &Context,
    tx: &mut Tx<Sqlite>,
    account: &str,
    amount_minor: i64,
) -> Result<Written, Fail> {
    let id = context.operation_key().to_owned();
    sqlx::query("INSERT INTO entries (id, account, amount_minor) VALUES ($1, $2, $3)")
        .bind(&id)
        .bind(account)
        .bind(amount_minor)
        .execute(&mut **tx)
        .await?;
    Ok(Written { id })
}

fn unknown_account(account: &str) -> Fail {
    Fail::rejected("UNKNOWN_ACCOUNT").message(format!("there is no account {account}"))
}
