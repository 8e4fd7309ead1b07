-- Takes away when outcomes were written; what looks knew can't be told from outcomes that came late any more.
ALTER TABLE outcomes DROP COLUMN recorded_at;
