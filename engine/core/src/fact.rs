//! Facts: the things that can happen to a saga, as recorded. A saga's state is the fold of its facts, and nothing else.
//! How they are written as bytes is the store's business (`amends-store`, `record`).

use std::sync::Arc;

use amends_definitions::{DefinitionHash, Payload, StepIndex};

use crate::id::{Place, SagaId};
use crate::outcome::{OperationKind, Outcome, Verdict};
use crate::time::Time;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The saga began. Always first.
    Started(Started),
    /// Its turn came: it had to wait for its ordering key, or for the limit of its definition.
    TurnGranted,
    /// A step's `when` was false.
    Skipped {
        /// Which.
        step: StepIndex,
    },
    /// What a step under `foreach` is done for.
    ItemsListed {
        /// Which step.
        step: StepIndex,
        /// A JSON list.
        items: Payload,
        /// Each item's key, in the order of the list; unique.
        keys: Vec<String>,
    },
    /// The first attempt of an operation is due now; later attempts follow from [`AttemptEnded::retry_at`].
    Scheduled {
        /// Where.
        place: Place,
        /// Which operation.
        operation: OperationKind,
        /// From 0.
        round: u32,
        /// What its mapping made of the state: recorded once, never computed again.
        input: Payload,
    },
    /// An operation failed before anything was sent, or without a participant: `when`, `input` or another expression has no
    /// value, a wait's time is over, a `fail` step was reached, a compensation is late.
    StepFailed {
        /// Where.
        place: Place,
        /// Which operation.
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
        /// Where.
        place: Place,
        /// Which operation.
        operation: OperationKind,
        /// Which round.
        round: u32,
        /// Which attempt.
        attempt: u32,
        /// Why: `SCHEDULE_TIMEOUT`, `TOTAL_TIMEOUT`, `ABORTED`, or `OVERTAKEN` by an older attempt's outcome.
        code: String,
    },
    /// A step waits for its signal.
    SignalAwaited {
        /// Where.
        place: Place,
        /// Until when; none for ever.
        until: Option<Time>,
    },
    /// A signal was accepted.
    SignalReceived(SignalReceived),
    /// A wait took a signal: the step has succeeded, with the signal's payload as its output.
    SignalConsumed {
        /// Where.
        place: Place,
        /// Which signal, by its number within the saga.
        number: u32,
    },
    /// A signal that nothing took, said at the end.
    SignalUnconsumed {
        /// Which signal, by its number within the saga.
        number: u32,
    },
    /// A step sleeps.
    Sleeping {
        /// Where.
        place: Place,
        /// Until when.
        until: Time,
    },
    /// A sleep is over: the step has succeeded.
    Slept {
        /// Where.
        place: Place,
    },
    /// A step asks for a child saga: its revision is to be pinned.
    ChildRequested(ChildRequested),
    /// The child's revision and id are fixed: from here on it may exist.
    ChildPinned {
        /// Where.
        place: Place,
        /// Which round.
        round: u32,
        /// The child.
        child: SagaId,
        /// The revision that it is pinned to.
        revision: u32,
        /// The revision's hash.
        hash: DefinitionHash,
    },
    /// A child came to an end, or cannot be started, or cannot be undone.
    ChildEnded {
        /// Where.
        place: Place,
        /// Which round.
        round: u32,
        /// Forward: what the child came to. Compensate: what undoing it came to.
        operation: OperationKind,
        /// What it came to.
        outcome: ChildOutcome,
    },
    /// An event is due for delivery: the step has succeeded.
    Emitted {
        /// Where.
        place: Place,
        /// The event's type.
        event_type: String,
        /// The event's subject.
        subject: Option<String>,
        /// The event's data.
        data: Payload,
    },
    /// An `onError` route, or a wait's `onTimeout`, lets the saga go on past a failure.
    Continued {
        /// Where.
        place: Place,
        /// What stands for the step's output; none if nothing does.
        output: Option<Payload>,
    },
    /// The saga's deadline passed. An abort or an incident in the same row says what it led to; without either it led to
    /// nothing, because the saga can only go forward, or it waits for a pivot in doubt.
    DeadlinePassed,
    /// The recorded decision to compensate.
    AbortDecided(AbortReason),
    /// A compensation waits in which a late execution of its action can still show itself.
    Settling {
        /// Where.
        place: Place,
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
    /// The incidents of this place and operation closed.
    IncidentClosed {
        /// Where; none for the saga's own.
        place: Option<Place>,
        /// Which operation.
        operation: Option<OperationKind>,
    },
    /// A person did something about the saga.
    Operated(Operated),
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
            Self::TurnGranted => "turn_granted",
            Self::Skipped { .. } => "skipped",
            Self::ItemsListed { .. } => "items_listed",
            Self::Scheduled { .. } => "scheduled",
            Self::StepFailed { .. } => "step_failed",
            Self::AttemptEnded(_) => "attempt_ended",
            Self::Withdrawn { .. } => "withdrawn",
            Self::SignalAwaited { .. } => "signal_awaited",
            Self::SignalReceived(_) => "signal_received",
            Self::SignalConsumed { .. } => "signal_consumed",
            Self::SignalUnconsumed { .. } => "signal_unconsumed",
            Self::Sleeping { .. } => "sleeping",
            Self::Slept { .. } => "slept",
            Self::ChildRequested(_) => "child_requested",
            Self::ChildPinned { .. } => "child_pinned",
            Self::ChildEnded { .. } => "child_ended",
            Self::Emitted { .. } => "emitted",
            Self::Continued { .. } => "continued",
            Self::DeadlinePassed => "deadline_passed",
            Self::AbortDecided(_) => "abort_decided",
            Self::Settling { .. } => "settling",
            Self::CancelPending { .. } => "cancel_pending",
            Self::CancelDropped => "cancel_dropped",
            Self::LateResult { .. } => "late_result",
            Self::IncidentOpened(_) => "incident_opened",
            Self::IncidentClosed { .. } => "incident_closed",
            Self::Operated(_) => "operated",
            Self::Completed { .. } => "completed",
            Self::Compensated => "compensated",
        }
    }

    /// The place that it is about, if it is about one.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Skipped { step } | Self::ItemsListed { step, .. } => Some(Place::from(*step)),
            Self::Scheduled { place, .. }
            | Self::StepFailed { place, .. }
            | Self::Withdrawn { place, .. }
            | Self::SignalAwaited { place, .. }
            | Self::SignalConsumed { place, .. }
            | Self::Sleeping { place, .. }
            | Self::Slept { place }
            | Self::ChildPinned { place, .. }
            | Self::ChildEnded { place, .. }
            | Self::Emitted { place, .. }
            | Self::Continued { place, .. }
            | Self::Settling { place, .. } => Some(*place),
            Self::AttemptEnded(ended) | Self::LateResult { ended, .. } => Some(ended.place),
            Self::ChildRequested(request) => Some(request.place),
            Self::IncidentOpened(incident) => incident.place,
            Self::IncidentClosed { place, .. } => *place,
            Self::AbortDecided(AbortReason::StepFailed { place, .. }) => Some(*place),
            Self::Operated(operated) => operated.act.place(),
            Self::Started(_)
            | Self::TurnGranted
            | Self::SignalReceived(_)
            | Self::SignalUnconsumed { .. }
            | Self::DeadlinePassed
            | Self::AbortDecided(_)
            | Self::CancelPending { .. }
            | Self::CancelDropped
            | Self::Completed { .. }
            | Self::Compensated => None,
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
    /// Sagas of this definition with the same ordering key run one at a time.
    pub ordering_key: Option<String>,
    /// So many sagas of this definition run at a time.
    pub concurrency_max: Option<u32>,
    /// The saga that asked for it, if one did.
    pub parent: Option<Parent>,
    /// The input.
    pub input: Payload,
    /// The trace it belongs to; W3C Trace Context, checked.
    pub traceparent: Option<String>,
    /// Vendors' additions to it.
    pub tracestate: Option<String>,
}

