//! Every bound of the SDK, with its unit. The ones of the wire are the protocol's; the others say what this process
//! keeps in memory at most.

use std::time::Duration;

/// Largest input or output of an operation, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Commands, outcomes or heartbeats in one stream message.
pub const BATCH_MAX: usize = 128;
/// Payload bytes in one stream message.
pub const BATCH_BYTES_MAX: usize = 2 << 20;
/// Commands that a participant has in hand at once: the most that one `Credit` message may grant.
pub const CONCURRENCY_MAX: usize = 10_000;
/// Actions that one participant serves.
pub const ACTIONS_MAX: usize = 1_000;
/// A failure's code, in bytes.
pub const CODE_BYTES_MAX: usize = 128;
/// A failure's message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// The furthest that a failure may push its next attempt.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Outcomes that wait for their acknowledgement before the participant stops taking commands.
pub(crate) const UNACKNOWLEDGED_MAX: usize = 4_096;
/// Bytes of outcomes that wait for their acknowledgement before the participant stops taking commands.
pub(crate) const UNACKNOWLEDGED_BYTES_MAX: usize = 64 << 20;
/// Starts that wait to be put into a message of a stream of starts; one more waits for room.
pub(crate) const STREAM_ORDERS_MAX: usize = 1_024;
/// Messages of a stream of starts that wait to be sent.
pub(crate) const STREAM_MESSAGES_MAX: usize = 4;
/// Sagas whose newest epoch is remembered, in each of two generations.
pub(crate) const EPOCHS_PER_GENERATION: usize = 32_768;
/// How long an attempt has when the command does not say: the language's default.
pub(crate) const ATTEMPT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
