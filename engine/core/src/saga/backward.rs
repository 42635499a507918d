//! Undoing: which compensations are owed, which may run, and when the saga is undone.
//!
//! A step is compensated when every step that depends on it - through skipped and uncompensated ones - and needs a
//! compensation has had it. Independent ones run in parallel, ties by the order in which the actions were scheduled,
//! the latest first (I20). Items of one step are independent, and at most so many of them are undone at a time.

use std::sync::Arc;

use amends_definitions::{Compensation, Payload, StepIndex};

use crate::fact::{AttemptEnded, Fact, IncidentReason};
use crate::id::Place;
use crate::outcome::{OperationKind, Outcome};
use crate::saga::decide::Decision;
use crate::saga::due::park_at;
use crate::saga::mark::Mark;
use crate::saga::place::{Phase, PlaceStatus};
use crate::saga::retry::{Question, next_due};
use crate::saga::scope::{View, own_output, with_scope};
use crate::saga::state::Found;
use crate::shard::io::Acknowledged;

impl Decision<'_> {
    /// Begins every compensation that may run; ends the saga when none is owed and nothing is awaited.
    pub(super) fn advance_backward(&mut self) {
        if self.saga.end.is_some() || self.saga.abort.is_none() {
            return;
        }
        let blocked = self.saga.blocked_steps();
        let mut next: Vec<(Place, u32)> = Vec::new();
        let mut rooms = vec![0; self.saga.steps.len()];
        for step in self.saga.steps_marked(Mark::UNDOABLE) {
            if blocked[step.index()] {
                continue;
            }
            let room = self.room_to_undo(step);
            if room > 0 {
                rooms[step.index()] = room;
                let owed = self.saga.marked_of(step, Mark::UNDOABLE);
                owed.for_each(|found| next.push((found.place, found.order)));
            }
        }
        next.sort_by_key(|(_, order)| std::cmp::Reverse(*order));
        for (place, _) in next {
            // What is begun at one place changes nothing at the others.
            let room = &mut rooms[place.step.index()];
            if *room > 0 && self.may_compensate(place) {
                self.begin_compensation(place);
                *room -= usize::from(takes_room(self.saga.place(place)));
            }
        }
        let unfinished =
            self.saga
                .marked(Mark::OPEN.and(Mark::OWES))
                .any(|Found { place, status, .. }| {
                    status.forward.is_open() || self.saga.owes_compensation(place)
                });
        if !unfinished {
            self.say_unconsumed();
            self.record(Fact::Compensated);
        }
    }

    /// A compensation that took too long needs a person, whether a participant ever took it or not.
    pub(super) fn park_late_compensations(&mut self) {
        let late: Vec<Place> = self
            .saga
            .marked(Mark::UNDOING)
            .map(|found| found.place)
            .filter(|place| park_at(self.saga, *place).is_some_and(|at| at <= self.now))
            .collect();
        for place in late {
            let message = match &self.saga.place(place).compensation.error {
                Some((code, message)) => format!("{code}: {message}"),
                None => "no participant has answered it".to_owned(),
            };
            let code = "PARK_AFTER";
            self.record(Fact::StepFailed {
                place,
                operation: OperationKind::Compensate,
                code: code.to_owned(),
                message: message.clone(),
            });
            let reason = IncidentReason::CompensationExhausted;
            self.park_compensation(place, reason, code, &message);
        }
    }

    /// What an outcome means for a compensation that is open.
    pub(super) fn compensation_outcome(
        &mut self,
        ended: AttemptEnded,
        current: bool,
    ) -> Acknowledged {
        let place = ended.place;
        match &ended.outcome {
            Outcome::Succeeded { .. } | Outcome::Unusable { .. } | Outcome::NothingToUndo => {
                self.record(Fact::AttemptEnded(ended));
                self.advance_backward();
            }
            Outcome::Rejected { code, message } | Outcome::Fatal { code, message } => {
                let (code, message) = (code.clone(), format!("{code}: {message}"));
                self.record(Fact::AttemptEnded(ended));
                let reason = IncidentReason::CompensationRefused;
                self.park_compensation(place, reason, &code, &message);
                self.advance_backward();
            }
            Outcome::Failed { .. } | Outcome::Unknown { .. } if !current => {
                return Acknowledged::Late;
            }
            Outcome::Failed { code, message, .. } | Outcome::Unknown { code, message } => {
                let (code, message) = (code.clone(), format!("{code}: {message}"));
                let retry_at = self.compensation_retry(&ended);
                let spent = retry_at.is_none();
                self.record(Fact::AttemptEnded(AttemptEnded { retry_at, ..ended }));
                if spent {
                    let reason = IncidentReason::CompensationExhausted;
                    self.park_compensation(place, reason, &code, &message);
                    self.advance_backward();
                }
            }
            Outcome::Superseded | Outcome::Absent => return Acknowledged::Late,
        }
        Acknowledged::Recorded
    }

    /// A person has to look. The room that it had under `foreach` is the next item's: whoever is not in the midst of
    /// beginning compensations goes on with [`Decision::advance_backward`].
    fn park_compensation(
        &mut self,
        place: Place,
        reason: IncidentReason,
        code: &str,
        message: &str,
    ) {
        let about = Some((place, Some(OperationKind::Compensate)));
        self.open_incident(about, reason, Some(code), message);
    }

    fn may_compensate(&self, place: Place) -> bool {
        let status = self.saga.place(place);
        let begins = match status.compensation.phase {
            Phase::Waiting => true,
            Phase::Settling { until } => until <= self.now || status.forward.effect,
            Phase::Listed
            | Phase::Scheduled { .. }
            | Phase::Awaiting { .. }
            | Phase::Sleeping { .. }
            | Phase::ChildRequested
            | Phase::ChildUnderWay
            | Phase::Succeeded
            | Phase::Continued
            | Phase::Unusable
            | Phase::Skipped
            | Phase::Refused
            | Phase::Unresolved
            | Phase::NothingToUndo
            | Phase::Parked => false,
        };
        if !begins
            || !status.forward.is_over()
            || status.query_is_open()
            || !self.saga.owes_compensation(place)
        {
            return false;
        }
        true
    }

    /// As many items are undone at a time as may be done at a time: how many more of this step.
    fn room_to_undo(&self, step: StepIndex) -> usize {
        let Some(foreach) = self.saga.definition.step(step).foreach() else {
            return usize::MAX;
        };
        let under_way = self.saga.marked_of(step, Mark::UNDOING).count();
        let max = usize::try_from(foreach.max_parallel()).unwrap_or(usize::MAX);
        max.saturating_sub(under_way)
    }

    /// Schedules a compensation; or asks first whether there is something to undo, or lets its action settle.
    fn begin_compensation(&mut self, place: Place) {
        if let Some((code, message)) = self.cannot_be_asked(place) {
            self.record(Fact::StepFailed {
                place,
                operation: OperationKind::Compensate,
                code: code.into(),
                message: message.into(),
            });
            return self.park_child(place, code, message);
        }
        if self.can_query(place) {
            return self.begin_query(place);
        }
        if let Some(until) = self.settles_until(place)
            && until > self.now
        {
            return self.record(Fact::Settling { place, until });
        }
        match self.compensation_input(place) {
            Ok(input) => self.record(Fact::Scheduled {
                place,
                operation: OperationKind::Compensate,
                round: self.saga.place(place).compensation.round,
                input,
            }),
            Err(error) => {
                let message = error.message.clone();
                self.record(Fact::StepFailed {
                    place,
                    operation: OperationKind::Compensate,
                    code: error.code.to_owned(),
                    message: error.message,
                });
                let reason = IncidentReason::ExpressionFailed;
                self.park_compensation(place, reason, error.code, &message);
            }
        }
    }

    /// Until when a late execution of the action could still show itself; none if that is settled: its effect is known,
    /// a barrier refuses what is late, it is a child that answers for itself, or the settle time has begun before with this
    /// owner. What an earlier one recorded goes by another clock: the time runs again from the takeover.
    fn settles_until(&self, place: Place) -> Option<crate::time::Time> {
        let status = self.saga.place(place);
        if status.forward.effect || status.child.is_some() || self.is_behind_barrier(place) {
            return None;
        }
        let begun = matches!(status.compensation.phase, Phase::Settling { .. });
        let sent_at = status.forward.last_sent_at.unwrap_or(self.now);
        let sent_at = Some(sent_at).filter(|_| !begun).max(self.settles_from);
        let attempt = self.saga.definition.step(place.step).timeouts().attempt;
        sent_at.map(|sent_at| sent_at + attempt)
    }

    fn compensation_input(
        &self,
        place: Place,
    ) -> Result<Payload, amends_definitions::EvaluationError> {
        let definition = Arc::clone(&self.saga.definition);
        let Compensation::Call(call) = definition.step(place.step).compensation() else {
            return Ok(Payload::null());
        };
        if let Some(input) = call.input() {
            let view = View {
                itself: true,
                ..View::of(place)
            };
            return with_scope(self.saga, view, |scope| input.evaluate(scope));
        }
        let forward = &self.saga.place(place).forward;
        let reason = self
            .saga
            .abort
            .as_ref()
            .map_or("", |abort| abort.reason.code());
        let output = own_output(self.saga, place);
        Payload::compensation_default(forward.input.as_ref(), output, reason)
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

/// Its compensation, or what is asked before it, is under way.
fn takes_room(status: &PlaceStatus) -> bool {
    matches!(status.compensation.phase, Phase::Scheduled { .. }) || status.query_is_open()
}
