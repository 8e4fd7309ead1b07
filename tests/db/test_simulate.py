"""Rehearsals on what was recorded: the pools are the cases, the figures are simulated, nothing is played on less."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from bakeoff import rehearsal, simulation, strategy
from bakeoff.adapters import live_outcomes, locks, records, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.records import About, Record
from bakeoff.errors import ConfigError, InputError, IntegrityError, NotFoundError, NotKnownError
from bakeoff.outcomes import Outcome
from bakeoff.plan import steps
from bakeoff.rollout import Start
from bakeoff.simulation import Fault
from bakeoff.stages import plan, simulate
from tests import judged, support
from tests.planned import GATES, LATER, Planned, evaluated, planned, runs

ROLLOUT = strategy.parse(
    {
        "strategy": "short",
        "watch": {"errors": {"margin": 0.02, "base_rate": 0.98}, "quality": {"margin": 0.05, "base_rate": 0.8}},
        "steps": [{"percent": 10, "hours": 4}, {"percent": 50, "hours": 4}, {"percent": 100, "hours": 4}],
    },
    source="test",
)


@pytest.fixture(scope="module")
def base(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    """Both locks evaluated."""
    with evaluated(server_url, template, tmp_path_factory.mktemp("simulate")) as found:
        yield found


def plan_of(made: Planned) -> Stored:
    """A plan of the evaluated locks whose rollout has three steps."""
    options = plan.Options(accept_known_scores=True)
    bar = judged.profile(*GATES), ROLLOUT
    with support.connector(made.url)() as conn:
        sides = plan.Sides(made.wide, made.narrow)
        return plan.run(conn, sides, str(made.questions), bar, now=support.NOW, options=options)


def simulated(made: Planned, stored: Stored, **given: Any) -> Record:
    """Play ten rollouts a row."""
    with support.connector(made.url)() as conn:
        return simulate.run(conn, stored, options=simulate.Options(**{"replays": 10, **given}), now=LATER)


def test_the_pools_are_the_cases(made: Planned) -> None:
    """Each arm has its own cases: no errors, the run's own timings, and the best known figure as quality."""
    stored = plan_of(made)
    with support.connector(made.url)() as conn:
        found = simulate.recorded_of(conn, stored)
        assert simulate.pools_of(conn, stored)[1].quality.tolist() == found.pools[1].quality.tolist()
    assert "answer_right" == found.quality
    assert (runs(made)["wide"], runs(made)["narrow"]) == (found.source["baseline_run"], found.source["candidate_run"])
    rows = support.rows(
        made.url,
        "SELECT l.name, (c.result ->> 'answer_right')::float8, (c.timings ->> 'total')::float8 FROM evaluation_cases c "
        "JOIN evaluations USING (run_id) JOIN locks l USING (config_hash) ORDER BY c.ordinal",
    )
    for pool, name in zip(found.pools, ("wide", "narrow"), strict=True):
        mine = [(right, took) for lock, right, took in rows if lock == name]
        assert made.count == len(pool) == len(mine)
        assert pool.ok.all()
        assert [right for right, _ in mine] == pool.quality.tolist()
        assert [took for _, took in mine] == pool.latency_ms.tolist()


def test_timings_of_the_plan_are_better_than_those_of_the_runs(made: Planned) -> None:
    """Where both locks were timed in turn, those are the latencies, and a question that was not timed has none."""
    stored = plan_of(made)
    ids = [name for (name,) in support.rows(made.url, "SELECT DISTINCT question_id FROM evaluation_cases ORDER BY 1")]
    body = {"questions": ids[:2], "baseline_ms": [5.0, 6.0], "candidate_ms": [7.0, None]}
    with support.connector(made.url)() as conn:
        record = records.add(conn, "timings", body, about=About(plan_sha256=stored.plan_sha256), at=support.NOW)
        found = simulate.recorded_of(conn, stored)
    assert record.record_id == found.source["timings_record"]
    assert {5.0, 6.0} == set(found.pools[0].latency_ms[~np.isnan(found.pools[0].latency_ms)].tolist())
    assert {7.0} == set(found.pools[1].latency_ms[~np.isnan(found.pools[1].latency_ms)].tolist())


