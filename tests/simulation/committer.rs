//! A committer of a lane: one connection, one batch at a time, and a definite verdict for each. A sketch of
//! `engine/orchestrator/src/lane/committer.rs` as a state machine, because time is virtual here.

use std::collections::BTreeMap;

use amends_core::ShardId;
use amends_core::journal::ShardBatch;

use crate::lane::Around;
use crate::plant::Plant;
use crate::store::{Batch, Takeover};

/// What the store's connection says.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of an append or a takeover: it is durable.
    Done,
    /// Definite: somebody else wrote there. Nobody is named if the store does not tell.
    PositionTaken(Vec<ShardId>),
    KeyTaken,
    Data,
    /// Definite: nothing was written; the same again.
    NotNow,
    /// The connection was lost before the answer.
    Unknown,
    Tails(Vec<u64>),
    Author(Option<(u64, u64)>),
}

/// What a committer wants of the store.
#[derive(Debug)]
pub enum Question {
    Append(Batch),
    TakeOver(Vec<Takeover>),
    Tails(Vec<ShardId>),
    Author(ShardId, u64),
    /// Nothing for a while.
    Wait,
}

/// What became of a batch: always definite.
#[derive(Debug)]
pub enum Verdict {
    Committed(Batch),
    KeyTaken(Vec<ShardId>),
    Data(Vec<ShardId>),
    /// Of these shards, those are lost.
    Taken(Vec<ShardId>, Vec<ShardId>),
    Resolved(Batch, Vec<(ShardId, Resolution)>),
}

/// What became of a shard's part of a lost batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    Committed,
    /// A takeover record stands in its place, at this position.
    Retaken(u64),
    Lost,
}

/// What the committer is at.
#[derive(Debug, Default)]
pub enum Committer {
    #[default]
    Idle,
    Writing(Batch),
    /// Somebody wrote at a position of it, and the store does not say in which shard.
    AskingTails(Batch),
    Resolving(Box<Lost>),
}

/// A batch of unknown outcome.
#[derive(Debug)]
pub struct Lost {
    batch: Batch,
    /// Names the takeover records.
    id: u64,
    open: BTreeMap<ShardId, (u64, Takeover)>,
    resolved: Vec<(ShardId, Resolution)>,
    /// Shards whose row is to be looked at.
    asking: Vec<ShardId>,
}

impl Committer {
    pub fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// The batch that is under way.
    pub fn under_way(&self) -> Option<&Batch> {
        match self {
            Self::Idle => None,
            Self::Writing(batch) | Self::AskingTails(batch) => Some(batch),
            Self::Resolving(lost) => Some(&lost.batch),
        }
    }

    pub fn write(&mut self, batch: Batch, around: &mut Around<'_>) {
        around.ask(Question::Append(batch.clone()));
        *self = Self::Writing(batch);
    }

    /// The store answered.
    pub fn answered(&mut self, answer: Answer, around: &mut Around<'_>) -> Option<Verdict> {
        match std::mem::take(self) {
            Self::Idle => None,
            Self::Writing(batch) => self.wrote(batch, answer, around),
            Self::AskingTails(batch) => self.told_tails(batch, answer, around),
            Self::Resolving(lost) => self.resolving(lost, answer, around),
        }
    }

    /// It has waited between two tries.
    pub fn again(&mut self, around: &mut Around<'_>) {
        match self {
            Self::Idle => {}
            Self::Writing(batch) => around.ask(Question::Append(batch.clone())),
            Self::AskingTails(batch) => around.ask(Question::Tails(shards(batch))),
            Self::Resolving(lost) => match lost.asking.first() {
                Some(shard) => lost.ask_author(*shard, around),
                None => around.ask(Question::TakeOver(lost.records())),
            },
        }
    }

    fn wrote(&mut self, batch: Batch, answer: Answer, around: &mut Around<'_>) -> Option<Verdict> {
        match answer {
            Answer::Done => Some(Verdict::Committed(batch)),
            Answer::KeyTaken => Some(Verdict::KeyTaken(shards(&batch))),
            Answer::Data => Some(Verdict::Data(shards(&batch))),
            Answer::PositionTaken(_) if around.plant == Some(Plant::ReinsertBlindly) => {
                self.reinsert(batch, around);
                None
            }
            Answer::PositionTaken(named) if named.is_empty() => {
                around.ask(Question::Tails(shards(&batch)));
                *self = Self::AskingTails(batch);
                None
            }
            Answer::PositionTaken(named) => Some(Verdict::Taken(shards(&batch), named)),
            Answer::Unknown if around.plant == Some(Plant::ReinsertBlindly) => {
                around.ask(Question::Wait);
                *self = Self::Writing(batch);
                None
            }
            Answer::Unknown => {
                self.resolve(batch, around);
                None
            }
            Answer::NotNow | Answer::Tails(_) | Answer::Author(_) => {
                around.ask(Question::Wait);
                *self = Self::Writing(batch);
                None
            }
        }
    }

