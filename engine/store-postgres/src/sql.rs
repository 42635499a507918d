//! Every statement of this store.

/// What a connection of a lane plans with, for ever: an early plan against an empty, never analysed table would keep its
/// sequential scan, or its hash over a whole index, when the table has grown.
pub(crate) const LANE_SESSION: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan";
/// The same trap for what reads; joins are left to the planner there.
pub(crate) const READER_SESSION: &str = "SET enable_seqscan = off";

/// Whose connection this is: a replica's? which backend's? which database's?
pub(crate) const GREETING: &str =
    "SELECT pg_is_in_recovery(), pg_backend_pid(), incarnation FROM amends.meta";
pub(crate) const IN_RECOVERY: &str = "SELECT pg_is_in_recovery()";

pub(crate) const IDENTITY: &str =
    "SELECT incarnation, shard_count, clock_timestamp() FROM amends.meta";

/// A batch: one statement, so one round trip and one outcome.
pub(crate) const APPEND: &str = "\
WITH inserted AS (
    INSERT INTO amends.sagas (shard, id, namespace, definition, revision, hash, key, state, wake_at, started_at, \
        updated_at, ended_at)
    SELECT * FROM UNNEST($8::int2[], $9::uuid[], $10::text[], $11::text[], $12::int4[], $13::bytea[], $14::text[], \
        $15::int2[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[])
), updated AS (
    UPDATE amends.sagas AS s
    SET state = n.state, wake_at = n.wake_at, updated_at = n.updated_at, ended_at = n.ended_at
    FROM UNNEST($20::int2[], $21::uuid[], $22::int2[], $23::timestamptz[], $24::timestamptz[], $25::timestamptz[])
        AS n (shard, id, state, wake_at, updated_at, ended_at)
    WHERE s.shard = n.shard AND s.id = n.id
), keyed AS (
    INSERT INTO amends.saga_keys (namespace, definition, key_hash, saga_id, input_hash)
    SELECT * FROM UNNEST($26::text[], $27::text[], $28::bytea[], $29::uuid[], $30::bytea[])
)
INSERT INTO amends.journal (shard, position, epoch, batch_id, saga_id, kind, at, body)
SELECT n.shard, n.position, n.epoch, $7::uuid, n.saga_id, 1, n.at, n.body
FROM UNNEST($1::int2[], $2::int8[], $3::int8[], $4::uuid[], $5::timestamptz[], $6::bytea[])
    AS n (shard, position, epoch, saga_id, at, body)";

pub(crate) const TAKE_OVER: &str = "INSERT INTO amends.journal (shard, position, epoch, batch_id, kind, at, body) \
    SELECT n.shard, n.position, n.position, n.batch_id, 2, n.at, n.body \
    FROM UNNEST($1::int2[], $2::int8[], $3::uuid[], $4::timestamptz[], $5::bytea[]) \
    AS n (shard, position, batch_id, at, body)";
pub(crate) const LOCK_TIMEOUT_ON: &str = "SET lock_timeout = '2s'";
pub(crate) const LOCK_TIMEOUT_OFF: &str = "SET lock_timeout = 0";
/// Ends the backends that hold what backend `$1` waits for: those of this role, and never a migration.
pub(crate) const END_BLOCKERS: &str = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a \
    WHERE a.pid = ANY(pg_blocking_pids($1)) AND a.usename = current_user AND a.datname = current_database() \
    AND a.application_name <> 'amends-migrate'";

pub(crate) const TAILS: &str = "SELECT coalesce(t.position, 0), coalesce(t.epoch, 0), \
    (SELECT count(*) FROM amends.journal AS c WHERE c.shard = n.shard AND c.position >= t.epoch) \
    FROM UNNEST($1::int2[]) WITH ORDINALITY AS n (shard, place) \
    LEFT JOIN LATERAL (SELECT j.position, j.epoch FROM amends.journal AS j WHERE j.shard = n.shard \
    ORDER BY j.position DESC LIMIT 1) AS t ON true ORDER BY n.place";
pub(crate) const TAKEN: &str = "SELECT n.shard FROM UNNEST($1::int2[], $2::int8[]) AS n (shard, first) \
    CROSS JOIN LATERAL (SELECT 1 FROM amends.journal AS j WHERE j.shard = n.shard AND j.position >= n.first LIMIT 1) \
    AS t ORDER BY n.shard";
pub(crate) const AUTHOR: &str =
    "SELECT epoch, batch_id FROM amends.journal WHERE shard = $1 AND position = $2";

/// Locks first, so that the statements that follow see what the claim before this one left.
pub(crate) const CLAIM_LOCK: &str =
    "SELECT shard FROM amends.shards WHERE shard = ANY($1::int2[]) ORDER BY shard FOR UPDATE";
pub(crate) const CLAIM_NODE: &str = "INSERT INTO amends.nodes (name, process, address, expires_at) \
    VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4)) \
    ON CONFLICT (name) DO UPDATE SET process = excluded.process, address = excluded.address, \
    expires_at = excluded.expires_at";
