"""The store of rollouts: one wins, the history only grows, the way back is always open, routers hear of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import errors as pg

from bakeoff import canary
from bakeoff.adapters import locks, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.config import Lock
from bakeoff.errors import ConflictError, IntegrityError, NotFoundError, StateError
from bakeoff.rollout import Abort, Advance, Event, Outcome, Pause, Phase, Promote, Start
from bakeoff.strategy import Step
from tests import moved, support
from tests.moved import GREEN, SLOW, after, finished, in_production, send


def test_start(connected: Connection, stored: Stored) -> None:
    """It begins with the first share, its id is of its day, its salt its own."""
    found = moved.started(connected, stored)
    assert ("r20260105-1", 1, "running", 1000) == (found.rollout_id, found.version, found.phase, found.weight_bp)
    assert f"r20260105-1.{stored.plan_sha256[:12]}" == found.salt
    assert found == rollouts.current(connected) == rollouts.find(connected) == rollouts.find(connected, "r20260105-1")
    assert found == rollouts.find(connected, stored.plan_sha256[:6])
    send(connected, found, Abort("ada", "oops"), after(1))
    assert "r20260105-2" == moved.started(connected, stored, at=after(2)).rollout_id
    assert 2 == len(rollouts.listing(connected))
    assert "moved" == rollouts.notices(connected, "r20260105-1")[0].kind


def test_one_at_a_time(connected: Connection, stored: Stored) -> None:
    """A second start is refused while the first one's traffic is on its way, and names it."""
    moved.started(connected, stored)
    with pytest.raises(StateError, match="r20260105-1 is on its way: one rollout at a time"):
        moved.started(connected, stored, at=after(1))
    assert 1 == len(rollouts.listing(connected))


def test_start_needs_the_baseline_in_production(
    connected: Connection, stored: Stored, locked: tuple[Lock, Lock]
) -> None:
    """What production answers with is the plan's baseline, and neither lock is archived."""
    baseline, candidate = locked
    locks.add_event(connected, candidate, "archived", at=support.NOW, reason="no")
    with pytest.raises(StateError, match=r"the plan's candidate candidate .* was archived"):
        moved.started(connected, stored)
    locks.add_event(connected, candidate, "restored", at=support.NOW, reason="yes")
    locks.add_event(connected, candidate, "activated", at=support.NOW, reason="yes")
    with pytest.raises(
        StateError, match=rf"candidate .* is in production, the plan's baseline is .*{baseline.config_hash}"
    ):
        moved.started(connected, stored)
    assert [] == rollouts.listing(connected)


def test_nothing_to_find(connected: Connection) -> None:
    """No rollout is said as such."""
    with pytest.raises(NotFoundError, match="there is no rollout yet"):
        rollouts.find(connected)
    with pytest.raises(NotFoundError, match="no rollout 'r20200101-1'"):
        rollouts.find(connected, "r20200101-1")
    assert rollouts.current(connected) is None


def test_stale_move_is_refused(connected: Connection, stored: Stored) -> None:
    """Whoever moves what was moved since changes nothing."""
    found = moved.started(connected, stored)
    send(connected, found, Pause("ada"), after(1))
    with pytest.raises(ConflictError, match=r"r20260105-1 was moved by somebody else since it was read \(version 1\)"):
        send(connected, found, GREEN, after(2))
    assert ["start", "pause"] == [item.event for item in rollouts.history(connected, found.rollout_id)]


def test_completion_changes_production(connected: Connection, stored: Stored, locked: tuple[Lock, Lock]) -> None:
    """The candidate is in production, the old lock archived; a rollback takes both back."""
    baseline, candidate = locked
    done = finished(connected, stored)
    assert (Phase.COMPLETED, 10_000) == (done.phase, done.weight_bp)
    assert candidate.config_hash == in_production(connected)
    assert locks.is_archived(connected, baseline)
    back, anything = rollouts.roll_back(connected, done.rollout_id, SLOW, at=after(50))
    assert (True, Phase.ROLLED_BACK, 0) == (anything, back.phase, back.weight_bp)
    assert baseline.config_hash == in_production(connected)
    assert not locks.is_archived(connected, baseline)
    rollouts.check_history(connected, back, stored.plan.rollout)


