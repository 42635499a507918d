//! A store and a dispatcher in a few lines: rows are kept in a vector, commands in a list, time is a number. Who looks for
//! the definitions of children, and carries what shards say to one another, is in `family`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use amends_core::fact::{Fact, Started};
use amends_core::invariants;
use amends_core::journal::{
    IncidentInsert, IncidentName, JournalRow, SagaInsert, SagaState, ShardBatch,
};
use amends_core::key::{Hash128, hash_128};
use amends_core::saga::Saga;
use amends_core::shard::{
    Acknowledged, BatchLimits, CancelDisposition, CancelRefusal, Command, Existing, History, Input,
    LoadedSaga, Order, OrderRefusal, Output, Report, Shard, Signal, SignalRefusal, Start,
    StartAnswer, StartKey, StartRefusal, Surroundings, Token, TurnRecovered, Verb,
};
use amends_core::{
    AttemptName, Incarnation, OperationKind, OperationName, Outcome, SagaId, ShardId, Time, Verdict,
};
use amends_definitions::{ActionName, Definition, Payload};

/// Whether actions stand behind a barrier. Those of the participant `bare` never do.
pub struct Barrier(pub bool);

impl Surroundings for Barrier {
    fn stands_behind_barrier(&self, _: &str, action: &ActionName) -> bool {
        self.0 && !action.as_str().starts_with("bare.")
    }
}

/// A shard with its store and its dispatcher.
pub struct Pump {
    pub shard: Shard,
    pub now: Time,
    /// How late it was by the clock of the owner before.
    pub sent_until: Time,
    pub barrier: Barrier,
    pub journal: Vec<JournalRow>,
    pub states: BTreeMap<SagaId, SagaState>,
    /// The rows of sagas, as they are now.
    pub rows: BTreeMap<SagaId, SagaInsert>,
    /// The incidents that are open.
    pub incidents: BTreeMap<IncidentName, IncidentInsert>,
    pub definitions: BTreeMap<SagaId, Arc<Definition>>,
    pub commands: Vec<Command>,
    pub withdrawals: Vec<Attempt>,
    pub started: BTreeMap<u64, Result<StartAnswer, StartRefusal>>,
    pub cancelled: BTreeMap<u64, Result<CancelDisposition, CancelRefusal>>,
    pub acknowledged: BTreeMap<u64, Acknowledged>,
    pub signalled: BTreeMap<u64, Result<bool, SignalRefusal>>,
    pub acted: BTreeMap<u64, Result<SagaState, OrderRefusal>>,
    /// What is said about children, and not carried out yet.
    pub mail: Vec<Output>,
    /// Sagas that were asked for.
    pub loads: Vec<SagaId>,
    /// The store says nothing of sagas that it is asked for.
    pub mute: bool,
    pub keys: BTreeMap<Hash128, Existing>,
    pub limits: BatchLimits,
    /// What results are about, by token.
    offered: BTreeMap<u64, Attempt>,
    tokens: u64,
    sagas: u64,
}

pub type Attempt = AttemptName;

pub fn attempt_of(command: &Command) -> Attempt {
    let key = &command.key;
    AttemptName {
        saga: key.saga,
        name: OperationName {
            step: key.step.clone(),
            item: key.item,
            round: key.round,
            operation: key.operation,
        },
        attempt: command.attempt,
    }
}

/// Reads a definition.
pub fn definition(yaml: &str) -> Arc<Definition> {
    let checked = amends_definitions::check(yaml.as_bytes());
    let found = amends_definitions::render("test.saga.yaml", yaml.as_bytes(), &checked.diagnostics);
    Arc::new(checked.definition.unwrap_or_else(|| panic!("{found}")))
}

impl Pump {
    pub fn new() -> Self {
        Self::of_shard(ShardId(3))
    }

    pub fn of_shard(id: ShardId) -> Self {
        Self {
            shard: Shard::new(id, incarnation(), 1),
            now: Time::from_micros(1_763_712_000_000_000),
            sent_until: Time::EPOCH,
            barrier: Barrier(true),
            journal: Vec::new(),
            states: BTreeMap::new(),
            rows: BTreeMap::new(),
            incidents: BTreeMap::new(),
            definitions: BTreeMap::new(),
            commands: Vec::new(),
            withdrawals: Vec::new(),
            started: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            signalled: BTreeMap::new(),
            acted: BTreeMap::new(),
            mail: Vec::new(),
            loads: Vec::new(),
            mute: false,
            keys: BTreeMap::new(),
            limits: BatchLimits::default(),
            offered: BTreeMap::new(),
            tokens: 0,
            sagas: 0,
        }
    }

