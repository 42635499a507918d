//! PostgreSQL's rows to the seam's values.

use std::sync::Arc;

use amends_core::fact::IncidentReason;
use amends_core::journal::{IncidentInsert, IncidentName, SagaState, Turn};
use amends_core::key::Hash128;
use amends_core::{Incarnation, OperationKind, SagaId, Time};
use amends_store::{
    Author, DefinitionHash, DefinitionRecord, Error, Identity, IncidentGroup, KeyFound, Looked,
    SagaRecord, StoredRow, TurnRecord,
};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::timestamp::Timestamp;

pub(crate) fn identity(row: &PgRow) -> Result<Identity, Error> {
    let shard_count: i16 = get(row, 1)?;
    Ok(Identity {
        incarnation: Incarnation(get(row, 0)?),
        shard_count: u16::try_from(shard_count)
            .map_err(|_| corrupt("a shard count", &shard_count))?,
        now: time(row, 2)?,
    })
}

pub(crate) fn saga(row: &PgRow) -> Result<SagaRecord, Error> {
    let state: i16 = get(row, 6)?;
    Ok(SagaRecord {
        id: saga_id(row, 0)?,
        namespace: Arc::from(get::<&str>(row, 1)?),
        definition: Arc::from(get::<&str>(row, 2)?),
        revision: revision(row, 3)?,
        hash: DefinitionHash(bytes(row, 4)?),
        key: get(row, 5)?,
        state: SagaState::from_code(state).ok_or_else(|| corrupt("a saga's state", &state))?,
        wake_at: maybe_time(row, 7)?,
        started_at: time(row, 8)?,
        updated_at: time(row, 9)?,
        ended_at: maybe_time(row, 10)?,
        parent: maybe_saga_id(row, 11)?,
        expires_at: maybe_time(row, 12)?,
    })
}

pub(crate) fn sleeper(row: &PgRow) -> Result<(SagaId, Time), Error> {
    Ok((saga_id(row, 0)?, time(row, 1)?))
}

pub(crate) fn turn(row: &PgRow) -> Result<TurnRecord, Error> {
    let max: Option<i64> = get(row, 4)?;
    let hash: Option<&[u8]> = get(row, 5)?;
    Ok(TurnRecord {
        saga: saga_id(row, 0)?,
        namespace: Arc::from(get::<&str>(row, 1)?),
        definition: Arc::from(get::<&str>(row, 2)?),
        turn: Turn {
            position: position(row, 3)?,
            concurrency_max: max.map(|max| number("a limit", max)).transpose()?,
            ordering_hash: hash.map(|_| bytes(row, 5).map(Hash128)).transpose()?,
            granted: get(row, 6)?,
        },
    })
}

pub(crate) fn looked(row: &PgRow) -> Result<Looked, Error> {
    Ok(Looked {
        saga: saga_id(row, 0)?,
        due: maybe_time(row, 1)?,
    })
}

/// An expired saga, with what names its key.
pub(crate) fn expired(row: &PgRow) -> Result<Expired, Error> {
    Ok(Expired {
        saga: saga_id(row, 0)?,
        namespace: get(row, 1)?,
        definition: get(row, 2)?,
        key: get(row, 3)?,
    })
}

pub(crate) struct Expired {
    pub(crate) saga: SagaId,
    pub(crate) namespace: String,
    pub(crate) definition: String,
    pub(crate) key: Option<String>,
}

pub(crate) fn incident(row: &PgRow) -> Result<IncidentInsert, Error> {
    let operation: Option<&str> = get(row, 7)?;
    let operation = operation
        .map(|text| OperationKind::parse(text).ok_or_else(|| corrupt("an operation", &text)));
    Ok(IncidentInsert {
        name: IncidentName {
            saga: saga_id(row, 0)?,
            number: number("an incident's number", get(row, 1)?)?,
        },
        namespace: Arc::from(get::<&str>(row, 2)?),
        definition: Arc::from(get::<&str>(row, 3)?),
        revision: revision(row, 4)?,
        step: get(row, 5)?,
        item: number("an item", get(row, 6)?)?,
        operation: operation.transpose()?,
        reason: reason(row, 8)?,
        code: get(row, 9)?,
        message: get(row, 10)?,
        opened_at: time(row, 11)?,
    })
}

