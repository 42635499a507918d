//! The store on PostgreSQL 13 or later, or what speaks its protocol: one autocommit statement per batch, `synchronous_commit`
//! as the server has it (leave it on).
//!
//! Deliberately not here: what is shared with the other stores (`amends-store`); migrations at a server's start, which
//! refuses a schema that it does not know ([`migrations`] are run by `amends migrate`).

use std::time::Duration;

use amends_core::{Incarnation, SagaId, ShardId, Time};
use amends_store::{
    DefinitionQuery, DefinitionRecord, Error, Identity, KeyFound, KeyLookup, Lane, ListQuery,
    NewDefinition, NodeLease, SagaHistory, SagaRecord, Store, histories,
};
use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::timeout;
use uuid::Uuid;

use crate::failure::unavailable;
use crate::lane::{PostgresLane, shard_number};
use crate::timestamp::Timestamp;

mod failure;
mod lane;
pub mod migrations;
mod rows;
mod sql;
mod timestamp;

/// How to reach a database.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=verify-full`. Never printed.
    pub url: String,
    /// Connections for reading, leases and definitions, beside one for each lane. Default 4.
    pub pool_size: u32,
}

impl PostgresOptions {
    /// The defaults for a database.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            pool_size: POOL_SIZE_DEFAULT,
        }
    }
}

/// A PostgreSQL database.
pub struct PostgresStore {
    options: PgConnectOptions,
    incarnation: Incarnation,
    readers: PgPool,
}

