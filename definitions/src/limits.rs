//! Every bound of the language, named and with its unit. The only home of such constants in this package.

use std::time::Duration;

/// A YAML document.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Nesting of a YAML document.
pub const DOCUMENT_DEPTH_MAX: usize = 32;
/// Values and keys in a YAML document.
pub const DOCUMENT_NODES_MAX: usize = 20_000;
/// Diagnostics reported on one document; the rest would be noise.
pub const DIAGNOSTICS_MAX: usize = 100;
/// Steps of a definition.
pub const STEPS_MAX: usize = 500;
/// A definition's name: a DNS label.
pub const NAME_BYTES_MAX: usize = 63;
/// A step's id, and each half of an action's name.
pub const ID_BYTES_MAX: usize = 63;
/// A label's value, and `version`.
pub const LABEL_BYTES_MAX: usize = 256;
/// `description`, and the reason of `compensate: {none}`.
pub const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Labels, retry policies, participants, signals, routes of one `onError`, and codes of one list.
pub const ENTRIES_MAX: usize = 64;
/// A failure's code.
pub const CODE_BYTES_MAX: usize = 128;
/// Actions in a participant's contract.
pub const PARTICIPANT_ACTIONS_MAX: usize = 256;
/// A definition in normal form: filling in the defaults makes a document grow.
pub const NORMAL_FORM_BYTES_MAX: usize = 8 * DOCUMENT_BYTES_MAX;
/// A payload: an input, an output, a mapping's value.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Nesting of a payload's JSON.
pub const PAYLOAD_DEPTH_MAX: usize = 64;
/// The source of an expression.
pub const EXPRESSION_BYTES_MAX: usize = 1024;
/// Nesting of an expression's syntax tree. A chain of operators nests as well.
pub const EXPRESSION_DEPTH_MAX: usize = 32;
/// Comprehensions (`all`, `exists`, `exists_one`, `map`, `filter`) within each other.
pub const EXPRESSION_COMPREHENSIONS_MAX: usize = 2;
/// What the evaluation of one expression or mapping may cost: a unit is a node of the syntax tree inside a comprehension
/// evaluated once, a value read or looked at, [`EXPRESSION_UNIT_BYTES`] bytes compared or copied, or
/// [`EXPRESSION_SCAN_BYTES`] bytes of a payload searched for a reference.
pub const EXPRESSION_UNITS_MAX: u64 = 200_000;
/// What the keys of all items of one list may cost together: they are computed at once, and hold up whoever waits meanwhile. A
/// thousand of them may each look through a saga's input of half of a MiB.
pub const ITEM_KEYS_UNITS_MAX: u64 = 20 * EXPRESSION_UNITS_MAX;
/// Bytes compared or copied that cost one unit.
pub const EXPRESSION_UNIT_BYTES: usize = 64;
/// Bytes searched that cost one unit.
pub const EXPRESSION_SCAN_BYTES: usize = 128;
/// Steps of a `matches` that cost one unit. A step is one byte of the text, for one byte of the pattern, as often as the
/// pattern's counts (`{n,m}`) repeat it: that bounds what the slowest of patterns does, and the linear engine never does more.
pub const EXPRESSION_MATCH_STEPS: u64 = 64;
/// The pattern of a `matches`.
pub const EXPRESSION_PATTERN_BYTES_MAX: usize = 128;
/// What one compiled pattern of a `matches` may take of memory: it is kept as long as its definition.
pub const EXPRESSION_PATTERN_MEMORY_BYTES_MAX: usize = 256 * 1024;
/// What a pattern of a `matches` may take of memory while it searches: it is kept as well.
pub const EXPRESSION_PATTERN_CACHE_BYTES_MAX: usize = 128 * 1024;
/// Uses of `matches` in a definition: checking compiles each pattern.
pub const DEFINITION_PATTERNS_MAX: u32 = 100;
/// Patterns in all the schemas of a definition together.
pub const SCHEMA_PATTERNS_MAX: usize = 100;
/// The parts of a schema with its references followed: a check of a payload visits as many.
pub const SCHEMA_NODES_MAX: u64 = 100_000;
/// How deep a schema is with its references followed.
pub const SCHEMA_DEPTH_MAX: usize = 48;
/// What one compiled pattern of a schema may take of memory.
pub const SCHEMA_PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// The product of the counts (`{n,m}`) in the pattern of a `matches`.
pub const EXPRESSION_PATTERN_REPEATS_MAX: u64 = 64;
/// A business key.
pub const KEY_BYTES_MAX: usize = 512;
/// How long the history of an ended saga is kept, unless its definition says otherwise.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a compensation is tried before it parks, unless its definition says otherwise.
pub const PARK_AFTER_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
/// One attempt of an operation, unless its definition says otherwise.
pub const ATTEMPT_DEFAULT: Duration = Duration::from_secs(30);
/// Sagas of one definition that run at a time.
pub const CONCURRENCY_MAX: u32 = 1_000_000;
/// Items of a list under `foreach`.
pub const ITEMS_MAX: u32 = 1_000;
/// Items under way at a time, unless the step says otherwise.
pub const ITEMS_PARALLEL_DEFAULT: u32 = 10;
/// Any duration of a definition.
pub const DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Attempts that a policy may ask for.
pub const ATTEMPTS_MAX: u32 = 1_000_000;
/// A policy's factor between two intervals.
pub const BACKOFF_MAX: f64 = 1000.0;
/// The parts of a schema times the values of a payload that is held against it: what one check may cost.
pub const SCHEMA_WORK_MAX: u64 = 10_000_000;
/// Violations that a schema reports on one payload.
pub const SCHEMA_VIOLATIONS_MAX: usize = 20;
