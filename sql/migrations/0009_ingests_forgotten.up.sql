-- Ingests that made way for another one of their lock, in order: runs, probes and parity go on naming them.
CREATE TABLE ingests_forgotten (
    number        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ingest_id     text NOT NULL UNIQUE,
    config_hash   text NOT NULL REFERENCES locks,
    corpus        text NOT NULL,
    stage         text NOT NULL,
    strict        boolean NOT NULL,
    lexical       text NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    corpus_sha256 text,
    table_sha256  text,
    report        jsonb NOT NULL,
    -- What came after it, on the next table: later than this by the server's clock, or a record with a higher number.
    forgotten_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_record   bigint NOT NULL
);
CREATE INDEX ingests_forgotten_by_lock ON ingests_forgotten (config_hash, number);
CREATE TRIGGER ingests_forgotten_never_change BEFORE UPDATE OR DELETE ON ingests_forgotten
    FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER ingests_forgotten_never_truncate BEFORE TRUNCATE ON ingests_forgotten EXECUTE FUNCTION forbid_change();
