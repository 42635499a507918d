//! The checked definition: private fields, built by the checks alone, so whoever holds one need not check again.
//! Deliberately not here: YAML, serde and the normal form (`document`, `normal`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::expression::{Expression, Mapping};
use crate::graph::Graph;
use crate::schema::Schema;

/// SHA-256 over a definition's normal form. Sagas stay pinned to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionHash(pub [u8; 32]);

impl fmt::Display for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        let (pairs, _) = text.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.0) {
            *pair = [byte >> 4, byte & 15].map(|nibble| DIGITS[usize::from(nibble)]);
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DefinitionHash({self})")
    }
}

/// A step's place in its definition, in document order from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(pub u16);

impl StepIndex {
    /// As an index into [`Definition::steps`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// `participant.action`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionName(std::sync::Arc<str>);

impl ActionName {
    /// Takes a name that a check has accepted as `participant.action`.
    pub fn new(name: impl Into<std::sync::Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the dot.
    #[must_use]
    pub fn participant(&self) -> &str {
        self.0
            .split_once('.')
            .map_or("", |(participant, _)| participant)
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What role a step plays in the saga (Mehrotra, Weikum, Richardson).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Its effect can be undone.
    Compensatable,
    /// After its success the saga can only go forward.
    Pivot,
    /// Retried until it succeeds, or parks.
    Retriable,
}

/// A checked definition.
#[derive(Debug)]
pub struct Definition {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) key: Option<Expression>,
    pub(crate) ordering_key: Option<Expression>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) signals: BTreeMap<String, Signal>,
    pub(crate) retention: Duration,
    pub(crate) input_schema: Option<Schema>,
    pub(crate) output: Option<Mapping>,
    pub(crate) compensation: CompensationPolicy,
    pub(crate) steps: Vec<Step>,
    /// Sorted by their ids.
    pub(crate) by_id: Box<[StepIndex]>,
    pub(crate) graph: Graph,
    pub(crate) hash: DefinitionHash,
}

impl Definition {
    /// The definition's id, a DNS label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The author's own version.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The author's description.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The author's labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Computes the business key from a start's input.
    #[must_use]
    pub fn key(&self) -> Option<&Expression> {
        self.key.as_ref()
    }

    /// Computes the key whose sagas run one at a time, first come first served.
    #[must_use]
    pub fn ordering_key(&self) -> Option<&Expression> {
        self.ordering_key.as_ref()
    }

    /// How long the forward part may take.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// How many sagas of this definition run at a time.
    #[must_use]
    pub fn concurrency(&self) -> Option<Concurrency> {
        self.concurrency
    }

    /// The signals that its sagas take, by id.
    #[must_use]
    pub fn signals(&self) -> &BTreeMap<String, Signal> {
        &self.signals
    }

    /// How long the history is kept after the end.
    #[must_use]
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// What a start's input has to satisfy.
    #[must_use]
    pub fn input_schema(&self) -> Option<&Schema> {
        self.input_schema.as_ref()
    }

    /// Computes the saga's output at the end.
    #[must_use]
    pub fn output(&self) -> Option<&Mapping> {
        self.output.as_ref()
    }

    /// How compensations run.
    #[must_use]
    pub fn compensation(&self) -> &CompensationPolicy {
        &self.compensation
    }

    /// The steps in document order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The index of each step, in document order.
    pub fn step_indices(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..self.steps.len()).map(crate::graph::index)
    }

    /// One step.
    ///
    /// # Panics
    /// If the index is of another definition.
    #[must_use]
    pub fn step(&self, index: StepIndex) -> &Step {
        &self.steps[index.index()]
    }

    /// Finds a step by its id.
    #[must_use]
    pub fn step_index(&self, id: &str) -> Option<StepIndex> {
        let id_of = |index: &StepIndex| &*self.step(*index).id;
        let at = self.by_id.binary_search_by(|index| id_of(index).cmp(id));
        at.ok().map(|at| self.by_id[at])
    }

    /// The step that is the pivot.
    #[must_use]
    pub fn pivot(&self) -> Option<StepIndex> {
        let at = self
            .steps
            .iter()
            .position(|step| step.kind == Kind::Pivot)?;
        u16::try_from(at).ok().map(StepIndex)
    }

    /// Needs and dependants, with their closures.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// SHA-256 over the normal form.
    #[must_use]
    pub fn hash(&self) -> DefinitionHash {
        self.hash
    }
}

/// A checked step.
#[derive(Debug)]
pub struct Step {
    pub(crate) id: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) when: Option<Expression>,
    pub(crate) foreach: Option<Foreach>,
    pub(crate) work: Work,
    pub(crate) output_schema: Option<Schema>,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeouts: Timeouts,
    pub(crate) on_error: Vec<Route>,
    pub(crate) compensation: Compensation,
}

impl Step {
    /// Its id, unique in the definition.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its id, for whoever keeps it: a copy costs nothing.
    #[must_use]
    pub fn shared_id(&self) -> &Arc<str> {
        &self.id
    }

