"""What routes, from the database: now, at any past instant, and in another process within a second."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from bakeoff import routing
from bakeoff.adapters import locks, policies, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.policies import Event
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.adapters.watcher import Watcher
from bakeoff.config import Lock
from bakeoff.errors import ConfigError, InputError, NotFoundError
from bakeoff.rollout import Abort, Advance, Promote, Rollback, Start
from bakeoff.routing import Arm, Reason
from tests import moved, support
from tests.moved import BEGAN, GREEN, after, send

PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def clock(connected: Connection) -> None:
    """Moves are written at the instants that the tests give them."""
    moved.recorded_as_told(connected)


def forced_on(conn: Connection, found: Rollout, at: datetime) -> Rollout:
    """The next share, by hand."""
    return send(conn, found, Promote("ada", force=True, why="test"), at)


def finished(conn: Connection, found: Rollout) -> Rollout:
    """All the way, a step every sixteen hours."""
    for hour in (16, 32, 48):
        found = send(conn, send(conn, found, GREEN, after(hour)), Advance(), after(hour))
    return found


def say(conn: Connection, event: Event, **more: str | Arm) -> bool:
    """Say something about routing, now."""
    return policies.say(conn, event, by="ada", reason="test", **more)  # type: ignore[arg-type]  # unit or arm, by name


def said_at(conn: Connection, at: datetime, event: Event, unit: str = "", arm: str | None = None) -> None:
    """Something that was said at an instant of the test's own."""
    conn.execute(
        "INSERT INTO route_events (at, event, value, arm, by, reason) VALUES (%s, %s, %s, %s, 'ada', 'test')",
        (at, event, unit, arm),
    )


def until(true: Callable[[], bool]) -> float:
    """Seconds until something is *true*; fails where it takes too long."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < PATIENCE_S, "it never came"
        time.sleep(0.002)
    return time.monotonic() - began


def test_no_rollout(connected: Connection) -> None:
    """Where there never was one, nothing routes, and no instant can be asked for."""
    assert policies.current(connected) is None
    with pytest.raises(NotFoundError, match="there is no rollout yet"):
        policies.at(connected, BEGAN)


def test_current_follows_the_rollout(connected: Connection, stored: Stored) -> None:
    """Share, version and how it ended are the row's; a completed one sends everybody to the candidate."""
    found = moved.started(connected, stored)
    policy = policies.current(connected)
    assert policy is not None
    assert (found.rollout_id, 1, found.salt, 1000) == policy[:4]
    assert (found.baseline, found.candidate) == (policy.baseline, policy.candidate)
    assert (False, False, False, True, {}) == (
        policy.halted,
        policy.completed,
        policy.killed,
        policy.shadow,
        policy.forced,
    )
    finished(connected, found)
    done = policies.current(connected)
    assert Reason.COMPLETED is routing.decide(done).reason
    back, _ = rollouts.roll_back(connected, found.rollout_id, Rollback("ada", "slow"), at=after(49))
    gone = policies.current(connected)
    assert gone is not None
    assert (back.version, True, 0) == (gone.version, gone.halted, gone.weight_bp)


def test_an_ended_rollout_is_history_when_production_moved_on(
    connected: Connection, stored: Stored, locked: tuple[Lock, Lock]
) -> None:
    """After a third lock was activated by hand neither side of the old rollout is named any more."""
    finished(connected, moved.started(connected, stored))
    locks.add_event(connected, locked[0], "activated", at=after(50), reason="by hand")
    assert policies.current(connected) is None
    assert Reason.COMPLETED is routing.decide(policies.at(connected, after(48))).reason


def test_the_one_on_its_way_routes(connected: Connection, stored: Stored) -> None:
    """A second rollout takes over from the first, and the first is still there at its time."""
    first = send(connected, moved.started(connected, stored), Abort("ada", "oops"), after(1))
    second = moved.started(connected, stored, at=after(2))
    now, then = policies.current(connected), policies.at(connected, after(1))
    assert now is not None
    assert then is not None
    assert (second.rollout_id, first.rollout_id, True) == (now.rollout_id, then.rollout_id, then.halted)


