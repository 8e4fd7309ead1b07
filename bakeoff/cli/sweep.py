"""`sweep`: many configurations, narrowed on parts of the questions, the best one proposed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit, settings


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    example = "Example: bakeoff sweep configs/sweep.yaml --questions configs/demo/questions.jsonl --workers 2"
    root.command("sweep", epilog=example)(sweep)


def sweep(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A sweep file (YAML); see configs/sweep.yaml.")],
    *,
    questions: Annotated[str, typer.Option("--questions", metavar="FILE", help="A .jsonl file, or beir:DIR[:split].")],
    corpus: Annotated[str | None, typer.Option(metavar="CORPUS", help="Default: `corpus:` in the file.")] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="LOCK", help="What to beat; default: the active lock, or the file's base.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=3, help="Questions at once; default 1.")] = None,
    drop_losers: Annotated[
        bool, typer.Option("--drop-losers", help="Drop the tables it made for candidates that did not get far.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try many configurations, drop the worse ones early, and propose one that is better than the baseline.

    Interrupted? The same command continues. Exit codes: 0 a winner is proposed; 3 no winner could be shown; 2 where a
    configuration can't be used (all of them are listed, nothing is stored) or the questions are too few.
    """
    from bakeoff.adapters import files
    from bakeoff.cli import _sweeping
    from bakeoff.verdicts import EXIT_OF

    found = settings()
    order = _sweeping.order(path, questions=questions, corpus=corpus, baseline=baseline)
    files.require_folder(found.values.artifacts / "sweeps")
    with database():
        pass  # made and migrated where it is new
    done = _sweeping.run(found, order, workers=workers, drop_losers=drop_losers)
    data = _sweeping.write(found, order, done)
    emit(data, human=lambda: _sweeping.text(data), as_json=as_json)
    raise typer.Exit(EXIT_OF[done.verdict])
