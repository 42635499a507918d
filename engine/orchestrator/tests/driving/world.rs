//! The world of these tests: a memory store on the runtime's (paused) time, a client, participants. The faults that the
//! store has on demand are in `faulty`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::{Acknowledged, Command};
use amends_core::{Outcome, SagaId, ShardId, Time};
use amends_definitions::{ActionName, Payload};
use amends_orchestrator::{
    Acknowledgement, Attachment, AttemptOutcome, Delivery, Options, Orchestrator, Session,
    StartRequest,
};
use amends_store::memory::MemoryStore;
use amends_store::{ListQuery, SagaRecord, Sagas};
use bytes::Bytes;
use tokio::time::Instant;

use crate::faulty::Faults;

pub const ORDER: &str = r#"
apiVersion: amends/v1
name: order
inputSchema: {type: object, properties: {amount: {type: integer, minimum: 1}}}
defaults: {retry: {initialInterval: 1s, jitter: 0, maxAttempts: 3}, timeout: 30s}
steps:
  - {id: reserve, call: shop.reserve, compensate: {call: shop.release}}
  - {id: charge, kind: pivot, call: shop.charge}
  - {id: ship, kind: retriable, call: shop.ship}
"#;

pub const KEYED: &str = r#"
apiVersion: amends/v1
name: keyed
key: ${{ input.id }}
steps:
  - {id: note, kind: retriable, call: shop.note}
"#;

/// Every action of these definitions.
pub const ACTIONS: [&str; 5] = [
    "shop.reserve",
    "shop.release",
    "shop.charge",
    "shop.ship",
    "shop.note",
];

/// A store that can be made to misbehave. Clones are handles to the same one.
#[derive(Clone)]
pub struct World {
    pub memory: MemoryStore,
    pub faults: Arc<Faults>,
}

impl World {
    pub fn new(shards: u16) -> Self {
        let began = Instant::now();
        let clock = move || Time::from_micros(1_763_712_000_000_000) + began.elapsed();
        Self {
            memory: MemoryStore::with_clock(shards, clock),
            faults: Arc::default(),
        }
    }

    /// A handle whose renewals can be made to hang, apart from the others.
    pub fn another_way_in(&self) -> Self {
        Self {
            memory: self.memory.clone(),
            faults: Arc::default(),
        }
    }

    pub async fn node(&self, name: &str) -> Orchestrator {
        let options = Options {
            node: name.into(),
            ..Options::default()
        };
        self.node_with(options).await
    }

    pub async fn node_with(&self, options: Options) -> Orchestrator {
        let node = Orchestrator::start(Arc::new(self.clone()), options)
            .await
            .unwrap();
        for source in [ORDER, KEYED] {
            node.apply_definition("default", source, None)
                .await
                .unwrap();
        }
        node
    }

    pub fn hang_renewals(&self) {
        self.faults.renewals_hang.store(true, Ordering::Relaxed);
    }

    /// From now on a batch with the input `{"poison":true}` is refused for its data.
    pub fn refuse_poison(&self) {
        self.faults.refuse_poison.store(true, Ordering::Relaxed);
    }

    /// Rows of the batches that were handed over since this was asked before; what comes now is held, or is not.
    pub fn hold_appends(&self, held: bool) -> Vec<usize> {
        self.faults.appends_held.send_replace(held);
        std::mem::take(&mut *self.faults.appends.lock().unwrap())
    }

    /// Holds takeovers up until they are let go.
    pub fn hold_takeovers(&self, held: bool) {
        self.faults.takeovers_held.send_replace(held);
    }

    /// The journal of this shard has a gap.
    pub fn break_journal(&self, shard: ShardId) {
        *self.faults.broken.lock().unwrap() = Some(shard);
    }

    pub fn refused(&self) -> usize {
        self.faults.refused.load(Ordering::Relaxed)
    }

    pub fn lookups(&self) -> usize {
        self.faults.lookups.load(Ordering::Relaxed)
    }

    /// Reads of one history.
    pub fn histories(&self) -> usize {
        self.faults.histories.load(Ordering::Relaxed)
    }

    /// Reads of several histories: when, and of how many.
    pub fn reads(&self) -> Vec<(Instant, usize)> {
        self.faults.reads.lock().unwrap().clone()
    }

    /// Sweeps of what has expired: when, of which shard, and how many at most.
    pub fn sweeps(&self) -> Vec<(Instant, ShardId, usize)> {
        self.faults.sweeps.lock().unwrap().clone()
    }

    /// From now on no definition can be read; or again.
    pub fn hide_definitions(&self, down: bool) {
        self.faults.definitions_down.store(down, Ordering::Relaxed);
    }

    /// The database has lost this revision.
    pub fn lose_revision(&self, hash: amends_definitions::DefinitionHash) {
        *self.faults.lost.lock().unwrap() = Some(hash);
    }

    /// Holds up whoever reads a definition, on the way back, until they are let go.
    pub fn hold_definitions(&self, held: bool) {
        self.faults.definitions_held.send_replace(held);
    }

    /// From now on a key that was looked up expires before anything is done with it.
    pub fn expire_after_lookup(&self) {
        let expire = &self.faults.expire_after_lookup;
        expire.store(true, Ordering::Relaxed);
    }

    /// From now on what has ended expires while it is read.
    pub fn expire_while_read(&self) {
        let expire = &self.faults.expire_while_read;
        expire.store(true, Ordering::Relaxed);
    }

    /// From now on no key can be looked up; or again.
    pub fn hide_keys(&self, down: bool) {
        self.faults.keys_down.store(down, Ordering::Relaxed);
    }

