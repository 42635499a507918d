//! One lane of a node: it takes messages, lets its shards decide, hands batches to the store, and lets out what is durable. A
//! sketch of `engine/orchestrator/src/lane/{task,verdict,lookup}.rs` in virtual time; what goes into a batch is in `ways`, its
//! committers are in `committer`, its bisection in `suspect`. It is small on purpose: what is under test is the core behind it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amends_core::saga::due;
use amends_core::shard::{
    Acknowledged, CancelRefusal, ChildWish, Existing, History as SagaHistory, Input, LoadedSaga,
    OrderRefusal, Output, Shard, SignalRefusal, Start, StartRefusal, Surroundings, Token,
    TurnRecovered, Want,
};
use amends_core::{Incarnation, SagaId, ShardId, Time};

use crate::committer::{Answer, Question, Resolution, Verdict};
use crate::history::{Event, History};
use crate::marks::{Mark, Marks};
use crate::plant::Plant;
use crate::store::{Batch, Database, KeyName};
use crate::suspect::Suspect;
use crate::ways::{Way, Ways};

/// What can reach a lane.
#[derive(Debug)]
pub enum Message {
    Start(Token, Box<Start>),
    Input(ShardId, Input),
    /// A parent wants something of its child, which lives here.
    Child(Box<ChildWish>),
    LookedUp(Vec<Keyed>, Option<Vec<Option<Existing>>>),
    LookedUpAgain(ShardId, u64, BTreeMap<SagaId, Existing>),
    /// A takeover record of this node stands at this position; by former owners' clocks it may have been as late as this.
    Opened(ShardId, u64, Time),
    /// Who needs a turn and who sleeps until when, for the slot that was opened at this position.
    RecoveredTurns(ShardId, u64, Vec<TurnRecovered>, Vec<(SagaId, Time)>),
    /// A page of active sagas for the slot that was opened at this position, and whether more follow.
    Recovered(ShardId, u64, Vec<SagaHistory>, bool),
    Loaded(SagaId, u64, LoadedSaga),
    /// To this one of the lane's committers.
    Store(usize, Answer),
    /// This committer has waited long enough.
    Again(usize),
    /// Time has passed.
    Tick,
}

/// A start with a key, on its way to be looked up.
#[derive(Debug)]
pub enum Keyed {
    Start(Token, Box<Start>),
    Child(Box<ChildWish>),
}

impl Keyed {
    /// What to ask the store.
    pub fn name(&self) -> Option<KeyName> {
        match self {
            Self::Start(_, start) => key_name(start),
            Self::Child(wish) => key_name(wish.start.resolved.as_deref()?),
        }
    }
}

/// What a lane asks of those around it.
#[derive(Debug)]
pub enum Ask {
    /// By this one of its committers.
    Store(usize, Question),
    LookUp(Vec<Keyed>),
    LookUpAgain(ShardId, u64, Vec<(SagaId, KeyName)>),
    Load(SagaId, u64),
}

/// What a lane sees and uses while it works.
pub struct Around<'a> {
    pub now: Time,
    pub world: Time,
    pub node: usize,
    pub life: u32,
    pub known: &'a dyn Surroundings,
    /// For the comparison with what is committed alone: a lane reads nothing here.
    pub store: &'a Database,
    pub history: &'a mut History,
    pub marks: &'a mut Marks,
    pub plant: Option<Plant>,
    pub fresh: &'a mut u64,
    /// The committer that is at work.
    pub way: usize,
    pub asks: Vec<Ask>,
    pub outputs: Vec<Output>,
    /// Shards that another node owns.
    pub lost: Vec<ShardId>,
    /// Shards that this node took anew, and their epochs.
    pub raised: Vec<(ShardId, u64)>,
}

impl Around<'_> {
    pub fn fresh(&mut self) -> u64 {
        *self.fresh += 1;
        *self.fresh
    }

    /// The committer at work asks the store.
    pub fn ask(&mut self, question: Question) {
        self.asks.push(Ask::Store(self.way, question));
    }
}

