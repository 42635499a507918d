//! The alternative to one statement: BEGIN, a statement for each table, COMMIT. Deliberately not here: turns, keys and
//! incidents, which the measured batches do not have.

use amends_core::Time;
use amends_core::journal::{JournalRow, SagaInsert, SagaUpdate, ShardBatch};
use amends_store::{Batch, record};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::Failure;

const JOURNAL: &str = "INSERT INTO amends.journal (shard, position, epoch, batch_id, saga_id, kind, at, body) \
    SELECT n.shard, n.position, n.epoch, $7::uuid, n.saga_id, 1, 'epoch'::timestamptz + n.at_us * interval '1 us', n.body \
    FROM UNNEST($1::int2[], $2::int8[], $3::int8[], $4::uuid[], $5::int8[], $6::bytea[]) \
    AS n (shard, position, epoch, saga_id, at_us, body)";
const INSERT: &str = "INSERT INTO amends.sagas (shard, id, namespace, definition, revision, hash, state, started_at, updated_at) \
    SELECT n.shard, n.id, n.namespace, n.definition, n.revision, n.hash, n.state, \
    'epoch'::timestamptz + n.at_us * interval '1 us', 'epoch'::timestamptz + n.at_us * interval '1 us' \
    FROM UNNEST($1::int2[], $2::uuid[], $3::text[], $4::text[], $5::int4[], $6::bytea[], $7::int2[], $8::int8[]) \
    AS n (shard, id, namespace, definition, revision, hash, state, at_us)";
const UPDATE: &str = "UPDATE amends.sagas AS s SET state = n.state, \
    updated_at = 'epoch'::timestamptz + n.at_us * interval '1 us', \
    ended_at = 'epoch'::timestamptz + n.ended_us * interval '1 us', \
    expires_at = 'epoch'::timestamptz + n.expires_us * interval '1 us' \
    FROM UNNEST($1::int2[], $2::uuid[], $3::int2[], $4::int8[], $5::int8[], $6::int8[]) \
    AS n (shard, id, state, at_us, ended_us, expires_us) WHERE s.shard = n.shard AND s.id = n.id";

pub(crate) async fn open(url: &str) -> Result<PgConnection, Failure> {
    let mut connection = PgConnection::connect(url).await?;
    let set = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
        SET plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(set).execute(&mut connection).await?;
    Ok(connection)
}

pub(crate) async fn append(connection: &mut PgConnection, batch: &Batch) -> Result<(), Failure> {
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    let inserts: Vec<&SagaInsert> = batch.shards.iter().flat_map(|b| &b.inserts).collect();
    if !inserts.is_empty() {
        insert(connection, &inserts).await?;
    }
    let updates: Vec<&SagaUpdate> = batch.shards.iter().flat_map(|b| &b.updates).collect();
    if !updates.is_empty() {
        update(connection, &updates).await?;
    }
    journal(connection, batch).await?;
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(())
}

async fn journal(connection: &mut PgConnection, batch: &Batch) -> Result<(), Failure> {
    let rows: Vec<(&ShardBatch, &JournalRow)> = batch
        .shards
        .iter()
        .flat_map(|b| b.rows.iter().map(move |row| (b, row)))
        .collect();
    let column = |value: fn(&ShardBatch, &JournalRow) -> i64| -> Vec<i64> {
        rows.iter().map(|(b, row)| value(b, row)).collect()
    };
    sqlx::query(JOURNAL)
        .bind(
            rows.iter()
                .map(|(b, _)| signed(b.shard.0))
                .collect::<Vec<i16>>(),
        )
        .bind(column(|_, row| row.position.cast_signed()))
        .bind(column(|b, _| b.epoch.cast_signed()))
        .bind(
            rows.iter()
                .map(|(_, row)| row.saga.as_uuid())
                .collect::<Vec<Uuid>>(),
        )
        .bind(column(|_, row| row.at.as_micros()))
        .bind(
            rows.iter()
                .map(|(_, row)| record::encode(&row.facts))
                .collect::<Vec<Vec<u8>>>(),
        )
        .bind(batch.id)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert(connection: &mut PgConnection, sagas: &[&SagaInsert]) -> Result<(), Failure> {
    sqlx::query(INSERT)
        .bind(
            sagas
                .iter()
                .map(|it| signed(it.id.shard().0))
                .collect::<Vec<i16>>(),
        )
        .bind(
            sagas
                .iter()
                .map(|it| it.id.as_uuid())
                .collect::<Vec<Uuid>>(),
        )
        .bind(sagas.iter().map(|it| &*it.namespace).collect::<Vec<&str>>())
        .bind(
            sagas
                .iter()
                .map(|it| &*it.definition)
                .collect::<Vec<&str>>(),
        )
        .bind(
            sagas
                .iter()
                .map(|it| it.revision.cast_signed())
                .collect::<Vec<i32>>(),
        )
        .bind(
            sagas
                .iter()
                .map(|it| &it.hash.0[..])
                .collect::<Vec<&[u8]>>(),
        )
        .bind(sagas.iter().map(|it| it.state.code()).collect::<Vec<i16>>())
        .bind(
            sagas
                .iter()
                .map(|it| it.started_at.as_micros())
                .collect::<Vec<i64>>(),
        )
        .execute(connection)
        .await?;
    Ok(())
}

async fn update(connection: &mut PgConnection, sagas: &[&SagaUpdate]) -> Result<(), Failure> {
    let times = |time: fn(&SagaUpdate) -> Option<Time>| -> Vec<Option<i64>> {
        sagas
            .iter()
            .map(|it| time(it).map(Time::as_micros))
            .collect()
    };
    sqlx::query(UPDATE)
        .bind(
            sagas
                .iter()
                .map(|it| signed(it.id.shard().0))
                .collect::<Vec<i16>>(),
        )
        .bind(
            sagas
                .iter()
                .map(|it| it.id.as_uuid())
                .collect::<Vec<Uuid>>(),
        )
        .bind(sagas.iter().map(|it| it.state.code()).collect::<Vec<i16>>())
        .bind(times(|it| Some(it.updated_at)))
        .bind(times(|it| it.ended_at))
        .bind(times(|it| it.expires_at))
        .execute(connection)
        .await?;
    Ok(())
}

fn signed(shard: u16) -> i16 {
    shard.cast_signed()
}
