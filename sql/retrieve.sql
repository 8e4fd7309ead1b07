-- name: set
-- One session setting.
SELECT set_config(%(name)s, %(value)s, false);

-- name: hybrid_pg_textsearch
-- Both legs, BM25 from pg_textsearch, fused by reciprocal rank: the snapshot. In a WITH it would score every row twice.
SELECT chunk.chunk_id, fp, doc_id, span_start AS start, span_end AS "end", text, token_count,
       row_number() OVER (ORDER BY score DESC, ordinal) AS rank, score, dense_rank,
       1 - (embedding <=> %(vector)s) AS dense_score, lexical_rank, bm25 AS lexical_score
FROM (
    SELECT ordinal, dense_rank, lexical_rank, bm25,
           coalesce(%(dense_weight)s::float8 / (%(rrf_k)s::bigint + dense_rank), 0)
           + coalesce(%(lexical_weight)s::float8 / (%(rrf_k)s::bigint + lexical_rank), 0) AS score
    FROM (
        SELECT ordinal, chunk_id, row_number() OVER (ORDER BY distance, ordinal) AS dense_rank
        FROM (
            SELECT ordinal, chunk_id, embedding <=> %(vector)s AS distance FROM {table}
            ORDER BY embedding <=> %(vector)s LIMIT %(dense_candidates)s
        ) AS nearest
    ) AS dense
    FULL JOIN (
        SELECT ordinal, chunk_id, -distance AS bm25, row_number() OVER (ORDER BY distance, ordinal) AS lexical_rank
        FROM (
            SELECT ordinal, chunk_id, bm25_get_current_score() AS distance FROM {table}
            ORDER BY lexical_text <@> to_bm25query(%(question)s::text, %(lexical_index)s::text)
            LIMIT %(lexical_candidates)s
        ) AS best
    ) AS lexical USING (ordinal, chunk_id)
    ORDER BY score DESC, ordinal LIMIT %(snapshot)s
) AS fused JOIN {table} AS chunk USING (ordinal)
ORDER BY rank;

-- name: hybrid_lists
-- Both legs, BM25 from the inverted lists, fused by reciprocal rank: the snapshot.
WITH dense AS MATERIALIZED (
    SELECT ordinal, chunk_id, row_number() OVER (ORDER BY distance, ordinal) AS rank
    FROM (
        SELECT ordinal, chunk_id, embedding <=> %(vector)s AS distance FROM {table}
        ORDER BY embedding <=> %(vector)s LIMIT %(dense_candidates)s
    ) AS nearest
), postings AS (
    SELECT times, unnest(ordinals) AS ordinal, unnest(weights) AS weight
    FROM (
        SELECT times, ordinals, weights
        FROM (
            SELECT lexeme, CASE WHEN count(*) OVER () = 1 THEN 1 ELSE cardinality(positions) END AS times
            FROM unnest(to_tsvector(%(language)s::regconfig, %(question)s::text))
        ) AS asked JOIN {lexemes} USING (lexeme)
        OFFSET 0
    ) AS found
), best AS MATERIALIZED (
    SELECT ordinal, sum(times * weight) AS bm25 FROM postings
    GROUP BY ordinal ORDER BY bm25 DESC, ordinal LIMIT %(lexical_candidates)s
), lexical AS MATERIALIZED (
    SELECT ordinal, chunk_id, bm25, row_number() OVER (ORDER BY bm25 DESC, ordinal) AS rank
    FROM best JOIN {table} USING (ordinal)
), fused AS MATERIALIZED (
    SELECT ordinal, chunk_id, dense.rank AS dense_rank, lexical.rank AS lexical_rank, bm25,
           coalesce(%(dense_weight)s::float8 / (%(rrf_k)s::bigint + dense.rank), 0)
           + coalesce(%(lexical_weight)s::float8 / (%(rrf_k)s::bigint + lexical.rank), 0) AS score
    FROM dense FULL JOIN lexical USING (ordinal, chunk_id)
    ORDER BY score DESC, ordinal LIMIT %(snapshot)s
)
SELECT chunk.chunk_id, fp, doc_id, span_start AS start, span_end AS "end", text, token_count,
       row_number() OVER (ORDER BY score DESC, ordinal) AS rank, score, dense_rank,
       1 - (embedding <=> %(vector)s) AS dense_score, lexical_rank, bm25 AS lexical_score
