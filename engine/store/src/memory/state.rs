//! What the memory store holds, and how a batch changes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amends_core::journal::{IncidentInsert, IncidentName, SagaInsert, ShardBatch, Turn};
use amends_core::key::Hash128;
use amends_core::{SagaId, ShardId, Time};
use uuid::Uuid;

use crate::{
    AppendError, Author, Batch, DefinitionRecord, KeyFound, SagaRecord, StoredRow, Tail, record,
};

#[derive(Default)]
pub(super) struct State {
    pub(super) now: Time,
    pub(super) journal: BTreeMap<(ShardId, u64), Row>,
    pub(super) expired: BTreeMap<ShardId, Expired>,
    pub(super) sagas: BTreeMap<SagaId, Saga>,
    pub(super) keys: BTreeMap<(String, String, Hash128), KeyFound>,
    pub(super) incidents: BTreeMap<IncidentName, IncidentInsert>,
    pub(super) definitions: BTreeMap<(String, String), Vec<Stored>>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) owners: BTreeMap<ShardId, String>,
    pub(super) faults: VecDeque<Fault>,
    /// Whether each is done none the less.
    pub(super) expire_faults: VecDeque<bool>,
}

/// A node's row.
pub(super) struct Node {
    /// None once it has given up its lease.
    pub(super) process: Option<Uuid>,
    pub(super) expires_at: Time,
    pub(super) clock_until: Time,
}

/// A saga's row.
pub(super) struct Saga {
    pub(super) record: SagaRecord,
    /// None once it has ended.
    pub(super) turn: Option<Turn>,
}

pub(super) struct Row {
    pub(super) author: Author,
    pub(super) saga: Option<SagaId>,
    pub(super) at: Time,
    pub(super) body: Vec<u8>,
}

/// How many rows of a journal retention deleted from an epoch on.
#[derive(Clone, Copy, Default)]
pub(super) struct Expired {
    pub(super) epoch: u64,
    pub(super) rows: u64,
}

/// A revision.
pub(super) struct Stored {
    pub(super) record: DefinitionRecord,
    pub(super) deleted: bool,
}

pub(super) struct Fault {
    pub(super) error: AppendError,
    pub(super) landed: bool,
}

/// It has not ended, or its end is provisional.
pub(super) fn is_needed(saga: &SagaRecord, sagas: &BTreeMap<SagaId, Saga>) -> bool {
    !saga.state.is_terminal() || !is_settled(saga, sagas, None)
}

/// No saga above this one that has ended can still want it undone; with a time, this saga's retention has passed since
/// the end of its parent as well.
pub(super) fn is_settled(
    saga: &SagaRecord,
    sagas: &BTreeMap<SagaId, Saga>,
    now: Option<Time>,
) -> bool {
    let Some(parent) = saga.parent.and_then(|parent| sagas.get(&parent)) else {
        return true;
    };
    let Some(ended_at) = (parent.record.ended_at).filter(|_| parent.record.state.is_terminal())
    else {
        return false;
    };
    let has_passed = |now: Time| match (saga.expires_at, saga.ended_at) {
        (Some(expires_at), Some(own_end)) => ended_at + expires_at.since(own_end) <= now,
        _ => false,
    };
    parent.record.parent.is_none() && now.is_none_or(has_passed)
}

