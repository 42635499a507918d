//! The suite that every store must pass: each promise of [`Store`] and [`Lane`](crate::Lane) as a check. A store runs it from
//! `tests/conformance.rs`. Test code, behind a feature of its own, so that no binary carries it.

use std::pin::Pin;
use std::sync::Arc;

use amends_core::ShardId;
use async_trait::async_trait;

use crate::{Cause, Store};

mod append;
mod definitions;
mod expiry;
mod incidents;
mod leases;
mod made;
mod rate;
mod reading;
mod story;
mod takeover;
mod waiting;

pub use rate::Load;
pub use story::{STORY_STEPS, story};

/// A kind of store that is to be checked.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Makes an empty database with this many shards.
    async fn create(&self, shard_count: u16) -> Result<Arc<dyn Database>, Cause>;
}

/// A database that one check has for itself.
#[async_trait]
pub trait Database: Send + Sync {
    /// Opens it, as a process of its own would.
    async fn open(&self) -> Result<Arc<dyn Store>, Cause>;

    /// Replaces the body of a journal row behind the store's back, as damage would.
    async fn overwrite_body(&self, shard: ShardId, position: u64, body: &[u8])
    -> Result<(), Cause>;

    /// Takes a journal row away behind the store's back, as a loss would.
    async fn lose_row(&self, shard: ShardId, position: u64) -> Result<(), Cause>;
}

/// Runs every check, each on a database of its own, and says at the end which failed.
///
/// # Panics
/// If a check fails: that is how a test fails.
pub async fn run(subject: &dyn Subject) {
    let mut failed = Vec::new();
    let checks = [
        append::CHECKS,
        takeover::CHECKS,
        reading::CHECKS,
        waiting::CHECKS,
        incidents::CHECKS,
        expiry::CHECKS,
        definitions::CHECKS,
        leases::CHECKS,
    ]
    .concat();
    let number = checks.len();
    for (name, check) in checks {
        let outcome = match subject.create(SHARD_COUNT).await {
            Ok(database) => check(database).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            failed.push(format!("{name}: {}", chain(&*error)));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {number} checks failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

type Outcome = Result<(), Cause>;
type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Check = (&'static str, fn(Arc<dyn Database>) -> Running);

/// Fails a check with words instead of a panic, so that the others run as well.
fn ensure(holds: bool, what: impl Into<String>) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(what.into().into())
    }
}

fn same<T: PartialEq + std::fmt::Debug>(left: &T, right: &T, what: &str) -> Outcome {
    ensure(left == right, format!("{what}: {left:?} is not {right:?}"))
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

const SHARD_COUNT: u16 = 8;
