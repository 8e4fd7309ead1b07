"""What every command shares: options, the error boundary, how results and progress are shown.

stdout is data, stderr is narration. With `--json` exactly one object goes to stdout, in every outcome.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bakeoff.adapters.postgres import Connection
    from bakeoff.adapters.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, errors included.")]
LockRef = Annotated[
    str,
    typer.Option(
        "--lock", metavar="LOCK", help="A CONFIG_HASH (or its beginning), a CHUNK_VERSION, a lock's name, or `active`."
    ),
]
LockArgument = Annotated[
    str, typer.Argument(metavar="LOCK", help="A CONFIG_HASH (or its beginning), a CHUNK_VERSION, a name, or `active`.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the log.")]


def group(help_text: str) -> typer.Typer:
    """Return a Typer group that shows its help where no command is given."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode="markdown")


def emit(data: dict[str, Any], *, human: Callable[[], str], as_json: bool) -> None:
    """Print *data* as one JSON object, or the text that *human* makes; control characters in either are escaped."""
    from bakeoff import report

    if as_json:
        text = report.json_text(json.dumps(data, ensure_ascii=False, allow_nan=False, default=str))
    else:
        text = report.printable(human().rstrip("\n"))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the person something: to stderr, never mixed with data."""
    from bakeoff import report

    sys.stderr.write(report.printable(text) + "\n")
    sys.stderr.flush()


def settings() -> Settings:
    """Return the settings that hold here."""
    from bakeoff.adapters import settings as adapter

    return adapter.load()


@contextlib.contextmanager
def database(*, migrated: bool = True) -> Iterator[Connection]:
    """Open the database (autocommit); the embedded one is made and migrated where it is new."""
    from bakeoff.adapters import migrations, postgres

    found = settings()
    with postgres.connect(found, autocommit=True) as conn:
        if migrated:
            if found.values.database_url is None and not migrations.status(conn).applied:
                migrations.up(conn)
            migrations.require_current(conn)
        yield conn


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show the progress of long work on a terminal, with rate and time left; elsewhere say each stage once."""
    if not sys.stderr.isatty():
        yield _quiet_progress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from bakeoff.cli._progress import Rate

    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), Rate())
    shown = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
    tasks: dict[str, Any] = {}
    with shown:

        def step(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=total)
            shown.update(tasks[stage], completed=done, total=total)

        yield step


def _quiet_progress() -> Callable[[str, int, int | None], None]:
    seen: set[str] = set()

    def step(stage: str, done: int, total: int | None) -> None:
        del done
        if stage not in seen:
            seen.add(stage)
            say(f"{stage}" + (f": {total:,}" if total else ""))

    return step
