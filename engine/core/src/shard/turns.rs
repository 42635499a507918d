//! Whose turn it is. Sagas of one definition with the same ordering key run one at a time, in the order of their starts;
//! and so many sagas of a definition run at a time as its `concurrency` says. A saga first comes to the head of its line,
//! then waits for a slot; it keeps both until it has ended, parked or not.
//!
//! This is a function of the sagas that need a turn and have not ended, and of nothing else: so it is undone by putting back
//! what each of them was, and made anew after a takeover from their rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fact::Started;
use crate::id::SagaId;
use crate::journal::Turn;
use crate::key::{Hash128, hash_128};

/// A saga that needs a turn and has not ended, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnRecovered {
    /// The saga.
    pub saga: SagaId,
    /// The tenant.
    pub namespace: Arc<str>,
    /// The definition's id.
    pub definition: Arc<str>,
    /// Its place, and whether its turn has come.
    pub turn: Turn,
}

/// Namespace and definition.
pub(super) type GroupName = (Arc<str>, Arc<str>);

/// A saga's place among the sagas of its definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub group: GroupName,
    pub turn: Turn,
}

impl Held {
    /// The place of a saga that starts, or started, at this position; none if it need not wait for any.
    pub fn of(started: &Started, position: u64, granted: bool) -> Option<Self> {
        if started.ordering_key.is_none() && started.concurrency_max.is_none() {
            return None;
        }
        let key = started.ordering_key.as_ref();
        Some(Self {
            group: (started.namespace.clone(), started.definition.clone()),
            turn: Turn {
                ordering_hash: key.map(|key| hash_128(key.as_bytes())),
                concurrency_max: started.concurrency_max,
                position,
                granted,
            },
        })
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turns {
    sagas: BTreeMap<SagaId, Held>,
    groups: BTreeMap<GroupName, Group>,
}

/// The sagas of one definition.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    /// By ordering key, then by position.
    lines: BTreeMap<Hash128, BTreeMap<u64, (SagaId, Turn)>>,
    /// How many run, of those that are limited.
    taken: u32,
    /// Those that wait for a slot alone, by position, each with its own limit.
    waiting: BTreeMap<u64, (SagaId, u32)>,
}

impl Turns {
    pub fn get(&self, saga: SagaId) -> Option<&Held> {
        self.sagas.get(&saga)
    }

    /// The same name, in the memory that all sagas of the definition share.
    pub fn shared(&self, name: GroupName) -> GroupName {
        let known = self.groups.get_key_value(&name);
        known.map_or(name, |(known, _)| known.clone())
    }

    /// Puts a saga where it is now, or takes it away; returns where it was: to go back, put it there again.
    pub fn set(&mut self, saga: SagaId, held: Option<Held>) -> Option<Held> {
        let before = match held.clone() {
            Some(held) => self.sagas.insert(saga, held),
            None => self.sagas.remove(&saga),
        };
        if let Some(Held { group: name, turn }) = &before
            && let Some(group) = self.groups.get_mut(name)
        {
            group.take_out(*turn);
            if group.is_empty() {
                self.groups.remove(name);
            }
        }
        if let Some(Held { group, turn }) = held {
            self.groups.entry(group).or_default().put_in(saga, turn);
        }
        before
    }

    /// It waits for its turn, and may begin now.
    pub fn may_begin(&self, saga: SagaId) -> bool {
        let Some(Held { group, turn }) = self.sagas.get(&saga) else {
            return false;
        };
        let Some(group) = self.groups.get(group) else {
            return false;
        };
        !turn.granted
            && match turn.concurrency_max {
                None => group.heads_its_line(turn),
                Some(_) => group.next().any(|next| next == saga),
            }
    }

    /// One more saga of this definition would have to wait for a slot.
    pub fn is_full(&self, group: &GroupName, max: u32) -> bool {
        self.groups.get(group).is_some_and(|group| {
            let waiting = u32::try_from(group.waiting.len()).unwrap_or(u32::MAX);
            group.taken.saturating_add(waiting) >= max
        })
    }

    /// Those that may begin since this one is gone.
    pub fn freed_by(&self, gone: &Held) -> Vec<SagaId> {
        let Some(group) = self.groups.get(&gone.group) else {
            return Vec::new();
        };
        let line = gone
            .turn
            .ordering_hash
            .and_then(|key| group.lines.get(&key));
        let head = line.and_then(unlimited_head);
        head.into_iter().chain(group.next()).collect()
    }

    /// All that may begin.
    pub fn free(&self) -> Vec<SagaId> {
        let mut free = Vec::new();
        for group in self.groups.values() {
            free.extend(group.lines.values().filter_map(unlimited_head));
            free.extend(group.next());
        }
        free
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The head of a line, if it waits for nothing but to be told.
fn unlimited_head(line: &BTreeMap<u64, (SagaId, Turn)>) -> Option<SagaId> {
    let (saga, turn) = line.values().next()?;
    (!turn.granted && turn.concurrency_max.is_none()).then_some(*saga)
}

impl Group {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.taken == 0 && self.waiting.is_empty()
    }

    /// Those that may take the free slots, first come first served: nobody passes one that waits before it.
    fn next(&self) -> impl Iterator<Item = SagaId> + '_ {
        (self.taken..)
            .zip(self.waiting.values())
            .take_while(|(taken, (_, max))| taken < max)
            .map(|(_, (saga, _))| *saga)
    }