    /// Its role.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// False skips the step.
    #[must_use]
    pub fn when(&self) -> Option<&Expression> {
        self.when.as_ref()
    }

    /// The list that it is done for, item by item.
    #[must_use]
    pub fn foreach(&self) -> Option<&Foreach> {
        self.foreach.as_ref()
    }

    /// What it does.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// What it calls, if it calls a participant.
    #[must_use]
    pub fn action(&self) -> Option<&ActionName> {
        self.call().map(|call| &call.action)
    }

    /// Its call, if it calls a participant.
    #[must_use]
    pub fn call(&self) -> Option<&Call> {
        match &self.work {
            Work::Call(call) => Some(call),
            Work::Wait(_) | Work::Sleep(_) | Work::Saga(_) | Work::Emit(_) | Work::Fail(_) => None,
        }
    }

    /// What its output, under `foreach` each item's, has to satisfy.
    #[must_use]
    pub fn output_schema(&self) -> Option<&Schema> {
        self.output_schema.as_ref()
    }

    /// Where a definite failure leads, the first that matches.
    #[must_use]
    pub fn on_error(&self) -> &[Route] {
        &self.on_error
    }

    /// How its action is retried.
    #[must_use]
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// How long its action may take.
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// What undoes it.
    #[must_use]
    pub fn compensation(&self) -> &Compensation {
        &self.compensation
    }
}

/// What a step does.
#[derive(Debug)]
pub enum Work {
    /// Calls a participant.
    Call(Call),
    /// Waits for a signal.
    Wait(Wait),
    /// Waits for a time.
    Sleep(Sleep),
    /// Runs another saga.
    Saga(ChildSaga),
    /// Records an event.
    Emit(Emit),
    /// Fails the saga on purpose.
    Fail(Fail),
}

/// `call: participant.action`.
#[derive(Debug)]
pub struct Call {
    pub(crate) action: ActionName,
    pub(crate) input: Option<Mapping>,
    pub(crate) query: Option<ActionName>,
}

impl Call {
    /// What it calls.
    #[must_use]
    pub fn action(&self) -> &ActionName {
        &self.action
    }

    /// Computes the action's input; none means `{}`.
    #[must_use]
    pub fn input(&self) -> Option<&Mapping> {
        self.input.as_ref()
    }

    /// What tells whether the action had an effect, when its outcome is unknown. Its input is the action's.
    #[must_use]
    pub fn query(&self) -> Option<&ActionName> {
        self.query.as_ref()
    }
}

/// `wait: {signal, timeout, onTimeout}`. The step's output is the signal's payload.
#[derive(Debug)]
pub struct Wait {
    pub(crate) signal: String,
    pub(crate) timeout: Option<Duration>,
    pub(crate) on_timeout: Then,
}

impl Wait {
    /// The signal's id.
    #[must_use]
    pub fn signal(&self) -> &str {
        &self.signal
    }

    /// How long it waits; none means for ever.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// What follows when the time is over. `continue` leaves the step without an output.
    #[must_use]
    pub fn on_timeout(&self) -> Then {
        self.on_timeout
    }
}

/// `sleep: 15m`, or `sleep: {until: expression}`. The step has no output.
#[derive(Debug)]
pub enum Sleep {
    /// For this long.
    For(Duration),
    /// Until the time that the expression yields, an RFC 3339 text; a time that has passed is over at once.
    Until(Expression),
}

/// `saga: {name, key, input}`. The step's output is the child's.
#[derive(Debug)]
pub struct ChildSaga {
    pub(crate) name: String,
    pub(crate) key: Option<Expression>,
    pub(crate) input: Option<Mapping>,
}

impl ChildSaga {
    /// The child's definition, in the same namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Computes the child's business key.
    #[must_use]
    pub fn key(&self) -> Option<&Expression> {
        self.key.as_ref()
    }

    /// Computes the child's input; none means `{}`.
    #[must_use]
    pub fn input(&self) -> Option<&Mapping> {
        self.input.as_ref()
    }
}

/// `emit: {type, subject, data}`. The step has no output.
#[derive(Debug)]
pub struct Emit {
    pub(crate) event_type: String,
    pub(crate) subject: Option<Mapping>,
    pub(crate) data: Option<Mapping>,
}

impl Emit {
    /// The event's type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Computes the event's subject, a string.
    #[must_use]
    pub fn subject(&self) -> Option<&Mapping> {
        self.subject.as_ref()
    }

    /// Computes the event's data; none means null.
    #[must_use]
    pub fn data(&self) -> Option<&Mapping> {
        self.data.as_ref()
    }
}

/// `fail: {code, message}`.
#[derive(Debug)]
pub struct Fail {
    pub(crate) code: String,
    pub(crate) message: Option<Mapping>,
}

impl Fail {
    /// The code of the failure.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Computes the words, a string.
    #[must_use]
    pub fn message(&self) -> Option<&Mapping> {
        self.message.as_ref()
    }
}

