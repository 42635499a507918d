//! Who offers an action, and what waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use amends_core::shard::Command;
use amends_definitions::ActionName;
use tokio::time::Instant;

use super::InstanceId;

/// Names a queue in [`Queues`]; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueId(u64);

/// A queue for each (namespace, action) that was ever asked for, or is offered. What was asked for is bounded by the
/// definitions; what was only offered goes with whoever offered it.
#[derive(Debug, Default)]
pub(super) struct Queues {
    ids: HashMap<String, HashMap<ActionName, QueueId>>,
    queues: BTreeMap<QueueId, Queue>,
    next: u64,
}

/// What waits for an action, and who offers it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    namespace: String,
    action: Option<ActionName>,
    /// A command of it was here once.
    asked_for: bool,
    /// By order of arrival.
    pub(super) commands: BTreeMap<u64, Arc<Command>>,
    /// Instances that offer the action, in their turn.
    servers: Vec<InstanceId>,
    turn: usize,
    /// Whether each of them offers it behind a barrier.
    barriers: BTreeMap<InstanceId, bool>,
    /// What held when the last one left.
    stood_behind_barrier: bool,
    /// That nobody offers it was said, and nobody has since.
    missed: bool,
    /// Since when nobody offers it; none while somebody does.
    unserved_since: Option<Instant>,
}

impl Queues {
    pub(super) fn find(&self, namespace: &str, action: &ActionName) -> Option<QueueId> {
        self.ids.get(namespace)?.get(action).copied()
    }

    pub(super) fn find_or_make(&mut self, namespace: &str, action: &ActionName) -> QueueId {
        if let Some(id) = self.find(namespace, action) {
            return id;
        }
        self.next += 1;
        let id = QueueId(self.next);
        let queue = Queue {
            namespace: namespace.to_owned(),
            action: Some(action.clone()),
            unserved_since: Some(Instant::now()),
            ..Queue::default()
        };
        self.queues.insert(id, queue);
        self.ids
            .entry(namespace.to_owned())
            .or_default()
            .insert(action.clone(), id);
        id
    }

    pub(super) fn get(&self, id: QueueId) -> &Queue {
        self.queues.get(&id).expect(LIVES)
    }

    pub(super) fn get_mut(&mut self, id: QueueId) -> &mut Queue {
        self.queues.get_mut(&id).expect(LIVES)
    }

    /// Puts a command at the end of its queue.
    pub(super) fn push(&mut self, id: QueueId, place: u64, command: Arc<Command>) {
        let queue = self.get_mut(id);
        queue.asked_for = true;
        queue.commands.insert(place, command);
    }

    /// An instance does not offer the action any more.
    pub(super) fn withdraw_offer(&mut self, id: QueueId, instance: InstanceId) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        queue.withdraw_offer(instance);
        if queue.asked_for || !queue.servers.is_empty() {
            return;
        }
        let Some(Queue {
            namespace,
            action: Some(action),
            ..
        }) = self.queues.remove(&id)
        else {
            return;
        };
        if let Some(ids) = self.ids.get_mut(&namespace) {
            ids.remove(&action);
            if ids.is_empty() {
                self.ids.remove(&namespace);
            }
        }
    }
}

impl Queue {
    pub(super) fn offer(&mut self, instance: InstanceId, barrier: bool) {
        if self.barriers.insert(instance, barrier).is_none() {
            self.servers.push(instance);
        }
        self.missed = false;
        self.unserved_since = None;
    }

    /// Since when nobody offers the action; none while somebody does.
    pub(super) fn unserved_since(&self) -> Option<Instant> {
        self.unserved_since
    }

    /// How many instances offer the action.
    pub(super) fn servers(&self) -> usize {
        self.servers.len()
    }

    /// This instance offers it behind a barrier.
    pub(super) fn is_behind_barrier(&self, instance: InstanceId) -> bool {
        self.barriers.get(&instance).copied().unwrap_or(false)
    }

    /// Commands wait and nobody offers their action, for the first time since somebody did.
    pub(super) fn newly_missed(&mut self) -> bool {
        self.servers.is_empty() && !std::mem::replace(&mut self.missed, true)
    }

    fn withdraw_offer(&mut self, instance: InstanceId) {
        self.stood_behind_barrier = self.stands_behind_barrier();
        self.barriers.remove(&instance);
        self.servers.retain(|server| *server != instance);
        if self.servers.is_empty() {
            self.unserved_since.get_or_insert_with(Instant::now);
        }
    }

    /// Somebody offers the action behind a barrier, and nobody without one; as it was last while nobody is there.
    pub(super) fn stands_behind_barrier(&self) -> bool {
        if self.barriers.is_empty() {
            self.stood_behind_barrier
        } else {
            self.barriers.values().all(|barrier| *barrier)
        }
    }

    /// The next instance in turn that has room.
    pub(super) fn next_server(
        &mut self,
        has_room: impl Fn(InstanceId) -> bool,
    ) -> Option<InstanceId> {
        let count = self.servers.len();
        let place = (0..count)
            .map(|offset| (self.turn + offset) % count)
            .find(|place| has_room(self.servers[*place]))?;
        self.turn = place + 1;
        Some(self.servers[place])
    }
}

const LIVES: &str =
    "a queue lives while an instance offers it, and for ever once a command was in it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_counts_only_if_everyone_has_it_and_is_remembered() {
        let mut queue = Queue::default();
        assert!(!queue.stands_behind_barrier());
        queue.offer(InstanceId(1), true);
        assert!(queue.stands_behind_barrier());
        queue.offer(InstanceId(2), false);
        assert!(!queue.stands_behind_barrier());
        queue.withdraw_offer(InstanceId(2));
        assert!(queue.stands_behind_barrier());
        queue.withdraw_offer(InstanceId(1));
        assert!(queue.stands_behind_barrier());
    }

    #[test]
    fn servers_take_turns_and_those_without_room_are_passed_over() {
        let mut queue = Queue::default();
        for number in 1..=3 {
            queue.offer(InstanceId(number), true);
        }
        let turns: Vec<_> = (0..4)
            .filter_map(|_| queue.next_server(|id| id != InstanceId(2)))
            .collect();
        assert_eq!(
            turns,
            [InstanceId(1), InstanceId(3), InstanceId(1), InstanceId(3)]
        );
        assert_eq!(queue.next_server(|_| false), None);
    }

    #[test]
    fn queues_that_nobody_asked_for_go_with_whoever_offered_them() {
        let mut queues = Queues::default();
        for number in 0..1_000 {
            let action = ActionName::new(format!("made.up{number}"));
            let id = queues.find_or_make("default", &action);
            queues.get_mut(id).offer(InstanceId(1), true);
            queues.get_mut(id).offer(InstanceId(2), true);
            queues.withdraw_offer(id, InstanceId(1));
            assert_eq!(queues.find("default", &action), Some(id));
            queues.withdraw_offer(id, InstanceId(2));
        }
        assert!(queues.queues.is_empty() && queues.ids.is_empty());
    }
}
