//! The seam to a database: the [`Store`] and [`Lane`] traits, versioned records, a memory store and the conformance suite.
//!
//! The journal is the truth: one append-only sequence per shard, keyed by `(shard, position)`, that fences itself. A
//! deposed owner still believes that its next position is N; its successor has written a takeover record there, so the
//! deposed owner's batch meets a unique violation in the same statement as its facts, and commits nothing.
//!
//! Deliberately not here: when to retry, when to take over, what to do with a lost batch (`amends-orchestrator`).

use std::sync::Arc;
use std::time::Duration;

use amends_core::journal::{SagaState, ShardBatch};
use amends_core::key::Hash128;
use amends_core::{Incarnation, SagaId, ShardId, Time};
use amends_definitions::DefinitionHash;
use async_trait::async_trait;
use uuid::Uuid;

/// A database that sagas live in. Cheap to share; every method can fail.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What the database says of itself. Its schema was checked when the store was opened.
    async fn identity(&self) -> Result<Identity, Error>;

    /// Opens a committer's own connection. A node has one or two.
    async fn open_lane(&self) -> Result<Box<dyn Lane>, Error>;

    /// Takes the lease of those of the given shards that no live node holds (a lease of the same node name counts as
    /// not held), and says which this node holds then. `lease` is from now, on the database's clock.
    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error>;

    /// Renews the node's lease in one statement, and returns the database's time.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if the row is not this process's any more.
    async fn renew(&self, node: &NodeLease) -> Result<Time, Error>;

    /// Gives up the node's lease and its shards, at a graceful end.
    async fn release(&self, node: &NodeLease) -> Result<(), Error>;

    /// The histories of a page of the shard's sagas that have to be in memory: not terminal, and not asleep beyond
    /// `awake_before`. In the order of their ids, those above `after`; `limit` sagas at most. A row that cannot be read
    /// makes its saga a [`SagaHistory`] whose `rows` is an error, and hides no other saga.
    async fn load_active(
        &self,
        shard: ShardId,
        after: Option<SagaId>,
        awake_before: Time,
        limit: usize,
    ) -> Result<Vec<SagaHistory>, Error>;

    /// A saga's row and its journal rows from a position on (1 for all), `limit` rows at most; none if there is no such saga.
    async fn history(
        &self,
        saga: SagaId,
        from: u64,
        limit: usize,
    ) -> Result<Option<SagaHistory>, Error>;

    /// Which sagas have these keys, each in the given order.
    async fn lookup_keys(&self, keys: &[KeyLookup]) -> Result<Vec<Option<KeyFound>>, Error>;

    /// A page of sagas, the newest (greatest id) first, those below `query.before`.
    async fn list(&self, query: &ListQuery) -> Result<Vec<SagaRecord>, Error>;

    /// Stores a new revision of a definition: the next number, unless the newest revision has the same hash already.
    /// Two nodes that apply at once get one order.
    async fn put_definition(
        &self,
        definition: &NewDefinition,
    ) -> Result<(DefinitionRecord, bool), Error>;

    /// Reads a revision.
    async fn definition(&self, query: &DefinitionQuery) -> Result<Option<DefinitionRecord>, Error>;

    /// A page of the newest revisions of a namespace's definitions, by name, those above `after`.
    async fn list_definitions(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DefinitionRecord>, Error>;
}

/// A committer's own connection. One batch at a time.
#[async_trait]
pub trait Lane: Send {
    /// Writes batches of disjoint shards as one statement: all, or none.
    async fn append(&mut self, batch: &Batch) -> Result<(), AppendError>;

    /// The last position of each shard's journal, in the given order; 0 for an empty one. Fails with [`Error::Gap`] if
    /// a journal does not have as many rows above its latest takeover record as its positions say.
    async fn tails(&mut self, shards: &[ShardId]) -> Result<Vec<u64>, Error>;

    /// Writes a takeover record at the given position of each shard, in one statement: all, or none. With it the shard's
    /// epoch is that position. It waits for a backend that still holds a position for `lock_timeout` at most, ends that
    /// backend, and tries again.
    async fn take_over(&mut self, records: &[Takeover]) -> Result<(), AppendError>;

    /// Who wrote the row at a position; none if there is no row.
    async fn author(&mut self, shard: ShardId, position: u64) -> Result<Option<Author>, Error>;
}

/// What the database says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its life.
    pub incarnation: Incarnation,
    /// How many shards it was initialised with.
    pub shard_count: u16,
    /// Its time.
    pub now: Time,
}

