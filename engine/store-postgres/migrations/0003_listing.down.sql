-- The schema as the second migration left it. The expiries of what ended under schema 1 stay, and how bodies are
-- compressed: neither does harm.
DROP INDEX amends.sagas_states, amends.sagas_children;
CREATE INDEX sagas_expiry ON amends.sagas (expires_at, shard) WHERE expires_at IS NOT NULL;
