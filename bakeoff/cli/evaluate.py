"""`evaluate`: every question of a set through the pipeline of a lock."""

from __future__ import annotations

from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, LockRef, database, emit, progress, say, settings


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    example = "Example: bakeoff evaluate --lock candidate --questions configs/demo/questions.jsonl --workers 2"
    root.command("evaluate", epilog=example)(evaluate)


def evaluate(
    *,
    lock: LockRef,
    questions: Annotated[str, typer.Option("--questions", metavar="FILE", help="A .jsonl file, or beir:DIR[:split].")],
    workers: Annotated[int | None, typer.Option(min=1, max=3, help="Questions at once; default 1.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not continue an interrupted run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a lock on a question set. Interrupted? The same command continues.

    Exit code 5 where the reader failed on every question; what was retrieved is in the artifact all the same.
    """
    import os

    from bakeoff.adapters import clock, files, locks, postgres
    from bakeoff.cli import _evaluating
    from bakeoff.errors import ReaderError
    from bakeoff.stages import evaluate as stage

    found = settings()
    with database() as conn:
        which = locks.find(conn, lock)
    options = stage.Options(
        workers=workers or found.values.workers,
        fresh=fresh,
        cache_dir=found.values.home / "models",
        environ=os.environ,
    )
    with progress() as step:
        done = stage.run(
            lambda: postgres.connect(found, autocommit=True),
            which,
            questions,
            progress=step,
            now=clock.now,
            options=options,
        )
    path = files.write_json(found.values.artifacts / "evaluations" / f"{done.run.run_id}.json", done.artifact)
    summary = _evaluating.summary(done, path)
    emit(summary, human=lambda: _evaluating.text(summary), as_json=as_json)
    failed = summary["aggregates"]["errors"]
    if failed:
        say(f"bakeoff: {failed} of {summary['questions']['used']} answers failed, the first with: {done.first_error}")
    if failed == summary["questions"]["used"]:
        raise typer.Exit(ReaderError.exit_code)
