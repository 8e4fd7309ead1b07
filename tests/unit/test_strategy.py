"""Rollout files: what is refused, the time-table, and the same shape over other hours."""

from __future__ import annotations

import math
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
    assert {"errors", "quality"} == found.watch.keys()


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


@pytest.mark.parametrize("hours", [0.0, -1.0, math.nan, math.inf])
def test_stretched_over_no_time_is_refused(hours: float) -> None:
    """A length that is not above 0, or has no end, is none."""
    with pytest.raises(ConfigError, match="the rollout would last"):
        made({"percent": 100, "hours": 1}).stretched(hours)
