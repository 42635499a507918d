//! The store on an embedded SQLite file: for a laptop, a demo, a test, and a service that has no PostgreSQL at hand.
//! Write-ahead log and `synchronous=FULL`: what was answered survives a power cut.
//!
//! Two processes on one file fence each other as two nodes on one PostgreSQL do, by the journal's primary key.
//! An outcome of a batch is definite unless the disk fails in the midst of a COMMIT, or the writing thread ends.
//! Deliberately not here: what is shared with the other stores (`amends-store`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amends_core::limits::SHARDS_MAX;
use amends_core::{Incarnation, SagaId, Time};
use amends_store::{Error, Identity, Lane, Store};
use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::lane::SqliteLane;
use crate::rows::{get, unavailable};
use crate::thread::Thread;
use crate::writer::Writer;

mod append;
mod definitions;
mod expiry;
mod incidents;
mod lane;
mod leases;
mod rows;
mod sagas;
mod schema;
mod sql;
mod thread;
mod writer;

/// Shards of a new file, unless another number is asked for. A file has one writer and no other node to hand a shard to,
/// and each shard that a batch touches is a page more of every index.
pub const SHARD_COUNT_DEFAULT: u16 = 16;

/// A database in a file.
pub struct SqliteStore {
    /// Of all lanes, and their thread.
    committing: Arc<Mutex<Writer>>,
    thread: Arc<Thread>,
    /// For leases and definitions: rare, short writes beside the lanes.
    writer: Mutex<Writer>,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens a file, which is made or brought to this binary's schema if need be. Without a number of shards it has those
    /// that it has, and a new one [`SHARD_COUNT_DEFAULT`].
    ///
    /// # Errors
    /// [`Error::Schema`] if the file is no database, belongs to another application, has a newer schema or another number of shards;
    /// [`Error::Unavailable`] if it cannot be opened or written.
    pub async fn open(path: impl AsRef<Path>, shard_count: Option<u16>) -> Result<Self, Error> {
        if let Some(shard_count) = shard_count.filter(|it| !(1..=SHARDS_MAX).contains(it)) {
            return Err(Error::Schema(format!(
                "a database has 1 to {SHARDS_MAX} shards, not {shard_count}"
            )));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS_CACHED);
        if options.get_filename().exists() {
            schema::inspect(reading(&options)).await?;
        }
        let turns = Arc::new(Mutex::new(()));
        let mut writer = Writer::new(options.clone(), Arc::clone(&turns));
        schema::prepare(&mut writer, shard_count).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(reading(&options))
            .await
            .map_err(unavailable("opening the file to read"))?;
        let thread = Thread::start().map_err(|error| Error::Unavailable {
            what: "starting a thread",
            source: error.into(),
        })?;
        Ok(Self {
            committing: Arc::new(Mutex::new(Writer::new(options, turns))),
            thread: Arc::new(thread),
            writer: Mutex::new(writer),
            readers,
        })
    }
}

/// The options of a connection that only reads.
fn reading(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    let filename = options.get_filename().to_owned();
    SqliteConnectOptions::new()
        .filename(filename)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
}

#[async_trait]
impl Store for SqliteStore {
    async fn identity(&self) -> Result<Identity, Error> {
        let row = sqlx::query(sql::IDENTITY).fetch_one(&self.readers).await;
        let row = row.map_err(unavailable("reading the database's identity"))?;
        Ok(Identity {
            incarnation: Incarnation(Uuid::from_bytes(rows::bytes(&row, 0)?)),
            shard_count: get(&row, 1)?,
            now: Time::from_micros(get(&row, 2)?),
        })
    }

    /// The second is made while the first is written, so that the file's only writer does not wait for it.
    fn batches_at_once(&self) -> usize {
        2
    }

    fn connections_at_once(&self) -> usize {
        1
    }

    async fn open_lane(&self) -> Result<Box<dyn Lane>, Error> {
        let mut committing = self.committing.lock().await;
        committing
            .connection()
            .await
            .map_err(unavailable("opening a connection"))?;
        Ok(Box::new(SqliteLane {
            writer: Arc::clone(&self.committing),
            thread: Arc::clone(&self.thread),
        }))
    }
}

impl SqliteStore {
    async fn read<T>(
        &self,
        query: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
        what: &'static str,
        map: impl Fn(&SqliteRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let rows = query
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable(what))?;
        rows.iter().map(map).collect()
    }
}

/// A JSON list of what prints as JSON.
fn json_list<T: std::fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("[{}]", items.join(","))
}

/// Sagas as a JSON list of their shards and ids.
fn json_sagas(sagas: &[SagaId]) -> String {
    let pair = |saga: &SagaId| format!("[{},\"{saga}\"]", saga.shard().0);
    json_list(&sagas.iter().map(pair).collect::<Vec<String>>())
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// How long a write waits for another process's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// As many as there are statements, in each place that they may have in a transaction.
const STATEMENTS_CACHED: usize = 256;

#[cfg(test)]
mod tests;
