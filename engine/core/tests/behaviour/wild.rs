//! Single sagas of the whole language, driven by decisions alone: whatever comes, in whatever order, by participants,
//! children, senders of signals, operators and clocks. After each decision every invariant holds and the fold of the facts
//! is the state; in the end each saga can be brought to an end.

mod definitions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amends_core::fact::{AttemptEnded, ChildOutcome, Fact, IncidentReason, Started};
use amends_core::invariants;
use amends_core::journal::JournalRow;
use amends_core::saga::decide::{Decision, start};
use amends_core::saga::{DueChild, DueCommand, Phase, Saga, due};
use amends_core::shard::{ChildAnswer, ChildState, ChildWish, Order, Signal, Target, Verb, Want};
use amends_core::{OperationKind, Outcome, Place, SagaId, ShardId, Time, Verdict};
use amends_definitions::Definition;

use self::definitions::{MANY, MARKS, PARALLEL, SHORT};
use crate::pump::{Barrier, definition, failed, fatal, payload, rejected, succeeded};
use crate::world::Random;

/// One saga, and what is around it.
struct Wild {
    random: Random,
    definition: Arc<Definition>,
    saga: Saga,
    now: Time,
    rows: Vec<JournalRow>,
    barrier: Barrier,
    /// How often an answer is what nobody hopes for, in percent.
    faults: u64,
    /// Commands that were due once: any of them may be answered at any time.
    seen: BTreeSet<DueCommand>,
    wishes: Vec<ChildWish>,
    /// Whether each child was told to be undone, and has been.
    undone: BTreeSet<SagaId>,
    given_up: BTreeSet<SagaId>,
    marks: BTreeSet<String>,
}

