//! Participants and their books. Some stand behind a barrier, as `sdk/rust/src/barrier/flow.rs` builds it; others carry out
//! whatever reaches them, in whatever order, and say yes again to what they did before - or no, if their own work is in the
//! way. Deliberately not here: the network between them and the nodes (`network`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amends_core::id::AttemptName;
use amends_core::shard::Command;
use amends_core::{OperationKey, OperationKind, Outcome, SagaId, Verdict};
use amends_definitions::Payload;

use crate::dice::Dice;
use crate::history::Effect;
use crate::marks::{Mark, Marks};
use crate::plan::PeopleFaults;
use crate::plant::Plant;

/// What a participant says of an attempt.
#[derive(Clone, Debug)]
pub struct Told {
    pub key: std::sync::Arc<OperationKey>,
    pub attempt: u32,
    /// Of the command that it answers.
    pub epoch: u64,
    pub action: amends_definitions::ActionName,
    pub outcome: Outcome,
    pub verdict: Option<Verdict>,
}

/// One service: its books outlive its process.
#[derive(Debug)]
pub struct Participant {
    pub barrier: bool,
    pub up: bool,
    /// Its process; what an earlier one had in hand is gone.
    pub life: u32,
    pub books: Books,
    /// The newest epoch seen of each saga.
    pub epochs: BTreeMap<SagaId, u64>,
    /// What it has in hand, and from which node.
    pub running: BTreeMap<AttemptName, usize>,
    /// Results that no node has acknowledged yet.
    pub unacknowledged: BTreeMap<AttemptName, Told>,
    /// Its stream with each node.
    pub streams: BTreeMap<usize, Stream>,
    /// Commands of one node that it has in hand at once, at most.
    room: usize,
}

/// A participant's end of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub session: u64,
    /// Commands that the node may still send on it.
    granted: usize,
}

impl Participant {
    pub fn new(barrier: bool, room: usize) -> Self {
        Self {
            barrier,
            room,
            up: true,
            life: 0,
            books: Books::default(),
            epochs: BTreeMap::new(),
            running: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            streams: BTreeMap::new(),
        }
    }

    /// The process ends; the books stay.
    pub fn die(&mut self) {
        self.life += 1;
        self.up = false;
        self.epochs.clear();
        self.running.clear();
        self.unacknowledged.clear();
        self.streams.clear();
    }

    /// Everything that a new stream has to know of.
    pub fn in_hand(&self) -> BTreeSet<AttemptName> {
        let kept = self.unacknowledged.keys();
        self.running.keys().chain(kept).cloned().collect()
    }

    pub fn session(&self, node: usize) -> Option<u64> {
        self.streams.get(&node).map(|stream| stream.session)
    }

    /// A stream begins, and this is its first credit: one at least, as the wire wants it.
    pub fn attached(&mut self, node: usize, session: u64) -> usize {
        let granted = 0;
        self.streams.insert(node, Stream { session, granted });
        let due = self.credit_due(node);
        due.unwrap_or_else(|| {
            let granted = 1;
            self.streams.insert(node, Stream { session, granted });
            granted
        })
    }

    /// Room that a node does not know of yet.
    pub fn credit_due(&mut self, node: usize) -> Option<usize> {
        let running = self.running.values().filter(|from| **from == node).count();
        let stream = self.streams.get_mut(&node)?;
        let due = self.room.checked_sub(running + stream.granted);
        let due = due.filter(|due| *due > 0)?;
        stream.granted += due;
        Some(due)
    }

    /// A command arrived on the stream with a node.
    pub fn spend(&mut self, node: usize) {
        if let Some(stream) = self.streams.get_mut(&node) {
            stream.granted = stream.granted.saturating_sub(1);
        }
    }
}

/// What a participant's database has.
#[derive(Debug, Default)]
pub struct Books {
    barrier: BTreeMap<OperationKey, Row>,
    /// Without a barrier: operations that were carried out, and attempts that were refused.
    done: BTreeSet<(OperationKey, u32)>,
    refused: BTreeSet<(OperationKey, u32)>,
    /// Operations of which somebody was told that they had no effect.
    closed: BTreeSet<OperationKey>,
    /// Each place's effect.
    effects: BTreeMap<(SagaId, String, u32), i32>,
}

/// A row of the barrier's table.
#[derive(Clone, Debug)]
struct Row {
    state: State,
    attempt: u32,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Succeeded,
    Rejected,
    Fatal,
    NothingToUndo,
    Tombstone,
    Undone,
}

/// What became of a command.
#[derive(Debug)]
pub struct Ran {
    pub outcome: Outcome,
    pub verdict: Option<Verdict>,
    pub effect: Effect,
}

/// What a participant's own chance depends on.
pub struct Mood<'a> {
    pub dice: &'a mut Dice,
    pub faults: &'a PeopleFaults,
    pub marks: &'a mut Marks,
    pub plant: Option<Plant>,
    /// Of a thousand failures, so many have words that the store refuses.
    pub poison: u64,
}

