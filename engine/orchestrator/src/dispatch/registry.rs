//! The registry: the book behind its lock, and the telling of what it says, to lanes and to participants.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amends_core::shard::{Command, Report, Surroundings};
use amends_core::{AttemptName, Incarnation, OperationKey, Outcome, SagaId, ShardId};
use amends_definitions::ActionName;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::book::{Book, Name, Outbox};
use super::{
    Acknowledgement, Attachment, Delivery, InstanceId, Session, SessionHandle, attempt_of,
};
use crate::lane::{Lanes, Message, ReportedOutcome};
use crate::limits::{COMMAND_OVERHEAD_BYTES, DELIVERY_BYTES_MAX, DELIVERY_COMMANDS_MAX};
use crate::telemetry;

/// Which command goes to which participant.
#[derive(Debug)]
pub(crate) struct Registry {
    book: Mutex<Book>,
    lanes: Lanes,
    incarnation: Incarnation,
    departures: mpsc::UnboundedSender<Departure>,
    /// Outcomes that wait for their answer, at most.
    room: Arc<Semaphore>,
    /// Told when nothing is in flight.
    idle: Notify,
}

/// What a lane wants of the registry.
#[derive(Debug)]
pub(crate) enum Order {
    Send(Arc<Command>),
    Withdraw(AttemptName),
    Forget(SagaId),
}

/// A stream that ended, and until when its instance may return.
#[derive(Debug)]
pub(crate) struct Departure {
    instance: InstanceId,
    session: u64,
    at: Instant,
}

