-- The order in which evaluations began: "newest" must mean one run, also where two began in the same second.
ALTER TABLE evaluations ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;

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
