"""`report`: one evaluation, or a baseline and its candidates, as tables and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("report", epilog="Example: bakeoff report baseline candidate --html report.html")(report)


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Run ids, or locks (their newest runs); the first is the baseline."),
    ],
    *,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Report one run, or compare two or more: figures with intervals, gates, funnel, latency, what was lost and gained.

    The page needs no network; its plots need the extra: pip install 'bakeoff[report]'.
    """
    from bakeoff import plots
    from bakeoff.adapters import files
    from bakeoff.cli import _reporting
    from bakeoff.stages import copies
    from bakeoff.stages import report as stage

    if html is not None:
        plots.require()  # said before the work, not after it
    files.require_writable(html, markdown)
    with database() as conn:
        data = stage.run(conn, [copies.find(conn, run) for run in runs], seed=seed)
    written = _reporting.write(data, html=html, markdown=markdown)
    emit({**data, "written": written}, human=lambda: _reporting.text(data, written), as_json=as_json)
