//! What a handler is told about its attempt besides the input. It reads; the one thing that it can do is to say that
//! the attempt is still under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_proto::v1;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::limits::ATTEMPT_TIMEOUT_DEFAULT;
use crate::outcome::duration_from_wire;

/// One attempt of one operation, as its handler sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

/// Which operation of a step a handler is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The action.
    Forward,
    /// Its compensation.
    Compensate,
    /// Whether the action had an effect.
    Query,
}

/// Names one attempt: the operation's key, and the attempt from 1.
pub(crate) type AttemptKey = (String, u32);

#[derive(Debug)]
struct Inner {
    command: v1::Command,
    operation: Operation,
    deadline: Instant,
    cancellation: CancellationToken,
    heartbeats: Option<mpsc::UnboundedSender<AttemptKey>>,
}

impl Context {
    /// Names the operation for ever, the same for all its attempts: hand it to other services as the idempotency key.
    #[must_use]
    pub fn operation_key(&self) -> &str {
        &self.inner.command.operation_key
    }

    /// Of a compensation or a query: the key of the action that it is about.
    #[must_use]
    pub fn forward_operation_key(&self) -> Option<&str> {
        some_text(&self.inner.command.forward_operation_key)
    }

    /// Which attempt of the operation this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.command.attempt
    }

    /// Which operation of the step this is.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.inner.operation
    }

    /// `participant.action`, as it was called.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.inner.command.action
    }

    /// The saga's resource name, `namespaces/{namespace}/sagas/{saga}`.
    #[must_use]
    pub fn saga(&self) -> &str {
        &self.inner.command.saga
    }

    /// The step's id.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.inner.command.step
    }

    /// The item of the step under `foreach`, from 1. None without one.
    #[must_use]
    pub fn item(&self) -> Option<u32> {
        (self.inner.command.item > 0).then_some(self.inner.command.item)
    }

    /// The definition's id.
    #[must_use]
    pub fn definition(&self) -> &str {
        &self.inner.command.definition
    }

    /// The definition's revision.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.inner.command.revision
    }

    /// When the server stops waiting for this attempt. Its clock began when it sent the command, so this is a little
    /// late.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.inner.deadline
    }

    /// How long until the deadline; zero behind it.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.inner
            .deadline
            .saturating_duration_since(Instant::now())
    }

    /// Cancelled when the attempt's result no longer matters: its deadline passed, the server withdrew it, or the
    /// participant has to end. A handler may then stop; it need not.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.inner.cancellation
    }

    /// The trace that the saga belongs to, as a W3C `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        some_text(&self.inner.command.traceparent)
    }

    /// The W3C `tracestate` that goes with [`Context::traceparent`].
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        some_text(&self.inner.command.tracestate)
    }

    /// How long the attempt may be silent, where its step says so: then the server takes it for lost. The SDK says by
    /// itself that an attempt is under way, three times within that time, as long as its handler runs.
    #[must_use]
    pub fn heartbeat_timeout(&self) -> Option<Duration> {
        let timeout = self.inner.command.heartbeat_timeout.as_ref();
        timeout.and_then(duration_from_wire)
    }

    /// Says at once that the attempt is still under way. The SDK does so by itself: a handler needs this only if it
    /// blocks its thread for long.
    pub fn heartbeat(&self) {
        if let Some(heartbeats) = &self.inner.heartbeats {
            let key = (self.operation_key().to_owned(), self.attempt());
            // A receiver that is gone belongs to a participant that has ended.
            let _ = heartbeats.send(key);
        }
    }

    /// Reads a command. `None` where it does not say which operation it asks for.
    pub(crate) fn from_command(
        command: v1::Command,
        cancellation: CancellationToken,
        heartbeats: Option<mpsc::UnboundedSender<AttemptKey>>,
    ) -> Option<Self> {
        let operation = match command.operation() {
            v1::OperationKind::Forward => Operation::Forward,
            v1::OperationKind::Compensate => Operation::Compensate,
            v1::OperationKind::Query => Operation::Query,
            v1::OperationKind::Unspecified => return None,
        };
        let timeout = command.timeout.as_ref().and_then(duration_from_wire);
        let timeout = timeout.unwrap_or(ATTEMPT_TIMEOUT_DEFAULT);
        let now = Instant::now();
        let deadline = now
            .checked_add(timeout)
            .unwrap_or(now + ATTEMPT_TIMEOUT_DEFAULT);
        Some(Self {
            inner: Arc::new(Inner {
                command,
                operation,
                deadline,
                cancellation,
                heartbeats,
            }),
        })
    }
}

fn some_text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
