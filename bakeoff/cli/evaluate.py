"""`evaluate`: every question of a set through the pipeline of a lock."""

from __future__ import annotations

from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, LockRef, database, emit, settings


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    example = "Example: bakeoff evaluate --lock candidate --questions configs/demo/questions.jsonl --workers 2"
    root.command("evaluate", epilog=example)(evaluate)


def evaluate(
    *,
    lock: LockRef,
    questions: Annotated[str, typer.Option("--questions", metavar="FILE", help="A .jsonl file, or beir:DIR[:split].")],
    workers: Annotated[int | None, typer.Option(min=1, max=3, help="Questions at once; default 1.")] = None,
    gold_share: Annotated[
        float, typer.Option("--gold-share", min=0.01, max=1.0, help="Covered share of a gold span that is a hit.")
    ] = 0.5,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not continue an interrupted run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a lock on a question set. Interrupted? The same command continues.

    Exit codes: 0 also where the reader failed on some questions, which stderr says; 5 where it failed on all of them
    (what was retrieved is in the artifact all the same); 4 where the chunk table is not what was ingested; 2 where the
    questions are those of another corpus.
    """
    import os

    from bakeoff.adapters import files, locks
    from bakeoff.cli import _evaluating
    from bakeoff.stages.evaluate import Options

    found = settings()
    files.require_folder(found.values.artifacts / "evaluations")
    with database() as conn:
        which = locks.find(conn, lock)
    options = Options(
        workers=workers or found.values.workers,
        fresh=fresh,
        gold_share=gold_share,
        cache_dir=found.values.home / "models",
        environ=os.environ,
    )
    done = _evaluating.run(found, which, questions, options)
    path = files.write_json(
        found.values.artifacts / "evaluations" / f"{done.run.run_id}.json", done.artifact, rows="case_results"
    )
    summary = _evaluating.summary(done, path)
    emit(summary, human=lambda: _evaluating.text(summary), as_json=as_json)
    raise typer.Exit(_evaluating.exit_code(done))
