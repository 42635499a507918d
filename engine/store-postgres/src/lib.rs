//! The store on PostgreSQL 13 or later, or what speaks its protocol: one autocommit statement per batch, `synchronous_commit`
//! as the server has it (leave it on).
//!
//! Deliberately not here: what is shared with the other stores (`amends-store`); migrations at a server's start, which
//! refuses a schema that it does not know ([`migrations`] are run by `amends migrate`).

use std::time::Duration;

use amends_core::Incarnation;
use amends_store::{Error, Identity, Lane, Store};
use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::timeout;

use crate::failure::unavailable;
use crate::lane::PostgresLane;

mod append;
mod body;
mod definitions;
mod expiry;
mod failure;
mod incidents;
mod lane;
mod leases;
pub mod migrations;
mod rows;
mod sagas;
mod sql;
mod timestamp;

/// Shards of a new database.
pub const SHARD_COUNT_DEFAULT: u16 = 256;

/// How to reach a database.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=verify-full`. Never printed.
    pub url: String,
    /// Connections for reading and for definitions, beside two that write and one for the lease. Default 4.
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
    /// One connection that nothing else uses: a renewal never waits behind reads.
    leases: PgPool,
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
        let readers = pool(options.pool_size.max(1), connect.clone());
        let leases = pool(1, connect.clone().application_name(LEASES_NAME));
        let incarnation = identity(&readers).await?.incarnation;
        Ok(Self {
            options: connect,
            incarnation,
            readers,
            leases,
        })
    }

    async fn read<T>(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, PgArguments>,
        what: &'static str,
        map: impl Fn(&PgRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let rows = fetch(&self.readers, query, what, ANSWER_TIMEOUT).await?;
        rows.iter().map(map).collect()
    }

    /// As [`Self::read`], of what may have to look at whole tables.
    async fn read_at_length<T>(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, PgArguments>,
        what: &'static str,
        map: impl Fn(&PgRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let rows = fetch(&self.readers, query, what, LONG_ANSWER_TIMEOUT).await?;
        rows.iter().map(map).collect()
    }
}

fn pool(connections: u32, options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let set = sqlx::raw_sql(sql::READER_SESSION).execute(connection);
                set.await.map(|_| ())
            })
        })
        .connect_lazy_with(options)
}

/// Asks, and waits for so long. A connection that does not answer is given up with its statement: behind a network that
/// swallows everything it would never answer, and nobody else would get it.
pub(crate) async fn fetch(
    pool: &PgPool,
    query: sqlx::query::Query<'_, sqlx::Postgres, PgArguments>,
    what: &'static str,
    patience: Duration,
) -> Result<Vec<PgRow>, Error> {
    let mut connection = pool.acquire().await.map_err(unavailable(what))?;
    match timeout(patience, query.fetch_all(&mut *connection)).await {
        Ok(rows) => rows.map_err(unavailable(what)),
        Err(elapsed) => {
            connection.close_on_drop();
            Err(unavailable(what)(elapsed))
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn identity(&self) -> Result<Identity, Error> {
        identity(&self.readers).await
    }

    /// Two keep two cores at work; four were slower than two.
    fn batches_at_once(&self) -> usize {
        2
    }

    async fn open_lane(&self) -> Result<Box<dyn Lane>, Error> {
        let lane = PostgresLane::open(self.options.clone(), self.incarnation, self.readers.clone())
            .await?;
        Ok(Box::new(lane))
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
const LEASES_NAME: &str = "amends-leases";
/// Without an answer for so long, a connection counts as lost, and the outcome of a write as unknown.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for what may have to look at whole tables.
pub(crate) const LONG_ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
