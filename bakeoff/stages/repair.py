"""What a finished ingest left must still be there: tables, indexes, rows. Lost indexes are built anew.

Callers may rely on: looking changes nothing but planner settings of the session; a repair never touches a row of the
chunk table, so a table in production may be repaired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bakeoff.adapters import chunks, ingests, retriever
from bakeoff.adapters.ingests import Ingest
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.config import Lock
from bakeoff.errors import StateError
from bakeoff.stages import verify
from bakeoff.stages.read import Progress

"""Opens one more connection (autocommit): for a cursor that stays open while the first one writes."""


def require_tables(conn: Connection, lock: Lock) -> None:
    """Raise StateError where the chunk table of *lock*, or the one of its aliases, is gone."""
    lost = chunks.lost(conn, lock)
    if lost is not None:
        raise StateError(
            f"the table {lost} of {lock.name} ({lock.config_hash}) does not exist",
            hint=f"bakeoff shadow-ingest --lock {lock.config_hash} CORPUS makes it anew",
        )


def faulty_indexes(conn: Connection, lock: Lock, ingest: Ingest) -> tuple[str, ...]:
    """Return the names of the indexes of *lock* that are missing, incomplete, or not used by retrieval."""
    missing = chunks.missing(conn, lock, ingest.lexical)
    if missing:
        return missing
    check = retriever.plan_check(conn, lock, ingest.lexical)
    used = (check.dense_index_used, check.lexical_index_used)
    return tuple(name for name, ok in zip(chunks.served_by(lock, ingest.lexical), used, strict=True) if not ok)


def require_indexes(conn: Connection, lock: Lock, ingest: Ingest) -> None:
    """Raise StateError where an index of *lock* is missing, incomplete, or not used by retrieval."""
    faulty = faulty_indexes(conn, lock, ingest)
    if faulty:
        raise StateError(
            f"retrieval of {lock.name} ({lock.config_hash}) can't use {', '.join(faulty)}",
            hint=f"bakeoff shadow-ingest --lock {lock.config_hash} CORPUS builds it anew, and leaves the rows alone",
        )


def require_whole(conn: Connection, lock: Lock, ingest: Ingest) -> None:
    """Raise StateError where tables or indexes of *lock* are missing, IntegrityError where its rows have changed."""
    require_tables(conn, lock)
    require_indexes(conn, lock, ingest)
    verify.table(conn, lock, ingest)


def planned(connect: Connect, lock: Lock, ingest: Ingest) -> tuple[str, ...]:
    """Return the plan of a retrieval, lines. Raises StateError where it does not use both indexes."""
    with connect() as planning:  # it changes the session's planner settings
        plan = retriever.plan_check(planning, lock, ingest.lexical)
    if not plan.ok:
        unused = "lexical" if plan.dense_index_used else "vector"
        raise StateError(
            f"the planner does not use the {unused} index of {lock.table_name}",
            hint="bakeoff doctor shows the server; see the plan with bakeoff shadow-ingest --json",
        )
    return plan.plan


def indexes(
    conn: Connection, connect: Connect, lock: Lock, ingest: Ingest, *, progress: Progress, now: Callable[[], datetime]
) -> Ingest | None:
    """Build the faulty indexes of *lock* anew and record it in the ingest's report; None where there are none.

    *conn* is an autocommit connection. Raises StateError where the plan does not use them then.
    """
    with connect() as planning:
        faulty = faulty_indexes(planning, lock, ingest)
    if not faulty:
        return None
    chunks.drop_indexes(conn, lock, faulty)
    with connect() as watcher:
        chunks.build_indexes(conn, lock, ingest.lexical, progress=progress, watcher=watcher)
    progress("vacuum", 0, None)
    chunks.vacuum(conn, lock, ingest.lexical)
    plan = planned(connect, lock, ingest)
    repair = {"at": now().isoformat(), "indexes": list(faulty)}
    report = ingest.report | {"plan": list(plan), "repairs": [*ingest.report.get("repairs", []), repair]}
    ingests.advance(conn, ingest, "done", report)
    return replace(ingest, report=report)