def test_a_simulation_is_recorded_as_one(made: Planned) -> None:
    """A good candidate, the evaluated one that lost much, and one for each fault; simulated in every place."""
    stored = plan_of(made)
    record = simulated(made, stored, faults=(Fault("quality", -0.2), Fault("errors", 0.5, 1.0)))
    body = record.body
    assert ("simulation", stored.plan_sha256, made.narrow.config_hash, None) == (
        record.kind,
        record.plan_sha256,
        record.config_hash,
        record.verdict,
    )
    assert body["simulated"] is True
    assert "simulated" in body["label"]
    assert all(row["simulated"] is True for row in body["rows"])
    assert [
        "as good as the baseline",
        "as evaluated",
        "as good, with quality:-0.2",
        "as good, with errors:+0.5@1",
    ] == [row["candidate"] for row in body["rows"]]
    good, _, quality, errors = body["rows"]
    assert 1 >= good["rolled_back"]
    assert (10, 10) == (quality["rolled_back"], errors["rolled_back"] + errors["before_the_fault"])
    assert "quality" in quality["because"]
    assert "errors" in errors["because"]
    assert stored.plan.body()["steps"] == body["sight"]
    assert made.count == body["recorded"]["baseline"]["cases"]
    assert body["recorded"]["candidate"]["quality"] < body["recorded"]["baseline"]["quality"] < 0.5
    assert (200.0, 7, 12.0) == (body["traffic_per_hour"], body["seed"], body["hours"])
    assert body == json.loads(json.dumps(body, allow_nan=False))


def test_equal_recordings_give_equal_figures(made: Planned) -> None:
    """The same twice; another seed, other hours or other traffic is another simulation, with a sight of its own."""
    stored = plan_of(made)
    first = simulated(made, stored, faults=(Fault("quality", -0.2),))
    assert first.body == simulated(made, stored, faults=(Fault("quality", -0.2),)).body
    assert first.body["rows"] != simulated(made, stored, faults=(Fault("quality", -0.2),), seed=8).body["rows"]
    longer = simulated(made, stored, monitor_hours=24.0, traffic_per_hour=400.0, replays=1)
    assert (24.0, 400.0) == (longer.body["hours"], longer.body["traffic_per_hour"])
    assert 2 * 2 * 720 == longer.body["sight"][0]["baseline_outcomes"]


def test_the_plan_sees_by_the_looks_that_are_played(made: Planned) -> None:
    """Other traffic than the plan's comes upon looks that stay tuned to the plan's, in the rows and in the sight."""
    stored = plan_of(made)
    body = simulated(made, stored, traffic_per_hour=2000.0, replays=1).body
    wanted = steps(stored.plan.rollout, traffic_per_hour=2000.0, seed=stored.plan.seed, tuned_to=200.0)
    assert [item.model_dump(mode="json") for item in wanted] == body["sight"]
    assert (2000.0, 200.0) == (body["traffic_per_hour"], body["tuned_to"])


def test_what_a_simulation_leaves_out_is_said(made: Planned) -> None:
    """It stands beside the figures."""
    body = simulated(made, plan_of(made), replays=1).body
    assert list(rehearsal.left_out(plan_of(made).plan.rollout)) == body["left_out"]


def test_progress_goes_once_through_all_rows(made: Planned) -> None:
    """Every replay of every row is said, up to all of them."""
    seen: list[tuple[str, int, int | None]] = []
    with support.connector(made.url)() as conn:
        options = simulate.Options(replays=3, faults=(Fault("errors", 0.5),))
        simulate.run(conn, plan_of(made), options=options, now=LATER, progress=lambda *step: seen.append(step))
    assert [("replays", done, 9) for done in range(1, 10)] == seen


