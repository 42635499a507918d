//! The world around a shard, with every fault that it has to survive: participants with books, a network that delays,
//! repeats and loses, clients, crashes, batches that are lost. What must hold is judged by the books, not by the engine.
//!
//! Participants come in two kinds. Those of `p` stand behind a barrier. Those of `bare` do not: they carry out whatever
//! reaches them, in whatever order, and say yes again to what they did before - or no, if their own work is in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use amends_core::shard::{Command, Input, Report};
use amends_core::{OperationKind, Outcome, SagaId, Time, Verdict};
use amends_definitions::{Compensation, Definition};

use crate::pump::{Attempt, Pump, attempt_of, failed, rejected, succeeded};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An index below a length that is not 0.
    pub fn index(&mut self, length: usize) -> usize {
        let bound = u64::try_from(length).expect("few");
        usize::try_from(self.below(bound)).expect("few")
    }

    fn pick<T>(&mut self, items: &[T]) -> Option<usize> {
        let count = u64::try_from(items.len()).expect("few");
        (count > 0).then(|| usize::try_from(self.below(count)).expect("few"))
    }
}

/// The longest that a command is under way if the network keeps its bounds: the attempts' time.
pub const ATTEMPT: Duration = Duration::from_secs(10);

type Step = (SagaId, String);

/// The participants' books.
#[derive(Default)]
pub struct Books {
    /// Behind the barrier: what each operation came to.
    barrier: BTreeMap<String, Outcome>,
    /// Without one: the operations that were carried out, and the attempts that were refused.
    done: BTreeSet<(String, u32)>,
    refused: BTreeSet<(String, u32)>,
    /// Each step's effect.
    pub effects: BTreeMap<Step, i32>,
    /// Effects that were reported as errors, and never again as what they are.
    pub hidden: BTreeSet<Step>,
    /// Compensations that were refused.
    pub refused_compensations: BTreeSet<Step>,
}

impl Books {
    fn run(&mut self, command: &Command, random: &mut Random, faults: bool) -> Answer {
        let step = (command.key.saga, command.key.step.to_string());
        let compensates = command.key.operation == OperationKind::Compensate;
        if compensates && faults && random.chance(3) {
            self.refused_compensations.insert(step);
            return (rejected("CANNOT"), None);
        }
        if command.action.as_str().starts_with("bare.") {
            self.run_bare(command, step, random, faults)
        } else {
            self.run_behind_barrier(command, step, random, faults)
        }
    }

    fn run_behind_barrier(
        &mut self,
        command: &Command,
        step: Step,
        random: &mut Random,
        faults: bool,
    ) -> Answer {
        let key = command.key.to_string();
        if let Some(recorded) = self.barrier.get(&key) {
            let verdict = match recorded {
                Outcome::Superseded => Verdict::Superseded,
                _ => Verdict::Duplicate,
            };
            return (recorded.clone(), Some(verdict));
        }
        if faults && random.chance(15) {
            return (failed(), None);
        }
        let (outcome, verdict) = match &command.forward_key {
            Some(forward) => {
                let forward = forward.to_string();
                let done = matches!(self.barrier.get(&forward), Some(Outcome::Succeeded { .. }));
                self.barrier.entry(forward).or_insert(Outcome::Superseded);
                if done {
                    *self.effects.entry(step).or_default() -= 1;
                    (succeeded(), Verdict::First)
                } else {
                    (Outcome::NothingToUndo, Verdict::NothingToUndo)
                }
            }
            None if faults && !step.1.starts_with('r') && random.chance(12) => {
                (rejected("NO"), Verdict::First)
            }
            None => {
                *self.effects.entry(step).or_default() += 1;
                (succeeded(), Verdict::First)
            }
        };
        self.barrier.insert(key, outcome.clone());
        (outcome, Some(verdict))
    }

