-- name: current
-- The rollout that routes now, on its way or the one that moved last, and what is in production; a rehearsal routes nobody.
SELECT r.rollout_id, r.version, r.salt, r.baseline, r.candidate, r.phase, r.weight_bp,
       (SELECT e.config_hash FROM lock_events e WHERE e.event = 'activated' ORDER BY e.event_id DESC LIMIT 1) AS production
FROM rollouts r
LEFT JOIN rollout_events last ON last.rollout_id = r.rollout_id AND last.version = r.version
WHERE r.clock = 'wall'
ORDER BY r.phase IN ('running', 'paused') DESC, last.event_id DESC NULLS LAST
LIMIT 1;

-- name: at
-- The same as it was at an instant, from the histories, by when each change was written: then routers heard of it.
SELECT r.rollout_id, was.version, r.salt, r.baseline, r.candidate, was.phase, was.weight_bp,
       (SELECT e.config_hash FROM lock_events e
        WHERE e.event = 'activated' AND coalesce(e.recorded_at, e.at) <= %(instant)s ORDER BY e.event_id DESC LIMIT 1) AS production
FROM rollouts r
CROSS JOIN LATERAL (
    SELECT e.event_id, e.version, e.body -> 'state' ->> 'phase' AS phase,
           (e.body -> 'state' ->> 'weight_bp')::integer AS weight_bp
    FROM rollout_events e
    WHERE e.rollout_id = r.rollout_id AND e.recorded_at <= %(instant)s
    ORDER BY e.version DESC LIMIT 1
) AS was
WHERE r.clock = 'wall'
ORDER BY was.phase IN ('running', 'paused') DESC, was.event_id DESC
LIMIT 1;

-- name: span
-- When the first rollout that routed began, and up to when something is known.
SELECT min(started_at), greatest(clock_timestamp(), max(updated_at)) FROM rollouts WHERE clock = 'wall';

-- name: at_of
-- One rollout, also one by a simulated clock, as it was at an instant of its own clock; what is in production is left out.
SELECT r.rollout_id, e.version, r.salt, r.baseline, r.candidate, e.body -> 'state' ->> 'phase' AS phase,
       (e.body -> 'state' ->> 'weight_bp')::integer AS weight_bp
FROM rollouts r JOIN rollout_events e USING (rollout_id)
WHERE r.rollout_id = %(rollout_id)s
  AND (e.version = 1 OR CASE r.clock WHEN 'wall' THEN e.recorded_at ELSE e.at END <= %(instant)s)
ORDER BY e.version DESC LIMIT 1;

-- name: moments
-- From when on each state of one rollout held, in order; what was written later, with an earlier clock, ends it too.
SELECT min(CASE r.clock WHEN 'wall' THEN e.recorded_at ELSE e.at END) OVER (ORDER BY e.version DESC) AS since,
       (e.body -> 'state' ->> 'step')::integer AS step, e.body -> 'state' ->> 'phase' AS phase
FROM rollouts r JOIN rollout_events e USING (rollout_id)
WHERE r.rollout_id = %(rollout_id)s
ORDER BY e.version;

-- name: said
-- The last word on the kill switch, on each forced unit and on shadow: until an instant, or of all time for NULL.
SELECT DISTINCT ON (topic, value) event, value, arm, at, by, reason
FROM (
    SELECT *, CASE WHEN event IN ('killed', 'unkilled') THEN 1 WHEN event IN ('forced', 'unforced') THEN 2 ELSE 3 END AS topic
    FROM route_events
    WHERE %(instant)s::timestamptz IS NULL OR coalesce(recorded_at, at) <= %(instant)s
) AS known
ORDER BY topic, value, event_id DESC;

-- name: say
-- Append what a person said about routing.
INSERT INTO route_events (at, event, value, arm, by, reason)
VALUES (%(at)s, %(event)s, %(value)s, %(arm)s, %(by)s, %(reason)s);

-- name: listen
-- Hear of every change of what routes, when it commits.
LISTEN bakeoff_routing;
