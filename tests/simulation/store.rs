//! A model of the database: journal rows that are unique by shard and position, saga rows, keys, leases, and its clock. Rows
//! pass through their bytes: what is read back was decoded from what was encoded. Every statement here is atomic; when it
//! arrives, and whether its answer does, is the world's affair (`statements`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use amends_core::journal::{JournalRow, SagaState, ShardBatch, Turn};
use amends_core::key::Hash128;
use amends_core::saga::Saga;
use amends_core::shard::{Existing, History as SagaHistory, TurnRecovered};
use amends_core::{SagaId, ShardId, Time, invariants};
use amends_definitions::{Definition, DefinitionHash};
use amends_store::{SagaRecord, StoredRow, histories, record};

use crate::history::{Committed, Event, History};
use crate::plant::Plant;

/// What a lane writes at once.
#[derive(Clone, Debug)]
pub struct Batch {
    pub id: u64,
    pub shards: Vec<ShardBatch>,
}

/// A takeover record to be written.
#[derive(Clone, Debug)]
pub struct Takeover {
    pub shard: ShardId,
    pub position: u64,
    pub batch: u64,
    pub node: usize,
    pub life: u32,
}

/// Why a statement wrote nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    PositionTaken(Vec<ShardId>),
    KeyTaken,
    Data,
}

/// A row as it is stored.
#[derive(Clone, Debug)]
pub struct Row {
    pub epoch: u64,
    pub batch: u64,
    /// None for a takeover record, and for what retention has blanked.
    pub saga: Option<SagaId>,
    at: Time,
    pub body: Arc<[u8]>,
}

/// A node's row.
#[derive(Clone, Copy, Debug)]
struct Lease {
    /// Which process; none once one of its shards was taken.
    life: Option<u32>,
    /// On the database's clock.
    until: Time,
    /// How late it may be by the node's own clock, until then.
    clock_until: Time,
}

/// A key's name: namespace, definition, hash.
pub type KeyName = (Arc<str>, Arc<str>, Hash128);

/// The database.
#[derive(Debug, Default)]
pub struct Database {
    pub journal: BTreeMap<(ShardId, u64), Row>,
    /// How many rows of a journal retention deleted from an epoch on, and which epoch that is.
    pub expired: BTreeMap<ShardId, (u64, u64)>,
    sagas: BTreeMap<SagaId, SagaRecord>,
    /// Those that retention took away: evidence, as what is decoded and folded of them.
    gone: BTreeMap<SagaId, SagaRecord>,
    keys: BTreeMap<KeyName, Existing>,
    turns: BTreeMap<SagaId, Turn>,
    owners: BTreeMap<ShardId, usize>,
    leases: BTreeMap<usize, Lease>,
    definitions: BTreeMap<DefinitionHash, Arc<Definition>>,
    /// What each saga's rows say, decoded once; and their fold.
    decoded: BTreeMap<SagaId, Vec<JournalRow>>,
    folded: BTreeMap<SagaId, Saga>,
    /// How far its clock is from the world's, in microseconds.
    pub clock_offset: i64,
    /// Bodies with this text are refused; none while nobody writes it.
    poison: Option<&'static str>,
    pub plant: Option<Plant>,
    tears: u64,
}

impl Database {
    pub fn new(poison: Option<&'static str>, plant: Option<Plant>) -> Self {
        Self {
            poison,
            plant,
            ..Self::default()
        }
    }

    pub fn define(&mut self, definition: &Arc<Definition>) {
        self.definitions
            .insert(definition.hash(), Arc::clone(definition));
    }

    /// The database's time.
    pub fn time(&self, world: Time) -> Time {
        Time::from_micros(world.as_micros() + self.clock_offset)
    }

    /// Writes a batch: all of it, or nothing.
    pub fn append(
        &mut self,
        batch: &Batch,
        now: Time,
        history: &mut History,
    ) -> Result<(), Refusal> {
        let taken: Vec<ShardId> = batch
            .shards
            .iter()
            .filter(|of| {
                of.rows
                    .iter()
                    .any(|row| self.is_taken(of.shard, row.position))
            })
            .map(|of| of.shard)
            .collect();
        if !taken.is_empty() && self.plant != Some(Plant::ForgetFence) {
            return Err(Refusal::PositionTaken(taken));
        }
        let mut names = BTreeSet::new();
        let mut keys = batch.shards.iter().flat_map(|of| &of.keys);
        let known = keys.any(|key| {
            let name = (key.namespace.clone(), key.definition.clone(), key.key_hash);
            self.keys.contains_key(&name) || !names.insert(name)
        });
        if known && self.plant != Some(Plant::ForgetKeys) {
            return Err(Refusal::KeyTaken);
        }
        let bodies: Vec<Vec<Arc<[u8]>>> = batch.shards.iter().map(encode).collect();
        if let Some(poison) = self.poison
            && bodies.iter().flatten().any(|body| contains(body, poison))
        {
            return Err(Refusal::Data);
        }
        for (of, bodies) in batch.shards.iter().zip(bodies) {
            self.write(batch, of, bodies, now, history);
        }
        Ok(())
    }