impl Ran {
    /// The handler was still at work when the attempt's time was over, and was dropped, as the SDK does it.
    pub fn dropped() -> Self {
        let message = "the handler ran on behind its deadline and was dropped";
        ran(failed("DEADLINE_EXCEEDED", message, None), None)
    }
}

/// Of one saga in sixteen nobody can say what became of anything.
fn nobody_knows(saga: SagaId) -> bool {
    saga.as_uuid().as_bytes()[15].is_multiple_of(16)
}

impl Books {
    /// Carries a command out, in one transaction.
    pub fn run(&mut self, command: &Command, barrier: bool, mood: &mut Mood<'_>) -> Ran {
        if command.key.operation == OperationKind::Query {
            return self.query(command, mood);
        }
        match (barrier, &command.forward_key) {
            (true, None) => self.forward(command, mood),
            (true, Some(forward)) => self.compensate(command, forward, mood),
            (false, _) => self.bare(command, mood),
        }
    }

    pub fn effect(&self, saga: SagaId, step: &str, item: u32) -> i32 {
        let effect = self.effects.get(&(saga, step.to_owned(), item));
        effect.copied().unwrap_or(0)
    }

    fn forward(&mut self, command: &Command, mood: &mut Mood<'_>) -> Ran {
        if let Some(row) = self.barrier.get(&command.key) {
            match row.state {
                State::Fatal if row.attempt < command.attempt => {}
                State::Tombstone | State::Undone => {
                    mood.marks.hit(Mark::BarrierSuperseded);
                    mood.marks.hit(Mark::LateAfterCompensation);
                    return ran(Outcome::Superseded, Some(Verdict::Superseded));
                }
                _ => {
                    mood.marks.hit(Mark::BarrierDuplicate);
                    let outcome = row.outcome.clone().unwrap_or(Outcome::Superseded);
                    return ran(outcome, Some(Verdict::Duplicate));
                }
            }
        }
        let outcome = mood.forward(command);
        let state = match &outcome {
            Outcome::Rejected { .. } => State::Rejected,
            Outcome::Fatal { .. } => State::Fatal,
            Outcome::Failed { .. } => return ran(outcome, None),
            _ => State::Succeeded,
        };
        self.write(&command.key, state, command.attempt, Some(outcome.clone()));
        let effect = if state == State::Succeeded {
            self.change(&command.key, 1);
            Effect::Done
        } else {
            Effect::None
        };
        Ran {
            outcome,
            verdict: Some(Verdict::First),
            effect,
        }
    }

    fn compensate(
        &mut self,
        command: &Command,
        forward: &OperationKey,
        mood: &mut Mood<'_>,
    ) -> Ran {
        if let Some(row) = self.barrier.get(&command.key) {
            let again = matches!(row.state, State::Rejected | State::Fatal);
            if !(again && row.attempt < command.attempt) {
                mood.marks.hit(Mark::BarrierDuplicate);
                let outcome = row.outcome.clone().unwrap_or(Outcome::NothingToUndo);
                return ran(outcome, Some(Verdict::Duplicate));
            }
        }
        let done = match self.barrier.get(forward).map(|row| row.state) {
            Some(State::Succeeded) => true,
            Some(State::Rejected | State::Tombstone | State::Undone | State::NothingToUndo) => {
                false
            }
            Some(State::Fatal) | None => {
                if mood.plant != Some(Plant::ForgetTombstone) {
                    self.write(forward, State::Tombstone, command.attempt, None);
                }
                false
            }
        };
        if !done {
            mood.marks.hit(Mark::BarrierNothingToUndo);
            let outcome = Outcome::NothingToUndo;
            self.write(
                &command.key,
                State::NothingToUndo,
                command.attempt,
                Some(outcome.clone()),
            );
            return ran(outcome, Some(Verdict::NothingToUndo));
        }
        let outcome = mood.compensation(command);
        match &outcome {
            Outcome::Failed { .. } => return ran(outcome, None),
            Outcome::Rejected { .. } => {
                self.write(
                    &command.key,
                    State::Rejected,
                    command.attempt,
                    Some(outcome.clone()),
                );
                return ran(outcome, Some(Verdict::First));
            }
            _ => {}
        }
        self.write(forward, State::Undone, command.attempt, None);
        self.write(
            &command.key,
            State::Succeeded,
            command.attempt,
            Some(outcome.clone()),
        );
        self.change(&command.key, -1);
        Ran {
            outcome,
            verdict: Some(Verdict::First),
            effect: Effect::Undone,
        }
    }

    /// Did the action have its effect? Who says "no" must not do it afterwards.
    fn query(&mut self, command: &Command, mood: &mut Mood<'_>) -> Ran {
        let Some(forward) = &command.forward_key else {
            return ran(failed("BROKEN", "a query of nothing", None), None);
        };
        if mood.dice.chance(mood.faults.fail) || nobody_knows(command.key.saga) {
            return ran(mood.failed(), None);
        }
        let range = (forward.clone(), 0)..=(forward.clone(), u32::MAX);
        if self.done.range(range).next().is_some() {
            mood.marks.hit(Mark::QueryPresent);
            return ran(succeeded(2), None);
        }
        mood.marks.hit(Mark::QueryAbsent);
        self.closed.insert(forward.clone());
        ran(Outcome::Absent, None)
    }

