"""`probes`: sanity probes over a lock's chunk table and an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, LockRef, database, emit, settings


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("probes", epilog="Example: bakeoff probes --lock candidate --baseline baseline")(probes)


def probes(
    *,
    lock: LockRef,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="A run id, or an artifact; default: the newest of the lock."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--probes", metavar="FILE", help="Default: configs/probes.yaml here, else the standard one."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="LOCK", help="Asks also whether the two locks differ.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask every probe of a file, and say what fails, with offenders and the next command.

    Exit codes: 1 where a probe that blocks fails; 3 where one has no data; 5 where one could not be run; 2 where a
    probe is broken or tries to write (nothing is stored).
    """
    from bakeoff.adapters import clock, files
    from bakeoff.cli import _probing
    from bakeoff.stages import probe as stage
    from bakeoff.verdicts import EXIT_OF

    folder = settings().values.artifacts / "probes"
    asked, source = _probing.read(file)
    files.require_folder(folder)
    with database() as conn:
        subject = _probing.subject(conn, lock, run, baseline)
        done = stage.run(
            conn, subject.lock, asked, source=source, now=clock.now(), run=subject.run, baseline=subject.baseline
        )
    name = f"{done.lock.config_hash}-{done.at:%Y%m%dT%H%M%S}-{done.record_id}.json"
    path = files.write_json(folder / name, done.body)
    data = {**done.body, "artifact": str(path)}
    emit(data, human=lambda: _probing.text(done, path), as_json=as_json)
    raise typer.Exit(EXIT_OF[done.verdict])
