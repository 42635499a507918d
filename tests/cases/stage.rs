//! The real shard machines, one for sagas and one for their children, with as much of a store and of a network as a case
//! needs. Rows are kept as their bytes; a crash drops both machines, and new ones replay from those. Deliberately not here:
//! what participants do, and what a script says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use amends_core::fact::{ChildOutcome, Fact, Started};
use amends_core::journal::{JournalRow, SagaInsert, SagaState, ShardBatch};
use amends_core::key::{Hash128, hash_128};
use amends_core::saga::Saga;
use amends_core::shard::{
    BatchLimits, ChildAnswer, ChildRequest, ChildState, ChildWish, Command, Existing, History,
    Input, LoadedSaga, Output, Report, Shard, Start, StartKey, Surroundings, Token, TurnRecovered,
};
use amends_core::{AttemptName, Incarnation, OperationName, SagaId, ShardId, Time, invariants};
use amends_definitions::{ActionName, Definition, from_normal_form, to_normal_form};
use amends_store::record;

use crate::compatibility::digest::digest;
use crate::participants::{Answer, Delivered, Participants, is_bare, payload};
use crate::words;

const SAGAS: ShardId = ShardId(3);
const CHILDREN: ShardId = ShardId(5);

struct Barriers;

impl Surroundings for Barriers {
    fn stands_behind_barrier(&self, _: &str, action: &ActionName) -> bool {
        !is_bare(action.as_str())
    }
}

/// A row as it is stored.
#[derive(Clone, Debug)]
pub struct Row {
    pub position: u64,
    pub saga: SagaId,
    pub at: Time,
    pub body: Vec<u8>,
}

/// When everything crashes: with the row of this number, counted over both shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashAt {
    pub row: usize,
    pub strikes: Strikes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strikes {
    /// The row is decided and not written.
    BeforeTheCommit,
    /// The row is written, and nothing that it lets out has left.
    AfterTheCommit,
    /// What the row lets out has left.
    AfterTheOutputs,
}

impl Strikes {
    pub const ALL: [Self; 3] = [
        Self::BeforeTheCommit,
        Self::AfterTheCommit,
        Self::AfterTheOutputs,
    ];
}

struct Lane {
    shard: Shard,
    journal: Vec<Row>,
}

pub struct Stage {
    pub now: Time,
    lanes: Vec<Lane>,
    /// By name, in normal form; and as it was read from that when the machines began.
    definitions: BTreeMap<String, (String, Arc<Definition>)>,
    sagas: BTreeMap<SagaId, SagaInsert>,
    keys: BTreeMap<Hash128, Existing>,
    pub participants: Participants,
    deliveries: u32,
    /// On their way to participants.
    pub out: VecDeque<Command>,
    /// Commands that wait for the script.
    held: Vec<Command>,
    /// Answers that wait for the script.
    answers: Vec<(Command, Answer)>,
    mail: VecDeque<Output>,
    /// What clients were told, by token.
    pub told: BTreeMap<u64, Result<String, String>>,
    tokens: u64,
    /// Every fact of every saga, in the order of the commits.
    pub history: Vec<String>,
    pub rows: usize,
    crash_at: Option<CrashAt>,
    pub crashed: bool,
    /// The saga that the case is about.
    pub root: Option<SagaId>,
}

impl Stage {
    pub fn new(
        definitions: &[Arc<Definition>],
        participants: Participants,
        deliveries: u32,
        crash_at: Option<CrashAt>,
    ) -> Self {
        let lane = |id| Lane {
            shard: Shard::new(id, incarnation(), 1),
            journal: Vec::new(),
        };
        Self {
            now: Time::from_micros(1_763_712_000_000_000),
            lanes: vec![lane(SAGAS), lane(CHILDREN)],
            definitions: definitions.iter().map(stored_definition).collect(),
            sagas: BTreeMap::new(),
            keys: BTreeMap::new(),
            participants,
            deliveries,
            out: VecDeque::new(),
            held: Vec::new(),
            answers: Vec::new(),
            mail: VecDeque::new(),
            told: BTreeMap::new(),
            tokens: 0,
            history: Vec::new(),
            rows: 0,
            crash_at,
            crashed: false,
            root: None,
        }
    }

