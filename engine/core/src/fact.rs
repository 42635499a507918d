//! Facts: the things that can happen to a saga, as recorded. A saga's state is the fold of its facts, and nothing else.
//! How they are written as bytes is the store's business (`amends-store`, `record`).

use std::sync::Arc;

use amends_definitions::{DefinitionHash, Payload, StepIndex};

use crate::outcome::{OperationKind, Outcome, Verdict};
use crate::time::Time;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The saga began. Always first.
    Started(Started),
    /// A step's `when` was false.
    Skipped {
        /// Which.
        step: StepIndex,
    },
    /// The first attempt of an operation is due now; later attempts follow from [`AttemptEnded::retry_at`].
    Scheduled {
        /// Which step.
        step: StepIndex,
        /// Which operation.
        operation: OperationKind,
        /// What its mapping made of the state: recorded once, never computed again.
        input: Payload,
    },
    /// A step failed before anything was sent: its `when` or `input` has no value.
    StepFailed {
        /// Which step.
        step: StepIndex,
        /// Which operation's input it was.
        operation: OperationKind,
        /// Such as `EXPRESSION_FAILED`.
        code: String,
        /// In words.
        message: String,
    },
    /// An attempt came to an outcome.
    AttemptEnded(AttemptEnded),
    /// An attempt was never sent, and never will be: without effect.
    Withdrawn {
        /// Which step.
        step: StepIndex,
        /// Which operation.
        operation: OperationKind,
        /// Which attempt.
        attempt: u32,
        /// Why: `SCHEDULE_TIMEOUT`, `TOTAL_TIMEOUT`, `ABORTED`, or `OVERTAKEN` by an older attempt's outcome.
        code: String,
    },
    /// The recorded decision to compensate.
    AbortDecided(AbortReason),
    /// A compensation waits in which a late execution of its action can still show itself.
    Settling {
        /// Which step.
        step: StepIndex,
        /// Until when.
        until: Time,
    },
    /// A cancel waits for a pivot in doubt.
    CancelPending {
        /// Who asked.
        by: String,
        /// Why.
        reason: String,
    },
    /// The pivot succeeded: the cancel that waited for it is void.
    CancelDropped,
    /// A result that came too late to decide anything.
    LateResult {
        /// What came.
        ended: AttemptEnded,
        /// It may be an effect that nothing undoes.
        leak: bool,
    },
    /// An incident opened: a person has to look.
    IncidentOpened(Incident),
    /// The incident of this step and operation closed by itself.
    IncidentClosed {
        /// Which step; none for the saga's own.
        step: Option<StepIndex>,
        /// Which operation.
        operation: Option<OperationKind>,
    },
    /// Every step succeeded or was skipped.
    Completed {
        /// What `output` made of it.
        output: Payload,
    },
    /// Every effect was undone.
    Compensated,
}

impl Fact {
    /// As it stands in journals and histories.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Skipped { .. } => "skipped",
            Self::Scheduled { .. } => "scheduled",
            Self::StepFailed { .. } => "step_failed",
            Self::AttemptEnded(_) => "attempt_ended",
            Self::Withdrawn { .. } => "withdrawn",
            Self::AbortDecided(_) => "abort_decided",
            Self::Settling { .. } => "settling",
            Self::CancelPending { .. } => "cancel_pending",
            Self::CancelDropped => "cancel_dropped",
            Self::LateResult { .. } => "late_result",
            Self::IncidentOpened(_) => "incident_opened",
            Self::IncidentClosed { .. } => "incident_closed",
            Self::Completed { .. } => "completed",
            Self::Compensated => "compensated",
        }
    }
}

/// How a saga began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The tenant.
    pub namespace: Arc<str>,
    /// The definition's id.
    pub definition: Arc<str>,
    /// The revision it is pinned to.
    pub revision: u32,
    /// The revision's hash.
    pub hash: DefinitionHash,
    /// The business key.
    pub key: Option<String>,
    /// The input.
    pub input: Payload,
    /// The trace it belongs to; W3C Trace Context, checked.
    pub traceparent: Option<String>,
    /// Vendors' additions to it.
    pub tracestate: Option<String>,
}

/// What an attempt came to, who ran it and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnded {
    /// Which step.
    pub step: StepIndex,
    /// Which operation.
    pub operation: OperationKind,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// What the barrier said, if the action stands behind one.
    pub verdict: Option<Verdict>,
    /// The participant instance that ran it.
    pub instance: Option<String>,
    /// When it was last sent; the time of the takeover if an earlier owner may have sent it and this one did not; none if
    /// that is not known any more.
    pub sent_at: Option<Time>,
    /// When the next attempt is due; none if there is none.
    pub retry_at: Option<Time>,
}

