//! What a shard hands to the store: journal rows, and the saga and key rows that go with them, in batches.

use std::sync::Arc;

use amends_definitions::DefinitionHash;

use crate::fact::{
    Act, AttemptEnded, ChildOutcome, ChildRequested, Fact, IncidentReason, SignalReceived,
};
use crate::id::{SagaId, ShardId};
use crate::key::Hash128;
use crate::outcome::{OperationKind, Outcome};
use crate::time::Time;

/// What one shard writes at once: all of it, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardBatch {
    /// Whose journal.
    pub shard: ShardId,
    /// The position of the shard's latest takeover record.
    pub epoch: u64,
    /// Gapless, ascending; never empty.
    pub rows: Vec<JournalRow>,
    /// Sagas that begin in these rows.
    pub inserts: Vec<SagaInsert>,
    /// Sagas whose state or wake time changed; none of them in `inserts`, each at most once.
    pub updates: Vec<SagaUpdate>,
    /// Business keys of the sagas that begin.
    pub keys: Vec<KeyInsert>,
    /// Incidents that opened.
    pub incidents_opened: Vec<IncidentInsert>,
    /// Incidents that closed, or whose saga ended; none of them in `incidents_opened`.
    pub incidents_closed: Vec<IncidentName>,
}

impl ShardBatch {
    /// The bytes of its payloads.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let facts = self.rows.iter().flat_map(|row| &row.facts);
        facts.map(payload_bytes).sum()
    }
}

/// One transition of one saga: the facts that become durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// Its place in the shard's journal, from 1.
    pub position: u64,
    /// Whose it is.
    pub saga: SagaId,
    /// When it was decided.
    pub at: Time,
    /// What happened.
    pub facts: Vec<Fact>,
}

/// A new row of `sagas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaInsert {
    /// The saga.
    pub id: SagaId,
    /// The tenant.
    pub namespace: Arc<str>,
    /// The definition's id.
    pub definition: Arc<str>,
    /// The revision.
    pub revision: u32,
    /// The revision's hash.
    pub hash: DefinitionHash,
    /// The business key.
    pub key: Option<String>,
    /// Its place among those that run one after the other, or so many at a time; none if it need not wait for any.
    pub turn: Option<Turn>,
    /// The saga that asked for it.
    pub parent: Option<SagaId>,
    /// Where it is at the end of the batch.
    pub state: SagaState,
    /// It sleeps: when it has to be in memory again, [`Time::INFINITY`] if only something from outside can wake it. None
    /// while it is in memory, and when it has ended.
    pub wake_at: Option<Time>,
    /// When it began.
    pub started_at: Time,
    /// When it last changed.
    pub updated_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// When retention may delete it.
    pub expires_at: Option<Time>,
}

/// A change of a row of `sagas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaUpdate {
    /// The saga.
    pub id: SagaId,
    /// Where it is at the end of the batch.
    pub state: SagaState,
    /// Its turn has come; true also if it needs none.
    pub turn_granted: bool,
    /// As [`SagaInsert::wake_at`].
    pub wake_at: Option<Time>,
    /// When it changed.
    pub updated_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// When retention may delete it.
    pub expires_at: Option<Time>,
}

/// A saga's place among those that run one after the other, or so many at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// xxh3-128 of the ordering key: sagas of one definition with the same one run one at a time.
    pub ordering_hash: Option<Hash128>,
    /// So many sagas of the definition run at a time.
    pub concurrency_max: Option<u32>,
    /// The position of its start: the order of turns.
    pub position: u64,
    /// Its turn has come.
    pub granted: bool,
}

/// Names an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentName {
    /// The saga.
    pub saga: SagaId,
    /// Its number within the saga, from 1 in the order of opening.
    pub number: u32,
}

/// A new row of `incidents`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentInsert {
    /// Which.
    pub name: IncidentName,
    /// The tenant.
    pub namespace: Arc<str>,
    /// The definition's id.
    pub definition: Arc<str>,
    /// The revision.
    pub revision: u32,
    /// The step's id; none if it is about the saga.
    pub step: Option<String>,
    /// The item under `foreach`, from 1; 0 without one.
    pub item: u32,
    /// The operation it is about.
    pub operation: Option<OperationKind>,
    /// Why.
    pub reason: IncidentReason,
    /// The code of the failure that led to it.
    pub code: Option<String>,
    /// In words.
    pub message: String,
    /// Since when.
    pub opened_at: Time,
}

