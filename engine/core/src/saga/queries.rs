//! `query`: when nobody knows whether an action had its effect, somebody is asked before anything is decided on a guess.

use amends_definitions::{Call, Payload};

use crate::fact::{AttemptEnded, Fact};
use crate::id::Place;
use crate::limits::QUERY_ATTEMPTS_MAX;
use crate::outcome::{OperationKind, Outcome};
use crate::saga::decide::Decision;
use crate::saga::due::query_given_up_at;
use crate::saga::mark::Mark;
use crate::saga::place::Phase;
use crate::saga::retry::{Question, next_due};
use crate::shard::io::Acknowledged;

impl Decision<'_> {
    /// The action's effect is unclear, no barrier settles it, and its query has not been asked since.
    pub(super) fn can_query(&self, place: Place) -> bool {
        let status = self.saga.place(place);
        let call = self.saga.definition.step(place.step).call();
        let asked = status
            .query
            .as_ref()
            .is_some_and(|query| query.phase != Phase::Waiting);
        call.and_then(Call::query).is_some()
            && !asked
            && status.forward.is_over()
            && !status.forward.effect
            && !status.forward.unclear.is_empty()
            && !self.is_behind_barrier(place)
    }

    /// Asks, with the action's recorded input.
    pub(super) fn begin_query(&mut self, place: Place) {
        let forward = &self.saga.place(place).forward;
        let round = forward.round;
        let input = forward.input.clone().unwrap_or_else(Payload::empty_object);
        self.record(Fact::Scheduled {
            place,
            operation: OperationKind::Query,
            round,
            input,
        });
    }

    /// What an outcome means for a query that is open.
    pub(super) fn query_outcome(&mut self, ended: AttemptEnded, current: bool) -> Acknowledged {
        let place = ended.place;
        match &ended.outcome {
            Outcome::Succeeded { .. } | Outcome::Unusable { .. } | Outcome::Absent => {
                self.record(Fact::AttemptEnded(ended));
                self.doubt_lessened(place);
            }
            Outcome::Failed { .. } | Outcome::Unknown { .. } if current => {
                let retry_at = self.query_retry(&ended);
                let spent = retry_at.is_none();
                self.record(Fact::AttemptEnded(AttemptEnded { retry_at, ..ended }));
                if spent {
                    self.query_spent(place);
                }
            }
            Outcome::Failed { .. }
            | Outcome::Unknown { .. }
            | Outcome::Rejected { .. }
            | Outcome::Fatal { .. }
            | Outcome::NothingToUndo
            | Outcome::Superseded => return Acknowledged::Late,
        }
        Acknowledged::Recorded
    }

    /// An answer to a query that nobody waited for any more settles the doubt all the same, if there still is one.
    pub(super) fn late_query(&mut self, ended: AttemptEnded) -> Acknowledged {
        let place = ended.place;
        let status = self.saga.place(place);
        let given_up = self.saga.operation(place, OperationKind::Query).phase == Phase::Parked;
        let in_doubt = status.forward.is_over()
            && !status.forward.effect
            && !status.forward.unclear.is_empty();
        let answer = matches!(
            ended.outcome,
            Outcome::Succeeded { .. } | Outcome::Unusable { .. } | Outcome::Absent
        );
        let counts = given_up && in_doubt && answer && status.compensation_is_undecided();
        if !counts || self.saga.end.is_some() {
            return Acknowledged::Late;
        }
        self.record(Fact::AttemptEnded(ended));
        self.doubt_lessened(place);
        Acknowledged::Recorded
    }

    /// No answer came: it goes on as if there were no query.
    pub(super) fn query_spent(&mut self, place: Place) {
        if self.saga.abort.is_some() {
            self.advance_backward();
        } else {
            self.forward_ended(place);
        }
    }

    /// A query that nobody answers must not keep a compensation waiting for ever.
    pub(super) fn give_up_late_queries(&mut self) {
        let late: Vec<Place> = self
            .saga
            .marked(Mark::UNDOING)
            .map(|found| found.place)
            .filter(|place| query_given_up_at(self.saga, *place).is_some_and(|at| at <= self.now))
            .collect();
        for place in late {
            self.record(Fact::StepFailed {
                place,
                operation: OperationKind::Query,
                code: "PARK_AFTER".into(),
                message: "nobody has answered it".into(),
            });
            self.query_spent(place);
        }
    }

    /// When the next attempt of a failed query is due; none if it is given up.
    fn query_retry(&self, ended: &AttemptEnded) -> Option<crate::time::Time> {
        let step = self.saga.definition.step(ended.place.step);
        let query = self.saga.operation(ended.place, OperationKind::Query);
        if ended.attempt.saturating_sub(query.uncounted) >= QUERY_ATTEMPTS_MAX {
            return None;
        }
        let question = Question {
            saga: self.saga.id,
            place: ended.place,
            round: ended.round,
            operation: OperationKind::Query,
            attempt: ended.attempt,
            uncounted: query.uncounted,
            first_at: query.first_at.unwrap_or(self.now),
            now: self.now,
            code: ended.outcome.error().map_or("", |(code, _)| code),
            retry_after: ended.outcome.retry_after(),
            park_after: Some(self.saga.definition.compensation().park_after),
        };
        next_due(&question, step.retry(), step.timeouts())
    }
}
