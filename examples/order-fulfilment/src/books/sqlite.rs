//! Books in a SQLite file.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row as _, Transaction};

use crate::books::{Database, Record, Value};

impl Database for Sqlite {
    async fn open(url: &str) -> Result<SqlitePool, sqlx::Error> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was answered has to survive a power cut too.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
    }

    async fn begin_schema(pool: &SqlitePool) -> Result<Transaction<'static, Self>, sqlx::Error> {
        pool.begin_with("BEGIN IMMEDIATE").await
    }

    async fn run(
        connection: &mut SqliteConnection,
        statement: &'static str,
        arguments: &[Value],
    ) -> Result<u64, sqlx::Error> {
        let done = bound(statement, arguments).execute(connection).await?;
        Ok(done.rows_affected())
    }

    async fn rows(
        connection: &mut SqliteConnection,
        query: &'static str,
        arguments: &[Value],
    ) -> Result<Vec<Record>, sqlx::Error> {
        let rows = bound(query, arguments).fetch_all(connection).await?;
        let records = rows.iter().map(|row| {
            let column = |n| {
                row.try_get(n)
                    .map(Value::Number)
                    .or_else(|_| row.try_get(n).map(Value::Text))
            };
            (0..row.len())
                .map(column)
                .collect::<Result<_, _>>()
                .map(Record)
        });
        records.collect()
    }
}

fn bound(
    statement: &'static str,
    arguments: &[Value],
) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
    arguments
        .iter()
        .fold(sqlx::query(statement), |query, argument| match argument {
            Value::Text(text) => query.bind(text.clone()),
            Value::Number(number) => query.bind(*number),
        })
}
