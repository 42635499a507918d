//! Takes away what nobody needs any more: sagas that ended and whose retention has passed, in bounded pages, one shard
//! after the other. It works a tenth of the time, and as it falls behind up to about half of it, so that it is never what
//! others wait for.
//!
//! Finished sagas have no index by expiry: every end would pay for it. A sweep walks them in the order of their ids, which
//! is that of their begins, and two things that this node learns keep it from walking in vain: when the first of all that
//! have ended expires, and the shortest time that any saga has from its begin to its expiry, within which none is looked at.
//! Both come from one sweep of everything, and from every end that this node commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use amends_core::{SagaId, ShardId, Time};
use amends_store::{Batch, Error, ExpiryPage, Swept, begun_at};
use tokio::time::Instant;
use uuid::Uuid;

use crate::limits::{
    RETENTION_PAUSE_FACTOR, RETENTION_PAUSE_FACTOR_BEHIND, RETENTION_PAUSE_FACTOR_FULL,
    RETENTION_PAUSE_MIN, RETENTION_REST_MAX, RETENTION_REST_PART, RETENTION_WHOLE_EVERY,
};
use crate::node::Node;
use crate::options::Retention;
use crate::telemetry;

/// What the committers know of expiries.
#[derive(Debug)]
pub(crate) struct Expiries {
    /// The first, in microseconds since the Unix epoch, of what ended since the last sweep began.
    first_us: AtomicI64,
    /// The shortest life, in microseconds.
    life_min_us: AtomicI64,
}

impl Expiries {
    pub(crate) fn new() -> Self {
        Self {
            first_us: AtomicI64::new(i64::MAX),
            life_min_us: AtomicI64::new(i64::MAX),
        }
    }

    /// A batch is durable, or may be: to expect an end too much costs one look. Noted when its outcome is known and not
    /// before, so that a sweep that begins in between has either seen it or hears of it.
    pub(crate) fn note(&self, batch: &Batch) {
        let of_batch = batch.shards.iter().flat_map(|shard| {
            let updates = shard.updates.iter().map(|it| (it.id, it.expires_at));
            updates.chain(shard.inserts.iter().map(|it| (it.id, it.expires_at)))
        });
        let (mut first, mut life_min) = (i64::MAX, i64::MAX);
        for (saga, expires_at) in of_batch {
            let Some(at) = expires_at else { continue };
            first = first.min(at.as_micros());
            life_min = life_min.min(micros(at.since(begun_at(saga))));
        }
        if first < i64::MAX {
            self.first_us.fetch_min(first, Ordering::Relaxed);
            self.life_min_us.fetch_min(life_min, Ordering::Relaxed);
        }
    }

    /// A sweep begins, which sees what is noted so far: only what ends from here on is noted.
    fn begin(&self) {
        self.first_us.store(i64::MAX, Ordering::Relaxed);
    }

    fn first(&self) -> Time {
        Time::from_micros(self.first_us.load(Ordering::Relaxed))
    }
}

/// Sweeps all shards when it is worth while, until the node stops.
pub(crate) async fn sweep(node: Arc<Node>, retention: Retention) {
    if retention.interval.is_zero() {
        return;
    }
    let stop = node.stop.clone();
    let sweeping = async {
        let mut known = Known::nothing();
        loop {
            // Nodes that started at once do not sweep at once.
            tokio::time::sleep(jittered(retention.interval)).await;
            let now = node.clock.now();
            known.absorb(&node.expiries);
            if let Some(begun_before) = known.next(now, node.expiries.first()) {
                node.expiries.begin();
                let found = sweep_all(&node, begun_before, retention.batch).await;
                known.learn(now, begun_before, &found, retention.interval);
            }
        }
    };
    stop.run_until_cancelled(sweeping).await;
}

/// What is known of what is stored.
#[derive(Debug)]
struct Known {
    /// When the last sweep of everything was, if nothing was overlooked.
    whole_at: Option<Time>,
    /// When to sweep again, if nothing ends that expires earlier.
    next_at: Time,
    life_min: Duration,
}

/// What a sweep has found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    gone: u64,
    due: Option<Time>,
    life_min: Option<Duration>,
    overlooked: bool,
}

impl Known {
    fn nothing() -> Self {
        Self {
            whole_at: None,
            next_at: Time::EPOCH,
            life_min: Duration::MAX,
        }
    }

