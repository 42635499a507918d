//! What comes after its operation was decided. Most of it changes nothing; some of it settles a doubt; and a success that
//! nothing will undo is said aloud.

use amends_definitions::StepIndex;

use crate::fact::{AttemptEnded, Fact, IncidentReason};
use crate::outcome::{OperationKind, Outcome};
use crate::saga::decide::Decision;
use crate::saga::place::Phase;
use crate::shard::io::Acknowledged;

impl Decision<'_> {
    pub(super) fn late_outcome(&mut self, ended: AttemptEnded) -> Acknowledged {
        match ended.operation {
            OperationKind::Forward => self.late_forward(ended),
            OperationKind::Compensate | OperationKind::Query => self.late_compensation(ended),
        }
    }

    fn late_forward(&mut self, ended: AttemptEnded) -> Acknowledged {
        let forward = &self.saga.place(ended.place).forward;
        let in_doubt = forward.is_in_doubt(ended.attempt);
        let undecided = self.saga.end.is_none() && self.compensation_is_undecided(ended.place.step);
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
        let step = ended.place.step;
        self.record(Fact::AttemptEnded(ended));
        self.doubt_lessened(step);
        Acknowledged::Recorded
    }

    /// One attempt fewer is in doubt: if it was the last, or if it was a success, the step goes on from there.
    pub(super) fn doubt_lessened(&mut self, step: StepIndex) {
        let forward = &self.saga.place(step).forward;
        let success = forward.phase == Phase::Succeeded;
        let resolved = success || forward.phase == Phase::Unusable || forward.unclear.is_empty();
        if self.saga.abort.is_some() {
            self.advance_backward();
        } else if resolved {
            self.close_incident(Some(step), Some(OperationKind::Forward));
            if success {
                self.forward_succeeded(step);
            } else {
                self.forward_ended(step);
            }
        }
    }

    /// The step's compensation has not begun: what is learned about the action still counts.
    pub(super) fn compensation_is_undecided(&self, step: StepIndex) -> bool {
        matches!(
            self.saga.place(step).compensation.phase,
            Phase::Waiting | Phase::Settling { .. }
        )
    }

    /// A success of an action that was decided against. If its compensation is still to come, or a barrier orders the two,
    /// it is undone; else it may be an effect that nothing undoes.
    fn late_effect(&mut self, ended: AttemptEnded) -> Acknowledged {
        let step = ended.place.step;
        let status = &self.saga.place(step);
        let compensated = status.compensation.attempt > 0;
        let leak = if compensated {
            ended.verdict.is_none()
        } else {
            !self.saga.owes_compensation(step) || self.saga.end.is_some()
        };
        let known = self.saga.incidents.iter().any(|open| {
            open.incident.place.map(|place| place.step) == Some(step)
                && open.incident.reason == IncidentReason::PossibleLeakedEffect
        });
        // A leak is said even then: once for each step, so the history stays bounded.
        if known || (!leak && self.history_is_full()) {
            return Acknowledged::Late;
        }
        let message = format!(
            "attempt {} of {} succeeded after it had been decided otherwise",
            ended.attempt,
            self.saga.definition.step(step).id()
        );
        self.record(Fact::LateResult { ended, leak });
        if leak {
            let reason = IncidentReason::PossibleLeakedEffect;
            self.open_incident(Some(step), None, reason, &message);
        }
        Acknowledged::Late
    }

    /// A compensation that a person was asked for turns out to be done.
    fn late_compensation(&mut self, ended: AttemptEnded) -> Acknowledged {
        let parked = self.saga.place(ended.place).compensation.phase == Phase::Parked;
        let done = matches!(
            ended.outcome,
            Outcome::Succeeded { .. } | Outcome::Unusable { .. } | Outcome::NothingToUndo
        );
        if !parked || !done || self.saga.end.is_some() {
            return Acknowledged::Late;
        }
        let step = ended.place.step;
        self.record(Fact::AttemptEnded(ended));
        self.close_incident(Some(step), Some(OperationKind::Compensate));
        self.advance_backward();
        Acknowledged::Recorded
    }
}
