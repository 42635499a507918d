//! A saga on its way into a state, and the inputs by hand.

use std::sync::Arc;
use std::time::Duration;

use amends_core::fact::{AttemptEnded, ChildOutcome, Fact, Parent, Started};
use amends_core::invariants;
use amends_core::saga::Saga;
use amends_core::saga::decide::{Decision, start};
use amends_core::shard::{ChildAnswer, ChildState, Order, Signal, Surroundings, Target, Verb};
use amends_core::{OperationKind, Outcome, Place, SagaId, ShardId, Time};
use amends_definitions::{ActionName, Definition, Payload};

struct NoBarrier;

impl Surroundings for NoBarrier {
    fn stands_behind_barrier(&self, _: &str, _: &ActionName) -> bool {
        false
    }
}

/// A saga on its way through the table.
#[derive(Clone)]
pub struct Cell {
    pub saga: Saga,
    pub now: Time,
}

/// The place and the operation that a state is about.
pub type About = (&'static str, u32, OperationKind);

pub const FORWARD: OperationKind = OperationKind::Forward;
pub const COMPENSATE: OperationKind = OperationKind::Compensate;
pub const QUERY: OperationKind = OperationKind::Query;

impl Cell {
    pub fn new(definition: &Arc<Definition>, turn_granted: bool) -> Self {
        let now = Time::from_micros(1_763_712_000_000_000);
        let started = Started {
            namespace: "default".into(),
            definition: definition.name().into(),
            revision: 1,
            hash: definition.hash(),
            key: None,
            ordering_key: Some("k".into()),
            concurrency_max: None,
            parent: None,
            input: payload(r#"{"who":"k","items":[1,2,3]}"#),
            traceparent: None,
            tracestate: None,
        };
        let id = SagaId::new(now, ShardId(1), 1);
        let definition = Arc::clone(definition);
        let (saga, _) = start(id, definition, started, now, &NoBarrier, turn_granted);
        Self { saga, now }
    }

    pub fn decide<T>(&mut self, decide: impl FnOnce(&mut Decision<'_>) -> T) -> (T, Vec<Fact>) {
        let mut decision = Decision::new(&mut self.saga, self.now, &NoBarrier);
        let result = decide(&mut decision);
        let facts = decision.into_facts();
        assert_eq!(invariants::check(&self.saga), Ok(()), "{facts:#?}");
        (result, facts)
    }

    pub fn place(&self, step: &str, item: u32) -> Place {
        let step = self.saga.definition().step_index(step).expect("a step");
        Place::item(step, item)
    }

    pub fn ended(&self, about: About, outcome: Outcome) -> AttemptEnded {
        let place = self.place(about.0, about.1);
        let operation = self.saga.operation(place, about.2);
        AttemptEnded {
            place,
            operation: about.2,
            round: operation.round,
            attempt: operation.attempt,
            outcome,
            verdict: None,
            instance: None,
            sent_at: Some(self.now),
            retry_at: None,
        }
    }

    pub fn outcome(
        mut self,
        step: &'static str,
        item: u32,
        kind: OperationKind,
        outcome: Outcome,
    ) -> Self {
        let ended = self.ended((step, item, kind), outcome);
        self.decide(|decision| decision.outcome(ended));
        self
    }

    pub fn forward(self, step: &'static str, outcome: Outcome) -> Self {
        self.outcome(step, 0, FORWARD, outcome)
    }

    pub fn pass(mut self, seconds: u64) -> Self {
        self.now = self.now + Duration::from_secs(seconds);
        self.decide(|decision| decision.wake());
        self
    }

    pub fn signal(mut self) -> Self {
        let signal = signal("go", Some("d1"));
        let (result, _) = self.decide(|decision| decision.signal(&signal));
        assert_eq!(result, Ok(true));
        self
    }

    pub fn order(mut self, verb: Verb) -> Self {
        let (result, _) = self.decide(|decision| decision.order(&order(verb)));
        result.expect("the act is accepted");
        self
    }

    pub fn child(mut self, state: ChildState) -> Self {
        let answer = self.child_answer(state);
        self.decide(|decision| decision.child_answered(&answer));
        self
    }

    pub fn cancel(mut self) -> Self {
        let (result, _) = self.decide(|decision| decision.cancel("ann", "why"));
        result.expect("it can be cancelled");
        self
    }

    pub fn child_answer(&self, state: ChildState) -> ChildAnswer {
        let parent = Parent {
            saga: self.saga.id(),
            step: "kid".into(),
            item: 0,
            round: 0,
            depth: 1,
        };
        ChildAnswer { parent, state }
    }

    pub fn items(self) -> Self {
        let mut cell = self.forward("hold", succeeded());
        for item in 1..=3 {
            cell = cell.outcome("each", item, FORWARD, succeeded());
        }
        cell
    }

    pub fn slept(self) -> Self {
        self.items().signal().pass(3_600)
    }

    pub fn paying(self) -> Self {
        self.slept().child(pinned()).child(completed())
    }

    /// Two attempts fail: the budget is spent.
    pub fn spent(self, step: &'static str, item: u32, kind: OperationKind) -> Self {
        self.outcome(step, item, kind, failed())
            .pass(60)
            .outcome(step, item, kind, failed())
    }
}

pub fn payload(json: &'static str) -> Payload {
    Payload::check(json.as_bytes().into()).expect("JSON")
}

pub fn succeeded() -> Outcome {
    Outcome::Succeeded {
        output: payload(r#"{"ok":true}"#),
    }
}

pub fn unusable() -> Outcome {
    Outcome::Unusable {
        code: "OUTPUT_TOO_LARGE".into(),
        message: "too large".into(),
    }
}

pub fn rejected(code: &str) -> Outcome {
    Outcome::Rejected {
        code: code.into(),
        message: "no".into(),
    }
}

pub fn failed() -> Outcome {
    Outcome::Failed {
        code: "BROKEN".into(),
        message: "it broke".into(),
        retry_after: None,
    }
}

pub fn signal(id: &str, dedupe_id: Option<&str>) -> Signal {
    Signal {
        namespace: "default".into(),
        saga: SagaId::new(Time::EPOCH, ShardId(1), 1),
        signal: id.into(),
        payload: payload("{}"),
        by: "bob".into(),
        dedupe_id: dedupe_id.map(str::to_owned),
    }
}

pub fn order(verb: Verb) -> Order {
    Order {
        namespace: "default".into(),
        saga: SagaId::new(Time::EPOCH, ShardId(1), 1),
        by: "ann".into(),
        reason: "why".into(),
        dry_run: false,
        verb,
    }
}

pub fn target((step, item, operation): About) -> Target {
    Target {
        step: step.into(),
        item,
        operation,
    }
}

pub fn pinned() -> ChildState {
    ChildState::Pinned {
        child: SagaId::new(Time::EPOCH, ShardId(2), 7),
        revision: 1,
        hash: amends_definitions::DefinitionHash([7; 32]),
    }
}

pub fn completed() -> ChildState {
    ChildState::Ended(ChildOutcome::Completed {
        output: payload("{}"),
    })
}

pub fn compensated() -> ChildState {
    ChildState::Ended(ChildOutcome::Compensated {
        code: "NO".into(),
        message: "no".into(),
    })
}

pub fn refused() -> ChildState {
    ChildState::Ended(ChildOutcome::Refused {
        code: "NONE".into(),
        message: "none".into(),
    })
}

pub fn not_found() -> ChildState {
    ChildState::Refused {
        code: "NONE".into(),
        message: "none".into(),
    }
}

pub fn terminated() -> ChildState {
    ChildState::Ended(ChildOutcome::Terminated {
        message: "given up".into(),
    })
}
