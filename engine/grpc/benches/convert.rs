//! What it costs to turn a command into the bytes that a participant gets, and the bytes of its outcome into what the
//! engine takes. Deliberately not here: streams.

use std::hint::black_box;
use std::time::Duration;

use amends_core::shard::Command;
use amends_core::{Incarnation, OperationKey, OperationKind, SagaId, ShardId, Time};
use amends_definitions::{ActionName, Payload};
use amends_grpc::convert::{command, outcome};
use amends_proto::v1;
use criterion::{Criterion, criterion_group, criterion_main};
use prost::Message as _;

fn sample() -> Command {
    let now = Time::from_micros(1_763_712_000_000_000);
    let key = OperationKey {
        incarnation: Incarnation(uuid::Uuid::nil()),
        namespace: "default".into(),
        saga: SagaId::new(now, ShardId(3), 1),
        step: "first".into(),
        item: 0,
        round: 0,
        operation: OperationKind::Forward,
    };
    let note = format!("{{\"note\":\"{}\"}}", "x".repeat(188));
    Command {
        key,
        forward_key: None,
        attempt: 1,
        action: ActionName::new("bench.work"),
        definition: "bench".into(),
        revision: 1,
        epoch: 1,
        input: Payload::trusted(note.into_bytes().into()),
        timeout: Duration::from_secs(30),
        heartbeat: None,
        traceparent: None,
        tracestate: None,
        due_at: now,
        resent: false,
    }
}

fn conversions(criterion: &mut Criterion) {
    let sample = sample();
    criterion.bench_function("convert/a command to its bytes", |bencher| {
        bencher.iter(|| command::message(black_box(&sample)).encode_to_vec());
    });
    let realm = outcome::Realm {
        incarnation: sample.key.incarnation,
        namespace: sample.key.namespace.to_string(),
    };
    let succeeded = v1::Succeeded {
        output: sample.input.to_bytes(),
    };
    let wire = v1::AttemptOutcome {
        operation_key: sample.key.to_string(),
        attempt: 1,
        outcome: Some(v1::attempt_outcome::Outcome::Succeeded(succeeded)),
        ..v1::AttemptOutcome::default()
    };
    let bytes = bytes::Bytes::from(wire.encode_to_vec());
    criterion.bench_function("convert/an outcome from its bytes", |bencher| {
        bencher.iter(|| {
            let wire = v1::AttemptOutcome::decode(black_box(bytes.clone())).expect("a message");
            outcome::read(&realm, wire).expect("an outcome")
        });
    });
}

criterion_group!(benches, conversions);
criterion_main!(benches);
