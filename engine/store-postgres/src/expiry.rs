//! Retention: a bounded number of sagas of one shard, all that is theirs in one transaction. Why rows of a journal are
//! counted or blanked is said at [`Tail`](amends_store::Tail).

use amends_core::key::hash_128;
use amends_core::{SagaId, ShardId, Time};
use amends_store::Error;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use crate::failure::unavailable;
use crate::lane::shard_number;
use crate::rows::{self, Expired};
use crate::sql;
use crate::timestamp::Timestamp;

/// Deletes those of the given sagas that may go, and says which.
pub(crate) async fn expire(
    readers: &PgPool,
    shard: ShardId,
    now: Time,
    sagas: &[SagaId],
) -> Result<Vec<SagaId>, Error> {
    let mut transaction = readers.begin().await.map_err(unavailable(EXPIRING))?;
    let expired = expired(&mut transaction, shard, now, sagas).await?;
    if !expired.is_empty() {
        delete(&mut transaction, shard, &expired)
            .await
            .map_err(unavailable(EXPIRING))?;
    }
    transaction.commit().await.map_err(unavailable(EXPIRING))?;
    Ok(expired.into_iter().map(|it| it.saga).collect())
}

async fn expired(
    connection: &mut PgConnection,
    shard: ShardId,
    now: Time,
    sagas: &[SagaId],
) -> Result<Vec<Expired>, Error> {
    sqlx::raw_sql(sql::EXPIRY_SESSION)
        .execute(&mut *connection)
        .await
        .map_err(unavailable(EXPIRING))?;
    sqlx::query(sql::EXPIRY_LOCK)
        .bind(shard_number(shard))
        .execute(&mut *connection)
        .await
        .map_err(unavailable(EXPIRING))?;
    let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.as_uuid()).collect();
    let rows = sqlx::query(sql::EXPIRED)
        .bind(shard_number(shard))
        .bind(Timestamp(now))
        .bind(ids)
        .fetch_all(connection)
        .await
        .map_err(unavailable(EXPIRING))?;
    rows.iter().map(rows::expired).collect()
}

async fn delete(
    connection: &mut PgConnection,
    shard: ShardId,
    expired: &[Expired],
) -> sqlx::Result<()> {
    let sagas: Vec<Uuid> = expired.iter().map(|it| it.saga.as_uuid()).collect();
    let keyed: Vec<(&Expired, [u8; 16])> = (expired.iter())
        .filter_map(|it| Some((it, hash_128(it.key.as_ref()?.as_bytes()).0)))
        .collect();
    let of_keys = |column: fn(&Expired) -> &str| -> Vec<&str> {
        keyed.iter().map(|(it, _)| column(it)).collect()
    };
    sqlx::query(sql::EXPIRE)
        .bind(shard_number(shard))
        .bind(sagas)
        .bind(of_keys(|it| &it.namespace))
        .bind(of_keys(|it| &it.definition))
        .bind(keyed.iter().map(|(_, hash)| &hash[..]).collect::<Vec<_>>())
        .bind(
            keyed
                .iter()
                .map(|(it, _)| it.saga.as_uuid())
                .collect::<Vec<_>>(),
        )
        .bind(vec![shard_number(shard); expired.len()])
        .execute(connection)
        .await?;
    Ok(())
}

const EXPIRING: &str = "deleting expired sagas";
