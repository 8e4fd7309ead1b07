-- name: make_schema
-- The schema that holds everything of ours.
CREATE SCHEMA IF NOT EXISTS bakeoff;

-- name: make_log
-- The list of migrations that were applied.
CREATE TABLE IF NOT EXISTS bakeoff.migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: exists
-- Whether the list of migrations is there.
SELECT to_regclass('bakeoff.migrations') IS NOT NULL;

-- name: applied
-- The migrations that were applied, oldest first.
SELECT version, name, sha256 FROM bakeoff.migrations ORDER BY version;

-- name: record
-- Remember that a migration was applied.
INSERT INTO bakeoff.migrations (version, name, sha256) VALUES (%(version)s, %(name)s, %(sha256)s);

-- name: forget
-- A migration was taken back.
DELETE FROM bakeoff.migrations WHERE version = %(version)s;

-- name: chunk_tables
-- The tables that ingests made, with their helpers.
SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE n.nspname = 'bakeoff' AND relkind = 'r' AND relname ~ '^document_chunks_\d{8}_\d{6}_v\d+'
ORDER BY relname;
