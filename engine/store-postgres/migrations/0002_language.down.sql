-- The schema as the first migration left it. What it has no words for goes: turns, parents, expiries, open incidents'
-- rows, and that a revision was deleted.
DROP VIEW amends.steps;
ALTER TABLE amends.definitions DROP COLUMN deleted_at;
ALTER TABLE amends.shards DROP COLUMN expired_epoch, DROP COLUMN expired_rows;
DROP TABLE amends.incidents;
DROP INDEX amends.sagas_wake, amends.sagas_expiry, amends.sagas_turns;
ALTER TABLE amends.sagas
    DROP COLUMN turn_position,
    DROP COLUMN concurrency_max,
    DROP COLUMN ordering_hash,
    DROP COLUMN turn_granted,
    DROP COLUMN parent_id,
    DROP COLUMN expires_at;
CREATE INDEX sagas_wake ON amends.sagas (shard, wake_at) WHERE wake_at IS NOT NULL;
CREATE VIEW amends.steps AS
SELECT
    f.saga_id,
    f.shard,
    coalesce(d.normal_form::json -> 'definition' -> 'steps' -> f.step ->> 'id', f.step::text) AS step,
    f.step AS step_index,
    f.operation,
    (array_agg(f.state ORDER BY f.position DESC, f.place DESC))[1] AS state,
    coalesce(max(f.attempt), 0) AS attempts,
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
        coalesce(e.fact ->> 'operation', 'forward') AS operation,
        CASE
            WHEN e.fact ->> 'kind' <> 'attempt_ended' THEN e.fact ->> 'kind'
            WHEN e.fact ->> 'retry_at_us' IS NOT NULL THEN 'retrying'
            ELSE e.fact ->> 'outcome'
        END AS state,
        CASE WHEN e.fact ->> 'kind' = 'scheduled' THEN 1 ELSE (e.fact ->> 'attempt')::integer END AS attempt,
        e.fact ->> 'code' AS code,
        (e.fact -> 'output')::text AS output
    FROM amends.shards AS h
    JOIN amends.sagas AS s ON s.shard = h.shard
    JOIN amends.journal AS j ON j.shard = s.shard AND j.saga_id = s.id
    CROSS JOIN LATERAL json_array_elements(convert_from(j.body, 'UTF8')::json -> 'facts')
        WITH ORDINALITY AS e (fact, place)
    WHERE e.fact ->> 'kind' IN ('skipped', 'scheduled', 'step_failed', 'attempt_ended', 'withdrawn')
) AS f
LEFT JOIN amends.definitions AS d
    ON d.namespace = f.namespace AND d.name = f.definition AND d.revision = f.revision
GROUP BY f.saga_id, f.shard, f.step, f.operation, d.normal_form;
