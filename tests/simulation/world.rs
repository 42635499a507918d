//! The world: virtual time, what is going to happen in it, and who is in it. One seed, one history. On one screen: `run`.
//! What happens in detail: `statements` (the store), `members` (nodes), `network` (participants), `clients`, `disturbances`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::{Input, Output};
use amends_core::{OperationKind, SagaId, ShardId, Time};
use amends_store::ExpiryPage;

use crate::book::{Outbox, name_of};
use crate::clients::Operation;
use crate::committer::Answer as StoreAnswer;
use crate::dice::Dice;
use crate::generator::{BRANCH, Document, LAST, LEAF, PARTICIPANTS, document};
use crate::history::{self, Event as Happened, History};
use crate::lane::{Around, Ask, Message};
use crate::marks::{Mark, Marks};
use crate::network::Parcel;
use crate::node::{Known, Node, Process, Waiter, participant_of};
use crate::participant::{Participant, Told};
use crate::plan::Plan;
use crate::plant::Plant;
use crate::statements::{Purpose, Statement};
use crate::store::Database;

/// Words that the model of the store refuses to store.
pub const POISON: &str = "POISONOUS";

/// When every world begins.
pub const BEGINNING: Time = Time::from_micros(1_763_712_000_000_000);

/// How long after the last fault everything must have come to rest (I47).
pub const REST_WITHIN: Duration = Duration::from_secs(4 * 3_600);

/// More than this happens in no world that comes to rest.
const EVENTS_MAX: u64 = 200_000;

/// What is going to happen.
#[derive(Debug)]
pub enum Event {
    /// A statement reaches the store; its answer takes so long, or is lost.
    Arrive(usize, u32, Purpose, Box<Statement>, Option<Duration>),
    /// The store's answer reaches a node.
    Answered(usize, u32, Purpose, StoreAnswer),
    /// The store is asked something by a lane: it is read when this comes.
    Read(usize, u32, usize, Box<Ask>),
    /// A message for a lane.
    Lane(usize, u32, usize, Box<Message>),
    Tick(usize, u32),
    Renew(usize, u32),
    TakeOver(usize, u32, ShardId),
    Page(usize, u32, ShardId, u64, Option<SagaId>),
    /// A message for whoever owns a shard when it comes.
    ToOwner(ShardId, Box<Message>),
    Boot(usize),
    Resume(usize, u32),
    Attach(usize, u32, usize),
    Expire(usize, u32, usize, u64),
    /// A node looks for what has expired: in this shard, behind this saga.
    Sweep(usize, u32, ShardId, Option<SagaId>),
    /// A page reaches the store, and whether its node still waits for what came of it.
    Expiring(usize, u32, ExpiryPage, bool),
    /// A node hears that it can go on behind this saga.
    Swept(usize, u32, ShardId, Option<SagaId>),
    Return(usize),
    Deliver(Box<Parcel>),
    Perform(Box<Parcel>, u32),
    /// A participant that works on a command says that it lives.
    Beat(Box<Parcel>, u32),
    Heartbeat(usize, u32, amends_core::id::AttemptName),
    /// A participant has more room, on this stream.
    Credit(usize, u32, usize, u64, usize),
    Result(usize, u32, usize, Box<Told>, bool),
    Acknowledged(usize, u32, amends_core::id::AttemptName),
    Retell(usize, u32),
    Client,
    Operator,
    Request(u32, usize),
    Replied(u32, history::Answer),
    Impatient(u32),
    Disturb,
    Calm,
    Look,
}

/// A world and all that is in it.
pub struct World {
    pub plan: Plan,
    pub plant: Option<Plant>,
    pub dice: Dice,
    /// What becomes of sweeps is drawn apart, in half of the worlds: those of known seeds stay what they were, most of them.
    pub sweeping: Option<Dice>,
    pub now: Time,
    pub calm_at: Option<Time>,
    pub store: Database,
    pub nodes: Vec<Node>,
    pub participants: Vec<Participant>,
    pub operations: Vec<Operation>,
    pub documents: Vec<Document>,
    pub history: History,
    pub marks: Marks,
    /// Counts batches, sessions and whatever else has to be told apart.
    pub fresh: u64,
    /// Participants that have a retelling before them.
    pub retelling: BTreeMap<usize, u32>,
    /// Steps that kill whoever performs them, until the calm.
    pub poisonous: BTreeMap<(SagaId, String), bool>,
    pub rested: bool,
    pub faults: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
}

