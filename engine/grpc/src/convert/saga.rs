//! Sagas, as clients see them.

use amends_core::fact::{AbortReason, IncidentReason};
use amends_core::journal::SagaState;
use amends_core::saga::{OpenIncident, Operation, Phase, Saga};
use amends_core::{OperationKind, Time};
use amends_definitions::{ActionName, Compensation, Kind, StepIndex, Work};
use amends_orchestrator::{Refusal, SagaRecord, SagaView};
use amends_proto::v1;

use super::time::timestamp;
use crate::name;
use crate::status::invalid;

/// A saga with its steps. `now` tells an attempt under way from one that is still to come.
#[must_use]
pub fn view(view: &SagaView, now: Time) -> v1::Saga {
    let mut message = record(&view.record);
    match &view.saga {
        Ok(saga) => fill(&mut message, saga, now),
        Err(why) => {
            message.state = v1::SagaState::Parked.into();
            message.incidents = vec![unreadable(why, view.record.updated_at)];
        }
    }
    message
}

/// A saga as lists show it: without steps and payloads.
#[must_use]
pub fn record(record: &SagaRecord) -> v1::Saga {
    v1::Saga {
        name: name::of_saga(&record.namespace, record.id),
        definition: name::of_definition(&record.namespace, &record.definition),
        revision: record.revision,
        key: record.key.clone().unwrap_or_default(),
        state: state(record.state).into(),
        start_time: timestamp(record.started_at),
        end_time: record.ended_at.and_then(timestamp),
        update_time: timestamp(record.updated_at),
        ..v1::Saga::default()
    }
}

/// A saga's state.
#[must_use]
pub fn state(state: SagaState) -> v1::SagaState {
    match state {
        SagaState::Running => v1::SagaState::Running,
        SagaState::Completed => v1::SagaState::Completed,
        SagaState::Compensating => v1::SagaState::Compensating,
        SagaState::Compensated => v1::SagaState::Compensated,
        SagaState::Parked => v1::SagaState::Parked,
        SagaState::Terminated => v1::SagaState::Terminated,
    }
}

/// The states of a filter, sorted and each once.
///
/// # Errors
/// `INVALID_ARGUMENT` for a number that is no state, 0 among them: it never means a default.
pub fn states(field: &str, numbers: &[i32]) -> Result<Vec<SagaState>, Refusal> {
    let mut states = Vec::new();
    for number in numbers {
        let state = SagaState::ALL
            .into_iter()
            .find(|known| i32::from(state(*known)) == *number);
        states.push(state.ok_or_else(|| {
            invalid(
                "ENUM_INVALID",
                field,
                format!("{number} is no state of a saga"),
            )
        })?);
        states.sort_unstable();
        states.dedup();
    }
    Ok(states)
}

fn fill(message: &mut v1::Saga, saga: &Saga, now: Time) {
    let definition = saga.definition();
    let step_id = |step: StepIndex| {
        definition
            .steps()
            .get(step.index())
            .map_or_else(String::new, |step| step.id().to_owned())
    };
    message.state = state(saga.state()).into();
    message.update_time = timestamp(saga.updated_at());
    message.end_time = saga.ended_at().and_then(timestamp);
    message.abort = saga.abort().map(|abort| v1::AbortReason {
        kind: abort.reason.kind().to_owned(),
        step: abort_step(&abort.reason).map(step_id).unwrap_or_default(),
        code: abort.reason.code().to_owned(),
        message: abort.reason.message().to_owned(),
        time: timestamp(abort.at),
    });
    message.incidents = saga
        .incidents()
        .iter()
        .map(|open| incident(open, step_id))
        .collect();
    message.steps = (0..definition.steps().len())
        .map(|index| step(saga, index, now))
        .collect();
    message.input = saga.started().input.to_bytes();
    message.output = saga
        .output()
        .map(amends_definitions::Payload::to_bytes)
        .unwrap_or_default();
    message.cancel_pending = saga.cancel_pending().is_some();
    message.traceparent = saga.started().traceparent.clone().unwrap_or_default();
}

fn abort_step(reason: &AbortReason) -> Option<StepIndex> {
    match reason {
        AbortReason::StepFailed { place, .. } => Some(place.step),
        AbortReason::Cancelled { .. }
        | AbortReason::DeadlineExceeded
        | AbortReason::Operator { .. }
        | AbortReason::ParentAborted { .. }
        | AbortReason::OutputInvalid { .. } => None,
    }
}

fn incident(open: &OpenIncident, step_id: impl Fn(StepIndex) -> String) -> v1::Incident {
    let incident = &open.incident;
    v1::Incident {
        reason: incident.reason.as_str().to_owned(),
        step: incident
            .place
            .map(|place| step_id(place.step))
            .unwrap_or_default(),
        item: incident.place.map_or(0, |place| place.item),
        operation: incident
            .operation
            .map(|operation| operation.as_str().to_owned())
            .unwrap_or_default(),
        code: incident.code.clone().unwrap_or_default(),
        message: incident.message.clone(),
        open_time: timestamp(open.opened_at),
        suggested_actions: actions(incident.reason),
        ..v1::Incident::default()
    }
}

fn unreadable(why: &str, since: Time) -> v1::Incident {
    v1::Incident {
        reason: IncidentReason::RecordUnreadable.as_str().to_owned(),
        message: why.to_owned(),
        open_time: timestamp(since),
        suggested_actions: actions(IncidentReason::RecordUnreadable),
        ..v1::Incident::default()
    }
}

