//! A saga and everything around it that matters: the participants' books, results still on their way, the time. It lists
//! what can happen next, and makes it happen on the core itself.
//!
//! Participants are assumed to keep their word: a rejection is without effect, and an attempt that ran did so within its
//! time. What they did is known here, and not to the saga.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amends_core::fact::{AttemptEnded, ChildOutcome, Fact, Parent, Started};
use amends_core::saga::decide::{Decision, start};
use amends_core::saga::{Due, DueChild, DueCommand, Phase, Saga, due};
use amends_core::shard::{ChildAnswer, ChildState, Signal, Surroundings};
use amends_core::{OperationKind, Outcome, Place, SagaId, ShardId, Time, Verdict};
use amends_definitions::{ActionName, Definition, DefinitionHash, Payload, Samples};

use crate::event::Event;

/// What does not change while a saga is explored.
#[derive(Debug)]
pub(crate) struct Stage {
    pub definition: Arc<Definition>,
    pub samples: Samples,
    /// Actions behind a barrier: all, or none.
    pub barrier: bool,
    /// The saga may be cancelled.
    pub cancel: bool,
}

impl Surroundings for Stage {
    fn stands_behind_barrier(&self, _namespace: &str, _action: &ActionName) -> bool {
        self.barrier
    }
}

/// What the participants know of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Book {
    /// The action had its effect.
    pub done: bool,
    /// The effect is undone.
    pub undone: bool,
}

/// Names an attempt of an action.
pub(crate) type Lost = (Place, u32, u32);

/// A saga and what is around it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub saga: Saga,
    pub now: Time,
    pub books: BTreeMap<Place, Book>,
    /// Attempts that were thought lost, whose results may still come: true if they had their effect.
    pub late: BTreeMap<Lost, bool>,
    pub cancelled: bool,
    /// Compensations that only time ends.
    pub slow: BTreeSet<Place>,
    /// Places whose effect the saga would have feared to be left behind, had the lost result arrived after it was undone.
    pub alarms: BTreeSet<Place>,
    /// Signals that came.
    pub signalled: BTreeSet<String>,
}

/// Attempts that a spent budget is tried with, at most.
const ATTEMPTS_TRIED_MAX: u32 = 10_000;

impl World {
    /// A saga that has just begun.
    pub fn begin(stage: &Stage, input: Payload) -> (Self, Vec<Fact>) {
        let now = Time::from_micros(BEGIN_MICROS);
        let definition = &stage.definition;
        let started = Started {
            namespace: "default".into(),
            definition: definition.name().into(),
            revision: 1,
            hash: definition.hash(),
            key: None,
            ordering_key: None,
            concurrency_max: None,
            parent: None,
            input,
            traceparent: None,
            tracestate: None,
        };
        let id = SagaId::new(now, ShardId(0), 1);
        let (saga, facts) = start(id, Arc::clone(definition), started, now, stage, true);
        let world = Self {
            saga,
            now,
            books: BTreeMap::new(),
            late: BTreeMap::new(),
            cancelled: false,
            slow: BTreeSet::new(),
            alarms: BTreeSet::new(),
            signalled: BTreeSet::new(),
        };
        (world, facts)
    }

    /// What should now be in flight.
    pub fn due(&self) -> Due {
        due(&self.saga, self.now)
    }

    /// The participants' book of a place.
    pub fn book(&self, place: Place) -> Book {
        self.books.get(&place).copied().unwrap_or_default()
    }

    /// What can happen next.
    pub fn events(&self, stage: &Stage) -> Vec<Event> {
        if self.saga.abort().is_some() {
            self.events_backward(stage)
        } else {
            self.events_forward(stage)
        }
    }

