"""A controller that stays: what it does by itself, what it hears, who takes over, what it survives."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bakeoff import strategy
from bakeoff.adapters import embedded, migrations, plans, policies, postgres, rollouts, settings
from bakeoff.adapters.rollouts import Clock, Rollout
from bakeoff.cli import _rolling
from bakeoff.errors import DatabaseError, StateError
from bakeoff.rollout import Pause, Promote, Start
from bakeoff.stages import advance, watch
from bakeoff.stages.advance import Ticked
from tests import killed, moved, support
from tests.support import Connect

SECOND = 1 / 3600
SOON_S = 20.0
"""Much less than what a controller waits where nobody tells it anything; much more than what hearing takes."""


def quick(steps: int = 2) -> strategy.Strategy:
    """Steps of a second that end by time alone."""
    shares = [100 * number / steps for number in range(1, steps + 1)]
    return strategy.parse(
        {
            "strategy": "quick",
            "watch": {"errors": {"margin": 0.01, "base_rate": 0.99}},
            "steps": [{"percent": share, "hours": SECOND, "gated": False} for share in shares],
            "recheck_at_steps": False,
        },
        source="test",
    )


class Site:
    """A rollout in a database of its own."""

    def __init__(
        self,
        url: str,
        rollout: strategy.Strategy = moved.USUAL,
        clock: Clock = "wall",
        ago: timedelta = timedelta(),
    ) -> None:
        self.url, self.connect = url, support.connector(url)
        sides = moved.sides(url)
        with self.connect() as conn:
            stored = moved.planned(conn, sides, rollout)
            now = rollouts.server_time(conn) - ago
            self.rollout_id = rollouts.start(conn, stored, Start("ada", "test"), clock=clock, at=now).rollout_id

    def found(self) -> Rollout:
        """The rollout as it is."""
        with self.connect() as conn:
            return rollouts.find(conn, self.rollout_id)

    def roll_back(self) -> None:
        """What ends every watch."""
        with self.connect() as conn:
            advance.roll_back(conn, self.rollout_id, by="ada", why="enough", now=rollouts.server_time(conn))

    def events(self) -> list[str]:
        """What happened."""
        with self.connect() as conn:
            return [item.event for item in rollouts.history(conn, self.rollout_id)]


class Watching:
    """A controller in a thread, and what it told."""

    def __init__(self, connect: Connect, rollout_id: str) -> None:
        self.told: list[str] = []
        self.turns = 0
        self.result: Ticked | None = None
        self._connect, self._id = connect, rollout_id
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        around = watch.Around(after=self._after, options=None)
        self.result = watch.run(self._connect, self._id, tell=self.told.append, sleep=_briefly, around=around)

    def _after(self) -> None:
        self.turns += 1

    def said(self, words: str) -> bool:
        """Whether it told something with these words."""
        return any(words in line for line in self.told)

    def ended(self) -> Ticked:
        """Wait for its end."""
        self._thread.join(SOON_S)
        assert not self._thread.is_alive()
        assert self.result is not None
        return self.result


def _briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.05))


def until(condition: Callable[[], object]) -> None:
    """Wait for *condition*."""
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


@contextmanager
def watching(site: Site, connect: Connect | None = None) -> Iterator[Watching]:
    """A controller that is at work; whatever happens, the rollout is ended behind it."""
    made = Watching(connect or site.connect, site.rollout_id)
    try:
        until(lambda: made.turns or made.told)
        yield made
    finally:
        site.roll_back()
        made.ended()


def test_by_itself_to_the_end(database_url: str) -> None:
    """Steps that end by time alone: it goes through them, tells each, and ends."""
    site = Site(database_url, quick())
    made = Watching(site.connect, site.rollout_id)
    assert "completed" == made.ended().rollout.phase
    assert ["start", "advance", "advance"] == [event for event in site.events() if event != "look"]
    assert ["advance: step 2 of 2: 100 % to the candidate", "advance: completed: the last step is over"] == [
        line.partition(" ")[2].partition(" ")[2] for line in made.told if "advance" in line
    ]
    assert made.turns >= 2


def test_what_others_do_is_heard_at_once(database_url: str) -> None:
    """A pause of somebody else is told, a rollback ends it, long before it would have looked again by itself."""
    site = Site(database_url)
    with watching(site) as made:
        with site.connect() as conn:
            advance.act(conn, site.rollout_id, Pause("ben", "lunch"), now=rollouts.server_time(conn))
        until(lambda: made.said("paused by ben: lunch"))
        site.roll_back()
        assert "rolled_back" == made.ended().rollout.phase
    assert made.said("rolled back by ada: enough")


def test_a_second_controller_stands_by_and_takes_over(database_url: str) -> None:
    """It moves nothing while the first one lives; when that is killed it is at work within seconds."""
    site = Site(database_url)

    def first() -> None:
        watch.run(site.connect, site.rollout_id, tell=lambda _: None, around=watch.Around(options=None))

    pid = killed.forked(first)
    try:
        held = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
        held += "(SELECT oid FROM pg_database WHERE datname = current_database())"
        until(lambda: support.rows(site.url, held))
        with watching(site) as second:
            until(lambda: second.said("another controller is at work"))
            assert 0 == second.turns
            os.kill(pid, signal.SIGKILL)
            until(lambda: second.turns)
            assert 1 == sum("standing by" in line for line in second.told)
    finally:
        os.kill(pid, signal.SIGKILL)
        killed.ended(pid)


def test_a_standby_ends_with_the_rollout(database_url: str) -> None:
    """Whoever ended it."""
    site = Site(database_url)
    with watching(site), watching(site) as second:
        until(lambda: second.said("standing by"))
        site.roll_back()
        assert "rolled_back" == second.ended().rollout.phase


def test_cut_off_sessions_are_opened_again(database_url: str) -> None:
    """The server ends the controller's sessions: it says so, comes back and goes on."""
    site = Site(database_url)
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'bakeoff' AND pid <> pg_backend_pid()"
    )
    with watching(site) as made:
        until(lambda: made.turns)
        before = made.turns
        until(lambda: support.rows(site.url, cut))
        until(lambda: made.said("the database is unavailable"))
        until(lambda: made.turns > before)