@pytest.mark.parametrize("phase", ["running", "paused", "rolled_back", "aborted"])
def test_way_back_works_everywhere(connected: Connection, stored: Stored, phase: str) -> None:
    """One statement, no version: it makes what the rules make, or finds nothing left to take back."""
    found = moved.started(connected, stored)
    if phase == "paused":
        found = send(connected, found, Pause("ada"), after(1))
    if phase == "aborted":
        found = send(connected, found, Abort("ada", "oops"), after(1))
    if phase == "rolled_back":
        found, _ = rollouts.roll_back(connected, found.rollout_id, SLOW, at=after(1))
    expected = canary.step(stored.plan.rollout, found.state, SLOW, after(2))
    back, anything = rollouts.roll_back(connected, found.rollout_id, SLOW, at=after(2))
    assert (expected.state, expected.accepted) == (back.state, anything)
    rollouts.check_history(connected, back, stored.plan.rollout)
    if anything:
        last = rollouts.history(connected, found.rollout_id)[-1]
        assert (expected.said, expected.reason.value) == (last.body["said"], last.body["reason"])
        assert ["moved", "verify"] == [item.kind for item in rollouts.notices(connected, found.rollout_id)][-2:]


def test_way_back_from_psql(connected: Connection, stored: Stored, database_url: str) -> None:
    """A person at psql needs one statement, whatever the search path; the clock is the database's."""
    found = moved.started(connected, stored)
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT bakeoff.roll_back(%s, 'errors', 'bob')", (found.rollout_id,))
        with pytest.raises(pg.RaiseException, match="no rollout r1"):
            other.execute("SELECT bakeoff.roll_back('r1', 'errors', 'bob')")
    after_it = rollouts.find(connected)
    assert (Phase.ROLLED_BACK, 2) == (after_it.phase, after_it.version)
    rollouts.check_history(connected, after_it, stored.plan.rollout)


def test_way_back_without_words(connected: Connection, stored: Stored) -> None:
    """At psql neither why, nor who, nor whole seconds are asked for; what is stored can be replayed."""
    found = moved.started(connected, stored)
    call = "SELECT roll_back(%s, NULL, NULL, '2026-01-05 09:00:00.75+00')"
    assert (2,) == connected.execute(call, (found.rollout_id,)).fetchone()
    back = rollouts.find(connected)
    assert (Phase.ROLLED_BACK, after(1)) == (back.phase, back.state.ended_at)
    who = connected.info.user
    assert f"rolled back by {who}: by hand" == rollouts.history(connected, found.rollout_id)[-1].body["said"]
    rollouts.check_history(connected, back, stored.plan.rollout)


def test_latest_is_the_open_one(connected: Connection, stored: Stored) -> None:
    """Else the one that began last, whatever its clock said then."""
    ahead = rollouts.start(connected, stored, Start("ada"), clock="simulated", at=after(100))
    send(connected, ahead, Abort("ada", "off"), after(101))
    found = moved.started(connected, stored)
    assert found == rollouts.find(connected) == rollouts.find(connected, stored.plan_sha256[:12])
    send(connected, found, Abort("ada", "off"), after(1))
    assert [found.rollout_id, ahead.rollout_id] == [each.rollout_id for each in rollouts.listing(connected)]


def test_the_tenth_of_a_day_is_newer_than_the_second(connected: Connection, stored: Stored) -> None:
    """Numbers are compared as such."""
    for _ in range(10):
        last = moved.started(connected, stored)
        send(connected, last, Abort("ada", "off"), after(0))
    assert "r20260105-10" == last.rollout_id == rollouts.find(connected).rollout_id