impl Wild {
    fn new(definition: &Arc<Definition>, seed: u64) -> Self {
        let mut random = Random(seed);
        let now = Time::from_micros(1_763_712_000_000_000);
        let id = SagaId::new(now, ShardId(3), seed);
        let items = ["[]", r#"["x"]"#, r#"["x","y","z"]"#, r#"["x","x"]"#, "3"];
        let kinds = if random.chance(90) { 3 } else { items.len() };
        let items = items[random.index(kinds)];
        let refuse = match random.below(6) {
            0 => r#","refuse":"softly""#,
            1 => r#","refuse":"hard""#,
            _ => "",
        };
        let started = Started {
            namespace: "default".into(),
            definition: definition.name().into(),
            revision: 1,
            hash: definition.hash(),
            key: None,
            ordering_key: definition.ordering_key().map(|_| "k".to_owned()),
            concurrency_max: definition.concurrency().map(|limit| limit.max),
            parent: None,
            input: payload(&format!(r#"{{"who":"w","items":{items}{refuse}}}"#)),
            traceparent: None,
            tracestate: None,
        };
        let barrier = Barrier(random.chance(50));
        let granted = random.chance(70);
        let faults = [10, 30, 100][random.index(3)];
        let (saga, facts) = start(id, Arc::clone(definition), started, now, &barrier, granted);
        let mut wild = Self {
            random,
            definition: Arc::clone(definition),
            saga,
            now,
            rows: Vec::new(),
            barrier,
            faults,
            seen: BTreeSet::new(),
            wishes: Vec::new(),
            undone: BTreeSet::new(),
            given_up: BTreeSet::new(),
            marks: BTreeSet::new(),
        };
        wild.keep(facts);
        wild
    }

    /// Decides, and checks all that can be checked.
    fn decide<T>(&mut self, decide: impl FnOnce(&mut Decision<'_>) -> T) -> T {
        let mut decision = Decision::new(&mut self.saga, self.now, &self.barrier);
        let result = decide(&mut decision);
        let facts = decision.into_facts();
        self.keep(facts);
        result
    }

    fn keep(&mut self, facts: Vec<Fact>) {
        self.marks
            .extend(facts.iter().map(|fact| fact.kind().to_owned()));
        self.marks
            .extend(facts.iter().filter_map(|fact| match fact {
                Fact::IncidentOpened(incident) => Some(incident.reason.as_str().to_owned()),
                Fact::AbortDecided(reason) => Some(reason.kind().to_owned()),
                Fact::Operated(operated) => Some(operated.act.as_str().to_owned()),
                Fact::Scheduled {
                    operation, round, ..
                } => Some(format!("{} {}", operation.as_str(), round.min(&1))),
                _ => None,
            }));
        if !facts.is_empty() {
            self.rows.push(JournalRow {
                position: u64::try_from(self.rows.len()).expect("few") + 1,
                saga: self.saga.id(),
                at: self.now,
                facts,
            });
            if let Err(broken) = invariants::check(&self.saga) {
                panic!("{broken}\n{}", self.story());
            }
            let folded = Saga::replay(self.saga.id(), Arc::clone(&self.definition), &self.rows)
                .expect("what was recorded can be replayed");
            assert_eq!(
                format!("{folded:?}"),
                format!("{:?}", self.saga),
                "I14\n{}",
                self.story()
            );
            self.check_history();
        }
        for command in due(&self.saga, self.now).commands {
            self.seen.insert(command);
        }
    }

    /// I9, I10, I11, I12, I17: what only a history shows.
    fn check_history(&self) {
        let mut aborted = false;
        let mut last = std::collections::BTreeMap::new();
        for fact in self.rows.iter().flat_map(|row| &row.facts) {
            match fact {
                Fact::AbortDecided(_) => {
                    assert!(!aborted, "aborted twice\n{}", self.story());
                    aborted = true;
                }
                Fact::Scheduled {
                    place,
                    operation,
                    round,
                    ..
                } => {
                    let forward = *operation == OperationKind::Forward;
                    assert!(!(forward && aborted), "I9\n{}", self.story());
                    if let Some((before, _)) = last.insert((*place, *operation), (*round, 1)) {
                        let query = *operation == OperationKind::Query;
                        assert!(
                            query || *round == before + 1,
                            "I10: round {round} of {place:?}\n{}",
                            self.story()
                        );
                    }
                }
                Fact::ItemsListed { .. }
                | Fact::SignalAwaited { .. }
                | Fact::Sleeping { .. }
                | Fact::ChildRequested(_)
                | Fact::ChildPinned { .. }
                | Fact::Emitted { .. }
                | Fact::Continued { .. }
                | Fact::SignalConsumed { .. } => {
                    assert!(!aborted, "I9: {fact:?}\n{}", self.story());
                }
                Fact::AttemptEnded(ended) if ended.retry_at.is_some() => {
                    let forward = ended.operation == OperationKind::Forward;
                    assert!(!(forward && aborted), "I9: a retry\n{}", self.story());
                }
                _ => {}
            }
        }
    }

    fn story(&self) -> String {
        let facts = self.rows.iter().flat_map(|row| {
            row.facts
                .iter()
                .map(move |fact| format!("{} {} {fact:?}", row.position, row.at))
        });
        facts.collect::<Vec<_>>().join("\n")
    }

    fn turn(&mut self) {
        match self.random.below(100) {
            0..45 => self.answer_command(true),
            45..55 => self.answer_any(),
            55..65 => self.answer_child(false),
            65..72 => self.send_signal(),
            72..85 => {
                let time = Duration::from_millis(self.random.below(40_000));
                self.pass(time);
            }
            85..90 => self.withdraw(),
            90..97 if self.random.chance(self.faults.max(50)) => self.operate(),
            97 => {
                let _ = self.decide(|decision| decision.cancel("ann", "changed her mind"));
            }
            98 => self.decide(|decision| decision.grant_turn()),
            _ => self.decide(|decision| decision.wake()),
        }
        self.take_wishes();
    }

    fn take_wishes(&mut self) {
        for child in due(&self.saga, self.now).children {
            match child {
                DueChild::Resolve(request) => {
                    let state = if self.random.chance(80) {
                        let parent = &request.parent;
                        ChildState::Pinned {
                            child: SagaId::child(
                                parent.saga,
                                &parent.step,
                                parent.item,
                                parent.round,
                                ShardId(1),
                            ),
                            revision: 1,
                            hash: self.definition.hash(),
                        }
                    } else {
                        ChildState::Ended(ChildOutcome::Refused {
                            code: "NO_CHILD".into(),
                            message: "there is none".into(),
                        })
                    };
                    if self.random.chance(50) {
                        let parent = request.parent.clone();
                        self.decide(|decision| {
                            decision.child_answered(&ChildAnswer { parent, state });
                        });
                    }
                }
                DueChild::Ask(wish) => {
                    if let Want::Undo { .. } = wish.want {
                        self.undone.insert(wish.child);
                    }
                    self.wishes.push(*wish);
                }
            }
        }
    }

    /// A child says where it is: never that it has completed, once it was told to be undone.
    fn answer_child(&mut self, faults_off: bool) {
        if self.wishes.is_empty() {
            return;
        }
        let at = self.random.index(self.wishes.len());
        let wish = self.wishes.swap_remove(at);
        let undone = self.undone.contains(&wish.child);
        let gone = self.given_up.contains(&wish.child);
        let state = match self.random.below(10) {
            _ if gone => ended(ChildOutcome::Terminated {
                message: "given up".into(),
            }),
            0 if !faults_off => {
                self.given_up.insert(wish.child);
                ended(ChildOutcome::Terminated {
                    message: "given up".into(),
                })
            }
            1..3 if !faults_off => ChildState::UnderWay,
            _ if undone => ended(ChildOutcome::Compensated {
                code: "GONE".into(),
                message: "undone".into(),
            }),
            3 if !faults_off => ended(ChildOutcome::Compensated {
                code: "CHILD_FAILED".into(),
                message: "failed".into(),
            }),
            _ => ended(ChildOutcome::Completed {
                output: payload(r#"{"ok":true}"#),
            }),
        };
        let parent = wish.parent.clone();
        self.decide(|decision| decision.child_answered(&ChildAnswer { parent, state }));
    }

    fn answer_command(&mut self, faults: bool) {
        let due = due(&self.saga, self.now);
        let open: Vec<DueCommand> = due.commands.into_iter().chain(due.awaited).collect();
        if open.is_empty() {
            return;
        }
        let command = open[self.random.index(open.len())];
        let outcome = self.outcome_of(&command, faults);
        self.reply(command, outcome);
    }

    /// Any command that ever was due is answered, perhaps again, perhaps otherwise.
    fn answer_any(&mut self) {
        let seen: Vec<DueCommand> = self.seen.iter().copied().collect();
        if seen.is_empty() {
            return;
        }
        let command = seen[self.random.index(seen.len())];
        let outcome = self.outcome_of(&command, true);
        self.reply(command, outcome);
    }

    fn outcome_of(&mut self, command: &DueCommand, faults: bool) -> Outcome {
        let faults = faults && self.random.chance(self.faults);
        let roll = if faults { self.random.below(20) } else { 19 };
        match (roll, command.operation) {
            (0..2, OperationKind::Query) => Outcome::Absent,
            (2..4, _) => failed(),
            (4..6, _) => Outcome::Unknown {
                code: "ATTEMPT_TIMEOUT".into(),
                message: "no result".into(),
            },
            (6, _) => rejected("SOLD_OUT"),
            (7, _) => rejected("ODD"),
            (8, _) => rejected("NO"),
            (9, _) => fatal(),
            (10, _) => Outcome::Succeeded {
                output: payload(r#"{"odd":1}"#),
            },
            (11, OperationKind::Compensate) => Outcome::NothingToUndo,
            (11, _) => Outcome::Unusable {
                code: "OUTPUT_TOO_LARGE".into(),
                message: "too large".into(),
            },
            (12, OperationKind::Forward) => Outcome::Superseded,
            (13, _) => Outcome::Failed {
                code: "BUSY".into(),
                message: "busy".into(),
                retry_after: Some(Duration::from_secs(3)),
            },
            _ => succeeded(),
        }
    }

    fn reply(&mut self, command: DueCommand, outcome: Outcome) {
        let verdict = (self.barrier.0 && self.random.chance(50)).then_some(Verdict::First);
        let sent_at = self.random.chance(80).then_some(self.now);
        self.decide(|decision| {
            decision.outcome(AttemptEnded {
                place: command.place,
                operation: command.operation,
                round: command.round,
                attempt: command.attempt,
                outcome,
                verdict,
                instance: None,
                sent_at,
                retry_at: None,
            })
        });
    }

    fn withdraw(&mut self) {
        let due = due(&self.saga, self.now);
        let open: Vec<DueCommand> = due.commands.into_iter().chain(due.awaited).collect();
        if open.is_empty() {
            return;
        }
        let DueCommand {
            place,
            operation,
            round,
            attempt,
            ..
        } = open[self.random.index(open.len())];
        self.decide(|decision| {
            decision.withdrawn(place, operation, round, attempt, "SCHEDULE_TIMEOUT");
        });
    }

    fn send_signal(&mut self) {
        let (signal, json) = match self.random.below(4) {
            0..2 => ("go", "{}"),
            2 => ("more", r#"{"count":1}"#),
            _ => ("more", "{}"),
        };
        let dedupe_id = self
            .random
            .chance(30)
            .then(|| format!("d{}", self.random.below(3)));
        let signal = Signal {
            namespace: "default".into(),
            saga: self.saga.id(),
            signal: signal.into(),
            payload: payload(json),
            by: "bob".into(),
            dedupe_id,
        };
        let before = self.saga.facts();
        let result = self.decide(|decision| decision.signal(&signal));
        assert_eq!(result == Ok(true), self.saga.facts() > before);
    }

    fn operate(&mut self) {
        let places: Vec<Place> = self.saga.places().collect();
        if places.is_empty() {
            return;
        }
        let mut place = places[self.random.index(places.len())];
        // Most of the time where somebody was asked.
        let asked: Vec<_> = self
            .saga
            .incidents()
            .iter()
            .filter_map(|open| Some((open.incident.place?, open.incident.operation?)))
            .collect();
        let mut operation = match self.random.below(3) {
            0 => OperationKind::Compensate,
            1 => OperationKind::Query,
            _ => OperationKind::Forward,
        };
        if !asked.is_empty() && self.random.chance(80) {
            (place, operation) = asked[self.random.index(asked.len())];
        }
        if self.random.chance(10) {
            place.item = 0;
        }
        let target = Target {
            step: self.definition.step(place.step).id().into(),
            item: place.item,
            operation,
        };
        let output = payload(if self.random.chance(80) {
            r#"{"ok":true}"#
        } else {
            "3"
        });
        let input = self.random.chance(40).then(|| payload(r#"{"patched":1}"#));
        let verb = match self.random.below(41) {
            0..9 => Verb::Retry { target, input },
            9..15 => Verb::Skip { target },
            15..20 => Verb::Resolve { target, output },
            20..25 => Verb::ResolveAbsent { target },
            25 => Verb::Compensate,
            26..29 => Verb::Pause,
            29..39 => Verb::Resume,
            39 => Verb::ResolveSaga { output },
            _ => Verb::Terminate,
        };
        self.order(verb);
    }

    fn order(&mut self, verb: Verb) {
        let order = Order {
            namespace: "default".into(),
            saga: self.saga.id(),
            by: "ann".into(),
            reason: "because".into(),
            dry_run: false,
            verb,
        };
        let before = self.saga.facts();
        let result = self.decide(|decision| decision.order(&order));
        assert_eq!(
            result.is_ok(),
            self.saga.facts() > before,
            "a refusal records nothing, an act says so: {:?} {result:?}\n{}",
            order.verb,
            self.story()
        );
        if let Some(row) = self.rows.last().filter(|_| result.is_ok()) {
            assert!(
                matches!(row.facts[0], Fact::Operated(_)),
                "{}",
                self.story()
            );
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = due(&self.saga, self.now).wake_at.filter(|at| *at <= until) {
            assert!(at > self.now, "a time that has come is asked for again");
            self.now = at;
            self.decide(|decision| decision.wake());
        }
        self.now = until;
        self.decide(|decision| decision.wake());
    }

    /// Faults off, and operators who do their work: it has to end.
    fn settle(&mut self) {
        self.decide(|decision| decision.grant_turn());
        for _ in 0..400 {
            if self.saga.terminal() {
                return;
            }
            self.take_wishes();
            while !self.wishes.is_empty() {
                self.answer_child(true);
            }
            for _ in 0..20 {
                self.answer_command(false);
            }
            let asked: Vec<_> = self
                .saga
                .incidents()
                .iter()
                .map(|open| {
                    let incident = &open.incident;
                    (incident.place, incident.operation, incident.reason)
                })
                .collect();
            for (place, operation, reason) in asked {
                match (place, operation) {
                    // An output that has no value behind the point of no return never has one.
                    (None, _) if reason == IncidentReason::ExpressionFailed => {
                        let output = payload(r#"{"by":"hand"}"#);
                        self.order(Verb::ResolveSaga { output });
                        assert!(self.saga.terminal(), "{}", self.story());
                    }
                    (None, _) => self.order(Verb::Resume),
                    (Some(place), Some(operation)) => self.mend(place, operation),
                    (Some(place), None) if !self.saga.terminal() => {
                        self.mend(place, OperationKind::Compensate);
                    }
                    (Some(_), None) => {}
                }
            }
            for (signal, json) in [("go", "{}"), ("more", r#"{"count":1}"#)] {
                let signal = Signal {
                    namespace: "default".into(),
                    saga: self.saga.id(),
                    signal: signal.into(),
                    payload: payload(json),
                    by: "bob".into(),
                    dedupe_id: None,
                };
                let _ = self.decide(|decision| decision.signal(&signal));
            }
            self.pass(Duration::from_secs(60));
        }
        panic!("it never ends: {:?}\n{}", self.saga.state(), self.story());
    }

    /// Facts in any order, of this definition or of another, lead to some state, and never to a panic.
    fn shake(&mut self, others: &[Arc<Definition>]) {
        let mut rows = self.rows.clone();
        for at in (2..rows.len()).rev() {
            let with = 1 + self.random.index(at);
            rows.swap(at, with);
        }
        for definition in others {
            if let Ok(saga) = Saga::replay(self.saga.id(), Arc::clone(definition), &rows) {
                let _ = (due(&saga, self.now), invariants::check(&saga));
            }
        }
    }

    /// An operator finds something that is allowed.
    fn mend(&mut self, place: Place, operation: OperationKind) {
        let target = Target {
            step: self.definition.step(place.step).id().into(),
            item: place.item,
            operation,
        };
        let status = self.saga.operation(place, operation);
        let never_sent = operation == OperationKind::Forward && status.attempt == 0;
        let pivot = self.definition.pivot() == Some(place.step);
        let verb = if never_sent && !pivot {
            Verb::Skip { target }
        } else if status.phase == Phase::Waiting {
            return;
        } else {
            Verb::Resolve {
                target,
                output: payload(r#"{"ok":true}"#),
            }
        };
        self.order(verb);
    }
}

fn ended(outcome: ChildOutcome) -> ChildState {
    ChildState::Ended(outcome)
}

/// Sagas of each definition; a long campaign is a larger number.
const SAGAS: u64 = 400;

#[test]
fn whatever_comes_every_invariant_holds_and_every_saga_can_be_ended() {
    let mut marks = BTreeSet::new();
    let definitions = [MANY, PARALLEL, SHORT].map(definition);
    for (kind, definition) in definitions.iter().enumerate() {
        for seed in 0..SAGAS {
            let seed = seed * 3 + u64::try_from(kind).expect("few");
            let mut wild = Wild::new(definition, seed);
            let turns = 20 + wild.random.below(120);
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for _ in 0..turns {
                    wild.turn();
                }
                wild.settle();
                wild.shake(&definitions);
            }));
            if let Err(panic) = run {
                eprintln!("seed {seed} of definition {kind}");
                std::panic::resume_unwind(panic);
            }
            marks.append(&mut wild.marks);
        }
    }
    for mark in MARKS {
        assert!(marks.contains(mark), "no saga met {mark}: {marks:?}");
    }
}
