-- The tables of amends. Every per-saga table's primary key begins with its shard; definitions, nodes and shards are
-- small and could be copied to every node of a distributed PostgreSQL. No foreign keys, triggers or sequences.
CREATE TABLE amends.meta (
    only_row boolean NOT NULL DEFAULT true CHECK (only_row),
    incarnation uuid NOT NULL,
    shard_count smallint NOT NULL CHECK (shard_count BETWEEN 1 AND 4096),
    CONSTRAINT meta_pkey PRIMARY KEY (only_row)
);

-- The truth. A row is one transition of one saga (kind 1), or a takeover record (kind 2). Its primary key is the fence.
CREATE TABLE amends.journal (
    shard smallint NOT NULL,
    kind smallint NOT NULL,
    position bigint NOT NULL,
    epoch bigint NOT NULL,
    batch_id uuid NOT NULL,
    saga_id uuid,
    at timestamptz NOT NULL,
    body bytea NOT NULL,
    CONSTRAINT journal_pkey PRIMARY KEY (shard, position)
);

-- The history of one saga.
CREATE INDEX journal_saga ON amends.journal (shard, saga_id, position);

-- state: 1 running, 2 completed, 3 compensating, 4 compensated, 5 parked, 6 terminated.
CREATE TABLE amends.sagas (
    shard smallint NOT NULL,
    state smallint NOT NULL CHECK (state BETWEEN 1 AND 6),
    revision integer NOT NULL,
    id uuid NOT NULL,
    namespace text NOT NULL,
    definition text NOT NULL,
    hash bytea NOT NULL,
    key text,
    wake_at timestamptz,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT sagas_pkey PRIMARY KEY (shard, id)
);

-- Who sleeps until when; it costs nothing while nobody sleeps.
CREATE INDEX sagas_wake ON amends.sagas (shard, wake_at) WHERE wake_at IS NOT NULL;

CREATE TABLE amends.saga_keys (
    namespace text NOT NULL,
    definition text NOT NULL,
    key_hash bytea NOT NULL,
    saga_id uuid NOT NULL,
    input_hash bytea NOT NULL,
    CONSTRAINT saga_keys_pkey PRIMARY KEY (namespace, definition, key_hash)
);

CREATE TABLE amends.definitions (
    namespace text NOT NULL,
    name text NOT NULL,
    revision integer NOT NULL,
    hash bytea NOT NULL,
    source text NOT NULL,
    normal_form text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT definitions_pkey PRIMARY KEY (namespace, name, revision)
);

CREATE TABLE amends.nodes (
    name text NOT NULL,
    process uuid NOT NULL,
    address text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT nodes_pkey PRIMARY KEY (name)
);

CREATE TABLE amends.shards (
    shard smallint NOT NULL,
    node text,
    CONSTRAINT shards_pkey PRIMARY KEY (shard)
);

-- What each operation of each step came to. Through `shards`, so that a saga id alone is probed for, shard by shard,
-- not scanned for. As json, not jsonb: a payload may hold what jsonb refuses, and is shown as it came.
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
