"""`compare`: two evaluations of the same questions."""

from __future__ import annotations

from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit, settings


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("compare", epilog="Example: bakeoff compare baseline candidate")(compare)


def compare(
    run_a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="The baseline: a run id, a lock (its newest run), or an artifact.")
    ],
    run_b: Annotated[
        str, typer.Argument(metavar="RUN_B", help="The candidate: a run id, a lock (its newest run), or an artifact.")
    ],
    *,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Show both runs with their differences, intervals, and the questions gained and lost.

    Exit code 4 where they had other questions or another corpus, or where the cases of one were changed.
    """
    from bakeoff.adapters import files
    from bakeoff.cli import _evaluating
    from bakeoff.stages import compare as stage
    from bakeoff.stages import copies

    with database() as conn:
        result = stage.run(conn, copies.find(conn, run_a), copies.find(conn, run_b), seed=seed)
    name = f"{result.baseline.run_id}--{result.candidate.run_id}.json"
    path = files.write_json(settings().values.artifacts / "comparisons" / name, result.to_json())
    data = _evaluating.compared(result, path)
    emit(data, human=lambda: f"{_evaluating.comparison_text(data)}\nwritten to: {path}", as_json=as_json)
