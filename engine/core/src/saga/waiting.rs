//! What waits without a participant: for a signal, for a time.

use amends_definitions::{EvaluationError, Sleep, StepIndex, Then, Wait, Work};

use crate::fact::{Fact, IncidentReason, SignalReceived};
use crate::id::Place;
use crate::limits::SIGNALS_PENDING_MAX;
use crate::outcome::OperationKind;
use crate::saga::decide::Decision;
use crate::saga::mark::Mark;
use crate::saga::place::Phase;
use crate::saga::scope::{View, with_scope};
use crate::shard::io::{Signal, SignalRefusal};
use crate::time::Time;

impl Decision<'_> {
    /// A signal came. True if it is accepted, false if it had been before.
    ///
    /// # Errors
    /// Why it is refused; nothing is recorded then.
    pub fn signal(&mut self, signal: &Signal) -> Result<bool, SignalRefusal> {
        let accepted = self.saga.signals();
        if let (Some(accepted), Some(id)) = (accepted, &signal.dedupe_id)
            && accepted.dedupe_ids.contains(id)
        {
            return Ok(false);
        }
        let declared = self.saga.definition.signals();
        let Some(declaration) = declared.get(&signal.signal) else {
            return Err(SignalRefusal::Undeclared {
                declared: declared.keys().cloned().collect(),
            });
        };
        if self.saga.end.is_some() {
            return Err(SignalRefusal::Ended {
                state: self.saga.state(),
            });
        }
        if let Some(schema) = declaration.schema() {
            schema
                .check(&signal.payload)
                .map_err(|violations| SignalRefusal::Invalid { violations })?;
        }
        let pending = accepted.map_or(0, |accepted| accepted.pending.len());
        if pending >= SIGNALS_PENDING_MAX || self.history_is_full() {
            return Err(SignalRefusal::Full);
        }
        let number = accepted.map_or(0, |accepted| accepted.received);
        let number = number.saturating_add(1);
        self.record(Fact::SignalReceived(SignalReceived {
            number,
            signal: signal.signal.clone(),
            payload: signal.payload.clone(),
            by: signal.by.clone(),
            dedupe_id: signal.dedupe_id.clone(),
        }));
        if let Some(place) = self.waiter(&signal.signal) {
            self.consume(place, number);
        }
        Ok(true)
    }

    /// Takes the oldest signal that nothing took, or waits for one.
    pub(super) fn begin_wait(&mut self, place: Place, wait: &Wait) {
        let buffered = self.saga.signals().and_then(|signals| {
            let mut pending = signals.pending();
            pending
                .find(|signal| signal.signal == wait.signal())
                .map(|signal| signal.number)
        });
        match buffered {
            Some(number) => self.consume(place, number),
            None => self.record(Fact::SignalAwaited {
                place,
                until: wait.timeout().map(|timeout| self.now + timeout),
            }),
        }
    }

    /// Sleeps; a time that has passed is over at once.
    pub(super) fn begin_sleep(
        &mut self,
        place: Place,
        sleep: &Sleep,
    ) -> Result<(), EvaluationError> {
        let until = match sleep {
            Sleep::For(duration) => self.now + *duration,
            Sleep::Until(time) => with_scope(self.saga, View::of(place), |scope| {
                time.evaluate_time(scope).map(Time::from_micros)
            })?,
        };
        self.record(Fact::Sleeping { place, until });
        if until <= self.now {
            self.wake_up(place);
        }
        Ok(())
    }

    /// Ends the waits and sleeps whose time is over.
    pub(super) fn look_at_waits(&mut self) {
        if self.saga.held_since().is_some() {
            return;
        }
        let over: Vec<Place> = self
            .saga
            .marked(Mark::ASKS)
            .filter(|found| match found.status.forward.phase {
                Phase::Awaiting { until: Some(until) } | Phase::Sleeping { until } => {
                    until <= self.now
                }
                Phase::Awaiting { until: None }
                | Phase::Waiting
                | Phase::Listed
                | Phase::Settling { .. }
                | Phase::Scheduled { .. }
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
            })
            .map(|found| found.place)
            .collect();
        for place in over {
            if self.saga.abort.is_some() || self.saga.end.is_some() {
                return;
            }
            if matches!(self.saga.place(place).forward.phase, Phase::Sleeping { .. }) {
                self.wake_up(place);
            } else {
                self.wait_is_over(place);
            }
        }
    }

    /// Says which signals nothing took: the saga ends.
    pub(super) fn say_unconsumed(&mut self) {
        let numbers: Vec<u32> = self.saga.signals().map_or_else(Vec::new, |signals| {
            signals.pending().map(|signal| signal.number).collect()
        });
        for number in numbers {
            self.record(Fact::SignalUnconsumed { number });
        }
    }

    fn wake_up(&mut self, place: Place) {
        self.record(Fact::Slept { place });
        self.goes_on(place);
    }

    fn consume(&mut self, place: Place, number: u32) {
        self.record(Fact::SignalConsumed { place, number });
        self.close_incidents(Some(place), Some(OperationKind::Forward));
        self.goes_on(place);
    }

    /// The first place that waits for a signal of this id, or that was parked because none came.
    fn waiter(&self, signal: &str) -> Option<Place> {
        if self.saga.abort.is_some() {
            return None;
        }
        let not_over = Mark::OPEN.and(Mark::FAILED);
        let waits_for_it = |step: &StepIndex| {
            let wait = self.wait_of(Place::from(*step));
            wait.is_some_and(|wait| wait.signal() == signal)
        };
        let steps = self.saga.steps_marked(not_over).filter(waits_for_it);
        let places = steps.flat_map(|step| self.saga.marked_of(step, not_over));
        places.map(|found| found.place).find(|place| {
            let forward = &self.saga.place(*place).forward;
            let timed_out = || {
                let open = self.saga.incident_about(*place, OperationKind::Forward);
                forward.phase == Phase::Refused
                    && open
                        .is_some_and(|open| open.incident.reason == IncidentReason::SignalTimeout)
            };
            matches!(forward.phase, Phase::Awaiting { .. }) || timed_out()
        })
    }

    fn wait_of(&self, place: Place) -> Option<&Wait> {
        match self.saga.definition.step(place.step).work() {
            Work::Wait(wait) => Some(wait),
            Work::Call(_) | Work::Sleep(_) | Work::Saga(_) | Work::Emit(_) | Work::Fail(_) => None,
        }
    }

    fn wait_is_over(&mut self, place: Place) {
        let Some(wait) = self.wait_of(place) else {
            return;
        };
        let (then, message) = (
            wait.on_timeout(),
            format!("the signal `{}` did not come in time", wait.signal()),
        );
        if then == Then::Continue {
            let output = None;
            self.record(Fact::Continued { place, output });
            return self.goes_on(place);
        }
        let code = "WAIT_TIMEOUT";
        self.record(Fact::StepFailed {
            place,
            operation: OperationKind::Forward,
            code: code.into(),
            message: message.clone(),
        });
        if then == Then::Park {
            self.park_place(place, IncidentReason::SignalTimeout, code, &message);
        } else {
            self.forward_ended(place);
        }
    }
}
