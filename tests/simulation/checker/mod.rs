//! The checker: it reads what happened, and says which invariant does not hold, by number. It knows definitions, facts and
//! the participants' books; of the engine's own state it knows nothing. One file a theme, one function an invariant; what
//! cannot exist at this level is in `elsewhere`.

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

use std::collections::BTreeMap;

use amends_core::SagaId;

use crate::checker::case::{Case, cases};
use crate::history::Entry;
use crate::world::World;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Such as `I20`.
    pub number: &'static str,
    pub saga: Option<SagaId>,
    pub text: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found(Vec<Violation>);

impl Found {
    /// Says that something must hold.
    pub fn expect(
        &mut self,
        holds: bool,
        number: &'static str,
        saga: impl Into<Option<SagaId>>,
        text: impl FnOnce() -> String,
    ) {
        if !holds {
            self.0.push(Violation {
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
}

/// Checks a world that has come to its end.
pub fn check(world: &World) -> Vec<Violation> {
    let evidence = Evidence {
        world,
        entries: world.history.entries(),
        cases: cases(world),
    };
    let mut found = Found::default();
    lifecycle::check(&evidence, &mut found);
    for case in evidence.cases.values() {
        model::walk(case, world, &mut found);
    }
    forward::check(&evidence, &mut found);
    participants::check(&evidence, &mut found);
    ownership::check(&evidence, &mut found);
    messages::check(&evidence, &mut found);
    family::check(&evidence, &mut found);
    found.0.sort();
    found.0.dedup();
    found.0
}

/// A saga's story in lines, for a person who looks at a violation.
pub fn story(world: &World, saga: SagaId) -> String {
    case::story(world, saga)
}
