//! A batch's statement, and its parameters: one array for each column. A statement has no more parts than its batch: a part
//! without rows costs as well.

use amends_core::OperationKind;
use amends_core::journal::{
    IncidentInsert, IncidentName, JournalRow, KeyInsert, SagaInsert, SagaUpdate, ShardBatch, Turn,
};
use amends_store::{Batch, record};
use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use crate::body::Body;
use crate::lane::{Query, shard_number};
use crate::timestamp::Timestamp;
use crate::{revision_number, signed, sql};

pub(crate) fn append_query(batch: &Batch) -> Query<'_> {
    let rows: Vec<(&ShardBatch, &JournalRow)> = batch
        .shards
        .iter()
        .flat_map(|b| b.rows.iter().map(move |row| (b, row)))
        .collect();
    let inserts: Vec<&SagaInsert> = batch.shards.iter().flat_map(|b| &b.inserts).collect();
    let updates: Vec<&SagaUpdate> = batch.shards.iter().flat_map(|b| &b.updates).collect();
    let keys: Vec<&KeyInsert> = batch.shards.iter().flat_map(|b| &b.keys).collect();
    let shape = Shape::of(batch);
    let mut arguments = PgArguments::default();
    let bodies: usize = (rows.iter())
        .map(|(_, row)| record::encoded_bytes(&row.facts) + ROW_BYTES)
        .sum();
    let sagas = (inserts.len() + updates.len() + keys.len()) * SAGA_BYTES;
    arguments.reserve(PARAMETERS, bodies + sagas);
    let query = sqlx::query_with(shape.statement(), arguments)
        .bind(column(&rows, |(b, _)| shard_number(b.shard)))
        .bind(column(&rows, |(_, row)| signed(row.position)))
        .bind(column(&rows, |(b, _)| signed(b.epoch)))
        .bind(column(&rows, |(_, row)| row.saga.as_uuid()))
        .bind(column(&rows, |(_, row)| Timestamp(row.at)))
        .bind(column(&rows, |(_, row)| Body(&row.facts)))
        .bind(batch.id);
    if shape == Shape::Rows {
        return query;
    }
    let query = bind_inserts(query, &inserts);
    if shape == Shape::Starts {
        return query;
    }
    let query = bind_keys(bind_updates(query, &updates), &keys);
    if shape == Shape::Calls {
        return query;
    }
    let query = bind_turns(query, &inserts);
    let opened: Vec<_> = (batch.shards.iter().flat_map(|b| &b.incidents_opened)).collect();
    let closed: Vec<_> = (batch.shards.iter().flat_map(|b| &b.incidents_closed)).collect();
    bind_closed(bind_opened(query, &opened), &closed)
}

/// What a row takes beside its body, and what takes a saga that begins, changes or has a key, about: room that is asked for at once.
const ROW_BYTES: usize = 80;
const SAGA_BYTES: usize = 200;
/// Of the statement that has the most.
const PARAMETERS: usize = 54;

/// What is in a batch; each shape has what those before it have, and its statement their parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Journal rows.
    Rows,
    /// And sagas that begin.
    Starts,
    /// And sagas that change, and keys.
    Calls,
    /// And turns, parents, sagas that end as they begin, and incidents.
    All,
}

impl Shape {
    /// The smallest that has all of it.
    fn of(batch: &Batch) -> Self {
        let plain = |insert: &SagaInsert| {
            insert.turn.is_none() && insert.parent.is_none() && insert.expires_at.is_none()
        };
        let all = |holds: fn(&ShardBatch) -> bool| batch.shards.iter().all(holds);
        if !all(|b| b.incidents_opened.is_empty() && b.incidents_closed.is_empty())
            || !batch.shards.iter().all(|b| b.inserts.iter().all(plain))
        {
            Self::All
        } else if !all(|b| b.updates.is_empty() && b.keys.is_empty()) {
            Self::Calls
        } else if !all(|b| b.inserts.is_empty()) {
            Self::Starts
        } else {
            Self::Rows
        }
    }

    fn statement(self) -> &'static str {
        match self {
            Self::Rows => sql::APPEND_ROWS,
            Self::Starts => sql::APPEND_STARTS,
            Self::Calls => sql::APPEND,
            Self::All => sql::APPEND_ALL,
        }
    }
}

