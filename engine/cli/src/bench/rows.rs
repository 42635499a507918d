//! The rows of a made-up saga that runs through the benchmark's three steps: what a server would have written.

use std::sync::Arc;
use std::time::Duration;

use amends_definitions::{DefinitionHash, Payload, StepIndex};
use amends_server::amends_core::fact::{AttemptEnded, Fact, Started};
use amends_server::amends_core::journal::{
    JournalRow, SagaInsert, SagaState, SagaUpdate, ShardBatch,
};
use amends_server::amends_core::outcome::{OperationKind, Outcome};
use amends_server::amends_core::{SagaId, ShardId, Time};
use uuid::Uuid;

use super::load::{DEFINITION_ID, input};

/// Makes rows.
pub struct Rows {
    hash: DefinitionHash,
    namespace: Arc<str>,
    definition: Arc<str>,
    input: Payload,
    output: Payload,
}

/// A made-up saga.
pub struct Made {
    /// Its id.
    pub id: SagaId,
    at: Time,
}

impl Rows {
    /// For sagas of the revision with this hash.
    #[must_use]
    pub fn new(hash: DefinitionHash) -> Self {
        let output = serde_json::json!({"note": "x".repeat(188)}).to_string();
        Self {
            hash,
            namespace: "default".into(),
            definition: DEFINITION_ID.into(),
            input: Payload::trusted(input().into()),
            output: Payload::trusted(output.into_bytes().into()),
        }
    }

    /// Begins a saga.
    #[must_use]
    pub fn saga(&self, at: Time, shard: ShardId) -> Made {
        let (random, _) = Uuid::new_v4().as_u64_pair();
        Made {
            id: SagaId::new(at, shard, random),
            at,
        }
    }

    /// Adds the saga's transition of this number, from 0: the start, two steps that lead to the next, and the end.
    pub fn write(
        &self,
        batch: &mut ShardBatch,
        saga: &Made,
        transition: u8,
        position: u64,
        now: Time,
    ) {
        let facts = match transition {
            0 => vec![Fact::Started(self.started()), self.scheduled(0)],
            1 | 2 => {
                let step = u16::from(transition);
                vec![self.ended(step - 1, saga.at), self.scheduled(step)]
            }
            _ => vec![
                self.ended(2, saga.at),
                Fact::Completed {
                    output: Payload::null(),
                },
            ],
        };
        batch.rows.push(JournalRow {
            position,
            saga: saga.id,
            at: now,
            facts,
        });
        match transition {
            0 => batch.inserts.push(self.insert(saga, now)),
            1 | 2 => {}
            _ => batch.updates.push(SagaUpdate {
                id: saga.id,
                state: SagaState::Completed,
                turn_granted: true,
                wake_at: None,
                updated_at: now,
                ended_at: Some(now),
                expires_at: Some(now + RETENTION),
            }),
        }
    }

    fn started(&self) -> Started {
        Started {
            namespace: Arc::clone(&self.namespace),
            definition: Arc::clone(&self.definition),
            revision: 1,
            hash: self.hash,
            key: None,
            input: self.input.clone(),
            ordering_key: None,
            concurrency_max: None,
            parent: None,
            traceparent: None,
            tracestate: None,
        }
    }

    fn scheduled(&self, step: u16) -> Fact {
        let input = if step == 0 { &self.input } else { &self.output };
        Fact::Scheduled {
            place: StepIndex(step).into(),
            operation: OperationKind::Forward,
            round: 0,
            input: input.clone(),
        }
    }

    fn ended(&self, step: u16, sent_at: Time) -> Fact {
        Fact::AttemptEnded(AttemptEnded {
            place: StepIndex(step).into(),
            operation: OperationKind::Forward,
            round: 0,
            attempt: 1,
            outcome: Outcome::Succeeded {
                output: self.output.clone(),
            },
            verdict: None,
            instance: Some("0d5b3a6e-6a43-4a4f-9d8e-1f2f3b4c5d6e".to_owned()),
            sent_at: Some(sent_at),
            retry_at: None,
        })
    }

    fn insert(&self, saga: &Made, now: Time) -> SagaInsert {
        SagaInsert {
            id: saga.id,
            namespace: Arc::clone(&self.namespace),
            definition: Arc::clone(&self.definition),
            revision: 1,
            hash: self.hash,
            key: None,
            turn: None,
            parent: None,
            state: SagaState::Running,
            wake_at: None,
            started_at: now,
            updated_at: now,
            ended_at: None,
            expires_at: None,
        }
    }
}

/// How long an ended saga is kept, as a definition says that says nothing.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
