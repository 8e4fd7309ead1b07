"""Rollouts played on simulated traffic: the live code decides, a replay is its seed, figures say what was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bakeoff import canary, live, rehearsal, simulation, strategy
from bakeoff.errors import ConfigError
from bakeoff.rehearsal import Rehearsal, Rehearsed, Replay
from bakeoff.simulation import Fault, Pool

TRAFFIC = 200.0
RULE = {"margin": 0.02, "base_rate": 0.8}
N = 400
GOOD = np.arange(N) < 320
POOL = Pool(GOOD, np.linspace(50.0, 500.0, N), np.roll(GOOD, 200).astype(np.float64))


def rehearsed(**given: Any) -> Rehearsal:
    """A rollout over four hours a step, of two equal arms."""
    plain = {
        "strategy": "s",
        "watch": {"errors": RULE, "quality": RULE, "latency_p95": {"margin": 0.3}},
        "steps": [{"percent": 10, "hours": 4}, {"percent": 50, "hours": 4}, {"percent": 100, "hours": 4}],
    }
    more = {name: given.pop(name) for name in ("traffic_per_hour", "seed", "fault", "units", "pools") if name in given}
    prepared = live.prepare(strategy.parse(plain | given, source="test"), TRAFFIC)
    values: dict[str, Any] = {"prepared": prepared, "pools": (POOL, POOL), "traffic_per_hour": TRAFFIC, "seed": 7}
    return Rehearsal(**values | more)


def test_a_good_candidate_completes() -> None:
    """Equal arms go through all the steps in their hours, and hardly any is rolled back."""
    found = rehearsal.replays(rehearsed(), 20)
    assert 19 <= sum(one.end == "completed" for one in found.replays)
    assert {12.0} == {one.hours for one in found.replays if one.end == "completed"}


@pytest.mark.parametrize(
    ("fault", "watched"), [("quality:-0.40", "quality"), ("errors:+0.40", "errors"), ("latency:+4", "latency_p95")]
)
def test_a_large_fault_is_caught(fault: str, watched: str) -> None:
    """What is harmed is what rolls back, before all the traffic is there."""
    found = rehearsal.replays(rehearsed(fault=simulation.parse(fault)), 10)
    assert 10 == len(found.caught)
    assert all(watched in one.because and one.hours <= 8.0 for one in found.caught)
    assert all(0 < one.units <= one.outcomes for one in found.caught)


def test_a_replay_is_its_seed_and_number() -> None:
    """Any replay can be played again alone; another seed is another one."""
    made = rehearsed(fault=Fault("quality", -0.2))
    every = rehearsal.replays(made, 5).replays
    assert [every[3]] == list(rehearsal.play(made, [3]))
    assert every != rehearsal.replays(replace(made, seed=8), 5).replays


def test_a_fault_that_comes_later_is_caught_later() -> None:
    """Nobody sees it before its hour; what is rolled back before is no catch."""
    made = rehearsed(fault=Fault("errors", 0.5, at_hour=5.5), seed=1)
    found = rehearsal.replays(made, 10)
    body = found.body()
    assert all(5.5 <= one.hours for one in found.caught)
    assert 10 == len(found.caught) + body["before_the_fault"]
    assert all(one.hours - 5.5 < 3.0 for one in found.caught)
    early = Rehearsed((Replay("rolled_back", 2.0, ("errors",), 0, 0), *found.replays), made.fault).body()
    assert body["before_the_fault"] + 1 == early["before_the_fault"]
    assert body["rolled_back"] == early["rolled_back"]


def test_people_without_names_are_one_each() -> None:
    """Without units every outcome is somebody else's."""
    found = rehearsal.replays(rehearsed(units=None, fault=Fault("quality", -0.5)), 5)
    assert 5 == len(found.caught)
    assert all(one.units == one.outcomes > 0 for one in found.caught)


