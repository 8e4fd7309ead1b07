"""Rollout files: what is refused, the time-table, and the same shape over other hours."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import strategy
from bakeoff.adapters import standard
from bakeoff.errors import ConfigError
from bakeoff.strategy import Row, Strategy

WATCH = {"errors": {"margin": 0.01, "base_rate": 0.99}}


def made(*steps: dict[str, Any], **more: Any) -> Strategy:
    """A strategy of these steps."""
    return strategy.parse({"strategy": "test", "watch": WATCH, "steps": list(steps), **more}, source="test.yaml")


def refused(data: Any) -> ConfigError:
    """The error that *data* gives."""
    with pytest.raises(ConfigError) as caught:
        strategy.parse(data, source="test.yaml")
    return caught.value


def test_the_shipped_rollout_takes_48_hours() -> None:
    """10 % for 16 hours, 50 % for 16, 100 % for 16."""
    found = strategy.parse(standard.value(standard.folder() / "rollouts/48h.yaml", what="rollout"), source="48h")
    assert 48.0 == found.hours
    assert [
        Row(1, 10.0, 0.0, 16.0, approval=False, minimum_outcomes=0),
        Row(2, 50.0, 16.0, 32.0, approval=False, minimum_outcomes=0),
        Row(3, 100.0, 32.0, 48.0, approval=False, minimum_outcomes=0),
    ] == strategy.timetable(found)
    assert {"errors", "quality", "latency_p95"} == found.watch.keys()


SHIPPED = {
    "48h": "10@0 50@16 100@32 48",
    "canary-then-full": "10@0 100@24 48",
    "exponential": "1@0 2@6 4@12 8@18 16@24 32@30 64@36 100@42 48",
    "ladder": "1@0 5@2 10@4 25@16 50@28 100@40 48",
    "linear": "5@0 15@4 25@8 35@12 45@16 55@20 65@24 75@28 85@32 95@36 100@40 48",
    "manual": "10@0 50@24 100@72 96",
}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_rollouts_have_these_time_tables(name: str) -> None:
    """Percent and beginning hour of each step, and when the last one ends; the file is named as its strategy."""
    path = standard.folder() / f"rollouts/{name}.yaml"
    found = strategy.parse(standard.value(path, what="rollout"), source=name)
    rows = strategy.timetable(found)
    shown = [*(f"{row.percent:g}@{row.begins_hour:g}" for row in rows), f"{rows[-1].ends_hour:g}"]
    assert SHIPPED[name] == " ".join(shown)
    assert name == found.strategy
    assert found.about


def test_every_shipped_rollout_is_here() -> None:
    """None lacks its time-table."""
    assert sorted(SHIPPED) == sorted(path.stem for path in (standard.folder() / "rollouts").glob("*.yaml"))


def test_a_step_keeps_what_holds_it_up() -> None:
    """Approval and least outcomes are in the time-table."""
    found = made({"percent": 5, "hours": 1, "minimum_outcomes": 50}, {"percent": 100, "hours": 0.5, "approval": True})
    assert [(False, 50), (True, 0)] == [(row.approval, row.minimum_outcomes) for row in strategy.timetable(found)]
    assert 1.5 == found.hours


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([(10, 1), (10, 1), (100, 1)], "step 2 goes from 10 % to 10 %: shares only grow"),
        ([(50, 1), (10, 1), (100, 1)], "step 2 goes from 50 % to 10 %: shares only grow"),
        ([(10, 1), (90, 1)], "the last step is 90 %: a rollout ends at 100 %"),
    ],
    ids=["equal", "back", "unfinished"],
)
def test_shares_only_grow_up_to_all(steps: list[tuple[int, int]], problem: str) -> None:
    """A share that does not grow, and an end before 100 %, are refused with the comparison."""
    wrong = [{"percent": percent, "hours": hours} for percent, hours in steps]
    assert (problem,) == refused({"strategy": "test", "watch": WATCH, "steps": wrong}).problems


def test_every_problem_is_named_at_once() -> None:
    """A wrong share, a wrong length and an unknown key in one answer."""
    error = refused(
        {"strategy": "test", "watch": WATCH, "colour": 1, "steps": [{"percent": 0, "hours": 1}, {"percent": 100}]}
    )
    assert "test.yaml is no rollout file that can be used" == str(error)
    assert ["steps: 0: percent", "steps: 1: hours", "colour"] == [item.rpartition(": ")[0] for item in error.problems]
    assert "expected keys and values" in str(refused(["a", "list"]))


def test_nothing_watched_is_refused() -> None:
    """A rollout that looks at nothing would never go back."""
    assert refused({"strategy": "test", "watch": {}, "steps": [{"percent": 100, "hours": 1}]}).problems


@given(st.floats(0.01, 2000.0))
def test_stretched_keeps_the_shape(hours: float) -> None:
    """Over other hours each step keeps its part of the whole, and its share."""
    before = made({"percent": 10, "hours": 4}, {"percent": 40, "hours": 12}, {"percent": 100, "hours": 16})
    after = before.stretched(hours)
    assert hours == pytest.approx(after.hours)
    assert [0.125, 0.375, 0.5] == pytest.approx([step.hours / hours for step in after.steps])
    assert [10.0, 40.0, 100.0] == [step.percent for step in after.steps]
    assert 32.0 == before.hours


def test_stretched_too_far_is_refused() -> None:
    """A step of more than 90 days is none, also where a rollout is stretched; what can't be read back is not made."""
    with pytest.raises(ConfigError, match=r"the rollout would last 10000 hours: steps: 0: hours"):
        made({"percent": 10, "hours": 16}, {"percent": 100, "hours": 16}).stretched(10_000)


