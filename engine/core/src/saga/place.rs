//! What a saga knows of one place, a step or one of its items: its action, what undoes it, what asks about it, its child.

use std::collections::BTreeSet;
use std::sync::Arc;

use amends_definitions::{DefinitionHash, Payload};

use crate::fact::{ChildOutcome, ChildRequested};
use crate::id::SagaId;
use crate::saga::marked::Marked;
use crate::time::Time;

/// A step: itself, and under `foreach` its items.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StepStatus {
    /// The step itself. Under `foreach` its action stands for all items: it succeeds when each lets go on.
    pub itself: PlaceStatus,
    /// Its items, once they are listed.
    pub items: Option<Arc<Items>>,
}

/// What a step under `foreach` is done for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    /// The items, in the order of the list.
    pub values: Arc<[Payload]>,
    /// Their keys.
    pub keys: Arc<[String]>,
    /// Their places.
    pub places: Marked<PlaceStatus>,
}

/// The operations at one place.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PlaceStatus {
    /// The action.
    pub forward: Operation,
    /// What undoes it.
    pub compensation: Operation,
    /// What asks whether it had an effect; none until somebody had to ask.
    pub query: Option<Box<Operation>>,
    /// The child saga that it runs; none until it was asked for.
    pub child: Option<Box<ChildStatus>>,
}

/// A child saga, as its parent knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildStatus {
    /// What was asked for.
    pub requested: ChildRequested,
    /// What it is, once its revision is fixed.
    pub pinned: Option<PinnedChild>,
    /// What it came to, once it is known.
    pub outcome: Option<ChildOutcome>,
}

/// A child whose revision is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedChild {
    /// The child.
    pub child: SagaId,
    /// Its revision.
    pub revision: u32,
    /// The revision's hash.
    pub hash: DefinitionHash,
}

/// One operation at a place.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Operation {
    /// Where it is.
    pub phase: Phase,
    /// From 0; a new one begins when an operator retries with new input. Attempts are counted within a round.
    pub round: u32,
    /// Its recorded input, once it was scheduled.
    pub input: Option<Payload>,
    /// Its output, once it succeeded with a usable one.
    pub output: Option<Payload>,
    /// The current or last attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts of this round that do not count against the budget: those before an operator's retry.
    pub uncounted: u32,
    /// When the first attempt that counts was scheduled.
    pub first_at: Option<Time>,
    /// The latest time at which an attempt that has ended, or that was overtaken, may have been sent.
    pub last_sent_at: Option<Time>,
    /// The last failure's code and words.
    pub error: Option<(String, String)>,
    /// What kind of failure ended it.
    pub failure: Option<Failure>,
    /// It is known to have had an effect.
    pub effect: bool,
    /// Attempts that may have had an effect, or may still have one.
    pub unclear: BTreeSet<u32>,
    /// A barrier has said something about this operation.
    pub barrier: bool,
    /// Its place in the order of scheduling within the saga, from 1; 0 before.
    pub order: u32,
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not begun.
    #[default]
    Waiting,
    /// Of a step under `foreach`: its items are listed, and not all of them let go on.
    Listed,
    /// A compensation that is not scheduled before this time, so that a late execution can show itself.
    Settling {
        /// Until when.
        until: Time,
    },
    /// An attempt is due at this time, or under way since. Of the compensation of a child: its undoing is asked for.
    Scheduled {
        /// Not before.
        due_at: Time,
    },
    /// It waits for a signal.
    Awaiting {
        /// Until when; none for ever.
        until: Option<Time>,
    },
    /// It sleeps.
    Sleeping {
        /// Until when.
        until: Time,
    },
    /// Its child saga is asked for: without a revision it cannot exist yet.
    ChildRequested,
    /// Its child saga runs, or is about to.
    ChildUnderWay,
    /// It succeeded.
    Succeeded,
    /// It failed, and the saga goes on past it.
    Continued,
    /// It succeeded, and its output cannot be used.
    Unusable,
    /// `when` was false, an operator skipped it, or nobody needs it any more.
    Skipped,
    /// It ended with a definite "no", or before anything was sent. What earlier attempts did may be unclear.
    Refused,
    /// It ended, and nobody knows whether it had its effect: the budget was spent, or the abort came between two attempts.
    Unresolved,
    /// Of a compensation: there was nothing to undo.
    NothingToUndo,
    /// Of a compensation: a person has to look. Of a query: it gave no answer.
    Parked,
}

