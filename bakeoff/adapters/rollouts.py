"""Rollouts in the database: one row each, moved by compare-and-set, with a history that only grows.

Callers may rely on: a move and its event are one transaction, with what it does to the locks in production; of many who
move the same version one wins, the others get a ConflictError and nothing of theirs is stored; a rollback is one
statement that asks for no version; routers that listen hear of every move when it commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from psycopg import errors as pg
from psycopg import rows
from psycopg.types.json import Jsonb

from bakeoff import canary, rollout
from bakeoff.adapters import locks, queries
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import ConflictError, DatabaseError, IntegrityError, NotFoundError, StateError
from bakeoff.rollout import Effect, Event, Outcome, State
from bakeoff.strategy import Strategy

if TYPE_CHECKING:  # what a plan is made of takes longer to import than a rollback takes
    from bakeoff.adapters.plans import Stored

Clock = Literal["wall", "simulated"]
NEWEST = "latest"
TOLD = ("moved", "held")
"""Kinds of notices that a receiver gets."""
NEWS_HOURS = 24.0
"""After so long nobody is told for the first time: a receiver that was set today hears nothing of last month."""
TOO_OLD = f"older than {NEWS_HOURS:g} hours, not sent"
_NAMED = 5
"""Rollouts that are named where an unknown one was asked for."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as it was read: its version is what a move has to find unchanged."""

    rollout_id: str
    plan_sha256: str
    baseline: str
    """CONFIG_HASH, as `candidate`."""
    candidate: str
    salt: str
    clock: Clock
    version: int
    phase: str
    weight_bp: int
    state: State
    started_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event of the history."""

    event_id: int
    rollout_id: str
    version: int
    at: datetime
    recorded_at: datetime
    """When the database wrote it, by its own clock; `at` is that of the rollout."""
    event: str
    body: dict[str, Any]
    """`event` as it came, the `state` that it made, `reason`, `said`."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be told (`moved`, `held`) or done (`verify`) outside."""

    notice_id: int
    rollout_id: str
    version: int
    kind: str
    body: dict[str, Any]
    made_at: datetime
    sent_at: datetime | None
    attempts: int
    last_error: str


def server_time(conn: Connection) -> datetime:
    """Return the database's clock, UTC, to the second: the one that all controllers share."""
    row = conn.execute(queries.get("rollouts.server_time")).fetchone()
    if row is None:
        raise DatabaseError("the database did not say what time it is")
    return _utc(row[0])


def start(conn: Connection, stored: Stored, event: rollout.Start, *, clock: Clock, at: datetime) -> Rollout:
    """Begin a rollout of the plan *stored* at *at*.

    Raises StateError where another one is on its way, or where the plan's baseline is not in production.
    """
    outcome = canary.step(stored.plan.rollout, None, event, at)
    try:
        with conn.transaction():
            locks.serialise(conn)
            check_locks(conn, stored)
            rollout_id = _next_id(conn, at)
            values = {
                "rollout_id": rollout_id,
                "plan_sha256": stored.plan_sha256,
                "baseline": stored.plan.baseline.config_hash,
                "candidate": stored.plan.candidate.config_hash,
                "salt": f"{rollout_id}.{stored.plan_sha256[:12]}",
                "clock": clock,
                "at": at,
                **_columns(outcome.state),
            }
            conn.execute(queries.get("rollouts.insert"), values)
            _record(conn, rollout_id, 1, event, outcome, at)
    except pg.UniqueViolation as error:
        found = current(conn)
        which = found.rollout_id if found is not None else "another one"
        raise StateError(
            f"{which} is on its way: one rollout at a time", hint="bakeoff canary status; then finish, abort or wait"
        ) from error
    return find(conn, rollout_id)


