//! Sagas as the store knows them: their rows, their histories, their keys, and how to ask for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amends_core::journal::{JournalRow, SagaInsert, SagaState, SagaUpdate, Turn};
use amends_core::key::Hash128;
use amends_core::{SagaId, Time};
use amends_definitions::DefinitionHash;

use crate::record::{self, RecordError};

/// A saga's row and journal rows.
#[derive(Clone, Debug)]
pub struct SagaHistory {
    /// Its row.
    pub saga: SagaRecord,
    /// Its journal rows in order, or why they cannot be read.
    pub rows: Result<Vec<JournalRow>, RecordError>,
}

/// A row of `sagas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaRecord {
    /// The saga.
    pub id: SagaId,
    /// The tenant.
    pub namespace: Arc<str>,
    /// The definition's id.
    pub definition: Arc<str>,
    /// The revision.
    pub revision: u32,
    /// The revision's hash.
    pub hash: DefinitionHash,
    /// The business key.
    pub key: Option<String>,
    /// The saga that asked for it.
    pub parent: Option<SagaId>,
    /// Where it is.
    pub state: SagaState,
    /// When it has to be in memory again: as [`SagaInsert::wake_at`].
    pub wake_at: Option<Time>,
    /// When it began.
    pub started_at: Time,
    /// When its state last changed.
    pub updated_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// When retention may delete it.
    pub expires_at: Option<Time>,
}

/// A saga that holds a turn, or waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnRecord {
    /// The saga.
    pub saga: SagaId,
    /// The tenant.
    pub namespace: Arc<str>,
    /// The definition's id.
    pub definition: Arc<str>,
    /// Its place among those that run one after the other, or so many at a time.
    pub turn: Turn,
}

/// A question for a business key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLookup {
    /// The tenant.
    pub namespace: Arc<str>,
    /// The definition's id.
    pub definition: Arc<str>,
    /// xxh3-128 of the key.
    pub key_hash: Hash128,
}

/// The saga that has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFound {
    /// The saga.
    pub saga: SagaId,
    /// xxh3-128 of its canonical input.
    pub input_hash: Hash128,
    /// The revision that it is pinned to.
    pub revision: u32,
}

/// Which sagas to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// The tenant.
    pub namespace: String,
    /// Only these states; empty for all.
    pub states: Vec<SagaState>,
    /// Only this definition.
    pub definition: Option<String>,
    /// Only the saga with this key (and `definition`, if given).
    pub key: Option<String>,
    /// Only ids below this one: the last of the page before.
    pub before: Option<SagaId>,
    /// How many at most.
    pub limit: usize,
}

impl ListQuery {
    /// Only states are asked for that few sagas are in: any but completed.
    #[must_use]
    pub fn is_of_few(&self) -> bool {
        !self.states.is_empty() && !self.states.contains(&SagaState::Completed)
    }
}

impl SagaRecord {
    /// Changes the row as a batch's update says.
    pub fn apply(&mut self, update: &SagaUpdate) {
        self.state = update.state;
        self.wake_at = update.wake_at;
        self.updated_at = update.updated_at;
        self.ended_at = update.ended_at;
        self.expires_at = update.expires_at;
    }
}

impl From<&SagaInsert> for SagaRecord {
    fn from(insert: &SagaInsert) -> Self {
        Self {
            id: insert.id,
            namespace: Arc::clone(&insert.namespace),
            definition: Arc::clone(&insert.definition),
            revision: insert.revision,
            hash: insert.hash,
            key: insert.key.clone(),
            parent: insert.parent,
            state: insert.state,
            wake_at: insert.wake_at,
            started_at: insert.started_at,
            updated_at: insert.updated_at,
            ended_at: insert.ended_at,
            expires_at: insert.expires_at,
        }
    }
}

/// A journal row as a database gives it, its body not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Whose it is.
    pub saga: SagaId,
    /// Its place in the shard's journal.
    pub position: u64,
    /// When it was decided.
    pub at: Time,
    /// The facts, as [`record::encode`] wrote them.
    pub body: Vec<u8>,
}

/// Gives each saga its rows, in the order of both. A body that cannot be read spoils its own saga alone.
#[must_use]
pub fn histories(sagas: Vec<SagaRecord>, rows: Vec<StoredRow>) -> Vec<SagaHistory> {
    let mut by_saga: BTreeMap<SagaId, Result<Vec<JournalRow>, RecordError>> = BTreeMap::new();
    for row in rows {
        let history = by_saga.entry(row.saga).or_insert_with(|| Ok(Vec::new()));
        let Ok(read) = history else { continue };
        match record::decode(row.position, &row.body) {
            Ok(facts) => read.push(JournalRow {
                position: row.position,
                saga: row.saga,
                at: row.at,
                facts,
            }),
            Err(error) => *history = Err(error),
        }
    }
    sagas
        .into_iter()
        .map(|saga| SagaHistory {
            rows: by_saga.remove(&saga.id).unwrap_or_else(|| Ok(Vec::new())),
            saga,
        })
        .collect()
}

/// The sagas asked for, each once, in the order asked for.
#[must_use]
pub fn distinct(sagas: &[SagaId]) -> Vec<SagaId> {
    let mut seen = BTreeSet::new();
    let fresh = sagas.iter().copied().filter(|saga| seen.insert(*saga));
    fresh.collect()
}