@pytest.fixture
def own_server() -> Iterator[tuple[Path, str]]:
    """A server of the test's own, to be stopped; its folder and its database's URL."""
    home = Path(tempfile.mkdtemp(prefix="bakeoff-watch-"))
    home.chmod(0o755)
    try:
        url = embedded.ensure(home)
        with postgres.open_url(url) as conn:
            migrations.up(conn)
        yield home, url
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def test_a_server_that_restarts_is_waited_for(own_server: tuple[Path, str]) -> None:
    """Stopped, started again: the controller goes on with the same rollout."""
    home, url = own_server
    site = Site(url)
    with watching(site) as made:
        until(lambda: made.turns)
        embedded.stop(home)
        until(lambda: made.said("; again in "))
        before = made.turns
        assert url == embedded.ensure(home)
        until(lambda: made.turns > before)


def test_it_may_be_started_before_its_database(own_server: tuple[Path, str]) -> None:
    """A controller that finds none waits for it, and is at work as soon as it is there."""
    home, url = own_server
    site = Site(url)
    embedded.stop(home)
    made = Watching(site.connect, site.rollout_id)
    until(lambda: made.said("; again in "))
    assert url == embedded.ensure(home)
    until(lambda: made.turns)
    site.roll_back()
    assert "rolled_back" == made.ended().rollout.phase