def test_what_was_not_evaluated_is_not_played(
    server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Which side lacks its evaluation, and the command for it; nothing is stored."""
    with planned(server_url, template, tmp_path_factory.mktemp("unevaluated")) as made:
        stored = plan_of(made)
        for which in (made.wide, made.narrow):
            said = rf"{which.name} \({which.config_hash}\) has no finished evaluation on the plan's questions"
            with pytest.raises(NotKnownError, match=said) as caught:
                simulated(made, stored)
            assert f"bakeoff evaluate --lock {which.config_hash} --questions FILE" == caught.value.hint
            made.evaluate(which)
        assert 0 == made.count_of("records")


def test_changed_cases_are_not_played(made: Planned) -> None:
    """A case that somebody edited is not drawn from."""
    stored = plan_of(made)
    made.tamper("evaluation_cases", "UPDATE bakeoff.evaluation_cases SET timings = '{\"total\": 1}' WHERE ordinal = 0")
    with pytest.raises(IntegrityError, match="are not what its evaluation recorded"):
        simulated(made, stored)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"replays": 0}, "0 replays: expected 1 or more"),
        ({"traffic_per_hour": 0.0}, "traffic of 0 questions an hour: expected above 0"),
        ({"monitor_hours": 0.0}, "the rollout would last 0 hours"),
        ({"faults": (Fault("quality", -0.99),)}, "fault quality:-0.99: the recorded quality is"),
    ],
)
def test_refused(made: Planned, given: dict[str, Any], said: str) -> None:
    """One line each, before anything is played or stored."""
    stored = plan_of(made)
    before = made.count_of("records")
    with pytest.raises(ConfigError, match=said):
        simulated(made, stored, **given)
    assert before == made.count_of("records")


def rolling(made: Planned, stored: Stored) -> str:
    """A rollout of the plan that has begun."""
    with support.connector(made.url)() as conn:
        locks.add_event(conn, made.wide, "activated", at=support.NOW, reason="first")
        return rollouts.start(conn, stored, Start("ada"), clock="simulated", at=support.NOW).rollout_id


def test_recorded_outcomes_can_be_played(made: Planned) -> None:
    """What a rollout saw is drawn from, each arm from its own; without outcomes there is nothing to draw."""
    stored = plan_of(made)
    with pytest.raises(NotFoundError, match="there is no rollout yet"):
        simulated(made, stored, from_rollout="latest")
    rollout_id = rolling(made, stored)
    with pytest.raises(InputError, match="no recorded cases"):
        simulated(made, stored, from_rollout=rollout_id)
    arrived = [
        Outcome(support.NOW + timedelta(seconds=n), arm, f"u{n}", n % 10 > 0, 50.0 + n, float(n % 4 > 0), f"{arm}-{n}")
        for n in range(40)
        for arm in (0, 1)
    ]
    with support.connector(made.url)() as conn:
        live_outcomes.add(conn, rollout_id, ((1, item) for item in arrived))
    body = simulated(made, stored, from_rollout=rollout_id, faults=(Fault("quality", -0.5),)).body
    assert {"rollout": rollout_id, "clock": "simulated"} == body["source"]
    expected = {"cases": 40, "quality": 0.75, "without_error": 0.9, "p95_latency_ms": 87.05}
    assert ({"baseline": expected, "candidate": expected}, "quality") == (body["recorded"], body["quality"])
    assert 10 == body["rows"][2]["rolled_back"]


def test_simulated_outcomes_are_stored_once(made: Planned) -> None:
    """Outcomes drawn for a rollout keep their ids: whoever draws and stores a stretch again adds nothing."""
    stored = plan_of(made)
    rollout_id = rolling(made, stored)
    with support.connector(made.url)() as conn:
        pools = simulate.pools_of(conn, stored)
        hours = [support.NOW + timedelta(hours=n) for n in range(3)]

        def store(first: int, last: int) -> int:
            drawn = simulation.outcomes(
                pools, salt="s", weight_bp=1000, since=hours[first], until=hours[last], traffic_per_hour=100.0, seed=7
            )
            return live_outcomes.add(conn, rollout_id, ((1, item) for item in drawn)).stored

        assert (100, 100, 0) == (store(0, 1), store(0, 2), store(0, 2))
