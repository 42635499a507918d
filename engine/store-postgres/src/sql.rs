//! Every statement of this store.

/// What a connection of a lane plans with, for ever: an early plan against an empty, never analysed table would keep its
/// sequential scan, or its hash over a whole index, when the table has grown. Compiling a plan takes longer than running it.
pub(crate) const LANE_SESSION: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan; SET jit = off; \
    SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'enable_memoize'";
/// The same trap for what reads; joins are left to the planner there. A list that sorts all of a shard, because that had a few
/// rows when it was last analysed, took 35 ms with 70,000 sagas in all shards, and 5 from an index.
pub(crate) const READER_SESSION: &str =
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off";

/// Whose connection this is: a replica's? which backend's? which database's?
pub(crate) const GREETING: &str =
    "SELECT pg_is_in_recovery(), pg_backend_pid(), incarnation FROM amends.meta";
pub(crate) const IN_RECOVERY: &str = "SELECT pg_is_in_recovery()";

pub(crate) const IDENTITY: &str =
    "SELECT incarnation, shard_count, clock_timestamp() FROM amends.meta";

/// A batch: one statement, so one round trip and one outcome. This is the shape of batches that neither begin nor end a saga:
/// what a statement could do and does not costs a tenth of a millisecond with each small batch.
pub(crate) const APPEND_ROWS: &str = "\
INSERT INTO amends.journal (shard, position, epoch, batch_id, saga_id, kind, at, body)
SELECT n.shard, n.position, n.epoch, $7::uuid, n.saga_id, 1, n.at, n.body
FROM UNNEST($1::int2[], $2::int8[], $3::int8[], $4::uuid[], $5::timestamptz[], $6::bytea[])
    AS n (shard, position, epoch, saga_id, at, body)";

/// As [`APPEND_ROWS`], with sagas that begin, without keys.
pub(crate) const APPEND_STARTS: &str = "\
WITH inserted AS (
    INSERT INTO amends.sagas (shard, id, namespace, definition, revision, hash, key, state, wake_at, started_at, \
        updated_at, ended_at)
    SELECT * FROM UNNEST($8::int2[], $9::uuid[], $10::text[], $11::text[], $12::int4[], $13::bytea[], $14::text[], \
        $15::int2[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[])
)
INSERT INTO amends.journal (shard, position, epoch, batch_id, saga_id, kind, at, body)
SELECT n.shard, n.position, n.epoch, $7::uuid, n.saga_id, 1, n.at, n.body
FROM UNNEST($1::int2[], $2::int8[], $3::int8[], $4::uuid[], $5::timestamptz[], $6::bytea[])
    AS n (shard, position, epoch, saga_id, at, body)";

/// A batch of nothing but calls, with ends and keys. An end gives its turn back: no row of an ended saga is in the index of
/// turns. [`APPEND_ALL`] has the rest.
///
/// A row that is changed is probed for by its key first, one probe for each, and then reached by its place. Joined by its
/// key at once, a table that was analysed while it was empty looked so small that the plan kept for it walked the whole
/// of it for each row.
pub(crate) const APPEND: &str = "\
WITH inserted AS (
    INSERT INTO amends.sagas (shard, id, namespace, definition, revision, hash, key, state, wake_at, started_at, \
        updated_at, ended_at)
    SELECT * FROM UNNEST($8::int2[], $9::uuid[], $10::text[], $11::text[], $12::int4[], $13::bytea[], $14::text[], \
        $15::int2[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[])
), updated AS (
    UPDATE amends.sagas AS s
    SET state = n.state, wake_at = n.wake_at, updated_at = n.updated_at, ended_at = n.ended_at, \
        expires_at = n.expires_at, turn_granted = n.turn_granted, \
        turn_position = CASE WHEN n.state IN (2, 4, 6) THEN NULL ELSE s.turn_position END
    FROM (SELECT n.*, t.place FROM UNNEST($20::int2[], $21::uuid[], $22::int2[], $23::timestamptz[], $24::timestamptz[], \
        $25::timestamptz[], $26::timestamptz[], $27::bool[])
        AS n (shard, id, state, wake_at, updated_at, ended_at, expires_at, turn_granted) CROSS JOIN LATERAL \
        (SELECT ctid AS place FROM amends.sagas AS t WHERE t.shard = n.shard AND t.id = n.id OFFSET 0) AS t) AS n
    WHERE s.ctid = n.place
), keyed AS (
    INSERT INTO amends.saga_keys (namespace, definition, key_hash, saga_id, input_hash)
    SELECT * FROM UNNEST($28::text[], $29::text[], $30::bytea[], $31::uuid[], $32::bytea[])
)
INSERT INTO amends.journal (shard, position, epoch, batch_id, saga_id, kind, at, body)
SELECT n.shard, n.position, n.epoch, $7::uuid, n.saga_id, 1, n.at, n.body
FROM UNNEST($1::int2[], $2::int8[], $3::int8[], $4::uuid[], $5::timestamptz[], $6::bytea[])
    AS n (shard, position, epoch, saga_id, at, body)";

