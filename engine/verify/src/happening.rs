//! What happens to a world: each event is made one or more inputs of the core, and what the participants did is noted in
//! their books.

use amends_core::fact::{AttemptEnded, ChildOutcome, Fact, Parent};
use amends_core::saga::Phase;
use amends_core::saga::decide::Decision;
use amends_core::shard::{ChildAnswer, ChildState, Signal};
use amends_core::{OperationKind, Outcome, Place, SagaId, ShardId, Verdict};
use amends_definitions::{DefinitionHash, Lack, Payload};

use crate::event::Event;
use crate::world::{ANY_CODE, ATTEMPTS_TRIED_MAX, LOST_CODE, Lost, Stage, World};

impl World {
    /// Makes something happen.
    pub fn apply(&mut self, stage: &Stage, event: &Event) -> Vec<Fact> {
        let facts = self.happens(stage, event);
        self.drop_undecided(stage);
        facts
    }

    /// A lost result that arrives once its place is being undone changes nothing; all that it can do is raise an alarm. Once
    /// another attempt has succeeded, it cannot even do that.
    fn drop_undecided(&mut self, stage: &Stage) {
        let decided: Vec<Lost> = self
            .late
            .keys()
            .filter(|(place, _, _)| {
                let status = self.saga.place(*place);
                self.saga.terminal()
                    || !status.compensation_is_undecided()
                    || status.forward.phase == Phase::Succeeded
            })
            .copied()
            .collect();
        for lost in decided {
            let facts = self.clone().arrives_late(stage, lost);
            let alarm = |fact: &Fact| matches!(fact, Fact::LateResult { leak: true, .. });
            if facts.iter().any(alarm) {
                self.alarms.insert(lost.0);
            }
            self.late.remove(&lost);
        }
    }

    fn happens(&mut self, stage: &Stage, event: &Event) -> Vec<Fact> {
        self.alarms.clear();
        // Each takes the events of its own kind.
        let facts = self.happens_to_attempt(stage, event);
        let facts = facts.or_else(|| self.happens_to_child(stage, event));
        facts.unwrap_or_else(|| self.happens_around(stage, event))
    }

    fn happens_to_attempt(&mut self, stage: &Stage, event: &Event) -> Option<Vec<Fact>> {
        Some(match event {
            Event::Succeeds {
                place,
                operation,
                variant,
            } => self.succeeds(stage, *place, *operation, *variant),
            Event::Lacks { place, field } => self.answer_lacks(stage, *place, field),
            Event::Rejects {
                place,
                operation,
                code,
            } => {
                let (code, message) = (code.clone(), "said no".to_owned());
                self.ends(
                    stage,
                    *place,
                    *operation,
                    Outcome::Rejected { code, message },
                )
            }
            Event::IsFatal { place, operation } => {
                let (code, message) = ("FATAL_HERE".to_owned(), "can never work".to_owned());
                self.ends(stage, *place, *operation, Outcome::Fatal { code, message })
            }
            Event::IsUnusable { place } => {
                self.books.entry(*place).or_default().done = true;
                let (code, message) = ("OUTPUT_INVALID".to_owned(), "no use".to_owned());
                let outcome = Outcome::Unusable { code, message };
                self.ends(stage, *place, OperationKind::Forward, outcome)
            }
            Event::Fails {
                place,
                operation,
                effect,
            } => {
                self.books.entry(*place).or_default().done |= effect;
                self.spend(stage, *place, *operation, "FAILED")
            }
            Event::IsUnknown {
                place,
                operation,
                effect,
            } => {
                self.books.entry(*place).or_default().done |= effect;
                let facts = self.spend(stage, *place, *operation, LOST_CODE);
                let forward = self.saga.operation(*place, *operation);
                self.late
                    .insert((*place, forward.round, forward.attempt), *effect);
                facts
            }
            Event::IsLostOnce { place, effect } => self.is_lost_once(stage, *place, *effect),
            Event::FindsNothing { place } => self.ends(
                stage,
                *place,
                OperationKind::Compensate,
                Outcome::NothingToUndo,
            ),
            Event::IsAbsent { place } => {
                self.ends(stage, *place, OperationKind::Query, Outcome::Absent)
            }
            Event::ArrivesLate {
                place,
                round,
                attempt,
            } => self.arrives_late(stage, (*place, *round, *attempt)),
            _ => return None,
        })
    }

