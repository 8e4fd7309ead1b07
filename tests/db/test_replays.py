"""What routed when: by the instant at which routers could hear of a move, not the one at which it was decided on."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta

import pytest

from bakeoff.adapters import policies, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.rollout import Abort, Advance, Rollback, Start
from bakeoff.stages import observe
from tests import moved, support
from tests.moved import GREEN, after, send

SECONDS = 1 / 3600


@pytest.fixture(autouse=True)
def clock(connected: Connection) -> None:
    """Events are written when the test says."""
    moved.recorded_as_told(connected)


def weights(conn: Connection, found: Rollout, *instants: datetime) -> list[int]:
    """The candidate's share at each instant; the rollout itself says the same as what routed."""
    shares = []
    for instant in instants:
        policy = policies.at(conn, instant)
        assert policy is not None
        assert policy.version == policies.at_of(conn, found.rollout_id, instant).version
        shares.append(policy.weight_bp)
    return shares


def steps(conn: Connection, found: Rollout, *instants: datetime) -> tuple[list[int], int]:
    """The steps of outcomes of these instants, and how many were late."""
    lines = [{"at": at.isoformat(), "arm": "candidate", "ok": True, "id": str(n)} for n, at in enumerate(instants)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    took = observe.run(conn, found, io.BytesIO(text.encode()), source="test", now=lambda: max(instants))
    rows = support.rows(conn.info.dsn, "SELECT step FROM outcomes ORDER BY outcome_id")
    return [row[0] for row in rows], took.late


def test_a_move_counts_from_when_it_was_written(connected: Connection, stored: Stored) -> None:
    """An advance that was decided on and stored a quarter of a minute later: until then nobody had the new share."""
    found = send(connected, moved.started(connected, stored), GREEN, after(16))
    moved.recorded_at(connected, after(16 + 15.5 * SECONDS))
    found = send(connected, found, Advance(), after(16))
    instants = [after(hours) for hours in (15, 16, 16 + 15 * SECONDS, 16 + 16 * SECONDS)]
    assert [1000, 1000, 1000, 5000] == weights(connected, found, *instants)


def test_an_outcome_is_of_the_step_that_routers_knew(connected: Connection, stored: Stored) -> None:
    """Whether it is taken in before the move is stored or after; what the candidate served until the end counts."""
    found = send(connected, moved.started(connected, stored), GREEN, after(16))
    moved.recorded_at(connected, after(16 + 15 * SECONDS))
    found = send(connected, found, Advance(), after(16))
    moved.recorded_at(connected, after(20 + 15 * SECONDS))
    found = send(connected, found, Abort("ada", "enough"), after(20))
    instants = [after(hours + late * SECONDS) for hours in (16, 20) for late in (14, 15)]
    assert ([1, 2, 2], 1) == steps(connected, found, *instants)


def test_a_clock_that_was_ahead(connected: Connection, stored: Stored) -> None:
    """Events of tomorrow, then a rollback today: from the rollback on it is over, now and tomorrow."""
    found = send(connected, moved.started(connected, stored), GREEN, after(24 + 16))
    found = send(connected, found, Advance(), after(24 + 16))
    moved.recorded_at(connected, after(1))
    found, _ = rollouts.roll_back(connected, found.rollout_id, Rollback("ada", "wrong"), at=after(1))
    assert after(24 + 16) == found.state.last_at
    assert [1000, 0, 0] == weights(connected, found, after(0.9), after(1), after(24 + 16))
    assert ([1], 2) == steps(connected, found, after(0.9), after(1.1), after(24 + 16.5))


def test_a_rehearsal_goes_by_its_own_clock(connected: Connection, stored: Stored) -> None:
    """When its events were written says nothing of when they were."""
    moved.recorded_at(connected, after(1000))
    found = rollouts.start(connected, stored, Start("ada"), clock="simulated", at=after(0))
    found = send(connected, send(connected, found, GREEN, after(16)), Advance(), after(16))
    shares = [policies.at_of(connected, found.rollout_id, at).weight_bp for at in (after(15), after(16))]
    assert [1000, 5000] == shares
    assert ([1, 2], 0) == steps(connected, found, after(15), after(16))


def test_the_first_share_is_there_from_the_start(connected: Connection, stored: Stored) -> None:
    """Of a rollout itself: it began when it says; what routed until its first event was written is production."""
    moved.recorded_at(connected, after(0) + timedelta(seconds=0.4))
    found = moved.started(connected, stored)
    assert 1000 == policies.at_of(connected, found.rollout_id, after(0)).weight_bp
    assert policies.at(connected, after(0)) is None
    assert ([1], 0) == steps(connected, found, after(0))
