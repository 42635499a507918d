//! A store in memory: the double of a database for simulations and tests, deterministic, with faults on demand. Bodies
//! go through [`record`] as everywhere, so that what these tests read was written as a database would have it.
//!
//! Deliberately not here: durability. When the last handle goes, everything goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amends_core::journal::ShardBatch;
use amends_core::key::Hash128;
use amends_core::{Incarnation, SagaId, ShardId, Time};
use async_trait::async_trait;
use uuid::Uuid;

use crate::record;
use crate::{
    AppendError, Author, Batch, DefinitionQuery, DefinitionRecord, Error, Identity, KeyFound,
    KeyLookup, Lane, ListQuery, NewDefinition, NodeLease, SagaHistory, SagaRecord, Store,
    StoredRow, Tail, Takeover, histories,
};

/// A database in memory. Clones are handles to the same one.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

impl MemoryStore {
    /// An empty database whose clock stands at a fixed time until [`MemoryStore::set_now`] moves it.
    #[must_use]
    pub fn new(shard_count: u16) -> Self {
        Self::build(shard_count, None)
    }

    /// An empty database with a clock of the caller's.
    #[must_use]
    pub fn with_clock(shard_count: u16, clock: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Self::build(shard_count, Some(Box::new(clock)))
    }

    /// Moves the clock that stands still.
    pub fn set_now(&self, now: Time) {
        self.state().now = now;
    }

    /// Makes the next append or takeover of any lane fail with `error`; `landed` says whether it is written none the
    /// less, as an [`AppendError::Unknown`] may be. Several calls queue up.
    pub fn fail_next(&self, error: AppendError, landed: bool) {
        self.state().faults.push_back(Fault { error, landed });
    }

    /// Replaces the body of a journal row, as damage would. Without a row there, nothing happens.
    pub fn overwrite_body(&self, shard: ShardId, position: u64, body: &[u8]) {
        if let Some(row) = self.state().journal.get_mut(&(shard, position)) {
            row.body = body.to_vec();
        }
    }

    /// How many journal rows there are, takeover records included.
    #[must_use]
    pub fn journal_rows(&self) -> usize {
        self.state().journal.len()
    }

