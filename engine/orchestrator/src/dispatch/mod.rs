//! Which command goes to which participant: queues by action, attached instances with credit, what was sent to whom.
//!
//! All of it is memory, derived from committed state: after a crash the shards' outputs build it again. Locks are short,
//! and nothing is awaited under them.

mod attaching;
mod book;
mod insight;
mod offers;
mod registry;
mod session;

pub(crate) use insight::{Server, Whereabouts};
pub(crate) use registry::{Order, Registry};
pub use session::{Acknowledgement, Attachment, AttemptOutcome, Delivery, Session, SessionHandle};

use amends_core::{AttemptName, OperationKey, OperationKind, OperationName, SagaId};

/// The attempt that a key and a number name.
pub(crate) fn attempt_of(key: &OperationKey, attempt: u32) -> AttemptName {
    AttemptName {
        saga: key.saga,
        name: OperationName {
            step: key.step.clone(),
            item: key.item,
            round: key.round,
            operation: key.operation,
        },
        attempt,
    }
}

/// Sorts before every attempt of the same operation.
fn first_of(attempt: &AttemptName) -> AttemptName {
    AttemptName {
        attempt: 0,
        ..attempt.clone()
    }
}

/// Sorts before every attempt of a saga.
fn floor(saga: SagaId) -> AttemptName {
    AttemptName {
        saga,
        name: OperationName {
            step: "".into(),
            item: 0,
            round: 0,
            operation: OperationKind::Forward,
        },
        attempt: 0,
    }
}

/// An instance of a participant, for as long as it is attached or its lease runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InstanceId(u64);