    fn events_forward(&self, stage: &Stage) -> Vec<Event> {
        let mut events = Vec::new();
        let due = self.due();
        for command in &due.commands {
            self.outcomes(stage, command, &mut events);
        }
        for child in &due.children {
            self.child_events(stage, child, &mut events);
        }
        events.extend(self.late.keys().map(late_event));
        if self.saga.terminal() {
            return events;
        }
        for (signal, payloads) in &stage.samples.signals {
            if self.signalled.contains(signal) {
                continue;
            }
            events.extend((0..payloads.len()).map(|variant| Event::SignalComes {
                signal: signal.clone(),
                variant,
            }));
        }
        let deadline = self.saga.deadline_at();
        let open = !self.saga.deadline_passed();
        if due.wake_at.is_some_and(|at| Some(at) != deadline || !open) {
            events.push(Event::TimePasses);
        }
        if deadline.is_some() && open {
            events.push(Event::DeadlinePasses);
        }
        if stage.cancel && !self.cancelled {
            events.push(Event::IsCancelled);
        }
        events
    }

    /// Once the saga is aborted, what becomes of one place does not depend on the others, but on those behind it. So one
    /// order stands for all: the first place that waits is looked at, the others later; a result that was lost arrives
    /// while what is behind its place is looked at, or in the end; and time passes when nothing else can happen.
    fn events_backward(&self, stage: &Stage) -> Vec<Event> {
        let mut events = Vec::new();
        let due = self.due();
        let mut waiting: Vec<&DueCommand> = due.commands.iter().chain(&due.awaited).collect();
        waiting.sort();
        let is_slow = |command: &&&DueCommand| {
            command.operation == OperationKind::Compensate && self.slow.contains(&command.place)
        };
        if let Some(first) = waiting.iter().find(|command| !is_slow(command)) {
            self.outcomes(stage, first, &mut events);
            if first.operation == OperationKind::Compensate {
                events.push(Event::TakesLong { place: first.place });
            }
            let ancestors = stage.definition.graph().ancestors(first.place.step);
            let undecided = self.late.keys().filter(|(place, _, _)| {
                ancestors.contains(&place.step)
                    && self.saga.place(*place).compensation_is_undecided()
            });
            events.extend(undecided.map(late_event));
            return events;
        }
        if let Some(child) = due.children.first() {
            self.child_events(stage, child, &mut events);
            return events;
        }
        let undecided = self
            .late
            .keys()
            .filter(|(place, _, _)| self.saga.place(*place).compensation_is_undecided());
        events.extend(undecided.map(late_event));
        if due.wake_at.is_some() && !self.saga.terminal() {
            events.push(Event::TimePasses);
        }
        events
    }

    fn outcomes(&self, stage: &Stage, command: &DueCommand, events: &mut Vec<Event>) {
        let DueCommand {
            place, operation, ..
        } = *command;
        let step = stage.definition.step(place.step);
        match operation {
            OperationKind::Forward => {
                let variants = stage.samples.outputs[place.step.index()].len();
                events.extend((0..variants).map(|variant| Event::Succeeds {
                    place,
                    operation,
                    variant,
                }));
                let mut codes: Vec<&str> = step
                    .on_error()
                    .iter()
                    .flat_map(|route| route.codes())
                    .map(String::as_str)
                    .filter(|code| !["FATAL", "EXHAUSTED"].contains(code))
                    .collect();
                codes.push(ANY_CODE);
                codes.sort_unstable();
                codes.dedup();
                events.extend(codes.into_iter().map(|code| Event::Rejects {
                    place,
                    operation,
                    code: code.to_owned(),
                }));
                events.push(Event::IsFatal { place, operation });
                if self.budget_ends(command) {
                    for effect in [false, true] {
                        events.push(Event::Fails {
                            place,
                            operation,
                            effect,
                        });
                        events.push(Event::IsUnknown {
                            place,
                            operation,
                            effect,
                        });
                    }
                }
            }
            OperationKind::Compensate => {
                let book = self.book(place);
                if book.done || !stage.barrier {
                    events.push(Event::Succeeds {
                        place,
                        operation,
                        variant: 0,
                    });
                }
                if !book.done {
                    events.push(Event::FindsNothing { place });
                }
                let code = ANY_CODE.to_owned();
                events.push(Event::Rejects {
                    place,
                    operation,
                    code,
                });
            }
            OperationKind::Query => {
                events.push(if self.book(place).done {
                    Event::Succeeds {
                        place,
                        operation,
                        variant: 0,
                    }
                } else {
                    Event::IsAbsent { place }
                });
                events.push(Event::Fails {
                    place,
                    operation,
                    effect: false,
                });
            }
        }
    }

