//! What a lane writes: batches of transitions, and the takeover records that fence a deposed owner.

use amends_core::journal::ShardBatch;
use amends_core::{ShardId, Time};
use uuid::Uuid;

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
