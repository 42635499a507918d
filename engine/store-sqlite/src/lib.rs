//! The store on an embedded SQLite file: for a laptop, a demo, a test, and a service that has no PostgreSQL at hand.
//! Write-ahead log and `synchronous=FULL`: what was answered survives a power cut.
//!
//! Two processes on one file fence each other as two nodes on one PostgreSQL do, by the journal's primary key.
//! An outcome of a batch is definite unless the disk fails in the midst of a COMMIT.
//! Deliberately not here: what is shared with the other stores (`amends-store`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amends_core::limits::SHARDS_MAX;
use amends_core::{Incarnation, SagaId, ShardId, Time};
use amends_store::{
    DefinitionQuery, DefinitionRecord, Error, Identity, KeyFound, KeyLookup, Lane, ListQuery,
    NewDefinition, NodeLease, SagaHistory, SagaRecord, Store, histories,
};
use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::lane::{SqliteLane, signed};
use crate::rows::{get, unavailable};
use crate::writer::Writer;

mod lane;
mod rows;
mod schema;
mod sql;
mod writer;

/// Shards of a new file, unless another number is asked for.
pub const SHARD_COUNT_DEFAULT: u16 = 256;

/// A database in a file.
pub struct SqliteStore {
    options: SqliteConnectOptions,
    turns: Arc<Mutex<()>>,
    /// For leases and definitions: rare, short writes beside the lanes.
    writer: Mutex<Writer>,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens a file, which is made or brought to this binary's schema if need be.
    ///
    /// # Errors
    /// [`Error::Schema`] if the file is no database, belongs to another application, has a newer schema or another number of shards;
    /// [`Error::Unavailable`] if it cannot be opened or written.
    pub async fn open(path: impl AsRef<Path>, shard_count: u16) -> Result<Self, Error> {
        if !(1..=SHARDS_MAX).contains(&shard_count) {
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
        Ok(Self {
            options,
            turns,
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

    async fn open_lane(&self) -> Result<Box<dyn Lane>, Error> {
        let mut writer = Writer::new(self.options.clone(), Arc::clone(&self.turns));
        writer
            .connection()
            .await
            .map_err(unavailable("opening a connection"))?;
        Ok(Box::new(SqliteLane { writer }))
    }

    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error> {
        let shards = json_list(shards);
        let mut writer = self.writer.lock().await;
        let mut writing = writer.begin().await.map_err(unavailable(CLAIMING))?;
        let rows = claim_in(writing.connection(), node, &shards)
            .await
            .map_err(unavailable(CLAIMING))?;
        writing.commit().await.map_err(unavailable(CLAIMING))?;
        rows.iter().map(|row| get(row, 0).map(ShardId)).collect()
    }

    async fn renew(&self, node: &NodeLease) -> Result<Time, Error> {
        let mut writer = self.writer.lock().await;
        let mut writing = writer.begin().await.map_err(unavailable(RENEWING))?;
        let query = sqlx::query(sql::RENEW)
            .bind(&node.name)
            .bind(node.process.as_bytes().to_vec());
        let query = query.bind(micros(node.lease));
        let row = query
            .fetch_optional(writing.connection())
            .await
            .map_err(unavailable(RENEWING))?;
        writing.commit().await.map_err(unavailable(RENEWING))?;
        let row = row.ok_or_else(|| Error::LeaseLost {
            node: node.name.clone(),
        })?;
        Ok(Time::from_micros(get(&row, 0)?))
    }

    async fn release(&self, node: &NodeLease) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        let mut writing = writer.begin().await.map_err(unavailable(RELEASING))?;
        for sql in [sql::RELEASE_SHARDS, sql::RELEASE_NODE] {
            let query = sqlx::query(sql)
                .bind(&node.name)
                .bind(node.process.as_bytes().to_vec());
            query
                .execute(writing.connection())
                .await
                .map_err(unavailable(RELEASING))?;
        }
        writing.commit().await.map_err(unavailable(RELEASING))
    }

    async fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        awake_before: Time,
        limit: usize,
    ) -> Result<Vec<SagaHistory>, Error> {
        // Every id is above the empty text.
        let after = after.map(|after| after.to_string()).unwrap_or_default();
        let query = sqlx::query(sql::ACTIVE)
            .bind(shard.0)
            .bind(after)
            .bind(awake_before.as_micros());
        let sagas = self
            .read(query.bind(count(limit)), "reading active sagas", rows::saga)
            .await?;
        let ids: Vec<String> = sagas
            .iter()
            .map(|saga: &SagaRecord| format!("\"{}\"", saga.id))
            .collect();
        let query = sqlx::query(sql::ACTIVE_ROWS)
            .bind(shard.0)
            .bind(json_list(&ids));
        let rows = self
            .read(
                query,
                "reading the histories of active sagas",
                rows::stored_row,
            )
            .await?;
        Ok(histories(sagas, rows))
    }

    async fn history(
        &self,
        saga: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<Option<SagaHistory>, Error> {
        let query = sqlx::query(sql::SAGA)
            .bind(saga.shard().0)
            .bind(saga.to_string());
        let sagas = self.read(query, "reading a saga", rows::saga).await?;
        if sagas.is_empty() {
            return Ok(None);
        }
        let query = sqlx::query(sql::HISTORY)
            .bind(saga.shard().0)
            .bind(saga.to_string());
        let query = query.bind(signed(from)).bind(count(limit));
        let rows = self
            .read(query, "reading a saga's history", rows::stored_row)
            .await?;
        Ok(histories(sagas, rows).pop())
    }

    async fn lookup_keys(&self, keys: &[KeyLookup]) -> Result<Vec<Option<KeyFound>>, Error> {
        let mut found = vec![None; keys.len()];
        let mut done = 0;
        while done < keys.len() {
            let sized = sql::LOOKUP_KEYS.fit(keys.len() - done);
            let mut query = sqlx::query(sized.sql.as_str());
            for (index, key) in keys.iter().enumerate().skip(done).take(sized.rows) {
                query = query
                    .bind(count(index))
                    .bind(&*key.namespace)
                    .bind(&*key.definition);
                query = query.bind(key.key_hash.0.to_vec());
            }
            for (index, key) in self.read(query, "looking keys up", rows::key_found).await? {
                found[index] = Some(key);
            }
            done += sized.rows;
        }
        Ok(found)
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<SagaRecord>, Error> {
        let states: Vec<i16> = query.states.iter().map(|state| state.code()).collect();
        let sql = sqlx::query(sql::LIST)
            .bind(&query.namespace)
            .bind(json_list(&states))
            .bind(&query.definition)
            .bind(&query.key)
            .bind(query.before.map(|before| before.to_string()))
            .bind(count(query.limit));
        self.read(sql, "listing sagas", rows::saga).await
    }

    async fn put_definition(
        &self,
        definition: &NewDefinition,
    ) -> Result<(DefinitionRecord, bool), Error> {
        let mut writer = self.writer.lock().await;
        let mut writing = writer.begin().await.map_err(unavailable(APPLYING))?;
        let done = put_definition_in(writing.connection(), definition).await;
        match done {
            Ok(done) => writing
                .commit()
                .await
                .map_err(unavailable(APPLYING))
                .map(|()| done),
            Err(error) => {
                writing.rollback().await;
                Err(error)
            }
        }
    }

    async fn definition(&self, query: &DefinitionQuery) -> Result<Option<DefinitionRecord>, Error> {
        let query = match query {
            DefinitionQuery::Newest { namespace, name } => sqlx::query(sql::DEFINITION_NEWEST)
                .bind(namespace)
                .bind(name),
            DefinitionQuery::Revision {
                namespace,
                name,
                revision,
            } => sqlx::query(sql::DEFINITION_REVISION)
                .bind(namespace)
                .bind(name)
                .bind(revision),
            DefinitionQuery::Hash(hash) => sqlx::query(sql::DEFINITION_HASH).bind(hash.0.to_vec()),
        };
        Ok(self
            .read(query, "reading a definition", rows::definition)
            .await?
            .pop())
    }

    async fn list_definitions(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DefinitionRecord>, Error> {
        let query = sqlx::query(sql::DEFINITIONS)
            .bind(namespace)
            .bind(after)
            .bind(count(limit));
        self.read(query, "listing definitions", rows::definition)
            .await
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

async fn claim_in(
    connection: &mut SqliteConnection,
    node: &NodeLease,
    shards: &str,
) -> sqlx::Result<Vec<SqliteRow>> {
    let query = sqlx::query(sql::CLAIM_NODE)
        .bind(&node.name)
        .bind(node.process.as_bytes().to_vec());
    query
        .bind(&node.address)
        .bind(micros(node.lease))
        .execute(&mut *connection)
        .await?;
    sqlx::query(sql::CLAIM_SHARDS)
        .bind(&node.name)
        .bind(shards)
        .execute(&mut *connection)
        .await?;
    sqlx::query(sql::CLAIMED)
        .bind(&node.name)
        .bind(shards)
        .fetch_all(connection)
        .await
}

async fn put_definition_in(
    connection: &mut SqliteConnection,
    definition: &NewDefinition,
) -> Result<(DefinitionRecord, bool), Error> {
    let query = sqlx::query(sql::DEFINITION_NEWEST)
        .bind(&definition.namespace)
        .bind(&definition.name);
    let newest = query
        .fetch_optional(&mut *connection)
        .await
        .map_err(unavailable(APPLYING))?;
    let newest = newest.as_ref().map(rows::definition).transpose()?;
    if let Some(same) = newest
        .as_ref()
        .filter(|newest| newest.hash == definition.hash)
    {
        return Ok((same.clone(), false));
    }
    let revision = newest.map_or(1, |newest| newest.revision + 1);
    let query = sqlx::query(sql::PUT_DEFINITION)
        .bind(&definition.namespace)
        .bind(&definition.name)
        .bind(revision)
        .bind(definition.hash.0.to_vec())
        .bind(&definition.source)
        .bind(&definition.normal_form);
    let row = query
        .fetch_one(connection)
        .await
        .map_err(unavailable(APPLYING))?;
    Ok((
        definition.at_revision(revision, Time::from_micros(get(&row, 0)?)),
        true,
    ))
}

/// A JSON list of what prints as JSON.
fn json_list<T: std::fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("[{}]", items.join(","))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

const CLAIMING: &str = "claiming shards";
const RENEWING: &str = "renewing a lease";
const RELEASING: &str = "releasing a lease";
const APPLYING: &str = "storing a definition";

/// How long a write waits for another process's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// More than there are statements.
const STATEMENTS_CACHED: usize = 128;

#[cfg(test)]
mod tests;
