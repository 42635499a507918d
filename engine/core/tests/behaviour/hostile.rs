//! Journals that no saga ever wrote: whatever the facts are, folding them gives a state or a reason, and what is asked of
//! that state, or done to it, never panics (F51: one bad history must not take its shard with it).

use std::sync::Arc;

use amends_core::fact::{
    AbortReason, Act, AttemptEnded, ChildOutcome, ChildRequested, Fact, Incident, IncidentReason,
    Operated, SignalReceived, Started,
};
use amends_core::journal::{JournalRow, SagaState};
use amends_core::saga::Saga;
use amends_core::saga::decide::Decision;
use amends_core::saga::due;
use amends_core::shard::{
    BatchLimits, ChildAnswer, ChildState, Order, Shard, Signal, Target, Verb,
};
use amends_core::{OperationKind, Outcome, Place, SagaId, ShardId, Time, Verdict};
use amends_definitions::{Definition, DefinitionHash, StepIndex};

use crate::pump::{Barrier, Pump, definition, incarnation, payload};
use crate::world::Random;

const EVERYTHING: &str = r#"
apiVersion: amends/v1
name: everything
timeout: 1h
signals: {go: {}}
steps:
  - {id: call, call: p.call, query: p.asked, compensate: {call: p.undo}}
  - {id: many, foreach: {in: input.items, maxItems: 4}, call: p.many, compensate: {call: p.undo_many}}
  - {id: wait, wait: {signal: go, timeout: 1m, onTimeout: park}}
  - {id: nap, sleep: 1m}
  - {id: kid, saga: {name: kid}}
  - {id: kids, foreach: {in: input.items, maxItems: 4}, saga: {name: kid}}
  - {id: say, emit: {type: said, data: {n: 1}}}
  - {id: stop, when: has(input.stop), fail: {code: STOPPED, message: enough}}
  - {id: pay, kind: pivot, call: p.pay, query: p.paid}
  - {id: ship, kind: retriable, call: p.ship}
"#;

struct Hostile {
    random: Random,
    steps: u64,
}

impl Hostile {
    fn place(&mut self) -> Place {
        let step = u16::try_from(self.random.below(self.steps)).expect("few");
        let item = u32::try_from(self.random.below(4)).expect("few");
        Place::item(
            StepIndex(step),
            if self.random.chance(50) { 0 } else { item },
        )
    }

    fn operation(&mut self) -> OperationKind {
        use OperationKind::{Compensate, Forward, Query};
        [Forward, Forward, Compensate, Query][self.random.index(4)]
    }

    fn small(&mut self) -> u32 {
        if self.random.chance(3) {
            return u32::MAX;
        }
        u32::try_from(self.random.below(3)).expect("few")
    }

    fn time(&mut self) -> Time {
        let micros = [i64::MIN, 0, BEGIN, BEGIN + 60_000_000, i64::MAX];
        Time::from_micros(micros[self.random.index(micros.len())])
    }

    fn outcome(&mut self) -> Outcome {
        let (code, message) = ("X".to_owned(), "x".to_owned());
        match self.random.below(9) {
            0 | 1 => Outcome::Succeeded {
                output: payload("{}"),
            },
            2 => Outcome::Unusable { code, message },
            3 => Outcome::Rejected { code, message },
            4 => Outcome::Failed {
                code,
                message,
                retry_after: None,
            },
            5 => Outcome::Unknown { code, message },
            6 => Outcome::NothingToUndo,
            7 => Outcome::Superseded,
            _ => Outcome::Absent,
        }
    }

    fn ended(&mut self) -> AttemptEnded {
        AttemptEnded {
            place: self.place(),
            operation: self.operation(),
            round: self.small(),
            attempt: self.small(),
            outcome: self.outcome(),
            verdict: self.random.chance(20).then_some(Verdict::Duplicate),
            instance: None,
            sent_at: self.random.chance(50).then(|| self.time()),
            retry_at: self.random.chance(50).then(|| self.time()),
        }
    }

    fn child_outcome(&mut self) -> ChildOutcome {
        let (code, message) = ("X".to_owned(), "x".to_owned());
        match self.random.below(4) {
            0 => ChildOutcome::Completed {
                output: payload("{}"),
            },
            1 => ChildOutcome::Compensated { code, message },
            2 => ChildOutcome::Refused { code, message },
            _ => ChildOutcome::Terminated { message },
        }
    }

    fn act(&mut self) -> Act {
        let (place, operation) = (self.place(), self.operation());
        match self.random.below(11) {
            0 => Act::Retry {
                place,
                operation,
                input: None,
            },
            1 => Act::Retry {
                place,
                operation,
                input: Some(payload("{}")),
            },
            2 => Act::Skip { place },
            3 => Act::Resolve {
                place,
                operation,
                output: payload("{}"),
            },
            4 => Act::ResolveAbsent { place },
            5 => Act::Compensate,
            6 => Act::Pause,
            7 => Act::Resume,
            8 => Act::ResolveSaga,
            9 => Act::ResolveNotUndone { place },
            _ => Act::Terminate,
        }
    }

