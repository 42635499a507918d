//! One stream to the server, and how messages are packed into it.

use std::time::{Duration, Instant};

use amends_proto::v1;
use amends_proto::v1::attach_request::Message as Request;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::limits::{BATCH_BYTES_MAX, BATCH_MAX};

/// An open stream. The sender is unbounded; credit bounds what can be in it.
pub(super) struct Session {
    pub(super) outgoing: mpsc::UnboundedSender<v1::AttachRequest>,
    pub(super) incoming: Streaming<v1::AttachResponse>,
    pub(super) heartbeat_interval: Duration,
    /// Set once the server said goodbye.
    pub(super) leaving: Option<Leaving>,
}

/// A stream that the server is about to close: it gets no more credit, and is left once nothing is in hand. The
/// outcomes of what runs may still be recorded by the server that asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) by: Instant,
    pub(super) reattach_after: Duration,
}

impl Session {
    /// A receiver that is gone belongs to a stream whose end `incoming` is about to report.
    pub(super) fn send(&self, message: Request) {
        let _ = self.outgoing.send(request(message));
    }

    pub(super) fn report(&self, outcomes: impl IntoIterator<Item = v1::AttemptOutcome>) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for outcome in outcomes {
            let size = outcome.encoded_len();
            let full = batch.len() == BATCH_MAX || bytes + size > BATCH_BYTES_MAX;
            if full && !batch.is_empty() {
                let outcomes = std::mem::take(&mut batch);
                self.send(Request::Outcomes(v1::Outcomes { outcomes }));
                bytes = 0;
            }
            bytes += size;
            batch.push(outcome);
        }
        if !batch.is_empty() {
            self.send(Request::Outcomes(v1::Outcomes { outcomes: batch }));
        }
    }

    pub(super) fn beat(&self, attempts: impl Iterator<Item = v1::AttemptKey>) {
        let attempts: Vec<_> = attempts.collect();
        for batch in attempts.chunks(BATCH_MAX) {
            let attempts = batch.to_vec();
            self.send(Request::Heartbeats(v1::Heartbeats { attempts }));
        }
    }

    pub(super) fn reattach_after(&self) -> Duration {
        self.leaving
            .map_or(Duration::ZERO, |leaving| leaving.reattach_after)
    }
}

pub(super) fn request(message: Request) -> v1::AttachRequest {
    v1::AttachRequest {
        message: Some(message),
    }
}