/// Where a child saga belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent.
    pub saga: SagaId,
    /// Its step's id.
    pub step: Arc<str>,
    /// The item under `foreach`, from 1; 0 is the step itself.
    pub item: u32,
    /// From 0.
    pub round: u32,
    /// How many parents are above the child; 1 and more.
    pub depth: u32,
}

/// What an attempt came to, who ran it and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnded {
    /// Where.
    pub place: Place,
    /// Which operation.
    pub operation: OperationKind,
    /// Which round, from 0.
    pub round: u32,
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

/// An accepted signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalReceived {
    /// Its number within the saga, from 1 in the order of acceptance.
    pub number: u32,
    /// Its id in the definition.
    pub signal: String,
    /// What came with it.
    pub payload: Payload,
    /// Who sent it.
    pub by: String,
    /// The sender's own id for it: another signal with the same one is a duplicate.
    pub dedupe_id: Option<String>,
}

/// A child saga that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildRequested {
    /// Where.
    pub place: Place,
    /// Which round, from 0.
    pub round: u32,
    /// The child's definition.
    pub name: String,
    /// The child's business key.
    pub key: Option<String>,
    /// The child's input.
    pub input: Payload,
}

/// What a child came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildOutcome {
    /// It completed.
    Completed {
        /// Its output.
        output: Payload,
    },
    /// It was undone: without effect.
    Compensated {
        /// Why it had been aborted.
        code: String,
        /// In words.
        message: String,
    },
    /// It never began, and never will: without effect.
    Refused {
        /// Such as `DEFINITION_NOT_FOUND`, `INPUT_INVALID`.
        code: String,
        /// In words.
        message: String,
    },
    /// An operator gave it up: nobody knows what is left of it.
    Terminated {
        /// In words.
        message: String,
    },
}