    // What the script does.

    /// Starts a saga; the answer's token.
    pub fn start(&mut self, name: &str, input: &str, key: Option<&str>) -> u64 {
        let token = self.token();
        let definition = self.definition(name);
        let id = SagaId::new(self.now, SAGAS, token);
        if self.root.is_none_or(|root| !self.sagas.contains_key(&root)) {
            self.root = Some(id);
        }
        let input = payload(input);
        let key_hash = key.map(|key| StartKey {
            key_hash: hash_128(key.as_bytes()),
            input_hash: hash_128(&input.canonical()),
        });
        let existing = key_hash.and_then(|key| self.keys.get(&key.key_hash).copied());
        let start = Box::new(Start {
            id,
            started: Started {
                namespace: "default".into(),
                definition: definition.name().into(),
                revision: 1,
                hash: definition.hash(),
                key: key.map(str::to_owned),
                // All sagas of a case are about the same.
                ordering_key: definition.ordering_key().map(|_| "the same".to_owned()),
                concurrency_max: definition.concurrency().map(|concurrency| concurrency.max),
                parent: None,
                input,
                traceparent: None,
                tracestate: None,
            },
            definition,
            key: key_hash,
            existing,
        });
        self.handle(
            SAGAS,
            Input::Start {
                token: Token(token),
                start,
            },
        );
        token
    }

    /// Puts something in, and lets the shards come to rest.
    pub fn handle(&mut self, shard: ShardId, input: Input) {
        let now = self.now;
        self.lane(shard).shard.handle(input, now);
        self.run();
    }

    pub fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    pub fn root(&self) -> SagaId {
        self.root.expect("the script began with `start`")
    }

    /// One command reaches its participant, or gets lost.
    pub fn deliver(&mut self) {
        let Some(command) = self.out.pop_front() else {
            return;
        };
        for _ in 0..self.deliveries {
            match self.participants.deliver(&command) {
                Delivered::Answered(answer) => self.reply(&command, answer),
                Delivered::AnswerHeld(answer) => self.answers.push((command.clone(), answer)),
                Delivered::Held => self.held.push(command.clone()),
                Delivered::Lost => {}
            }
        }
    }

    /// A command that was held arrives.
    pub fn arrive(&mut self, action: &str) {
        let at = self
            .held
            .iter()
            .position(|held| held.action.as_str() == action);
        let Some(at) = at else {
            assert!(self.crashed, "no command for {action} is late");
            return;
        };
        let command = self.held.remove(at);
        let answer = self.participants.run(&command);
        self.reply(&command, answer);
    }

    /// An answer that was held arrives.
    pub fn answer(&mut self, action: &str) {
        let held = |(command, _): &(Command, Answer)| command.action.as_str() == action;
        let at = self.answers.iter().position(held);
        let Some(at) = at else {
            assert!(self.crashed, "no answer of {action} is late");
            return;
        };
        let (command, answer) = self.answers.remove(at);
        self.reply(&command, answer);
    }

    fn reply(&mut self, command: &Command, (outcome, verdict): Answer) {
        let token = Some(Token(self.token()));
        let report = Report {
            namespace: command.key.namespace.clone(),
            attempt: attempt_of(command),
            epoch: Some(command.epoch),
            outcome,
            verdict,
            instance: Some("p-1".into()),
            serves: [command.action.clone()].into(),
        };
        let shard = command.key.saga.shard();
        self.handle(shard, Input::Outcome { token, report });
    }

    /// The earliest time at which something is to be done.
    pub fn next_wake(&self) -> Option<Time> {
        self.lanes
            .iter()
            .filter_map(|lane| lane.shard.next_wake())
            .min()
    }

