//! What is on its way: which attempts were handed out, which were sent, and until when they are waited for. Volatile:
//! after a takeover it is made anew from what the sagas' states ask for. How a command and its times are made of a saga is
//! in `command`.

use std::sync::Arc;

use crate::id::Place;
use crate::outcome::OperationKind;
use crate::saga::{Due, DueCommand, Saga};
use crate::shard::command::{Frame, make_command, timeouts, withdraw, withdraw_at};
use crate::shard::io::Output;
use crate::time::Time;

/// Names an attempt within its saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub place: Place,
    pub operation: OperationKind,
    pub round: u32,
    pub attempt: u32,
}

impl Attempt {
    fn key(self) -> (Place, OperationKind) {
        (self.place, self.operation)
    }
}

impl From<&DueCommand> for Attempt {
    fn from(due: &DueCommand) -> Self {
        Self {
            place: due.place,
            operation: due.operation,
            round: due.round,
            attempt: due.attempt,
        }
    }
}

/// One attempt that was handed out, or that an earlier owner may have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub named: Attempt,
    /// When this owner sent it.
    pub sent_at: Option<Time>,
    /// When it is taken for unknown.
    pub deadline: Option<Time>,
    /// When it is taken for unknown, if it is silent until then.
    pub silent_at: Option<Time>,
    /// When it is taken back, if it was not sent by then, and what that is called.
    pub withdraw_at: Option<(Time, &'static str)>,
    /// An earlier owner may have sent it.
    pub resent: bool,
    /// It was asked back because of the abort, or because nobody took it.
    pub withdraw_code: Option<&'static str>,
}

/// What became due, of a saga's flights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Its attempt's time is over.
    TimedOut,
    /// It was silent for too long.
    Silent,
    /// Nobody took it in time.
    Withdraw,
}

/// By place and operation: of each, the newest attempt. In their order; most sagas have one, and a copy is made of them with
/// each batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flights(Vec<Flight>);

impl Flights {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, named: Attempt) -> Option<&Flight> {
        let flight = &self.0[self.find(named).ok()?];
        (flight.named == named).then_some(flight)
    }

    pub fn get_mut(&mut self, named: Attempt) -> Option<&mut Flight> {
        let at = self.find(named).ok()?;
        let flight = &mut self.0[at];
        (flight.named == named).then_some(flight)
    }

    /// Its result is there: nobody waits for it any more.
    pub fn land(&mut self, named: Attempt) {
        if let Ok(at) = self.find(named)
            && self.0[at].named == named
        {
            self.0.remove(at);
        }
    }

    /// The earliest time at which one of them becomes overdue.
    pub fn wake_at(&self) -> Option<Time> {
        let wakes = self.0.iter().map(Flight::wake_at);
        wakes.fold(None, earlier)
    }

    /// Those that are overdue, each once.
    pub fn take_overdue(&mut self, now: Time) -> Vec<(Attempt, Overdue)> {
        let overdue = |flight: &mut Flight| Some((flight.named, flight.take_overdue(now)?));
        self.0.iter_mut().filter_map(overdue).collect()
    }

    fn find(&self, named: Attempt) -> Result<usize, usize> {
        let key = named.key();
        self.0
            .binary_search_by_key(&key, |flight| flight.named.key())
    }

    /// Instead of an older attempt of the same operation, if there is one.
    fn put(&mut self, flight: Flight) {
        match self.find(flight.named) {
            Ok(at) => self.0[at] = flight,
            Err(at) => self.0.insert(at, flight),
        }
    }

    /// Makes the flights what the state asks for: takes back what is in flight and not due, hands out what is due and not
    /// in flight.
    pub fn reconcile(
        &mut self,
        saga: &Saga,
        due: &Due,
        frame: &Frame<'_>,
        outputs: &mut Vec<Output>,
    ) {
        let mut wanted = Wanted::of(due);
        self.take_back(saga, &mut wanted, frame, outputs);
        let missing = wanted.missing();
        for (command, missing) in due.commands.iter().zip(&missing) {
            if *missing {
                let resent = frame
                    .inherited
                    .is_some_and(|inherited| inherited.may_have_sent(command));
                let timeouts = timeouts(saga, command.place.step, command.operation);
                let flight = Flight {
                    withdraw_at: withdraw_at(saga, command, timeouts, frame.now),
                    ..Flight::new(command, resent)
                };
                self.put(flight);
                let command = make_command(saga, command, timeouts, frame, resent);
                outputs.push(Output::Send(Arc::new(command)));
            }
        }
        for (command, missing) in due.awaited.iter().zip(&missing[due.commands.len()..]) {
            // Only after a takeover: an earlier owner may have sent it, and its result gets one more attempt's time.
            if *missing {
                let attempt_time = timeouts(saga, command.place.step, command.operation).attempt;
                let flight = Flight {
                    deadline: Some(frame.now + attempt_time),
                    ..Flight::new(command, true)
                };
                self.put(flight);
            }
        }
    }

    /// Asks back what the state does not ask for any more.
    fn take_back(
        &mut self,
        saga: &Saga,
        wanted: &mut Wanted,
        frame: &Frame<'_>,
        outputs: &mut Vec<Output>,
    ) {
        let due = wanted.due;
        self.0.retain_mut(|flight| {
            let named = flight.named;
            match wanted.find(named) {
                Some(nth) if nth < due => return true,
                Some(_) => {
                    flight.ask_back(saga, named, frame, outputs);
                    return true;
                }
                None => {}
            }
            let asked = flight.withdraw_code.is_some();
            if !asked || flight.sent_at.is_some() {
                outputs.push(withdraw(saga, named));
            }
            // An older attempt ended the operation, and this one is still in doubt: that it never left would settle it.
            let target = saga.operation(named.place, named.operation);
            let in_doubt = flight.sent_at.is_none()
                && !flight.resent
                && !saga.terminal()
                && target.round == named.round
                && target.is_in_doubt(named.attempt);
            if in_doubt {
                flight.withdraw_code.get_or_insert("OVERTAKEN");
                flight.withdraw_at = None;
            }
            in_doubt
        });
    }
}

