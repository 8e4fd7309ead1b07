"""Structure-aware cutting: headings, paragraphs, sentences, tables kept whole where they fit.

Callers may rely on: the ranges come in order and together hold every character that is not white space; none reaches
over a heading of its own or a higher level; a block that fits into a chunk is never split.
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
_UNDERLINE = re.compile(r"^([=\-*~^\"'`#+.:_])\1{2,}\s*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
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
    if _FENCE.match(lines[index].text):
        while end < len(lines) and not _FENCE.match(lines[end].text):
            end += 1
        return "code", min(end + 1, len(lines))
    row = lines[index].is_row
    while end < len(lines) and not lines[end].blank and lines[end].is_row == row and _heading(lines, end) is None:
        end += 1
    return ("table" if row else "paragraph"), end


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


class _Packer:
    """Packs units into ranges of at most `size` tokens, repeating the last units as overlap."""

    def __init__(self, count: Count, config: ChunkingConfig) -> None:
        self.count, self.config = count, config
        self.units: list[Span] = []
        self.fresh = False
        self.level = _NO_HEADING

    def flush(self, *, overlap: bool) -> Iterator[Span]:
        if self.fresh:
            yield self.units[0][0], self.units[-1][1]
        kept: list[Span] = []
        if overlap:
            for unit in reversed(self.units[1:]):
                if self.count(unit[0], self.units[-1][1]) > self.config.overlap:
                    break
                kept.insert(0, unit)
        self.units, self.fresh = kept, False

    def add(self, unit: Span) -> Iterator[Span]:
        if self.units and self.count(self.units[0][0], unit[1]) > self.config.size:
            yield from self.flush(overlap=True)
            while self.units and self.count(self.units[0][0], unit[1]) > self.config.size:
                self.units.pop(0)
        self.units.append(unit)
        self.fresh = True

    def heading(self, block: Block) -> Iterator[Span]:
        if block.level <= self.level:
            yield from self.flush(overlap=False)
            self.level = block.level
        yield from self.add((block.start, block.end))


def ranges(text: str, count: Count, config: ChunkingConfig) -> Iterator[Span]:
    """Yield the code point ranges of chunks; *count* gives the tokens of a range.

    A single sentence or row above `size` tokens is yielded as it is: the caller cuts it into windows.
    """
    packer = _Packer(count, config)
    for block in blocks(text):
        if block.kind == "heading":
            yield from packer.heading(block)
        elif count(block.start, block.end) <= config.size:
            yield from packer.add((block.start, block.end))
        else:
            for unit in _parts(text, block):
                yield from packer.add(unit)
    yield from packer.flush(overlap=False)
