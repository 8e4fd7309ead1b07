"""`ask`: one question through the pipeline of a lock."""

from __future__ import annotations

from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, LockRef, database, emit, settings


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("ask", epilog="Example: bakeoff ask 'what does the with statement do?' --lock active")(ask)


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In quotes.")],
    *,
    lock: LockRef = "active",
    as_json: AsJson = False,
) -> None:
    """Answer QUESTION from what a lock ingested, and show what the answer stands on.

    Exit code 5 where the reader failed.
    """
    import os

    from bakeoff.adapters import locks
    from bakeoff.cli import _answering
    from bakeoff.errors import ReaderError, UsageError
    from bakeoff.stages import answer

    if not question.strip():
        raise UsageError("the question is empty", hint="bakeoff ask 'how do I …?' --lock LOCK")
    found = settings()
    with database() as conn:
        which = locks.find(conn, lock)
        with answer.models(which, cache_dir=found.values.home / "models", environ=os.environ) as models:
            pipeline = answer.Pipeline(conn, which, models)
            answered = pipeline.answer(question)
    emit(_answering.to_json(which, question, answered), human=lambda: _answering.text(answered), as_json=as_json)
    if answered.answer.error:
        raise typer.Exit(ReaderError.exit_code)