def test_replay_at_any_instant(connected: Connection, stored: Stored) -> None:
    """Share, kill switch, forced units and shadow are those of the instant, with its reason."""
    found = moved.started(connected, stored)
    unit = next(name for name in (f"user-{n}" for n in range(99)) if 1000 <= routing.bucket(found.salt, name) < 5000)
    said_at(connected, after(2), "killed")
    said_at(connected, after(4), "unkilled")
    said_at(connected, after(5), "forced", unit, "candidate")
    said_at(connected, after(6), "shadow_off")
    said_at(connected, after(7), "unforced", unit)
    found = forced_on(connected, found, after(8))
    rollouts.roll_back(connected, found.rollout_id, Rollback("ada", "slow"), at=after(9))
    expected = [
        (0, Arm.BASELINE, Reason.BUCKET, True),
        (2, Arm.BASELINE, Reason.KILLED, False),
        (3.999, Arm.BASELINE, Reason.KILLED, False),
        (4, Arm.BASELINE, Reason.BUCKET, True),
        (5, Arm.CANDIDATE, Reason.FLAG, False),
        (7, Arm.BASELINE, Reason.BUCKET, False),
        (8, Arm.CANDIDATE, Reason.BUCKET, False),
        (9, Arm.BASELINE, Reason.HALTED, False),
        (99, Arm.BASELINE, Reason.HALTED, False),
    ]
    for hour, *wanted in expected:
        made = routing.decide(policies.at(connected, after(hour)), client_id=unit)
        assert wanted == [made.arm, made.reason, made.shadow], hour
    assert policies.at(connected, after(99)) == policies.current(connected)


def test_instants_outside_are_refused(connected: Connection, stored: Stored) -> None:
    """Before the first rollout and in the future there is nothing to say; a simulated clock may be ahead."""
    found = moved.started(connected, stored)
    with pytest.raises(
        InputError, match=r"2026-01-05T07:59:59.+ is before the first rollout, which began at 2026-01-05"
    ):
        policies.at(connected, BEGAN - timedelta(seconds=1))
    ahead = datetime.now(tz=UTC) + timedelta(days=1)
    with pytest.raises(InputError, match="is in the future"):
        policies.at(connected, ahead)
    forced_on(connected, found, ahead.replace(microsecond=0) + timedelta(days=1))
    assert policies.at(connected, ahead) is not None


def test_a_rollout_at_its_own_instants(connected: Connection, stored: Stored) -> None:
    """A rehearsal in the future answers for its own instants alone, and says nothing of what routes, or routed."""
    real = send(connected, moved.started(connected, stored), Abort("ada", "oops"), after(1))
    said_at(connected, after(0.5), "killed")
    said_at(connected, after(1), "unkilled")
    ahead = datetime.now(tz=UTC).replace(microsecond=0) + timedelta(days=3)
    rehearsed = rollouts.start(connected, stored, Start("ada"), clock="simulated", at=ahead)
    forced_on(connected, rehearsed, ahead + timedelta(hours=2))
    now = policies.at(connected, datetime.now(tz=UTC))
    assert now is not None
    assert real.rollout_id == now.rollout_id
    with pytest.raises(InputError, match="is in the future"):
        policies.at(connected, ahead)
    first, second = (policies.at_of(connected, rehearsed.rollout_id, ahead + timedelta(hours=h)) for h in (1, 2))
    assert (1000, 5000, False) == (first.weight_bp, second.weight_bp, first.killed)
    then = policies.at_of(connected, real.rollout_id, after(0.5))
    assert (real.rollout_id, True) == (then.rollout_id, then.killed)
    for which, instant in ((rehearsed, ahead + timedelta(hours=3)), (rehearsed, after(1)), (real, ahead)):
        with pytest.raises(InputError, match=f"{which.rollout_id} is known from .* to .*, not at"):
            policies.at_of(connected, which.rollout_id, instant)


def test_what_holds_is_not_said_again(connected: Connection) -> None:
    """Killing twice, or taking back what nobody said, appends nothing."""
    assert not say(connected, "unkilled")
    assert not say(connected, "shadow_on")
    assert say(connected, "killed")
    assert not say(connected, "killed")
    assert say(connected, "shadow_off")
    assert say(connected, "forced", unit="u1", arm=Arm.CANDIDATE)
    assert not say(connected, "forced", unit="u1", arm=Arm.CANDIDATE)
    assert say(connected, "forced", unit="u1", arm=Arm.BASELINE)
    assert say(connected, "unforced", unit="u1")
    with pytest.raises(NotFoundError, match="'u1' is not forced to an arm"):
        say(connected, "unforced", unit="u1")
    assert ["killed", "unforced", "shadow_off"] == [word.event for word in policies.said(connected)]


@pytest.mark.parametrize(
    ("unit", "problem"),
    [(" ", "the unit is blank"), ("x" * 201, "has 201 characters"), ("\udcff", "is not UTF-8")],
    ids=["blank", "long", "bytes"],
)
def test_units_that_are_none(connected: Connection, unit: str, problem: str) -> None:
    """What is no id can't be forced."""
    with pytest.raises(InputError, match=problem):
        say(connected, "forced", unit=unit, arm=Arm.CANDIDATE)


