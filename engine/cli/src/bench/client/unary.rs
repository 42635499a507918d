//! A call for each saga, which is answered when it ended. Deliberately not here: when the next one is started.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amends_proto::v1::{self as proto, SagaState};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::plan::{Measured, Pace, Recorder};
use super::super::workload::Workload;
use super::{Budget, due};
use crate::arguments::Global;
use crate::connection::{Connection, proto_duration};
use crate::failure::Failure;

/// A server takes 256 requests at once on a connection; each caller has one under way.
const CALLERS_PER_CONNECTION: u32 = 128;
/// An open loop has so many connections; what is above 256 requests on one waits there, and its latency says so.
const OPEN_LOOP_CONNECTIONS: u32 = 16;
/// How many errors in a row end a caller.
const ERRORS_MAX: u32 = 10;
/// How long a caller rests after an error.
const REST: Duration = Duration::from_millis(50);
/// A saga that takes longer counts as an error.
const SAGA_TAKES_AT_MOST: Duration = Duration::from_secs(120);

/// Starts sagas by a call for each.
pub struct Starter {
    connections: Vec<Connection>,
    call: Arc<Call>,
}

/// What each call says.
struct Call {
    request: proto::StartSagaRequest,
    end: SagaState,
}

impl Starter {
    /// Connects.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn open(global: &Global, workload: &Workload, pace: Pace) -> Result<Self, Failure> {
        let count = match pace {
            Pace::InFlight(callers) => callers.div_ceil(CALLERS_PER_CONNECTION),
            Pace::PerSecond(_) => OPEN_LOOP_CONNECTIONS,
        };
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(Connection::open(&global.server, &global.namespace).await?);
        }
        let request = proto::StartSagaRequest {
            parent: connections[0].parent(),
            definition: connections[0].definition_name(&workload.definition_id()),
            revision: None,
            key: None,
            input: workload.input().into(),
            wait: Some(proto_duration(SAGA_TAKES_AT_MOST)),
        };
        Ok(Self {
            connections,
            call: Arc::new(Call {
                request,
                end: workload.end(),
            }),
        })
    }

    /// Starts sagas while the budget lets it, and waits for all of them; what goes wrong is counted.
    pub async fn load(&self, pace: Pace, budget: Budget) -> Measured {
        let began = budget.began;
        let recorder = match pace {
            Pace::InFlight(callers) => self.closed(callers, budget).await,
            Pace::PerSecond(rate) => self.open_loop(rate, budget).await,
        };
        recorder.finish(began.elapsed())
    }

    async fn closed(&self, callers: u32, budget: Budget) -> Recorder {
        let recorder = Arc::new(Mutex::new(Recorder::new()));
        let mut tasks = JoinSet::new();
        let connections = self.connections.iter().cycle();
        for (_, connection) in (0..callers).zip(connections) {
            let (connection, call) = (connection.clone(), Arc::clone(&self.call));
            let (recorder, budget) = (Arc::clone(&recorder), budget.clone());
            tasks.spawn(async move {
                let mut errors = 0;
                while errors < ERRORS_MAX && budget.take() {
                    let began = Instant::now();
                    let ended = call.make(&connection).await;
                    errors = if ended.is_ok() { 0 } else { errors + 1 };
                    record(&recorder, began, ended);
                    if errors > 0 {
                        tokio::time::sleep(REST).await;
                    }
                }
            });
        }
        tasks.join_all().await;
        finished(recorder)
    }

    async fn open_loop(&self, rate: u32, budget: Budget) -> Recorder {
        let recorder = Arc::new(Mutex::new(Recorder::new()));
        let mut tasks = JoinSet::new();
        let connections = self.connections.iter().cycle();
        for (number, connection) in (0..).zip(connections) {
            let due = due(budget.began, rate, number);
            tokio::time::sleep_until(due).await;
            if !budget.take() {
                break;
            }
            let (connection, call) = (connection.clone(), Arc::clone(&self.call));
            let recorder = Arc::clone(&recorder);
            tasks.spawn(async move {
                let ended = call.make(&connection).await;
                record(&recorder, due, ended);
            });
            while tasks.try_join_next().is_some() {}
        }
        tasks.join_all().await;
        finished(recorder)
    }
}

impl Call {
    /// One saga from its start to its end.
    async fn make(&self, connection: &Connection) -> Result<(), String> {
        let refused = |status: tonic::Status| format!("{:?}: {}", status.code(), status.message());
        let request = self.request.clone();
        let answer = connection.sagas().start_saga(request).await;
        let answer = answer.map_err(refused)?.into_inner();
        if answer.settled && answer.state() == self.end {
            Ok(())
        } else {
            let state = answer.state().as_str_name();
            Err(format!("saga {} is {state}", answer.name))
        }
    }
}

fn record(recorder: &Mutex<Recorder>, since: Instant, ended: Result<(), String>) {
    let took = since.elapsed();
    let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
    match ended {
        Ok(()) => recorder.took(took),
        Err(error) => recorder.failed(error),
    }
}

fn finished(recorder: Arc<Mutex<Recorder>>) -> Recorder {
    let recorder = Arc::into_inner(recorder).map(Mutex::into_inner);
    // Every task that shared it has ended.
    recorder.map_or_else(Recorder::new, |inner| {
        inner.unwrap_or_else(PoisonError::into_inner)
    })
}
