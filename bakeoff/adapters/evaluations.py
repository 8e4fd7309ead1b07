"""Evaluations and their cases in the database.

Callers may rely on: a case is stored once and whole; cases come back in the order of their questions; those of a
finished run are what was digested when it ended, or `cases_checked` raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from psycopg import rows
from psycopg.types.json import Jsonb

from bakeoff import canonical
from bakeoff.adapters import locks, queries
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import DatabaseError, IntegrityError, NotFoundError, NotKnownError, StateError

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
    names = ("config_hash", "ingest_id", "table_sha256", "questions_sha256")
    values = {name: getattr(run, name) for name in names} | {"settings": Jsonb(run.settings)}
    return conn.execute(queries.get("evaluations.unfinished"), values).fetchone()


def finished_before(
    conn: Connection, lock: Lock, *, table_sha256: str, questions_sha256: str, settings: dict[str, Any]
) -> Run | None:
    """Return the newest finished run of *lock* on this table, these questions and with these settings, or None."""
    values = {"table_sha256": table_sha256, "questions_sha256": questions_sha256, "settings": Jsonb(settings)}
    with conn.cursor(row_factory=rows.class_row(Run)) as cursor:
        query = queries.get("evaluations.finished_before")
        return cursor.execute(query, {"config_hash": lock.config_hash, **values}).fetchone()


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

    Raises IntegrityError where they, or the figures that were recorded with them, are not.
    """
    found = cases(conn, run.run_id)
    if run.finished_at is not None:
        _check_identity(run)
        digest, expected = canonical.digest([case for case, _ in found]), str(run.report.get("cases_sha256"))
        if digest != expected:
            raise _not_as_recorded(run, len(found), expected, digest)
    return found


def _not_as_recorded(run: Run, count: int, expected: str, found: str) -> IntegrityError:
    """Return the error of a finished *run* that has *count* cases now; that some are missing is said first."""
    used = run.report.get("questions", {}).get("used", count)
    digests = f"expected {expected[:16]}…, found {found[:16]}…"
    said = f"the cases of run {run.run_id} are not what its evaluation recorded: {digests}"
    return IntegrityError(
        said if used == count else f"run {run.run_id} has {count} cases for {used} questions",
        hint=f"evaluate again: bakeoff evaluate --lock {run.config_hash} --questions FILE --fresh",
    )


def identity(run: Run) -> str:
    """Return the digest of what a run is of: its lock, table, corpus, questions, settings and start.

    Once it is finished also of the digest of its report, where that has one.
    """
    names = ("run_id", "config_hash", "ingest_id", "table_sha256", "corpus_sha256", "question_set", "questions_sha256")
    started = run.started_at.astimezone(UTC).isoformat()
    told = {name: run.report[name] for name in ("report_sha256",) if name in run.report}
    body = {name: getattr(run, name) for name in names} | {"settings": run.settings, "started_at": started}
    return canonical.digest(body | told)


_OF_THE_REPORT = ("report_sha256", "identity_sha256")


def digested(run: Run, report: dict[str, Any]) -> dict[str, Any]:
    """Return *report* with its own digest and that of what *run* is of: nobody reads figures that were changed."""
    told = report | {"report_sha256": canonical.digest(report)}
    return told | {"identity_sha256": identity(replace(run, report=told))}


def rows_digest(conn: Connection, run_id: str) -> str:
    """Return the digest of all cases and timings of a run, from the digests of cases that the server keeps."""
    return _digest(conn, "evaluations.rows_digest", run_id)


def _digest(conn: Connection, query: str, run_id: str) -> str:
    row = conn.execute(queries.get(query), {"run_id": run_id}).fetchone()
    if row is None:
        raise DatabaseError("the database gave no digest of the cases")
    return str(row[0])


def changed_rows(conn: Connection, run: Run) -> tuple[str, str] | None:
    """Return the (expected, found) digest of a finished *run*'s rows where they differ.

    Of a run that a version without digests of single cases recorded, the rows themselves are digested.
    """
    recorded, found = str(run.report["rows_sha256"]), rows_digest(conn, run.run_id)
    same = recorded == found or recorded == _digest(conn, "evaluations.rows_digest_of_old", run.run_id)
    return None if same else (recorded, found)


def _check_identity(run: Run) -> None:
    """Raise IntegrityError where a finished *run* is no longer of the lock, table and questions it was recorded of."""
    hint = f"evaluate again: bakeoff evaluate --lock {run.config_hash} --questions FILE --fresh"
    if "rows_sha256" in run.report and run.report.get("identity_sha256") != identity(run):
        said = "lock, table, corpus, questions or settings differ"
        raise IntegrityError(f"run {run.run_id} is not of what it was: {said}", hint=hint)
    figures = {name: value for name, value in run.report.items() if name not in _OF_THE_REPORT}
    if "report_sha256" in run.report and run.report["report_sha256"] != canonical.digest(figures):
        raise IntegrityError(f"the figures of run {run.run_id} are not what its evaluation recorded", hint=hint)


