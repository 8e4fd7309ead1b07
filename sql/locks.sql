-- name: insert
-- Store a new lock.
INSERT INTO locks (config_hash, chunk_version, table_name, name, created_at, body, body_sha256)
VALUES (%(config_hash)s, %(chunk_version)s, %(table_name)s, %(name)s, %(created_at)s, %(body)s, %(body_sha256)s);

-- name: by_hash
-- The lock with exactly this CONFIG_HASH.
SELECT body, body_sha256, config_hash FROM locks WHERE config_hash = %(config_hash)s;

-- name: matching
-- Locks that a person may mean, the surest first: by the hash, version or table, the name, the hash's beginning; newest first.
SELECT body, body_sha256, config_hash,
       CASE WHEN %(ref)s IN (config_hash, chunk_version, table_name) THEN 1 WHEN name = %(ref)s THEN 2 ELSE 3 END AS sureness
FROM locks
WHERE (config_hash LIKE %(ref)s || '%%' AND length(%(ref)s) >= 4 AND %(ref)s ~ '^[0-9a-f]+$')
   OR chunk_version = %(ref)s OR table_name = %(ref)s OR name = %(ref)s
ORDER BY sureness, created_at DESC, chunk_version DESC;

-- name: versions_of_day
-- The versions that were given on one day.
SELECT chunk_version FROM locks WHERE chunk_version LIKE %(day)s || '-v%%';

-- name: all
-- Every lock with its state, newest first.
SELECT l.body, l.body_sha256, l.config_hash, l.chunk_version, l.name, l.table_name, l.created_at,
       (SELECT e.event FROM lock_events e WHERE e.config_hash = l.config_hash ORDER BY e.event_id DESC LIMIT 1) AS last_event,
       (SELECT e.at FROM lock_events e WHERE e.config_hash = l.config_hash ORDER BY e.event_id DESC LIMIT 1) AS last_at,
       l.config_hash = (SELECT e.config_hash FROM lock_events e WHERE e.event = 'activated' ORDER BY e.event_id DESC LIMIT 1)
           AS active,
       (SELECT i.stage FROM ingests i WHERE i.config_hash = l.config_hash) AS ingest_stage,
       (SELECT count(*) FROM evaluations v WHERE v.config_hash = l.config_hash) AS evaluations
FROM locks l
ORDER BY l.created_at DESC, l.chunk_version DESC;

-- name: active
-- The lock in production and since when: the last activation.
SELECT l.body, l.body_sha256, l.config_hash, e.at FROM lock_events e JOIN locks l USING (config_hash)
WHERE e.event = 'activated' ORDER BY e.event_id DESC LIMIT 1;

-- name: state
-- The last thing that happened to a lock.
SELECT event, at FROM lock_events WHERE config_hash = %(config_hash)s ORDER BY event_id DESC LIMIT 1;

-- name: add_event
-- Record that a lock was activated, archived or restored.
INSERT INTO lock_events (config_hash, event, at, reason) VALUES (%(config_hash)s, %(event)s, %(at)s, %(reason)s);

-- name: events
-- The activation log, oldest first.
SELECT e.at, e.event, l.name, l.chunk_version, e.config_hash, e.reason FROM lock_events e JOIN locks l USING (config_hash)
ORDER BY e.event_id;

-- name: serialise
-- Let one command at a time give versions or change activations.
LOCK TABLE lock_events IN SHARE ROW EXCLUSIVE MODE;

-- name: languages
-- The text search configurations of this server, by name.
SELECT cfgname FROM pg_ts_config ORDER BY cfgname;
