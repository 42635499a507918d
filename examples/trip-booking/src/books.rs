//! The services' books: what is on offer and what is held of it, and what travellers can spend. Only their tables and what
//! they open with are here.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

use crate::Service;

/// Opens a service's books in a directory, and makes and fills them where there are none.
///
/// # Errors
/// Where the file cannot be opened or written.
pub async fn open(directory: &Path, service: Service) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(directory.join(format!("{service}.db")))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(10));
    let pool = SqlitePoolOptions::new().max_connections(4);
    let pool = pool.connect_with(options).await?;
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    for &table in tables(service) {
        sqlx::query(table).execute(&mut *transaction).await?;
    }
    for &(name, free, price_minor) in offers(service) {
        sqlx::query("INSERT OR IGNORE INTO offers (name, free, price_minor) VALUES ($1, $2, $3)")
            .bind(name)
            .bind(free)
            .bind(price_minor)
            .execute(&mut *transaction)
            .await?;
    }
    if service == Service::Payments {
        for (traveller, balance_minor) in TRAVELLERS {
            sqlx::query(
                "INSERT OR IGNORE INTO accounts (traveller, balance_minor) VALUES ($1, $2)",
            )
            .bind(traveller)
            .bind(balance_minor)
            .execute(&mut *transaction)
            .await?;
        }
    }
    transaction.commit().await?;
    Ok(pool)
}

/// How many holds there are in this state: `held`, `cancelled` or `confirmed`.
///
/// # Errors
/// Where the books cannot be read.
pub async fn count_holds(books: &SqlitePool, state: &str) -> Result<i64, sqlx::Error> {
    let count = sqlx::query_scalar("SELECT COUNT(*) FROM holds WHERE state = $1").bind(state);
    count.fetch_one(books).await
}

/// What a traveller can spend, in minor units.
///
/// # Errors
/// Where the books cannot be read, or do not know the traveller.
pub async fn balance_minor(books: &SqlitePool, traveller: &str) -> Result<i64, sqlx::Error> {
    let balance = sqlx::query_scalar("SELECT balance_minor FROM accounts WHERE traveller = $1");
    balance.bind(traveller).fetch_one(books).await
}

/// What new books offer: a name, how many, and the price in minor units.
fn offers(service: Service) -> &'static [(&'static str, i64, i64)] {
    match service {
        Service::Flights => &[("AM-101", 9, 18_900), ("AM-202", 2, 24_500)],
        Service::Hotels => &[("harbour-view", 5, 31_000), ("old-mill", 1, 12_000)],
        Service::Cars => &[
            ("lisbon", 4, 5_500),
            ("porto", 2, 4_800),
            ("faro", 0, 4_200),
        ],
        Service::Payments => &[],
    }
}

const TRAVELLERS: [(&str, i64); 2] = [("ada", 200_000), ("linus", 1_000)];

// Nothing but the barrier keeps a hold from being made twice: a unique key would hide a second one.
fn tables(service: Service) -> &'static [&'static str] {
    match service {
        Service::Flights | Service::Hotels | Service::Cars => &[
            "CREATE TABLE IF NOT EXISTS offers (name TEXT PRIMARY KEY, free INTEGER NOT NULL CHECK (free >= 0), \
             price_minor INTEGER NOT NULL, honoured INTEGER NOT NULL DEFAULT 1)",
            "CREATE TABLE IF NOT EXISTS holds (reference TEXT NOT NULL, trip_id TEXT NOT NULL, offer TEXT NOT NULL, \
             state TEXT NOT NULL)",
        ],
        Service::Payments => &[
            "CREATE TABLE IF NOT EXISTS accounts (traveller TEXT PRIMARY KEY, \
             balance_minor INTEGER NOT NULL CHECK (balance_minor >= 0))",
        ],
    }
}
