//! Which attempts ran where and when, and what they came to.

use amends_core::fact::{AttemptEnded, Fact};
use amends_core::{OperationKind, Place, Time};
use amends_definitions::ActionName;

use super::Known;
use crate::dispatch::Whereabouts;
use crate::explanation::{At, AttemptView};

/// Attempts in the order of their ends, then those under way.
pub(super) fn attempts(known: &Known) -> Vec<AttemptView> {
    let facts = known
        .rows
        .iter()
        .flat_map(|row| row.facts.iter().map(move |fact| (row.at, fact)));
    let mut attempts: Vec<AttemptView> = facts
        .filter_map(|(at, fact)| recorded(known, at, fact))
        .collect();
    attempts.extend(known.whereabouts.iter().map(|(attempt, whereabouts)| {
        let (instance, sent_at) = match whereabouts {
            Whereabouts::Sent {
                instance, since, ..
            } => (Some(instance.clone()), Some(*since)),
            Whereabouts::Queued { .. } => (None, None),
        };
        AttemptView {
            at: At {
                step: attempt.name.step.to_string(),
                item: attempt.name.item,
            },
            operation: attempt.name.operation,
            round: attempt.name.round,
            attempt: attempt.attempt,
            action: action(known, &attempt.name.step, attempt.name.operation),
            instance,
            sent_at,
            ended_at: None,
            outcome: None,
            code: None,
            message: None,
            retry_at: None,
        }
    }));
    attempts
}

fn recorded(known: &Known, at: Time, fact: &Fact) -> Option<AttemptView> {
    match fact {
        Fact::AttemptEnded(ended) | Fact::LateResult { ended, .. } => Some(told(known, at, ended)),
        Fact::Withdrawn {
            place,
            operation,
            round,
            attempt,
            code,
        } => Some(AttemptView {
            ended_at: Some(at),
            outcome: Some("withdrawn"),
            code: Some(code.clone()),
            ..blank(known, *place, *operation, (*round, *attempt))
        }),
        _ => None,
    }
}

fn told(known: &Known, at: Time, ended: &AttemptEnded) -> AttemptView {
    let error = ended.outcome.error();
    AttemptView {
        instance: ended.instance.clone(),
        sent_at: ended.sent_at,
        ended_at: Some(at),
        outcome: Some(ended.outcome.as_str()),
        code: error.map(|(code, _)| code.to_owned()),
        message: error.map(|(_, message)| message.to_owned()),
        retry_at: ended.retry_at,
        ..blank(
            known,
            ended.place,
            ended.operation,
            (ended.round, ended.attempt),
        )
    }
}

fn action(known: &Known, step: &str, operation: OperationKind) -> Option<ActionName> {
    let step = known.saga.definition().step_index(step)?;
    known.saga.action(step, operation).cloned()
}

fn blank(
    known: &Known,
    place: Place,
    operation: OperationKind,
    (round, attempt): (u32, u32),
) -> AttemptView {
    AttemptView {
        at: known.at(place),
        operation,
        round,
        attempt,
        action: known.saga.action(place.step, operation).cloned(),
        instance: None,
        sent_at: None,
        ended_at: None,
        outcome: None,
        code: None,
        message: None,
        retry_at: None,
    }
}
