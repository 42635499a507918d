//! What goes into a shard and what comes out: plain data.

use std::sync::Arc;
use std::time::Duration;

use amends_definitions::{ActionName, Definition, Payload};

use crate::fact::Started;
use crate::id::{OperationKey, SagaId};
use crate::journal::{JournalRow, SagaState};
use crate::key::Hash128;
use crate::outcome::{OperationKind, Outcome, Verdict};
use crate::time::Time;

/// The caller's own mark on an input; comes back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What a decision may know beside its saga. What it learns here is recorded in facts, never asked again on replay.
pub trait Surroundings {
    /// A participant that serves this action offered it as standing behind a barrier.
    fn stands_behind_barrier(&self, namespace: &str, action: &ActionName) -> bool;
}

/// Everything that can happen to a shard, time and commits aside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client starts a saga. Answered by [`Output::Started`].
    Start {
        /// Comes back with the answer.
        token: Token,
        /// What to start.
        start: Box<Start>,
    },
    /// An attempt came to an outcome. Answered by [`Output::Acknowledge`] if it has a token.
    Outcome {
        /// Comes back with the answer; none if the server itself says so.
        token: Option<Token>,
        /// What came.
        report: Report,
    },
    /// A command left for a participant: its attempt's time runs from now, or from the first time that it left. Never
    /// recorded.
    Sent {
        /// Which saga.
        saga: SagaId,
        /// The step's id.
        step: Arc<str>,
        /// Which operation.
        operation: OperationKind,
        /// Which attempt.
        attempt: u32,
    },
    /// A command was still queued, and is not any more: it was never sent, and never will be.
    Withdrawn {
        /// Which saga.
        saga: SagaId,
        /// The step's id.
        step: Arc<str>,
        /// Which operation.
        operation: OperationKind,
        /// Which attempt.
        attempt: u32,
    },
    /// A person asks for an abort. Answered by [`Output::Cancelled`].
    Cancel {
        /// Comes back with the answer.
        token: Token,
        /// In which namespace the caller believes the saga to be.
        namespace: Arc<str>,
        /// Which saga.
        saga: SagaId,
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
    },
    /// Answers [`Output::Load`].
    Loaded {
        /// Which saga.
        saga: SagaId,
        /// What the store has.
        loaded: LoadedSaga,
    },
}

/// A saga to start.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its id; its shard is this one.
    pub id: SagaId,
    /// What will be recorded.
    pub started: Started,
    /// The revision.
    pub definition: Arc<Definition>,
    /// Its business key, hashed.
    pub key: Option<StartKey>,
    /// Who had that key when it was looked up in the store.
    pub existing: Option<Existing>,
}

/// A business key and the input that came with it, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartKey {
    /// xxh3-128 of the key.
    pub key_hash: Hash128,
    /// xxh3-128 of the canonical input.
    pub input_hash: Hash128,
}

/// A saga that has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The saga.
    pub saga: SagaId,
    /// xxh3-128 of its canonical input.
    pub input_hash: Hash128,
    /// The revision that it is pinned to.
    pub revision: u32,
}

/// What an attempt came to, as somebody says.
#[derive(Clone, Debug)]
pub struct Report {
    /// In which namespace it believes the saga to be.
    pub namespace: Arc<str>,
    /// Which saga.
    pub saga: SagaId,
    /// The step's id.
    pub step: Arc<str>,
    /// Which operation.
    pub operation: OperationKind,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// What the barrier said.
    pub verdict: Option<Verdict>,
    /// The participant instance that says so; none if the server itself does.
    pub instance: Option<Arc<str>>,
    /// The actions that this instance serves; empty if the server itself says so. A result for another action is refused.
    pub serves: Arc<[ActionName]>,
}

/// What the store has of a saga that is not in memory.
#[derive(Clone, Debug)]
pub enum LoadedSaga {
    /// It exists.
    Found(History),
    /// There is no such saga.
    Absent,
    /// The store could not say: what waits for it is refused for now.
    Unavailable,
}

/// A saga as the store has it.
#[derive(Clone, Debug)]
pub struct History {
    /// Which saga.
    pub saga: SagaId,
    /// Its row's state.
    pub state: SagaState,
    /// Its revision, or why there is none.
    pub definition: Result<Arc<Definition>, String>,
    /// Its journal rows in order, or why they cannot be read.
    pub rows: Result<Vec<JournalRow>, String>,
}

