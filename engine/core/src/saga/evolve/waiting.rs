//! What waits, and what is only said: signals, sleeps, events.

use std::sync::Arc;

use crate::fact::Fact;
use crate::saga::evolve::place::{set_forward, succeeded};
use crate::saga::evolve::{payload_bytes, place_mut};
use crate::saga::place::Phase;
use crate::saga::state::Saga;

/// The facts about waits, sleeps and events.
pub(super) fn evolve(saga: &mut Saga, fact: &Fact) {
    match fact {
        Fact::SignalAwaited { place, until } => {
            set_forward(saga, *place, Phase::Awaiting { until: *until });
        }
        Fact::SignalConsumed { place, number } => {
            let taken = saga
                .signals
                .as_mut()
                .and_then(|signals| Arc::make_mut(signals).take(*number));
            if let (Some(signal), Some(status)) = (taken, place_mut(saga, *place)) {
                succeeded(&mut status.forward, Some(signal.payload));
            }
        }
        Fact::Sleeping { place, until } => {
            set_forward(saga, *place, Phase::Sleeping { until: *until });
        }
        Fact::Slept { place } => {
            if let Some(status) = place_mut(saga, *place) {
                succeeded(&mut status.forward, None);
            }
        }
        Fact::Emitted { place, data, .. } => {
            saga.payload_bytes += payload_bytes(data);
            if let Some(status) = place_mut(saga, *place) {
                status.forward.effect = true;
                succeeded(&mut status.forward, None);
            }
        }
        Fact::Started(_)
        | Fact::TurnGranted
        | Fact::Skipped { .. }
        | Fact::ItemsListed { .. }
        | Fact::Scheduled { .. }
        | Fact::StepFailed { .. }
        | Fact::AttemptEnded(_)
        | Fact::Withdrawn { .. }
        | Fact::SignalReceived(_)
        | Fact::SignalUnconsumed { .. }
        | Fact::ChildRequested(_)
        | Fact::ChildPinned { .. }
        | Fact::ChildEnded { .. }
        | Fact::Continued { .. }
        | Fact::DeadlinePassed
        | Fact::AbortDecided(_)
        | Fact::Settling { .. }
        | Fact::CancelPending { .. }
        | Fact::CancelDropped
        | Fact::LateResult { .. }
        | Fact::IncidentOpened(_)
        | Fact::IncidentClosed { .. }
        | Fact::Operated(_)
        | Fact::Completed { .. }
        | Fact::Compensated => {}
    }
}