/// A node that wants to own shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLease {
    /// The node's name: two processes with one name are one after the other.
    pub name: String,
    /// This process.
    pub process: Uuid,
    /// Where other nodes and participants reach it.
    pub address: String,
    /// How long a lease lives without renewal.
    pub lease: Duration,
}

/// What a lane writes at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Names this attempt to write: the row of a lost batch tells by it whose it is.
    pub id: Uuid,
    /// Of disjoint shards; never empty.
    pub shards: Vec<ShardBatch>,
}

/// A takeover record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// Whose journal.
    pub shard: ShardId,
    /// Where: the first free position, or the first of a lost batch.
    pub position: u64,
    /// Names this attempt to write.
    pub batch: Uuid,
    /// Who takes over.
    pub node: String,
    /// When.
    pub at: Time,
}

/// Who wrote a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author {
    /// In which epoch.
    pub epoch: u64,
    /// With which batch.
    pub batch: Uuid,
}

/// A saga's row and journal rows.
#[derive(Clone, Debug)]
pub struct SagaHistory {
    /// Its row.
    pub saga: SagaRecord,
    /// Its journal rows in order, or why they cannot be read.
    pub rows: Result<Vec<amends_core::journal::JournalRow>, record::RecordError>,
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
    /// Where it is.
    pub state: SagaState,
    /// When it has to be in memory again.
    pub wake_at: Option<Time>,
    /// When it began.
    pub started_at: Time,
    /// When its state last changed.
    pub updated_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
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

/// A revision to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDefinition {
    /// The tenant.
    pub namespace: String,
    /// The definition's id.
    pub name: String,
    /// SHA-256 over the normal form.
    pub hash: DefinitionHash,
    /// The YAML as it came.
    pub source: String,
    /// The normal form: JSON, with its own version inside.
    pub normal_form: String,
}

/// A stored revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionRecord {
    /// The tenant.
    pub namespace: String,
    /// The definition's id.
    pub name: String,
    /// From 1, in the order of application.
    pub revision: u32,
    /// SHA-256 over the normal form.
    pub hash: DefinitionHash,
    /// The YAML as it came.
    pub source: String,
    /// The normal form.
    pub normal_form: String,
    /// When it was applied, on the database's clock.
    pub applied_at: Time,
}

/// Which revision to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionQuery {
    /// The newest of a name.
    Newest {
        /// The tenant.
        namespace: String,
        /// The definition's id.
        name: String,
    },
    /// One by number.
    Revision {
        /// The tenant.
        namespace: String,
        /// The definition's id.
        name: String,
        /// From 1.
        revision: u32,
    },
    /// Any with this hash: they are all the same.
    Hash(DefinitionHash),
}

/// Why a store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached, or refuses for now: try again.
    #[error("the database is not available: {what}")]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered something that must not be.
    #[error("the database answered what it must not: {0}")]
    Corrupt(String),
    /// A journal lacks rows: the shard is stopped, never read past the gap.
    #[error("the journal of shard {shard} has a gap: {detail}")]
    Gap {
        /// Whose journal.
        shard: ShardId,
        /// What is missing.
        detail: String,
    },
    /// The lease row belongs to another process.
    #[error("the lease of node {node} belongs to another process")]
    LeaseLost {
        /// The node's name.
        node: String,
    },
    /// The schema is not one that this binary knows.
    #[error("{0}")]
    Schema(String),
}

/// Why a batch was not written, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Definite: someone else wrote at a position of these shards. They are lost.
    #[error("shards {0:?} have another owner")]
    PositionTaken(Vec<ShardId>),
    /// Definite: a business key exists already. Look the batch's keys up again.
    #[error("a business key was taken")]
    KeyTaken,
    /// Definite: a serialization failure or a deadlock. The same batch again.
    #[error("the database asks to try the same again")]
    Again {
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Definite: the database refuses the data. Bisect.
    #[error("the database refuses the data")]
    Data {
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Definite: nothing was written, and it cannot be now (disk full, read-only, no connection yet).
    #[error("the database takes no writes for now")]
    Unavailable {
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody knows whether it was written: the connection was lost before the answer.
    #[error("the connection was lost before the answer")]
    Unknown {
        /// What was seen.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

pub mod record {
    //! How facts are written as bytes: versioned, and frozen by files that are read for ever.

    /// Why a row cannot be read.
    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("row {position} of the journal of this saga cannot be read: {message}")]
    pub struct RecordError {
        /// Which row.
        pub position: u64,
        /// Why.
        pub message: String,
    }
}
