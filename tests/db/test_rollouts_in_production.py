"""Rollouts and the locks in production: what others changed there stays, and a rehearsal touches nothing."""

from __future__ import annotations

import pytest
from psycopg import errors as pg

from bakeoff.adapters import locks, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import StateError
from bakeoff.rollout import Advance, Phase, Start
from tests import moved, support
from tests.moved import GREEN, SLOW, after, finished, in_production, send


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
