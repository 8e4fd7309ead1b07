-- What was sealed, in order. A seal names the one before by number and digest, so that no number is left out and none
-- comes twice, whoever writes the row; what was signed and the rows that it rests on are kept byte for byte.
CREATE TABLE seals (
    number         bigint PRIMARY KEY CHECK (number >= 1),
    payload_sha256 text NOT NULL UNIQUE CHECK (payload_sha256 ~ '^[0-9a-f]{64}$'),
    before         bigint GENERATED ALWAYS AS (nullif(number - 1, 0)) STORED,
    previous       text,
    keyid          text NOT NULL CHECK (keyid ~ '^[0-9a-f]{64}$'),
    sealed_at      timestamptz NOT NULL,
    plan_sha256    text NOT NULL REFERENCES plans,
    rollout_id     text REFERENCES rollouts,
    outcome        text NOT NULL CHECK (outcome IN ('judged', 'stopped', 'completed', 'rolled_back', 'aborted')),
    verdict        text NOT NULL CHECK (verdict IN ('pass', 'inconclusive', 'no_data', 'error', 'fail')),
    envelope       jsonb NOT NULL,
    rows           bytea NOT NULL,
    UNIQUE (number, payload_sha256),
    FOREIGN KEY (before, previous) REFERENCES seals (number, payload_sha256),
    CHECK ((number = 1) = (previous IS NULL))
);
CREATE INDEX seals_by_plan ON seals (plan_sha256, number);
CREATE TRIGGER seals_never_change BEFORE UPDATE OR DELETE ON seals FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER seals_never_truncate BEFORE TRUNCATE ON seals EXECUTE FUNCTION forbid_change();
