//! Who offers an action, and what waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use amends_core::shard::Command;
use amends_definitions::ActionName;
use tokio::time::Instant;

use super::InstanceId;
use crate::limits::YOUNG_EVERY;

/// Where the commands begin, in the order of a queue, that are sent for the first time.
const YOUNG: u64 = 1 << 63;

/// Whose turn it is at an instance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    taken: usize,
    old: usize,
    young: usize,
}

/// Which commands of a queue.
#[derive(Clone, Copy, Debug)]
enum Age {
    /// Those that were under way before this node had their shard.
    Old,
    /// The others.
    Young,
}

/// Where a command stands in its queue, by whether it may have been sent by an earlier owner, and its number.
pub(super) fn place(resent: bool, number: u64) -> u64 {
    if resent { number } else { YOUNG + number }
}

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
    /// Those that were under way before this node had their shard, and from [`YOUNG`] on the others; each by order of
    /// arrival.
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

    /// Puts a command in its place in its queue.
    pub(super) fn push(&mut self, id: QueueId, place: u64, command: Arc<Command>) {
        let queue = self.get_mut(id);
        queue.asked_for = true;
        queue.commands.insert(place, command);
    }

    /// Takes a command of these queues, each in its turn.
    pub(super) fn pop_in_turn(
        &mut self,
        offers: &[QueueId],
        turns: &mut Turns,
    ) -> Option<Arc<Command>> {
        let young_first = turns.taken.is_multiple_of(YOUNG_EVERY);
        let ages = if young_first {
            [Age::Young, Age::Old]
        } else {
            [Age::Old, Age::Young]
        };
        for age in ages {
            let turn = match age {
                Age::Old => &mut turns.old,
                Age::Young => &mut turns.young,
            };
            let (before, from) = offers.split_at(turn.checked_rem(offers.len())?);
            let mut queues = (turn.wrapping_add(1)..).zip(from.iter().chain(before));
            let found = queues.find_map(|(next, id)| Some((next, self.get_mut(*id).pop(age)?)));
            if let Some((next, command)) = found {
                *turn = next;
                turns.taken = turns.taken.wrapping_add(1);
                return Some(command);
            }
        }
        None
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
    fn pop(&mut self, age: Age) -> Option<Arc<Command>> {
        let first = match age {
            Age::Old => self.commands.range(..YOUNG).next(),
            Age::Young => self.commands.range(YOUNG..).next(),
        };
        let place = *first?.0;
        self.commands.remove(&place)
    }

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
    use std::time::Duration;

    use amends_core::{Incarnation, OperationKey, OperationKind, SagaId, ShardId, Time};
    use amends_definitions::Payload;
    use uuid::Uuid;

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

    fn command(attempt: u32, resent: bool) -> Arc<Command> {
        Arc::new(Command {
            key: OperationKey {
                incarnation: Incarnation(Uuid::nil()),
                namespace: "default".into(),
                saga: SagaId::new(Time::EPOCH, ShardId(0), 1),
                step: "step".into(),
                item: 0,
                round: 0,
                operation: OperationKind::Forward,
            },
            forward_key: None,
            attempt,
            action: ActionName::new("a.b"),
            definition: "d".into(),
            revision: 1,
            epoch: 1,
            input: Payload::empty_object(),
            timeout: Duration::from_secs(1),
            heartbeat: None,
            traceparent: None,
            tracestate: None,
            due_at: Time::EPOCH,
            resent,
        })
    }

    #[test]
    fn what_was_under_way_goes_first_and_holds_nobody_up() {
        let mut queues = Queues::default();
        let offers = ["a.one", "a.two"]
            .map(|action| queues.find_or_make("default", &ActionName::new(action)));
        for n in 1..=4_u64 {
            // 11 to 14 and 21 to 24 were under way; each came behind a new one.
            for (queue, attempt) in offers.into_iter().zip([10, 20]) {
                let attempt = attempt + u32::try_from(n).unwrap();
                for (resent, number, attempt) in
                    [(false, 2 * n, attempt + 100), (true, 2 * n + 1, attempt)]
                {
                    queues.push(queue, place(resent, number), command(attempt, resent));
                }
            }
        }
        let mut turns = Turns::default();
        let taken: Vec<u32> = std::iter::from_fn(|| queues.pop_in_turn(&offers, &mut turns))
            .map(|command| command.attempt)
            .collect();
        assert_eq!(
            taken,
            [
                111, 11, 21, 12, 121, 22, 13, 23, 112, 14, 24, 122, 113, 123, 114, 124
            ]
        );
        assert_eq!(
            queues.pop_in_turn(&[], &mut turns).map(|it| it.attempt),
            None
        );
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
