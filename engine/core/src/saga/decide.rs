//! Facts from an input. Each public function here or beside takes what happened, and records what follows from it: all
//! facts that must become durable together. Going forward lives in `forward`, `items`, `waiting` and `children`, what
//! failed in `routes` and `queries`, undoing in `backward`, what comes too late in `late`, what persons do in `operating`.

use std::collections::VecDeque;
use std::sync::Arc;

use amends_definitions::{Definition, Payload, Schema, StepIndex, Work};

use crate::fact::{AbortReason, AttemptEnded, Fact, Incident, IncidentReason, Started};
use crate::id::{Place, SagaId};
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_FACTS_MAX};
use crate::outcome::{OperationKind, Outcome};
use crate::saga::evolve::{begin, evolve};
use crate::saga::place::Phase;
use crate::saga::state::Saga;
use crate::shard::io::{Acknowledged, CancelDisposition, CancelRefusal, Surroundings};
use crate::time::Time;

/// One decision in the making: what it records changes the state at once, so that what follows sees it.
pub struct Decision<'a> {
    pub(super) saga: &'a mut Saga,
    pub(super) now: Time,
    pub(super) surroundings: &'a dyn Surroundings,
    /// When the shard was taken over from whoever decided before; none if nobody did.
    pub(super) settles_from: Option<Time>,
    /// Steps that may be ready to begin, or to begin more items.
    pub(super) open: VecDeque<StepIndex>,
    /// Somebody works on them already.
    pub(super) advancing: bool,
    facts: Vec<Fact>,
}

/// Starts a saga: its state, and its first facts. One that needs its turn begins nothing before it is granted.
#[must_use]
pub fn start(
    id: SagaId,
    definition: Arc<Definition>,
    started: Started,
    now: Time,
    surroundings: &dyn Surroundings,
    turn_granted: bool,
) -> (Saga, Vec<Fact>) {
    let mut saga = begin(id, definition, started.clone(), now);
    let mut decision = Decision::new(&mut saga, now, surroundings);
    decision.facts.push(Fact::Started(started));
    if turn_granted && !decision.saga.turn_granted {
        decision.record(Fact::TurnGranted);
    }
    decision.advance_all();
    let facts = decision.into_facts();
    (saga, facts)
}

impl<'a> Decision<'a> {
    /// Begins a decision.
    pub fn new(saga: &'a mut Saga, now: Time, surroundings: &'a dyn Surroundings) -> Self {
        Self {
            saga,
            now,
            surroundings,
            settles_from: None,
            open: VecDeque::new(),
            advancing: false,
            facts: Vec::new(),
        }
    }

    /// Another process may have sent something of the saga until it was taken over at this time: no settle time of that
    /// counts from earlier, whatever that one's clock said.
    #[must_use]
    pub fn settling_from(self, settles_from: Option<Time>) -> Self {
        Self {
            settles_from,
            ..self
        }
    }

    /// What was recorded.
    #[must_use]
    pub fn into_facts(self) -> Vec<Fact> {
        self.facts
    }

    /// Its turn has come: it may begin.
    pub fn grant_turn(&mut self) {
        if !self.saga.turn_granted && self.saga.end.is_none() {
            self.record(Fact::TurnGranted);
            self.advance_all();
        }
    }

    /// An attempt came to an outcome.
    pub fn outcome(&mut self, mut ended: AttemptEnded) -> Acknowledged {
        let target = self.saga.operation(ended.place, ended.operation);
        if ended.attempt == 0 || ended.round > target.round {
            return Acknowledged::UnknownOperation;
        }
        if ended.round < target.round {
            return self.outcome_of_old_round(ended);
        }
        if ended.attempt > target.attempt || self.saga.runs_child(ended.place) {
            return Acknowledged::UnknownOperation;
        }
        // Asked before the action was tried again: that there was no effect then says nothing of the attempts since.
        if ended.outcome == Outcome::Absent && ended.attempt <= target.uncounted {
            return Acknowledged::Late;
        }
        let current = ended.attempt == target.attempt;
        let open = match target.phase {
            // An attempt that is not due yet was never sent: nobody can have its result.
            Phase::Scheduled { due_at } if current && !self.may_have_left(&ended, due_at) => {
                return Acknowledged::UnknownOperation;
            }
            Phase::Scheduled { .. } => true,
            Phase::Waiting
            | Phase::Listed
            | Phase::Settling { .. }
            | Phase::Awaiting { .. }
            | Phase::Sleeping { .. }
            | Phase::ChildRequested
            | Phase::ChildUnderWay
            | Phase::Succeeded
            | Phase::Continued
            | Phase::Unusable
            | Phase::Skipped
            | Phase::Refused
            | Phase::Unresolved
            | Phase::NothingToUndo
            | Phase::Parked => false,
        };
        ended.retry_at = None;
        let outcome = std::mem::replace(&mut ended.outcome, Outcome::Absent);
        ended.outcome = self.usable(&ended, fitting(ended.operation, outcome));
        match (open && self.saga.end.is_none(), ended.operation) {
            (true, OperationKind::Forward) => self.forward_outcome(ended, current),
            (true, OperationKind::Compensate) => self.compensation_outcome(ended, current),
            (true, OperationKind::Query) => self.query_outcome(ended, current),
            (false, _) => self.late_outcome(ended),
        }
    }

