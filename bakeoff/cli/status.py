"""`status`: where everything is, in one screen."""

from __future__ import annotations

import typer

from bakeoff.cli._shared import AsJson, database, emit


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("status", epilog="Example: bakeoff status --json | jq .rollout.phase")(status)


def status(*, as_json: AsJson = False) -> None:
    """Say what is active, what was judged, where traffic is, what is wrong, and what to do next.

    Exit code 1 where something is wrong. `doctor` looks longer: it reads every table.
    """
    from bakeoff.cli import _status
    from bakeoff.stages import status as stage

    with database() as conn:
        data = stage.run(conn).body()
    emit(data, human=lambda: _status.text(data), as_json=as_json)
    if any(item["level"] == "fail" for item in data["problems"]):
        raise typer.Exit(1)
