//! Wide sagas: many items, many steps beside one another or in a row, forward and back. That every place gets its turn once
//! and writes as much as any other; and, in a release build, that what a place costs does not depend on how many there are:
//! `AMENDS_MEASURE=1 cargo test --release -p amends-core --test wide -- --nocapture` prints it. Deliberately not here: what
//! is decided.

#![expect(
    clippy::disallowed_types,
    reason = "it measures what the core takes, from outside"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_core::fact::Started;
use amends_core::shard::{
    BatchLimits, Command, Input, Output, Report, Shard, Start, Surroundings, Token,
};
use amends_core::{
    AttemptName, Incarnation, OperationKind, OperationName, Outcome, SagaId, ShardId, Time,
};
use amends_definitions::{ActionName, Definition, Payload};

struct NoBarrier;

impl Surroundings for NoBarrier {
    fn stands_behind_barrier(&self, _: &str, _: &ActionName) -> bool {
        false
    }
}

/// A saga of so many places, and one behind all of them.
struct Shape {
    what: &'static str,
    definition: fn(usize) -> Arc<Definition>,
    /// So many items; none if its places are steps.
    items: bool,
    most: usize,
    /// So many answers come together: where many are under way, a batch has several, and goes through those under way once.
    together: usize,
}

const SHAPES: [Shape; 4] = [
    Shape {
        what: "items, 10 at a time",
        definition: |_| items(10),
        items: true,
        most: 1_000,
        together: 1,
    },
    Shape {
        what: "items, all at a time",
        definition: items,
        items: true,
        most: 1_000,
        together: 10,
    },
    Shape {
        what: "steps, one after another",
        definition: |count| steps(count, |nth| format!("[s{}]", nth - 1).replace("[s0]", "[]")),
        items: false,
        most: 499,
        together: 1,
    },
    Shape {
        what: "steps, all at a time",
        definition: |count| steps(count, |_| "[]".to_owned()),
        items: false,
        most: 499,
        together: 10,
    },
];

/// What one saga came to.
struct Run {
    answers: usize,
    took: Duration,
    facts: u32,
    undone: usize,
    state: &'static str,
}

fn definition(steps: &str) -> Arc<Definition> {
    let source = format!("apiVersion: amends/v1\nname: wide\nsteps:\n{steps}");
    let checked = amends_definitions::check(source.as_bytes());
    Arc::new(
        checked
            .definition
            .unwrap_or_else(|| panic!("{:?}", checked.diagnostics)),
    )
}

fn items(parallel: usize) -> Arc<Definition> {
    definition(&format!(
        "  - {{id: each, foreach: {{in: input.items, as: one, maxParallel: {parallel}}}, call: p.do, \
         input: {{n: '${{{{ one }}}}', of: '${{{{ saga.id }}}}'}}, compensate: {{call: p.undo}}}}\n  \
         - {{id: last, call: p.last, compensate: {{none: nothing}}}}\n"
    ))
}

fn steps(count: usize, needs: impl Fn(usize) -> String) -> Arc<Definition> {
    let mut text = String::new();
    let mut all = Vec::new();
    for nth in 1..=count {
        text.push_str(&format!(
            "  - {{id: s{nth}, needs: {}, call: p.do, input: {{n: '${{{{ input.n }}}}'}}, compensate: {{call: p.undo}}}}\n",
            needs(nth)
        ));
        all.push(format!("s{nth}"));
    }
    text.push_str(&format!(
        "  - {{id: last, needs: [{}], call: p.last, compensate: {{none: nothing}}}}\n",
        all.join(", ")
    ));
    definition(&text)
}

fn payload(json: String) -> Payload {
    Payload::check(json.into_bytes().into()).expect("JSON")
}

impl Shape {
    fn start(&self, id: SagaId, count: usize) -> Start {
        let definition = (self.definition)(count);
        let list: Vec<String> = (1..=if self.items { count } else { 0 })
            .map(|nth| nth.to_string())
            .collect();
        let started = Started {
            namespace: "default".into(),
            definition: definition.name().into(),
            revision: 1,
            hash: definition.hash(),
            key: None,
            ordering_key: None,
            concurrency_max: None,
            parent: None,
            input: payload(format!("{{\"n\":1,\"items\":[{}]}}", list.join(","))),
            traceparent: None,
            tracestate: None,
        };
        Start {
            id,
            started,
            definition,
            key: None,
            existing: None,
        }
    }

    /// Runs a saga whose every call succeeds but that of `last`, if it fails.
    fn run(&self, count: usize, last_fails: bool) -> Run {
        let now = Time::from_micros(1_763_712_000_000_000);
        let id = SagaId::new(now, ShardId(3), 1);
        let start = Box::new(self.start(id, count));
        let mut shard = Shard::new(ShardId(3), Incarnation(uuid::Uuid::from_u128(1)), 1);
        let begin = Instant::now();
        let token = Token(1);
        shard.handle(Input::Start { token, start }, now);
        let mut calls: VecDeque<Arc<Command>> = VecDeque::new();
        let mut seen = Run {
            answers: 0,
            took: Duration::ZERO,
            facts: 0,
            undone: 0,
            state: "",
        };
        loop {
            commit(&mut shard, (id, now), &mut seen);
            for output in shard.take_outputs() {
                if let Output::Send(command) = output {
                    let attempt = name(&command);
                    shard.handle(Input::Sent { attempt }, now);
                    calls.push_back(command);
                }
            }
            if calls.is_empty() {
                break;
            }
            for command in calls.drain(..self.together.min(calls.len())) {
                seen.undone += usize::from(command.key.operation == OperationKind::Compensate);
                seen.answers += 1;
                let fails = last_fails && &*command.key.step == "last";
                shard.handle(answer(&command, fails), now);
            }
        }
        seen.took = begin.elapsed();
        seen
    }
}