/// An event and its time; of the same time, the first that was scheduled comes first.
#[derive(Debug)]
struct Scheduled {
    at: Time,
    sequence: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl World {
    /// Draws the world of a seed.
    pub fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut dice = Dice::new(seed);
        let mut sweeping = Dice::new(seed.rotate_right(16));
        let plan = Plan::draw(&mut dice);
        let mut documents: Vec<Document> = (0..dice.between(1, 3))
            .map(|number| document(&mut dice, &format!("made-{number}")))
            .collect();
        documents.extend([BRANCH, LEAF, LAST].map(|name| document(&mut dice, name)));
        let mut store = Database::new((plan.store.poison > 0).then_some(POISON), plant);
        for document in &documents {
            store.define(&crate::planted::definition(&document.definition, plant));
        }
        let room = usize::try_from(dice.between(1, 12)).expect("few");
        let nodes = (0..plan.nodes)
            .map(|_| Node::new(&plan, BEGINNING))
            .collect();
        let participants = PARTICIPANTS
            .iter()
            .map(|(_, barrier)| Participant::new(*barrier, room))
            .collect();
        Self {
            plan,
            plant,
            dice,
            sweeping: sweeping.chance(500).then_some(sweeping),
            now: BEGINNING,
            calm_at: None,
            store,
            nodes,
            participants,
            operations: Vec::new(),
            documents,
            history: History::default(),
            marks: Marks::default(),
            fresh: 0,
            retelling: BTreeMap::new(),
            poisonous: BTreeMap::new(),
            rested: false,
            faults: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
        }
    }

    /// Lets everything happen, until all is at rest or the time for it is over.
    pub fn run(&mut self) {
        for node in 0..self.nodes.len() {
            self.after(Duration::from_millis(1), Event::Boot(node));
        }
        self.schedule_clients();
        self.schedule_operators();
        self.schedule_disturbances();
        self.after(self.plan.span, Event::Calm);
        for _ in 0..EVENTS_MAX {
            let Some(Reverse(Scheduled { at, event, .. })) = self.queue.pop() else {
                return;
            };
            self.now = self.now.max(at);
            self.happen(event);
            let late = self
                .calm_at
                .is_some_and(|calm| self.now > calm + REST_WITHIN);
            if self.rested || late {
                break;
            }
        }
    }

    pub fn calm(&self) -> bool {
        self.calm_at.is_some()
    }

