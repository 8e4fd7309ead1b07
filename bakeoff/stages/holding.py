"""What holds a rollout, said the same everywhere, and when it is held for so long that people are told.

Callers may rely on: what stands above the step's own conditions comes first: a pause, and a clock that went back.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bakeoff import canary
from bakeoff.rollout import OPEN, Phase, Reason, State
from bakeoff.strategy import Strategy

_SHORTEST = timedelta(hours=2)
_LOOKS = 2
"""Intervals between looks that a step may last beyond its hours before somebody is told."""


def held(strategy: Strategy, state: State, now: datetime) -> tuple[Reason, str] | None:
    """Return what keeps a rollout where it is at *now*, in words, or None where nothing does or it has ended."""
    if state.phase not in OPEN:
        return None
    if now < state.last_at:
        said = f"it is {now.isoformat()}, before the last event at {state.last_at.isoformat()}: the clock went back"
        return Reason.CLOCK_WENT_BACK, said
    if state.phase is Phase.PAUSED:
        return Reason.PAUSED, "the rollout is paused"
    return canary.hold(strategy, state, now)


def overdue(strategy: Strategy, state: State, now: datetime) -> timedelta | None:
    """Return how long a running step lasts beyond its hours at *now*, where that is long enough to be told of.

    Long enough are two intervals between looks, and two hours at least. A pause is somebody's will.
    """
    beyond = now - canary.due_at(strategy, state)
    long = max(_SHORTEST, _LOOKS * timedelta(hours=strategy.look_every_hours))
    return beyond if state.phase is Phase.RUNNING and beyond > long else None
