"""Pages say what the program does: commands, options, links and the reference."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import command_reference
from tests.command_reference import ROOT, commands, mentions, problem

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "artifacts" / "README.md",
    *sorted((ROOT / "runbooks").rglob("*.md")),
]
WRITTEN = [page for page in PAGES if page != command_reference.PAGE]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_command_reference_is_current() -> None:
    """`runbooks/commands.md` is what the commands say now, and the check runs as a program of its own."""
    done = subprocess.run(
        [sys.executable, "tests/command_reference.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("page", WRITTEN, ids=_name)
def test_commands_of_pages_exist(page: Path) -> None:
    """Every `bakeoff ...` of a page is a command with these options, and in a fenced block a whole one."""
    known = commands()
    found = mentions(page.read_text(), page=_name(page))
    assert [] == [f"{mention}: {said}" for mention in found if (said := problem(mention, known))]


def test_examples_of_commands_exist() -> None:
    """Each command shows an example, and the example is a command with these options."""
    known = commands()
    leaves = [command for command in known.values() if not command.children]
    assert [] == [command.title for command in leaves if not command.example or not command.help]
    for command in leaves:
        text = f"```\n{command.example}\n```"
        found = list(mentions(text, page=command.title))
        assert 1 == len(found)
        assert None is problem(found[0], known)
        assert command.path == found[0].words[: len(command.path)]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_of_pages_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that is there."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", page.read_text())
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [] == [link for link in local if not (page.parent / link).exists()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`bakeoff locks destroy`", "bakeoff locks has no command destroy"),
        ("`bakeoff frobnicate`", "bakeoff has no command frobnicate"),
        ("`bakeoff compare A B --fast`", "bakeoff compare has no option --fast"),
        ("`bakeoff compare A B --seed`", "--seed has no value"),
        ("`bakeoff compare A B C`", "too many arguments"),
        ("```\nbakeoff compare A\n```", "1 arguments, expected 2"),
        ("```\nBAKEOFF_ENV=x bakeoff evaluate --lock L\n```", "--questions is missing"),
        ('```\npsql "$(bakeoff db fly)"\n```', "bakeoff db has no command fly"),
        ("```text\n$ bakeoff doctor --loud\nbakeoff nonsense\n```", "bakeoff doctor has no option --loud"),
    ],
)
def test_a_wrong_command_is_found(text: str, expected: str) -> None:
    """The check sees unknown commands and options, missing values and arguments, and leaves shown output alone."""
    found = list(mentions(text, page="page"))
    assert [expected] == [problem(mention, commands()) for mention in found]


@pytest.mark.parametrize(
    "text",
    [
        "`bakeoff compare`",
        "`bakeoff locks list`",
        "```\nbakeoff doctor --json | jq .healthy\n```",
        "```\nbakeoff ask 'a | b' --lock active  # a remark\n```",
        '```\npsql "$(bakeoff db up)" -c "SELECT 1"\n```',
        "the word bakeoff outside of code",
    ],
)
def test_a_right_command_is_left_alone(text: str) -> None:
    """A bare name, a pipe, quotes, a remark and a substitution are no mistakes."""
    assert [] == [said for mention in mentions(text, page="page") if (said := problem(mention, commands()))]