    /// Starts a saga without a key, and returns its id.
    pub fn start(&mut self, definition: &Arc<Definition>, input: &str) -> SagaId {
        self.start_keyed(definition, input, None, None).1
    }

    /// Starts a saga; its token and the id that it would have.
    pub fn start_keyed(
        &mut self,
        definition: &Arc<Definition>,
        input: &str,
        key: Option<&str>,
        existing: Option<Existing>,
    ) -> (u64, SagaId) {
        let token = self.offer_start(definition, input, key, existing);
        self.run();
        token
    }

    /// Queues a start.
    pub fn offer_start(
        &mut self,
        definition: &Arc<Definition>,
        input: &str,
        key: Option<&str>,
        existing: Option<Existing>,
    ) -> (u64, SagaId) {
        self.offer_start_in_line(definition, input, key, existing, None)
    }

    /// Queues a start with an ordering key.
    pub fn offer_start_in_line(
        &mut self,
        definition: &Arc<Definition>,
        input: &str,
        key: Option<&str>,
        existing: Option<Existing>,
        ordering_key: Option<&str>,
    ) -> (u64, SagaId) {
        self.sagas += 1;
        let id = SagaId::new(self.now, self.shard.id(), self.sagas);
        self.definitions.insert(id, Arc::clone(definition));
        let token = self.token();
        let started = Started {
            namespace: "default".into(),
            definition: definition.name().into(),
            revision: 1,
            hash: definition.hash(),
            key: key.map(str::to_owned),
            ordering_key: ordering_key.map(str::to_owned),
            concurrency_max: definition.concurrency().map(|concurrency| concurrency.max),
            parent: None,
            input: payload(input),
            traceparent: None,
            tracestate: None,
        };
        let key = key.map(|key| StartKey {
            key_hash: hash_128(key.as_bytes()),
            input_hash: hash_128(&payload(input).canonical()),
        });
        let start = Box::new(Start {
            id,
            started,
            definition: Arc::clone(definition),
            key,
            existing,
        });
        self.shard.handle(
            Input::Start {
                token: Token(token),
                start,
            },
            self.now,
        );
        (token, id)
    }

    /// The command that is out for a step, oldest first.
    pub fn command(&self, step: &str) -> &Command {
        self.commands
            .iter()
            .find(|command| *command.key.step == *step)
            .unwrap_or_else(|| panic!("no command for {step}: {:?}", self.out()))
    }

    /// The oldest command that is out for an operation of this kind.
    pub fn command_of(&self, operation: OperationKind) -> Command {
        let mut out = self.commands.iter();
        out.find(|command| command.key.operation == operation)
            .unwrap_or_else(|| panic!("no such command: {:?}", self.out()))
            .clone()
    }

    /// The commands that are out, as `step:operation:attempt`.
    pub fn out(&self) -> Vec<String> {
        self.commands
            .iter()
            .map(|command| {
                format!(
                    "{}:{}:{}",
                    command.key.step,
                    command.key.operation.as_str(),
                    command.attempt
                )
            })
            .collect()
    }

    /// Sends what is out for a step.
    pub fn send(&mut self, step: &str) -> Command {
        let command = self.command(step).clone();
        self.shard.handle(
            Input::Sent {
                attempt: attempt_of(&command),
            },
            self.now,
        );
        self.run();
        command
    }

    /// Sends what is out for a step, and answers it.
    pub fn answer(&mut self, step: &str, outcome: Outcome) -> Acknowledged {
        let command = self.send(step);
        self.reply(&command, outcome, None)
    }

    /// Answers a command, sent or not.
    pub fn reply(
        &mut self,
        command: &Command,
        outcome: Outcome,
        verdict: Option<Verdict>,
    ) -> Acknowledged {
        self.commands
            .retain(|out| out.key != command.key || out.attempt != command.attempt);
        let token = self.offer_reply(command, outcome, verdict);
        self.run();
        self.acknowledged
            .get(&token)
            .copied()
            .expect("every outcome is answered")
    }

