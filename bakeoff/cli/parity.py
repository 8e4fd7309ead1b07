"""`parity`: the conditions that fail a build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bakeoff.cli._shared import AsJson, LockRef, database, emit, progress, settings

if TYPE_CHECKING:
    from bakeoff.stages.parity import Checked


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("parity", epilog="Example: bakeoff parity --lock candidate --sample 50")(parity)


def parity(
    *,
    lock: LockRef,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="A run of the lock; without it the newest finished one.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Documents to ingest again, in memory.")] = 50,
    corpus: Annotated[
        str | None,
        typer.Option(metavar="CORPUS", help="Read the documents from their source again, not as they were stored."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check what fails a build: a lock's table and run against the lock, and a second ingest against the first.

    Exit code 1 where a check fails, 3 where there is no evaluation to check, 5 where the lock's model is not at hand.
    """
    from bakeoff.adapters import clock, datasets, embedders, files, locks
    from bakeoff.stages import parity as stage
    from bakeoff.verdicts import EXIT_OF

    found = settings()
    files.require_folder(found.values.artifacts / "parity")
    again = None if corpus is None else datasets.open_corpus(corpus)
    with database() as conn, progress() as step:
        which = locks.find(conn, lock)
        embedder = embedders.open_embedder(which.config.embedder, cache_dir=found.values.home / "models")
        options = stage.Options(sample=sample, run=run, corpus=again)
        done = stage.run(conn, which, embedder, options=options, progress=step, at=clock.now())
    name = f"{which.config_hash}-{done.run_id or 'none'}-{done.record_id}.json"
    path = files.write_json(found.values.artifacts / "parity" / name, done.body)
    emit({**done.body, "artifact": str(path)}, human=lambda: f"{_text(done)}\nwritten to: {path}", as_json=as_json)
    raise typer.Exit(EXIT_OF[done.verdict])


def _text(done: Checked) -> str:
    """Return the checks as a table, then what is wrong with examples and the command to run."""
    from bakeoff import report
    from bakeoff.verdicts import Verdict

    rows = [(finding.verdict.value, finding.check.value, finding.said) for finding in done.findings]
    title = f"Parity of {done.lock.name} {done.lock.config_hash}, run {done.run_id or 'none'}"
    lines = [report.table(title, ("", "check", "found"), rows).terminal()]
    for finding in done.findings:
        if finding.verdict is not Verdict.PASS:
            lines += ["", report.line(f"{finding.verdict.value}: {finding.check.value}: {finding.said}")]
            lines += [f"  - {report.line(example)}" for example in finding.examples]
            lines += [f"  → {finding.next}"] * bool(finding.next)
    return "\n".join([*lines, "", f"parity: {done.verdict.value}"])