def test_hints_name_what_there_is(connected: Connection, stored: Stored, locked: tuple[Lock, Lock]) -> None:
    """An archived lock's way back, and the rollouts that somebody may have meant."""
    locks.add_event(connected, locked[1], "archived", at=support.NOW, reason="no")
    with pytest.raises(StateError) as caught:
        moved.started(connected, stored)
    expected = f"bakeoff locks archive --restore {locked[1].config_hash}, or plan with another lock"
    assert expected == caught.value.hint
    locks.add_event(connected, locked[1], "restored", at=support.NOW, reason="yes")
    moved.started(connected, stored)
    with pytest.raises(NotFoundError, match="no rollout 'nope'") as unknown:
        rollouts.find(connected, "nope")
    assert "there are r20260105-1" == unknown.value.hint


def test_history_never_changes(connected: Connection, stored: Stored) -> None:
    """Neither an event nor a rollout goes away, whatever the right to write."""
    found = moved.started(connected, stored)
    for statement in (
        "UPDATE rollout_events SET at = now()",
        "DELETE FROM rollout_events",
        "TRUNCATE rollout_events",
        "DELETE FROM rollouts",
        "TRUNCATE rollouts CASCADE",
        "DELETE FROM route_events WHERE true",
    ):
        if "route_events" in statement:
            connected.execute(
                "INSERT INTO route_events (at, event, by, reason) VALUES (now(), 'killed', 'ada', 'test')"
            )
        with pytest.raises(pg.RaiseException, match="never change"):
            connected.execute(statement.encode())
    assert 1 == len(rollouts.history(connected, found.rollout_id))


def test_changed_rows_are_named(connected: Connection, stored: Stored) -> None:
    """A state that its history does not make is no state that anything is decided by."""
    found = moved.started(connected, stored)
    connected.execute("UPDATE rollouts SET state = state || '{\"candidate_outcomes\": 999}'")
    with pytest.raises(IntegrityError, match="its state is not what its history makes"):
        rollouts.check_history(connected, rollouts.find(connected), stored.plan.rollout)
    connected.execute("UPDATE rollouts SET state = state || '{\"candidate_outcomes\": 0}'")
    rollouts.check_history(connected, rollouts.find(connected), stored.plan.rollout)
    connected.execute("ALTER TABLE rollout_events DISABLE TRIGGER USER")
    connected.execute("UPDATE rollout_events SET at = at + interval '1 hour'")
    with pytest.raises(IntegrityError, match=r"version 1 \(start\) does not follow from its history"):
        rollouts.check_history(connected, found, stored.plan.rollout)
    with pytest.raises(pg.CheckViolation):
        connected.execute("UPDATE rollouts SET weight_bp = 5000")


def test_fifty_promotes_one_winner(connected: Connection, locked: tuple[Lock, Lock], database_url: str) -> None:
    """Of fifty sessions that promote at once exactly one wins, twenty times of twenty; the others say so."""
    ladder = moved.USUAL.model_copy(
        update={"steps": tuple(Step(percent=percent, hours=1) for percent in range(5, 105, 5))}
    )
    found = moved.started(connected, moved.planned(connected, locked, ladder))
    with ExitStack() as stack, ThreadPoolExecutor(50) as pool:
        sessions = [stack.enter_context(support.connector(database_url)()) for _ in range(50)]
        for round_ in range(1, 21):
            gate = threading.Barrier(50)
            event = Promote("ada", force=True, why="race")
            outcome = canary.step(ladder, found.state, event, after(round_))
            tries = [pool.submit(_race, conn, gate, found, event, outcome) for conn in sessions]
            assert 1 == sum(item.result() for item in tries)
            found = rollouts.find(connected)
            assert 1 + round_ == found.version
    assert Phase.COMPLETED == found.phase
    assert 21 == len(rollouts.history(connected, found.rollout_id))


