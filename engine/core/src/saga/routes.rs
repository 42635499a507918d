//! Where a failure leads: along an `onError` route, to an abort, or to a person.

use std::sync::Arc;

use amends_definitions::{EvaluationError, Kind, Payload, Route, Then};

use crate::fact::{AbortReason, Fact, IncidentReason};
use crate::id::Place;
use crate::outcome::OperationKind;
use crate::saga::decide::Decision;
use crate::saga::place::{Failure, Phase};
use crate::saga::scope::{View, with_scope};

/// Where a failure leads, and what stands for the output.
enum Way {
    Compensate,
    Continue(Option<Payload>),
    Park,
}

impl Decision<'_> {
    /// A place's action ended without a usable success: go on, abort, or park.
    pub(super) fn forward_ended(&mut self, place: Place) {
        if self.saga.abort.is_some() {
            return self.advance_backward();
        }
        let forward = &self.saga.place(place).forward;
        let (phase, failure) = (forward.phase, forward.failure);
        let (code, message) = forward
            .error
            .clone()
            .unwrap_or_else(|| ("UNKNOWN".into(), String::new()));
        let pivot = self.saga.definition.step(place.step).kind() == Kind::Pivot;
        if pivot && phase == Phase::Unusable && self.saga.cancel_pending.is_some() {
            self.record(Fact::CancelDropped);
        }
        if pivot && self.saga.pivot_in_doubt() {
            return self.doubt_pivot(place, &code, &message);
        }
        let routed = phase != Phase::Unusable
            && failure != Some(Failure::TimedOut)
            && failure != Some(Failure::Overtaken)
            && !self.abort_is_pending();
        let way = if routed {
            self.route(place, &code, &message, failure)
        } else {
            Ok(None)
        };
        match way {
            Ok(Some(Way::Continue(output))) => {
                self.record(Fact::Continued { place, output });
                self.goes_on(place);
            }
            Ok(Some(Way::Park)) => {
                self.park_place(place, IncidentReason::RoutedToPark, &code, &message);
            }
            Ok(Some(Way::Compensate) | None) => self.compensate_or_park(place, code, message),
            // The route itself has failed: that is the failure now, and no route is for it.
            Err(error) => {
                let message = format!("{code}: {message}; its onError: {}", error.message);
                if self.may_abort() {
                    let code = error.code.to_owned();
                    self.abort_for(place, code, message);
                } else {
                    let reason = IncidentReason::ExpressionFailed;
                    self.park_place(place, reason, error.code, &message);
                }
            }
        }
    }

    /// An abort may be recorded: the saga can be undone, and nothing speaks against it.
    pub(super) fn may_abort(&self) -> bool {
        !self.saga.past_point_of_no_return() && !self.saga.pivot_in_doubt()
    }

    /// A cancel or the deadline waits for the pivot to be proven absent.
    fn abort_is_pending(&self) -> bool {
        let deadline = self.saga.definition.deadline();
        let late = self.saga.deadline_passed
            && deadline.is_some_and(|deadline| deadline.then == Then::Compensate);
        (late || self.saga.cancel_pending.is_some()) && self.may_abort()
    }

    /// What follows a failure that no route goes past: the abort, or a person behind the point of no return.
    pub(super) fn compensate_or_park(&mut self, place: Place, code: String, message: String) {
        if self.may_abort() {
            self.abort_for(place, code, message);
        } else {
            let reason = self.reason_to_park(place);
            self.park_place(place, reason, &code, &message);
        }
    }

    /// A person has to look at a place's action.
    pub(super) fn park_place(
        &mut self,
        place: Place,
        reason: IncidentReason,
        code: &str,
        message: &str,
    ) {
        let about = Some((place, Some(OperationKind::Forward)));
        let said = if code == reason.as_str() {
            message.to_owned()
        } else {
            format!("{code}: {message}")
        };
        self.open_incident(about, reason, Some(code), &said);
        // A parked item leaves room for the next.
        if place.item > 0 {
            self.advance([place.step]);
        }
    }

    /// Records the decision to compensate, and what it begins. What was parked going forward is settled by it.
    pub(super) fn abort(&mut self, reason: AbortReason) {
        let settled: Vec<_> = self
            .saga
            .incidents
            .iter()
            .filter(|open| {
                open.incident.place.is_some()
                    && open.incident.reason != IncidentReason::PossibleLeakedEffect
            })
            .map(|open| (open.incident.place, open.incident.operation))
            .collect();
        for (place, operation) in settled {
            self.close_incidents(place, operation);
        }
        // What held the saga back is closed behind the abort, which has to know what it held back.
        self.record(Fact::AbortDecided(reason));
        self.close_incidents(None, None);
        self.advance_backward();
    }

    fn abort_for(&mut self, place: Place, code: String, message: String) {
        self.abort(AbortReason::StepFailed {
            place,
            code,
            message,
        });
    }

    /// Nobody knows whether the pivot had its effect: somebody is asked, or a person has to find out.
    fn doubt_pivot(&mut self, place: Place, code: &str, message: &str) {
        if self.saga.place(place).query_is_open() {
            return;
        }
        if self.can_query(place) {
            return self.begin_query(place);
        }
        let message = format!("{message}; whether it had its effect is not known");
        self.park_place(place, IncidentReason::PivotInDoubt, code, &message);
    }

    /// The first of the step's routes that is for this failure.
    fn route(
        &self,
        place: Place,
        code: &str,
        message: &str,
        failure: Option<Failure>,
    ) -> Result<Option<Way>, EvaluationError> {
        let definition = Arc::clone(&self.saga.definition);
        let view = View {
            error: Some((code, message)),
            ..View::of(place)
        };
        for route in definition.step(place.step).on_error() {
            if !is_for(route, code, failure) {
                continue;
            }
            if let Some(when) = route.when()
                && !with_scope(self.saga, view, |scope| when.evaluate_bool(scope))?
            {
                continue;
            }
            return Ok(Some(match route.then() {
                Then::Compensate => Way::Compensate,
                Then::Park => Way::Park,
                Then::Continue => Way::Continue(
                    route
                        .output()
                        .map(|output| with_scope(self.saga, view, |scope| output.evaluate(scope)))
                        .transpose()?,
                ),
            }));
        }
        Ok(None)
    }

    fn reason_to_park(&self, place: Place) -> IncidentReason {
        let forward = &self.saga.place(place).forward;
        match (forward.phase, forward.failure) {
            (Phase::Unusable, _) => IncidentReason::OutputUnusable,
            (_, Some(Failure::NotSent)) => IncidentReason::ExpressionFailed,
            (_, Some(Failure::TimedOut)) => IncidentReason::SignalTimeout,
            (Phase::Unresolved, _) if self.history_is_full() => IncidentReason::HistoryFull,
            (Phase::Unresolved, _) if !self.saga.runs_child(place) => IncidentReason::StepExhausted,
            (
                _,
                Some(Failure::Refused | Failure::Fatal | Failure::Exhausted | Failure::Overtaken)
                | None,
            ) => IncidentReason::StepRefused,
        }
    }
}

/// The route names the code, or what kind of failure it is, or nothing: then it is for all.
fn is_for(route: &Route, code: &str, failure: Option<Failure>) -> bool {
    let kind = match failure {
        Some(Failure::Fatal) => Some("FATAL"),
        Some(Failure::Exhausted) => Some("EXHAUSTED"),
        Some(Failure::Refused | Failure::NotSent | Failure::TimedOut | Failure::Overtaken)
        | None => None,
    };
    route.codes().is_empty()
        || route
            .codes()
            .iter()
            .any(|wanted| wanted == code || Some(wanted.as_str()) == kind)
}