    /// Queues an answer.
    pub fn offer_reply(
        &mut self,
        command: &Command,
        outcome: Outcome,
        verdict: Option<Verdict>,
    ) -> u64 {
        let token = self.token();
        self.offered.insert(token, attempt_of(command));
        let report = Report {
            namespace: command.key.namespace.clone(),
            attempt: attempt_of(command),
            epoch: Some(command.epoch),
            outcome,
            verdict,
            instance: Some("p-1".into()),
            serves: [command.action.clone()].into(),
        };
        self.shard.handle(
            Input::Outcome {
                token: Some(Token(token)),
                report,
            },
            self.now,
        );
        token
    }

    /// Says that a withdrawn command had never been sent.
    pub fn never_sent(&mut self, step: &str) {
        let at = self
            .withdrawals
            .iter()
            .rposition(|withdrawn| &*withdrawn.name.step == step)
            .expect("it was withdrawn");
        let attempt = self.withdrawals.remove(at);
        self.commands
            .retain(|command| attempt_of(command) != attempt);
        self.shard.handle(Input::Withdrawn { attempt }, self.now);
        self.run();
    }

    /// Sends a signal, and says what became of it.
    pub fn signal(
        &mut self,
        saga: SagaId,
        signal: &str,
        json: &str,
    ) -> Result<bool, SignalRefusal> {
        let token = self.offer_signal(saga, signal, json);
        self.run();
        self.signalled
            .remove(&token)
            .expect("every signal is answered")
    }

    /// Queues a signal.
    pub fn offer_signal(&mut self, saga: SagaId, signal: &str, json: &str) -> u64 {
        let token = self.token();
        let signal = Box::new(Signal {
            namespace: "default".into(),
            saga,
            signal: signal.into(),
            payload: payload(json),
            by: "ann".into(),
            dedupe_id: None,
        });
        let input = Input::Signal {
            token: Token(token),
            signal,
        };
        self.shard.handle(input, self.now);
        token
    }

    /// Gives an order, and says what became of it.
    pub fn order(
        &mut self,
        saga: SagaId,
        verb: Verb,
        dry_run: bool,
    ) -> Result<SagaState, OrderRefusal> {
        let token = Token(self.token());
        let order = Box::new(Order {
            namespace: "default".into(),
            saga,
            by: "ann".into(),
            reason: "because".into(),
            dry_run,
            verb,
        });
        self.shard.handle(Input::Order { token, order }, self.now);
        self.run();
        self.acted
            .remove(&token.0)
            .expect("every order is answered")
    }

    pub fn cancel(&mut self, saga: SagaId) -> Result<CancelDisposition, CancelRefusal> {
        let token = self.offer_cancel(saga);
        self.run();
        self.cancelled
            .remove(&token)
            .expect("every cancel is answered")
    }

