-- Takes rollouts, their history, routing and live outcomes away, with all that they hold.
DROP FUNCTION roll_back(text, text, text, timestamptz);
DROP TABLE rollout_notices;
DROP FUNCTION outcomes_partition(date);
DROP TABLE outcomes;
DROP TABLE route_events;
DROP TABLE rollout_events;
DROP TABLE rollouts;
DROP FUNCTION tell_routers();
ALTER TABLE records DROP CONSTRAINT records_kind_check;
ALTER TABLE records ADD CONSTRAINT records_kind_check CHECK (
    kind IN ('timings', 'probes', 'judgement', 'parity', 'sweep')
) NOT VALID;
