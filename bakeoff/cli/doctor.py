"""`doctor`: what is there, what is wrong, what to do next."""

from __future__ import annotations

from dataclasses import asdict

import typer

from bakeoff.cli._shared import AsJson, emit, settings


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("doctor", epilog="Example: bakeoff doctor --json | jq '.findings[] | select(.level != \"ok\")'")(
        doctor
    )


def doctor(*, as_json: AsJson = False) -> None:
    """Check machine, settings, database, schema, locks and retrieval. Exit code 1 where something is wrong."""
    from bakeoff import report
    from bakeoff.stages import doctor as stage

    found = settings()
    findings = stage.run(found)
    ok = stage.healthy(findings)
    data = {
        "healthy": ok,
        "findings": [asdict(item) for item in findings],
        "settings": [{"name": name, "value": value, "origin": origin} for name, value, origin in found.describe()],
    }

    def human() -> str:
        rows = [(item.level, item.check, item.detail, item.next) for item in findings]
        first = report.table("Doctor", ("", "check", "found", "do next"), rows)
        second = report.table("Settings", ("name", "value", "origin"), found.describe())
        verdict = "nothing is wrong" if ok else "something is wrong: see fail"
        return f"{first.terminal()}\n\n{second.terminal()}\n\n{verdict}"

    emit(data, human=human, as_json=as_json)
    if not ok:
        raise typer.Exit(1)