    /// Queues a cancel.
    pub fn offer_cancel(&mut self, saga: SagaId) -> u64 {
        let token = self.token();
        self.shard.handle(
            Input::Cancel {
                token: Token(token),
                namespace: "default".into(),
                saga,
                by: "ann".into(),
                reason: "changed her mind".into(),
            },
            self.now,
        );
        token
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.shard.next_wake().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.run();
        }
        self.now = until;
        self.run();
    }

    /// Decides, commits and lets out until nothing is left to do.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            if !self.shard.is_ready(self.now) {
                self.let_out();
                if !self.shard.is_ready(self.now) {
                    return;
                }
            }
            if let Some(batch) = self.shard.prepare(self.now, self.limits, &self.barrier) {
                if batch
                    .keys
                    .iter()
                    .any(|key| self.keys.contains_key(&key.key_hash))
                {
                    self.shard.rolled_back(None);
                    self.look_up();
                } else {
                    self.store(&batch);
                    self.shard.committed();
                }
            }
            self.let_out();
        }
        panic!("the shard never comes to rest");
    }

    /// Looks up the keys of starts that were rolled back.
    pub fn look_up(&mut self) {
        for start in self.shard.starts_to_look_up() {
            let key = start.key.expect("only keyed starts are looked up");
            start.existing = self.keys.get(&key.key_hash).copied();
        }
    }

    /// Writes a batch, as a store would.
    pub fn store(&mut self, batch: &ShardBatch) {
        let expected = self
            .journal
            .last()
            .map_or(self.shard.epoch() + 1, |row| row.position + 1);
        assert_eq!(
            batch.rows.first().expect("a batch has rows").position,
            expected.max(batch.epoch + 1)
        );
        for insert in &batch.inserts {
            let before = self.rows.insert(insert.id, insert.clone());
            assert!(before.is_none(), "inserted twice");
            self.states.insert(insert.id, insert.state);
        }
        for update in &batch.updates {
            let row = self.rows.get_mut(&update.id);
            let row = row.expect("inserted before it was updated");
            row.state = update.state;
            row.wake_at = update.wake_at;
            row.updated_at = update.updated_at;
            row.ended_at = update.ended_at;
            row.expires_at = update.expires_at;
            if let Some(turn) = &mut row.turn {
                turn.granted = update.turn_granted;
            }
            self.states.insert(update.id, update.state);
        }
        for incident in &batch.incidents_opened {
            let before = self.incidents.insert(incident.name, incident.clone());
            assert!(before.is_none(), "opened twice");
        }
        for name in &batch.incidents_closed {
            assert!(self.incidents.remove(name).is_some(), "closed and not open");
        }
        for key in &batch.keys {
            let existing = Existing {
                saga: key.saga,
                input_hash: key.input_hash,
                revision: 1,
            };
            let before = self.keys.insert(key.key_hash, existing);
            assert!(before.is_none(), "a key has one saga (I6)");
        }
        self.journal.extend(batch.rows.iter().cloned());
        let changed: BTreeSet<SagaId> = batch.rows.iter().map(|row| row.saga).collect();
        for saga in changed {
            // I14: the fold of what is recorded is the live state.
            let folded = self.folded(saga);
            if let Some(live) = self.shard.saga(saga) {
                assert!(same(&folded, live), "{folded:?}\n{live:?}");
            }
            assert_eq!(
                invariants::check(&folded),
                Ok(()),
                "{:#?}",
                self.facts(saga)
            );
            assert_eq!(
                self.states[&saga],
                folded.state(),
                "the row tells the state"
            );
        }
    }

    /// I13: what is acknowledged as recorded is in the journal.
    fn check_recorded(&self, token: u64) {
        let Some(AttemptName {
            saga,
            name,
            attempt,
        }) = self.offered.get(&token)
        else {
            return;
        };
        let definition = &self.definitions[saga];
        let recorded = self
            .journal
            .iter()
            .filter(|row| row.saga == *saga)
            .flat_map(|row| &row.facts)
            .any(|fact| {
                matches!(fact, Fact::AttemptEnded(ended)
                    if definition.step(ended.place.step).id() == &*name.step
                        && (ended.place.item, ended.operation) == (name.item, name.operation)
                        && (ended.round, ended.attempt) == (name.round, *attempt))
            });
        assert!(recorded, "{name:?}:{attempt} was acknowledged too early");
    }

    pub fn let_out(&mut self) {
        for output in self.shard.take_outputs() {
            match output {
                Output::Send(command) => {
                    self.check_send(&command);
                    self.commands.push(Arc::unwrap_or_clone(command));
                }
                Output::Withdraw { attempt, .. } => self.withdrawals.push(attempt),
                Output::Signalled { token, result } => {
                    assert!(self.signalled.insert(token.0, result).is_none());
                }
                Output::Acted { token, result } => {
                    assert!(self.acted.insert(token.0, result).is_none());
                }
                Output::ResolveChild(_) | Output::AskChild(_) | Output::AnswerParent(_) => {
                    self.mail.push(output);
                }
                Output::Started { token, result } => {
                    assert!(self.started.insert(token.0, result).is_none())
                }
                Output::Cancelled { token, result } => {
                    assert!(self.cancelled.insert(token.0, result).is_none())
                }
                Output::Acknowledge {
                    token,
                    acknowledged,
                } => {
                    if acknowledged == Acknowledged::Recorded {
                        self.check_recorded(token.0);
                    }
                    assert!(self.acknowledged.insert(token.0, acknowledged).is_none());
                }
                Output::Load { saga } => {
                    self.loads.push(saga);
                    if !self.mute {
                        self.load(saga);
                    }
                }
                Output::Changed { .. } => {}
            }
        }
    }

    /// Decides, goes back, decides again: a batch that is undone leaves no trace, so the same comes of it.
    pub fn decide_twice(&mut self) {
        let (asked, mute) = (self.loads.len(), std::mem::replace(&mut self.mute, true));
        let first = self.shard.prepare(self.now, self.limits, &self.barrier);
        self.let_out();
        if let Some(first) = &first {
            self.shard.rolled_back(None);
            self.look_up();
            let second = self.shard.prepare(self.now, self.limits, &self.barrier);
            assert_eq!(second.as_ref(), Some(first));
            self.let_out();
            self.shard.rolled_back(Some(first.rows[0].position));
            self.look_up();
        }
        self.mute = mute;
        for at in asked..self.loads.len() {
            self.load(self.loads[at]);
        }
    }

    /// The store's answer to a load.
    pub fn load(&mut self, saga: SagaId) {
        let loaded = match self.states.get(&saga) {
            Some(_) => LoadedSaga::Found(self.history(saga)),
            None => LoadedSaga::Absent,
        };
        self.shard.handle(Input::Loaded { saga, loaded }, self.now);
    }

    /// The node dies: what was volatile is gone. The next one takes over and replays.
    pub fn crash(&mut self) {
        let epoch = self
            .journal
            .last()
            .map_or(self.shard.epoch(), |row| row.position)
            + 1;
        self.shard = Shard::new(self.shard.id(), incarnation(), epoch);
        self.shard.count_as_sent(self.sent_until);
        self.commands.clear();
        self.withdrawals.clear();
        self.mail.clear();
        let active = || self.rows.values().filter(|row| !row.state.is_terminal());
        let turns = active().filter_map(|row| {
            Some(TurnRecovered {
                saga: row.id,
                namespace: row.namespace.clone(),
                definition: row.definition.clone(),
                turn: row.turn?,
            })
        });
        self.shard.recover_turns(turns.collect());
        let sleepers = active().filter_map(|row| Some((row.id, row.wake_at?)));
        self.shard.recover_sleepers(sleepers.collect(), self.now);
        let awake = active().filter(|row| row.wake_at.is_none());
        for saga in awake.map(|row| row.id).collect::<Vec<_>>() {
            let history = self.history(saga);
            self.shard.recover(history, self.now);
        }
        self.run();
    }

    pub fn history(&self, saga: SagaId) -> History {
        History {
            saga,
            state: self.states[&saga],
            definition: Ok(Arc::clone(&self.definitions[&saga])),
            rows: Ok(self
                .journal
                .iter()
                .filter(|row| row.saga == saga)
                .cloned()
                .collect()),
        }
    }

    pub fn folded(&self, saga: SagaId) -> Saga {
        let rows: Vec<_> = self
            .journal
            .iter()
            .filter(|row| row.saga == saga)
            .cloned()
            .collect();
        Saga::replay(saga, Arc::clone(&self.definitions[&saga]), &rows)
            .expect("what was recorded can be replayed")
    }

    pub fn state(&self, saga: SagaId) -> SagaState {
        self.states[&saga]
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }
}

