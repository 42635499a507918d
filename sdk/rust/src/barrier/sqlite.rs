//! The barrier's statements for SQLite. Every transaction begins as a writer, so that none is refused half way.

use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use sqlx::{Row as _, Transaction};

use crate::barrier::store::{BarrierDatabase, Row, Sealed, now_us};

impl Sealed for Sqlite {}

impl BarrierDatabase for Sqlite {
    const ONE_WRITER: bool = true;

    async fn migrate(pool: &SqlitePool) -> Result<(), sqlx::Error> {
        sqlx::query(CREATE).execute(pool).await?;
        Ok(())
    }

    async fn prune(pool: &SqlitePool, before_us: i64) -> Result<u64, sqlx::Error> {
        let deleted = sqlx::query(PRUNE).bind(before_us).execute(pool).await?;
        Ok(deleted.rows_affected())
    }

    async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Self>, sqlx::Error> {
        pool.begin_with("BEGIN IMMEDIATE").await
    }

    async fn execute(
        connection: &mut SqliteConnection,
        statement: &'static str,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(statement).execute(connection).await?;
        Ok(())
    }

    async fn insert(
        connection: &mut SqliteConnection,
        key: &str,
        row: &Row,
    ) -> Result<bool, sqlx::Error> {
        let inserted = sqlx::query(INSERT)
            .bind(key)
            .bind(row.state.as_text())
            .bind(i64::from(row.attempt))
            .bind(&row.action)
            .bind(&row.code)
            .bind(&row.message)
            .bind(&row.output[..])
            .bind(now_us())
            .execute(connection)
            .await?;
        Ok(inserted.rows_affected() == 1)
    }

    async fn load(
        connection: &mut SqliteConnection,
        key: &str,
    ) -> Result<Option<Row>, sqlx::Error> {
        let row = sqlx::query(LOAD)
            .bind(key)
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Row::from_columns(
            row.try_get(0)?,
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
            row.try_get(4)?,
            row.try_get(5)?,
        )
        .map(Some)
    }

    async fn update(
        connection: &mut SqliteConnection,
        key: &str,
        row: &Row,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(UPDATE)
            .bind(key)
            .bind(row.state.as_text())
            .bind(i64::from(row.attempt))
            .bind(&row.action)
            .bind(&row.code)
            .bind(&row.message)
            .bind(&row.output[..])
            .execute(connection)
            .await?;
        Ok(())
    }
}

const CREATE: &str = "\
CREATE TABLE IF NOT EXISTS amends_barrier (
    operation_key TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    action TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    output BLOB NOT NULL,
    created_at_us INTEGER NOT NULL
)";
const PRUNE: &str = "DELETE FROM amends_barrier WHERE created_at_us < $1";
const INSERT: &str = "\
INSERT INTO amends_barrier (operation_key, state, attempt, action, code, message, output, created_at_us)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (operation_key) DO NOTHING";
const LOAD: &str = "\
SELECT state, attempt, action, code, message, output FROM amends_barrier WHERE operation_key = $1";
const UPDATE: &str = "\
UPDATE amends_barrier SET state = $2, attempt = $3, action = $4, code = $5, message = $6, output = $7
WHERE operation_key = $1";