    /// The machines and everything that is on its way are gone; new ones take over and replay.
    pub fn crash(&mut self) {
        self.out.clear();
        self.mail.clear();
        for (normal_form, definition) in self.definitions.values_mut() {
            *definition = read_definition(normal_form);
        }
        for at in 0..self.lanes.len() {
            let lane = &self.lanes[at];
            let last = lane
                .journal
                .last()
                .map_or(lane.shard.epoch(), |row| row.position);
            let id = lane.shard.id();
            let mut shard = Shard::new(id, incarnation(), last + 1);
            let of_shard = self.sagas.values().filter(|saga| saga.id.shard() == id);
            let active: Vec<_> = of_shard.filter(|saga| !saga.state.is_terminal()).collect();
            let turns = active.iter().filter_map(|saga| {
                Some(TurnRecovered {
                    saga: saga.id,
                    namespace: saga.namespace.clone(),
                    definition: saga.definition.clone(),
                    turn: saga.turn?,
                })
            });
            shard.recover_turns(turns.collect());
            let sleepers = active
                .iter()
                .filter_map(|saga| Some((saga.id, saga.wake_at?)));
            shard.recover_sleepers(sleepers.collect(), self.now);
            for saga in active.iter().filter(|saga| saga.wake_at.is_none()) {
                shard.recover(self.stored(saga.id), self.now);
            }
            self.lanes[at].shard = shard;
        }
        self.run();
    }

    // What the store knows.

    pub fn state(&self, saga: SagaId) -> Option<SagaState> {
        self.sagas.get(&saga).map(|row| row.state)
    }