    /// A command turned out never to have been sent. What follows depends on why it was withdrawn.
    pub fn withdrawn(
        &mut self,
        place: Place,
        operation: OperationKind,
        round: u32,
        attempt: u32,
        code: &str,
    ) {
        let target = self.saga.operation(place, operation);
        if self.saga.end.is_some() || target.round != round {
            return;
        }
        let due = matches!(target.phase, Phase::Scheduled { due_at } if due_at <= self.now);
        let open = due && target.attempt == attempt;
        let in_doubt =
            target.is_in_doubt(attempt) && self.saga.place(place).compensation_is_undecided();
        let counts = match operation {
            OperationKind::Forward => open || in_doubt,
            // It is owed whether somebody takes it or not, and parks in the end.
            OperationKind::Compensate => false,
            OperationKind::Query => open,
        };
        if !counts {
            return;
        }
        self.record(Fact::Withdrawn {
            place,
            operation,
            round,
            attempt,
            code: code.to_owned(),
        });
        match operation {
            OperationKind::Query => self.query_spent(place),
            OperationKind::Forward | OperationKind::Compensate if open => self.forward_ended(place),
            OperationKind::Forward | OperationKind::Compensate => self.doubt_lessened(place),
        }
    }

    /// An older attempt's outcome ended an operation before this attempt left.
    pub fn withdrawn_overtaken(
        &mut self,
        place: Place,
        operation: OperationKind,
        round: u32,
        attempt: u32,
    ) {
        if self.saga.operation(place, operation).is_in_doubt(attempt) {
            self.withdrawn(place, operation, round, attempt, "OVERTAKEN");
        }
    }

    /// A time came: the deadline, a wait's or a sleep's end, a settle time, the end of patience with a compensation.
    pub fn wake(&mut self) {
        if self.saga.end.is_some() {
            return;
        }
        self.give_up_late_queries();
        if self.saga.abort.is_none() {
            self.look_at_deadline();
            self.look_at_waits();
        }
        if self.saga.abort.is_some() {
            self.park_late_compensations();
            self.advance_backward();
        }
    }

    /// A person asks for an abort.
    ///
    /// # Errors
    /// Why it is refused; nothing is recorded then.
    pub fn cancel(&mut self, by: &str, reason: &str) -> Result<CancelDisposition, CancelRefusal> {
        if self.saga.end.is_some() {
            return Err(CancelRefusal::Ended {
                state: self.saga.state(),
            });
        }
        if self.saga.abort.is_some() {
            return Ok(CancelDisposition::AlreadyAborted);
        }
        if self.saga.past_point_of_no_return() {
            return Err(CancelRefusal::BehindPointOfNoReturn);
        }
        if self.saga.pivot_in_doubt() {
            if self.saga.cancel_pending.is_none() {
                self.record(Fact::CancelPending {
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                });
            }
            return Ok(CancelDisposition::Pending);
        }
        self.abort(AbortReason::Cancelled {
            by: by.to_owned(),
            reason: reason.to_owned(),
        });
        Ok(CancelDisposition::Aborted)
    }

    /// The saga needs a person, for a reason that lies outside it.
    pub fn park(&mut self, reason: IncidentReason, message: &str) {
        self.open_incident(None, reason, None, message);
    }

    pub(super) fn record(&mut self, fact: Fact) {
        evolve(self.saga, &fact, self.now);
        self.facts.push(fact);
    }

    /// Opens an incident about an operation of a place, or about the saga, unless the same is open.
    pub(super) fn open_incident(
        &mut self,
        about: Option<(Place, Option<OperationKind>)>,
        reason: IncidentReason,
        code: Option<&str>,
        message: &str,
    ) {
        let (place, operation) = about.map_or((None, None), |(place, kind)| (Some(place), kind));
        let is_open = self
            .saga
            .incidents
            .iter()
            .any(|open| open.is_about(place, operation) && open.incident.reason == reason);
        if !is_open {
            self.record(Fact::IncidentOpened(Incident {
                place,
                operation,
                reason,
                code: code.map(str::to_owned),
                message: message.to_owned(),
            }));
        }
    }

