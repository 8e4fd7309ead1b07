"""`config`: the settings that hold here, with their origin."""

from __future__ import annotations

from bakeoff.cli._shared import AsJson, emit, group, settings

app = group("Show settings: environment > .env > bakeoff.yaml > defaults.")


@app.command(epilog="Example: BAKEOFF_ENV=production bakeoff config show")
def show(*, as_json: AsJson = False) -> None:
    """Show every setting, its value without secrets, and where it comes from."""
    from bakeoff import report

    rows = settings().describe()
    data = {"settings": [{"name": name, "value": value, "origin": origin} for name, value, origin in rows]}
    emit(data, human=report.table("Settings", ("name", "value", "origin"), rows).terminal, as_json=as_json)
