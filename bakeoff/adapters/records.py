"""What stages found, in the database: timings, probes, judgements, parity checks, sweeps.

Callers may rely on: a record never changes; one that comes back says what was stored, its verdict and what it is about
included (digest checked).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from psycopg import rows
from psycopg.types.json import Jsonb

from bakeoff import canonical
from bakeoff.adapters import queries
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import DatabaseError, IntegrityError
from bakeoff.verdicts import Verdict

Kind = Literal["timings", "probes", "judgement", "parity", "sweep", "recheck", "rollback_check", "simulation", "run"]


@dataclass(frozen=True, slots=True)
class About:
    """What a record is about; None: not of one plan, lock or run."""

    plan_sha256: str | None = None
    config_hash: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One stored finding of a stage."""

    record_id: int
    kind: Kind
    plan_sha256: str | None
    config_hash: str | None
    run_id: str | None
    at: datetime
    verdict: str | None
    body: dict[str, Any]
    sha256: str
    """Of everything above but its number: what it says, of what, when, and the verdict."""

    @property
    def digest(self) -> str:
        """What `sha256` is, computed anew."""
        names = ("kind", "plan_sha256", "config_hash", "run_id", "verdict", "body")
        return canonical.digest({name: getattr(self, name) for name in names} | {"at": self.at.isoformat()})


def add(
    conn: Connection, kind: Kind, body: dict[str, Any], *, about: About, at: datetime, verdict: Verdict | None = None
) -> Record:
    """Append *body*, plain JSON without NaN, and return its record."""
    made = Record(
        record_id=0,
        kind=kind,
        plan_sha256=about.plan_sha256,
        config_hash=about.config_hash,
        run_id=about.run_id,
        at=at.astimezone(UTC),
        verdict=None if verdict is None else verdict.value,
        body=body,
        sha256="",
    )
    made = replace(made, sha256=made.digest)
    names = ("kind", "plan_sha256", "config_hash", "run_id", "at", "verdict", "sha256")
    values = {name: getattr(made, name) for name in names} | {"body": Jsonb(body)}
    row = conn.execute(queries.get("records.insert"), values).fetchone()
    if row is None:
        raise DatabaseError("the database gave the record no number")
    return replace(made, record_id=row[0])


def latest(conn: Connection, kind: Kind, about: About) -> Record | None:
    """Return the newest record of *kind* that is *about* what is given, or None. Raises IntegrityError if changed."""
    wanted = {"plan_sha256": about.plan_sha256, "config_hash": about.config_hash, "run_id": about.run_id}
    return _newest(conn, "records.latest", {"kind": kind, **wanted})


def latest_judgement(conn: Connection, *, baseline: str, candidate: str) -> Record | None:
    """Return the newest judgement of run *candidate* against run *baseline*, or None. Raises as `latest` does."""
    return _newest(conn, "judging.judgement_of_pair", {"baseline": baseline, "candidate": candidate})


def _newest(conn: Connection, query: str, values: dict[str, str | None]) -> Record | None:
    with conn.cursor(row_factory=rows.class_row(Record)) as cursor:
        found = cursor.execute(queries.get(query), values).fetchone()
    if found is not None and replace(found, at=found.at.astimezone(UTC)).digest != found.sha256:
        raise IntegrityError(
            f"record {found.record_id} ({found.kind}) in the database is not what was stored",
            hint=f"make it again, and ask who changed bakeoff.records; its time is {found.at:%Y-%m-%d %H:%M} UTC",
        )
    return found


def count(conn: Connection, kind: Kind, about: About) -> int:
    """Return how many records of *kind* are *about* what is given."""
    wanted = {"plan_sha256": about.plan_sha256, "config_hash": about.config_hash, "run_id": about.run_id}
    row = conn.execute(queries.get("records.count"), {"kind": kind, **wanted}).fetchone()
    return 0 if row is None else int(row[0])
