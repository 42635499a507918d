//! Each step of a graph in turn goes wrong, and what has to come of it follows from the graph: which actions run, which of
//! them are undone, and in which order. Of a chain it is one list, and is compared as one.

use std::collections::BTreeSet;

use amends_core::SagaId;
use amends_definitions::Definition;

use crate::case::{Behaviour, Case, Crashes, Does, Run};
use crate::participants::AGAIN;
use crate::play::{once_each, play};
use crate::stage::{CrashAt, Stage, Strikes};

/// Every way that the file lists, at every step; how many runs that were.
pub fn judge(case: &Case) -> Result<usize, String> {
    let definition = &case.definitions[0];
    let mut runs = 0;
    for way in &case.every_step {
        let (does, deliveries) = match way.strip_suffix(", twice") {
            Some(does) => (does, 2),
            None => (way.as_str(), 1),
        };
        for step in definition.steps() {
            let action = step.action().expect("every step calls").as_str();
            let run = Run {
                name: format!("{action} {way}"),
                end: "compensated".to_owned(),
                crashes: Crashes::Same,
                deliveries,
                participants: vec![Behaviour {
                    action: action.to_owned(),
                    item: None,
                    round: None,
                    attempts: None,
                    does: Does::read(does),
                }],
                ..Run::default()
            };
            runs += one(case, definition, step.id(), &run)?;
        }
    }
    Ok(runs)
}

fn one(case: &Case, definition: &Definition, failing: &str, run: &Run) -> Result<usize, String> {
    let straight = play(case, run, None);
    let mut crashes: Vec<_> = vec![None];
    // A command that comes twice is what a crash leads to anyway.
    let rows = if run.deliveries == 1 {
        straight.rows
    } else {
        0
    };
    for row in 1..=rows {
        crashes.extend(Strikes::ALL.map(|strikes| Some(CrashAt { row, strikes })));
    }
    for crash_at in &crashes {
        let stage = play(case, run, *crash_at);
        follows(definition, failing, run, &stage).map_err(|found| {
            format!(
                "{}, {}, {crash_at:?}: {found}\ncalls:\n{}\nhistory:\n{}",
                case.name,
                run.name,
                stage.participants.calls.join("\n"),
                stage.history.join("\n")
            )
        })?;
    }
    Ok(crashes.len())
}

/// The steps that a step waits for, at any distance.
fn before(definition: &Definition, step: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut open = vec![step.to_owned()];
    while let Some(next) = open.pop() {
        let at = definition.step_index(&next).expect("a step");
        for need in definition.graph().needs(at) {
            let id = definition.step(*need).id().to_owned();
            if all.insert(id.clone()) {
                open.push(id);
            }
        }
    }
    all
}

/// Whether what happened follows from a graph.
pub fn follows(
    definition: &Definition,
    failing: &str,
    run: &Run,
    stage: &Stage,
) -> Result<(), String> {
    let root: SagaId = stage.root();
    let state = stage.folded(root).state();
    if state.as_str() != run.end {
        return Err(format!("it is {}", state.as_str()));
    }
    if stage.participants.ledger() != 0 || !stage.participants.left_of(root).is_empty() {
        return Err(format!("left {:?}", stage.participants.left_of(root)));
    }
    let calls = once_each(&stage.participants.calls);
    let name = |call: &String| call.split([' ', '#']).next().unwrap_or("").to_owned();
    let done: Vec<String> = calls
        .iter()
        .filter(|call| call.starts_with("do."))
        .map(name)
        .collect();
    let undone: Vec<String> = calls
        .iter()
        .filter(|call| call.starts_with("undo."))
        .map(name)
        .collect();
    let turn = calls.iter().position(|call| call.starts_with("undo."));
    let last = calls.iter().rposition(|call| call.starts_with("do."));
    if turn.zip(last).is_some_and(|(turn, last)| last > turn) {
        return Err("an action ran after the first compensation".to_owned());
    }
    for step in definition.steps() {
        let ancestors = before(definition, step.id());
        let ran = done.contains(&format!("do.{}", step.id()));
        let undo = format!("undo.{}", step.id());
        let times = undone.iter().filter(|call| **call == undo).count();
        if ancestors.contains(failing) && ran {
            return Err(format!("{} ran behind the step that failed", step.id()));
        }
        if before(definition, failing).contains(step.id()) && !ran {
            return Err(format!("{} did not run", step.id()));
        }
        // A rejection has no effect; a failure may have had one, so that it is asked to be undone.
        let owed = ran && (step.id() != failing || !rejects(run));
        // What was on its way when everything crashed may have had an effect: its barrier says that it had none.
        let lost = stage.crashed && !ran && times == 1;
        if times != usize::from(owed) && !lost {
            return Err(format!("{undo} was called {times} times"));
        }
        let at = |call: &str| undone.iter().position(|undone| undone == call);
        for ancestor in &ancestors {
            let earlier = at(&format!("undo.{ancestor}"));
            if let Some((own, earlier)) = at(&undo).zip(earlier)
                && earlier < own
            {
                return Err(format!("{ancestor} was undone before {}", step.id()));
            }
        }
    }
    if run.deliveries > 1 && !stage.crashed {
        let again = stage
            .participants
            .calls
            .iter()
            .filter(|call| call.ends_with(AGAIN));
        let first = calls
            .iter()
            .filter(|call| !call.contains("-> fail"))
            .count();
        if again.count() != first {
            return Err("not every command came twice".to_owned());
        }
    }
    chain(definition, failing, run, &calls)
}

fn rejects(run: &Run) -> bool {
    matches!(run.participants[0].does, Does::Reject(_))
}

/// T1 … Tj, Cj … C1, to the letter.
fn chain(
    definition: &Definition,
    failing: &str,
    run: &Run,
    calls: &[String],
) -> Result<(), String> {
    let steps: Vec<&str> = definition.steps().iter().map(|step| step.id()).collect();
    let is_chain = definition
        .step_indices()
        .all(|step| before(definition, definition.step(step).id()).len() == step.index());
    if !is_chain {
        return Ok(());
    }
    let at = steps
        .iter()
        .position(|step| *step == failing)
        .expect("one of them");
    let mut wanted: Vec<String> = steps[..at]
        .iter()
        .map(|step| format!("do.{step}"))
        .collect();
    match &run.participants[0].does {
        Does::Reject(code) => wanted.push(format!("do.{failing} -> rejected {code}")),
        _ => {
            wanted.push(format!("do.{failing} -> failed BROKEN"));
            wanted.push(format!("undo.{failing} -> nothing_to_undo"));
        }
    }
    wanted.extend(steps[..at].iter().rev().map(|step| format!("undo.{step}")));
    if calls == wanted {
        return Ok(());
    }
    Err(format!("of a chain it should be\n{}", wanted.join("\n")))
}
