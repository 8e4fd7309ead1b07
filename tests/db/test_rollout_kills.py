"""Controllers that are killed, cut off, or not alone: the history is that of an undisturbed rollout."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bakeoff import simulation
from bakeoff.adapters import live_outcomes, rollouts
from bakeoff.stages import watch
from tests import killed, support
from tests.killed import Ending
from tests.rolled import OPTIONS, Rolled, copy_of, parsed, rolled

KILLS = 25
WATCHED = {
    "errors": {"margin": 0.02, "base_rate": 0.98},
    "quality": {"margin": 0.1, "base_rate": 0.6},
    "latency_p95": {"margin": 0.9},
}
FAULTS = {"good": None, "harmed": simulation.Fault("errors", 0.3, 1.0)}


@pytest.fixture(scope="module")
def begun(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    """A simulated rollout that has just begun; copies of it have the same id and salt."""
    with rolled(server_url, template, tmp_path_factory.mktemp("kills"), parsed(watch=WATCHED)) as found:
        found.start()
        yield found


@pytest.fixture(scope="module")
def calm(server_url: str, begun: Rolled) -> dict[str, tuple[Ending, float]]:
    """What undisturbed rollouts leave, and the seconds that they take."""
    found = {}
    for name, fault in FAULTS.items():
        with copy_of(server_url, begun) as site:
            seconds = killed.undisturbed(site, fault=fault)
            site.check()
            found[name] = killed.ending(site), seconds
    return found


@pytest.fixture
def site(server_url: str, begun: Rolled) -> Iterator[Rolled]:
    """A database of the test's own."""
    with copy_of(server_url, begun) as found:
        yield found


def test_the_undisturbed_rollouts_are_what_they_should_be(calm: dict[str, tuple[Ending, float]]) -> None:
    """A good candidate gets through all three steps, a harmed one is rolled back: both are worth disturbing."""
    phases = {name: ending[1].phase for name, (ending, _) in calm.items()}
    assert {"good": "completed", "harmed": "rolled_back"} == phases
    assert 10 <= len(calm["good"][0][0])


def test_killed_at_random_points(server_url: str, begun: Rolled, calm: dict[str, tuple[Ending, float]]) -> None:
    """SIGKILL again and again, on several rollouts: events, states, times, outcomes, notices, locks are the same."""
    rng, kills, turn = random.Random(4), 0, 0
    while kills < KILLS:
        name = list(FAULTS)[turn % 2]
        expected, seconds = calm[name]
        turn += 1
        with copy_of(server_url, begun) as site:
            most = min(9, KILLS - kills)
            kills += killed.disturbed(site, rng, kills=most, seconds=0.4 * seconds, fault=FAULTS[name]).kills
            assert expected == killed.ending(site)
            site.check()


def dies_after(site: Rolled, module: Any, name: str) -> int:
    """Let a controller go on until *name* of *module* has committed once, and die right there; how it ended."""

    def work() -> None:
        inner = getattr(module, name)

        def last(*given: Any, **options: Any) -> None:
            inner(*given, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(module, name, last)  # in the child alone
        site.drive()

    return killed.ended(killed.forked(work))


def test_killed_after_every_single_commit(site: Rolled, calm: dict[str, tuple[Ending, float]]) -> None:
    """Right behind the outcomes of each hour, and right behind each move, such as a look whose step it did not end."""
    deaths = 0
    while site.found().phase == "running" and deaths < 40:  # far more than there are moves
        deaths += -signal.SIGKILL == dies_after(site, live_outcomes, "add")
        deaths += -signal.SIGKILL == dies_after(site, rollouts, "move")
    assert 10 <= deaths
    assert calm["good"][0] == killed.ending(site)


def test_two_controllers_at_once(site: Rolled, calm: dict[str, tuple[Ending, float]]) -> None:
    """Both go on to the end, nothing happens twice."""
    children = [killed.forked(site.drive) for _ in range(2)]
    assert [0, 0] == [killed.ended(pid) for pid in children]
    assert calm["good"][0] == killed.ending(site)


def cut_off(url: str) -> int:
    """End every session of a controller; how many there were."""
    query = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'bakeoff' AND pid <> pg_backend_pid()"
    )
    return int(support.rows(url, query)[0][0])


def test_cut_off_in_the_middle(site: Rolled, calm: dict[str, tuple[Ending, float]]) -> None:
    """Sessions that the server ends: the controller says so, comes back, and the history is the same."""
    told: list[str] = []
    stop = threading.Event()
    ended: list[int] = []

    def cut() -> None:
        while not stop.is_set() and sum(ended) < 6:
            time.sleep(0.05)
            ended.append(cut_off(site.url))

    cutting = threading.Thread(target=cut)

    def first_turn() -> None:
        if not cutting.is_alive() and not ended:
            cutting.start()

    around = watch.Around(after=first_turn, options=OPTIONS)
    done = watch.simulated(site.connect, rollouts.NEWEST, tell=told.append, sleep=lambda _: None, around=around)
    stop.set()
    cutting.join()
    assert done.ended
    assert sum(ended) > 0
    assert any("the database is unavailable" in line for line in told)
    assert calm["good"][0] == killed.ending(site)
