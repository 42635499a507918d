//! What a saga knows of itself. Changed by `evolve` alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use amends_definitions::{Compensation, Definition, Kind, Payload, StepIndex};

use crate::fact::{AbortReason, Incident, Started};
use crate::id::SagaId;
use crate::journal::SagaState;
use crate::outcome::OperationKind;
use crate::time::Time;

/// A saga's state: the fold of its facts.
#[derive(Clone, Debug)]
pub struct Saga {
    pub(crate) id: SagaId,
    pub(crate) definition: Arc<Definition>,
    pub(crate) started: Arc<Started>,
    pub(crate) started_at: Time,
    pub(crate) updated_at: Time,
    pub(crate) ended_at: Option<Time>,
    pub(crate) end: Option<End>,
    pub(crate) abort: Option<Abort>,
    pub(crate) cancel_pending: Option<CancelRequest>,
    pub(crate) incidents: Vec<OpenIncident>,
    pub(crate) steps: Vec<StepStatus>,
    pub(crate) facts: u32,
    pub(crate) payload_bytes: u64,
}

/// How a saga ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this output.
    Completed(Payload),
    /// Undone.
    Compensated,
}

/// The recorded decision to compensate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Why.
    pub reason: AbortReason,
    /// When.
    pub at: Time,
}

/// A cancel that waits for a pivot in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    /// Who asked.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// An incident that nobody closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIncident {
    /// What.
    pub incident: Incident,
    /// Since when.
    pub opened_at: Time,
}

/// A step's two operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepStatus {
    /// The action.
    pub forward: Operation,
    /// What undoes it.
    pub compensation: Operation,
}

/// One operation of a step.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Operation {
    /// Where it is.
    pub phase: Phase,
    /// Its recorded input, once it was scheduled.
    pub input: Option<Payload>,
    /// Its output, once it succeeded with a usable one.
    pub output: Option<Payload>,
    /// The current or last attempt; 0 before the first.
    pub attempt: u32,
    /// When the first attempt was scheduled.
    pub first_at: Option<Time>,
    /// The latest time at which an attempt that has ended, or that was overtaken, may have been sent.
    pub last_sent_at: Option<Time>,
    /// The last failure's code and words.
    pub error: Option<(String, String)>,
    /// Attempts that may have had an effect, or may still have one.
    pub unclear: BTreeSet<u32>,
    /// A barrier has said something about this operation.
    pub barrier: bool,
    /// Its place in the order of scheduling within the saga, from 1; 0 before.
    pub order: u32,
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not begun.
    #[default]
    Waiting,
    /// A compensation that is not scheduled before this time, so that a late execution can show itself.
    Settling {
        /// Until when.
        until: Time,
    },
    /// An attempt is due at this time, or under way since.
    Scheduled {
        /// Not before.
        due_at: Time,
    },
    /// It succeeded.
    Succeeded,
    /// It succeeded, and its output cannot be used.
    Unusable,
    /// `when` was false.
    Skipped,
    /// It ended with a definite "no", or before anything was sent. What earlier attempts did may be unclear.
    Refused,
    /// It ended, and nobody knows whether it had its effect: the budget was spent, or the abort came between two attempts.
    Unresolved,
    /// Of a compensation: there was nothing to undo.
    NothingToUndo,
    /// Of a compensation: a person has to look.
    Parked,
}

impl Operation {
    /// Of an action: what needs it may begin.
    #[must_use]
    pub fn lets_go_on(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Skipped)
    }

    /// It cannot change any more by its own means.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.phase {
            Phase::Waiting | Phase::Settling { .. } | Phase::Scheduled { .. } => false,
            Phase::Succeeded
            | Phase::Unusable
            | Phase::Skipped
            | Phase::Refused
            | Phase::Unresolved
            | Phase::NothingToUndo
            | Phase::Parked => true,
        }
    }

    /// It ended without a success, and this attempt may have had its effect, or may still have it.
    #[must_use]
    pub fn is_in_doubt(&self, attempt: u32) -> bool {
        matches!(self.phase, Phase::Refused | Phase::Unresolved) && self.unclear.contains(&attempt)
    }
}

impl Saga {
    /// The saga's id.
    #[must_use]
    pub fn id(&self) -> SagaId {
        self.id
    }

    /// The revision that it runs.
    #[must_use]
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// How it began: namespace, revision, key, input, trace.
    #[must_use]
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// When it began.
    #[must_use]
    pub fn started_at(&self) -> Time {
        self.started_at
    }

    /// When its last fact was decided.
    #[must_use]
    pub fn updated_at(&self) -> Time {
        self.updated_at
    }

