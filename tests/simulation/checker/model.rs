//! What the checker itself makes of a saga's facts: a second, smaller reading of what each operation came to, against which
//! every next fact is held. It is written from the rules, not from the engine's code. The rules themselves are in `forward`
//! and `backward`: each is asked before a fact is taken in.

use std::collections::{BTreeMap, BTreeSet};

use amends_core::fact::{Act, AttemptEnded, ChildOutcome, Fact, IncidentReason};
use amends_core::id::Place;
use amends_core::{OperationKind, Outcome, Time};
use amends_definitions::{Compensation, Kind, StepIndex, Work};

use crate::checker::case::{Case, Seen};
use crate::checker::{Evidence, Found, backward, forward, times};

/// What one operation came to so far.
#[derive(Clone, Debug, Default)]
pub struct Course {
    pub end: End,
    pub round: u32,
    /// The last attempt that is intended.
    pub attempt: u32,
    /// Attempts before a person had it tried again: they do not count against the budget.
    pub uncounted: u32,
    /// When the first attempt that counts was scheduled.
    pub first_at: Time,
    pub due_at: Time,
    /// The row that scheduled it last.
    scheduled_in: usize,
    /// The same row decided the abort: it never left.
    pub aborted_at_once: bool,
    /// Of a wait, a sleep and a settle time: since when, and until when.
    pub since: Time,
    pub until: Option<Time>,
    /// It had an effect.
    pub effect: bool,
    /// Attempts that may have had an effect.
    pub unclear: BTreeSet<u32>,
    /// A route or a wait lets the saga go on past its failure.
    pub continued: bool,
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    NotBegun,
    Open,
    /// It waits: for a signal, a time, a child.
    Waiting,
    Succeeded,
    Unusable,
    Skipped,
    /// A definite "no", or nothing was ever sent.
    Refused,
    /// Nobody knows.
    Spent,
    NothingToUndo,
    /// Of a compensation: a person has to look.
    Parked,
}

/// A saga, as far as the checker has read.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub courses: BTreeMap<(Place, OperationKind), Course>,
    pub aborted_at: Option<usize>,
    pub ended: bool,
    pub incidents: Vec<(Option<Place>, Option<OperationKind>)>,
    pub cancel_pending: bool,
    /// When it began, and when the last row before this fact was decided.
    pub begun_at: Time,
    pub decided_at: Time,
    /// Since when forward work is held back: what was not due by then never began.
    pub held_since: Option<Time>,
    /// When it was last let go on.
    pub resumed_at: Time,
    /// The store refused something of it: its own timers rest until somebody looks.
    pub record_refused: bool,
    /// Where a child was wished for: the wish leaves, whatever becomes of it.
    wished: BTreeSet<Place>,
    /// Where a child may exist.
    pub pinned: BTreeSet<Place>,
    /// Where a person has said what is so: that it is done, that it was not, or that it does not matter.
    pub by_hand: BTreeSet<Place>,
    /// Where a child has completed.
    completed: BTreeSet<Place>,
    /// Steps under `foreach`, and how many items they have.
    pub items: BTreeMap<StepIndex, u32>,
}

/// Reads a saga from its first fact to its last.
pub fn walk(case: &Case<'_>, evidence: &Evidence<'_>, found: &mut Found) {
    let mut model = Model::default();
    let mut facts = case.facts.iter().peekable();
    while let Some(seen) = facts.next() {
        forward::before(&model, case, seen, found);
        backward::before(&model, case, seen, evidence.world, found);
        times::before(&model, case, seen, evidence, found);
        model.take(seen);
        let last_of_row = facts.peek().is_none_or(|next| next.index != seen.index);
        if last_of_row {
            backward::between(&model, case, seen, found);
        }
    }
    backward::after(&model, case, found);
}

impl Model {
    /// The saga after the facts up to a place in the history.
    pub fn until(case: &Case<'_>, index: usize) -> Self {
        let mut model = Self::default();
        for seen in case.facts.iter().take_while(|seen| seen.index <= index) {
            model.take(seen);
        }
        model
    }

    pub fn course(&self, place: Place, operation: OperationKind) -> Course {
        let course = self.courses.get(&(place, operation));
        course.cloned().unwrap_or_default()
    }

    pub fn forward(&self, step: StepIndex) -> Course {
        self.course(Place::from(step), OperationKind::Forward)
    }

    /// Where a step's operations are: the step itself, and its items.
    pub fn places(&self, step: StepIndex) -> impl Iterator<Item = Place> + use<> {
        let items = self.items.get(&step).copied().unwrap_or(0);
        (0..=items).map(move |item| Place::item(step, item))
    }

