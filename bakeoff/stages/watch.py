"""Stay with a rollout until it ends: by the wall clock, or in minutes by a simulated one.

Callers may rely on: killed anywhere and begun again, it goes on where it was; of several one is at work and the others
stand by, to take over within seconds; a lost database is waited for; what others do is heard of when it commits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from bakeoff import canary, simulation
from bakeoff.adapters import live_outcomes, plans, postgres, queries, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import DatabaseError, StateError
from bakeoff.rollout import OPEN, Phase, Reason
from bakeoff.simulation import Fault, Pool
from bakeoff.stages import advance, holding, notices, recheck, simulate
from bakeoff.stages.advance import Ticked

T = TypeVar("T")
Tell = Callable[[str], None]
Sleep = Callable[[float], None]
_SHORTEST_WAIT_S = 0.2
LONGEST_WAIT_S = 30.0
"""A clock that jumps, and a window that opens, are seen after so long at the latest."""
STANDBY_S = 2.0
"""How often a controller that stands by tries to take over."""
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
_LONGEST_START_S = 300.0
_REFUSALS = 5
_PATIENCE = 10.0
"""Times the hours of its steps that a simulated rollout is watched; one that is held up may never end."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a controller does beside moving the rollout."""

    after: Callable[[], None] = lambda: None
    """Outside effects, after what was done has committed."""
    options: recheck.Options | None = field(default_factory=recheck.Options)
    """None: the offline KPIs are not measured anew."""


@dataclass(frozen=True, slots=True)
class _Watch:
    """A controller at work: how it reaches the database, who is told, how it waits."""

    connect: Connect
    tell: Tell
    sleep: Sleep
    around: Around


def _surviving(watch: _Watch, turn: Callable[[Connection], Ticked | None]) -> Ticked:
    """Take turns, each on a connection that lives as long as it can, until one says that it is over.

    A database that is away is waited for; one that refuses what it is asked gets a few chances.
    """
    delay, refused = _FIRST_RETRY_S, 0
    while True:
        try:
            with watch.connect() as conn:
                while (done := turn(conn)) is None:
                    delay, refused = _FIRST_RETRY_S, 0
                return done
        except DatabaseError as error:
            refused += not postgres.lost(error)
            if refused >= _REFUSALS:
                raise
            watch.tell(f"{error}; again in {delay:g} s")
        watch.sleep(delay)
        delay = min(2 * delay, _LAST_RETRY_S)


class _Narrator:
    """Tells what happened to a rollout since it was last asked, whoever did it."""

    def __init__(self, tell: Tell, found: Rollout) -> None:
        self._tell, self._seen = tell, found.version
        self._holds: Reason | None = None

    def __call__(self, conn: Connection, found: Rollout) -> None:
        """Tell what is new."""
        if found.version == self._seen:
            return
        for item in rollouts.history(conn, found.rollout_id):
            if item.version > self._seen:
                self._tell(f"{item.at:%Y-%m-%d %H:%M} {item.event}: {item.body['said']}")
        self._seen = found.version

    def held(self, conn: Connection, found: Rollout, now: datetime) -> None:
        """Tell what holds the rollout at *now*, once while it does; that a step's hours are not over is no news."""
        strategy, stopped = plans.find(conn, found.plan_sha256).plan.rollout, advance.killed(conn, found)
        held = holding.held(strategy, found.state, now) if stopped is None else (Reason.KILLED, stopped)
        reason = None if held is None or held[0] is Reason.NOT_DUE else held[0]
        if held is not None and reason is not None and reason is not self._holds:
            self._tell(f"held: {held[1]}")
        self._holds = reason


# --- The wall clock -------------------------------------------------------------------------------------------------


def run(connect: Connect, ref: str, *, tell: Tell, sleep: Sleep = time.sleep, around: Around | None = None) -> Ticked:
    """Stay with the rollout *ref* until it ends; only the controller that holds the lock on it moves anything.

    Raises StateError where its clock is a simulated one.
    """
    found = waited(lambda: _found(connect, ref), tell=tell, sleep=sleep)
    require_clock(found, "wall")
    watch = _Watch(connect, tell, sleep, around or Around())
    told = _Narrator(tell, found)
    standing_by = False

    def turn(conn: Connection) -> Ticked | None:
        nonlocal standing_by
        conn.execute(queries.get("server.listen"))
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(postgres.try_lock(conn, f"watch {found.rollout_id}", busy="another one has it"))
            except StateError:
                if not standing_by:
                    watch.tell(f"another controller is at work on {found.rollout_id}: standing by")
                standing_by = True
            else:
                standing_by = False
                return _at_work(watch, conn, found.rollout_id, told)
        return _beside(conn, found.rollout_id, told)

    return _surviving(watch, turn)


def _found(connect: Connect, ref: str) -> Rollout:
    with connect() as conn:
        return rollouts.find(conn, ref)


def waited(begin: Callable[[], T], *, tell: Tell, sleep: Sleep = time.sleep) -> T:
    """Return what *begin* returns, as soon as there is a database to ask: a controller may be started before it.

    Raises DatabaseError where it is away for about five minutes: then nothing was ever at work, and somebody may have
    given a wrong address.
    """
    delay, spent = _FIRST_RETRY_S, 0.0
    while True:
        try:
            return begin()
        except DatabaseError as error:
            if not postgres.lost(error) or spent >= _LONGEST_START_S:
                raise
            tell(f"{error}; again in {delay:g} s")
        sleep(delay)
        delay, spent = min(2 * delay, _LAST_RETRY_S), spent + delay


