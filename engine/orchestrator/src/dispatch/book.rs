//! The book that the registry keeps under its lock: who is attached, what waits, what was sent to whom. It says nothing to
//! anyone: what has to be told gathers in an [`Outbox`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use amends_core::shard::Command;
use amends_core::{AttemptName, OperationKey, SagaId, ShardId};
use amends_definitions::ActionName;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Span;

use super::offers::{QueueId, Queues, Turns, place};
use super::{Delivery, InstanceId, attempt_of, first_of, floor};
use crate::limits::HEARTBEATS_IN_TIMEOUT;
use crate::telemetry;

/// What has to be told once the book is in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Commands that leave, by instance.
    pub(super) commands: BTreeMap<InstanceId, Vec<Arc<Command>>>,
    /// Attempts whose time runs from now; they may be without a command here (found in a participant's hand).
    pub(super) sent: Vec<AttemptName>,
    /// Attempts that were never sent.
    pub(super) withdrawn: Vec<AttemptName>,
    /// Attempts of which nobody will tell: whose they were, and which.
    pub(super) lost: Vec<(Name, AttemptName)>,
    /// Sent attempts that no longer matter, by instance.
    pub(super) withdrawals: BTreeMap<InstanceId, Vec<(OperationKey, u32)>>,
}

/// Who is attached, what waits, what was sent to whom.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) queues: Queues,
    pub(super) queued: BTreeMap<AttemptName, (QueueId, u64)>,
    pub(super) sent: BTreeMap<AttemptName, Sent>,
    pub(super) instances: BTreeMap<InstanceId, Instance>,
    pub(super) by_name: HashMap<Name, InstanceId>,
    /// Attempts that an instance says it has in hand; known to be sent or not.
    pub(super) held: BTreeMap<AttemptName, InstanceId>,
    next: u64,
    /// No command leaves while the lease is late.
    pub(super) paused: bool,
    /// No command leaves after this, unless the lease is renewed: a process that was stopped and goes on may send before it
    /// gets to know that it is late.
    pub(super) leaves_until: Option<Instant>,
    /// No command leaves any more.
    pub(super) closed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) participant: String,
    pub(super) instance: String,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: Name,
    /// What it runs.
    pub(super) sdk: String,
    pub(super) live: Option<Live>,
    /// Its latest session.
    pub(super) session: u64,
    pub(super) offers: Vec<(ActionName, QueueId)>,
    pub(super) turns: Turns,
    pub(super) sent: BTreeSet<AttemptName>,
    /// Its part of [`Book::held`].
    pub(super) held: BTreeSet<AttemptName>,
}

/// An attached stream.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) deliveries: mpsc::UnboundedSender<Delivery>,
    pub(super) credit: u32,
    pub(super) draining: bool,
    pub(super) since: Instant,
    /// Sent on an earlier stream, lost on the way, and due first.
    pub(super) resend: VecDeque<AttemptName>,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) command: Arc<Command>,
    pub(super) instance: InstanceId,
    /// When it was first sent, or was found in the instance's hand.
    first: Instant,
    /// When it was last sent.
    pub(super) since: Instant,
    /// When its shard was last told that it is still under way.
    beat_at: Option<Instant>,
    /// Open until the outcome arrives.
    _span: Span,
}

impl Instance {
    fn has_room(&self) -> bool {
        self.live
            .as_ref()
            .is_some_and(|live| live.credit > 0 && !live.draining && live.resend.is_empty())
    }

    pub(super) fn in_flight(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn queue_of(&self, action: &ActionName) -> Option<QueueId> {
        self.offers
            .iter()
            .find(|(offer, _)| offer == action)
            .map(|(_, queue)| *queue)
    }
}

impl Book {
    /// A command to be sent.
    pub(super) fn send(&mut self, command: Arc<Command>, outbox: &mut Outbox) {
        let attempt = attempt_of(&command.key, command.attempt);
        if self.sent.contains_key(&attempt) || self.queued.contains_key(&attempt) {
            return;
        }
        let older: Vec<_> = self
            .sent
            .range(first_of(&attempt)..attempt.clone())
            .map(|(older, _)| older.clone())
            .collect();
        for older in older {
            self.forget_sent(&older);
        }
        if let Some(holder) = self.holder(&attempt, &command.action) {
            self.note_sent(attempt.clone(), command, holder);
            outbox.sent.push(attempt);
            return;
        }
        let queue = self
            .queues
            .find_or_make(&command.key.namespace, &command.action);
        let place = place(command.resent, self.next());
        if self.queues.get_mut(queue).newly_missed() {
            telemetry::nobody_serves(&command.key.namespace, command.action.as_str());
        }
        self.queues.push(queue, place, command);
        self.queued.insert(attempt, (queue, place));
        self.dispatch(queue, outbox);
    }

