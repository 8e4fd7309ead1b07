"""`runs`: the evaluations that are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit, group, settings

app = group("List, export and check evaluations.")


@app.command("list", epilog="Example: bakeoff runs list --json")
def list_runs(*, as_json: AsJson = False) -> None:
    """List every evaluation, newest first."""
    from bakeoff.adapters import evaluations
    from bakeoff.cli import _evaluating

    with database() as conn:
        rows = [_evaluating.run_row(run) for run in evaluations.listing(conn)]
    emit({"runs": rows}, human=lambda: _evaluating.run_listing(rows), as_json=as_json)


@app.command(epilog="Example: bakeoff runs export candidate")
def export(
    ref: Annotated[str, typer.Argument(metavar="RUN", help="A run id, or a lock (its newest run).")],
    *,
    as_json: AsJson = False,
) -> None:
    """Write the artifact of a stored evaluation again."""
    from bakeoff.adapters import evaluations, files, locks
    from bakeoff.stages import evaluate

    with database() as conn:
        run = evaluations.find(conn, ref)
        body = evaluate.artifact(locks.find(conn, run.config_hash), run, evaluations.cases_checked(conn, run))
    path = files.write_json(
        settings().values.artifacts / "evaluations" / f"{run.run_id}.json", body, rows="case_results"
    )
    emit({"run_id": run.run_id, "artifact": str(path)}, human=lambda: str(path), as_json=as_json)


@app.command(epilog="Example: bakeoff runs check artifacts/evaluations/*.json")
def check(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Artifacts that evaluate or export wrote.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Say of each artifact whether it is what the database holds. Exit code 1 where one is not.

    Cut short, edited, of another database: what is wrong with a file is named with its place.
    """
    from bakeoff.cli import _evaluating
    from bakeoff.errors import NoError
    from bakeoff.stages import copies

    with database() as conn:
        rows = [item.to_json() for item in copies.check(conn, paths)]
    emit({"files": rows}, human=lambda: _evaluating.checked_files(rows), as_json=as_json)
    raise typer.Exit(0 if all(row["same"] for row in rows) else NoError.exit_code)