def test_watcher_sees_and_survives(connected: Connection, database_url: str, stored: Stored) -> None:
    """It sees moves and words; its backend may be ended under it, and it sees again."""
    with Watcher(database_url, environment="1") as watcher:
        assert watcher.policy is None
        found = moved.started(connected, stored)
        until(lambda: watcher.policy is not None)
        assert Reason.ENVIRONMENT is routing.decide(watcher.policy).reason
        connected.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query <> ''"
        )
        until(lambda: watcher.connections == 2)
        say(connected, "killed")
        until(lambda: routing.decide(watcher.policy).reason is Reason.KILLED)
        assert "" == watcher.last_error
        say(connected, "unkilled")
        rollouts.roll_back(connected, found.rollout_id, Rollback("ada", "slow"), at=after(1))
        until(lambda: routing.decide(watcher.policy, header="1").reason is Reason.HALTED)


def test_policy_gets_stale(connected: Connection, database_url: str, server_url: str, stored: Stored) -> None:
    """Without the database nobody is sent to the candidate after `max_age_s`; with it, all is as before."""
    forced_on(connected, forced_on(connected, moved.started(connected, stored), after(1)), after(2))
    name = sql.Identifier(connected.info.dbname)
    with (
        psycopg.connect(server_url, autocommit=True) as admin,
        Watcher(database_url, max_age_s=1.0, poll_s=0.3) as watcher,
    ):
        assert Arm.CANDIDATE is routing.decide(watcher.policy, client_id="u1").arm
        time.sleep(1.5)  # confirmed again and again: it does not age
        assert Arm.CANDIDATE is routing.decide(watcher.policy, client_id="u1").arm
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        connected.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        until(lambda: routing.decide(watcher.policy, client_id="u1").reason is Reason.STALE)
        assert "not currently accepting connections" in watcher.last_error
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        until(lambda: routing.decide(watcher.policy, client_id="u1").reason is Reason.BUCKET)


def test_policy_ages_without_its_thread(database_url: str, connected: Connection, stored: Stored) -> None:
    """A thread that hangs, or ended, keeps no policy alive."""
    moved.started(connected, stored)
    with Watcher(database_url, max_age_s=0.4, poll_s=0.1) as watcher:
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    until(lambda: routing.decide(watcher.policy).reason is Reason.STALE)


def test_watcher_without_a_database() -> None:
    """A router starts without its database: nothing is known, so the baseline answers, and the reason is there."""
    with Watcher("postgresql://u:secret@127.0.0.1:1/none") as watcher:
        assert Reason.STALE is routing.decide(watcher.policy, header="1").reason
        assert "can't connect to postgresql://u:***@127.0.0.1:1/none" in watcher.last_error
        assert "secret" not in watcher.last_error
    with Watcher("postgresql://u:se/cret@127.0.0.1:1/none", environment="0") as watcher:
        assert Reason.ENVIRONMENT is routing.decide(watcher.policy, header="1").reason
        assert "cret" not in watcher.last_error


def test_watcher_refuses_ages_that_make_no_sense() -> None:
    """Who polls more seldom than it believes would be stale between two polls."""
    with pytest.raises(ConfigError, match=r"poll_s is 30, expected above 0 and below max_age_s \(30\)"):
        Watcher("", poll_s=30.0)


def test_another_process_sees_it_within_a_second(
    connected: Connection, database_url: str, stored: Stored, tmp_path: Path
) -> None:
    """`route watch`, a router in a process of its own, prints each change less than a second after its commit."""
    found = moved.started(connected, stored)
    line = support.command("route", "watch", "--seconds", "60")
    env = support.environment(database_url, tmp_path, PYTHONPATH=str(Path(support.__file__).parents[1]))
    with subprocess.Popen(line, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert "version 1: on its way, 10 %" in process.stdout.readline()
            waited = []
            for expected in ("KILLED", "version 1: on its way", "KILLED", "version 1: on its way"):
                say(connected, "killed" if expected == "KILLED" else "unkilled")
                began = time.monotonic()
                assert expected in process.stdout.readline()
                waited.append(time.monotonic() - began)
            rollouts.roll_back(connected, found.rollout_id, Rollback("ada", "slow"), at=after(1))
            began = time.monotonic()
            assert "version 2: halted, 0 %" in process.stdout.readline()
            waited.append(time.monotonic() - began)
        finally:
            process.terminate()
    assert statistics.median(waited) < 1.0
    assert 0 == process.returncode
