"""Plans in the database: stored once under the digest of their body, never changed.

Callers may rely on: a plan that comes back has the body that was stored (digest checked).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

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


def _stored(row: tuple[str, datetime, Any]) -> Stored:
    digest, created_at, body = row
    if canonical.digest(body) != digest:
        raise IntegrityError(
            f"plan {digest[:16]} in the database is not the one that was stored",
            hint="make a plan anew; the changed row of bakeoff.plans can't be relied on",
        )
    return Stored(digest, created_at, Plan.model_validate_json(canonical.encode(body)))


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


def listing(conn: Connection) -> list[Stored]:
    """Return every plan, newest first."""
    return [_stored(row) for row in conn.execute(queries.get("plans.all")).fetchall()]
