//! What it costs to write a journal row's facts as a record, and to read them again. Deliberately not here: databases.

use std::hint::black_box;

use amends_core::fact::AttemptEnded;
use amends_core::{Fact, OperationKind, Outcome, Time};
use amends_definitions::{Payload, StepIndex};
use amends_store::record;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// What a step's end writes that leads to the next: 200 bytes of output, as many of input.
fn facts(payload_bytes: usize) -> Vec<Fact> {
    let note = "x".repeat(payload_bytes.saturating_sub(12));
    let payload = Payload::trusted(format!("{{\"note\":\"{note}\"}}").into_bytes().into());
    let ended = AttemptEnded {
        place: StepIndex(0).into(),
        operation: OperationKind::Forward,
        round: 0,
        attempt: 1,
        outcome: Outcome::Succeeded {
            output: payload.clone(),
        },
        verdict: None,
        instance: Some("0d5b3a6e-6a43-4a4f-9d8e-1f2f3b4c5d6e".to_owned()),
        sent_at: Some(Time::from_micros(1_763_712_000_000_000)),
        retry_at: None,
    };
    let scheduled = Fact::Scheduled {
        place: StepIndex(1).into(),
        operation: OperationKind::Forward,
        round: 0,
        input: payload,
    };
    vec![Fact::AttemptEnded(ended), scheduled]
}

fn records(criterion: &mut Criterion) {
    for bytes in [200, 65_536] {
        let facts = facts(bytes);
        let body = record::encode(&facts);
        assert_eq!(record::decode(1, &body).expect("it is read"), facts);
        let mut group = criterion.benchmark_group(format!("record/payloads of {bytes} bytes"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("encode", |bencher| {
            bencher.iter(|| record::encode(black_box(&facts)));
        });
        group.bench_function("decode", |bencher| {
            bencher.iter(|| record::decode(1, black_box(&body)));
        });
        group.finish();
    }
}

criterion_group!(benches, records);
criterion_main!(benches);
