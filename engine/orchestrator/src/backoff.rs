//! Waiting longer and longer, with jitter, so that those who wait for the same thing do not come back at once.

use std::time::Duration;

use uuid::Uuid;

use crate::limits::{BACKOFF_FIRST, BACKOFF_MAX};

/// How long to wait before the next try.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            next: BACKOFF_FIRST,
        }
    }

    /// Waits; each time up to twice as long.
    pub(crate) async fn wait(&mut self) {
        let wait = self
            .next
            .mul_f64(0.5 + amends_core::key::fraction(Uuid::new_v4().as_bytes()) / 2.0);
        self.next = (self.next * 2).min(BACKOFF_MAX);
        tokio::time::sleep(wait).await;
    }
}
