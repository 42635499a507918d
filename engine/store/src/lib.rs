//! The seam to a database: the [`Store`] and [`Lane`] traits, versioned records, a memory store and the conformance suite.
//!
//! The journal is the truth: one append-only sequence per shard, keyed by `(shard, position)`, that fences itself. A
//! deposed owner still believes that its next position is N; its successor has written a takeover record there, so the
//! deposed owner's batch meets a unique violation in the same statement as its facts, and commits nothing.
//!
//! [`Lane::append`] is all that a committer does on the hot path: a benchmark's floor, which writes the same rows
//! without an engine, calls it with made-up batches and needs nothing else.
//!
//! Deliberately not here: when to retry, when to take over, what to do with a lost batch (`amends-orchestrator`).

use amends_core::{SagaId, ShardId, Time};
use async_trait::async_trait;

mod batch;
mod definition;
mod error;
mod node;
mod saga;
mod tail;

pub mod memory;
pub mod record;

#[cfg(feature = "conformance")]
pub mod conformance;

// Records and queries name revisions by it: whoever implements the seam needs it, and nothing else of that package.
pub use amends_definitions::DefinitionHash;
pub use batch::{Author, Batch, Takeover};
pub use definition::{DefinitionQuery, DefinitionRecord, NewDefinition};
pub use error::{AppendError, Cause, Error};
pub use node::{Identity, NodeLease};
pub use saga::{KeyFound, KeyLookup, ListQuery, SagaHistory, SagaRecord, StoredRow, histories};
pub use tail::Tail;

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