    fn run_bare(
        &mut self,
        command: &Command,
        step: Step,
        random: &mut Random,
        faults: bool,
    ) -> Answer {
        let key = command.key.to_string();
        let attempt = (key.clone(), command.attempt);
        if self.refused.contains(&attempt) {
            return (rejected("NO"), None);
        }
        let forward = command.forward_key.is_none();
        // The same attempt again is told from another; else its refusal would say nothing about itself.
        let repeated = self.done.contains(&attempt);
        let again = self
            .done
            .range((key.clone(), 0)..=(key, u32::MAX))
            .next()
            .is_some();
        let chance = if again { 30 } else { 10 };
        if forward && faults && !repeated && !step.1.starts_with('r') && random.chance(chance) {
            self.refused.insert(attempt);
            return (rejected("NO"), None);
        }
        if faults && random.chance(8) {
            return (failed(), None);
        }
        let effect = self.effects.entry(step.clone()).or_default();
        if forward && !again {
            *effect += 1;
        } else if !forward && *effect > 0 {
            *effect -= 1;
        }
        self.done.insert(attempt);
        if faults && random.chance(8) {
            // It dies behind its own commit.
            self.hidden.insert(step);
            return (failed(), None);
        }
        (succeeded(), None)
    }
}

type Answer = (Outcome, Option<Verdict>);

/// A command on its way to a participant.
struct Parcel {
    command: Command,
    sent_at: Time,
}

pub struct World {
    pub pump: Pump,
    pub books: Books,
    pub random: Random,
    pub definition: Arc<Definition>,
    /// The network keeps its bounds: no command is carried out later than an attempt's time after its sending.
    pub bounded: bool,
    pub crashes: u32,
    network: Vec<Parcel>,
    /// Answers that did not get through yet.
    results: Vec<(Command, Answer)>,
    /// Answers that are not acknowledged: participants keep them, and say them again after a crash.
    unacknowledged: BTreeMap<u64, (Command, Answer)>,
    sent: BTreeSet<Attempt>,
    /// Those that this owner's streams carry.
    streamed: BTreeSet<Attempt>,
    /// Steps with an attempt that never came to a definite end.
    pub vague: BTreeSet<Step>,
    /// Tokens that wait for an answer.
    pub waiting: BTreeSet<u64>,
    /// Starts with a key, by token.
    pub keyed: BTreeMap<u64, String>,
}

impl World {
    pub fn new(definition: Arc<Definition>, random: Random, bounded: bool) -> Self {
        Self {
            pump: Pump::new(),
            books: Books::default(),
            random,
            definition,
            bounded,
            crashes: 0,
            network: Vec::new(),
            results: Vec::new(),
            unacknowledged: BTreeMap::new(),
            sent: BTreeSet::new(),
            streamed: BTreeSet::new(),
            vague: BTreeSet::new(),
            waiting: BTreeSet::new(),
            keyed: BTreeMap::new(),
        }
    }

    /// One thing happens; perhaps the shard decides before the next.
    pub fn turn(&mut self) {
        self.take_back();
        match self.random.below(100) {
            0..28 => self.send(),
            28..52 => self.carry_out(true),
            52..62 => self.redeliver(),
            62..72 => {
                let time = Duration::from_millis(self.random.below(15_000));
                self.pass(time);
            }
            72..76 => self.crash(),
            76..79 => self.cancel(),
            79..86 => self.lose_batch(),
            86..93 => self.start(),
            93..96 => self.lose_stream(),
            _ => {}
        }
        if self.random.chance(50) {
            self.pump.run();
        }
        self.forget_answered();
    }

    /// A client starts a saga, perhaps with a key that has one, perhaps after a look-up that is stale.
    pub fn start(&mut self) {
        if self.pump.states.len() >= 5 {
            return;
        }
        let key = self
            .random
            .chance(60)
            .then(|| format!("k{}", self.random.below(2)));
        let stale = self.random.chance(50);
        let hash = key
            .as_ref()
            .map(|key| amends_core::key::hash_128(key.as_bytes()));
        let existing = hash
            .filter(|_| !stale)
            .and_then(|hash| self.pump.keys.get(&hash).copied());
        let definition = Arc::clone(&self.definition);
        let (token, _) = self
            .pump
            .offer_start(&definition, "{}", key.as_deref(), existing);
        self.waiting.insert(token);
        if let Some(key) = key {
            self.keyed.insert(token, key);
        }
    }

