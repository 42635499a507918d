//! The file: whose it is, which schema it has, and how it comes to the one that this binary knows.

use amends_store::Error;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::SHARD_COUNT_DEFAULT;
use crate::rows::{get, unavailable};
use crate::writer::Writer;

/// Makes the file this application's, or refuses it.
pub(crate) async fn prepare(writer: &mut Writer, shard_count: Option<u16>) -> Result<(), Error> {
    // Begun before it is looked at, so that two processes that make the file at once make one database.
    let mut writing = writer
        .begin()
        .await
        .map_err(unavailable("opening the file"))?;
    let done = prepare_in(writing.connection(), shard_count).await;
    match done {
        Ok(()) => writing
            .commit()
            .await
            .map_err(unavailable("writing the schema")),
        Err(error) => {
            writing.rollback().await;
            Err(error)
        }
    }
}

/// Refuses a file that is another's, before anything is changed in it: a write-ahead log would be a change already.
pub(crate) async fn inspect(options: SqliteConnectOptions) -> Result<(), Error> {
    let mut connection = options.connect().await.map_err(refusal)?;
    version(&mut connection).await.map(|_| ())
}

async fn prepare_in(
    connection: &mut SqliteConnection,
    shard_count: Option<u16>,
) -> Result<(), Error> {
    let version = version(connection).await?;
    let known = known();
    for (sql, number) in MIGRATIONS
        .iter()
        .zip(1_i64..)
        .filter(|(_, number)| *number > version)
    {
        tracing::info!(schema = number, "migrating the SQLite file");
        sqlx::raw_sql(*sql)
            .execute(&mut *connection)
            .await
            .map_err(unavailable("migrating the file"))?;
    }
    if version < known {
        sqlx::raw_sql(STAMP)
            .execute(&mut *connection)
            .await
            .map_err(unavailable("migrating the file"))?;
    }
    shards(connection, shard_count).await
}

/// The schema's version; 0 for an empty file.
async fn version(connection: &mut SqliteConnection) -> Result<i64, Error> {
    let application: i64 = pragma(connection, "PRAGMA application_id").await?;
    let version: i64 = pragma(connection, "PRAGMA user_version").await?;
    let tables: i64 = pragma(connection, "SELECT count(*) FROM sqlite_schema").await?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        return Err(Error::Schema(
            "this SQLite file belongs to another application: name another file".to_owned(),
        ));
    }
    let known = known();
    if version > known {
        return Err(Error::Schema(format!(
            "this SQLite file has schema {version}, and this binary knows schemas up to {known}: run a newer binary"
        )));
    }
    Ok(version)
}

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The shard count is chosen once.
async fn shards(connection: &mut SqliteConnection, shard_count: Option<u16>) -> Result<(), Error> {
    for sql in [INITIALISE_META, INITIALISE_SHARDS] {
        let query = sqlx::query(sql).bind(shard_count.unwrap_or(SHARD_COUNT_DEFAULT));
        query
            .execute(&mut *connection)
            .await
            .map_err(unavailable("initialising the file"))?;
    }
    let stored: i64 = pragma(connection, "SELECT shard_count FROM meta").await?;
    let Some(shard_count) = shard_count.filter(|asked| i64::from(*asked) != stored) else {
        return Ok(());
    };
    Err(Error::Schema(format!(
        "this SQLite file was initialised with {stored} shards, not {shard_count}: the number cannot be changed"
    )))
}

async fn pragma(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, Error> {
    let row = sqlx::query(sql)
        .fetch_one(connection)
        .await
        .map_err(refusal)?;
    get(&row, 0)
}

/// SQLITE_NOTADB, code 26, will not become better by waiting.
fn refusal(error: sqlx::Error) -> Error {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    if code.is_some_and(|code| code == "26") {
        return Error::Schema("this file is not a SQLite database: name another file".to_owned());
    }
    unavailable("opening the file")(error)
}

/// In order; the schema's version is how many were run.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_tables.up.sql"),
    include_str!("../migrations/0002_language.up.sql"),
    include_str!("../migrations/0003_listing.up.sql"),
    include_str!("../migrations/0004_clocks.up.sql"),
];

/// `AMND`, and the number of [`MIGRATIONS`].
const STAMP: &str = "PRAGMA application_id = 1095585348; PRAGMA user_version = 4;";
const APPLICATION_ID: i64 = 0x414D_4E44;

const INITIALISE_META: &str = "INSERT INTO meta (only_row, incarnation, shard_count) VALUES (1, randomblob(16), ?1) \
    ON CONFLICT DO NOTHING";
const INITIALISE_SHARDS: &str = "INSERT INTO shards (shard) \
    WITH RECURSIVE n (shard) AS (SELECT 0 UNION ALL SELECT shard + 1 FROM n WHERE shard + 1 < ?1) \
    SELECT shard FROM n WHERE NOT EXISTS (SELECT 1 FROM shards)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_names_this_application_and_the_newest_schema() {
        let stamp = format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {};",
            MIGRATIONS.len()
        );
        assert_eq!(STAMP, stamp);
    }
}