/// A new row of `saga_keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInsert {
    /// The tenant.
    pub namespace: Arc<str>,
    /// The definition's id.
    pub definition: Arc<str>,
    /// xxh3-128 of the business key.
    pub key_hash: Hash128,
    /// The saga that has it.
    pub saga: SagaId,
    /// xxh3-128 of the canonical input, to tell an equal start from another.
    pub input_hash: Hash128,
}

/// The state of a saga, as lists and filters know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SagaState {
    /// Going forward.
    Running,
    /// Every step succeeded or was skipped.
    Completed,
    /// Undoing its effects.
    Compensating,
    /// Every effect was undone.
    Compensated,
    /// It has an open incident.
    Parked,
    /// An operator gave it up.
    Terminated,
}

impl SagaState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Completed,
        Self::Compensating,
        Self::Compensated,
        Self::Parked,
        Self::Terminated,
    ];

    /// As it stands in tables and texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Compensating => "compensating",
            Self::Compensated => "compensated",
            Self::Parked => "parked",
            Self::Terminated => "terminated",
        }
    }

    /// Reads [`SagaState::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// As it is stored: small, and never renumbered.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::Running => 1,
            Self::Completed => 2,
            Self::Compensating => 3,
            Self::Compensated => 4,
            Self::Parked => 5,
            Self::Terminated => 6,
        }
    }

    /// Reads [`SagaState::code`] back.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// It has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Compensated | Self::Terminated => true,
            Self::Running | Self::Compensating | Self::Parked => false,
        }
    }

    /// It has ended, or a person has to look: nothing more is to be waited for.
    #[must_use]
    pub fn is_settled(self) -> bool {
        self.is_terminal() || self == Self::Parked
    }
}

/// The bytes of a fact's payloads, as they came. The rest of a fact is words, and bounded.
#[must_use]
pub fn payload_bytes(fact: &Fact) -> usize {
    let ended = |ended: &AttemptEnded| match &ended.outcome {
        Outcome::Succeeded { output } => output.as_bytes().len(),
        Outcome::Unusable { .. }
        | Outcome::Rejected { .. }
        | Outcome::Failed { .. }
        | Outcome::Fatal { .. }
        | Outcome::Unknown { .. }
        | Outcome::NothingToUndo
        | Outcome::Superseded
        | Outcome::Absent => 0,
    };
    match fact {
        Fact::Started(started) => started.input.as_bytes().len(),
        Fact::Scheduled { input, .. } => input.as_bytes().len(),
        Fact::AttemptEnded(attempt) | Fact::LateResult { ended: attempt, .. } => ended(attempt),
        Fact::Completed { output }
        | Fact::ItemsListed { items: output, .. }
        | Fact::SignalReceived(SignalReceived {
            payload: output, ..
        })
        | Fact::ChildRequested(ChildRequested { input: output, .. })
        | Fact::ChildEnded {
            outcome: ChildOutcome::Completed { output },
            ..
        }
        | Fact::Emitted { data: output, .. }
        | Fact::Continued {
            output: Some(output),
            ..
        } => output.as_bytes().len(),
        Fact::Operated(operated) => match &operated.act {
            Act::Retry {
                input: Some(payload),
                ..
            }
            | Act::Resolve {
                output: payload, ..
            } => payload.as_bytes().len(),
            Act::Retry { input: None, .. }
            | Act::Skip { .. }
            | Act::ResolveSaga
            | Act::ResolveAbsent { .. }
            | Act::ResolveNotUndone { .. }
            | Act::Compensate
            | Act::Pause
            | Act::Resume
            | Act::Terminate => 0,
        },
        Fact::Skipped { .. }
        | Fact::StepFailed { .. }
        | Fact::Withdrawn { .. }
        | Fact::AbortDecided(_)
        | Fact::Settling { .. }
        | Fact::CancelPending { .. }
        | Fact::CancelDropped
        | Fact::IncidentOpened(_)
        | Fact::IncidentClosed { .. }
        | Fact::TurnGranted
        | Fact::SignalAwaited { .. }
        | Fact::SignalConsumed { .. }
        | Fact::SignalUnconsumed { .. }
        | Fact::Sleeping { .. }
        | Fact::Slept { .. }
        | Fact::ChildPinned { .. }
        | Fact::ChildEnded { .. }
        | Fact::Continued { output: None, .. }
        | Fact::DeadlinePassed
        | Fact::Compensated => 0,
    }
}
