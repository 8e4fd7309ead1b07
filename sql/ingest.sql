-- name: of_lock
-- The ingest of a lock: there is one at the most.
SELECT ingest_id, config_hash, corpus, stage, strict, lexical, started_at, finished_at, corpus_sha256, table_sha256, report
FROM ingests WHERE config_hash = %(config_hash)s;

-- name: insert
-- Begin an ingest.
INSERT INTO ingests (ingest_id, config_hash, corpus, stage, strict, lexical, started_at)
VALUES (%(ingest_id)s, %(config_hash)s, %(corpus)s, 'read', %(strict)s, %(lexical)s, %(started_at)s);

-- name: advance
-- Remember how far an ingest is, and what it has found so far.
UPDATE ingests SET stage = %(stage)s, report = %(report)s WHERE ingest_id = %(ingest_id)s;

-- name: finish
-- The chunk table is whole: record its digest.
UPDATE ingests SET stage = 'done', finished_at = %(finished_at)s, table_sha256 = %(table_sha256)s, report = %(report)s
WHERE ingest_id = %(ingest_id)s;

-- name: set_corpus
-- Record the digest of the documents that were read.
UPDATE ingests SET corpus_sha256 = %(corpus_sha256)s WHERE ingest_id = %(ingest_id)s;

-- name: keep_forgotten
-- Keep the row of an ingest that is forgotten: runs, probes and parity go on naming it.
INSERT INTO ingests_forgotten (ingest_id, config_hash, corpus, stage, strict, lexical, started_at, finished_at,
                               corpus_sha256, table_sha256, report, last_record)
SELECT ingest_id, config_hash, corpus, stage, strict, lexical, started_at, finished_at, corpus_sha256, table_sha256,
       report, (SELECT coalesce(max(record_id), 0) FROM records)
FROM ingests WHERE ingest_id = %(ingest_id)s;

-- name: forget
-- Remove an ingest with its documents and rejects.
DELETE FROM ingests WHERE ingest_id = %(ingest_id)s;

-- name: every
-- All ingests of a lock, also forgotten ones, oldest first, each with when the one before it was forgotten.
SELECT ingest_id, config_hash, corpus, stage, strict, lexical, started_at, finished_at, corpus_sha256, table_sha256,
       report, lag(forgotten_at) OVER w AS began_after, lag(last_record) OVER w AS last_record
FROM (
    SELECT number, ingest_id, config_hash, corpus, stage, strict, lexical, started_at, finished_at, corpus_sha256,
           table_sha256, report, forgotten_at, last_record
    FROM ingests_forgotten WHERE config_hash = %(config_hash)s
    UNION ALL
    SELECT NULL, ingest_id, config_hash, corpus, stage, strict, lexical, started_at, finished_at, corpus_sha256,
           table_sha256, report, NULL, NULL
    FROM ingests WHERE config_hash = %(config_hash)s
) made
WINDOW w AS (ORDER BY number NULLS LAST)
ORDER BY number NULLS LAST;

-- name: make_staging
-- Chunks on their way: read, but not deduplicated and embedded yet.
CREATE TABLE {staging} (
    staged_id             bigint GENERATED ALWAYS AS IDENTITY,
    doc_id                text COLLATE "C" NOT NULL,
    span_start            integer NOT NULL,
    span_end              integer NOT NULL,
    text                  text NOT NULL,
    prefix                text NOT NULL,
    chunk_id              text NOT NULL,
    fp                    text NOT NULL,
    token_count           integer NOT NULL,
    embedding_token_count integer NOT NULL,
    embedding_sha256      bytea NOT NULL,
    grams                 bytea
);

-- name: make_order
-- Every staged chunk's place in (doc_id, start) order, and the first chunk with the very same text.
CREATE TABLE {ordering} AS
SELECT (row_number() OVER w - 1)::integer AS ord, staged_id, fp, embedding_sha256, embedding_token_count,
       NULL::integer AS twin_of
FROM {staging} WINDOW w AS (ORDER BY doc_id, span_start, span_end);

