//! What a shard holds of one saga, and what it holds of a batch in flight.

use std::collections::{BTreeMap, VecDeque};

use amends_definitions::StepIndex;

use crate::fact::IncidentReason;
use crate::id::SagaId;
use crate::journal::{JournalRow, KeyInsert, SagaState};
use crate::key::Hash128;
use crate::outcome::OperationKind;
use crate::saga::{DueCommand, Phase, Saga};
use crate::shard::flight::Flights;
use crate::shard::io::{Input, Output};
use crate::time::Time;

/// A saga in memory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub saga: Saga,
    pub flights: Flights,
    /// When it came from the store; none if it began in memory.
    pub loaded_at: Option<Time>,
    /// When it is looked at again; as it stands in the shard's timers.
    pub wake_at: Option<Time>,
}

impl Entry {
    /// When an attempt in flight was last sent, or may have been: by this owner, or before its takeover by an earlier one.
    pub fn sent_at(&self, step: StepIndex, operation: OperationKind, attempt: u32) -> Option<Time> {
        let flight = self.flights.get(step, operation, attempt)?;
        flight.sent_at.or(self.loaded_at.filter(|_| flight.resent))
    }

    /// The open attempt of an operation, if it is newer than this one and is due without having left.
    pub fn unsent_successor(
        &self,
        step: StepIndex,
        operation: OperationKind,
        attempt: u32,
    ) -> Option<u32> {
        let target = self.saga.operation(step, operation);
        let Phase::Scheduled { due_at } = target.phase else {
            return None;
        };
        let open = DueCommand {
            place: step.into(),
            round: target.round,
            operation,
            attempt: target.attempt,
            due_at,
        };
        (target.attempt > attempt && !self.may_have_left(&open)).then_some(target.attempt)
    }

    /// This owner handed the open attempt out, or an earlier one may have sent it.
    pub fn may_have_left(&self, open: &DueCommand) -> bool {
        self.flights
            .get(open.place.step, open.operation, open.attempt)
            .is_some()
            || self
                .loaded_at
                .is_some_and(|loaded_at| open.due_at <= loaded_at)
    }
}

/// What a shard holds under a saga's id.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// The saga.
    Present(Box<Entry>),
    /// It was asked for; these inputs wait for it.
    Loading(VecDeque<Queued>),
    /// It exists, and cannot be read.
    Unreadable(Unreadable),
}

/// Why a saga cannot be read, and whether that is recorded.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub reason: IncidentReason,
    pub message: String,
    /// Its row's state.
    pub state: SagaState,
}

/// Something to decide.
#[derive(Clone, Debug)]
pub(super) enum Queued {
    /// From outside. A keyed start is not decided before its key was looked up.
    Input { input: Input, looked_up: bool },
    /// A saga's time came.
    Wake(SagaId),
    /// A saga that is here for the first time is compared with what is in flight.
    Reconcile(SagaId),
    /// A saga that cannot be read is parked.
    ParkUnreadable(SagaId),
    /// A saga is parked, for a reason that lies outside it.
    Park {
        saga: SagaId,
        reason: IncidentReason,
        message: String,
    },
}

/// A batch in the making or in flight: what was decided for it, and how to go back.
#[derive(Debug, Default)]
pub(super) struct InBatch {
    /// What was decided, in its order.
    pub inputs: Vec<Queued>,
    /// What was in memory before, of each saga that was touched; none if nothing was.
    pub before: BTreeMap<SagaId, Option<Slot>>,
    /// Where its rows begin.
    pub first_position: u64,
    /// Empty once it is handed out.
    pub rows: Vec<JournalRow>,
    pub keys: Vec<KeyInsert>,
    pub payload_bytes: usize,
    /// What may leave once it is durable.
    pub outputs: Vec<Output>,
    /// Keys that were taken in it.
    pub key_names: Vec<KeyName>,
}

/// A business key, within its shard.
pub(super) type KeyName = (std::sync::Arc<str>, std::sync::Arc<str>, Hash128);