    /// What needs this step may begin.
    pub fn lets_go_on(&self, step: StepIndex) -> bool {
        let done = |place: Place| {
            let course = self.course(place, OperationKind::Forward);
            course.continued || matches!(course.end, End::Succeeded | End::Skipped)
        };
        done(Place::from(step))
            || self
                .items
                .get(&step)
                .is_some_and(|items| (1..=*items).all(|item| done(Place::item(step, item))))
    }

    /// Something of a step is in flight.
    pub fn is_open(&self, step: StepIndex) -> bool {
        self.places(step)
            .any(|place| self.course(place, OperationKind::Forward).end == End::Open)
    }

    /// U: the action had an effect, or may have had one.
    pub fn may_have_effect(&self, place: Place) -> bool {
        let course = self.course(place, OperationKind::Forward);
        match course.end {
            End::Succeeded | End::Unusable => true,
            End::NotBegun | End::Open | End::Refused | End::Spent | End::Skipped => {
                course.effect || !course.unclear.is_empty()
            }
            End::Waiting | End::NothingToUndo | End::Parked => false,
        }
    }

    pub fn is_undone(&self, place: Place) -> bool {
        matches!(
            self.course(place, OperationKind::Compensate).end,
            End::Succeeded | End::Unusable | End::NothingToUndo
        )
    }

    /// It needs its compensation, and has not had it.
    pub fn owes(&self, case: &Case<'_>, step: StepIndex) -> bool {
        self.places(step).any(|place| self.owes_at(case, place))
    }

    pub fn owes_at(&self, case: &Case<'_>, place: Place) -> bool {
        let had = match case.definition.step(place.step).compensation() {
            Compensation::Call(_) => self.may_have_effect(place),
            Compensation::Child => self.may_have_child(place),
            Compensation::None { .. } | Compensation::NotApplicable => false,
        };
        had && !self.is_undone(place)
    }

    /// A child was fixed, and did not end without effect.
    pub fn may_have_child(&self, place: Place) -> bool {
        let end = self.course(place, OperationKind::Forward).end;
        self.pinned.contains(&place) && end != End::Refused
    }

    /// Behind it the saga can only go forward.
    pub fn past_point_of_no_return(&self, case: &Case<'_>) -> bool {
        match case.definition.pivot() {
            Some(pivot) => {
                matches!(
                    self.forward(pivot).end,
                    End::Succeeded | End::Unusable | End::Skipped
                ) || self.forward(pivot).continued
                    // Its output was unusable, and somebody lets it be tried again: its effect is there.
                    || self.forward(pivot).effect
            }
            None => case.definition.step_indices().any(|step| {
                case.definition.step(step).kind() == Kind::Retriable
                    && self.places(step).any(|place| self.has_left(case, place))
            }),
        }
    }

    /// Something of an action has left the saga: a command, a wish for a child, an event.
    fn has_left(&self, case: &Case<'_>, place: Place) -> bool {
        let course = self.course(place, OperationKind::Forward);
        let emitted = matches!(case.definition.step(place.step).work(), Work::Emit(_))
            && course.end == End::Succeeded;
        course.attempt > 0 || course.effect || self.wished.contains(&place) || emitted
    }