    fn heads_its_line(&self, turn: &Turn) -> bool {
        turn.ordering_hash
            .and_then(|key| self.lines.get(&key)?.keys().next())
            .is_none_or(|first| *first == turn.position)
    }

    fn take_out(&mut self, turn: Turn) {
        if turn.concurrency_max.is_some() && turn.granted {
            self.taken = self.taken.saturating_sub(1);
        }
        self.waiting.remove(&turn.position);
        let Some(key) = turn.ordering_hash else {
            return;
        };
        let Some(line) = self.lines.get_mut(&key) else {
            return;
        };
        line.remove(&turn.position);
        match line.values().next().copied() {
            Some((head, turn)) => self.wait(head, turn),
            None => {
                self.lines.remove(&key);
            }
        }
    }

    fn put_in(&mut self, saga: SagaId, turn: Turn) {
        if turn.concurrency_max.is_some() && turn.granted {
            self.taken += 1;
        }
        if let Some(key) = turn.ordering_hash {
            let line = self.lines.entry(key).or_default();
            let head = line.keys().next().copied();
            line.insert(turn.position, (saga, turn));
            if let Some(head) = head.filter(|head| *head > turn.position) {
                self.waiting.remove(&head);
            }
        }
        if self.heads_its_line(&turn) {
            self.wait(saga, turn);
        }
    }

    /// The head of its line, or one without a line, waits for a slot, if it needs one and has none.
    fn wait(&mut self, saga: SagaId, turn: Turn) {
        if let Some(max) = turn.concurrency_max.filter(|_| !turn.granted) {
            self.waiting.insert(turn.position, (saga, max));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ShardId;
    use crate::time::Time;

    fn saga(number: u64) -> SagaId {
        SagaId::new(Time::EPOCH, ShardId(0), number)
    }

    fn held(position: u64, key: Option<&str>, max: Option<u32>) -> Held {
        Held {
            group: ("default".into(), "d".into()),
            turn: Turn {
                ordering_hash: key.map(|key| hash_128(key.as_bytes())),
                concurrency_max: max,
                position,
                granted: false,
            },
        }
    }

    fn enter(turns: &mut Turns, position: u64, key: Option<&str>, max: Option<u32>) -> bool {
        turns.set(saga(position), Some(held(position, key, max)));
        turns.may_begin(saga(position)) && grant(turns, position)
    }

    fn grant(turns: &mut Turns, position: u64) -> bool {
        let mut held = turns.get(saga(position)).expect("it is there").clone();
        held.turn.granted = true;
        turns.set(saga(position), Some(held));
        true
    }

    fn leave(turns: &mut Turns, position: u64) -> Vec<SagaId> {
        let gone = turns.set(saga(position), None).expect("it was there");
        turns.freed_by(&gone)
    }

    #[test]
    fn a_key_is_served_one_at_a_time_in_the_order_of_starts() {
        let mut turns = Turns::default();
        assert!(enter(&mut turns, 1, Some("k"), None));
        assert!(!enter(&mut turns, 2, Some("k"), None));
        assert!(!enter(&mut turns, 3, Some("k"), None));
        assert!(enter(&mut turns, 4, Some("other"), None));
        assert_eq!(leave(&mut turns, 2), [], "the first still runs");
        assert_eq!(leave(&mut turns, 1), [saga(3)]);
    }

    #[test]
    fn a_slot_goes_to_who_waits_longest_and_has_come_to_the_head_of_its_line() {
        let mut turns = Turns::default();
        assert!(enter(&mut turns, 1, Some("a"), Some(2)));
        assert!(!enter(&mut turns, 2, Some("a"), Some(2)), "its line");
        assert!(enter(&mut turns, 3, Some("b"), Some(2)), "its line is free");
        assert!(!enter(&mut turns, 4, Some("c"), Some(2)), "no slot");
        assert_eq!(leave(&mut turns, 3), [saga(4)]);
        // The line's next comes before who began later, once it needs nothing but a slot.
        assert_eq!(leave(&mut turns, 1), [saga(2), saga(4)]);
        assert!(turns.is_full(&("default".into(), "d".into()), 2));
    }

    #[test]
    fn putting_back_what_was_undoes_everything() {
        let mut turns = Turns::default();
        for position in 1..=9 {
            let key = ["a", "b", "c"][usize::try_from(position % 3).expect("small")];
            let max = (position != 4).then_some(3);
            enter(&mut turns, position, (position != 7).then_some(key), max);
        }
        let before = format!("{turns:?}");
        let mut undo = Vec::new();
        for position in [1, 5, 2, 9, 3] {
            undo.push((saga(position), turns.set(saga(position), None)));
            for next in turns.free() {
                let mut held = turns.get(next).expect("it waits").clone();
                held.turn.granted = true;
                undo.push((next, turns.set(next, Some(held))));
            }
        }
        assert_ne!(format!("{turns:?}"), before);
        for (saga, held) in undo.into_iter().rev() {
            turns.set(saga, held);
        }
        assert_eq!(format!("{turns:?}"), before);
    }
}
