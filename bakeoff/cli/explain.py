"""`explain`: where questions were lost and gained between two evaluations."""

from __future__ import annotations

from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("explain", epilog="Example: bakeoff explain baseline candidate --case q012")(explain)


def explain(
    run_a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="The baseline: a run id, a lock (its newest run), or an artifact.")
    ],
    run_b: Annotated[
        str, typer.Argument(metavar="RUN_B", help="The candidate: a run id, a lock (its newest run), or an artifact.")
    ],
    *,
    case: Annotated[str | None, typer.Option("--case", metavar="ID", help="Show this question whole.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show where each question was lost or gained, with both sides' top chunks and the gold.

    Grouped by the arrow of the funnel where it happened: in corpus, indexed, snapshot, context, used, right.
    """
    from bakeoff.cli import _explaining
    from bakeoff.stages import copies
    from bakeoff.stages import explain as stage

    with database() as conn:
        runs = copies.find(conn, run_a), copies.find(conn, run_b)
        data = stage.run(conn, *runs).to_json() if case is None else stage.one(conn, *runs, case)
    emit(data, human=lambda: _explaining.text(data), as_json=as_json)