    fn is_taken(&self, shard: ShardId, position: u64) -> bool {
        self.journal.contains_key(&(shard, position))
    }

    fn write(
        &mut self,
        batch: &Batch,
        of: &ShardBatch,
        bodies: Vec<Arc<[u8]>>,
        now: Time,
        history: &mut History,
    ) {
        self.tears += 1;
        let odd = self.tears.is_multiple_of(7);
        let rows = of.rows.len();
        for (place, (row, body)) in of.rows.iter().zip(bodies).enumerate() {
            let dropped = odd && self.plant == Some(Plant::DropRow) && place + 1 == rows;
            let torn = odd && self.plant == Some(Plant::TearBatch) && place * 2 > rows;
            if dropped || torn {
                continue;
            }
            self.write_row(batch, of, row, body, now, history);
        }
        for insert in &of.inserts {
            let record = SagaRecord::from(insert);
            let event = Event::SagaRow {
                saga: insert.id,
                inserted: true,
                state: insert.state.code(),
                wake_at: insert.wake_at,
            };
            history.record(now, event);
            self.sagas.insert(insert.id, record);
            if let Some(turn) = insert.turn {
                self.turns.insert(insert.id, turn);
            }
        }
        for update in &of.updates {
            if self.plant == Some(Plant::ForgetSagaRow) && odd {
                continue;
            }
            let event = Event::SagaRow {
                saga: update.id,
                inserted: false,
                state: update.state.code(),
                wake_at: update.wake_at,
            };
            history.record(now, event);
            if let Some(record) = self.sagas.get_mut(&update.id) {
                record.apply(update);
            }
            if let Some(turn) = self.turns.get_mut(&update.id) {
                turn.granted = update.turn_granted;
            }
            if update.state.is_terminal() && self.plant == Some(Plant::FreeKeyAtEnd) {
                self.keys.retain(|_, existing| existing.saga != update.id);
            }
        }
        for key in &of.keys {
            let name = (key.namespace.clone(), key.definition.clone(), key.key_hash);
            let text = format!("{}/{}/{:?}", name.0, name.1, name.2);
            let saga = key.saga;
            history.record(now, Event::KeyRow { key: text, saga });
            let revision = self.sagas.get(&saga).map_or(0, |record| record.revision);
            let existing = Existing {
                saga,
                input_hash: key.input_hash,
                revision,
            };
            self.keys.entry(name).or_insert(existing);
        }
        let touched: BTreeSet<SagaId> = of.rows.iter().map(|row| row.saga).collect();
        touched.into_iter().for_each(|saga| self.fold(saga));
    }

    fn write_row(
        &mut self,
        batch: &Batch,
        of: &ShardBatch,
        row: &JournalRow,
        body: Arc<[u8]>,
        now: Time,
        history: &mut History,
    ) {
        let facts = record::decode(row.position, &body).expect("what was just encoded can be read");
        assert_eq!(
            facts, row.facts,
            "I14: a row does not survive its own bytes"
        );
        let committed = Committed {
            shard: of.shard.0,
            position: row.position,
            epoch: of.epoch,
            batch: batch.id,
            saga: row.saga,
            decided_at: row.at,
            body: body.clone(),
            facts: facts.clone().into(),
        };
        history.record(now, Event::Committed(committed));
        let stored = Row {
            epoch: of.epoch,
            batch: batch.id,
            saga: Some(row.saga),
            at: row.at,
            body,
        };
        self.journal.insert((of.shard, row.position), stored);
        self.decoded.entry(row.saga).or_default().push(JournalRow {
            position: row.position,
            saga: row.saga,
            at: row.at,
            facts,
        });
    }

    /// Folds a saga's committed rows anew.
    fn fold(&mut self, saga: SagaId) {
        let rows = self.decoded.get(&saga).map_or(&[][..], Vec::as_slice);
        let definition = self.definition_of(saga);
        if let Some(definition) = definition
            && let Ok(folded) = Saga::replay(saga, Arc::clone(definition), rows)
        {
            self.folded.insert(saga, folded);
        }
    }

