//! The way of a statement to the store and back: slow, refused, lost before it arrived, lost after, or arriving when nobody
//! expects it any more. Reads show the store as it was when they arrived. Deliberately not here: what the store does (`store`).

use std::collections::BTreeMap;
use std::time::Duration;

use amends_core::shard::{Existing, LoadedSaga};
use amends_core::{SagaId, ShardId};

use crate::committer::{Answer, Question};
use crate::lane::{Ask, Message};
use crate::marks::Mark;
use crate::plant::Plant;
use crate::store::{Batch, KeyName, Refusal, Takeover};
use crate::world::{Event, World};

/// What is written.
#[derive(Clone, Debug)]
pub enum Statement {
    Append(Batch),
    TakeOver(Vec<Takeover>),
}

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// This lane's committer, that one of them.
    Lane(usize, usize),
    /// The node, which takes a shard over at this position.
    Open(ShardId, u64),
}

impl World {
    /// Carries out what a lane asks.
    pub fn ask(&mut self, node: usize, lane: usize, ask: Ask) {
        let life = self.nodes[node].life;
        match ask {
            Ask::Store(way, Question::Append(batch)) => {
                let purpose = Purpose::Lane(lane, way);
                self.issue(node, purpose, Statement::Append(batch));
                let pause = self.nodes[node].pauses_at_write.take();
                if let Some(time) = pause.filter(|_| !self.calm()) {
                    self.pause(node, time);
                }
            }
            Ask::Store(way, Question::TakeOver(records)) => {
                let purpose = Purpose::Lane(lane, way);
                self.issue(node, purpose, Statement::TakeOver(records));
            }
            Ask::Store(way, Question::Wait) => {
                let wait = self.dice.millis(20, 2_000);
                let message = Box::new(Message::Again(way));
                self.after(wait, Event::Lane(node, life, lane, message));
            }
            read => {
                let delay = self.hop();
                self.after(delay, Event::Read(node, life, lane, Box::new(read)));
            }
        }
    }

    /// Sends a statement to the store.
    pub fn issue(&mut self, node: usize, purpose: Purpose, statement: Statement) {
        let life = self.nodes[node].life;
        let faults = if self.calm() {
            crate::plan::StoreFaults::default()
        } else {
            self.plan.store.clone()
        };
        let (mut there, back) = (self.hop(), self.hop());
        if self.dice.chance(faults.slow) {
            self.marks.hit(Mark::StoreSlow);
            self.faults += 1;
            there += self.dice.millis(500, 15_000);
        }
        let statement = Box::new(statement);
        let draw = self.dice.below(1_000);
        if draw < faults.again + faults.unavailable {
            let again = draw < faults.again;
            self.marks.hit_if(again, Mark::StoreAgain);
            self.marks.hit_if(!again, Mark::StoreUnavailable);
            self.faults += 1;
            self.after(
                there + back,
                Event::Answered(node, life, purpose, Answer::NotNow),
            );
        } else if draw < faults.again + faults.unavailable + faults.unknown {
            self.faults += 1;
            let lost = Event::Answered(node, life, purpose, Answer::Unknown);
            match self.dice.below(3) {
                0 => {
                    self.marks.hit(Mark::StoreUnknownLost);
                    self.after(there + back, lost);
                }
                1 => {
                    self.marks.hit(Mark::StoreUnknownLanded);
                    self.after(there, Event::Arrive(node, life, purpose, statement, None));
                    self.after(there + back, lost);
                }
                _ => {
                    self.marks.hit(Mark::StoreUnknownLandsAfterwards);
                    let late = back + self.dice.millis(1, 5_000);
                    self.after(back, lost);
                    self.after(late, Event::Arrive(node, life, purpose, statement, None));
                }
            }
        } else {
            self.after(
                there,
                Event::Arrive(node, life, purpose, statement, Some(back)),
            );
        }
    }