    pub fn after(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled {
            at: self.now + delay,
            sequence: self.sequence,
            event,
        }));
    }

    /// A short way on the network.
    pub fn hop(&mut self) -> Duration {
        let most = if self.calm() { 5 } else { self.plan.network_ms };
        self.dice.millis(0, most.max(1))
    }

    pub fn happened(&mut self, event: Happened) {
        self.history.record(self.now, event);
    }

    pub fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.reachable(event) else {
            return;
        };
        match event {
            Event::Arrive(node, life, purpose, statement, answer) => {
                self.arrive(node, life, purpose, *statement, answer);
            }
            Event::Answered(node, _, purpose, answer) => self.answered(node, purpose, answer),
            Event::Read(node, life, lane, ask) => self.read(node, life, lane, *ask),
            Event::Lane(node, _, lane, message) => self.tell(node, lane, *message),
            Event::Tick(node, _) => {
                // An earlier tick took its place.
                if self.nodes[node].tick_at.is_none_or(|at| at > self.now) {
                    return;
                }
                self.nodes[node].tick_at = None;
                for lane in 0..self.nodes[node].lanes.len() {
                    self.tell(node, lane, Message::Tick);
                }
            }
            Event::Renew(node, _) => self.renew(node),
            Event::TakeOver(node, _, shard) => self.take_over(node, shard),
            Event::Page(node, _, shard, born, after) => self.page(node, shard, born, after),
            Event::ToOwner(shard, message) => self.reach_owner(shard, *message),
            Event::Boot(node) => self.boot(node),
            Event::Resume(node, life) => self.resume(node, life),
            Event::Attach(node, _, participant) => self.attach(node, participant),
            Event::Expire(node, _, participant, session) => self.expire(node, participant, session),
            Event::Sweep(node, _, shard, after) => self.sweep(node, shard, after),
            Event::Expiring(node, life, page, awaited) => {
                self.expire_late(node, life, &page, awaited);
            }
            Event::Swept(node, _, shard, last) => self.swept(node, shard, last),
            Event::Return(participant) => self.come_back(participant),
            Event::Deliver(parcel) => self.deliver(*parcel),
            Event::Perform(parcel, life) => self.perform(*parcel, life),
            Event::Beat(parcel, life) => self.beat(*parcel, life),
            Event::Heartbeat(node, _, attempt) => self.heartbeat(node, attempt),
            Event::Credit(node, _, participant, session, commands) => {
                self.credit(node, participant, session, commands);
            }
            Event::Result(node, _, participant, told, honest) => {
                self.result(node, participant, *told, honest);
            }
            Event::Acknowledged(participant, life, name) => {
                self.forget_result(participant, life, &name);
            }
            Event::Retell(participant, life) => self.retell(participant, life),
            Event::Client => self.client(),
            Event::Operator => self.operate(),
            Event::Request(operation, node) => self.request(operation, node),
            Event::Replied(operation, answer) => self.replied(operation, answer),
            Event::Impatient(operation) => self.impatient(operation),
            Event::Disturb => self.disturb(),
            Event::Calm => self.calm_down(),
            Event::Look => self.look(),
        }
    }

    /// What reaches a node: nothing if its process is gone, and later if it is paused.
    fn reachable(&mut self, event: Event) -> Option<Event> {
        let (node, life) = match &event {
            Event::Answered(node, life, ..)
            | Event::Read(node, life, ..)
            | Event::Lane(node, life, ..)
            | Event::Tick(node, life)
            | Event::Renew(node, life)
            | Event::TakeOver(node, life, _)
            | Event::Page(node, life, ..)
            | Event::Attach(node, life, _)
            | Event::Expire(node, life, ..)
            | Event::Sweep(node, life, ..)
            | Event::Swept(node, life, ..)
            | Event::Heartbeat(node, life, _)
            | Event::Credit(node, life, ..)
            | Event::Result(node, life, ..) => (*node, Some(*life)),
            Event::Request(_, node) => (*node, None),
            _ => return Some(event),
        };
        let target = &self.nodes[node];
        if life.is_some_and(|life| life != target.life) || target.process == Process::Down {
            return None;
        }
        if target.process == Process::Paused {
            let event = self.outlived(event);
            self.nodes[node].mailbox.push(event);
            return None;
        }
        Some(event)
    }

    /// A connection may not outlive a pause: then nobody learns what the store has said.
    fn outlived(&mut self, event: Event) -> Event {
        match event {
            Event::Answered(node, life, purpose, _) if self.dice.chance(500) => {
                Event::Answered(node, life, purpose, StoreAnswer::Unknown)
            }
            event => event,
        }
    }

    /// Hands a message to a lane, and carries out what follows.
    pub fn tell(&mut self, node: usize, lane: usize, message: Message) {
        let mut inbox = VecDeque::from([(lane, message)]);
        while let Some((lane, message)) = inbox.pop_front() {
            // It left before, and what the lane decided meanwhile could not know.
            if let Message::Input(_, Input::Sent { attempt }) = &message {
                self.counts(node, attempt, false);
            }
            let (asks, outputs, lost, raised) = self.work(node, lane, message);
            for ask in asks {
                self.ask(node, lane, ask);
            }
            let mut outbox = Outbox::default();
            for (shard, epoch) in raised {
                self.nodes[node].book.raise_epoch(shard, epoch);
            }
            for output in outputs {
                self.route(node, output, &mut outbox);
            }
            for shard in lost {
                self.nodes[node].book.forget_shard(shard);
                self.marks.hit(Mark::ZombieFenced);
            }
            self.send_out(node, outbox, &mut inbox);
        }
        self.schedule_tick(node);
    }

    /// Lets what waits leave, after something in the book has changed.
    pub fn dispatch(&mut self, node: usize, outbox: Outbox) {
        let mut inbox = VecDeque::new();
        self.send_out(node, outbox, &mut inbox);
        for (lane, message) in inbox {
            self.tell(node, lane, message);
        }
    }

    #[expect(
        clippy::type_complexity,
        reason = "what a lane leaves behind, taken apart at once"
    )]
    fn work(
        &mut self,
        node: usize,
        lane: usize,
        message: Message,
    ) -> (Vec<Ask>, Vec<Output>, Vec<ShardId>, Vec<(ShardId, u64)>) {
        let target = &mut self.nodes[node];
        let mut around = Around {
            now: target.clock.now(self.now),
            world: self.now,
            node,
            life: target.life,
            known: &Known(&target.book),
            store: &self.store,
            history: &mut self.history,
            marks: &mut self.marks,
            plant: self.plant,
            fresh: &mut self.fresh,
            way: 0,
            asks: Vec::new(),
            outputs: Vec::new(),
            lost: Vec::new(),
            raised: Vec::new(),
        };
        target.lanes[lane].take(message, &mut around);
        (around.asks, around.outputs, around.lost, around.raised)
    }

    fn route(&mut self, node: usize, output: Output, outbox: &mut Outbox) {
        match output {
            Output::Send(command) if self.holds_back(&command) => {}
            Output::Send(command) => {
                let to = participant_of(&command.action).expect("every action is served");
                self.nodes[node].book.now = self.now;
                let command = Box::new(Arc::unwrap_or_clone(command));
                self.nodes[node].book.send(command, to, outbox);
            }
            Output::Withdraw { attempt, .. } => {
                if self.plant != Some(Plant::DeliverAfterAbort) {
                    let forgets = self.plant == Some(Plant::ForgetSent);
                    self.nodes[node].book.withdraw(&attempt, forgets, outbox);
                }
            }
            Output::Started { token, result } => {
                self.reply(node, token.0, history::Answer::Started(result));
            }
            Output::Cancelled { token, result } => {
                self.reply(node, token.0, history::Answer::Cancelled(result));
            }
            Output::Acknowledge {
                token,
                acknowledged,
            } => self.acknowledge(node, token.0, acknowledged),
            Output::Load { saga } => {
                let lane = self.nodes[node].lane_of(saga.shard());
                if let Some(born) = self.nodes[node].lanes[lane].born(saga.shard()) {
                    self.ask(node, lane, Ask::Load(saga, born));
                }
            }
            Output::Changed { saga, state, .. } => {
                if state.is_terminal() {
                    self.nodes[node].book.forget_saga(saga);
                }
            }
            Output::Signalled { token, result } => {
                self.reply(node, token.0, history::Answer::Signalled(result));
            }
            Output::Acted { token, result } => {
                self.reply(node, token.0, history::Answer::Acted(result));
            }
            Output::ResolveChild(request) => self.resolve_child(*request),
            Output::AskChild(wish) => self.ask_child(*wish),
            Output::AnswerParent(answer) => self.answer_parent(*answer),
        }
    }

    /// The planted bug: what a parked saga owes is not sent.
    fn holds_back(&self, command: &amends_core::shard::Command) -> bool {
        self.plant == Some(Plant::HoldCompensations)
            && command.key.operation == OperationKind::Compensate
            && self.store.state(command.key.saga) == Some(SagaState::Parked)
    }

    /// Answers a client, if one waits.
    fn reply(&mut self, node: usize, token: u64, answer: history::Answer) {
        if let Some(Waiter::Client(operation)) = self.nodes[node].waiters.remove(&token) {
            let delay = self.hop();
            self.after(delay, Event::Replied(operation, answer));
        }
    }

    /// Dispatches, tells the lanes what left and what never will, and the participants what to do.
    fn send_out(
        &mut self,
        node: usize,
        mut outbox: Outbox,
        inbox: &mut VecDeque<(usize, Message)>,
    ) {
        let target = &mut self.nodes[node];
        target.book.now = self.now;
        let late = if self.plan.bounded {
            target.lease_is_late(self.plan.lease, self.now)
        } else {
            target.late
        };
        if late {
            self.marks
                .hit_if(target.book.waits(), Mark::LeaseStopsDispatch);
        } else {
            target
                .book
                .dispatch(|command| participant_of(&command.action), &mut outbox);
            self.marks
                .hit_if(target.book.waits_for_credit(), Mark::WaitedForCredit);
        }
        let forgets = self.plant == Some(Plant::ForgetSent);
        for attempt in outbox.sent.into_iter().filter(|_| !forgets) {
            let shard = attempt.saga.shard();
            let message = Message::Input(shard, Input::Sent { attempt });
            inbox.push_back((self.nodes[node].lane_of(shard), message));
        }
        let target = &self.nodes[node];
        for attempt in outbox.withdrawn {
            let shard = attempt.saga.shard();
            let message = Message::Input(shard, Input::Withdrawn { attempt });
            inbox.push_back((target.lane_of(shard), message));
        }
        for attempt in outbox.lost {
            let shard = attempt.saga.shard();
            let message = Message::Input(shard, crate::network::stream_lost(attempt));
            inbox.push_back((target.lane_of(shard), message));
        }
        for (participant, session, command) in outbox.commands {
            self.transmit(node, participant, session, command);
        }
    }

    /// Records that a command left, and puts it on its way.
    fn transmit(
        &mut self,
        node: usize,
        participant: usize,
        session: u64,
        command: Arc<amends_core::shard::Command>,
    ) {
        let target = &mut self.nodes[node];
        let shard = command.key.saga.shard();
        // Who holds the lease may have lost the shard and taken it back since it took it over.
        let deposed = self.store.epoch(shard) > command.epoch;
        let zombie = deposed || self.store.owner(shard) != Some(node);
        let key = Arc::new(command.key.clone());
        let sent = history::Sent {
            key: Arc::clone(&key),
            attempt: command.attempt,
            epoch: command.epoch,
            participant,
            session,
            node,
            life: target.life,
            node_time: target.clock.now(self.now),
            due_at: command.due_at,
            input: command.input.as_bytes().to_vec(),
            zombie,
        };
        let life = target.life;
        self.marks.hit_if(zombie, Mark::ZombieSends);
        self.marks.hit_if(command.resent, Mark::ResentOnStream);
        self.happened(Happened::Sent(sent));
        let parcel = Parcel {
            name: name_of(&command.key, command.attempt),
            expires_at: self.now + command.timeout,
            command,
            key,
            participant,
            session,
            node,
            node_life: life,
            stray: false,
        };
        self.carry(parcel);
    }

    /// A node is looked at again when its earliest timer is due.
    fn schedule_tick(&mut self, node: usize) {
        let target = &mut self.nodes[node];
        let now = target.clock.now(self.now);
        let lanes = target.lanes.iter();
        let wakes = lanes.filter_map(|lane| {
            let timer = lane.next_wake(now).map(|at| at.since(now));
            let late = lane.late_at(now, self.now).map(|at| at.since(self.now));
            timer.into_iter().chain(late).min()
        });
        let Some(wait) = wakes.min() else {
            return;
        };
        let wait = wait.max(Duration::from_millis(1));
        let at = self.now + wait;
        if target.tick_at.is_none_or(|tick_at| at < tick_at) {
            target.tick_at = Some(at);
            let life = target.life;
            self.after(wait, Event::Tick(node, life));
        }
    }
}
