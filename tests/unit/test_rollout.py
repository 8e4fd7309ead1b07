"""Events and states on their way through JSON."""

from __future__ import annotations

import json

import pytest

from bakeoff import rollout
from bakeoff.errors import IntegrityError
from bakeoff.rollout import Abort, Advance, Approve, Event, Pause, Promote, Resume, Rollback, Start
from tests.unit.test_canary import begun, look

EVENTS: tuple[Event, ...] = (
    Start("ada", "go"),
    look(rechecked=True),
    Advance(),
    Promote("ada", 50.0, force=True, why="because"),
    Approve("ada"),
    Pause("ada"),
    Resume("ada"),
    Rollback("ada", "slow"),
    Abort("ada", "oops"),
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_events_survive_json(event: Event) -> None:
    """What was stored is what comes back."""
    assert event == rollout.event_of(json.loads(json.dumps(rollout.body_of(event))))


def test_state_survives_json() -> None:
    """What was stored is what comes back."""
    assert begun() == rollout.state_of(json.loads(json.dumps(begun().body())))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "nap"},
        {"kind": "start"},
        {"kind": "pause", "by": "ada", "speed": 3},
        {**rollout.body_of(look()), "action": "x"},
    ],
)
def test_no_event(body: dict[str, object]) -> None:
    """What is no event is refused."""
    with pytest.raises(IntegrityError, match="no event of a rollout"):
        rollout.event_of(body)


@pytest.mark.parametrize("change", [{"phase": "asleep"}, {"started_at": "today"}, {"speed": 3}])
def test_no_state(change: dict[str, object]) -> None:
    """What is no state is refused."""
    with pytest.raises(IntegrityError, match="no state of a rollout"):
        rollout.state_of(begun().body() | change)
