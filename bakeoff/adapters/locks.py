"""Locks in the database: stored once, found by any of their names, activated and archived by events.

Callers may rely on: a lock that comes back has the bytes that were stored (digest checked); the log of events is
append-only in the database itself; the last activation is the lock in production; a lock whose row is damaged is named
and takes no other lock with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import rows
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from bakeoff import canonical
from bakeoff.adapters import queries
from bakeoff.adapters.postgres import Connection
from bakeoff.config import MEANS_ACTIVE, Lock
from bakeoff.errors import IntegrityError, NotFoundError, StateError

Event = Literal["activated", "archived", "restored"]
_BY_BEGINNING = 3
"""`sureness` of a lock that is meant by its hash's beginning alone, in `sql/locks.sql`."""


@dataclass(frozen=True, slots=True)
class LockState:
    """A lock, what last happened to it, and how far its work is."""

    lock: Lock
    active: bool
    archived: bool
    last_event: str | None
    last_at: datetime | None
    ingest_stage: str | None
    evaluations: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that is no longer the lock that was stored: what its columns say, and what is wrong."""

    config_hash: str
    chunk_version: str
    name: str
    table_name: str
    created_at: datetime
    active: bool
    problem: IntegrityError


def _body(lock: Lock) -> dict[str, Any]:
    return lock.model_dump(mode="json")


def _lock(body: Any, sha256: str, config_hash: str) -> Lock:
    try:
        lock = Lock.model_validate_json(canonical.encode(body)) if canonical.digest(body) == sha256 else None
    except ValidationError:
        lock = None
    if lock is None or lock.config_hash != config_hash:
        raise IntegrityError(
            f"lock {config_hash} in the database is not the one that was stored",
            hint="use another lock, and restore this row of bakeoff.locks from a backup; bakeoff doctor names it",
        )
    return lock


def insert(conn: Connection, lock: Lock) -> None:
    """Store a new *lock*."""
    body = _body(lock)
    conn.execute(
        queries.get("locks.insert"),
        {
            "config_hash": lock.config_hash,
            "chunk_version": lock.chunk_version,
            "table_name": lock.table_name,
            "name": lock.name,
            "created_at": lock.created_at,
            "body": Jsonb(body),
            "body_sha256": canonical.digest(body),
        },
    )


def by_hash(conn: Connection, config_hash: str) -> Lock | None:
    """Return the lock with this CONFIG_HASH, or None."""
    row = conn.execute(queries.get("locks.by_hash"), {"config_hash": config_hash}).fetchone()
    return None if row is None else _lock(*row)


def serialise(conn: Connection) -> None:
    """Wait until no other command gives versions or changes activations; lasts until the transaction ends."""
    conn.execute(queries.get("locks.serialise"))


def next_version(conn: Connection, day: str) -> int:
    """Return the next free N of `<day>-vN`."""
    given = conn.execute(queries.get("locks.versions_of_day"), {"day": day}).fetchall()
    return 1 + max((int(version.rsplit("v", 1)[1]) for (version,) in given), default=0)


def find(conn: Connection, ref: str) -> Lock:
    """Return the lock that *ref* means: `active`, a CONFIG_HASH or its beginning (4 digits), a version, table or name.

    A whole hash, version or table wins over a name, a name over a hash's beginning; the newest lock wins among those of
    one name. Raises NotFoundError, StateError where a hash's beginning is ambiguous, IntegrityError where the lock is
    damaged.
    """
    if ref in MEANS_ACTIVE:
        found = active(conn)
        if found is None:
            raise NotFoundError("no lock is active", hint="bakeoff locks activate LOCK")
        return found[0]
    found_rows = conn.execute(queries.get("locks.matching"), {"ref": ref}).fetchall()
    if not found_rows:
        raise NotFoundError(f"no lock {ref!r}", hint="bakeoff locks list shows them all")
    *body, sureness = found_rows[0]
    if len(found_rows) > 1 and sureness == _BY_BEGINNING:
        hashes = ", ".join(row[2] for row in found_rows)
        raise StateError(f"{ref!r} means {len(found_rows)} locks: {hashes}", hint="give more digits of the hash")
    return _lock(*body)


def listing(conn: Connection) -> list[LockState]:
    """Return every lock with its state, newest first, without the damaged ones."""
    return [state for state in everything(conn) if isinstance(state, LockState)]


def everything(conn: Connection) -> list[LockState | Damaged]:
    """Return every lock with its state, newest first, and what is left of the damaged ones."""
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        return [_state(row) for row in cursor.execute(queries.get("locks.all")).fetchall()]


def _state(row: dict[str, Any]) -> LockState | Damaged:
    try:
        lock = _lock(row["body"], row["body_sha256"], row["config_hash"])
    except IntegrityError as problem:
        columns = ("config_hash", "chunk_version", "name", "table_name", "created_at")
        return Damaged(**{name: row[name] for name in columns}, active=bool(row["active"]), problem=problem)
    return LockState(
        lock=lock,
        active=bool(row["active"]),
        archived=row["last_event"] == "archived",
        last_event=row["last_event"],
        last_at=row["last_at"],
        ingest_stage=row["ingest_stage"],
        evaluations=row["evaluations"],
    )


def active(conn: Connection) -> tuple[Lock, datetime] | None:
    """Return the lock in production and since when, or None. Raises IntegrityError where it is damaged."""
    row = conn.execute(queries.get("locks.active")).fetchone()
    return None if row is None else (_lock(*row[:3]), row[3])


def active_since(conn: Connection, lock: Lock) -> datetime | None:
    """Return since when *lock* is in production, or None where another one is, or none."""
    row = conn.execute(queries.get("locks.active")).fetchone()
    return None if row is None or row[2] != lock.config_hash else row[3]


def is_archived(conn: Connection, lock: Lock) -> bool:
    """Return whether *lock* was archived and not restored since."""
    row = conn.execute(queries.get("locks.state"), {"config_hash": lock.config_hash}).fetchone()
    return row is not None and row[0] == "archived"


def languages(conn: Connection) -> list[str]:
    """Return the names of the server's text search configurations."""
    return [str(name) for (name,) in conn.execute(queries.get("locks.languages"))]


def add_event(conn: Connection, lock: Lock, event: Event, *, at: datetime, reason: str) -> None:
    """Append *event* to the log."""
    values = {"config_hash": lock.config_hash, "event": event, "at": at, "reason": reason}
    conn.execute(queries.get("locks.add_event"), values)


def events(conn: Connection) -> list[dict[str, Any]]:
    """Return the activation log, oldest first, as rows of at, event, name, chunk_version, config_hash, reason."""
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        return cursor.execute(queries.get("locks.events")).fetchall()