def _at_work(watch: _Watch, conn: Connection, rollout_id: str, told: _Narrator) -> Ticked:
    """Tick until the rollout has ended."""
    while True:
        now = partial(rollouts.server_time, conn)
        done = advance.tick_on(conn, watch.connect, rollout_id, now=now, options=watch.around.options)
        told(conn, done.rollout)
        told.held(conn, done.rollout, now())
        if notices.remember_held(conn, done.rollout, done.held, at=now()):
            watch.tell(f"step {done.rollout.state.step} is held far beyond its hours: {done.held}")
        watch.around.after()
        if done.next_at is None:
            return done
        left = (done.next_at - now()).total_seconds()
        heard(conn, min(max(left, _SHORTEST_WAIT_S), LONGEST_WAIT_S))


def _beside(conn: Connection, rollout_id: str, told: _Narrator) -> Ticked | None:
    """Tell what the other controller does, and wait a little; return the last state once the rollout has ended."""
    found = rollouts.find(conn, rollout_id)
    told(conn, found)
    if found.state.phase not in OPEN:
        return Ticked(found, (), None, None)
    heard(conn, STANDBY_S)
    return None


def heard(conn: Connection, seconds: float) -> None:
    """Wait until somebody moves a rollout or throws a switch, at most *seconds*."""
    for _ in conn.notifies(timeout=seconds, stop_after=1):
        pass


def require_clock(found: Rollout, clock: str) -> None:
    """Raise StateError where the rollout goes by another clock than *clock*."""
    if found.clock != clock:
        other = "bakeoff canary watch" + (" --clock simulated" if found.clock == "simulated" else "")
        raise StateError(f"{found.rollout_id} goes by the {found.clock} clock, not the {clock} one", hint=other)


# --- The simulated clock --------------------------------------------------------------------------------------------


def simulated(
    connect: Connect,
    ref: str,
    *,
    tell: Tell,
    sleep: Sleep = time.sleep,
    fault: Fault | None = None,
    pace_s: float = 0.0,
    around: Around | None = None,
) -> Ticked:
    """Drive the rollout *ref* by a simulated clock, on traffic drawn from what was recorded, until it ends or is held.

    Begun again after a kill it makes the same history: traffic is drawn by the hours since the last event, under
    names of its own. *pace_s* seconds go by between two turns, for people who look on. Raises StateError where the
    rollout goes by the wall clock, NotKnownError where nothing was recorded.
    """
    with connect() as conn:
        found = rollouts.find(conn, ref)
        require_clock(found, "simulated")
        stored = plans.find(conn, found.plan_sha256)
        pools = simulate.pools_of(conn, stored)
    watch = _Watch(connect, tell, sleep, around or Around())
    told = _Narrator(tell, found)

    def turn(conn: Connection) -> Ticked | None:
        done = _settled(watch, conn, found.rollout_id)
        if done is None:
            done = _hour(watch, conn, found.rollout_id, stored, (pools, fault))
        told(conn, done.rollout)
        watch.around.after()
        if done.ended or stuck(stored, done) is not None:
            return done
        if pace_s:
            sleep(pace_s)
        return None

    return _surviving(watch, turn)


def _settled(watch: _Watch, conn: Connection, rollout_id: str) -> Ticked | None:
    """Finish the instant at which a controller may have been killed, before time goes on; None: nothing was left."""
    found = rollouts.find(conn, rollout_id)
    if found.state.phase is not Phase.RUNNING:
        return Ticked(found, (), found.state.phase.value, None)
    now, options = found.state.last_at, watch.around.options
    done = advance.tick_on(conn, watch.connect, rollout_id, now=lambda: now, options=options)
    return done if done.events else None


def _hour(
    watch: _Watch, conn: Connection, rollout_id: str, stored: Stored, drawn: tuple[tuple[Pool, Pool], Fault | None]
) -> Ticked:
    """Let the time pass until the next look: draw the traffic of these hours, then tick."""
    found = rollouts.find(conn, rollout_id)
    if found.state.phase is not Phase.RUNNING:
        return Ticked(found, (), found.state.phase.value, None)
    now = next_instant(stored, found)
    arrived = simulation.outcomes(
        drawn[0],
        salt=found.salt,
        weight_bp=found.state.weight_bp,
        since=found.state.last_at,
        until=now,
        traffic_per_hour=stored.plan.traffic_per_hour,
        seed=stored.plan.seed,
        fault=drawn[1],
        started_at=found.started_at,
    )
    live_outcomes.add(conn, rollout_id, ((found.state.step, outcome) for outcome in arrived))
    return advance.tick_on(conn, watch.connect, rollout_id, now=lambda: now, options=watch.around.options)


def next_instant(stored: Stored, found: Rollout) -> datetime:
    """Return the next whole second at which something is due; time always goes on."""
    due = canary.look_due_at(stored.plan.rollout, found.state)
    whole = due.replace(microsecond=0) + timedelta(seconds=1 if due.microsecond else 0)
    return max(whole, found.state.last_at + timedelta(seconds=1))


def stuck(stored: Stored, done: Ticked) -> str | None:
    """Return why a simulated rollout that has not ended goes no further by itself; None where it does."""
    state, strategy = done.rollout.state, stored.plan.rollout
    if done.ended:
        return None
    if state.phase is Phase.PAUSED:
        return "it is paused"
    held = canary.hold(strategy, state, state.last_at)
    if held is not None and held[0] is Reason.NOT_APPROVED:
        return held[1]
    if state.last_at - state.started_at > timedelta(hours=_PATIENCE * strategy.hours):
        return f"it is held up since {_PATIENCE * strategy.hours:g} hours" + (f": {held[1]}" if held else "")
    return None
