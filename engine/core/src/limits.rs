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
/// When a parent first asks again for a child that has not ended.
pub const CHILD_ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How often it asks from then on; longer than [`ASLEEP_AFTER`], so that it can leave memory meanwhile.
pub const CHILD_ASKED_AT_REST_AFTER: Duration = Duration::from_secs(600);
/// A child is kept for so long at least after its parent's end, and so is a parent that has asked for one after its own, whatever their
/// definitions say: what a parent wants of its child may be under way for as long as [`CHILD_ASKED_AT_REST_AFTER`], and a wish to
/// run that found no child would begin it anew.
pub const CHILD_KEPT_MIN: Duration = Duration::from_secs(3_600);
/// Sagas that one shard asks the store for at a time.
pub const LOADS_IN_FLIGHT: usize = 64;
/// When the store is asked again for a saga, if it could not say.
pub const LOAD_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Sagas that only wait and whose rest is not yet recorded: so many are recorded with one batch of their shard.
pub const RESTS_PER_BATCH: usize = 64;
/// Attempts of a query, before its action's effect counts as unknown for good.
pub const QUERY_ATTEMPTS_MAX: u32 = 10;
