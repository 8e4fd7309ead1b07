-- name: begin_reading
-- From here to the end of the transaction nothing can be written, and everything is seen as it was at this moment.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: only_read
-- The rights to read every table, and no others, for what an operator wrote; to the end of the transaction.
SET LOCAL ROLE pg_read_all_data;

-- name: set_local
-- One setting, for this transaction.
SELECT set_config(%(name)s, %(value)s, true);

-- name: bounded
-- A probe's query as a part of ours: nothing but a query can stand there, and no more rows come than are looked at.
SELECT * FROM (
{statement}
) AS found LIMIT %(most)s;

-- name: embedder_of
-- The short number of the lock's embedder.
SELECT embedder_id FROM embedders WHERE fingerprint = %(fingerprint)s;

-- name: sample
-- Chunks by chance, the same ones for the same seed, with the first words of what is searched in.
SELECT chunk_id, embedding::vector AS embedding,
       array_to_string((regexp_split_to_array(left(lexical_text, 4000), '\s+'))[1:%(words)s::integer], ' ') AS words
FROM {table} JOIN (
    SELECT chunk_id FROM {table} ORDER BY md5(chunk_id || %(seed)s::text), chunk_id LIMIT %(sample)s
) AS chosen USING (chunk_id) ORDER BY chunk_id;

-- name: chunk_keys
-- What every chunk's id is made of.
SELECT chunk_id, doc_id, span_start, span_end FROM {table} ORDER BY ordinal;

-- name: spans_digest
-- How many chunks there are, and a digest of which bytes of which documents they are.
SELECT count(*), encode(sha256(convert_to(coalesce(string_agg(
    concat_ws('|', doc_id, span_start, span_end), ',' ORDER BY doc_id, span_start, span_end), ''), 'UTF8')), 'hex')
FROM {table};

-- name: volatile
-- One of these functions that may do more than compute, if there is one.
SELECT proname::text FROM pg_proc WHERE proname = ANY(%(names)s::text[]) AND provolatile = 'v' ORDER BY 1 LIMIT 1;

-- name: distances
-- How far some chunks are from a vector.
SELECT chunk_id, (embedding <=> %(vector)s)::float8 FROM {table} WHERE chunk_id = ANY(%(ids)s::text[]);

-- name: openings
-- The first words of what some chunks are searched by.
SELECT array_to_string((regexp_split_to_array(left(lexical_text, 4000), '\s+'))[1:%(words)s::integer], ' ')
FROM {table} WHERE chunk_id = ANY(%(ids)s::text[]);
