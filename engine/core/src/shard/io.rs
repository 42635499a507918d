//! What goes into a shard and what comes out: plain data.

use std::sync::Arc;
use std::time::Duration;

use amends_definitions::{ActionName, Definition, DefinitionHash, Payload};

use crate::fact::{ChildOutcome, ChildRequested, Parent, Started};
use crate::id::{AttemptName, OperationKey, SagaId};
use crate::journal::{JournalRow, SagaState};
use crate::key::Hash128;
use crate::outcome::{OperationKind, Outcome, Verdict};
use crate::saga::Saga;
use crate::time::Time;

/// The caller's own mark on an input; comes back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What a decision may know beside its saga. What it learns here is recorded in facts, never asked again on replay.
pub trait Surroundings {
    /// A participant that serves this action offered it as standing behind a barrier.
    fn stands_behind_barrier(&self, namespace: &str, action: &ActionName) -> bool;

    /// Which participant's instance has this attempt, as far as anybody knows: after a restart it may have been sent before.
    fn ran_by(&self, attempt: &AttemptName) -> Option<String> {
        let _ = attempt;
        None
    }
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
        /// Which.
        attempt: AttemptName,
    },
    /// A command was still queued, and is not any more: it was never sent, and never will be.
    Withdrawn {
        /// Which.
        attempt: AttemptName,
    },
    /// An attempt is still under way. Never recorded.
    Heartbeat {
        /// Which.
        attempt: AttemptName,
    },
    /// A signal for a saga. Answered by [`Output::Signalled`].
    Signal {
        /// Comes back with the answer.
        token: Token,
        /// What came.
        signal: Box<Signal>,
    },
    /// An operator's act. Answered by [`Output::Acted`].
    Order {
        /// Comes back with the answer.
        token: Token,
        /// What is asked for.
        order: Box<Order>,
    },
    /// A parent wants something of its child, which lives here. Answered by [`Output::AnswerParent`], at once and again
    /// when the child ends.
    Child(Box<ChildWish>),
    /// A child, or who looked for its definition, answers its parent, which lives here.
    ChildAnswered(Box<ChildAnswer>),
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
    /// Which attempt.
    pub attempt: AttemptName,
    /// The epoch of the command that it answers; none if that is not said.
    pub epoch: Option<u64>,
    /// What it came to.
    pub outcome: Outcome,
    /// What the barrier said.
    pub verdict: Option<Verdict>,
    /// The participant instance that says so, or that had the attempt if the server itself says so; none if nobody knows.
    pub instance: Option<Arc<str>>,
    /// The actions that this instance serves; empty if the server itself says so. A result for another action is refused.
    pub serves: Arc<[ActionName]>,
}

/// A signal for a saga.
#[derive(Clone, Debug)]
pub struct Signal {
    /// In which namespace the sender believes the saga to be.
    pub namespace: Arc<str>,
    /// Which saga.
    pub saga: SagaId,
    /// The signal's id in the definition.
    pub signal: String,
    /// What comes with it.
    pub payload: Payload,
    /// Who sends it.
    pub by: String,
    /// The sender's own id for it: another signal with the same one is a duplicate.
    pub dedupe_id: Option<String>,
}

/// Why a signal was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalRefusal {
    /// There is no such saga in this namespace.
    NotFound,
    /// Its definition declares no such signal.
    Undeclared {
        /// Those that it declares.
        declared: Vec<String>,
    },
    /// The payload does not satisfy the signal's schema: JSON pointers and words.
    Invalid {
        /// What is wrong.
        violations: Vec<(String, String)>,
    },
    /// It has ended.
    Ended {
        /// How.
        state: SagaState,
    },
    /// Too many signals wait in it.
    Full,
    /// Its history cannot be read.
    Unreadable,
    /// This node lost the shard, or cannot reach the store.
    Unavailable,
}

/// An operator's act on a saga.
#[derive(Clone, Debug)]
pub struct Order {
    /// In which namespace the operator believes the saga to be.
    pub namespace: Arc<str>,
    /// Which saga.
    pub saga: SagaId,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Only say what would become of it.
    pub dry_run: bool,
    /// What.
    pub verb: Verb,
}

/// What an operator asks for; the steps by their names. See [`crate::fact::Act`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Try a parked operation again.
    Retry {
        /// Which.
        target: Target,
        /// Instead of the recorded input: a new round.
        input: Option<Payload>,
    },
    /// Take a step for skipped.
    Skip {
        /// Which; its operation is the action.
        target: Target,
    },
    /// Take a parked operation for done.
    Resolve {
        /// Which.
        target: Target,
        /// What stands for its output.
        output: Payload,
    },
    /// Take a saga for completed whose steps are done and whose output has no value.
    ResolveSaga {
        /// What stands for its output.
        output: Payload,
    },
    /// A parked operation is known to have had no effect.
    ResolveAbsent {
        /// Which.
        target: Target,
    },
    /// Undo the saga.
    Compensate,
    /// Begin nothing more going forward.
    Pause,
    /// Go on.
    Resume,
    /// End the saga as it is.
    Terminate,
}

/// An operation of a step, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The step's id.
    pub step: Arc<str>,
    /// The item under `foreach`, from 1; 0 is the step itself.
    pub item: u32,
    /// Which operation.
    pub operation: OperationKind,
}

