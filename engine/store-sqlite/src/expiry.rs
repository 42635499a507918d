//! Retention: a bounded number of sagas of one shard, all that is theirs in one transaction. Why rows of a journal are
//! counted or blanked is said at [`Tail`](amends_store::Tail).

use amends_core::key::hash_128;
use amends_core::{SagaId, ShardId, Time};
use amends_store::Error;
use sqlx::sqlite::SqliteConnection;

use crate::rows::{self, Expired, get, unavailable};
use crate::writer::Writer;
use crate::{json_list, sql};

/// Deletes those of the given sagas that may go, and says which.
pub(crate) async fn expire(
    writer: &mut Writer,
    shard: ShardId,
    now: Time,
    sagas: &[SagaId],
) -> Result<Vec<SagaId>, Error> {
    let mut writing = writer.begin().await.map_err(unavailable(EXPIRING))?;
    match expire_in(writing.connection(), shard, now, sagas).await {
        Ok(gone) => {
            writing.commit().await.map_err(unavailable(EXPIRING))?;
            Ok(gone)
        }
        Err(error) => {
            writing.rollback().await;
            Err(error)
        }
    }
}

async fn expire_in(
    connection: &mut SqliteConnection,
    shard: ShardId,
    now: Time,
    sagas: &[SagaId],
) -> Result<Vec<SagaId>, Error> {
    let asked: Vec<String> = sagas.iter().map(|saga| format!("\"{saga}\"")).collect();
    let found = sqlx::query(sql::EXPIRED)
        .bind(shard.0)
        .bind(now.as_micros())
        .bind(json_list(&asked))
        .fetch_all(&mut *connection)
        .await
        .map_err(unavailable(EXPIRING))?;
    let expired: Vec<Expired> = found.iter().map(rows::expired).collect::<Result<_, _>>()?;
    if expired.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = (expired.iter().map(|it| format!("\"{}\"", it.saga))).collect();
    let ids = json_list(&ids);
    delete_rows(connection, shard, &ids).await?;
    for statement in [sql::DELETE_SAGAS, sql::DELETE_INCIDENTS] {
        execute(connection, statement, shard, &ids).await?;
    }
    for (it, key) in (expired.iter()).filter_map(|it| Some((it, it.key.as_ref()?))) {
        sqlx::query(sql::DELETE_KEY)
            .bind(&it.namespace)
            .bind(&it.definition)
            .bind(hash_128(key.as_bytes()).0.to_vec())
            .bind(it.saga.to_string())
            .execute(&mut *connection)
            .await
            .map_err(unavailable(EXPIRING))?;
    }
    Ok(expired.into_iter().map(|it| it.saga).collect())
}

async fn delete_rows(
    connection: &mut SqliteConnection,
    shard: ShardId,
    ids: &str,
) -> Result<(), Error> {
    let rows = sqlx::query(sql::EXPIRED_ROWS)
        .bind(shard.0)
        .bind(ids)
        .fetch_all(&mut *connection)
        .await
        .map_err(unavailable(EXPIRING))?;
    let (mut fences, mut others) = (Vec::new(), Vec::new());
    for row in &rows {
        let position = rows::position(row, 0)?;
        if get(row, 1)? {
            fences.push(position);
        } else {
            others.push(position);
        }
    }
    execute(connection, sql::BLANK_ROWS, shard, &json_list(&fences)).await?;
    for statement in [sql::DELETE_ROWS, sql::COUNT_EXPIRED] {
        execute(connection, statement, shard, &json_list(&others)).await?;
    }
    Ok(())
}

async fn execute(
    connection: &mut SqliteConnection,
    statement: &'static str,
    shard: ShardId,
    list: &str,
) -> Result<(), Error> {
    let query = sqlx::query(statement).bind(shard.0).bind(list);
    let done = query.execute(connection).await;
    done.map(|_| ()).map_err(unavailable(EXPIRING))
}

const EXPIRING: &str = "deleting expired sagas";
