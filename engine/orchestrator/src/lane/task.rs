//! The lane's task: take messages, fire timers, decide, hand batches over, let out what is durable. On one screen: `run`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use amends_core::shard::{Input, Output, Shard, Token};
use amends_core::{SagaId, ShardId, Time};
use tokio::sync::{mpsc, oneshot};

use super::batch::Way;
use super::route::Waiter;
use super::slot::Slot;
use super::{Keyed, Message};
use crate::limits::{LANE_MESSAGES_MAX, URGENT_LOADS_MAX};
use crate::node::Node;
use crate::telemetry;

/// A lane's state. Nobody else touches it.
#[derive(Debug)]
pub(crate) struct LaneTask {
    pub(super) lane: usize,
    pub(super) node: Arc<Node>,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// To each of its committers.
    pub(super) ways: Vec<Way>,
    pub(super) slots: BTreeMap<ShardId, Slot>,
    /// Shards with something to decide.
    pub(super) ready: BTreeSet<ShardId>,
    /// Shards that changed since their outputs, readiness and timers were looked at.
    pub(super) touched: BTreeSet<ShardId>,
    wakes: BTreeSet<(Time, ShardId)>,
    pub(super) suspects: BTreeSet<ShardId>,
    /// Shards whose batch met a key that was taken: each is tried once in a batch without the others.
    pub(super) one_by_one: BTreeSet<ShardId>,
    /// The shard that comes first in the next batch, so that bounded batches starve nobody.
    pub(super) rotor: ShardId,
    pub(super) waiters: HashMap<u64, Waiter>,
    next_token: u64,
    /// Keyed starts whose keys have not been looked up yet.
    pub(super) unlooked: Vec<Keyed>,
    pub(super) looking_up: bool,
    /// Sagas that are not in memory and that something arrived for: to be read before those whose time has come.
    pub(super) urgent: BTreeSet<SagaId>,
    pub(super) outputs: Vec<Output>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl LaneTask {
    pub(crate) fn new(
        lane: usize,
        node: Arc<Node>,
        inbox: mpsc::UnboundedReceiver<Message>,
        ways: Vec<Way>,
        shards: Vec<Shard>,
    ) -> Self {
        Self {
            lane,
            node,
            inbox,
            ways,
            slots: shards
                .into_iter()
                .map(|shard| (shard.id(), Slot::new(shard)))
                .collect(),
            ready: BTreeSet::new(),
            touched: BTreeSet::new(),
            wakes: BTreeSet::new(),
            suspects: BTreeSet::new(),
            one_by_one: BTreeSet::new(),
            rotor: ShardId(0),
            waiters: HashMap::new(),
            next_token: 0,
            unlooked: Vec::new(),
            looking_up: false,
            urgent: BTreeSet::new(),
            outputs: Vec::new(),
            flushes: Vec::new(),
        }
    }

    /// Until the node stops.
    pub(crate) async fn run(mut self) {
        let mut messages = Vec::new();
        let stop = self.node.stop.clone();
        loop {
            let again = self.free_way().is_some();
            let wake = self
                .wakes
                .first()
                .map(|(at, _)| self.node.clock.instant_at(*at))
                .into_iter()
                .chain(self.late_at())
                .min();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.inbox.recv_many(&mut messages, LANE_MESSAGES_MAX) => {}
                () = std::future::ready(()), if again => {}
                () = sleep_until(wake), if wake.is_some() => {}
            }
            let now = self.node.clock.now();
            for message in messages.drain(..) {
                self.take(message, now);
            }
            self.look_up_starts();
            self.fire_timers(now);
            self.settle(now);
            self.decide(now);
            self.settle(now);
            self.let_out();
            self.forget_urgent();
            self.answer_flushes(now);
        }
    }

    fn take(&mut self, message: Message, now: Time) {
        match message {
            Message::Starts(orders) => {
                for order in orders {
                    if order.start.key.is_some() {
                        self.unlooked.push(Keyed::Start(order));
                    } else {
                        self.start(order, now);
                    }
                }
            }
            Message::LookedUp { starts, found } => self.looked_up(starts, found, now),
            Message::LookedUpAgain { shard, found } => self.looked_up_again(shard, &found),
            Message::Cancel(order) => self.cancel(order, now),
            Message::Signal(order) => self.signal(order, now),
            Message::Act(order) => self.act(order, now),
            Message::Child(wish) if super::lookup::keyed(&wish).is_some() => {
                self.unlooked.push(Keyed::Child(wish));
            }
            Message::Child(wish) => self.input(wish.child.shard(), Input::Child(wish), now),
            Message::ChildAnswered(answer) => {
                let shard = answer.parent.saga.shard();
                self.input(shard, Input::ChildAnswered(answer), now);
            }
            Message::Outcomes(outcomes) => {
                for outcome in outcomes {
                    self.outcome(outcome, now);
                }
            }
            Message::ServerOutcome(report) => {
                let (shard, report, token) = (report.attempt.saga.shard(), *report, None);
                self.input(shard, Input::Outcome { token, report }, now);
            }
            Message::Sent(attempts) => {
                for attempt in attempts {
                    self.input(attempt.saga.shard(), Input::Sent { attempt }, now);
                }
            }
            Message::Heartbeats(attempts) => {
                for attempt in attempts {
                    self.input(attempt.saga.shard(), Input::Heartbeat { attempt }, now);
                }
            }
            Message::Withdrawn(attempts) => {
                for attempt in attempts {
                    self.input(attempt.saga.shard(), Input::Withdrawn { attempt }, now);
                }
            }
            Message::Loaded { saga, loaded } => {
                self.input(saga.shard(), Input::Loaded { saga, loaded }, now);
            }
            Message::RecoveredTurns { shard, turns } => {
                if let Some(slot) = self.slots.get_mut(&shard) {
                    slot.shard.recover_turns(turns);
                }
            }
            Message::RecoveredSleepers { shard, sleepers } => {
                if let Some(slot) = self.slots.get_mut(&shard) {
                    slot.shard.recover_sleepers(sleepers, now);
                }
            }
            Message::Recovered {
                shard,
                histories,
                more,
            } => self.recovered(shard, histories, more, now),
            Message::Written { way, verdict } => self.written(way, verdict),
            Message::Flush(reply) => self.flushes.push(reply),
        }
    }

