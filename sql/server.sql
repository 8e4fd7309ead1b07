-- name: database_exists
-- Whether a database of that name exists.
SELECT 1 FROM pg_database WHERE datname = %(name)s;

-- name: create_database
-- Make an empty database.
CREATE DATABASE {database};

-- name: other_clients
-- How many client connections there are beside this one.
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();

-- name: capabilities
-- The server's version and, for each extension we can use, the available and the installed version.
SELECT current_setting('server_version') AS server_version,
       current_setting('server_version_num')::int AS server_version_num,
       (SELECT default_version FROM pg_available_extensions WHERE name = 'vector') AS vector_available,
       (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vector_installed,
       (SELECT default_version FROM pg_available_extensions WHERE name = 'pg_textsearch') AS textsearch_available,
       (SELECT extversion FROM pg_extension WHERE extname = 'pg_textsearch') AS textsearch_installed,
       current_setting('shared_preload_libraries') AS preloaded;

-- name: try_lock
-- Take a session advisory lock on a name; false where another session holds it.
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0));

-- name: unlock
-- Give back a session advisory lock on a name.
SELECT pg_advisory_unlock(hashtextextended(%(name)s, 0));

-- name: use_schema
-- Resolve our names first, then the extensions' in public.
SET search_path = bakeoff, public;

-- name: drop_everything
-- Remove the schema with all that is in it.
DROP SCHEMA IF EXISTS bakeoff CASCADE;

-- name: database_size
-- Bytes of this database on disk.
SELECT pg_database_size(current_database());

-- name: install_textsearch
-- The bm25 index access method, where the server has it.
CREATE EXTENSION IF NOT EXISTS pg_textsearch WITH SCHEMA public;

-- name: drop_table
-- Drop one table with what hangs on it.
DROP TABLE IF EXISTS {table} CASCADE;

-- name: analyze
-- Tell the planner what a table holds.
ANALYZE {table};

-- name: notice_lost_clients
-- A command that was killed must not hold its locks until its long statement ends.
SET client_connection_check_interval = '1s';

-- name: listen
-- Hear of every move of a rollout, and of every switch of the routing, when it commits.
LISTEN bakeoff_routing;
