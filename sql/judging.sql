-- name: table_facts
-- Longest embedded text, how many are over the limit, lexical texts that the prefix policy does not ask for, chunks, aliases.
SELECT max(embedding_token_count),
       count(*) FILTER (WHERE embedding_token_count > %(token_limit)s),
       count(*) FILTER (WHERE lexical_text IS DISTINCT FROM CASE WHEN %(prefixed)s THEN prefix || text ELSE text END),
       count(*), (SELECT count(*) FROM {aliases})
FROM {table};

-- name: run_for_plan
-- The newest finished evaluation of a lock on this ground: these questions, all of them, this corpus, this gold share.
SELECT e.run_id, e.config_hash, l.name AS lock_name, l.chunk_version, e.question_set, e.questions_sha256, e.settings,
       e.started_at, e.finished_at, e.report, e.table_sha256, e.corpus_sha256, e.ingest_id
FROM evaluations e JOIN locks l USING (config_hash)
WHERE e.config_hash = %(config_hash)s AND e.questions_sha256 = %(questions_sha256)s
  AND e.corpus_sha256 = %(corpus_sha256)s AND (e.settings ->> 'gold_share')::float8 = %(gold_share)s::float8
  AND e.finished_at IS NOT NULL AND NOT e.settings ? 'subset'
ORDER BY e.number DESC LIMIT 1;

-- name: runs_made
-- How often each lock was evaluated on this ground since an instant; the runs that are judged count whenever they began.
SELECT config_hash, count(*) FROM evaluations
WHERE config_hash = ANY(%(config_hashes)s) AND questions_sha256 = %(questions_sha256)s
  AND corpus_sha256 = %(corpus_sha256)s AND (settings ->> 'gold_share')::float8 = %(gold_share)s::float8
  AND finished_at IS NOT NULL AND NOT settings ? 'subset'
  AND (started_at >= %(since)s OR run_id = ANY(%(judged)s))
GROUP BY config_hash;

-- name: known_scores
-- Evaluations of a lock on these questions, all or a part of them, about this corpus, that have cases, oldest first.
SELECT run_id FROM evaluations e
WHERE config_hash = %(config_hash)s AND corpus_sha256 = %(corpus_sha256)s
  AND EXISTS (SELECT FROM evaluation_cases c WHERE c.run_id = e.run_id)
  AND %(questions_sha256)s IN (questions_sha256, settings #>> '{subset,of}')
ORDER BY number;

-- name: judgement_of_pair
-- The newest judgement of one run against another.
SELECT record_id, kind, plan_sha256, config_hash, run_id, at, verdict, body, sha256 FROM records
WHERE kind = 'judgement' AND run_id = %(candidate)s AND body #>> '{baseline,run_id}' = %(baseline)s
ORDER BY record_id DESC LIMIT 1;
