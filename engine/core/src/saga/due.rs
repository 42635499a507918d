//! What should now be in flight, derived from state alone. So recovery is replay followed by this question.

use amends_definitions::{Compensation, StepIndex};

use crate::outcome::OperationKind;
use crate::saga::state::{Operation, Phase, Saga};
use crate::time::Time;

/// What a saga's state asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Attempts that should be at a participant, or on their way.
    pub commands: Vec<DueCommand>,
    /// Attempts whose result is still awaited, and that must not be sent (again): the abort came after their scheduling.
    pub awaited: Vec<DueCommand>,
    /// When this has to be asked again.
    pub wake_at: Option<Time>,
}

/// Names an attempt within its saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueCommand {
    /// Which step.
    pub step: StepIndex,
    /// Which operation.
    pub operation: OperationKind,
    /// Which attempt.
    pub attempt: u32,
    /// Since when.
    pub due_at: Time,
}

/// Asks a state what should now be in flight.
#[must_use]
pub fn due(saga: &Saga, now: Time) -> Due {
    let mut due = Due::default();
    if saga.end.is_some() {
        return due;
    }
    for (step, status) in saga.definition.step_indices().zip(&saga.steps) {
        ask(
            &mut due,
            step,
            OperationKind::Forward,
            &status.forward,
            saga.abort.is_some(),
            now,
        );
        ask(
            &mut due,
            step,
            OperationKind::Compensate,
            &status.compensation,
            false,
            now,
        );
        if let Some(park_at) = park_at(saga, step).filter(|at| *at > now) {
            due.wake_at = Some(due.wake_at.map_or(park_at, |earlier| earlier.min(park_at)));
        }
    }
    // In the order of their scheduling: of compensations the latest action's comes first.
    due.commands
        .sort_by_key(|command| saga.operation(command.step, command.operation).order);
    due
}

/// When a compensation that is still open parks, taken up by a participant or not: at `parkAfter`, or when the time of all
/// its attempts is over.
pub(super) fn park_at(saga: &Saga, step: StepIndex) -> Option<Time> {
    let compensation = &saga.steps[step.index()].compensation;
    if !matches!(compensation.phase, Phase::Scheduled { .. }) {
        return None;
    }
    let park_after = saga.definition.compensation().park_after;
    let total = match saga.definition.step(step).compensation() {
        Compensation::Call(call) => call.timeouts().total,
        Compensation::None { .. } | Compensation::Child | Compensation::NotApplicable => None,
    };
    let bound = total.map_or(park_after, |total| total.min(park_after));
    compensation.first_at.map(|first_at| first_at + bound)
}

fn ask(
    due: &mut Due,
    step: StepIndex,
    kind: OperationKind,
    operation: &Operation,
    aborted: bool,
    now: Time,
) {
    let wake_at = match operation.phase {
        Phase::Scheduled { due_at } if due_at <= now => {
            let command = DueCommand {
                step,
                operation: kind,
                attempt: operation.attempt,
                due_at,
            };
            if aborted {
                due.awaited.push(command)
            } else {
                due.commands.push(command)
            }
            return;
        }
        Phase::Scheduled { due_at } => due_at,
        Phase::Settling { until } if until > now => until,
        // What has settled waits for the compensations before it, and is looked at when they are done.
        Phase::Settling { .. }
        | Phase::Waiting
        | Phase::Succeeded
        | Phase::Unusable
        | Phase::Skipped
        | Phase::Refused
        | Phase::Unresolved
        | Phase::NothingToUndo
        | Phase::Parked => return,
    };
    due.wake_at = Some(due.wake_at.map_or(wake_at, |earlier| earlier.min(wake_at)));
}