def check_locks(conn: Connection, stored: Stored) -> None:
    """Raise StateError where a lock of *stored* was archived, or its baseline is not in production."""
    sides = {side: locks.find(conn, getattr(stored.plan, side).config_hash) for side in ("baseline", "candidate")}
    for side, lock in sides.items():
        if locks.is_archived(conn, lock):
            raise StateError(
                f"the plan's {side} {lock.name} ({lock.config_hash}) was archived",
                hint=f"bakeoff locks archive --restore {lock.config_hash}, or plan with another lock",
            )
    found = locks.active(conn)
    if found is None or found[0].config_hash != sides["baseline"].config_hash:
        instead = "no lock is" if found is None else f"{found[0].name} ({found[0].config_hash}) is"
        raise StateError(
            f"{instead} in production, the plan's baseline is {sides['baseline'].name} "
            f"({sides['baseline'].config_hash})",
            hint=f"bakeoff locks activate {sides['baseline'].config_hash}, or plan against what is in production",
        )


def _next_id(conn: Connection, at: datetime) -> str:
    day = f"{at:%Y%m%d}"
    given = conn.execute(queries.get("rollouts.ids_of_day"), {"day": day}).fetchall()
    return f"r{day}-{1 + max((int(name.rsplit('-', 1)[1]) for (name,) in given), default=0)}"


def _columns(state: State) -> dict[str, Any]:
    return {"phase": state.phase.value, "weight_bp": state.weight_bp, "state": Jsonb(state.body())}


def _record(conn: Connection, rollout_id: str, version: int, event: Event, outcome: Outcome, at: datetime) -> None:
    said = {"reason": outcome.reason.value, "said": outcome.said}
    body = {"event": rollout.body_of(event), "state": outcome.state.body(), **said}
    values = {"rollout_id": rollout_id, "version": version, "at": at}
    conn.execute(queries.get("rollouts.add_event"), {**values, "event": event.kind, "body": Jsonb(body)})
    for effect, kind in ((Effect.TELL, "moved"), (Effect.VERIFY, "verify")):
        if effect in outcome.effects:
            told = Jsonb({"event": event.kind, **said})
            conn.execute(queries.get("rollouts.add_notice"), {**values, "kind": kind, "body": told})


def move(conn: Connection, found: Rollout, event: Event, outcome: Outcome, *, at: datetime) -> Rollout:
    """Make *outcome*, what followed from *event* on *found*, true.

    Raises ConflictError where somebody moved the rollout since it was read, StateError where it completes on other
    locks than it began with. Nothing is stored then.
    """
    changes_locks = {Effect.ACTIVATE_CANDIDATE, Effect.REACTIVATE_BASELINE} & set(outcome.effects)
    with conn.transaction():
        if changes_locks:
            locks.serialise(conn)
        values = {"rollout_id": found.rollout_id, "version": found.version, "at": at, **_columns(outcome.state)}
        row = conn.execute(queries.get("rollouts.move"), values).fetchone()
        if row is None:
            raise ConflictError(
                f"{found.rollout_id} was moved by somebody else since it was read (version {found.version})",
                hint="bakeoff canary status, then decide again",
            )
        # The locks first: a replay of an instant between the two writes finds an open step, no end without its lock.
        _change_locks(conn, found, outcome, at)
        _record(conn, found.rollout_id, row[0], event, outcome, at)
    return find(conn, found.rollout_id)


def _change_locks(conn: Connection, found: Rollout, outcome: Outcome, at: datetime) -> None:
    if found.clock == "simulated":
        return  # a rehearsal changes nothing in production
    baseline, candidate = locks.find(conn, found.baseline), locks.find(conn, found.candidate)
    if Effect.ACTIVATE_CANDIDATE in outcome.effects:
        _check_unchanged(conn, found, baseline, candidate)
        locks.add_event(conn, candidate, "activated", at=at, reason=f"{found.rollout_id} completed")
    if Effect.ARCHIVE_BASELINE in outcome.effects and baseline.config_hash != candidate.config_hash:
        locks.add_event(conn, baseline, "archived", at=at, reason=f"{found.rollout_id} completed")


