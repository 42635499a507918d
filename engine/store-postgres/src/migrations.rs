//! The schema's numbered migrations, up and down, each run under a lock in one transaction with its record. A server never runs
//! them: it refuses to start on a schema that it does not know.

use amends_core::Time;
use amends_core::limits::SHARDS_MAX;
use amends_store::Error;
use sqlx::postgres::PgRow;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::timeout;

use crate::failure::unavailable;
use crate::{CONNECT_TIMEOUT, CONNECTING, connect_options, rows, sql};

/// What the database has of the schema, and what this binary knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The newest migration that was run; 0 for none.
    pub version: u32,
    /// The newest migration that this binary knows.
    pub known: u32,
    /// With how many shards the database was initialised.
    pub shard_count: Option<u16>,
    /// Those that were run and those that are known, by number.
    pub migrations: Vec<MigrationStatus>,
}

/// One migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// From 1.
    pub version: u32,
    /// What it is about.
    pub name: String,
    /// When it was run, on the database's clock; none if it was not.
    pub applied_at: Option<Time>,
}

/// Brings the database's schema to the newest that this binary knows, and initialises it with `shard_count` shards if
/// it is new. Nothing changes if it is there already.
///
/// # Errors
/// [`Error::Schema`] for a newer schema, another number of shards, a replica or missing privileges;
/// [`Error::Unavailable`] if the database cannot be reached.
pub async fn migrate(url: &str, shard_count: u16) -> Result<SchemaStatus, Error> {
    if !(1..=SHARDS_MAX).contains(&shard_count) {
        return Err(Error::Schema(format!(
            "a database has 1 to {SHARDS_MAX} shards, not {shard_count}"
        )));
    }
    let mut connection = connect(url).await?;
    let mut transaction = connection.begin().await.map_err(refusal)?;
    for sql in [LOCK_TIMEOUT, LOCK, CREATE] {
        sqlx::raw_sql(sql)
            .execute(&mut *transaction)
            .await
            .map_err(refusal)?;
    }
    let before = read(&mut transaction).await?;
    refuse_newer(&before)?;
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > before.version)
    {
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "migrating up"
        );
        sqlx::raw_sql(migration.up)
            .execute(&mut *transaction)
            .await
            .map_err(refusal)?;
        let query = sqlx::query(RECORD)
            .bind(number(migration.version))
            .bind(migration.name);
        query.execute(&mut *transaction).await.map_err(refusal)?;
    }
    let shards = i16::try_from(shard_count).unwrap_or(i16::MAX);
    for sql in [INITIALISE_META, INITIALISE_SHARDS] {
        sqlx::query(sql)
            .bind(shards)
            .execute(&mut *transaction)
            .await
            .map_err(refusal)?;
    }
    let after = read(&mut transaction).await?;
    if let Some(stored) = after.shard_count.filter(|stored| *stored != shard_count) {
        return Err(Error::Schema(format!(
            "this database was initialised with {stored} shards, not {shard_count}: the number cannot be changed"
        )));
    }
    transaction.commit().await.map_err(refusal)?;
    Ok(after)
}

/// Takes migrations above `to` back, the newest first.
///
/// # Errors
/// As [`migrate`]; and [`Error::Schema`] if it would drop journals that hold anything.
pub async fn migrate_down(url: &str, to: u32) -> Result<SchemaStatus, Error> {
    let mut connection = connect(url).await?;
    let mut transaction = connection.begin().await.map_err(refusal)?;
    for sql in [LOCK_TIMEOUT, LOCK] {
        sqlx::raw_sql(sql)
            .execute(&mut *transaction)
            .await
            .map_err(refusal)?;
    }
    let before = read(&mut transaction).await?;
    refuse_newer(&before)?;
    // The gravest loss is the one to tell, so the lowest migration is asked first.
    let down: Vec<&Migration> = MIGRATIONS
        .iter()
        .filter(|m| m.version > to && m.version <= before.version)
        .collect();
    for migration in &down {
        if scalar(&mut transaction, migration.kept).await? {
            return Err(Error::Schema(migration.loss.to_owned()));
        }
    }
    for migration in down.into_iter().rev() {
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "migrating down"
        );
        sqlx::raw_sql(migration.down)
            .execute(&mut *transaction)
            .await
            .map_err(refusal)?;
        let query = sqlx::query(FORGET).bind(number(migration.version));
        query.execute(&mut *transaction).await.map_err(refusal)?;
    }
    let after = read(&mut transaction).await?;
    transaction.commit().await.map_err(refusal)?;
    Ok(after)
}