def test_what_is_not_measured_is_held() -> None:
    """A rollout whose quality nobody rates and that nobody times never gets on, and that is said."""
    blank = np.full(N, np.nan)
    unrated = Pool(GOOD, blank, blank)
    found = rehearsal.replays(rehearsed(pools=(unrated, unrated)), 2)
    assert ["held", "held"] == [one.end for one in found.replays]
    body = found.body()
    assert (2, 0, 0.0) == (body["held"], body["rolled_back"], body["share"])
    assert body["hours"] is None
    assert [] == body["by_hour"]


def test_silence_is_no_traffic_at_all() -> None:
    """Traffic of one question in ten hours brings nothing to most looks, and the rollout waits."""
    found = rehearsal.replays(rehearsed(traffic_per_hour=0.1), 2)
    assert ["held", "held"] == [one.end for one in found.replays]


def test_approvals_are_given_at_once() -> None:
    """A step that waits for a person does not hold a rehearsal up."""
    steps = [{"percent": 50, "hours": 2}, {"percent": 100, "hours": 2, "approval": True}]
    (found,) = rehearsal.replays(rehearsed(steps=steps), 1).replays
    assert ("completed", 4.0) == (found.end, found.hours)


def test_the_live_code_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look is live.judge's and every move canary.step's: there are no other rules."""
    asked: list[str] = []

    def spied(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*given: Any, **more: Any) -> Any:
            asked.append(name)
            return real(*given, **more)

        return spy

    monkeypatch.setattr(live, "judge", spied("judge", live.judge))
    monkeypatch.setattr(canary, "step", spied("step", canary.step))
    rehearsal.replays(rehearsed(), 1)
    assert 12 == asked.count("judge")
    assert 12 < asked.count("step")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recheck_at_steps": False}, ()),
        ({}, (rehearsal.NOT_MEASURED,)),
        ({"recheck_at_steps": False, "recheck_every_hours": 2}, (rehearsal.NOT_MEASURED,)),
        (
            {"steps": [{"percent": 10, "hours": 4}, {"percent": 100, "hours": 4, "approval": True}]},
            (rehearsal.NOT_MEASURED, rehearsal.AT_ONCE),
        ),
    ],
    ids=["nothing", "at steps", "by the hour", "approvals"],
)
def test_what_is_not_played_is_said(given: dict[str, Any], said: tuple[str, ...]) -> None:
    """Of what the strategy asks for, what no replay has: the offline KPIs, and people who think before they approve."""
    assert said == rehearsal.left_out(rehearsed(**given).strategy)


def test_body() -> None:
    """Shares have Wilson's interval, hours and people their quartiles, and all of it is called simulated."""
    replays = (
        *(Replay("rolled_back", hour, ("quality",), 10 * n, n) for n, hour in enumerate((3.0, 4.0, 4.0), start=1)),
        Replay("completed", 12.0, (), 100, 50),
        Replay("held", 48.0, (), 100, 50),
    )
    done: list[int] = []
    found = Rehearsed(replays, None)
    body = found.body()
    assert body["simulated"] is True
    assert (5, 3, 0, 1, 1) == tuple(
        body[name] for name in ("replays", "rolled_back", "before_the_fault", "completed", "held")
    )
    assert (0.6, 0.2307, 0.8824) == (body["share"], round(body["share_low"], 4), round(body["share_high"], 4))
    assert ([3.5, 4.0, 4.0], [1.5, 2.0, 2.5], [15.0, 20.0, 25.0]) == (body["hours"], body["users"], body["outcomes"])
    assert {"quality": 3} == body["because"]
    assert [[3.0, 0.2], [4.0, 0.6]] == body["by_hour"]
    rehearsal.replays(rehearsed(), 2, progress=done.append)
    assert [1, 2] == done


def test_refuses() -> None:
    """No replays, no traffic, nobody, and a fault larger than what there is."""
    with pytest.raises(ConfigError, match="0 replays: expected 1 or more"):
        rehearsal.replays(rehearsed(), 0)
    with pytest.raises(ConfigError, match="questions an hour: expected above 0"):
        rehearsed(traffic_per_hour=0.0)
    with pytest.raises(ConfigError, match="0 people ask"):
        rehearsed(units=0)
    with pytest.raises(ConfigError, match="less than what it would lose"):
        rehearsal.check(rehearsed(fault=Fault("quality", -0.9)))
