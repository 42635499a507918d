//! Undoing: which compensations are owed, which may run, and when the saga is undone.
//!
//! A step is compensated when every step that depends on it - through skipped and uncompensated ones - and needs a
//! compensation has had it. Independent ones run in parallel, ties by the order in which the actions were scheduled,
//! the latest first (I20).

use std::sync::Arc;

use amends_definitions::{Compensation, CompensationOrder, Payload, StepIndex};

use crate::fact::{AttemptEnded, Fact, IncidentReason};
use crate::outcome::{OperationKind, Outcome};
use crate::saga::decide::{Decision, with_scope};
use crate::saga::due::park_at;
use crate::saga::place::Phase;
use crate::saga::retry::{Question, next_due};
use crate::shard::io::Acknowledged;

impl Decision<'_> {
    /// Begins every compensation that may run; ends the saga when none is owed and nothing is awaited.
    pub(super) fn advance_backward(&mut self) {
        if self.saga.end.is_some() || self.saga.abort.is_none() {
            return;
        }
        let mut ready: Vec<StepIndex> = self
            .saga
            .definition
            .step_indices()
            .filter(|step| self.may_compensate(*step))
            .collect();
        ready.sort_by_key(|step| std::cmp::Reverse(self.saga.place(*step).forward.order));
        for step in ready {
            self.begin_compensation(step);
        }
        let awaited = self
            .saga
            .steps
            .iter()
            .any(|status| matches!(status.itself.forward.phase, Phase::Scheduled { .. }));
        if !awaited
            && !self
                .saga
                .definition
                .step_indices()
                .any(|step| self.saga.owes_compensation(step))
        {
            self.record(Fact::Compensated);
        }
    }

    /// A compensation that took too long needs a person, whether a participant ever took it or not.
    pub(super) fn park_late_compensations(&mut self) {
        for step in self.saga.definition.step_indices() {
            let compensation = &self.saga.place(step).compensation;
            if park_at(self.saga, step.into()).is_some_and(|park_at| park_at <= self.now) {
                let message = match &compensation.error {
                    Some((code, message)) => format!("{code}: {message}"),
                    None => "no participant has answered it".to_owned(),
                };
                let operation = OperationKind::Compensate;
                let code = "PARK_AFTER".to_owned();
                self.record(Fact::StepFailed {
                    place: step.into(),
                    operation,
                    code,
                    message: message.clone(),
                });
                let reason = IncidentReason::CompensationExhausted;
                self.open_incident(Some(step), Some(operation), reason, &message);
            }
        }
    }

    /// What an outcome means for a compensation that is open.
    pub(super) fn compensation_outcome(
        &mut self,
        ended: AttemptEnded,
        current: bool,
    ) -> Acknowledged {
        let step = ended.place.step;
        match &ended.outcome {
            Outcome::Succeeded { .. } | Outcome::Unusable { .. } | Outcome::NothingToUndo => {
                self.record(Fact::AttemptEnded(ended));
                self.advance_backward();
            }
            Outcome::Rejected { code, message } | Outcome::Fatal { code, message } => {
                let message = format!("{code}: {message}");
                self.record(Fact::AttemptEnded(ended));
                let reason = IncidentReason::CompensationRefused;
                self.open_incident(
                    Some(step),
                    Some(OperationKind::Compensate),
                    reason,
                    &message,
                );
            }
            Outcome::Failed { .. } | Outcome::Unknown { .. } if !current => {
                return Acknowledged::Late;
            }
            Outcome::Failed { code, message, .. } | Outcome::Unknown { code, message } => {
                let message = format!("{code}: {message}");
                let retry_at = self.compensation_retry(&ended);
                let spent = retry_at.is_none();
                self.record(Fact::AttemptEnded(AttemptEnded { retry_at, ..ended }));
                if spent {
                    let reason = IncidentReason::CompensationExhausted;
                    self.open_incident(
                        Some(step),
                        Some(OperationKind::Compensate),
                        reason,
                        &message,
                    );
                }
            }
            Outcome::Superseded | Outcome::Absent => return Acknowledged::Late,
        }
        Acknowledged::Recorded
    }

    fn may_compensate(&self, step: StepIndex) -> bool {
        let status = &self.saga.place(step);
        let begins = match status.compensation.phase {
            Phase::Waiting => true,
            Phase::Settling { until } => {
                until <= self.now || status.forward.phase == Phase::Succeeded
            }
            Phase::Scheduled { .. }
            | Phase::Succeeded
            | Phase::Unusable
            | Phase::Skipped
            | Phase::Refused
            | Phase::Unresolved
            | Phase::NothingToUndo
            | Phase::Parked
            | Phase::Listed
            | Phase::Awaiting { .. }
            | Phase::Sleeping { .. }
            | Phase::ChildRequested
            | Phase::ChildUnderWay
            | Phase::Continued => false,
        };
        if !begins || !status.forward.is_over() || !self.saga.owes_compensation(step) {
            return false;
        }
        match self.saga.definition.compensation().order {
            CompensationOrder::Parallel => true,
            CompensationOrder::Reverse => self
                .saga
                .definition
                .graph()
                .descendants(step)
                .iter()
                .all(|later| {
                    let forward = self.saga.place(*later).forward.phase;
                    !matches!(forward, Phase::Scheduled { .. })
                        && !self.saga.owes_compensation(*later)
                }),
        }
    }

    /// Schedules a compensation, or lets its action settle first.
    fn begin_compensation(&mut self, step: StepIndex) {
        if let Some(until) = self.settles_until(step)
            && until > self.now
        {
            self.record(Fact::Settling {
                place: step.into(),
                until,
            });
            return;
        }
        match self.compensation_input(step) {
            Ok(input) => self.record(Fact::Scheduled {
                place: step.into(),
                operation: OperationKind::Compensate,
                round: 0,
                input,
            }),
            Err(error) => {
                let message = error.to_string();
                self.record(Fact::StepFailed {
                    place: step.into(),
                    operation: OperationKind::Compensate,
                    code: error.code.to_owned(),
                    message: error.message,
                });
                let reason = IncidentReason::ExpressionFailed;
                self.open_incident(
                    Some(step),
                    Some(OperationKind::Compensate),
                    reason,
                    &message,
                );
            }
        }
    }

    /// Until when a late execution of the action could still show itself; none if that is settled: its effect is known,
    /// a barrier refuses what is late, or the settle time has begun before.
    fn settles_until(&self, step: StepIndex) -> Option<crate::time::Time> {
        let status = &self.saga.place(step);
        let unknown = !matches!(status.forward.phase, Phase::Succeeded | Phase::Unusable);
        let begun = matches!(status.compensation.phase, Phase::Settling { .. });
        if !unknown || begun || self.is_behind_barrier(step) {
            return None;
        }
        let attempt = self.saga.definition.step(step).timeouts().attempt;
        Some(status.forward.last_sent_at.unwrap_or(self.now) + attempt)
    }

    fn compensation_input(
        &self,
        step: StepIndex,
    ) -> Result<Payload, amends_definitions::EvaluationError> {
        let definition = Arc::clone(&self.saga.definition);
        let Compensation::Call(call) = definition.step(step).compensation() else {
            return Ok(Payload::empty_object());
        };
        if let Some(input) = call.input() {
            return with_scope(self.saga, Some(step), |scope| input.evaluate(scope));
        }
        let forward = &self.saga.place(step).forward;
        let reason = self
            .saga
            .abort
            .as_ref()
            .map_or("", |abort| abort.reason.code());
        Payload::compensation_default(forward.input.as_ref(), forward.output.as_ref(), reason)
    }

    /// When the next attempt of a failed compensation is due; none if a person has to look.
    fn compensation_retry(&self, ended: &AttemptEnded) -> Option<crate::time::Time> {
        let Compensation::Call(call) = self.saga.definition.step(ended.place.step).compensation()
        else {
            return None;
        };
        let compensation = &self.saga.place(ended.place).compensation;
        let question = Question {
            saga: self.saga.id,
            place: ended.place,
            round: ended.round,
            operation: OperationKind::Compensate,
            attempt: ended.attempt,
            uncounted: compensation.uncounted,
            first_at: compensation.first_at.unwrap_or(self.now),
            now: self.now,
            code: ended.outcome.error().map_or("", |(code, _)| code),
            retry_after: ended.outcome.retry_after(),
            park_after: Some(self.saga.definition.compensation().park_after),
        };
        next_due(&question, call.retry(), call.timeouts())
    }
}
