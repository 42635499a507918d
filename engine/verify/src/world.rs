//! A saga and everything around it that matters: the participants' books, results still on their way, the time. It lists
//! what can happen next, and makes it happen on the core itself.
//!
//! Participants are assumed to keep their word: a rejection is without effect, and an attempt that ran did so within its
//! time. What they did is known here, and not to the saga.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amends_core::fact::{Fact, Started};
use amends_core::saga::decide::start;
use amends_core::saga::{Due, DueChild, DueCommand, Phase, Saga, due};
use amends_core::shard::Surroundings;
use amends_core::{OperationKind, Place, SagaId, ShardId, Time};
use amends_definitions::{ActionName, Definition, Payload, Samples};

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
    /// The input, an answer or a signal lacks what is read of it: one of them, never two.
    pub lacks: bool,
}

/// Attempts that a spent budget is tried with, at most.
pub(crate) const ATTEMPTS_TRIED_MAX: u32 = 10_000;

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
            lacks: false,
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
        events.extend(self.late_events());
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
            let lacks = stage.samples.lacking.signals[signal].iter();
            let lacks = lacks.filter(|_| !self.lacks);
            events.extend(lacks.map(|lack| Event::SignalLacks {
                signal: signal.clone(),
                field: lack.field.clone(),
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

    /// The lost results that may come now. While another attempt is under way, a success alone: a late "no" with that one in
    /// doubt is much like a "no" of that one with this one in doubt.
    fn late_events(&self) -> impl Iterator<Item = Event> {
        let comes = |((place, _, _), effect): &(&Lost, &bool)| {
            let forward = &self.saga.place(*place).forward;
            **effect || !matches!(forward.phase, Phase::Scheduled { .. })
        };
        let late = self.late.iter().filter(comes);
        late.map(|(lost, _)| late_event(lost))
    }

    fn outcomes(&self, stage: &Stage, command: &DueCommand, events: &mut Vec<Event>) {
        match command.operation {
            OperationKind::Forward => self.forward_outcomes(stage, command, events),
            OperationKind::Compensate => self.compensation_outcomes(stage, command, events),
            OperationKind::Query => self.query_outcomes(command, events),
        }
    }

    fn forward_outcomes(&self, stage: &Stage, command: &DueCommand, events: &mut Vec<Event>) {
        let (place, operation) = (command.place, command.operation);
        let variants = stage.samples.outputs[place.step.index()].len();
        events.extend((0..variants).map(|variant| Event::Succeeds {
            place,
            operation,
            variant,
        }));
        self.answers_that_lack(stage, place, events);
        // Behind a barrier, what had its effect answers as it did then.
        if !(stage.barrier && self.book(place).done) {
            let codes = rejection_codes(stage, place).into_iter();
            events.extend(codes.map(|code| Event::Rejects {
                place,
                operation,
                code,
            }));
            events.push(Event::IsFatal { place, operation });
        }
        events.push(Event::IsUnusable { place });
        if self.may_be_lost_once(stage, place) {
            events.extend([false, true].map(|effect| Event::IsLostOnce { place, effect }));
        }
        // What was lost once and is never heard of again is much like what is lost until the budget is spent.
        let again = self.saga.place(place).forward.unclear.len() > 1;
        if again || !self.budget_ends(command) {
            return;
        }
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

    /// An action may be tried again, and nothing that the saga did so far is in doubt: so at one place at a time, and once.
    fn may_be_lost_once(&self, stage: &Stage, place: Place) -> bool {
        let retry = stage.definition.step(place.step).retry();
        let ends = |code: &String| code == LOST_CODE;
        let retries = retry.max_attempts != 1 && !retry.non_retryable.iter().any(ends);
        let in_doubt = |place: Place| {
            let forward = &self.saga.place(place).forward;
            let under_way = matches!(forward.phase, Phase::Scheduled { .. });
            !forward.effect && forward.unclear.len() > usize::from(under_way)
        };
        retries && self.saga.abort().is_none() && !self.saga.places().any(in_doubt)
    }

    fn compensation_outcomes(&self, stage: &Stage, command: &DueCommand, events: &mut Vec<Event>) {
        let (place, operation) = (command.place, command.operation);
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
        events.push(Event::Rejects {
            place,
            operation,
            code: ANY_CODE.to_owned(),
        });
    }

    fn query_outcomes(&self, command: &DueCommand, events: &mut Vec<Event>) {
        let (place, operation) = (command.place, command.operation);
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
                    self.answers_that_lack(stage, place, events);
                }
                events.push(Event::ChildIsUndone { place });
                events.push(Event::ChildIsGivenUp { place });
            }
        }
    }

    /// The place's answer may lack what is read of it, if nothing else does: one at a time.
    fn answers_that_lack(&self, stage: &Stage, place: Place, events: &mut Vec<Event>) {
        if self.lacks {
            return;
        }
        let lacks = stage.samples.lacking.outputs[place.step.index()].iter();
        events.extend(lacks.map(|lack| Event::Lacks {
            place,
            field: lack.field.clone(),
        }));
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
}

/// What a participant may reject an action with: the codes that routes and expressions tell apart, and one that none names.
fn rejection_codes(stage: &Stage, place: Place) -> BTreeSet<String> {
    let routes = stage.definition.step(place.step).on_error();
    let routed = routes.iter().flat_map(|route| route.codes());
    let mut codes: BTreeSet<String> = routed
        .filter(|code| !["FATAL", "EXHAUSTED"].contains(&code.as_str()))
        .cloned()
        .collect();
    let reads = &stage.samples.failures;
    if let Some(own) = reads.steps.get(place.step.index()) {
        codes.extend(own.codes.iter().cloned());
    }
    codes.extend(reads.reasons.iter().cloned());
    codes.insert(ANY_CODE.to_owned());
    codes
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
/// What the engine calls an attempt of which nothing is heard.
pub(crate) const LOST_CODE: &str = "ATTEMPT_TIMEOUT";
/// 2026-01-01: long before any made-up time, long after any real beginning.
const BEGIN_MICROS: i64 = 1_767_225_600_000_000;
