//! Every bound of the engine's core, named and with its unit. The only home of such constants in this package.

use std::time::Duration;

/// Facts of one saga; at the cap its forward work parks as `HISTORY_FULL`.
pub const HISTORY_FACTS_MAX: u32 = 10_000;
/// Bytes of payloads in one saga's facts; at the cap its forward work parks as `HISTORY_FULL`.
pub const HISTORY_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Rows that one shard puts into a batch.
pub const BATCH_ROWS_MAX: usize = 1_024;
/// Payload bytes that one shard puts into a batch, give or take one row.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Shards of a database.
pub const SHARDS_MAX: u16 = 4_096;
/// The words of a failure that are recorded; the edge refuses longer ones.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Signals of one saga that nothing has taken yet.
pub const SIGNALS_PENDING_MAX: usize = 2_000;
/// Parents above a child saga.
pub const CHILD_DEPTH_MAX: u32 = 8;
/// A saga that only waits for longer than this leaves memory.
pub const ASLEEP_AFTER: Duration = Duration::from_secs(60);
/// How often a parent asks again for a child that has not answered.
pub const CHILD_ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Attempts of a query, before its action's effect counts as unknown for good.
pub const QUERY_ATTEMPTS_MAX: u32 = 10;
