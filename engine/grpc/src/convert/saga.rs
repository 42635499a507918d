//! Sagas, as clients see them.

use amends_core::fact::{AbortReason, IncidentReason, SignalReceived};
use amends_core::journal::SagaState;
use amends_core::saga::{OpenIncident, Saga, Signals};
use amends_core::shard::StartAnswer;
use amends_core::{OperationKind, SagaId, Time};
use amends_definitions::StepIndex;
use amends_orchestrator::{Refusal, SagaRecord, SagaView, Settlement};
use amends_proto::v1;
use bytes::Bytes;

use super::step;
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
        parent: (record.parent)
            .map(|parent| name::of_saga(&record.namespace, parent))
            .unwrap_or_default(),
        expire_time: record.expires_at.and_then(timestamp),
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

/// A saga that was started, or found.
#[must_use]
pub fn started(namespace: &str, answer: &StartAnswer) -> v1::StartedSaga {
    v1::StartedSaga {
        name: name::of_saga(namespace, answer.saga),
        created: answer.created,
        revision: answer.revision,
    }
}

/// A saga that ended or parked.
#[must_use]
pub fn settled(namespace: &str, id: SagaId, settlement: &Settlement) -> v1::SettledSaga {
    let saga = settlement.saga.as_deref();
    v1::SettledSaga {
        name: name::of_saga(namespace, id),
        state: settlement
            .state
            .map_or(v1::SagaState::Unspecified, state)
            .into(),
        output: saga.map(output).unwrap_or_default(),
        details_omitted: settlement.omitted,
        abort: saga.and_then(abort),
        incident: saga.and_then(oldest_incident),
    }
}

/// What a completed saga's `output` came to.
#[must_use]
pub fn output(saga: &Saga) -> Bytes {
    saga.output()
        .map(amends_definitions::Payload::to_bytes)
        .unwrap_or_default()
}

/// Why a saga was aborted.
#[must_use]
pub fn abort(saga: &Saga) -> Option<v1::AbortReason> {
    let abort = saga.abort()?;
    let step = abort_step(&abort.reason)
        .and_then(|step| saga.definition().steps().get(step.index()))
        .map(|step| step.id().to_owned());
    Some(v1::AbortReason {
        kind: abort.reason.kind().to_owned(),
        step: step.unwrap_or_default(),
        code: abort.reason.code().to_owned(),
        message: abort.reason.message().to_owned(),
        time: timestamp(abort.at),
    })
}

/// The incident of a saga that has been open for the longest time; none of one that has ended.
#[must_use]
pub fn oldest_incident(saga: &Saga) -> Option<v1::Incident> {
    let open = saga.incidents().first().filter(|_| !saga.terminal())?;
    Some(incident(saga, open))
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
    message.state = state(saga.state()).into();
    message.update_time = timestamp(saga.updated_at());
    message.end_time = saga.ended_at().and_then(timestamp);
    message.abort = abort(saga);
    message.incidents = saga
        .incidents()
        .iter()
        .map(|open| incident(saga, open))
        .collect();
    message.steps = saga
        .definition()
        .step_indices()
        .map(|index| step::view(saga, index, now))
        .collect();
    message.input = saga.started().input.to_bytes();
    message.output = output(saga);
    message.cancel_pending = saga.cancel_pending().is_some();
    let started = saga.started();
    message.parent = (started.parent.as_ref())
        .map(|parent| name::of_saga(&started.namespace, parent.saga))
        .unwrap_or_default();
    message.ordering_key = started.ordering_key.clone().unwrap_or_default();
    message.waits_for_turn = !saga.terminal() && !saga.turn_granted();
    message.pending_signals = saga.signals().map(pending).unwrap_or_default();
    message.deadline_time = saga.deadline_at().and_then(timestamp);
    message.traceparent = saga.started().traceparent.clone().unwrap_or_default();
}

fn pending(signals: &Signals) -> Vec<v1::PendingSignal> {
    let pending = |signal: &SignalReceived| v1::PendingSignal {
        signal: signal.signal.clone(),
        number: signal.number,
        sender: signal.by.clone(),
        accept_time: None,
    };
    signals.pending().map(pending).collect()
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

fn incident(saga: &Saga, open: &OpenIncident) -> v1::Incident {
    let incident = &open.incident;
    let step = incident
        .place
        .and_then(|place| saga.definition().steps().get(place.step.index()))
        .map(|step| step.id().to_owned());
    let code = incident.code.clone();
    let fingerprint = format!(
        "{}@{}/{}/{}",
        saga.started().definition,
        saga.started().revision,
        step.as_deref().unwrap_or("-"),
        code.as_deref().unwrap_or(incident.reason.as_str()),
    );
    v1::Incident {
        reason: incident.reason.as_str().to_owned(),
        step: step.unwrap_or_default(),
        item: incident.place.map_or(0, |place| place.item),
        operation: incident
            .operation
            .map(|operation| operation.as_str().to_owned())
            .unwrap_or_default(),
        code: code.unwrap_or_default(),
        message: incident.message.clone(),
        open_time: timestamp(open.opened_at),
        suggested_actions: actions(incident.reason, incident.operation),
        fingerprint,
        number: open.number,
        saga: String::new(),
    }
}

fn unreadable(why: &str, since: Time) -> v1::Incident {
    v1::Incident {
        reason: IncidentReason::RecordUnreadable.as_str().to_owned(),
        message: why.to_owned(),
        open_time: timestamp(since),
        suggested_actions: actions(IncidentReason::RecordUnreadable, None),
        ..v1::Incident::default()
    }
}

/// What can be done about an incident, most likely first.
pub(super) fn actions(reason: IncidentReason, of: Option<OperationKind>) -> Vec<String> {
    reason
        .suggested_actions(of)
        .iter()
        .map(|&action| action.to_owned())
        .collect()
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
}