def _check_rows(conn: Connection, run: Run) -> None:
    """Raise IntegrityError where the rows of a finished *run* are not what its evaluation recorded."""
    if "rows_sha256" not in run.report:
        cases_checked(conn, run)  # an evaluation of a version that kept the digest of the whole cases alone
    elif (different := changed_rows(conn, run)) is not None:
        raise _not_as_recorded(run, len(case_ids(conn, run.run_id)), *different)


def changed(conn: Connection, run: Run) -> str | None:
    """Return in words that the cases of a finished *run* are not what was recorded, or None where they are."""
    try:
        _check_rows(conn, run)
    except IntegrityError as error:
        return str(error)
    return None


def cases_of_finished(conn: Connection, run: Run) -> list[tuple[Case, dict[str, float]]]:
    """Return the cases of a finished *run* like `cases_checked`, in half the time: the server checks the rows.

    Raises IntegrityError where the rows are not what the evaluation recorded.
    """
    check(conn, run)
    return cases(conn, run.run_id)


def check(conn: Connection, run: Run) -> None:
    """Raise IntegrityError where a finished *run*, its row or its cases, is not what its evaluation recorded."""
    _check_identity(run)
    _check_rows(conn, run)


def scores(conn: Connection, run: Run) -> list[tuple[Case, int]]:
    """Return what `figures` gives of a finished *run*. Raises IntegrityError where it is not what was recorded.

    A tenth of the work of `cases_checked`: the server checks the digest of the rows, and what was retrieved stays
    there.
    """
    check(conn, run)
    return figures(conn, run)


def figures(conn: Connection, run: Run) -> list[tuple[Case, int]]:
    """Return the figures of every case of *run* and the size of its snapshot, in the order of the questions, unchecked.

    For a caller that asks `check` beside it.
    """
    return conn.execute(queries.get("evaluations.scores"), {"run_id": run.run_id}).fetchall()


@dataclass(frozen=True, slots=True)
class Ground:
    """What runs must have in common to be compared."""

    questions_sha256: str
    corpus_sha256: str
    gold_share: float


def for_plan(conn: Connection, config_hash: str, ground: Ground) -> Run | None:
    """Return the newest finished run of a lock on this ground, asked all of its questions."""
    values = {"config_hash": config_hash, **asdict(ground)}
    with conn.cursor(row_factory=rows.class_row(Run)) as cursor:
        return cursor.execute(queries.get("judging.run_for_plan"), values).fetchone()


def made(conn: Connection, judged: Sequence[Run], ground: Ground, since: datetime) -> dict[str, int]:
    """Return by CONFIG_HASH how many finished runs on this ground each lock of *judged* has from *since* on.

    The runs *judged* count whenever they began.
    """
    values = {
        "config_hashes": [run.config_hash for run in judged],
        "judged": [run.run_id for run in judged],
        "since": since,
        **asdict(ground),
    }
    return dict(conn.execute(queries.get("judging.runs_made"), values).fetchall())


def known_scores(conn: Connection, config_hash: str, questions_sha256: str, corpus_sha256: str) -> tuple[str, ...]:
    """Return the ids of a lock's runs on these questions, all or a part of them, that have cases, oldest first."""
    values = {"config_hash": config_hash, "questions_sha256": questions_sha256, "corpus_sha256": corpus_sha256}
    return tuple(str(run_id) for (run_id,) in conn.execute(queries.get("judging.known_scores"), values))


def matching_pair(conn: Connection, baseline: Run, candidate: Run) -> tuple[str, str] | None:
    """Return the newest finished runs of both sides' locks with questions (all asked) and corpus in common, or None."""
    values = {"baseline": baseline.config_hash, "candidate": candidate.config_hash}
    return conn.execute(queries.get("evaluations.matching_pair"), values).fetchone()


def listing(conn: Connection) -> list[Run]:
    """Return every run, newest first."""
    with conn.cursor(row_factory=rows.class_row(Run)) as cursor:
        return cursor.execute(queries.get("evaluations.all")).fetchall()


def find(conn: Connection, ref: str) -> Run:
    """Return the run that *ref* means: a run id or its beginning, or a lock (its newest finished run of all questions).

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
    """Return the newest finished run of *lock* that asked every question. Raises NotKnownError where there is none."""
    with conn.cursor(row_factory=rows.class_row(Run)) as cursor:
        run = cursor.execute(queries.get("evaluations.latest_of_lock"), {"config_hash": lock.config_hash}).fetchone()
    if run is None:
        raise NotKnownError(
            f"{lock.name} ({lock.config_hash}) has no finished evaluation",
            hint=f"bakeoff evaluate --lock {lock.config_hash} --questions FILE",
        )
    return run
