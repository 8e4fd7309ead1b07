-- name: make_arriving
-- Outcomes on their way in: all of an input are here before the first is stored.
CREATE TEMPORARY TABLE IF NOT EXISTS outcomes_arriving (
    number bigint, at timestamptz, outcome_id text COLLATE "C", derived boolean, arm smallint, step smallint, ok boolean, unit text,
    latency_ms real, quality real
) ON COMMIT DELETE ROWS;

-- name: copy_arriving
-- Receive outcomes.
COPY outcomes_arriving (number, at, outcome_id, derived, arm, step, ok, unit, latency_ms, quality) FROM STDIN;

-- name: set_steps
-- Give what came without a step the one of its time, of states that hold from ordered instants on; none while none was open.
UPDATE outcomes_arriving
SET step = (%(steps)s::smallint[])[greatest(width_bucket(at, %(since)s::timestamptz[]), 1)]
WHERE step IS NULL;

-- name: leave_late
-- Leave out what is of no step.
DELETE FROM outcomes_arriving WHERE step IS NULL;

-- name: make_days
-- The partitions of the days that arrived.
SELECT outcomes_partition(day)
FROM (SELECT DISTINCT (at AT TIME ZONE 'UTC')::date AS day FROM outcomes_arriving ORDER BY day) AS days;

-- name: lock_to_add
-- Let no look begin until what is stored in this transaction is there; others may store meanwhile.
SELECT pg_advisory_xact_lock_shared(hashtextextended('bakeoff.outcomes|' || %(rollout_id)s, 0));

-- name: lock_to_look
-- Wait for what is being stored, and let nothing be stored until this transaction ends: a look sees one state.
SELECT pg_advisory_xact_lock(hashtextextended('bakeoff.outcomes|' || %(rollout_id)s, 0));

-- name: keep_named
-- Store the outcomes that have an id, once each.
INSERT INTO outcomes (rollout_id, at, outcome_id, arm, step, ok, unit, latency_ms, quality)
SELECT %(rollout_id)s, at, outcome_id, arm, step, ok, unit, latency_ms, quality
FROM outcomes_arriving WHERE NOT derived
ON CONFLICT DO NOTHING;

-- name: keep_derived
-- Store the outcomes without an id; equal ones are told apart by how many went before them in this input.
INSERT INTO outcomes (rollout_id, at, outcome_id, arm, step, ok, unit, latency_ms, quality)
SELECT %(rollout_id)s, at, outcome_id || '-' || row_number() OVER (PARTITION BY at, outcome_id ORDER BY number), arm,
       step, ok, unit, latency_ms, quality
FROM outcomes_arriving WHERE derived
ON CONFLICT DO NOTHING;

-- name: sums
-- What a look needs of every step and arm, apart for outcomes with a unit and without: those are units of their own.
WITH units AS MATERIALIZED (
    SELECT step, arm, unit, count(*)::float8 AS n, sum(ok::integer)::float8 AS good, count(quality)::float8 AS rated,
           coalesce(sum(quality::float8), 0) AS quality, coalesce(sum(quality::float8 * quality::float8), 0) AS squares,
           max(at) AS last_at
    FROM outcomes WHERE rollout_id = %(rollout_id)s AND at <= %(until)s AND unit IS NOT NULL
    GROUP BY step, arm, unit
), crossings AS (
    SELECT step, count(*) AS crossing
    FROM (SELECT step FROM units GROUP BY step, unit HAVING count(*) > 1) AS both_arms GROUP BY step
)
SELECT step, arm, true AS named, sum(n)::bigint AS n, sum(good) AS good, sum(rated)::bigint AS rated,
       sum(quality) AS quality, sum(squares) AS squares, max(last_at) AS last_at, count(*) AS clusters,
       sum(good * good) AS good_good, sum(good * n) AS good_n, sum(n * n) AS n_n,
       count(*) FILTER (WHERE rated > 0) AS rated_clusters, sum(quality * quality) AS quality_quality,
       sum(quality * rated) AS quality_rated, sum(rated * rated) AS rated_rated, coalesce(max(crossing), 0) AS crossing
FROM units LEFT JOIN crossings USING (step) GROUP BY step, arm
UNION ALL
SELECT step, arm, false, count(*), sum(ok::integer)::float8, count(quality), coalesce(sum(quality::float8), 0),
       coalesce(sum(quality::float8 * quality::float8), 0), max(at), count(*),
       sum(ok::integer)::float8, sum(ok::integer)::float8, count(*)::float8,
       count(quality), coalesce(sum(quality::float8 * quality::float8), 0),
       coalesce(sum(quality::float8), 0), count(quality)::float8, 0
