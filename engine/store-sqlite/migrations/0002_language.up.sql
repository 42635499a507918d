-- What the whole language needs beside calls: turns, children, incidents as rows, retention, and deletion of revisions.
-- What ended before this migration has no `expires_at_us` and stays; incidents that are open have no row and stay in
-- their sagas' histories.
ALTER TABLE sagas ADD COLUMN turn_position INTEGER;
ALTER TABLE sagas ADD COLUMN concurrency_max INTEGER;
ALTER TABLE sagas ADD COLUMN ordering_hash BLOB;
ALTER TABLE sagas ADD COLUMN turn_granted INTEGER NOT NULL DEFAULT 1;
ALTER TABLE sagas ADD COLUMN parent_id TEXT;
ALTER TABLE sagas ADD COLUMN expires_at_us INTEGER;

-- Who holds a turn or waits for one: `turn_position` is cleared at the end, so the index holds live sagas alone, and those
-- without a turn cost nothing.
CREATE INDEX sagas_turns ON sagas (shard, turn_position) WHERE turn_position IS NOT NULL;

-- What retention takes next; an entry comes with the end. The time comes first: ends of a batch are neighbours then, and go
-- to one page.
CREATE INDEX sagas_expiry ON sagas (expires_at_us, shard) WHERE expires_at_us IS NOT NULL;

-- With the id, so that sleepers come in pages.
DROP INDEX sagas_wake;
CREATE INDEX sagas_wake ON sagas (shard, wake_at_us, id) WHERE wake_at_us IS NOT NULL;

-- The newest of all shards first: what a list reads. Ids sort by time, so an entry goes to the end.
CREATE INDEX sagas_newest ON sagas (namespace, id);

-- Open incidents; the row goes when the incident closes, and stays in the saga's history.
CREATE TABLE incidents (
    shard INTEGER NOT NULL,
    saga_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    definition TEXT NOT NULL,
    revision INTEGER NOT NULL,
    step TEXT,
    item INTEGER NOT NULL,
    operation TEXT,
    reason TEXT NOT NULL,
    code TEXT,
    message TEXT NOT NULL,
    opened_at_us INTEGER NOT NULL,
    PRIMARY KEY (shard, saga_id, number)
) STRICT;

-- The oldest first, in pages.
CREATE INDEX incidents_oldest ON incidents (namespace, opened_at_us, saga_id, number);

-- Retention deletes rows in the midst of a journal. How many it has deleted from the takeover record `expired_epoch` on
-- is counted, so that a row that is missing is still missed; an older record's count is no count. Rows that a deposed
-- owner may aim at stay without saga and body (kind 3).
ALTER TABLE shards ADD COLUMN expired_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE shards ADD COLUMN expired_rows INTEGER NOT NULL DEFAULT 0;

-- A deleted revision is out of sight, and found by its hash: sagas are pinned to it.
ALTER TABLE definitions ADD COLUMN deleted_at_us INTEGER;

-- What each operation of each step, or of each of its items, came to. The latest of several facts is found by a mark in
-- front of the value: position and place, both of fixed width. Through `shards`, so that a saga id alone is probed for.
DROP VIEW steps;
CREATE VIEW steps AS
SELECT
    f.saga_id AS saga_id,
    f.shard AS shard,
    coalesce(json_extract(d.normal_form, '$.definition.steps[' || f.step || '].id'), f.step) AS step,
    f.step AS step_index,
    f.item AS item,
    f.operation AS operation,
    max(f.round) AS round,
    substr(max(f.mark || f.state), 27) AS state,
    coalesce(max(f.round << 32 | f.attempt), 0) & 4294967295 AS attempts,
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
        coalesce(e.value ->> '$.item', 0) AS item,
        coalesce(e.value ->> '$.round', 0) AS round,
        iif(e.value ->> '$.kind' = 'settling', 'compensate', coalesce(e.value ->> '$.operation', 'forward')) AS operation,
        CASE e.value ->> '$.kind'
            WHEN 'attempt_ended' THEN iif(e.value ->> '$.retry_at_us' IS NOT NULL, 'retrying', e.value ->> '$.outcome')
            WHEN 'signal_awaited' THEN 'waiting'
            WHEN 'signal_consumed' THEN 'succeeded'
            WHEN 'slept' THEN 'succeeded'
            WHEN 'emitted' THEN 'succeeded'
            WHEN 'child_pinned' THEN 'child_running'
            WHEN 'child_ended' THEN
                iif(e.value ->> '$.outcome' = 'completed', 'succeeded', 'child_' || (e.value ->> '$.outcome'))
            WHEN 'operated' THEN
                CASE e.value ->> '$.act'
                    WHEN 'retry' THEN 'retrying'
                    WHEN 'skip' THEN 'skipped'
                    WHEN 'resolve' THEN 'succeeded'
                    ELSE 'absent'
                END
            ELSE e.value ->> '$.kind'
        END AS state,
        iif(e.value ->> '$.kind' = 'scheduled', 1, e.value ->> '$.attempt') AS attempt,
        e.value ->> '$.code' AS code,
        CASE e.value ->> '$.kind'
            WHEN 'emitted' THEN e.value -> '$.data'
            WHEN 'signal_consumed' THEN (
                SELECT r.value -> '$.payload'
                FROM journal AS k
                CROSS JOIN json_each(
                    CASE WHEN json_valid(CAST(k.body AS TEXT)) THEN CAST(k.body AS TEXT) ELSE '{"facts":[]}' END,
                    '$.facts'
                ) AS r
                WHERE k.shard = s.shard AND k.saga_id = s.id AND r.value ->> '$.kind' = 'signal_received'
                    AND r.value ->> '$.number' = e.value ->> '$.number'
            )
            ELSE e.value -> '$.output'
        END AS output
    FROM shards AS h
    CROSS JOIN sagas AS s ON s.shard = h.shard
    CROSS JOIN journal AS j ON j.shard = s.shard AND j.saga_id = s.id
    CROSS JOIN json_each(
        CASE WHEN json_valid(CAST(j.body AS TEXT)) THEN CAST(j.body AS TEXT) ELSE '{"facts":[]}' END,
        '$.facts'
    ) AS e
    WHERE e.value ->> '$.step' IS NOT NULL AND e.value ->> '$.kind' IN ('skipped', 'items_listed', 'scheduled',
        'step_failed', 'attempt_ended', 'withdrawn', 'settling', 'signal_awaited', 'signal_consumed', 'sleeping', 'slept',
        'child_requested', 'child_pinned', 'child_ended', 'emitted', 'continued', 'operated')
) AS f
LEFT JOIN definitions AS d
    ON d.namespace = f.namespace AND d.name = f.definition AND d.revision = f.revision
GROUP BY f.saga_id, f.step, f.item, f.operation;
