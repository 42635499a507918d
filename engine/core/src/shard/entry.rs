//! What a shard holds of one saga, and what it holds of a batch in flight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::fact::{IncidentReason, Started};
use crate::id::SagaId;
use crate::journal::{JournalRow, KeyInsert, SagaState};
use crate::key::Hash128;
use crate::saga::{DueCommand, Phase, Saga};
use crate::shard::children::Asks;
use crate::shard::flight::{Attempt, Flights};
use crate::shard::io::{Input, Output, Surroundings};
use crate::shard::turns::Held;
use crate::time::Time;

/// A saga in memory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Shared with the copy that a batch in flight keeps, until it changes.
    pub saga: Arc<Saga>,
    pub flights: Flights,
    /// What was asked of others about its children.
    pub asks: Asks,
    /// The position of its start.
    pub position: u64,
    /// What was scheduled when it came into memory; none if it began with this owner.
    pub inherited: Option<Inherited>,
    /// What an earlier owner sent may show itself for its time from then on; none if the saga began with this one. Unlike
    /// what is inherited it does not move when the saga leaves memory and comes back.
    pub settles_from: Option<Time>,
    /// When it is looked at again; as it stands in the shard's timers.
    pub wake_at: Option<Time>,
    /// What its row says once the batch in flight is written; none before its first batch.
    pub row: Option<Row>,
    /// It only waits, until then: it may leave memory.
    pub rests_until: Option<Time>,
    /// The store refused what its own timers led to: they rest until something arrives for it.
    pub refused: bool,
}

/// What an earlier owner may have sent, of a saga that came into memory; or this one, before the saga left it.
#[derive(Clone, Debug)]
pub(super) struct Inherited {
    /// What was due by then.
    pub at: Time,
    /// The last that was scheduled, in the saga's order: what is behind it was scheduled since. A time does not tell that: if
    /// the clock is behind the saga's own, they are the same.
    pub last_order: u32,
    /// What is due later by this owner's clock, and was due already by an earlier one's.
    pub ahead: Vec<DueCommand>,
}

impl Inherited {
    pub fn may_have_sent(&self, open: &DueCommand) -> bool {
        open.order <= self.last_order && (open.due_at <= self.at || self.ahead.contains(open))
    }
}

/// What is written into a saga's row whenever it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub state: SagaState,
    pub turn_granted: bool,
    /// When it has to be in memory again; of a saga that was loaded, [`Time::EPOCH`]: some time, not later than it asks for.
    pub wake_at: Option<Time>,
}

/// A timer that has to be set earlier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Earlier {
    pub at: Time,
    /// What it was before.
    pub late: Option<Time>,
}

impl Entry {
    /// A saga that begins at this position.
    pub fn new(saga: Saga, position: u64) -> Self {
        Self {
            saga: Arc::new(saga),
            flights: Flights::default(),
            asks: Asks::default(),
            position,
            inherited: None,
            settles_from: None,
            wake_at: None,
            row: None,
            rests_until: None,
            refused: false,
        }
    }

    /// It has to be looked at by then, as things are; none if it is anyway, or rests whatever its timers say.
    pub fn wake_by(&mut self, at: Time) -> Option<Earlier> {
        if self.refused || self.wake_at.is_some_and(|before| before <= at) {
            return None;
        }
        let late = self.wake_at.replace(at);
        Some(Earlier { at, late })
    }

    /// What a decision takes for now. A saga's own time never goes backwards, and is not before anything that an earlier
    /// owner may have done, whose clock was ahead.
    pub fn time(&self, now: Time) -> Time {
        let is_open = |ahead: &&DueCommand| {
            let target = self.saga.operation(ahead.place, ahead.operation);
            (target.round, target.attempt) == (ahead.round, ahead.attempt) && target.is_open()
        };
        let ahead = self.inherited.iter().flat_map(|inherited| &inherited.ahead);
        let open = ahead.filter(is_open);
        let latest = open.map(|ahead| ahead.due_at).max();
        now.max(self.saga.updated_at())
            .max(latest.unwrap_or(Time::EPOCH))
    }