-- name: index_order
-- Find a place quickly.
ALTER TABLE {ordering} ADD PRIMARY KEY (ord);

-- name: find_twins
-- A chunk whose text stands earlier already is a duplicate of that one, whatever the threshold.
UPDATE {ordering} o SET twin_of = f.ord
FROM (SELECT fp, min(ord) AS ord FROM {ordering} GROUP BY fp HAVING count(*) > 1) f
WHERE f.fp = o.fp AND o.ord > f.ord;

-- name: make_fate
-- The chunks that go, each with its survivor.
CREATE TABLE {fate} (ord integer PRIMARY KEY, survivor integer NOT NULL);

-- name: make_kept
-- The sketches of the chunks that stay, one hash a row, with the number of the chunk's 3-grams.
CREATE TABLE {kept} (h bigint NOT NULL, ord integer NOT NULL, size integer NOT NULL);

-- name: make_sketched
-- The sketches of the batch at hand.
CREATE TEMPORARY TABLE IF NOT EXISTS sketched (h bigint, ord integer, size integer) ON COMMIT DELETE ROWS;

-- name: copy_sketched
-- Receive the sketches of a batch.
COPY sketched (h, ord, size) FROM STDIN (FORMAT BINARY);

-- name: all_grams
-- The 3-gram hashes of every chunk that is not the same text as an earlier one.
SELECT s.grams FROM {ordering} o JOIN {staging} s USING (staged_id) WHERE o.twin_of IS NULL;

-- name: batch_grams
-- The same of the places of one batch.
SELECT o.ord, s.grams FROM {ordering} o JOIN {staging} s USING (staged_id)
WHERE o.ord >= %(first)s AND o.ord < %(last)s AND o.twin_of IS NULL
ORDER BY o.ord;

-- name: candidates
-- Pairs of a batch's chunk and an earlier kept one, or an earlier one of the batch, whose sketches share enough hashes.
-- Of n 3-grams the last ceil(t n) - 1 are not in the sketch; two chunks share at most the hashes that their sketches
-- share and the rest of one of them, and must share t / (1 + t) of both sizes to be near-duplicates.
SELECT b.ord, k.ord FROM sketched b JOIN {kept} k USING (h)
WHERE k.size >= %(t)s::float8 * b.size - 1e-6 AND b.size >= %(t)s::float8 * k.size - 1e-6
GROUP BY b.ord, k.ord, b.size, k.size
HAVING count(*) + greatest(ceil(%(t)s::float8 * greatest(b.size, k.size) - 1e-9), 1) - 1
    >= ceil(%(t)s::float8 / (1 + %(t)s::float8) * (b.size + k.size) - 1e-6)
UNION ALL
SELECT b.ord, a.ord FROM sketched b JOIN sketched a USING (h)
WHERE a.ord < b.ord AND a.size >= %(t)s::float8 * b.size - 1e-6 AND b.size >= %(t)s::float8 * a.size - 1e-6
GROUP BY b.ord, a.ord, b.size, a.size
HAVING count(*) + greatest(ceil(%(t)s::float8 * greatest(b.size, a.size) - 1e-9), 1) - 1
    >= ceil(%(t)s::float8 / (1 + %(t)s::float8) * (b.size + a.size) - 1e-6)
ORDER BY 1, 2;

-- name: grams
-- The 3-gram hashes of some chunks.
SELECT o.ord, s.grams FROM {ordering} o JOIN {staging} s USING (staged_id) WHERE o.ord = ANY(%(ords)s);

-- name: keep_batch
-- Remember the sketches of the batch's chunks that stay.
INSERT INTO {kept} (h, ord, size) SELECT h, ord, size FROM sketched WHERE NOT ord = ANY(%(gone)s);

-- name: record_twins
-- Equal text shares the fate of its first chunk: that one stays and is the survivor, or its survivor is.
INSERT INTO {fate} (ord, survivor)
SELECT o.ord, coalesce(f.survivor, o.twin_of) FROM {ordering} o LEFT JOIN {fate} f ON f.ord = o.twin_of
WHERE o.twin_of IS NOT NULL;

-- name: count_staged
-- How many chunks were read.
SELECT count(*) FROM {ordering};

