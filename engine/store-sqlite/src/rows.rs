//! SQLite's rows to the seam's values, and what its errors mean.

use std::sync::Arc;

use amends_core::fact::IncidentReason;
use amends_core::journal::{IncidentInsert, IncidentName, SagaState, Turn};
use amends_core::key::Hash128;
use amends_core::{OperationKind, SagaId, ShardId, Time};
use amends_store::{
    AppendError, DefinitionHash, DefinitionRecord, Error, IncidentGroup, KeyFound, Looked,
    SagaRecord, StoredRow, TurnRecord,
};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

pub(crate) fn saga(row: &SqliteRow) -> Result<SagaRecord, Error> {
    let state: i16 = get(row, 6)?;
    Ok(SagaRecord {
        id: saga_id(row, 0)?,
        namespace: Arc::from(get::<String>(row, 1)?),
        definition: Arc::from(get::<String>(row, 2)?),
        revision: get(row, 3)?,
        hash: DefinitionHash(bytes(row, 4)?),
        key: get(row, 5)?,
        state: SagaState::from_code(state).ok_or_else(|| corrupt("a saga's state", &state))?,
        wake_at: get::<Option<i64>>(row, 7)?.map(Time::from_micros),
        started_at: Time::from_micros(get(row, 8)?),
        updated_at: Time::from_micros(get(row, 9)?),
        ended_at: get::<Option<i64>>(row, 10)?.map(Time::from_micros),
        parent: maybe_saga_id(row, 11)?,
        expires_at: get::<Option<i64>>(row, 12)?.map(Time::from_micros),
    })
}

pub(crate) fn sleeper(row: &SqliteRow) -> Result<(SagaId, Time), Error> {
    Ok((saga_id(row, 0)?, Time::from_micros(get(row, 1)?)))
}

pub(crate) fn turn(row: &SqliteRow) -> Result<TurnRecord, Error> {
    let hash: Option<Vec<u8>> = get(row, 5)?;
    Ok(TurnRecord {
        saga: saga_id(row, 0)?,
        namespace: Arc::from(get::<String>(row, 1)?),
        definition: Arc::from(get::<String>(row, 2)?),
        turn: Turn {
            position: position(row, 3)?,
            concurrency_max: get(row, 4)?,
            ordering_hash: hash.map(|_| bytes(row, 5).map(Hash128)).transpose()?,
            granted: get(row, 6)?,
        },
    })
}

pub(crate) fn looked(row: &SqliteRow) -> Result<Looked, Error> {
    Ok(Looked {
        saga: saga_id(row, 0)?,
        due: get::<Option<i64>>(row, 1)?.map(Time::from_micros),
    })
}

