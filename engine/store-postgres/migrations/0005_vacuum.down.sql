ALTER TABLE amends.journal RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_limit);
ALTER TABLE amends.sagas RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_limit);
ALTER TABLE amends.saga_keys RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_limit);
