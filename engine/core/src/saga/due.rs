//! What should now be in flight, derived from state alone. So recovery is replay followed by this question.

use amends_definitions::{Compensation, Kind};

use crate::fact::Parent;
use crate::id::Place;
use crate::outcome::OperationKind;
use crate::saga::mark::Mark;
use crate::saga::place::{ChildStatus, Operation, Phase, PinnedChild, PlaceStatus};
use crate::saga::state::{Found, Saga};
use crate::shard::io::{ChildRequest, ChildStart, ChildWish, Want};
use crate::time::Time;

/// What a saga's state asks for.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// Attempts that should be at a participant, or on their way.
    pub commands: Vec<DueCommand>,
    /// Attempts whose result is still awaited, and that must not be sent (again): the abort came after their scheduling.
    pub awaited: Vec<DueCommand>,
    /// What has to be asked of children, and asked again until they answer.
    pub children: Vec<DueChild>,
    /// When this has to be asked again.
    pub wake_at: Option<Time>,
}

/// Names an attempt within its saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueCommand {
    /// Where.
    pub place: Place,
    /// Which operation.
    pub operation: OperationKind,
    /// Which round.
    pub round: u32,
    /// Which attempt.
    pub attempt: u32,
    /// Since when.
    pub due_at: Time,
    /// The operation's place in the order of scheduling within the saga.
    pub order: u32,
}

/// What has to be asked of a child.
#[derive(Clone, Debug)]
pub enum DueChild {
    /// Its revision: it cannot exist before it is fixed.
    Resolve(Box<ChildRequest>),
    /// That it runs, or that it is undone.
    Ask(Box<ChildWish>),
}

