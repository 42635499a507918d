-- For whoever has to go back by hand.
ALTER TABLE nodes DROP COLUMN clock_until_us;
