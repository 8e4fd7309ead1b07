-- name: insert
-- Store a plan; an equal one stays as it is.
INSERT INTO plans (plan_sha256, baseline, candidate, created_at, body)
VALUES (%(plan_sha256)s, %(baseline)s, %(candidate)s, %(created_at)s, %(body)s)
ON CONFLICT (plan_sha256) DO NOTHING;

-- name: matching
-- Plans whose digest begins so, newest first.
SELECT plan_sha256, created_at, body FROM plans WHERE starts_with(plan_sha256, %(ref)s) ORDER BY created_at DESC, plan_sha256;

-- name: all
-- Every plan, newest first.
SELECT plan_sha256, created_at, body FROM plans ORDER BY created_at DESC, plan_sha256;