/// As [`APPEND`], with turns, parents, sagas that end as they begin, and incidents. Of these, a name is looked for as a range
/// of one: only the primary key can be searched for that, while another index has its parts as well.
pub(crate) const APPEND_ALL: &str = "\
WITH inserted AS (
    INSERT INTO amends.sagas (shard, id, namespace, definition, revision, hash, key, state, wake_at, started_at, \
        updated_at, ended_at, turn_position, concurrency_max, ordering_hash, turn_granted, parent_id, expires_at)
    SELECT * FROM UNNEST($8::int2[], $9::uuid[], $10::text[], $11::text[], $12::int4[], $13::bytea[], $14::text[], \
        $15::int2[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[], $33::int8[], \
        $34::int8[], $35::bytea[], $36::bool[], $37::uuid[], $38::timestamptz[])
), updated AS (
    UPDATE amends.sagas AS s
    SET state = n.state, wake_at = n.wake_at, updated_at = n.updated_at, ended_at = n.ended_at, \
        expires_at = n.expires_at, turn_granted = n.turn_granted, \
        turn_position = CASE WHEN n.state IN (2, 4, 6) THEN NULL ELSE s.turn_position END
    FROM (SELECT n.*, t.place FROM UNNEST($20::int2[], $21::uuid[], $22::int2[], $23::timestamptz[], $24::timestamptz[], \
        $25::timestamptz[], $26::timestamptz[], $27::bool[])
        AS n (shard, id, state, wake_at, updated_at, ended_at, expires_at, turn_granted) CROSS JOIN LATERAL \
        (SELECT ctid AS place FROM amends.sagas AS t WHERE t.shard = n.shard AND t.id = n.id OFFSET 0) AS t) AS n
    WHERE s.ctid = n.place
), keyed AS (
    INSERT INTO amends.saga_keys (namespace, definition, key_hash, saga_id, input_hash)
    SELECT * FROM UNNEST($28::text[], $29::text[], $30::bytea[], $31::uuid[], $32::bytea[])
), opened AS (
    INSERT INTO amends.incidents (shard, saga_id, number, namespace, definition, revision, step, item, operation, reason, \
        code, message, opened_at)
    SELECT * FROM UNNEST($39::int2[], $40::uuid[], $41::int8[], $42::text[], $43::text[], $44::int4[], $45::text[], \
        $46::int8[], $47::text[], $48::text[], $49::text[], $50::text[], $51::timestamptz[])
), closed AS (
    DELETE FROM amends.incidents AS i
    USING (SELECT t.place FROM UNNEST($52::int2[], $53::uuid[], $54::int8[]) AS n (shard, saga_id, number) \
        CROSS JOIN LATERAL (SELECT ctid AS place FROM amends.incidents AS t \
        WHERE (t.shard, t.saga_id, t.number) >= (n.shard, n.saga_id, n.number) \
        AND (t.shard, t.saga_id, t.number) <= (n.shard, n.saga_id, n.number) OFFSET 0) AS t) AS n
    WHERE i.ctid = n.place
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
    (SELECT count(*) FROM amends.journal AS c WHERE c.shard = n.shard AND c.position >= t.epoch), \
    coalesce((SELECT h.expired_rows FROM amends.shards AS h WHERE h.shard = n.shard AND h.expired_epoch = t.epoch), 0) \
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
    expires_at = excluded.expires_at, clock_until = greatest(nodes.clock_until, nodes.expires_at)";
/// Whose lease is over loses it with the first shard that is taken: it is not renewed any more. A row that is being renewed
/// is left alone, so that this waits for nobody.
pub(crate) const CLAIM_DEPOSE: &str = "UPDATE amends.nodes SET process = '00000000-0000-0000-0000-000000000000' \
    WHERE name IN (SELECT n.name FROM amends.nodes AS n WHERE n.name <> $1 AND n.expires_at <= clock_timestamp() \
    AND EXISTS (SELECT 1 FROM amends.shards AS s WHERE s.node = n.name AND s.shard = ANY($2::int2[])) \
    ORDER BY n.name FOR UPDATE SKIP LOCKED)";
pub(crate) const CLAIM_SHARDS: &str = "UPDATE amends.shards AS s SET node = $1 WHERE s.shard = ANY($2::int2[]) \
    AND (s.node IS NULL OR s.node = $1 OR NOT EXISTS (SELECT 1 FROM amends.nodes AS n WHERE n.name = s.node \
    AND n.process <> '00000000-0000-0000-0000-000000000000'))";
pub(crate) const CLAIMED: &str =
    "SELECT shard FROM amends.shards WHERE node = $1 AND shard = ANY($2::int2[]) ORDER BY shard";
pub(crate) const RENEW: &str = "UPDATE amends.nodes SET expires_at = clock_timestamp() + make_interval(secs => $3), \
    clock_until = greatest(clock_until, greatest(clock_timestamp(), $4) + make_interval(secs => $3)) \
    WHERE name = $1 AND process = $2 RETURNING clock_timestamp()";
pub(crate) const CLOCKS_UNTIL: &str = "SELECT coalesce(max(CASE WHEN name = $1 THEN clock_until \
    ELSE greatest(clock_until, expires_at) END), to_timestamp(0)) FROM amends.nodes";
pub(crate) const RELEASE: &str = "WITH gone AS (UPDATE amends.nodes SET process = '00000000-0000-0000-0000-000000000000', \
    expires_at = clock_timestamp() WHERE name = $1 AND process = $2 RETURNING name) UPDATE amends.shards AS s SET node = NULL FROM gone WHERE s.node = gone.name";

/// State by state, each in the order of the index that has no finished saga in it, so that a page costs what it holds.
pub(crate) const ACTIVE: &str = "SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, \
    updated_at, ended_at, parent_id, expires_at FROM (\
    (SELECT * FROM amends.sagas WHERE shard = $1 AND state = 1 AND id > $2 AND (wake_at IS NULL OR wake_at <= $3) \
        ORDER BY id LIMIT $4) \
    UNION ALL (SELECT * FROM amends.sagas WHERE shard = $1 AND state = 3 AND id > $2 \
        AND (wake_at IS NULL OR wake_at <= $3) ORDER BY id LIMIT $4) \
    UNION ALL (SELECT * FROM amends.sagas WHERE shard = $1 AND state = 5 AND id > $2 \
        AND (wake_at IS NULL OR wake_at <= $3) ORDER BY id LIMIT $4)) AS s ORDER BY id LIMIT $4";
pub(crate) const ACTIVE_ROWS: &str = "SELECT saga_id, position, at, body FROM amends.journal \
    WHERE shard = $1 AND saga_id = ANY($2::uuid[]) ORDER BY saga_id, position";
pub(crate) const SAGA: &str = "SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, \
    updated_at, ended_at, parent_id, expires_at FROM amends.sagas WHERE shard = $1 AND id = $2";
pub(crate) const HISTORY: &str = "SELECT saga_id, position, at, body FROM amends.journal \
    WHERE shard = $1 AND saga_id = $2 AND position >= $3 ORDER BY position LIMIT $4";
/// Several whole histories: their sagas, in the order asked for, and their rows. What stands behind `CROSS JOIN LATERAL`
/// has a LIMIT or an OFFSET, so that it is probed for once for each and never joined with a hash over everything.
pub(crate) const SAGAS: &str = "SELECT s.* FROM UNNEST($1::int2[], $2::uuid[]) WITH ORDINALITY AS n (shard, id, place) \
    CROSS JOIN LATERAL (SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, updated_at, \
    ended_at, parent_id, expires_at FROM amends.sagas AS s WHERE s.shard = n.shard AND s.id = n.id LIMIT 1) AS s \
    ORDER BY n.place";
pub(crate) const HISTORIES: &str = "SELECT j.* FROM UNNEST($1::int2[], $2::uuid[]) AS n (shard, id) \
    CROSS JOIN LATERAL (SELECT saga_id, position, at, body FROM amends.journal AS j WHERE j.shard = n.shard \
    AND j.saga_id = n.id OFFSET 0) AS j ORDER BY j.saga_id, j.position";
pub(crate) const SLEEPERS: &str = "SELECT id, wake_at FROM amends.sagas WHERE shard = $1 AND wake_at < 'infinity' \
    AND (wake_at, id) > ($2, $3) ORDER BY wake_at, id LIMIT $4";
pub(crate) const TURNS: &str = "SELECT id, namespace, definition, turn_position, concurrency_max, ordering_hash, \
    turn_granted FROM amends.sagas WHERE shard = $1 AND turn_position IS NOT NULL ORDER BY turn_position";
pub(crate) const LOOKUP_KEYS: &str = "SELECT k.place, s.saga_id, s.input_hash \
    FROM UNNEST($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY AS k (namespace, definition, key_hash, place) \
    CROSS JOIN LATERAL (SELECT saga_id, input_hash FROM amends.saga_keys AS s WHERE s.namespace = k.namespace \
    AND s.definition = k.definition AND s.key_hash = k.key_hash LIMIT 1) AS s";
/// Which revisions the sagas of keys that were found are pinned to: asked for those alone, so that a start that is new
/// pays nothing for it, neither an index nor a column of `saga_keys`.
pub(crate) const REVISIONS: &str = "SELECT n.place, s.revision FROM UNNEST($1::int2[], $2::uuid[]) \
    WITH ORDINALITY AS n (shard, id, place) CROSS JOIN LATERAL (SELECT revision FROM amends.sagas AS s \
    WHERE s.shard = n.shard AND s.id = n.id LIMIT 1) AS s";
/// The newest of any state: ids sort by time, so the primary key is all that is needed. A few of each shard say below
/// which id none of the page lies; then each shard gives what is above that.
pub(crate) const LIST: &str = "WITH few AS MATERIALIZED (\
    SELECT s.id FROM amends.shards AS h CROSS JOIN LATERAL (SELECT id FROM amends.sagas \
    WHERE shard = h.shard AND id < $4 AND namespace = $1 AND (cardinality($2::int2[]) = 0 OR state = ANY($2::int2[])) \
    AND ($3::text IS NULL OR definition = $3) ORDER BY id DESC LIMIT $6) AS s), \
    lowest AS MATERIALIZED (SELECT coalesce((SELECT id FROM few ORDER BY id DESC OFFSET greatest($5::int8 - 1, 0) LIMIT 1), \
    '00000000-0000-0000-0000-000000000000'::uuid) AS id) \
    SELECT s.* FROM lowest AS l CROSS JOIN amends.shards AS h CROSS JOIN LATERAL (\
    SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, updated_at, ended_at, parent_id, \
    expires_at FROM amends.sagas WHERE shard = h.shard AND id < $4 AND id >= l.id AND namespace = $1 \
    AND (cardinality($2::int2[]) = 0 OR state = ANY($2::int2[])) AND ($3::text IS NULL OR definition = $3) \
    ORDER BY id DESC LIMIT $5) AS s ORDER BY s.id DESC LIMIT $5";
/// The newest of states that few sagas are in: any but completed. As [`LIST`], from an index by state; and a shard that gave
/// fewer than it was asked for is not looked at again: entries of sagas that have ended since cost time until they are vacuumed.
pub(crate) const LIST_STATES: &str = "WITH few AS MATERIALIZED (\
    SELECT h.shard, s.*, row_number() OVER (PARTITION BY h.shard, s.state ORDER BY s.id DESC) AS nth \
    FROM amends.shards AS h CROSS JOIN UNNEST($2::int2[]) AS n (state) CROSS JOIN LATERAL (\
    SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, updated_at, ended_at, parent_id, \
    expires_at FROM amends.sagas WHERE shard = h.shard AND state = n.state AND state <> 2 AND id < $4 \
    AND namespace = $1 AND ($3::text IS NULL OR definition = $3) ORDER BY id DESC LIMIT $6) AS s), \
    lowest AS MATERIALIZED (SELECT coalesce((SELECT id FROM few ORDER BY id DESC OFFSET greatest($5::int8 - 1, 0) LIMIT 1), \
    '00000000-0000-0000-0000-000000000000'::uuid) AS id) \
    SELECT f.id, f.namespace, f.definition, f.revision, f.hash, f.key, f.state, f.wake_at, f.started_at, f.updated_at, \
    f.ended_at, f.parent_id, f.expires_at FROM few AS f WHERE f.id >= (SELECT id FROM lowest) \
    UNION ALL SELECT s.* FROM few AS f CROSS JOIN LATERAL (\
    SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, updated_at, ended_at, parent_id, \
    expires_at FROM amends.sagas WHERE shard = f.shard AND state = f.state AND state <> 2 AND id < f.id \
    AND id >= (SELECT id FROM lowest) AND namespace = $1 AND ($3::text IS NULL OR definition = $3) ORDER BY id DESC LIMIT $5) AS s \
    WHERE f.nth = $6 AND f.id >= (SELECT id FROM lowest) ORDER BY id DESC LIMIT $5";
/// Who has a key: one saga of each definition at most. Definitions that have keys are found one after the other.
pub(crate) const LIST_KEYED: &str = "WITH RECURSIVE d AS (\
    SELECT coalesce($3::text, (SELECT definition FROM amends.saga_keys WHERE namespace = $1 ORDER BY definition LIMIT 1)) \
    AS definition \
    UNION ALL SELECT (SELECT k.definition FROM amends.saga_keys AS k WHERE k.namespace = $1 AND k.definition > d.definition \
    ORDER BY k.definition LIMIT 1) FROM d WHERE d.definition IS NOT NULL AND $3::text IS NULL) \
    SELECT s.* FROM d CROSS JOIN LATERAL (SELECT saga_id FROM amends.saga_keys AS k WHERE k.namespace = $1 \
    AND k.definition = d.definition AND k.key_hash = $6 LIMIT 1) AS k \
    CROSS JOIN LATERAL (SELECT id, namespace, definition, revision, hash, key, state, wake_at, started_at, updated_at, \
    ended_at, parent_id, expires_at FROM amends.sagas AS s \
    WHERE s.shard = ('x' || substr(k.saga_id::text, 16, 3))::bit(12)::integer AND s.id = k.saga_id LIMIT 1) AS s \
    WHERE s.key = $7 AND s.id < $4 AND (cardinality($2::int2[]) = 0 OR s.state = ANY($2::int2[])) \
    ORDER BY s.id DESC LIMIT $5";

/// Those that have not ended, and children whose end is provisional. A parent's shard is in its id: bits 52 to 63, the three
/// digits behind the version.
pub(crate) const COUNT_ACTIVE: &str = "SELECT n.revision, count(*) FROM (\
    SELECT s.revision FROM amends.shards AS h JOIN amends.sagas AS s ON s.shard = h.shard AND s.state IN (1, 3, 5) \
    WHERE s.namespace = $1 AND s.definition = $2 \
    UNION ALL SELECT s.revision FROM amends.shards AS h JOIN amends.sagas AS s ON s.shard = h.shard \
    AND s.parent_id IS NOT NULL AND s.state IN (2, 4, 6) WHERE s.namespace = $1 AND s.definition = $2 AND coalesce((\
    SELECT NOT (p.state IN (2, 4, 6) AND p.parent_id IS NULL) FROM amends.sagas AS p \
    WHERE p.shard = ('x' || substr(s.parent_id::text, 16, 3))::bit(12)::integer AND p.id = s.parent_id), false)) AS n \
    GROUP BY n.revision ORDER BY n.revision";

/// Where retention has something to look at: a probe for each shard.
pub(crate) const SHARDS_IN_USE: &str = "SELECT h.shard FROM amends.shards AS h CROSS JOIN LATERAL \
    (SELECT 1 FROM amends.sagas AS s WHERE s.shard = h.shard LIMIT 1) AS s ORDER BY h.shard";
/// A page of what retention looks at: the primary key, from a place on.
pub(crate) const SWEEP: &str = "SELECT id, CASE WHEN state IN (2, 4, 6) THEN expires_at END FROM amends.sagas \
    WHERE shard = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4";
/// Retention, in one transaction: nobody else expires sagas of the shard, or takes it, in the meantime.
pub(crate) const EXPIRY_SESSION: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
    SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; \
    SELECT set_config(name, 'off', true) FROM pg_settings WHERE name = 'enable_memoize'";
pub(crate) const EXPIRY_LOCK: &str = "SELECT shard FROM amends.shards WHERE shard = $1 FOR UPDATE";
/// Of those given, those whose time has come, and no end above them is provisional.
pub(crate) const EXPIRED: &str = "SELECT c.id, c.namespace, c.definition, c.key FROM UNNEST($3::uuid[]) AS n (id) \
    CROSS JOIN LATERAL (SELECT * FROM amends.sagas AS c WHERE c.shard = $1 AND c.id = n.id LIMIT 1) AS c \
    WHERE c.expires_at <= $2 AND c.state IN (2, 4, 6) AND (c.parent_id IS NULL OR coalesce((\
    SELECT p.state IN (2, 4, 6) AND p.parent_id IS NULL AND p.ended_at + (c.expires_at - c.ended_at) <= $2 \
    FROM amends.sagas AS p WHERE p.shard = ('x' || substr(c.parent_id::text, 16, 3))::bit(12)::integer \
    AND p.id = c.parent_id), true)) ORDER BY c.id";
/// `$7` is the shard, once for each saga: a constant would look so selective on an empty schema that the plan kept for it
/// walks the whole shard. `ends` are the last batch of the journal and that before each takeover record: what a deposed owner may aim at.
pub(crate) const EXPIRE: &str = "\
WITH RECURSIVE ends AS (
    (SELECT j.epoch, j.batch_id FROM amends.journal AS j WHERE j.shard = $1 ORDER BY j.position DESC LIMIT 1)
    UNION ALL
    SELECT j.epoch, j.batch_id FROM ends AS e CROSS JOIN LATERAL (SELECT j.position, j.epoch, j.batch_id \
        FROM amends.journal AS j WHERE j.shard = $1 AND j.position >= e.epoch - 1 ORDER BY j.position LIMIT 1) AS j \
        WHERE j.position = e.epoch - 1
), old AS (
    SELECT j.place, j.batch_id IN (SELECT batch_id FROM ends) AS fences
    FROM UNNEST($7::int2[], $2::uuid[]) AS n (shard, id) CROSS JOIN LATERAL (SELECT ctid AS place, batch_id \
        FROM amends.journal AS j WHERE j.shard = n.shard AND j.saga_id = n.id OFFSET 0) AS j
), blanked AS (
    UPDATE amends.journal AS j SET kind = 3, saga_id = NULL, body = '' FROM old AS o WHERE j.ctid = o.place AND o.fences
), deleted AS (
    DELETE FROM amends.journal AS j USING old AS o WHERE j.ctid = o.place AND NOT o.fences RETURNING j.position
), gone AS (
    DELETE FROM amends.sagas AS s USING (SELECT t.place FROM UNNEST($7::int2[], $2::uuid[]) AS n (shard, id) \
        CROSS JOIN LATERAL (SELECT ctid AS place FROM amends.sagas AS t WHERE t.shard = n.shard AND t.id = n.id \
        OFFSET 0) AS t) AS n
    WHERE s.ctid = n.place
), incidents AS (
    DELETE FROM amends.incidents AS i USING (SELECT t.place FROM UNNEST($7::int2[], $2::uuid[]) AS n (shard, id) \
        CROSS JOIN LATERAL (SELECT ctid AS place FROM amends.incidents AS t \
        WHERE (t.shard, t.saga_id) >= (n.shard, n.id) AND (t.shard, t.saga_id) <= (n.shard, n.id) OFFSET 0) AS t) AS n
    WHERE i.ctid = n.place
), keys AS (
    DELETE FROM amends.saga_keys AS k USING (SELECT t.place FROM UNNEST($3::text[], $4::text[], $5::bytea[], $6::uuid[]) \
        AS n (namespace, definition, key_hash, saga_id) CROSS JOIN LATERAL (SELECT ctid AS place \
        FROM amends.saga_keys AS t WHERE t.namespace = n.namespace AND t.definition = n.definition \
        AND t.key_hash = n.key_hash AND t.saga_id = n.saga_id OFFSET 0) AS t) AS n
    WHERE k.ctid = n.place
)
UPDATE amends.shards AS h SET expired_epoch = t.epoch, \
    expired_rows = CASE WHEN h.expired_epoch = t.epoch THEN h.expired_rows ELSE 0 END + t.deleted
