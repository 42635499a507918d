//! Steps, their items and operations, as clients see them.

use amends_core::saga::{Operation, Phase, PlaceStatus, Saga};
use amends_core::{OperationKind, Place, Time};
use amends_definitions::{Compensation, Kind, Payload, Step, StepIndex, Work};
use amends_proto::v1;

use super::time::timestamp;
use crate::name;

/// A step with its items. `now` tells an attempt under way from one that is still to come.
#[must_use]
pub fn view(saga: &Saga, index: StepIndex, now: Time) -> v1::Step {
    let step = saga.definition().step(index);
    let itself = At::new(saga, index.into(), now);
    let status = &saga.steps()[index.index()];
    let items = status.items.iter().flat_map(|items| items.keys.iter());
    let items = (1_u32..).zip(items).map(|(number, key)| {
        let at = At::new(saga, Place::item(index, number), now);
        v1::Item {
            number,
            key: key.clone(),
            forward: Some(at.forward()),
            compensation: at.compensation(),
            query: at.query(),
            child: at.child(),
        }
    });
    let signal = match step.work() {
        Work::Wait(wait) => wait.signal().to_owned(),
        Work::Call(_) | Work::Sleep(_) | Work::Saga(_) | Work::Emit(_) | Work::Fail(_) => {
            String::new()
        }
    };
    v1::Step {
        id: step.id().to_owned(),
        action: step
            .action()
            .map(|action| action.as_str().to_owned())
            .unwrap_or_default(),
        kind: kind(step.kind()).to_owned(),
        forward: Some(itself.forward()),
        compensation: itself.compensation(),
        work: work(step.work()).to_owned(),
        items: items.collect(),
        query: itself.query(),
        child: itself.child(),
        signal,
    }
}

/// Where a place's compensation is; none if nothing ever undoes it.
#[must_use]
pub fn compensation_state(saga: &Saga, place: Place, now: Time) -> Option<v1::StepState> {
    let shown = At::new(saga, place, now).compensation();
    shown.map(|operation| operation.state())
}

fn work(work: &Work) -> &'static str {
    match work {
        Work::Call(_) => "call",
        Work::Wait(_) => "wait",
        Work::Sleep(_) => "sleep",
        Work::Saga(_) => "saga",
        Work::Emit(_) => "emit",
        Work::Fail(_) => "fail",
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Compensatable => "compensatable",
        Kind::Pivot => "pivot",
        Kind::Retriable => "retriable",
    }
}

/// A place of a saga, at a time.
struct At<'a> {
    saga: &'a Saga,
    step: &'a Step,
    place: Place,
    status: &'a PlaceStatus,
    now: Time,
}

impl<'a> At<'a> {
    fn new(saga: &'a Saga, place: Place, now: Time) -> Self {
        Self {
            saga,
            step: saga.definition().step(place.step),
            place,
            status: saga.place(place),
            now,
        }
    }

    fn forward(&self) -> v1::Operation {
        let action = self.step.action().map_or("", |action| action.as_str());
        let parked = self.is_parked(OperationKind::Forward);
        show(&self.status.forward, action, self.now, parked, false)
    }

    /// None if nothing ever undoes it: a step under `foreach` is undone item by item.
    fn compensation(&self) -> Option<v1::Operation> {
        if self.place.item == 0 && self.step.foreach().is_some() {
            return None;
        }
        let action = match self.step.compensation() {
            Compensation::Call(call) => call.action().as_str(),
            Compensation::Child => "",
            Compensation::None { .. } | Compensation::NotApplicable => return None,
        };
        let parked = self.is_parked(OperationKind::Compensate);
        let owed = self.saga.abort().is_some() && self.saga.owes_compensation(self.place);
        Some(show(
            &self.status.compensation,
            action,
            self.now,
            parked,
            owed,
        ))
    }

    fn query(&self) -> Option<v1::Operation> {
        let query = self.status.query.as_deref()?;
        let action = self.step.call().and_then(|call| call.query());
        let action = action.map_or("", |action| action.as_str());
        let mut shown = show(query, action, self.now, false, false);
        if shown.state() == v1::StepState::Scheduled {
            shown.state = v1::StepState::Querying.into();
        }
        Some(shown)
    }