    pub fn sagas(&self) -> impl Iterator<Item = (SagaId, SagaState)> + '_ {
        self.sagas.values().map(|row| (row.id, row.state))
    }

    pub fn normal_form(&self, saga: SagaId) -> &str {
        &self.definitions[&*self.sagas[&saga].definition].0
    }

    pub fn rows_of(&self, saga: SagaId) -> Vec<Row> {
        let journals = self.lanes.iter().flat_map(|lane| &lane.journal);
        journals.filter(|row| row.saga == saga).cloned().collect()
    }

    pub fn folded(&self, saga: SagaId) -> Saga {
        let definition = self.definition(&self.sagas[&saga].definition);
        replayed(saga, definition, &self.rows_of(saga))
    }

    /// What was asked for last is neither recorded nor answered.
    pub fn forgot(&self) -> bool {
        let lost = |at: CrashAt| at.strikes == Strikes::BeforeTheCommit;
        self.crashed && self.crash_at.is_some_and(lost)
    }

    fn definition(&self, name: &str) -> Arc<Definition> {
        let known = self.definitions.get(name);
        let (_, definition) = known.unwrap_or_else(|| panic!("no definition is called {name}"));
        Arc::clone(definition)
    }

    fn stored(&self, saga: SagaId) -> History {
        let row = &self.sagas[&saga];
        History {
            saga,
            state: row.state,
            definition: Ok(self.definition(&row.definition)),
            rows: Ok(decoded(&self.rows_of(saga))),
        }
    }

    // The pump.

    fn lane(&mut self, shard: ShardId) -> &mut Lane {
        let found = self.lanes.iter_mut().find(|lane| lane.shard.id() == shard);
        found.expect("there are two shards")
    }

    /// Decides, commits, lets out and carries the mail until nothing is left to do.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            let mut idle = true;
            for at in 0..self.lanes.len() {
                let now = self.now;
                let shard = &mut self.lanes[at].shard;
                if shard.is_ready(now)
                    && let Some(batch) = shard.prepare(now, BatchLimits::default(), &Barriers)
                {
                    if self.strikes(Strikes::BeforeTheCommit, batch.rows.len()) {
                        return self.crash();
                    }
                    self.store(at, &batch);
                    if self.strikes(Strikes::AfterTheCommit, 0) {
                        return self.crash();
                    }
                    self.lanes[at].shard.committed();
                    idle = false;
                }
                idle &= !self.let_out(at);
                if self.strikes(Strikes::AfterTheOutputs, 0) {
                    return self.crash();
                }
            }
            if let Some(output) = self.mail.pop_front() {
                self.carry(output);
                idle = false;
            }
            if idle {
                return;
            }
        }
        panic!("the shards never come to rest");
    }

    fn strikes(&mut self, now: Strikes, rows: usize) -> bool {
        let strikes = self
            .crash_at
            .is_some_and(|at| !self.crashed && at.strikes == now && self.rows + rows >= at.row);
        self.crashed |= strikes;
        strikes
    }

    /// Writes a batch, and checks after each row what has to hold.
    fn store(&mut self, at: usize, batch: &ShardBatch) {
        for insert in &batch.inserts {
            assert!(self.sagas.insert(insert.id, insert.clone()).is_none());
        }
        for key in &batch.keys {
            let existing = Existing {
                saga: key.saga,
                input_hash: key.input_hash,
                revision: 1,
            };
            assert!(self.keys.insert(key.key_hash, existing).is_none());
        }
        for row in &batch.rows {
            let stored = Row {
                position: row.position,
                saga: row.saga,
                at: row.at,
                body: record::encode(&row.facts),
            };
            assert_eq!(decoded(std::slice::from_ref(&stored))[0], *row);
            self.lanes[at].journal.push(stored);
            self.rows += 1;
            self.tell(row);
            let folded = self.folded(row.saga);
            if let Err(broken) = invariants::check(&folded) {
                panic!("{broken}, after\n{}", self.history.join("\n"));
            }
            // I14: the fold of what is recorded is the live state. A batch may have more rows of the saga.
            let later = batch
                .rows
                .iter()
                .any(|other| other.saga == row.saga && other.position > row.position);
            if let Some(live) = self.lanes[at].shard.saga(row.saga).filter(|_| !later) {
                assert_eq!(digest(&folded, self.now), digest(live, self.now));
            }
        }
        for update in &batch.updates {
            let row = self.sagas.get_mut(&update.id).expect("was inserted");
            row.state = update.state;
            row.wake_at = update.wake_at;
            if let Some(turn) = &mut row.turn {
                turn.granted = update.turn_granted;
            }
        }
    }

    fn tell(&mut self, row: &JournalRow) {
        let definition = self.definition(&self.sagas[&row.saga].definition);
        let prefix = match row.facts.first() {
            _ if self.root == Some(row.saga) => "",
            Some(Fact::Started(started)) if started.parent.is_none() => "another: ",
            _ if self.sagas[&row.saga].parent.is_none() => "another: ",
            _ => "child: ",
        };
        let lines = row.facts.iter().map(|fact| words::line(&definition, fact));
        self.history
            .extend(lines.map(|line| format!("{prefix}{line}")));
    }

    /// Takes what a shard lets out; whether there was anything.
    fn let_out(&mut self, at: usize) -> bool {
        let outputs = self.lanes[at].shard.take_outputs();
        let some = !outputs.is_empty();
        for output in outputs {
            self.take(at, output);
        }
        some
    }

    fn take(&mut self, at: usize, output: Output) {
        let now = self.now;
        match output {
            Output::Send(command) => {
                let attempt = attempt_of(&command);
                self.lanes[at].shard.handle(Input::Sent { attempt }, now);
                self.out.push_back(Arc::unwrap_or_clone(command));
            }
            // Everything is sent at once, and participants need not obey.
            Output::Withdraw { .. } | Output::Changed { .. } | Output::Acknowledge { .. } => {}
            Output::Load { saga } => {
                let loaded = match self.sagas.contains_key(&saga) {
                    true => LoadedSaga::Found(self.stored(saga)),
                    false => LoadedSaga::Absent,
                };
                let input = Input::Loaded { saga, loaded };
                self.lanes[at].shard.handle(input, now);
            }
            Output::ResolveChild(_) | Output::AskChild(_) | Output::AnswerParent(_) => {
                self.mail.push_back(output);
            }
            Output::Started { token, result } => {
                let said = match result {
                    Ok(answer) if answer.created => Ok("created".to_owned()),
                    Ok(_) => Ok("existing".to_owned()),
                    Err(refusal) => {
                        let said = format!("{refusal:?}");
                        Err(said.split(' ').next().unwrap_or("").to_owned())
                    }
                };
                self.told.insert(token.0, said);
            }
            Output::Cancelled { token, result } => {
                let said = result.map(|done| format!("{done:?}"));
                self.told
                    .insert(token.0, said.map_err(|no| format!("{no:?}")));
            }
            Output::Signalled { token, result } => {
                let said = result.map(|new| if new { "new" } else { "known" }.to_owned());
                self.told
                    .insert(token.0, said.map_err(|no| format!("{no:?}")));
            }
            Output::Acted { token, result } => {
                let said = result.map(|state| state.as_str().to_owned());
                self.told.insert(token.0, said.map_err(|no| refusal(&no)));
            }
        }
    }

    // Who carries what shards say to one another.

    fn carry(&mut self, output: Output) {
        let now = self.now;
        match output {
            Output::ResolveChild(request) => {
                let answer = self.resolve(&request);
                self.answer_parent(answer);
            }
            Output::AnswerParent(answer) => self.answer_parent(*answer),
            Output::AskChild(wish) => {
                let wish = self.with_start(*wish);
                let lane = self.lane(wish.child.shard());
                lane.shard.handle(Input::Child(Box::new(wish)), now);
            }
            other => panic!("nobody carries {other:?}"),
        }
    }

    fn answer_parent(&mut self, answer: ChildAnswer) {
        let now = self.now;
        let lane = self.lane(answer.parent.saga.shard());
        lane.shard
            .handle(Input::ChildAnswered(Box::new(answer)), now);
    }

    fn resolve(&self, request: &ChildRequest) -> ChildAnswer {
        let parent = request.parent.clone();
        let refused = |code: &str| {
            ChildState::Ended(ChildOutcome::Refused {
                code: code.to_owned(),
                message: "said the runner".to_owned(),
            })
        };
        let name = &request.requested.name;
        let state = if !self.definitions.contains_key(name) {
            refused("DEFINITION_NOT_FOUND")
        } else if self.definition(name).pivot().is_some() && !request.may_have_pivot {
            refused("CHILD_HAS_PIVOT")
        } else {
            ChildState::Pinned {
                child: SagaId::child(
                    parent.saga,
                    &parent.step,
                    parent.item,
                    parent.round,
                    CHILDREN,
                ),
                revision: 1,
                hash: self.definition(name).hash(),
            }
        };
        ChildAnswer { parent, state }
    }

    fn with_start(&self, mut wish: ChildWish) -> ChildWish {
        let definition = self.definition(&wish.start.name);
        wish.start.resolved = Some(Box::new(Start {
            id: wish.child,
            started: Started {
                namespace: wish.namespace.clone(),
                definition: wish.start.name.clone(),
                revision: wish.start.revision,
                hash: wish.start.hash,
                key: None,
                ordering_key: None,
                concurrency_max: definition.concurrency().map(|limit| limit.max),
                parent: Some(wish.parent.clone()),
                input: wish.start.input.clone(),
                traceparent: None,
                tracestate: None,
            },
            definition,
            key: None,
            existing: None,
        }));
        wish
    }
}