FROM (SELECT e.epoch, (SELECT count(*) FROM deleted AS d WHERE d.position >= e.epoch) AS deleted \
    FROM (SELECT max(epoch) AS epoch FROM ends) AS e) AS t
WHERE h.shard = $1 AND t.epoch IS NOT NULL";

/// `$2` and on are a filter, NULL for all; `$7` to `$10` are a fingerprint.
pub(crate) const INCIDENTS: &str = "SELECT saga_id, number, namespace, definition, revision, step, item, operation, \
    reason, code, message, opened_at FROM amends.incidents WHERE namespace = $1 \
    AND ($2::text IS NULL OR definition = $2) AND ($3::int4 IS NULL OR revision = $3) \
    AND ($4::text IS NULL OR step = $4) AND ($5::text IS NULL OR code = $5) AND ($6::text IS NULL OR reason = $6) \
    AND ($7::text IS NULL OR (definition = $7 AND revision = $8::int4 AND step IS NOT DISTINCT FROM $9::text \
    AND coalesce(code, reason) = $10::text)) AND (opened_at, saga_id, number) > ($11, $12, $13) \
    ORDER BY opened_at, saga_id, number LIMIT $14";
pub(crate) const INCIDENT_GROUPS: &str = "SELECT definition, revision, step, code, reason, count(*), min(opened_at), \
    max(opened_at) FROM amends.incidents WHERE namespace = $1 \
    AND ($2::text IS NULL OR definition = $2) AND ($3::int4 IS NULL OR revision = $3) \
    AND ($4::text IS NULL OR step = $4) AND ($5::text IS NULL OR code = $5) AND ($6::text IS NULL OR reason = $6) \
    AND ($7::text IS NULL OR (definition = $7 AND revision = $8::int4 AND step IS NOT DISTINCT FROM $9::text \
    AND coalesce(code, reason) = $10::text)) GROUP BY definition, revision, step, code, reason \
    ORDER BY count(*) DESC, definition COLLATE \"C\", revision, step COLLATE \"C\" NULLS FIRST, \
    code COLLATE \"C\" NULLS FIRST, reason COLLATE \"C\" LIMIT $11";