    fn build(shard_count: u16, clock: Option<Clock>) -> Self {
        let state = State {
            now: FIRST_NOW,
            ..State::default()
        };
        Self {
            shared: Arc::new(Shared {
                shard_count,
                clock,
                state: Mutex::new(state),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock has failed already; the state is whole all the same.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, state: &State) -> Time {
        self.shared
            .clock
            .as_ref()
            .map_or(state.now, |clock| clock())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn identity(&self) -> Result<Identity, Error> {
        let now = self.now(&self.state());
        Ok(Identity {
            incarnation: INCARNATION,
            shard_count: self.shared.shard_count,
            now,
        })
    }

    async fn open_lane(&self) -> Result<Box<dyn Lane>, Error> {
        Ok(Box::new(MemoryLane {
            store: self.clone(),
        }))
    }

    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error> {
        let mut state = self.state();
        let now = self.now(&state);
        state
            .nodes
            .insert(node.name.clone(), (node.process, now + node.lease));
        let mut held = BTreeSet::new();
        for &shard in shards
            .iter()
            .filter(|shard| shard.0 < self.shared.shard_count)
        {
            let owner = state
                .owners
                .get(&shard)
                .filter(|owner| **owner != node.name);
            let live = owner
                .and_then(|owner| state.nodes.get(owner))
                .is_some_and(|(_, until)| *until > now);
            if !live {
                state.owners.insert(shard, node.name.clone());
                held.insert(shard);
            }
        }
        Ok(held.into_iter().collect())
    }

    async fn renew(&self, node: &NodeLease) -> Result<Time, Error> {
        let mut state = self.state();
        let now = self.now(&state);
        match state.nodes.get_mut(&node.name) {
            Some((process, until)) if *process == node.process => *until = now + node.lease,
            _ => {
                return Err(Error::LeaseLost {
                    node: node.name.clone(),
                });
            }
        }
        Ok(now)
    }

    async fn release(&self, node: &NodeLease) -> Result<(), Error> {
        let mut state = self.state();
        if state
            .nodes
            .get(&node.name)
            .is_some_and(|(process, _)| *process == node.process)
        {
            state.nodes.remove(&node.name);
            state.owners.retain(|_, owner| *owner != node.name);
        }
        Ok(())
    }

    async fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        awake_before: Time,
        limit: usize,
    ) -> Result<Vec<SagaHistory>, Error> {
        let state = self.state();
        let sagas: Vec<SagaRecord> = state
            .sagas
            .values()
            .filter(|saga| saga.id.shard() == shard && !saga.state.is_terminal())
            .filter(|saga| after.is_none_or(|after| saga.id > after))
            .filter(|saga| saga.wake_at.is_none_or(|wake_at| wake_at <= awake_before))
            .take(limit)
            .cloned()
            .collect();
        let wanted: BTreeSet<SagaId> = sagas.iter().map(|saga| saga.id).collect();
        let rows = state.rows(shard, |saga| wanted.contains(&saga), 1, usize::MAX);
        Ok(histories(sagas, rows))
    }

    async fn history(
        &self,
        saga: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<Option<SagaHistory>, Error> {
        let state = self.state();
        let Some(record) = state.sagas.get(&saga).cloned() else {
            return Ok(None);
        };
        let rows = state.rows(saga.shard(), |other| other == saga, from, limit);
        Ok(histories(vec![record], rows).pop())
    }

    async fn lookup_keys(&self, keys: &[KeyLookup]) -> Result<Vec<Option<KeyFound>>, Error> {
        let state = self.state();
        let find = |key: &KeyLookup| {
            let key = (
                key.namespace.to_string(),
                key.definition.to_string(),
                key.key_hash,
            );
            state.keys.get(&key).copied()
        };
        Ok(keys.iter().map(find).collect())
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<SagaRecord>, Error> {
        let state = self.state();
        let wanted = |saga: &&SagaRecord| {
            *saga.namespace == *query.namespace
                && (query.states.is_empty() || query.states.contains(&saga.state))
                && query
                    .definition
                    .as_deref()
                    .is_none_or(|name| *saga.definition == *name)
                && query
                    .key
                    .as_deref()
                    .is_none_or(|key| saga.key.as_deref() == Some(key))
                && query.before.is_none_or(|before| saga.id < before)
        };
        Ok(state
            .sagas
            .values()
            .rev()
            .filter(wanted)
            .take(query.limit)
            .cloned()
            .collect())
    }

    async fn put_definition(
        &self,
        definition: &NewDefinition,
    ) -> Result<(DefinitionRecord, bool), Error> {
        let mut state = self.state();
        let applied_at = self.now(&state);
        let name = (definition.namespace.clone(), definition.name.clone());
        let revisions = state.definitions.entry(name).or_default();
        if let Some(newest) = revisions
            .last()
            .filter(|newest| newest.hash == definition.hash)
        {
            return Ok((newest.clone(), false));
        }
        let revision = revisions.last().map_or(1, |newest| newest.revision + 1);
        let record = definition.at_revision(revision, applied_at);
        revisions.push(record.clone());
        Ok((record, true))
    }

    async fn definition(&self, query: &DefinitionQuery) -> Result<Option<DefinitionRecord>, Error> {
        let state = self.state();
        let of = |namespace: &String, name: &String| {
            state
                .definitions
                .get(&(namespace.clone(), name.clone()))
                .into_iter()
                .flatten()
        };
        Ok(match query {
            DefinitionQuery::Newest { namespace, name } => of(namespace, name).last(),
            DefinitionQuery::Revision {
                namespace,
                name,
                revision,
            } => of(namespace, name).find(|record| record.revision == *revision),
            DefinitionQuery::Hash(hash) => state
                .definitions
                .values()
                .flatten()
                .find(|record| record.hash == *hash),
        }
        .cloned())
    }

    async fn list_definitions(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DefinitionRecord>, Error> {
        let state = self.state();
        let newest = state
            .definitions
            .iter()
            .filter(|((ns, name), _)| {
                ns == namespace && after.is_none_or(|after| name.as_str() > after)
            })
            .filter_map(|(_, revisions)| revisions.last());
        Ok(newest.take(limit).cloned().collect())
    }
}

struct MemoryLane {
    store: MemoryStore,
}

#[async_trait]
impl Lane for MemoryLane {
    async fn append(&mut self, batch: &Batch) -> Result<(), AppendError> {
        let mut state = self.store.state();
        state.faulty(|state| {
            let places = |b: &ShardBatch| -> Vec<_> {
                b.rows.iter().map(|row| (b.shard, row.position)).collect()
            };
            state.positions_are_free(&batch.shards.iter().flat_map(places).collect::<Vec<_>>())?;
            state.rows_are_new(batch)?;
            for of_shard in &batch.shards {
                state.write(batch.id, of_shard);
            }
            Ok(())
        })
    }

    async fn tails(&mut self, shards: &[ShardId]) -> Result<Vec<u64>, Error> {
        let state = self.store.state();
        shards
            .iter()
            .map(|shard| state.tail(*shard).checked())
            .collect()
    }

    async fn take_over(&mut self, records: &[Takeover]) -> Result<(), AppendError> {
        let mut state = self.store.state();
        state.faulty(|state| {
            let places: Vec<_> = records
                .iter()
                .map(|record| (record.shard, record.position))
                .collect();
            state.positions_are_free(&places)?;
            for record in records {
                let row = Row {
                    author: Author {
                        epoch: record.position,
                        batch: record.batch,
                    },
                    saga: None,
                    at: record.at,
                    body: record::encode_takeover(&record.node),
                };
                state.journal.insert((record.shard, record.position), row);
            }
            Ok(())
        })
    }

    async fn author(&mut self, shard: ShardId, position: u64) -> Result<Option<Author>, Error> {
        Ok(self
            .store
            .state()
            .journal
            .get(&(shard, position))
            .map(|row| row.author))
    }
}

type Clock = Box<dyn Fn() -> Time + Send + Sync>;

struct Shared {
    shard_count: u16,
    clock: Option<Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Time,
    journal: BTreeMap<(ShardId, u64), Row>,
    sagas: BTreeMap<SagaId, SagaRecord>,
    keys: BTreeMap<(String, String, Hash128), KeyFound>,
    definitions: BTreeMap<(String, String), Vec<DefinitionRecord>>,
    nodes: BTreeMap<String, (Uuid, Time)>,
    owners: BTreeMap<ShardId, String>,
    faults: VecDeque<Fault>,
}

struct Row {
    author: Author,
    saga: Option<SagaId>,
    at: Time,
    body: Vec<u8>,
}

struct Fault {
    error: AppendError,
    landed: bool,
}

impl State {
    /// Does a write, or what the next fault makes of it.
    fn faulty(
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

    fn positions_are_free(&self, places: &[(ShardId, u64)]) -> Result<(), AppendError> {
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

    fn rows_are_new(&self, batch: &Batch) -> Result<(), AppendError> {
        let (mut sagas, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for of_shard in &batch.shards {
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

    fn write(&mut self, id: Uuid, batch: &ShardBatch) {
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
                saga.apply(update);
            }
        }
        for key in &batch.keys {
            let found = KeyFound {
                saga: key.saga,
                input_hash: key.input_hash,
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

    fn rows(
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

    fn tail(&self, shard: ShardId) -> Tail {
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
            };
        };
        let epoch = row.author.epoch;
        let rows = self.journal.range((shard, epoch)..=(shard, last)).count() as u64;
        Tail {
            shard,
            last,
            epoch,
            rows,
        }
    }
}

fn data(what: &str) -> AppendError {
    AppendError::Data {
        source: what.into(),
    }
}

/// 2025-11-21, a Friday.
const FIRST_NOW: Time = Time::from_micros(1_763_712_000_000_000);
const INCARNATION: Incarnation =
    Incarnation(Uuid::from_u128(0x0a3e_0d5e_0000_4000_8000_0000_0000_0001));

#[cfg(test)]
mod tests;
