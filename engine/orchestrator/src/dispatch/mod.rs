//! Which command goes to which participant: queues by action, attached instances with credit, what was sent to whom.
//!
//! All of it is memory, derived from committed state: after a crash the shards' outputs build it again. Locks are short,
//! and nothing is awaited under them.

mod attaching;
mod book;
mod offers;
mod registry;
mod session;

pub(crate) use registry::{Order, Registry};
pub use session::{Acknowledgement, Attachment, AttemptOutcome, Delivery, Session, SessionHandle};

use std::sync::Arc;

use amends_core::shard::Input;
use amends_core::{OperationKey, OperationKind, SagaId};

/// Names an attempt in memory. Sorts by saga, then operation, then attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attempt {
    pub(crate) saga: SagaId,
    pub(crate) step: Arc<str>,
    pub(crate) operation: OperationKind,
    pub(crate) attempt: u32,
}

impl Attempt {
    pub(crate) fn of(key: &OperationKey, attempt: u32) -> Self {
        Self {
            saga: key.saga,
            step: key.step.as_str().into(),
            operation: key.operation,
            attempt,
        }
    }

    pub(crate) fn into_sent(self) -> Input {
        let Self {
            saga,
            step,
            operation,
            attempt,
        } = self;
        Input::Sent {
            saga,
            step,
            operation,
            attempt,
        }
    }

    pub(crate) fn into_withdrawn(self) -> Input {
        let Self {
            saga,
            step,
            operation,
            attempt,
        } = self;
        Input::Withdrawn {
            saga,
            step,
            operation,
            attempt,
        }
    }

    /// The first attempt of the same operation, in the order of attempts.
    fn first(&self) -> Self {
        Self {
            attempt: 0,
            ..self.clone()
        }
    }

    /// Sorts before every attempt of a saga.
    fn floor(saga: SagaId) -> Self {
        Self {
            saga,
            step: "".into(),
            operation: OperationKind::Forward,
            attempt: 0,
        }
    }
}

/// An instance of a participant, for as long as it is attached or its lease runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InstanceId(u64);
