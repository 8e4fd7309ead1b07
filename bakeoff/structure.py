"""Structure-aware cutting: headings, paragraphs, sentences, tables kept whole where they fit.

Callers may rely on: the ranges come in order and together hold every character that is not white space; none reaches
over a heading of its own or a higher level (its own: that of the heading which it begins with or stands under); a block
that fits into a chunk is never split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from bakeoff.config import ChunkingConfig
from bakeoff.sentences import sentences

Span = tuple[int, int]
Count = Callable[[int, int], int]
Kind = Literal["heading", "table", "code", "paragraph"]

_ATX = re.compile(r"^ {0,3}(#{1,6})\s+\S")
_UNDERLINE = re.compile(r"^([=\-*~^\"'#+.:_])\1{2,}\s*$")  # no back quotes: three of them open a code block
_FENCE = re.compile(r"^\s*(?:(`{3,})[^`]*|(~{3,}).*)$", re.DOTALL)
_UNDERLINE_LEVEL = {"#": 1, "*": 1, "=": 1, "-": 2, "~": 3, "^": 3, '"': 4}
_NO_HEADING = 7


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, table, code block or paragraph: code points [start, end), and a heading's level (1 is highest)."""

    kind: Kind
    start: int
    end: int
    level: int = _NO_HEADING


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    text: str

    @property
    def blank(self) -> bool:
        return not self.text.strip()

    @property
    def is_row(self) -> bool:
        stripped = self.text.strip()
        return stripped.count("|") >= 2 or (stripped.startswith("+--") and stripped.endswith("+"))  # noqa: PLR2004


def _lines(text: str) -> list[_Line]:
    found, position = [], 0
    for line in text.splitlines(keepends=True):
        found.append(_Line(position, position + len(line), line))
        position += len(line)
    return found


def _heading(lines: list[_Line], index: int) -> Block | None:
    line = lines[index]
    if match := _ATX.match(line.text):
        return Block("heading", line.start, line.end, len(match[1]))
    after = lines[index + 1] if index + 1 < len(lines) else None
    if after is None or line.blank or line.is_row or _UNDERLINE.match(line.text):
        return None
    match = _UNDERLINE.match(after.text)
    if match is None or len(after.text.strip()) < len(line.text.strip()) // 2:
        return None
    return Block("heading", line.start, after.end, _UNDERLINE_LEVEL.get(match[1], 4))


def _run(lines: list[_Line], index: int) -> tuple[Kind, int]:
    """Return the kind of the block that begins at *index* and the line after it."""
    end = index + 1
    if fence := _FENCE.match(lines[index].text):
        marks = fence[1] or fence[2]
        while end < len(lines) and not _closes(lines[end].text.strip(), marks):
            end += 1
        return "code", min(end + 1, len(lines))
    row = lines[index].is_row
    while end < len(lines) and _continues(lines, end, row=row):
        end += 1
    return ("table" if row else "paragraph"), end


def _closes(line: str, marks: str) -> bool:
    return len(line) >= len(marks) and line == marks[0] * len(line)


def _continues(lines: list[_Line], index: int, *, row: bool) -> bool:
    """Say whether the line at *index* belongs to the paragraph, or the table (*row*), of the line before it."""
    line = lines[index]
    if line.blank or line.is_row != row or _FENCE.match(line.text):
        return False
    return _heading(lines, index) is None


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of *text* in order; blank lines belong to none."""
    lines = _lines(text)
    index = 0
    while index < len(lines):
        if lines[index].blank:
            index += 1
            continue
        heading = _heading(lines, index)
        if heading is not None:
            yield heading
            while index < len(lines) and lines[index].start < heading.end:
                index += 1
            continue
        kind, after = _run(lines, index)
        yield Block(kind, lines[index].start, lines[after - 1].end)
        index = after


def _parts(text: str, block: Block) -> list[Span]:
    """Split a block that does not fit: tables and code by lines, the rest by sentences."""
    piece = text[block.start : block.end]
    if block.kind in {"table", "code"}:
        return [(block.start + line.start, block.start + line.end) for line in _lines(piece) if not line.blank]
    return [(block.start + start, block.start + end) for start, end in sentences(piece)]


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is packed whole: a block or a part of one, and the level of the heading it is or stands under."""

    start: int
    end: int
    level: int
    is_heading: bool


class _Packer:
    """Packs units into ranges of at most `size` tokens, repeating the last units as overlap."""

    def __init__(self, count: Count, config: ChunkingConfig) -> None:
        self.count, self.config = count, config
        self.units: list[_Unit] = []

    def flush(self) -> Iterator[Span]:
        if self.units:
            yield self.units[0].start, self.units[-1].end
        self.units = []

    def add(self, unit: _Unit) -> Iterator[Span]:
        if self.units and unit.is_heading and unit.level <= self.units[0].level:
            yield from self.flush()
        elif self.units and self.count(self.units[0].start, unit.end) > self.config.size:
            kept = self.repeated(unit)
            yield from self.flush()
            self.units = kept
        self.units.append(unit)

    def repeated(self, following: _Unit) -> list[_Unit]:
        """Return the last units as far as they fit into the overlap, and before *following*, under one heading."""
        kept: list[_Unit] = []
        highest = following.level if following.is_heading else _NO_HEADING + 1
        for unit in reversed(self.units[1:]):
            too_long = (
                self.count(unit.start, self.units[-1].end) > self.config.overlap
                or self.count(unit.start, following.end) > self.config.size
            )
            if too_long or unit.level >= highest:
                break
            kept.insert(0, unit)
            if unit.is_heading:
                highest = unit.level
        return kept


def _units(text: str, count: Count, config: ChunkingConfig) -> Iterator[_Unit]:
    level = _NO_HEADING
    for block in blocks(text):
        is_heading = block.kind == "heading"
        if is_heading:
            level = block.level
        whole = is_heading or count(block.start, block.end) <= config.size
        for start, end in [(block.start, block.end)] if whole else _parts(text, block):
            yield _Unit(start, end, level, is_heading)


def ranges(text: str, count: Count, config: ChunkingConfig) -> Iterator[Span]:
    """Yield the code point ranges of chunks; *count* gives the tokens of a range.

    A single sentence or row above `size` tokens is yielded as it is: the caller cuts it into windows.
    """
    packer = _Packer(count, config)
    for unit in _units(text, count, config):
        yield from packer.add(unit)
    yield from packer.flush()
