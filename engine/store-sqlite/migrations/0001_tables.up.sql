-- The tables of amends on SQLite: those of the PostgreSQL store, without its schema prefix. Times are microseconds since
-- the Unix epoch. Rowid tables: WITHOUT ROWID halves the rate of appends.
CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    incarnation BLOB NOT NULL,
    shard_count INTEGER NOT NULL CHECK (shard_count BETWEEN 1 AND 4096)
) STRICT;

-- The truth. A row is one transition of one saga (kind 1), or a takeover record (kind 2). Its primary key is the fence.
CREATE TABLE journal (
    shard INTEGER NOT NULL,
    position INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    batch_id BLOB NOT NULL,
    saga_id TEXT,
    kind INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (shard, position)
) STRICT;

-- The history of one saga.
CREATE INDEX journal_saga ON journal (shard, saga_id, position);

-- state: 1 running, 2 completed, 3 compensating, 4 compensated, 5 parked, 6 terminated.
CREATE TABLE sagas (
    shard INTEGER NOT NULL,
    id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    definition TEXT NOT NULL,
    revision INTEGER NOT NULL,
    hash BLOB NOT NULL,
    key TEXT,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 6),
    wake_at_us INTEGER,
    started_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    ended_at_us INTEGER,
    PRIMARY KEY (shard, id)
) STRICT;

-- Who sleeps until when; it costs nothing while nobody sleeps.
CREATE INDEX sagas_wake ON sagas (shard, wake_at_us) WHERE wake_at_us IS NOT NULL;

CREATE TABLE saga_keys (
    namespace TEXT NOT NULL,
    definition TEXT NOT NULL,
    key_hash BLOB NOT NULL,
    saga_id TEXT NOT NULL,
    input_hash BLOB NOT NULL,
    PRIMARY KEY (namespace, definition, key_hash)
) STRICT;

CREATE TABLE definitions (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    hash BLOB NOT NULL,
    source TEXT NOT NULL,
    normal_form TEXT NOT NULL,
    applied_at_us INTEGER NOT NULL,
    PRIMARY KEY (namespace, name, revision)
) STRICT;

CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    process BLOB NOT NULL,
    address TEXT NOT NULL,
    expires_at_us INTEGER NOT NULL
) STRICT;

CREATE TABLE shards (
    shard INTEGER PRIMARY KEY,
    node TEXT
) STRICT;

-- What each operation of each step came to. The latest of several facts is found by a mark in front of the value:
-- position and place, both of fixed width. Through `shards`, so that a saga id alone is probed for, not scanned for.
CREATE VIEW steps AS
SELECT
    f.saga_id AS saga_id,
    f.shard AS shard,
    coalesce(json_extract(d.normal_form, '$.definition.steps[' || f.step || '].id'), f.step) AS step,
    f.step AS step_index,
    f.operation AS operation,
    substr(max(f.mark || f.state), 27) AS state,
    coalesce(max(f.attempt), 0) AS attempts,
    substr(max(f.mark || f.code), 27) AS last_code,
    substr(max(f.mark || f.output), 27) AS output,
    strftime('%Y-%m-%dT%H:%M:%fZ', min(f.at_us) / 1000000.0, 'unixepoch') AS began_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', max(f.at_us) / 1000000.0, 'unixepoch') AS updated_at
FROM (
    SELECT
        s.id AS saga_id,
        s.shard AS shard,
        s.namespace AS namespace,
        s.definition AS definition,
        s.revision AS revision,
        j.at_us AS at_us,
        printf('%020d%06d', j.position, e.key) AS mark,
        e.value ->> '$.step' AS step,
        coalesce(e.value ->> '$.operation', 'forward') AS operation,
        CASE
            WHEN e.value ->> '$.kind' <> 'attempt_ended' THEN e.value ->> '$.kind'
            WHEN e.value ->> '$.retry_at_us' IS NOT NULL THEN 'retrying'
            ELSE e.value ->> '$.outcome'
        END AS state,
        iif(e.value ->> '$.kind' = 'scheduled', 1, e.value ->> '$.attempt') AS attempt,
        e.value ->> '$.code' AS code,
        e.value -> '$.output' AS output
    FROM shards AS h
    CROSS JOIN sagas AS s ON s.shard = h.shard
    CROSS JOIN journal AS j ON j.shard = s.shard AND j.saga_id = s.id
    CROSS JOIN json_each(
        CASE WHEN json_valid(CAST(j.body AS TEXT)) THEN CAST(j.body AS TEXT) ELSE '{"facts":[]}' END,
        '$.facts'
    ) AS e
    WHERE e.value ->> '$.kind' IN ('skipped', 'scheduled', 'step_failed', 'attempt_ended', 'withdrawn')
) AS f
LEFT JOIN definitions AS d
    ON d.namespace = f.namespace AND d.name = f.definition AND d.revision = f.revision
GROUP BY f.saga_id, f.step, f.operation;
