-- What the whole language needs beside calls: turns, children, incidents as rows, retention, and deletion of revisions.
-- What ended before this migration has no `expires_at` and stays; incidents that are open have no row and stay in their
-- sagas' histories.
ALTER TABLE amends.sagas
    ADD COLUMN turn_position bigint,
    ADD COLUMN concurrency_max bigint,
    ADD COLUMN ordering_hash bytea,
    ADD COLUMN turn_granted boolean NOT NULL DEFAULT true,
    ADD COLUMN parent_id uuid,
    ADD COLUMN expires_at timestamptz;

-- Who holds a turn or waits for one: `turn_position` is cleared at the end, so the index holds live sagas alone, and those
-- without a turn cost nothing.
CREATE INDEX sagas_turns ON amends.sagas (shard, turn_position) WHERE turn_position IS NOT NULL;

-- What retention takes next; an entry comes with the end. The time comes first: ends of a batch are neighbours then, and go
-- to one page. With the shard first they go to a page each, and that costs a tenth of all appends.
CREATE INDEX sagas_expiry ON amends.sagas (expires_at, shard) WHERE expires_at IS NOT NULL;

-- With the id, so that sleepers come in pages.
DROP INDEX amends.sagas_wake;
CREATE INDEX sagas_wake ON amends.sagas (shard, wake_at, id) WHERE wake_at IS NOT NULL;

-- Open incidents; the row goes when the incident closes, and stays in the saga's history.
CREATE TABLE amends.incidents (
    shard smallint NOT NULL,
    revision integer NOT NULL,
    number bigint NOT NULL,
    item bigint NOT NULL,
    saga_id uuid NOT NULL,
    opened_at timestamptz NOT NULL,
    namespace text NOT NULL,
    definition text NOT NULL,
    step text,
    operation text,
    reason text NOT NULL,
    code text,
    message text NOT NULL,
    CONSTRAINT incidents_pkey PRIMARY KEY (shard, saga_id, number)
);

-- The oldest first, in pages.
CREATE INDEX incidents_oldest ON amends.incidents (namespace, opened_at, saga_id, number);

-- Retention deletes rows in the midst of a journal. How many it has deleted from the takeover record `expired_epoch` on
-- is counted, so that a row that is missing is still missed; an older record's count is no count. Rows that a deposed
-- owner may aim at stay without saga and body (kind 3).
ALTER TABLE amends.shards
    ADD COLUMN expired_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN expired_rows bigint NOT NULL DEFAULT 0;

-- A deleted revision is out of sight, and found by its hash: sagas are pinned to it.
ALTER TABLE amends.definitions ADD COLUMN deleted_at timestamptz;

-- What each operation of each step, or of each of its items, came to. Through `shards`, so that a saga id alone is probed
-- for, shard by shard, not scanned for. As json, not jsonb: a payload may hold what jsonb refuses, and is shown as it came.
DROP VIEW amends.steps;
CREATE VIEW amends.steps AS
SELECT
    f.saga_id,
    f.shard,
    coalesce(d.normal_form::json -> 'definition' -> 'steps' -> f.step ->> 'id', f.step::text) AS step,
    f.step AS step_index,
    f.item,
    f.operation,
    max(f.round) AS round,
    (array_agg(f.state ORDER BY f.position DESC, f.place DESC))[1] AS state,
    (coalesce(max(f.round << 32 | f.attempt), 0) & 4294967295)::integer AS attempts,
    (array_agg(f.code ORDER BY f.position DESC, f.place DESC) FILTER (WHERE f.code IS NOT NULL))[1] AS last_code,
    (array_agg(f.output ORDER BY f.position DESC, f.place DESC) FILTER (WHERE f.output IS NOT NULL))[1]::json AS output,
    min(f.at) AS began_at,
    max(f.at) AS updated_at
FROM (
    SELECT
        s.id AS saga_id,
        s.shard,
        s.namespace,
        s.definition,
        s.revision,
        j.position,
        j.at,
        e.place,
        (e.fact ->> 'step')::integer AS step,
        coalesce((e.fact ->> 'item')::bigint, 0) AS item,
        coalesce((e.fact ->> 'round')::bigint, 0) AS round,
        CASE
            WHEN e.fact ->> 'kind' = 'settling' THEN 'compensate'
            ELSE coalesce(e.fact ->> 'operation', 'forward')
        END AS operation,
        CASE e.fact ->> 'kind'
            WHEN 'attempt_ended' THEN
                CASE WHEN e.fact ->> 'retry_at_us' IS NOT NULL THEN 'retrying' ELSE e.fact ->> 'outcome' END
            WHEN 'signal_awaited' THEN 'waiting'
            WHEN 'signal_consumed' THEN 'succeeded'
            WHEN 'slept' THEN 'succeeded'
            WHEN 'emitted' THEN 'succeeded'
            WHEN 'child_pinned' THEN 'child_running'
            WHEN 'child_ended' THEN
                CASE WHEN e.fact ->> 'outcome' = 'completed' THEN 'succeeded' ELSE 'child_' || (e.fact ->> 'outcome') END
            WHEN 'operated' THEN
                CASE e.fact ->> 'act'
                    WHEN 'retry' THEN 'retrying'
                    WHEN 'skip' THEN 'skipped'
                    WHEN 'resolve' THEN 'succeeded'
                    ELSE 'absent'
                END
            ELSE e.fact ->> 'kind'
        END AS state,
        CASE WHEN e.fact ->> 'kind' = 'scheduled' THEN 1 ELSE (e.fact ->> 'attempt')::bigint END AS attempt,
        e.fact ->> 'code' AS code,
        CASE e.fact ->> 'kind'
            WHEN 'emitted' THEN (e.fact -> 'data')::text
            WHEN 'signal_consumed' THEN (
                SELECT (r.fact -> 'payload')::text
                FROM amends.journal AS k
                CROSS JOIN LATERAL json_array_elements(convert_from(k.body, 'UTF8')::json -> 'facts') AS r (fact)
                WHERE k.shard = s.shard AND k.saga_id = s.id AND r.fact ->> 'kind' = 'signal_received'
                    AND r.fact ->> 'number' = e.fact ->> 'number'
            )
            ELSE (e.fact -> 'output')::text
        END AS output
    FROM amends.shards AS h
    JOIN amends.sagas AS s ON s.shard = h.shard
    JOIN amends.journal AS j ON j.shard = s.shard AND j.saga_id = s.id
    CROSS JOIN LATERAL json_array_elements(convert_from(j.body, 'UTF8')::json -> 'facts')
        WITH ORDINALITY AS e (fact, place)
    WHERE e.fact ->> 'step' IS NOT NULL AND e.fact ->> 'kind' IN ('skipped', 'items_listed', 'scheduled', 'step_failed',
        'attempt_ended', 'withdrawn', 'settling', 'signal_awaited', 'signal_consumed', 'sleeping', 'slept',
        'child_requested', 'child_pinned', 'child_ended', 'emitted', 'continued', 'operated')
) AS f
LEFT JOIN amends.definitions AS d
    ON d.namespace = f.namespace AND d.name = f.definition AND d.revision = f.revision
GROUP BY f.saga_id, f.shard, f.step, f.item, f.operation, d.normal_form;