/// A shard as its lane holds it.
#[derive(Debug)]
pub struct Slot {
    pub shard: Shard,
    /// The position of the takeover record that opened it.
    born: u64,
    /// How late it may have been by former owners' clocks.
    sent_until: Time,
    /// What waits until the active sagas are back; none once they are.
    waiting: Option<Vec<Input>>,
    looking_up: bool,
    pub suspect: Option<Suspect>,
    /// With a planted bug: what each batch that is under way lets out.
    held: VecDeque<Vec<Output>>,
}

/// A lane.
#[derive(Debug)]
pub struct Lane {
    pub slots: BTreeMap<ShardId, Slot>,
    pub suspects: BTreeSet<ShardId>,
    /// Shards whose batch met a key that was taken: each is tried once in a batch without the others.
    pub one_by_one: BTreeSet<ShardId>,
    pub ways: Ways,
    /// The shard that comes first in the next batch.
    pub rotor: u16,
    unlooked: Vec<Keyed>,
    looking_up: bool,
}

impl Lane {
    pub fn new(ways: Ways) -> Self {
        Self {
            slots: BTreeMap::new(),
            suspects: BTreeSet::new(),
            one_by_one: BTreeSet::new(),
            ways,
            rotor: 0,
            unlooked: Vec::new(),
            looking_up: false,
        }
    }

    /// Takes one message, and does what follows from it.
    pub fn take(&mut self, message: Message, around: &mut Around<'_>) {
        match message {
            Message::Start(token, start) if start.key.is_some() => {
                self.unlooked.push(Keyed::Start(token, start));
            }
            Message::Start(token, start) => {
                self.input(start.id.shard(), Input::Start { token, start }, around);
            }
            Message::Child(wish) => self.child(wish, around),
            Message::Input(shard, input) => self.input(shard, input, around),
            Message::LookedUp(starts, found) => self.looked_up(starts, found, around),
            Message::LookedUpAgain(shard, born, found) => self.looked_up_again(shard, born, &found),
            Message::Loaded(saga, born, loaded) => {
                if self.born(saga.shard()) == Some(born) {
                    self.input(saga.shard(), Input::Loaded { saga, loaded }, around);
                }
            }
            Message::Opened(shard, epoch, sent_until) => {
                self.opened(shard, epoch, sent_until, around);
            }
            Message::RecoveredTurns(shard, born, turns, sleepers) => {
                if let Some(slot) = self.slots.get_mut(&shard)
                    && slot.born == born
                {
                    slot.shard.recover_turns(turns);
                    slot.shard.recover_sleepers(sleepers, taken_over_at(around));
                }
            }
            Message::Recovered(shard, born, histories, more) => {
                if self.born(shard) == Some(born) {
                    self.recovered(shard, histories, more, around);
                }
            }
            Message::Store(way, answer) => {
                around.way = way;
                let committer = &mut self.ways.all[way].committer;
                if let Some(verdict) = committer.answered(answer, around) {
                    self.written(verdict, around);
                }
            }
            Message::Again(way) => {
                around.way = way;
                self.ways.all[way].committer.again(around);
            }
            Message::Tick => {}
        }
        self.look_up_starts(around);
        self.let_out(around);
        self.decide(around);
        self.let_out(around);
    }

    /// When a shard has something to do by itself, on the node's clock. What is ready and may not go yet waits for a committer.
    pub fn next_wake(&self, now: Time) -> Option<Time> {
        let slots = self.slots.iter().filter(|(id, slot)| {
            !slot.looking_up && slot.waiting.is_none() && !self.ways.carry(**id)
        });
        let wakes = slots.filter_map(|(_, slot)| slot.shard.next_wake());
        let busy = self.ways.all.iter().any(Way::is_busy);
        wakes.filter(|at| !busy || *at > now).min()
    }

