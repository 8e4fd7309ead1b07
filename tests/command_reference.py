"""The command reference, written from the commands themselves, and the check of commands that pages mention.

`python tests/command_reference.py` fails where `runbooks/commands.md` is not what the commands say now, and prints the
difference; with `--write` it writes the page anew.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from bakeoff.cli.main import app

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "runbooks" / "commands.md"
_HEAD = """# Commands

Written from the program by `make docs`; a test fails where this page and the program differ. `LOCK` is a CONFIG_HASH or
at least four characters of its beginning, a CHUNK_VERSION, a lock's name (the newest of that name), or `active`. Exit
codes are in the [README](../README.md#exit-codes).
"""
_COMPLETION = {"install_completion", "show_completion"}


# --- The commands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """One command or group: its words after `bakeoff`, what it says of itself, and its parameters."""

    path: tuple[str, ...]
    help: str
    example: str
    arguments: tuple[Any, ...]
    options: tuple[Any, ...]
    children: tuple[str, ...]

    @property
    def title(self) -> str:
        """How it is called."""
        return " ".join(("bakeoff", *self.path))


def commands() -> dict[tuple[str, ...], Command]:
    """Return every group and command by its words, in the order in which `--help` lists them."""
    return {found.path: found for found in _walk(typer.main.get_command(app), ())}


def _walk(node: Any, path: tuple[str, ...]) -> Iterator[Command]:
    shown = [item for item in node.params if item.name not in _COMPLETION]
    children: dict[str, Any] = getattr(node, "commands", {})
    yield Command(
        path=path,
        help=" ".join((node.help or "").split()),
        example=(node.epilog or "").removeprefix("Example: ") if path else "",
        arguments=tuple(item for item in shown if item.param_type_name == "argument"),
        options=tuple(item for item in shown if item.param_type_name == "option"),
        children=tuple(children),
    )
    for name, child in children.items():
        yield from _walk(child, (*path, name))


# --- The page -------------------------------------------------------------------------------------------------------


def reference() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *(_section(found) for found in commands().values())])


def _section(command: Command) -> str:
    lines = [f"{'#' * min(len(command.path) + 2, 3)} {command.title}", "", command.help, ""]
    if command.children:
        lines += [f"Commands: {', '.join(f'`{name}`' for name in command.children)}", ""]
    if not command.children:
        lines += ["```", _usage(command), "```", ""]
    rows = [_argument(item) for item in command.arguments] + [_option(item) for item in command.options]
    if rows:
        lines += ["| argument or option | what it is | default |", "| --- | --- | --- |", *rows, ""]
    if command.example:
        lines += ["Example:", "", "```", command.example, "```", ""]
    return "\n".join(lines)


def _usage(command: Command) -> str:
    words = [command.title, *(item.metavar or item.name.upper() for item in command.arguments)]
    words += [f"{item.opts[0]} {_metavar(item)}" for item in command.options if item.required]
    if any(not item.required for item in command.options):
        words.append("[OPTIONS]")
    return " ".join(words)


def _metavar(item: Any) -> str:
    return str(item.metavar or getattr(item.type_descriptor.annotation, "__name__", "VALUE").upper())


def _argument(item: Any) -> str:
    return _row(f"`{item.metavar or item.name.upper()}`", item.help, "required" if item.required else "")


def _option(item: Any) -> str:
    name = ", ".join((*item.opts, *item.secondary_opts))
    said = item.help or ""
    if item.multiple:
        said += " Can be given several times."
    if item.min is not None or item.max is not None:
        least, most = item.min, item.max
        said += f" At least {least}." if most is None else f" From {least} to {most}."
    return _row(f"`{name}`" if item.is_flag else f"`{name} {_metavar(item)}`", said, _default(item))


def _default(item: Any) -> str:
    if item.required:
        return "required"
    return "" if item.default in (None, "") or item.is_flag else f"`{item.default}`"


def _row(*cells: str | None) -> str:
    return "| " + " | ".join(" ".join((cell or "").split()).replace("|", "\\|") for cell in cells) + " |"


# --- Commands that pages mention ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mention:
    """One `bakeoff ...` of a page; *whole*: it stands in a fenced block, to be typed as it is."""

    page: str
    line: int
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: bakeoff {' '.join(self.words)}"


@dataclass(slots=True)
class _Fence:
    open: bool = False
    output: bool = False
    """Whether the block shows what a command printed; only its lines that begin with `$ ` are commands."""


_INLINE = re.compile(r"`([^`\n]+)`")
_CALL = re.compile(r"(?:^|\s|\$\()bakeoff(?=\s|$)")
_END = {"|", ";", "&&", "||", ">", "2>", "&", ">>"}


def mentions(text: str, *, page: str) -> Iterator[Mention]:
    """Yield the commands in the fenced blocks and the inline code of a page of Markdown.

    A block whose first line begins with `$ ` shows output too: only its `$ ` lines are commands.
    """
    fence = _Fence()
    previous = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fence.open = not fence.open
        elif fence.open:
            if previous.lstrip().startswith("```"):
                fence.output = line.startswith("$ ")
            if not fence.output or line.startswith("$ "):
                yield from _calls(line.removeprefix("$ "), page, number, whole=True)
        else:
            for code in _INLINE.findall(line):
                yield from _calls(code, page, number, whole=False)
        previous = line


def _calls(code: str, page: str, number: int, *, whole: bool) -> Iterator[Mention]:
    for match in _CALL.finditer(code):
        rest = code[match.end() :]
        rest = rest.partition(")")[0] if match.group().startswith("$(") else rest
        yield Mention(page, number, tuple(_until_end(rest)), whole)


def _until_end(rest: str) -> Iterator[str]:
    for word in shlex.split(rest.replace("…", "..."), comments=True):
        if word in _END:
            return
        yield word


def problem(mention: Mention, known: dict[tuple[str, ...], Command]) -> str | None:
    """Return what is wrong with a mentioned command, or None where the program takes it."""
    path: tuple[str, ...] = ()
    words = list(mention.words)
    while words and (*path, words[0]) in known:
        path = (*path, words.pop(0))
    command = known[path]
    if command.children:
        unknown = [word for word in words if not word.startswith("-")]
        if unknown and unknown != ["..."]:
            return f"{command.title} has no command {unknown[0]}"
    given, options = _split(words, command)
    if isinstance(given, str):
        return given
    if command.children or not mention.whole:
        return None if command.children or len(given) <= len(command.arguments) else "too many arguments"
    missing = [item.opts[0] for item in command.options if item.required and not {*item.opts} & options]
    if missing:
        return f"{missing[0]} is missing"
    needed = sum(item.required for item in command.arguments)
    most = math.inf if any(item.nargs == -1 for item in command.arguments) else len(command.arguments)
    return None if needed <= len(given) <= most else f"{len(given)} arguments, expected {needed}"


def _split(words: list[str], command: Command) -> tuple[list[str] | str, set[str]]:
    """Return arguments (or what is wrong) and option names."""
    known = {name: item for item in command.options for name in (*item.opts, *item.secondary_opts)}
    given: list[str] = []
    options: set[str] = set()
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            given.append(word)
            continue
        name, equals, _ = word.partition("=")
        if name == "--help":
            options.add(name)
        elif name not in known:
            return f"{command.title} has no option {name}", options
        else:
            options.add(name)
            if not known[name].is_flag and not equals and next(rest, None) is None:
                return f"{name} has no value", options
    return given, options


def main(argv: list[str]) -> int:
    """Write the page, or compare it; return the exit code."""
    wanted = reference()
    if argv == ["--write"]:
        PAGE.write_text(wanted)
        return 0
    found = PAGE.read_text() if PAGE.exists() else ""
    lines = difflib.unified_diff(found.splitlines(), wanted.splitlines(), "on disk", "as it should be", lineterm="")
    shown = os.linesep.join(lines)
    if found != wanted:
        sys.stdout.write(f"{shown}\n{PAGE}: not what the commands say; write it anew: make docs\n")
    return int(found != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