    fn fact(&mut self) -> Fact {
        let (place, operation) = (self.place(), self.operation());
        match self.random.below(27) {
            0 => Fact::TurnGranted,
            1 => Fact::Skipped { step: place.step },
            2 => Fact::ItemsListed {
                step: place.step,
                items: payload(["[]", "[1,2,3]", "7"][self.random.index(3)]),
                keys: vec!["1".into(); self.random.index(4)],
            },
            3 | 4 => Fact::Scheduled {
                place,
                operation,
                round: self.small(),
                input: payload("{}"),
            },
            5 => Fact::StepFailed {
                place,
                operation,
                code: "X".into(),
                message: "x".into(),
            },
            6..=8 => Fact::AttemptEnded(self.ended()),
            9 => Fact::Withdrawn {
                place,
                operation,
                round: self.small(),
                attempt: self.small(),
                code: "X".into(),
            },
            10..=18 => self.fact_of_waits_and_children(),
            _ => self.fact_of_ends(),
        }
    }

    fn fact_of_waits_and_children(&mut self) -> Fact {
        let (place, operation) = (self.place(), self.operation());
        match self.random.below(9) {
            0 => Fact::SignalAwaited {
                place,
                until: self.random.chance(50).then(|| self.time()),
            },
            1 => Fact::SignalReceived(SignalReceived {
                number: self.small(),
                signal: "go".into(),
                payload: payload("{}"),
                by: "x".into(),
                dedupe_id: None,
            }),
            2 => Fact::SignalConsumed {
                place,
                number: self.small(),
            },
            3 => Fact::SignalUnconsumed {
                number: self.small(),
            },
            4 => Fact::Sleeping {
                place,
                until: self.time(),
            },
            5 => Fact::Slept { place },
            6 => Fact::ChildRequested(ChildRequested {
                place,
                round: self.small(),
                name: "kid".into(),
                key: None,
                input: payload("{}"),
            }),
            7 => Fact::ChildPinned {
                place,
                round: self.small(),
                child: SagaId::new(Time::EPOCH, ShardId(5), 9),
                revision: 1,
                hash: DefinitionHash([0; 32]),
            },
            _ => Fact::ChildEnded {
                place,
                round: self.small(),
                operation,
                outcome: self.child_outcome(),
            },
        }
    }

    fn fact_of_ends(&mut self) -> Fact {
        let (place, operation) = (self.place(), self.operation());
        match self.random.below(8) {
            0 => Fact::Continued {
                place,
                output: None,
            },
            1 => Fact::AbortDecided(AbortReason::DeadlineExceeded),
            2 => Fact::Settling {
                place,
                until: self.time(),
            },
            3 => Fact::LateResult {
                ended: self.ended(),
                leak: self.random.chance(50),
            },
            4 => Fact::IncidentOpened(Incident {
                place: self.random.chance(70).then_some(place),
                operation: self.random.chance(70).then_some(operation),
                reason: IncidentReason::ALL[self.random.index(17)],
                code: None,
                message: "x".into(),
            }),
            5 => Fact::IncidentClosed {
                place: Some(place),
                operation: Some(operation),
            },
            6 => Fact::Operated(Operated {
                by: "x".into(),
                reason: "x".into(),
                act: self.act(),
            }),
            _ => match self.random.below(8) {
                0 => Fact::Completed {
                    output: payload("{}"),
                },
                1 => Fact::Compensated,
                2 => Fact::DeadlinePassed,
                3 => Fact::CancelDropped,
                _ => Fact::Emitted {
                    place,
                    event_type: "said".into(),
                    subject: None,
                    data: payload("{}"),
                },
            },
        }
    }

    fn rows(&mut self, id: SagaId, started: Started) -> Vec<JournalRow> {
        let mut facts = vec![Fact::Started(started)];
        for _ in 0..self.random.below(25) {
            facts.push(self.fact());
        }
        let at = Time::from_micros(BEGIN);
        vec![JournalRow {
            position: 2,
            saga: id,
            at,
            facts,
        }]
    }

