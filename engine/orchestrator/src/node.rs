//! What everything that runs in a node shares.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use amends_core::{Incarnation, ShardId};
use amends_store::{NodeLease, STARTS_IN_A_ROW, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::definitions::Definitions;
use crate::dispatch::Registry;
use crate::lane::Lanes;
use crate::loading::Loads;
use crate::refusal::{Kind, Refusal};
use crate::retention::Expiries;
use crate::status::{Load, Status};
use crate::subscriptions::Subscriptions;

/// What everything that runs in a node shares.
pub(crate) struct Node {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) incarnation: Incarnation,
    pub(crate) lease: NodeLease,
    pub(crate) clock: Clock,
    pub(crate) namespaces: BTreeSet<Arc<str>>,
    pub(crate) definitions: Definitions,
    pub(crate) lanes: Lanes,
    pub(crate) registry: Arc<Registry>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) status: Status,
    pub(crate) load: Load,
    pub(crate) open_shards: OpenShards,
    pub(crate) expiries: Expiries,
    /// Sagas that shards asked for.
    pub(crate) loads: Loads,
    /// Pages of sagas that are brought back at once, over all lanes: connections stay free for others, and memory is bounded.
    pub(crate) recoveries: Semaphore,
    /// Questions between parents and children that are worked on at once.
    pub(crate) errands: Semaphore,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Node {
    /// The namespace, if it was declared.
    pub(crate) fn namespace(&self, name: &str) -> Result<Arc<str>, Refusal> {
        let missing = || {
            let message = format!(
                "there is no namespace {name:?}; namespaces are declared in the server's configuration"
            );
            Refusal::new(Kind::NotFound, "NAMESPACE_NOT_FOUND", message)
        };
        self.namespaces.get(name).cloned().ok_or_else(missing)
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.lease.name)
            .finish_non_exhaustive()
    }
}

/// Which shards have their active sagas in memory: where a start without a key goes.
#[derive(Debug)]
pub(crate) struct OpenShards {
    open: Vec<AtomicBool>,
    turn: AtomicUsize,
}

impl OpenShards {
    pub(crate) fn new(shard_count: u16) -> Self {
        Self {
            open: (0..shard_count).map(|_| AtomicBool::new(false)).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    pub(crate) fn open(&self, shard: ShardId) {
        self.set(shard, true);
    }

    pub(crate) fn close(&self, shard: ShardId) {
        self.set(shard, false);
    }

    /// The next open shard in turn; the next of all while none is open. A few starts in a row get the same.
    pub(crate) fn next(&self) -> ShardId {
        let count = self.open.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) / usize::from(STARTS_IN_A_ROW);
        let places = (0..count).map(|offset| (first + offset) % count);
        let open = |place: &usize| self.open[*place].load(Ordering::Relaxed);
        let place = places.clone().find(open).unwrap_or(first % count);
        ShardId(u16::try_from(place).expect("there are at most 4,096 shards"))
    }

    fn set(&self, shard: ShardId, open: bool) {
        if let Some(place) = self.open.get(usize::from(shard.0)) {
            place.store(open, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_go_to_open_shards_in_turn() {
        let shards = OpenShards::new(4);
        shards.open(ShardId(1));
        shards.open(ShardId(3));
        let turns: BTreeSet<_> = (0..8 * STARTS_IN_A_ROW).map(|_| shards.next()).collect();
        assert_eq!(turns, BTreeSet::from([ShardId(1), ShardId(3)]));
        shards.close(ShardId(1));
        assert!((0..8 * STARTS_IN_A_ROW).all(|_| shards.next() == ShardId(3)));
    }
}