    /// A command whose result no longer matters.
    pub(super) fn withdraw(&mut self, attempt: &AttemptName, outbox: &mut Outbox) {
        if let Some((queue, place)) = self.queued.remove(attempt) {
            self.queues.get_mut(queue).commands.remove(&place);
            outbox.withdrawn.push(attempt.clone());
        } else if let Some(sent) = self.sent.get(attempt) {
            let told = (sent.command.key.clone(), sent.command.attempt);
            outbox
                .withdrawals
                .entry(sent.instance)
                .or_default()
                .push(told);
            // Its result is still welcome, and it is never sent again.
            self.forget_sent(attempt);
        }
    }

    /// A saga has ended.
    pub(super) fn forget_saga(&mut self, saga: SagaId) {
        self.forget_while(floor(saga), |attempt| attempt.saga == saga);
    }

    /// A shard has another owner.
    pub(super) fn forget_shard(&mut self, shard: ShardId) {
        let of_shard = |attempt: &&AttemptName| attempt.saga.shard() == shard;
        let sagas: BTreeSet<SagaId> = self
            .queued
            .keys()
            .chain(self.sent.keys())
            .filter(of_shard)
            .map(|attempt| attempt.saga)
            .collect();
        for saga in sagas {
            self.forget_saga(saga);
        }
    }

    /// The owner took its shard anew: what waits or is sent again carries its new epoch, or participants would refuse it
    /// once they have seen that.
    pub(super) fn raise_epoch(&mut self, shard: ShardId, epoch: u64) {
        let of_shard = |attempt: &AttemptName| attempt.saga.shard() == shard;
        for (attempt, (queue, place)) in &self.queued {
            if of_shard(attempt)
                && let Some(command) = self.queues.get_mut(*queue).commands.get_mut(place)
            {
                Arc::make_mut(command).epoch = epoch;
            }
        }
        for (attempt, sent) in &mut self.sent {
            if of_shard(attempt) {
                Arc::make_mut(&mut sent.command).epoch = epoch;
            }
        }
    }

    /// An outcome arrived. One from an instance that does not serve the action will be refused, and changes nothing here.
    pub(super) fn reported(&mut self, by: InstanceId, attempt: &AttemptName) {
        if !self.may_report(by, attempt) {
            return;
        }
        self.forget_sent(attempt);
        let holder = self.held.remove(attempt);
        if let Some(holder) = holder.and_then(|id| self.instances.get_mut(&id)) {
            holder.held.remove(attempt);
        }
        // An outcome from the life before may overtake the command that was to be sent again.
        if let Some((queue, place)) = self.queued.remove(attempt) {
            self.queues.get_mut(queue).commands.remove(&place);
        }
    }

    fn may_report(&self, by: InstanceId, attempt: &AttemptName) -> bool {
        let Some(instance) = self.instances.get(&by) else {
            return false;
        };
        let queued = || {
            let (queue, place) = self.queued.get(attempt)?;
            self.queues.get(*queue).commands.get(place)
        };
        let sent = self.sent.get(attempt).map(|sent| &sent.command);
        let command = sent.or_else(queued);
        command.is_none_or(|command| instance.queue_of(&command.action).is_some())
    }

    /// The instance says that this attempt is still under way. True if its shard has to hear of it: it has a heartbeat
    /// timeout, and a good part of that has passed since the shard last heard.
    pub(super) fn beats(&mut self, by: InstanceId, attempt: &AttemptName, now: Instant) -> bool {
        let Some(sent) = self.sent.get_mut(attempt) else {
            return false;
        };
        let Some(timeout) = sent.command.heartbeat else {
            return false;
        };
        let last = sent.beat_at.unwrap_or(sent.since);
        let news = sent.instance == by && now >= last + timeout / HEARTBEATS_IN_TIMEOUT;
        if news {
            sent.beat_at = Some(now);
        }
        news
    }

    /// The instance has more room.
    pub(super) fn credit(
        &mut self,
        id: InstanceId,
        session: u64,
        commands: u32,
        outbox: &mut Outbox,
    ) {
        let Some(instance) = self
            .instances
            .get_mut(&id)
            .filter(|instance| instance.session == session)
        else {
            return;
        };
        if let Some(live) = &mut instance.live {
            live.credit = live.credit.saturating_add(commands);
            self.pull(id, outbox);
        }
    }

    /// Everything that waits and has somewhere to go goes.
    pub(super) fn dispatch_all(&mut self, outbox: &mut Outbox) {
        let ids: Vec<_> = self.instances.keys().copied().collect();
        for id in ids {
            self.pull(id, outbox);
        }
    }

    /// Who has this attempt in hand, if it serves that action.
    pub(super) fn holder(&self, attempt: &AttemptName, action: &ActionName) -> Option<InstanceId> {
        let id = self.held.get(attempt).copied()?;
        self.instances.get(&id)?.queue_of(action).map(|_| id)
    }