fn bind_inserts<'q>(query: Query<'q>, sagas: &[&'q SagaInsert]) -> Query<'q> {
    query
        .bind(column(sagas, |saga| shard_number(saga.id.shard())))
        .bind(column(sagas, |saga| saga.id.as_uuid()))
        .bind(column(sagas, |saga| &*saga.namespace))
        .bind(column(sagas, |saga| &*saga.definition))
        .bind(column(sagas, |saga| revision_number(saga.revision)))
        .bind(column(sagas, |saga| &saga.hash.0[..]))
        .bind(column(sagas, |saga| saga.key.as_deref()))
        .bind(column(sagas, |saga| saga.state.code()))
        .bind(column(sagas, |saga| saga.wake_at.map(Timestamp)))
        .bind(column(sagas, |saga| Timestamp(saga.started_at)))
        .bind(column(sagas, |saga| Timestamp(saga.updated_at)))
        .bind(column(sagas, |saga| saga.ended_at.map(Timestamp)))
}

fn bind_updates<'q>(query: Query<'q>, sagas: &[&'q SagaUpdate]) -> Query<'q> {
    query
        .bind(column(sagas, |saga| shard_number(saga.id.shard())))
        .bind(column(sagas, |saga| saga.id.as_uuid()))
        .bind(column(sagas, |saga| saga.state.code()))
        .bind(column(sagas, |saga| saga.wake_at.map(Timestamp)))
        .bind(column(sagas, |saga| Timestamp(saga.updated_at)))
        .bind(column(sagas, |saga| saga.ended_at.map(Timestamp)))
        .bind(column(sagas, |saga| saga.expires_at.map(Timestamp)))
        .bind(column(sagas, |saga| saga.turn_granted))
}

fn bind_turns<'q>(query: Query<'q>, sagas: &[&'q SagaInsert]) -> Query<'q> {
    let turn = |saga: &SagaInsert| saga.turn.filter(|_| !saga.state.is_terminal());
    let hash = |turn: Turn| turn.ordering_hash.map(|hash| hash.0.to_vec());
    query
        .bind(column(sagas, |saga| {
            turn(saga).map(|turn| signed(turn.position))
        }))
        .bind(column(sagas, |saga| {
            turn(saga)
                .and_then(|turn| turn.concurrency_max)
                .map(i64::from)
        }))
        .bind(column(sagas, |saga| turn(saga).and_then(hash)))
        .bind(column(sagas, |saga| {
            turn(saga).is_none_or(|turn| turn.granted)
        }))
        .bind(column(sagas, |saga| {
            saga.parent.map(|parent| parent.as_uuid())
        }))
        .bind(column(sagas, |saga| saga.expires_at.map(Timestamp)))
}

fn bind_opened<'q>(query: Query<'q>, incidents: &[&'q IncidentInsert]) -> Query<'q> {
    query
        .bind(column(incidents, |it| shard_number(it.name.saga.shard())))
        .bind(column(incidents, |it| it.name.saga.as_uuid()))
        .bind(column(incidents, |it| i64::from(it.name.number)))
        .bind(column(incidents, |it| &*it.namespace))
        .bind(column(incidents, |it| &*it.definition))
        .bind(column(incidents, |it| revision_number(it.revision)))
        .bind(column(incidents, |it| it.step.as_deref()))
        .bind(column(incidents, |it| i64::from(it.item)))
        .bind(column(incidents, |it| {
            it.operation.map(OperationKind::as_str)
        }))
        .bind(column(incidents, |it| it.reason.as_str()))
        .bind(column(incidents, |it| it.code.as_deref()))
        .bind(column(incidents, |it| it.message.as_str()))
        .bind(column(incidents, |it| Timestamp(it.opened_at)))
}

fn bind_closed<'q>(query: Query<'q>, names: &[&'q IncidentName]) -> Query<'q> {
    query
        .bind(column(names, |name| shard_number(name.saga.shard())))
        .bind(column(names, |name| name.saga.as_uuid()))
        .bind(column(names, |name| i64::from(name.number)))
}

fn bind_keys<'q>(query: Query<'q>, keys: &[&'q KeyInsert]) -> Query<'q> {
    query
        .bind(column(keys, |key| &*key.namespace))
        .bind(column(keys, |key| &*key.definition))
        .bind(column(keys, |key| &key.key_hash.0[..]))
        .bind(column(keys, |key| key.saga.as_uuid()))
        .bind(column(keys, |key| &key.input_hash.0[..]))
}

/// An array parameter: one column of the rows.
fn column<T: Copy, C>(rows: &[T], value: impl Fn(T) -> C) -> Vec<C> {
    rows.iter().map(|row| value(*row)).collect()
}
