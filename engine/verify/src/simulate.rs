//! One way through a saga, as a script says: no participants, no server, the same machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amends_core::fact::Fact;
use amends_core::journal::JournalRow;
use amends_core::saga::{DueChild, DueCommand, Phase, Saga};
use amends_core::{OperationKind, Outcome, Place, Time};
use amends_definitions::{Definition, Payload, is_code};

use crate::event::Event;
use crate::explore::{Options, stage};
use crate::telling::fact_in_words;
use crate::words::Words;
use crate::world::{LOST_CODE, Stage, World};

/// What happens.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The start's input; made up without one.
    pub input: Option<Payload>,
    /// Steps' outputs, by step; made up without one.
    pub outputs: BTreeMap<String, Payload>,
    /// Steps that fail, by step; of a step under `foreach` also single items, as `step#2`, from 1.
    pub failures: BTreeMap<String, Failure>,
    /// Compensations that are refused, by step or item.
    pub stuck: BTreeSet<String>,
    /// Signals that come as soon as something waits for them.
    pub signals: BTreeMap<String, Payload>,
    /// After so many rows of the journal the server crashes, and recovers from them.
    pub crash_after: Option<usize>,
    /// After so many rows of the journal the saga is cancelled.
    pub cancel_after: Option<usize>,
    /// Every action stands behind a barrier.
    pub barrier: bool,
}

/// How a step fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its participant says no, with this code.
    Rejected(String),
    /// Every attempt fails; of a step that is retried without bound, the first three.
    Exhausted,
    /// Nobody hears of it again, and the same holds of its attempts; it had its effect, or it had not.
    Unknown {
        /// It had its effect.
        effect: bool,
    },
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The row of the journal, from 1; 0 for what is not in it, such as a crash.
    pub row: usize,
    /// When, on a made-up clock.
    pub at: Time,
    /// As in histories.
    pub kind: String,
    /// In words.
    pub text: String,
}

/// What became of it.
#[derive(Debug)]
pub struct Simulation {
    /// Every fact.
    pub lines: Vec<Line>,
    /// The saga in the end.
    pub saga: Saga,
    /// Why nothing more happens, if the saga has not ended.
    pub waits_for: Option<String>,
}

/// Plays a script.
///
/// # Errors
/// If the script names a step, an item or a signal that the definition does not have, rejects with what is no code, sends what a
/// signal's schema refuses, or lets something happen after more rows than there are.
pub fn simulate(definition: &Arc<Definition>, script: &Script) -> Result<Simulation, String> {
    check_names(definition, script)?;
    let options = Options {
        input: script.input.clone(),
        outputs: script.outputs.clone(),
        barrier: script.barrier,
        ..Options::default()
    };
    let stage = stage(definition, &options);
    let (world, facts) = World::begin(&stage, stage.samples.inputs[0].clone());
    let mut play = Play {
        words: Words::of(definition),
        stage: &stage,
        script,
        world,
        rows: Vec::new(),
        lines: Vec::new(),
        cancelled: false,
        crashed: false,
    };
    play.record(facts);
    let waits_for = play.run();
    check_items(definition, script, &play.world.saga)?;
    let rows = play.rows.len();
    for (what, wanted, came) in [
        ("crash", script.crash_after, play.crashed),
        ("cancel", script.cancel_after, play.cancelled),
    ] {
        if let Some(after) = wanted.filter(|_| !came) {
            return Err(format!(
                "there is no {what} after {after} rows: this way has {rows} rows"
            ));
        }
    }
    Ok(Simulation {
        lines: play.lines,
        saga: play.world.saga,
        waits_for,
    })
}

/// A script that goes on for longer goes round in circles.
const ROWS_MAX: usize = 10_000;
/// Attempts that fail of a step that is retried without bound.
const ENDLESS_FAILURES: u32 = 3;

fn check_names(definition: &Definition, script: &Script) -> Result<(), String> {
    let by_item = script.failures.keys().chain(&script.stuck);
    let by_item = by_item.map(|place| item_of(place).map_or(place.as_str(), |(step, _)| step));
    for step in by_item.chain(script.outputs.keys().map(String::as_str)) {
        if definition.step_index(step).is_none() {
            let ids: Vec<&str> = definition.steps().iter().map(|step| step.id()).collect();
            return Err(format!(
                "there is no step `{step}`: the steps are {}",
                ids.join(", ")
            ));
        }
    }
    for (place, failure) in &script.failures {
        if let Failure::Rejected(code) = failure
            && !is_code(code)
        {
            return Err(format!(
                "no participant rejects `{place}` with `{code}`: a code has upper-case letters, digits and `_`, and begins \
                 with a letter, such as OUT_OF_STOCK"
            ));
        }
    }
    for (signal, payload) in &script.signals {
        let Some(declared) = definition.signals().get(signal) else {
            return Err(format!("the definition declares no signal `{signal}`"));
        };
        let violations = declared
            .schema()
            .map_or(Ok(()), |schema| schema.check(payload));
        if let Err(violations) = violations {
            let said: Vec<String> = violations
                .iter()
                .map(|(pointer, message)| format!("at payload{pointer}: {message}"))
                .collect();
            return Err(format!(
                "the schema of signal `{signal}` refuses its payload: {}",
                said.join("; ")
            ));
        }
    }
    Ok(())
}

