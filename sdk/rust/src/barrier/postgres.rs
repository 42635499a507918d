//! The barrier's statements for PostgreSQL. The unique key is the lock: a concurrent insert of the same key waits for
//! the first to commit or roll back.

use sqlx::postgres::{PgConnection, PgPool, Postgres};
use sqlx::{Row as _, Transaction};

use crate::barrier::store::{BarrierDatabase, Row, Sealed, now_us};

impl Sealed for Postgres {}

impl BarrierDatabase for Postgres {
    const ONE_WRITER: bool = false;

    async fn migrate(pool: &PgPool) -> Result<(), sqlx::Error> {
        // Two processes that create the same table at once would both find it absent.
        let mut transaction = pool.begin().await?;
        sqlx::query(LOCK).execute(&mut *transaction).await?;
        sqlx::query(CREATE).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    async fn prune(pool: &PgPool, before_us: i64) -> Result<u64, sqlx::Error> {
        let deleted = sqlx::query(PRUNE).bind(before_us).execute(pool).await?;
        Ok(deleted.rows_affected())
    }

    async fn begin(pool: &PgPool) -> Result<Transaction<'static, Self>, sqlx::Error> {
        pool.begin().await
    }

    async fn execute(
        connection: &mut PgConnection,
        statement: &'static str,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(statement).execute(connection).await?;
        Ok(())
    }

    async fn insert(
        connection: &mut PgConnection,
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

    async fn load(connection: &mut PgConnection, key: &str) -> Result<Option<Row>, sqlx::Error> {
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
        connection: &mut PgConnection,
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

/// An arbitrary number, the same in every process.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7235478103112264)";
const CREATE: &str = "\
CREATE TABLE IF NOT EXISTS amends_barrier (
    operation_key TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    action TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    output BYTEA NOT NULL,
    created_at_us BIGINT NOT NULL
)";
const PRUNE: &str = "DELETE FROM amends_barrier WHERE created_at_us < $1";
const INSERT: &str = "\
INSERT INTO amends_barrier (operation_key, state, attempt, action, code, message, output, created_at_us)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (operation_key) DO NOTHING";
const LOAD: &str = "\
SELECT state, attempt, action, code, message, output FROM amends_barrier WHERE operation_key = $1
FOR UPDATE";
const UPDATE: &str = "\
UPDATE amends_barrier SET state = $2, attempt = $3, action = $4, code = $5, message = $6, output = $7
WHERE operation_key = $1";
