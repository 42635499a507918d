//! Retry policies and timeouts as an author writes them: any field may be missing.

use std::ops::Range;
use std::time::Duration;

use super::fields::{self, Fields, Spanned};
use super::keys;
use super::node::{Node, NodeValue};
use crate::diagnostic::Report;
use crate::limits::{CODE_BYTES_MAX, ENTRIES_MAX, ID_BYTES_MAX};

/// A retry policy with holes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetryFields {
    pub(crate) initial_interval: Option<Spanned<Duration>>,
    pub(crate) backoff: Option<Spanned<f64>>,
    pub(crate) max_interval: Option<Spanned<Duration>>,
    pub(crate) jitter: Option<Spanned<f64>>,
    pub(crate) max_attempts: Option<Spanned<f64>>,
    pub(crate) max_elapsed: Option<Spanned<Duration>>,
    pub(crate) non_retryable: Option<Vec<String>>,
}

/// What stands at `retry`.
#[derive(Clone, Debug)]
pub(crate) enum RetryDraft {
    /// A policy of `retryPolicies`.
    Named(Spanned<String>),
    /// A policy of its own.
    Inline(RetryFields, Range<usize>),
}

/// Timeouts with holes.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimeoutFields {
    pub(crate) attempt: Option<Spanned<Duration>>,
    pub(crate) total: Option<Spanned<Duration>>,
    pub(crate) schedule: Option<Spanned<Duration>>,
    pub(crate) heartbeat: Option<Spanned<Duration>>,
}

/// Defaults that calls without their own take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    pub(crate) retry: Option<RetryDraft>,
    pub(crate) timeout: TimeoutFields,
}

/// Reads `retry`: a policy, or the name of one.
pub(crate) fn retry(node: &Node, report: &mut Report) -> Option<RetryDraft> {
    if let NodeValue::Scalar(_) = node.value {
        return fields::text(node, "`retry`", ID_BYTES_MAX, report).map(RetryDraft::Named);
    }
    retry_fields(node, "`retry`", report)
        .map(|fields| RetryDraft::Inline(fields, node.span.clone()))
}

/// Reads a policy.
pub(crate) fn retry_fields(node: &Node, what: &str, report: &mut Report) -> Option<RetryFields> {
    let fields = Fields::read(node, what, &keys::RETRY, &[], report)?;
    let mut duration = |key: &str| {
        let node = fields.get(key)?;
        fields::duration(node, &format!("`{key}`"), report)
    };
    let (initial_interval, max_interval, max_elapsed) = (
        duration("initialInterval"),
        duration("maxInterval"),
        duration("maxElapsed"),
    );
    let mut number = |key: &str| {
        let node = fields.get(key)?;
        fields::number(node, &format!("`{key}`"), report)
    };
    let (backoff, jitter, max_attempts) =
        (number("backoff"), number("jitter"), number("maxAttempts"));
    let non_retryable = fields
        .get("nonRetryable")
        .and_then(|node| codes(node, report));
    Some(RetryFields {
        initial_interval,
        backoff,
        max_interval,
        jitter,
        max_attempts,
        max_elapsed,
        non_retryable,
    })
}

/// Reads `timeout`: a duration, or its parts.
pub(crate) fn timeout(node: &Node, report: &mut Report) -> Option<TimeoutFields> {
    if let NodeValue::Scalar(_) = node.value {
        return Some(TimeoutFields {
            attempt: fields::duration(node, "`timeout`", report),
            ..TimeoutFields::default()
        });
    }
    let fields = Fields::read(node, "`timeout`", &keys::TIMEOUT, &[], report)?;
    let mut duration = |key: &str| {
        let node = fields.get(key)?;
        fields::duration(node, &format!("`timeout.{key}`"), report)
    };
    Some(TimeoutFields {
        attempt: duration("attempt"),
        total: duration("total"),
        schedule: duration("schedule"),
        heartbeat: duration("heartbeat"),
    })
}

fn codes(node: &Node, report: &mut Report) -> Option<Vec<String>> {
    let items = fields::items_up_to(node, "`nonRetryable`", ENTRIES_MAX, report)?;
    let mut codes: Vec<String> = items
        .iter()
        .filter_map(|item| fields::text(item, "a code of `nonRetryable`", CODE_BYTES_MAX, report))
        .map(|code| code.value)
        .collect();
    codes.sort_unstable();
    codes.dedup();
    Some(codes)
}