    /// Whether to sweep now, and if so, only sagas that began before which time.
    fn next(&self, now: Time, first_ended: Time) -> Option<Time> {
        let whole = self
            .whole_at
            .is_none_or(|at| now.since(at) >= RETENTION_WHOLE_EVERY);
        if whole {
            return Some(Time::INFINITY);
        }
        // An id tells whole milliseconds.
        let bound = (now - self.life_min) + Duration::from_millis(1);
        (now >= self.next_at.min(first_ended)).then_some(bound)
    }

    fn absorb(&mut self, expiries: &Expiries) {
        let life_min = expiries.life_min_us.load(Ordering::Relaxed);
        self.life_min = self.life_min.min(duration(life_min));
    }

    fn learn(&mut self, began: Time, begun_before: Time, found: &Found, interval: Duration) {
        if let Some(life_min) = found.life_min {
            self.life_min = self.life_min.min(life_min);
        }
        if begun_before == Time::INFINITY {
            self.whole_at = (!found.overlooked).then_some(began);
            // What is kept although its time has come is looked at again and again.
            self.next_at = found.due.unwrap_or(Time::INFINITY);
            return;
        }
        // Whoever was too young to be looked at may expire at any time.
        let rest = (self.life_min / RETENTION_REST_PART).min(RETENTION_REST_MAX);
        let rest = if found.overlooked {
            Duration::ZERO
        } else {
            rest.max(interval)
        };
        self.next_at = began + rest;
    }
}

impl Found {
    fn add(&mut self, swept: &Swept) {
        self.gone += swept.gone;
        self.due = [self.due, swept.due].into_iter().flatten().min();
        self.life_min = [self.life_min, swept.life_min].into_iter().flatten().min();
    }
}

async fn sweep_all(node: &Node, begun_before: Time, limit: usize) -> Found {
    let mut found = Found::default();
    let shards = match node.store.shards_in_use().await {
        Ok(shards) => shards,
        Err(error) => {
            // To know which are empty only saves looks at them.
            telemetry::store_failed("look for shards in use", &error);
            (0..node.lanes.shard_count()).map(ShardId).collect()
        }
    };
    for shard in shards {
        let mut after = None;
        loop {
            match sweep_page(node, shard, after, begun_before, limit).await {
                Ok(swept) => {
                    found.add(&swept);
                    after = swept.last;
                }
                Err(error) => {
                    telemetry::store_failed("delete what has expired", &error);
                    found.overlooked = true;
                    break;
                }
            }
            if after.is_none() {
                break;
            }
        }
    }
    if found.gone > 0 {
        telemetry::expired(found.gone);
    }
    found
}

/// A page, and the rest that it has earned.
async fn sweep_page(
    node: &Node,
    shard: ShardId,
    after: Option<SagaId>,
    begun_before: Time,
    limit: usize,
) -> Result<Swept, Error> {
    let began = Instant::now();
    let page = ExpiryPage {
        shard,
        after,
        begun_before,
        now: node.clock.now(),
        limit,
    };
    let swept = node.store.expire(&page).await?;
    let pause = began.elapsed() * pause_factor(swept.gone, limit);
    let pause = if swept.gone > 0 {
        pause.max(RETENTION_PAUSE_MIN)
    } else {
        pause
    };
    tokio::time::sleep(jittered(pause)).await;
    Ok(swept)
}

/// How much longer to rest than a page took, of which so many were deleted. Pages fill as retention falls behind: it works
/// more then, until as many go as end.
fn pause_factor(gone: u64, limit: usize) -> u32 {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    if gone.saturating_mul(10) >= limit.saturating_mul(9) {
        RETENTION_PAUSE_FACTOR_FULL
    } else if gone.saturating_mul(2) >= limit {
        RETENTION_PAUSE_FACTOR_BEHIND
    } else {
        RETENTION_PAUSE_FACTOR
    }
}