    pub async fn sagas(&self) -> Vec<SagaRecord> {
        let query = ListQuery {
            namespace: "default".into(),
            states: Vec::new(),
            definition: None,
            key: None,
            before: None,
            limit: 10_000,
        };
        self.memory.list(&query).await.unwrap()
    }

    /// The kinds of a saga's facts, in order.
    pub async fn facts(&self, saga: SagaId) -> Vec<&'static str> {
        let history = self.memory.history(saga, 1, 10_000).await.unwrap().unwrap();
        history
            .rows
            .unwrap()
            .iter()
            .flat_map(|row| &row.facts)
            .map(amends_core::Fact::kind)
            .collect()
    }
}

pub fn payload(json: &str) -> Payload {
    Payload::check(Bytes::copy_from_slice(json.as_bytes())).unwrap()
}

pub fn request(definition: &str, input: &str) -> StartRequest {
    StartRequest {
        namespace: "default".into(),
        definition: definition.into(),
        revision: None,
        key: None,
        input: payload(input),
        traceparent: None,
        tracestate: None,
    }
}

pub async fn start(node: &Orchestrator, definition: &str, input: &str) -> SagaId {
    node.start_saga(request(definition, input))
        .await
        .unwrap()
        .saga
}

/// Waits for a saga to end, or to park; an hour of the (paused) time at most.
pub async fn ended(node: &Orchestrator, saga: SagaId) -> SagaState {
    let mut changes = node.subscribe(saga);
    let waiting = async {
        loop {
            let state = node.saga("default", saga).await.unwrap().record.state;
            if state.is_terminal() || state == SagaState::Parked {
                return state;
            }
            changes.changed().await.unwrap();
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(3_600), waiting).await;
    ended.expect("the saga ends within an hour")
}

pub fn attachment(instance: &str, credit: u32) -> Attachment {
    Attachment {
        namespace: "default".into(),
        participant: "shop".into(),
        instance: instance.into(),
        sdk: "tests/1".into(),
        actions: ACTIONS
            .into_iter()
            .map(|action| (ActionName::new(action), true))
            .collect(),
        credit,
        in_hand: Vec::new(),
    }
}

pub fn succeeded() -> Outcome {
    Outcome::Succeeded {
        output: payload("{}"),
    }
}

pub fn rejected() -> Outcome {
    Outcome::Rejected {
        code: "NO".into(),
        message: "no".into(),
    }
}

pub fn failed() -> Outcome {
    Outcome::Failed {
        code: "OOPS".into(),
        message: "oops".into(),
        retry_after: None,
    }
}

/// A participant's session, driven by hand.
pub struct Participant {
    pub session: Session,
    commands: Vec<Command>,
    acknowledgements: Vec<Acknowledgement>,
    pub goodbyes: usize,
}

impl Participant {
    pub fn attach(node: &Orchestrator, instance: &str, credit: u32) -> Self {
        Self::attach_as(node, attachment(instance, credit))
    }

    pub fn attach_as(node: &Orchestrator, attachment: Attachment) -> Self {
        let session = node.attach(attachment).unwrap();
        Self {
            session,
            commands: Vec::new(),
            acknowledgements: Vec::new(),
            goodbyes: 0,
        }
    }

    /// The next command.
    pub async fn command(&mut self) -> Command {
        while self.commands.is_empty() {
            self.delivery().await;
        }
        self.commands.remove(0)
    }

    /// The next command, if one comes within a minute of the (paused) time.
    pub async fn command_soon(&mut self) -> Option<Command> {
        tokio::time::timeout(Duration::from_secs(60), self.command())
            .await
            .ok()
    }

    /// Says what a command came to, and waits for the answer.
    pub async fn answer(&mut self, command: &Command, outcome: Outcome) -> Acknowledged {
        self.report(command, outcome).await;
        self.acknowledged(command).await
    }

    pub async fn report(&mut self, command: &Command, outcome: Outcome) {
        let outcome = AttemptOutcome {
            key: command.key.clone(),
            attempt: command.attempt,
            epoch: Some(command.epoch),
            outcome,
            verdict: None,
        };
        self.session.handle.outcomes(vec![outcome]).await;
        self.session.handle.credit(1);
    }

    pub async fn acknowledged(&mut self, command: &Command) -> Acknowledged {
        let ours = |answer: &Acknowledgement| {
            answer.key == command.key && answer.attempt == command.attempt
        };
        loop {
            if let Some(place) = self.acknowledgements.iter().position(ours) {
                return self.acknowledgements.remove(place).acknowledged;
            }
            self.delivery().await;
        }
    }

    /// Takes the next delivery, within an hour of the (paused) time.
    pub async fn delivery(&mut self) {
        let delivery =
            tokio::time::timeout(Duration::from_secs(3_600), self.session.deliveries.recv()).await;
        match delivery
            .expect("something arrives within an hour")
            .expect("the session goes on")
        {
            Delivery::Commands(commands) => {
                let owned = commands.into_iter().map(Arc::unwrap_or_clone);
                self.commands.extend(owned);
            }
            Delivery::Acknowledgements(answers) => self.acknowledgements.extend(answers),
            Delivery::Withdrawals(_) => {}
            Delivery::Goodbye { .. } => self.goodbyes += 1,
        }
    }

    /// Lets everything succeed, for as long as the session lasts.
    pub fn succeed_always(mut self) {
        tokio::spawn(async move {
            while let Some(delivery) = self.session.deliveries.recv().await {
                let Delivery::Commands(commands) = delivery else {
                    continue;
                };
                for command in commands {
                    self.report(&command, succeeded()).await;
                }
            }
        });
    }
}