fn refusal(refusal: &amends_core::shard::OrderRefusal) -> String {
    match refusal {
        amends_core::shard::OrderRefusal::Refused { code, .. } => (*code).to_owned(),
        other => format!("{other:?}"),
    }
}

/// Time that passes between two wakes is never more than this.
pub const FOREVER: Duration = Duration::from_secs(3_600 * 24 * 60);

pub fn attempt_of(command: &Command) -> AttemptName {
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

/// The rows, read from their bytes.
pub fn decoded(rows: &[Row]) -> Vec<JournalRow> {
    let decode = |row: &Row| JournalRow {
        position: row.position,
        saga: row.saga,
        at: row.at,
        facts: record::decode(row.position, &row.body).expect("what was written can be read"),
    };
    rows.iter().map(decode).collect()
}

/// The fold of rows that are read from their bytes.
pub fn replayed(saga: SagaId, definition: Arc<Definition>, rows: &[Row]) -> Saga {
    Saga::replay(saga, definition, &decoded(rows)).expect("a history")
}

/// A definition, read from its normal form.
pub fn read_definition(normal_form: &str) -> Arc<Definition> {
    Arc::new(from_normal_form(normal_form.as_bytes()).expect("a normal form"))
}

fn stored_definition(definition: &Arc<Definition>) -> (String, (String, Arc<Definition>)) {
    let normal_form = to_normal_form(definition);
    let read = read_definition(&normal_form);
    (definition.name().to_owned(), (normal_form, read))
}

fn incarnation() -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(1))
}