/// Why a saga compensates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// A step ended without success.
    StepFailed {
        /// Which.
        step: StepIndex,
        /// Its code.
        code: String,
        /// In words.
        message: String,
    },
    /// A person asked.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The saga's `output` has no value, and the saga could still be undone.
    OutputInvalid {
        /// Its code.
        code: String,
        /// In words.
        message: String,
    },
}

impl AbortReason {
    /// Stable, upper snake case.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::StepFailed { .. } => "STEP_FAILED",
            Self::Cancelled { .. } => "CANCELLED",
            Self::OutputInvalid { .. } => "OUTPUT_INVALID",
        }
    }

    /// The code that compensations see as `self.reason`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::StepFailed { code, .. } | Self::OutputInvalid { code, .. } => code,
            Self::Cancelled { .. } => "CANCELLED",
        }
    }

    /// In words.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::StepFailed { message, .. } | Self::OutputInvalid { message, .. } => message,
            Self::Cancelled { reason, .. } => reason,
        }
    }
}

/// A saga parked for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// The step it is about; none if it is about the saga.
    pub step: Option<StepIndex>,
    /// The operation it is about.
    pub operation: Option<OperationKind>,
    /// Why.
    pub reason: IncidentReason,
    /// In words.
    pub message: String,
}

/// Why a saga is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentReason {
    /// The pivot's budget is spent, and nobody knows whether it had its effect.
    PivotInDoubt,
    /// A step behind the point of no return was refused.
    StepRefused,
    /// A step behind the point of no return spent its budget.
    StepExhausted,
    /// A compensation was refused.
    CompensationRefused,
    /// A compensation spent its budget or its time.
    CompensationExhausted,
    /// A success arrived for an action that was thought to be undone, or never to have happened.
    PossibleLeakedEffect,
    /// An effect happened, and its answer cannot be used.
    OutputUnusable,
    /// An expression behind the point of no return, or of a compensation, has no value.
    ExpressionFailed,
    /// The history is at its cap.
    HistoryFull,
    /// A row of the journal cannot be read by this version.
    RecordUnreadable,
    /// The revision that the saga is pinned to is missing.
    DefinitionMissing,
    /// The database refused to store what the saga decided.
    RecordRefused,
}

impl IncidentReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::PivotInDoubt,
        Self::StepRefused,
        Self::StepExhausted,
        Self::CompensationRefused,
        Self::CompensationExhausted,
        Self::PossibleLeakedEffect,
        Self::OutputUnusable,
        Self::ExpressionFailed,
        Self::HistoryFull,
        Self::RecordUnreadable,
        Self::DefinitionMissing,
        Self::RecordRefused,
    ];

    /// Stable, upper snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PivotInDoubt => "PIVOT_IN_DOUBT",
            Self::StepRefused => "STEP_REFUSED",
            Self::StepExhausted => "STEP_EXHAUSTED",
            Self::CompensationRefused => "COMPENSATION_REFUSED",
            Self::CompensationExhausted => "COMPENSATION_EXHAUSTED",
            Self::PossibleLeakedEffect => "POSSIBLE_LEAKED_EFFECT",
            Self::OutputUnusable => "OUTPUT_UNUSABLE",
            Self::ExpressionFailed => "EXPRESSION_FAILED",
            Self::HistoryFull => "HISTORY_FULL",
            Self::RecordUnreadable => "RECORD_UNREADABLE",
            Self::DefinitionMissing => "DEFINITION_MISSING",
            Self::RecordRefused => "RECORD_REFUSED",
        }
    }

    /// Reads [`IncidentReason::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// What a person can do, most likely first.
    #[must_use]
    pub fn suggested_actions(self) -> &'static [&'static str] {
        match self {
            Self::PivotInDoubt => &[
                "find out in the participant's books whether the effect happened, and settle by hand what follows",
                "a late outcome of an attempt resolves this by itself; this version has no command that does",
            ],
            Self::StepRefused | Self::StepExhausted => &[
                "do by hand what the step would have done: this version has no command to retry or skip it",
            ],
            Self::CompensationRefused | Self::CompensationExhausted => &[
                "undo the effect by hand: no further attempt is sent, and this version has no command to retry it",
                "a late success of an attempt resolves this by itself",
            ],
            Self::PossibleLeakedEffect => {
                &["compare the participant's books with this saga and undo what is left by hand"]
            }
            Self::OutputUnusable => &["mend the participant's answer"],
            Self::ExpressionFailed => &["apply a corrected revision for later sagas"],
            Self::HistoryFull => &["find what retries without end"],
            Self::RecordUnreadable => &["run the version that wrote this record"],
            Self::DefinitionMissing => &["restore the missing revision"],
            Self::RecordRefused => &["read the server's log for the database's reason"],
        }
    }
}
