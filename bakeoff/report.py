"""Results → tables for the terminal and for Markdown, and text from outside made safe to show in either.

Callers may rely on: a table shows every row it was given; None is shown as `–`, never as zero; a heading and a cell of
figures are folded only where a terminal is too narrow for anything else; no character from a corpus, a question or a
database moves the cursor, changes the order of what is read, or is taken for markup.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any, Literal

from bakeoff import plural

NOTHING = "–"
_LONGEST_WORD = 32
"""A longer word may be folded; what is shorter stays whole, so that it can be copied."""
_FOLDED = 4
_LEFT_OUT = "Left out, the terminal is too narrow: "

# C0 without tab and line feed, DEL, C1, the line and paragraph separators, bidirectional controls, half surrogates.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_BREAKS = re.compile("\r\n|[\n-\r\x85\u2028\u2029]")
_MARKUP = re.compile(
    r"[\\`*<>~|&]|](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])"  # anywhere; an underscore within a word is one
    r"|^(?:[-+](?=[-+\s]|$)|[=#]|\d{1,9}(?=[.)](?:\s|$)))"  # what would begin a list, a heading or a rule
)


def printable(text: str) -> str:
    """Return *text* with control characters shown as escapes; tabs and line feeds are kept."""
    return _CONTROLS.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004  # Python's own boundary


def line(text: str) -> str:
    """Return *text* as one printable line: runs of blanks and line breaks of any kind are one blank."""
    return printable(" ".join(text.split()))


def json_text(text: str) -> str:
    """Return JSON *text*, of the same value, with the control characters that JSON lets stand escaped too."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def markdown_text(text: str) -> str:
    """Return *text* as one line of Markdown that is read as it stands: no markup, no HTML, no end of a table's cell."""
    return _MARKUP.sub(lambda match: match[0] + "\\" if match[0].isdigit() else "\\" + match[0], line(text))


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column headings (a heading that ends with `>` is for figures: right-aligned) and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = field(default=())
    narrow: tuple[tuple[str, str | None], ...] = field(default=())
    """What a narrow terminal makes of headings, step by step until it fits: a shorter one, or None: left out."""

    def markdown(self) -> str:
        """Return the table as GitHub-flavoured Markdown."""
        heads = [name.rstrip(">") for name in self.columns]
        rule = ["---:" if name.endswith(">") else "---" for name in self.columns]
        body = [_row(map(markdown_text, row)) for row in self.rows]
        lines = [f"**{markdown_text(self.title)}**", "", _row(map(markdown_text, heads)), _row(rule), *body]
        notes = [markdown_text(note) for note in self.notes]
        return "\n".join([*lines, *(("", *notes) if notes else ())]) + "\n"

    def terminal(self, *, width: int | None = None) -> str:
        """Return the table as it is printed to a terminal of *width* columns."""
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text  # unlike a string it is printed as it is: no [markup], no :emoji:

        room = width or _terminal_width()
        found, gap, widths = _fitted(_printable(self), room)
        drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if gap == max(_GAPS) else (0, 1, 0, 0))
        for wanted, name in zip(widths, found.columns, strict=True):
            side: Literal["right", "left"] = "right" if name.endswith(">") else "left"
            drawn.add_column(Text(_wrapped(name.rstrip(">"), wanted)), justify=side, overflow="fold", width=wanted)
        for row in found.rows:
            drawn.add_row(*(Text(_wrapped(text, wanted)) for text, wanted in zip(row, widths, strict=True)))
        out = StringIO()
        needed = sum(widths) + gap * (len(widths) - 1) + _EDGES  # more than the room only where letters do not fit
        console = Console(file=out, width=max(room, needed), highlight=False)
        console.print(Text(found.title, style="bold"))
        console.print(drawn)
        for note in found.notes:
            console.print(Text(note))
        return "\n".join(text.rstrip() for text in out.getvalue().rstrip("\n").split("\n"))


# --- How a table fits into a terminal -------------------------------------------------------------------------------

_GAPS = (3, 2)
"""Blanks between two columns: the usual, and where there is little room."""
_EDGES = 2
_WORDS = re.compile(r"\[[^\[\]]{1,24}\]\S*|\S+")
"""What is not folded while there is room: words, and intervals in brackets."""


def _printable(table: Table) -> Table:
    """Return *table* with what moves a cursor escaped; a cell is one line, or it could pass for a row or a verdict."""
    rows = tuple(tuple(map(_flat, row)) for row in table.rows)
    title, columns, notes = _flat(table.title), map(_flat, table.columns), map(_flat, table.notes)
    return replace(table, title=title, columns=tuple(columns), rows=rows, notes=tuple(notes))


