//! Which marks a world's committed facts meet: what sagas went through, seen from their journals. Deliberately not here: marks
//! of faults, which those set who carry them out.

use std::collections::BTreeSet;

use amends_core::fact::{AbortReason, Act, ChildOutcome, Fact, IncidentReason};
use amends_core::id::Place;
use amends_core::journal::SagaState;
use amends_core::{OperationKind, Outcome};
use amends_definitions::{CompensationOrder, Definition, Sleep, Work};

use crate::generator::LAST;
use crate::history::Event;
use crate::marks::{Mark, Marks};
use crate::world::World;

/// Marks what happened to the world's sagas.
pub fn mark(world: &mut World) {
    let mut marks = std::mem::take(&mut world.marks);
    let mut keys = std::collections::BTreeSet::new();
    for entry in world.history.entries() {
        if let Event::KeyRow { key, .. } = &entry.event {
            marks.hit_if(!keys.insert(key), Mark::ExpiredKeyUsedAgain);
        }
        if let Event::SagaRow {
            wake_at: Some(_), ..
        } = &entry.event
        {
            marks.hit(Mark::FellAsleep);
        }
        if let Event::Committed(row) = &entry.event {
            let first = row.facts.first();
            let child = world
                .store
                .folded(row.saga)
                .is_some_and(|saga| saga.parent().is_some());
            let waited = matches!(first, Some(Fact::TurnGranted)) && child;
            marks.hit_if(waited, Mark::ChildWaitedForItsTurn);
            for fact in row.facts.iter() {
                mark_fact(world, row.saga, fact, &mut marks);
            }
        }
    }
    for saga in world.store.all_sagas() {
        marks.hit_if(saga.state == SagaState::Completed, Mark::Completed);
        marks.hit_if(saga.state == SagaState::Compensated, Mark::Compensated);
        mark_course(world, saga.id, saga.state, &mut marks);
    }
    world.marks = marks;
}

