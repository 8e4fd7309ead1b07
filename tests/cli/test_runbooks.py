"""Every command of the rollout's runbooks is run, in the situation that its page is about.

`<!-- run: NAME -->` in front of a block names the situation; blocks of one page and one name follow each other, and a
number behind the name begins anew. A command ends with 0 unless `# exit code N` stands behind it; one whose remark
speaks of Ctrl-C gets it after some seconds.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from bakeoff.cli.main import app
from tests import situations, support
from tests.command_reference import ROOT
from tests.situations import Judged

PAGES = (
    *("rollout-48h", "rollback", "gate-inconclusive", "controller-down", "database-down", "probe-failed", "archive"),
    "verify-a-seal",
)
EVERY = sorted(path.stem for path in (ROOT / "runbooks").glob("*.md"))
_BLOCK = re.compile(r"(?:^ *<!-- run: ([^>]*?) -->\n)?^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INTERRUPTED_AFTER_S = 6.0


@dataclass(frozen=True)
class Story:
    """The commands of a page in one situation, in order."""

    page: str
    name: str
    lines: tuple[str, ...]

    @property
    def situation(self) -> str:
        """The name without its number."""
        return self.name.rstrip("0123456789 ")


def blocks(page: str) -> list[tuple[str, str]]:
    """(situation or '', commands) of every fenced block of a runbook."""
    text = (ROOT / "runbooks" / f"{page}.md").read_text()
    return [(name, body) for name, _, _, body in _BLOCK.findall(text)]


def stories() -> list[Story]:
    """Every page's blocks, those of one situation together."""
    found: dict[tuple[str, str], list[str]] = {}
    for page in PAGES:
        for name, body in blocks(page):
            lines = [line.strip() for line in body.splitlines() if line.strip()]
            found.setdefault((page, name), []).extend(lines)
    return [Story(page, name, tuple(lines)) for (page, name), lines in found.items()]


@pytest.fixture(scope="module")
def judged(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """What every situation begins with."""
    with situations.judged(server_url, template, tmp_path_factory.mktemp("judged")) as found:
        yield found


@pytest.fixture(scope="module")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `bakeoff` in it, and the server's `psql` where the machine has none."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "bakeoff").write_text(f'#!/bin/bash\nexec {shlex.join(support.command())} "$@"\n')
    (folder / "bakeoff").chmod(0o755)
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_every_block_names_its_situation(page: str) -> None:
    """No command of these pages is left out, and every situation is one that the tests can make."""
    names = [name for name, _ in blocks(page)]
    known = {*situations.SITUATIONS, situations.STOPPED}
    assert names
    assert [] == [name for name in names if name.rstrip("0123456789 ") not in known]
    text = (ROOT / "runbooks" / f"{page}.md").read_text()
    assert 2 * len(names) == len(re.findall(r"^ *```", text, re.MULTILINE))


def inline(page: str) -> list[str]:
    """Every command in a page's running text, white space folded."""
    text = re.sub(
        r"^ *```.*?^ *```$", "", (ROOT / "runbooks" / f"{page}.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    return [" ".join(span.split()) for span in re.findall(r"`(bakeoff [^`]*)`", text)]


def unknown(command: str) -> list[str]:
    """What of a command does not exist: a subcommand, or an option."""
    words = shlex.split(command)[1:]
    found: Any = typer.main.get_command(app)
    while words and hasattr(found, "commands") and words[0] in found.commands:
        found = found.commands[words.pop(0)]
    options = {name for item in found.params for name in (*item.opts, *item.secondary_opts)} | {"--help", "--version"}
    wrong = [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]
    return [*wrong, *(words[:1] if hasattr(found, "commands") and words and words[0][:1] != "-" else [])]


@pytest.mark.parametrize("page", EVERY)
def test_the_commands_in_running_text_exist(page: str) -> None:
    """Each subcommand and each option of them, in all pages."""
    assert [] == [(command, unknown(command)) for command in inline(page) if unknown(command)]


def test_a_command_that_does_not_exist_is_found() -> None:
    """A wrong option, and a wrong subcommand."""
    assert ["--plans"] == unknown("bakeoff canary start --plans PLAN")
    assert ["begin"] == unknown("bakeoff canary begin")


def quoted(page: str) -> list[str]:
    """What a page quotes of outputs: the first column of its tables that begin with `it says`."""
    text = (ROOT / "runbooks" / f"{page}.md").read_text()
    tables = re.findall(r"^ *\| it says \|.*\n *\|[ -|]*\|\n((?: *\|.*\n)+)", text, re.MULTILINE)
    cells = [line.split("|")[1] for table in tables for line in table.splitlines()]
    return [span for cell in cells for span in re.findall(r"`([^`]+)`", cell) if not span.startswith("bakeoff ")]


def said_by(source: str, span: str) -> bool:
    """Whether the constant words of *span* stand in *source*: of each part between dots and names, but for its ends."""
    parts = [part.strip(" .") for part in re.split(r"\.\.\.|…|\b[A-Z]{4,}\b", span)]
    return all(any(one in source for one in _constant(part)) for part in parts if part)


def _constant(part: str) -> list[str]:
    """A part, and what is left of it without a value that it may begin or end with."""
    words = part.split()
    ends = [words, words[1:], words[:-1], words[1:-1], words[2:]]
    shorter = [" ".join(kept) for kept in ends[1:] if len(kept) > 1]
    return [part, *shorter, *([part.rpartition(": ")[0]] if ": " in part else [])]


def texts(path: Path) -> list[str]:
    """Every text in a module, `{}` for what is filled in."""
    if path.suffix == ".sql":
        return [path.read_text()]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def test_words_that_nobody_says_are_found() -> None:
    """A quotation that the program does not print."""
    assert not said_by("{} is {} already: nothing is left of it", "... was rolled back before")
    assert said_by("{} is {} already: nothing is left of it", "... already: nothing is left of it")


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_quotes_is_said_somewhere(page: str) -> None:
    """Words that a person searches for on the page are those of the program."""
    files = [*(ROOT / "bakeoff").rglob("*.py"), *(ROOT / "sql").rglob("*.sql")]
    source = "\n".join(text for path in sorted(files) for text in texts(path))
    assert [] == [span for span in quoted(page) if not said_by(source, span)]


def expected(line: str) -> int:
    """The exit code that a line states."""
    found = re.search(r"# exit code (\d+)", line)
    return int(found[1]) if found else 130 if "Ctrl-C" in line else 0


def run(line: str, folder: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run one line as a person does at a shell; return its exit code and all it said."""
    process = subprocess.Popen(
        ["bash", "-c", line], env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=_INTERRUPTED_AFTER_S if "Ctrl-C" in line else 90)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


@pytest.mark.parametrize("story", stories(), ids=lambda story: f"{story.page}-{story.name.replace(' ', '-')}")
def test_the_commands_of_a_runbook_do_what_it_says(
    story: Story, judged: Judged, shims: Path, server_url: str, tmp_path: Path
) -> None:
    """In their order, in the situation of the page, each with the exit code that the page states."""
    with situations.situation(server_url, judged, story.situation, tmp_path) as (url, folder, names):
        home = folder / ".bakeoff"
        env = support.environment(url, home, PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore", BAKEOFF_OPERATOR="ann")
        env["PATH"] = f"{shims}:{env['PATH']}"
        for line in story.lines:
            filled = re.sub(r"(?<![\w.])([A-Z]{4,})(?![\w.])", lambda match: names.get(match[1], match[1]), line)
            code, said = run(filled, folder, env)
            assert expected(line) == code, f"{filled}\n{said}"
