//! A store in memory: the double of a database for simulations and tests, deterministic, with faults on demand. Bodies
//! go through [`record`](crate::record) as everywhere, so that what these tests read was written as a database would have it.
//!
//! Deliberately not here: durability. When the last handle goes, everything goes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amends_core::{Incarnation, ShardId, Time};
use async_trait::async_trait;
use uuid::Uuid;

use crate::{AppendError, Error, Identity, Lane, Leases, NodeLease, Store};

use lane::MemoryLane;
use state::{Fault, Node, State};

mod definitions;
mod expiry;
mod incidents;
mod lane;
mod sagas;
mod state;

/// A database in memory. Clones are handles to the same one.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

impl MemoryStore {
    /// An empty database whose clock stands at a fixed time until [`MemoryStore::set_now`] moves it.
    #[must_use]
    pub fn new(shard_count: u16) -> Self {
        Self::build(shard_count, None)
    }

    /// An empty database with a clock of the caller's.
    #[must_use]
    pub fn with_clock(shard_count: u16, clock: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Self::build(shard_count, Some(Box::new(clock)))
    }

    /// Moves the clock that stands still.
    pub fn set_now(&self, now: Time) {
        self.state().now = now;
    }

    /// Makes the next append or takeover of any lane fail with `error`; `landed` says whether it is written none the
    /// less, as an [`AppendError::Unknown`] may be. Several calls queue up.
    pub fn fail_next(&self, error: AppendError, landed: bool) {
        self.state().faults.push_back(Fault { error, landed });
    }

    /// Replaces the body of a journal row, as damage would. Without a row there, nothing happens.
    pub fn overwrite_body(&self, shard: ShardId, position: u64, body: &[u8]) {
        if let Some(row) = self.state().journal.get_mut(&(shard, position)) {
            row.body = body.to_vec();
        }
    }

    /// Makes the next [`Sagas::expire`](crate::Sagas::expire) fail as a database that cannot be reached; `landed` says
    /// whether it is done none the less. Several calls queue up.
    pub fn fail_next_expire(&self, landed: bool) {
        self.state().expire_faults.push_back(landed);
    }

    /// Takes a journal row away behind the store's back, as a loss would. Without a row there, nothing happens.
    pub fn lose_row(&self, shard: ShardId, position: u64) {
        self.state().journal.remove(&(shard, position));
    }

    /// How many journal rows there are, takeover records included.
    #[must_use]
    pub fn journal_rows(&self) -> usize {
        self.state().journal.len()
    }

    fn build(shard_count: u16, clock: Option<Clock>) -> Self {
        let state = State {
            now: FIRST_NOW,
            ..State::default()
        };
        Self {
            shared: Arc::new(Shared {
                shard_count,
                clock,
                state: Mutex::new(state),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock has failed already; the state is whole all the same.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, state: &State) -> Time {
        self.shared
            .clock
            .as_ref()
            .map_or(state.now, |clock| clock())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn identity(&self) -> Result<Identity, Error> {
        let now = self.now(&self.state());
        Ok(Identity {
            incarnation: INCARNATION,
            shard_count: self.shared.shard_count,
            now,
        })
    }

    fn batches_at_once(&self) -> usize {
        2
    }

    async fn open_lane(&self) -> Result<Box<dyn Lane>, Error> {
        Ok(Box::new(MemoryLane {
            store: self.clone(),
        }))
    }
}

#[async_trait]
impl Leases for MemoryStore {
    async fn claim(&self, node: &NodeLease, shards: &[ShardId]) -> Result<Vec<ShardId>, Error> {
        let mut state = self.state();
        let state = &mut *state;
        let now = self.now(state);
        let before = state.nodes.get(&node.name);
        let claimed = Node {
            process: Some(node.process),
            expires_at: now + node.lease,
            clock_until: before.map_or(Time::EPOCH, |node| node.clock_until.max(node.expires_at)),
        };
        state.nodes.insert(node.name.clone(), claimed);
        let mut held = BTreeSet::new();
        for &shard in shards
            .iter()
            .filter(|shard| shard.0 < self.shared.shard_count)
        {
            let owner = state
                .owners
                .get(&shard)
                .filter(|owner| **owner != node.name);
            let owner = owner.and_then(|owner| state.nodes.get_mut(owner));
            if owner.as_ref().is_none_or(|node| node.expires_at <= now) {
                if let Some(node) = owner {
                    node.process = None;
                }
                state.owners.insert(shard, node.name.clone());
                held.insert(shard);
            }
        }
        Ok(held.into_iter().collect())
    }

    async fn renew(&self, node: &NodeLease, clock: Time) -> Result<Time, Error> {
        let mut state = self.state();
        let now = self.now(&state);
        match state.nodes.get_mut(&node.name) {
            Some(row) if row.process == Some(node.process) => {
                row.expires_at = now + node.lease;
                row.clock_until = row.clock_until.max(now.max(clock) + node.lease);
            }
            _ => {
                return Err(Error::LeaseLost {
                    node: node.name.clone(),
                });
            }
        }
        Ok(now)
    }

    async fn clocks_until(&self, node: &NodeLease) -> Result<Time, Error> {
        let state = self.state();
        let clocks = state.nodes.iter().map(|(name, row)| {
            if *name == node.name {
                row.clock_until
            } else {
                row.clock_until.max(row.expires_at)
            }
        });
        Ok(clocks.max().unwrap_or(Time::EPOCH))
    }

    async fn release(&self, node: &NodeLease) -> Result<(), Error> {
        let mut state = self.state();
        let now = self.now(&state);
        if let Some(row) = state.nodes.get_mut(&node.name)
            && row.process == Some(node.process)
        {
            row.process = None;
            row.expires_at = now;
            state.owners.retain(|_, owner| *owner != node.name);
        }
        Ok(())
    }
}

type Clock = Box<dyn Fn() -> Time + Send + Sync>;

struct Shared {
    shard_count: u16,
    clock: Option<Clock>,
    state: Mutex<State>,
}

/// 2025-11-21, a Friday.
const FIRST_NOW: Time = Time::from_micros(1_763_712_000_000_000);
const INCARNATION: Incarnation =
    Incarnation(Uuid::from_u128(0x0a3e_0d5e_0000_4000_8000_0000_0000_0001));

#[cfg(test)]
mod tests;
