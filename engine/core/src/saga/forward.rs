//! Going forward: which steps are ready, what begins at their places, and where the saga ends.

use std::sync::Arc;

use amends_definitions::{
    Call, Emit, EvaluationError, Expression, Fail, Kind, Mapping, Payload, StepIndex, Work,
};

use crate::fact::{AbortReason, AttemptEnded, Fact, IncidentReason};
use crate::id::Place;
use crate::outcome::{OperationKind, Outcome};
use crate::saga::decide::Decision;
use crate::saga::mark::Mark;
use crate::saga::place::Phase;
use crate::saga::retry::{Question, next_due};
use crate::saga::scope::{View, with_scope};
use crate::shard::io::Acknowledged;

impl Decision<'_> {
    /// Begins every step that is ready: at the start, and when what held the saga back is gone.
    pub(super) fn advance_all(&mut self) {
        self.advance(self.saga.definition.step_indices());
    }

    /// Begins those of the steps that are ready, and those that become ready by it; ends the saga when all are done.
    pub(super) fn advance(&mut self, candidates: impl IntoIterator<Item = StepIndex>) {
        if !self.may_go_forward() {
            return;
        }
        self.open.extend(candidates);
        if self.advancing {
            return;
        }
        self.advancing = true;
        while let Some(step) = self.open.pop_front() {
            if !self.may_go_forward() {
                self.open.clear();
                break;
            }
            if self.saga.place(step).forward.phase == Phase::Listed {
                self.begin_items(step);
            } else if self.is_ready(step) {
                self.begin_step(step);
            }
        }
        self.advancing = false;
        if self.may_go_forward() && self.all_let_go_on() {
            self.complete();
        }
    }

    /// Nothing stands against beginning something: its turn has come, nobody holds it back, it is not decided otherwise.
    pub(super) fn may_go_forward(&self) -> bool {
        self.saga.turn_granted
            && self.saga.abort.is_none()
            && self.saga.end.is_none()
            && self.saga.held_since().is_none()
    }

    /// A place lets go on: what needs its step may begin, or the step's next item.
    pub(super) fn goes_on(&mut self, place: Place) {
        if self.saga.abort.is_some() {
            return self.advance_backward();
        }
        let pivot = self.saga.definition.step(place.step).kind() == Kind::Pivot;
        if pivot && self.saga.cancel_pending.is_some() {
            self.record(Fact::CancelDropped);
        }
        if self.saga.place(place.step).forward.lets_go_on() {
            let definition = Arc::clone(&self.saga.definition);
            self.advance(definition.graph().dependants(place.step).iter().copied());
        } else {
            self.advance([place.step]);
        }
    }

    /// Begins what a place is for.
    pub(super) fn begin_place(&mut self, place: Place) {
        let definition = Arc::clone(&self.saga.definition);
        let begun = match definition.step(place.step).work() {
            Work::Call(call) => self.begin_call(place, call),
            Work::Wait(wait) => {
                self.begin_wait(place, wait);
                Ok(())
            }
            Work::Sleep(sleep) => self.begin_sleep(place, sleep),
            Work::Saga(child) => self.begin_child(place, child),
            Work::Emit(emit) => self.emit(place, emit),
            Work::Fail(fail) => self.fail(place, fail),
        };
        if let Err(error) = begun {
            self.fail_unsent(place, error.code, &error.message);
        }
    }

    /// A place fails before anything is sent.
    pub(super) fn fail_unsent(&mut self, place: Place, code: &str, message: &str) {
        self.record(Fact::StepFailed {
            place,
            operation: OperationKind::Forward,
            code: code.to_owned(),
            message: message.to_owned(),
        });
        self.forward_ended(place);
    }

    /// A mapping's value; of none, what stands for it.
    pub(super) fn evaluate(
        &self,
        mapping: Option<&Mapping>,
        view: View<'_>,
        otherwise: fn() -> Payload,
    ) -> Result<Payload, EvaluationError> {
        mapping.map_or_else(
            || Ok(otherwise()),
            |mapping| with_scope(self.saga, view, |scope| mapping.evaluate(scope)),
        )
    }

    /// A key's value, if there is such a key.
    pub(super) fn evaluate_key(
        &self,
        key: Option<&Expression>,
        place: Place,
    ) -> Result<Option<String>, EvaluationError> {
        key.map(|key| with_scope(self.saga, View::of(place), |scope| key.evaluate_key(scope)))
            .transpose()
    }

    /// The history is at its cap: says so, and that nothing more is begun.
    pub(super) fn stops_at_full_history(&mut self) -> bool {
        let full = self.history_is_full();
        if full {
            let message = "the history is at its cap: no more steps are begun";
            self.open_incident(None, IncidentReason::HistoryFull, None, message);
        }
        full
    }

    /// What an outcome means for a forward operation that is open.
    pub(super) fn forward_outcome(&mut self, ended: AttemptEnded, current: bool) -> Acknowledged {
        let place = ended.place;
        match &ended.outcome {
            Outcome::Succeeded { .. } => {
                self.record(Fact::AttemptEnded(ended));
                self.goes_on(place);
            }
            Outcome::Unusable { .. }
            | Outcome::Rejected { .. }
            | Outcome::Fatal { .. }
            | Outcome::Superseded => {
                self.record(Fact::AttemptEnded(ended));
                self.forward_ended(place);
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
                    self.forward_ended(place);
                }
            }
            Outcome::NothingToUndo | Outcome::Absent => return Acknowledged::Late,
        }
        Acknowledged::Recorded
    }

    pub(super) fn all_let_go_on(&self) -> bool {
        self.saga.steps.all_have(Mark::DONE)
    }

    pub(super) fn needs_are_done(&self, step: StepIndex) -> bool {
        let done = |need: &StepIndex| self.saga.steps.mark(need.index()).has(Mark::DONE);
        self.saga.definition.graph().needs(step).iter().all(done)
    }

    fn is_ready(&self, step: StepIndex) -> bool {
        self.saga.place(step).forward.phase == Phase::Waiting && self.needs_are_done(step)
    }

    /// Skips, lists or begins a ready step, or fails it.
    fn begin_step(&mut self, step: StepIndex) {
        if self.stops_at_full_history() {
            return;
        }
        let definition = Arc::clone(&self.saga.definition);
        let wanted = definition.step(step).when().map_or(Ok(true), |when| {
            with_scope(self.saga, View::default(), |scope| {
                when.evaluate_bool(scope)
            })
        });
        match (wanted, definition.step(step).foreach()) {
            (Ok(false), _) => {
                self.record(Fact::Skipped { step });
                self.goes_on(step.into());
            }
            (Ok(true), Some(foreach)) => self.list_items(step, foreach),
            (Ok(true), None) => self.begin_place(step.into()),
            (Err(error), _) => self.fail_unsent(step.into(), error.code, &error.message),
        }
    }

    fn begin_call(&mut self, place: Place, call: &Call) -> Result<(), EvaluationError> {
        let input = self.evaluate(call.input(), View::of(place), Payload::empty_object)?;
        self.record(Fact::Scheduled {
            place,
            operation: OperationKind::Forward,
            round: self.saga.place(place).forward.round,
            input,
        });
        Ok(())
    }

    fn emit(&mut self, place: Place, emit: &Emit) -> Result<(), EvaluationError> {
        let subject = self.evaluate_text(emit.subject(), place, "subject")?;
        let data = self.evaluate(emit.data(), View::of(place), Payload::null)?;
        self.record(Fact::Emitted {
            place,
            event_type: emit.event_type().to_owned(),
            subject,
            data,
        });
        self.goes_on(place);
        Ok(())
    }

    fn fail(&mut self, place: Place, fail: &Fail) -> Result<(), EvaluationError> {
        let message = self.evaluate_text(fail.message(), place, "message")?;
        self.fail_unsent(place, fail.code(), &message.unwrap_or_default());
        Ok(())
    }

    fn evaluate_text(
        &self,
        mapping: Option<&Mapping>,
        place: Place,
        what: &str,
    ) -> Result<Option<String>, EvaluationError> {
        if mapping.is_none() {
            return Ok(None);
        }
        let value = self.evaluate(mapping, View::of(place), Payload::null)?;
        value.to_text().map(Some).ok_or_else(|| EvaluationError {
            code: "EXPRESSION_FAILED",
            message: format!("the {what} is not a string"),
        })
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
        let definition = Arc::clone(&self.saga.definition);
        match self.evaluate(definition.output(), View::default(), Payload::null) {
            Ok(output) => {
                self.say_unconsumed();
                self.record(Fact::Completed { output });
            }
            Err(error) if self.saga.past_point_of_no_return() => {
                let message = format!("the saga's output has no value: {}", error.message);
                let reason = IncidentReason::ExpressionFailed;
                self.open_incident(None, reason, Some(error.code), &message);
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