    fn child_events(&self, stage: &Stage, child: &DueChild, events: &mut Vec<Event>) {
        match child {
            DueChild::Resolve(request) => {
                let place = request.requested.place;
                events.push(Event::ChildIsPinned { place });
                events.push(Event::ChildIsRefused { place });
            }
            DueChild::Ask(wish) => {
                let Some(step) = stage.definition.step_index(&wish.parent.step) else {
                    return;
                };
                let place = Place::item(step, wish.parent.item);
                if self.saga.operation(place, OperationKind::Forward).phase == Phase::ChildUnderWay
                {
                    let variants = stage.samples.outputs[step.index()].len();
                    events.extend(
                        (0..variants).map(|variant| Event::ChildCompletes { place, variant }),
                    );
                }
                events.push(Event::ChildIsUndone { place });
                events.push(Event::ChildIsGivenUp { place });
            }
        }
    }

    /// Its retries come to an end by themselves.
    pub fn budget_ends(&self, command: &DueCommand) -> bool {
        let step = self.saga.definition().step(command.place.step);
        let (retry, timeouts) = (step.retry(), step.timeouts());
        self.saga.abort().is_some()
            || (1..=ATTEMPTS_TRIED_MAX).contains(&retry.max_attempts)
            || retry.max_elapsed.is_some()
            || timeouts.total.is_some()
    }

    /// Makes something happen.
    pub fn apply(&mut self, stage: &Stage, event: &Event) -> Vec<Fact> {
        let facts = self.happens(stage, event);
        self.drop_undecided(stage);
        facts
    }

    /// A lost result that arrives once its place is being undone changes nothing; all that it can do is raise an alarm.
    fn drop_undecided(&mut self, stage: &Stage) {
        let decided: Vec<Lost> = self
            .late
            .keys()
            .filter(|(place, _, _)| {
                let status = self.saga.place(*place);
                self.saga.terminal()
                    || (status.compensation.is_over() && !status.compensation_is_undecided())
            })
            .copied()
            .collect();
        for lost in decided {
            let facts = self.clone().arrives_late(stage, lost);
            let alarm = |fact: &Fact| matches!(fact, Fact::LateResult { leak: true, .. });
            if facts.iter().any(alarm) {
                self.alarms.insert(lost.0);
            }
            self.late.remove(&lost);
        }
    }