    /// Nothing waits in it and nothing is under way.
    pub fn is_idle(&self, now: Time) -> bool {
        !self.ways.all.iter().any(Way::is_busy)
            && !self.looking_up
            && self.unlooked.is_empty()
            && self
                .slots
                .values()
                .all(|slot| !slot.looking_up && slot.waiting.is_none() && !slot.shard.is_ready(now))
    }

    /// Inputs that wait for a decision or a commit.
    pub fn queued(&self) -> usize {
        self.slots.values().map(|slot| slot.shard.queued()).sum()
    }

    fn input(&mut self, shard: ShardId, input: Input, around: &mut Around<'_>) {
        if let Input::Outcome {
            token: Some(token), ..
        } = &input
            && matches!(
                around.plant,
                Some(Plant::AcknowledgeBeforeCommit | Plant::ShedResults)
            )
        {
            around.outputs.push(Output::Acknowledge {
                token: *token,
                acknowledged: Acknowledged::Recorded,
            });
            let busy = self.ways.all.iter().any(Way::is_busy);
            if around.plant == Some(Plant::ShedResults) && busy {
                return;
            }
        }
        match self.slots.get_mut(&shard) {
            Some(slot) => match &mut slot.waiting {
                Some(waiting) => waiting.push(input),
                None => slot.shard.handle(input, around.now),
            },
            None => around.outputs.extend(refusal_of(&input)),
        }
    }

    fn look_up_starts(&mut self, around: &mut Around<'_>) {
        if !self.looking_up && !self.unlooked.is_empty() {
            self.looking_up = true;
            let starts = std::mem::take(&mut self.unlooked);
            around.asks.push(Ask::LookUp(starts));
        }
    }

    fn child(&mut self, wish: Box<ChildWish>, around: &mut Around<'_>) {
        let keyed = wish.want == Want::Run
            && (wish.start.resolved.as_deref()).is_some_and(|start| start.key.is_some());
        if keyed {
            self.unlooked.push(Keyed::Child(wish));
        } else {
            self.input(wish.child.shard(), Input::Child(wish), around);
        }
    }

    fn looked_up(
        &mut self,
        starts: Vec<Keyed>,
        found: Option<Vec<Option<Existing>>>,
        around: &mut Around<'_>,
    ) {
        self.looking_up = false;
        let failed = found.is_none();
        let found = found.unwrap_or_else(|| vec![None; starts.len()]);
        for (keyed, existing) in starts.into_iter().zip(found) {
            match keyed {
                Keyed::Start(token, _) if failed => around.outputs.push(Output::Started {
                    token,
                    result: Err(StartRefusal::Unavailable),
                }),
                // The parent asks again.
                Keyed::Child(_) if failed => {}
                Keyed::Start(token, mut start) => {
                    start.existing = existing;
                    self.input(start.id.shard(), Input::Start { token, start }, around);
                }
                Keyed::Child(mut wish) => {
                    if let Some(start) = &mut wish.start.resolved {
                        start.existing = existing;
                    }
                    self.input(wish.child.shard(), Input::Child(wish), around);
                }
            }
        }
    }

    fn look_up_again(&mut self, shard: ShardId, around: &mut Around<'_>) {
        let Some(slot) = self.slots.get_mut(&shard) else {
            return;
        };
        let unlooked = slot.shard.unlooked_starts().into_iter();
        let questions: Vec<(SagaId, KeyName)> = unlooked
            .filter_map(|start| Some((start.id, key_name(start)?)))
            .collect();
        if !questions.is_empty() {
            slot.looking_up = true;
            let ask = Ask::LookUpAgain(shard, slot.born, questions);
            around.asks.push(ask);
        }
    }

    fn looked_up_again(&mut self, shard: ShardId, born: u64, found: &BTreeMap<SagaId, Existing>) {
        if let Some(slot) = self.slots.get_mut(&shard)
            && slot.born == born
        {
            slot.looking_up = false;
            for start in slot.shard.starts_to_look_up() {
                start.existing = found.get(&start.id).copied();
            }
        }
    }