/// What leaves a shard, once the state that it was computed from is durable.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this to a participant that serves its action.
    Send(Box<Command>),
    /// This command's result no longer matters. If it is still queued: drop it, and say [`Input::Withdrawn`].
    /// If it was sent: tell the participant, which need not obey, and do not send it again on another stream.
    Withdraw {
        /// The tenant.
        namespace: Arc<str>,
        /// Which saga.
        saga: SagaId,
        /// The step's id.
        step: Arc<str>,
        /// The action that it asks for.
        action: ActionName,
        /// Which operation.
        operation: OperationKind,
        /// Which attempt.
        attempt: u32,
    },
    /// Answers [`Input::Start`].
    Started {
        /// The input's.
        token: Token,
        /// The saga, or why there is none.
        result: Result<StartAnswer, StartRefusal>,
    },
    /// Answers [`Input::Cancel`].
    Cancelled {
        /// The input's.
        token: Token,
        /// What became of it, or why nothing did.
        result: Result<CancelDisposition, CancelRefusal>,
    },
    /// Answers [`Input::Outcome`].
    Acknowledge {
        /// The input's.
        token: Token,
        /// What became of it.
        acknowledged: Acknowledged,
    },
    /// Read this saga from the store, and say [`Input::Loaded`].
    Load {
        /// Which.
        saga: SagaId,
    },
    /// This saga changed, and is in this state.
    Changed {
        /// Which.
        saga: SagaId,
        /// Where it is.
        state: SagaState,
    },
}

/// One attempt of one operation, to be sent.
#[derive(Clone, Debug)]
pub struct Command {
    /// Names the operation.
    pub key: OperationKey,
    /// Of a compensation: the key of what it undoes.
    pub forward_key: Option<OperationKey>,
    /// From 1.
    pub attempt: u32,
    /// What is asked for.
    pub action: ActionName,
    /// The definition's id.
    pub definition: Arc<str>,
    /// The revision.
    pub revision: u32,
    /// The shard's epoch.
    pub epoch: u64,
    /// The recorded input.
    pub input: Payload,
    /// How long this attempt may take, from its sending.
    pub timeout: Duration,
    /// W3C Trace Context.
    pub traceparent: Option<String>,
    /// W3C Trace Context.
    pub tracestate: Option<String>,
    /// When it became due.
    pub due_at: Time,
    /// An earlier owner may have sent this very attempt.
    pub resent: bool,
}

/// A started saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartAnswer {
    /// The saga.
    pub saga: SagaId,
    /// It is new; else the key had it already.
    pub created: bool,
    /// The revision that it is pinned to.
    pub revision: u32,
}

/// Why a saga was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartRefusal {
    /// The key has a saga with another input.
    KeyReused {
        /// That saga.
        saga: SagaId,
    },
    /// The store refuses the data.
    Data {
        /// What it said.
        message: String,
    },
    /// This node lost the shard, or cannot write: whether the saga exists is for a retry with the same key to find out.
    Unavailable,
}

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelDisposition {
    /// The abort is recorded.
    Aborted,
    /// An abort had been recorded before.
    AlreadyAborted,
    /// The pivot is in doubt: applied if it proves absent, else dropped.
    Pending,
}

/// Why a cancel did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelRefusal {
    /// There is no such saga in this namespace.
    NotFound,
    /// It has ended.
    Ended {
        /// How.
        state: SagaState,
    },
    /// It can only go forward.
    BehindPointOfNoReturn,
    /// Its history cannot be read.
    Unreadable,
    /// This node lost the shard, or cannot reach the store.
    Unavailable,
}

/// What became of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It decided its operation, or counted against its budget.
    Recorded,
    /// The operation had been decided before.
    Late,
    /// There is no such saga, step or attempt: `NOT_FOUND`.
    UnknownOperation,
    /// The instance does not serve that action: `PERMISSION_DENIED`.
    NotServed,
    /// The history cannot be read: `FAILED_PRECONDITION`.
    Unreadable,
    /// This node lost the shard, or cannot reach the store: send it again.
    Unavailable,
}
