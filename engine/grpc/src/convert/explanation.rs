//! Why a saga is where it is, as clients see it.

use amends_core::Time;
use amends_orchestrator::{At, AttemptView, Awaited, ChildName, Explanation, Owed, WaitsFor};
use amends_proto::v1;

use super::saga;
use super::step::compensation_state;
use super::time::timestamp;
use crate::name;

/// An explanation. `now` tells an attempt under way from one that is still to come.
#[must_use]
pub fn explanation(explained: &Explanation, now: Time) -> v1::ExplainSagaResponse {
    let namespace = &explained.view.record.namespace;
    let sentences = explained.sentences.iter().map(|sentence| v1::Sentence {
        topic: sentence.topic.as_str().to_owned(),
        step: step(sentence.at.as_ref()),
        item: item(sentence.at.as_ref()),
        text: sentence.text.clone(),
    });
    let owed = explained.owed.iter();
    v1::ExplainSagaResponse {
        saga: Some(saga::view(&explained.view, now)),
        sentences: sentences.collect(),
        attempts: explained.attempts.iter().map(attempt).collect(),
        owed: owed.map(|owed| owing(explained, owed, now)).collect(),
        waits_for: (explained.waits_for.iter())
            .map(|awaited| waits_for(namespace, awaited))
            .collect(),
    }
}

fn attempt(view: &AttemptView) -> v1::Attempt {
    v1::Attempt {
        step: view.at.step.clone(),
        item: view.at.item,
        operation: view.operation.as_str().to_owned(),
        round: view.round,
        attempt: view.attempt,
        action: view
            .action
            .as_ref()
            .map(|action| action.to_string())
            .unwrap_or_default(),
        instance: view.instance.clone().unwrap_or_default(),
        send_time: view.sent_at.and_then(timestamp),
        end_time: view.ended_at.and_then(timestamp),
        outcome: view.outcome.unwrap_or_default().to_owned(),
        code: view.code.clone().unwrap_or_default(),
        message: view.message.clone().unwrap_or_default(),
        retry_time: view.retry_at.and_then(timestamp),
    }
}

fn owing(explained: &Explanation, owed: &Owed, now: Time) -> v1::Owed {
    let state = explained.view.saga.as_ref().ok();
    let state = state.and_then(|saga| compensation_state(saga, owed.place, now));
    v1::Owed {
        step: owed.at.step.clone(),
        item: owed.at.item,
        action: owed
            .action
            .as_ref()
            .map(|action| action.as_str().to_owned())
            .unwrap_or_default(),
        state: state.unwrap_or(v1::StepState::Owed).into(),
        why: owed.why.clone(),
    }
}

fn waits_for(namespace: &str, awaited: &WaitsFor) -> v1::WaitsFor {
    v1::WaitsFor {
        kind: awaited.what.kind().to_owned(),
        step: step(awaited.at.as_ref()),
        item: item(awaited.at.as_ref()),
        subject: subject(namespace, &awaited.what),
        since_time: awaited.since.and_then(timestamp),
        until_time: awaited.until.and_then(timestamp),
        text: awaited.text.clone(),
    }
}

/// Sagas by their resource name, everything else as it is called.
fn subject(namespace: &str, what: &Awaited) -> String {
    match what {
        Awaited::Child(ChildName::Saga(saga)) | Awaited::Turn(Some(saga)) => {
            name::of_saga(namespace, *saga)
        }
        Awaited::Participant(_)
        | Awaited::Outcome(_)
        | Awaited::Retry(_)
        | Awaited::Signal(_)
        | Awaited::Sleep
        | Awaited::Child(ChildName::Definition(_))
        | Awaited::Turn(None)
        | Awaited::Settling
        | Awaited::Operator(_) => what.subject(),
    }
}

fn step(at: Option<&At>) -> String {
    at.map(|at| at.step.clone()).unwrap_or_default()
}

fn item(at: Option<&At>) -> u32 {
    at.map_or(0, |at| at.item)
}
