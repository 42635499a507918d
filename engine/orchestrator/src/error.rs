//! Why a node cannot start, or cannot go on.

use amends_core::ShardId;

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not do what it has to.
    #[error("the store failed")]
    Store(#[source] amends_store::Error),
    /// An option is out of its range.
    #[error("{0}")]
    Options(String),
    /// The node's lease belongs to another process of that name.
    #[error("the lease of node {node} belongs to another process")]
    LeaseLost {
        /// The node's name.
        node: String,
    },
    /// Another node owns the shard.
    #[error("shard {shard} has another owner")]
    ShardLost {
        /// Which.
        shard: ShardId,
    },
    /// It was stopped.
    #[error("the node has stopped")]
    Stopped,
}
