"""Plans in the database: stored once under the digest of their body, never changed.

Callers may rely on: a plan that comes back has the body that was stored (digest checked); a listing names a damaged
plan and takes no other plan with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb
from pydantic import ValidationError

from bakeoff import canonical
from bakeoff.adapters import queries
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import IntegrityError, NotFoundError, StateError
from bakeoff.plan import Plan

NEWEST = "latest"
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """A plan, its digest and when it was made."""

    plan_sha256: str
    created_at: datetime
    plan: Plan


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that is no longer the plan that was stored: its id, when it was made, and what is wrong."""

    plan_sha256: str
    created_at: datetime
    problem: IntegrityError


def _stored(row: tuple[str, datetime, Any]) -> Stored:
    digest, created_at, body = row
    if canonical.digest(body) != digest:
        raise IntegrityError(
            f"plan {digest[:16]} in the database is not the one that was stored",
            hint="bakeoff plan … --seed N makes another plan; the changed row of bakeoff.plans can't be relied on",
        )
    try:
        return Stored(digest, created_at, Plan.stored(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the plan"
        raise IntegrityError(
            f"plan {digest[:16]} was stored by another version, this one can't read it: {where}: {first['msg']}",
            hint="use the version of bakeoff that made it, or plan anew: bakeoff plan … --seed N",
        ) from error


def insert(conn: Connection, plan: Plan, *, at: datetime) -> Stored:
    """Store *plan* and return it; an equal one that is there already is returned as it is."""
    values = {
        "plan_sha256": plan.digest,
        "baseline": plan.baseline.config_hash,
        "candidate": plan.candidate.config_hash,
        "created_at": at,
        "body": Jsonb(plan.body()),
    }
    conn.execute(queries.get("plans.insert"), values)
    return find(conn, plan.digest)


def by_digest(conn: Connection, digest: str) -> Stored | None:
    """Return the plan with exactly this digest, or None. Raises IntegrityError where it was changed."""
    row = conn.execute(queries.get("plans.matching"), {"ref": digest}).fetchone()
    return None if row is None else _stored(row)


def find(conn: Connection, ref: str) -> Stored:
    """Return the plan that *ref* means: `latest`, or its digest or the beginning of it (4 digits).

    Raises NotFoundError, StateError where a beginning is ambiguous, IntegrityError where the stored body was changed.
    """
    wanted = "" if ref == NEWEST else ref
    if ref != NEWEST and (len(ref) < _SHORTEST or not set(ref) <= set("0123456789abcdef")):
        raise NotFoundError(
            f"no plan {ref!r}: expected `{NEWEST}` or 4 or more digits of its id", hint="bakeoff plans list"
        )
    found = conn.execute(queries.get("plans.matching"), {"ref": wanted}).fetchall()
    if not found:
        hint = "bakeoff plan --baseline LOCK --candidate LOCK --questions FILE makes one"
        raise NotFoundError("there is no plan yet" if ref == NEWEST else f"no plan {ref!r}", hint=hint)
    if len(found) > 1 and ref != NEWEST:
        ids = ", ".join(digest[:16] for digest, *_ in found[:5])
        raise StateError(f"{ref!r} begins {len(found)} plans: {ids}", hint="give more digits")
    return _stored(found[0])


def count(conn: Connection) -> int:
    """Return how many plans there are."""
    return len(conn.execute(queries.get("plans.matching"), {"ref": ""}).fetchall())


def listing(conn: Connection) -> list[Stored | Damaged]:
    """Return every plan, newest first, and what is left of the damaged ones."""
    return [_state(row) for row in conn.execute(queries.get("plans.all")).fetchall()]


def _state(row: tuple[str, datetime, Any]) -> Stored | Damaged:
    try:
        return _stored(row)
    except IntegrityError as problem:
        return Damaged(row[0], row[1], problem)
