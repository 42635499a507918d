//! Why a saga is where it is, as data: sentences for people, and the parts that they were made from.

use amends_core::{OperationKind, SagaId, Time};
use amends_definitions::ActionName;

use crate::api::SagaView;

/// Where a saga is and why, what ran where and when, what is owed, and what it waits for.
#[derive(Debug)]
pub struct Explanation {
    /// The saga as it is.
    pub view: SagaView,
    /// In words, the most important first.
    pub sentences: Vec<Sentence>,
    /// Every attempt, in the order of their ends; those under way last.
    pub attempts: Vec<AttemptView>,
    /// Compensations that are owed.
    pub owed: Vec<Owed>,
    /// What it waits for.
    pub waits_for: Vec<WaitsFor>,
}

/// A step, or one of its items under `foreach`, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The step's id.
    pub step: String,
    /// The item, from 1; 0 is the step itself.
    pub item: u32,
}

/// One sentence of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// What it is about.
    pub topic: Topic,
    /// Where, if it is about a place.
    pub at: Option<At>,
    /// In words.
    pub text: String,
}

/// What a sentence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Where the saga is.
    State,
    /// Why it is undone.
    Abort,
    /// What a person has to look at.
    Incident,
    /// Whose turn it is.
    Turn,
    /// What it waits for.
    WaitsFor,
    /// What is still to be undone.
    Owed,
    /// What an operator who gave it up left as it is.
    Left,
    /// When its forward part has to be done.
    Deadline,
    /// How a step came to its end, if that was not plain.
    Step,
}

impl Topic {
    /// Stable, upper snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Abort => "ABORT",
            Self::Incident => "INCIDENT",
            Self::Turn => "TURN",
            Self::WaitsFor => "WAITS_FOR",
            Self::Owed => "OWED",
            Self::Left => "LEFT",
            Self::Deadline => "DEADLINE",
            Self::Step => "STEP",
        }
    }
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptView {
    /// Where.
    pub at: At,
    /// Which operation.
    pub operation: OperationKind,
    /// From 0.
    pub round: u32,
    /// From 1.
    pub attempt: u32,
    /// What is called: its participant's name stands before the dot.
    pub action: Option<ActionName>,
    /// The participant instance, if it is known.
    pub instance: Option<String>,
    /// When it was sent, if it is known.
    pub sent_at: Option<Time>,
    /// When its outcome was recorded; none while it is under way.
    pub ended_at: Option<Time>,
    /// What it came to, such as `succeeded`, `withdrawn`; none while it is under way.
    pub outcome: Option<&'static str>,
    /// A failure's code.
    pub code: Option<String>,
    /// In words.
    pub message: Option<String>,
    /// When the next attempt is due.
    pub retry_at: Option<Time>,
}

/// A compensation that is owed. Where it is says the saga's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Where.
    pub at: At,
    /// The place in the saga.
    pub place: amends_core::Place,
    /// What undoes it; none for a child saga.
    pub action: Option<ActionName>,
    /// Why it has not been done yet.
    pub why: String,
}

/// Something that a saga waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitsFor {
    /// Where, if it is about a place.
    pub at: Option<At>,
    /// What.
    pub what: Awaited,
    /// Since when, if that is known.
    pub since: Option<Time>,
    /// Until when, if there is an end to it.
    pub until: Option<Time>,
    /// In words.
    pub text: String,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A participant that takes a command of this action: none serves it, or none has room.
    Participant(ActionName),
    /// The outcome of an attempt of this action.
    Outcome(ActionName),
    /// The time of the next attempt of this action.
    Retry(ActionName),
    /// A signal, by its id.
    Signal(String),
    /// A time.
    Sleep,
    /// A child saga; before it is pinned, by its definition.
    Child(ChildName),
    /// Its turn, behind this saga if one is known.
    Turn(Option<SagaId>),
    /// A time until which a late execution of the action can show itself.
    Settling,
    /// A person, because of an incident for this reason.
    Operator(&'static str),
}

/// A child saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildName {
    /// Its definition's id: it is not pinned yet.
    Definition(String),
    /// Its id.
    Saga(SagaId),
}

impl Awaited {
    /// Stable, upper snake case.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Participant(_) => "PARTICIPANT",
            Self::Outcome(_) => "OUTCOME",
            Self::Retry(_) => "RETRY",
            Self::Signal(_) => "SIGNAL",
            Self::Sleep => "SLEEP",
            Self::Child(_) => "CHILD",
            Self::Turn(_) => "TURN",
            Self::Settling => "SETTLING",
            Self::Operator(_) => "OPERATOR",
        }
    }

    /// The action, the signal, the child's definition or id, the other saga's id, or the incident's reason.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Participant(action) | Self::Outcome(action) | Self::Retry(action) => {
                action.to_string()
            }
            Self::Signal(signal) => signal.clone(),
            Self::Child(ChildName::Definition(name)) => name.clone(),
            Self::Child(ChildName::Saga(saga)) => saga.to_string(),
            Self::Turn(saga) => saga.map(|saga| saga.to_string()).unwrap_or_default(),
            Self::Operator(reason) => (*reason).to_owned(),
            Self::Sleep | Self::Settling => String::new(),
        }
    }
}