pub(crate) const CLAIM_SHARDS: &str = "UPDATE amends.shards AS s SET node = $1 WHERE s.shard = ANY($2::int2[]) \
    AND (s.node IS NULL OR s.node = $1 OR NOT EXISTS (SELECT 1 FROM amends.nodes AS n WHERE n.name = s.node \
    AND n.expires_at > clock_timestamp()))";
pub(crate) const CLAIMED: &str =
    "SELECT shard FROM amends.shards WHERE node = $1 AND shard = ANY($2::int2[]) ORDER BY shard";
pub(crate) const RENEW: &str = "UPDATE amends.nodes SET expires_at = clock_timestamp() + make_interval(secs => $3) \
    WHERE name = $1 AND process = $2 RETURNING clock_timestamp()";
pub(crate) const RELEASE: &str = "WITH gone AS (DELETE FROM amends.nodes WHERE name = $1 AND process = $2 \
    RETURNING name) UPDATE amends.shards AS s SET node = NULL FROM gone WHERE s.node = gone.name";

pub(crate) const ACTIVE: &str = "SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, \
    updated_at, ended_at FROM amends.sagas WHERE shard = $1 AND id > $2 AND state NOT IN (2, 4, 6) \
    AND (wake_at IS NULL OR wake_at <= $3) ORDER BY id LIMIT $4";
pub(crate) const ACTIVE_ROWS: &str = "SELECT saga_id, position, at, body FROM amends.journal \
    WHERE shard = $1 AND saga_id = ANY($2::uuid[]) ORDER BY saga_id, position";
pub(crate) const SAGA: &str = "SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, \
    updated_at, ended_at FROM amends.sagas WHERE shard = $1 AND id = $2";
pub(crate) const HISTORY: &str = "SELECT saga_id, position, at, body FROM amends.journal \
    WHERE shard = $1 AND saga_id = $2 AND position >= $3 ORDER BY position LIMIT $4";
pub(crate) const LOOKUP_KEYS: &str = "SELECT k.place, s.saga_id, s.input_hash \
    FROM UNNEST($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY AS k (namespace, definition, key_hash, place) \
    CROSS JOIN LATERAL (SELECT saga_id, input_hash FROM amends.saga_keys AS s WHERE s.namespace = k.namespace \
    AND s.definition = k.definition AND s.key_hash = k.key_hash LIMIT 1) AS s";
/// The newest of each shard, then of all: ids sort by time, and no index but the primary key is needed.
pub(crate) const LIST: &str = "SELECT s.* FROM amends.shards AS h CROSS JOIN LATERAL (\
    SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, updated_at, ended_at \
    FROM amends.sagas WHERE shard = h.shard AND namespace = $1 \
    AND (cardinality($2::int2[]) = 0 OR state = ANY($2::int2[])) AND ($3::text IS NULL OR definition = $3) \
    AND ($4::text IS NULL OR key = $4) AND ($5::uuid IS NULL OR id < $5) ORDER BY id DESC LIMIT $6) AS s \
    ORDER BY s.id DESC LIMIT $6";

/// Nothing is returned if another took the number in the meantime.
pub(crate) const PUT_DEFINITION: &str = "INSERT INTO amends.definitions \
    (namespace, name, revision, hash, source, normal_form, applied_at) \
    VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp()) ON CONFLICT DO NOTHING RETURNING applied_at";
pub(crate) const DEFINITION_NEWEST: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at \
    FROM amends.definitions WHERE namespace = $1 AND name = $2 ORDER BY revision DESC LIMIT 1";
pub(crate) const DEFINITION_REVISION: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at \
    FROM amends.definitions WHERE namespace = $1 AND name = $2 AND revision = $3";
pub(crate) const DEFINITION_HASH: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at \
    FROM amends.definitions WHERE hash = $1 LIMIT 1";
pub(crate) const DEFINITIONS: &str = "SELECT DISTINCT ON (name) namespace, name, revision, hash, source, normal_form, \
    applied_at FROM amends.definitions WHERE namespace = $1 AND ($2::text IS NULL OR name > $2) \
    ORDER BY name, revision DESC LIMIT $3";

/// All that stand alone, for the test that prepares each.
#[cfg(test)]
pub(crate) const ALL: &[&str] = &[
    GREETING,
    IN_RECOVERY,
    IDENTITY,
    APPEND,
    TAKE_OVER,
    LOCK_TIMEOUT_ON,
    LOCK_TIMEOUT_OFF,
    END_BLOCKERS,
    TAILS,
    TAKEN,
    AUTHOR,
    CLAIM_LOCK,
    CLAIM_NODE,
    CLAIM_SHARDS,
    CLAIMED,
    RENEW,
    RELEASE,
    ACTIVE,
    ACTIVE_ROWS,
    SAGA,
    HISTORY,
    LOOKUP_KEYS,
    LIST,
    PUT_DEFINITION,
    DEFINITION_NEWEST,
    DEFINITION_REVISION,
    DEFINITION_HASH,
    DEFINITIONS,
];