    /// A statement reaches the store. It is carried out even if nobody waits for it any more.
    pub fn arrive(
        &mut self,
        node: usize,
        life: u32,
        purpose: Purpose,
        statement: Statement,
        answer: Option<Duration>,
    ) {
        let done = match &statement {
            Statement::Append(batch) => self.store.append(batch, self.now, &mut self.history),
            Statement::TakeOver(records) => {
                self.store.take_over(records, self.now, &mut self.history)
            }
        };
        if let (Statement::Append(batch), Purpose::Lane(lane, _), Ok(())) =
            (&statement, purpose, &done)
            && self.nodes[node].life == life
        {
            self.mark_overtaking(node, lane, batch);
        }
        let Some(back) = answer else {
            return;
        };
        let answer = match done {
            Ok(()) => Answer::Done,
            Err(Refusal::KeyTaken) => {
                self.marks.hit(Mark::StoreKeyTaken);
                Answer::KeyTaken
            }
            Err(Refusal::Data) => {
                self.marks.hit(Mark::StoreDataRefused);
                Answer::Data
            }
            Err(Refusal::PositionTaken(shards)) => {
                self.marks.hit(Mark::StorePositionTaken);
                if self.dice.chance(300) {
                    self.marks.hit(Mark::StorePositionTakenUnnamed);
                    Answer::PositionTaken(Vec::new())
                } else {
                    Answer::PositionTaken(shards)
                }
            }
        };
        self.after(back, Event::Answered(node, life, purpose, answer));
    }

    /// A batch is durable, and one that left the same lane before it is not.
    fn mark_overtaking(&mut self, node: usize, lane: usize, batch: &Batch) {
        let others = self.nodes[node].lanes[lane].ways.under_way();
        let mut older = others.filter(|other| other.id < batch.id);
        let overtaken = older.any(|other| {
            other.shards.iter().all(|of| {
                let first = of.rows.first().map_or(0, |row| row.position);
                let author = self.store.author(of.shard, first);
                author.is_none_or(|(_, by)| by != other.id)
            })
        });
        self.marks.hit_if(overtaken, Mark::OvertakenBeside);
    }

    /// The answer reaches its node.
    pub fn answered(&mut self, node: usize, purpose: Purpose, answer: Answer) {
        match purpose {
            Purpose::Lane(lane, way) => self.tell(node, lane, Message::Store(way, answer)),
            Purpose::Open(shard, position) => self.open(node, shard, position, &answer),
        }
    }

    /// A lane's question reaches the store.
    pub fn read(&mut self, node: usize, life: u32, lane: usize, ask: Ask) {
        let failed = !self.calm() && self.dice.chance(self.plan.store.reads_fail);
        self.faults += u64::from(failed);
        let mut back = self.hop();
        if matches!(ask, Ask::LookUp(_) | Ask::LookUpAgain(..))
            && !self.calm()
            && self.dice.chance(self.plan.store.lookups_stale)
        {
            self.marks.hit(Mark::LookupStale);
            back += self.dice.millis(100, 3_000);
        }
        let message = match ask {
            Ask::Store(way, Question::Tails(_) | Question::Author(..)) if failed => {
                Message::Store(way, Answer::Unknown)
            }
            Ask::Store(way, Question::Tails(shards)) => {
                let tails = shards.iter().map(|shard| self.store.tail(*shard)).collect();
                Message::Store(way, Answer::Tails(tails))
            }
            Ask::Store(way, Question::Author(shard, position)) => {
                let author = self.store.author(shard, position);
                Message::Store(way, Answer::Author(author))
            }
            Ask::LookUp(starts) => {
                self.marks.hit_if(failed, Mark::LookupFailed);
                let found = starts
                    .iter()
                    .map(|keyed| self.store.lookup(&keyed.name()?))
                    .collect();
                Message::LookedUp(starts, (!failed).then_some(found))
            }
            Ask::LookUpAgain(shard, born, questions) => {
                let found = self.find(&questions);
                Message::LookedUpAgain(shard, born, found)
            }
            Ask::Load(saga, born) => Message::Loaded(saga, born, self.load(saga, failed)),
            Ask::Store(_, Question::Append(_) | Question::TakeOver(_) | Question::Wait) => return,
        };
        self.after(back, Event::Lane(node, life, lane, Box::new(message)));
    }

