DROP VIEW amends.steps;
DROP TABLE amends.shards, amends.nodes, amends.definitions, amends.saga_keys, amends.sagas, amends.journal, amends.meta;
