-- name: unsent
-- What could not be told outside, and rollbacks not checked yet: how many, since when, attempts at most, the last error.
SELECT count(*), min(made_at), coalesce(max(attempts), 0), coalesce(max(last_error), '') FROM rollout_notices
WHERE sent_at IS NULL AND (attempts > 0 OR kind = 'verify');

-- name: at_work
-- Whether any session holds the advisory lock on a name, as a controller does while it watches.
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::bigint << 32) | objid::bigint = hashtextextended(%(name)s, 0)
);

-- name: route_events
-- Everything that people said about routing, oldest first.
SELECT event, value, arm, at, by, reason FROM route_events ORDER BY event_id;
