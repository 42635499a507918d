//! What comes after its operation was decided. Most of it changes nothing; some of it settles a doubt; and a success that
//! nothing will undo is said aloud.

use crate::fact::{AttemptEnded, Fact, IncidentReason};
use crate::outcome::{OperationKind, Outcome};
use crate::saga::decide::Decision;
use crate::saga::state::Phase;
use crate::shard::io::Acknowledged;

impl Decision<'_> {
    pub(super) fn late_outcome(&mut self, ended: AttemptEnded) -> Acknowledged {
        match ended.operation {
            OperationKind::Forward => self.late_forward(ended),
            OperationKind::Compensate => self.late_compensation(ended),
        }
    }

    fn late_forward(&mut self, ended: AttemptEnded) -> Acknowledged {
        let status = &self.saga.steps[ended.step.index()];
        let unclear = status.forward.unclear.contains(&ended.attempt);
        let undecided = self.saga.end.is_none()
            && matches!(
                status.compensation.phase,
                Phase::Waiting | Phase::Settling { .. }
            );
        match (&ended.outcome, status.forward.phase) {
            (Outcome::Succeeded { .. } | Outcome::Unusable { .. }, Phase::Unresolved)
                if undecided =>
            {
                self.doubt_settled(ended)
            }
            // Another attempt was refused, and this one was still in doubt.
            (Outcome::Succeeded { .. } | Outcome::Unusable { .. }, Phase::Refused)
                if undecided && unclear =>
            {
                self.doubt_settled(ended)
            }
            (
                Outcome::Rejected { .. } | Outcome::Fatal { .. } | Outcome::Superseded,
                Phase::Unresolved | Phase::Refused,
            ) if undecided && unclear => self.doubt_settled(ended),
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
                | Outcome::Superseded,
                _,
            ) => Acknowledged::Late,
        }
    }

    /// Nobody knew, and now somebody says: the first definite result decides, late as it is (I12).
    fn doubt_settled(&mut self, ended: AttemptEnded) -> Acknowledged {
        let step = ended.step;
        let success = matches!(ended.outcome, Outcome::Succeeded { .. });
        self.record(Fact::AttemptEnded(ended));
        let forward = &self.saga.steps[step.index()].forward;
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
        Acknowledged::Recorded
    }

    /// A success of an action that was decided against. If its compensation is still to come, or a barrier orders the two,
    /// it is undone; else it may be an effect that nothing undoes.
    fn late_effect(&mut self, ended: AttemptEnded) -> Acknowledged {
        let step = ended.step;
        let status = &self.saga.steps[step.index()];
        let compensated = status.compensation.attempt > 0;
        let leak = if compensated {
            ended.verdict.is_none()
        } else {
            !self.saga.owes_compensation(step) || self.saga.end.is_some()
        };
        let known = self.saga.incidents.iter().any(|open| {
            open.incident.step == Some(step)
                && open.incident.reason == IncidentReason::PossibleLeakedEffect
        });
        if known || self.history_is_full() {
            return Acknowledged::Late;
        }
        let message = format!(
            "attempt {} of {} succeeded after it had been decided otherwise",
            ended.attempt,
            self.saga.definition.step(step).action()
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
        let parked = self.saga.steps[ended.step.index()].compensation.phase == Phase::Parked;
        let done = matches!(
            ended.outcome,
            Outcome::Succeeded { .. } | Outcome::Unusable { .. } | Outcome::NothingToUndo
        );
        if !parked || !done || self.saga.end.is_some() {
            return Acknowledged::Late;
        }
        let step = ended.step;
        self.record(Fact::AttemptEnded(ended));
        self.close_incident(Some(step), Some(OperationKind::Compensate));
        self.advance_backward();
        Acknowledged::Recorded
    }
}
