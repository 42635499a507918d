//! Why a request was refused: a kind that maps to a gRPC code, a stable reason, and words.

use std::collections::BTreeMap;
use std::time::Duration;

/// A refused request. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal.
    pub kind: Kind,
    /// Stable, upper snake case, such as `KEY_REUSED`.
    pub reason: &'static str,
    /// What happened, why, and what to do.
    pub message: String,
    /// Fields and what is wrong with them.
    pub violations: Vec<(String, String)>,
    /// More, by name.
    pub metadata: BTreeMap<String, String>,
}

/// What kind of refusal; each is one gRPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `INVALID_ARGUMENT`.
    InvalidArgument,
    /// `NOT_FOUND`.
    NotFound,
    /// `ALREADY_EXISTS`.
    AlreadyExists,
    /// `PERMISSION_DENIED`.
    PermissionDenied,
    /// `FAILED_PRECONDITION`.
    FailedPrecondition,
    /// `RESOURCE_EXHAUSTED`; come back after this, if it is given.
    ResourceExhausted {
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// `UNAVAILABLE`: try again.
    Unavailable,
    /// `UNIMPLEMENTED`.
    Unimplemented,
}

impl Refusal {
    /// A refusal without further detail.
    #[must_use]
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason,
            message: message.into(),
            violations: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// `UNAVAILABLE`.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, "UNAVAILABLE", message)
    }

    /// Names a field and what is wrong with it.
    #[must_use]
    pub fn with_violation(
        mut self,
        field: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.violations.push((field.into(), description.into()));
        self
    }

    /// Adds a detail by name.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }
}
