//! The store of these tests: the memory store, with faults on demand, and a note of what it was asked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use amends_core::journal::IncidentInsert;
use amends_core::{SagaId, ShardId, Time};
use amends_definitions::DefinitionHash;
use amends_store::{
    AppendError, Author, Batch, DefinitionQuery, DefinitionRecord, Definitions, Error, ExpiryPage,
    Identity, IncidentFilter, IncidentGroup, IncidentQuery, Incidents, KeyFound, KeyLookup, Lane,
    Leases, ListQuery, NewDefinition, NodeLease, SagaHistory, SagaRecord, Sagas, Store, Swept,
    Takeover, TurnRecord,
};
use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::world::{World, payload};

#[derive(Default)]
pub struct Faults {
    pub renewals_hang: AtomicBool,
    pub lookups: AtomicUsize,
    /// Reads of one history.
    pub histories: AtomicUsize,
    /// Reads of several histories: when, and of how many.
    pub reads: Mutex<Vec<(Instant, usize)>>,
    /// Sweeps of what has expired: when, of which shard, and how many at most.
    pub sweeps: Mutex<Vec<(Instant, ShardId, usize)>>,
    pub definitions_down: AtomicBool,
    pub keys_down: AtomicBool,
    /// A revision that the database has lost.
    pub lost: Mutex<Option<DefinitionHash>>,
    /// Revisions that were read are held up on their way back.
    pub definitions_held: watch::Sender<bool>,
    /// Everything that has ended expires as soon as its key was looked up.
    pub expire_after_lookup: AtomicBool,
    /// What has ended expires between the two looks of a read: at its row, and at its history.
    pub expire_while_read: AtomicBool,
    pub refuse_poison: AtomicBool,
    pub refused: AtomicUsize,
    pub broken: Mutex<Option<ShardId>>,
    pub takeovers_held: watch::Sender<bool>,
    pub appends_held: watch::Sender<bool>,
    /// Rows of each batch that waits to be written.
    pub appends: Mutex<Vec<usize>>,
}

impl Faults {
    fn note_read(&self, sagas: usize) {
        let mut reads = self.reads.lock().unwrap();
        reads.push((Instant::now(), sagas));
    }

    fn half_read(&self, history: SagaHistory) -> SagaHistory {
        let expires = self.expire_while_read.load(Ordering::Relaxed);
        if expires && history.saga.state.is_terminal() {
            let rows = Ok(Vec::new());
            return SagaHistory { rows, ..history };
        }
        history
    }

    fn note_sweep(&self, shard: ShardId, limit: usize) {
        let mut sweeps = self.sweeps.lock().unwrap();
        sweeps.push((Instant::now(), shard, limit));
    }
}