#[expect(
    clippy::too_many_lines,
    reason = "one arm for each fact, most of them one line"
)]
fn mark_fact(world: &World, saga: amends_core::SagaId, fact: &Fact, marks: &mut Marks) {
    match fact {
        Fact::Skipped { .. } => marks.hit(Mark::Skipped),
        Fact::StepFailed { code, .. } => match code.as_str() {
            "PARK_AFTER" => marks.hit(Mark::CompensationLate),
            "WAIT_TIMEOUT" => marks.hit(Mark::WaitTimedOut),
            "ON_PURPOSE" => marks.hit(Mark::FailedOnPurpose),
            "DUPLICATE_ITEM_KEY" => marks.hit(Mark::DuplicateItemKey),
            "TOO_MANY_ITEMS" => marks.hit(Mark::TooManyItems),
            _ => marks.hit(Mark::ExpressionFailed),
        },
        Fact::Withdrawn { code, .. } => match code.as_str() {
            "SCHEDULE_TIMEOUT" => marks.hit(Mark::WithdrawnByScheduleTimeout),
            "TOTAL_TIMEOUT" => marks.hit(Mark::WithdrawnByTotalTimeout),
            "OVERTAKEN" => marks.hit(Mark::WithdrawnOvertaken),
            _ => marks.hit(Mark::WithdrawnByAbort),
        },
        Fact::Settling { .. } => marks.hit(Mark::Settled),
        Fact::SignalConsumed { place, .. } => {
            marks.hit(Mark::SignalConsumed);
            marks.hit_if(place.item > 0, Mark::ItemTookSignal);
        }
        Fact::SignalUnconsumed { .. } => marks.hit(Mark::SignalUnconsumed),
        Fact::Slept { place } => {
            marks.hit(Mark::Slept);
            let definition = world.store.definition_of(saga);
            let until = definition.is_some_and(|definition| {
                let work = definition.step(place.step).work();
                matches!(work, Work::Sleep(Sleep::Until(_)))
            });
            marks.hit_if(until, Mark::SleptUntil);
        }
        Fact::Emitted { .. } => marks.hit(Mark::Emitted),
        Fact::Continued { .. } => marks.hit(Mark::Continued),
        Fact::ItemsListed { .. } => marks.hit(Mark::ItemsListed),
        Fact::TurnGranted => marks.hit(Mark::TurnAwaited),
        Fact::ChildEnded {
            place,
            operation,
            outcome,
            ..
        } => {
            let definition = world.store.definition_of(saga);
            let last = definition.is_some_and(|definition| {
                let work = definition.step(place.step).work();
                matches!(work, Work::Saga(child) if child.name() == LAST)
            });
            let finished = matches!(outcome, ChildOutcome::Completed { .. });
            marks.hit_if(last && finished, Mark::ChildWithPivotCompleted);
            marks.hit_if(place.item > 0, Mark::ItemWithChild);
            let nested = world
                .store
                .folded(saga)
                .is_some_and(|folded| folded.parent().is_some());
            let completed = matches!(outcome, ChildOutcome::Completed { .. });
            marks.hit_if(nested && completed, Mark::BranchCompleted);
            let undone = *operation == OperationKind::Compensate;
            let completed = matches!(outcome, ChildOutcome::Completed { .. });
            marks.hit_if(undone, Mark::ChildUndone);
            marks.hit_if(!undone && completed, Mark::ChildCompleted);
            let compensated = matches!(outcome, ChildOutcome::Compensated { .. });
            marks.hit_if(!undone && compensated, Mark::ChildCompensated);
        }
        Fact::AbortDecided(AbortReason::DeadlineExceeded) => marks.hit(Mark::DeadlineAborts),
        Fact::AbortDecided(AbortReason::OutputInvalid { .. }) => {
            marks.hit(Mark::AbortedForItsOutput);
        }
        Fact::Operated(operated) => marks.hit(by_hand(&operated.act)),
        Fact::Scheduled {
            place,
            operation: OperationKind::Compensate,
            ..
        } => marks.hit_if(place.item > 0, Mark::ItemCompensated),
        Fact::CancelDropped => marks.hit(Mark::CancelDropped),
        Fact::LateResult { leak, .. } => {
            marks.hit_if(*leak, Mark::LeakSaid);
            marks.hit_if(!*leak, Mark::LateResultWithoutLeak);
        }
        Fact::IncidentOpened(incident) => match incident.reason {
            IncidentReason::PivotInDoubt => marks.hit(Mark::PivotInDoubt),
            IncidentReason::CompensationRefused => marks.hit(Mark::CompensationRefused),
            IncidentReason::StepRefused | IncidentReason::OutputUnusable => {
                marks.hit(Mark::ParkedBehindPivot);
            }
            IncidentReason::StepExhausted => marks.hit(Mark::ExhaustedBehindPivot),
            IncidentReason::ExpressionFailed if incident.place.is_none() => {
                marks.hit(Mark::ParkedForItsOutput);
            }
            IncidentReason::DeadlineExceeded => marks.hit(Mark::DeadlineParks),
            IncidentReason::RoutedToPark => marks.hit(Mark::RoutedToPark),
            IncidentReason::RecordRefused => marks.hit(Mark::RecordRefused),
            _ => {}
        },
        Fact::IncidentClosed { .. } => marks.hit(Mark::IncidentClosed),
        Fact::AttemptEnded(ended) => {
            match &ended.outcome {
                Outcome::Unknown { code, .. } if code == "ATTEMPT_TIMEOUT" => {
                    marks.hit(Mark::AttemptTimeout);
                }
                Outcome::Unknown { code, .. } if code == "HEARTBEAT_TIMEOUT" => {
                    marks.hit(Mark::HeartbeatTimeout);
                }
                Outcome::Unusable { message, .. } => {
                    marks.hit_if(message != "it is not JSON", Mark::OutputInvalid);
                }
                _ => {}
            }
            let failed = matches!(ended.outcome, Outcome::Failed { .. });
            let never = matches!(&ended.outcome, Outcome::Failed { code, .. } if code == "NEVER");
            let again = ended.retry_at.is_some();
            let backward = ended.operation == OperationKind::Compensate;
            marks.hit_if(failed && !again && !never, Mark::RetriesExhausted);
            marks.hit_if(never && !again, Mark::CodeForbidsRetry);
            marks.hit_if(backward && again, Mark::CompensationRetried);
            let nothing = ended.outcome == Outcome::NothingToUndo;
            marks.hit_if(nothing, Mark::CompensationNothingToUndo);
            let folded = world.store.folded(saga);
            let older = folded.is_some_and(|folded| {
                let operation = folded.operation(ended.place, ended.operation);
                operation.attempt > ended.attempt && !again && !failed
            });
            marks.hit_if(older, Mark::ResultOfOlderAttempt);
        }
        _ => {}
    }
}