    /// The pivot may have had its effect, and nobody knows.
    pub fn pivot_in_doubt(&self, case: &Case<'_>) -> bool {
        case.definition.pivot().is_some_and(|pivot| {
            let course = self.forward(pivot);
            match course.end {
                End::Open => true,
                End::Refused | End::Spent => !course.unclear.is_empty(),
                _ => false,
            }
        })
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each fact, most of them one line"
    )]
    fn take(&mut self, seen: &Seen<'_>) {
        let at = seen.row.decided_at;
        self.decided_at = self.decided_at.max(at);
        match seen.fact {
            Fact::Started(_) => self.begun_at = at,
            Fact::ItemsListed { step, keys, .. } => {
                let items = u32::try_from(keys.len()).expect("bounded");
                self.items.insert(*step, items);
            }
            Fact::SignalAwaited { place, until } => self.waits(*place, *until, at),
            Fact::Sleeping { place, until } => self.waits(*place, Some(*until), at),
            Fact::Settling { place, until } => {
                let course = self.at(*place, OperationKind::Compensate);
                (course.since, course.until) = (at, Some(*until));
            }
            Fact::ChildRequested(request) => {
                self.wished.insert(request.place);
                self.at(request.place, OperationKind::Forward).end = End::Waiting;
            }
            Fact::SignalConsumed { place, .. }
            | Fact::Slept { place }
            | Fact::Emitted { place, .. } => {
                self.at(*place, OperationKind::Forward).end = End::Succeeded;
            }
            Fact::ChildPinned { place, .. } => {
                self.pinned.insert(*place);
            }
            Fact::ChildEnded {
                place,
                operation,
                outcome,
                ..
            } => {
                if matches!(outcome, ChildOutcome::Completed { .. }) {
                    self.completed.insert(*place);
                }
                self.at(*place, *operation).end = match outcome {
                    ChildOutcome::Completed { .. } => End::Succeeded,
                    ChildOutcome::Compensated { .. } | ChildOutcome::Refused { .. } => {
                        match operation {
                            OperationKind::Compensate => End::Succeeded,
                            _ => End::Refused,
                        }
                    }
                    ChildOutcome::Terminated { .. } => End::Parked,
                };
            }
            Fact::Continued { place, .. } => {
                self.at(*place, OperationKind::Forward).continued = true;
            }
            Fact::Operated(operated) => {
                self.operated(&operated.act, at);
            }
            Fact::Skipped { step } => {
                self.at(Place::from(*step), OperationKind::Forward).end = End::Skipped;
            }
            Fact::Scheduled {
                place,
                operation,
                round,
                ..
            } => {
                let course = self.at(*place, *operation);
                if course.round != *round {
                    *course = Course {
                        round: *round,
                        ..Course::default()
                    };
                }
                course.again(at);
                course.scheduled_in = seen.index;
            }
            Fact::StepFailed {
                place, operation, ..
            } => {
                let course = self.at(*place, *operation);
                course.end = match (operation, course.end) {
                    (OperationKind::Compensate, _) => End::Parked,
                    // What a child or a signal brought cannot be used.
                    (_, End::Succeeded) => End::Unusable,
                    _ => End::Refused,
                };
            }
            Fact::AttemptEnded(ended) => self.attempt_ended(ended, at),
            Fact::Withdrawn {
                place,
                operation,
                attempt,
                ..
            } => {
                let course = self.at(*place, *operation);
                course.unclear.remove(attempt);
                course.end = course.spent();
            }
            Fact::AbortDecided(_) => {
                self.aborted_at = Some(seen.index);
                self.cancel_pending = false;
                let last_due = self.held_since.unwrap_or(at);
                for ((_, operation), course) in &mut self.courses {
                    let forward = *operation == OperationKind::Forward;
                    let open = forward && course.end == End::Open;
                    course.aborted_at_once = open && course.scheduled_in == seen.index;
                    if open && course.due_at > last_due {
                        let pending = course.attempt;
                        course.unclear.remove(&pending);
                        course.end = course.spent();
                    }
                }
            }
            Fact::IncidentOpened(incident) => {
                let holds = matches!(
                    incident.reason,
                    IncidentReason::Paused | IncidentReason::DeadlineExceeded
                );
                if holds {
                    self.held_since.get_or_insert(at);
                }
                self.record_refused |= incident.reason == IncidentReason::RecordRefused;
                self.incidents.push((incident.place, incident.operation));
            }
            Fact::SignalReceived(_) => {}
            Fact::IncidentClosed { place, operation } => {
                // What held the saga back is closed behind its abort; a person may have let it go on before that, in the same row.
                if place.is_none() && self.aborted_at != Some(seen.index) {
                    self.held_since = None;
                    self.resumed_at = at;
                }
                self.incidents.retain(|open| *open != (*place, *operation));
            }
            Fact::CancelPending { .. } => self.cancel_pending = true,
            Fact::CancelDropped => self.cancel_pending = false,
            Fact::Completed { .. } | Fact::Compensated => self.ended = true,
            _ => {}
        }
    }

    fn waits(&mut self, place: Place, until: Option<Time>, at: Time) {
        let course = self.at(place, OperationKind::Forward);
        course.end = End::Waiting;
        (course.since, course.until) = (at, until);
    }

    /// What a person does.
    fn operated(&mut self, act: &Act, at: Time) {
        match act {
            Act::Terminate => self.ended = true,
            // The end of a saga is a fact of its own; what was not undone is still owed.
            Act::Compensate
            | Act::Pause
            | Act::Resume
            | Act::ResolveSaga
            | Act::ResolveNotUndone { .. } => {}
            Act::Retry {
                place,
                operation,
                input,
            } => {
                let child = self.pinned.contains(place) && *operation == OperationKind::Forward;
                let course = self.at(*place, *operation);
                course.continued = false;
                if input.is_some() || course.attempt == 0 || child {
                    course.end = End::NotBegun;
                } else {
                    course.again(at);
                }
            }
            Act::Skip { place } => {
                let items: Vec<Place> = match place.item {
                    0 => self.places(place.step).collect(),
                    _ => vec![*place],
                };
                for place in items {
                    self.by_hand.insert(place);
                    let course = self.at(place, OperationKind::Forward);
                    if !course.continued && course.end != End::Succeeded {
                        course.end = End::Skipped;
                    }
                }
            }
            Act::Resolve {
                place, operation, ..
            } => {
                self.by_hand.insert(*place);
                let course = self.at(*place, *operation);
                match operation {
                    OperationKind::Compensate if course.end != End::Parked => {}
                    _ => (course.end, course.effect) = (End::Succeeded, true),
                }
                if *operation == OperationKind::Forward && !self.completed.contains(place) {
                    self.pinned.remove(place);
                }
            }
            Act::ResolveAbsent { place } => {
                self.by_hand.insert(*place);
                let undo = self.at(*place, OperationKind::Compensate);
                if undo.end == End::Parked {
                    undo.end = End::NothingToUndo;
                }
                let course = self.at(*place, OperationKind::Forward);
                course.unclear.clear();
                course.effect = false;
                if !course.continued && !matches!(course.end, End::Succeeded | End::Skipped) {
                    course.end = End::Refused;
                }
            }
        }
    }

    fn attempt_ended(&mut self, ended: &AttemptEnded, at: Time) {
        if ended.operation == OperationKind::Query {
            self.query_answered(ended);
        }
        let course = self.at(ended.place, ended.operation);
        if course.end == End::Skipped {
            // A person has gone past it: what is learned changes what is owed alone.
            return course.learns(ended);
        }
        match &ended.outcome {
            Outcome::Succeeded { .. } => {
                course.effect = true;
                course.end = End::Succeeded;
            }
            Outcome::Unusable { .. } => {
                course.effect = true;
                course.end = End::Unusable;
            }
            Outcome::NothingToUndo | Outcome::Absent => course.end = End::NothingToUndo,
            Outcome::Rejected { .. } | Outcome::Fatal { .. } | Outcome::Superseded => {
                let fatal = matches!(ended.outcome, Outcome::Fatal { .. });
                if ended.verdict.is_some() && !fatal {
                    course.unclear.clear();
                } else if ended.verdict.is_some() {
                    course.unclear.retain(|attempt| *attempt > ended.attempt);
                } else {
                    course.unclear.remove(&ended.attempt);
                }
                if course.end == End::Open && course.due_at > at {
                    let pending = course.attempt;
                    course.unclear.remove(&pending);
                }
                course.end = match ended.operation {
                    OperationKind::Compensate => End::Parked,
                    _ => End::Refused,
                };
            }
            Outcome::Failed { .. } | Outcome::Unknown { .. } => match ended.retry_at {
                Some(due_at) => {
                    course.attempt = ended.attempt + 1;
                    course.unclear.insert(ended.attempt + 1);
                    course.due_at = due_at;
                    course.end = End::Open;
                }
                None if ended.operation == OperationKind::Compensate => course.end = End::Parked,
                None => course.end = course.spent(),
            },
        }
    }

    /// What a query says of its action stands for the action's own result.
    fn query_answered(&mut self, ended: &AttemptEnded) {
        let course = self.at(ended.place, OperationKind::Forward);
        match ended.outcome {
            _ if course.end == End::Skipped => course.learns(ended),
            Outcome::Succeeded { .. } => (course.end, course.effect) = (End::Succeeded, true),
            Outcome::Unusable { .. } => (course.end, course.effect) = (End::Unusable, true),
            Outcome::Absent => {
                course.unclear.clear();
                course.end = End::Refused;
            }
            _ => {}
        }
    }

    fn at(&mut self, place: Place, operation: OperationKind) -> &mut Course {
        self.courses.entry((place, operation)).or_default()
    }
}

impl Course {
    /// One attempt more; those before it do not count.
    fn again(&mut self, at: Time) {
        self.uncounted = self.attempt;
        self.attempt += 1;
        self.unclear.insert(self.attempt);
        self.first_at = at;
        self.due_at = at;
        self.end = End::Open;
    }

    /// Whether there was an effect.
    fn learns(&mut self, ended: &AttemptEnded) {
        match &ended.outcome {
            Outcome::Succeeded { .. } | Outcome::Unusable { .. } => self.effect = true,
            Outcome::Rejected { .. } | Outcome::Superseded if ended.verdict.is_some() => {
                self.unclear.clear();
            }
            Outcome::Fatal { .. } if ended.verdict.is_some() => {
                self.unclear.retain(|attempt| *attempt > ended.attempt);
            }
            Outcome::Rejected { .. } | Outcome::Fatal { .. } | Outcome::Superseded => {
                self.unclear.remove(&ended.attempt);
            }
            Outcome::Absent => self.unclear.clear(),
            Outcome::Failed { .. } | Outcome::Unknown { .. } | Outcome::NothingToUndo => {}
        }
    }

    fn spent(&self) -> End {
        if self.unclear.is_empty() {
            End::Refused
        } else {
            End::Spent
        }
    }
}