/// The attempts that a state asks for, in the order of flights: both are gone through once, however many there are.
struct Wanted {
    /// Each with where it stands among those that are due and, behind them, awaited; and whether it was found.
    attempts: Vec<(Attempt, usize, bool)>,
    due: usize,
    next: usize,
}

impl Wanted {
    fn of(due: &Due) -> Self {
        let commands = due.commands.iter().chain(&due.awaited).enumerate();
        let attempts = commands.map(|(nth, command)| (Attempt::from(command), nth, false));
        let mut attempts: Vec<_> = attempts.collect();
        attempts.sort_unstable_by_key(|(attempt, nth, _)| (attempt.key(), *nth));
        Self {
            attempts,
            due: due.commands.len(),
            next: 0,
        }
    }

    /// Where an attempt stands among those that are due and, behind them, awaited. Asked in the order of flights.
    fn find(&mut self, named: Attempt) -> Option<usize> {
        let behind = self.attempts[self.next..].iter();
        self.next += behind
            .take_while(|(attempt, ..)| attempt.key() < named.key())
            .count();
        let (attempt, nth, found) = self.attempts.get_mut(self.next)?;
        if *attempt != named {
            return None;
        }
        *found = true;
        Some(*nth)
    }

    /// Of those that are due, and behind them of those that are awaited, whether it was not found.
    fn missing(self) -> Vec<bool> {
        let mut missing = vec![true; self.attempts.len()];
        for (_, nth, found) in self.attempts {
            missing[nth] = !found;
        }
        missing
    }
}

/// The earlier of two times, if there is one.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (at, None) | (None, at) => at,
    }
}

impl Flight {
    fn new(command: &DueCommand, resent: bool) -> Self {
        Self {
            named: Attempt::from(command),
            sent_at: None,
            deadline: None,
            silent_at: None,
            withdraw_at: None,
            resent,
            withdraw_code: None,
        }
    }

    pub fn wake_at(&self) -> Option<Time> {
        let withdraw_at = self.withdraw_at.map(|(at, _)| at);
        earlier(earlier(self.deadline, self.silent_at), withdraw_at)
    }

    fn take_overdue(&mut self, now: Time) -> Option<Overdue> {
        if self.deadline.take_if(|deadline| *deadline <= now).is_some() {
            self.silent_at = None;
            return Some(Overdue::TimedOut);
        }
        if self
            .silent_at
            .take_if(|silent_at| *silent_at <= now)
            .is_some()
        {
            self.deadline = None;
            return Some(Overdue::Silent);
        }
        let (_, code) = self.withdraw_at.take_if(|(at, _)| *at <= now)?;
        self.withdraw_code = Some(code);
        Some(Overdue::Withdraw)
    }

    /// The abort came after its scheduling: it must not leave any more, nor again on another stream (I9); if it has left, its
    /// result is awaited.
    fn ask_back(
        &mut self,
        saga: &Saga,
        named: Attempt,
        frame: &Frame<'_>,
        outputs: &mut Vec<Output>,
    ) {
        if self.withdraw_code.is_some() {
            return;
        }
        self.withdraw_code = Some("ABORTED");
        self.withdraw_at = None;
        // What an earlier owner may have sent gets one more attempt's time for its result.
        if self.sent_at.is_none() && self.resent && self.deadline.is_none() {
            let attempt_time = timeouts(saga, named.place.step, named.operation).attempt;
            self.deadline = Some(frame.now + attempt_time);
        }
        outputs.push(withdraw(saga, named));
    }
}
