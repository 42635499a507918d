-- Rows die in crowds here: each end leaves an old version in `sagas`, and retention deletes whole sagas from all tables. With
-- the defaults, a fifth of a table and a pause of 2 ms behind every few pages, a table that is written thousands of times a
-- second only grows: 7.0 million dead rows for 1.0 million live ones after 1.8 million sagas in five minutes.
ALTER TABLE amends.journal SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 2000);
ALTER TABLE amends.sagas SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 2000);
ALTER TABLE amends.saga_keys SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 2000);