/// Why an operator's act did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderRefusal {
    /// There is no such saga in this namespace.
    NotFound,
    /// Its definition has no such step, or the step no such item.
    UnknownStep,
    /// It would break what a saga promises, or there is nothing to do it to.
    Refused {
        /// Stable, upper snake case, such as `NOT_PARKED`, `PIVOT`, `BEHIND_POINT_OF_NO_RETURN`.
        code: &'static str,
        /// Why, and what can be done instead.
        message: String,
    },
    /// Its history cannot be read.
    Unreadable,
    /// This node lost the shard, or cannot reach the store.
    Unavailable,
}

/// A child that a parent's step asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildRequest {
    /// The tenant.
    pub namespace: Arc<str>,
    /// Whose child.
    pub parent: Parent,
    /// The child may have a pivot: the parent's step is a pivot or retriable.
    pub may_have_pivot: bool,
    /// What is asked for.
    pub requested: ChildRequested,
}

/// What a parent wants of its child.
#[derive(Clone, Debug)]
pub struct ChildWish {
    /// The child; its shard is the one that gets this.
    pub child: SagaId,
    /// Whose child.
    pub parent: Parent,
    /// The tenant.
    pub namespace: Arc<str>,
    /// What it begins with, if it does not exist: to run, or to be on record as never begun.
    pub start: Box<ChildStart>,
    /// What is wanted.
    pub want: Want,
}

/// What a parent wants of its child. Idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// That it runs: begins, if it does not exist.
    Run,
    /// That it is undone: aborted if it runs, compensated if it has completed. One that does not exist is recorded as
    /// begun and compensated at once: a wish to run that was overtaken must not begin it.
    Undo {
        /// The parent's reason.
        code: String,
        /// In words.
        message: String,
    },
}

/// What a child begins with.
#[derive(Clone, Debug)]
pub struct ChildStart {
    /// The child's definition.
    pub name: Arc<str>,
    /// The revision that it is pinned to.
    pub revision: u32,
    /// The revision's hash.
    pub hash: DefinitionHash,
    /// The business key.
    pub key: Option<String>,
    /// The input.
    pub input: Payload,
    /// W3C Trace Context.
    pub traceparent: Option<String>,
    /// W3C Trace Context.
    pub tracestate: Option<String>,
    /// What the runtime made of it, ready to be decided; none on its way out of the parent's shard.
    pub resolved: Option<Box<Start>>,
}

/// What a parent is told of its child.
#[derive(Clone, Debug)]
pub struct ChildAnswer {
    /// Whose child; `parent.saga`'s shard is the one that gets this.
    pub parent: Parent,
    /// Where the child is.
    pub state: ChildState,
}

/// Where a child is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Its revision is found, its input fits.
    Pinned {
        /// Its id.
        child: SagaId,
        /// The revision.
        revision: u32,
        /// The revision's hash.
        hash: DefinitionHash,
    },
    /// No child of this step can begin. Only whoever looked for the definition says so, and only as long as the step has
    /// no child yet: it may have been asked twice, and found another revision the second time.
    Refused {
        /// Upper snake case.
        code: String,
        /// In words.
        message: String,
    },
    /// It runs, or is being undone: it answers again when it ends.
    UnderWay,
    /// It ended; or it never began, and never will.
    Ended(ChildOutcome),
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
    Send(Arc<Command>),
    /// This command's result no longer matters. If it is still queued: drop it, and say [`Input::Withdrawn`].
    /// If it was sent: tell the participant, which need not obey, and do not send it again on another stream.
    Withdraw {
        /// The tenant.
        namespace: Arc<str>,
        /// Which.
        attempt: AttemptName,
        /// The action that it asks for.
        action: ActionName,
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
    /// Answers [`Input::Signal`].
    Signalled {
        /// The input's.
        token: Token,
        /// True if it was accepted, false if it had been before; or why not.
        result: Result<bool, SignalRefusal>,
    },
    /// Answers [`Input::Order`].
    Acted {
        /// The input's.
        token: Token,
        /// Where the saga is then; or why nothing was done.
        result: Result<SagaState, OrderRefusal>,
    },
    /// Find the newest revision of this definition, check the input against it, and say [`Input::ChildAnswered`] with
    /// [`ChildState::Pinned`] or [`ChildState::Refused`].
    ResolveChild(Box<ChildRequest>),
    /// Say [`Input::Child`] to the child's shard.
    AskChild(Box<ChildWish>),
    /// Say [`Input::ChildAnswered`] to the parent's shard.
    AnswerParent(Box<ChildAnswer>),
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
        /// The saga itself as it is then, if it has ended or is parked, and can be read.
        settled: Option<Arc<Saga>>,
        /// How many incidents it had ever had before: those of a higher number are new.
        incidents_before: u32,
    },
}

/// One attempt of one operation, to be sent.
#[derive(Clone, Debug)]
pub struct Command {
    /// Names the operation.
    pub key: OperationKey,
    /// Of a compensation or a query: the key of the action.
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
    /// How long this attempt may be silent.
    pub heartbeat: Option<Duration>,
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
    /// As many sagas of its definition run as may run at a time, and it does not queue.
    LimitReached {
        /// How many.
        max: u32,
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
    /// This node lost the shard, as the epoch of the command may tell, or cannot reach the store: send it again.
    Unavailable,
}