    fn find(&self, questions: &[(SagaId, KeyName)]) -> BTreeMap<SagaId, Existing> {
        let found = questions
            .iter()
            .filter_map(|(saga, name)| Some((*saga, self.store.lookup(name)?)));
        found.collect()
    }

    fn load(&mut self, saga: SagaId, failed: bool) -> LoadedSaga {
        self.marks.hit(Mark::LoadOnDemand);
        if failed {
            self.marks.hit(Mark::LoadFailed);
            return LoadedSaga::Unavailable;
        }
        self.store
            .history(saga)
            .map_or(LoadedSaga::Absent, LoadedSaga::Found)
    }

    /// Writes a takeover record behind the tail of a shard.
    pub fn take_over(&mut self, node: usize, shard: ShardId) {
        if self.store.owner(shard) != Some(node) {
            self.nodes[node].opening.remove(&shard);
            return;
        }
        let tail = self.store.tail(shard);
        if self.plant == Some(Plant::SkipTakeoverRecord) && tail > 0 {
            self.open(node, shard, tail, &Answer::Done);
            return;
        }
        let position = tail + 1;
        let record = Takeover {
            shard,
            position,
            batch: self.fresh(),
            node,
            life: self.nodes[node].life,
        };
        let statement = Statement::TakeOver(vec![record]);
        self.issue(node, Purpose::Open(shard, position), statement);
    }

    /// What became of a takeover record.
    fn open(&mut self, node: usize, shard: ShardId, position: u64, answer: &Answer) {
        let life = self.nodes[node].life;
        if matches!(answer, Answer::Done) {
            let target = &mut self.nodes[node];
            let sent_until = target.opening.remove(&shard).unwrap_or_default();
            target.seasoned = true;
            let lane = target.lane_of(shard);
            self.tell(node, lane, Message::Opened(shard, position, sent_until));
            let delay = self.hop();
            self.after(delay, Event::Page(node, life, shard, position, None));
            return;
        }
        // A former owner was faster; or nobody knows: the tail will tell, and one more record does no harm.
        let unknown = matches!(answer, Answer::Unknown);
        self.marks.hit_if(unknown, Mark::TakeoverUnknown);
        let taken = matches!(answer, Answer::PositionTaken(_));
        self.marks.hit_if(taken, Mark::TakeoverConflict);
        let wait = self.dice.millis(20, 1_000);
        self.after(wait, Event::TakeOver(node, life, shard));
    }

    /// Brings a page of active sagas back.
    pub fn page(&mut self, node: usize, shard: ShardId, born: u64, after: Option<SagaId>) {
        let life = self.nodes[node].life;
        let lane = self.nodes[node].lane_of(shard);
        if !self.calm() && self.dice.chance(self.plan.store.reads_fail) {
            let wait = self.dice.millis(20, 1_000);
            self.after(wait, Event::Page(node, life, shard, born, after));
            return;
        }
        if after.is_none() {
            let message = Message::RecoveredTurns(
                shard,
                born,
                self.store.turns(shard),
                self.store.sleepers(shard),
            );
            self.tell(node, lane, message);
        }
        let page = self.store.load_active(shard, after, self.plan.page);
        let more = page.len() >= self.plan.page;
        let last = page.last().map(|history| history.saga);
        self.marks.hit_if(after.is_some(), Mark::RecoveredInPages);
        let message = Message::Recovered(shard, born, page, more);
        let delay = self.hop();
        self.after(delay, Event::Lane(node, life, lane, Box::new(message)));
        if more {
            let delay = delay + self.hop();
            self.after(delay, Event::Page(node, life, shard, born, last));
        }
    }
}
