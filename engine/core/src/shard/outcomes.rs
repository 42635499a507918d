//! What is said of attempts: that they left, that they are alive, that they never left, and what they came to.

use crate::fact::AttemptEnded;
use crate::id::{AttemptName, Place, SagaId};
use crate::outcome::Outcome;
use crate::saga::Saga;
use crate::shard::command::{attempt_name, attempt_time, timeouts, withdraw};
use crate::shard::entry::{Entry, InBatch, Moment, Slot};
use crate::shard::flight::{Attempt, Flight};
use crate::shard::io::{Acknowledged, Output, Report, Token};
use crate::shard::machine::Shard;
use crate::time::Time;

impl Shard {
    pub(super) fn outcome(
        &mut self,
        token: Option<Token>,
        report: &Report,
        batch: &mut InBatch,
        at: Moment<'_>,
    ) {
        let saga = report.attempt.saga;
        let acknowledged = match self.sagas.get(&saga) {
            None | Some(Slot::Loading(_)) => Acknowledged::Unavailable,
            Some(Slot::Absent) => Acknowledged::UnknownOperation,
            Some(Slot::Unreadable(_)) => Acknowledged::Unreadable,
            Some(Slot::Present(entry)) => match resolve(&entry.saga, report, token.is_none()) {
                Err(refused) => refused,
                Ok(attempt) => {
                    let ended = ended(report, attempt, entry.leaves_at(attempt, at.now));
                    let unsent = entry.unsent_successor(attempt);
                    // What was handed out may come to the dispatcher after its result did; what an earlier owner sent may have left
                    // again meanwhile, and must not leave once more.
                    let waits = |flight: &Flight| flight.sent_at.is_none() || flight.resent;
                    if entry.flights.get(attempt).is_some_and(waits) {
                        batch.outputs.push(withdraw(&entry.saga, attempt));
                    }
                    let acknowledged = self.on_saga(saga, batch, at, |decision| {
                        let acknowledged = decision.outcome(ended);
                        if let Some(unsent) = unsent {
                            decision.withdrawn_overtaken(
                                unsent.place,
                                unsent.operation,
                                unsent.round,
                                unsent.attempt,
                            );
                        }
                        acknowledged
                    });
                    self.land(saga, attempt);
                    acknowledged.unwrap_or(Acknowledged::UnknownOperation)
                }
            },
        };
        if let Some(token) = token {
            let acknowledged = self.as_far_as_known(acknowledged, report);
            batch.outputs.push(Output::Acknowledge {
                token,
                acknowledged,
            });
        }
    }

    /// Who was deposed and has not noticed knows nothing of what its successor sent, and may not be able to read what it
    /// wrote. It must not say so: the participant would forget its result.
    pub(super) fn as_far_as_known(
        &self,
        acknowledged: Acknowledged,
        report: &Report,
    ) -> Acknowledged {
        let deposed = report.epoch.is_some_and(|epoch| epoch > self.epoch);
        match acknowledged {
            Acknowledged::UnknownOperation | Acknowledged::Unreadable if deposed => {
                Acknowledged::Unavailable
            }
            Acknowledged::Recorded
            | Acknowledged::Late
            | Acknowledged::UnknownOperation
            | Acknowledged::NotServed
            | Acknowledged::Unreadable
            | Acknowledged::Unavailable => acknowledged,
        }
    }

    /// An attempt left: its time runs from now. Nothing of it is recorded, so nothing of it waits for a batch: it holds for
    /// the saga as it is, and as it would be again if the batch in flight were rolled back.
    pub(super) fn sent(&mut self, named: &AttemptName, now: Time) {
        self.of_flight(named, |entry, attempt| {
            let time = attempt_time(&entry.saga, attempt, now);
            let heartbeat = timeouts(&entry.saga, attempt.place.step, attempt.operation).heartbeat;
            let flight = entry.flights.get_mut(attempt)?;
            // Sent again on another stream, it has no more time than before. What was asked back while it left, because an earlier
            // owner may have sent it, has all of its time from now.
            let again = flight.sent_at.replace(now).is_some();
            flight.deadline = flight.deadline.filter(|_| again).or(Some(now + time));
            flight.silent_at = heartbeat.map(|heartbeat| now + heartbeat);
            flight.withdraw_at = None;
            flight.wake_at()
        });
    }

    /// An attempt is alive: its silence is counted from now. Its own time is not.
    pub(super) fn heartbeat(&mut self, named: &AttemptName, now: Time) {
        self.of_flight(named, |entry, attempt| {
            let heartbeat = timeouts(&entry.saga, attempt.place.step, attempt.operation).heartbeat;
            let flight = entry.flights.get_mut(attempt)?;
            let (Some(silent_at), Some(heartbeat)) = (&mut flight.silent_at, heartbeat) else {
                return None;
            };
            *silent_at = now + heartbeat;
            flight.wake_at()
        });
    }

    /// Changes what is known of an attempt on its way, which says when it has to be looked at again.
    fn of_flight(
        &mut self,
        named: &AttemptName,
        change: impl Fn(&mut Entry, Attempt) -> Option<Time>,
    ) {
        let Some(attempt) = self.attempt(named) else {
            return;
        };
        if let Some(before) = self.in_flight_before(named.saga)
            && let Some(at) = change(before, attempt)
        {
            before.wake_by(at);
        }
        let Some(Slot::Present(entry)) = self.sagas.get_mut(&named.saga) else {
            return;
        };
        let Some(at) = change(entry, attempt) else {
            return;
        };
        // Whoever looks too early finds nothing to do, and sets the timer anew.
        if let Some(earlier) = entry.wake_by(at) {
            if let Some(late) = earlier.late {
                self.timers.remove(&(late, named.saga));
            }
            self.timers.insert((earlier.at, named.saga));
        }
    }