/// What a person did about a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operated {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What.
    pub act: Act,
}

/// What a person can do about a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A parked operation is tried again, its budget anew. With an input it is a new round: a new operation key.
    Retry {
        /// Where.
        place: Place,
        /// Which operation.
        operation: OperationKind,
        /// Instead of the recorded one.
        input: Option<Payload>,
    },
    /// A step that is parked, or that a pause holds back, is taken for skipped.
    Skip {
        /// Where.
        place: Place,
    },
    /// A parked operation is taken for done.
    Resolve {
        /// Where.
        place: Place,
        /// Which operation.
        operation: OperationKind,
        /// What stands for its output.
        output: Payload,
    },
    /// A saga whose steps are done, and whose output has no value, is taken for completed: with the output of the
    /// [`Fact::Completed`] in the same row.
    ResolveSaga,
    /// A parked action is known to have had no effect.
    ResolveAbsent {
        /// Where.
        place: Place,
    },
    /// A parked compensation is known to have undone nothing: it is still owed, and another input for it is safe.
    ResolveNotUndone {
        /// Where.
        place: Place,
    },
    /// The saga is undone.
    Compensate,
    /// Nothing more is begun going forward, until [`Act::Resume`].
    Pause,
    /// What a pause, a deadline or a full history held back goes on.
    Resume,
    /// The saga ends as it is.
    Terminate,
}

impl Act {
    /// As it stands in journals and histories.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Skip { .. } => "skip",
            Self::Resolve { .. } => "resolve",
            Self::ResolveSaga => "resolve_saga",
            Self::ResolveAbsent { .. } => "resolve_absent",
            Self::ResolveNotUndone { .. } => "resolve_not_undone",
            Self::Compensate => "compensate",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Terminate => "terminate",
        }
    }

    /// The place that it is about, if it is about one.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Retry { place, .. }
            | Self::Skip { place }
            | Self::Resolve { place, .. }
            | Self::ResolveAbsent { place }
            | Self::ResolveNotUndone { place } => Some(*place),
            Self::ResolveSaga | Self::Compensate | Self::Pause | Self::Resume | Self::Terminate => {
                None
            }
        }
    }
}

/// Why a saga compensates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// A step ended without success.
    StepFailed {
        /// Where.
        place: Place,
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
    /// The saga's deadline passed.
    DeadlineExceeded,
    /// An operator asked for it.
    Operator {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The parent is undone, or does not want its child any more.
    ParentAborted {
        /// The parent's reason.
        code: String,
        /// In words.
        message: String,
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
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Operator { .. } => "OPERATOR",
            Self::ParentAborted { .. } => "PARENT_ABORTED",
            Self::OutputInvalid { .. } => "OUTPUT_INVALID",
        }
    }

    /// The code that compensations see as `self.reason`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::StepFailed { code, .. }
            | Self::OutputInvalid { code, .. }
            | Self::ParentAborted { code, .. } => code,
            Self::Cancelled { .. } => "CANCELLED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Operator { .. } => "OPERATOR",
        }
    }

    /// In words.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::StepFailed { message, .. }
            | Self::OutputInvalid { message, .. }
            | Self::ParentAborted { message, .. } => message,
            Self::Cancelled { reason, .. } | Self::Operator { reason, .. } => reason,
            Self::DeadlineExceeded => "the saga's deadline passed",
        }
    }
}

