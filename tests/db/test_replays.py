"""What routed when: by the instant at which routers could hear of a move, not the one at which it was decided on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from typing import cast

import pytest

from bakeoff.adapters import locks, policies, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.config import Lock
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


class Slow(io.RawIOBase):
    """An input whose lines come one by one; what *between* does is done before the second."""

    def __init__(self, lines: list[str], between: Callable[[], object]) -> None:
        self.lines = self._lines(lines, between)

    @staticmethod
    def _lines(lines: list[str], between: Callable[[], object]) -> Iterator[bytes]:
        for number, line in enumerate(lines):
            if number == 1:
                between()
            yield line.encode()

    def readline(self, size: int | None = -1) -> bytes:
        """The next line, or nothing."""
        assert size
        return next(self.lines, b"")


@pytest.mark.parametrize("named", [True, False], ids=["named", "nameless"])
def test_an_input_that_takes_its_time(connected: Connection, stored: Stored, named: bool) -> None:  # a case
    """What moves the rollout while the input is read counts, too: the next step, and the end."""
    found = send(connected, moved.started(connected, stored), GREEN, after(16))
    hours = (15, 16.5, 19, 20, 21)
    numbers = count()
    lines = [
        json.dumps(
            {"at": after(hour).isoformat(), "arm": "candidate", "ok": True}
            | ({"id": str(next(numbers))} if named else {})
        )
        for hour in hours
    ]

    def between() -> None:
        with support.connector(connected.info.dsn)() as other:
            send(other, send(other, found, Advance(), after(16)), Abort("ada", "enough"), after(20))

    stream = cast("io.BufferedReader", Slow([f"{line}\n" for line in lines], between))
    took = observe.run(connected, found, stream, source="test", now=lambda: after(21))
    assert (3, 2, 3, 0) == (took.added.stored, took.late, took.added.read, took.added.known)
    assert [(1,), (2,), (2,)] == support.rows(connected.info.dsn, "SELECT step FROM outcomes ORDER BY at")


def completed(conn: Connection, stored: Stored) -> Rollout:
    """A rollout that completed half a second after hour 48."""
    found = moved.started(conn, stored)
    for hour in (16, 32, 48):
        found = send(conn, found, GREEN, after(hour))
        moved.recorded_at(conn, after(hour + 0.5 * SECONDS))
        found = send(conn, found, Advance(), after(hour))
        moved.recorded_at(conn, None)
    return found


def routed(conn: Connection, *instants: datetime) -> list[str]:
    """What routed at each instant: in which phase, or nothing."""
    found = [policies.at(conn, instant) for instant in instants]
    return ["-" if was is None else "halted" if was.halted else "all" if was.completed else "some" for was in found]


def test_a_completed_rollout_and_its_way_back(connected: Connection, stored: Stored) -> None:
    """Production goes by when it was written, as the rollout: no instant has the one without the other."""
    found = completed(connected, stored)
    moved.recorded_at(connected, after(50 + 0.5 * SECONDS))
    rollouts.roll_back(connected, found.rollout_id, Rollback("ada", "wrong"), at=after(50))
    fractions = [after(hour + part * SECONDS) for hour in (48, 50) for part in (0, 0.4, 0.5, 0.6)]
    assert ["some"] * 2 + ["all"] * 4 + ["halted"] * 2 == routed(connected, *fractions)


def test_a_way_back_after_a_clock_that_was_ahead(connected: Connection, stored: Stored) -> None:
    """It tells of tomorrow, and holds from today on."""
    moved.recorded_at(connected, after(0.9))
    found = moved.finished(connected, stored)
    assert ["all"] * 2 == routed(connected, after(0.9), after(0.99))
    moved.recorded_at(connected, after(1))
    back, _ = rollouts.roll_back(connected, found.rollout_id, Rollback("ada", "wrong"), at=after(1))
    assert after(48) == back.updated_at
    assert ["halted"] * 3 == routed(connected, after(1), after(2), after(48))


def test_what_people_said_counts_from_when_it_was_written(connected: Connection, stored: Stored) -> None:
    """The kill switch, and a lock that somebody activated by hand."""
    moved.started(connected, stored)
    moved.recorded_at(connected, after(1 + 0.5 * SECONDS))
    insert = "INSERT INTO route_events (at, event, by, reason) VALUES (%s, 'killed', 'ada', 'test')"
    connected.execute(insert, (after(1),))
    before, then = (policies.at(connected, after(1 + part * SECONDS)) for part in (0.4, 0.5))
    assert (False, True) == (before and before.killed, then and then.killed)


def test_the_instants_of_the_history(connected: Connection, stored: Stored, locked: tuple[Lock, Lock]) -> None:
    """As they are written without a test's clock: at the one of each move the move is whole."""
    connected.execute("DROP FUNCTION recorded_as_told CASCADE")
    found = moved.finished(connected, stored)
    rollouts.roll_back(connected, found.rollout_id, Rollback("ada", "wrong"), at=after(50))
    last = "SELECT recorded_at FROM rollout_events ORDER BY event_id DESC LIMIT 2"
    assert ["halted", "all"] == routed(connected, *(at for (at,) in support.rows(connected.info.dsn, last)))
    assert locked[0].config_hash == moved.in_production(connected)


def test_older_rows_go_by_what_they_tell(connected: Connection, stored: Stored, locked: tuple[Lock, Lock]) -> None:
    """Activations that were stored before it was known when they were written."""
    found = send(connected, moved.started(connected, stored), Abort("ada", "enough"), after(1))
    for table in ("lock_events", "route_events"):
        connected.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
    locks.add_event(connected, locked[1], "activated", at=after(2), reason="by hand")
    connected.execute(
        "INSERT INTO route_events (at, event, by, reason) VALUES (%s, 'killed', 'ada', 'test')", (after(0.5),)
    )
    connected.execute("UPDATE lock_events SET recorded_at = NULL")
    connected.execute("UPDATE route_events SET recorded_at = NULL")
    assert ["some", "halted", "halted", "-"] == routed(connected, *(after(hour) for hour in (0, 1, 1.9, 2)))
    killed = [policies.at_of(connected, found.rollout_id, after(hour)).killed for hour in (0.4, 0.5)]
    assert [False, True] == killed
