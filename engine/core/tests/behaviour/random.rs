//! Random sagas against random participants, crashes and lost batches. One seed, one history.
//!
//! The participants keep books behind a barrier, so that what must hold at the end can be counted: a completed saga has
//! the effect of every step that was not skipped, a compensated one of none.
//!
//! `AMENDS_SEED=… cargo test -p amends-core --test behaviour random` replays one seed.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_core::journal::SagaState;
use amends_core::shard::Command;
use amends_core::{OperationKind, Outcome, SagaId, Verdict};

use crate::pump::{Pump, definition, failed, rejected, succeeded};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A definition with 1 to 6 compensatable steps of any shape, perhaps a pivot, perhaps retriable steps behind it.
fn generate(random: &mut Random) -> String {
    let mut yaml = String::from(
        "apiVersion: amends/v1\nname: random\ndefaults: {retry: {initialInterval: 1s, maxAttempts: 3}, timeout: 10s}\nsteps:\n",
    );
    let compensatable = 1 + random.below(6);
    for step in 0..compensatable {
        let needs: Vec<_> = (0..step)
            .filter(|_| random.chance(40))
            .map(|need| format!("c{need}"))
            .collect();
        let when = if random.chance(15) {
            ", when: \"false\""
        } else {
            ""
        };
        let undo = if random.chance(15) {
            "{none: reads}".to_owned()
        } else {
            format!("{{call: p.undo{step}}}")
        };
        yaml += &format!(
            "  - {{id: c{step}, needs: [{}], call: p.c{step}{when}, compensate: {undo}}}\n",
            needs.join(", ")
        );
    }
    let all: Vec<_> = (0..compensatable).map(|step| format!("c{step}")).collect();
    if random.chance(60) {
        yaml += &format!(
            "  - {{id: pivot, needs: [{}], kind: pivot, call: p.pivot}}\n",
            all.join(", ")
        );
        for step in 0..random.below(3) {
            yaml +=
                &format!("  - {{id: r{step}, needs: [pivot], kind: retriable, call: p.r{step}}}\n");
        }
    }
    yaml
}

/// The participants' books, behind a barrier: what each operation came to, and each step's effect.
#[derive(Default)]
struct Books {
    barrier: BTreeMap<String, Outcome>,
    effects: BTreeMap<(SagaId, String), i32>,
}

impl Books {
    fn run(
        &mut self,
        command: &Command,
        random: &mut Random,
        faults: bool,
    ) -> (Outcome, Option<Verdict>) {
        let key = command.key.to_string();
        if let Some(recorded) = self.barrier.get(&key) {
            let verdict = if *recorded == Outcome::Superseded {
                Verdict::Superseded
            } else {
                Verdict::Duplicate
            };
            return (recorded.clone(), Some(verdict));
        }
        if faults && random.chance(15) {
            return (failed(), None);
        }
        let effect = (command.key.saga, command.key.step.clone());
        match (command.key.operation, &command.forward_key) {
            (OperationKind::Compensate, Some(forward)) => {
                let forward = forward.to_string();
                let had_effect =
                    matches!(self.barrier.get(&forward), Some(Outcome::Succeeded { .. }));
                self.barrier.entry(forward).or_insert(Outcome::Superseded);
                if had_effect {
                    *self.effects.entry(effect).or_default() -= 1;
                    self.record(key, succeeded())
                } else {
                    let (outcome, _) = self.record(key, Outcome::NothingToUndo);
                    (outcome, Some(Verdict::NothingToUndo))
                }
            }
            (OperationKind::Forward, _) | (OperationKind::Compensate, None) => {
                let refuses = faults && !command.key.step.starts_with('r') && random.chance(12);
                if refuses {
                    return self.record(key, rejected("NO"));
                }
                *self.effects.entry(effect).or_default() += 1;
                self.record(key, succeeded())
            }
        }
    }

    fn record(&mut self, key: String, outcome: Outcome) -> (Outcome, Option<Verdict>) {
        self.barrier.insert(key, outcome.clone());
        (outcome, Some(Verdict::First))
    }
}

