"""`runbook`: the checklist of a plan's rollout, filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit, say


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("runbook", epilog="Example: bakeoff runbook latest --out tonight.md")(runbook)


def runbook(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="A plan's id (its first digits), or `latest`.")],
    *,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the runbook of a plan's rollout with its real names, hours and commands, filled in with what was done."""
    from bakeoff.adapters import files
    from bakeoff.cli import _plans
    from bakeoff.stages import runbook as stage

    files.require_writable(out)
    with database() as conn:
        stored = _plans.found(conn, plan)
        text = stage.run(conn, stored)
    if out is not None:
        files.write(out, text.encode())
        say(f"written to: {out}")
    data = {"plan": stored.plan.short, "runbook": text, "out": None if out is None else str(out)}
    if out is None or as_json:
        emit(data, human=lambda: text, as_json=as_json)