    fn happens_to_child(&mut self, stage: &Stage, event: &Event) -> Option<Vec<Fact>> {
        Some(match event {
            Event::ChildIsPinned { place } => {
                let state = ChildState::Pinned {
                    child: SagaId::child(
                        self.saga.id(),
                        stage.definition.step(place.step).id(),
                        place.item,
                        0,
                        ShardId(0),
                    ),
                    revision: 1,
                    hash: DefinitionHash([0; 32]),
                };
                self.child_says(stage, *place, state)
            }
            Event::ChildIsRefused { place } => {
                let outcome = ChildOutcome::Refused {
                    code: "DEFINITION_NOT_FOUND".into(),
                    message: "there is no such definition".into(),
                };
                self.child_says(stage, *place, ChildState::Ended(outcome))
            }
            Event::ChildCompletes { place, variant } => {
                self.books.entry(*place).or_default().done = true;
                let output = stage.samples.outputs[place.step.index()][*variant].clone();
                self.child_says(
                    stage,
                    *place,
                    ChildState::Ended(ChildOutcome::Completed { output }),
                )
            }
            Event::ChildIsUndone { place } => self.child_is_undone(stage, *place, "CHILD_ABORTED"),
            Event::ChildIsGivenUp { place } => {
                let message = "it was given up".to_owned();
                let outcome = ChildOutcome::Terminated { message };
                self.child_says(stage, *place, ChildState::Ended(outcome))
            }
            _ => return None,
        })
    }

    fn happens_around(&mut self, stage: &Stage, event: &Event) -> Vec<Fact> {
        match event {
            Event::SignalComes { signal, variant } => {
                self.signalled.insert(signal.clone());
                let payload = stage.samples.signals[signal][*variant].clone();
                self.signal(stage, signal, payload)
            }
            Event::SignalLacks { signal, field } => {
                self.signalled.insert(signal.clone());
                let payload = without(&stage.samples.lacking.signals[signal], field);
                self.lacks |= payload.is_some();
                payload.map_or_else(Vec::new, |payload| self.signal(stage, signal, payload))
            }
            Event::TakesLong { place } => {
                self.slow.insert(*place);
                Vec::new()
            }
            Event::TimePasses => {
                if let Some(at) = self.due().wake_at {
                    self.now = self.now.max(at);
                }
                self.decide(stage, |decision| decision.wake())
            }
            Event::DeadlinePasses => {
                if let Some(at) = self.saga.deadline_at() {
                    self.now = self.now.max(at);
                }
                self.decide(stage, |decision| decision.wake())
            }
            Event::IsCancelled => {
                self.cancelled = true;
                self.decide(stage, |decision| {
                    // A refusal records nothing: the world goes on as it was.
                    let _ = decision.cancel("somebody", "a cancel at this point");
                })
            }
            _ => Vec::new(),
        }
    }

    /// Sends a signal.
    pub fn signal(&mut self, stage: &Stage, id: &str, payload: Payload) -> Vec<Fact> {
        let signal = Signal {
            namespace: "default".into(),
            saga: self.saga.id(),
            signal: id.to_owned(),
            payload,
            by: "somebody".into(),
            dedupe_id: None,
        };
        self.decide(stage, |decision| {
            // As with a cancel: what is refused changes nothing.
            let _ = decision.signal(&signal);
        })
    }

    fn succeeds(
        &mut self,
        stage: &Stage,
        place: Place,
        operation: OperationKind,
        variant: usize,
    ) -> Vec<Fact> {
        let outputs = &stage.samples.outputs[place.step.index()];
        let output = match operation {
            OperationKind::Forward | OperationKind::Query => {
                self.books.entry(place).or_default().done = true;
                outputs[variant.min(outputs.len() - 1)].clone()
            }
            OperationKind::Compensate => {
                let book = self.books.entry(place).or_default();
                book.undone = book.done;
                Payload::null()
            }
        };
        self.ends(stage, place, operation, Outcome::Succeeded { output })
    }

    fn answer_lacks(&mut self, stage: &Stage, place: Place, field: &str) -> Vec<Fact> {
        let lacks = &stage.samples.lacking.outputs[place.step.index()];
        let Some(output) = without(lacks, field) else {
            return Vec::new();
        };
        self.lacks = true;
        self.books.entry(place).or_default().done = true;
        if self.saga.operation(place, OperationKind::Forward).phase == Phase::ChildUnderWay {
            let outcome = ChildOutcome::Completed { output };
            return self.child_says(stage, place, ChildState::Ended(outcome));
        }
        let outcome = Outcome::Succeeded { output };
        self.ends(stage, place, OperationKind::Forward, outcome)
    }

    /// The attempt that is due comes to an outcome.
    pub fn ends(
        &mut self,
        stage: &Stage,
        place: Place,
        operation: OperationKind,
        outcome: Outcome,
    ) -> Vec<Fact> {
        let ended = self.attempt(stage, place, operation, outcome);
        self.decide(stage, |decision| {
            decision.outcome(ended);
        })
    }

