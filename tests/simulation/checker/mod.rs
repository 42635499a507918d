//! The checker: it reads what happened, and says which invariant does not hold, by number. It knows definitions, facts and
//! the participants' books, and makes its own reading of a saga from them (`model`). The engine's idea of a state it takes for
//! two things alone: what is still due at the end (`ownership`), and the comparison with the fold (`forward`). One file a
//! theme, one function an invariant; what cannot exist at this level is in `elsewhere`.

mod backward;
mod case;
mod elsewhere;
mod family;
mod forward;
mod lifecycle;
mod messages;
mod model;
mod ownership;
mod participants;
mod retention;
mod rooms;
mod times;

use std::collections::BTreeMap;
use std::panic::Location;
use std::time::Duration;

use amends_core::{SagaId, Time};

use crate::checker::case::{Case, cases};
use crate::checker::rooms::Rooms;
use crate::history::{Entry, Event};
use crate::world::World;

pub use elsewhere::never_asked;

/// So long after the calm, or after a node took a shard over in it, nothing of before is left to be caught up with.
const HEALTHY_AFTER: Duration = Duration::from_secs(120);

/// So long after a jump of the clock every node has slept off what it had planned by the clock before.
const CLOCKS_AGREE_AFTER: Duration = Duration::from_secs(20 * 60);

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Such as `I20`.
    pub number: &'static str,
    pub saga: Option<SagaId>,
    pub text: String,
}

/// A line of the checker that asks whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    pub file: &'static str,
    pub line: u32,
    /// The invariant that it is about.
    pub number: &'static str,
}

/// How often each of them was asked.
pub type Asked = BTreeMap<Site, u64>;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    violations: Vec<Violation>,
    /// By the address of their location, which is cheaper than its name.
    asked: BTreeMap<usize, (Site, u64)>,
}

impl Found {
    /// Says that something must hold.
    #[track_caller]
    pub fn expect(
        &mut self,
        holds: bool,
        number: &'static str,
        saga: impl Into<Option<SagaId>>,
        text: impl FnOnce() -> String,
    ) {
        let location = Location::caller();
        let site = || Site {
            file: location.file(),
            line: location.line(),
            number,
        };
        let address = std::ptr::from_ref(location).addr();
        let asked = self.asked.entry(address).or_insert_with(|| (site(), 0));
        asked.1 += 1;
        if !holds {
            self.violations.push(Violation {
                number,
                saga: saga.into(),
                text: text(),
            });
        }
    }
}

/// Everything that the checker looks at.
pub struct Evidence<'a> {
    pub world: &'a World,
    pub entries: &'a [Entry],
    pub cases: BTreeMap<SagaId, Case<'a>>,
    pub rooms: Rooms,
    /// Which process owned a shard in an epoch, and since when it did by its own clock.
    owners: BTreeMap<(u16, u64), Owner>,
    /// Since when a shard had each of its owners: places in the history, and times.
    owned_since: BTreeMap<u16, Vec<(usize, Time)>>,
    /// When sagas expired, as places in the history.
    gone: BTreeMap<SagaId, usize>,
    /// When the database's clock last jumped.
    jumped_at: Option<Time>,
}

/// A process that owns a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    node: usize,
    life: u32,
    since: Time,
}

impl<'a> Evidence<'a> {
    fn of(world: &'a World) -> Self {
        let mut evidence = Self {
            world,
            entries: world.history.entries(),
            cases: cases(world),
            rooms: Rooms::of(world.history.entries()),
            owners: BTreeMap::new(),
            owned_since: BTreeMap::new(),
            gone: BTreeMap::new(),
            jumped_at: None,
        };
        for (index, entry) in evidence.entries.iter().enumerate() {
            match &entry.event {
                Event::Owned {
                    shard,
                    epoch,
                    node,
                    life,
                    node_time,
                    opened,
                } => {
                    let mut before = evidence.owners.range((*shard, 0)..(*shard, *epoch));
                    let before = before.next_back().filter(|_| !opened);
                    let owner = Owner {
                        node: *node,
                        life: *life,
                        since: before.map_or(*node_time, |(_, before)| before.since),
                    };
                    evidence.owners.insert((*shard, *epoch), owner);
                    let since = evidence.owned_since.entry(*shard).or_default();
                    since.push((index, entry.at));
                }
                Event::Expired { saga, .. } => {
                    evidence.gone.entry(*saga).or_insert(index);
                }
                Event::Fault { what: "clock", .. } => evidence.jumped_at = Some(entry.at),
                _ => {}
            }
        }
        evidence
    }

    /// The saga had expired at this place in the history.
    pub fn is_gone(&self, saga: SagaId, index: usize) -> bool {
        self.gone.get(&saga).is_some_and(|at| *at < index)
    }

    /// At this place in the history nothing stood in the way of a shard: faults were off for a while, its owner was there for
    /// a while, and clocks agreed.
    pub fn is_healthy(&self, shard: u16, index: usize) -> bool {
        let at = self.entries[index].at;
        let owned = self.owned_since.get(&shard).and_then(|since| {
            let owners = since.iter().rev();
            owners
                .map(|(place, at)| (*place, *at))
                .find(|(place, _)| *place < index)
        });
        let (Some(calm), Some((_, owned))) = (self.world.calm_at, owned) else {
            return false;
        };
        at >= calm.max(owned) + HEALTHY_AFTER
            && self
                .jumped_at
                .is_none_or(|jumped| at >= jumped + CLOCKS_AGREE_AFTER)
    }
}

/// What the checker came to.
pub struct Checked {
    pub violations: Vec<Violation>,
    pub asked: Asked,
}

/// Checks a world that has come to its end.
pub fn check(world: &World) -> Checked {
    let evidence = Evidence::of(world);
    let mut found = Found::default();
    lifecycle::check(&evidence, &mut found);
    for case in evidence.cases.values() {
        model::walk(case, &evidence, &mut found);
    }
    forward::check(&evidence, &mut found);
    times::check(&evidence, &mut found);
    participants::check(&evidence, &mut found);
    ownership::check(&evidence, &mut found);
    messages::check(&evidence, &mut found);
    family::check(&evidence, &mut found);
    retention::check(&evidence, &mut found);
    found.violations.sort();
    found.violations.dedup();
    let mut asked = Asked::new();
    for (site, times) in found.asked.into_values() {
        *asked.entry(site).or_default() += times;
    }
    Checked {
        violations: found.violations,
        asked,
    }
}

/// A saga's story in lines, for a person who looks at a violation.
pub fn story(world: &World, saga: SagaId) -> String {
    case::story(world, saga)
}