impl Registry {
    /// `outcomes_max` outcomes wait for their answer at most. What it returns beside itself is for [`Registry::expire`].
    pub(crate) fn new(
        lanes: Lanes,
        incarnation: Incarnation,
        outcomes_max: usize,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Departure>) {
        let (departures, left) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(outcomes_max.min(Semaphore::MAX_PERMITS)));
        let registry = Self {
            book: Mutex::default(),
            lanes,
            incarnation,
            departures,
            room,
            idle: Notify::new(),
        };
        (Arc::new(registry), left)
    }

    /// Waits for streams to end, and for their leases after them; when the node stops, it ends every stream.
    pub(crate) async fn expire(
        self: Arc<Self>,
        left: mpsc::UnboundedReceiver<Departure>,
        lease: Duration,
        stop: CancellationToken,
    ) {
        stop.run_until_cancelled(self.expire_in_turn(left, lease))
            .await;
        self.hang_up();
    }

    /// All leases are equally long, so they end in the order in which they began.
    async fn expire_in_turn(&self, mut left: mpsc::UnboundedReceiver<Departure>, lease: Duration) {
        while let Some(departure) = left.recv().await {
            tokio::time::sleep_until(departure.at + lease).await;
            let mut outbox = Outbox::default();
            let mut book = self.lock();
            if let Some((name, in_flight)) =
                book.expire(departure.instance, departure.session, &mut outbox)
                && in_flight > 0
            {
                telemetry::session_expired(
                    &name.namespace,
                    &name.participant,
                    &name.instance,
                    in_flight,
                );
            }
            self.tell(&mut book, outbox);
        }
    }

    /// Carries out orders, in their order.
    pub(crate) fn apply(&self, orders: Vec<Order>) {
        if orders.is_empty() {
            return;
        }
        let mut outbox = Outbox::default();
        let mut book = self.lock();
        for order in orders {
            match order {
                Order::Send(command) => book.send(command, &mut outbox),
                Order::Withdraw(attempt) => book.withdraw(&attempt, &mut outbox),
                Order::Forget(saga) => book.forget_saga(saga),
            }
        }
        self.tell(&mut book, outbox);
    }

    /// A shard's owner has a new epoch.
    pub(crate) fn raise_epoch(&self, shard: ShardId, epoch: u64) {
        self.lock().raise_epoch(shard, epoch);
    }

    pub(crate) fn forget_shard(&self, shard: ShardId) {
        let mut book = self.lock();
        book.forget_shard(shard);
        self.tell(&mut book, Outbox::default());
    }

    /// Attaches an instance; none once the node has said goodbye.
    pub(crate) fn attach(self: &Arc<Self>, attachment: &Attachment) -> Option<Session> {
        let (deliveries, receiver) = mpsc::unbounded_channel();
        let in_hand: BTreeSet<AttemptName> = (attachment.in_hand.iter())
            .filter(|(key, _)| self.is_ours(key) && *key.namespace == *attachment.namespace)
            .map(|(key, attempt)| attempt_of(key, *attempt))
            .collect();
        telemetry::session_attached(
            &attachment.namespace,
            &attachment.participant,
            &attachment.instance,
            in_hand.len(),
        );
        let mut book = self.lock();
        if book.closed {
            return None;
        }
        let mut outbox = Outbox::default();
        let (instance, session) = book.attach(attachment, in_hand, deliveries, &mut outbox);
        self.tell(&mut book, outbox);
        drop(book);
        let handle = SessionHandle::new(self.clone(), instance, session, attachment);
        Some(Session {
            deliveries: receiver,
            handle,
        })
    }

    pub(super) fn credit(&self, instance: InstanceId, session: u64, commands: u32) {
        let mut outbox = Outbox::default();
        let mut book = self.lock();
        book.credit(instance, session, commands, &mut outbox);
        self.tell(&mut book, outbox);
    }

    pub(super) fn drain_session(&self, instance: InstanceId, session: u64) {
        let mut book = self.lock();
        let instance = book
            .instances
            .get_mut(&instance)
            .filter(|instance| instance.session == session);
        if let Some(live) = instance.and_then(|instance| instance.live.as_mut()) {
            live.draining = true;
        }
    }

    /// A stream ended.
    pub(super) fn lost(&self, instance: InstanceId, session: u64) {
        let mut book = self.lock();
        let Some(entry) = book
            .instances
            .get_mut(&instance)
            .filter(|entry| entry.session == session)
        else {
            return;
        };
        entry.live = None;
        let name = &entry.name;
        telemetry::session_lost(
            &name.namespace,
            &name.participant,
            &name.instance,
            entry.in_flight(),
        );
        // Nobody waits for it once the node has stopped.
        let _ = self.departures.send(Departure {
            instance,
            session,
            at: Instant::now(),
        });
    }

    /// Tells lanes which attempts are still under way, each as often as its timeout needs.
    pub(super) fn heartbeats(&self, instance: InstanceId, attempts: Vec<AttemptName>) {
        let mut book = self.lock();
        let now = Instant::now();
        let told = attempts.into_iter();
        let told: Vec<_> = told
            .filter(|attempt| book.beats(instance, attempt, now))
            .collect();
        self.lanes
            .scatter(told, |attempt| attempt.saga.shard(), Message::Heartbeats);
    }

    /// Hands outcomes to their lanes.
    pub(super) fn reported(&self, instance: InstanceId, outcomes: Vec<ReportedOutcome>) {
        if outcomes.is_empty() {
            return;
        }
        let mut book = self.lock();
        for outcome in &outcomes {
            book.reported(instance, &outcome.report.attempt);
        }
        self.tell(&mut book, Outbox::default());
        drop(book);
        debug_assert!(outcomes.iter().all(|outcome| outcome.instance == instance));
        self.lanes.scatter(
            outcomes,
            |outcome| outcome.report.attempt.saga.shard(),
            Message::Outcomes,
        );
    }

    /// Answers participants.
    pub(crate) fn acknowledge(
        &self,
        answers: impl IntoIterator<Item = (InstanceId, Vec<Acknowledgement>)>,
    ) {
        let mut book = None;
        for (instance, answers) in answers {
            if answers.is_empty() {
                continue;
            }
            let book = book.get_or_insert_with(|| self.lock());
            if let Some(live) = book
                .instances
                .get(&instance)
                .and_then(|instance| instance.live.as_ref())
            {
                let _ = live.deliveries.send(Delivery::Acknowledgements(answers));
            }
        }
    }

    /// Room for one outcome; none once the node has stopped.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().acquire_owned().await.ok()
    }

    pub(super) fn room_is_scarce(&self) -> bool {
        self.room.available_permits() == 0
    }

    /// The key is of this database's present life.
    pub(super) fn is_ours(&self, key: &OperationKey) -> bool {
        key.incarnation == self.incarnation && self.lanes.has(key.saga.shard())
    }

    /// No command leaves while the lease is late.
    pub(crate) fn pause(&self, paused: bool) {
        let mut outbox = Outbox::default();
        let mut book = self.lock();
        book.paused = paused;
        book.dispatch_all(&mut outbox);
        self.tell(&mut book, outbox);
    }

    /// The lease was renewed: commands leave until then.
    pub(crate) fn leave_until(&self, until: Instant) {
        let mut outbox = Outbox::default();
        let mut book = self.lock();
        let stopped = !book.lets_leave();
        book.leaves_until = Some(until);
        if stopped {
            book.dispatch_all(&mut outbox);
        }
        self.tell(&mut book, outbox);
    }

    /// The node leaves: no command any more.
    pub(crate) fn goodbye(&self, reason: &str) {
        let mut book = self.lock();
        book.closed = true;
        for instance in book.instances.values() {
            if let Some(live) = &instance.live {
                let _ = live.deliveries.send(Delivery::Goodbye {
                    reason: reason.to_owned(),
                });
            }
        }
    }

    /// Ends every stream.
    pub(crate) fn hang_up(&self) {
        self.room.close();
        let mut book = self.lock();
        book.closed = true;
        for instance in book.instances.values_mut() {
            instance.live = None;
        }
    }

    /// Resolves once no command is with a participant.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Commands that are with a participant.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().sent.len()
    }

    /// Commands that are with one instance.
    pub(super) fn in_flight_with(&self, instance: InstanceId) -> usize {
        let book = self.lock();
        let instance = book.instances.get(&instance);
        instance.map_or(0, super::book::Instance::in_flight)
    }

    /// Tells lanes that time runs, then participants what to do: in this order, so that no outcome can come first.
    fn tell(&self, book: &mut Book, outbox: Outbox) {
        self.lanes
            .scatter(outbox.sent, |attempt| attempt.saga.shard(), Message::Sent);
        self.lanes.scatter(
            outbox.withdrawn,
            |attempt| attempt.saga.shard(),
            Message::Withdrawn,
        );
        for (whose, attempt) in outbox.lost {
            let shard = attempt.saga.shard();
            self.lanes.send(
                shard,
                Message::ServerOutcome(Box::new(stream_lost(&whose, attempt))),
            );
        }
        for (instance, commands) in outbox.commands {
            if let Some(live) = book
                .instances
                .get(&instance)
                .and_then(|instance| instance.live.as_ref())
            {
                for commands in in_deliveries(commands) {
                    // A closed channel is a lost stream, which its handle reports.
                    let _ = live.deliveries.send(Delivery::Commands(commands));
                }
            }
        }
        for (instance, withdrawals) in outbox.withdrawals {
            if let Some(live) = book
                .instances
                .get(&instance)
                .and_then(|instance| instance.live.as_ref())
            {
                let _ = live.deliveries.send(Delivery::Withdrawals(withdrawals));
            }
        }
        if book.sent.is_empty() {
            self.idle.notify_waiters();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Surroundings for Registry {
    fn stands_behind_barrier(&self, namespace: &str, action: &ActionName) -> bool {
        let book = self.lock();
        book.queues
            .find(namespace, action)
            .is_some_and(|queue| book.queues.get(queue).stands_behind_barrier())
    }

    fn ran_by(&self, attempt: &AttemptName) -> Option<String> {
        let book = self.lock();
        let instance = book.instances.get(&book.sent.get(attempt)?.instance)?;
        Some(instance.name.instance.clone())
    }
}

fn stream_lost(whose: &Name, attempt: AttemptName) -> Report {
    Report {
        namespace: whose.namespace.as_str().into(),
        attempt,
        epoch: None,
        outcome: Outcome::Unknown {
            code: "STREAM_LOST".into(),
            message: "the participant's stream was lost, and it did not return in time".into(),
        },
        verdict: None,
        instance: Some(whose.instance.as_str().into()),
        serves: Vec::new().into(),
    }
}

/// Cuts commands into deliveries that stay within the bounds of a message.
fn in_deliveries(commands: Vec<Arc<Command>>) -> Vec<Vec<Arc<Command>>> {
    let mut deliveries = Vec::new();
    let mut current: Vec<Arc<Command>> = Vec::new();
    let mut bytes = 0;
    for command in commands {
        let size = command.input.as_bytes().len() + COMMAND_OVERHEAD_BYTES;
        if current.len() >= DELIVERY_COMMANDS_MAX
            || (!current.is_empty() && bytes + size > DELIVERY_BYTES_MAX)
        {
            deliveries.push(std::mem::take(&mut current));
            bytes = 0;
        }
        bytes += size;
        current.push(command);
    }
    if !current.is_empty() {
        deliveries.push(current);
    }
    deliveries
}