-- name: count_fate
-- How many chunks went.
SELECT count(*) FROM {fate};

-- name: make_pending
-- The distinct texts of surviving chunks that this embedder has not embedded yet, shortest first.
CREATE TABLE {pending} AS
SELECT DISTINCT ON (o.embedding_token_count, o.embedding_sha256) o.embedding_token_count, o.embedding_sha256, o.staged_id
FROM {ordering} o
LEFT JOIN {fate} f USING (ord)
LEFT JOIN embeddings e ON e.embedder_id = %(embedder_id)s AND e.text_sha256 = o.embedding_sha256
WHERE f.ord IS NULL AND e.text_sha256 IS NULL
ORDER BY o.embedding_token_count, o.embedding_sha256;

-- name: count_pending
-- How many texts wait for their vector, and how many tokens they have.
SELECT count(*), coalesce(sum(embedding_token_count), 0) FROM {pending};

-- name: pending
-- The texts that wait for their vector.
SELECT p.embedding_sha256, s.prefix || s.text AS body, p.embedding_token_count
FROM {pending} p JOIN {staging} s USING (staged_id)
ORDER BY p.embedding_token_count, p.embedding_sha256;

-- name: count_distinct
-- How many different texts the surviving chunks have.
SELECT count(DISTINCT o.embedding_sha256) FROM {ordering} o LEFT JOIN {fate} f USING (ord) WHERE f.ord IS NULL;

-- name: embedder_id
-- The short number of an embedder.
SELECT embedder_id FROM embedders WHERE fingerprint = %(fingerprint)s;

-- name: add_embedder
-- Give an embedder a short number.
INSERT INTO embedders (fingerprint, identity) VALUES (%(fingerprint)s, %(identity)s) ON CONFLICT (fingerprint) DO NOTHING;

-- name: make_arriving
-- Vectors on their way into the cache: another ingest may bring the same ones at the same time.
CREATE TEMPORARY TABLE IF NOT EXISTS arriving (
    embedder_id smallint, text_sha256 bytea, embedding public.vector
) ON COMMIT DELETE ROWS;

-- name: copy_arriving
-- Receive vectors.
COPY arriving (embedder_id, text_sha256, embedding) FROM STDIN (FORMAT BINARY);

-- name: keep_arriving
-- Into the cache, once each.
INSERT INTO embeddings (embedder_id, text_sha256, embedding)
SELECT embedder_id, text_sha256, embedding FROM arriving ON CONFLICT DO NOTHING;

-- name: copy_staging
-- Receive chunks.
COPY {staging} (doc_id, span_start, span_end, text, prefix, chunk_id, fp, token_count, embedding_token_count,
    embedding_sha256, grams) FROM STDIN (FORMAT BINARY);

-- name: stored_up_to
-- The last chunk that is in the chunk table.
SELECT coalesce(max(ordinal), -1) FROM {table};

-- name: store
-- Surviving chunks with their vectors into the chunk table, one range of places at a time.
INSERT INTO {table} (chunk_id, ordinal, doc_id, span_start, span_end, text, prefix, lexical_text, token_count,
    embedding_token_count, fp, embedding, ingest_run_id)
SELECT s.chunk_id, o.ord, s.doc_id, s.span_start, s.span_end, s.text, s.prefix,
       CASE WHEN %(prefixed)s THEN s.prefix || s.text ELSE s.text END,
       s.token_count, s.embedding_token_count, s.fp, e.embedding::{vector_type}, %(ingest_id)s
FROM {ordering} o
JOIN {staging} s USING (staged_id)
JOIN embeddings e ON e.embedder_id = %(embedder_id)s AND e.text_sha256 = o.embedding_sha256
LEFT JOIN {fate} f USING (ord)
WHERE f.ord IS NULL AND o.ord >= %(first)s AND o.ord < %(last)s
ORDER BY o.ord;

