//! Every bound of the protocol's edge, named and with its unit. The only home of such constants in this package; those of
//! documents and payloads are `amends_definitions::limits`.

use std::time::Duration;

/// A request message; a larger one is `RESOURCE_EXHAUSTED` before it is read.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// HTTP/2: streams of one connection at the same time.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// HTTP/2: what a stream's sender may send ahead.
pub const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// HTTP/2: what a connection's sender may send ahead.
pub const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// HTTP/2: all headers of one request.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// HTTP/2: streams that a peer reset before they were taken (CVE-2023-44487).
pub const PENDING_ACCEPT_RESETS_MAX: usize = 20;
/// HTTP/2: streams that were reset for a peer's errors (RUSTSEC-2024-0003). Tonic's own default is no limit.
pub const LOCAL_ERROR_RESETS_MAX: usize = 1_024;
/// HTTP/2: silence after which a peer is pinged.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// HTTP/2: how long an answer to a ping may take before the connection is lost.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of a node; more wait in the kernel's backlog.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Connections of one peer's address, unless the options say; more are closed at once.
pub const CONNECTIONS_PER_PEER_MAX: usize = 1_024;
/// HTTP/2: what every connection begins with.
pub const PREFACE_BYTES: usize = 24;
/// HTTP/2: how long a peer may take for that.
pub const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls that stay open (waits, watches, streams) of a node; one more is `RESOURCE_EXHAUSTED`.
pub const LONG_CALLS_MAX: usize = 16_384;
/// Pause after an accept that failed, such as for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the end of open connections is waited for at a shutdown.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Bytes of error details in a response: they travel in a header, base64-encoded, and clients take 16 KiB of headers.
pub const DETAILS_BYTES_MAX: usize = 6 * 1024;
/// Bytes of an error's message, for the same reason: percent-encoding can triple it.
pub const STATUS_MESSAGE_BYTES_MAX: usize = 1_024;

/// The admin token: it travels in a header, beside others.
pub const ADMIN_TOKEN_BYTES_MAX: usize = 512;
/// A resource name.
pub const RESOURCE_NAME_BYTES_MAX: usize = 256;
/// A DNS label: a namespace, a definition's id, a participant's name.
pub const LABEL_BYTES_MAX: usize = 63;
/// Entries of a page.
pub const PAGE_SIZE_MAX: u32 = 1_000;
/// Entries of a page of sagas or definitions, if the request does not say.
pub const PAGE_SIZE_DEFAULT: u32 = 50;
/// Facts of a page of history, if the request does not say.
pub const HISTORY_PAGE_SIZE_DEFAULT: u32 = 100;
/// Bytes of facts in a page of history, give or take one row.
pub const HISTORY_PAGE_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of definitions in a page of them, give or take one; a page that is full of bytes is a page.
pub const DEFINITIONS_PAGE_BYTES: usize = 2 * 1024 * 1024;
/// Definitions that a page reads at once: each has its source and its normal form.
pub const DEFINITIONS_AT_ONCE: usize = 32;
/// Rows that a follower reads at once.
pub const FOLLOW_ROWS: usize = 128;
/// A page token's text.
pub const PAGE_TOKEN_BYTES_MAX: usize = 256;
/// Why somebody does something about a saga.
pub const REASON_BYTES_MAX: usize = 1_024;
/// The text of what incidents have in common; the longest one that a node makes has 267 bytes.
pub const FINGERPRINT_BYTES_MAX: usize = 512;
/// Incidents that one request reads while it looks for a page of those that fit.
pub const INCIDENTS_READ_MAX: usize = 5_000;
/// Sagas that one request reads while it looks for a page of those of one revision.
pub const SAGAS_READ_MAX: usize = 10_000;
/// Groups of incidents that are listed.
pub const INCIDENT_GROUPS_MAX: usize = 1_000;
/// Sagas in a second that an act on a group reaches, if the request does not say.
pub const GROUP_RATE_DEFAULT: u32 = 10;
/// The longest wait for a saga.
pub const WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// The wait for a saga, if the request does not say.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(60);

/// Starts of one stream that are open: not answered yet, or their saga's end not told yet.
pub const STARTS_OPEN_MAX: usize = 8_192;
/// Sagas that existed before their start, and that a stream of starts reads at once to tell how they settle.
pub const CATCH_UPS_AT_ONCE_MAX: usize = 8;

/// Time for the first message of a stream.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Session leases that a participant may be silent while it has attempts in hand.
pub const SILENT_LEASES: u32 = 2;
/// An operation's key, as participants say it back; the longest one that a node makes has 287 bytes.
pub const OPERATION_KEY_BYTES_MAX: usize = 512;
/// Outcomes of one participant that were read, and whose answers it has not taken yet; then its next ones wait.
pub const UNANSWERED_OUTCOMES_MAX: usize = 8_192;
/// Time that a message on a stream may wait for the peer to read.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Messages on a stream that are ready before the peer reads.
pub const OUTGOING_MESSAGES: usize = 4;
/// Actions that a participant offers.
pub const ACTIONS_MAX: usize = 1_000;
/// Commands that a participant has room for.
pub const CREDIT_MAX: u32 = 10_000;
/// A participant instance's name.
pub const INSTANCE_BYTES_MAX: usize = 128;
/// What a participant says that it runs.
pub const SDK_BYTES_MAX: usize = 128;
/// Attempts that a participant has in hand when it attaches: its credit, and outcomes that nobody acknowledged yet.
pub const IN_HAND_MAX: usize = 20_000;
/// Items of one stream message.
pub const BATCH_ITEMS_MAX: usize = 128;
/// Payload bytes of one stream message, give or take one item.
pub const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Deliveries or events gathered into messages at once.
pub const GATHER_MAX: usize = 256;
/// An outcome's code.
pub const CODE_BYTES_MAX: usize = 128;
/// An outcome's words.
pub const OUTCOME_MESSAGE_BYTES_MAX: usize = amends_core::limits::MESSAGE_BYTES_MAX;
/// How far a participant may put off its next attempt.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
