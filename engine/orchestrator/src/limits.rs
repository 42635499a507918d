//! Every bound of the orchestrator, named and with its unit. The only home of such constants in this package.

use std::time::Duration;

/// Commands in one delivery to a participant.
pub(crate) const DELIVERY_COMMANDS_MAX: usize = 128;
/// Payload bytes in one delivery to a participant, give or take one command.
pub(crate) const DELIVERY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What a command costs on the wire beside its payload, about.
pub(crate) const COMMAND_OVERHEAD_BYTES: usize = 512;
/// Messages that a lane takes before it decides.
pub(crate) const LANE_MESSAGES_MAX: usize = 8_192;
/// Rows in one batch of a lane, over all its shards.
pub(crate) const LANE_ROWS_MAX: usize = 8_192;
/// Payload bytes in one batch of a lane, over all its shards, give or take one shard's.
pub(crate) const LANE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Keys in one look-up.
pub(crate) const LOOKUP_KEYS_MAX: usize = 1_024;
/// Of so many commands that an instance takes, one is new while others were under way before this node had their shard.
pub(crate) const YOUNG_EVERY: usize = 4;
/// Shards that a lane brings back at once, and pages that a node reads or hands over at once for that: half of the
/// connections that a store reads through.
pub(crate) const RECOVERY_SHARDS_AT_ONCE: usize = 2;
/// Sagas that a lane brings back in one page.
pub(crate) const RECOVERY_PAGE_SAGAS: usize = 500;
/// Sleepers that are named to their shard in one page.
pub(crate) const RECOVERY_PAGE_SLEEPERS: usize = 10_000;
/// Reads of sagas that are under way at once, for each of two kinds: those that something arrived for, and those whose
/// time has come.
pub(crate) const LOADS_AT_ONCE_MAX: usize = 4;
/// Sagas in one such read.
pub(crate) const LOADS_PER_READ: usize = 32;
/// Sagas that are read in a second because their time has come.
pub(crate) const LOADS_DUE_PER_SECOND: u32 = 10_000;
/// Sagas of which a lane remembers that something arrived for them.
pub(crate) const URGENT_LOADS_MAX: usize = 10_000;
/// Heartbeats of one attempt that are passed on within its heartbeat timeout, at most.
pub(crate) const HEARTBEATS_IN_TIMEOUT: u32 = 8;
/// Questions between parents and children that are worked on at once.
pub(crate) const ERRANDS_AT_ONCE_MAX: usize = 64;
/// Rows that one read of a history asks for.
pub(crate) const HISTORY_PAGE_ROWS: usize = 2_000;
/// A business key.
pub(crate) const KEY_BYTES_MAX: usize = 512;
/// How old the answer to "which revision is the newest" may be.
pub(crate) const NEWEST_AGE_MAX: Duration = Duration::from_secs(1);
/// Inputs that have to be ready for a batch beside one that is being written. With fewer, one after the other is faster: on two
/// cores, two connections to PostgreSQL wrote 0.86 of what one did with 64 sagas in flight, and 1.2 with 512. Medians of five
/// interleaved runs with 512, sagas a second by this number: 192: 16,433, 128: 16,951, 96: 16,650, 64: 16,287, which takes
/// more of PostgreSQL's CPU; on SQLite, three runs, 192: 13,890, 128: 15,167, 64: 15,000.
pub(crate) const BESIDE_INPUTS_MIN: usize = 128;
/// How long what is ready waits for a batch that is being written, if another connection is free: that one may be dead.
pub(crate) const BESIDE_AFTER: Duration = Duration::from_millis(200);
/// How long a client should wait before it tries a refused start again.
pub(crate) const OVERLOAD_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The first wait after the store failed.
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_millis(20);
/// The longest wait between two tries of the store.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Takeovers of a shard that its former owner may outrun before the start is given up.
pub(crate) const TAKEOVER_TRIES_MAX: u32 = 20;
/// A jump of the database's clock that is worth a line in the log.
pub(crate) const CLOCK_JUMP_LOGGED: Duration = Duration::from_secs(60);
/// Subscriptions before those without a listener are swept out.
pub(crate) const SUBSCRIPTIONS_SWEEP_MIN: usize = 1_024;
/// Payload bytes of settled sagas that wait for one caller to take them; of more, it is told without them.
pub(crate) const SETTLED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Groups of incidents that a new revision is compared with.
pub(crate) const IMPACT_GROUPS_MAX: usize = 1_000;
/// How long whoever applies a revision waits to hear what it means for sagas in flight: all sagas are counted for it.
pub(crate) const IMPACT_TIME_MAX: Duration = Duration::from_secs(10);
/// Incidents that an act on a group reads at once.
pub(crate) const GROUP_PAGE_INCIDENTS: usize = 200;
/// Sagas that an act on a group reaches in a second.
pub(crate) const GROUP_RATE_MAX: u32 = 1_000;
/// How much longer retention rests than it has looked around.
pub(crate) const RETENTION_PAUSE_FACTOR: u32 = 9;
/// The same while most of what it looks at has expired: it has to keep up with what ends.
pub(crate) const RETENTION_PAUSE_FACTOR_BEHIND: u32 = 3;
/// The same while nearly all of it has: half of the time, or what ends at full speed would never go.
pub(crate) const RETENTION_PAUSE_FACTOR_FULL: u32 = 1;
/// The shortest rest of retention after a deletion.
pub(crate) const RETENTION_PAUSE_MIN: Duration = Duration::from_millis(10);
/// From one sweep to the next at most, once something may expire at any time.
pub(crate) const RETENTION_REST_MAX: Duration = Duration::from_secs(3_600);
/// That rest is this part of the shortest time for which a saga exists.
pub(crate) const RETENTION_REST_PART: u32 = 20;
/// From one sweep of everything to the next, whatever is known of what is left.
pub(crate) const RETENTION_WHOLE_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// Attempts that an explanation shows, the latest; a history may have 10,000.
pub(crate) const EXPLAINED_ATTEMPTS_MAX: usize = 500;
/// Sentences, owed compensations and awaited things that an explanation shows, each.
pub(crate) const EXPLAINED_ENTRIES_MAX: usize = 300;
/// Bytes of a failure's words in an explanation.
pub(crate) const EXPLAINED_MESSAGE_BYTES_MAX: usize = 512;