impl Due {
    fn wake(&mut self, at: Time) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Asks a state what should now be in flight.
#[must_use]
pub fn due(saga: &Saga, now: Time) -> Due {
    let mut due = Due::default();
    if saga.end.is_some() {
        return due;
    }
    let held = saga.held_since();
    saga.marked(Mark::ASKS).for_each(|found| {
        let Found { place, status, .. } = found;
        ask_forward(&mut due, saga, found, held, now);
        ask_backward(&mut due, saga, found, now);
        if let Some(query) = &status.query
            && let Phase::Scheduled { due_at } = query.phase
        {
            ask(&mut due, place, OperationKind::Query, query, due_at, now);
            if let Some(at) = query_given_up_at(saga, place).filter(|at| *at > now) {
                due.wake(at);
            }
        }
    });
    if saga.abort.is_none()
        && !saga.deadline_passed
        && let Some(deadline) = saga.deadline_at()
    {
        due.wake(deadline);
    }
    if due.commands.is_empty() && due.awaited.is_empty() && due.children.is_empty() {
        // Something else was decided between the end of its settle time and its timer: it is looked at once more, or a saga
        // that leaves memory in between would leave it behind.
        let blocked = std::cell::OnceCell::new();
        let settled = saga.marked(Mark::ASKS).filter_map(|found| {
            let at = settled_at(saga, found, now)?;
            let blocked = blocked.get_or_init(|| saga.blocked_steps());
            (!blocked[found.place.step.index()]).then_some(at)
        });
        let settled: Option<Time> = settled.min();
        if let Some(at) = settled {
            due.wake(at);
        }
    }
    // In the order of their scheduling: of compensations the latest action's comes first.
    due.commands.sort_by_key(|command| command.order);
    due
}

/// When a compensation settled that is owed and waits for nothing of its own place.
fn settled_at(saga: &Saga, Found { place, status, .. }: Found<'_>, now: Time) -> Option<Time> {
    let Phase::Settling { until } = status.compensation.phase else {
        return None;
    };
    let owed = until <= now
        && status.forward.is_over()
        && !status.query_is_open()
        && saga.owes_compensation(place);
    owed.then_some(until)
}

/// When a compensation that is still open parks, taken up by a participant or not: at `parkAfter`, or when the time of all
/// its attempts is over. That of a child does not: the child itself parks.
pub(super) fn park_at(saga: &Saga, place: Place) -> Option<Time> {
    let compensation = &saga.place(place).compensation;
    if !matches!(compensation.phase, Phase::Scheduled { .. }) {
        return None;
    }
    let park_after = saga.definition.compensation().park_after;
    let total = match saga.definition.step(place.step).compensation() {
        Compensation::Call(call) => call.timeouts().total,
        Compensation::None { .. } | Compensation::Child | Compensation::NotApplicable => {
            return None;
        }
    };
    let bound = total.map_or(park_after, |total| total.min(park_after));
    compensation.first_at.map(|first_at| first_at + bound)
}

/// When a query that is still open is given up.
pub(super) fn query_given_up_at(saga: &Saga, place: Place) -> Option<Time> {
    let query = saga.place(place).query.as_ref()?;
    let first_at = query.first_at.filter(|_| query.is_open())?;
    Some(first_at + saga.definition.compensation().park_after)
}

fn ask_forward(due: &mut Due, saga: &Saga, found: Found<'_>, held: Option<Time>, now: Time) {
    let place = found.place;
    let PlaceStatus { forward, child, .. } = found.status;
    match forward.phase {
        Phase::Scheduled { due_at } if saga.abort.is_some() => {
            if due_at <= now {
                due.awaited
                    .push(command(place, OperationKind::Forward, forward, due_at));
            } else {
                // Of a saga whose own time is ahead of the clock.
                due.wake(due_at);
            }
        }
        Phase::Scheduled { due_at } => {
            // What was not due yet when the saga was held back waits until it is resumed.
            if held.is_none_or(|held| due_at <= held) {
                ask(due, place, OperationKind::Forward, forward, due_at, now);
            }
        }
        Phase::Awaiting { until: Some(until) } | Phase::Sleeping { until } => {
            if held.is_none() {
                due.wake(until);
            }
        }
        // One that has no revision yet has not begun.
        Phase::ChildRequested if held.is_some() => {}
        Phase::ChildRequested => {
            if let Some(child) = child {
                due.children.push(resolve(saga, place, child));
            }
        }
        Phase::ChildUnderWay => {
            if let Some(child) = child
                && let Some(pinned) = &child.pinned
            {
                due.children
                    .push(wish(saga, place, child, pinned, Want::Run));
            }
        }
        Phase::Awaiting { until: None }
        | Phase::Waiting
        | Phase::Listed
        | Phase::Settling { .. }
        | Phase::Succeeded
        | Phase::Continued
        | Phase::Unusable
        | Phase::Skipped
        | Phase::Refused
        | Phase::Unresolved
        | Phase::NothingToUndo
        | Phase::Parked => {}
    }
}

fn ask_backward(due: &mut Due, saga: &Saga, found: Found<'_>, now: Time) {
    let place = found.place;
    let PlaceStatus {
        compensation,
        child,
        ..
    } = found.status;
    match compensation.phase {
        Phase::Scheduled { due_at } => {
            if let Some(child) = child {
                if let (Some(pinned), Some(abort)) = (&child.pinned, &saga.abort) {
                    let want = Want::Undo {
                        code: abort.reason.code().to_owned(),
                        message: abort.reason.message().to_owned(),
                    };
                    due.children.push(wish(saga, place, child, pinned, want));
                }
                return;
            }
            ask(
                due,
                place,
                OperationKind::Compensate,
                compensation,
                due_at,
                now,
            );
            if let Some(park_at) = park_at(saga, place).filter(|at| *at > now) {
                due.wake(park_at);
            }
        }
        // What has settled waits for the compensations before it, and is looked at when they are done.
        Phase::Settling { until } if until > now => due.wake(until),
        Phase::Settling { .. }
        | Phase::Waiting
        | Phase::Listed
        | Phase::Awaiting { .. }
        | Phase::Sleeping { .. }
        | Phase::ChildRequested
        | Phase::ChildUnderWay
        | Phase::Succeeded
        | Phase::Continued
        | Phase::Unusable
        | Phase::Skipped
        | Phase::Refused
        | Phase::Unresolved
        | Phase::NothingToUndo
        | Phase::Parked => {}
    }
}

/// An attempt that is due is asked for; one that is not, when it is.
fn ask(
    due: &mut Due,
    place: Place,
    kind: OperationKind,
    operation: &Operation,
    due_at: Time,
    now: Time,
) {
    if due_at <= now {
        due.commands.push(command(place, kind, operation, due_at));
    } else {
        due.wake(due_at);
    }
}

fn command(place: Place, operation: OperationKind, status: &Operation, due_at: Time) -> DueCommand {
    DueCommand {
        place,
        operation,
        round: status.round,
        attempt: status.attempt,
        due_at,
        order: status.order,
    }
}

fn resolve(saga: &Saga, place: Place, child: &ChildStatus) -> DueChild {
    let may_have_pivot = match saga.definition.step(place.step).kind() {
        Kind::Pivot | Kind::Retriable => true,
        Kind::Compensatable => false,
    };
    DueChild::Resolve(Box::new(ChildRequest {
        namespace: saga.started.namespace.clone(),
        parent: parent(saga, place, child),
        may_have_pivot,
        requested: child.requested.clone(),
    }))
}

fn wish(
    saga: &Saga,
    place: Place,
    child: &ChildStatus,
    pinned: &PinnedChild,
    want: Want,
) -> DueChild {
    DueChild::Ask(Box::new(ChildWish {
        child: pinned.child,
        parent: parent(saga, place, child),
        namespace: saga.started.namespace.clone(),
        start: Box::new(ChildStart {
            name: child.requested.name.as_str().into(),
            revision: pinned.revision,
            hash: pinned.hash,
            key: child.requested.key.clone(),
            input: child.requested.input.clone(),
            traceparent: saga.started.traceparent.clone(),
            tracestate: saga.started.tracestate.clone(),
            resolved: None,
        }),
        want,
    }))
}

fn parent(saga: &Saga, place: Place, child: &ChildStatus) -> Parent {
    Parent {
        saga: saga.id,
        step: saga.definition.step(place.step).shared_id().clone(),
        item: place.item,
        round: child.requested.round,
        depth: saga.depth() + 1,
    }
}