    fn attempt(
        &self,
        stage: &Stage,
        place: Place,
        operation: OperationKind,
        outcome: Outcome,
    ) -> AttemptEnded {
        let known = self.saga.operation(place, operation);
        let definite = !matches!(outcome, Outcome::Failed { .. } | Outcome::Unknown { .. });
        let barrier = stage.barrier && definite && operation != OperationKind::Query;
        AttemptEnded {
            place,
            operation,
            round: known.round,
            attempt: known.attempt,
            outcome,
            verdict: barrier.then_some(Verdict::First),
            instance: None,
            sent_at: Some(self.now),
            retry_at: None,
        }
    }

    /// Attempt after attempt goes wrong, until there is none left.
    fn spend(
        &mut self,
        stage: &Stage,
        place: Place,
        operation: OperationKind,
        code: &str,
    ) -> Vec<Fact> {
        let mut facts = Vec::new();
        for _ in 0..ATTEMPTS_TRIED_MAX {
            let Phase::Scheduled { due_at } = self.saga.operation(place, operation).phase else {
                break;
            };
            self.now = self.now.max(due_at);
            let (code, message) = (code.to_owned(), "nobody knows".to_owned());
            let outcome = if code == "FAILED" {
                Outcome::Failed {
                    code,
                    message,
                    retry_after: None,
                }
            } else {
                Outcome::Unknown { code, message }
            };
            facts.extend(self.ends(stage, place, operation, outcome));
        }
        facts
    }

    /// One attempt is lost, and the time of the next one comes.
    fn is_lost_once(&mut self, stage: &Stage, place: Place, effect: bool) -> Vec<Fact> {
        self.books.entry(place).or_default().done |= effect;
        let lost = self.saga.operation(place, OperationKind::Forward);
        let lost = (place, lost.round, lost.attempt);
        let (code, message) = (LOST_CODE.to_owned(), "nobody knows".to_owned());
        let outcome = Outcome::Unknown { code, message };
        let facts = self.ends(stage, place, OperationKind::Forward, outcome);
        self.late.insert(lost, effect);
        if let Phase::Scheduled { due_at } =
            self.saga.operation(place, OperationKind::Forward).phase
        {
            self.now = self.now.max(due_at);
        }
        facts
    }

    fn arrives_late(&mut self, stage: &Stage, lost: Lost) -> Vec<Fact> {
        let Some(effect) = self.late.remove(&lost) else {
            return Vec::new();
        };
        let (place, round, attempt) = lost;
        // Of an operation that had its effect, a barrier records no other outcome: this attempt never got there.
        if stage.barrier && !effect && self.book(place).done {
            return Vec::new();
        }
        let outcome = if effect {
            let output = stage.samples.outputs[place.step.index()][0].clone();
            Outcome::Succeeded { output }
        } else {
            Outcome::Rejected {
                code: ANY_CODE.into(),
                message: "said no, late".into(),
            }
        };
        let ended = AttemptEnded {
            round,
            attempt,
            ..self.attempt(stage, place, OperationKind::Forward, outcome)
        };
        self.decide(stage, |decision| {
            decision.outcome(ended);
        })
    }

    /// A child has been undone, because of this.
    pub fn child_is_undone(&mut self, stage: &Stage, place: Place, code: &str) -> Vec<Fact> {
        let book = self.books.entry(place).or_default();
        book.undone = book.done;
        let outcome = ChildOutcome::Compensated {
            code: code.to_owned(),
            message: "it was undone".into(),
        };
        self.child_says(stage, place, ChildState::Ended(outcome))
    }

    fn child_says(&mut self, stage: &Stage, place: Place, state: ChildState) -> Vec<Fact> {
        let round = self.saga.operation(place, OperationKind::Forward).round;
        let answer = ChildAnswer {
            parent: Parent {
                saga: self.saga.id(),
                step: stage.definition.step(place.step).id().into(),
                item: place.item,
                round,
                depth: 1,
            },
            state,
        };
        self.decide(stage, |decision| decision.child_answered(&answer))
    }

    /// Decides on the saga, and says what was recorded.
    pub fn decide(&mut self, stage: &Stage, decide: impl FnOnce(&mut Decision<'_>)) -> Vec<Fact> {
        self.now = self.now.max(self.saga.updated_at());
        let mut decision = Decision::new(&mut self.saga, self.now, stage);
        decide(&mut decision);
        decision.into_facts()
    }
}

/// The payload that lacks this field.
fn without(lacks: &[Lack], field: &str) -> Option<Payload> {
    let mut lacks = lacks.iter();
    let found = lacks.find(|lack| lack.field == field);
    found.map(|lack| lack.payload.clone())
}