/// An expired saga, with what names its key.
pub(crate) fn expired(row: &SqliteRow) -> Result<Expired, Error> {
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

pub(crate) fn incident(row: &SqliteRow) -> Result<IncidentInsert, Error> {
    let operation: Option<String> = get(row, 7)?;
    let operation = operation
        .map(|text| OperationKind::parse(&text).ok_or_else(|| corrupt("an operation", &text)));
    Ok(IncidentInsert {
        name: IncidentName {
            saga: saga_id(row, 0)?,
            number: get(row, 1)?,
        },
        namespace: Arc::from(get::<String>(row, 2)?),
        definition: Arc::from(get::<String>(row, 3)?),
        revision: get(row, 4)?,
        step: get(row, 5)?,
        item: get(row, 6)?,
        operation: operation.transpose()?,
        reason: reason(row, 8)?,
        code: get(row, 9)?,
        message: get(row, 10)?,
        opened_at: Time::from_micros(get(row, 11)?),
    })
}

pub(crate) fn incident_group(row: &SqliteRow) -> Result<IncidentGroup, Error> {
    Ok(IncidentGroup {
        definition: get(row, 0)?,
        revision: get(row, 1)?,
        step: get(row, 2)?,
        code: get(row, 3)?,
        reason: reason(row, 4)?,
        count: position(row, 5)?,
        oldest: Time::from_micros(get(row, 6)?),
        newest: Time::from_micros(get(row, 7)?),
    })
}

/// A revision and how many.
pub(crate) fn count(row: &SqliteRow) -> Result<(u32, u64), Error> {
    Ok((get(row, 0)?, position(row, 1)?))
}

/// A saga and its revision.
pub(crate) fn revision_found(row: &SqliteRow) -> Result<(SagaId, u32), Error> {
    Ok((saga_id(row, 0)?, get(row, 1)?))
}

pub(crate) fn stored_row(row: &SqliteRow) -> Result<StoredRow, Error> {
    Ok(StoredRow {
        saga: saga_id(row, 0)?,
        position: position(row, 1)?,
        at: Time::from_micros(get(row, 2)?),
        body: get(row, 3)?,
    })
}

pub(crate) fn key_found(row: &SqliteRow) -> Result<(usize, KeyFound), Error> {
    let index: i64 = get(row, 0)?;
    let found = KeyFound {
        saga: saga_id(row, 1)?,
        input_hash: Hash128(bytes(row, 2)?),
        // Another statement's.
        revision: 0,
    };
    Ok((
        usize::try_from(index).map_err(|_| corrupt("an index", &index))?,
        found,
    ))
}

pub(crate) fn definition(row: &SqliteRow) -> Result<DefinitionRecord, Error> {
    Ok(DefinitionRecord {
        namespace: get(row, 0)?,
        name: get(row, 1)?,
        revision: get(row, 2)?,
        hash: DefinitionHash(bytes(row, 3)?),
        source: get(row, 4)?,
        normal_form: get(row, 5)?,
        applied_at: Time::from_micros(get(row, 6)?),
    })
}

pub(crate) fn shard(row: &SqliteRow) -> Result<ShardId, Error> {
    get::<u16>(row, 0).map(ShardId)
}

pub(crate) fn position(row: &SqliteRow, column: usize) -> Result<u64, Error> {
    let position: i64 = get(row, column)?;
    u64::try_from(position).map_err(|_| corrupt("a position", &position))
}

pub(crate) fn bytes<const N: usize>(row: &SqliteRow, column: usize) -> Result<[u8; N], Error> {
    let bytes: Vec<u8> = get(row, column)?;
    bytes
        .try_into()
        .map_err(|bytes: Vec<u8>| corrupt("bytes of length", &bytes.len()))
}

pub(crate) fn get<'r, T>(row: &'r SqliteRow, column: usize) -> Result<T, Error>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column)
        .map_err(|error| Error::Corrupt(error.to_string()))
}

fn saga_id(row: &SqliteRow, column: usize) -> Result<SagaId, Error> {
    let text: String = get(row, column)?;
    text.parse().map_err(|_| corrupt("a saga id", &text))
}

fn maybe_saga_id(row: &SqliteRow, column: usize) -> Result<Option<SagaId>, Error> {
    let text: Option<String> = get(row, column)?;
    text.map(|text| text.parse().map_err(|_| corrupt("a saga id", &text)))
        .transpose()
}

fn reason(row: &SqliteRow, column: usize) -> Result<IncidentReason, Error> {
    let text: String = get(row, column)?;
    IncidentReason::parse(&text).ok_or_else(|| corrupt("an incident's reason", &text))
}

fn corrupt(what: &str, value: &dyn std::fmt::Debug) -> Error {
    Error::Corrupt(format!("{what} {value:?}"))
}

/// The error of anything but a batch.
pub(crate) fn unavailable(what: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| Error::Unavailable {
        what,
        source: error.into(),
    }
}

/// The error of a batch before its COMMIT: nothing was written, whatever it is.
pub(crate) fn definite(error: sqlx::Error) -> AppendError {
    match code(&error).map(|code| code & 0xff) {
        Some(BUSY | LOCKED) => AppendError::Again {
            source: error.into(),
        },
        Some(CONSTRAINT | TOO_BIG | MISMATCH) => AppendError::Data {
            source: error.into(),
        },
        _ => AppendError::Unavailable {
            source: error.into(),
        },
    }
}

/// The error of a text that ends with COMMIT: what its data led to is definite, and so is a refusal to begin or to end the
/// transaction. Any other may have come in the midst of the COMMIT, and whether it came before is not told.
pub(crate) fn of_last(error: sqlx::Error) -> AppendError {
    match definite(error) {
        AppendError::Unavailable { source } => AppendError::Unknown { source },
        error => error,
    }
}

/// A row with this key was there.
pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(
        code(error),
        Some(CONSTRAINT_PRIMARY_KEY | CONSTRAINT_UNIQUE)
    )
}

/// SQLite's extended result code.
fn code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}

const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const TOO_BIG: u32 = 18;
const CONSTRAINT: u32 = 19;
const MISMATCH: u32 = 20;
const CONSTRAINT_PRIMARY_KEY: u32 = 1_555;
const CONSTRAINT_UNIQUE: u32 = 2_067;
