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
    reason      text NOT NULL DEFAULT '',
    -- When it was written, by the server's clock; older rows have none, for them it is `at`.
    recorded_at timestamptz DEFAULT clock_timestamp()
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

-- SHA-256 of text in UTF-8. It may be called immutable: convert_to is not only because somebody could redefine an
-- encoding, which nobody does with UTF-8.
CREATE FUNCTION text_sha256(content text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sha256(convert_to(content, 'UTF8'));

-- The database digests every case whenever it is written, and lets nobody write the digest: to ask whether a run was
-- changed costs its digests then, not its cases.
CREATE TABLE evaluation_cases (
    run_id        text NOT NULL REFERENCES evaluations ON DELETE CASCADE,
    question_id   text COLLATE "C" NOT NULL,
    ordinal       integer NOT NULL,
    result        jsonb NOT NULL,
    timings       jsonb NOT NULL,
    result_sha256 bytea NOT NULL GENERATED ALWAYS AS (text_sha256(result::text)) STORED,
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
    kind        text NOT NULL CHECK (kind IN (
        'timings', 'probes', 'judgement', 'parity', 'sweep', 'recheck', 'rollback_check', 'simulation', 'run'
    )),
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

-- Traffic on its way from the baseline to the candidate: one row a rollout, moved by compare-and-set on its version.
CREATE TABLE rollouts (
    rollout_id  text PRIMARY KEY CHECK (rollout_id ~ '^r\d{8}-\d+$'),
    plan_sha256 text NOT NULL REFERENCES plans,
    baseline    text NOT NULL REFERENCES locks,
    candidate   text NOT NULL REFERENCES locks,
    salt        text NOT NULL CHECK (salt <> ''),
    clock       text NOT NULL CHECK (clock IN ('wall', 'simulated')),
    version     bigint NOT NULL CHECK (version >= 1),
    phase       text NOT NULL CHECK (phase IN ('running', 'paused', 'completed', 'rolled_back', 'aborted')),
    weight_bp   integer NOT NULL CHECK (weight_bp BETWEEN 0 AND 10000),
    state       jsonb NOT NULL,
    started_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CHECK (state ->> 'phase' = phase AND (state ->> 'weight_bp')::integer = weight_bp)
);
CREATE UNIQUE INDEX rollouts_one_at_a_time ON rollouts ((true)) WHERE phase IN ('running', 'paused');
CREATE TRIGGER rollouts_never_leave BEFORE DELETE ON rollouts FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER rollouts_never_truncate BEFORE TRUNCATE ON rollouts EXECUTE FUNCTION forbid_change();

-- Everything that ever moved a rollout, in order: what happened, and the state that it made. One event a version.
CREATE TABLE rollout_events (
    event_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rollout_id text NOT NULL REFERENCES rollouts,
    version    bigint NOT NULL CHECK (version >= 1),
    at         timestamptz NOT NULL,
    event      text NOT NULL CHECK (event <> ''),
    body       jsonb NOT NULL,
    -- When it was written, by the server's clock, which a simulated rollout does not go by.
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (rollout_id, version)
);
CREATE TRIGGER rollout_events_never_change BEFORE UPDATE OR DELETE ON rollout_events
    FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER rollout_events_never_truncate BEFORE TRUNCATE ON rollout_events EXECUTE FUNCTION forbid_change();

-- What people said about routing beside the rollouts: the kill switch, units of a forced arm, shadow on and off.
CREATE TABLE route_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL,
    event    text NOT NULL CHECK (event IN ('killed', 'unkilled', 'forced', 'unforced', 'shadow_on', 'shadow_off')),
    value    text NOT NULL DEFAULT '',
    arm      text CHECK (arm IN ('baseline', 'candidate')),
    by       text NOT NULL,
    reason   text NOT NULL,
    -- As in lock_events.
    recorded_at timestamptz DEFAULT clock_timestamp(),
    CHECK ((event = 'forced') = (arm IS NOT NULL))
);
CREATE TRIGGER route_events_never_change BEFORE UPDATE OR DELETE ON route_events
    FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER route_events_never_truncate BEFORE TRUNCATE ON route_events EXECUTE FUNCTION forbid_change();

-- Routers in other processes listen: they see a change when it commits.
CREATE FUNCTION tell_routers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'rollouts' THEN
        PERFORM pg_notify('bakeoff_routing', NEW.rollout_id || ':' || NEW.version);
    ELSE
        PERFORM pg_notify('bakeoff_routing', 'route:' || NEW.event_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER rollouts_tell AFTER INSERT OR UPDATE ON rollouts FOR EACH ROW EXECUTE FUNCTION tell_routers();
CREATE TRIGGER route_events_tell AFTER INSERT ON route_events FOR EACH ROW EXECUTE FUNCTION tell_routers();

-- Live outcomes by arm (0 baseline, 1 candidate); a partition a day, made when it is needed, dropped when it is old.
CREATE TABLE outcomes (
    rollout_id text NOT NULL,
    at         timestamptz NOT NULL,
    outcome_id text NOT NULL,
    arm        smallint NOT NULL CHECK (arm IN (0, 1)),
    step       smallint NOT NULL CHECK (step >= 1),
    ok         boolean NOT NULL,
    unit       text,
    latency_ms real CHECK (latency_ms >= 0 AND latency_ms < 'infinity'),
    quality    real CHECK (quality BETWEEN 0 AND 1),
    -- When it was written, by the server's clock: of outcomes that came late it says which look could know them.
    recorded_at timestamptz DEFAULT clock_timestamp(),
    PRIMARY KEY (rollout_id, at, outcome_id)
) PARTITION BY RANGE (at);

CREATE FUNCTION outcomes_partition(day date) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    -- The day is UTC's; two sessions that need the same one wait for each other here.
    PERFORM pg_advisory_xact_lock(hashtext('bakeoff.outcomes'), day - date '2000-01-01');
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF outcomes FOR VALUES FROM (%L) TO (%L)',
        'outcomes_' || to_char(day, 'YYYYMMDD'),
        to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00'
    );
END
$$;

-- What is to be told or done outside after a move has committed; written in the move's transaction, ticked off later.
CREATE TABLE rollout_notices (
    notice_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rollout_id text NOT NULL REFERENCES rollouts,
    version    bigint NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('moved', 'held', 'verify')),
    body       jsonb NOT NULL,
    made_at    timestamptz NOT NULL,
    sent_at    timestamptz,
    attempts   integer NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    UNIQUE (rollout_id, version, kind)
);
CREATE INDEX rollout_notices_unsent ON rollout_notices (notice_id) WHERE sent_at IS NULL;
CREATE UNIQUE INDEX rollout_notices_held_once ON rollout_notices (rollout_id, (body ->> 'step')) WHERE kind = 'held';

