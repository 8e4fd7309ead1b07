"""What `report` shows and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bakeoff import page, summary
from bakeoff.adapters import files, templates
from bakeoff.cli._evaluating import NAMES


def write(data: dict[str, Any], *, html: Path | None, markdown: Path | None) -> dict[str, str]:
    """Write what was asked for, and return the path of each by its kind."""
    written = {}
    if markdown is not None:
        written["markdown"] = str(files.write(markdown, summary.markdown(data, NAMES).encode()))
    if html is not None:
        parts = page.Files(*(templates.read(f"report.{end}") for end in ("html.j2", "css", "js")))
        written["html"] = str(files.write(html, page.page(data, NAMES, parts).encode()))
    return written


def text(data: dict[str, Any], written: dict[str, str]) -> str:
    """Return a report as it is printed."""
    lines = [summary.title(data), *summary.verdicts(data), *(f"[{badge}]" for badge in summary.badges(data))]
    lines += [item["conclusion"] for item in data["comparisons"]]
    for table in summary.tables(data, NAMES, brief=True):
        lines += ["", table.terminal()]
    lines += [f"note on {note}" for note in summary.notes(data)]
    lines += [f"{kind} written to: {path}" for kind, path in written.items()]
    ids = [run["run_id"] for run in data["runs"]]
    if len(ids) > 1:
        lines += ["", f"next: bakeoff explain {ids[0]} {ids[1]}"]
    return "\n".join(lines)