    /// Does something to a saga.
    fn disturb(&mut self, saga: &mut Saga, definition: &Definition, now: Time) {
        let barrier = Barrier(self.random.chance(50));
        let what = self.random.below(8);
        let ended = self.ended();
        let verb = self.verb(definition);
        let (place, operation) = (self.place(), self.operation());
        let state = if self.random.chance(50) {
            ChildState::Ended(self.child_outcome())
        } else {
            ChildState::UnderWay
        };
        let (round, attempt) = (self.small(), self.small());
        let namespace: Arc<str> = "default".into();
        let id = saga.id();
        let mut decision = Decision::new(saga, now, &barrier);
        match what {
            0 => decision.wake(),
            1 => {
                decision.outcome(ended);
            }
            2 => drop(decision.cancel("x", "x")),
            3 => decision.undo("X", "x"),
            4 => decision.grant_turn(),
            5 => {
                let order = Order {
                    namespace,
                    saga: id,
                    by: "x".into(),
                    reason: "x".into(),
                    dry_run: false,
                    verb,
                };
                drop(decision.order(&order));
            }
            6 => {
                decision.withdrawn(place, operation, round, attempt, "X");
                let signal = Signal {
                    namespace,
                    saga: id,
                    signal: "go".into(),
                    payload: payload("{}"),
                    by: "x".into(),
                    dedupe_id: None,
                };
                drop(decision.signal(&signal));
            }
            _ => decision.child_answered(&ChildAnswer {
                parent: amends_core::fact::Parent {
                    saga: id,
                    step: definition.step(place.step).id().into(),
                    item: place.item,
                    round,
                    depth: 1,
                },
                state,
            }),
        }
    }

    fn verb(&mut self, definition: &Definition) -> Verb {
        let place = self.place();
        let target = Target {
            step: definition.step(place.step).id().into(),
            item: place.item,
            operation: self.operation(),
        };
        match self.random.below(9) {
            0 => Verb::Retry {
                target,
                input: self.random.chance(50).then(|| payload("{}")),
            },
            1 => Verb::Skip { target },
            2 => Verb::Resolve {
                target,
                output: payload("{}"),
            },
            3 => Verb::ResolveAbsent { target },
            4 => Verb::Compensate,
            5 => Verb::Pause,
            6 => Verb::Resume,
            7 => Verb::ResolveSaga {
                output: payload("{}"),
            },
            _ => Verb::Terminate,
        }
    }
}

const BEGIN: i64 = 1_763_712_000_000_000;

fn started(definition: &Arc<Definition>) -> Started {
    Started {
        namespace: "default".into(),
        definition: definition.name().into(),
        revision: 1,
        hash: definition.hash(),
        key: None,
        ordering_key: None,
        concurrency_max: None,
        parent: None,
        input: payload(r#"{"items":[1,2,3]}"#),
        traceparent: None,
        tracestate: None,
    }
}

#[test]
fn no_journal_makes_a_saga_panic() {
    let definition = definition(EVERYTHING);
    let id = SagaId::new(Time::from_micros(BEGIN), ShardId(3), 1);
    let steps = u64::try_from(definition.steps().len()).expect("few");
    let mut read = 0;
    for seed in 0..20_000 {
        let random = Random(seed);
        let mut hostile = Hostile { random, steps };
        let rows = hostile.rows(id, started(&definition));
        let Ok(mut saga) = Saga::replay(id, Arc::clone(&definition), &rows) else {
            continue;
        };
        read += 1;
        let mut now = Time::from_micros(BEGIN);
        for _ in 0..4 {
            for command in due(&saga, now).commands {
                let action = saga.action(command.place.step, command.operation);
                assert!(action.is_some(), "seed {seed}: nobody can do {command:?}");
            }
            // Whatever it says of a state that no saga can be in: it says it.
            drop(amends_core::invariants::check(&saga));
            hostile.disturb(&mut saga, &definition, now);
            now = now + std::time::Duration::from_secs(45);
        }
    }
    assert!(read > 1_000, "{read}");
}

#[test]
fn a_step_that_calls_nobody_and_has_an_attempt_makes_its_history_unreadable() {
    let definition = definition(EVERYTHING);
    let mut pump = Pump::new();
    let saga = pump.start(&definition, r#"{"items":[]}"#);
    let position = pump.journal.last().expect("it began").position + 1;
    pump.journal.push(JournalRow {
        position,
        saga,
        at: pump.now,
        facts: vec![Fact::Scheduled {
            place: Place::from(StepIndex(2)),
            operation: OperationKind::Forward,
            round: 0,
            input: payload("{}"),
        }],
    });
    let history = pump.history(saga);
    pump.shard = Shard::new(ShardId(3), incarnation(), position + 1);
    pump.shard.recover(history, pump.now);
    let batch = pump
        .shard
        .prepare(pump.now, BatchLimits::default(), &pump.barrier)
        .expect("it is parked");
    let [Fact::IncidentOpened(incident)] = &batch.rows[0].facts[..] else {
        panic!("{:?}", batch.rows);
    };
    assert_eq!(incident.reason, IncidentReason::RecordUnreadable);
    assert_eq!(batch.updates[0].state, SagaState::Parked);
}