/// Three quarters of it to five quarters.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.75 + amends_core::key::fraction(Uuid::new_v4().as_bytes()) / 2.0)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    if micros == i64::MAX {
        return Duration::MAX;
    }
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Time = Time::from_micros(1_763_712_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn found(due: Option<Time>, life_min: Option<Duration>) -> Found {
        Found {
            due,
            life_min,
            ..Found::default()
        }
    }

    #[test]
    fn whoever_falls_behind_rests_less() {
        let factors = [0, 499, 500, 899, 900, 1_000].map(|gone| pause_factor(gone, 1_000));
        assert_eq!(factors, [9, 9, 3, 3, 1, 1]);
        assert_eq!(pause_factor(1, 1), 1);
    }

    #[test]
    fn nothing_is_swept_in_vain() {
        let mut known = Known::nothing();
        assert_eq!(known.next(AT, Time::INFINITY), Some(Time::INFINITY));
        // The first sweep of everything says that nothing expires for half a day.
        let due = AT + DAY / 2;
        known.learn(AT, Time::INFINITY, &found(Some(due), Some(DAY)), MINUTE);
        assert_eq!(known.next(due - MINUTE, Time::INFINITY), None);
        let bound = due - DAY + Duration::from_millis(1);
        assert_eq!(known.next(due, Time::INFINITY), Some(bound));
        // Who ends meanwhile and expires earlier is waited for.
        assert!(known.next(AT + MINUTE, AT + MINUTE).is_some());
        assert_eq!(known.next(AT + MINUTE, AT + MINUTE * 2), None);
        // From then on it rests for a part of the shortest life.
        known.learn(due, bound, &found(None, None), MINUTE);
        assert_eq!(known.next(due + MINUTE * 59, Time::INFINITY), None);
        assert!(known.next(due + MINUTE * 60, Time::INFINITY).is_some());
        // And once a day it looks at everything.
        assert_eq!(known.next(AT + DAY, Time::INFINITY), Some(Time::INFINITY));
    }

    #[test]
    fn what_was_overlooked_is_looked_at_again() {
        let mut known = Known::nothing();
        let failed = Found {
            overlooked: true,
            ..Found::default()
        };
        known.learn(AT, Time::INFINITY, &failed, MINUTE);
        assert_eq!(known.next(AT, Time::INFINITY), Some(Time::INFINITY));
        known.learn(AT, Time::INFINITY, &found(Some(AT), Some(DAY)), MINUTE);
        known.learn(AT, AT - DAY, &failed, MINUTE);
        assert!(known.next(AT, Time::INFINITY).is_some());
    }

    #[test]
    fn an_empty_database_is_left_alone_until_something_ends() {
        let mut known = Known::nothing();
        known.learn(AT, Time::INFINITY, &found(None, None), MINUTE);
        assert_eq!(known.next(AT + DAY / 2, Time::INFINITY), None);
        known.absorb(&Expiries::new());
        assert_eq!(known.life_min, Duration::MAX);
        assert_eq!(Expiries::new().first(), Time::INFINITY);
    }

    #[test]
    fn ends_that_are_committed_bring_the_next_sweep_forward() {
        let saga = SagaId::new(AT, ShardId(0), 1);
        let ends = |at: Option<Time>| Batch {
            id: Uuid::nil(),
            shards: vec![amends_core::journal::ShardBatch {
                shard: ShardId(0),
                epoch: 1,
                rows: vec![],
                inserts: vec![],
                updates: vec![amends_core::journal::SagaUpdate {
                    id: saga,
                    state: amends_core::journal::SagaState::Completed,
                    turn_granted: true,
                    wake_at: None,
                    updated_at: AT,
                    ended_at: Some(AT),
                    expires_at: at,
                }],
                keys: vec![],
                incidents_opened: vec![],
                incidents_closed: vec![],
            }],
        };
        let mut known = Known::nothing();
        known.learn(AT, Time::INFINITY, &found(None, None), MINUTE);
        let expiries = Expiries::new();
        expiries.note(&ends(None));
        assert_eq!(known.next(AT + DAY / 2, expiries.first()), None);
        expiries.note(&ends(Some(AT + MINUTE * 2)));
        expiries.note(&ends(Some(AT + MINUTE * 3)));
        known.absorb(&expiries);
        assert_eq!(known.next(AT + MINUTE, expiries.first()), None);
        let bound = known.next(AT + MINUTE * 2, expiries.first());
        assert_eq!(bound, Some(AT + Duration::from_millis(1)));
        expiries.begin();
        assert_eq!(expiries.first(), Time::INFINITY);
    }
}
