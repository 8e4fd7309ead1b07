-- Takes plans and records away, with all that they hold.
DROP TABLE records;
DROP TABLE plans;
ALTER TABLE evaluations DROP COLUMN number;
