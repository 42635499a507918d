ALTER TABLE amends.nodes DROP COLUMN clock_until;