fn commit(shard: &mut Shard, (id, now): (SagaId, Time), seen: &mut Run) {
    while shard.is_ready(now) {
        let batch = shard.prepare(now, BatchLimits::default(), &NoBarrier);
        if batch.is_some() {
            if let Some(saga) = shard.saga(id) {
                (seen.facts, seen.state) = (saga.facts(), saga.state().as_str());
            }
            shard.committed();
        }
    }
}

fn name(command: &Command) -> AttemptName {
    let key = &command.key;
    AttemptName {
        saga: key.saga,
        name: OperationName {
            step: key.step.clone(),
            item: key.item,
            round: key.round,
            operation: key.operation,
        },
        attempt: command.attempt,
    }
}

fn answer(command: &Command, fails: bool) -> Input {
    let outcome = if fails {
        Outcome::Rejected {
            code: "NO".into(),
            message: "no".into(),
        }
    } else {
        Outcome::Succeeded {
            output: payload(r#"{"ok":true}"#.to_owned()),
        }
    };
    Input::Outcome {
        token: None,
        report: Report {
            namespace: command.key.namespace.clone(),
            attempt: name(command),
            epoch: Some(command.epoch),
            outcome,
            verdict: None,
            instance: None,
            serves: [command.action.clone()].into(),
        },
    }
}

/// Facts of a saga without what its places add: its start, the list of its items, its last step, its end.
fn facts_beside(shape: &Shape) -> usize {
    4 + usize::from(shape.items)
}

#[test]
fn every_place_of_a_wide_saga_gets_its_turn_once() {
    for shape in &SHAPES {
        for count in [10, 100] {
            let what = format!("{count} {}", shape.what);
            let run = shape.run(count, false);
            assert_eq!((run.state, run.answers), ("completed", count + 1), "{what}");
            let facts = 2 * count + facts_beside(shape);
            assert_eq!(usize::try_from(run.facts), Ok(facts), "{what}");
            let run = shape.run(count, true);
            assert_eq!((run.state, run.undone), ("compensated", count), "{what}");
            assert_eq!(run.answers, 2 * count + 1, "{what}");
            // The decision to compensate is one more.
            let facts = 4 * count + facts_beside(shape) + 1;
            assert_eq!(usize::try_from(run.facts), Ok(facts), "{what}");
        }
    }
}

#[test]
fn of_many_parked_items_a_batch_tells_what_is_new() {
    let shape = Shape {
        what: "parked items",
        definition: |count| {
            definition(&format!(
                "  - {{id: each, foreach: {{in: input.items, as: one, maxParallel: {count}}}, call: p.do, \
                 compensate: {{call: p.undo}}, onError: [{{then: park}}]}}\n"
            ))
        },
        items: true,
        most: 40,
        together: 1,
    };
    let now = Time::from_micros(1_763_712_000_000_000);
    let id = SagaId::new(now, ShardId(3), 1);
    let mut shard = Shard::new(ShardId(3), Incarnation(uuid::Uuid::from_u128(1)), 1);
    let (token, start) = (Token(1), Box::new(shape.start(id, shape.most)));
    shard.handle(Input::Start { token, start }, now);
    let mut calls: VecDeque<Arc<Command>> = VecDeque::new();
    let (mut opened, mut told) = (Vec::new(), Vec::new());
    loop {
        let batch = shard.prepare(now, BatchLimits::default(), &NoBarrier);
        let incidents = batch.map_or_else(Vec::new, |batch| batch.incidents_opened);
        opened.extend(incidents.iter().map(|incident| incident.name.number));
        shard.committed();
        for output in shard.take_outputs() {
            match output {
                Output::Send(command) => calls.push_back(command),
                Output::Changed {
                    settled: Some(saga),
                    incidents_before,
                    ..
                } => {
                    let numbers = saga.incidents().iter().map(|open| open.number);
                    told.extend(numbers.filter(|number| *number > incidents_before));
                }
                _ => {}
            }
        }
        let Some(command) = calls.pop_front() else {
            break;
        };
        shard.handle(answer(&command, true), now);
    }
    let each: Vec<u32> = (1..=40).collect();
    assert_eq!((&opened, &told), (&each, &each));
}

/// The least of several: other work on the machine falls into some of them.
fn cost_of_a_place(shape: &Shape, count: usize, last_fails: bool) -> f64 {
    let runs = (0..5).map(|_| shape.run(count, last_fails).took.as_secs_f64());
    runs.fold(f64::INFINITY, f64::min) * 1e6 / f64::from(u32::try_from(count).expect("few"))
}

#[test]
#[cfg_attr(debug_assertions, ignore = "each decision checks the whole saga")]
fn what_a_place_costs_does_not_depend_on_how_many_there_are() {
    let mut dear = Vec::new();
    for shape in &SHAPES {
        for (way, last_fails) in [("forward", false), ("there and back", true)] {
            let cost = |count| cost_of_a_place(shape, count, last_fails);
            let (few, some, most) = (cost(10), cost(100), cost(shape.most));
            let line = format!(
                "{:<26} {way:<15} {few:>6.1} us each of 10, {some:>6.1} of 100, {most:>6.1} of {}",
                shape.what, shape.most
            );
            if std::env::var_os("AMENDS_MEASURE").is_some() {
                println!("{line}");
            }
            if most > 3.0 * some {
                dear.push(line);
            }
        }
    }
    assert!(dear.is_empty(), "{dear:#?}");
}