def _check_unchanged(conn: Connection, found: Rollout, baseline: Lock, candidate: Lock) -> None:
    """Raise StateError where production changed under the rollout: its candidate is no answer to what is there now."""
    hint = f"bakeoff canary rollback {found.rollout_id} --reason TEXT, then plan against what is in production"
    if locks.is_archived(conn, candidate):
        raise StateError(
            f"{found.rollout_id} can't complete: its candidate {candidate.name} ({candidate.config_hash}) was archived",
            hint=hint,
        )
    if locks.active_since(conn, baseline) is None:
        raise StateError(
            f"{found.rollout_id} can't complete: its baseline {baseline.name} ({baseline.config_hash}) is not in "
            f"production any more",
            hint=hint,
        )


def roll_back(
    conn: Connection, rollout_id: str, event: rollout.Rollback, *, at: datetime | None = None
) -> tuple[Rollout, bool]:
    """Send all traffic back to the baseline, whatever the phase; return the rollout and whether anything moved.

    Without *at* it is of the instant at which nobody has to be waited for any more, by the server's clock. Raises
    StateError, and leaves everything as it is, where this one completed and production went on since: another
    rollout is on its way or was completed, or a third lock was activated by hand.
    """
    found = find(conn, rollout_id)
    values = {"rollout_id": rollout_id, "why": event.why, "by": event.by, "at": at}
    try:
        conn.execute(queries.get("rollouts.roll_back"), values)
    except pg.RaiseException as error:
        raise StateError(str(error.diag.message_primary), hint=error.diag.message_hint) from error
    after = find(conn, rollout_id)
    return after, after.version > found.version


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def _rollout(row: dict[str, Any]) -> Rollout:
    state = rollout.state_of(row["state"])
    if (state.phase, state.weight_bp) != (row["phase"], row["weight_bp"]):
        raise IntegrityError(
            f"{row['rollout_id']}: its columns and its state differ", hint="its row was changed by hand"
        )
    times = {name: _utc(row[name]) for name in ("started_at", "updated_at")}
    return Rollout(**{**row, **times, "state": state})