    fn happens(&mut self, stage: &Stage, event: &Event) -> Vec<Fact> {
        self.alarms.clear();
        match event {
            Event::Succeeds {
                place,
                operation,
                variant,
            } => self.succeeds(stage, *place, *operation, *variant),
            Event::Rejects {
                place,
                operation,
                code,
            } => {
                let (code, message) = (code.clone(), "said no".to_owned());
                self.ends(
                    stage,
                    *place,
                    *operation,
                    Outcome::Rejected { code, message },
                )
            }
            Event::IsFatal { place, operation } => {
                let (code, message) = ("FATAL_HERE".to_owned(), "can never work".to_owned());
                self.ends(stage, *place, *operation, Outcome::Fatal { code, message })
            }
            Event::Fails {
                place,
                operation,
                effect,
            } => {
                self.books.entry(*place).or_default().done |= effect;
                self.spend(stage, *place, *operation, "FAILED")
            }
            Event::IsUnknown {
                place,
                operation,
                effect,
            } => {
                self.books.entry(*place).or_default().done |= effect;
                let facts = self.spend(stage, *place, *operation, "ATTEMPT_TIMEOUT");
                let forward = self.saga.operation(*place, *operation);
                self.late
                    .insert((*place, forward.round, forward.attempt), *effect);
                facts
            }
            Event::FindsNothing { place } => self.ends(
                stage,
                *place,
                OperationKind::Compensate,
                Outcome::NothingToUndo,
            ),
            Event::IsAbsent { place } => {
                self.ends(stage, *place, OperationKind::Query, Outcome::Absent)
            }
            Event::ArrivesLate {
                place,
                round,
                attempt,
            } => self.arrives_late(stage, (*place, *round, *attempt)),
            Event::ChildIsPinned { place } => {
                let state = ChildState::Pinned {
                    child: SagaId::child(
                        self.saga.id(),
                        stage.definition.step(place.step).id(),
                        place.item,
                        0,
                        ShardId(0),
                    ),
                    revision: 1,
                    hash: DefinitionHash([0; 32]),
                };
                self.child_says(stage, *place, state)
            }
            Event::ChildIsRefused { place } => {
                let outcome = ChildOutcome::Refused {
                    code: "DEFINITION_NOT_FOUND".into(),
                    message: "there is no such definition".into(),
                };
                self.child_says(stage, *place, ChildState::Ended(outcome))
            }
            Event::ChildCompletes { place, variant } => {
                self.books.entry(*place).or_default().done = true;
                let output = stage.samples.outputs[place.step.index()][*variant].clone();
                self.child_says(
                    stage,
                    *place,
                    ChildState::Ended(ChildOutcome::Completed { output }),
                )
            }
            Event::ChildIsUndone { place } => {
                let book = self.books.entry(*place).or_default();
                book.undone = book.done;
                let outcome = ChildOutcome::Compensated {
                    code: "CHILD_ABORTED".into(),
                    message: "it was undone".into(),
                };
                self.child_says(stage, *place, ChildState::Ended(outcome))
            }
            Event::ChildIsGivenUp { place } => {
                let message = "it was given up".to_owned();
                let outcome = ChildOutcome::Terminated { message };
                self.child_says(stage, *place, ChildState::Ended(outcome))
            }
            Event::SignalComes { signal, variant } => {
                self.signalled.insert(signal.clone());
                let payload = stage.samples.signals[signal][*variant].clone();
                self.signal(stage, signal, payload)
            }
            Event::TakesLong { place } => {
                self.slow.insert(*place);
                Vec::new()
            }
            Event::TimePasses => {
                if let Some(at) = self.due().wake_at {
                    self.now = self.now.max(at);
                }
                self.decide(stage, |decision| decision.wake())
            }
            Event::DeadlinePasses => {
                if let Some(at) = self.saga.deadline_at() {
                    self.now = self.now.max(at);
                }
                self.decide(stage, |decision| decision.wake())
            }
            Event::IsCancelled => {
                self.cancelled = true;
                self.decide(stage, |decision| {
                    // A refusal records nothing: the world goes on as it was.
                    let _ = decision.cancel("somebody", "a cancel at this point");
                })
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&mut self, stage: &Stage, id: &str, payload: Payload) -> Vec<Fact> {
        let signal = Signal {
            namespace: "default".into(),
            saga: self.saga.id(),
            signal: id.to_owned(),
            payload,
            by: "somebody".into(),
            dedupe_id: None,
        };
        self.decide(stage, |decision| {
            // As with a cancel: what is refused changes nothing.
            let _ = decision.signal(&signal);
        })
    }

    fn succeeds(
        &mut self,
        stage: &Stage,
        place: Place,
        operation: OperationKind,
        variant: usize,
    ) -> Vec<Fact> {
        let outputs = &stage.samples.outputs[place.step.index()];
        let output = match operation {
            OperationKind::Forward | OperationKind::Query => {
                self.books.entry(place).or_default().done = true;
                outputs[variant.min(outputs.len() - 1)].clone()
            }
            OperationKind::Compensate => {
                let book = self.books.entry(place).or_default();
                book.undone = book.done;
                Payload::null()
            }
        };
        self.ends(stage, place, operation, Outcome::Succeeded { output })
    }

    /// The attempt that is due comes to an outcome.
    pub fn ends(
        &mut self,
        stage: &Stage,
        place: Place,
        operation: OperationKind,
        outcome: Outcome,
    ) -> Vec<Fact> {
        let ended = self.attempt(stage, place, operation, outcome);
        self.decide(stage, |decision| {
            decision.outcome(ended);
        })
    }

    fn attempt(
        &self,
        stage: &Stage,
        place: Place,
        operation: OperationKind,
        outcome: Outcome,
    ) -> AttemptEnded {
        let known = self.saga.operation(place, operation);
        let definite = !matches!(outcome, Outcome::Failed { .. } | Outcome::Unknown { .. });
        let barrier = stage.barrier && definite && operation != OperationKind::Query;
        AttemptEnded {
            place,
            operation,
            round: known.round,
            attempt: known.attempt,
            outcome,
            verdict: barrier.then_some(Verdict::First),
            instance: None,
            sent_at: Some(self.now),
            retry_at: None,
        }
    }

    /// Attempt after attempt goes wrong, until there is none left.
    fn spend(
        &mut self,
        stage: &Stage,
        place: Place,
        operation: OperationKind,
        code: &str,
    ) -> Vec<Fact> {
        let mut facts = Vec::new();
        for _ in 0..ATTEMPTS_TRIED_MAX {
            let Phase::Scheduled { due_at } = self.saga.operation(place, operation).phase else {
                break;
            };
            self.now = self.now.max(due_at);
            let (code, message) = (code.to_owned(), "nobody knows".to_owned());
            let outcome = if code == "FAILED" {
                Outcome::Failed {
                    code,
                    message,
                    retry_after: None,
                }
            } else {
                Outcome::Unknown { code, message }
            };
            facts.extend(self.ends(stage, place, operation, outcome));
        }
        facts
    }

    fn arrives_late(&mut self, stage: &Stage, lost: Lost) -> Vec<Fact> {
        let Some(effect) = self.late.remove(&lost) else {
            return Vec::new();
        };
        let (place, round, attempt) = lost;
        let outcome = if effect {
            let output = stage.samples.outputs[place.step.index()][0].clone();
            Outcome::Succeeded { output }
        } else {
            Outcome::Rejected {
                code: ANY_CODE.into(),
                message: "said no, late".into(),
            }
        };
        let ended = AttemptEnded {
            round,
            attempt,
            ..self.attempt(stage, place, OperationKind::Forward, outcome)
        };
        self.decide(stage, |decision| {
            decision.outcome(ended);
        })
    }

    fn child_says(&mut self, stage: &Stage, place: Place, state: ChildState) -> Vec<Fact> {
        let round = self.saga.operation(place, OperationKind::Forward).round;
        let answer = ChildAnswer {
            parent: Parent {
                saga: self.saga.id(),
                step: stage.definition.step(place.step).id().into(),
                item: place.item,
                round,
                depth: 1,
            },
            state,
        };
        self.decide(stage, |decision| decision.child_answered(&answer))
    }

    /// Decides on the saga, and says what was recorded.
    pub fn decide(&mut self, stage: &Stage, decide: impl FnOnce(&mut Decision<'_>)) -> Vec<Fact> {
        self.now = self.now.max(self.saga.updated_at());
        let mut decision = Decision::new(&mut self.saga, self.now, stage);
        decide(&mut decision);
        decision.into_facts()
    }
}

fn late_event((place, round, attempt): &Lost) -> Event {
    Event::ArrivesLate {
        place: *place,
        round: *round,
        attempt: *attempt,
    }
}

/// A code that no definition names.
pub(crate) const ANY_CODE: &str = "REJECTED_HERE";
/// 2026-01-01: long before any made-up time, long after any real beginning.
const BEGIN_MICROS: i64 = 1_767_225_600_000_000;
