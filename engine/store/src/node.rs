//! Who owns what: the database's identity, and the lease by which a node owns shards.

use std::time::Duration;

use amends_core::{Incarnation, Time};
use uuid::Uuid;

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
