-- name: dense
-- Every candidate of the dense leg, without texts.
SELECT chunk_id, doc_id, span_start AS start, span_end AS "end" FROM (
    SELECT ordinal, chunk_id, doc_id, span_start, span_end, embedding <=> %(vector)s AS distance FROM {table}
    ORDER BY embedding <=> %(vector)s LIMIT %(dense_candidates)s
) AS nearest ORDER BY distance, ordinal;

-- name: lexical_pg_textsearch
-- Every candidate of the lexical leg of pg_textsearch, without texts.
SELECT chunk_id, doc_id, span_start AS start, span_end AS "end" FROM (
    SELECT ordinal, chunk_id, doc_id, span_start, span_end, bm25_get_current_score() AS distance FROM {table}
    ORDER BY lexical_text <@> to_bm25query(%(question)s::text, %(lexical_index)s::text)
    LIMIT %(lexical_candidates)s
) AS best ORDER BY distance, ordinal;

-- name: lexical_lists
-- Every candidate of the lexical leg of the inverted lists, without texts.
SELECT chunk_id, doc_id, span_start AS start, span_end AS "end" FROM (
    SELECT ordinal, sum(times * weight) AS bm25 FROM (
        SELECT times, unnest(ordinals) AS ordinal, unnest(weights) AS weight FROM (
            SELECT cardinality(asked.positions) AS times, lists.ordinals, lists.weights
            FROM unnest(to_tsvector(%(language)s::regconfig, %(question)s::text)) AS asked
            JOIN {lexemes} AS lists USING (lexeme)
            OFFSET 0
        ) AS found
    ) AS postings
    GROUP BY ordinal ORDER BY bm25 DESC, ordinal LIMIT %(lexical_candidates)s
) AS best JOIN {table} USING (ordinal) ORDER BY bm25 DESC, ordinal;