    /// The planted bug: the same rows behind whatever stands there by now.
    fn reinsert(&mut self, mut batch: Batch, around: &mut Around<'_>) {
        for of in &mut batch.shards {
            let first = first_position(of);
            let shift = (around.store.tail(of.shard) + 1).saturating_sub(first);
            of.rows.iter_mut().for_each(|row| row.position += shift);
        }
        around.ask(Question::Append(batch.clone()));
        *self = Self::Writing(batch);
    }

    fn told_tails(
        &mut self,
        batch: Batch,
        answer: Answer,
        around: &mut Around<'_>,
    ) -> Option<Verdict> {
        let Answer::Tails(tails) = answer else {
            around.ask(Question::Wait);
            *self = Self::AskingTails(batch);
            return None;
        };
        let lost = batch
            .shards
            .iter()
            .zip(tails)
            .filter(|(of, tail)| first_position(of) - 1 != *tail)
            .map(|(of, _)| of.shard)
            .collect();
        Some(Verdict::Taken(shards(&batch), lost))
    }

    /// Nobody knows whether the batch was written: takeover records at its first positions decide it.
    fn resolve(&mut self, batch: Batch, around: &mut Around<'_>) {
        let id = around.fresh();
        let record = |of: &ShardBatch| {
            let record = Takeover {
                shard: of.shard,
                position: first_position(of),
                batch: id,
                node: around.node,
                life: around.life,
            };
            (of.shard, (of.epoch, record))
        };
        let open = batch.shards.iter().map(record).collect();
        let lost = Lost {
            batch,
            id,
            open,
            resolved: Vec::new(),
            asking: Vec::new(),
        };
        around.ask(Question::TakeOver(lost.records()));
        *self = Self::Resolving(Box::new(lost));
    }

    fn resolving(
        &mut self,
        mut lost: Box<Lost>,
        answer: Answer,
        around: &mut Around<'_>,
    ) -> Option<Verdict> {
        match (answer, lost.asking.first().copied()) {
            (Answer::Author(author), Some(shard)) => {
                lost.asking.remove(0);
                lost.told_author(shard, author);
                if let Some(next) = lost.asking.first() {
                    lost.ask_author(*next, around);
                } else if !lost.open.is_empty() {
                    around.ask(Question::Wait);
                }
            }
            (Answer::Done, None) => {
                for (shard, (_, record)) in std::mem::take(&mut lost.open) {
                    lost.resolved
                        .push((shard, Resolution::Retaken(record.position)));
                }
            }
            (Answer::PositionTaken(named), None) => {
                lost.asking = if named.is_empty() {
                    lost.open.keys().copied().collect()
                } else {
                    named
                };
                lost.asking.retain(|shard| lost.open.contains_key(shard));
                match lost.asking.first() {
                    Some(shard) => lost.ask_author(*shard, around),
                    None => around.ask(Question::Wait),
                }
            }
            _ => around.ask(Question::Wait),
        }
        if lost.open.is_empty() && lost.asking.is_empty() {
            let Lost {
                batch, resolved, ..
            } = *lost;
            return Some(Verdict::Resolved(batch, resolved));
        }
        *self = Self::Resolving(lost);
        None
    }
}

impl Lost {
    fn records(&self) -> Vec<Takeover> {
        self.open
            .values()
            .map(|(_, record)| record.clone())
            .collect()
    }

    fn ask_author(&self, shard: ShardId, around: &mut Around<'_>) {
        if let Some((_, record)) = self.open.get(&shard) {
            around.ask(Question::Author(shard, record.position));
        }
    }

    /// Whose row stands where the lost batch would begin.
    fn told_author(&mut self, shard: ShardId, author: Option<(u64, u64)>) {
        let (Some((by, batch)), Some((epoch, record))) = (author, self.open.get(&shard)) else {
            return;
        };
        let resolution = if batch == self.batch.id && by == *epoch {
            Resolution::Committed
        } else if batch == self.id {
            Resolution::Retaken(record.position)
        } else {
            Resolution::Lost
        };
        self.resolved.push((shard, resolution));
        self.open.remove(&shard);
    }
}

fn shards(batch: &Batch) -> Vec<ShardId> {
    batch.shards.iter().map(|of| of.shard).collect()
}

fn first_position(of: &ShardBatch) -> u64 {
    of.rows.first().map_or(1, |row| row.position)
}
