//! The closed loop: so many callers, each starting a saga, waiting for its end, and starting the next; the participant
//! runs in this process and does next to nothing. Three steps in a row, an input of 300 bytes, results of 200.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amends_proto::v1::{self as proto, SagaState};
use amends_sdk::{Context, Fail, Participant, ParticipantOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::report::Measured;
use crate::arguments::BenchArguments;
use crate::connection::Connection;
use crate::failure::Failure;

/// The definition that is measured.
pub const DEFINITION: &str = include_str!("bench.saga.yaml");
/// Its id.
pub const DEFINITION_ID: &str = "amends-bench";
/// A server takes 256 requests at once on a connection; each caller has one under way.
const CALLERS_PER_CONNECTION: u32 = 128;
/// How many errors in a row end a caller.
const ERRORS_MAX: u32 = 10;
/// How long a caller rests after an error.
const REST: Duration = Duration::from_millis(50);
/// A saga that takes longer counts as an error.
const SAGA_TAKES_AT_MOST: Duration = Duration::from_secs(60);

/// The input of a saga, some 300 bytes of JSON.
#[must_use]
pub fn input() -> Vec<u8> {
    serde_json::json!({"order": "B-1", "note": "x".repeat(270)})
        .to_string()
        .into_bytes()
}

/// Measures a server.
///
/// # Errors
/// If it does not take the definition, or the participant cannot attach.
pub async fn run(
    server: &str,
    namespace: &str,
    arguments: &BenchArguments,
) -> Result<Measured, Failure> {
    let connection = Connection::open(server, namespace).await?;
    let request = proto::ApplyDefinitionRequest {
        parent: connection.parent(),
        source: DEFINITION.to_owned(),
        definition_id: DEFINITION_ID.to_owned(),
    };
    let applied = connection.definitions().apply_definition(request).await;
    applied.map_err(|status| {
        Failure::refused("the benchmark's definition was not applied", &status)
    })?;

    let (stop, stopped) = oneshot::channel::<()>();
    let participant = participant(namespace, arguments.in_flight);
    let address = server.to_owned();
    let serving = tokio::spawn(async move {
        let until = async {
            let _ = stopped.await;
        };
        participant.run_until(&address, until).await
    });
    // The first saga is not counted: it waits for the participant to attach.
    let budget = Arc::new(Budget::new(arguments));
    one(&connection)
        .await
        .map_err(|error| Failure::wrong("not even one saga completed").because(error))?;
    let measured = measure(server, namespace, arguments.in_flight, &budget).await;
    let _ = stop.send(());
    serving
        .await
        .map_err(|error| Failure::wrong("the benchmark's participant broke").because(error))?
        .map_err(|error| {
            Failure::wrong("the benchmark's participant could not attach")
                .because(crate::failure::chain(&error))
        })?;
    measured
}

#[derive(Deserialize)]
struct Work {
    note: String,
}

#[derive(Serialize)]
struct Done {
    note: String,
}

async fn work(_context: Context, work: Work) -> Result<Done, Fail> {
    Ok(Done {
        note: work.note.chars().take(188).collect(),
    })
}

fn participant(namespace: &str, in_flight: u32) -> Participant {
    let options = ParticipantOptions {
        namespace: namespace.to_owned(),
        concurrency: in_flight.clamp(64, 4_096) as usize,
        ..ParticipantOptions::default()
    };
    Participant::new("bench")
        .action("work", work)
        .action("undo", work)
        .options(options)
}

/// How many sagas may still be started, and until when.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
    length: Duration,
}

impl Budget {
    /// As the command line says: for so many seconds, or, where only sagas are given, for so many of them.
    #[must_use]
    pub fn new(arguments: &BenchArguments) -> Self {
        Self {
            left: AtomicU64::new(arguments.sagas.unwrap_or(u64::MAX)),
            length: Duration::from_secs(arguments.seconds),
        }
    }

    /// When it ends, if it begins now.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.length
    }

    /// Takes one.
    pub fn take(&self) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }
}

async fn measure(
    server: &str,
    namespace: &str,
    in_flight: u32,
    budget: &Arc<Budget>,
) -> Result<Measured, Failure> {
    let mut connections = Vec::new();
    for _ in 0..in_flight.div_ceil(CALLERS_PER_CONNECTION) {
        connections.push(Connection::open(server, namespace).await?);
    }
    let began = Instant::now();
    let deadline = budget.deadline();
    let mut callers = JoinSet::new();
    for caller in 0..in_flight {
        let connection = connections[(caller / CALLERS_PER_CONNECTION) as usize].clone();
        callers.spawn(call(connection, Arc::clone(budget), deadline));
    }
    let mut measured = Measured::default();
    for one in callers.join_all().await {
        measured.latencies.extend(one.latencies);
        measured.errors += one.errors;
        measured.first_error = measured.first_error.or(one.first_error);
    }
    measured.elapsed = began.elapsed();
    Ok(measured)
}

async fn call(connection: Connection, budget: Arc<Budget>, deadline: Instant) -> Measured {
    let mut measured = Measured::default();
    let mut in_a_row = 0;
    while in_a_row < ERRORS_MAX && Instant::now() < deadline && budget.take() {
        let began = Instant::now();
        match one(&connection).await {
            Ok(()) => {
                measured.latencies.push(began.elapsed());
                in_a_row = 0;
            }
            Err(error) => {
                measured.errors += 1;
                in_a_row += 1;
                measured.first_error.get_or_insert(error);
                tokio::time::sleep(REST).await;
            }
        }
    }
    measured
}

/// One saga from its start to its end.
async fn one(connection: &Connection) -> Result<(), String> {
    let request = proto::StartSagaRequest {
        parent: connection.parent(),
        definition: connection.definition_name(DEFINITION_ID),
        revision: None,
        key: None,
        input: input().into(),
        wait: None,
    };
    let refused = |status: tonic::Status| format!("{:?}: {}", status.code(), status.message());
    let started = connection
        .sagas()
        .start_saga(request)
        .await
        .map_err(refused)?
        .into_inner();
    let (saga, _) = connection
        .wait(&started.name, Some(SAGA_TAKES_AT_MOST))
        .await
        .map_err(refused)?;
    if saga.state() == SagaState::Completed {
        Ok(())
    } else {
        Err(format!(
            "saga {} is {}",
            started.name,
            saga.state().as_str_name()
        ))
    }
}
