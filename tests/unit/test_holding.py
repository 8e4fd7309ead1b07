"""What holds a rollout, and when it is held for so long that people are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bakeoff import canary
from bakeoff.rollout import Advance, Pause, Phase, Reason, Start, State
from bakeoff.stages import holding
from tests.moved import BEGAN, USUAL, after


def begun() -> State:
    """A rollout in its first step, of sixteen hours."""
    return canary.step(USUAL, None, Start("ada"), BEGAN).state


def test_the_reason_that_counts_comes_first() -> None:
    """A pause, and a clock that went back, are said before the step's own hours; an ended one is held by nothing."""
    state = begun()
    assert canary.hold(USUAL, state, after(1)) == holding.held(USUAL, state, after(1))
    paused = canary.step(USUAL, state, Pause("ada"), after(2)).state
    assert (Reason.PAUSED, "the rollout is paused") == holding.held(USUAL, paused, after(3))
    for each in (state, paused):
        found = holding.held(USUAL, each, BEGAN - timedelta(hours=1))
        assert found is not None
        assert Reason.CLOCK_WENT_BACK is found[0]
        assert found[1].endswith("the clock went back")
    assert holding.held(USUAL, replace(state, phase=Phase.ABORTED), after(1)) is None


@pytest.mark.parametrize(
    ("every", "hours", "expected"),
    [(1.0, 17.9, None), (1.0, 18.0, None), (1.0, 18.1, 2.1), (4.0, 23.9, None), (4.0, 24.5, 8.5)],
)
def test_long_is_two_looks_and_two_hours(every: float, hours: float, expected: float | None) -> None:
    """Beyond the sixteen hours of the step; never while it is paused."""
    strategy = USUAL.model_copy(update={"look_every_hours": every})
    state = begun()
    found = holding.overdue(strategy, state, after(hours))
    assert expected == (None if found is None else round(found / timedelta(hours=1), 3))
    assert holding.overdue(strategy, replace(state, phase=Phase.PAUSED), after(hours)) is None


def test_tick_and_status_say_the_same() -> None:
    """What a refused advance says of a pause and of the clock is what holds."""
    state = begun()
    paused = canary.step(USUAL, state, Pause("ada"), after(2)).state
    for each, now in ((paused, after(3)), (state, after(1)), (paused, BEGAN), (state, BEGAN - timedelta(hours=1))):
        outcome = canary.step(USUAL, each, Advance(), now)
        assert (outcome.reason, outcome.said) == holding.held(USUAL, each, now)
