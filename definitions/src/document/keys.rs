//! The keys of the language: every mapping of a document has its table here, and nothing else knows which keys there are.

/// The document itself.
pub(crate) const DEFINITION: [&str; 19] = [
    "apiVersion",
    "name",
    "version",
    "description",
    "labels",
    "key",
    "orderingKey",
    "inputSchema",
    "output",
    "timeout",
    "onTimeout",
    "participants",
    "defaults",
    "retryPolicies",
    "compensation",
    "concurrency",
    "signals",
    "retention",
    "steps",
];
/// Keys of the document that are not served yet.
pub(crate) const DEFINITION_LATER: [&str; 1] = ["triggers"];
/// One of `participants`.
pub(crate) const PARTICIPANT: [&str; 3] = ["actions", "timeout", "retry"];
/// `defaults`.
pub(crate) const DEFAULTS: [&str; 2] = ["timeout", "retry"];
/// `compensation`.
pub(crate) const COMPENSATION: [&str; 4] = ["order", "retry", "timeout", "parkAfter"];
/// `concurrency`.
pub(crate) const CONCURRENCY: [&str; 2] = ["max", "onLimit"];
/// One of `signals`.
pub(crate) const SIGNAL: [&str; 1] = ["schema"];
/// Keys of one of `signals` that are not served yet.
pub(crate) const SIGNAL_LATER: [&str; 1] = ["events"];
/// One of `retryPolicies`, and `retry`.
pub(crate) const RETRY: [&str; 7] = [
    "initialInterval",
    "backoff",
    "maxInterval",
    "jitter",
    "maxAttempts",
    "maxElapsed",
    "nonRetryable",
];
/// `timeout` with its parts.
pub(crate) const TIMEOUT: [&str; 4] = ["attempt", "total", "schedule", "heartbeat"];
/// One of `steps`.
pub(crate) const STEP: [&str; 18] = [
    "id",
    "needs",
    "call",
    "wait",
    "sleep",
    "saga",
    "emit",
    "fail",
    "kind",
    "when",
    "foreach",
    "input",
    "outputSchema",
    "retry",
    "timeout",
    "onError",
    "query",
    "compensate",
];
/// What a step does: exactly one of these.
pub(crate) const WORK: [&str; 6] = ["call", "wait", "sleep", "saga", "emit", "fail"];
/// `wait`.
pub(crate) const WAIT: [&str; 3] = ["signal", "timeout", "onTimeout"];
/// `sleep`, unless it is a duration.
pub(crate) const SLEEP: [&str; 1] = ["until"];
/// `saga`.
pub(crate) const SAGA: [&str; 3] = ["name", "key", "input"];
/// `emit`.
pub(crate) const EMIT: [&str; 3] = ["type", "subject", "data"];
/// `fail`.
pub(crate) const FAIL: [&str; 2] = ["code", "message"];
/// `foreach`.
pub(crate) const FOREACH: [&str; 5] = ["in", "as", "key", "maxParallel", "maxItems"];
/// One of `onError`.
pub(crate) const ROUTE: [&str; 4] = ["codes", "when", "then", "output"];
/// `compensate`.
pub(crate) const COMPENSATE: [&str; 5] = ["none", "call", "input", "retry", "timeout"];

/// Keys of a step that do not go with everything that a step can do, with what they go with and what to write instead.
pub(crate) const ONLY_WITH: [(&str, &[&str], &str); 6] = [
    (
        "input",
        &["call"],
        "a child's input is `saga.input`, an event's is `emit.data`",
    ),
    (
        "outputSchema",
        &["call", "saga"],
        "what a signal brings is checked by the signal's `schema`",
    ),
    (
        "retry",
        &["call"],
        "only a participant's answer is tried again",
    ),
    (
        "timeout",
        &["call"],
        "a wait has its own `wait.timeout`, a child saga the `timeout` of its definition",
    ),
    (
        "query",
        &["call"],
        "only a participant can be asked what became of a call",
    ),
    (
        "compensate",
        &["call"],
        "remove it: there is nothing outside the saga that it would undo",
    ),
];