@pytest.mark.parametrize("hours", [0.0, -1.0, math.nan, math.inf])
def test_stretched_over_no_time_is_refused(hours: float) -> None:
    """A length that is not above 0, or has no end, is none."""
    with pytest.raises(ConfigError, match="the rollout would last"):
        made({"percent": 100, "hours": 1}).stretched(hours)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"watch": {"quality": {"margin": 0.1}}}, "quality needs a base_rate, the share of good outcomes today"),
        ({"watch": {"speed": {"margin": 0.1, "base_rate": 0.5}}}, "nothing live is called speed: expected errors, "),
        (
            {"watch": {"latency_p95": {"margin": 0.1, "at_least": 0.5}}},
            "latency_p95 is a latency: a floor (at_least) is for shares and means",
        ),
        ({"give_up_hours": 1}, "give_up_hours is 1, not above the 1 hours of the steps"),
        (
            {"steps": [{"percent": 0.001, "hours": 1}, {"percent": 100, "hours": 1}]},
            "step 1 is 0.001 %: shares are whole hundredths of a percent",
        ),
    ],
    ids=["base rate", "unknown", "floor of a latency", "gives up early", "too fine"],
)
def test_contradictions_are_refused(more: dict[str, Any], problem: str) -> None:
    """What can't be watched, or can't end, is refused before anything begins."""
    given = {"strategy": "test", "watch": WATCH, "steps": [{"percent": 100, "hours": 1}]} | more
    assert refused(given).problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("earliest", "latest", "hours"),
    [
        (None, None, set(range(24))),
        ("08:00", "18:00", set(range(8, 18))),
        ("22:00", "04:00", {22, 23, 0, 1, 2, 3}),
        ("20:00", None, set(range(20, 24))),
        (None, "03:00", {0, 1, 2}),
    ],
)
def test_windows(earliest: str | None, latest: str | None, hours: set[int]) -> None:
    """A step begins within its hours of the day, UTC, whatever zone the instant is told in; also past midnight."""
    step = strategy.Step(percent=50, hours=1, earliest=earliest, latest=latest)
    day = [datetime(2026, 1, 5, hour, 30, tzinfo=UTC).astimezone(timezone(timedelta(hours=5))) for hour in range(24)]
    assert hours == {hour for hour, at in enumerate(day) if step.may_begin(at)}
