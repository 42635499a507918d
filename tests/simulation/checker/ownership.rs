//! Who owns what, and when: I35 to I38, I43.

use std::collections::BTreeMap;

use amends_core::SagaId;
use amends_core::saga::{Phase, due};

use crate::checker::{Evidence, Found};
use crate::history::Event;

pub fn check(evidence: &Evidence<'_>, found: &mut Found) {
    fencing(evidence, found);
    one_owner(evidence, found);
    whole_batches(evidence, found);
    wake_sources(evidence, found);
}

/// I35: positions are gapless, each row's epoch is the last takeover record before it, and no row of an older epoch becomes
/// durable after a newer grant.
fn fencing(evidence: &Evidence<'_>, found: &mut Found) {
    let mut shards: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    for entry in evidence.entries {
        match &entry.event {
            Event::TakenOver {
                shard, position, ..
            } => {
                let (last, epoch) = shards.entry(*shard).or_default();
                let next = *position == *last + 1;
                found.expect(next, "I35", None, || {
                    format!("shard {shard} goes from {last} to a takeover at {position}")
                });
                (*last, *epoch) = (*position, *position);
            }
            Event::Committed(row) => {
                let (last, epoch) = shards.entry(row.shard).or_default();
                let (shard, position) = (row.shard, row.position);
                found.expect(position == *last + 1, "I35", row.saga, || {
                    format!("shard {shard} goes from {last} to {position}")
                });
                found.expect(row.epoch == *epoch, "I35", row.saga, || {
                    let of = row.epoch;
                    format!("a row of epoch {of} is durable in shard {shard} in epoch {epoch}")
                });
                *last = position;
            }
            _ => {}
        }
    }
}

/// I36: a shard has one owner an epoch, and each owner has written its own takeover record.
fn one_owner(evidence: &Evidence<'_>, found: &mut Found) {
    let mut records: BTreeMap<(u16, u64), (usize, u32)> = BTreeMap::new();
    let mut owners: BTreeMap<(u16, u64), (usize, u32)> = BTreeMap::new();
    for entry in evidence.entries {
        match &entry.event {
            Event::TakenOver {
                shard,
                position,
                node,
                life,
            } => {
                records.insert((*shard, *position), (*node, *life));
            }
            Event::Owned {
                shard,
                epoch,
                node,
                life,
                ..
            } => {
                let own = records.get(&(*shard, *epoch)) == Some(&(*node, *life));
                found.expect(own, "I36", None, || {
                    format!("node {node} owns shard {shard} in epoch {epoch} without its record")
                });
                let first = *owners.entry((*shard, *epoch)).or_insert((*node, *life));
                found.expect(first == (*node, *life), "I36", None, || {
                    format!("shard {shard} has two owners in epoch {epoch}")
                });
            }
            _ => {}
        }
    }
}

/// I43: what a node takes for durable is there, all of it, and nothing else under its name.
fn whole_batches(evidence: &Evidence<'_>, found: &mut Found) {
    let mut rows: BTreeMap<(u64, u16), usize> = BTreeMap::new();
    for entry in evidence.entries {
        match &entry.event {
            Event::Committed(row) => *rows.entry((row.batch, row.shard)).or_default() += 1,
            Event::Settled {
                batch,
                shard,
                rows: wanted,
            } => {
                let there = rows.get(&(*batch, *shard)).copied().unwrap_or(0);
                found.expect(there == *wanted, "I43", None, || {
                    format!("{there} of {wanted} rows of a batch of shard {shard} are there")
                });
            }
            _ => {}
        }
    }
}

/// I37, I38: at rest no timer is left behind, and no saga waits for nothing.
fn wake_sources(evidence: &Evidence<'_>, found: &mut Found) {
    let store = &evidence.world.store;
    for shard in evidence.world.shards() {
        let end = store.end(shard).checked();
        found.expect(end.is_ok(), "I35", None, || format!("{end:?}"));
    }
    let now = store.time(evidence.world.now);
    for record in store.sagas().filter(|saga| !saga.state.is_terminal()) {
        let Some(folded) = store.folded(record.id) else {
            continue;
        };
        let due = due(folded, now);
        let parked = !folded.incidents().is_empty();
        let awaits = folded.places().any(|place| {
            let phase = folded.place(place).forward.phase;
            matches!(phase, Phase::Awaiting { .. })
        });
        let outside = awaits || !folded.turn_granted();
        let waits = outside
            || due.wake_at.is_some()
            || !due.commands.is_empty()
            || !due.awaited.is_empty()
            || !due.children.is_empty();
        found.expect(parked || waits, "I38", record.id, || {
            format!("it is {:?} and waits for nothing", record.state)
        });
        let overdue = due.wake_at.is_some_and(|at| at <= now);
        found.expect(!overdue, "I37", record.id, || {
            "a timer is over and nothing happened".to_owned()
        });
    }
    at_rest(evidence, found);
}

/// I47: after the faults everything comes to rest, within its bound.
fn at_rest(evidence: &Evidence<'_>, found: &mut Found) {
    let sagas = evidence.world.store.sagas();
    let active: Vec<SagaId> = sagas
        .filter(|saga| !saga.state.is_terminal())
        .map(|saga| saga.id)
        .collect();
    let first = active.first().copied();
    found.expect(evidence.world.rested, "I47", first, || {
        format!(
            "not at rest after the faults: {} sagas are active",
            active.len()
        )
    });
}