/// Nothing is returned if another took the number in the meantime.
pub(crate) const PUT_DEFINITION: &str = "INSERT INTO amends.definitions \
    (namespace, name, revision, hash, source, normal_form, applied_at) \
    VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp()) ON CONFLICT DO NOTHING RETURNING applied_at";
pub(crate) const DEFINITION_NEWEST: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at \
    FROM amends.definitions WHERE namespace = $1 AND name = $2 AND deleted_at IS NULL \
    ORDER BY revision DESC LIMIT 1";
/// Deleted ones included: a number is given once.
pub(crate) const DEFINITION_LAST: &str =
    "SELECT coalesce(max(revision), 0) FROM amends.definitions WHERE namespace = $1 AND name = $2";
pub(crate) const DELETE_DEFINITION: &str = "UPDATE amends.definitions SET deleted_at = clock_timestamp() \
    WHERE namespace = $1 AND name = $2 AND revision = $3 AND deleted_at IS NULL RETURNING revision";
pub(crate) const DEFINITION_REVISION: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at \
    FROM amends.definitions WHERE namespace = $1 AND name = $2 AND revision = $3 AND deleted_at IS NULL";
pub(crate) const DEFINITION_HASH: &str = "SELECT namespace, name, revision, hash, source, normal_form, applied_at \
    FROM amends.definitions WHERE hash = $1 LIMIT 1";
