"""Text → sentence spans.

Callers may rely on: spans count code points, are ordered and disjoint, begin and end with a visible character, and
together hold every visible character of the text. A single newline inside a paragraph is no boundary (hard-wrapped
text); a heading, a list item, a table row and a whole code block are spans of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ITEM = re.compile(r"(?:[-*+•‣]|\(?\d{1,3}[.)]|\(?[a-zA-Z]\))[ \t]+")
_HEADING = re.compile(r"#{1,6}[ \t]")
_UNDERLINE = re.compile(r"([=\-~*^\"'#+])\1{2,}$")
_CLOSING_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t\r]*$", re.MULTILINE)
_FENCE_REACH = 20_000  # code points looked ahead, so that many unclosed fences can't make the work quadratic
_END = re.compile(r"[.!?…]+[\"'”’»)\]*_`]*(?=\s)|[。！？｡]+[」』”’）】〉》\"')]*")  # noqa: RUF001 - full-width marks are meant
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«]+$")  # noqa: RUF001 - typographic quotes are meant

# Words whose full stop is part of them, wherever they stand.
_ABBREVIATIONS = frozenset(
    "e.g i.e cf vs viz al mr mrs ms dr prof st approx resp z.b d.h bzw bspw vgl ca nr u.a o.ä".split()  # noqa: SIM905 - a word list reads best as words
)
# Words that are abbreviations only before a number: "no. 5", but "The answer is no. Then".
_BEFORE_NUMBER = frozenset({"no", "nos", "fig", "figs", "eq", "eqs", "sec", "vol", "p", "pp", "ch", "art", "abb", "s"})


def sentences(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each sentence of *text*, in code points.

    Boundaries: a full stop, exclamation or question mark (with its closing quotes) before white space, unless the word
    is an abbreviation or the next word starts in lower case; the Chinese and Japanese marks without white space. The
    result is empty where the text is blank.
    """
    spans: list[tuple[int, int]] = []
    for start, end, whole in _blocks(text):
        if whole:
            spans.append((start, end))
        else:
            spans.extend(_split(text, start, end))
    return spans


def _split(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences of the paragraph text[start:end], which is trimmed."""
    at = start
    item = _ITEM.match(text, start, end)
    for match in _END.finditer(text, start if item is None else item.end(), end):
        stop = match.end()
        if stop >= end:
            break
        following = stop
        while text[following].isspace():
            following += 1
        if _is_boundary(text, at, match, following):
            yield at, stop
            at = following
    yield at, end


def _is_boundary(text: str, at: int, match: re.Match[str], following: int) -> bool:
    mark = match[0]
    if mark[0] not in ".!?…":
        return True
    if text[following].islower():
        return False
    if mark != ".":
        return True
    word = _LAST_WORD.search(text, max(at, match.start() - 12), match.start())
    if word is None:
        return True
    name = word[0]
    if len(name) == 1 and name.isupper() and name != "I":
        return False  # an initial: "J. Smith"
    name = name.lower()
    return name not in _ABBREVIATIONS and not (name in _BEFORE_NUMBER and text[following].isdigit())


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each line, its newline left out."""
    at = 0
    while (stop := text.find("\n", at)) >= 0:
        yield at, stop
        at = stop + 1
    if at < len(text):
        yield at, len(text)


class _Blocks:
    """Collects lines into paragraphs, headings, list items, table rows and code blocks."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.done: list[tuple[int, int, bool]] = []
        self.start = -1  # of the open block; -1: none is open
        self.end = 0
        self.indent = 0
        self.lines = 0
        self.whole = False
        self.fenced_until = 0  # lines that begin before it belong to the fenced block that is open
        self.introduced = -1  # the indent of the paragraph before, where it ended with a colon

    def close(self) -> None:
        """End the open block."""
        if self.start < 0:
            return
        self.done.append((self.start, self.end, self.whole))
        if not self.whole and self.text[self.end - 1] == ":":
            self.introduced = self.indent
        elif not (self.whole and 0 <= self.introduced < self.indent):
            self.introduced = -1  # further blocks of the same example stay code, anything else ends it
        self.start, self.lines, self.whole = -1, 0, False

    def open(self, start: int, end: int, indent: int, *, whole: bool) -> None:
        """Begin a block with its first line, ending the one before."""
        self.close()
        self.start, self.end, self.indent, self.lines, self.whole = start, end, indent, 1, whole

    def extend(self, end: int) -> None:
        """Add a line to the open block."""
        self.end = end
        self.lines += 1

    def add(self, at: int, stop: int) -> None:
        """Take the line text[at:stop]."""
        line = self.text[at:stop]
        body = line.strip()
        inside = at < self.fenced_until
        if not body:
            if not inside:
                self.close()
            return
        indent = len(line) - len(line.lstrip())
        start, end = at + indent, at + indent + len(body)
        if inside:
            self.extend(end)
            if stop >= self.fenced_until:
                self.close()
        elif self.start >= 0 and self.lines == 1 and not self.whole and _UNDERLINE.match(body):
            self.extend(end)
            self.whole = True
            self.close()
        elif body.startswith(("```", "~~~")):
            self.fence(start, end, indent, stop)
        else:
            self.plain(start, end, indent, body)

    def fence(self, start: int, end: int, indent: int, stop: int) -> None:
        """Take the first line of a fenced block; without a closing line in reach it stands alone."""
        self.open(start, end, indent, whole=True)
        closing = _CLOSING_FENCE.search(self.text, stop, stop + _FENCE_REACH)
        if closing is None:
            self.close()
        else:
            self.fenced_until = closing.end()

    def plain(self, start: int, end: int, indent: int, body: str) -> None:
        """Take a visible line outside a fence."""
        if body[0] == "|" or body.startswith("+-") or (body[0] == "#" and _HEADING.match(body)):
            self.open(start, end, indent, whole=True)
            self.close()
        elif self.start < 0:
            self.open(start, end, indent, whole=self.is_code(indent, body))
        elif self.whole:
            self.extend(end)
        elif body.startswith(">>>"):
            self.open(start, end, indent, whole=True)
        elif _ITEM.match(body):
            self.open(start, end, indent, whole=False)
        else:
            self.extend(end)

    def is_code(self, indent: int, body: str) -> bool:
        """Tell whether the first line of a block begins a code block: a prompt, or an example after a colon."""
        if body.startswith(">>>"):
            return True
        return 0 <= self.introduced <= indent - 2 and not _ITEM.match(body)


def _blocks(text: str) -> list[tuple[int, int, bool]]:
    """Return (start, end, kept whole) of each block of *text*, trimmed."""
    blocks = _Blocks(text)
    for at, stop in _lines(text):
        blocks.add(at, stop)
    blocks.close()
    return blocks.done