struct FaultyLane {
    lane: Box<dyn Lane>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Lane for FaultyLane {
    async fn append(&mut self, batch: &Batch) -> Result<(), AppendError> {
        let poison = payload(r#"{"poison":true}"#);
        let starts = batch
            .shards
            .iter()
            .flat_map(|shard| &shard.rows)
            .flat_map(|row| &row.facts);
        let poisoned = starts
            .filter_map(|fact| {
                if let amends_core::Fact::Started(started) = fact {
                    Some(&started.input)
                } else {
                    None
                }
            })
            .any(|input| *input == poison);
        if poisoned && self.faults.refuse_poison.load(Ordering::Relaxed) {
            self.faults.refused.fetch_add(1, Ordering::Relaxed);
            return Err(AppendError::Data {
                source: "poison".into(),
            });
        }
        let rows = batch.shards.iter().map(|shard| shard.rows.len()).sum();
        self.faults.appends.lock().unwrap().push(rows);
        let mut held = self.faults.appends_held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        self.lane.append(batch).await
    }

    async fn tails(&mut self, shards: &[ShardId]) -> Result<Vec<u64>, Error> {
        let broken = *self.faults.broken.lock().unwrap();
        if let Some(shard) = broken.filter(|shard| shards.contains(shard)) {
            let detail = "row 3 is missing".into();
            return Err(Error::Gap { shard, detail });
        }
        self.lane.tails(shards).await
    }

    async fn take_over(&mut self, records: &[Takeover]) -> Result<(), AppendError> {
        let mut held = self.faults.takeovers_held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        self.lane.take_over(records).await
    }

    async fn author(&mut self, shard: ShardId, position: u64) -> Result<Option<Author>, Error> {
        self.lane.author(shard, position).await
    }
}

#[async_trait]
impl Store for World {
    async fn identity(&self) -> Result<Identity, Error> {
        self.memory.identity().await
    }

    fn batches_at_once(&self) -> usize {
        self.memory.batches_at_once()
    }

    async fn open_lane(&self) -> Result<Box<dyn Lane>, Error> {
        let lane = self.memory.open_lane().await?;
        Ok(Box::new(FaultyLane {
            lane,
            faults: self.faults.clone(),
        }))
    }
}

#[async_trait]
impl Leases for World {
    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error> {
        self.memory.claim(node, shards).await
    }

    async fn renew(&self, node: &NodeLease, clock: Time) -> Result<Time, Error> {
        if self.faults.renewals_hang.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.memory.renew(node, clock).await
    }

    async fn clocks_until(&self, node: &NodeLease) -> Result<Time, Error> {
        self.memory.clocks_until(node).await
    }

    async fn release(&self, node: &NodeLease) -> Result<(), Error> {
        self.memory.release(node).await
    }
}

#[async_trait]
impl Sagas for World {
    async fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        awake_before: Time,
        limit: usize,
    ) -> Result<Vec<SagaHistory>, Error> {
        self.memory
            .load_active(shard, after, awake_before, limit)
            .await
    }

    async fn sleepers(
        &self,
        shard: ShardId,
        after: Option<(Time, SagaId)>,
        limit: usize,
    ) -> Result<Vec<(SagaId, Time)>, Error> {
        self.memory.sleepers(shard, after, limit).await
    }

    async fn shards_in_use(&self) -> Result<Vec<ShardId>, Error> {
        self.memory.shards_in_use().await
    }

    async fn turns(&self, shard: ShardId) -> Result<Vec<TurnRecord>, Error> {
        self.memory.turns(shard).await
    }

    async fn history(
        &self,
        saga: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<Option<SagaHistory>, Error> {
        self.faults.histories.fetch_add(1, Ordering::Relaxed);
        let found = self.memory.history(saga, from, limit).await?;
        Ok(found.map(|history| self.faults.half_read(history)))
    }

    async fn histories(&self, sagas: &[SagaId]) -> Result<Vec<SagaHistory>, Error> {
        self.faults.note_read(sagas.len());
        let found = self.memory.histories(sagas).await?;
        let found = found.into_iter();
        Ok(found
            .map(|history| self.faults.half_read(history))
            .collect())
    }

    async fn lookup_keys(&self, keys: &[KeyLookup]) -> Result<Vec<Option<KeyFound>>, Error> {
        self.faults.lookups.fetch_add(1, Ordering::Relaxed);
        if self.faults.keys_down.load(Ordering::Relaxed) {
            return Err(Error::Unavailable {
                what: "looking keys up",
                source: "a fault that was asked for".into(),
            });
        }
        let found = self.memory.lookup_keys(keys).await?;
        if self.faults.expire_after_lookup.load(Ordering::Relaxed) {
            for shard in (0..self.memory.identity().await?.shard_count).map(ShardId) {
                let page = ExpiryPage {
                    shard,
                    after: None,
                    begun_before: Time::INFINITY,
                    now: Time::INFINITY,
                    limit: 1_000,
                };
                self.memory.expire(&page).await?;
            }
        }
        Ok(found)
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<SagaRecord>, Error> {
        self.memory.list(query).await
    }

    async fn count_active(
        &self,
        namespace: &str,
        definition: &str,
    ) -> Result<Vec<(u32, u64)>, Error> {
        self.memory.count_active(namespace, definition).await
    }

    async fn expire(&self, page: &ExpiryPage) -> Result<Swept, Error> {
        self.faults.note_sweep(page.shard, page.limit);
        self.memory.expire(page).await
    }
}

#[async_trait]
impl Incidents for World {
    async fn list_incidents(&self, query: &IncidentQuery) -> Result<Vec<IncidentInsert>, Error> {
        self.memory.list_incidents(query).await
    }

    async fn incident_groups(
        &self,
        filter: &IncidentFilter,
        limit: usize,
    ) -> Result<Vec<IncidentGroup>, Error> {
        self.memory.incident_groups(filter, limit).await
    }
}

#[async_trait]
impl Definitions for World {
    async fn put_definition(
        &self,
        definition: &NewDefinition,
    ) -> Result<(DefinitionRecord, bool), Error> {
        self.memory.put_definition(definition).await
    }

    async fn definition(&self, query: &DefinitionQuery) -> Result<Option<DefinitionRecord>, Error> {
        if self.faults.definitions_down.load(Ordering::Relaxed) {
            return Err(Error::Unavailable {
                what: "reading a definition",
                source: "a fault that was asked for".into(),
            });
        }
        if let DefinitionQuery::Hash(hash) = query
            && *self.faults.lost.lock().unwrap() == Some(*hash)
        {
            return Ok(None);
        }
        let found = self.memory.definition(query).await;
        let mut held = self.faults.definitions_held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        found
    }

    async fn list_definitions(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DefinitionRecord>, Error> {
        self.memory.list_definitions(namespace, after, limit).await
    }

    async fn delete_definition(
        &self,
        namespace: &str,
        name: &str,
        revision: u32,
    ) -> Result<bool, Error> {
        self.memory
            .delete_definition(namespace, name, revision)
            .await
    }
}
