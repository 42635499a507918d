//! Retention: I50. A saga goes when it has ended and its time has passed, once, and not while an end above it is provisional;
//! what is due is gone in the end. The times are made of facts and definitions, not of what the store's rows say. What a later
//! start with the same key may see is in `lifecycle`.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_core::fact::{AbortReason, Act, Fact};
use amends_core::limits::CHILD_KEPT_MIN;
use amends_core::{SagaId, Time};

use crate::checker::case::{Case, Seen};
use crate::checker::{Evidence, Found};
use crate::history::Event;

/// So long after it is due everything is gone in a healthy world: a sweep takes a minute at most, and a child goes with a later
/// one than its parent.
const GONE_WITHIN: Duration = Duration::from_secs(5 * 60);

pub fn check(evidence: &Evidence<'_>, found: &mut Found) {
    let mut gone: BTreeMap<SagaId, usize> = BTreeMap::new();
    for (index, entry) in evidence.entries.iter().enumerate() {
        let Event::Expired { saga, node_time } = &entry.event else {
            continue;
        };
        let again = gone.insert(*saga, index).is_some();
        found.expect(!again, "I50", *saga, || "it expires twice".to_owned());
        let Some(case) = evidence.cases.get(saga) else {
            continue;
        };
        in_its_time(evidence, case, (index, *node_time), found);
        // Where no clock ever jumps, a node's is the world's.
        let ahead = evidence.jumped_at.is_none() && *node_time > entry.at;
        found.expect(!ahead, "I50", *saga, || {
            format!(
                "it expires {:?} ahead of the clock",
                node_time.since(entry.at)
            )
        });
        nothing_behind(case, index, found);
    }
    gone_in_the_end(evidence, found);
}

/// It has ended, and its time has passed: since its own end, and since that of its parent.
fn in_its_time(
    evidence: &Evidence<'_>,
    case: &Case<'_>,
    (index, node_time): (usize, Time),
    found: &mut Found,
) {
    let ended = ended_at(case, index);
    found.expect(ended.is_some(), "I50", case.id, || {
        "it expires, and has not ended".to_owned()
    });
    let Some(ended) = ended else {
        return;
    };
    let retention = retention(case);
    found.expect(node_time >= ended + retention, "I50", case.id, || {
        format!(
            "it expires {:?} early",
            (ended + retention).since(node_time)
        )
    });
    let parent_case = parent(case).and_then(|parent| evidence.cases.get(&parent));
    let parent_ended = parent_case.and_then(|parent| ended_at(parent, index));
    if let Some(parent_ended) = parent_ended {
        // Also of a parent that is gone.
        let after = node_time.since(parent_ended);
        found.expect(
            node_time >= parent_ended + CHILD_KEPT_MIN,
            "I50",
            case.id,
            || {
                format!(
                    "it expires {after:?} after its parent's end: a wish may still be under way"
                )
            },
        );
    }
    let Some(above) = above(evidence, case, index) else {
        return;
    };
    let since = ended_at(above, index).filter(|_| parent(above).is_none());
    let free = since.is_some_and(|ended| node_time >= ended + retention);
    found.expect(free, "I50", case.id, || {
        format!("it expires, and its parent {} may still undo it", above.id)
    });
}

/// What was decided of a saga that nobody knew to be gone changes nothing any more.
fn nothing_behind(case: &Case<'_>, index: usize, found: &mut Found) {
    let changes = |seen: &&Seen<'_>| {
        let audit = matches!(
            seen.fact,
            Fact::LateResult { .. } | Fact::IncidentOpened(_) | Fact::IncidentClosed { .. }
        );
        seen.index > index && !audit
    };
    let changed = case.facts.iter().find(changes);
    found.expect(changed.is_none(), "I50", case.id, || {
        let kind = changed.map_or("nothing", |seen| seen.fact.kind());
        format!("{kind} follows its expiry")
    });
}

/// What is due is gone in the end.
fn gone_in_the_end(evidence: &Evidence<'_>, found: &mut Found) {
    let world = evidence.world;
    if !world.rested {
        return;
    }
    let clocks = world.nodes.iter().map(|node| {
        let mut clock = node.clock;
        clock.now(world.now)
    });
    let Some(now) = clocks.min() else {
        return;
    };
    let end = evidence.entries.len();
    for case in evidence.cases.values() {
        if evidence.gone.contains_key(&case.id) {
            continue;
        }
        let due = due_at(evidence, case, end);
        let left = due.is_some_and(|due| due + GONE_WITHIN <= now);
        found.expect(!left, "I50", case.id, || {
            format!("it has expired at {due:?}, and is there at {now:?}")
        });
    }
}

/// When a saga may go; none while it is needed.
fn due_at(evidence: &Evidence<'_>, case: &Case<'_>, index: usize) -> Option<Time> {
    let ended = ended_at(case, index)?;
    let ended = match above(evidence, case, index) {
        None => ended,
        // As long as a child is there, whatever is below it stays.
        Some(above) if parent(above).is_none() => ended.max(ended_at(above, index)?),
        Some(_) => return None,
    };
    Some(ended + retention(case))
}

/// How long it is kept: a child until no wish of its parent can be under way any more, and a parent as long, so that its child's
/// time counts from its end.
fn retention(case: &Case<'_>) -> Duration {
    let own = case.definition.retention();
    let asked = |seen: &Seen<'_>| matches!(seen.fact, Fact::ChildRequested(_));
    if parent(case).is_some() || case.facts.iter().any(asked) {
        own.max(CHILD_KEPT_MIN)
    } else {
        own
    }
}

/// A saga's parent, as long as that is there.
fn above<'a>(evidence: &'a Evidence<'_>, case: &Case<'_>, index: usize) -> Option<&'a Case<'a>> {
    let parent = parent(case).filter(|parent| !evidence.is_gone(*parent, index))?;
    evidence.cases.get(&parent)
}

fn parent(case: &Case<'_>) -> Option<SagaId> {
    match case.facts.first()?.fact {
        Fact::Started(started) => started.parent.as_ref().map(|parent| parent.saga),
        _ => None,
    }
}

/// When a saga had ended, as its facts up to a place in the history say.
fn ended_at(case: &Case<'_>, index: usize) -> Option<Time> {
    let before = case.facts.iter().filter(|seen| seen.index < index);
    let turn = |ended: Option<Time>, seen: &Seen<'_>| match seen.fact {
        Fact::Completed { .. } | Fact::Compensated => Some(seen.row.decided_at),
        Fact::Operated(operated) if operated.act == Act::Terminate => Some(seen.row.decided_at),
        // A child that has completed is undone, unless there is nothing to undo.
        Fact::AbortDecided(AbortReason::ParentAborted { .. }) => None,
        _ => ended,
    };
    before.fold(None, turn)
}