    /// An input for a shard of this lane.
    pub(super) fn input(&mut self, shard: ShardId, input: Input, now: Time) {
        if let Some(slot) = self.slots.get_mut(&shard) {
            if let Some(saga) = arrived_for(&input)
                && slot.shard.saga(saga).is_none()
                && self.urgent.len() < URGENT_LOADS_MAX
            {
                self.urgent.insert(saga);
            }
            slot.take(input, now);
            self.touched.insert(shard);
        } else {
            // Its journal cannot be read: it was never opened.
            let refused = super::route::refusal_of(&input);
            self.outputs.extend(refused);
        }
    }

    pub(super) fn touch(&mut self, shard: ShardId) {
        self.touched.insert(shard);
    }

    pub(super) fn wait(&mut self, waiter: Waiter) -> Token {
        self.next_token += 1;
        self.waiters.insert(self.next_token, waiter);
        Token(self.next_token)
    }

    fn recovered(
        &mut self,
        shard: ShardId,
        histories: Vec<amends_core::shard::History>,
        more: Option<oneshot::Sender<()>>,
        now: Time,
    ) {
        let Some(slot) = self.slots.get_mut(&shard) else {
            return;
        };
        slot.recovered += histories.len();
        for history in histories {
            slot.shard.recover(history, now);
        }
        match more {
            // Nobody waits for it once the node has stopped.
            Some(more) => drop(more.send(())),
            None => {
                telemetry::recovered(shard, slot.recovered);
                slot.open(now);
                self.node.open_shards.open(shard);
            }
        }
        self.touched.insert(shard);
    }

    fn fire_timers(&mut self, now: Time) {
        while let Some((at, shard)) = self.wakes.first().copied()
            && at <= now
        {
            self.wakes.pop_first();
            if let Some(slot) = self.slots.get_mut(&shard) {
                slot.wake = None;
                if slot.is_ready(now) {
                    self.ready.insert(shard);
                }
            }
        }
    }

    /// Looks at the shards that changed, and at no others: what may leave, whether they want to decide, when to wake them.
    fn settle(&mut self, now: Time) {
        while let Some(id) = self.touched.pop_first() {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            self.outputs.append(&mut slot.shard.take_outputs());
            let active = slot.shard.active();
            self.node.load.active_changed(slot.active, active);
            slot.active = active;
            let ready = slot.is_ready(now);
            // A shard that waits for its turn, its batch or its keys is looked at again then: it needs no timer.
            let idle = !ready && slot.is_idle(now) && !self.ways.iter().any(|way| way.carries(id));
            let wake = if idle { slot.shard.next_wake() } else { None };
            if slot.wake != wake {
                if let Some(at) = slot.wake {
                    self.wakes.remove(&(at, id));
                }
                if let Some(at) = wake {
                    self.wakes.insert((at, id));
                }
                slot.wake = wake;
            }
            if ready {
                self.ready.insert(id);
            } else {
                self.ready.remove(&id);
            }
        }
    }

    fn forget_urgent(&mut self) {
        // What was asked for before it became urgent, or turned out not to exist, is never asked for again.
        if self.urgent.len() >= URGENT_LOADS_MAX {
            self.urgent.clear();
        }
    }

    fn answer_flushes(&mut self, now: Time) {
        if self.flushes.is_empty()
            || self.ways.iter().any(Way::is_busy)
            || self.looking_up
            || !self.unlooked.is_empty()
        {
            return;
        }
        if self.slots.values().all(|slot| slot.is_idle(now)) {
            for reply in self.flushes.drain(..) {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
        }
    }
}

/// The saga that somebody outside wants something of, and waits for it.
fn arrived_for(input: &Input) -> Option<SagaId> {
    match input {
        Input::Outcome { report, .. } => Some(report.attempt.saga),
        Input::Signal { signal, .. } => Some(signal.saga),
        Input::Order { order, .. } => Some(order.saga),
        Input::Cancel { saga, .. } => Some(*saga),
        Input::Child(wish) => Some(wish.child),
        Input::ChildAnswered(answer) => Some(answer.parent.saga),
        Input::Start { .. }
        | Input::Sent { .. }
        | Input::Withdrawn { .. }
        | Input::Heartbeat { .. }
        | Input::Loaded { .. } => None,
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