    /// Writes takeover records: all of them, or nothing.
    pub fn take_over(
        &mut self,
        records: &[Takeover],
        now: Time,
        history: &mut History,
    ) -> Result<(), Refusal> {
        let taken: Vec<ShardId> = records
            .iter()
            .filter(|record| self.is_taken(record.shard, record.position))
            .map(|record| record.shard)
            .collect();
        if !taken.is_empty() {
            return Err(Refusal::PositionTaken(taken));
        }
        for record in records {
            let row = Row {
                epoch: record.position,
                batch: record.batch,
                saga: None,
                at: self.time(now),
                body: record::encode_takeover("node").into(),
            };
            self.journal.insert((record.shard, record.position), row);
            let event = Event::TakenOver {
                shard: record.shard.0,
                position: record.position,
                node: record.node,
                life: record.life,
            };
            history.record(now, event);
        }
        Ok(())
    }

    /// The last position of a journal; 0 if it is empty.
    pub fn tail(&self, shard: ShardId) -> u64 {
        let mut rows = self.journal.range((shard, 0)..=(shard, u64::MAX));
        rows.next_back().map_or(0, |((_, position), _)| *position)
    }

    /// The newest epoch of a shard.
    pub fn epoch(&self, shard: ShardId) -> u64 {
        let tail = self.author(shard, self.tail(shard));
        tail.map_or(0, |(epoch, _)| epoch)
    }

    /// Epoch and batch of the row at a position.
    pub fn author(&self, shard: ShardId, position: u64) -> Option<(u64, u64)> {
        let row = self.journal.get(&(shard, position))?;
        Some((row.epoch, row.batch))
    }

    pub fn lookup(&self, name: &KeyName) -> Option<Existing> {
        if self.plant == Some(Plant::ForgetKeys) {
            return None;
        }
        self.keys.get(name).copied()
    }