    fn child(&self) -> String {
        let child = self.status.child.as_ref().and_then(|child| child.pinned);
        child
            .map(|child| name::of_saga(&self.saga.started().namespace, child.child))
            .unwrap_or_default()
    }

    fn is_parked(&self, operation: OperationKind) -> bool {
        self.saga.incident_about(self.place, operation).is_some()
    }
}

fn show(operation: &Operation, action: &str, now: Time, parked: bool, owed: bool) -> v1::Operation {
    let (state, retry_at, until) = if parked {
        (v1::StepState::Parked, None, None)
    } else {
        state(operation, now, owed)
    };
    let (code, message) = operation.error.clone().unwrap_or_default();
    // The attempt that is still to come has not been made.
    let to_come = state == v1::StepState::Retrying;
    let bytes = |payload: &Option<Payload>| payload.as_ref().map(Payload::to_bytes);
    v1::Operation {
        state: state.into(),
        attempts: operation.attempt.saturating_sub(u32::from(to_come)),
        input: bytes(&operation.input).unwrap_or_default(),
        output: bytes(&operation.output).unwrap_or_default(),
        code,
        message,
        retry_time: retry_at.and_then(timestamp),
        action: action.to_owned(),
        until_time: until.and_then(timestamp),
        round: operation.round,
    }
}

/// The state, when the next attempt is due, and until when it waits.
fn state(
    operation: &Operation,
    now: Time,
    owed: bool,
) -> (v1::StepState, Option<Time>, Option<Time>) {
    use v1::StepState as State;
    match operation.phase {
        Phase::Waiting if owed => (State::Owed, None, None),
        Phase::Waiting => (State::Waiting, None, None),
        Phase::Listed => (State::ItemsUnderWay, None, None),
        Phase::Settling { until } => (State::Settling, None, Some(until)),
        Phase::Scheduled { due_at } if operation.attempt > 1 && due_at > now => {
            (State::Retrying, Some(due_at), None)
        }
        Phase::Scheduled { .. } => (State::Scheduled, None, None),
        Phase::Awaiting { until } => (State::AwaitingSignal, None, until),
        Phase::Sleeping { until } => (State::Sleeping, None, Some(until)),
        Phase::ChildRequested | Phase::ChildUnderWay => (State::ChildUnderWay, None, None),
        Phase::Succeeded => (State::Succeeded, None, None),
        Phase::Continued => (State::Continued, None, None),
        Phase::Skipped => (State::Skipped, None, None),
        Phase::Unusable | Phase::Refused | Phase::Unresolved => (State::Failed, None, None),
        Phase::NothingToUndo => (State::NothingToUndo, None, None),
        Phase::Parked => (State::Parked, None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_is_to_come_is_told_from_one_under_way() {
        let due_at = Time::from_micros(100);
        let status = Operation {
            phase: Phase::Scheduled { due_at },
            attempt: 2,
            ..Operation::default()
        };
        let before = show(&status, "a.b", Time::from_micros(99), false, false);
        assert_eq!(
            (before.state(), before.attempts),
            (v1::StepState::Retrying, 1)
        );
        assert_eq!(before.retry_time, timestamp(due_at));
        let under_way = show(&status, "a.b", due_at, false, false);
        assert_eq!(
            (under_way.state(), under_way.attempts),
            (v1::StepState::Scheduled, 2)
        );
        let parked = show(&status, "a.b", due_at, true, false);
        assert_eq!(parked.state(), v1::StepState::Parked);
    }

    #[test]
    fn a_compensation_that_waits_is_owed_only_if_there_is_something_to_undo() {
        let status = Operation::default();
        assert_eq!(
            show(&status, "", Time::EPOCH, false, true).state(),
            v1::StepState::Owed
        );
        assert_eq!(
            show(&status, "", Time::EPOCH, false, false).state(),
            v1::StepState::Waiting
        );
    }
}