    pub(super) fn withdrawn(&mut self, named: &AttemptName, batch: &mut InBatch, at: Moment<'_>) {
        let saga = named.saga;
        let Some(attempt) = self.attempt(named) else {
            return;
        };
        let Some(Slot::Present(entry)) = self.sagas.get(&saga) else {
            return;
        };
        // Only what this owner handed out, asked back and did not send.
        let flight = entry
            .flights
            .get(attempt)
            .filter(|flight| flight.sent_at.is_none());
        let Some((flight, code)) = flight.and_then(|flight| Some((flight, flight.withdraw_code?)))
        else {
            return;
        };
        if flight.resent {
            // An earlier owner may have sent it: its result may still come, until the deadline if there is one.
            if flight.deadline.is_none() {
                let said = (code, "nobody took it after a restart");
                self.unknown((saga, attempt), said, batch, at);
            }
            return;
        }
        self.on_saga(saga, batch, at, |decision| {
            decision.withdrawn(
                attempt.place,
                attempt.operation,
                attempt.round,
                attempt.attempt,
                code,
            );
        });
        self.land(saga, attempt);
    }

    /// What was scheduled and aborted within one batch never left, and never will: it is without effect.
    pub(super) fn withdraw_unsent(&mut self, batch: &mut InBatch, at: Moment<'_>) {
        let touched: Vec<SagaId> = batch.before.keys().copied().collect();
        for id in touched {
            let Some(Slot::Present(entry)) = self.sagas.get(&id) else {
                continue;
            };
            if entry.saga.abort().is_none() {
                continue;
            }
            // The clock may be behind the saga's own time, at which it was scheduled.
            let now = entry.time(at.now);
            let unsent: Vec<_> = crate::saga::due(&entry.saga, now)
                .awaited
                .into_iter()
                .filter(|command| !entry.may_have_left(command))
                .collect();
            for command in unsent {
                self.on_saga(id, batch, at, |decision| {
                    decision.withdrawn(
                        command.place,
                        command.operation,
                        command.round,
                        command.attempt,
                        "ABORTED",
                    );
                });
            }
        }
    }

    /// Nobody knows what became of an attempt in flight: a code and words say why.
    pub(super) fn unknown(
        &mut self,
        (id, attempt): (SagaId, Attempt),
        (code, message): (&str, &str),
        batch: &mut InBatch,
        at: Moment<'_>,
    ) {
        self.touch(id, batch);
        let Some(Slot::Present(entry)) = self.sagas.get_mut(&id) else {
            return;
        };
        let sent_at = entry.sent_at(attempt);
        let instance = at.surroundings.ran_by(&attempt_name(&entry.saga, attempt));
        entry.flights.land(attempt);
        let ended = AttemptEnded {
            place: attempt.place,
            operation: attempt.operation,
            round: attempt.round,
            attempt: attempt.attempt,
            outcome: Outcome::Unknown {
                code: code.into(),
                message: message.into(),
            },
            verdict: None,
            instance,
            sent_at,
            retry_at: None,
        };
        self.on_saga(id, batch, at, |decision| decision.outcome(ended));
    }

    fn land(&mut self, saga: SagaId, attempt: Attempt) {
        if let Some(Slot::Present(entry)) = self.sagas.get_mut(&saga) {
            entry.flights.land(attempt);
        }
    }

    /// What an attempt is called within its saga; none if that is not in memory, or has no such place.
    fn attempt(&self, named: &AttemptName) -> Option<Attempt> {
        match self.sagas.get(&named.saga) {
            Some(Slot::Present(entry)) => attempt_of(&entry.saga, named),
            Some(Slot::Loading(_) | Slot::Absent | Slot::Unreadable(_)) | None => None,
        }
    }
}

fn attempt_of(saga: &Saga, named: &AttemptName) -> Option<Attempt> {
    let step = saga.definition().step_index(&named.name.step)?;
    let place = Place {
        step,
        item: named.name.item,
    };
    saga.has_place(place).then_some(Attempt {
        place,
        operation: named.name.operation,
        round: named.name.round,
        attempt: named.attempt,
    })
}

/// Finds what a report is about, or refuses it. The server's own word is about whoever had the attempt.
fn resolve(saga: &Saga, report: &Report, own: bool) -> Result<Attempt, Acknowledged> {
    if saga.started().namespace != report.namespace {
        return Err(Acknowledged::UnknownOperation);
    }
    let attempt = attempt_of(saga, &report.attempt).ok_or(Acknowledged::UnknownOperation)?;
    let action = saga
        .action(attempt.place.step, attempt.operation)
        .ok_or(Acknowledged::UnknownOperation)?;
    if !own && report.instance.is_some() && !report.serves.contains(action) {
        return Err(Acknowledged::NotServed);
    }
    Ok(attempt)
}

fn ended(report: &Report, attempt: Attempt, sent_at: Option<Time>) -> AttemptEnded {
    AttemptEnded {
        place: attempt.place,
        operation: attempt.operation,
        round: attempt.round,
        attempt: attempt.attempt,
        outcome: report.outcome.clone(),
        verdict: report.verdict,
        instance: report.instance.as_deref().map(str::to_owned),
        sent_at,
        retry_at: None,
    }
}
