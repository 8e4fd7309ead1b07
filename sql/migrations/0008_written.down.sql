-- The way back as it was, and no word on when production and what people said were changed. No row goes.
CREATE OR REPLACE FUNCTION roll_back(which text, why text, who text, at timestamptz DEFAULT date_trunc('second', clock_timestamp()))
RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    was rollouts;
    later rollouts;
    production text;
    told text;
    made jsonb;
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

ALTER TABLE route_events DROP COLUMN recorded_at;
ALTER TABLE lock_events DROP COLUMN recorded_at;