pub(crate) const DEFINITIONS: &str = "SELECT DISTINCT ON (name) namespace, name, revision, hash, source, normal_form, \
    applied_at FROM amends.definitions WHERE namespace = $1 AND deleted_at IS NULL \
    AND ($2::text IS NULL OR name > $2) \
    ORDER BY name, revision DESC LIMIT $3";

/// All that stand alone, for the test that prepares each.
#[cfg(test)]
pub(crate) const ALL: &[&str] = &[
    GREETING,
    IN_RECOVERY,
    IDENTITY,
    APPEND_ROWS,
    APPEND_STARTS,
    APPEND,
    APPEND_ALL,
    TAKE_OVER,
    LOCK_TIMEOUT_ON,
    LOCK_TIMEOUT_OFF,
    END_BLOCKERS,
    TAILS,
    TAKEN,
    AUTHOR,
    CLAIM_LOCK,
    CLAIM_NODE,
    CLAIM_DEPOSE,
    CLAIM_SHARDS,
    CLAIMED,
    RENEW,
    CLOCKS_UNTIL,
    RELEASE,
    ACTIVE,
    ACTIVE_ROWS,
    SAGA,
    HISTORY,
    SAGAS,
    HISTORIES,
    SLEEPERS,
    TURNS,
    LOOKUP_KEYS,
    REVISIONS,
    LIST,
    LIST_STATES,
    LIST_KEYED,
    COUNT_ACTIVE,
    SHARDS_IN_USE,
    SWEEP,
    EXPIRY_LOCK,
    EXPIRED,
    EXPIRE,
    INCIDENTS,
    INCIDENT_GROUPS,
    PUT_DEFINITION,
    DEFINITION_NEWEST,
    DEFINITION_LAST,
    DELETE_DEFINITION,
    DEFINITION_REVISION,
    DEFINITION_HASH,
    DEFINITIONS,
];
