//! The ledger's books: accounts, what is held of them, and the entries that moved money. Only their tables and their sums
//! are here; what the ledger does to them is in `ledger`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

/// What the accounts hold, in minor units, when the books are new.
pub const OPENING: [(&str, i64); 3] = [("alice", 5_000_000), ("bob", 100_000), ("carol", 0)];

/// Opens the books, and makes them where there are none.
///
/// # Errors
/// Where the file cannot be opened or written.
pub async fn open(file: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(10));
    let pool = SqlitePoolOptions::new().max_connections(4);
    let pool = pool.connect_with(options).await?;
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    for table in SCHEMA {
        sqlx::query(table).execute(&mut *transaction).await?;
    }
    for (account, balance_minor) in OPENING {
        sqlx::query("INSERT OR IGNORE INTO accounts (account, balance_minor) VALUES ($1, $2)")
            .bind(account)
            .bind(balance_minor)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(pool)
}

/// What the books say, in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What each account can spend.
    pub balances: BTreeMap<String, i64>,
    /// What is held and belongs to its account still.
    pub held: i64,
    /// What left an account and has not arrived at another.
    pub under_way: i64,
}

impl Statement {
    /// Money is neither made nor lost: this never changes.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.balances.values().sum::<i64>() + self.held + self.under_way
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (account, balance) in &self.balances {
            writeln!(f, "{account:<10} {balance:>12}")?;
        }
        writeln!(f, "{:<10} {:>12}", "held", self.held)?;
        writeln!(f, "{:<10} {:>12}", "under way", self.under_way)?;
        write!(f, "{:<10} {:>12}", "total", self.total())
    }
}

/// Sums the books up.
///
/// # Errors
/// Where they cannot be read.
pub async fn statement(books: &SqlitePool) -> Result<Statement, sqlx::Error> {
    // One transaction, so that no transfer comes between the sums.
    let mut snapshot = books.begin().await?;
    let balances = sqlx::query_as("SELECT account, balance_minor FROM accounts");
    let balances: Vec<(String, i64)> = balances.fetch_all(&mut *snapshot).await?;
    let held = "SELECT COALESCE(SUM(amount_minor), 0) FROM holds WHERE state = 'held'";
    let held = sqlx::query_scalar(held).fetch_one(&mut *snapshot).await?;
    // A debit is an entry below zero, a credit one above: what they lack to zero is neither here nor there.
    let under_way = "SELECT COALESCE(-SUM(amount_minor), 0) FROM entries";
    let under_way = sqlx::query_scalar(under_way)
        .fetch_one(&mut *snapshot)
        .await?;
    snapshot.commit().await?;
    Ok(Statement {
        balances: balances.into_iter().collect(),
        held,
        under_way,
    })
}

// No entry is unique: nothing but the barrier keeps one from being made twice, and a second one has to show in the sums.
const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS accounts (account TEXT PRIMARY KEY, \
     balance_minor INTEGER NOT NULL CHECK (balance_minor >= 0))",
    "CREATE TABLE IF NOT EXISTS holds (id TEXT NOT NULL, account TEXT NOT NULL, amount_minor INTEGER NOT NULL, \
     state TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS entries (id TEXT NOT NULL, account TEXT NOT NULL, amount_minor INTEGER NOT NULL)",
];
