//! Journals without an engine: a measurement holds all shards of a database, as a server would, and writes rows through
//! the statement that a server's committer uses. Deliberately not here: what the rows say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amends_definitions::{Definition, check, to_normal_form};
use amends_server::amends_core::journal::ShardBatch;
use amends_server::amends_core::{ShardId, Time};
use amends_server::amends_store::{
    AppendError, Batch, Lane, NewDefinition, NodeLease, Store, Takeover,
};
use uuid::Uuid;

use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// The name under which a measurement holds its shards.
const NODE: &str = "amends-bench";
/// How often a batch is tried that the database asks to try again.
const TRIES_MAX: u32 = 20;

/// Every journal of a database, held until [`Journals::release`].
pub struct Journals {
    store: Arc<dyn Store>,
    lease: NodeLease,
    writers: Vec<Writer>,
}

/// One connection, with the journals that are written over it.
pub struct Writer {
    lane: Box<dyn Lane>,
    shards: Vec<ShardId>,
    journals: BTreeMap<ShardId, Journal>,
}

/// Where a shard's journal goes on.
struct Journal {
    epoch: u64,
    next: u64,
}

/// Rows for one append.
pub struct Rows<'a> {
    journals: &'a mut BTreeMap<ShardId, Journal>,
    shards: BTreeMap<ShardId, ShardBatch>,
}

impl Journals {
    /// Takes all shards over, over so many connections as a server has lanes; a shard belongs to that of its number, as it
    /// does there. Nobody renews the lease: it only has to outlast the measurement.
    ///
    /// # Errors
    /// If the database cannot be written, or a server uses it.
    pub async fn hold(
        store: Arc<dyn Store>,
        lanes: u16,
        lease: Duration,
        at: Time,
    ) -> Result<Self, Failure> {
        let lease = NodeLease {
            name: NODE.to_owned(),
            process: Uuid::new_v4(),
            address: String::new(),
            lease,
        };
        let identity = store.identity().await.map_err(|error| broken(&error))?;
        let shards: Vec<ShardId> = (0..identity.shard_count).map(ShardId).collect();
        let held = store.claim(&lease, &shards).await;
        let held = held.map_err(|error| broken(&error))?;
        if held.len() < shards.len() {
            let released = store.release(&lease).await;
            released.map_err(|error| broken(&error))?;
            return Err(Failure::new(Exit::Conflict, "nothing was measured")
                .because(
                    "a server is alive on this database, and the rows would take its shards away",
                )
                .advice("stop the server, or give an empty database"));
        }
        let mut writers = Vec::new();
        for lane in 0..lanes.max(1) {
            let own = shards.iter().copied();
            let own = own.filter(|shard| shard.0 % lanes.max(1) == lane).collect();
            writers.push(Writer::open(store.as_ref(), own, at).await?);
        }
        Ok(Self {
            store,
            lease,
            writers,
        })
    }

    /// The first of the connections: the only one if there is one lane.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writers[0]
    }

    /// All connections, each to be used by itself.
    #[must_use]
    pub fn take_writers(&mut self) -> Vec<Writer> {
        std::mem::take(&mut self.writers)
    }

    /// Gives the shards back, so that a server need not wait for the lease to run out.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn release(self) -> Result<(), Failure> {
        let released = self.store.release(&self.lease).await;
        released.map_err(|error| broken(&error))
    }
}

impl Writer {
    async fn open(store: &dyn Store, shards: Vec<ShardId>, at: Time) -> Result<Self, Failure> {
        let mut lane = store.open_lane().await.map_err(|error| broken(&error))?;
        let journals = take_over(lane.as_mut(), &shards, at).await?;
        Ok(Self {
            lane,
            shards,
            journals,
        })
    }

    /// Its shards.
    #[must_use]
    pub fn shards(&self) -> &[ShardId] {
        &self.shards
    }

    /// Writes one batch.
    ///
    /// # Errors
    /// If the database does not take it.
    pub async fn append(&mut self, fill: impl FnOnce(&mut Rows<'_>)) -> Result<(), Failure> {
        let mut rows = Rows {
            journals: &mut self.journals,
            shards: BTreeMap::new(),
        };
        fill(&mut rows);
        let batch = Batch {
            id: Uuid::new_v4(),
            shards: rows.shards.into_values().collect(),
        };
        for _ in 0..TRIES_MAX {
            match self.lane.append(&batch).await {
                Ok(()) => return Ok(()),
                Err(AppendError::Again { .. }) => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        Err(Failure::wrong("nothing was measured")
            .because("the database refuses a batch again and again"))
    }
}

impl Rows<'_> {
    /// The batch of a shard, and the position of the row that is to be added to it.
    pub fn next(&mut self, shard: ShardId) -> Option<(&mut ShardBatch, u64)> {
        let journal = self.journals.get_mut(&shard)?;
        let position = journal.next;
        journal.next += 1;
        let epoch = journal.epoch;
        let batch = self.shards.entry(shard).or_insert_with(|| ShardBatch {
            shard,
            epoch,
            rows: Vec::new(),
            inserts: Vec::new(),
            updates: Vec::new(),
            keys: Vec::new(),
            incidents_opened: Vec::new(),
            incidents_closed: Vec::new(),
        });
        Some((batch, position))
    }
}

/// Applies a definition of ours.
///
/// # Errors
/// If the database does not take it.
pub async fn put(store: &dyn Store, source: &str) -> Result<Definition, Failure> {
    let definition = check(source.as_bytes())
        .definition
        .ok_or_else(|| Failure::wrong("the benchmark's definition is not sound"))?;
    let new = NewDefinition {
        namespace: "default".to_owned(),
        name: definition.name().to_owned(),
        hash: definition.hash(),
        source: source.to_owned(),
        normal_form: to_normal_form(&definition),
    };
    let put = store.put_definition(&new).await;
    put.map_err(|error| broken(&error))?;
    Ok(definition)
}

/// The database did not do what a measurement needs.
pub fn broken(error: &dyn std::error::Error) -> Failure {
    Failure::wrong("nothing was measured").because(chain(error))
}

async fn take_over(
    lane: &mut dyn Lane,
    shards: &[ShardId],
    at: Time,
) -> Result<BTreeMap<ShardId, Journal>, Failure> {
    let tails = lane.tails(shards).await.map_err(|error| broken(&error))?;
    let batch = Uuid::new_v4();
    let records: Vec<Takeover> = shards
        .iter()
        .zip(&tails)
        .map(|(shard, tail)| Takeover {
            shard: *shard,
            position: tail + 1,
            batch,
            node: NODE.to_owned(),
            at,
        })
        .collect();
    lane.take_over(&records)
        .await
        .map_err(|error| broken(&error))?;
    let journal = |record: &Takeover| {
        (
            record.shard,
            Journal {
                epoch: record.position,
                next: record.position + 1,
            },
        )
    };
    Ok(records.iter().map(journal).collect())
}
