//! What comes after its operation was decided. Most of it changes nothing; some of it settles a doubt; and a success that
//! nothing will undo is said aloud.

use crate::fact::{AttemptEnded, Fact, IncidentReason};
use crate::id::Place;
use crate::outcome::{OperationKind, Outcome};
use crate::saga::decide::Decision;
use crate::saga::place::Phase;
use crate::shard::io::Acknowledged;

impl Decision<'_> {
    pub(super) fn late_outcome(&mut self, ended: AttemptEnded) -> Acknowledged {
        match ended.operation {
            OperationKind::Forward => self.late_forward(ended),
            OperationKind::Compensate => self.late_compensation(ended),
            OperationKind::Query => self.late_query(ended),
        }
    }

    /// What belongs to a round that a person ended: it had been without effect, so a success is news.
    pub(super) fn outcome_of_old_round(&mut self, ended: AttemptEnded) -> Acknowledged {
        let success = matches!(
            ended.outcome,
            Outcome::Succeeded { .. } | Outcome::Unusable { .. }
        );
        let leak = match ended.operation {
            OperationKind::Forward => success,
            // Undone twice, unless a barrier lets an effect be undone once.
            OperationKind::Compensate => success && ended.verdict.is_none(),
            OperationKind::Query => false,
        };
        if leak {
            return self.leaked(ended);
        }
        Acknowledged::Late
    }

    fn late_forward(&mut self, ended: AttemptEnded) -> Acknowledged {
        let status = self.saga.place(ended.place);
        let forward = &status.forward;
        let in_doubt = forward.is_in_doubt(ended.attempt);
        let undecided = self.saga.end.is_none() && status.compensation_is_undecided();
        match (&ended.outcome, forward.phase) {
            (Outcome::Succeeded { .. } | Outcome::Unusable { .. }, phase)
                if undecided && (in_doubt || phase == Phase::Unresolved) =>
            {
                self.doubt_settled(ended)
            }
            (Outcome::Rejected { .. } | Outcome::Fatal { .. } | Outcome::Superseded, _)
                if undecided && in_doubt =>
            {
                self.doubt_settled(ended)
            }
            (
                Outcome::Succeeded { .. } | Outcome::Unusable { .. },
                Phase::Unresolved | Phase::Refused,
            ) => self.late_effect(ended),
            // One that the saga went past, and whose effect was not known.
            (
                Outcome::Succeeded { .. } | Outcome::Unusable { .. },
                Phase::Continued | Phase::Skipped,
            ) if !forward.effect => self.late_effect(ended),
            // The same answer again, or one that says nothing definite.
            (
                Outcome::Succeeded { .. }
                | Outcome::Unusable { .. }
                | Outcome::Rejected { .. }
                | Outcome::Failed { .. }
                | Outcome::Fatal { .. }
                | Outcome::Unknown { .. }
                | Outcome::NothingToUndo
                | Outcome::Superseded
                | Outcome::Absent,
                _,
            ) => Acknowledged::Late,
        }
    }

    /// Nobody knew, and now somebody says: the first definite result decides, late as it is (I12).
    fn doubt_settled(&mut self, ended: AttemptEnded) -> Acknowledged {
        let place = ended.place;
        self.record(Fact::AttemptEnded(ended));
        self.doubt_lessened(place);
        Acknowledged::Recorded
    }

    /// One attempt fewer is in doubt: if it was the last, or if it was a success, the place goes on from there.
    pub(super) fn doubt_lessened(&mut self, place: Place) {
        let forward = &self.saga.place(place).forward;
        if self.saga.abort.is_some() {
            return self.advance_backward();
        }
        match forward.phase {
            Phase::Succeeded => {
                self.close_incidents(Some(place), Some(OperationKind::Forward));
                self.goes_on(place);
            }
            Phase::Unusable => {
                self.close_incidents(Some(place), Some(OperationKind::Forward));
                self.forward_ended(place);
            }
            Phase::Refused | Phase::Unresolved if forward.unclear.is_empty() => {
                self.close_incidents(Some(place), Some(OperationKind::Forward));
                self.forward_ended(place);
            }
            // Still in doubt, or the saga went past it.
            Phase::Refused
            | Phase::Unresolved
            | Phase::Waiting
            | Phase::Listed
            | Phase::Settling { .. }
            | Phase::Scheduled { .. }
            | Phase::Awaiting { .. }
            | Phase::Sleeping { .. }
            | Phase::ChildRequested
            | Phase::ChildUnderWay
            | Phase::Continued
            | Phase::Skipped
            | Phase::NothingToUndo
            | Phase::Parked => {}
        }
    }

    /// A success of an action that was decided against. If its compensation is still to come, or a barrier orders the two,
    /// it is undone; else it may be an effect that nothing undoes.
    fn late_effect(&mut self, ended: AttemptEnded) -> Acknowledged {
        let place = ended.place;
        let compensated = self.saga.place(place).compensation.attempt > 0;
        let leak = if compensated {
            ended.verdict.is_none()
        } else {
            !self.saga.owes_compensation(place) || self.saga.end.is_some()
        };
        if leak {
            return self.leaked(ended);
        }
        // Once: participants repeat themselves until they are heard.
        let known = self.saga.place(place).forward.effect || self.leak_is_known(place);
        if !known && !self.history_is_full() {
            self.record(Fact::LateResult { ended, leak });
        }
        Acknowledged::Late
    }

    /// An effect that nothing undoes is said, even with a full history: once for each place, so that stays bounded.
    fn leaked(&mut self, ended: AttemptEnded) -> Acknowledged {
        let place = ended.place;
        if self.leak_is_known(place) {
            return Acknowledged::Late;
        }
        let what = match ended.operation {
            OperationKind::Forward | OperationKind::Query => "",
            OperationKind::Compensate => "the compensation of ",
        };
        let message = format!(
            "attempt {} of {what}{} succeeded after it had been decided otherwise",
            ended.attempt,
            self.saga.definition.step(place.step).id()
        );
        self.record(Fact::LateResult { ended, leak: true });
        let reason = IncidentReason::PossibleLeakedEffect;
        self.open_incident(Some((place, None)), reason, None, &message);
        Acknowledged::Late
    }

    pub(super) fn leak_is_known(&self, place: Place) -> bool {
        self.saga.incidents.iter().any(|open| {
            open.incident.place == Some(place)
                && open.incident.reason == IncidentReason::PossibleLeakedEffect
        })
    }

    /// A compensation that a person was asked for turns out to be done.
    fn late_compensation(&mut self, ended: AttemptEnded) -> Acknowledged {
        let place = ended.place;
        let parked = self.saga.place(place).compensation.phase == Phase::Parked;
        let done = matches!(
            ended.outcome,
            Outcome::Succeeded { .. } | Outcome::Unusable { .. } | Outcome::NothingToUndo
        );
        if !parked || !done || self.saga.end.is_some() {
            return Acknowledged::Late;
        }
        self.record(Fact::AttemptEnded(ended));
        self.close_incidents(Some(place), Some(OperationKind::Compensate));
        self.advance_backward();
        Acknowledged::Recorded
    }
}
