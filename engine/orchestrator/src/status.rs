//! Whether the node takes work: what stands against it, how much it has already, and its health as others see it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amends_core::ShardId;
use tokio::sync::watch;

use crate::error::Error;
use crate::limits::OVERLOAD_RETRY_AFTER;
use crate::refusal::{Kind, Refusal};
use crate::telemetry;

/// What stands against work. Shared by everything that runs.
#[derive(Debug)]
pub(crate) struct Status {
    obstacles: Mutex<Obstacles>,
    health: watch::Sender<bool>,
    failure: watch::Sender<Option<Failure>>,
    draining: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Obstacles {
    /// A bit for each lane whose store takes no writes.
    lanes_down: u64,
    lease_late: bool,
    draining: bool,
    failed: bool,
}

/// Why the node cannot go on.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    LeaseLost(String),
    ShardLost(ShardId),
    Stopped,
}

impl Failure {
    pub(crate) fn to_error(&self) -> Error {
        match self {
            Self::LeaseLost(node) => Error::LeaseLost { node: node.clone() },
            Self::ShardLost(shard) => Error::ShardLost { shard: *shard },
            Self::Stopped => Error::Stopped,
        }
    }
}

impl Status {
    pub(crate) fn new() -> Self {
        Self {
            obstacles: Mutex::default(),
            health: watch::Sender::new(true),
            failure: watch::Sender::new(None),
            draining: watch::Sender::new(false),
        }
    }

    pub(crate) fn health(&self) -> watch::Receiver<bool> {
        self.health.subscribe()
    }

    pub(crate) fn failure(&self) -> watch::Receiver<Option<Failure>> {
        self.failure.subscribe()
    }

    /// True once the node takes no new work because it is about to leave.
    pub(crate) fn drains(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    pub(crate) fn lane_down(&self, lane: usize, down: bool) {
        self.change(|obstacles| {
            let bit = 1_u64 << (lane % 64);
            obstacles.lanes_down = if down {
                obstacles.lanes_down | bit
            } else {
                obstacles.lanes_down & !bit
            };
        });
    }

    /// True if that is news.
    pub(crate) fn lease_late(&self, late: bool) -> bool {
        let mut before = late;
        self.change(|obstacles| before = std::mem::replace(&mut obstacles.lease_late, late));
        before != late
    }

    pub(crate) fn draining(&self) {
        self.change(|obstacles| obstacles.draining = true);
        self.draining.send_replace(true);
    }

    /// The first failure counts.
    pub(crate) fn fail(&self, failure: Failure) {
        let first = self.failure.send_if_modified(|slot| {
            let first = slot.is_none();
            slot.get_or_insert_with(|| failure.clone());
            first
        });
        if first && !matches!(failure, Failure::Stopped) {
            telemetry::node_failed(&failure.to_error());
        }
        self.change(|obstacles| obstacles.failed = true);
    }

    /// A new piece of work may be taken.
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        let obstacles = self.lock();
        // A node that has drained has stopped as well.
        if obstacles.draining {
            return Err(Refusal::new(
                Kind::Unavailable,
                "DRAINING",
                "this node is draining: try another, or again",
            ));
        }
        if obstacles.failed {
            return Err(Refusal::unavailable(
                "this node has lost its shards: try another, or again",
            ));
        }
        if obstacles.lanes_down != 0 || obstacles.lease_late {
            return Err(Refusal::unavailable(
                "the database does not take writes for now: try again",
            ));
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Obstacles)) {
        let mut obstacles = self.lock();
        change(&mut obstacles);
        let healthy = obstacles.lanes_down == 0
            && !obstacles.lease_late
            && !obstacles.draining
            && !obstacles.failed;
        self.health
            .send_if_modified(|health| std::mem::replace(health, healthy) != healthy);
    }

    fn lock(&self) -> MutexGuard<'_, Obstacles> {
        self.obstacles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much there is already: sagas in memory, and clients' inputs that wait.
#[derive(Debug)]
pub(crate) struct Load {
    active: AtomicUsize,
    active_max: usize,
    waiting: Vec<Arc<AtomicUsize>>,
    queue_max: usize,
}

impl Load {
    pub(crate) fn new(lanes: usize, active_max: usize, queue_max: usize) -> Self {
        Self {
            active: AtomicUsize::new(0),
            active_max,
            waiting: (0..lanes).map(|_| Arc::default()).collect(),
            queue_max,
        }
    }

    /// A shard has so many sagas in memory now, and had so many before.
    pub(crate) fn active_changed(&self, before: usize, now: usize) {
        if now >= before {
            self.active.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.active.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Room for a start.
    pub(crate) fn start(&self, lane: usize) -> Result<Ticket, Refusal> {
        let ticket = self.input(lane)?;
        let waiting: usize = self
            .waiting
            .iter()
            .map(|lane| lane.load(Ordering::Relaxed))
            .sum();
        // What waits may become active: counted as such, so that the bound holds.
        if self.active.load(Ordering::Relaxed) + waiting > self.active_max {
            return Err(overloaded("as many sagas are active as this node holds"));
        }
        Ok(ticket)
    }

    /// Room for a client's input.
    pub(crate) fn input(&self, lane: usize) -> Result<Ticket, Refusal> {
        let waiting = &self.waiting[lane];
        let ticket = Ticket {
            waiting: waiting.clone(),
        };
        if waiting.fetch_add(1, Ordering::Relaxed) >= self.queue_max {
            return Err(overloaded("as many requests wait as this node queues"));
        }
        Ok(ticket)
    }
}

fn overloaded(why: &str) -> Refusal {
    let kind = Kind::ResourceExhausted {
        retry_after: Some(OVERLOAD_RETRY_AFTER),
    };
    Refusal::new(kind, "OVERLOADED", format!("{why}: try again later"))
}

/// One waiting input; given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    waiting: Arc<AtomicUsize>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_takes_its_bound_and_not_one_more() {
        let load = Load::new(1, 100, 2);
        let first = load.input(0);
        let second = load.input(0);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(load.input(0).map(drop).unwrap_err().reason, "OVERLOADED");
        drop(first);
        assert!(load.input(0).is_ok());
    }

    #[test]
    fn active_sagas_and_waiting_starts_share_one_bound() {
        let load = Load::new(2, 3, 100);
        load.active_changed(0, 2);
        let third = load.start(1);
        assert!(third.is_ok());
        assert!(load.start(0).is_err());
        drop(third);
        load.active_changed(2, 1);
        assert!(load.start(0).is_ok());
    }

    #[test]
    fn health_follows_what_stands_against_work() {
        let status = Status::new();
        let health = status.health();
        status.lane_down(1, true);
        assert!(!*health.borrow() && status.admit().is_err());
        status.lane_down(1, false);
        assert!(*health.borrow() && status.admit().is_ok());
        status.draining();
        assert_eq!(status.admit().unwrap_err().reason, "DRAINING");
        status.fail(Failure::ShardLost(ShardId(3)));
        status.fail(Failure::Stopped);
        assert!(matches!(
            &*status.failure().borrow(),
            Some(Failure::ShardLost(ShardId(3)))
        ));
    }
}