FROM fused JOIN {table} AS chunk USING (ordinal)
ORDER BY rank;

-- name: dense
-- The dense leg alone.
WITH fused AS MATERIALIZED (
    SELECT ordinal, row_number() OVER (ORDER BY distance, ordinal) AS rank
    FROM (
        SELECT ordinal, chunk_id, embedding <=> %(vector)s AS distance FROM {table}
        ORDER BY embedding <=> %(vector)s LIMIT %(dense_candidates)s
    ) AS nearest
    ORDER BY rank LIMIT %(snapshot)s
)
SELECT chunk_id, fp, doc_id, span_start AS start, span_end AS "end", text, token_count, rank,
       %(dense_weight)s::float8 / (%(rrf_k)s::bigint + rank) AS score, rank AS dense_rank,
       1 - (embedding <=> %(vector)s) AS dense_score, NULL::bigint AS lexical_rank, NULL::float8 AS lexical_score
FROM fused JOIN {table} USING (ordinal)
ORDER BY rank;

-- name: lexical_pg_textsearch
-- The lexical leg of pg_textsearch alone.
SELECT chunk_id, fp, doc_id, span_start AS start, span_end AS "end", text, token_count, rank,
       %(lexical_weight)s::float8 / (%(rrf_k)s::bigint + rank) AS score, NULL::bigint AS dense_rank,
       1 - (embedding <=> %(vector)s) AS dense_score, rank AS lexical_rank, bm25 AS lexical_score
FROM (
    SELECT ordinal, -distance AS bm25, row_number() OVER (ORDER BY distance, ordinal) AS rank
    FROM (
        SELECT ordinal, chunk_id, bm25_get_current_score() AS distance FROM {table}
        ORDER BY lexical_text <@> to_bm25query(%(question)s::text, %(lexical_index)s::text)
        LIMIT %(lexical_candidates)s
    ) AS best
    ORDER BY rank LIMIT %(snapshot)s
) AS fused JOIN {table} USING (ordinal)
ORDER BY rank;

-- name: lexical_lists
-- The lexical leg of the inverted lists alone.
WITH postings AS (
    SELECT times, unnest(ordinals) AS ordinal, unnest(weights) AS weight
    FROM (
        SELECT times, ordinals, weights
        FROM (
            SELECT lexeme, CASE WHEN count(*) OVER () = 1 THEN 1 ELSE cardinality(positions) END AS times
            FROM unnest(to_tsvector(%(language)s::regconfig, %(question)s::text))
        ) AS asked JOIN {lexemes} USING (lexeme)
        OFFSET 0
    ) AS found
), best AS MATERIALIZED (
    SELECT ordinal, sum(times * weight) AS bm25 FROM postings
    GROUP BY ordinal ORDER BY bm25 DESC, ordinal LIMIT %(lexical_candidates)s
), fused AS MATERIALIZED (
    SELECT ordinal, bm25, row_number() OVER (ORDER BY bm25 DESC, ordinal) AS rank
    FROM best JOIN {table} USING (ordinal)
    ORDER BY rank LIMIT %(snapshot)s
)
SELECT chunk_id, fp, doc_id, span_start AS start, span_end AS "end", text, token_count, rank,
       %(lexical_weight)s::float8 / (%(rrf_k)s::bigint + rank) AS score, NULL::bigint AS dense_rank,
       1 - (embedding <=> %(vector)s) AS dense_score, rank AS lexical_rank, bm25 AS lexical_score
FROM fused JOIN {table} USING (ordinal)
ORDER BY rank;

-- name: exact
-- The nearest chunks by an exact scan: what the vector index is measured against. Subtracting 0 hides the index.
SELECT chunk_id FROM {table} ORDER BY (embedding <=> %(vector)s) - 0, ordinal LIMIT %(limit)s;

-- name: explain
-- The plan of a statement, which is not run.
EXPLAIN (COSTS OFF) {statement};
