-- How late it may be by a node's own clock, while it holds its lease. Whoever takes over counts as sent what was due by then:
-- the machine's clock may have gone back meanwhile, and a process's own does not.
ALTER TABLE nodes ADD COLUMN clock_until_us INTEGER;
