"""How commands that move traffic reach the rollout, and what they do after a move."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from bakeoff import simulation
from bakeoff.adapters import clock, plans, postgres, rollouts, webhooks
from bakeoff.adapters import settings as adapter
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.adapters.settings import Settings
from bakeoff.cli import _rollouts
from bakeoff.cli._shared import database, say, settings
from bakeoff.errors import BakeoffError, NotFoundError, StateError, UsageError
from bakeoff.rollout import OPEN, Event, Phase
from bakeoff.stages import advance, notices, recheck, watch
from bakeoff.stages.advance import Ticked
from bakeoff.stages.notices import Settled

_SKEW_S = 60
"""Seconds by which this machine's clock may differ from the database's before it is said."""
_AGAIN_S = (60.0, 600.0)
"""After how many seconds a receiver that took nothing is tried again: at first, and at most."""


@dataclass(frozen=True, slots=True)
class Site:
    """What commands that move traffic need: the database, who is at work, what measures anew."""

    settings: Settings
    by: str

    @property
    def connect(self) -> Connect:
        """Opens one more connection."""
        return partial(postgres.connect, self.settings, autocommit=True, **postgres.LIVELINESS)

    @property
    def options(self) -> recheck.Options:
        """What the offline KPIs are measured anew with."""
        return recheck.Options(cache_dir=self.settings.values.home / "models", environ=os.environ)

    @property
    def around(self) -> watch.Around:
        """What a controller does beside moving the rollout."""
        return watch.Around(after=patient(self), options=self.options)


def site() -> Site:
    """Return the site that is set up here."""
    found = settings()
    return Site(found, adapter.operator(found))


def now_of(conn: Connection, found: Rollout) -> datetime:
    """Return what time it is for *found*, and say where this machine's clock is another one than the database's."""
    now = rollouts.server_time(conn)
    skew = (clock.now() - now).total_seconds()
    if abs(skew) > _SKEW_S:
        say(f"note: this machine's clock differs from the database's by {skew:+.0f} s; the database's counts")
    return now if found.clock == "wall" else found.state.last_at


def act(ref: str, event: Callable[[str], Event]) -> dict[str, Any]:
    """Do what a person asks for, tell the receiver, and return the rollout as it is then."""
    here = site()
    with database() as conn:
        found = rollouts.find(conn, ref)
        advance.act(conn, found.rollout_id, event(here.by), now=now_of(conn, found))
        settle(here)
        return _rollouts.status(conn, found.rollout_id, here.settings)


def settle(here: Site) -> Settled:
    """Do what follows outside, and say what could not be done: it is tried again with the next command.

    What was moved is moved, so that no error here is that of the command.
    """
    try:
        done = notices.settle(here.connect, webhooks.of(here.settings), clock=clock.now, options=here.options)
    except BakeoffError as error:
        done = Settled(error=str(error))
    if done.error is not None:
        say(f"note: {done.error}; it is tried again with the next tick")
    if done.left:
        say(f"note: {done.left} notices {rollouts.TOO_OLD}")
    return done


def patient(here: Site) -> Callable[[], None]:
    """Return what a controller calls after each turn: `settle`, ever more rarely while nothing is taken."""
    wait, again = 0.0, 0.0

    def after() -> None:
        nonlocal wait, again
        if time.monotonic() < again:
            return
        failed = settle(here).error is not None
        wait = min(max(2 * wait, _AGAIN_S[0]), _AGAIN_S[1]) if failed else 0.0
        again = time.monotonic() + wait

    return after


def tick(ref: str) -> tuple[dict[str, Any], int]:
    """Take one turn; return what it did with the rollout as it is then, and the exit code: 1 where it rolled back."""
    here = site()
    with database() as conn:
        found = _real(conn, ref)
        now_of(conn, found)
        now = partial(rollouts.server_time, conn)
        done = advance.tick_on(conn, here.connect, found.rollout_id, now=now, options=here.options)
        notices.remember_held(conn, done.rollout, done.held, at=now())
        settle(here)
        data = _rollouts.status(conn, found.rollout_id, here.settings)
    held = None if done.held is None else {"reason": None, **(data["held"] or {}), "said": done.held}
    events = [{"version": item.version, "event": item.event, "reason": item.reason.value, "said": item.said}
              for item in done.events]  # fmt: skip
    return {**data, "held": held, "events": events}, turn_code(done)


def turn_code(done: Ticked) -> int:
    """Return the exit code of a turn: 1 where its own last event rolled back, 0 where somebody else did since."""
    own = bool(done.events) and done.events[-1].version == done.rollout.version
    return int(own and done.rollout.state.phase is Phase.ROLLED_BACK)


def _real(conn: Connection, ref: str) -> Rollout:
    """Return the rollout with real traffic that *ref* means.

    Raises StateError, with the command that fits, where it is a rehearsal, or there are rehearsals alone.
    """
    try:
        found = rollouts.with_traffic(conn, ref)
    except NotFoundError:
        found = rollouts.find(conn, ref)
    watch.require_clock(found, "wall")
    return found


def watched(ref: str, *, clock_name: str, fault: str | None, pace_s: float) -> tuple[dict[str, Any], int]:
    """Stay with a rollout until it ends; return how it is then, and the exit code."""
    if fault is not None and clock_name != "simulated":
        raise UsageError("--fault harms simulated traffic alone", hint="give --clock simulated too")
    harm = None if fault is None else simulation.parse(fault)
    here = site()
    found, stored = watch.waited(partial(_to_watch, ref, clock_name), tell=say)
    say(f"watching {found.rollout_id}; Ctrl-C leaves it as it is")
    if clock_name == "wall":
        done = watch.run(here.connect, found.rollout_id, tell=say, around=here.around)
    else:
        done = watch.simulated(
            here.connect, found.rollout_id, tell=say, fault=harm, pace_s=pace_s, around=here.around
        )  # fmt: skip
    stuck = watch.stuck(stored, done)
    if stuck is not None:
        say(f"{found.rollout_id} goes no further by itself: {stuck}")
    with database() as conn:
        return _rollouts.status(conn, found.rollout_id, here.settings), ended_code(done.rollout)


def _to_watch(ref: str, clock_name: str) -> tuple[Rollout, Stored]:
    """Return the rollout and its plan. Raises StateError where it has ended, or goes by another clock."""
    with database() as conn:
        found = _real(conn, ref) if clock_name == "wall" else rollouts.find(conn, ref)
        watch.require_clock(found, clock_name)
        now_of(conn, found)
        if found.phase not in OPEN:
            raise StateError(
                f"{found.rollout_id} is {found.phase.replace('_', ' ')}: there is nothing to watch",
                hint=f"bakeoff canary history {found.rollout_id}",
            )
        return found, plans.find(conn, found.plan_sha256)


def ended_code(found: Rollout) -> int:
    """Return the exit code of a watch: 0 completed, 1 the candidate did not get through, 3 not known yet."""
    if found.state.phase in OPEN:
        return 3
    return 0 if found.state.phase is Phase.COMPLETED else 1