    /// When it ended.
    #[must_use]
    pub fn ended_at(&self) -> Option<Time> {
        self.ended_at
    }

    /// Where it is, as lists and filters know it.
    #[must_use]
    pub fn state(&self) -> SagaState {
        match (&self.end, self.incidents.is_empty(), &self.abort) {
            (Some(End::Completed(_)), _, _) => SagaState::Completed,
            (Some(End::Compensated), _, _) => SagaState::Compensated,
            (None, false, _) => SagaState::Parked,
            (None, true, Some(_)) => SagaState::Compensating,
            (None, true, None) => SagaState::Running,
        }
    }

    /// What `output` made of it, once it completed.
    #[must_use]
    pub fn output(&self) -> Option<&Payload> {
        match &self.end {
            Some(End::Completed(output)) => Some(output),
            Some(End::Compensated) | None => None,
        }
    }

    /// Why it compensates.
    #[must_use]
    pub fn abort(&self) -> Option<&Abort> {
        self.abort.as_ref()
    }

    /// A cancel that waits for a pivot in doubt.
    #[must_use]
    pub fn cancel_pending(&self) -> Option<&CancelRequest> {
        self.cancel_pending.as_ref()
    }

    /// Its open incidents, oldest first.
    #[must_use]
    pub fn incidents(&self) -> &[OpenIncident] {
        &self.incidents
    }

    /// Its steps, in the definition's order.
    #[must_use]
    pub fn steps(&self) -> &[StepStatus] {
        &self.steps
    }

    /// How many facts it has.
    #[must_use]
    pub fn facts(&self) -> u32 {
        self.facts
    }

    /// An operation of a step.
    ///
    /// # Panics
    /// If the index is of another definition.
    #[must_use]
    pub fn operation(&self, step: StepIndex, operation: OperationKind) -> &Operation {
        let status = &self.steps[step.index()];
        match operation {
            OperationKind::Forward => &status.forward,
            OperationKind::Compensate | OperationKind::Query => &status.compensation,
        }
    }

    /// The step's action had, or may have had, an effect.
    #[must_use]
    pub fn may_have_effect(&self, step: StepIndex) -> bool {
        let forward = &self.steps[step.index()].forward;
        match forward.phase {
            Phase::Succeeded | Phase::Unusable => true,
            Phase::Scheduled { .. } | Phase::Refused | Phase::Unresolved => {
                !forward.unclear.is_empty()
            }
            Phase::Waiting
            | Phase::Settling { .. }
            | Phase::Skipped
            | Phase::NothingToUndo
            | Phase::Parked => false,
        }
    }

    /// The pivot's success, or its skipping; without a pivot, the first scheduling of a retriable step. Behind it the saga
    /// can only go forward.
    #[must_use]
    pub fn past_point_of_no_return(&self) -> bool {
        match self.definition.pivot() {
            Some(pivot) => match self.steps[pivot.index()].forward.phase {
                Phase::Succeeded | Phase::Unusable | Phase::Skipped => true,
                Phase::Waiting
                | Phase::Settling { .. }
                | Phase::Scheduled { .. }
                | Phase::Refused
                | Phase::Unresolved
                | Phase::NothingToUndo
                | Phase::Parked => false,
            },
            None => self
                .definition
                .steps()
                .iter()
                .zip(&self.steps)
                .any(|(step, status)| step.kind() == Kind::Retriable && status.forward.attempt > 0),
        }
    }

    /// The pivot was scheduled, and neither succeeded nor is proven absent: nothing may be decided against it.
    #[must_use]
    pub fn pivot_in_doubt(&self) -> bool {
        self.definition.pivot().is_some_and(|pivot| {
            let forward = &self.steps[pivot.index()].forward;
            match forward.phase {
                Phase::Scheduled { .. } => true,
                Phase::Refused | Phase::Unresolved => !forward.unclear.is_empty(),
                Phase::Waiting
                | Phase::Settling { .. }
                | Phase::Succeeded
                | Phase::Unusable
                | Phase::Skipped
                | Phase::NothingToUndo
                | Phase::Parked => false,
            }
        })
    }

    /// After an abort, the step's compensation is owed and not done.
    #[must_use]
    pub fn owes_compensation(&self, step: StepIndex) -> bool {
        matches!(
            self.definition.step(step).compensation(),
            Compensation::Call(_)
        ) && self.may_have_effect(step)
            && !matches!(
                self.steps[step.index()].compensation.phase,
                Phase::Succeeded | Phase::Unusable | Phase::NothingToUndo
            )
    }
}