impl State {
    /// Does a write, or what the next fault makes of it.
    pub(super) fn faulty(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), AppendError>,
    ) -> Result<(), AppendError> {
        match self.faults.pop_front() {
            None => write(self),
            Some(Fault {
                error,
                landed: false,
            }) => Err(error),
            Some(Fault {
                error,
                landed: true,
            }) => write(self).and(Err(error)),
        }
    }

    pub(super) fn positions_are_free(&self, places: &[(ShardId, u64)]) -> Result<(), AppendError> {
        let taken: BTreeSet<ShardId> = places
            .iter()
            .filter(|place| self.journal.contains_key(place))
            .map(|(shard, _)| *shard)
            .collect();
        if !taken.is_empty() {
            return Err(AppendError::PositionTaken(taken.into_iter().collect()));
        }
        let distinct: BTreeSet<_> = places.iter().collect();
        if distinct.len() == places.len() {
            Ok(())
        } else {
            Err(data("a position twice in one batch"))
        }
    }

    pub(super) fn rows_are_new(&self, batch: &Batch) -> Result<(), AppendError> {
        let (mut sagas, mut keys) = (BTreeSet::new(), BTreeSet::new());
        let mut incidents = BTreeSet::new();
        for of_shard in &batch.shards {
            for incident in &of_shard.incidents_opened {
                let name = incident.name;
                if self.incidents.contains_key(&name) || !incidents.insert(name) {
                    return Err(data("an incident twice"));
                }
            }
            for insert in &of_shard.inserts {
                if self.sagas.contains_key(&insert.id) || !sagas.insert(insert.id) {
                    return Err(data("a saga twice"));
                }
            }
            for key in &of_shard.keys {
                let key = (
                    key.namespace.to_string(),
                    key.definition.to_string(),
                    key.key_hash,
                );
                if self.keys.contains_key(&key) || !keys.insert(key) {
                    return Err(AppendError::KeyTaken);
                }
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, id: Uuid, batch: &ShardBatch) {
        for row in &batch.rows {
            let written = Row {
                author: Author {
                    epoch: batch.epoch,
                    batch: id,
                },
                saga: Some(row.saga),
                at: row.at,
                body: record::encode(&row.facts),
            };
            self.journal.insert((batch.shard, row.position), written);
        }
        for insert in &batch.inserts {
            self.sagas.insert(insert.id, insert.into());
        }
        for update in &batch.updates {
            if let Some(saga) = self.sagas.get_mut(&update.id) {
                saga.record.apply(update);
                saga.turn = (saga.turn.filter(|_| !update.state.is_terminal())).map(|turn| Turn {
                    granted: update.turn_granted,
                    ..turn
                });
            }
        }
        for incident in &batch.incidents_opened {
            self.incidents.insert(incident.name, incident.clone());
        }
        for name in &batch.incidents_closed {
            self.incidents.remove(name);
        }
        for key in &batch.keys {
            let found = KeyFound {
                saga: key.saga,
                input_hash: key.input_hash,
                revision: (self.sagas.get(&key.saga)).map_or(0, |saga| saga.record.revision),
            };
            self.keys.insert(
                (
                    key.namespace.to_string(),
                    key.definition.to_string(),
                    key.key_hash,
                ),
                found,
            );
        }
    }

    pub(super) fn rows(
        &self,
        shard: ShardId,
        wanted: impl Fn(SagaId) -> bool,
        from: u64,
        limit: usize,
    ) -> Vec<StoredRow> {
        let rows = self
            .journal
            .range((shard, from)..=(shard, u64::MAX))
            .filter_map(|((_, position), row)| {
                let saga = row.saga.filter(|saga| wanted(*saga))?;
                Some(StoredRow {
                    saga,
                    position: *position,
                    at: row.at,
                    body: row.body.clone(),
                })
            });
        rows.take(limit).collect()
    }

    pub(super) fn tail(&self, shard: ShardId) -> Tail {
        let Some((&(_, last), row)) = self
            .journal
            .range((shard, 0)..=(shard, u64::MAX))
            .next_back()
        else {
            return Tail {
                shard,
                last: 0,
                epoch: 0,
                rows: 0,
                expired: 0,
            };
        };
        let epoch = row.author.epoch;
        let rows = self.journal.range((shard, epoch)..=(shard, last)).count() as u64;
        let expired = self.expired.get(&shard).filter(|it| it.epoch == epoch);
        Tail {
            shard,
            last,
            epoch,
            rows,
            expired: expired.map_or(0, |expired| expired.rows),
        }
    }
}

fn data(what: &str) -> AppendError {
    AppendError::Data {
        source: what.into(),
    }
}

impl From<&SagaInsert> for Saga {
    fn from(insert: &SagaInsert) -> Self {
        Self {
            record: insert.into(),
            turn: insert.turn.filter(|_| !insert.state.is_terminal()),
        }
    }
}
