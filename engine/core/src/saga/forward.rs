//! Going forward: which steps are ready, what an attempt's outcome means for its step, and where the saga ends.

use amends_definitions::{EvaluationError, Kind, Payload, StepIndex};

use crate::fact::{AbortReason, AttemptEnded, Fact, IncidentReason};
use crate::outcome::{OperationKind, Outcome};
use crate::saga::decide::{Decision, with_scope};
use crate::saga::place::{Phase, StepStatus};
use crate::saga::retry::{Question, next_due};
use crate::shard::io::Acknowledged;

impl Decision<'_> {
    /// Begins every step that is ready: at the start.
    pub(super) fn advance_all(&mut self) {
        self.advance(self.saga.definition.step_indices().collect());
    }

    /// Begins those of the steps that are ready, and those that become ready by it; ends the saga when all are done.
    pub(super) fn advance(&mut self, candidates: Vec<StepIndex>) {
        let mut open = std::collections::VecDeque::from(candidates);
        while let Some(step) = open.pop_front() {
            if self.saga.abort.is_some() {
                return;
            }
            if self.is_ready(step) && self.begin_step(step) {
                open.extend(
                    self.saga
                        .definition
                        .graph()
                        .dependants(step)
                        .iter()
                        .copied(),
                );
            }
        }
        let all_done = self.saga.steps.iter().all(StepStatus::lets_go_on);
        if all_done && self.saga.abort.is_none() && self.saga.end.is_none() {
            self.complete();
        }
    }

    /// What an outcome means for a forward operation that is open.
    pub(super) fn forward_outcome(&mut self, ended: AttemptEnded, current: bool) -> Acknowledged {
        let step = ended.place.step;
        match &ended.outcome {
            Outcome::Succeeded { .. } => {
                self.record(Fact::AttemptEnded(ended));
                self.forward_succeeded(step);
            }
            Outcome::Unusable { .. }
            | Outcome::Rejected { .. }
            | Outcome::Fatal { .. }
            | Outcome::Superseded => {
                self.record(Fact::AttemptEnded(ended));
                self.forward_ended(step);
            }
            // An earlier attempt's error says nothing: a later one is under way.
            Outcome::Failed { .. } | Outcome::Unknown { .. } if !current => {
                return Acknowledged::Late;
            }
            Outcome::Failed { .. } | Outcome::Unknown { .. } => {
                let retry_at = self.forward_retry(&ended);
                let spent = retry_at.is_none();
                self.record(Fact::AttemptEnded(AttemptEnded { retry_at, ..ended }));
                if spent {
                    self.forward_ended(step);
                }
            }
            Outcome::NothingToUndo | Outcome::Absent => return Acknowledged::Late,
        }
        Acknowledged::Recorded
    }

    /// The step has had its effect.
    pub(super) fn forward_succeeded(&mut self, step: StepIndex) {
        if self.saga.abort.is_some() {
            return self.advance_backward();
        }
        if self.saga.definition.step(step).kind() == Kind::Pivot
            && self.saga.cancel_pending.is_some()
        {
            self.record(Fact::CancelDropped);
        }
        self.advance(self.saga.definition.graph().dependants(step).to_vec());
    }

    /// The step's action ended without a usable success: abort, or park.
    pub(super) fn forward_ended(&mut self, step: StepIndex) {
        if self.saga.abort.is_some() {
            return self.advance_backward();
        }
        let forward = &self.saga.place(step).forward;
        let (phase, in_doubt) = (forward.phase, !forward.unclear.is_empty());
        let (code, message) = forward
            .error
            .clone()
            .unwrap_or_else(|| ("UNKNOWN".into(), String::new()));
        let pivot = self.saga.definition.step(step).kind() == Kind::Pivot;
        if pivot && phase == Phase::Unusable && self.saga.cancel_pending.is_some() {
            self.record(Fact::CancelDropped);
        }
        if self.saga.past_point_of_no_return() {
            let reason = match phase {
                Phase::Unusable => IncidentReason::OutputUnusable,
                Phase::Unresolved if self.history_is_full() => IncidentReason::HistoryFull,
                Phase::Unresolved => IncidentReason::StepExhausted,
                Phase::Refused if forward_never_began(self, step) => {
                    IncidentReason::ExpressionFailed
                }
                Phase::Waiting
                | Phase::Settling { .. }
                | Phase::Scheduled { .. }
                | Phase::Succeeded
                | Phase::Skipped
                | Phase::Refused
                | Phase::NothingToUndo
                | Phase::Listed
                | Phase::Awaiting { .. }
                | Phase::Sleeping { .. }
                | Phase::ChildRequested
                | Phase::ChildUnderWay
                | Phase::Continued
                | Phase::Parked => IncidentReason::StepRefused,
            };
            self.open_incident(
                Some(step),
                Some(OperationKind::Forward),
                reason,
                &format!("{code}: {message}"),
            );
        } else if pivot && in_doubt {
            let message = format!("{code}: {message}; whether it had its effect is not known");
            self.open_incident(
                Some(step),
                Some(OperationKind::Forward),
                IncidentReason::PivotInDoubt,
                &message,
            );
        } else {
            self.abort(AbortReason::StepFailed {
                place: step.into(),
                code,
                message,
            });
        }
    }

    /// Records the decision to compensate, and what it begins. What was parked going forward is settled by it.
    pub(super) fn abort(&mut self, reason: AbortReason) {
        let settled: Vec<_> = self
            .saga
            .incidents
            .iter()
            .map(|open| {
                (
                    open.incident.place.map(|place| place.step),
                    open.incident.operation,
                    open.incident.reason,
                )
            })
            .filter(|(_, _, reason)| *reason != IncidentReason::PossibleLeakedEffect)
            .collect();
        for (step, operation, _) in settled {
            self.close_incident(step, operation);
        }
        self.record(Fact::AbortDecided(reason));
        self.advance_backward();
    }

    fn is_ready(&self, step: StepIndex) -> bool {
        let done = |need: &StepIndex| self.saga.place(*need).forward.lets_go_on();
        self.saga.place(step).forward.phase == Phase::Waiting
            && self.saga.definition.graph().needs(step).iter().all(done)
    }

    /// Skips, schedules or fails a ready step. True if its dependants may be ready now.
    fn begin_step(&mut self, step: StepIndex) -> bool {
        if self.history_is_full() {
            let message = "the history is at its cap: no more steps are begun";
            self.open_incident(None, None, IncidentReason::HistoryFull, message);
            return false;
        }
        let definition = std::sync::Arc::clone(&self.saga.definition);
        let step_definition = definition.step(step);
        let evaluated: Result<Option<Payload>, EvaluationError> =
            with_scope(self.saga, None, |scope| {
                if let Some(when) = step_definition.when()
                    && !when.evaluate_bool(scope)?
                {
                    return Ok(None);
                }
                step_definition
                    .call()
                    .and_then(amends_definitions::Call::input)
                    .map_or_else(
                        || Ok(Payload::empty_object()),
                        |input| input.evaluate(scope),
                    )
                    .map(Some)
            });
        match evaluated {
            Ok(None) => {
                self.record(Fact::Skipped { step });
                true
            }
            Ok(Some(input)) => {
                self.record(Fact::Scheduled {
                    place: step.into(),
                    operation: OperationKind::Forward,
                    round: 0,
                    input,
                });
                false
            }
            Err(error) => {
                self.record(Fact::StepFailed {
                    place: step.into(),
                    operation: OperationKind::Forward,
                    code: error.code.to_owned(),
                    message: error.message,
                });
                self.forward_ended(step);
                false
            }
        }
    }

    /// When the next attempt of a failed one is due; none if there is none.
    fn forward_retry(&self, ended: &AttemptEnded) -> Option<crate::time::Time> {
        if self.saga.abort.is_some() || self.history_is_full() {
            return None;
        }
        let step = self.saga.definition.step(ended.place.step);
        let forward = &self.saga.place(ended.place).forward;
        let question = Question {
            saga: self.saga.id,
            place: ended.place,
            round: ended.round,
            operation: OperationKind::Forward,
            attempt: ended.attempt,
            uncounted: forward.uncounted,
            first_at: forward.first_at.unwrap_or(self.now),
            now: self.now,
            code: ended.outcome.error().map_or("", |(code, _)| code),
            retry_after: ended.outcome.retry_after(),
            park_after: None,
        };
        next_due(&question, step.retry(), step.timeouts())
    }

    fn complete(&mut self) {
        let definition = std::sync::Arc::clone(&self.saga.definition);
        let output = with_scope(self.saga, None, |scope| {
            definition
                .output()
                .map_or_else(|| Ok(Payload::null()), |output| output.evaluate(scope))
        });
        match output {
            Ok(output) => self.record(Fact::Completed { output }),
            Err(error) if self.saga.past_point_of_no_return() => {
                let message = format!("the saga's output has no value: {error}");
                self.open_incident(None, None, IncidentReason::ExpressionFailed, &message);
            }
            Err(error) => {
                self.abort(AbortReason::OutputInvalid {
                    code: error.code.to_owned(),
                    message: error.message,
                });
            }
        }
    }
}

fn forward_never_began(decision: &Decision<'_>, step: StepIndex) -> bool {
    decision.saga.place(step).forward.attempt == 0
}
