"""The command line: `bakeoff`, its groups, and the one place where errors become exit codes."""

from __future__ import annotations

import copy
import gc
import itertools
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from bakeoff import __version__
from bakeoff.cli import (
    ask,
    canary,
    compare,
    corpus,
    db,
    doctor,
    evaluate,
    explain,
    ingest,
    judge,
    keys,
    locks,
    observe,
    parity,
    plan,
    probes,
    report,
    route,
    run,
    runbook,
    runs,
    seal,
    settings,
    simulate,
    status,
    sweep,
    verify,
)
from bakeoff.errors import BakeoffError, OutsideError

BUG, INTERRUPTED, USAGE = 70, 130, 2
_COLLECT_AFTER = 300_000
"""Objects made before the garbage collector looks for cycles again. Python's 700 suits small programs: the modules and
cases of one command live until its end, and to look at them over and over took a tenth of a second of `kpi-check`."""
_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]  # ClickException, wherever this Typer keeps it

app = typer.Typer(
    name="bakeoff",
    help="Change the retrieval of a RAG system in production without fear: lock, shadow-ingest, plan, evaluate, judge.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog="Start with: bakeoff lock-config configs/baseline.yaml · The manual is README.md · Exit codes: 0 yes, 1 no, "
    "2 usage, 3 not known, 4 refused, 5 outside failure, 70 bug, 130 interrupted.",
)
locks.register(app)
ingest.register(app)
ask.register(app)
evaluate.register(app)
compare.register(app)
plan.register(app)
judge.register(app)
explain.register(app)
report.register(app)
route.register(app)
parity.register(app)
probes.register(app)
sweep.register(app)
canary.register(app)
run.register(app)
runbook.register(app)
status.register(app)
simulate.register(app)
seal.register(app)
keys.register(app)
observe.register(app)
doctor.register(app)
verify.register(app)
app.add_typer(runs.app, name="runs")
app.add_typer(db.app, name="db")
app.add_typer(corpus.app, name="corpus")
app.add_typer(settings.app, name="config")


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"bakeoff {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Change the retrieval of a RAG system in production without fear: lock, shadow-ingest, plan, evaluate, judge."""


def _fail(kind: str, message: str, code: int, *, hint: str | None = None, problems: Sequence[str] = ()) -> int:
    """Say what went wrong, as JSON on stdout where that was asked for, and return the exit code."""
    from bakeoff import report

    if _wants_json(sys.argv):
        error = {"kind": kind, "message": message, "hint": hint, "problems": list(problems), "exit_code": code}
        try:
            sys.stdout.write(report.json_text(json.dumps({"error": error}, ensure_ascii=False)) + "\n")
            sys.stdout.flush()
        except OSError:  # stdout itself is what failed: stderr is all that is left
            sys.stderr.write(f"bakeoff: {message}\n")
        return code
    lines = [f"bakeoff: {message}", *(f"  - {problem}" for problem in problems)]
    if hint:
        lines.append(f"  → {hint}")
    sys.stderr.write(report.printable("\n".join(lines)) + "\n")
    return code


def _wants_json(argv: Sequence[str]) -> bool:
    """Return whether errors are to be JSON too: `--json`, or the same said as a format."""
    return "--json" in argv or "--format=json" in argv or ("--format", "json") in itertools.pairwise(argv)


def built_for(argv: Sequence[str]) -> typer.Typer:
    """Return the application with the one command or group that *argv* asks for; whole where it asks for none of them.

    Typer builds every command before it runs one, which for all of them takes longer than many a command.
    """
    commands = [item for item in app.registered_commands if item.name in argv[:1]]
    groups = [item for item in app.registered_groups if item.name in argv[:1]]
    if not commands and not groups:
        return app
    narrow = copy.copy(app)
    narrow.registered_commands, narrow.registered_groups = commands, groups
    return narrow


def _run(argv: Sequence[str]) -> int:  # noqa: PLR0911  # the boundary: one outcome a line
    try:
        result = built_for(argv)(args=list(argv), prog_name="bakeoff", standalone_mode=False)
    except _CLICK_ERROR as error:
        text = error.format_message() if hasattr(error, "format_message") else str(error)
        if not text.strip():  # a group without its command: the help was shown instead
            return USAGE
        return _fail("usage", " ".join(text.split()), USAGE, hint="bakeoff --help, or --help after the command")
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BakeoffError as error:
        problems = getattr(error, "problems", ())
        return _fail(error.kind, str(error), error.exit_code, hint=error.hint, problems=problems)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; keep the interpreter quiet
        return 0
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        message = f"the system refuses: {error.strerror or error}{where}"
        return _fail(
            "outside", message, OutsideError.exit_code, hint="check the disk, the rights, and where output goes"
        )
    except Exception as error:  # noqa: BLE001  # the boundary: a bug keeps its traceback and its own exit code
        traceback.print_exc()
        return _fail("bug", f"a bug in bakeoff: {error!r}", BUG, hint="please report it with the traceback")
    if result == INTERRUPTED:  # Typer turns Ctrl-C into this
        return _interrupted()
    return result if isinstance(result, int) else 0


def _interrupted() -> int:
    hint = "what was done is kept: run the same command again"
    return _fail("interrupted", "interrupted", INTERRUPTED, hint=hint)


def main() -> None:
    """Run the command line and leave with its exit code; a polite kill is an interruption like Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for any, it reads what every package offers
    gc.set_threshold(_COLLECT_AFTER, 50, 100)
    code = _run(sys.argv[1:])
    gc.freeze()  # the process ends: no last search through everything that it made
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains once more
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
