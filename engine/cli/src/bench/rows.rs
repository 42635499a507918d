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

use super::workload::{input, mapped, result};

/// Makes rows.
pub struct Rows {
    hash: DefinitionHash,
    namespace: Arc<str>,
    definition: Arc<str>,
    input: Payload,
    /// What the first step's mapping makes of the input.
    mapped: Payload,
    output: Payload,
}

/// A made-up saga.
pub struct Made {
    /// Its id.
    pub id: SagaId,
    at: Time,
}

impl Rows {
    /// For sagas of a definition's first revision.
    #[must_use]
    pub fn new(definition: &str, hash: DefinitionHash) -> Self {
        Self {
            hash,
            namespace: "default".into(),
            definition: definition.into(),
            input: Payload::trusted(input().into()),
            mapped: Payload::trusted(mapped().into()),
            output: Payload::trusted(result().into_bytes().into()),
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
        let input = if step == 0 {
            &self.mapped
        } else {
            &self.output
        };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::plan::ParticipantPlan;
    use super::super::workload::{HAPPY, HAPPY_ID};
    use super::super::{floor, participant};
    use super::*;
    use crate::connection::Connection;
    use amends_proto::v1 as proto;
    use amends_server::amends_store::{ListQuery, SagaHistory, Store, record};
    use amends_server::{Config, DatabaseUrl, open_store, start};
    use tokio::sync::oneshot;

    async fn only_saga(store: &dyn Store) -> SagaHistory {
        let query = ListQuery {
            namespace: "default".to_owned(),
            states: Vec::new(),
            definition: None,
            key: None,
            before: None,
            limit: 2,
        };
        let listed = store.list(&query).await.expect("a list");
        assert_eq!(listed.len(), 1);
        let found = store.histories(&[listed[0].id]).await;
        found.expect("a history").remove(0)
    }

    fn config(file: &std::path::Path) -> Config {
        Config {
            listen: "127.0.0.1:0".into(),
            database_url: DatabaseUrl::new(format!("sqlite:{}", file.display())),
            ..Config::default()
        }
    }

    /// One saga as a server writes it, with the participant of the measurements.
    async fn real(config: Config) -> SagaHistory {
        let node = start(config.clone()).await.expect("a node");
        let address = format!("http://{}", node.address());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(node.run_until(async {
            let _ = stopped.await;
        }));
        let plan = ParticipantPlan { concurrency: 1 };
        let attached = participant::participant("default", &plan).expect("a participant");
        let (leave, left) = oneshot::channel::<()>();
        let to = address.clone();
        let attached = tokio::spawn(async move {
            let until = async {
                let _ = left.await;
            };
            attached.run_until(&to, until).await
        });
        let connection = Connection::open(&address, "default")
            .await
            .expect("a server");
        let request = proto::ApplyDefinitionRequest {
            parent: connection.parent(),
            source: HAPPY.to_owned(),
            definition_id: HAPPY_ID.to_owned(),
        };
        let applied = connection.definitions().apply_definition(request).await;
        applied.expect("the definition");
        let request = proto::StartSagaRequest {
            parent: connection.parent(),
            definition: connection.definition_name(HAPPY_ID),
            input: input().into(),
            wait: Some(crate::connection::proto_duration(Duration::from_secs(60))),
            ..proto::StartSagaRequest::default()
        };
        let ended = connection.sagas().start_saga(request).await;
        assert!(ended.expect("a saga").into_inner().settled);
        let _ = leave.send(());
        attached.await.expect("no panic").expect("a participant");
        let _ = stop.send(());
        serving.await.expect("no panic").expect("a node");
        let store = open_store(&config).await.expect("a store");
        only_saga(store.as_ref()).await
    }

    /// The floor is a floor of what the engine does only if it writes what the engine writes.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_floors_rows_are_those_of_a_server_to_the_byte_count() {
        let directory = tempfile::tempdir().expect("a directory");
        let real = real(config(&directory.path().join("real.db"))).await;
        let store = open_store(&config(&directory.path().join("floor.db"))).await;
        let store = store.expect("a store");
        let plan = floor::Plan {
            in_flight: 1,
            lanes: 1,
            alone: false,
            sagas: Some(1),
            length: Duration::from_secs(60),
        };
        floor::run(Arc::clone(&store), plan).await.expect("a floor");
        let made = only_saga(store.as_ref()).await;

        let rows = |history: &SagaHistory| {
            let rows = history.rows.as_ref().expect("readable rows");
            let shape = |row: &JournalRow| {
                let kinds: Vec<&str> = row.facts.iter().map(Fact::kind).collect();
                (kinds.join(" "), record::encode(&row.facts).len())
            };
            rows.iter().map(shape).collect::<Vec<_>>()
        };
        assert_eq!(rows(&made), rows(&real));
        let columns = |history: &SagaHistory| {
            let saga = &history.saga;
            let kept = saga.expires_at.zip(saga.ended_at);
            BTreeMap::from([
                ("namespace", saga.namespace.to_string()),
                ("definition", saga.definition.to_string()),
                ("revision", saga.revision.to_string()),
                ("hash", format!("{:?}", saga.hash)),
                ("key", format!("{:?}", saga.key)),
                ("parent", format!("{:?}", saga.parent)),
                ("state", format!("{:?}", saga.state)),
                ("wake_at", format!("{:?}", saga.wake_at)),
                (
                    "kept",
                    format!("{:?}", kept.map(|(until, from)| until.since(from))),
                ),
            ])
        };
        assert_eq!(columns(&made), columns(&real));
    }
}