    /// Commands may leave.
    pub(super) fn lets_leave(&self) -> bool {
        let in_time = |until| Instant::now() < until;
        !self.paused && !self.closed && self.leaves_until.is_none_or(in_time)
    }

    /// One queue to whoever has room, in turn.
    fn dispatch(&mut self, queue: QueueId, outbox: &mut Outbox) {
        while !self.queues.get(queue).commands.is_empty() && self.lets_leave() {
            let instances = &self.instances;
            let entry = self.queues.get_mut(queue);
            let has_room = |id| instances.get(&id).is_some_and(Instance::has_room);
            let Some(id) = entry.next_server(has_room) else {
                return;
            };
            let Some((_, command)) = entry.commands.pop_first() else {
                return;
            };
            self.deliver(id, command, outbox);
        }
    }

    /// Whatever one instance has room for: first what was lost on the way, then a command of each of its actions in turn.
    /// While some of them were under way before this node had their shard, most are of those: so that after a restart
    /// every saga is driven again soon, and those that are further on are not held up by many that are not.
    pub(super) fn pull(&mut self, id: InstanceId, outbox: &mut Outbox) {
        if !self.lets_leave() {
            return;
        }
        self.pull_resends(id, outbox);
        let Some(instance) = self.instances.get(&id) else {
            return;
        };
        let offers: Vec<QueueId> = instance.offers.iter().map(|(_, queue)| *queue).collect();
        let mut turns = instance.turns;
        while self.instances.get(&id).is_some_and(Instance::has_room) {
            let Some(command) = self.queues.pop_in_turn(&offers, &mut turns) else {
                break;
            };
            self.deliver(id, command, outbox);
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.turns = turns;
        }
    }

    fn pull_resends(&mut self, id: InstanceId, outbox: &mut Outbox) {
        let Some(live) = self
            .instances
            .get_mut(&id)
            .and_then(|instance| instance.live.as_mut())
        else {
            return;
        };
        while live.credit > 0 && !live.draining {
            let Some(attempt) = live.resend.pop_front() else {
                return;
            };
            // It may have been reported, or its saga may have ended, meanwhile.
            if let Some(sent) = self.sent.get_mut(&attempt) {
                // Its time runs from its first sending: what is over by now may have been decided already, and what is not has
                // no more than is left of it. It could run after its compensation else.
                let left = sent.command.timeout.saturating_sub(sent.first.elapsed());
                if left.is_zero() {
                    continue;
                }
                sent.since = Instant::now();
                live.credit -= 1;
                outbox.sent.push(attempt);
                let command = Command {
                    resent: true,
                    timeout: left,
                    ..(*sent.command).clone()
                };
                outbox
                    .commands
                    .entry(id)
                    .or_default()
                    .push(Arc::new(command));
            }
        }
    }

    fn deliver(&mut self, id: InstanceId, command: Arc<Command>, outbox: &mut Outbox) {
        let attempt = attempt_of(&command.key, command.attempt);
        self.queued.remove(&attempt);
        if let Some(live) = self
            .instances
            .get_mut(&id)
            .and_then(|instance| instance.live.as_mut())
        {
            live.credit = live.credit.saturating_sub(1);
        }
        outbox.sent.push(attempt.clone());
        outbox.commands.entry(id).or_default().push(command.clone());
        self.note_sent(attempt, command, id);
    }

    pub(super) fn note_sent(
        &mut self,
        attempt: AttemptName,
        command: Arc<Command>,
        id: InstanceId,
    ) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.sent.insert(attempt.clone());
        let (action, traceparent) = (command.action.as_str(), command.traceparent.as_deref());
        let span = telemetry::attempt_span(
            &command.key,
            command.attempt,
            action,
            &instance.name.instance,
            traceparent,
        );
        let now = Instant::now();
        self.sent.insert(
            attempt,
            Sent {
                command,
                instance: id,
                first: now,
                since: now,
                beat_at: None,
                _span: span,
            },
        );
    }

    fn forget_sent(&mut self, attempt: &AttemptName) {
        if let Some(sent) = self.sent.remove(attempt)
            && let Some(instance) = self.instances.get_mut(&sent.instance)
        {
            instance.sent.remove(attempt);
        }
    }

    fn forget_while(&mut self, floor: AttemptName, of_saga: impl Fn(&AttemptName) -> bool) {
        let queued = self
            .queued
            .range(floor.clone()..)
            .map(|(attempt, _)| attempt);
        let queued: Vec<_> = queued
            .take_while(|attempt| of_saga(attempt))
            .cloned()
            .collect();
        for attempt in queued {
            if let Some((queue, place)) = self.queued.remove(&attempt) {
                self.queues.get_mut(queue).commands.remove(&place);
            }
        }
        let sent = self.sent.range(floor..).map(|(attempt, _)| attempt);
        let sent: Vec<_> = sent
            .take_while(|attempt| of_saga(attempt))
            .cloned()
            .collect();
        for attempt in sent {
            self.forget_sent(&attempt);
        }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
