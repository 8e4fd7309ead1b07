-- The whole schema of bakeoff, to read first. It is what the files in migrations/ make together (a test compares them).
-- Everything lives in the schema "bakeoff"; each ingest adds a chunk table of its own (see chunks.sql).
CREATE SCHEMA IF NOT EXISTS bakeoff;
SET search_path = bakeoff, public;

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

-- A recorded fact that may never change again.
CREATE FUNCTION forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: its rows never change', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
END
$$;

CREATE TABLE locks (
    config_hash   text PRIMARY KEY CHECK (config_hash ~ '^[0-9a-f]{16}$'),
    chunk_version text NOT NULL UNIQUE CHECK (chunk_version ~ '^\d{4}-\d{2}-\d{2}-v\d+$'),
    table_name    text NOT NULL UNIQUE CHECK (table_name ~ '^document_chunks_\d{8}_\d{6}_v\d+$'),
    name          text NOT NULL CHECK (name <> ''),
    created_at    timestamptz NOT NULL,
    body          jsonb NOT NULL,
    body_sha256   text NOT NULL CHECK (body_sha256 ~ '^[0-9a-f]{64}$')
);
CREATE TRIGGER locks_never_change BEFORE UPDATE OR DELETE ON locks FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER locks_never_truncate BEFORE TRUNCATE ON locks EXECUTE FUNCTION forbid_change();

-- What happened to a lock, in order: the last activation says which lock is in production and since when.
CREATE TABLE lock_events (
    event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    config_hash text NOT NULL REFERENCES locks,
    event       text NOT NULL CHECK (event IN ('activated', 'archived', 'restored')),
    at          timestamptz NOT NULL,
    reason      text NOT NULL DEFAULT ''
);
CREATE TRIGGER lock_events_never_change BEFORE UPDATE OR DELETE ON lock_events
    FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER lock_events_never_truncate BEFORE TRUNCATE ON lock_events EXECUTE FUNCTION forbid_change();

-- The extracted text of documents, by content: every ingest of the same text shares one row.
CREATE TABLE document_texts (
    text_sha256 bytea PRIMARY KEY CHECK (octet_length(text_sha256) = 32),
    body        text NOT NULL
);

CREATE TABLE ingests (
    ingest_id     text PRIMARY KEY,
    config_hash   text NOT NULL REFERENCES locks,
    corpus        text NOT NULL,
    stage         text NOT NULL CHECK (stage IN ('read', 'dedup', 'embed', 'store', 'index', 'done')),
    strict        boolean NOT NULL,
    lexical       text NOT NULL CHECK (lexical IN ('pg_textsearch', 'lists')),
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    corpus_sha256 text,
    table_sha256  text,
    report        jsonb NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX ingests_one_a_lock ON ingests (config_hash);

CREATE TABLE ingest_documents (
    ingest_id   text COLLATE "C" NOT NULL REFERENCES ingests ON DELETE CASCADE,
    doc_id      text COLLATE "C" NOT NULL,
    title       text NOT NULL,
    source      text NOT NULL,
    text_sha256 bytea NOT NULL REFERENCES document_texts,
    PRIMARY KEY (ingest_id, doc_id)
);

CREATE TABLE ingest_rejects (
    ingest_id text NOT NULL REFERENCES ingests ON DELETE CASCADE,
    source    text NOT NULL,
    doc_id    text,
    reason    text NOT NULL
);
CREATE INDEX ingest_rejects_by_ingest ON ingest_rejects (ingest_id);

CREATE TABLE embedders (
    embedder_id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL UNIQUE CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    identity    jsonb NOT NULL
);

-- Vectors by embedder and text: equal text is never embedded twice for the same embedder.
CREATE TABLE embeddings (
    embedder_id smallint NOT NULL REFERENCES embedders,
    text_sha256 bytea NOT NULL CHECK (octet_length(text_sha256) = 32),
    embedding   public.vector NOT NULL,
    PRIMARY KEY (embedder_id, text_sha256)
);

CREATE TABLE evaluations (
    run_id          text PRIMARY KEY,
    config_hash     text NOT NULL REFERENCES locks,
    ingest_id       text NOT NULL,
    table_sha256    text NOT NULL,
    corpus_sha256   text NOT NULL,
    question_set    text NOT NULL,
    questions_sha256 text NOT NULL,
    settings        jsonb NOT NULL,
    started_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    report          jsonb NOT NULL DEFAULT '{}',
    number          bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX evaluations_by_lock ON evaluations (config_hash, started_at);

CREATE TABLE evaluation_cases (
    run_id      text NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    question_id text COLLATE "C" NOT NULL,
    ordinal     integer NOT NULL,
    result      jsonb NOT NULL,
    timings     jsonb NOT NULL,
    PRIMARY KEY (run_id, question_id)
);

-- A finished evaluation is evidence: neither it nor its cases change any more.
CREATE FUNCTION forbid_change_of_finished() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended timestamptz;
BEGIN
    EXECUTE format('SELECT finished_at FROM %I.evaluations WHERE run_id = $1', TG_TABLE_SCHEMA)
    INTO ended USING CASE WHEN TG_OP = 'INSERT' THEN NEW.run_id ELSE OLD.run_id END;
    IF ended IS NOT NULL THEN
        RAISE EXCEPTION '% of %.% is refused: a finished evaluation never changes', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE TRIGGER evaluations_finished_never_change BEFORE UPDATE OR DELETE ON evaluations
    FOR EACH ROW EXECUTE FUNCTION forbid_change_of_finished();
CREATE TRIGGER evaluations_never_truncate BEFORE TRUNCATE ON evaluations EXECUTE FUNCTION forbid_change();
CREATE TRIGGER evaluation_cases_finished_never_change BEFORE INSERT OR UPDATE OR DELETE ON evaluation_cases
    FOR EACH ROW EXECUTE FUNCTION forbid_change_of_finished();
CREATE TRIGGER evaluation_cases_never_truncate BEFORE TRUNCATE ON evaluation_cases EXECUTE FUNCTION forbid_change();

-- What is fixed before a bakeoff is judged. A plan never changes; its name is the digest of its body.
CREATE TABLE plans (
    plan_sha256 text PRIMARY KEY CHECK (plan_sha256 ~ '^[0-9a-f]{64}$'),
    baseline    text NOT NULL REFERENCES locks,
    candidate   text NOT NULL REFERENCES locks,
    created_at  timestamptz NOT NULL,
    body        jsonb NOT NULL
);
CREATE INDEX plans_by_candidate ON plans (candidate, created_at);
CREATE TRIGGER plans_never_change BEFORE UPDATE OR DELETE ON plans FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER plans_never_truncate BEFORE TRUNCATE ON plans EXECUTE FUNCTION forbid_change();

-- What the stages behind an evaluation found, in order; each body names the digests of what it was found in.
CREATE TABLE records (
    record_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('timings', 'probes', 'judgement', 'parity', 'sweep')),
    plan_sha256 text REFERENCES plans,
    config_hash text REFERENCES locks,
    run_id      text,
    at          timestamptz NOT NULL,
    verdict     text CHECK (verdict IN ('pass', 'inconclusive', 'no_data', 'error', 'fail')),
    body        jsonb NOT NULL,
    sha256      text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$')
);
CREATE INDEX records_by_kind ON records (kind, record_id);
CREATE TRIGGER records_never_change BEFORE UPDATE OR DELETE ON records FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER records_never_truncate BEFORE TRUNCATE ON records EXECUTE FUNCTION forbid_change();
