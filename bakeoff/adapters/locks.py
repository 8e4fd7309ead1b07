"""Locks in the database: stored once, found by any of their names, activated and archived by events.

Callers may rely on: a lock that comes back has the bytes that were stored (digest checked); the log of events is
append-only in the database itself; the last activation is the lock in production.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import rows
from psycopg.types.json import Jsonb

from bakeoff import canonical
from bakeoff.adapters import queries
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import IntegrityError, NotFoundError, StateError

MEANS_ACTIVE = frozenset({"active", "production"})
"""References to the lock in production; no lock can have these names."""
Event = Literal["activated", "archived", "restored"]


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


def _body(lock: Lock) -> dict[str, Any]:
    return lock.model_dump(mode="json")


def _lock(body: dict[str, Any], sha256: str) -> Lock:
    if canonical.digest(body) != sha256:
        raise IntegrityError(f"lock {body.get('config_hash')} in the database is not the one that was stored")
    return Lock.model_validate_json(canonical.encode(body))


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

    The newest lock wins among those of one name. Raises NotFoundError, or StateError where a hash's beginning is
    ambiguous.
    """
    if ref in MEANS_ACTIVE:
        found = active(conn)
        if found is None:
            raise NotFoundError("no lock is active", hint="bakeoff locks activate LOCK")
        return found[0]
    found_rows = conn.execute(queries.get("locks.matching"), {"ref": ref}).fetchall()
    if not found_rows:
        raise NotFoundError(f"no lock {ref!r}", hint="bakeoff locks list shows them all")
    named = [row for row in found_rows if row[2]]
    if len(found_rows) > 1 and not named:
        hashes = ", ".join(row[0]["config_hash"] for row in found_rows)
        raise StateError(f"{ref!r} means {len(found_rows)} locks: {hashes}", hint="give more digits of the hash")
    body, sha256, _ = (named or found_rows)[0]
    return _lock(body, sha256)


def listing(conn: Connection) -> list[LockState]:
    """Return every lock with its state, newest first."""
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        found = cursor.execute(queries.get("locks.all")).fetchall()
    return [
        LockState(
            lock=_lock(row["body"], row["body_sha256"]),
            active=bool(row["active"]),
            archived=row["last_event"] == "archived",
            last_event=row["last_event"],
            last_at=row["last_at"],
            ingest_stage=row["ingest_stage"],
            evaluations=row["evaluations"],
        )
        for row in found
    ]


def active(conn: Connection) -> tuple[Lock, datetime] | None:
    """Return the lock in production and since when, or None."""
    row = conn.execute(queries.get("locks.active")).fetchone()
    return None if row is None else (_lock(row[0], row[1]), row[2])


def is_archived(conn: Connection, lock: Lock) -> bool:
    """Return whether *lock* was archived and not restored since."""
    row = conn.execute(queries.get("locks.state"), {"config_hash": lock.config_hash}).fetchone()
    return row is not None and row[0] == "archived"


def add_event(conn: Connection, lock: Lock, event: Event, *, at: datetime, reason: str) -> None:
    """Append *event* to the log."""
    values = {"config_hash": lock.config_hash, "event": event, "at": at, "reason": reason}
    conn.execute(queries.get("locks.add_event"), values)


def events(conn: Connection) -> list[dict[str, Any]]:
    """Return the activation log, oldest first, as rows of at, event, name, chunk_version, config_hash, reason."""
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        return cursor.execute(queries.get("locks.events")).fetchall()
