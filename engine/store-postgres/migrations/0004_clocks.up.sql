-- How late it may be by a node's own clock, while it holds its lease. Whoever takes over counts as sent what was due by then:
-- the database's clock may have gone back meanwhile, and a node's own does not.
ALTER TABLE amends.nodes ADD COLUMN clock_until timestamptz;