/// A saga parked for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// The place it is about; none if it is about the saga.
    pub place: Option<Place>,
    /// The operation it is about.
    pub operation: Option<OperationKind>,
    /// Why.
    pub reason: IncidentReason,
    /// The code of the failure that led to it, if one did: with revision and step, what incidents have in common.
    pub code: Option<String>,
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
    /// An operator paused it.
    Paused,
    /// Its deadline passed, and its definition says to park.
    DeadlineExceeded,
    /// A step failed, and its `onError` says to park.
    RoutedToPark,
    /// A signal did not come in time, and its wait says to park.
    SignalTimeout,
    /// A child saga was given up by an operator, and cannot be undone.
    ChildNotUndone,
}

impl IncidentReason {
    /// Every reason.
    pub const ALL: [Self; 17] = [
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
        Self::Paused,
        Self::DeadlineExceeded,
        Self::RoutedToPark,
        Self::SignalTimeout,
        Self::ChildNotUndone,
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
            Self::Paused => "PAUSED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::RoutedToPark => "ROUTED_TO_PARK",
            Self::SignalTimeout => "SIGNAL_TIMEOUT",
            Self::ChildNotUndone => "CHILD_NOT_UNDONE",
        }
    }

    /// Reads [`IncidentReason::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// What a person can do, most likely first. Some differ with the operation that the incident is about; it is none for
    /// one about the saga as a whole.
    #[must_use]
    pub fn suggested_actions(self, operation: Option<OperationKind>) -> &'static [&'static str] {
        match self {
            Self::PivotInDoubt => &[
                "look in the participant's books: resolve the step with its output if the effect happened, or as absent if it did not",
                "retry the step, if its participant takes the same operation key only once",
                "a late outcome of an attempt resolves this by itself",
            ],
            Self::StepRefused => &[
                "mend what made the participant refuse, and retry the step, also with a new input",
                "do by hand what it would have done, and resolve it with its output",
                "skip the step, if the saga is right without it",
            ],
            Self::StepExhausted => &[
                "mend the participant, and retry the step",
                "do by hand what it would have done, and resolve it with its output",
                "skip the step, if the saga is right without it",
            ],
            Self::CompensationRefused => &[
                "mend what made the participant refuse, and retry the compensation, also with a new input",
                "undo the effect by hand, and resolve the compensation",
            ],
            Self::CompensationExhausted => &[
                "mend the participant, and retry the compensation",
                "undo the effect by hand, and resolve the compensation",
                "say that no attempt undid anything, if the participant's books say so, and retry it with a new input",
                "a late success of an attempt resolves this by itself",
            ],
            Self::PossibleLeakedEffect => &[
                "compare the participant's books with this saga, undo by hand what is left, and resolve the compensation",
            ],
            Self::OutputUnusable => &[
                "resolve the step with the output that its effect should have had",
                "mend the participant's answer for later sagas",
            ],
            Self::ExpressionFailed => without_value(operation),
            Self::HistoryFull => &[
                "find what retries without end",
                "compensate the saga, which is exempt from the cap",
                "terminate it, and settle by hand what is left",
            ],
            Self::RecordUnreadable => &["run the version that wrote this record"],
            Self::DefinitionMissing => &["restore the missing revision"],
            Self::RecordRefused => &[
                "read the server's log for the database's reason, and mend it",
                "retry the operation, or resume what the saga waits for",
            ],
            Self::Paused => &["resume the saga", "compensate the saga"],
            Self::DeadlineExceeded => &[
                "resume the saga, to let it go on in spite of its deadline",
                "compensate the saga",
            ],
            Self::RoutedToPark => &["retry, skip or resolve the step", "compensate the saga"],
            Self::SignalTimeout => &[
                "send the signal, late",
                "resolve the step with what the signal would have said, or skip it",
                "compensate the saga",
            ],
            Self::ChildNotUndone => {
                &["undo by hand what the child left, and resolve the compensation"]
            }
        }
    }
}

/// What can be done where an expression has no value.
fn without_value(operation: Option<OperationKind>) -> &'static [&'static str] {
    match operation {
        None => &[
            "resolve the saga with the output that the expression should have made: every step is done",
            "apply a corrected revision for later sagas",
        ],
        Some(OperationKind::Compensate) => &[
            "retry the compensation with the input that the expression should have made",
            "undo the effect by hand, and resolve the compensation",
            "apply a corrected revision for later sagas",
        ],
        Some(OperationKind::Forward | OperationKind::Query) => &[
            "retry the operation with the input that the expression should have made",
            "resolve it, or skip the step, if the saga is right without it",
            "apply a corrected revision for later sagas",
        ],
    }
}