fn actions(reason: IncidentReason) -> Vec<String> {
    reason
        .suggested_actions()
        .iter()
        .map(|&action| action.to_owned())
        .collect()
}

fn step(saga: &Saga, index: usize, now: Time) -> v1::Step {
    let step = &saga.definition().steps()[index];
    let status = &saga.steps()[index];
    let at = StepIndex(u16::try_from(index).unwrap_or(u16::MAX));
    let parked = |operation| {
        let about = |open: &OpenIncident| {
            open.incident.place == Some(at.into()) && open.incident.operation == Some(operation)
        };
        saga.incidents().iter().any(about)
    };
    let forward = operation(
        &status.forward,
        step.action(),
        now,
        parked(OperationKind::Forward),
        false,
    );
    let owed = saga.abort().is_some() && saga.owes_compensation(at);
    let compensation = match step.compensation() {
        Compensation::Call(call) => Some(operation(
            &status.compensation,
            Some(call.action()),
            now,
            parked(OperationKind::Compensate),
            owed,
        )),
        Compensation::None { .. } | Compensation::Child | Compensation::NotApplicable => None,
    };
    v1::Step {
        id: step.id().to_owned(),
        action: step
            .action()
            .map(|action| action.as_str().to_owned())
            .unwrap_or_default(),
        kind: kind(step.kind()).to_owned(),
        work: work(step.work()).to_owned(),
        forward: Some(forward),
        compensation,
        ..v1::Step::default()
    }
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

fn operation(
    operation: &Operation,
    action: Option<&ActionName>,
    now: Time,
    parked: bool,
    owed: bool,
) -> v1::Operation {
    let (state, retry_at) = if parked {
        (v1::StepState::Parked, None)
    } else {
        step_state(operation, now, owed)
    };
    let (code, message) = operation.error.clone().unwrap_or_default();
    // The attempt that is still to come has not been made.
    let to_come = state == v1::StepState::Retrying;
    v1::Operation {
        state: state.into(),
        attempts: operation.attempt.saturating_sub(u32::from(to_come)),
        input: operation
            .input
            .as_ref()
            .map(amends_definitions::Payload::to_bytes)
            .unwrap_or_default(),
        output: operation
            .output
            .as_ref()
            .map(amends_definitions::Payload::to_bytes)
            .unwrap_or_default(),
        code,
        message,
        retry_time: retry_at.and_then(timestamp),
        action: action
            .map(|action| action.as_str().to_owned())
            .unwrap_or_default(),
        ..v1::Operation::default()
    }
}

fn step_state(operation: &Operation, now: Time, owed: bool) -> (v1::StepState, Option<Time>) {
    match operation.phase {
        Phase::Waiting if owed => (v1::StepState::Owed, None),
        Phase::Waiting => (v1::StepState::Waiting, None),
        Phase::Settling { until } => (v1::StepState::Owed, Some(until)),
        Phase::Scheduled { due_at } if operation.attempt > 1 && due_at > now => {
            (v1::StepState::Retrying, Some(due_at))
        }
        Phase::Scheduled { .. } => (v1::StepState::Scheduled, None),
        Phase::Succeeded => (v1::StepState::Succeeded, None),
        Phase::Skipped => (v1::StepState::Skipped, None),
        Phase::Unusable | Phase::Refused | Phase::Unresolved => (v1::StepState::Failed, None),
        Phase::NothingToUndo => (v1::StepState::NothingToUndo, None),
        Phase::Parked => (v1::StepState::Parked, None),
    }
}

#[cfg(test)]
mod tests {
    use amends_orchestrator::Kind as Refused;

    use super::*;

    #[test]
    fn b19_a_filter_takes_every_state_once_and_refuses_0_and_unknown_numbers() {
        for known in SagaState::ALL {
            let number = i32::from(state(known));
            assert_eq!(states("states", &[number, number]).unwrap(), [known]);
        }
        for number in [0, 7, -1, i32::MAX] {
            assert_eq!(
                states("states", &[1, number]).unwrap_err().kind,
                Refused::InvalidArgument
            );
        }
    }

    #[test]
    fn an_attempt_that_is_to_come_is_told_from_one_under_way() {
        let action = ActionName::new("a.b");
        let due_at = Time::from_micros(100);
        let status = Operation {
            phase: Phase::Scheduled { due_at },
            attempt: 2,
            ..Operation::default()
        };
        let before = operation(&status, Some(&action), Time::from_micros(99), false, false);
        assert_eq!(
            (before.state(), before.attempts),
            (v1::StepState::Retrying, 1)
        );
        assert_eq!(before.retry_time, timestamp(due_at));
        let under_way = operation(&status, Some(&action), due_at, false, false);
        assert_eq!(
            (under_way.state(), under_way.attempts),
            (v1::StepState::Scheduled, 2)
        );
        let parked = operation(&status, Some(&action), due_at, true, false);
        assert_eq!(parked.state(), v1::StepState::Parked);
    }

    #[test]
    fn a_compensation_that_waits_is_owed_only_if_there_is_something_to_undo() {
        let status = Operation::default();
        assert_eq!(
            step_state(&status, Time::EPOCH, true).0,
            v1::StepState::Owed
        );
        assert_eq!(
            step_state(&status, Time::EPOCH, false).0,
            v1::StepState::Waiting
        );
    }
}
