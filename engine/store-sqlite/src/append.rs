//! What a batch writes: a few statements of many rows each, within the lane's transaction.

use amends_core::journal::{
    IncidentInsert, IncidentName, JournalRow, KeyInsert, SagaInsert, SagaUpdate,
};
use amends_core::{OperationKind, ShardId, Time};
use amends_store::{AppendError, Batch, Takeover, record};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use uuid::Uuid;

use crate::lane::signed;
use crate::rows::{definite, is_duplicate};
use crate::sql::{self, Many};

pub(crate) enum Refusal {
    PositionTaken(sqlx::Error),
    Other(AppendError),
}

/// A journal row to be written.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    Transition(ShardId, u64, Uuid, &'a JournalRow),
    Takeover(&'a Takeover),
}

pub(crate) async fn write_rows(
    connection: &mut SqliteConnection,
    rows: &[Row<'_>],
    batch: &Batch,
) -> Result<(), Refusal> {
    insert(connection, &sql::INSERT_JOURNAL, rows, bind_row)
        .await
        .map_err(|error| {
            if is_duplicate(&error) {
                Refusal::PositionTaken(error)
            } else {
                Refusal::Other(definite(error))
            }
        })?;
    let keys: Vec<&KeyInsert> = batch.shards.iter().flat_map(|b| &b.keys).collect();
    insert(connection, &sql::INSERT_KEYS, &keys, bind_key)
        .await
        .map_err(|error| {
            Refusal::Other(if is_duplicate(&error) {
                AppendError::KeyTaken
            } else {
                definite(error)
            })
        })?;
    write_sagas(connection, batch)
        .await
        .map_err(|error| Refusal::Other(definite(error)))
}

async fn write_sagas(connection: &mut SqliteConnection, batch: &Batch) -> sqlx::Result<()> {
    let inserts: Vec<&SagaInsert> = batch.shards.iter().flat_map(|b| &b.inserts).collect();
    let plain = inserts.iter().all(|insert| {
        insert.turn.is_none() && insert.parent.is_none() && insert.expires_at.is_none()
    });
    if plain {
        insert(connection, &sql::INSERT_SAGAS, &inserts, bind_insert).await?;
    } else {
        insert(
            connection,
            &sql::INSERT_SAGAS_ALL,
            &inserts,
            bind_insert_all,
        )
        .await?;
    }
    let updates: Vec<&SagaUpdate> = batch.shards.iter().flat_map(|b| &b.updates).collect();
    insert(connection, &sql::UPDATE_SAGAS, &updates, bind_update).await?;
    let opened: Vec<_> = (batch.shards.iter().flat_map(|b| &b.incidents_opened)).collect();
    insert(connection, &sql::INSERT_INCIDENTS, &opened, bind_opened).await?;
    let closed: Vec<_> = (batch.shards.iter().flat_map(|b| &b.incidents_closed)).collect();
    insert(connection, &sql::CLOSE_INCIDENTS, &closed, bind_closed).await
}

pub(crate) type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

async fn insert<T: Copy>(
    connection: &mut SqliteConnection,
    statement: &'static Many,
    mut items: &[T],
    bind: impl for<'q> Fn(Query<'q>, T) -> Query<'q>,
) -> sqlx::Result<()> {
    while !items.is_empty() {
        let sized = statement.fit(items.len());
        let (now, later) = items.split_at(sized.rows);
        let query = now
            .iter()
            .fold(sqlx::query(sized.sql.as_str()), |query, item| {
                bind(query, *item)
            });
        query.execute(&mut *connection).await?;
        items = later;
    }
    Ok(())
}

fn bind_row<'q>(query: Query<'q>, row: Row<'_>) -> Query<'q> {
    match row {
        Row::Transition(shard, epoch, batch, row) => query
            .bind(shard.0)
            .bind(signed(row.position))
            .bind(signed(epoch))
            .bind(batch.as_bytes().to_vec())
            .bind(Some(row.saga.to_string()))
            .bind(KIND_TRANSITION)
            .bind(row.at.as_micros())
            .bind(record::encode(&row.facts)),
        Row::Takeover(takeover) => query
            .bind(takeover.shard.0)
            .bind(signed(takeover.position))
            .bind(signed(takeover.position))
            .bind(takeover.batch.as_bytes().to_vec())
            .bind(None::<String>)
            .bind(KIND_TAKEOVER)
            .bind(takeover.at.as_micros())
            .bind(record::encode_takeover(&takeover.node)),
    }
}

fn bind_insert<'q>(query: Query<'q>, saga: &SagaInsert) -> Query<'q> {
    query
        .bind(saga.id.shard().0)
        .bind(saga.id.to_string())
        .bind(saga.namespace.to_string())
        .bind(saga.definition.to_string())
        .bind(saga.revision)
        .bind(saga.hash.0.to_vec())
        .bind(saga.key.clone())
        .bind(saga.state.code())
        .bind(saga.wake_at.map(Time::as_micros))
        .bind(saga.started_at.as_micros())
        .bind(saga.updated_at.as_micros())
        .bind(saga.ended_at.map(Time::as_micros))
}

fn bind_insert_all<'q>(query: Query<'q>, saga: &SagaInsert) -> Query<'q> {
    let turn = saga.turn.filter(|_| !saga.state.is_terminal());
    bind_insert(query, saga)
        .bind(turn.map(|turn| signed(turn.position)))
        .bind(turn.and_then(|turn| turn.concurrency_max))
        .bind(
            turn.and_then(|turn| turn.ordering_hash)
                .map(|hash| hash.0.to_vec()),
        )
        .bind(turn.is_none_or(|turn| turn.granted))
        .bind(saga.parent.map(|parent| parent.to_string()))
        .bind(saga.expires_at.map(Time::as_micros))
}

fn bind_update<'q>(query: Query<'q>, saga: &SagaUpdate) -> Query<'q> {
    query
        .bind(saga.id.shard().0)
        .bind(saga.id.to_string())
        .bind(saga.state.code())
        .bind(saga.wake_at.map(Time::as_micros))
        .bind(saga.updated_at.as_micros())
        .bind(saga.ended_at.map(Time::as_micros))
        .bind(saga.expires_at.map(Time::as_micros))
        .bind(saga.turn_granted)
}

fn bind_opened<'q>(query: Query<'q>, incident: &IncidentInsert) -> Query<'q> {
    query
        .bind(incident.name.saga.shard().0)
        .bind(incident.name.saga.to_string())
        .bind(incident.name.number)
        .bind(incident.namespace.to_string())
        .bind(incident.definition.to_string())
        .bind(incident.revision)
        .bind(incident.step.clone())
        .bind(incident.item)
        .bind(incident.operation.map(OperationKind::as_str))
        .bind(incident.reason.as_str())
        .bind(incident.code.clone())
        .bind(incident.message.clone())
        .bind(incident.opened_at.as_micros())
}

fn bind_closed<'q>(query: Query<'q>, name: &IncidentName) -> Query<'q> {
    query
        .bind(name.saga.shard().0)
        .bind(name.saga.to_string())
        .bind(name.number)
}

fn bind_key<'q>(query: Query<'q>, key: &KeyInsert) -> Query<'q> {
    query
        .bind(key.namespace.to_string())
        .bind(key.definition.to_string())
        .bind(key.key_hash.0.to_vec())
        .bind(key.saga.to_string())
        .bind(key.input_hash.0.to_vec())
}

const KIND_TRANSITION: i16 = 1;
const KIND_TAKEOVER: i16 = 2;
