//! Invariants that the checker does not assert at this level, each with the reason, so that nobody has to look for them.

/// The number, and why it is not here.
pub const ELSEWHERE: [(&str, &str); 9] = [
    ("I15", "ordering keys are not served by the core yet"),
    (
        "I16",
        "limits of concurrency are not served by the core yet",
    ),
    ("I27", "there are no save-points in the language"),
    ("I28", "child sagas are not served by the core yet"),
    ("I39", "signals are not served by the core yet"),
    (
        "I41",
        "the outbox is a reader of committed rows: it has no part in these machines",
    ),
    (
        "I44",
        "reads are answered by the store, not by the machines: the end-to-end tests read",
    ),
    (
        "I46",
        "admission is decided before a start reaches a lane: the orchestrator's tests",
    ),
    (
        "I48",
        "two runs of one seed, compared by a test of their own (`campaign`)",
    ),
];