/// Two states are the same, their definitions aside.
fn same(a: &Saga, b: &Saga) -> bool {
    a.steps() == b.steps()
        && a.signals() == b.signals()
        && a.turn_granted() == b.turn_granted()
        && a.incidents() == b.incidents()
        && a.abort() == b.abort()
        && a.cancel_pending() == b.cancel_pending()
        && (a.state(), a.facts(), a.updated_at(), a.ended_at())
            == (b.state(), b.facts(), b.updated_at(), b.ended_at())
}

pub fn incarnation() -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(1))
}

pub fn payload(json: &str) -> Payload {
    Payload::check(json.to_owned().into_bytes().into()).expect("test payloads are JSON")
}

pub fn succeeded() -> Outcome {
    Outcome::Succeeded {
        output: payload(r#"{"ok":true}"#),
    }
}

pub fn rejected(code: &str) -> Outcome {
    Outcome::Rejected {
        code: code.into(),
        message: "no".into(),
    }
}

pub fn failed() -> Outcome {
    Outcome::Failed {
        code: "BROKEN".into(),
        message: "it broke".into(),
        retry_after: None,
    }
}

pub fn fatal() -> Outcome {
    Outcome::Fatal {
        code: "NO_SUCH_ACTION".into(),
        message: "never".into(),
    }
}
