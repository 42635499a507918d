//! The checked definition: private fields, built by the checks alone, so whoever holds one need not check again.
//! Deliberately not here: YAML, serde and the normal form (`document`, `normal`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::expression::{Expression, Mapping};
use crate::graph::Graph;
use crate::schema::Schema;

/// SHA-256 over a definition's normal form. Sagas stay pinned to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionHash(pub [u8; 32]);

impl fmt::Display for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
    pub(crate) input_schema: Option<Schema>,
    pub(crate) output: Option<Mapping>,
    pub(crate) compensation: CompensationPolicy,
    pub(crate) steps: Vec<Step>,
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
        let at = self.steps.iter().position(|step| step.id == id)?;
        u16::try_from(at).ok().map(StepIndex)
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
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) when: Option<Expression>,
    pub(crate) action: ActionName,
    pub(crate) input: Option<Mapping>,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeouts: Timeouts,
    pub(crate) compensation: Compensation,
}

impl Step {
    /// Its id, unique in the definition.
    #[must_use]
    pub fn id(&self) -> &str {
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
    /// The step is a pivot or retriable: the question never comes up.
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
}