/// Tells what the database has. It changes nothing.
///
/// # Errors
/// [`Error::Unavailable`] if the database cannot be reached.
pub async fn status(url: &str) -> Result<SchemaStatus, Error> {
    read(&mut *connect_to_any(url).await?).await
}

/// Refuses a schema that is not exactly this binary's.
pub(crate) async fn check(connection: &mut PgConnection) -> Result<(), Error> {
    let status = read(connection).await?;
    refuse_newer(&status)?;
    let command = "run `amends migrate up --database-url ...`";
    if status.version == 0 {
        return Err(Error::Schema(format!(
            "this database has no schema of amends: {command}"
        )));
    }
    if status.version < status.known {
        let (version, known) = (status.version, status.known);
        return Err(Error::Schema(format!(
            "this database has schema {version}, and {known} is needed: {command}"
        )));
    }
    Ok(())
}

fn refuse_newer(status: &SchemaStatus) -> Result<(), Error> {
    let SchemaStatus { version, known, .. } = status;
    if version > known {
        return Err(Error::Schema(format!(
            "this database has schema {version}, and this binary knows schemas up to {known}: run a newer binary"
        )));
    }
    Ok(())
}

async fn connect(url: &str) -> Result<PgConnection, Error> {
    let mut connection = connect_to_any(url).await?;
    refuse_replica(&mut connection).await?;
    Ok(*connection)
}

/// Nothing can be written to a replica, and what it says may be old.
pub(crate) async fn refuse_replica(connection: &mut PgConnection) -> Result<(), Error> {
    if scalar(connection, sql::IN_RECOVERY).await? {
        return Err(Error::Schema(
            "the database URL leads to a replica: name the primary".to_owned(),
        ));
    }
    Ok(())
}

async fn connect_to_any(url: &str) -> Result<Box<PgConnection>, Error> {
    let options = connect_options(url)?.application_name(MIGRATE_NAME);
    let connected = timeout(CONNECT_TIMEOUT, options.connect())
        .await
        .map_err(unavailable(CONNECTING))?;
    connected.map(Box::new).map_err(unavailable(CONNECTING))
}

async fn read(connection: &mut PgConnection) -> Result<SchemaStatus, Error> {
    let mut migrations: Vec<MigrationStatus> = Vec::new();
    if scalar(connection, HAS_MIGRATIONS).await? {
        let applied = sqlx::query(APPLIED)
            .fetch_all(&mut *connection)
            .await
            .map_err(refusal)?;
        migrations = applied
            .iter()
            .map(applied_migration)
            .collect::<Result<_, _>>()?;
    }
    let version = migrations
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0);
    let pending = MIGRATIONS
        .iter()
        .filter(|migration| migration.version > version);
    migrations.extend(pending.map(|migration| MigrationStatus {
        version: migration.version,
        name: migration.name.to_owned(),
        applied_at: None,
    }));
    let mut shard_count = None;
    if scalar(connection, HAS_META).await? {
        let row = sqlx::query(SHARD_COUNT)
            .fetch_optional(connection)
            .await
            .map_err(refusal)?;
        shard_count = row.map(|row| rows::get::<i16>(&row, 0)).transpose()?;
    }
    let known = MIGRATIONS.last().map_or(0, |newest| newest.version);
    Ok(SchemaStatus {
        version,
        known,
        shard_count: shard_count.and_then(|count| u16::try_from(count).ok()),
        migrations,
    })
}

