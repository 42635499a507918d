//! A saga that each database's view of steps is shown with.

use amends_core::fact::{AttemptEnded, Started};
use amends_core::journal::{JournalRow, SagaInsert, ShardBatch};
use amends_core::{Fact, OperationKind, Outcome, Time};
use amends_definitions::{DefinitionHash, Payload, StepIndex};
use bytes::Bytes;
use uuid::Uuid;

use super::made::{self, DEFINITION, NAMESPACE};
use crate::{Batch, NewDefinition};

/// What the view says of [`story`], by step, forward first: step, operation, state, attempts, last code, output.
pub const STORY_STEPS: [&str; 3] = [
    "greet forward skipped 0 - -",
    "reserve forward succeeded 2 BUSY {\"id\":7}",
    "reserve compensate scheduled 1 - -",
];

/// One saga: its first step is skipped, its second retried, done, and undone.
#[must_use]
pub fn story() -> (NewDefinition, Batch) {
    let hash = DefinitionHash([1; 32]);
    let definition = NewDefinition {
        namespace: NAMESPACE.into(),
        name: DEFINITION.into(),
        hash,
        source: String::new(),
        normal_form:
            "{\"v\":1,\"definition\":{\"steps\":[{\"id\":\"greet\"},{\"id\":\"reserve\"}]}}".into(),
    };
    let insert = SagaInsert {
        revision: 1,
        hash,
        started_at: BEGAN,
        updated_at: BEGAN,
        ..made::insert(made::saga(3, 1), None)
    };
    let rows = (1..)
        .zip(transitions(&insert))
        .map(|(position, facts)| JournalRow {
            position,
            saga: insert.id,
            at: BEGAN,
            facts,
        });
    let of_shard = ShardBatch {
        shard: insert.id.shard(),
        epoch: 0,
        rows: rows.collect(),
        inserts: vec![insert.clone()],
        updates: vec![],
        keys: vec![],
        incidents_opened: vec![],
        incidents_closed: vec![],
    };
    let batch = Batch {
        id: Uuid::from_u128(1),
        shards: vec![of_shard],
    };
    (definition, batch)
}

fn transitions(saga: &SagaInsert) -> Vec<Vec<Fact>> {
    let (step, input) = (StepIndex(1), json("{}"));
    let failed = Outcome::Failed {
        code: "BUSY".into(),
        message: "later".into(),
        retry_after: None,
    };
    let succeeded = Outcome::Succeeded {
        output: json("{\"id\":7}"),
    };
    let (forward, compensate) = (OperationKind::Forward, OperationKind::Compensate);
    let started = Fact::Started(Started {
        namespace: saga.namespace.clone(),
        definition: saga.definition.clone(),
        revision: saga.revision,
        hash: saga.hash,
        key: None,
        input: input.clone(),
        ordering_key: None,
        concurrency_max: None,
        parent: None,
        traceparent: None,
        tracestate: None,
    });
    let scheduled = |operation| Fact::Scheduled {
        place: step.into(),
        operation,
        round: 0,
        input: input.clone(),
    };
    vec![
        vec![
            started,
            Fact::Skipped { step: StepIndex(0) },
            scheduled(forward),
        ],
        vec![ended(forward, 1, failed, Some(BEGAN))],
        vec![ended(forward, 2, succeeded, None)],
        vec![scheduled(compensate)],
    ]
}

fn json(text: &'static str) -> Payload {
    Payload::trusted(Bytes::from_static(text.as_bytes()))
}

fn ended(operation: OperationKind, attempt: u32, outcome: Outcome, retry_at: Option<Time>) -> Fact {
    Fact::AttemptEnded(AttemptEnded {
        place: StepIndex(1).into(),
        operation,
        round: 0,
        attempt,
        outcome,
        verdict: None,
        instance: None,
        sent_at: None,
        retry_at,
    })
}

/// 2025-11-21 08:00 UTC.
const BEGAN: Time = Time::from_micros(1_763_712_000_000_000);
