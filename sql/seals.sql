-- name: lock
-- Wait until no other session seals; lasts until the transaction ends. Readers go on.
LOCK TABLE seals IN SHARE ROW EXCLUSIVE MODE;

-- name: insert
-- Append a seal.
INSERT INTO seals (number, payload_sha256, previous, keyid, sealed_at, plan_sha256, rollout_id, outcome, verdict, envelope, rows)
VALUES (%(number)s, %(payload_sha256)s, %(previous)s, %(keyid)s, %(sealed_at)s, %(plan_sha256)s, %(rollout_id)s,
        %(outcome)s, %(verdict)s, %(envelope)s, %(rows)s);

-- name: all
-- Every seal without its rows, oldest first.
SELECT number, payload_sha256, previous, keyid, sealed_at, plan_sha256, rollout_id, outcome, verdict, envelope
FROM seals ORDER BY number;

-- name: newest
-- The newest seal, of one plan or with one number where they are given.
SELECT number, payload_sha256, previous, keyid, sealed_at, plan_sha256, rollout_id, outcome, verdict, envelope
FROM seals
WHERE (%(plan_sha256)s::text IS NULL OR plan_sha256 = %(plan_sha256)s)
  AND (%(number)s::bigint IS NULL OR number = %(number)s)
ORDER BY number DESC LIMIT 1;

-- name: of_rollout
-- The newest seal of a rollout.
SELECT number, payload_sha256, previous, keyid, sealed_at, plan_sha256, rollout_id, outcome, verdict, envelope
FROM seals WHERE rollout_id = %(rollout_id)s ORDER BY number DESC LIMIT 1;

-- name: matching
-- The seals that a reference may mean: a number, the beginning of a payload's digest.
SELECT number, payload_sha256, previous, keyid, sealed_at, plan_sha256, rollout_id, outcome, verdict, envelope
FROM seals WHERE number::text = ltrim(%(ref)s, '0') OR (length(%(ref)s) >= 4 AND starts_with(payload_sha256, %(ref)s))
ORDER BY number;

-- name: rows_of
-- The rows that a seal rests on, as its file holds them.
SELECT rows FROM seals WHERE number = %(number)s;

-- name: lock_body
-- A lock as it was stored, and its digest.
SELECT body, body_sha256 FROM locks WHERE config_hash = %(config_hash)s;

-- name: cases
-- Every case of a run: the digest of the whole that the server keeps, its figures, how much was retrieved and read.
SELECT encode(result_sha256, 'hex'),
       result - '{retrieval_snapshot,retrieved_context,gold}'::text[] #- '{answer,used}' #- '{answer,text}',
       jsonb_array_length(result -> 'retrieval_snapshot'),
       jsonb_array_length(result -> 'retrieved_context')
FROM evaluation_cases WHERE run_id = %(run_id)s ORDER BY ordinal;

-- name: judgement
-- The newest judgement of a plan, made by an instant where it is given.
SELECT record_id, kind, plan_sha256, config_hash, run_id, at, verdict, body, sha256 FROM records
WHERE kind = 'judgement' AND plan_sha256 = %(plan_sha256)s AND (%(until)s::timestamptz IS NULL OR at <= %(until)s)
ORDER BY record_id DESC LIMIT 1;

-- name: record
-- One record by its number.
SELECT record_id, kind, plan_sha256, config_hash, run_id, at, verdict, body, sha256 FROM records
WHERE record_id = %(record_id)s;

-- name: records_of_rollout
-- What was recorded of one kind while a rollout was on its way, oldest first.
SELECT record_id, kind, plan_sha256, config_hash, run_id, at, verdict, body, sha256 FROM records
WHERE kind = %(kind)s AND body ->> 'rollout' = %(rollout_id)s ORDER BY record_id;

-- name: judged_plan
-- The plan that was judged last.
SELECT plan_sha256 FROM records WHERE kind = 'judgement' AND plan_sha256 IS NOT NULL ORDER BY record_id DESC LIMIT 1;

-- name: outcomes
-- Every live outcome of a rollout, in order of time, with its place in the order in which they were recorded.
SELECT at, step, arm, unit, ok, latency_ms, quality,
       CASE WHEN recorded_at IS NOT NULL
            THEN row_number() OVER (ORDER BY recorded_at NULLS FIRST, at, outcome_id COLLATE "C") - 1 END
FROM outcomes WHERE rollout_id = %(rollout_id)s ORDER BY at, outcome_id COLLATE "C";

-- name: outcomes_left
-- How many live outcomes of a rollout are there still.
SELECT count(*) FROM outcomes WHERE rollout_id = %(rollout_id)s;

-- name: said_while
-- What people said about routing in a span of time, and before it the last word on whatever was not as usual by then.
SELECT event, value, arm, at, by, reason
FROM (
    SELECT *, row_number() OVER (PARTITION BY at < %(since)s, CASE WHEN event IN ('killed', 'unkilled') THEN 1
                                 WHEN event IN ('forced', 'unforced') THEN 2 ELSE 3 END, value
                                 ORDER BY event_id DESC) AS back
    FROM route_events WHERE at <= %(until)s
) AS known
WHERE at >= %(since)s OR (back = 1 AND event IN ('killed', 'forced', 'shadow_off'))
ORDER BY event_id;
