-- name: unfinished
-- An evaluation of the same lock, ingest, table, questions and settings that was interrupted, newest first.
SELECT run_id, started_at FROM evaluations
WHERE config_hash = %(config_hash)s AND ingest_id = %(ingest_id)s AND table_sha256 = %(table_sha256)s
  AND questions_sha256 = %(questions_sha256)s AND settings = %(settings)s AND finished_at IS NULL
ORDER BY number DESC LIMIT 1;

-- name: insert
-- Begin an evaluation.
INSERT INTO evaluations
    (run_id, config_hash, ingest_id, table_sha256, corpus_sha256, question_set, questions_sha256, settings, started_at)
VALUES (%(run_id)s, %(config_hash)s, %(ingest_id)s, %(table_sha256)s, %(corpus_sha256)s, %(question_set)s,
        %(questions_sha256)s, %(settings)s, %(started_at)s);

-- name: finish
-- All cases are there: record the aggregates.
UPDATE evaluations SET finished_at = %(finished_at)s, report = %(report)s WHERE run_id = %(run_id)s;

-- name: add_case
-- Store one case.
INSERT INTO evaluation_cases (run_id, question_id, ordinal, result, timings)
VALUES (%(run_id)s, %(question_id)s, %(ordinal)s, %(result)s, %(timings)s)
ON CONFLICT (run_id, question_id) DO NOTHING;

-- name: case_ids
-- The questions that have a result already.
SELECT question_id FROM evaluation_cases WHERE run_id = %(run_id)s;

-- name: cases
-- Every case of a run, in the order of its questions.
SELECT question_id, result, timings FROM evaluation_cases WHERE run_id = %(run_id)s ORDER BY ordinal;

-- name: rows_digest
-- SHA-256 over the digest of every case, which the server keeps, and its timings: cheap to check, so every reader can.
SELECT encode(sha256(convert_to(
    coalesce(string_agg(question_id || E'\t' || encode(result_sha256, 'hex') || E'\t' || timings::text, E'\n'
                        ORDER BY ordinal), ''),
    'UTF8')), 'hex')
FROM evaluation_cases WHERE run_id = %(run_id)s;

-- name: rows_digest_of_old
-- SHA-256 over every case itself and its timings, as evaluations recorded it before the server kept digests.
SELECT encode(sha256(convert_to(
    coalesce(string_agg(question_id || E'\t' || result::text || E'\t' || timings::text, E'\n' ORDER BY ordinal), ''),
    'UTF8')), 'hex')
FROM evaluation_cases WHERE run_id = %(run_id)s;

-- name: scores
-- The figures of every case without what was retrieved, and how much that was, in the order of the questions.
SELECT result - '{retrieval_snapshot,retrieved_context,gold,funnel,token_counts}'::text[],
       jsonb_array_length(result -> 'retrieval_snapshot')
FROM evaluation_cases WHERE run_id = %(run_id)s ORDER BY ordinal;

-- name: matching
-- The run with this id, or those whose id begins so.
SELECT e.run_id, e.config_hash, l.name AS lock_name, l.chunk_version, e.question_set, e.questions_sha256, e.settings,
       e.started_at, e.finished_at, e.report, e.table_sha256, e.corpus_sha256, e.ingest_id
FROM evaluations e JOIN locks l USING (config_hash)
WHERE starts_with(e.run_id, %(ref)s) ORDER BY e.number DESC;

-- name: latest_of_lock
-- The newest finished run of a lock that asked all questions of its set.
SELECT e.run_id, e.config_hash, l.name AS lock_name, l.chunk_version, e.question_set, e.questions_sha256, e.settings,
       e.started_at, e.finished_at, e.report, e.table_sha256, e.corpus_sha256, e.ingest_id
FROM evaluations e JOIN locks l USING (config_hash)
WHERE e.config_hash = %(config_hash)s AND e.finished_at IS NOT NULL AND NOT e.settings ? 'subset'
ORDER BY e.number DESC LIMIT 1;

-- name: finished_before
-- The newest finished run of a lock on one table with these questions and settings.
SELECT e.run_id, e.config_hash, l.name AS lock_name, l.chunk_version, e.question_set, e.questions_sha256, e.settings,
       e.started_at, e.finished_at, e.report, e.table_sha256, e.corpus_sha256, e.ingest_id
FROM evaluations e JOIN locks l USING (config_hash)
WHERE e.config_hash = %(config_hash)s AND e.table_sha256 = %(table_sha256)s
  AND e.questions_sha256 = %(questions_sha256)s AND e.settings = %(settings)s AND e.finished_at IS NOT NULL
ORDER BY e.number DESC LIMIT 1;

-- name: matching_pair
-- The newest finished runs of two locks that were asked the same questions, all of a set, of the same corpus.
SELECT a.run_id, b.run_id
FROM evaluations a JOIN evaluations b USING (questions_sha256, corpus_sha256)
WHERE a.config_hash = %(baseline)s AND b.config_hash = %(candidate)s AND a.run_id <> b.run_id
  AND a.finished_at IS NOT NULL AND b.finished_at IS NOT NULL AND NOT a.settings ? 'subset'
ORDER BY least(a.number, b.number) DESC, greatest(a.number, b.number) DESC LIMIT 1;

-- name: all
-- Every run, newest first.
SELECT e.run_id, e.config_hash, l.name AS lock_name, l.chunk_version, e.question_set, e.questions_sha256, e.settings,
       e.started_at, e.finished_at, e.report, e.table_sha256, e.corpus_sha256, e.ingest_id
FROM evaluations e JOIN locks l USING (config_hash) ORDER BY e.number DESC;
