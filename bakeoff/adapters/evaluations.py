"""Evaluations and their cases in the database.

Callers may rely on: a case is stored once and whole; cases come back in the order of their questions; those of a
finished run are what was digested when it ended, or `cases_checked` raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import rows
from psycopg.types.json import Jsonb

from bakeoff import canonical
from bakeoff.adapters import locks, queries
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import IntegrityError, NotFoundError, NotKnownError, StateError

Case = dict[str, Any]
_RUN_ID_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation: which lock, on which table and questions, and its aggregates once it is finished."""

    run_id: str
    config_hash: str
    lock_name: str
    chunk_version: str
    question_set: str
    questions_sha256: str
    settings: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None
    report: dict[str, Any]
    table_sha256: str
    corpus_sha256: str
    ingest_id: str


def insert(conn: Connection, run: Run) -> None:
    """Begin *run*."""
    names = ("run_id", "config_hash", "ingest_id", "table_sha256", "corpus_sha256", "started_at")
    asked = ("question_set", "questions_sha256")
    values = {name: getattr(run, name) for name in (*names, *asked)} | {"settings": Jsonb(run.settings)}
    conn.execute(queries.get("evaluations.insert"), values)


def unfinished(conn: Connection, run: Run) -> tuple[str, datetime] | None:
    """Return id and start of an interrupted run that *run* would repeat, or None."""
    names = ("config_hash", "table_sha256", "questions_sha256")
    values = {name: getattr(run, name) for name in names} | {"settings": Jsonb(run.settings)}
    return conn.execute(queries.get("evaluations.unfinished"), values).fetchone()


def finish(conn: Connection, run_id: str, *, at: datetime, report: dict[str, Any]) -> None:
    """Record that every case of the run is there, with the aggregates in *report*."""
    values = {"run_id": run_id, "finished_at": at, "report": Jsonb(report)}
    conn.execute(queries.get("evaluations.finish"), values)


def add_case(conn: Connection, run_id: str, ordinal: int, case: Case, timings: dict[str, float]) -> None:
    """Store one case; a second one for the same question changes nothing."""
    values = {
        "run_id": run_id,
        "question_id": case["question_id"],
        "ordinal": ordinal,
        "result": Jsonb(case),
        "timings": Jsonb(timings),
    }
    conn.execute(queries.get("evaluations.add_case"), values)


def case_ids(conn: Connection, run_id: str) -> set[str]:
    """Return the ids of the questions that have a result."""
    return {row[0] for row in conn.execute(queries.get("evaluations.case_ids"), {"run_id": run_id})}


def cases(conn: Connection, run_id: str) -> list[tuple[Case, dict[str, float]]]:
    """Return (result, timings in ms by step) of every case, in the order of the questions."""
    found = conn.execute(queries.get("evaluations.cases"), {"run_id": run_id})
    return [(result, timings) for _, result, timings in found]


def cases_checked(conn: Connection, run: Run) -> list[tuple[Case, dict[str, float]]]:
    """Return the cases of *run*; of a finished one they must be what was digested at its end.

    Raises IntegrityError where they are not. A single case has no digest of its own, so that none can be named.
    """
    found = cases(conn, run.run_id)
    if run.finished_at is not None:
        digest, expected = canonical.digest([case for case, _ in found]), str(run.report.get("cases_sha256"))
        if digest != expected:
            raise IntegrityError(
                f"the {len(found)} cases of run {run.run_id} are not what its evaluation recorded: "
                f"expected {expected[:16]}…, found {digest[:16]}…",
                hint=f"evaluate again: bakeoff evaluate --lock {run.config_hash} --questions FILE --fresh",
            )
    return found


def matching_pair(conn: Connection, baseline: Run, candidate: Run) -> tuple[str, str] | None:
    """Return the newest finished runs of both sides' locks that have questions and corpus in common, or None."""
    values = {"baseline": baseline.config_hash, "candidate": candidate.config_hash}
    return conn.execute(queries.get("evaluations.matching_pair"), values).fetchone()


def listing(conn: Connection) -> list[Run]:
    """Return every run, newest first."""
    with conn.cursor(row_factory=rows.class_row(Run)) as cursor:
        return cursor.execute(queries.get("evaluations.all")).fetchall()


def find(conn: Connection, ref: str) -> Run:
    """Return the run that *ref* means: a run id or its beginning, or a lock (its newest finished run).

    Raises NotFoundError, or StateError where a beginning is ambiguous.
    """
    with conn.cursor(row_factory=rows.class_row(Run)) as cursor:
        found = (
            cursor.execute(queries.get("evaluations.matching"), {"ref": ref}).fetchall()
            if len(ref) >= _RUN_ID_DIGITS
            else []
        )
        if len(found) > 1:
            ids = ", ".join(run.run_id for run in found[:5])
            raise StateError(f"{ref!r} begins {len(found)} run ids: {ids}", hint="give more of the id")
        if found:
            return found[0]
        try:
            lock = locks.find(conn, ref)
        except NotFoundError as error:
            raise NotFoundError(f"no run and no lock {ref!r}", hint="bakeoff runs list") from error
        return latest(conn, lock)


def latest(conn: Connection, lock: Lock) -> Run:
    """Return the newest finished run of *lock*. Raises NotKnownError where there is none."""
    with conn.cursor(row_factory=rows.class_row(Run)) as cursor:
        run = cursor.execute(queries.get("evaluations.latest_of_lock"), {"config_hash": lock.config_hash}).fetchone()
    if run is None:
        raise NotKnownError(
            f"{lock.name} ({lock.config_hash}) has no finished evaluation",
            hint=f"bakeoff evaluate --lock {lock.config_hash} --questions FILE",
        )
    return run