    /// When an attempt in flight was last sent, or may have been: by this owner, or before its takeover by an earlier one.
    pub fn sent_at(&self, attempt: Attempt) -> Option<Time> {
        let flight = self.flights.get(attempt)?;
        let inherited = self.inherited.as_ref().filter(|_| flight.resent);
        flight.sent_at.or(inherited.map(|inherited| inherited.at))
    }

    /// As [`Entry::sent_at`], while a result is decided: what was handed out again and is not known to have left may be
    /// leaving just now.
    pub fn leaves_at(&self, attempt: Attempt, now: Time) -> Option<Time> {
        let flight = self.flights.get(attempt)?;
        let leaves = flight.resent && flight.sent_at.is_none() && flight.deadline.is_none();
        leaves.then_some(now).or_else(|| self.sent_at(attempt))
    }

    /// The open attempt of an operation, if it is newer than this one of the same round, and is due without having left.
    pub fn unsent_successor(&self, attempt: Attempt) -> Option<Attempt> {
        let target = self.saga.operation(attempt.place, attempt.operation);
        let Phase::Scheduled { due_at } = target.phase else {
            return None;
        };
        let open = DueCommand {
            place: attempt.place,
            operation: attempt.operation,
            round: target.round,
            attempt: target.attempt,
            due_at,
            order: target.order,
        };
        let newer = target.round == attempt.round && target.attempt > attempt.attempt;
        (newer && !self.may_have_left(&open)).then_some(Attempt::from(&open))
    }

    /// This owner handed the open attempt out, or an earlier one may have sent it.
    pub fn may_have_left(&self, open: &DueCommand) -> bool {
        self.flights.get(Attempt::from(open)).is_some()
            || self
                .inherited
                .as_ref()
                .is_some_and(|inherited| inherited.may_have_sent(open))
    }
}

/// What a shard holds under a saga's id.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// The saga.
    Present(Box<Entry>),
    /// These inputs wait for it.
    Loading(Loading),
    /// The store has just said that there is no such saga, and something that may begin it is queued.
    Absent,
    /// It exists, and cannot be read.
    Unreadable(Unreadable),
}

/// A saga that something waits for.
#[derive(Clone, Debug)]
pub(super) struct Loading {
    pub waiting: VecDeque<Queued>,
    pub asked: Asked,
}

/// Whether the store was asked for a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It could not say: it is asked again when the saga's time comes, or something more arrives.
    Later,
    /// It is asked when fewer others are.
    Soon,
    /// Its answer is awaited.
    Now,
}

/// Why a saga cannot be read, and whether that is recorded.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub reason: IncidentReason,
    pub message: String,
    /// Its row's state.
    pub state: SagaState,
    /// How it began and how many incidents it has had, if that much can be read.
    pub known: Option<Box<(Started, u32)>>,
}

/// Something to decide.
#[derive(Clone, Debug)]
pub(super) enum Queued {
    /// From outside. A keyed start is not decided before its key was looked up.
    Input { input: Input, looked_up: bool },
    /// A saga's time came, or its turn.
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

/// What a decision is made with, beside its saga.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub now: Time,
    pub surroundings: &'a dyn Surroundings,
}

/// A batch in the making or in flight: what was decided for it, and how to go back.
#[derive(Debug, Default)]
pub(super) struct InBatch {
    /// What was decided, in its order.
    pub inputs: Vec<Queued>,
    /// What was in memory before, of each saga that was touched; none if it begins in this batch.
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
    /// Where sagas stood among those that wait for their turn, in the order of the changes.
    pub turns: Vec<(SagaId, Option<Held>)>,
    /// Children whose parents asked.
    pub answers: BTreeSet<SagaId>,
}

/// A business key, within its shard.
pub(super) type KeyName = (Arc<str>, Arc<str>, Hash128);
