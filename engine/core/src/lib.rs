//! Saga and shard as pure state machines. No I/O, no clock, no randomness, no async: time, ids and what the surroundings
//! know are arguments. The same code runs in production, in recovery and in every simulation.
//!
//! Read in this order: [`fact`] (what can happen), [`saga`] (what one saga makes of it), [`shard`] (many sagas, one journal).

#![deny(clippy::wildcard_enum_match_arm)]

pub mod fact;
pub mod id;
pub mod key;
pub mod limits;
pub mod outcome;
pub mod time;

pub mod saga;

pub mod journal;
pub mod shard;

pub mod invariants;

pub use fact::Fact;
pub use id::{AttemptName, Incarnation, OperationKey, OperationName, Place, SagaId, ShardId};
pub use outcome::{OperationKind, Outcome, Verdict};
pub use time::Time;
