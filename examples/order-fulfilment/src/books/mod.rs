//! The services' databases: SQLite files or PostgreSQL, by the same statements. Each service has books of its own and
//! reads no other's; only the audit looks into all of them.

mod postgres;
mod sqlite;

use std::future::Future;
use std::path::Path;

use amends_sdk::barrier::BarrierDatabase;
use sqlx::{Pool, Postgres, Sqlite, Transaction};

use crate::order::{Opening, opening_for};
use crate::services::ParticipantKind;

/// A database that books can be kept in. The statements are written once, with `$1` for the first argument, which both
/// databases understand.
pub trait Database: BarrierDatabase {
    /// Opens the database at a URL.
    ///
    /// # Errors
    /// Where it cannot be opened.
    fn open(url: &str) -> impl Future<Output = Result<Pool<Self>, sqlx::Error>> + Send;

    /// Begins a transaction that may make tables; two processes do not do so at once.
    ///
    /// # Errors
    /// Whatever the database says.
    fn begin_schema(
        pool: &Pool<Self>,
    ) -> impl Future<Output = Result<Transaction<'static, Self>, sqlx::Error>> + Send;

    /// Runs a statement, and returns how many rows it touched.
    ///
    /// # Errors
    /// Whatever the database says.
    fn run(
        connection: &mut Self::Connection,
        statement: &'static str,
        arguments: &[Value],
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    /// Runs a query, and returns its rows.
    ///
    /// # Errors
    /// Whatever the database says.
    fn rows(
        connection: &mut Self::Connection,
        query: &'static str,
        arguments: &[Value],
    ) -> impl Future<Output = Result<Vec<Record>, sqlx::Error>> + Send;
}

/// An argument or a column: these books hold texts and whole numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number: pieces, or money in minor units.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// One row of a query's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record(Vec<Value>);

impl Record {
    /// A column that the query says is a text; empty where it is none.
    #[must_use]
    pub fn text(&self, column: usize) -> &str {
        match self.0.get(column) {
            Some(Value::Text(text)) => text,
            Some(Value::Number(_)) | None => "",
        }
    }

    /// A column that the query says is a number; 0 where it is none.
    #[must_use]
    pub fn number(&self, column: usize) -> i64 {
        match self.0.get(column) {
            Some(Value::Number(number)) => *number,
            Some(Value::Text(_)) | None => 0,
        }
    }
}

/// Where the four services keep their books.
#[derive(Debug, Clone)]
pub struct BooksUrls {
    /// Stock and reservations.
    pub inventory: String,
    /// Accounts, authorizations and captures.
    pub payments: String,
    /// Shipments.
    pub shipping: String,
    /// Sent mails.
    pub mail: String,
}

impl BooksUrls {
    /// One SQLite file for each service in a directory.
    #[must_use]
    pub fn sqlite_in(directory: &Path) -> Self {
        let url = |name: &str| format!("sqlite:{}", directory.join(name).display());
        Self {
            inventory: url("inventory.db"),
            payments: url("payments.db"),
            shipping: url("shipping.db"),
            mail: url("mail.db"),
        }
    }

    /// The books of one service.
    #[must_use]
    pub fn of(&self, kind: ParticipantKind) -> &str {
        match kind {
            ParticipantKind::Inventory => &self.inventory,
            ParticipantKind::Payments => &self.payments,
            ParticipantKind::Shipping => &self.shipping,
            ParticipantKind::Mail => &self.mail,
        }
    }

    /// One database for all four: their tables do not meet, and they share the barrier's.
    #[must_use]
    pub fn all_in(url: &str) -> Self {
        Self {
            inventory: url.to_owned(),
            payments: url.to_owned(),
            shipping: url.to_owned(),
            mail: url.to_owned(),
        }
    }
}

/// Books of either kind, open.
pub(crate) enum AnyBooks {
    Sqlite(Pool<Sqlite>),
    Postgres(Pool<Postgres>),
}

impl AnyBooks {
    pub(crate) async fn open(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("sqlite:") {
            Ok(Self::Sqlite(Sqlite::open(url).await?))
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Ok(Self::Postgres(Postgres::open(url).await?))
        } else {
            anyhow::bail!("`{url}` names no database: expected sqlite:FILE or postgres://…")
        }
    }
}

/// Makes the tables of all four services, and fills stock and accounts where they are empty, for so many orders of this
/// seed: some articles will run out, some cards will be declined. A service does the same for its own when it starts.
///
/// # Errors
/// Where a database cannot be opened or written.
pub async fn seed_books(urls: &BooksUrls, seed: u64, orders: usize) -> anyhow::Result<()> {
    let opening = opening_for(seed, orders);
    for kind in ParticipantKind::ALL {
        match AnyBooks::open(urls.of(kind)).await? {
            AnyBooks::Sqlite(pool) => prepare(&pool, kind, &opening).await?,
            AnyBooks::Postgres(pool) => prepare(&pool, kind, &opening).await?,
        }
    }
    Ok(())
}

/// Makes the tables of one service where they are missing, and opens its books where they are empty.
pub(crate) async fn prepare<DB: Database>(
    pool: &Pool<DB>,
    kind: ParticipantKind,
    opening: &Opening,
) -> Result<(), sqlx::Error> {
    let mut transaction = DB::begin_schema(pool).await?;
    for statement in kind.schema() {
        DB::run(&mut transaction, statement, &[]).await?;
    }
    let (is_open, insert, entries) = match kind {
        ParticipantKind::Inventory => (
            "SELECT sku FROM stock LIMIT 1",
            "INSERT INTO stock (sku, on_hand, reserved) VALUES ($1, $2, 0)",
            &opening.stock,
        ),
        ParticipantKind::Payments => (
            "SELECT customer FROM accounts LIMIT 1",
            "INSERT INTO accounts (customer, balance_minor) VALUES ($1, $2)",
            &opening.balances_minor,
        ),
        ParticipantKind::Shipping | ParticipantKind::Mail => return transaction.commit().await,
    };
    if DB::rows(&mut transaction, is_open, &[]).await?.is_empty() {
        for (name, amount) in entries {
            DB::run(&mut transaction, insert, &[name.into(), (*amount).into()]).await?;
        }
    }
    transaction.commit().await
}