def _all(conn: Connection, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        return cursor.execute(queries.get(query), values).fetchall()


def find(conn: Connection, ref: str = NEWEST) -> Rollout:
    """Return the rollout that *ref* means: its id, or of a plan, or of all for `latest`, the open or the newest one.

    Raises NotFoundError with those that there are.
    """
    found = _all(conn, "rollouts.matching", {"ref": "" if ref == NEWEST else ref})
    if not found:
        there = [] if ref == NEWEST else [row["rollout_id"] for row in _all(conn, "rollouts.matching", {"ref": ""})]
        what = "there is no rollout yet" if ref == NEWEST else f"no rollout {ref!r}"
        named = f"there are {', '.join(there[:_NAMED])}" + (" and older ones" if len(there) > _NAMED else "")
        raise NotFoundError(what, hint=named if there else "bakeoff canary start --plan PLAN begins one")
    return _rollout(found[0])


def with_traffic(conn: Connection, ref: str = NEWEST) -> Rollout:
    """Return the rollout with real traffic that *ref* means: the one that routes, or routed last; any by its id.

    Raises NotFoundError where there are rehearsals alone, or nothing.
    """
    found = _all(conn, "rollouts.with_traffic", {"ref": "" if ref == NEWEST else ref})
    if not found:
        other = find(conn, ref).rollout_id
        raise NotFoundError(
            "there is no rollout with real traffic" + ("" if ref == NEWEST else f" of plan {ref!r}"),
            hint=f"{other} is a rehearsal, which its id alone means",
        )
    return _rollout(found[0])


def brought(conn: Connection) -> tuple[str, str, str] | None:
    """Return the completed rollout whose candidate is in production now: its id, that lock's name and CONFIG_HASH."""
    row = conn.execute(queries.get("rollouts.brought")).fetchone()
    return None if row is None else (str(row[0]), str(row[1]), str(row[2]))


def current(conn: Connection) -> Rollout | None:
    """Return the rollout whose traffic is on its way, or None."""
    found = _all(conn, "rollouts.open", {})
    return _rollout(found[0]) if found else None


def listing(conn: Connection) -> list[Rollout]:
    """Return every rollout, the open one first, then newest first."""
    return [_rollout(row) for row in _all(conn, "rollouts.matching", {"ref": ""})]


def history(conn: Connection, rollout_id: str) -> list[Recorded]:
    """Return everything that moved a rollout, oldest first."""
    found = _all(conn, "rollouts.events", {"rollout_id": rollout_id})
    return [Recorded(**{**row, **{name: _utc(row[name]) for name in ("at", "recorded_at")}}) for row in found]


def check_history(conn: Connection, found: Rollout, strategy: Strategy) -> None:
    """Raise IntegrityError, naming the first version that differs, unless the history makes the stored state."""
    state: State | None = None
    for expected, recorded in enumerate(history(conn, found.rollout_id), start=1):
        outcome = canary.step(strategy, state, rollout.event_of(recorded.body["event"]), recorded.at)
        state = outcome.state
        if recorded.version != expected or not outcome.accepted or state.body() != recorded.body["state"]:
            raise IntegrityError(
                f"{found.rollout_id}: version {recorded.version} ({recorded.event}) does not follow from its history",
                hint="its rows were changed by hand: roll back, and start again",
            )
    if state != found.state:
        raise IntegrityError(
            f"{found.rollout_id}: its state is not what its history makes", hint="its row was changed by hand"
        )


def add_held(conn: Connection, found: Rollout, said: str, *, at: datetime) -> bool:
    """Remember that the running step is held up, to be told; return False where that is remembered already."""
    body = {"event": "held", "reason": "held", "said": said, "step": found.state.step}
    values = {"rollout_id": found.rollout_id, "version": found.version, "body": Jsonb(body), "at": at}
    return conn.execute(queries.get("rollouts.add_held"), values).rowcount == 1


def unsent(conn: Connection, *kinds: str, limit: int, hours: float | None = None) -> list[Notice]:
    """Return what is still to be told or done, locked until the transaction ends, the open and newest rollout first.

    *limit* attempts are enough; what was never tried and was written more than *hours* ago is left out.
    """
    values = {"kinds": list(kinds), "limit": limit, "hours": hours}
    return [Notice(**row) for row in _all(conn, "rollouts.unsent", values)]


def leave_old(conn: Connection) -> int:
    """Mark what nobody was told of while it was news as `TOO_OLD`; return how many were not marked before."""
    values = {"kinds": list(TOLD), "hours": NEWS_HOURS, "error": TOO_OLD}
    return conn.execute(queries.get("rollouts.leave_old"), values).rowcount


def last_error(conn: Connection) -> str | None:
    """Return what the receiver said to the newest notice that it did not take; None where it took every one."""
    row = conn.execute(queries.get("rollouts.last_error")).fetchone()
    return None if row is None else str(row[0])


def notices(conn: Connection, rollout_id: str) -> list[Notice]:
    """Return everything that was or is to be told of a rollout, oldest first."""
    return [Notice(**row) for row in _all(conn, "rollouts.notices", {"rollout_id": rollout_id})]


def ticked_off(conn: Connection, notice: Notice, *, at: datetime) -> None:
    """Remember that *notice* was delivered."""
    conn.execute(queries.get("rollouts.sent"), {"notice_id": notice.notice_id, "at": at})


def failed(conn: Connection, notice: Notice, *, error: str) -> None:
    """Remember why *notice* could not be delivered this time."""
    conn.execute(queries.get("rollouts.not_sent"), {"notice_id": notice.notice_id, "error": error})
