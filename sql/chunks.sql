-- name: create_table
-- The chunk table of one lock; its vectors have the dimension of the lock's embedder.
CREATE TABLE {table} (
    chunk_id               text COLLATE "C" PRIMARY KEY CHECK (chunk_id ~ '^[0-9a-f]{{40}}$'),
    ordinal                integer NOT NULL,
    doc_id                 text COLLATE "C" NOT NULL,
    span_start             integer NOT NULL CHECK (span_start >= 0),
    span_end               integer NOT NULL CHECK (span_end > span_start),
    token_count            integer NOT NULL,
    embedding_token_count  integer NOT NULL,
    ingest_run_id          text NOT NULL,
    fp                     text COLLATE "C" NOT NULL CHECK (fp ~ '^[0-9a-f]{{16}}$'),
    prefix                 text NOT NULL,
    text                   text NOT NULL,
    lexical_text           text NOT NULL,
    embedding              {vector_type}({dimension}) NOT NULL,
    CONSTRAINT {ordinal_index} UNIQUE (ordinal)
);

-- name: store_texts_outside
-- Keep both texts out of the row and uncompressed: compressing them takes a third of the time of an insert.
ALTER TABLE {table} ALTER COLUMN text SET STORAGE EXTERNAL, ALTER COLUMN lexical_text SET STORAGE EXTERNAL;

-- name: store_vectors_inside
-- Keep the vector in the row: an exact scan takes a third of the time.
ALTER TABLE {table} ALTER COLUMN embedding SET STORAGE PLAIN;

-- name: create_aliases
-- The spans of near-duplicates that were dropped, with the chunk that survived.
CREATE TABLE {aliases} (
    chunk_id   text COLLATE "C" NOT NULL REFERENCES {table} DEFERRABLE INITIALLY DEFERRED,
    doc_id     text COLLATE "C" NOT NULL,
    span_start integer NOT NULL CHECK (span_start >= 0),
    span_end   integer NOT NULL CHECK (span_end > span_start),
    PRIMARY KEY (chunk_id, doc_id, span_start, span_end)
);

-- name: count
-- How many chunks the table holds.
SELECT count(*) FROM {table};

-- name: relation
-- Whether a table or an index of that name exists here, and whether an index of that name is complete.
SELECT to_regclass(%(name)s) IS NOT NULL AS present,
       coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%(name)s)), false) AS valid;

-- name: build_hnsw
-- The vector index, HNSW.
CREATE INDEX IF NOT EXISTS {index} ON {table} USING hnsw (embedding {operators})
WITH (m = {m}, ef_construction = {ef_construction});

-- name: build_ivfflat
-- The vector index, IVFFlat.
CREATE INDEX IF NOT EXISTS {index} ON {table} USING ivfflat (embedding {operators}) WITH (lists = {lists});

-- name: build_bm25
-- The lexical index of pg_textsearch.
CREATE INDEX IF NOT EXISTS {index} ON {table} USING bm25 (lexical_text)
WITH (text_config = {language}, k1 = {k1}, b = {b});

-- name: drop_index
-- Remove an index that was not completed.
DROP INDEX IF EXISTS {index};

-- name: drop_table
-- Remove a table.
DROP TABLE IF EXISTS {table};

-- name: create_lexemes
-- The inverted lists: for each lexeme the chunks (by ordinal) that hold it and its BM25 weight in each.
CREATE TABLE {lexemes} (
    lexeme   text COLLATE "C" PRIMARY KEY,
    df       integer NOT NULL,
    ordinals integer[] NOT NULL,
    weights  real[] NOT NULL
);

-- name: store_lists_uncompressed
-- Keep the lists as they are read: decompressing them would take longer than scoring.
ALTER TABLE {lexemes} ALTER COLUMN ordinals SET STORAGE EXTERNAL, ALTER COLUMN weights SET STORAGE EXTERNAL;

-- name: fill_lexemes
-- BM25 weights from corpus statistics: chunks with lexemes N, mean length, document and term frequency, length in 4 bits.
INSERT INTO {lexemes} (lexeme, df, ordinals, weights)
WITH counts AS MATERIALIZED (
    SELECT ordinal, lexeme, cardinality(positions) AS tf
    FROM {table} CROSS JOIN LATERAL unnest(to_tsvector(%(language)s::regconfig, lexical_text))
), lengths AS (
    SELECT ordinal, sum(tf) AS length FROM counts GROUP BY ordinal
), corpus AS (
    SELECT count(*)::float8 AS n, avg(length)::float8 AS mean FROM lengths
), norms AS (
    SELECT ordinal, %(k1)s::float8 * (1 - %(b)s::float8 + %(b)s::float8 * (CASE
        WHEN length < 40 THEN length
        ELSE length - (length - 24) %% (1 << (floor(log(2, length - 24))::integer - 3))
    END)::float8 / mean) AS norm
    FROM lengths CROSS JOIN corpus
), lists AS (
    SELECT lexeme, count(*) AS df, array_agg(ordinal ORDER BY ordinal) AS ordinals,
           array_agg(tf * (%(k1)s::float8 + 1) / (tf + norm) ORDER BY ordinal) AS saturations
    FROM counts JOIN norms USING (ordinal)
    GROUP BY lexeme
)
SELECT lexeme, df, ordinals,
       ARRAY(SELECT (ln(1 + (n - df + 0.5) / (df + 0.5)) * saturation)::real
             FROM unnest(saturations) WITH ORDINALITY AS s (saturation, place) ORDER BY place)
FROM lists CROSS JOIN corpus
ORDER BY lexeme;

-- name: beyond_positions
-- The first chunk with more words than a tsvector has positions for (16,383): its terms would be miscounted.
SELECT chunk_id, doc_id FROM {table}
WHERE octet_length(lexical_text) > 32766
  AND EXISTS (SELECT FROM unnest(to_tsvector(%(language)s::regconfig, lexical_text))
              WHERE positions[cardinality(positions)] >= 16383)
ORDER BY ordinal LIMIT 1;

-- name: vacuum
-- Clear the visibility map's and the planner's ignorance of a freshly written table.
VACUUM (ANALYZE) {table};

-- name: index_progress
-- How far the index build of another session is.
SELECT phase, greatest(blocks_done, tuples_done), greatest(blocks_total, tuples_total)
FROM pg_stat_progress_create_index WHERE pid = %(pid)s;

-- name: bytes_taken
-- Bytes of these tables with their indexes; one that is not there takes none.
SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0) FROM unnest(%(tables)s::text[]) AS tables (name);
