-- name: ids_of_day
-- The rollouts that began on one day.
SELECT rollout_id FROM rollouts WHERE rollout_id LIKE 'r' || %(day)s || '-%%';

-- name: insert
-- Begin a rollout.
INSERT INTO rollouts (rollout_id, plan_sha256, baseline, candidate, salt, clock, version, phase, weight_bp, state,
                      started_at, updated_at)
VALUES (%(rollout_id)s, %(plan_sha256)s, %(baseline)s, %(candidate)s, %(salt)s, %(clock)s, 1, %(phase)s, %(weight_bp)s,
        %(state)s, %(at)s, %(at)s);

-- name: move
-- Give a rollout its next state, if nobody else did so since it was read; a row comes back where it was done.
UPDATE rollouts
SET version = version + 1, phase = %(phase)s, weight_bp = %(weight_bp)s, state = %(state)s, updated_at = %(at)s
WHERE rollout_id = %(rollout_id)s AND version = %(version)s
RETURNING version;

-- name: add_event
-- Append what happened, and the state that it made.
INSERT INTO rollout_events (rollout_id, version, at, event, body)
VALUES (%(rollout_id)s, %(version)s, %(at)s, %(event)s, %(body)s);

-- name: add_notice
-- Remember what is to be told or done outside after the commit.
INSERT INTO rollout_notices (rollout_id, version, kind, body, made_at)
VALUES (%(rollout_id)s, %(version)s, %(kind)s, %(body)s, %(at)s);

-- name: roll_back
-- All traffic back to the baseline, whatever the phase; the version that this made, or that was there.
SELECT roll_back(%(rollout_id)s, %(why)s, %(by)s, %(at)s);

-- name: matching
-- The rollouts that a reference may mean, the open one first, then who began last: empty, an id, a plan's beginning.
SELECT r.rollout_id, r.plan_sha256, r.baseline, r.candidate, r.salt, r.clock, r.version, r.phase, r.weight_bp, r.state,
       r.started_at, r.updated_at
FROM rollouts r LEFT JOIN rollout_events began ON began.rollout_id = r.rollout_id AND began.version = 1
WHERE %(ref)s = '' OR r.rollout_id = %(ref)s OR (length(%(ref)s) >= 4 AND starts_with(r.plan_sha256, %(ref)s))
ORDER BY r.phase IN ('running', 'paused') DESC, began.event_id DESC NULLS LAST;

-- name: with_traffic
-- The same for what moves real traffic, in the order of what routes: on its way, then who moved last; a rehearsal by id alone.
SELECT r.rollout_id, r.plan_sha256, r.baseline, r.candidate, r.salt, r.clock, r.version, r.phase, r.weight_bp, r.state,
       r.started_at, r.updated_at
FROM rollouts r LEFT JOIN rollout_events last ON last.rollout_id = r.rollout_id AND last.version = r.version
WHERE r.rollout_id = %(ref)s
   OR (r.clock = 'wall' AND (%(ref)s = '' OR (length(%(ref)s) >= 4 AND starts_with(r.plan_sha256, %(ref)s))))
ORDER BY r.phase IN ('running', 'paused') DESC, last.event_id DESC NULLS LAST;

-- name: brought
-- The completed rollout whose candidate is in production now, with that lock.
SELECT r.rollout_id, l.name, l.config_hash
FROM rollouts r
JOIN rollout_events last ON last.rollout_id = r.rollout_id AND last.version = r.version
JOIN locks l ON l.config_hash = r.candidate
WHERE r.clock = 'wall' AND r.phase = 'completed'
  AND r.candidate = (SELECT config_hash FROM lock_events WHERE event = 'activated' ORDER BY event_id DESC LIMIT 1)
ORDER BY last.event_id DESC LIMIT 1;

-- name: open
-- The rollout whose traffic is on its way, if there is one.
SELECT rollout_id, plan_sha256, baseline, candidate, salt, clock, version, phase, weight_bp, state, started_at, updated_at
FROM rollouts WHERE phase IN ('running', 'paused');

-- name: events
-- The history of a rollout, oldest first.
SELECT event_id, rollout_id, version, at, recorded_at, event, body FROM rollout_events
WHERE rollout_id = %(rollout_id)s ORDER BY version;

-- name: unsent
-- What is to be told or done outside, the open and the newest rollout first; locked against a second controller.
SELECT n.notice_id, n.rollout_id, n.version, n.kind, n.body, n.made_at, n.sent_at, n.attempts, n.last_error
FROM rollout_notices n
JOIN rollouts r ON r.rollout_id = n.rollout_id
JOIN rollout_events e ON e.rollout_id = n.rollout_id AND e.version = n.version
WHERE n.sent_at IS NULL AND n.kind = ANY(%(kinds)s) AND n.attempts < %(limit)s
  AND (n.attempts > 0 OR %(hours)s::float8 IS NULL OR e.recorded_at > clock_timestamp() - %(hours)s * interval '1 hour')
ORDER BY r.clock = 'simulated', r.phase IN ('running', 'paused') DESC, r.started_at DESC, length(r.rollout_id) DESC,
         r.rollout_id DESC, n.notice_id
FOR UPDATE OF n SKIP LOCKED;

-- name: leave_old
-- Say of the notices that were never sent, and are too old to be news, that they stay so.
UPDATE rollout_notices n SET last_error = %(error)s
FROM rollout_events e
WHERE e.rollout_id = n.rollout_id AND e.version = n.version AND n.sent_at IS NULL AND n.kind = ANY(%(kinds)s)
  AND n.attempts = 0 AND n.last_error = '' AND e.recorded_at <= clock_timestamp() - %(hours)s * interval '1 hour';

-- name: add_held
-- Remember once a step that it is held up.
INSERT INTO rollout_notices (rollout_id, version, kind, body, made_at)
VALUES (%(rollout_id)s, %(version)s, 'held', %(body)s, %(at)s)
ON CONFLICT DO NOTHING;

-- name: last_error
-- What the receiver said last to a notice that it did not take, whatever rollout it is of.
SELECT last_error FROM rollout_notices
WHERE sent_at IS NULL AND attempts > 0 AND kind <> 'verify' ORDER BY notice_id DESC LIMIT 1;

-- name: notices
-- Everything that was or is to be told of a rollout, oldest first.
SELECT notice_id, rollout_id, version, kind, body, made_at, sent_at, attempts, last_error FROM rollout_notices
WHERE rollout_id = %(rollout_id)s ORDER BY notice_id;

-- name: sent
-- Tick a notice off.
UPDATE rollout_notices SET sent_at = %(at)s, attempts = attempts + 1, last_error = '' WHERE notice_id = %(notice_id)s;

-- name: not_sent
-- Remember why a notice could not be delivered.
UPDATE rollout_notices SET attempts = attempts + 1, last_error = %(error)s WHERE notice_id = %(notice_id)s;

-- name: server_time
-- The database's clock, which every controller shares.
SELECT date_trunc('second', clock_timestamp());