-- The way back: one statement, for people at psql, too. Works in every phase; where nothing is left to take back, the
-- version that is there already comes back, and is said. Of a completed rollout two things are refused: to take it back
-- under a later one with real traffic that stands on it, and to take a lock out of production that somebody put there
-- afterwards. Without a time it is the one at which nobody had to be waited for any more.
CREATE FUNCTION roll_back(which text, why text, who text, at timestamptz DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    was rollouts;
    later rollouts;
    production text;
    told text;
    made jsonb;
    written timestamptz;
BEGIN
    -- Whoever changes activations, or starts a rollout, locks the log of activations before the row: a completed rollout's
    -- way back does so, too. One that completes while its row is waited for gives the row back and begins again.
    LOOP
        IF EXISTS (SELECT FROM rollouts WHERE rollout_id = which AND phase = 'completed') THEN
            LOCK TABLE lock_events IN SHARE ROW EXCLUSIVE MODE;
            SELECT * INTO was FROM rollouts WHERE rollout_id = which FOR UPDATE;
            EXIT;
        END IF;
        BEGIN
            SELECT * INTO was FROM rollouts WHERE rollout_id = which FOR UPDATE;
            EXIT WHEN was.phase IS DISTINCT FROM 'completed';
            RAISE EXCEPTION USING ERRCODE = 'BO001';
        EXCEPTION WHEN SQLSTATE 'BO001' THEN
            NULL;
        END;
    END LOOP;
    IF was.rollout_id IS NULL THEN
        RAISE EXCEPTION 'no rollout %', which;
    END IF;
    IF was.phase IN ('rolled_back', 'aborted') THEN
        RAISE NOTICE '% is % already: nothing moved', which, replace(was.phase, '_', ' ');
        RETURN was.version;
    END IF;
    IF was.phase = 'completed' AND was.clock = 'wall' THEN
        SELECT r.* INTO later
        FROM rollouts r
        JOIN rollout_events began ON began.rollout_id = r.rollout_id AND began.version = 1
        WHERE r.clock = 'wall' AND r.phase IN ('running', 'paused', 'completed') AND began.event_id > (
            SELECT event_id FROM rollout_events WHERE rollout_id = which AND version = 1
        )
        ORDER BY began.event_id DESC LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION '% completed before %, which is %', which, later.rollout_id, later.phase
                USING HINT = 'roll back ' || later.rollout_id || ' first';
        END IF;
        SELECT config_hash INTO production FROM lock_events WHERE event = 'activated' ORDER BY event_id DESC LIMIT 1;
        IF production NOT IN (was.baseline, was.candidate) THEN
            RAISE EXCEPTION '% (%) was put into production after % completed: it is not taken out by a rollback',
                (SELECT name FROM locks WHERE config_hash = production), production, which
                USING HINT = 'activate by hand what is to answer: bakeoff locks activate ' || was.baseline;
        END IF;
    END IF;
    why := coalesce(why, 'by hand');
    who := coalesce(who, session_user);
    at := greatest(date_trunc('second', coalesce(at, clock_timestamp())), (was.state ->> 'last_at')::timestamptz);
    told := to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"');
    made := was.state || jsonb_build_object(
        'phase', 'rolled_back', 'weight_bp', 0, 'paused_at', NULL, 'ended_at', told, 'last_at', told
    );
    UPDATE rollouts
    SET version = was.version + 1, phase = 'rolled_back', weight_bp = 0, state = made, updated_at = at
    WHERE rollout_id = which;
    INSERT INTO rollout_events (rollout_id, version, at, event, body)
    VALUES (which, was.version + 1, at, 'rollback', jsonb_build_object(
        'event', jsonb_build_object('kind', 'rollback', 'why', why, 'by', who),
        'state', made, 'reason', 'by_hand', 'said', 'rolled back by ' || who || ': ' || why
    ))
    RETURNING recorded_at INTO written;
    INSERT INTO rollout_notices (rollout_id, version, kind, body, made_at)
    SELECT which, was.version + 1, kind,
           jsonb_build_object('event', 'rollback', 'reason', 'by_hand', 'said', 'rolled back by ' || who || ': ' || why), at
    FROM unnest(ARRAY['moved', 'verify']) AS kind;
    IF was.phase = 'completed' AND was.clock = 'wall' THEN -- a rehearsal left nothing in production
        INSERT INTO lock_events (config_hash, event, at, reason, recorded_at)
        VALUES (was.baseline, 'restored', at, 'rollback of ' || which, written),
               (was.baseline, 'activated', at, 'rollback of ' || which, written);
    END IF;
    RETURN was.version + 1;
END
$$;

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
ALTER TABLE seals ALTER COLUMN rows SET STORAGE EXTERNAL; -- to compress them takes longer than to store them
CREATE INDEX seals_by_plan ON seals (plan_sha256, number);
CREATE TRIGGER seals_never_change BEFORE UPDATE OR DELETE ON seals FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER seals_never_truncate BEFORE TRUNCATE ON seals EXECUTE FUNCTION forbid_change();
