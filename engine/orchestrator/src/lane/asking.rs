//! What clients, operators and participants ask of a lane: each becomes an input with a token, and a waiter for its answer.

use amends_core::Time;
use amends_core::shard::Input;

use super::route::Waiter;
use super::task::LaneTask;
use super::{ActOrder, CancelOrder, ReportedOutcome, SignalOrder, StartOrder};

impl LaneTask {
    pub(super) fn outcome(&mut self, outcome: ReportedOutcome, now: Time) {
        let ReportedOutcome {
            report,
            instance,
            key,
            permit,
        } = outcome;
        let token = self.wait(Waiter::Outcome {
            instance,
            key,
            attempt: report.attempt.attempt,
            _permit: permit,
        });
        let token = Some(token);
        self.input(
            report.attempt.saga.shard(),
            Input::Outcome { token, report },
            now,
        );
    }

    pub(super) fn cancel(&mut self, order: CancelOrder, now: Time) {
        let CancelOrder {
            namespace,
            saga,
            by,
            reason,
            waiting,
        } = order;
        let token = self.wait(Waiter::Cancel(waiting));
        let input = Input::Cancel {
            token,
            namespace,
            saga,
            by,
            reason,
        };
        self.input(saga.shard(), input, now);
    }

    pub(super) fn start(&mut self, order: StartOrder, now: Time) {
        let StartOrder { start, caller } = order;
        let shard = start.id.shard();
        let token = self.wait(Waiter::Start(caller));
        self.input(shard, Input::Start { token, start }, now);
    }

    pub(super) fn signal(&mut self, order: SignalOrder, now: Time) {
        let SignalOrder { signal, waiting } = order;
        let shard = signal.saga.shard();
        let token = self.wait(Waiter::Signal(waiting));
        self.input(shard, Input::Signal { token, signal }, now);
    }

    pub(super) fn act(&mut self, order: ActOrder, now: Time) {
        let ActOrder { order, waiting } = order;
        let shard = order.saga.shard();
        let token = self.wait(Waiter::Act(waiting));
        self.input(shard, Input::Order { token, order }, now);
    }
}
