//! A saga that each database's view of steps is shown with.

use amends_core::fact::{
    Act, AttemptEnded, ChildOutcome, ChildRequested, Operated, SignalReceived, Started,
};
use amends_core::journal::{JournalRow, SagaInsert, ShardBatch};
use amends_core::{Fact, OperationKind, Outcome, Place, Time};
use amends_definitions::{DefinitionHash, Payload, StepIndex};
use bytes::Bytes;
use uuid::Uuid;

use super::made::{self, DEFINITION, NAMESPACE};
use crate::{Batch, NewDefinition};

/// What the view says of [`story`], by step, item and operation, forward first: step, item, operation, round, state,
/// attempts, last code, output.
pub const STORY_STEPS: [&str; 16] = [
    "greet 0 forward 0 skipped 0 - -",
    "reserve 0 forward 0 succeeded 2 BUSY {\"id\":7}",
    "reserve 0 compensate 0 scheduled 1 - -",
    "cars 0 forward 0 items_listed 0 - -",
    "cars 1 forward 1 retrying 1 BUSY -",
    "cars 2 forward 0 unknown 3 STREAM_LOST -",
    "cars 2 compensate 0 settling 0 - -",
    "cars 2 query 0 absent 1 - -",
    "approval 0 forward 0 succeeded 0 - {\"approved\":true}",
    "consent 0 forward 0 waiting 0 - -",
    "nap 0 forward 0 sleeping 0 - -",
    "confirm 0 forward 0 succeeded 0 - {\"done\":1}",
    "confirm 0 compensate 0 child_terminated 0 - -",
    "remind 0 forward 0 child_running 0 - -",
    "tell 0 forward 0 succeeded 0 - {\"n\":1}",
    "mend 0 forward 0 succeeded 0 - \"by hand\"",
];

/// One saga: its first step is skipped, its second retried, done, and undone; the others are of every other kind.
#[must_use]
pub fn story() -> (NewDefinition, Batch) {
    let hash = DefinitionHash([1; 32]);
    let steps = STEPS.map(|step| format!("{{\"id\":\"{step}\"}}"));
    let definition = NewDefinition {
        namespace: NAMESPACE.into(),
        name: DEFINITION.into(),
        hash,
        source: String::new(),
        normal_form: format!(
            "{{\"v\":1,\"definition\":{{\"steps\":[{}]}}}}",
            steps.join(",")
        ),
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
        items(),
        signals_and_sleeps(),
        children(),
        acts(),
    ]
}

fn items() -> Vec<Fact> {
    let place = |item| Place::item(StepIndex(2), item);
    let ended = |item, operation, round, attempt, outcome, retry_at| {
        Fact::AttemptEnded(AttemptEnded {
            place: place(item),
            operation,
            round,
            attempt,
            outcome,
            verdict: None,
            instance: None,
            sent_at: None,
            retry_at,
        })
    };
    let scheduled = |item, operation, round| Fact::Scheduled {
        place: place(item),
        operation,
        round,
        input: json("null"),
    };
    let failed = Outcome::Failed {
        code: "BUSY".into(),
        message: "later".into(),
        retry_after: None,
    };
    let unknown = Outcome::Unknown {
        code: "STREAM_LOST".into(),
        message: "nobody knows".into(),
    };
    let (forward, query) = (OperationKind::Forward, OperationKind::Query);
    vec![
        Fact::ItemsListed {
            step: StepIndex(2),
            items: json("[\"Hamburg\",\"Paris\"]"),
            keys: vec!["0".into(), "1".into()],
        },
        scheduled(1, forward, 0),
        ended(1, forward, 0, 4, failed.clone(), None),
        // A new round counts its attempts anew.
        scheduled(1, forward, 1),
        ended(1, forward, 1, 1, failed, Some(BEGAN)),
        scheduled(2, forward, 0),
        ended(2, forward, 0, 3, unknown, None),
        scheduled(2, query, 0),
        ended(2, query, 0, 1, Outcome::Absent, None),
        Fact::Settling {
            place: place(2),
            until: BEGAN,
        },
    ]
}

fn signals_and_sleeps() -> Vec<Fact> {
    let place = |step| Place::from(StepIndex(step));
    let received = |number, payload| {
        Fact::SignalReceived(SignalReceived {
            number,
            signal: "approval_decided".into(),
            payload: json(payload),
            by: "ann".into(),
            dedupe_id: None,
        })
    };
    let awaited = |step| Fact::SignalAwaited {
        place: place(step),
        until: None,
    };
    vec![
        received(1, "{\"approved\":false}"),
        received(2, "{\"approved\":true}"),
        awaited(3),
        Fact::SignalConsumed {
            place: place(3),
            number: 2,
        },
        awaited(4),
        Fact::SignalUnconsumed { number: 1 },
        Fact::Sleeping {
            place: place(5),
            until: BEGAN,
        },
        Fact::Emitted {
            place: place(8),
            event_type: "org.example.told".into(),
            subject: None,
            data: json("{\"n\":1}"),
        },
    ]
}

fn children() -> Vec<Fact> {
    let requested = |step| {
        Fact::ChildRequested(ChildRequested {
            place: StepIndex(step).into(),
            round: 0,
            name: "confirm-bookings".into(),
            key: None,
            input: json("{}"),
        })
    };
    let pinned = |step| Fact::ChildPinned {
        place: StepIndex(step).into(),
        round: 0,
        child: made::saga(3, 2),
        revision: 1,
        hash: DefinitionHash([2; 32]),
    };
    let ended = |operation, outcome| Fact::ChildEnded {
        place: StepIndex(6).into(),
        round: 0,
        operation,
        outcome,
    };
    let output = json("{\"done\":1}");
    let message = "given up".into();
    vec![
        requested(6),
        pinned(6),
        ended(OperationKind::Forward, ChildOutcome::Completed { output }),
        ended(
            OperationKind::Compensate,
            ChildOutcome::Terminated { message },
        ),
        requested(7),
        pinned(7),
    ]
}

fn acts() -> Vec<Fact> {
    let operated = |act| {
        Fact::Operated(Operated {
            by: "ann".into(),
            reason: "the bank called".into(),
            act,
        })
    };
    let resolve = Act::Resolve {
        place: StepIndex(9).into(),
        operation: OperationKind::Forward,
        output: json("\"by hand\""),
    };
    vec![operated(Act::Pause), operated(resolve)]
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

/// By their indices.
const STEPS: [&str; 10] = [
    "greet", "reserve", "cars", "approval", "consent", "nap", "confirm", "remind", "tell", "mend",
];