/// The step and the item of `step#2`; none if no item is named.
fn item_of(place: &str) -> Option<(&str, u32)> {
    let (step, item) = place.split_once('#')?;
    let item = item.parse().ok().filter(|item| *item > 0)?;
    Some((step, item))
}

/// An item that there never was could not fail.
fn check_items(definition: &Definition, script: &Script, saga: &Saga) -> Result<(), String> {
    for named in script.failures.keys().chain(&script.stuck) {
        let Some((step, item)) = item_of(named) else {
            continue;
        };
        let index = definition.step_index(step);
        if index.is_none_or(|index| !saga.has_place(Place::item(index, item))) {
            return Err(format!(
                "there is no `{named}`: on this way, `{step}` has no item {item}"
            ));
        }
    }
    Ok(())
}

struct Play<'a> {
    words: Words,
    stage: &'a Stage,
    script: &'a Script,
    world: World,
    rows: Vec<JournalRow>,
    lines: Vec<Line>,
    cancelled: bool,
    crashed: bool,
}

impl Play<'_> {
    /// Until nothing happens any more: then it says why, unless the saga has ended.
    fn run(&mut self) -> Option<String> {
        while self.rows.len() < ROWS_MAX {
            self.interrupt();
            if self.world.saga.terminal() {
                return None;
            }
            let due = self.world.due();
            let next = due.commands.iter().chain(&due.awaited).next().copied();
            let facts = if let Some(command) = next {
                self.answer(&command)
            } else if let Some(child) = due.children.first() {
                self.child(child)
            } else if let Some(facts) = self.signal() {
                facts
            } else if due.wake_at.is_some() {
                let facts = self.world.apply(self.stage, &Event::TimePasses);
                if facts.is_empty() && self.world.due().wake_at == due.wake_at {
                    return Some("nothing more happens by itself".to_owned());
                }
                facts
            } else {
                return Some(self.what_is_missing());
            };
            self.record(facts);
        }
        Some(format!("the script was stopped after {ROWS_MAX} rows"))
    }

    fn record(&mut self, facts: Vec<Fact>) {
        if facts.is_empty() {
            return;
        }
        let row = self.rows.len() + 1;
        for fact in &facts {
            self.lines.push(Line {
                row,
                at: self.world.now,
                kind: fact.kind().to_owned(),
                text: fact_in_words(&self.words, fact),
            });
        }
        self.rows.push(JournalRow {
            position: u64::try_from(row).unwrap_or(u64::MAX),
            saga: self.world.saga.id(),
            at: self.world.now,
            facts,
        });
    }

    /// The script's crash and cancel, when their time has come.
    fn interrupt(&mut self) {
        let rows = self.rows.len();
        if !self.crashed && self.script.crash_after.is_some_and(|after| rows >= after) {
            self.crashed = true;
            let definition = Arc::clone(&self.stage.definition);
            let text = match Saga::replay(self.world.saga.id(), definition, &self.rows) {
                Ok(saga) => {
                    self.world.saga = saga;
                    format!("the server crashes, and recovers from {rows} rows")
                }
                Err(error) => format!("the server crashes, and cannot recover: {error}"),
            };
            self.lines.push(Line {
                row: 0,
                at: self.world.now,
                kind: "crash".to_owned(),
                text,
            });
        }
        if !self.cancelled && self.script.cancel_after.is_some_and(|after| rows >= after) {
            self.cancelled = true;
            let facts = self.world.apply(self.stage, &Event::IsCancelled);
            if facts.is_empty() && !self.world.saga.terminal() {
                self.lines.push(Line {
                    row: 0,
                    at: self.world.now,
                    kind: "cancel".to_owned(),
                    text: "the cancel is refused: the saga can only go forward".to_owned(),
                });
            }
            self.record(facts);
        }
    }

    /// How a place fails: as its item does, or else its step.
    fn failure(&self, place: Place) -> Option<&Failure> {
        let failures = &self.script.failures;
        let whole = Place { item: 0, ..place };
        let of_item = failures.get(&self.words.step(place));
        of_item.or_else(|| failures.get(&self.words.step(whole)))
    }

    fn is_stuck(&self, place: Place) -> bool {
        let whole = Place { item: 0, ..place };
        let mut places = [place, whole].into_iter();
        places.any(|place| self.script.stuck.contains(&self.words.step(place)))
    }

    fn answer(&mut self, command: &DueCommand) -> Vec<Fact> {
        let DueCommand {
            place, operation, ..
        } = *command;
        let succeeds = Event::Succeeds {
            place,
            operation,
            variant: 0,
        };
        // What is retried without bound fails a few times: else nothing would ever come of it.
        let endless = operation == OperationKind::Forward
            && command.attempt > ENDLESS_FAILURES
            && !self.world.budget_ends(command);
        let failure = self.failure(place).cloned().filter(|_| !endless);
        let event = match (operation, failure) {
            (OperationKind::Forward, Some(Failure::Rejected(code))) => Event::Rejects {
                place,
                operation,
                code,
            },
            (OperationKind::Forward, Some(Failure::Exhausted)) => return self.fail_once(command),
            (OperationKind::Forward, Some(Failure::Unknown { effect })) => {
                self.world.books.entry(place).or_default().done |= effect;
                return self.lose_once(command);
            }
            (OperationKind::Forward, None) => succeeds,
            (OperationKind::Compensate, _) if self.is_stuck(place) => Event::Rejects {
                place,
                operation,
                code: "REFUSED".to_owned(),
            },
            (OperationKind::Compensate, _) if !self.world.book(place).done => {
                Event::FindsNothing { place }
            }
            (OperationKind::Query, _) if !self.world.book(place).done => Event::IsAbsent { place },
            (OperationKind::Compensate | OperationKind::Query, _) => succeeds,
        };
        self.world.apply(self.stage, &event)
    }

    fn fail_once(&mut self, command: &DueCommand) -> Vec<Fact> {
        let outcome = Outcome::Failed {
            code: "FAILED".to_owned(),
            message: "as the script says".to_owned(),
            retry_after: None,
        };
        self.world
            .ends(self.stage, command.place, command.operation, outcome)
    }

    fn lose_once(&mut self, command: &DueCommand) -> Vec<Fact> {
        let attempt = self
            .stage
            .definition
            .step(command.place.step)
            .timeouts()
            .attempt;
        self.world.now = self.world.now + attempt;
        let outcome = Outcome::Unknown {
            code: LOST_CODE.to_owned(),
            message: "no result within the attempt's time".to_owned(),
        };
        self.world
            .ends(self.stage, command.place, command.operation, outcome)
    }

    fn child(&mut self, child: &DueChild) -> Vec<Fact> {
        let event = match child {
            DueChild::Resolve(request) => Event::ChildIsPinned {
                place: request.requested.place,
            },
            DueChild::Ask(wish) => {
                let Some(step) = self.stage.definition.step_index(&wish.parent.step) else {
                    return Vec::new();
                };
                let place = Place::item(step, wish.parent.item);
                let forward = self.world.saga.operation(place, OperationKind::Forward);
                let fails = self.failure(place).cloned();
                match (forward.phase == Phase::ChildUnderWay, fails) {
                    (true, None) => Event::ChildCompletes { place, variant: 0 },
                    (true, Some(Failure::Rejected(code))) => {
                        return self.world.child_is_undone(self.stage, place, &code);
                    }
                    (true, Some(Failure::Exhausted | Failure::Unknown { .. })) | (false, _) => {
                        Event::ChildIsUndone { place }
                    }
                }
            }
        };
        self.world.apply(self.stage, &event)
    }

    /// The first signal that something waits for, if the script has it.
    fn signal(&mut self) -> Option<Vec<Fact>> {
        let waits = self.world.saga.places().find(|place| {
            let forward = self.world.saga.operation(*place, OperationKind::Forward);
            matches!(forward.phase, Phase::Awaiting { .. })
        })?;
        let amends_definitions::Work::Wait(wait) = self.stage.definition.step(waits.step).work()
        else {
            return None;
        };
        let payload = self.script.signals.get(wait.signal())?.clone();
        let facts = self.world.signal(self.stage, wait.signal(), payload);
        (!facts.is_empty()).then_some(facts)
    }

    fn what_is_missing(&self) -> String {
        let saga = &self.world.saga;
        if let Some(open) = saga.incidents().first() {
            return format!("it is parked: {}", open.incident.reason.as_str());
        }
        let waits = saga.places().find(|place| {
            matches!(
                saga.operation(*place, OperationKind::Forward).phase,
                Phase::Awaiting { .. }
            )
        });
        match waits {
            Some(place) => format!("`{}` waits for its signal", self.words.step(place)),
            None => "nothing more happens by itself".to_owned(),
        }
    }
}