    fn opened(&mut self, shard: ShardId, epoch: u64, sent_until: Time, around: &mut Around<'_>) {
        let event = Event::Owned {
            shard: shard.0,
            epoch,
            node: around.node,
            life: around.life,
            node_time: around.now,
            opened: true,
        };
        around.history.record(around.world, event);
        let mut machine = Shard::new(shard, INCARNATION, epoch);
        if around.plant != Some(Plant::ForgetClocks) {
            machine.count_as_sent(sent_until);
        }
        let slot = Slot {
            shard: machine,
            born: epoch,
            sent_until,
            waiting: Some(Vec::new()),
            looking_up: false,
            suspect: None,
            held: VecDeque::new(),
        };
        self.slots.insert(shard, slot);
    }

    /// Where a shard's slot was opened: what was asked for an earlier one is not for this.
    pub fn born(&self, shard: ShardId) -> Option<u64> {
        self.slots.get(&shard).map(|slot| slot.born)
    }

    fn recovered(
        &mut self,
        shard: ShardId,
        histories: Vec<SagaHistory>,
        more: bool,
        around: &mut Around<'_>,
    ) {
        let Some(slot) = self.slots.get_mut(&shard) else {
            return;
        };
        for history in histories {
            let folded = around.store.folded(history.saga);
            let ahead = folded.is_some_and(|saga| {
                let commands = due(saga, slot.sent_until).commands;
                commands.iter().any(|command| command.due_at > around.now)
            });
            around.marks.hit_if(ahead, Mark::SentAheadOfClock);
            slot.shard.recover(history, taken_over_at(around));
        }
        if !more {
            for input in slot.waiting.take().unwrap_or_default() {
                slot.shard.handle(input, around.now);
            }
        }
    }

    fn written(&mut self, verdict: Verdict, around: &mut Around<'_>) {
        match verdict {
            Verdict::Committed(batch) => {
                for of in &batch.shards {
                    self.committed(of.shard, &batch, around);
                }
                if around.plant == Some(Plant::ReleaseBeside) {
                    self.release_beside();
                }
            }
            Verdict::KeyTaken(shards) => {
                shards
                    .iter()
                    .for_each(|id| self.roll_back(*id, None, around));
                // The key may be wanted twice within the batch, by starts with different homes: no look-up finds that.
                self.one_by_one.extend(&shards);
            }
            Verdict::Data(shards) => {
                shards
                    .iter()
                    .for_each(|id| self.roll_back(*id, None, around));
                self.suspects.extend(&shards);
                self.narrow(&shards, around);
            }
            Verdict::Taken(shards, lost) => {
                for id in shards {
                    if lost.contains(&id) {
                        self.lose(id, around);
                    } else {
                        self.roll_back(id, None, around);
                    }
                }
            }
            Verdict::Resolved(batch, resolutions) => {
                for (id, resolution) in resolutions {
                    match resolution {
                        Resolution::Committed => {
                            around.marks.hit(Mark::ResolvedCommitted);
                            self.committed(id, &batch, around);
                        }
                        Resolution::Retaken(epoch) => {
                            around.marks.hit(Mark::ResolvedRetaken);
                            let event = Event::Owned {
                                shard: id.0,
                                epoch,
                                node: around.node,
                                life: around.life,
                                node_time: around.now,
                                opened: false,
                            };
                            around.history.record(around.world, event);
                            around.raised.push((id, epoch));
                            self.roll_back(id, Some(epoch), around);
                        }
                        Resolution::Lost => {
                            around.marks.hit(Mark::ResolvedLost);
                            self.lose(id, around);
                        }
                    }
                }
            }
        }
    }

