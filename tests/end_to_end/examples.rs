//! What the tests of the examples share: their participants in the test's own process, and waiting for what a history says.
//! What a saga of each example does is in `orders`, `transfers` and `trips`.

use std::time::Duration;

use amends_proto::v1;
use amends_proto::v1::act::Act;
use amends_sdk::{Participant, ParticipantOptions};
use tokio::task::JoinHandle;

use crate::stage::Stage;

/// A participant that runs until it is dropped.
pub struct Attached(JoinHandle<()>);

impl Attached {
    /// Attaches it, again and again while the server is away.
    pub fn new(stage: &Stage, participant: Participant) -> Self {
        let participant = participant.options(ParticipantOptions {
            backoff: (Duration::from_millis(10), Duration::from_millis(100)),
            ..ParticipantOptions::default()
        });
        let address = stage.server.address();
        Self(tokio::spawn(async move {
            let never = std::future::pending();
            participant.run_until(&address, never).await.unwrap();
        }))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until a saga's history has a fact of this kind about this step, and returns it.
pub async fn recorded(stage: &Stage, saga: &str, kind: &str, step: &str) -> v1::HistoryEntry {
    let mut follow = stage.client.follow_history(saga).await.unwrap();
    while let Some(row) = follow.message().await.unwrap() {
        let found =
            (row.entries.into_iter()).find(|entry| entry.kind == kind && entry.step == step);
        if let Some(entry) = found {
            return entry;
        }
    }
    panic!("{saga} ended without {kind} of {step}");
}

/// A step of a saga by its id.
pub fn step<'a>(saga: &'a v1::Saga, id: &str) -> &'a v1::Step {
    let found = saga.steps.iter().find(|step| step.id == id);
    found.unwrap_or_else(|| panic!("{saga:?} has no step {id}"))
}

/// The state of a step's action.
pub fn forward(saga: &v1::Saga, id: &str) -> v1::StepState {
    step(saga, id).forward.as_ref().unwrap().state()
}

/// An operator tries a step's action again.
pub async fn retry(stage: &Stage, saga: &str, step: &str, input: Option<serde_json::Value>) {
    let target = v1::Target {
        step: step.to_owned(),
        ..v1::Target::default()
    };
    let retry = Act::Retry(v1::Retry {
        target: Some(target),
        input: input.map(|input| input.to_string().into_bytes().into()),
    });
    let operated = stage.client.operate(saga, retry, "mended", false).await;
    operated.unwrap();
}

/// Waits until a saga that was parked has ended in this state.
pub async fn ends_as(stage: &Stage, saga: &str, state: v1::SagaState) -> v1::Saga {
    let mut watch = stage.client.watch(saga).await.unwrap();
    let mut last = None;
    while let Some(next) = watch.message().await.unwrap() {
        last = next.saga;
    }
    let saga = last.unwrap();
    assert_eq!(saga.state(), state, "{saga:?}\n{}", stage.server.log());
    saga
}
