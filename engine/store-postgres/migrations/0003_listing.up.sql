-- Lists and recovery by state, whatever has finished; and retention by walking the primary key, without an index of its own.

-- Every saga but the completed ones, which are dense among the newest of all: the index is as small as what lives, and
-- gets no entry from the end of a saga that completes. With the state before the id, so that the newest of one state, and
-- the next page of what has to be in memory, are read from one place.
CREATE INDEX sagas_states ON amends.sagas (shard, state, id) WHERE state <> 2;

-- Of a definition's children, whose revision may still be needed; a saga without a parent costs nothing.
CREATE INDEX sagas_children ON amends.sagas (shard, id) WHERE parent_id IS NOT NULL;

DROP INDEX amends.sagas_expiry;

-- What ended under schema 1 has no expiry. Its language had no retention either: the default holds, 30 days.
UPDATE amends.sagas SET expires_at = ended_at + interval '720 hours'
WHERE expires_at IS NULL AND ended_at IS NOT NULL AND state IN (2, 4, 6);

-- Bodies above 2 kB are compressed, and lz4 takes a quarter of the time that pglz takes. PostgreSQL before 14, or built without
-- lz4, stays with what it has; what is there already is read as it is.
DO $$
BEGIN
    EXECUTE 'ALTER TABLE amends.journal ALTER COLUMN body SET COMPRESSION lz4';
EXCEPTION
    WHEN syntax_error OR feature_not_supported THEN NULL;
END
$$;