/// `foreach`: the step is done once for each item of a list, each item for itself.
#[derive(Debug)]
pub struct Foreach {
    pub(crate) list: Expression,
    pub(crate) name: String,
    pub(crate) key: Option<Expression>,
    pub(crate) max_parallel: u32,
    pub(crate) max_items: u32,
}

impl Foreach {
    /// `in`: computes the list.
    #[must_use]
    pub fn list(&self) -> &Expression {
        &self.list
    }

    /// `as`: the root under which expressions see the item.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Computes an item's key, which has to be unique in the list; none means its place in the list.
    #[must_use]
    pub fn key(&self) -> Option<&Expression> {
        self.key.as_ref()
    }

    /// How many items are under way at a time, forward and backward.
    #[must_use]
    pub fn max_parallel(&self) -> u32 {
        self.max_parallel
    }

    /// A longer list fails the step.
    #[must_use]
    pub fn max_items(&self) -> u32 {
        self.max_items
    }
}

/// One of `onError`.
#[derive(Debug)]
pub struct Route {
    pub(crate) codes: Vec<String>,
    pub(crate) when: Option<Expression>,
    pub(crate) then: Then,
    pub(crate) output: Option<Mapping>,
}

impl Route {
    /// The codes that it is for; empty for all. `FATAL` is every fatal outcome, `EXHAUSTED` every spent budget.
    #[must_use]
    pub fn codes(&self) -> &[String] {
        &self.codes
    }

    /// False lets the next route have it. Sees `error`.
    #[must_use]
    pub fn when(&self) -> Option<&Expression> {
        self.when.as_ref()
    }

    /// Where it leads.
    #[must_use]
    pub fn then(&self) -> Then {
        self.then
    }

    /// With `continue`: the step's output. Sees `error`.
    #[must_use]
    pub fn output(&self) -> Option<&Mapping> {
        self.output.as_ref()
    }
}

/// Where a failure, or a time that is over, leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Then {
    /// The saga is undone.
    Compensate,
    /// The saga goes on as if the step had succeeded.
    Continue,
    /// A person has to look.
    Park,
}

/// `timeout` and `onTimeout` of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// From the start.
    pub after: Duration,
    /// `Compensate` or `Park`.
    pub then: Then,
}

/// `concurrency` of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Sagas that run at a time, 1 or more.
    pub max: u32,
    /// What becomes of one more.
    pub on_limit: OnLimit,
}

/// What becomes of a start above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// It waits for its turn.
    Queue,
    /// It is refused.
    Reject,
}

/// A declared signal.
#[derive(Debug)]
pub struct Signal {
    pub(crate) schema: Option<Schema>,
}

impl Signal {
    /// What its payload has to satisfy.
    #[must_use]
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }
}

/// What undoes a step.
#[derive(Debug)]
pub enum Compensation {
    /// A call.
    Call(CompensationCall),
    /// Nothing, and the author says why.
    None {
        /// The author's reason.
        why: String,
    },
    /// The step runs another saga: undoing it is aborting or compensating the child.
    Child,
    /// The step is a pivot or retriable, or has no effect outside its saga: the question never comes up.
    NotApplicable,
}

/// The call that undoes a step.
#[derive(Debug)]
pub struct CompensationCall {
    pub(crate) action: ActionName,
    pub(crate) input: Option<Mapping>,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeouts: Timeouts,
}

impl CompensationCall {
    /// What it calls.
    #[must_use]
    pub fn action(&self) -> &ActionName {
        &self.action
    }

    /// Computes its input; none means `{input, output or null, reason}`.
    #[must_use]
    pub fn input(&self) -> Option<&Mapping> {
        self.input.as_ref()
    }

    /// How it is retried; without bound unless the author says so.
    #[must_use]
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// How long it may take.
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }
}

/// How the compensations of a saga run.
#[derive(Clone, Debug, PartialEq)]
pub struct CompensationPolicy {
    /// In which order.
    pub order: CompensationOrder,
    /// A compensation that takes longer than this, from its first scheduling, parks.
    pub park_after: Duration,
}

/// In which order compensations run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompensationOrder {
    /// The reverse of the dependencies, independent ones in parallel.
    Reverse,
    /// All at once.
    Parallel,
}

/// When and how often to try again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Before the second attempt.
    pub initial_interval: Duration,
    /// Each interval is this times the one before; 1 or more.
    pub backoff: f64,
    /// No interval is longer.
    pub max_interval: Duration,
    /// Each interval is spread by this fraction of itself, up and down; 0 to 1.
    pub jitter: f64,
    /// Attempts in all, the first included; 0 means no bound.
    pub max_attempts: u32,
    /// No attempt begins later than this after the first.
    pub max_elapsed: Option<Duration>,
    /// Codes of failures that are not retried.
    pub non_retryable: Vec<String>,
}

/// How long an operation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// One attempt, from its sending.
    pub attempt: Duration,
    /// All attempts, from the first scheduling.
    pub total: Option<Duration>,
    /// Waiting for a participant to take it.
    pub schedule: Option<Duration>,
    /// Silence of an attempt under way; less than `attempt`.
    pub heartbeat: Option<Duration>,
}