    fn send(&mut self) {
        let Some(at) = self.random.pick(&self.pump.commands) else {
            return;
        };
        let command = self.pump.commands.remove(at);
        let attempt = attempt_of(&command);
        self.check_order(&command);
        self.sent.insert(attempt.clone());
        self.streamed.insert(attempt.clone());
        self.pump
            .shard
            .handle(Input::Sent { attempt }, self.pump.now);
        let copies = if self.random.chance(15) { 2 } else { 1 };
        for _ in 0..copies {
            self.network.push(Parcel {
                command: command.clone(),
                sent_at: self.pump.now,
            });
        }
    }

    /// I18, I20, judged by what was sent and by the books.
    fn check_order(&self, command: &Command) {
        let (saga, step) = (command.key.saga, command.key.step.to_string());
        if command.key.operation == OperationKind::Forward {
            return;
        }
        let left = self.sent.iter().any(|sent| {
            sent.saga == saga
                && *sent.name.step == *step
                && sent.name.operation == OperationKind::Forward
        });
        assert!(
            left || self.crashes > 0,
            "{step} is compensated and was never sent (I18)\n{}",
            self.story(saga)
        );
        let index = self.definition.step_index(&step).expect("it exists");
        for later in self.definition.graph().descendants(index) {
            let later = self.definition.step(*later);
            let undoable = matches!(later.compensation(), Compensation::Call(_));
            let bare = later
                .action()
                .is_some_and(|action| action.as_str().starts_with("bare."));
            let effect = self.effect(saga, later.id());
            let sure = undoable && (self.bounded || !bare);
            assert!(
                !sure || effect == 0,
                "{step} is compensated before {} (I20)\n{}",
                later.id(),
                self.story(saga)
            );
        }
    }

    fn carry_out(&mut self, faults: bool) {
        let Some(at) = self.random.pick(&self.network) else {
            return;
        };
        let Parcel { command, .. } = self.network.swap_remove(at);
        if faults && self.random.chance(15) {
            return self.lost(&command);
        }
        let answer = self.books.run(&command, &mut self.random, faults);
        if matches!(answer.0, Outcome::Failed { .. }) {
            self.lost(&command);
        }
        if faults && self.random.chance(25) {
            self.results.push((command, answer));
        } else {
            if faults && self.random.chance(15) {
                self.results.push((command.clone(), answer.clone()));
            }
            self.answer(&command, answer);
        }
    }

    fn lost(&mut self, command: &Command) {
        self.vague
            .insert((command.key.saga, command.key.step.to_string()));
    }

    fn answer(&mut self, command: &Command, answer: Answer) {
        let (outcome, verdict) = answer.clone();
        // The dispatcher sends nothing whose result is there.
        let attempt = attempt_of(command);
        self.pump
            .commands
            .retain(|queued| attempt_of(queued) != attempt);
        let token = self.pump.offer_reply(command, outcome, verdict);
        self.waiting.insert(token);
        self.unacknowledged.insert(token, (command.clone(), answer));
    }