def test_a_network_that_went_silent_is_noticed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sessions that a controller works on ask for signs of life, as those of routers do."""
    monkeypatch.setenv("BAKEOFF_DATABASE_URL", database_url)
    with _rolling.Site(settings.load(tmp_path), "ada").connect() as conn:
        found = conn.info.get_parameters()
    assert found == found | {name: str(value) for name, value in postgres.LIVELINESS.items()}
    assert {"keepalives_idle", "tcp_user_timeout"} <= set(found)


def test_a_database_that_never_comes_is_an_error() -> None:
    """After about five minutes: an address that was always wrong is not waited for by day and night."""
    told: list[str] = []
    waited: list[float] = []
    connect = support.connector("postgresql://u:secret@127.0.0.1:1/none")
    with pytest.raises(DatabaseError, match="can't connect"):
        watch.run(connect, "latest", tell=told.append, sleep=waited.append)
    assert [0.5, 1.0, 2.0, 4.0] == waited[:4]
    assert 300 <= sum(waited) < 360
    assert not [line for line in told if "secret" in line]


def test_a_step_that_is_held_is_told(database_url: str) -> None:
    """Once: to whoever looks on, and as a notice."""
    site = Site(database_url, ago=timedelta(hours=20))
    with watching(site) as made:
        until(lambda: made.said("step 1 is held far beyond its hours"))
        with site.connect() as conn:
            advance.act(conn, site.rollout_id, Promote("ben", 100, force=True, why="x"), now=rollouts.server_time(conn))
        until(lambda: made.said("forced"))
    assert 1 == sum("far beyond" in line for line in made.told)
    with site.connect() as conn:
        assert 1 == sum(each.kind == "held" for each in rollouts.notices(conn, site.rollout_id))


def turned(made: Watching, site: Site, event: policies.Event) -> None:
    """Say a word on routing, and wait until a turn has ended: the second word's turn has heard the first."""
    before = made.turns
    with site.connect() as conn:
        assert policies.say(conn, event, by="ben", reason="wrong prices")
    until(lambda: made.turns > before)


def test_what_holds_a_rollout_is_told_once(database_url: str) -> None:
    """The kill switch is named beside green looks; that a step's hours are not over is not news."""
    site = Site(database_url)
    said = "held: the kill switch is on, by ben: wrong prices"
    with watching(site) as made:
        for number in (1, 2):
            turned(made, site, "killed")
            turned(made, site, "shadow_off")
            assert number == made.told.count(said)
            turned(made, site, "unkilled")
            turned(made, site, "shadow_on")
    assert not made.said("lasts until")


def test_a_refusal_is_not_repeated_for_ever(database_url: str) -> None:
    """A database that answers, and refuses what it is asked, gets a few chances."""
    site = Site(database_url)
    told: list[str] = []
    waited: list[float] = []

    def refuse() -> None:
        raise DatabaseError("the database failed: out of order")

    around = watch.Around(after=refuse, options=None)
    with pytest.raises(DatabaseError, match="out of order"):
        watch.run(site.connect, site.rollout_id, tell=told.append, sleep=waited.append, around=around)
    assert [0.5, 1.0, 2.0, 4.0] == waited
    assert 4 == sum("again in" in line for line in told)


@pytest.mark.parametrize("clock", ["wall", "simulated"])
def test_the_other_clock_is_refused(database_url: str, clock: Clock) -> None:
    """With the command that fits, and nothing is moved."""
    site = Site(database_url, clock=clock)
    other: Any = watch.run if clock == "simulated" else watch.simulated
    with pytest.raises(StateError, match=f"goes by the {clock} clock") as caught:
        other(site.connect, site.rollout_id, tell=lambda _: None)
    assert "bakeoff canary watch" + (" --clock simulated" if clock == "simulated" else "") == caught.value.hint
    assert ["start"] == site.events()


def test_a_simulated_rollout_that_is_held_for_ever_stops(database_url: str) -> None:
    """After ten times its hours, with what holds it."""
    site = Site(database_url, clock="simulated")
    found = site.found()
    with site.connect() as conn:
        stored = plans.find(conn, found.plan_sha256)
    now = found.started_at + timedelta(hours=481)
    late = advance.tick(site.connect, site.rollout_id, now=now, anew=False)
    assert "it is held up since 480 hours: the last look says hold" == watch.stuck(stored, late)
