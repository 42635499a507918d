//! Bad input against the real server, over the wire: the exact gRPC code and the machine's reason, nothing done by halves, and
//! a server that goes on serving. The numbers in the tests' names are those of the list of bad inputs. B45 and B46, which a
//! server answers before it listens, are in `configuration`.

mod documents;
mod operating;
mod participants;
mod reading;
mod starting;
mod starting_many;
mod wire;

use std::time::Duration;

use amends_proto::v1::SagaState;
use amends_sdk::{ListOptions, RpcError};
use amends_tests::server::Store;
use tonic::{Code, Status};

use crate::stage::Stage;

/// A server with a second namespace, `other`.
async fn stage() -> Stage {
    Stage::open_with(Store::Sqlite, &[("namespaces", "other")]).await
}

/// The answer is this refusal.
#[track_caller]
fn refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    reason: &str,
    about: &str,
) -> RpcError {
    let about: String = about.chars().take(80).collect();
    let status = match answer {
        Ok(answer) => panic!("{about:?} was accepted: {answer:?}"),
        Err(status) => status,
    };
    let error = RpcError::from(status);
    assert_eq!(
        (error.code, error.reason.as_deref()),
        (code, Some(reason)),
        "{about:?}: {error}"
    );
    error
}

/// The server still does its work, has written nothing about a panic, and has no other saga than the one made here.
async fn healthy(stage: &Stage) {
    let nothing = stage.client.list(&ListOptions::default()).await.unwrap();
    assert!(nothing.sagas.is_empty(), "left behind: {:?}", nothing.sagas);
    works(stage).await;
}

/// The server still does its work, and has written nothing about a panic.
async fn works(stage: &Stage) {
    let _actor = stage.attach_willing();
    let name = stage.start("still healthy").await;
    stage.settled_as(&name, SagaState::Completed).await;
    let log = stage.server.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// How long an answer about a hostile document may take: a limit was checked before the work was done.
const AT_ONCE: Duration = Duration::from_secs(5);
