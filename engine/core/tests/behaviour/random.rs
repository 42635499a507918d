//! Random sagas against a random world. One seed, one history.
//!
//! The participants' books tell what must hold at the end: a completed saga has the effect of every step that was not
//! skipped, a compensated one of none; what is left of an action that came too late, where no barrier stops it, is said
//! aloud. Who parks has a reason that the world knows of. Every input was answered once.
//!
//! `AMENDS_SEED=… cargo test -p amends-core --test behaviour random` replays one seed.

use std::collections::BTreeMap;

use amends_core::SagaId;
use amends_core::fact::{Fact, IncidentReason};
use amends_core::journal::SagaState;
use amends_core::saga::Phase;
use amends_definitions::Compensation;

use crate::pump::definition;
use crate::world::{Random, World};

/// Seeds of one run; what it takes is bounded by the time that a change may wait for it.
const SEEDS: u64 = 1_500;

/// A definition with 1 to 6 compensatable steps of any shape, perhaps a pivot, perhaps retriable steps behind it.
fn generate(random: &mut Random) -> String {
    let mut yaml = String::from(
        "apiVersion: amends/v1\nname: random\n\
         defaults: {retry: {initialInterval: 1s, maxAttempts: 3}, timeout: 10s}\nsteps:\n",
    );
    let compensatable = 1 + random.below(6);
    for step in 0..compensatable {
        let needs: Vec<_> = (0..step)
            .filter(|_| random.chance(40))
            .map(|need| format!("c{need}"))
            .collect();
        let participant = if random.chance(40) { "bare" } else { "p" };
        let extra = match random.below(10) {
            0 => ", when: \"false\"",
            1 => ", timeout: {attempt: 10s, schedule: 7s}",
            2 => ", timeout: {attempt: 10s, total: 25s}",
            3 => ", input: {x: \"${{ input.missing }}\"}",
            _ => "",
        };
        let undo = if random.chance(15) {
            "{none: reads}".to_owned()
        } else {
            format!("{{call: {participant}.undo{step}}}")
        };
        yaml += &format!(
            "  - {{id: c{step}, needs: [{}], call: {participant}.c{step}{extra}, compensate: {undo}}}\n",
            needs.join(", ")
        );
    }
    let all: Vec<_> = (0..compensatable).map(|step| format!("c{step}")).collect();
    if random.chance(60) {
        let participant = if random.chance(50) { "bare" } else { "p" };
        let extra = match random.below(6) {
            0 => ", timeout: {attempt: 10s, schedule: 7s}",
            1 => ", when: \"false\"",
            _ => "",
        };
        yaml += &format!(
            "  - {{id: pivot, needs: [{}], kind: pivot, call: {participant}.pivot{extra}}}\n",
            all.join(", ")
        );
        for step in 0..random.below(3) {
            yaml +=
                &format!("  - {{id: r{step}, needs: [pivot], kind: retriable, call: p.r{step}}}\n");
        }
    }
    yaml
}

/// Who has not ended must have a reason that lies in the world.
fn check_parked(world: &World, saga: SagaId, context: &str) {
    let folded = world.pump.folded(saga);
    let mut stopped = false;
    for open in folded.incidents() {
        let id = open
            .incident
            .place
            .map(|place| world.definition.step(place.step).id());
        let step = (saga, id.unwrap_or_default().to_owned());
        match open.incident.reason {
            IncidentReason::PivotInDoubt => {
                stopped = true;
                assert!(
                    world.vague.contains(&step) || world.crashes > 0,
                    "every attempt of the pivot came to a definite end\n{context}"
                );
            }
            IncidentReason::CompensationRefused => {
                stopped = true;
                assert!(
                    world.books.refused_compensations.contains(&step),
                    "nobody refused it\n{context}"
                );
            }
            IncidentReason::PossibleLeakedEffect => {}
            other => panic!("{other:?} has no cause\n{context}"),
        }
    }
    assert!(stopped, "{:?} for no reason\n{context}", folded.state());
}

fn check_effects(world: &World, saga: SagaId, state: SagaState, context: &str) {
    let folded = world.pump.folded(saga);
    for (step, status) in world.definition.steps().iter().zip(folded.steps().iter()) {
        let effect = world.effect(saga, step.id());
        let skipped = status.itself.forward.phase == Phase::Skipped;
        let reads = matches!(step.compensation(), Compensation::None { .. });
        let bare = step
            .action()
            .is_some_and(|action| action.as_str().starts_with("bare."));
        let said = folded.incidents().iter().any(|open| {
            open.incident.reason == IncidentReason::PossibleLeakedEffect
                && open
                    .incident
                    .place
                    .is_some_and(|at| world.definition.step(at.step).id() == step.id())
        });
        let hidden = world.books.hidden.contains(&(saga, step.id().to_owned()));
        let fine = match state {
            SagaState::Completed => effect == i32::from(!skipped),
            SagaState::Compensated if reads => (0..=1).contains(&effect),
            SagaState::Compensated => effect == 0 || (bare && !world.bounded && (said || hidden)),
            _ => (0..=1).contains(&effect),
        };
        assert!(fine, "{} has effect {effect}\n{context}", step.id());
    }
}