fn applied_migration(row: &PgRow) -> Result<MigrationStatus, Error> {
    let version: i32 = rows::get(row, 0)?;
    Ok(MigrationStatus {
        version: u32::try_from(version)
            .map_err(|_| Error::Corrupt(format!("migration {version}")))?,
        name: rows::get(row, 1)?,
        applied_at: Some(rows::time(row, 2)?),
    })
}

async fn scalar(connection: &mut PgConnection, sql: &'static str) -> Result<bool, Error> {
    let row = sqlx::query(sql)
        .fetch_one(connection)
        .await
        .map_err(refusal)?;
    rows::get(&row, 0)
}

/// A lack of privileges will not become better by waiting.
fn refusal(error: sqlx::Error) -> Error {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    if code.is_some_and(|code| code == "42501") {
        return Error::Schema(format!("the database's role may not do this: {error}"));
    }
    unavailable("reading or changing the schema")(error)
}

fn number(version: u32) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

struct Migration {
    version: u32,
    name: &'static str,
    up: &'static str,
    down: &'static str,
    /// Whether the database has something that would be lost on the way down, and what to say then.
    kept: &'static str,
    loss: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "tables",
        up: include_str!("../migrations/0001_tables.up.sql"),
        down: include_str!("../migrations/0001_tables.down.sql"),
        kept: USED,
        loss: "the journal has rows, and this would drop them: drop the schema `amends` by hand if that is meant",
    },
    Migration {
        version: 2,
        name: "language",
        up: include_str!("../migrations/0002_language.up.sql"),
        down: include_str!("../migrations/0002_language.down.sql"),
        kept: WRITTEN_IN_2,
        loss: "the journal has rows that a binary of schema 1 cannot read: every saga that has one would park",
    },
    Migration {
        version: 3,
        name: "listing",
        up: include_str!("../migrations/0003_listing.up.sql"),
        down: include_str!("../migrations/0003_listing.down.sql"),
        kept: NOTHING,
        loss: "",
    },
    Migration {
        version: 4,
        name: "clocks",
        up: include_str!("../migrations/0004_clocks.up.sql"),
        down: include_str!("../migrations/0004_clocks.down.sql"),
        kept: NOTHING,
        loss: "",
    },
];

const MIGRATE_NAME: &str = "amends-migrate";

const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '10s'";
/// One migration at a time; the number is this application's name in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'616d656e6473'::bigint)";
const CREATE: &str = "CREATE SCHEMA IF NOT EXISTS amends; CREATE TABLE IF NOT EXISTS amends.migrations (\
    version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())";
const HAS_MIGRATIONS: &str = "SELECT to_regclass('amends.migrations') IS NOT NULL";
const HAS_META: &str = "SELECT to_regclass('amends.meta') IS NOT NULL";
const APPLIED: &str = "SELECT version, name, applied_at FROM amends.migrations ORDER BY version";
const SHARD_COUNT: &str = "SELECT shard_count FROM amends.meta";
const RECORD: &str = "INSERT INTO amends.migrations (version, name) VALUES ($1, $2)";
const FORGET: &str = "DELETE FROM amends.migrations WHERE version = $1";
/// Indexes come and go without a loss, and so does what a node says of its clock.
const NOTHING: &str = "SELECT false";
const USED: &str = "SELECT EXISTS (SELECT 1 FROM amends.journal)";
/// A row of version 1 begins with `{"v":1,`, in hexadecimal so that no encoding plays a part.
const WRITTEN_IN_2: &str = "SELECT EXISTS (SELECT 1 FROM amends.journal WHERE kind = 3 \
    OR (kind = 1 AND substring(body FOR 7) <> '\\x7b2276223a312c'::bytea))";
const INITIALISE_META: &str = "INSERT INTO amends.meta (incarnation, shard_count) VALUES (gen_random_uuid(), $1) \
    ON CONFLICT DO NOTHING";
const INITIALISE_SHARDS: &str = "INSERT INTO amends.shards (shard) SELECT generate_series(0, $1::int2 - 1) \
    WHERE NOT EXISTS (SELECT 1 FROM amends.shards)";
