//! What an attempt can come to, and who said so.

use std::time::Duration;

use amends_definitions::Payload;

/// Which operation of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// The action.
    Forward,
    /// What undoes it.
    Compensate,
    /// Whether the action had an effect.
    Query,
}

impl OperationKind {
    /// As it stands in keys and histories.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Compensate => "compensate",
            Self::Query => "query",
        }
    }

    /// Reads [`OperationKind::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "forward" => Some(Self::Forward),
            "compensate" => Some(Self::Compensate),
            "query" => Some(Self::Query),
            _ => None,
        }
    }
}

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It had its effect. Of a query: the action had its effect.
    Succeeded {
        /// What the participant answered; of a query, the action's output.
        output: Payload,
    },
    /// It had its effect, and the answer cannot be used: too large, or not JSON. Never retried.
    Unusable {
        /// `OUTPUT_INVALID` or `OUTPUT_TOO_LARGE`.
        code: String,
        /// In words.
        message: String,
    },
    /// A business "no": without effect.
    Rejected {
        /// The participant's code.
        code: String,
        /// In words.
        message: String,
    },
    /// An error that was not expected; not known to be without effect.
    Failed {
        /// The participant's code.
        code: String,
        /// In words.
        message: String,
        /// Not again before this.
        retry_after: Option<Duration>,
    },
    /// It can never work: without effect, not retried.
    Fatal {
        /// Whose code depends on who said it.
        code: String,
        /// In words.
        message: String,
    },
    /// Nobody knows. The server alone says so.
    Unknown {
        /// `ATTEMPT_TIMEOUT` or `STREAM_LOST`.
        code: String,
        /// In words.
        message: String,
    },
    /// Of a compensation: the action never had an effect and, behind the barrier, never will.
    NothingToUndo,
    /// Of an action: its compensation was there first; without effect.
    Superseded,
    /// Of a query: the action has had no effect, and never will have.
    Absent,
}

impl Outcome {
    /// As it stands in histories.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Unusable { .. } => "unusable",
            Self::Rejected { .. } => "rejected",
            Self::Failed { .. } => "failed",
            Self::Fatal { .. } => "fatal",
            Self::Unknown { .. } => "unknown",
            Self::NothingToUndo => "nothing_to_undo",
            Self::Superseded => "superseded",
            Self::Absent => "absent",
        }
    }

    /// How long the participant asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed { retry_after, .. } => *retry_after,
            Self::Succeeded { .. }
            | Self::Unusable { .. }
            | Self::Rejected { .. }
            | Self::Fatal { .. }
            | Self::Unknown { .. }
            | Self::NothingToUndo
            | Self::Superseded
            | Self::Absent => None,
        }
    }

    /// The code and the words of an outcome that is not a success.
    #[must_use]
    pub fn error(&self) -> Option<(&str, &str)> {
        match self {
            Self::Unusable { code, message }
            | Self::Rejected { code, message }
            | Self::Failed { code, message, .. }
            | Self::Fatal { code, message }
            | Self::Unknown { code, message } => Some((code, message)),
            Self::Superseded => Some((
                "SUPERSEDED",
                "the barrier refused it: its compensation was there first",
            )),
            Self::Succeeded { .. } | Self::NothingToUndo | Self::Absent => None,
        }
    }
}

/// What a barrier said about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The first time: the outcome is recorded beside the effect.
    First,
    /// It had been there: this is the outcome recorded then.
    Duplicate,
    /// A compensation without its action.
    NothingToUndo,
    /// An action after its compensation.
    Superseded,
}

impl Verdict {
    /// As it stands in histories.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Duplicate => "duplicate",
            Self::NothingToUndo => "nothing_to_undo",
            Self::Superseded => "superseded",
        }
    }

    /// Reads [`Verdict::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::First,
            Self::Duplicate,
            Self::NothingToUndo,
            Self::Superseded,
        ]
        .into_iter()
        .find(|verdict| verdict.as_str() == text)
    }
}
