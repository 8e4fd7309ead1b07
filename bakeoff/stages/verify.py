"""Check that what a stage takes is what an earlier stage recorded; one changed byte stops it and is named."""

from __future__ import annotations

from bakeoff.adapters import tables
from bakeoff.adapters.ingests import Ingest
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import IntegrityError


def table(conn: Connection, lock: Lock, ingest: Ingest) -> None:
    """Compare the chunk table of *lock* with the digest that its *ingest* recorded. Raises IntegrityError."""
    found = tables.table_digest(conn, tables.Tables(lock))
    if found != ingest.table_sha256:
        raise IntegrityError(
            f"the chunk table {lock.table_name} is not what its ingest recorded: "
            f"expected {str(ingest.table_sha256)[:16]}…, found {found[:16]}…",
            hint="make it anew, unless it is active or in an open rollout: "
            f"bakeoff shadow-ingest --restart --lock {lock.config_hash} CORPUS",
        )
