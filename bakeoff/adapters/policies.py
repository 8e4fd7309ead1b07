"""What routes, from the database: now, at any past instant, and what people said about it beside the rollouts.

Callers may rely on: `at` reads the histories alone, which only grow, so what it says of an instant stays; it goes by
when a move was written, to the fraction of a second, not by when it was decided on; a forced unit and the kill switch
hold until they are taken back, over rollouts; a rollout that has ended and whose lock somebody replaced in production
since routes no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from psycopg import rows

from bakeoff.adapters import queries, rollouts
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import InputError, IntegrityError, NotFoundError
from bakeoff.rollout import OPEN, Phase
from bakeoff.routing import Arm, Policy

Event = Literal["killed", "unkilled", "forced", "unforced", "shadow_on", "shadow_off"]
_LONGEST = 200
_UNSAID = frozenset({"unkilled", "shadow_on"})
"""What holds as long as nothing was said."""


@dataclass(frozen=True, slots=True)
class Said:
    """The last word on something: on the kill switch, on the unit that is its `value`, or on shadow."""

    event: Event
    value: str
    arm: str | None
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One state of a rollout, and from when on it held: of a wall clock, from when routers could hear of it."""

    since: datetime
    step: int
    phase: str


def current(conn: Connection, *, environment: str = "") -> Policy | None:
    """Return what routes now, or None where there is no rollout; *environment* is BAKEOFF_RAG of this process."""
    return _policy(conn, "routing.current", None, environment)


def at(conn: Connection, instant: datetime) -> Policy | None:
    """Return what routed at *instant* (aware), or None where there was no rollout any more.

    No process's BAKEOFF_RAG is in it. Raises InputError before the first rollout, and in the future.
    """
    row = conn.execute(queries.get("routing.span")).fetchone()
    if row is None or row[0] is None:
        raise NotFoundError("there is no rollout yet", hint="bakeoff canary start --plan PLAN begins one")
    first, last = row
    if instant < first:
        raise InputError(
            f"{instant.isoformat()} is before the first rollout, which began at {first.astimezone(UTC).isoformat()}",
            hint="give a later time: before it, what was in production answered",
        )
    if instant > last:
        raise InputError(f"{instant.isoformat()} is in the future", hint="leave --at out for the decision now")
    return _policy(conn, "routing.at", instant, "")


def at_of(conn: Connection, ref: str, instant: datetime) -> Policy:
    """Return what the rollout *ref* asked of routers at *instant* (aware) of its own clock, whatever else there was.

    What people said beside it holds by the wall clock: it is in it of a rollout that went by that clock alone. Raises
    InputError before the rollout began, and after the last that is known of it.
    """
    found = rollouts.find(conn, ref)
    known = found.updated_at if found.clock == "simulated" else max(rollouts.server_time(conn), found.updated_at)
    if not found.started_at <= instant <= known:
        began, last = (each.isoformat() for each in (found.started_at, known))
        raise InputError(
            f"{found.rollout_id} is known from {began} to {last}, not at {instant.isoformat()}",
            hint="give a time of the rollout's own clock; bakeoff canary history shows its instants",
        )
    values = {"rollout_id": found.rollout_id, "instant": instant}
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        row = cursor.execute(queries.get("routing.at_of"), values).fetchone()
    if row is None:
        raise IntegrityError(f"{found.rollout_id} has no history", hint="its rows were changed by hand")
    return _of(row, said(conn, instant) if found.clock == "wall" else [], "")


def moments(conn: Connection, rollout_id: str) -> list[Moment]:
    """Return the states of a rollout in order, by the rollout's own clock; no one is later than the next."""
    with conn.cursor(row_factory=rows.class_row(Moment)) as cursor:
        return cursor.execute(queries.get("routing.moments"), {"rollout_id": rollout_id}).fetchall()


def _policy(conn: Connection, query: str, instant: datetime | None, environment: str) -> Policy | None:
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        row = cursor.execute(queries.get(query), {} if instant is None else {"instant": instant}).fetchone()
    if row is None or _is_history(row):
        return None
    return _of(row, said(conn, instant), environment)


def _of(row: dict[str, Any], words: list[Said], environment: str) -> Policy:
    return Policy(
        rollout_id=row["rollout_id"],
        version=row["version"],
        salt=row["salt"],
        weight_bp=row["weight_bp"],
        baseline=row["baseline"],
        candidate=row["candidate"],
        halted=row["phase"] in (Phase.ROLLED_BACK, Phase.ABORTED),
        completed=row["phase"] == Phase.COMPLETED,
        killed=any(word.event == "killed" for word in words),
        forced={word.value: Arm(word.arm) for word in words if word.arm is not None},
        shadow=not any(word.event == "shadow_off" for word in words),
        environment=environment,
    )


def _is_history(row: dict[str, Any]) -> bool:
    """Return whether the rollout is over and production has moved on to a lock that it did not leave there."""
    left = row["candidate"] if row["phase"] == Phase.COMPLETED else row["baseline"]
    return row["phase"] not in OPEN and row["production"] != left


def said(conn: Connection, instant: datetime | None = None) -> list[Said]:
    """Return the last word on everything that was said about routing, until *instant* or of all time."""
    with conn.cursor(row_factory=rows.class_row(Said)) as cursor:
        return cursor.execute(queries.get("routing.said"), {"instant": instant}).fetchall()


def killed(conn: Connection) -> Said | None:
    """Return who threw the kill switch and why, or None while it is off."""
    return next((word for word in said(conn) if word.event == "killed"), None)


def say(conn: Connection, event: Event, *, by: str, reason: str, unit: str = "", arm: Arm | None = None) -> bool:
    """Append *event* at the database's time; return whether it changes anything: what holds is not said again.

    Raises InputError for a unit that is none, NotFoundError where a unit that is not forced is to be taken back.
    """
    if event in ("forced", "unforced"):
        check_unit(unit)
    held = _about(conn, event, unit)
    if event == "unforced" and (held is None or held.event == "unforced"):
        raise NotFoundError(f"{unit!r} is not forced to an arm", hint="bakeoff route show lists the units that are")
    wanted = (event, None if arm is None else arm.value)
    if wanted == ((held.event, held.arm) if held is not None else (event if event in _UNSAID else "", None)):
        return False
    values = {"event": event, "value": unit, "arm": wanted[1], "by": by, "reason": reason}
    conn.execute(queries.get("routing.say"), {"at": rollouts.server_time(conn), **values})
    return True


_TOPICS = ({"killed", "unkilled"}, {"forced", "unforced"}, {"shadow_on", "shadow_off"})


def _about(conn: Connection, event: Event, unit: str) -> Said | None:
    (topic,) = [each for each in _TOPICS if event in each]
    return next((word for word in said(conn) if word.event in topic and word.value == unit), None)


def check_unit(unit: str) -> None:
    """Raise InputError where *unit* can't be forced: blank, too long, or no text."""
    if not unit.strip():
        raise InputError("the unit is blank", hint="give a client id, or a request id")
    if len(unit) > _LONGEST:
        raise InputError(f"the unit has {len(unit)} characters, more than {_LONGEST}", hint="give the id itself")
    try:
        unit.encode()
    except UnicodeEncodeError as error:
        raise InputError("the unit is not UTF-8", hint="give the id as services send it") from error
