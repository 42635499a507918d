//! What a three-step saga costs the core, from its start to its end: decided, evolved, and asked what is due; and what it
//! costs to fold its facts again. Deliberately not here: records and stores.

use std::hint::black_box;
use std::sync::Arc;

use amends_core::fact::Started;
use amends_core::journal::JournalRow;
use amends_core::saga::{Saga, due};
use amends_core::shard::{
    BatchLimits, Command, Input, Output, Report, Shard, Start, Surroundings, Token,
};
use amends_core::{AttemptName, Incarnation, OperationName, Outcome, SagaId, ShardId, Time};
use amends_definitions::{ActionName, Definition, Payload};
use criterion::{Criterion, criterion_group, criterion_main};

const THREE: &str = r#"
apiVersion: amends/v1
name: three
steps:
  - {id: a, call: p.a, input: {note: "${{ input.note }}"}, compensate: {call: p.undo}}
  - {id: b, call: p.b, input: {note: "${{ steps.a.output.note }}"}, compensate: {call: p.undo}}
  - {id: c, call: p.c, input: {note: "${{ steps.b.output.note }}"}, compensate: {call: p.undo}}
"#;

struct NoBarrier;

impl Surroundings for NoBarrier {
    fn stands_behind_barrier(&self, _: &str, _: &ActionName) -> bool {
        false
    }
}

struct Run {
    shard: Shard,
    now: Time,
    definition: Arc<Definition>,
    note: Payload,
    number: u64,
}

impl Run {
    fn new() -> Self {
        let definition = amends_definitions::check(THREE.as_bytes()).definition;
        Self {
            shard: Shard::new(ShardId(3), Incarnation(uuid::Uuid::nil()), 1),
            now: Time::from_micros(1_763_712_000_000_000),
            definition: Arc::new(definition.expect("it is sound")),
            note: Payload::trusted(
                format!("{{\"note\":\"{}\"}}", "x".repeat(188))
                    .into_bytes()
                    .into(),
            ),
            number: 0,
        }
    }

    /// One saga; its id and rows.
    fn saga(&mut self) -> (SagaId, Vec<JournalRow>) {
        self.number += 1;
        let id = SagaId::new(self.now, self.shard.id(), self.number);
        let started = Started {
            namespace: "default".into(),
            definition: "three".into(),
            revision: 1,
            hash: self.definition.hash(),
            key: None,
            ordering_key: None,
            concurrency_max: None,
            parent: None,
            input: self.note.clone(),
            traceparent: None,
            tracestate: None,
        };
        let start = Box::new(Start {
            id,
            started,
            definition: Arc::clone(&self.definition),
            key: None,
            existing: None,
        });
        let token = Token(self.number);
        self.shard.handle(Input::Start { token, start }, self.now);
        let mut rows = Vec::new();
        let mut command = self.commit(&mut rows);
        while let Some(sent) = command {
            self.answer(&sent);
            command = self.commit(&mut rows);
        }
        (id, rows)
    }

    fn answer(&mut self, command: &Command) {
        let key = &command.key;
        let attempt = AttemptName {
            saga: key.saga,
            name: OperationName {
                step: key.step.clone(),
                item: key.item,
                round: key.round,
                operation: key.operation,
            },
            attempt: command.attempt,
        };
        let report = Report {
            namespace: "default".into(),
            attempt: attempt.clone(),
            epoch: Some(command.epoch),
            outcome: Outcome::Succeeded {
                output: self.note.clone(),
            },
            verdict: None,
            instance: Some("p-1".into()),
            serves: [command.action.clone()].into(),
        };
        self.shard.handle(Input::Sent { attempt }, self.now);
        let token = Some(Token(0));
        self.shard
            .handle(Input::Outcome { token, report }, self.now);
    }

    /// Commits what is decided; the command that comes of it.
    fn commit(&mut self, rows: &mut Vec<JournalRow>) -> Option<Command> {
        let limits = BatchLimits::default();
        while let Some(batch) = self.shard.prepare(self.now, limits, &NoBarrier) {
            rows.extend(batch.rows);
            self.shard.committed();
        }
        let outputs = self.shard.take_outputs();
        outputs.into_iter().find_map(|output| match output {
            Output::Send(command) => Some(std::sync::Arc::unwrap_or_clone(command)),
            _ => None,
        })
    }
}

fn decide(criterion: &mut Criterion) {
    let mut run = Run::new();
    let (id, rows) = run.saga();
    assert_eq!(rows.len(), 4, "the start, two steps, the end");
    criterion.bench_function("core/three steps, decided and evolved", |bencher| {
        bencher.iter(|| black_box(run.saga()));
    });
    let definition = Arc::clone(&run.definition);
    criterion.bench_function("core/three steps, folded again", |bencher| {
        bencher.iter(|| Saga::replay(id, Arc::clone(&definition), black_box(&rows)));
    });
    let saga = Saga::replay(id, Arc::clone(&definition), &rows[..2]).expect("a history");
    criterion.bench_function("core/what is due", |bencher| {
        bencher.iter(|| due(black_box(&saga), run.now));
    });
}

criterion_group!(benches, decide);
criterion_main!(benches);
