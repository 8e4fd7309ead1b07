"""`--help` of every command: what it says is fixed, and it is instant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from bakeoff.cli import main
from tests import support

COMMANDS = [
    "",
    *("lock-config", "shadow-ingest", "ask", "evaluate", "compare", "doctor"),
    *("plan", "plans", "plans list", "plans show", "timings", "kpi-check"),
    *("probes", "parity", "explain", "report", "sweep"),
    *("locks", "locks list", "locks show", "locks diff", "locks activate", "locks archive", "locks log"),
    *("runs", "runs list", "runs export", "runs check", "corpus", "corpus python", "config", "config show"),
    *("simulate", "run", "runbook", "status", "verify"),
    *("keys", "keys new", "keys list", "keys export", "seal", "seals", "seals list", "seals show", "seals export"),
    *("observe", "outcomes", "outcomes prune"),
    *("canary", "canary start", "canary status", "canary promote", "canary approve", "canary pause", "canary resume"),
    *("canary rollback", "canary abort", "canary history", "canary tick", "canary watch"),
    *("route", "route decide", "route kill", "route unkill", "route force", "route unforce", "route shadow"),
    *("route show", "route watch"),
    *("db", "db init", "db up", "db status", "db stop", "db down", "db reset"),
]
HEAVY = {
    "torch",
    "pandas",
    "psycopg",
    "numpy",
    "scipy",
    "matplotlib",
    "jinja2",
    "jq",
    "pydantic",
    "onnxruntime",
    "yaml",
    "httpx",
    "rich.progress",
    "cryptography",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, snapshot: SnapshotAssertion, tmp_path: Path) -> None:
    """The help of each command, at 100 columns without colours."""
    done = support.bakeoff(*command.split(), "--help", env=support.environment(None, tmp_path), cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert snapshot == "\n".join(line.rstrip() for line in done.stdout.splitlines())


def test_every_command_is_here() -> None:
    """No command lacks its snapshot."""
    from typer.main import get_command

    found = {""}
    for name, item in get_command(main.app).commands.items():  # type: ignore[attr-defined]  # a group, as Typer makes it
        found.add(name)
        found |= {f"{name} {below}" for below in getattr(item, "commands", {})}
    assert set(COMMANDS) == found


@pytest.mark.parametrize("argv", [["seal", "--json"], ["seals", "list"], ["--version"], ["sael"], []])
def test_only_the_command_that_is_asked_for_is_built(argv: list[str]) -> None:
    """To build them all takes longer than many a command; without one that is known the whole list is there."""
    built = main.built_for(argv)
    names = {item.name for item in built.registered_commands} | {item.name for item in built.registered_groups}
    known = {name for name in COMMANDS if name and " " not in name}
    assert (known & {*argv} or known) == names


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """No torch, pandas, database driver, NumPy or pydantic for a page of help."""
    line = [sys.executable, "-X", "importtime", "-m", "bakeoff.cli.main", "--help"]
    done = subprocess.run(
        line, env=support.environment(None, tmp_path), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    modules = {row.rsplit("|", 1)[-1].strip() for row in done.stderr.splitlines() if row.startswith("import time:")}
    assert 50 < len(modules)
    assert set() == HEAVY & modules
    assert set() == {name for name in modules if name.startswith("bakeoff.adapters")}


@pytest.mark.parametrize("group", ["", "locks", "plans", "db", "runs", "corpus", "config"])
def test_group_without_command_shows_its_help(group: str, tmp_path: Path) -> None:
    """A group alone says what it can do, and that is usage: exit code 2, and no second message."""
    done = support.bakeoff(*group.split(), env=support.environment(None, tmp_path), cwd=tmp_path)
    assert 2 == done.returncode
    assert "Usage: " in done.stdout + done.stderr
    assert "bakeoff: " not in done.stderr
    assert os.linesep in done.stdout + done.stderr