def _race(conn: Connection, gate: threading.Barrier, found: Rollout, event: Event, outcome: Outcome) -> bool:
    gate.wait()
    try:
        rollouts.move(conn, found, event, outcome, at=after(found.version))
    except ConflictError:
        return False
    return True


def test_rollback_wins_against_promotes(connected: Connection, stored: Stored, database_url: str) -> None:
    """A rollback in the middle of others' moves is never lost."""
    found = moved.started(connected, stored)
    event = Promote("ada", force=True, why="race")
    outcome = canary.step(stored.plan.rollout, found.state, event, after(1))
    gate = threading.Barrier(9)
    with ExitStack() as stack, ThreadPoolExecutor(9) as pool:
        sessions = [stack.enter_context(support.connector(database_url)()) for _ in range(9)]
        tries = [pool.submit(_race, conn, gate, found, event, outcome) for conn in sessions[1:]]
        gate.wait()
        rollouts.roll_back(sessions[0], found.rollout_id, SLOW, at=after(1))
        assert 1 >= sum(item.result() for item in tries)
    back = rollouts.find(connected)
    assert (Phase.ROLLED_BACK, 0) == (back.phase, back.weight_bp)
    rollouts.check_history(connected, back, stored.plan.rollout)


def test_moves_are_announced(connected: Connection, stored: Stored, database_url: str) -> None:
    """Whoever listens hears of a start, of every move and of the kill switch when it is committed."""
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("LISTEN bakeoff_routing")
        found = moved.started(connected, stored)
        send(connected, found, Pause("ada"), after(1))
        connected.execute("INSERT INTO route_events (at, event, by, reason) VALUES (now(), 'killed', 'ada', 'test')")
        heard = [notice.payload for notice in other.notifies(timeout=2, stop_after=3)]
    assert ["r20260105-1:1", "r20260105-1:2", "route:1"] == heard


def test_simulated_start(connected: Connection, stored: Stored) -> None:
    """Which clock a rollout runs on is part of it."""
    made = rollouts.start(connected, stored, Start("ada"), clock="simulated", at=after(0))
    assert "simulated" == made.clock


def test_notices_are_ticked_off(connected: Connection, stored: Stored) -> None:
    """What was delivered is not delivered again; what failed keeps its error and its count, up to a limit."""
    moved.started(connected, stored)
    (notice,) = rollouts.unsent(connected, "moved", limit=2)
    rollouts.failed(connected, notice, error="timed out")
    (again,) = rollouts.unsent(connected, "moved", limit=2)
    assert (1, "timed out") == (again.attempts, again.last_error)
    rollouts.failed(connected, notice, error="timed out")
    assert [] == rollouts.unsent(connected, "moved", limit=2)
    rollouts.ticked_off(connected, notice, at=after(1))
    assert after(1) == rollouts.notices(connected, "r20260105-1")[0].sent_at


def test_a_rehearsal_changes_nothing_in_production(
    connected: Connection, stored: Stored, locked: tuple[Lock, Lock]
) -> None:
    """A simulated rollout that completes, and one that is taken back, leave production and its locks alone."""
    baseline, candidate = locked
    found = rollouts.start(connected, stored, Start("ada"), clock="simulated", at=after(0))
    for hour in (16, 32, 48):
        found = send(connected, send(connected, found, GREEN, after(hour)), Advance(), after(hour))
    assert Phase.COMPLETED == found.phase
    assert baseline.config_hash == in_production(connected)
    assert not locks.is_archived(connected, baseline)
    before = len(locks.events(connected))
    back, anything = rollouts.roll_back(connected, found.rollout_id, SLOW, at=after(50))
    assert (True, Phase.ROLLED_BACK) == (anything, back.phase)
    assert before == len(locks.events(connected))
    assert not locks.is_archived(connected, candidate)
    rollouts.check_history(connected, back, stored.plan.rollout)