FROM outcomes WHERE rollout_id = %(rollout_id)s AND at <= %(until)s AND unit IS NULL GROUP BY step, arm
ORDER BY step, arm, named;

-- name: together
-- What the units of each step and arm have in common with those of the steps before, of both arms.
WITH units AS MATERIALIZED (
    SELECT step, arm, unit, count(*)::float8 AS n, sum(ok::integer)::float8 AS good, count(quality)::float8 AS rated,
           coalesce(sum(quality::float8), 0) AS quality
    FROM outcomes WHERE rollout_id = %(rollout_id)s AND at <= %(until)s AND unit IS NOT NULL
    GROUP BY step, arm, unit
)
SELECT later.step, later.arm, before.step AS before_step, before.arm AS before_arm,
       sum(later.good * before.good) AS good_good, sum(later.good * before.n) AS good_n,
       sum(later.n * before.good) AS n_good, sum(later.n * before.n) AS n_n,
       sum(later.quality * before.quality) AS quality_quality, sum(later.quality * before.rated) AS quality_rated,
       sum(later.rated * before.quality) AS rated_quality, sum(later.rated * before.rated) AS rated_rated
FROM units AS later JOIN units AS before ON before.unit = later.unit AND before.step < later.step
GROUP BY later.step, later.arm, before.step, before.arm ORDER BY later.step, later.arm, before.step, before.arm;

-- name: timed
-- How many outcomes of a step were timed, by arm and quantile, and how those up to the quantile fall on units.
WITH timed AS MATERIALIZED (
    SELECT arm, unit, latency_ms FROM outcomes
    WHERE rollout_id = %(rollout_id)s AND at <= %(until)s AND step = %(step)s AND latency_ms IS NOT NULL
      AND (%(unnamed)s OR unit IS NOT NULL)
), quantiles AS (
    SELECT arm, share, percentile_disc(share) WITHIN GROUP (ORDER BY latency_ms) AS latency_ms
    FROM timed CROSS JOIN unnest(%(shares)s::double precision[]) AS shares (share) GROUP BY arm, share
), units AS (
    SELECT arm, share, unit IS NULL AS alone, count(*)::float8 AS n,
           count(*) FILTER (WHERE timed.latency_ms <= quantiles.latency_ms)::float8 AS up_to
    FROM timed JOIN quantiles USING (arm) GROUP BY arm, share, unit
)
SELECT arm, share, sum(n)::bigint AS n, sum(up_to) AS up_to,
       sum(CASE WHEN alone THEN n ELSE 1 END)::bigint AS clusters,
       sum(up_to * CASE WHEN alone THEN 1 ELSE up_to END) AS squared,
       sum(up_to * CASE WHEN alone THEN 1 ELSE n END) AS by_sizes,
       sum(n * CASE WHEN alone THEN 1 ELSE n END) AS sizes_squared
FROM units GROUP BY arm, share ORDER BY arm, share;

-- name: quantiles
-- The latencies of one arm in a step at given shares of their order.
SELECT percentile_disc(%(shares)s::double precision[]) WITHIN GROUP (ORDER BY latency_ms) FROM outcomes
WHERE rollout_id = %(rollout_id)s AND at <= %(until)s AND step = %(step)s AND arm = %(arm)s
  AND (%(unnamed)s OR unit IS NOT NULL);

-- name: days
-- The days that have a partition, oldest first.
SELECT to_date(right(relname, 8), 'YYYYMMDD') AS day
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'outcomes'::regclass ORDER BY day;

-- name: days_of
-- Those of some days on which a rollout has outcomes.
SELECT day
FROM unnest(%(days)s::date[]) AS days (day)
CROSS JOIN LATERAL (
    SELECT FROM outcomes
    WHERE rollout_id = %(rollout_id)s AND at >= day::timestamp AT TIME ZONE 'UTC'
      AND at < (day + 1)::timestamp AT TIME ZONE 'UTC'
    LIMIT 1
) AS there
ORDER BY day;

-- name: lock_to_drop
-- Let nobody store outcomes until the transaction ends; readers go on.
LOCK TABLE ONLY outcomes IN SHARE ROW EXCLUSIVE MODE;

-- name: drop_day
-- Remove all outcomes of a day.
DROP TABLE {table};