    /// Closes the incidents about an operation of a place, or about the saga, if there are any.
    pub(super) fn close_incidents(
        &mut self,
        place: Option<Place>,
        operation: Option<OperationKind>,
    ) {
        let is_open = self
            .saga
            .incidents
            .iter()
            .any(|open| open.is_about(place, operation));
        if is_open {
            self.record(Fact::IncidentClosed { place, operation });
        }
    }

    /// The history is at its cap: no more forward work.
    pub(super) fn history_is_full(&self) -> bool {
        self.saga.facts >= HISTORY_FACTS_MAX || self.saga.payload_bytes >= HISTORY_BYTES_MAX
    }

    pub(super) fn is_behind_barrier(&self, place: Place) -> bool {
        let namespace = &self.saga.started.namespace;
        let action = self.saga.definition.step(place.step).action();
        self.saga.place(place).forward.barrier
            || action
                .is_some_and(|action| self.surroundings.stands_behind_barrier(namespace, action))
    }

    fn may_have_left(&self, ended: &AttemptEnded, due_at: Time) -> bool {
        match ended.operation {
            OperationKind::Forward if self.saga.abort.is_none() => {
                self.saga.has_come(due_at, self.now)
            }
            OperationKind::Forward | OperationKind::Compensate | OperationKind::Query => {
                due_at <= self.now
            }
        }
    }

    /// A success whose output does not satisfy the step's schema had its effect, and its output cannot be used.
    fn usable(&self, ended: &AttemptEnded, outcome: Outcome) -> Outcome {
        let Outcome::Succeeded { output } = &outcome else {
            return outcome;
        };
        if ended.operation == OperationKind::Compensate {
            return outcome;
        }
        match self.check_output(ended.place.step, output) {
            Ok(()) => outcome,
            Err(message) => Outcome::Unusable {
                code: "OUTPUT_INVALID".into(),
                message,
            },
        }
    }

    /// Checks an output against the step's schema, if it has one.
    pub(super) fn check_output(&self, step: StepIndex, output: &Payload) -> Result<(), String> {
        fits(self.saga.definition.step(step).output_schema(), output)
    }

    /// Checks what stands for a signal against that signal's schema, if the step waits for one that has a schema.
    pub(super) fn check_signal(&self, step: StepIndex, payload: &Payload) -> Result<(), String> {
        let definition = &self.saga.definition;
        let declared = match definition.step(step).work() {
            Work::Wait(wait) => definition.signals().get(wait.signal()),
            Work::Call(_) | Work::Sleep(_) | Work::Saga(_) | Work::Emit(_) | Work::Fail(_) => None,
        };
        fits(declared.and_then(|declared| declared.schema()), payload)
    }
}

fn fits(schema: Option<&Schema>, payload: &Payload) -> Result<(), String> {
    let Some(schema) = schema else {
        return Ok(());
    };
    schema
        .check(payload)
        .map_err(|violations| in_words(&violations))
}

/// Violations of a schema, in one bounded text.
fn in_words(violations: &[(String, String)]) -> String {
    let mut text = String::new();
    for (pointer, message) in violations.iter().take(5) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        let place = if pointer.is_empty() { "/" } else { pointer };
        text.push_str(&format!("{place}: {message}"));
    }
    text.chars().take(1_000).collect()
}

/// An outcome that the operation cannot have is an error of the participant, and retried as such.
fn fitting(operation: OperationKind, outcome: Outcome) -> Outcome {
    let fits = match (&outcome, operation) {
        (
            Outcome::Succeeded { .. }
            | Outcome::Unusable { .. }
            | Outcome::Failed { .. }
            | Outcome::Unknown { .. },
            _,
        ) => true,
        (Outcome::Rejected { .. } | Outcome::Fatal { .. }, operation) => {
            operation != OperationKind::Query
        }
        (Outcome::NothingToUndo, operation) => operation == OperationKind::Compensate,
        (Outcome::Superseded, operation) => operation == OperationKind::Forward,
        (Outcome::Absent, operation) => operation == OperationKind::Query,
    };
    if fits {
        return outcome;
    }
    let said = match outcome.error() {
        Some((code, message)) => format!(" ({code}: {message})"),
        None => String::new(),
    };
    Outcome::Failed {
        code: "OUTCOME_INVALID".into(),
        message: format!(
            "{} is no outcome of {}{said}",
            outcome.as_str(),
            operation.as_str()
        ),
        retry_after: None,
    }
}
