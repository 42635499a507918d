//! The participant `abroad`: it calls a bank that others run, over three calls that such a bank has: order, find, recall, each by
//! a reference that its caller chooses. The bank is played here, with books of its own; no barrier stands before it.

use std::path::Path;
use std::time::Duration;

use amends_sdk::{Context, Fail, Participant};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// How slow the bank is.
#[derive(Debug, Clone, Default)]
pub struct AbroadOptions {
    /// How long an order is on its way to the bank's books.
    pub order_takes: Duration,
    /// How long its answer is on its way back.
    pub answer_takes: Duration,
}

/// The bank. A reference means one order for ever, whoever asks in whatever order.
#[derive(Debug, Clone)]
pub struct Bank {
    books: SqlitePool,
}

/// What the bank knows of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It takes the money to where it belongs.
    Ordered,
    /// It did, and does not any more.
    Recalled,
    /// Somebody asked about it before it came: it is not taken any more.
    Closed,
}

impl Bank {
    /// Opens the bank's books, and makes them where there are none.
    ///
    /// # Errors
    /// Where the file cannot be opened or written.
    pub async fn open(file: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(4);
        let books = pool.connect_with(options).await?;
        sqlx::query(TABLE).execute(&books).await?;
        Ok(Self { books })
    }

    /// Takes an order, once: the same reference again is the same order.
    ///
    /// # Errors
    /// Where the books cannot be written.
    pub async fn order(
        &self,
        reference: &str,
        to: &str,
        amount_minor: i64,
    ) -> Result<Standing, sqlx::Error> {
        self.note(reference, to, amount_minor, "ordered").await
    }

    /// What became of a reference. One that it does not know is closed: else "no" would not hold for the next moment.
    ///
    /// # Errors
    /// Where the books cannot be written.
    pub async fn find(&self, reference: &str) -> Result<Standing, sqlx::Error> {
        self.note(reference, "", 0, "closed").await
    }

    /// Takes an order back. One that did not come is closed: it must not be taken later.
    ///
    /// # Errors
    /// Where the books cannot be written.
    pub async fn recall(&self, reference: &str) -> Result<(), sqlx::Error> {
        let recall = "INSERT INTO orders (reference, account, amount_minor, state) VALUES ($1, '', 0, 'closed') \
                      ON CONFLICT (reference) DO UPDATE SET state = 'recalled' WHERE state = 'ordered'";
        sqlx::query(recall)
            .bind(reference)
            .execute(&self.books)
            .await?;
        Ok(())
    }

    /// What it was told to pay, in minor units.
    ///
    /// # Errors
    /// Where the books cannot be read.
    pub async fn ordered_minor(&self) -> Result<i64, sqlx::Error> {
        let sum = "SELECT COALESCE(SUM(amount_minor), 0) FROM orders WHERE state = 'ordered'";
        sqlx::query_scalar(sum).fetch_one(&self.books).await
    }

    async fn note(
        &self,
        reference: &str,
        to: &str,
        amount_minor: i64,
        state: &str,
    ) -> Result<Standing, sqlx::Error> {
        // Whoever comes first with a reference says what it is.
        let note = "INSERT INTO orders (reference, account, amount_minor, state) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (reference) DO UPDATE SET state = state RETURNING state";
        let state: String = sqlx::query_scalar(note)
            .bind(reference)
            .bind(to)
            .bind(amount_minor)
            .bind(state)
            .fetch_one(&self.books)
            .await?;
        Ok(match state.as_str() {
            "ordered" => Standing::Ordered,
            "recalled" => Standing::Recalled,
            _ => Standing::Closed,
        })
    }
}

#[derive(Deserialize)]
struct Payment {
    to: String,
    amount_minor: i64,
}

#[derive(Serialize)]
struct Ordered {
    reference: String,
}

/// The participant that calls this bank.
#[must_use]
pub fn abroad(bank: &Bank, options: &AbroadOptions) -> Participant {
    let (order_bank, find_bank, recall_bank) = (bank.clone(), bank.clone(), bank.clone());
    let options = options.clone();
    Participant::new("abroad")
        .action("order", move |context, payment| {
            order(order_bank.clone(), options.clone(), context, payment)
        })
        .query("find", move |context, _: IgnoredAny| {
            find(find_bank.clone(), context)
        })
        .action("recall", move |context, _: IgnoredAny| {
            recall(recall_bank.clone(), context)
        })
}

/// The operation's key is the reference: all attempts of an order share it, and so do those who ask about it and recall it.
async fn order(
    bank: Bank,
    options: AbroadOptions,
    context: Context,
    payment: Payment,
) -> Result<Ordered, Fail> {
    tokio::time::sleep(options.order_takes).await;
    let reference = context.operation_key().to_owned();
    let standing = bank.order(&reference, &payment.to, payment.amount_minor);
    let standing = standing.await?;
    tracing::info!(?standing, "asked the bank");
    tokio::time::sleep(options.answer_takes).await;
    match standing {
        Standing::Ordered => Ok(Ordered { reference }),
        Standing::Recalled | Standing::Closed => {
            Err(Fail::rejected("REFERENCE_CLOSED")
                .message("it was recalled, or asked about before"))
        }
    }
}

async fn find(bank: Bank, context: Context) -> Result<Option<Ordered>, Fail> {
    let reference = context
        .forward_operation_key()
        .unwrap_or_default()
        .to_owned();
    let standing = bank.find(&reference).await?;
    tracing::info!(?standing, "the bank says");
    Ok(match standing {
        Standing::Ordered | Standing::Recalled => Some(Ordered { reference }),
        Standing::Closed => None,
    })
}

async fn recall(bank: Bank, context: Context) -> Result<(), Fail> {
    let reference = context.forward_operation_key().unwrap_or_default();
    bank.recall(reference).await?;
    Ok(())
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS orders (reference TEXT PRIMARY KEY, account TEXT NOT NULL, \
                     amount_minor INTEGER NOT NULL, state TEXT NOT NULL)";