    /// Without a barrier: an operation is done once, and undone when there is something to undo; nothing orders the two.
    fn bare(&mut self, command: &Command, mood: &mut Mood<'_>) -> Ran {
        let attempt = (command.key.clone(), command.attempt);
        if self.closed.contains(&command.key) {
            return ran(rejected("CLOSED"), None);
        }
        if self.refused.contains(&attempt) {
            return ran(rejected("NO"), None);
        }
        let forward = command.forward_key.is_none();
        let range = (command.key.clone(), 0)..=(command.key.clone(), u32::MAX);
        let again = self.done.range(range).next().is_some();
        // The same attempt again is told from another: else its refusal would say nothing about itself.
        let outcome = match (self.done.contains(&attempt), forward) {
            (true, _) => succeeded(1),
            (false, true) => mood.forward(command),
            (false, false) => mood.compensation(command),
        };
        match &outcome {
            Outcome::Rejected { .. } | Outcome::Fatal { .. } => {
                self.refused.insert(attempt);
                return ran(outcome, None);
            }
            Outcome::Failed { .. } => return ran(outcome, None),
            _ => {}
        }
        let undone = self.effect(command.key.saga, &command.key.step, command.key.item) == 0;
        mood.marks
            .hit_if(forward && again && undone, Mark::LateAfterCompensation);
        self.done.insert(attempt);
        let effect = if forward && !again {
            self.change(&command.key, 1);
            Effect::Done
        } else if !forward && !undone {
            self.change(&command.key, -1);
            Effect::Undone
        } else {
            Effect::None
        };
        Ran {
            outcome,
            verdict: None,
            effect,
        }
    }

    fn write(&mut self, key: &OperationKey, state: State, attempt: u32, outcome: Option<Outcome>) {
        let row = Row {
            state,
            attempt,
            outcome,
        };
        self.barrier.insert(key.clone(), row);
    }

    fn change(&mut self, key: &OperationKey, by: i32) {
        let place = (key.saga, key.step.to_string(), key.item);
        *self.effects.entry(place).or_default() += by;
    }
}

impl Mood<'_> {
    /// What an action comes to, by chance.
    fn forward(&mut self, command: &Command) -> Outcome {
        let retriable = command.key.step.starts_with('r');
        if !retriable && self.dice.chance(self.faults.reject) {
            self.marks.hit(Mark::Rejected);
            let code = ["NO", "NO_STOCK", "DECLINED"];
            return rejected(self.dice.pick(&code).expect("three"));
        }
        // A step that can only go forward is refused seldom: it parks for good.
        if self.dice.chance(if retriable {
            self.faults.fatal / 10
        } else {
            self.faults.fatal
        }) {
            self.marks.hit(Mark::Fatal);
            return Outcome::Fatal {
                code: "NO_SUCH_THING".into(),
                message: "it can never work".into(),
            };
        }
        if self.dice.chance(self.faults.fail) {
            return self.failed();
        }
        if self.dice.chance(if retriable {
            self.faults.unusable / 10
        } else {
            self.faults.unusable
        }) {
            self.marks.hit(Mark::Unusable);
            return Outcome::Unusable {
                code: "OUTPUT_INVALID".into(),
                message: "it is not JSON".into(),
            };
        }
        succeeded(self.dice.below(10))
    }

    fn compensation(&mut self, command: &Command) -> Outcome {
        debug_assert_eq!(command.key.operation, OperationKind::Compensate);
        if self.dice.chance(self.faults.refuse_compensation) {
            return rejected("CANNOT");
        }
        if self.dice.chance(self.faults.fail) {
            return self.failed();
        }
        succeeded(0)
    }

    fn failed(&mut self) -> Outcome {
        self.marks.hit(Mark::Failed);
        if self.dice.chance(self.poison) {
            return failed("BROKEN", crate::world::POISON, None);
        }
        if self.dice.chance(100) {
            return failed("NEVER", "not in this life", None);
        }
        let wait = self.dice.chance(150).then(|| self.dice.millis(100, 40_000));
        self.marks.hit_if(wait.is_some(), Mark::AskedToWait);
        failed("BROKEN", "it broke", wait)
    }
}

fn ran(outcome: Outcome, verdict: Option<Verdict>) -> Ran {
    Ran {
        outcome,
        verdict,
        effect: Effect::None,
    }
}

/// A success that says a number.
pub fn succeeded(number: u64) -> Outcome {
    let output = Payload::trusted(
        format!("{{\"count\":{number},\"ok\":true}}")
            .into_bytes()
            .into(),
    );
    Outcome::Succeeded { output }
}

fn rejected(code: &str) -> Outcome {
    Outcome::Rejected {
        code: code.into(),
        message: "no".into(),
    }
}

fn failed(code: &str, message: &str, retry_after: Option<Duration>) -> Outcome {
    Outcome::Failed {
        code: code.into(),
        message: message.into(),
        retry_after,
    }
}