def _flat(text: str) -> str:
    return printable(_BREAKS.sub(" ", text))


def _fitted(table: Table, room: int) -> tuple[Table, int, list[int]]:
    """Return the table as it fits into *room*, the gap between its columns, and how wide each of them is."""
    tries = [table]
    for heading, shorter in table.narrow:
        tries.append(_without(tries[-1], heading) if shorter is None else _renamed(tries[-1], heading, shorter))
    for needs, one in itertools.product((_whole_figures, _whole_words, _pieces), tries):
        columns = range(len(one.columns))
        wants = [max(_width(part) for text in _texts(one, n) for part in text.split("\n")) for n in columns]
        least = [needs(one, n) for n in columns]
        for gap in _GAPS:
            widths = _shared(wants, least, room - _EDGES - gap * (len(least) - 1))
            if widths is not None:
                return one, gap, widths
    return tries[-1], min(_GAPS), [1] * len(tries[-1].columns)


def _renamed(table: Table, heading: str, shorter: str) -> Table:
    return replace(table, columns=tuple(shorter if name == heading else name for name in table.columns))


def _without(table: Table, heading: str) -> Table:
    """Return *table* without a column, and with a note that says so."""
    place, (*notes, last) = table.columns.index(heading), table.notes or ("",)
    named = f"{last}, " if last.startswith(_LEFT_OUT) else _LEFT_OUT
    kept = notes if last.startswith(_LEFT_OUT) or not last else [*notes, last]
    columns, *rows = ((*row[:place], *row[place + 1 :]) for row in (table.columns, *table.rows))
    return replace(table, columns=columns, rows=tuple(rows), notes=(*kept, named + heading.rstrip(">")))


def _texts(table: Table, index: int) -> list[str]:
    return [table.columns[index].rstrip(">"), *(row[index] for row in table.rows)]


def _whole_words(table: Table, index: int) -> int:
    """Return how wide a column must be for what is one word to stay whole."""
    words = (word for text in _texts(table, index) for word in _WORDS.findall(text))
    return min(max(map(_width, words), default=1), _LONGEST_WORD)


def _whole_figures(table: Table, index: int) -> int:
    """Return how wide a column must be for its words, and for a column of figures each of its cells, to stay whole."""
    cells = (row[index] for row in table.rows if table.columns[index].endswith(">"))
    return max(_whole_words(table, index), min(max(map(_width, cells), default=1), _LONGEST_WORD))


def _pieces(table: Table, index: int) -> int:
    """Return how wide a column is where nothing else helps: words are folded, never cut off."""
    return min(_whole_words(table, index), _FOLDED)


def _width(text: str) -> int:
    """Return how many columns of a terminal *text* takes: letters of some scripts take two, or none."""
    from rich.cells import cell_len

    return cell_len(text)


def _shared(wants: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """Return how wide each column is, the widest giving way first; None where the *least* of all does not fit."""
    if sum(least) > room:
        return None
    widths = [max(pair) for pair in zip(wants, least, strict=True)]
    while sum(widths) > room:
        _, place = max((width, -n) for n, width in enumerate(widths) if width > least[n])
        widths[-place] -= 1
    return widths


def _wrapped(text: str, width: int) -> str:
    """Return *text* on lines of at most *width*, broken between words; only a word that is longer goes beyond."""
    lines: list[str] = []
    for part in text.split("\n"):
        current = ""
        for word in _WORDS.findall(part) if _width(part) > width else [part]:
            longer = f"{current} {word}" if current else word
            if current and _width(longer) > width:
                lines.append(current)
                longer = word
            current = longer
        lines.append(current)
    return "\n".join(lines)


def _terminal_width() -> int:
    import shutil

    return max(shutil.get_terminal_size((110, 24)).columns, 80)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def number(value: float | None, *, digits: int = 3) -> str:
    """Return *value* with so many decimals, or `–` where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def signed(value: float | None, *, digits: int = 3) -> str:
    """Return *value* with its sign, or `–` where there is none."""
    return NOTHING if value is None else f"{value:+.{digits}f}"


def cell(value: Any) -> str:
    """Return any plain value as a table cell."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    notes: Sequence[str] = (),
    narrow: Sequence[tuple[str, str | None]] = (),
) -> Table:
    """Return a `Table` of plain values."""
    cells = tuple(tuple(cell(value) for value in row) for row in rows)
    return Table(title, tuple(columns), cells, tuple(notes), tuple(narrow))


counted = plural.counted


def size(count: float) -> str:
    """Return a number of bytes in words a person reads: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.95:  # noqa: PLR2004  # SI units; what would be rounded to 1000.0 goes up
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
