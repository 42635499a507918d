//! What a place may be looked for, as bits beside its status. A mark only ever says where it is worth to look: what is
//! found is for the one who looks to see. Deliberately not here: the list that keeps them.

use crate::saga::place::{Operation, Phase, PlaceStatus, StepStatus};

/// What has a mark.
pub trait Status {
    /// Its mark, as it is.
    fn mark(&self) -> Mark;
    /// The place of its action in the order of scheduling within the saga; 0 before.
    fn order(&self) -> u32;
}

/// What a status may be asked for, each a bit. Of a step under `foreach` what is true of one of its items, but whether it
/// lets go on: that is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mark(pub(super) u16);

impl Mark {
    /// Its action lets go on.
    pub const DONE: Self = Self(1);
    /// Its action is not begun.
    pub const WAITING: Self = Self(1 << 1);
    /// Its action has begun and is not over.
    pub const OPEN: Self = Self(1 << 2);
    /// Its action ended without a success of its own.
    pub const FAILED: Self = Self(1 << 3);
    /// Something of the action has left the saga.
    pub const LEFT: Self = Self(1 << 4);
    /// The action may have had an effect, and none of it is undone.
    pub const OWES: Self = Self(1 << 5);
    /// Its compensation, or what is asked before it, is under way.
    pub const UNDOING: Self = Self(1 << 6);
    /// Something of it is due at some time, or asks for a child.
    pub const ASKS: Self = Self(1 << 7);
    /// It owes, nothing of the action is under way, and its compensation is not begun or settles.
    pub const UNDOABLE: Self = Self(1 << 8);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// It has one of these.
    #[must_use]
    pub const fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    const fn when(self, holds: bool) -> Self {
        if holds { self } else { Self(0) }
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Status for PlaceStatus {
    fn mark(&self) -> Mark {
        let (forward, compensation) = (&self.forward, &self.compensation);
        let undone = matches!(
            compensation.phase,
            Phase::Succeeded | Phase::Unusable | Phase::NothingToUndo
        );
        let scheduled = |operation: &Operation| matches!(operation.phase, Phase::Scheduled { .. });
        let query_is_open = self.query_is_open();
        let asks = matches!(
            forward.phase,
            Phase::Scheduled { .. }
                | Phase::Awaiting { .. }
                | Phase::Sleeping { .. }
                | Phase::ChildRequested
                | Phase::ChildUnderWay
        ) || matches!(
            compensation.phase,
            Phase::Scheduled { .. } | Phase::Settling { .. }
        ) || query_is_open;
        let sent = forward.attempt > 0 || forward.effect;
        let owes = self.may_have_effect() && !undone;
        let at_rest = forward.is_over() && !query_is_open;
        Mark::DONE
            .when(forward.lets_go_on())
            .and(Mark::WAITING.when(forward.phase == Phase::Waiting))
            .and(Mark::OPEN.when(forward.is_open()))
            .and(Mark::FAILED.when(forward.is_failed()))
            .and(Mark::LEFT.when(sent))
            .and(Mark::OWES.when(owes))
            .and(Mark::UNDOING.when(scheduled(compensation) || query_is_open))
            .and(Mark::ASKS.when(asks))
            .and(Mark::UNDOABLE.when(owes && at_rest && self.compensation_is_undecided()))
    }

    fn order(&self) -> u32 {
        self.forward.order
    }
}

impl Status for StepStatus {
    fn mark(&self) -> Mark {
        let items = self.items.as_ref();
        let items = items.map_or(Mark::default(), |items| items.places.any());
        self.itself.mark().and(items.without(Mark::DONE))
    }

    fn order(&self) -> u32 {
        self.itself.order()
    }
}