    /// A page of the sagas that have to be in memory.
    pub fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        limit: usize,
    ) -> Vec<SagaHistory> {
        let wanted: Vec<SagaRecord> = self
            .sagas
            .values()
            .filter(|saga| saga.id.shard() == shard && !saga.state.is_terminal())
            .filter(|saga| saga.wake_at.is_none())
            .filter(|saga| after.is_none_or(|after| saga.id > after))
            .take(limit)
            .cloned()
            .collect();
        self.read(shard, wanted)
    }

    /// Sagas that sleep until a time.
    pub fn sleepers(&self, shard: ShardId) -> Vec<(SagaId, Time)> {
        let sagas = self
            .sagas
            .values()
            .filter(|saga| saga.id.shard() == shard && !saga.state.is_terminal());
        sagas
            .filter_map(|saga| Some((saga.id, saga.wake_at?)))
            .filter(|(_, at)| *at < Time::INFINITY)
            .collect()
    }

    /// Sagas that need a turn and have not ended.
    pub fn turns(&self, shard: ShardId) -> Vec<TurnRecovered> {
        let of_shard = self.turns.iter().filter(|(saga, _)| saga.shard() == shard);
        of_shard
            .filter_map(|(saga, turn)| {
                let record = self.sagas.get(saga)?;
                (!record.state.is_terminal()).then(|| TurnRecovered {
                    saga: *saga,
                    namespace: record.namespace.clone(),
                    definition: record.definition.clone(),
                    turn: *turn,
                })
            })
            .collect()
    }

    /// One saga, if it exists.
    pub fn history(&self, saga: SagaId) -> Option<SagaHistory> {
        let record = self.sagas.get(&saga)?.clone();
        self.read(saga.shard(), vec![record]).pop()
    }

    /// From bytes, as after a restart.
    fn read(&self, shard: ShardId, sagas: Vec<SagaRecord>) -> Vec<SagaHistory> {
        let wanted: BTreeSet<SagaId> = sagas.iter().map(|saga| saga.id).collect();
        let rows = self
            .journal
            .range((shard, 0)..=(shard, u64::MAX))
            .filter_map(|((_, position), row)| {
                let saga = row.saga.filter(|saga| wanted.contains(saga))?;
                Some(StoredRow {
                    saga,
                    position: *position,
                    at: row.at,
                    body: row.body.to_vec(),
                })
            })
            .collect();
        let read = histories(sagas, rows);
        let whole = |history: amends_store::SagaHistory| SagaHistory {
            saga: history.saga.id,
            state: history.saga.state,
            definition: self
                .definitions
                .get(&history.saga.hash)
                .cloned()
                .ok_or_else(|| "the revision is missing".to_owned()),
            rows: history.rows.map_err(|error| error.to_string()),
        };
        read.into_iter().map(whole).collect()
    }

    /// Takes the lease of every wanted shard that no live node holds, and says which this node holds then.
    pub fn claim(
        &mut self,
        node: usize,
        life: u32,
        wanted: &[ShardId],
        lease: Duration,
        now: Time,
    ) -> Vec<ShardId> {
        let time = self.time(now);
        let before = self.leases.get(&node);
        let claimed = Lease {
            life: Some(life),
            until: time + lease,
            clock_until: before.map_or(Time::EPOCH, |before| before.clock_until.max(before.until)),
        };
        self.leases.insert(node, claimed);
        let mut held = Vec::new();
        for shard in wanted {
            let owner = self.owners.get(shard).filter(|owner| **owner != node);
            let lease = owner.and_then(|owner| self.leases.get_mut(owner));
            if lease.as_ref().is_none_or(|lease| lease.until <= time) {
                if let Some(lease) = lease.filter(|_| self.plant != Some(Plant::KeepLease)) {
                    lease.life = None;
                }
                self.owners.insert(*shard, node);
                held.push(*shard);
            }
        }
        held
    }

    /// Renews a lease; none if it belongs to another process, or a shard of it was taken. Else the database's time.
    pub fn renew(
        &mut self,
        node: usize,
        life: u32,
        lease: Duration,
        clock: Time,
        now: Time,
    ) -> Option<Time> {
        let time = self.time(now);
        let row = self.leases.get_mut(&node);
        let row = row.filter(|row| row.life == Some(life))?;
        row.until = time + lease;
        row.clock_until = row.clock_until.max(time.max(clock) + lease);
        Some(time)
    }

    /// One of its shards was taken since it was last claimed.
    pub fn lease_is_ended(&self, node: usize) -> bool {
        self.leases
            .get(&node)
            .is_some_and(|lease| lease.life.is_none())
    }

    /// How late it may be, or may have been, by the clock of any process but this node's.
    pub fn clocks_until(&self, node: usize) -> Time {
        let clocks = self.leases.iter().map(|(other, lease)| {
            if *other == node {
                lease.clock_until
            } else {
                lease.clock_until.max(lease.until)
            }
        });
        clocks.max().unwrap_or(Time::EPOCH)
    }

    /// Who holds the lease of a shard, over or not.
    pub fn owner(&self, shard: ShardId) -> Option<usize> {
        self.owners.get(&shard).copied()
    }

    /// The fold of what is committed of a saga.
    pub fn folded(&self, saga: SagaId) -> Option<&Saga> {
        self.folded.get(&saga)
    }

    /// The last committed position of a saga's rows.
    pub fn last_row(&self, saga: SagaId) -> u64 {
        let rows = self.decoded.get(&saga);
        rows.and_then(|rows| rows.last())
            .map_or(0, |row| row.position)
    }

    pub fn sagas(&self) -> impl Iterator<Item = &SagaRecord> {
        self.sagas.values()
    }

    pub fn record(&self, saga: SagaId) -> Option<&SagaRecord> {
        self.sagas.get(&saga)
    }

    pub fn state(&self, saga: SagaId) -> Option<SagaState> {
        self.sagas.get(&saga).map(|record| record.state)
    }

    /// Every saga that ever was.
    pub fn all_sagas(&self) -> impl Iterator<Item = &SagaRecord> {
        self.sagas.values().chain(self.gone.values())
    }

    /// A saga's state, or what it was when it expired.
    pub fn last_state(&self, saga: SagaId) -> Option<SagaState> {
        let record = self.sagas.get(&saga).or_else(|| self.gone.get(&saga));
        record.map(|record| record.state)
    }

    pub fn definition_of(&self, saga: SagaId) -> Option<&Arc<Definition>> {
        let record = self.sagas.get(&saga).or_else(|| self.gone.get(&saga))?;
        self.definitions.get(&record.hash)
    }

    /// Takes a saga's rows away, but those of the journal.
    pub fn forget(&mut self, saga: SagaId) {
        if let Some(record) = self.sagas.remove(&saga) {
            self.gone.insert(saga, record);
        }
        self.turns.remove(&saga);
        if self.plant != Some(Plant::KeepKey) {
            self.keys.retain(|_, existing| existing.saga != saga);
        }
    }

    /// What is wrong with the fold of a saga, by the core's own list of invariants.
    pub fn broken(&self, saga: SagaId) -> Option<String> {
        invariants::check(self.folded.get(&saga)?).err()
    }

    /// A saga's rows as they were decoded.
    pub fn rows(&self, saga: SagaId) -> &[JournalRow] {
        self.decoded.get(&saga).map_or(&[], Vec::as_slice)
    }
}

fn encode(of: &ShardBatch) -> Vec<Arc<[u8]>> {
    let rows = of.rows.iter();
    rows.map(|row| record::encode(&row.facts).into()).collect()
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len())
        .any(|window| window == text.as_bytes())
}
