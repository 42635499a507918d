//! Facts from an input. Each function here takes what happened, and records what follows from it: all facts that must
//! become durable together. Going forward lives in `forward`, undoing in `backward`, what comes too late in `late`.

use std::sync::Arc;

use amends_definitions::{Definition, Scope, SelfScope, StepIndex, StepScope};

use crate::fact::{AttemptEnded, Fact, Incident, IncidentReason, Started};
use crate::id::{Place, SagaId};
use crate::journal::SagaState;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_FACTS_MAX};
use crate::outcome::{OperationKind, Outcome};
use crate::saga::evolve::{begin, evolve};
use crate::saga::place::Phase;
use crate::saga::state::Saga;
use crate::shard::io::{
    Acknowledged, CancelDisposition, CancelRefusal, ChildAnswer, Order, OrderRefusal, Signal,
    SignalRefusal, Surroundings,
};
use crate::time::Time;

/// One decision in the making: what it records changes the state at once, so that what follows sees it.
pub struct Decision<'a> {
    pub(super) saga: &'a mut Saga,
    pub(super) now: Time,
    pub(super) surroundings: &'a dyn Surroundings,
    facts: Vec<Fact>,
}

/// Starts a saga: its state, and its first facts.
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
            facts: Vec::new(),
        }
    }

    /// What was recorded.
    #[must_use]
    pub fn into_facts(self) -> Vec<Fact> {
        self.facts
    }

    /// An attempt came to an outcome.
    pub fn outcome(&mut self, mut ended: AttemptEnded) -> Acknowledged {
        let operation = self.saga.operation(ended.place.step, ended.operation);
        if ended.attempt == 0 || ended.attempt > operation.attempt {
            return Acknowledged::UnknownOperation;
        }
        let current = ended.attempt == operation.attempt;
        let open = match operation.phase {
            // An attempt that is not due yet was never sent: nobody can have its result.
            Phase::Scheduled { due_at } if current && due_at > self.now => {
                return Acknowledged::UnknownOperation;
            }
            Phase::Scheduled { .. } => true,
            Phase::Waiting
            | Phase::Settling { .. }
            | Phase::Succeeded
            | Phase::Unusable
            | Phase::Skipped
            | Phase::Refused
            | Phase::Unresolved
            | Phase::NothingToUndo
            | Phase::Parked
            | Phase::Listed
            | Phase::Awaiting { .. }
            | Phase::Sleeping { .. }
            | Phase::ChildRequested
            | Phase::ChildUnderWay
            | Phase::Continued => false,
        };
        ended.retry_at = None;
        ended.outcome = fitting(ended.operation, ended.outcome);
        match (open && self.saga.end.is_none(), ended.operation) {
            (true, OperationKind::Forward) => self.forward_outcome(ended, current),
            (true, OperationKind::Compensate | OperationKind::Query) => {
                self.compensation_outcome(ended, current)
            }
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
        let step = place.step;
        if operation != OperationKind::Forward || self.saga.end.is_some() {
            return;
        }
        let target = self.saga.operation(step, operation);
        let due = matches!(target.phase, Phase::Scheduled { due_at } if due_at <= self.now);
        let open = due && target.attempt == attempt;
        let in_doubt = target.is_in_doubt(attempt) && self.compensation_is_undecided(step);
        if !open && !in_doubt {
            return;
        }
        self.record(Fact::Withdrawn {
            place,
            operation,
            round,
            attempt,
            code: code.to_owned(),
        });
        if open {
            self.forward_ended(step);
        } else {
            self.doubt_lessened(step);
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

    /// A time came: a settle time may be over, a compensation may be late.
    pub fn wake(&mut self) {
        if self.saga.abort.is_some() && self.saga.end.is_none() {
            self.park_late_compensations();
            self.advance_backward();
        }
    }

    /// Its turn has come: it may begin.
    pub fn grant_turn(&mut self) {
        if !self.saga.turn_granted && self.saga.end.is_none() {
            self.record(Fact::TurnGranted);
            self.advance_all();
        }
    }

    /// A signal came. True if it is accepted, false if it had been before.
    ///
    /// # Errors
    /// Why it is refused; nothing is recorded then.
    pub fn signal(&mut self, signal: &Signal) -> Result<bool, SignalRefusal> {
        let _ = signal;
        Err(SignalRefusal::Unavailable)
    }

    /// An operator wants something done. A dry run decides on a copy of the saga.
    ///
    /// # Errors
    /// Why it is refused; nothing is recorded then.
    pub fn order(&mut self, order: &Order) -> Result<SagaState, OrderRefusal> {
        let _ = order;
        Err(OrderRefusal::Unavailable)
    }

    /// A child, or who looked for its definition, says where it is.
    pub fn child_answered(&mut self, answer: &ChildAnswer) {
        let _ = answer;
    }

    /// The saga is a child, and its parent wants it undone: aborted if it runs, compensated if it has completed.
    pub fn undo(&mut self, code: &str, message: &str) {
        let _ = (code, message);
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
        self.abort(crate::fact::AbortReason::Cancelled {
            by: by.to_owned(),
            reason: reason.to_owned(),
        });
        Ok(CancelDisposition::Aborted)
    }

    /// The saga needs a person, for a reason that lies outside it.
    pub fn park(&mut self, reason: IncidentReason, message: &str) {
        self.open_incident(None, None, reason, message);
    }

    pub(super) fn record(&mut self, fact: Fact) {
        evolve(self.saga, &fact, self.now);
        self.facts.push(fact);
    }

    /// Opens an incident, unless the same is open.
    pub(super) fn open_incident(
        &mut self,
        step: Option<StepIndex>,
        operation: Option<OperationKind>,
        reason: IncidentReason,
        message: &str,
    ) {
        let is_open = self.saga.incidents.iter().any(|open| {
            open.incident.place.map(|place| place.step) == step
                && open.incident.operation == operation
                && open.incident.reason == reason
        });
        if !is_open {
            self.record(Fact::IncidentOpened(Incident {
                place: step.map(Place::from),
                operation,
                reason,
                code: None,
                message: message.to_owned(),
            }));
        }
    }

    /// Closes the incidents of a step's operation, if there are any.
    pub(super) fn close_incident(
        &mut self,
        step: Option<StepIndex>,
        operation: Option<OperationKind>,
    ) {
        let is_open = self.saga.incidents.iter().any(|open| {
            open.incident.place.map(|place| place.step) == step
                && open.incident.operation == operation
        });
        if is_open {
            self.record(Fact::IncidentClosed {
                place: step.map(Place::from),
                operation,
            });
        }
    }

    /// The history is at its cap: no more forward work.
    pub(super) fn history_is_full(&self) -> bool {
        self.saga.facts >= HISTORY_FACTS_MAX || self.saga.payload_bytes >= HISTORY_BYTES_MAX
    }

    pub(super) fn is_behind_barrier(&self, step: StepIndex) -> bool {
        let namespace = &self.saga.started.namespace;
        let action = self.saga.definition.step(step).action();
        self.saga.place(step).forward.barrier
            || action
                .is_some_and(|action| self.surroundings.stands_behind_barrier(namespace, action))
    }
}

/// An outcome that the operation cannot have is an error of the participant, and retried as such.
fn fitting(operation: OperationKind, outcome: Outcome) -> Outcome {
    let misfit = match (operation, &outcome) {
        (OperationKind::Forward, Outcome::NothingToUndo)
        | (OperationKind::Compensate, Outcome::Superseded)
        | (OperationKind::Forward | OperationKind::Compensate, Outcome::Absent) => true,
        (
            OperationKind::Forward | OperationKind::Compensate | OperationKind::Query,
            Outcome::Succeeded { .. }
            | Outcome::Unusable { .. }
            | Outcome::Rejected { .. }
            | Outcome::Failed { .. }
            | Outcome::Fatal { .. }
            | Outcome::Unknown { .. }
            | Outcome::NothingToUndo
            | Outcome::Superseded
            | Outcome::Absent,
        ) => false,
    };
    if misfit {
        Outcome::Failed {
            code: "OUTCOME_INVALID".into(),
            message: format!(
                "{} is no outcome of {}",
                outcome.as_str(),
                operation.as_str()
            ),
            retry_after: None,
        }
    } else {
        outcome
    }
}

/// Runs `with` on what the saga's expressions may see.
pub(super) fn with_scope<T>(
    saga: &Saga,
    itself: Option<StepIndex>,
    with: impl FnOnce(&Scope<'_>) -> T,
) -> T {
    let id = saga.id.to_string();
    let started_at = saga.started_at.to_string();
    let steps = saga
        .definition
        .steps()
        .iter()
        .zip(&saga.steps)
        .map(|(step, status)| StepScope {
            id: step.id(),
            status: status_word(status.itself.forward.phase),
            output: status.itself.forward.output.as_ref(),
        })
        .collect();
    let null = amends_definitions::Payload::null();
    let itself = itself.map(|step| {
        let forward = &saga.place(step).forward;
        SelfScope {
            input: forward.input.as_ref().unwrap_or(&null),
            output: forward.output.as_ref(),
            error: forward
                .error
                .as_ref()
                .map(|(code, message)| (code.as_str(), message.as_str())),
            reason: saga.abort.as_ref().map_or("", |abort| abort.reason.code()),
        }
    });
    with(&Scope {
        input: &saga.started.input,
        saga_id: &id,
        saga_key: saga.started.key.as_deref(),
        saga_started_at: &started_at,
        steps,
        itself,
        signals: Vec::new(),
        item: None,
        error: None,
    })
}

/// `steps.<id>.status`, as expressions see it.
fn status_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Listed
        | Phase::Settling { .. }
        | Phase::Scheduled { .. }
        | Phase::Awaiting { .. }
        | Phase::Sleeping { .. }
        | Phase::ChildRequested
        | Phase::ChildUnderWay => "scheduled",
        Phase::Continued => "continued",
        Phase::Succeeded | Phase::NothingToUndo => "succeeded",
        Phase::Skipped => "skipped",
        Phase::Unusable | Phase::Refused | Phase::Unresolved | Phase::Parked => "failed",
    }
}
