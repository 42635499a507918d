//! Why a store did not do something. The words are an operator's; the causes are linked as sources, never repeated.

use amends_core::ShardId;

/// What a database or its driver said.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

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
        source: Cause,
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
        source: Cause,
    },
    /// Definite: the database refuses the data. Bisect.
    #[error("the database refuses the data")]
    Data {
        /// What it said.
        #[source]
        source: Cause,
    },
    /// Definite: nothing was written, and it cannot be now (disk full, read-only, no connection yet).
    #[error("the database takes no writes for now")]
    Unavailable {
        /// What it said.
        #[source]
        source: Cause,
    },
    /// Nobody knows whether it was written: the connection was lost before the answer.
    #[error("the connection was lost before the answer")]
    Unknown {
        /// What was seen.
        #[source]
        source: Cause,
    },
}
