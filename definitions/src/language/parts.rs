//! What several keys of the language have in common: texts, durations, expressions, policies, timeouts.

use serde_json::{Value, json};

use super::{Key, either, mapping, pattern};
use crate::limits::{ATTEMPTS_MAX, BACKOFF_MAX, CODE_BYTES_MAX, ENTRIES_MAX, ID_BYTES_MAX};

/// What an id is like.
pub(super) const SNAKE_CASE: &str = "^[a-z][a-z0-9_]*$";

/// What `timeout` means at each of its places.
pub(super) const TIMEOUT: &str =
    "How long it may take: a duration for one attempt, or `{attempt, total, schedule, heartbeat}`.";
/// What `retry` means for an action.
pub(super) const RETRY: &str =
    "How a failed attempt is retried: a policy, or the name of one of `retryPolicies`.";
/// What `retry` means for a compensation.
pub(super) const RETRY_COMPENSATION: &str = "How a failed attempt to undo is retried: a policy, or the name of one of \
     `retryPolicies`. Default: without bound, `maxInterval` 5m.";

/// An id.
pub(super) fn id() -> Value {
    pattern(
        text(ID_BYTES_MAX),
        SNAKE_CASE,
        "an id has lower-case letters, digits and `_`, and begins with a letter",
    )
}

/// Anything: a payload whose scalars may be expressions.
pub(super) fn any() -> Value {
    json!({})
}

/// A text that is not empty.
pub(super) fn text(length_max: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": length_max})
}

/// One whole expression, bare or as one `${{ }}`. A constant is one, too.
pub(super) fn expression() -> Value {
    json!({"type": ["string", "boolean", "number"]})
}

/// A duration. A bare number never is one.
pub(super) fn duration() -> Value {
    let duration = json!({"type": "string", "examples": ["10s", "5m", "1h", "7d"]});
    pattern(
        duration,
        "^([0-9]+(ms|s|m|h|d))+$",
        "write a duration such as `500ms`, `10s`, `1m30s`, `2h`, `7d`",
    )
}

/// One of some words.
pub(super) fn choice(words: &[&str], default: &str) -> Value {
    json!({"type": "string", "enum": words, "default": default})
}

/// A whole number.
pub(super) fn integer(min: u32, max: u32) -> Value {
    json!({"type": "integer", "minimum": min, "maximum": max})
}

/// A JSON Schema.
pub(super) fn schema() -> Value {
    json!({"type": ["object", "boolean"]})
}

/// `participant.action`.
pub(super) fn action() -> Value {
    pattern(
        text(2 * ID_BYTES_MAX + 1),
        r"^[A-Za-z][A-Za-z0-9_-]*\.[A-Za-z][A-Za-z0-9_-]*$",
        "write `participant.action`",
    )
}

/// A policy, or the name of one.
pub(super) fn retry() -> Value {
    either(&text(ID_BYTES_MAX), retry_policy())
}

/// A policy.
pub(super) fn retry_policy() -> Value {
    mapping(
        "retry policy",
        vec![
            Key::new(
                "initialInterval",
                "Before the second attempt. Default: 1s.",
                duration(),
            ),
            Key::new(
                "backoff",
                "Each interval is this times the one before. Default: 2.",
                json!({"type": "number", "minimum": 1, "maximum": BACKOFF_MAX}),
            ),
            Key::new(
                "maxInterval",
                "No interval is longer. Default: 1m.",
                duration(),
            ),
            Key::new(
                "jitter",
                "Each interval is spread by this fraction of itself, up and down. Default: 0.2.",
                json!({"type": "number", "minimum": 0, "maximum": 1}),
            ),
            Key::new(
                "maxAttempts",
                "Attempts in all, the first included; 0 means no bound. Default: 10, and 0 for a retriable step.",
                integer(0, ATTEMPTS_MAX),
            ),
            Key::new(
                "maxElapsed",
                "No attempt begins later than this after the first. Default: no bound.",
                duration(),
            ),
            Key::new(
                "nonRetryable",
                "Codes of failures that are not retried.",
                json!({"type": "array", "maxItems": ENTRIES_MAX, "items": text(CODE_BYTES_MAX)}),
            ),
        ],
    )
}

/// A duration for one attempt, or each bound by itself.
pub(super) fn timeout() -> Value {
    let parts = mapping(
        "timeout",
        vec![
            Key::new(
                "attempt",
                "One attempt, from its sending. Default: 30s.",
                duration(),
            ),
            Key::new(
                "total",
                "All attempts, from the first scheduling. Default: no bound.",
                duration(),
            ),
            Key::new(
                "schedule",
                "Waiting for a participant to take it. Default: no bound.",
                duration(),
            ),
            Key::new(
                "heartbeat",
                "Silence of a participant under way; less than `attempt`. Default: no bound.",
                duration(),
            ),
        ],
    );
    either(&duration(), parts)
}
