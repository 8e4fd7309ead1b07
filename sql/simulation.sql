-- name: cases
-- Every case of a run as an outcome: without error, milliseconds, and what may stand for its quality.
SELECT question_id, result #>> '{answer,error}' IS NULL, (timings ->> 'total')::float8,
       (result ->> 'answer_right')::float8, (result ->> 'f1')::float8, (result ->> 'reader_used_gold')::float8,
       (result ->> 'filter_hit_postfilter')::float8
FROM evaluation_cases WHERE run_id = %(run_id)s ORDER BY ordinal;

-- name: recorded
-- The newest outcomes of one arm of a rollout.
SELECT ok, latency_ms, quality FROM outcomes
WHERE rollout_id = %(rollout_id)s AND arm = %(arm)s
ORDER BY at DESC, outcome_id LIMIT %(limit)s;
