//! What follows from a saga's state without being recorded: may it abort, does it hold, what does it owe.

use amends_definitions::{
    ActionName, Call, Compensation, CompensationOrder, Kind, StepIndex, Work,
};

use crate::fact::ChildOutcome;
use crate::id::Place;
use crate::outcome::OperationKind;
use crate::saga::mark::Mark;
use crate::saga::place::Phase;
use crate::saga::state::{OpenIncident, Saga};
use crate::time::Time;

impl Saga {
    /// The place's action had, or may have had, an effect.
    #[must_use]
    pub fn may_have_effect(&self, place: impl Into<Place>) -> bool {
        self.place(place).may_have_effect()
    }

    /// The pivot's success, or its skipping; without a pivot, the first scheduling of a retriable step. Behind it the saga
    /// can only go forward.
    #[must_use]
    pub fn past_point_of_no_return(&self) -> bool {
        match self.definition.pivot() {
            Some(pivot) => {
                let forward = &self.place(pivot).forward;
                forward.lets_go_on() || forward.effect
            }
            // Something of it has left the saga: a command, a wish for a child, an event.
            None => self
                .steps_marked(Mark::LEFT)
                .any(|step| self.definition.step(step).kind() == Kind::Retriable),
        }
    }

    /// The pivot was scheduled, and neither succeeded nor is proven absent: nothing may be decided against it.
    #[must_use]
    pub fn pivot_in_doubt(&self) -> bool {
        self.definition.pivot().is_some_and(|pivot| {
            let forward = &self.place(pivot).forward;
            // An operator may have one tried again that had its effect: that is no doubt.
            !forward.effect
                && match forward.phase {
                    Phase::Scheduled { .. } | Phase::ChildUnderWay => true,
                    Phase::Refused | Phase::Unresolved => !forward.unclear.is_empty(),
                    Phase::Waiting
                    | Phase::Listed
                    | Phase::Settling { .. }
                    | Phase::Awaiting { .. }
                    | Phase::Sleeping { .. }
                    | Phase::ChildRequested
                    | Phase::Succeeded
                    | Phase::Continued
                    | Phase::Unusable
                    | Phase::Skipped
                    | Phase::NothingToUndo
                    | Phase::Parked => false,
                }
        })
    }

    /// After an abort, the place's compensation is owed and not done.
    #[must_use]
    pub fn owes_compensation(&self, place: impl Into<Place>) -> bool {
        let place = place.into();
        let status = self.place(place);
        let undoable = match self.definition.step(place.step).compensation() {
            Compensation::Call(_) | Compensation::Child => true,
            Compensation::None { .. } | Compensation::NotApplicable => false,
        };
        undoable
            && status.may_have_effect()
            && !matches!(
                status.compensation.phase,
                Phase::Succeeded | Phase::Unusable | Phase::NothingToUndo
            )
    }

    /// Forward work is held back, and since when: an operator paused the saga, or its deadline passed.
    #[must_use]
    pub fn held_since(&self) -> Option<Time> {
        self.incidents
            .iter()
            .filter(|open| open.holds())
            .map(|open| open.opened_at)
            .min()
    }

    /// A forward attempt that is due at this time may be at a participant: the time has come, and nothing held it back
    /// before.
    #[must_use]
    pub fn has_come(&self, due_at: Time, now: Time) -> bool {
        due_at <= now && self.held_since().is_none_or(|held| due_at <= held)
    }

    /// The open incident about an operation of a place, the oldest.
    #[must_use]
    pub fn incident_about(&self, place: Place, operation: OperationKind) -> Option<&OpenIncident> {
        self.incidents
            .iter()
            .find(|open| open.is_about(Some(place), Some(operation)))
    }

    /// The place's child has a revision, and did not come to an end that is known.
    #[must_use]
    pub fn has_child_under_way(&self, place: Place) -> bool {
        let status = self.place(place);
        let Some(child) = status.child.as_ref().filter(|child| child.pinned.is_some()) else {
            return false;
        };
        match &child.outcome {
            None => !matches!(
                status.compensation.phase,
                Phase::Succeeded | Phase::NothingToUndo | Phase::Parked
            ),
            Some(ChildOutcome::Completed { .. }) => {
                matches!(status.compensation.phase, Phase::Scheduled { .. })
            }
            Some(
                ChildOutcome::Compensated { .. }
                | ChildOutcome::Refused { .. }
                | ChildOutcome::Terminated { .. },
            ) => false,
        }
    }

    /// It has asked for a child, at any of its places.
    pub(crate) fn has_asked_for_child(&self) -> bool {
        let steps = self.definition.step_indices();
        let mut places = steps
            .filter(|step| self.runs_child((*step).into()))
            .flat_map(|step| self.places_of(step));
        places.any(|place| self.place(place).child.is_some())
    }

    /// The step runs a child saga.
    pub(crate) fn runs_child(&self, place: Place) -> bool {
        let step = self.definition.steps().get(place.step.index());
        step.is_some_and(|step| matches!(step.work(), Work::Saga(_)))
    }

    /// The action that an operation of a step calls; none if it calls nobody.
    #[must_use]
    pub fn action(&self, step: StepIndex, operation: OperationKind) -> Option<&ActionName> {
        let step = self.definition.step(step);
        match (operation, step.compensation()) {
            (OperationKind::Compensate, Compensation::Call(call)) => Some(call.action()),
            (OperationKind::Query, _) => step.call().and_then(Call::query),
            (OperationKind::Forward, _) => step.action(),
            (OperationKind::Compensate, _) => None,
        }
    }

    /// How many parents are above it.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.started
            .parent
            .as_ref()
            .map_or(0, |parent| parent.depth)
    }

    /// Of each step, whether one behind it is under way, or still has to be undone. Once for all: what is behind a step that
    /// is blocked itself blocks all that the step would.
    pub(crate) fn blocked_steps(&self) -> Vec<bool> {
        let definition = &self.definition;
        let mut blocked = vec![false; self.steps.len()];
        if definition.compensation().order == CompensationOrder::Parallel {
            return blocked;
        }
        let later: Vec<StepIndex> = self.steps_marked(Mark::OPEN.and(Mark::OWES)).collect();
        for later in later.into_iter().rev() {
            let blocks =
                !blocked[later.index()] && (self.is_step_open(later) || self.owes_for_step(later));
            if blocks {
                for step in definition.graph().ancestors(later) {
                    blocked[step.index()] = true;
                }
            }
        }
        blocked
    }

    /// A place of the step is under way, forward.
    pub(crate) fn is_step_open(&self, step: StepIndex) -> bool {
        self.marked_of(step, Mark::OPEN)
            .any(|found| is_in_flight(found.status.forward.phase))
    }

    /// A place of the step still has to be undone.
    pub(crate) fn owes_for_step(&self, step: StepIndex) -> bool {
        self.marked_of(step, Mark::OWES)
            .any(|found| self.owes_compensation(found.place))
    }
}

/// An action in this phase may have its effect at any time.
pub(crate) fn is_in_flight(phase: Phase) -> bool {
    matches!(phase, Phase::Scheduled { .. } | Phase::ChildUnderWay)
}
