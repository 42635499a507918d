//! What the checker itself makes of a saga's facts: a second, smaller reading of what each operation came to, against which
//! every next fact is held. It is written from the rules, not from the engine's code. The rules themselves are in `forward`
//! and `backward`: each is asked before a fact is taken in.

use std::collections::{BTreeMap, BTreeSet};

use amends_core::fact::{AttemptEnded, Fact};
use amends_core::id::Place;
use amends_core::{OperationKind, Outcome, Time};
use amends_definitions::{Compensation, Kind, StepIndex};

use crate::checker::case::{Case, Seen};
use crate::checker::{Found, backward, forward};
use crate::world::World;

/// What one operation came to so far.
#[derive(Clone, Debug, Default)]
pub struct Course {
    pub end: End,
    /// The last attempt that is intended.
    pub attempt: u32,
    pub due_at: Time,
    pub first_at: Option<Time>,
    /// Attempts that may have had an effect.
    pub unclear: BTreeSet<u32>,
    /// Accepted successes.
    pub successes: u32,
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    NotBegun,
    Open,
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
}

/// Reads a saga from its first fact to its last.
pub fn walk(case: &Case<'_>, world: &World, found: &mut Found) {
    let mut model = Model::default();
    for seen in &case.facts {
        forward::before(&model, case, seen, found);
        backward::before(&model, case, seen, world, found);
        model.take(case, seen);
    }
    backward::after(&model, case, found);
}

impl Model {
    /// The saga after the facts up to a place in the history.
    pub fn until(case: &Case<'_>, index: usize) -> Self {
        let mut model = Self::default();
        for seen in case.facts.iter().take_while(|seen| seen.index <= index) {
            model.take(case, seen);
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

    /// U: the action had an effect, or may have had one.
    pub fn may_have_effect(&self, place: Place) -> bool {
        let course = self.course(place, OperationKind::Forward);
        match course.end {
            End::Succeeded | End::Unusable => true,
            End::Open | End::Refused | End::Spent => !course.unclear.is_empty(),
            End::NotBegun | End::Skipped | End::NothingToUndo | End::Parked => false,
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
        let place = Place::from(step);
        matches!(
            case.definition.step(step).compensation(),
            Compensation::Call(_)
        ) && self.may_have_effect(place)
            && !self.is_undone(place)
    }

    /// Behind it the saga can only go forward.
    pub fn past_point_of_no_return(&self, case: &Case<'_>) -> bool {
        match case.definition.pivot() {
            Some(pivot) => matches!(
                self.forward(pivot).end,
                End::Succeeded | End::Unusable | End::Skipped
            ),
            None => case.definition.step_indices().any(|step| {
                case.definition.step(step).kind() == Kind::Retriable
                    && self.forward(step).attempt > 0
            }),
        }
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

    fn take(&mut self, case: &Case<'_>, seen: &Seen<'_>) {
        let at = seen.row.decided_at;
        match seen.fact {
            Fact::Skipped { step } => {
                self.at(Place::from(*step), OperationKind::Forward).end = End::Skipped;
            }
            Fact::Scheduled {
                place, operation, ..
            } => {
                let course = self.at(*place, *operation);
                *course = Course {
                    end: End::Open,
                    attempt: 1,
                    due_at: at,
                    first_at: Some(at),
                    unclear: BTreeSet::from([1]),
                    successes: 0,
                };
            }
            Fact::StepFailed {
                place, operation, ..
            } => {
                self.at(*place, *operation).end = match operation {
                    OperationKind::Compensate => End::Parked,
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
                for step in case.definition.step_indices() {
                    let course = self.at(Place::from(step), OperationKind::Forward);
                    if course.end == End::Open && course.due_at > at {
                        let pending = course.attempt;
                        course.unclear.remove(&pending);
                        course.end = course.spent();
                    }
                }
            }
            Fact::IncidentOpened(incident) => {
                self.incidents.push((incident.place, incident.operation));
            }
            Fact::IncidentClosed { place, operation } => {
                self.incidents.retain(|open| *open != (*place, *operation));
            }
            Fact::CancelPending { .. } => self.cancel_pending = true,
            Fact::CancelDropped => self.cancel_pending = false,
            Fact::Completed { .. } | Fact::Compensated => self.ended = true,
            _ => {}
        }
    }

    fn attempt_ended(&mut self, ended: &AttemptEnded, at: Time) {
        let course = self.at(ended.place, ended.operation);
        match &ended.outcome {
            Outcome::Succeeded { .. } => {
                course.successes += 1;
                course.end = End::Succeeded;
            }
            Outcome::Unusable { .. } => {
                course.successes += 1;
                course.end = End::Unusable;
            }
            Outcome::NothingToUndo | Outcome::Absent => course.end = End::NothingToUndo,
            Outcome::Rejected { .. } | Outcome::Fatal { .. } | Outcome::Superseded => {
                if ended.verdict.is_some() {
                    course.unclear.clear();
                } else {
                    course.unclear.remove(&ended.attempt);
                    if course.end == End::Open && course.due_at > at {
                        let pending = course.attempt;
                        course.unclear.remove(&pending);
                    }
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

    fn at(&mut self, place: Place, operation: OperationKind) -> &mut Course {
        self.courses.entry((place, operation)).or_default()
    }
}

impl Course {
    fn spent(&self) -> End {
        if self.unclear.is_empty() {
            End::Refused
        } else {
            End::Spent
        }
    }
}