/// One turn of the world.
fn turn(
    pump: &mut Pump,
    books: &mut Books,
    late: &mut Vec<(Command, Outcome, Option<Verdict>)>,
    random: &mut Random,
) {
    match random.below(100) {
        // A command is sent, and answered now, later, twice or never.
        0..60 if !pump.commands.is_empty() => {
            let at = usize::try_from(random.below(pump.commands.len() as u64)).expect("small");
            let command = pump.commands[at].clone();
            let step = command.key.step.clone();
            let first = pump.command(&step).clone();
            pump.send(&step);
            let (outcome, verdict) = books.run(&first, random, true);
            match random.below(10) {
                0 => late.push((first.clone(), outcome, verdict)),
                1 => {}
                2 => {
                    late.push((first.clone(), outcome.clone(), verdict));
                    pump.reply(&first, outcome, verdict);
                }
                _ => {
                    pump.reply(&first, outcome, verdict);
                }
            }
            pump.commands
                .retain(|out| out.key != first.key || out.attempt != first.attempt);
        }
        60..72 => {
            if let Some((command, outcome, verdict)) = late.pop() {
                pump.reply(&command, outcome, verdict);
            }
        }
        72..84 => pump.pass(Duration::from_millis(random.below(15_000))),
        84..88 => {
            pump.pass(Duration::from_millis(1));
            pump.crash();
        }
        88..92 => {
            if let Some(saga) = pump.states.keys().next().copied() {
                let _ = pump.cancel(saga);
            }
        }
        92..96 => {
            if let Some((_, step, operation, attempt)) = pump.withdrawals.first().cloned() {
                let queued = pump.commands.iter().any(|command| {
                    (
                        command.key.step.as_str(),
                        command.key.operation,
                        command.attempt,
                    ) == (&step, operation, attempt)
                });
                if queued {
                    pump.never_sent(&step);
                } else {
                    pump.withdrawals.remove(0);
                }
            }
        }
        _ => {
            // A batch is lost or refused, and decided again.
            if pump.shard.is_ready(pump.now)
                && pump
                    .shard
                    .prepare(pump.now, pump.limits, &pump.barrier)
                    .is_some()
            {
                pump.shard.rolled_back(None);
                for _ in pump.shard.starts_to_look_up() {}
            }
            pump.run();
        }
    }
}

/// Faults off: everything must come to rest.
fn settle(pump: &mut Pump, books: &mut Books, random: &mut Random) {
    for _ in 0..400 {
        while let Some(command) = pump.commands.first().cloned() {
            let step = command.key.step.clone();
            let command = pump.send(&step);
            let (outcome, verdict) = books.run(&command, random, false);
            pump.reply(&command, outcome, verdict);
        }
        if pump.states.values().all(|state| state.is_terminal()) {
            return;
        }
        pump.pass(Duration::from_secs(30));
    }
}

fn run(seed: u64) -> String {
    let mut random = Random(seed);
    let yaml = generate(&mut random);
    let definition = definition(&yaml);
    let mut pump = Pump::new();
    let mut books = Books::default();
    let mut late = Vec::new();
    let saga = pump.start(&definition, "{}");
    for _ in 0..random.below(60) {
        turn(&mut pump, &mut books, &mut late, &mut random);
    }
    settle(&mut pump, &mut books, &mut random);
    for (command, outcome, verdict) in late {
        pump.reply(&command, outcome, verdict);
    }
    let state = pump.state(saga);
    let context = format!("seed {seed}\n{yaml}\n{}", pump.facts(saga).join("\n"));
    let incidents: Vec<_> = pump
        .folded(saga)
        .incidents()
        .iter()
        .map(|open| open.incident.reason.as_str())
        .collect();
    // A pivot in doubt is the one thing that a person has to settle: nobody may guess.
    let excused = state == SagaState::Parked && incidents == ["PIVOT_IN_DOUBT"];
    assert!(
        state.is_terminal() || excused,
        "{state:?} {incidents:?}\n{context}"
    );
    for (index, step) in definition.steps().iter().enumerate() {
        let effect = books
            .effects
            .get(&(saga, step.id().to_owned()))
            .copied()
            .unwrap_or(0);
        let skipped =
            pump.folded(saga).steps()[index].forward.phase == amends_core::saga::Phase::Skipped;
        let undoable = matches!(
            step.compensation(),
            amends_definitions::Compensation::Call(_)
        );
        match state {
            SagaState::Completed => {
                assert_eq!(effect, i32::from(!skipped), "{} {context}", step.id())
            }
            SagaState::Compensated if undoable => assert_eq!(effect, 0, "{} {context}", step.id()),
            _ => assert!((0..=1).contains(&effect), "{} {context}", step.id()),
        }
    }
    format!("{state:?}\n{context}")
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the seed of a test comes from outside"
)]
fn random_sagas_end_fully_done_or_fully_undone() {
    if let Ok(seed) = std::env::var("AMENDS_SEED") {
        println!("{}", run(seed.parse().expect("a seed is a number")));
        return;
    }
    let mut ends = BTreeMap::new();
    for seed in 0..4_000 {
        let history = run(seed);
        let end = history.lines().next().unwrap_or_default().to_owned();
        *ends.entry(end).or_insert(0) += 1;
    }
    for end in ["Completed", "Compensated", "Parked"] {
        assert!(
            ends.contains_key(end),
            "the campaign met every end: {ends:?}"
        );
    }
}

#[test]
fn one_seed_is_one_history() {
    assert_eq!(run(7), run(7));
}
