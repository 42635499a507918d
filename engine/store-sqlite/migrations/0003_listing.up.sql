-- Lists and recovery by state, and retention by walking the primary key: see the PostgreSQL store's.
CREATE INDEX sagas_states ON sagas (shard, state, id) WHERE state <> 2;
CREATE INDEX sagas_children ON sagas (shard, id) WHERE parent_id IS NOT NULL;
DROP INDEX sagas_newest;
DROP INDEX sagas_expiry;
UPDATE sagas SET expires_at_us = ended_at_us + 2592000000000
WHERE expires_at_us IS NULL AND ended_at_us IS NOT NULL AND state IN (2, 4, 6);
