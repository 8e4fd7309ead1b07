-- When an outcome was written, by the server's clock: of outcomes that came late it says which look could know them.
ALTER TABLE outcomes ADD COLUMN recorded_at timestamptz;
ALTER TABLE outcomes ALTER COLUMN recorded_at SET DEFAULT clock_timestamp();
