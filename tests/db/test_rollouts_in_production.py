"""Rollouts and the locks in production: what others changed there stays, and a rehearsal touches nothing."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from psycopg import errors as pg

from bakeoff.adapters import locks, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import IntegrityError, NotFoundError, StateError
from bakeoff.rollout import Abort, Advance, Pause, Phase, Promote, Start
from bakeoff.stages import rollback_check
from tests import moved, support
from tests.moved import GREEN, SLOW, after, finished, in_production, send

ROOT = Path(__file__).parents[2]


def test_a_later_lock_stays_in_production(
    connected: Connection, stored: Stored, locked: tuple[Lock, Lock], database_url: str
) -> None:
    """What people activated after the end is not taken out by a rollback, here or at psql, and it says what to do."""
    done = finished(connected, stored)
    third = support.make_lock(database_url, support.parts(chunking={"size": 70}), name="third")
    locks.add_event(connected, third, "activated", at=after(49), reason="newer")
    said = rf"third \({third.config_hash}\) was put into production after {done.rollout_id} completed"
    with pytest.raises(StateError, match=said) as caught:
        rollouts.roll_back(connected, done.rollout_id, SLOW, at=after(50))
    assert f"activate by hand what is to answer: bakeoff locks activate {locked[0].config_hash}" == caught.value.hint
    with pytest.raises(pg.RaiseException, match=said):
        connected.execute("SELECT roll_back(%s, 'slow', 'ada')", (done.rollout_id,))
    assert (third.config_hash, done) == (in_production(connected), rollouts.find(connected))
    locks.add_event(connected, locked[0], "activated", at=after(51), reason="back by hand")
    back, anything = rollouts.roll_back(connected, done.rollout_id, SLOW, at=after(52))
    assert (True, Phase.ROLLED_BACK) == (anything, back.phase)
    rollouts.check_history(connected, back, stored.plan.rollout)


@pytest.mark.parametrize("last", ["running", "paused", "completed"])
def test_old_rollouts_stay_over(connected: Connection, stored: Stored, locked: tuple[Lock, Lock], last: str) -> None:
    """A completed rollout that another one stands on is not taken back under it, here or at psql."""
    first = finished(connected, stored)
    locks.add_event(connected, locked[0], "restored", at=support.NOW, reason="again")
    second = moved.started(connected, moved.planned(connected, (locked[1], locked[0])))
    if last == "paused":
        second = send(connected, second, Pause("ada"), after(1))
    if last == "completed":
        second = send(connected, second, Promote("ada", 100.0, force=True, why="hurry"), after(1))
        second = send(connected, second, Promote("ada", force=True, why="hurry"), after(2))
    said = f"{first.rollout_id} completed before {second.rollout_id}, which is {last}"
    with pytest.raises(StateError, match=said) as caught:
        rollouts.roll_back(connected, first.rollout_id, SLOW, at=after(61))
    assert f"roll back {second.rollout_id} first" == caught.value.hint
    with pytest.raises(pg.RaiseException, match=said):
        connected.execute("SELECT roll_back(%s, 'slow', 'ada')", (first.rollout_id,))
    rollouts.roll_back(connected, second.rollout_id, SLOW, at=after(62))
    assert Phase.ROLLED_BACK == rollouts.roll_back(connected, first.rollout_id, SLOW, at=after(63))[0].phase


def test_a_rollback_does_not_race_a_start(
    connected: Connection, stored: Stored, locked: tuple[Lock, Lock], database_url: str
) -> None:
    """One completes, is taken back, and is built on, all at once: whoever comes first, nothing stands on nothing."""
    back = moved.planned(connected, (locked[1], locked[0]))
    found = send(connected, moved.started(connected, stored), Promote("ada", 100.0, force=True, why="hurry"), after(1))

    def start() -> str:
        with support.connector(database_url)() as conn, conn.transaction():
            locks.serialise(conn)
            time.sleep(0.5)  # the rollback has its row by then
            locks.add_event(conn, locked[0], "restored", at=after(2), reason="again")
            return moved.started(conn, back, at=after(2)).rollout_id

    def roll_back() -> str:
        with support.connector(database_url)() as conn:
            return rollouts.roll_back(conn, found.rollout_id, SLOW, at=after(2))[0].phase

    with ThreadPoolExecutor(2) as pool:
        with connected.transaction():
            send(connected, found, Promote("ada", force=True, why="hurry"), after(2))
            started = pool.submit(start)
            _until_waiting(connected, 1)
            taken_back = pool.submit(roll_back)
            _until_waiting(connected, 2)
        with pytest.raises(StateError, match=f"completed before {started.result(30)}, which is running"):
            taken_back.result(30)
    assert locked[1].config_hash == in_production(connected)


def _until_waiting(conn: Connection, count: int) -> None:
    """Wait until so many sessions wait for a lock."""
    ends = time.monotonic() + 30
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
    while conn.execute(waiting).fetchone() != (count,):
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize("change", ["archived", "replaced"])
def test_completion_on_other_locks_is_refused(
    connected: Connection, stored: Stored, locked: tuple[Lock, Lock], database_url: str, change: str
) -> None:
    """Whoever changed production under a rollout, it does not go over it; the way back is open."""
    candidate = locked[1]
    found = moved.started(connected, stored)
    for hour in (16, 32):
        found = send(connected, send(connected, found, GREEN, after(hour)), Advance(), after(hour))
    found = send(connected, found, GREEN, after(48))
    if change == "archived":
        locks.add_event(connected, candidate, "archived", at=after(20), reason="bad")
    else:
        third = support.make_lock(database_url, support.parts(chunking={"size": 70}), name="third")
        locks.add_event(connected, third, "activated", at=after(20), reason="newer")
    before = in_production(connected)
    with pytest.raises(StateError, match=f"{found.rollout_id} can't complete: its (candidate|baseline)") as caught:
        send(connected, found, Advance(), after(48))
    assert caught.value.hint
    assert (found, before) == (rollouts.find(connected), in_production(connected))
    assert Phase.ROLLED_BACK == rollouts.roll_back(connected, found.rollout_id, SLOW, at=after(49))[0].phase
    assert (before, change == "archived") == (in_production(connected), locks.is_archived(connected, candidate))


def test_a_rehearsal_takes_nothing_back(
    connected: Connection, stored: Stored, locked: tuple[Lock, Lock], database_url: str
) -> None:
    """A simulated rollout left nothing in production: its rollback changes nothing there, whatever is in it."""
    found = rollouts.start(connected, stored, Start("ada"), clock="simulated", at=after(0))
    for hour in (16, 32, 48):
        found = send(connected, send(connected, found, GREEN, after(hour)), Advance(), after(hour))
    assert (Phase.COMPLETED, locked[0].config_hash) == (found.phase, in_production(connected))
    third = support.make_lock(database_url, support.parts(chunking={"size": 70}), name="third")
    locks.add_event(connected, third, "activated", at=after(49), reason="newer")
    back, anything = rollouts.roll_back(connected, found.rollout_id, SLOW, at=after(50))
    assert (True, Phase.ROLLED_BACK, third.config_hash) == (anything, back.phase, in_production(connected))


def test_a_rehearsal_stands_in_no_way(connected: Connection, stored: Stored, locked: tuple[Lock, Lock]) -> None:
    """A completed rollout is taken back though a simulated one came after it."""
    done = finished(connected, stored)
    locks.add_event(connected, locked[0], "restored", at=after(50), reason="again")
    there_and_back = moved.planned(connected, (locked[1], locked[0]))
    rollouts.start(connected, there_and_back, Start("ada"), clock="simulated", at=after(51))
    assert Phase.ROLLED_BACK == rollouts.roll_back(connected, done.rollout_id, SLOW, at=after(52))[0].phase


def test_real_traffic_is_what_routes(connected: Connection, stored: Stored, locked: tuple[Lock, Lock]) -> None:
    """A rehearsal after it, ended or open, is not meant by `latest` or by a plan; by its id it is."""
    done = finished(connected, stored)
    locks.add_event(connected, locked[0], "restored", at=after(50), reason="again")
    back = moved.planned(connected, (locked[1], locked[0]))
    rehearsed = rollouts.start(connected, back, Start("ada"), clock="simulated", at=after(51))
    for ref in ("latest", stored.plan_sha256[:12], done.rollout_id):
        assert done == rollouts.with_traffic(connected, ref)
    rehearsed = send(connected, rehearsed, Abort("ada", "off"), after(52))
    assert (done, rehearsed) == (rollouts.with_traffic(connected), rollouts.find(connected))
    assert rehearsed == rollouts.with_traffic(connected, rehearsed.rollout_id)
    with pytest.raises(NotFoundError, match="no rollout with real traffic of plan") as caught:
        rollouts.with_traffic(connected, back.plan_sha256[:12])
    assert f"{rehearsed.rollout_id} is a rehearsal, which its id alone means" == caught.value.hint
    with pytest.raises(NotFoundError, match="no rollout 'nope'"):
        rollouts.with_traffic(connected, "nope")


def test_no_real_traffic_yet(connected: Connection, stored: Stored) -> None:
    """Nothing at all, then a rehearsal alone."""
    with pytest.raises(NotFoundError, match="there is no rollout yet"):
        rollouts.with_traffic(connected)
    rollouts.start(connected, stored, Start("ada"), clock="simulated", at=after(0))
    with pytest.raises(NotFoundError, match=r"there is no rollout with real traffic$"):
        rollouts.with_traffic(connected)


def test_who_moved_last_routes_whatever_the_clock_said(connected: Connection, stored: Stored) -> None:
    """A rollout that began while the clock was ahead is not meant any more once a later one has moved."""
    ahead = moved.started(connected, stored, at=after(1000))
    send(connected, ahead, Abort("ada", "off"), after(1001))
    found = send(connected, moved.started(connected, stored), Abort("ada", "off"), after(1))
    assert found == rollouts.with_traffic(connected) == rollouts.find(connected)


def test_a_check_asks_who_answers(connected: Connection, stored: Stored) -> None:
    """Another rollout excuses it while that one is on its way; one that ended answers for what units get."""
    first, _ = rollouts.roll_back(connected, moved.started(connected, stored).rollout_id, SLOW, at=after(1))
    rehearsal = rollouts.start(connected, stored, Start("ada"), clock="simulated", at=after(2))
    send(connected, rehearsal, Abort("ada", "off"), after(2))
    assert "all of 1000 sample units get the baseline" == rollback_check.routed(connected, first)
    assert "it was a rehearsal: nobody was routed by it" == rollback_check.routed(connected, rehearsal)
    second = moved.started(connected, stored, at=after(3))
    assert f"another rollout is on its way: {second.rollout_id}" == rollback_check.routed(connected, first)
    for hour in (4, 5, 6):
        second = send(connected, second, Promote("ada", force=True, why="hurry"), after(hour))
    said = f"1000 of 1000 sample units still get the candidate, by {second.rollout_id}"
    with pytest.raises(IntegrityError, match=said):
        rollback_check.routed(connected, first)


def test_psql_says_that_nothing_was_left(connected: Connection, stored: Stored) -> None:
    """Of a rollout that ended otherwise, and when it is taken back twice: whoever meant another one hears of it."""
    heard: list[str | None] = []
    connected.add_notice_handler(lambda diagnostic: heard.append(diagnostic.message_primary))
    first = send(connected, moved.started(connected, stored), Abort("ada", "off"), after(1))
    second = moved.started(connected, stored, at=after(2))
    for found in (first, second, second):
        connected.execute("SELECT roll_back(%s, 'slow', 'ada')", (found.rollout_id,))
    which = f"{second.rollout_id} is rolled back already: nothing moved"
    assert [f"{first.rollout_id} is aborted already: nothing moved", which] == heard


def test_the_runbook_lists_what_routes_first(connected: Connection, stored: Stored) -> None:
    """Its statement for psql: an open rollout before one that ended while the clock was ahead; rehearsals last."""
    rehearsal = rollouts.start(connected, stored, Start("ada"), clock="simulated", at=after(2000))
    send(connected, rehearsal, Abort("ada", "off"), after(2001))
    ahead = send(connected, moved.started(connected, stored, at=after(1000)), Abort("ada", "off"), after(1001))
    found = moved.started(connected, stored)
    text = (ROOT / "runbooks" / "rollback.md").read_text(encoding="utf-8")
    (statement,) = re.findall(r'-c "(SELECT rollout_id, [^"]+)"', text)
    listed = [row[0] for row in connected.execute(statement.encode()).fetchall()]
    assert [found.rollout_id, ahead.rollout_id, rehearsal.rollout_id] == listed


@pytest.mark.parametrize("phase", ["running", "completed"])
def test_a_way_back_tells_when_it_was_its_turn(
    connected: Connection, stored: Stored, database_url: str, phase: str
) -> None:
    """What it had to wait for is over at the instant that it tells of."""
    found = finished(connected, stored) if phase == "completed" else moved.started(connected, stored)

    def roll_back() -> datetime:
        with support.connector(database_url)() as conn:
            conn.execute("SELECT roll_back(%s, 'slow', 'ada')", (found.rollout_id,))
            return rollouts.find(conn, found.rollout_id).updated_at

    with ThreadPoolExecutor(1) as pool:
        with connected.transaction():
            connected.execute("SELECT FROM rollouts WHERE rollout_id = %s FOR UPDATE", (found.rollout_id,))
            taken_back = pool.submit(roll_back)
            _until_waiting(connected, 1)
            time.sleep(1.1)
            released = rollouts.server_time(connected)
        assert released <= taken_back.result(30)