pub(crate) fn incident_group(row: &PgRow) -> Result<IncidentGroup, Error> {
    Ok(IncidentGroup {
        definition: get(row, 0)?,
        revision: revision(row, 1)?,
        step: get(row, 2)?,
        code: get(row, 3)?,
        reason: reason(row, 4)?,
        count: position(row, 5)?,
        oldest: time(row, 6)?,
        newest: time(row, 7)?,
    })
}

/// A revision and how many.
pub(crate) fn count(row: &PgRow) -> Result<(u32, u64), Error> {
    Ok((revision(row, 0)?, position(row, 1)?))
}

/// A place among those asked for, from 1, and a revision.
pub(crate) fn revision_found(row: &PgRow) -> Result<(u64, u32), Error> {
    Ok((position(row, 0)?, revision(row, 1)?))
}

pub(crate) fn stored_row(row: &PgRow) -> Result<StoredRow, Error> {
    Ok(StoredRow {
        saga: saga_id(row, 0)?,
        position: position(row, 1)?,
        at: time(row, 2)?,
        body: get(row, 3)?,
    })
}

pub(crate) fn author(row: &PgRow) -> Result<Author, Error> {
    Ok(Author {
        epoch: position(row, 0)?,
        batch: get::<Uuid>(row, 1)?,
    })
}

/// The place of a key among those asked for, from 1, and what was found.
pub(crate) fn key_found(row: &PgRow) -> Result<(u64, KeyFound), Error> {
    let found = KeyFound {
        saga: saga_id(row, 1)?,
        input_hash: Hash128(bytes(row, 2)?),
        // Another statement's.
        revision: 0,
    };
    Ok((position(row, 0)?, found))
}

pub(crate) fn definition(row: &PgRow) -> Result<DefinitionRecord, Error> {
    Ok(DefinitionRecord {
        namespace: get(row, 0)?,
        name: get(row, 1)?,
        revision: revision(row, 2)?,
        hash: DefinitionHash(bytes(row, 3)?),
        source: get(row, 4)?,
        normal_form: get(row, 5)?,
        applied_at: time(row, 6)?,
    })
}

pub(crate) fn position(row: &PgRow, column: usize) -> Result<u64, Error> {
    let position: i64 = get(row, column)?;
    u64::try_from(position).map_err(|_| corrupt("a position", &position))
}

pub(crate) fn shard(row: &PgRow) -> Result<amends_core::ShardId, Error> {
    let shard: i16 = get(row, 0)?;
    u16::try_from(shard)
        .map(amends_core::ShardId)
        .map_err(|_| corrupt("a shard", &shard))
}

pub(crate) fn time(row: &PgRow, column: usize) -> Result<Time, Error> {
    get::<Timestamp>(row, column).map(|timestamp| timestamp.0)
}

pub(crate) fn get<'r, T>(row: &'r PgRow, column: usize) -> Result<T, Error>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(column)
        .map_err(|error| Error::Corrupt(error.to_string()))
}

fn maybe_time(row: &PgRow, column: usize) -> Result<Option<Time>, Error> {
    Ok(get::<Option<Timestamp>>(row, column)?.map(|timestamp| timestamp.0))
}

fn saga_id(row: &PgRow, column: usize) -> Result<SagaId, Error> {
    let uuid: Uuid = get(row, column)?;
    SagaId::from_uuid(uuid).map_err(|_| corrupt("a saga id", &uuid))
}

fn maybe_saga_id(row: &PgRow, column: usize) -> Result<Option<SagaId>, Error> {
    let uuid: Option<Uuid> = get(row, column)?;
    uuid.map(|uuid| SagaId::from_uuid(uuid).map_err(|_| corrupt("a saga id", &uuid)))
        .transpose()
}

fn reason(row: &PgRow, column: usize) -> Result<IncidentReason, Error> {
    let text: &str = get(row, column)?;
    IncidentReason::parse(text).ok_or_else(|| corrupt("an incident's reason", &text))
}

fn number(what: &str, number: i64) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| corrupt(what, &number))
}

pub(crate) fn revision(row: &PgRow, column: usize) -> Result<u32, Error> {
    let revision: i32 = get(row, column)?;
    u32::try_from(revision).map_err(|_| corrupt("a revision", &revision))
}

fn bytes<const N: usize>(row: &PgRow, column: usize) -> Result<[u8; N], Error> {
    let bytes: &[u8] = get(row, column)?;
    bytes
        .try_into()
        .map_err(|_| corrupt("bytes of length", &bytes.len()))
}

fn corrupt(what: &str, value: &dyn std::fmt::Debug) -> Error {
    Error::Corrupt(format!("{what} {value:?}"))
}
