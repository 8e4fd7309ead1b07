-- When it was written, by the server's clock, of what changes production and of what people say about routing: a replay
-- goes by it. What is there already has none: its time is the one that it tells of.
ALTER TABLE lock_events ADD COLUMN recorded_at timestamptz;
ALTER TABLE lock_events ALTER COLUMN recorded_at SET DEFAULT clock_timestamp();
ALTER TABLE route_events ADD COLUMN recorded_at timestamptz;
ALTER TABLE route_events ALTER COLUMN recorded_at SET DEFAULT clock_timestamp();

-- The way back: one statement, for people at psql, too. Works in every phase; where nothing is left to take back, the
-- version that is there already comes back, and is said. Of a completed rollout two things are refused: to take it back
-- under a later one with real traffic that stands on it, and to take a lock out of production that somebody put there
-- afterwards. Without a time it is the one at which nobody had to be waited for any more.
CREATE OR REPLACE FUNCTION roll_back(which text, why text, who text, at timestamptz DEFAULT NULL)
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
