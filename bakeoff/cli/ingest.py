"""`shadow-ingest`: a corpus under a lock, beside the table in production."""

from __future__ import annotations

from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, LockRef, database, emit, progress, settings


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("shadow-ingest", epilog="Example: bakeoff shadow-ingest --lock candidate python")(shadow_ingest)


def shadow_ingest(
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS", help="A folder, a .jsonl file, beir:DIR, or python (this Python's reference)."
        ),
    ],
    *,
    lock: LockRef,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad document.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget an earlier ingest of this lock first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ingest CORPUS under a lock into a table of its own. Interrupted? The same command continues."""
    from bakeoff.adapters import clock, datasets, embedders, locks, postgres
    from bakeoff.cli import _ingesting
    from bakeoff.stages import ingest

    found = settings()
    documents = datasets.open_corpus(corpus)
    with database() as conn:
        which = locks.find(conn, lock)
    embedder = embedders.open_embedder(which.config.embedder, cache_dir=found.values.home / "models")
    with progress() as step:
        options = ingest.Options(strict=strict, restart=restart)
        done = ingest.run(
            lambda: postgres.connect(found, autocommit=True), which, documents, embedder,
            progress=step, now=clock.now, options=options,
        )  # fmt: skip
    with database() as conn:
        data = _ingesting.to_json(conn, done)
    emit(data, human=lambda: _ingesting.text(data), as_json=as_json)