-- name: store_aliases
-- Where else a surviving chunk's words stand: the spans of the near-duplicates that went.
INSERT INTO {aliases} (chunk_id, doc_id, span_start, span_end)
SELECT k.chunk_id, s.doc_id, s.span_start, s.span_end
FROM {fate} f
JOIN {ordering} o USING (ord) JOIN {staging} s USING (staged_id)
JOIN {ordering} ko ON ko.ord = f.survivor JOIN {staging} k ON k.staged_id = ko.staged_id
ORDER BY f.ord;

-- name: clear_aliases
-- Before they are stored (again).
DELETE FROM {aliases};

-- name: corpus_digest
-- SHA-256 over the ids, titles and text digests of the documents, in order of id; and their number.
SELECT encode(sha256(convert_to(coalesce(string_agg(
           encode(sha256(convert_to(doc_id, 'UTF8')), 'hex') || encode(sha256(convert_to(title, 'UTF8')), 'hex')
           || encode(text_sha256, 'hex'), '' ORDER BY doc_id), ''), 'UTF8')), 'hex'),
       count(*)
FROM ingest_documents WHERE ingest_id = %(ingest_id)s;

-- name: table_digest
-- SHA-256 over every row of the chunk table and its aliases, vectors included, in order.
SELECT encode(sha256(
    coalesce((SELECT string_agg(sha256(convert_to(concat_ws('|', chunk_id, ordinal, span_start, span_end, token_count,
        embedding_token_count, fp, length(doc_id), doc_id, length(prefix), prefix, length(lexical_text), lexical_text,
        text), 'UTF8') || public.{vector_send}(embedding)), ''::bytea ORDER BY ordinal) FROM {table}), ''::bytea)
    || coalesce((SELECT string_agg(sha256(convert_to(concat_ws('|', chunk_id, span_start, span_end, doc_id), 'UTF8')),
        ''::bytea ORDER BY doc_id COLLATE "C", span_start, span_end) FROM {aliases}), ''::bytea)), 'hex');

-- name: known_documents
-- Which of some documents were read already, with title and digest.
SELECT doc_id, title, text_sha256 FROM ingest_documents WHERE ingest_id = %(ingest_id)s AND doc_id = ANY(%(doc_ids)s);

-- name: copy_documents
-- Receive documents.
COPY ingest_documents (ingest_id, doc_id, title, source, text_sha256) FROM STDIN;

-- name: keep_text
-- Store a text once.
INSERT INTO document_texts (text_sha256, body) VALUES (%(text_sha256)s, %(body)s) ON CONFLICT DO NOTHING;

-- name: copy_rejects
-- Receive rejected documents.
COPY ingest_rejects (ingest_id, source, doc_id, reason) FROM STDIN;

-- name: clear_rejects
-- Before the corpus is read (again).
DELETE FROM ingest_rejects WHERE ingest_id = %(ingest_id)s;

-- name: rejects
-- What was rejected, and why.
SELECT source, doc_id, reason FROM ingest_rejects WHERE ingest_id = %(ingest_id)s ORDER BY source, doc_id;

-- name: document
-- One document's text.
SELECT t.body FROM ingest_documents d JOIN document_texts t USING (text_sha256)
WHERE d.ingest_id = %(ingest_id)s AND d.doc_id = %(doc_id)s;

-- name: documents
-- Every document's text, in order of id.
SELECT d.doc_id, t.body FROM ingest_documents d JOIN document_texts t USING (text_sha256)
WHERE d.ingest_id = %(ingest_id)s ORDER BY d.doc_id;

-- name: all_spans
-- Every span that the index can find: those of the chunks, and those of their aliases.
SELECT doc_id, span_start, span_end FROM {table} UNION ALL SELECT doc_id, span_start, span_end FROM {aliases};

-- name: aliases_of
-- Where else the words of some chunks stand.
SELECT chunk_id, doc_id, span_start, span_end FROM {aliases} WHERE chunk_id = ANY(%(chunk_ids)s)
ORDER BY chunk_id, doc_id COLLATE "C", span_start;

-- name: copy_fate
-- Receive the chunks that go.
COPY {fate} (ord, survivor) FROM STDIN;

-- name: count_rows
-- How many chunks the chunk table holds.
SELECT count(*) FROM {table};
