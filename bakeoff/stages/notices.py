"""What follows a move outside: tell the receiver, and check that a rollback did what it says.

Callers may rely on: nothing here delays or undoes a move, which has committed before; what was not taken is remembered
with its error and tried again by the next command, some times; what was never tried and is older than a day is no news,
and stays unsent; of two controllers one sends a notice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bakeoff.adapters import plans, rollouts, webhooks
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.records import Record
from bakeoff.adapters.rollouts import Notice, Rollout
from bakeoff.adapters.webhooks import Receiver, RefusedError
from bakeoff.errors import BakeoffError, OutsideError
from bakeoff.stages import holding, recheck, rollback_check


@dataclass(frozen=True, slots=True)
class Settled:
    """What was told and done, and the first thing that could not be."""

    sent: int = 0
    checks: tuple[Record, ...] = ()
    error: str | None = None
    left: int = 0
    """Notices that are not sent any more: they were too old when there was a receiver."""


def remember_held(conn: Connection, found: Rollout, held: str | None, *, at: datetime) -> bool:
    """Make one notice of a step that is *held* far beyond its hours at *at*; return whether it was made now.

    A simulated rollout has nobody to wait for.
    """
    if held is None or found.clock == "simulated":
        return False
    beyond = holding.overdue(plans.find(conn, found.plan_sha256).plan.rollout, found.state, at)
    if beyond is None:
        return False
    said = f"step {found.state.step} is held {beyond / timedelta(hours=1):.1f} hours beyond its hours: {held}"
    return rollouts.add_held(conn, found, said, at=at)


def settle(
    connect: Connect, receiver: Receiver | None, *, clock: Callable[[], datetime], options: recheck.Options
) -> Settled:
    """Check the rollbacks that were not checked yet, then tell *receiver*, if there is one, what it does not know."""
    with connect() as conn:
        checks, error = _checked(conn, connect, clock, options)
        sent = left = 0
        if receiver is not None:
            left = rollouts.leave_old(conn)
            sent, failed = _told(conn, receiver, clock)
            error = error or failed
    return Settled(sent, checks, error, left)


def _checked(
    conn: Connection, connect: Connect, clock: Callable[[], datetime], options: recheck.Options
) -> tuple[tuple[Record, ...], str | None]:
    made: list[Record] = []
    error = None
    with conn.transaction():
        for notice in rollouts.unsent(conn, "verify", limit=webhooks.ATTEMPTS):
            try:
                found = rollouts.find(conn, notice.rollout_id)
                made.append(rollback_check.run(connect, found, now=clock(), options=options))
                rollouts.ticked_off(conn, notice, at=clock())
            except BakeoffError as failure:
                error = error or f"{notice.rollout_id}: its rollback could not be checked: {failure}"
                rollouts.failed(conn, notice, error=str(failure))
    return tuple(made), error


def _told(conn: Connection, receiver: Receiver, clock: Callable[[], datetime]) -> tuple[int, str | None]:
    """Send what is unsent, the newest rollout first; what a silent receiver does not take is the last tried."""
    sent, error = 0, None
    with conn.transaction():
        for notice in rollouts.unsent(conn, *rollouts.TOLD, limit=webhooks.ATTEMPTS, hours=rollouts.NEWS_HOURS):
            try:
                webhooks.send(receiver, message(conn, notice), key=key(notice), at=clock())
            except OutsideError as failure:
                rollouts.failed(conn, notice, error=str(failure))
                error = error or str(failure)
                if not isinstance(failure, RefusedError):
                    break
            else:
                rollouts.ticked_off(conn, notice, at=clock())
                sent += 1
    return sent, error


def key(notice: Notice) -> str:
    """Return what a receiver knows a notice by that it got twice."""
    return f"{notice.rollout_id}:{notice.version}" + (f":{notice.kind}" if notice.kind != "moved" else "")


def message(conn: Connection, notice: Notice) -> dict[str, Any]:
    """Return what a receiver is told."""
    found = rollouts.find(conn, notice.rollout_id)
    fixed = plans.find(conn, found.plan_sha256).plan
    (state,) = (
        item.body["state"] for item in rollouts.history(conn, notice.rollout_id) if item.version == notice.version
    )
    return {
        "rollout": notice.rollout_id,
        "version": notice.version,
        "at": notice.made_at.isoformat(),
        **notice.body,
        "phase": state["phase"],
        "step": state["step"],
        "weight_bp": state["weight_bp"],
        "plan_sha256": found.plan_sha256,
        "baseline": {"name": fixed.baseline.name, "CONFIG_HASH": found.baseline},
        "candidate": {"name": fixed.candidate.name, "CONFIG_HASH": found.candidate},
        "simulated": found.clock == "simulated",
    }
