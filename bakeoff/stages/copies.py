"""Check that the file of an evaluation, its artifact, is still what the database holds.

Callers may rely on: a file that was cut short, edited, or is of another database is never taken for its run; the first
thing that differs is named with its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bakeoff import difference
from bakeoff.adapters import evaluations, json_files, locks
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import InputError, IntegrityError, NotFoundError
from bakeoff.stages import evaluate

KIND = "evaluation"
_AGAIN = "bakeoff runs export {run} writes it again"
_TIMES = ("started_at", "finished_at")


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one file: its run, where it names one, and what is wrong with it; None: it is the database's."""

    path: Path
    run_id: str | None
    wrong: str | None

    def to_json(self) -> dict[str, Any]:
        """Return this as plain values."""
        return {"file": str(self.path), "run_id": self.run_id, "same": self.wrong is None, "wrong": self.wrong}


def is_path(ref: str) -> bool:
    """Return whether *ref* means a file: no run id and no lock is written so."""
    return ref.endswith(".json") or "/" in ref


def find(conn: Connection, ref: str) -> Run:
    """Return the run that *ref* means: what `evaluations.find` takes, or the path of an artifact.

    Raises what that raises; of a path InputError where it is no whole artifact, NotFoundError where its run is not in
    this database, IntegrityError where it is not what the database holds.
    """
    return _of_file(conn, Path(ref)) if is_path(ref) else evaluations.find(conn, ref)


def check(conn: Connection, paths: Sequence[Path]) -> list[Checked]:
    """Compare each artifact with the database.

    Raises InputError where one is no file at all, and IntegrityError where the database's own cases were changed.
    """
    for path in paths:
        if not path.is_file():
            json_files.read(path, what="artifact")  # raises, with the reason
    return [_checked(conn, path) for path in paths]


def _checked(conn: Connection, path: Path) -> Checked:
    try:
        body = _body(path)
    except InputError as error:
        return Checked(path, None, str(error))
    try:
        run = _run(conn, path, body)
    except NotFoundError as error:
        return Checked(path, body["run_id"], str(error))
    found = _different(conn, run, body)
    return Checked(path, run.run_id, None if found is None else _unlike(path, run, found))


def _of_file(conn: Connection, path: Path) -> Run:
    body = _body(path)
    run = _run(conn, path, body)
    found = _different(conn, run, body)
    if found is not None:
        raise IntegrityError(
            _unlike(path, run, found),
            hint=f"{_AGAIN.format(run=run.run_id)}; or name the run by its id",
        )
    return run


def _unlike(path: Path, run: Run, found: difference.Difference) -> str:
    return f"{path} is not what the database holds of run {run.run_id}: first at {found}"


def _body(path: Path) -> dict[str, Any]:
    """Return the artifact in *path*. Raises InputError where it is none, or not whole."""
    again = f"{_AGAIN.format(run='RUN')}; bakeoff runs list names the runs"
    body: Any = json_files.read(path, what="artifact", hint=again)
    kind = body.get("kind") if isinstance(body, dict) else None
    if kind != KIND or not isinstance(body.get("run_id"), str) or not isinstance(body.get("case_results"), list):
        raise InputError(
            f"{path} is not the artifact of an evaluation: expected kind {KIND!r} with a run_id and case_results, "
            f"found {'kind ' + repr(kind) if kind != KIND else 'one without'}",
            hint="bakeoff evaluate writes them below evaluations/ in the artifacts",
        )
    whole: dict[str, Any] = body
    return whole


def _run(conn: Connection, path: Path, body: dict[str, Any]) -> Run:
    """Return the run that an artifact names, by its whole id. Raises NotFoundError."""
    named = body["run_id"]
    found = next((run for run in evaluations.listing(conn) if run.run_id == named), None)
    if found is None:
        raise NotFoundError(f"{path} is of run {named!r}, which is not in this database", hint="bakeoff runs list")
    return found


def _different(conn: Connection, run: Run, body: dict[str, Any]) -> difference.Difference | None:
    """Return the first thing that an artifact has otherwise than the database, or None."""
    stored = evaluate.artifact(locks.find(conn, run.config_hash), run, evaluations.cases_checked(conn, run))
    same_times = {name: body[name] for name in _TIMES if _same_moment(stored[name], body.get(name))}
    return difference.first({**stored, **same_times}, body, ids=("question_id",))


def _same_moment(stored: str | None, found: Any) -> bool:
    """Whether two times are one moment: the offset from UTC is that of the session that wrote them."""
    try:
        return stored is not None and datetime.fromisoformat(stored) == datetime.fromisoformat(found)
    except (TypeError, ValueError):
        return False