/// I1: nothing but late results and their incidents follows an end. I12: one success for an operation.
fn check_history(world: &World, saga: SagaId, context: &str) {
    let rows = world.pump.journal.iter().filter(|row| row.saga == saga);
    let mut ended = false;
    let mut successes = BTreeMap::new();
    for fact in rows.flat_map(|row| &row.facts) {
        let audit = matches!(fact, Fact::LateResult { .. } | Fact::IncidentOpened(_));
        assert!(
            !ended || audit,
            "{} follows the end\n{context}",
            fact.kind()
        );
        ended |= matches!(fact, Fact::Completed { .. } | Fact::Compensated);
        if let Fact::AttemptEnded(attempt) = fact
            && attempt.outcome == crate::pump::succeeded()
        {
            let count = successes
                .entry((attempt.place, attempt.operation))
                .or_insert(0);
            *count += 1;
            assert_eq!(*count, 1, "two successes\n{context}");
        }
    }
}

/// I4 to I6: who was told of a saga has it, and a key has one.
fn check_starts(world: &World) {
    let mut of_key = BTreeMap::new();
    for (token, answer) in &world.pump.started {
        let answer = answer.as_ref().expect("no start is refused here");
        assert!(
            world.pump.states.contains_key(&answer.saga),
            "a start that was answered is lost"
        );
        if let Some(key) = world.keyed.get(token) {
            let first = of_key.entry(key).or_insert(answer.saga);
            assert_eq!(*first, answer.saga, "{key} has two sagas");
        }
    }
}

fn run(seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let yaml = generate(&mut random);
    let bounded = random.chance(60);
    let turns = random.below(120);
    let mut world = World::new(definition(&yaml), random, bounded);
    world.start();
    for _ in 0..turns {
        world.turn();
    }
    world.settle();
    assert!(
        world.waiting.is_empty(),
        "seed {seed}: {:?} were never answered",
        world.waiting
    );
    check_starts(&world);
    let mut histories = Vec::new();
    for (saga, state) in &world.pump.states {
        let context = format!(
            "seed {seed}, bounded: {bounded}\n{yaml}\n{}",
            world.story(*saga)
        );
        if !state.is_terminal() {
            check_parked(&world, *saga, &context);
        }
        check_effects(&world, *saga, *state, &context);
        check_history(&world, *saga, &context);
        histories.push(format!("{state:?}\n{context}"));
    }
    histories
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the seed of a test comes from outside"
)]
fn random_sagas_end_fully_done_or_fully_undone() {
    if let Ok(seed) = std::env::var("AMENDS_SEED") {
        println!(
            "{}",
            run(seed.parse().expect("a seed is a number")).join("\n")
        );
        return;
    }
    let mut ends = BTreeMap::new();
    for seed in 0..SEEDS {
        for history in run(seed) {
            let mut lines = history.lines();
            let end = lines.next().unwrap_or_default().to_owned();
            *ends.entry(end).or_insert(0) += 1;
            // I49: what the campaign is for has happened in it.
            for mark in lines {
                let mark = mark.split(' ').take(2).collect::<Vec<_>>().join(" ");
                if let Some(met) = MARKS.iter().find(|known| mark.starts_with(**known)) {
                    *ends.entry((*met).to_owned()).or_insert(0) += 1;
                }
            }
        }
    }
    for mark in ["Completed", "Compensated", "Parked"].iter().chain(&MARKS) {
        assert!(ends.contains_key(*mark), "{mark} was never met: {ends:?}");
    }
}

/// Beginnings of facts that every campaign has to meet.
const MARKS: [&str; 14] = [
    "skipped",
    "step_failed",
    "withdrawn",
    "settling",
    "unknown forward",
    "unknown compensate",
    "failed compensate",
    "rejected compensate",
    "nothing_to_undo compensate",
    "abort CANCELLED",
    "cancel_pending",
    "cancel_dropped",
    "late_result leak=true",
    "incident PIVOT_IN_DOUBT",
];

#[test]
fn one_seed_is_one_history() {
    assert_eq!(run(7), run(7));
}
