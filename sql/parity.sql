-- name: cases
-- What parity asks of each case of a run: its path, its oracle figure, whether it has gold, how many chunks came.
SELECT question_id, result ->> 'eval_path' AS eval_path,
       result ? 'oracle_retrieval_hit_prefilter' AS has_oracle,
       result ->> 'oracle_retrieval_hit_prefilter' AS oracle,
       coalesce(result #>> '{gold,level}', 'none') <> 'none' AS has_gold,
       (SELECT count(DISTINCT hit ->> 'chunk_id') FROM jsonb_array_elements(result -> 'retrieval_snapshot') AS hit) AS retrieved
FROM evaluation_cases WHERE run_id = %(run_id)s ORDER BY ordinal;

-- name: over_limit
-- The chunks whose embedded text has more tokens than allowed, the longest first, and how many there are.
SELECT chunk_id, doc_id, embedding_token_count, count(*) OVER () FROM {table}
WHERE embedding_token_count > %(limit)s ORDER BY embedding_token_count DESC, chunk_id LIMIT %(most)s;

-- name: longest
-- The number of tokens of the longest text that was embedded.
SELECT max(embedding_token_count) FROM {table};

-- name: not_own_span
-- The chunks whose lexical text is not their own span (under policy B behind the prefix); whether it has the prefix.
SELECT c.chunk_id, c.doc_id,
       coalesce(starts_with(c.lexical_text, coalesce(nullif(c.prefix, ''), nullif(%(lead)s::text, ''))), false) AS prefixed
FROM {table} c LEFT JOIN (
    SELECT d.doc_id, convert_to(t.body, 'UTF8') AS bytes
    FROM ingest_documents d JOIN document_texts t USING (text_sha256) WHERE d.ingest_id = %(ingest_id)s OFFSET 0
) s USING (doc_id)
WHERE convert_to(c.lexical_text, 'UTF8')
    IS DISTINCT FROM CASE WHEN %(prefixed)s THEN convert_to(c.prefix, 'UTF8') ELSE '' END
        || substring(s.bytes FROM c.span_start + 1 FOR c.span_end - c.span_start)
ORDER BY c.ordinal;

-- name: chunks
-- Every chunk without its vector, in order.
SELECT chunk_id, ordinal, doc_id, span_start, span_end, fp, text FROM {table} ORDER BY ordinal, chunk_id;

-- name: sampled_documents
-- As many documents as are wanted, chosen by a seed: the same ones wherever the same documents are.
SELECT doc_id, title, source, body FROM (
    SELECT d.doc_id, d.title, d.source, t.body FROM ingest_documents d JOIN document_texts t USING (text_sha256)
    WHERE d.ingest_id = %(ingest_id)s
    ORDER BY sha256(convert_to(%(seed)s::text || '|' || d.doc_id, 'UTF8')), d.doc_id LIMIT %(count)s
) sampled ORDER BY doc_id;

-- name: doc_ids
-- The ids of every document that was ingested.
SELECT doc_id FROM ingest_documents WHERE ingest_id = %(ingest_id)s;

-- name: chunks_of_documents
-- The chunks of some documents, with all that a second ingest would make again.
SELECT chunk_id, ordinal, doc_id, span_start, span_end, text, prefix, lexical_text, token_count, embedding_token_count, fp
FROM {table} WHERE doc_id = ANY(%(doc_ids)s) ORDER BY doc_id, span_start, span_end;

-- name: aliases_of_documents
-- The spans of some documents that went as near-duplicates, with their survivors.
SELECT a.doc_id, a.span_start, a.span_end, a.chunk_id FROM {aliases} a WHERE a.doc_id = ANY(%(doc_ids)s)
ORDER BY a.doc_id, a.span_start, a.span_end, a.chunk_id;

-- name: vectors
-- The vectors of some chunks, as single-precision numbers whatever they are stored as.
SELECT chunk_id, embedding::public.vector::real[] FROM {table} WHERE chunk_id = ANY(%(chunk_ids)s);
