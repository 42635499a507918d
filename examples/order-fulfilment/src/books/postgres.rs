//! Books in a PostgreSQL database.

use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions, Postgres};
use sqlx::{Row as _, Transaction};

use crate::books::{Database, Record, Value};

impl Database for Postgres {
    async fn open(url: &str) -> Result<PgPool, sqlx::Error> {
        PgPoolOptions::new().max_connections(8).connect(url).await
    }

    async fn begin_schema(pool: &PgPool) -> Result<Transaction<'static, Self>, sqlx::Error> {
        // PostgreSQL does not make two equal tables at once, not even IF NOT EXISTS: the second would fail.
        let mut transaction = pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock(4702111234234512)")
            .execute(&mut *transaction)
            .await?;
        Ok(transaction)
    }

    async fn run(
        connection: &mut PgConnection,
        statement: &'static str,
        arguments: &[Value],
    ) -> Result<u64, sqlx::Error> {
        let done = bound(statement, arguments).execute(connection).await?;
        Ok(done.rows_affected())
    }

    async fn rows(
        connection: &mut PgConnection,
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
) -> sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments> {
    arguments
        .iter()
        .fold(sqlx::query(statement), |query, argument| match argument {
            Value::Text(text) => query.bind(text.clone()),
            Value::Number(number) => query.bind(*number),
        })
}
