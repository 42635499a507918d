//! Child sagas: asked for, pinned, awaited, undone. Also the child's side: what a parent's wish to undo means for it.

use amends_definitions::{ChildSaga, EvaluationError, Payload};

use crate::fact::{AbortReason, ChildOutcome, ChildRequested, Fact, IncidentReason};
use crate::id::Place;
use crate::limits::CHILD_DEPTH_MAX;
use crate::outcome::OperationKind;
use crate::saga::decide::Decision;
use crate::saga::place::Phase;
use crate::saga::scope::View;
use crate::saga::state::End;
use crate::shard::io::{ChildAnswer, ChildState};

impl Decision<'_> {
    /// A child, or who looked for its definition, says where it is.
    pub fn child_answered(&mut self, answer: &ChildAnswer) {
        let Some(step) = self.saga.definition.step_index(&answer.parent.step) else {
            return;
        };
        let place = Place::item(step, answer.parent.item);
        let status = self.saga.place(place);
        let current = status
            .child
            .as_ref()
            .is_some_and(|child| child.requested.round == answer.parent.round);
        if !current || self.saga.end.is_some() {
            return;
        }
        let round = answer.parent.round;
        match &answer.state {
            ChildState::Pinned {
                child,
                revision,
                hash,
            } if status.forward.phase == Phase::ChildRequested
                && self.saga.held_since().is_none() =>
            {
                self.record(Fact::ChildPinned {
                    place,
                    round,
                    child: *child,
                    revision: *revision,
                    hash: *hash,
                });
            }
            ChildState::Refused { code, message }
                if status.forward.phase == Phase::ChildRequested =>
            {
                let (code, message) = (code.clone(), message.clone());
                let outcome = ChildOutcome::Refused { code, message };
                self.child_ended(place, round, &outcome);
            }
            // A late answer of whoever looked for the definition says nothing about the child that there is by now.
            ChildState::Pinned { .. } | ChildState::Refused { .. } | ChildState::UnderWay => {}
            ChildState::Ended(outcome) => self.child_ended(place, round, outcome),
        }
    }

    /// The saga is a child, and its parent wants it undone: aborted if it runs, compensated if it has completed.
    pub fn undo(&mut self, code: &str, message: &str) {
        match self.saga.end {
            Some(End::Compensated | End::Terminated(_)) => return,
            Some(End::Completed(_)) | None => {}
        }
        if self.saga.abort.is_some() {
            return;
        }
        if self.may_abort() {
            self.abort(AbortReason::ParentAborted {
                code: code.to_owned(),
                message: message.to_owned(),
            });
        } else {
            let words = format!(
                "its parent is undone ({code}: {message}), and it cannot be: it has passed its point of no return, \
                 or its pivot is in doubt"
            );
            let reason = IncidentReason::ChildNotUndone;
            self.open_incident(None, reason, Some(code), &words);
        }
    }

    /// Asks for a child: a new one for each round.
    pub(super) fn begin_child(
        &mut self,
        place: Place,
        child: &ChildSaga,
    ) -> Result<(), EvaluationError> {
        let input = self.evaluate(child.input(), View::of(place), Payload::empty_object)?;
        self.request_child(place, child, input)
    }

    /// Asks for a child with this input.
    pub(super) fn request_child(
        &mut self,
        place: Place,
        child: &ChildSaga,
        input: Payload,
    ) -> Result<(), EvaluationError> {
        if self.saga.depth() + 1 > CHILD_DEPTH_MAX {
            return Err(EvaluationError {
                code: "CHILD_DEPTH",
                message: format!("more than {CHILD_DEPTH_MAX} sagas would be inside each other"),
            });
        }
        let key = self.evaluate_key(child.key(), place)?;
        let before = &self.saga.place(place).child;
        let round = before
            .as_ref()
            .map_or(0, |child| child.requested.round.saturating_add(1));
        self.record(Fact::ChildRequested(ChildRequested {
            place,
            round,
            name: child.name().to_owned(),
            key,
            input,
        }));
        Ok(())
    }

    /// Why nobody can be asked to undo what was done at a place that runs a child, with a code; none if somebody can.
    pub(super) fn cannot_be_asked(&self, place: Place) -> Option<(&'static str, &'static str)> {
        if !self.saga.runs_child(place) {
            return None;
        }
        match &self.saga.place(place).child {
            Some(child) if matches!(child.outcome, Some(ChildOutcome::Terminated { .. })) => {
                Some((
                    "CHILD_TERMINATED",
                    "an operator gave the child up: nobody knows what is left of it",
                ))
            }
            Some(child) if child.pinned.is_some() => None,
            Some(_) | None => Some((
                "DONE_BY_HAND",
                "a person resolved the step in its child's place: what was done then is theirs to undo",
            )),
        }
    }

    /// The child of a place cannot be undone: a person has to look.
    pub(super) fn park_child(&mut self, place: Place, code: &str, message: &str) {
        let about = Some((place, Some(OperationKind::Compensate)));
        let reason = IncidentReason::ChildNotUndone;
        self.open_incident(about, reason, Some(code), message);
    }

    fn child_ended(&mut self, place: Place, round: u32, outcome: &ChildOutcome) {
        let status = self.saga.place(place);
        let without_effect = matches!(
            outcome,
            ChildOutcome::Compensated { .. } | ChildOutcome::Refused { .. }
        );
        let operation = match (status.forward.phase, status.compensation.phase) {
            // Without a revision there is no child: it can only be refused.
            (Phase::ChildRequested, _) if !matches!(outcome, ChildOutcome::Refused { .. }) => {
                return;
            }
            (Phase::ChildRequested | Phase::ChildUnderWay, _) => OperationKind::Forward,
            (_, Phase::Scheduled { .. }) if !matches!(outcome, ChildOutcome::Completed { .. }) => {
                OperationKind::Compensate
            }
            (_, Phase::Parked) if without_effect => OperationKind::Compensate,
            // The abort came first, and its turn to be undone did not come yet.
            (Phase::Unresolved, Phase::Waiting)
                if self.saga.abort.is_some()
                    && !matches!(outcome, ChildOutcome::Completed { .. }) =>
            {
                OperationKind::Forward
            }
            (_, _) => return,
        };
        self.record(Fact::ChildEnded {
            place,
            round,
            operation,
            outcome: outcome.clone(),
        });
        match (operation, outcome) {
            (OperationKind::Compensate, ChildOutcome::Terminated { message }) => {
                self.park_child(place, "CHILD_TERMINATED", message);
                self.advance_backward();
            }
            (OperationKind::Compensate, _) => {
                self.close_incidents(Some(place), Some(OperationKind::Compensate));
                self.advance_backward();
            }
            (OperationKind::Forward | OperationKind::Query, ChildOutcome::Completed { output }) => {
                match self.check_output(place.step, output) {
                    Ok(()) => self.goes_on(place),
                    Err(message) => self.fail_unsent(place, "OUTPUT_INVALID", &message),
                }
            }
            (OperationKind::Forward | OperationKind::Query, _) => self.forward_ended(place),
        }
    }
}
