-- name: insert
-- Append what a stage found.
INSERT INTO records (kind, plan_sha256, config_hash, run_id, at, verdict, body, sha256)
VALUES (%(kind)s, %(plan_sha256)s, %(config_hash)s, %(run_id)s, %(at)s, %(verdict)s, %(body)s, %(sha256)s)
RETURNING record_id;

-- name: latest
-- The newest record of a kind, of one plan, lock or run where they are given.
SELECT record_id, kind, plan_sha256, config_hash, run_id, at, verdict, body, sha256 FROM records
WHERE kind = %(kind)s
  AND (%(plan_sha256)s::text IS NULL OR plan_sha256 = %(plan_sha256)s)
  AND (%(config_hash)s::text IS NULL OR config_hash = %(config_hash)s)
  AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
ORDER BY record_id DESC LIMIT 1;

-- name: count
-- How many records of a kind there are, of one plan, lock or run where they are given.
SELECT count(*) FROM records
WHERE kind = %(kind)s
  AND (%(plan_sha256)s::text IS NULL OR plan_sha256 = %(plan_sha256)s)
  AND (%(config_hash)s::text IS NULL OR config_hash = %(config_hash)s)
  AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s);