/// What a person did.
fn by_hand(act: &Act) -> Mark {
    match act {
        Act::Retry {
            operation: OperationKind::Compensate,
            ..
        } => Mark::CompensationRetriedByHand,
        Act::Retry { input: Some(_), .. } => Mark::RetriedWithInput,
        Act::Retry { input: None, .. } => Mark::RetriedByHand,
        Act::Skip { .. } => Mark::SkippedByHand,
        Act::Resolve {
            operation: OperationKind::Compensate,
            ..
        } => Mark::CompensationResolvedByHand,
        Act::ResolveNotUndone { .. } => Mark::ResolvedNotUndone,
        Act::Resolve { .. } => Mark::ResolvedByHand,
        Act::ResolveSaga => Mark::SagaResolvedByHand,
        Act::ResolveAbsent { .. } => Mark::ResolvedAbsent,
        Act::Compensate => Mark::CompensatedByHand,
        Act::Pause => Mark::HeldBack,
        Act::Resume => Mark::Resumed,
        Act::Terminate => Mark::Terminated,
    }
}

/// A saga on its way back, for what takes more than one fact.
#[derive(Default)]
struct Backward {
    settled: BTreeSet<Place>,
    /// What became of an action was asked, and nobody said so.
    unanswered: BTreeSet<Place>,
    undoing: BTreeSet<Place>,
}

impl Backward {
    fn mark(&mut self, definition: Option<&Definition>, fact: &Fact, marks: &mut Marks) {
        match fact {
            // Once with each owner.
            Fact::Settling { place, .. } => {
                marks.hit_if(!self.settled.insert(*place), Mark::SettledAgain);
                marks.hit_if(self.unanswered.remove(place), Mark::UndoneUnanswered);
            }
            Fact::AttemptEnded(ended) => {
                let spent = matches!(
                    ended.outcome,
                    Outcome::Failed { .. } | Outcome::Unknown { .. }
                );
                if ended.operation == OperationKind::Query && spent && ended.retry_at.is_none() {
                    self.unanswered.insert(ended.place);
                }
                if ended.operation == OperationKind::Compensate && ended.retry_at.is_none() {
                    self.undoing.remove(&ended.place);
                }
            }
            Fact::StepFailed {
                place,
                operation: OperationKind::Query,
                ..
            }
            | Fact::Withdrawn {
                place,
                operation: OperationKind::Query,
                ..
            } => {
                self.unanswered.insert(*place);
            }
            Fact::Scheduled {
                place,
                operation: OperationKind::Compensate,
                ..
            } => {
                marks.hit_if(self.unanswered.remove(place), Mark::UndoneUnanswered);
                let parallel = |definition: &&Definition| {
                    definition.compensation().order == CompensationOrder::Parallel
                };
                let beside = definition.filter(parallel).is_some_and(|definition| {
                    let mut behind = definition.graph().descendants(place.step).iter();
                    behind.any(|later| self.undoing.iter().any(|other| other.step == *later))
                });
                marks.hit_if(beside, Mark::UndoneBesideDependant);
                self.undoing.insert(*place);
            }
            _ => {}
        }
    }
}

/// Marks that take more than one fact.
fn mark_course(world: &World, id: amends_core::SagaId, state: SagaState, marks: &mut Marks) {
    let (mut doubt, mut unknown) = (false, std::collections::BTreeSet::new());
    let mut succeeded = std::collections::BTreeSet::new();
    let mut backward = Backward::default();
    let definition = world.store.definition_of(id).map(AsRef::as_ref);
    let facts = world.store.rows(id).iter().flat_map(|row| &row.facts);
    for fact in facts {
        backward.mark(definition, fact, marks);
        match fact {
            Fact::IncidentOpened(incident) => {
                doubt |= incident.reason == IncidentReason::PivotInDoubt;
            }
            Fact::AttemptEnded(ended) if ended.operation == OperationKind::Forward => {
                if matches!(ended.outcome, Outcome::Succeeded { .. }) {
                    succeeded.insert(ended.place);
                } else {
                    unknown.insert(ended.place);
                }
            }
            Fact::Scheduled {
                operation: OperationKind::Compensate,
                place,
                ..
            } => {
                let success = succeeded.contains(place);
                marks.hit_if(success, Mark::CompensationOfSuccess);
                marks.hit_if(
                    !success && unknown.contains(place),
                    Mark::CompensationOfUnknown,
                );
            }
            _ => {}
        }
    }
    marks.hit_if(doubt && state.is_terminal(), Mark::PivotDoubtSettledLate);
    if state == SagaState::Compensated
        && let Some(definition) = world.store.definition_of(id)
    {
        let passed = definition.step_indices().any(|step| {
            let reads = matches!(
                definition.step(step).compensation(),
                amends_definitions::Compensation::None { .. }
            );
            reads && succeeded.contains(&step.into())
        });
        marks.hit_if(passed, Mark::UncompensatedStepPassed);
    }
}
