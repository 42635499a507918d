//! The saga's own time: `timeout` and `onTimeout` of its definition.

use amends_definitions::Then;

use crate::fact::{AbortReason, Fact, IncidentReason};
use crate::saga::decide::Decision;

impl Decision<'_> {
    /// Records that the deadline passed, once, and what it leads to: an abort where that is possible, or a person. A pivot
    /// in doubt is waited for, and nothing follows behind the point of no return.
    pub(super) fn look_at_deadline(&mut self) {
        let passed = self.saga.deadline_at().is_some_and(|at| at <= self.now);
        let Some(deadline) = self.saga.definition.deadline() else {
            return;
        };
        if !passed || self.saga.deadline_passed {
            return;
        }
        self.record(Fact::DeadlinePassed);
        match deadline.then {
            Then::Compensate if self.may_abort() => self.abort(AbortReason::DeadlineExceeded),
            Then::Compensate => {}
            Then::Park | Then::Continue => {
                let message = "the saga's deadline passed: nothing more is begun going forward";
                let reason = IncidentReason::DeadlineExceeded;
                self.open_incident(None, reason, Some("DEADLINE_EXCEEDED"), message);
            }
        }
    }
}
