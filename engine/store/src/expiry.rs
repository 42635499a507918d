//! Retention, a page at a time: which sagas of a shard are looked at, and what was found. Finished sagas have no index of
//! their own, because every end would pay for its entry; whoever sweeps walks their primary key, in bounded pages, and
//! learns on the way when it is worth while to walk again.
//!
//! Deliberately not here: when to sweep and how fast (`amends-orchestrator`); what deleting does to a journal
//! ([`Tail`](crate::Tail)).

use std::collections::BTreeSet;
use std::time::Duration;

use amends_core::{SagaId, ShardId, Time};
use uuid::Uuid;

/// Which sagas to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryPage {
    /// Whose.
    pub shard: ShardId,
    /// Only ids above this one: the last of the page before.
    pub after: Option<SagaId>,
    /// Only sagas whose ids say that they began before: who began later cannot have expired.
    pub begun_before: Time,
    /// Who expires by then is deleted.
    pub now: Time,
    /// How many are looked at, at most.
    pub limit: usize,
}

/// What a page came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many sagas were deleted.
    pub gone: u64,
    /// How many were looked at.
    pub seen: usize,
    /// The last one that was looked at, if there may be more behind it.
    pub last: Option<SagaId>,
    /// When the first of those that stay expires; in the past if something above it keeps it.
    pub due: Option<Time>,
    /// The shortest time from a begin, as its id says it, to an expiry, of all that were looked at.
    pub life_min: Option<Duration>,
}

/// A saga that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Which.
    pub saga: SagaId,
    /// When it expires, if it has ended.
    pub due: Option<Time>,
}

impl ExpiryPage {
    /// Every id of the page is above this one.
    #[must_use]
    pub fn above(&self) -> Uuid {
        self.after.map_or(Uuid::nil(), SagaId::as_uuid)
    }

    /// Every id of the page is below this one.
    #[must_use]
    pub fn below(&self) -> Uuid {
        let millis = u128::from(self.begun_before.as_millis());
        if millis > MILLIS_MAX {
            return Uuid::max();
        }
        Uuid::from_u128(millis << MILLIS_AT)
    }

    /// Those whose time has come.
    #[must_use]
    pub fn expired(&self, looked: &[Looked]) -> Vec<SagaId> {
        let expired = |it: &&Looked| it.due.is_some_and(|due| due <= self.now);
        looked.iter().filter(expired).map(|it| it.saga).collect()
    }

    /// What the page came to, when these are gone.
    #[must_use]
    pub fn swept(&self, looked: &[Looked], gone: &[SagaId]) -> Swept {
        let gone: BTreeSet<SagaId> = gone.iter().copied().collect();
        let stays = looked.iter().filter(|it| !gone.contains(&it.saga));
        let lives = (looked.iter()).filter_map(|it| Some(it.due?.since(begun_at(it.saga))));
        Swept {
            gone: gone.len() as u64,
            seen: looked.len(),
            last: looked
                .last()
                .filter(|_| looked.len() >= self.limit)
                .map(|it| it.saga),
            due: stays.filter_map(|it| it.due).min(),
            life_min: lives.min(),
        }
    }
}

/// When a saga began, as its id says: a child's says when its parent did.
#[must_use]
pub fn begun_at(saga: SagaId) -> Time {
    let millis = saga.as_uuid().as_u128() >> MILLIS_AT;
    Time::from_micros(i64::try_from(millis * 1_000).unwrap_or(i64::MAX))
}

/// An id begins with 48 bits of milliseconds.
const MILLIS_AT: u32 = 80;
const MILLIS_MAX: u128 = 0xffff_ffff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(3);
    const AT: Time = Time::from_micros(1_763_712_000_123_456);

    fn saga(millis: u64, random: u64) -> SagaId {
        SagaId::new(AT + Duration::from_millis(millis), SHARD, random)
    }

    fn page(limit: usize) -> ExpiryPage {
        ExpiryPage {
            shard: SHARD,
            after: None,
            begun_before: Time::INFINITY,
            now: AT + Duration::from_secs(10),
            limit,
        }
    }

    #[test]
    fn an_id_tells_when_its_saga_began() {
        assert_eq!(begun_at(saga(7, 9)).as_millis(), AT.as_millis() + 7);
    }

    #[test]
    fn a_page_ends_below_what_began_later() {
        let page = ExpiryPage {
            begun_before: AT + Duration::from_millis(7),
            ..page(1)
        };
        assert!(saga(6, u64::MAX).as_uuid() < page.below());
        assert!(saga(7, 0).as_uuid() >= page.below());
        let all = super::ExpiryPage {
            begun_before: Time::INFINITY,
            ..page
        };
        assert!(saga(1_000_000_000, u64::MAX).as_uuid() < all.below());
    }

    #[test]
    fn what_stays_says_when_to_come_back() {
        let due = |seconds| Some(AT + Duration::from_secs(seconds));
        let looked = [
            Looked {
                saga: saga(0, 1),
                due: due(3),
            },
            Looked {
                saga: saga(0, 2),
                due: due(10),
            },
            Looked {
                saga: saga(1_000, 3),
                due: due(11),
            },
            Looked {
                saga: saga(2_000, 4),
                due: None,
            },
        ];
        let page = page(4);
        let expired = page.expired(&looked);
        assert_eq!(expired, [saga(0, 1), saga(0, 2)]);
        let swept = page.swept(&looked, &expired[1..]);
        assert_eq!((swept.gone, swept.seen), (1, 4));
        assert_eq!(swept.last, Some(saga(2_000, 4)));
        assert_eq!(swept.due, due(3), "something keeps it");
        assert_eq!(page.swept(&looked, &expired).due, due(11));
        let life = Duration::from_micros(3_000_456);
        assert_eq!(swept.life_min, Some(life));
        assert_eq!(page.swept(&looked[3..], &[]).last, None, "there is no more");
    }
}