    fn redeliver(&mut self) {
        if let Some(at) = self.random.pick(&self.results) {
            let (command, answer) = self.results.swap_remove(at);
            self.answer(&command, answer);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.expire(self.pump.now + time);
        self.pump.pass(time);
    }

    /// What would be carried out too late is not, if the network keeps its bounds.
    fn expire(&mut self, now: Time) {
        if self.bounded {
            let (alive, late): (Vec<_>, Vec<_>) = std::mem::take(&mut self.network)
                .into_iter()
                .partition(|parcel| parcel.sent_at + ATTEMPT > now);
            self.network = alive;
            for parcel in late {
                self.lost(&parcel.command);
            }
        }
    }

    /// The node dies, perhaps with a batch in flight that landed or did not. Time goes on until another takes over.
    fn crash(&mut self) {
        if self.random.chance(50)
            && let Some(batch) =
                self.pump
                    .shard
                    .prepare(self.pump.now, self.pump.limits, &self.pump.barrier)
        {
            self.pump.let_out();
            let taken = |hash| self.pump.keys.contains_key(hash);
            if self.random.chance(50) && !batch.keys.iter().any(|key| taken(&key.key_hash)) {
                self.pump.store(&batch);
            }
        }
        self.forget_answered();
        self.waiting.clear();
        let kept = std::mem::take(&mut self.unacknowledged);
        self.results.extend(kept.into_values());
        self.streamed.clear();
        self.crashes += 1;
        self.pump.now = self.pump.now + Duration::from_millis(1 + self.random.below(20_000));
        self.expire(self.pump.now);
        self.pump.crash();
    }

    fn cancel(&mut self) {
        let sagas: Vec<_> = self.pump.states.keys().copied().collect();
        if let Some(at) = self.random.pick(&sagas) {
            let token = self.pump.offer_cancel(sagas[at]);
            self.waiting.insert(token);
        }
    }

    /// A batch is not written: refused, or lost and a takeover record in its place. Nothing of it may have left.
    fn lose_batch(&mut self) {
        let Some(batch) =
            self.pump
                .shard
                .prepare(self.pump.now, self.pump.limits, &self.pump.barrier)
        else {
            return;
        };
        self.pump.let_out();
        let retaken = self.random.chance(50).then(|| batch.rows[0].position);
        self.pump.shard.rolled_back(retaken);
        self.pump.look_up();
    }

    /// The server says that a participant's stream was lost.
    fn lose_stream(&mut self) {
        let sent: Vec<_> = self.streamed.iter().cloned().collect();
        let Some(at) = self.random.pick(&sent) else {
            return;
        };
        self.streamed.remove(&sent[at]);
        let attempt = sent[at].clone();
        self.vague
            .insert((attempt.saga, attempt.name.step.to_string()));
        let report = Report {
            namespace: "default".into(),
            attempt,
            epoch: None,
            outcome: Outcome::Unknown {
                code: "STREAM_LOST".into(),
                message: "lost".into(),
            },
            verdict: None,
            instance: None,
            serves: [].into(),
        };
        let outcome = Input::Outcome {
            token: None,
            report,
        };
        self.pump.shard.handle(outcome, self.pump.now);
    }

    /// The dispatcher obeys: what is still queued is dropped, and never sent.
    fn take_back(&mut self) {
        for withdrawn in std::mem::take(&mut self.pump.withdrawals) {
            let queued = self
                .pump
                .commands
                .iter()
                .position(|command| attempt_of(command) == withdrawn);
            if let Some(at) = queued {
                self.pump.commands.remove(at);
                let input = Input::Withdrawn { attempt: withdrawn };
                self.pump.shard.handle(input, self.pump.now);
            }
        }
    }

    /// Faults off: everything must come to rest, and every answer gets through.
    pub fn settle(&mut self) {
        for _ in 0..300 {
            self.pump.run();
            self.take_back();
            self.pump.run();
            while !self.pump.commands.is_empty() {
                self.send();
            }
            while !self.network.is_empty() {
                self.carry_out(false);
            }
            while !self.results.is_empty() {
                self.redeliver();
            }
            self.pump.run();
            let ended = self.pump.states.values().all(|state| state.is_terminal());
            if ended && self.pump.commands.is_empty() {
                break;
            }
            self.pass(Duration::from_secs(30));
        }
        self.forget_answered();
    }

    fn forget_answered(&mut self) {
        let pump = &self.pump;
        self.unacknowledged
            .retain(|token, _| !pump.acknowledged.contains_key(token));
        self.waiting.retain(|token| {
            !pump.started.contains_key(token)
                && !pump.acknowledged.contains_key(token)
                && !pump.cancelled.contains_key(token)
        });
    }

    pub fn effect(&self, saga: SagaId, step: &str) -> i32 {
        let effect = self.books.effects.get(&(saga, step.to_owned()));
        effect.copied().unwrap_or(0)
    }

    pub fn story(&self, saga: SagaId) -> String {
        format!("{saga}\n{}", self.pump.facts(saga).join("\n"))
    }
}