impl PostgresStore {
    /// Connects, and checks that this is a primary whose schema this binary knows.
    ///
    /// # Errors
    /// [`Error::Schema`] for a replica or another schema, with what to do; [`Error::Unavailable`] if it cannot be reached.
    pub async fn open(options: PostgresOptions) -> Result<Self, Error> {
        let connect = connect_options(&options.url)?;
        let connect = connect
            .application_name(READER_NAME)
            .statement_cache_capacity(STATEMENTS_CACHED);
        // Not through the pool, which would hide the reason behind a timeout of its own.
        let connection = timeout(CONNECT_TIMEOUT, connect.connect());
        let connection = connection.await.map_err(unavailable(CONNECTING))?;
        let mut connection = connection.map_err(unavailable(CONNECTING))?;
        migrations::refuse_replica(&mut connection).await?;
        migrations::check(&mut connection).await?;
        // A farewell that fails changes nothing.
        drop(connection.close().await);
        let readers = PgPoolOptions::new()
            .max_connections(options.pool_size.max(1))
            .acquire_timeout(CONNECT_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    let set = sqlx::raw_sql(sql::READER_SESSION).execute(connection);
                    set.await.map(|_| ())
                })
            })
            .connect_lazy_with(connect.clone());
        let incarnation = identity(&readers).await?.incarnation;
        Ok(Self {
            options: connect,
            incarnation,
            readers,
        })
    }

    async fn read<T>(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, PgArguments>,
        what: &'static str,
        map: impl Fn(&PgRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let rows = query
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable(what))?;
        rows.iter().map(map).collect()
    }

    async fn newest_definition(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DefinitionRecord>, Error> {
        let query = sqlx::query(sql::DEFINITION_NEWEST)
            .bind(namespace)
            .bind(name);
        Ok(self
            .read(query, "reading a definition", rows::definition)
            .await?
            .pop())
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn identity(&self) -> Result<Identity, Error> {
        identity(&self.readers).await
    }

    async fn open_lane(&self) -> Result<Box<dyn Lane>, Error> {
        let lane = PostgresLane::open(self.options.clone(), self.incarnation, self.readers.clone())
            .await?;
        Ok(Box::new(lane))
    }

    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error> {
        let shards: Vec<i16> = shards.iter().map(|shard| shard_number(*shard)).collect();
        let rows = claim(&self.readers, node, &shards)
            .await
            .map_err(unavailable("claiming shards"))?;
        rows.iter().map(rows::shard).collect()
    }

    async fn renew(&self, node: &NodeLease) -> Result<Time, Error> {
        let query = sqlx::query(sql::RENEW)
            .bind(&node.name)
            .bind(node.process)
            .bind(node.lease.as_secs_f64());
        let renewed = self
            .read(query, "renewing a lease", |row| rows::time(row, 0))
            .await?
            .pop();
        renewed.ok_or_else(|| Error::LeaseLost {
            node: node.name.clone(),
        })
    }

    async fn release(&self, node: &NodeLease) -> Result<(), Error> {
        let query = sqlx::query(sql::RELEASE)
            .bind(&node.name)
            .bind(node.process);
        query
            .execute(&self.readers)
            .await
            .map_err(unavailable("releasing a lease"))?;
        Ok(())
    }

    async fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        awake_before: Time,
        limit: usize,
    ) -> Result<Vec<SagaHistory>, Error> {
        // Every id is above the nil UUID.
        let after = after.map_or(Uuid::nil(), SagaId::as_uuid);
        let query = sqlx::query(sql::ACTIVE)
            .bind(shard_number(shard))
            .bind(after)
            .bind(Timestamp(awake_before));
        let sagas = self
            .read(query.bind(count(limit)), "reading active sagas", rows::saga)
            .await?;
        let ids: Vec<Uuid> = sagas
            .iter()
            .map(|saga: &SagaRecord| saga.id.as_uuid())
            .collect();
        let query = sqlx::query(sql::ACTIVE_ROWS)
            .bind(shard_number(shard))
            .bind(ids);
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
        let shard = shard_number(saga.shard());
        let query = sqlx::query(sql::SAGA).bind(shard).bind(saga.as_uuid());
        let sagas = self.read(query, "reading a saga", rows::saga).await?;
        if sagas.is_empty() {
            return Ok(None);
        }
        let query = sqlx::query(sql::HISTORY).bind(shard).bind(saga.as_uuid());
        let query = query.bind(signed(from)).bind(count(limit));
        let rows = self
            .read(query, "reading a saga's history", rows::stored_row)
            .await?;
        Ok(histories(sagas, rows).pop())
    }

    async fn lookup_keys(&self, keys: &[KeyLookup]) -> Result<Vec<Option<KeyFound>>, Error> {
        let query = sqlx::query(sql::LOOKUP_KEYS)
            .bind(
                keys.iter()
                    .map(|key| &*key.namespace)
                    .collect::<Vec<&str>>(),
            )
            .bind(
                keys.iter()
                    .map(|key| &*key.definition)
                    .collect::<Vec<&str>>(),
            )
            .bind(
                keys.iter()
                    .map(|key| &key.key_hash.0[..])
                    .collect::<Vec<&[u8]>>(),
            );
        let mut found = vec![None; keys.len()];
        for (place, key) in self.read(query, "looking keys up", rows::key_found).await? {
            let index = usize::try_from(place)
                .ok()
                .and_then(|place| place.checked_sub(1));
            if let Some(slot) = index.and_then(|index| found.get_mut(index)) {
                *slot = Some(key);
            }
        }
        Ok(found)
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<SagaRecord>, Error> {
        let states: Vec<i16> = query.states.iter().map(|state| state.code()).collect();
        let sql = sqlx::query(sql::LIST)
            .bind(&query.namespace)
            .bind(states)
            .bind(&query.definition)
            .bind(&query.key)
            .bind(query.before.map(SagaId::as_uuid))
            .bind(count(query.limit));
        self.read(sql, "listing sagas", rows::saga).await
    }

    async fn put_definition(
        &self,
        definition: &NewDefinition,
    ) -> Result<(DefinitionRecord, bool), Error> {
        for _ in 0..PUT_TRIES {
            let newest = self
                .newest_definition(&definition.namespace, &definition.name)
                .await?;
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
                .bind(revision_number(revision))
                .bind(&definition.hash.0[..])
                .bind(&definition.source)
                .bind(&definition.normal_form);
            let applied = self
                .read(query, "storing a definition", |row| rows::time(row, 0))
                .await?
                .pop();
            // Otherwise another took the number: it is the newest then.
            if let Some(applied_at) = applied {
                return Ok((definition.at_revision(revision, applied_at), true));
            }
        }
        let what = "storing a definition";
        Err(Error::Unavailable {
            what,
            source: "others store revisions of it without end".into(),
        })
    }

    async fn definition(&self, query: &DefinitionQuery) -> Result<Option<DefinitionRecord>, Error> {
        let query = match query {
            DefinitionQuery::Newest { namespace, name } => {
                return self.newest_definition(namespace, name).await;
            }
            DefinitionQuery::Revision {
                namespace,
                name,
                revision,
            } => {
                let query = sqlx::query(sql::DEFINITION_REVISION)
                    .bind(namespace)
                    .bind(name);
                query.bind(revision_number(*revision))
            }
            DefinitionQuery::Hash(hash) => sqlx::query(sql::DEFINITION_HASH).bind(&hash.0[..]),
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

/// The driver takes any scheme; this does not, so that a mistaken URL is told apart from a dead server.
fn connect_options(url: &str) -> Result<PgConnectOptions, Error> {
    let reading = "reading the database URL";
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        let what = "it does not begin with `postgres://`";
        return Err(unavailable(reading)(what));
    }
    if !parameters_are_known(url) {
        let what = format!("it has a parameter other than {}", PARAMETERS.join(", "));
        return Err(unavailable(reading)(what));
    }
    url.parse().map_err(unavailable::<sqlx::Error>(reading))
}

/// The driver passes over what it does not know, and logs it with its value: that may be a password with a typing error
/// in its name.
fn parameters_are_known(url: &str) -> bool {
    let Some((_, query)) = url.split_once('?') else {
        return true;
    };
    let query = query.split('#').next().unwrap_or_default();
    (query.split('&').filter(|pair| !pair.is_empty())).all(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        PARAMETERS.contains(&name) || name.starts_with("options[")
    })
}

/// What a URL may have behind its `?`.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

async fn identity(readers: &PgPool) -> Result<Identity, Error> {
    let row = sqlx::query(sql::IDENTITY).fetch_one(readers).await;
    rows::identity(&row.map_err(unavailable("reading the database's identity"))?)
}

async fn claim(readers: &PgPool, node: &NodeLease, shards: &[i16]) -> sqlx::Result<Vec<PgRow>> {
    let mut transaction = readers.begin().await?;
    sqlx::query(sql::CLAIM_LOCK)
        .bind(shards)
        .execute(&mut *transaction)
        .await?;
    let query = sqlx::query(sql::CLAIM_NODE)
        .bind(&node.name)
        .bind(node.process)
        .bind(&node.address);
    query
        .bind(node.lease.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(sql::CLAIM_SHARDS)
        .bind(&node.name)
        .bind(shards)
        .execute(&mut *transaction)
        .await?;
    let claimed = sqlx::query(sql::CLAIMED)
        .bind(&node.name)
        .bind(shards)
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(claimed)
}

/// PostgreSQL's integers have a sign; a journal does not reach 2^63.
fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

fn revision_number(revision: u32) -> i32 {
    i32::try_from(revision).unwrap_or(i32::MAX)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const POOL_SIZE_DEFAULT: u32 = 4;
pub(crate) const CONNECTING: &str = "connecting to PostgreSQL";
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// More than there are statements.
const STATEMENTS_CACHED: usize = 128;
const READER_NAME: &str = "amends-reader";
/// Each try fails only because another's succeeded.
const PUT_TRIES: u32 = 100;

#[cfg(test)]
mod tests;
