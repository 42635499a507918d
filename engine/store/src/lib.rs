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

use amends_core::ShardId;
use async_trait::async_trait;

mod batch;
mod definition;
mod error;
mod expiry;
mod incident;
mod node;
mod saga;
mod seam;
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
pub use expiry::{ExpiryPage, Looked, Swept, begun_at};
pub use incident::{
    Fingerprint, IncidentCursor, IncidentFilter, IncidentGroup, IncidentQuery, InvalidFingerprint,
};
pub use node::{Identity, NodeLease};
pub use saga::{
    KeyFound, KeyLookup, ListQuery, SagaHistory, SagaRecord, StoredRow, TurnRecord, distinct,
    histories,
};
pub use seam::{Definitions, Incidents, Leases, Sagas};
pub use tail::Tail;

/// Consecutive starts without a key that go to one shard, so that a burst makes few and long runs of rows. Here because
/// whoever measures what a store takes has to spread its rows as a server does.
pub const STARTS_IN_A_ROW: u16 = 16;

/// A database that sagas live in. Cheap to share; every method can fail. What it can do is grouped by what it is about,
/// so that each group can be read at once: [`Leases`], [`Sagas`], [`Incidents`], [`Definitions`].
#[async_trait]
pub trait Store: Leases + Sagas + Incidents + Definitions {
    /// What the database says of itself. Its schema was checked when the store was opened.
    async fn identity(&self) -> Result<Identity, Error>;

    /// How many batches are worth having under way at the same time.
    fn batches_at_once(&self) -> usize;

    /// Over how many connections those go. With fewer than there are batches, one waits while another is written.
    fn connections_at_once(&self) -> usize {
        self.batches_at_once()
    }

    /// Opens a committer's way to write. A node has one or two.
    async fn open_lane(&self) -> Result<Box<dyn Lane>, Error>;
}

/// A committer's own connection. One batch at a time.
#[async_trait]
pub trait Lane: Send {
    /// Writes batches of disjoint shards as one statement: all, or none.
    async fn append(&mut self, batch: &Batch) -> Result<(), AppendError>;

    /// The last position of each shard's journal, in the given order; 0 for an empty one. Fails with [`Error::Gap`] if
    /// a journal does not have as many rows from its latest takeover record on as its positions say, those that retention
    /// took included: see [`Tail`].
    async fn tails(&mut self, shards: &[ShardId]) -> Result<Vec<u64>, Error>;

    /// Writes a takeover record at the given position of each shard, in one statement: all, or none. With it the shard's
    /// epoch is that position. It waits for a backend that still holds a position for `lock_timeout` at most, ends that
    /// backend, and tries again.
    async fn take_over(&mut self, records: &[Takeover]) -> Result<(), AppendError>;

    /// Who wrote the row at a position; none if there is no row.
    async fn author(&mut self, shard: ShardId, position: u64) -> Result<Option<Author>, Error>;
}