    fn committed(&mut self, id: ShardId, batch: &Batch, around: &mut Around<'_>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if let Some(of) = batch.shards.iter().find(|of| of.shard == id) {
            let event = Event::Settled {
                batch: batch.id,
                shard: id.0,
                rows: of.rows.len(),
            };
            around.history.record(around.world, event);
            crate::replay::compare(&slot.shard, of, around);
        }
        slot.shard.committed();
        around
            .outputs
            .extend(slot.held.pop_front().into_iter().flatten());
        self.clear(id);
    }

    /// The planted bug: what other batches let out leaves as well.
    fn release_beside(&mut self) {
        let others = self.ways.under_way().flat_map(|batch| &batch.shards);
        for shard in others.map(|of| of.shard).collect::<Vec<_>>() {
            if let Some(slot) = self.slots.get_mut(&shard) {
                slot.shard.committed();
            }
        }
    }

    fn roll_back(&mut self, id: ShardId, retaken: Option<u64>, around: &mut Around<'_>) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.shard.rolled_back(retaken);
            self.look_up_again(id, around);
        }
    }

    /// What a suspect shard tried was not refused.
    pub fn clear(&mut self, id: ShardId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.suspect = slot.suspect.and_then(Suspect::cleared);
        }
    }

    /// Another node owns the shard: nothing of it leaves any more, and this node does not fight for it.
    pub fn lose(&mut self, id: ShardId, around: &mut Around<'_>) {
        around.lost.push(id);
        if let Some(mut slot) = self.slots.remove(&id) {
            slot.shard.depose();
            for input in slot.waiting.take().unwrap_or_default() {
                slot.shard.handle(input, around.now);
            }
            around.outputs.append(&mut slot.shard.take_outputs());
        }
    }

    fn let_out(&mut self, around: &mut Around<'_>) {
        for slot in self.slots.values_mut() {
            around.outputs.append(&mut slot.shard.take_outputs());
        }
    }
}

impl Slot {
    /// It can decide, whatever it would be.
    pub fn can_decide(&self, now: Time) -> bool {
        !self.looking_up && self.waiting.is_none() && self.shard.is_ready(now)
    }

    /// The planted bug: the shard decides on before its batch is durable. What that lets out still waits for it.
    pub fn go_on(&mut self) {
        self.shard.committed();
        self.held.push_back(self.shard.take_outputs());
    }

    pub fn is_ready(&self, around: &Around<'_>) -> bool {
        let wanted = around.plant != Some(Plant::ForgetTimers) || self.shard.queued() > 0;
        wanted && self.can_decide(around.now)
    }
}

/// The life of the simulated database.
pub const INCARNATION: Incarnation = Incarnation(uuid::Uuid::from_u128(1));

/// When a shard was taken over, as its machine is told: by the node's clock.
fn taken_over_at(around: &Around<'_>) -> Time {
    match around.plant {
        Some(Plant::ForgetTakeoverTime) => Time::EPOCH,
        _ => around.now,
    }
}

/// What to ask the store for a start; nothing if it has no key.
pub fn key_name(start: &Start) -> Option<KeyName> {
    let key = start.key?;
    let started = &start.started;
    Some((
        started.namespace.clone(),
        started.definition.clone(),
        key.key_hash,
    ))
}

/// The answer to an input for a shard that this node does not serve.
fn refusal_of(input: &Input) -> Option<Output> {
    match input {
        Input::Start { token, .. } => Some(Output::Started {
            token: *token,
            result: Err(StartRefusal::Unavailable),
        }),
        Input::Cancel { token, .. } => Some(Output::Cancelled {
            token: *token,
            result: Err(CancelRefusal::Unavailable),
        }),
        Input::Signal { token, .. } => Some(Output::Signalled {
            token: *token,
            result: Err(SignalRefusal::Unavailable),
        }),
        Input::Order { token, .. } => Some(Output::Acted {
            token: *token,
            result: Err(OrderRefusal::Unavailable),
        }),
        Input::Outcome {
            token: Some(token), ..
        } => Some(Output::Acknowledge {
            token: *token,
            acknowledged: Acknowledged::Unavailable,
        }),
        _ => None,
    }
}
