"""Simulated rollouts in processes of their own, killed at random points and begun again."""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bakeoff.stages import simulate
from tests import support
from tests.rolled import Rolled

Ending = tuple[Any, ...]


@dataclass(frozen=True)
class Disturbed:
    """How often a rollout's controller was killed, and how often it was begun."""

    kills: int
    begun: int
    amid: int
    """Kills of a controller that had moved the rollout before, so that it was in the midst of its work."""


def forked(work: Callable[[], object]) -> int:
    """Do *work* in a child that was forked from this warmed process; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:  # noqa: BLE001  # the child ends here, whatever happens
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(pid: int) -> int:
    """Wait for a child; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at_work(site: Rolled, **options: Any) -> int:
    """Begin a controller in a child, and return its pid once it has read all that it needs: its work begins."""
    reading, writing = os.pipe()

    def work() -> None:
        inner = simulate.pools_of

        def last_of_all(*given: Any) -> Any:
            found = inner(*given)
            os.write(writing, b"!")
            return found

        simulate.pools_of = last_of_all  # type: ignore[assignment]  # in the child alone
        site.drive(**options)

    pid = forked(work)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    return pid


def undisturbed(site: Rolled, **options: Any) -> float:
    """Let the rollout go on in a child until it ends; the seconds that its work took."""
    pid = at_work(site, **options)
    began = time.monotonic()
    assert 0 == ended(pid)
    return time.monotonic() - began


def disturbed(site: Rolled, rng: random.Random, *, kills: int, seconds: float, **options: Any) -> Disturbed:
    """Begin the controller, kill it at a random point of its first *seconds* of work, and again, until it has ended."""
    done = begun = amid = 0
    while True:
        before = site.found().version
        pid = at_work(site, **options)
        begun += 1
        if done < kills:
            time.sleep(rng.uniform(0.0, seconds))
            os.kill(pid, signal.SIGKILL)  # a child that ended is a zombie until it is waited for: it can be killed
        code = ended(pid)
        if code == 0:
            return Disturbed(done, begun, amid)
        assert -signal.SIGKILL == code
        done += 1
        amid += site.found().version > before


def ending(site: Rolled) -> Ending:
    """All that a rollout leaves: events with states and times, outcomes by step and arm, notices, activations."""
    notices = support.rows(site.url, "SELECT version, kind, body, made_at FROM rollout_notices ORDER BY version, kind")
    locks = support.rows(site.url, "SELECT config_hash, event, at, reason FROM lock_events ORDER BY event_id")
    found = site.found()
    return site.history(), found, site.outcomes(), notices, locks
