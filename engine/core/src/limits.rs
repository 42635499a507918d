//! Every bound of the engine's core, named and with its unit. The only home of such constants in this package.

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
