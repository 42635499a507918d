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
        for batch in batches(outcomes) {
            self.send(Request::Outcomes(batch));
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

/// Packs outcomes into messages of bounded number and size.
fn batches(outcomes: impl IntoIterator<Item = v1::AttemptOutcome>) -> Vec<v1::Outcomes> {
    let mut batches: Vec<v1::Outcomes> = Vec::new();
    let mut bytes = 0;
    for outcome in outcomes {
        let size = outcome.encoded_len();
        match batches.last_mut() {
            Some(batch) if batch.outcomes.len() < BATCH_MAX && bytes + size <= BATCH_BYTES_MAX => {
                bytes += size;
                batch.outcomes.push(outcome);
            }
            _ => {
                bytes = size;
                batches.push(v1::Outcomes {
                    outcomes: vec![outcome],
                });
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(output_bytes: usize) -> v1::AttemptOutcome {
        let output = vec![b'x'; output_bytes].into();
        let succeeded = v1::Succeeded { output };
        v1::AttemptOutcome {
            outcome: Some(v1::attempt_outcome::Outcome::Succeeded(succeeded)),
            ..Default::default()
        }
    }

    fn packed(outcomes: Vec<v1::AttemptOutcome>) -> Vec<usize> {
        let batches = batches(outcomes);
        batches.iter().map(|batch| batch.outcomes.len()).collect()
    }

    #[test]
    fn a_message_holds_128_outcomes_and_the_next_one_begins_another() {
        assert_eq!(packed(vec![]), Vec::<usize>::new());
        assert_eq!(packed(vec![outcome(1); BATCH_MAX]), [BATCH_MAX]);
        assert_eq!(packed(vec![outcome(1); BATCH_MAX + 1]), [BATCH_MAX, 1]);
    }

    #[test]
    fn a_message_holds_two_mebibytes_and_one_outcome_at_least() {
        let overhead = outcome(BATCH_BYTES_MAX / 2).encoded_len() - BATCH_BYTES_MAX / 2;
        let half = BATCH_BYTES_MAX / 2 - overhead;
        assert_eq!(packed(vec![outcome(half), outcome(half)]), [2]);
        assert_eq!(packed(vec![outcome(half), outcome(half + 1)]), [1, 1]);
        assert_eq!(packed(vec![outcome(BATCH_BYTES_MAX), outcome(1)]), [1, 1]);
    }
}
