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
-- version that is there already comes back. One thing is refused: to take a lock out of production that somebody put there
-- after the rollout had completed.
CREATE FUNCTION roll_back(which text, why text, who text, at timestamptz DEFAULT date_trunc('second', clock_timestamp()))
RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    was rollouts;
    production text;
    told text;
    made jsonb;
BEGIN
    -- Whoever changes activations locks their log before the row: a completed rollout's way back does so, too.
    IF EXISTS (SELECT FROM rollouts WHERE rollout_id = which AND phase = 'completed') THEN
        LOCK TABLE lock_events IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    SELECT * INTO was FROM rollouts WHERE rollout_id = which FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rollout %', which;
    END IF;
    IF was.phase IN ('rolled_back', 'aborted') THEN
        RETURN was.version;
    END IF;
    IF was.phase = 'completed' AND was.clock = 'wall' THEN
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
    ));
    INSERT INTO rollout_notices (rollout_id, version, kind, body, made_at)
    SELECT which, was.version + 1, kind,
           jsonb_build_object('event', 'rollback', 'reason', 'by_hand', 'said', 'rolled back by ' || who || ': ' || why), at
    FROM unnest(ARRAY['moved', 'verify']) AS kind;
    IF was.phase = 'completed' AND was.clock = 'wall' THEN -- a rehearsal left nothing in production
        INSERT INTO lock_events (config_hash, event, at, reason)
        VALUES (was.baseline, 'restored', at, 'rollback of ' || which), (was.baseline, 'activated', at, 'rollback of ' || which);
    END IF;
    RETURN was.version + 1;
END
$$;

ALTER TABLE records DROP CONSTRAINT records_kind_check;
ALTER TABLE records ADD CONSTRAINT records_kind_check CHECK (
    kind IN ('timings', 'probes', 'judgement', 'parity', 'sweep', 'recheck', 'rollback_check', 'simulation', 'run')
);