/// What kind of failure ended an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A definite "no" of the participant, of a child, or of a `fail` step.
    Refused,
    /// It can never work.
    Fatal,
    /// The budget is spent, or nobody took it in time.
    Exhausted,
    /// Nothing was sent: an expression has no value, the items are no list.
    NotSent,
    /// A signal did not come in time.
    TimedOut,
    /// The barrier refused it after its compensation, or the abort overtook it.
    Overtaken,
}

/// What is known of a place that does not exist.
pub(crate) static NEVER_BEGUN: PlaceStatus = PlaceStatus {
    forward: Operation::NEVER,
    compensation: Operation::NEVER,
    query: None,
    child: None,
};

impl StepStatus {
    /// What is known of the step itself (0) or of one of its items; none if there is no such item.
    #[must_use]
    pub fn place(&self, item: u32) -> Option<&PlaceStatus> {
        match item.checked_sub(1) {
            None => Some(&self.itself),
            Some(at) => {
                let places = &self.items.as_ref()?.places;
                places.get(usize::try_from(at).ok()?)
            }
        }
    }

    /// How many items are listed.
    #[must_use]
    pub fn count(&self) -> u32 {
        let count = self.items.as_ref().map_or(0, |items| items.places.len());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// What needs the step may begin.
    #[must_use]
    pub fn lets_go_on(&self) -> bool {
        self.itself.forward.lets_go_on()
    }
}

impl PlaceStatus {
    /// The action had, or may have had, an effect.
    #[must_use]
    pub fn may_have_effect(&self) -> bool {
        self.forward.effect || !self.forward.unclear.is_empty()
    }

    /// The compensation has not begun: what is learned about the action still counts.
    #[must_use]
    pub fn compensation_is_undecided(&self) -> bool {
        matches!(
            self.compensation.phase,
            Phase::Waiting | Phase::Settling { .. }
        )
    }

    /// Somebody asks whether the action had an effect, and the answer is not there.
    #[must_use]
    pub fn query_is_open(&self) -> bool {
        self.query.as_ref().is_some_and(|query| query.is_open())
    }
}

impl Operation {
    const NEVER: Self = Self {
        phase: Phase::Waiting,
        round: 0,
        input: None,
        output: None,
        attempt: 0,
        uncounted: 0,
        first_at: None,
        last_sent_at: None,
        error: None,
        failure: None,
        effect: false,
        unclear: BTreeSet::new(),
        barrier: false,
        order: 0,
    };

    /// Of an action: what needs it may begin.
    #[must_use]
    pub fn lets_go_on(&self) -> bool {
        matches!(
            self.phase,
            Phase::Succeeded | Phase::Skipped | Phase::Continued
        )
    }

    /// It cannot change any more by its own means.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.phase {
            Phase::Waiting
            | Phase::Listed
            | Phase::Settling { .. }
            | Phase::Scheduled { .. }
            | Phase::Awaiting { .. }
            | Phase::Sleeping { .. }
            | Phase::ChildRequested
            | Phase::ChildUnderWay => false,
            Phase::Succeeded
            | Phase::Continued
            | Phase::Unusable
            | Phase::Skipped
            | Phase::Refused
            | Phase::Unresolved
            | Phase::NothingToUndo
            | Phase::Parked => true,
        }
    }

    /// It has begun, and is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Waiting && !self.is_over()
    }

    /// It ended without a success of its own.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        matches!(
            self.phase,
            Phase::Refused | Phase::Unresolved | Phase::Unusable
        )
    }

    /// It ended without a success, and this attempt may have had its effect, or may still have it.
    #[must_use]
    pub fn is_in_doubt(&self, attempt: u32) -> bool {
        matches!(
            self.phase,
            Phase::Refused | Phase::Unresolved | Phase::Continued | Phase::Skipped
        ) && !self.effect
            && self.unclear.contains(&attempt)
    }
}
