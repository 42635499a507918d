-- The schema as the second migration left it, for whoever has to go back by hand: see the PostgreSQL store's.
DROP INDEX sagas_states;
DROP INDEX sagas_children;
CREATE INDEX sagas_newest ON sagas (namespace, id);
CREATE INDEX sagas_expiry ON sagas (expires_at_us, shard) WHERE expires_at_us IS NOT NULL;
