"""Results → tables for the terminal and for Markdown.

Callers may rely on: a table shows every row it was given; None is shown as `–`, never as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Literal

NOTHING = "–"
_ID_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column headings (a heading that ends with `>` is for figures: right-aligned) and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = field(default=())

    def markdown(self) -> str:
        """Return the table as GitHub-flavoured Markdown."""
        heads = [name.rstrip(">") for name in self.columns]
        rule = ["---:" if name.endswith(">") else "---" for name in self.columns]
        lines = [f"**{self.title}**", "", _row(heads), _row(rule), *(_row(row) for row in self.rows)]
        return "\n".join([*lines, *(("", *self.notes) if self.notes else ())]) + "\n"

    def _least(self, index: int) -> int | None:
        """Return the width that keeps a column of ids whole, so that they can be copied; None where words may wrap."""
        cells = [row[index] for row in self.rows]
        longest = max(map(len, cells), default=0)
        return longest if longest <= _ID_WIDTH and not any(" " in cell for cell in cells) else None

    def terminal(self, *, width: int | None = None) -> str:
        """Return the table as it is printed to a terminal of *width* columns."""
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text  # unlike a string it is printed as it is: no [markup], no :emoji:

        columns = width or _terminal_width()
        least = [self._least(index) for index in range(len(self.columns))]
        longest = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        if sum(3 + (wanted or min(size, 40)) for wanted, size in zip(least, longest, strict=True)) > columns:
            least = [None] * len(least)  # what does not fit is folded, never cut off
        drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        for wanted, name in zip(least, self.columns, strict=True):
            side: Literal["right", "left"] = "right" if name.endswith(">") else "left"
            drawn.add_column(Text(name.rstrip(">")), justify=side, overflow="fold", min_width=wanted)
        for row in self.rows:
            drawn.add_row(*(Text(cell) for cell in row))
        out = StringIO()
        console = Console(file=out, width=columns, highlight=False)
        console.print(Text(self.title, style="bold"))
        console.print(drawn)
        for note in self.notes:
            console.print(Text(note))
        return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n"))


def _terminal_width() -> int:
    import shutil

    return max(shutil.get_terminal_size((110, 24)).columns, 80)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(" ".join(cell.splitlines()).replace("|", "\\|") for cell in cells) + " |"


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


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, notes: Sequence[str] = ()) -> Table:
    """Return a `Table` of plain values."""
    return Table(title, tuple(columns), tuple(tuple(cell(value) for value in row) for row in rows), tuple(notes))


def size(count: float) -> str:
    """Return a number of bytes in words a person reads: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.95:  # noqa: PLR2004  # SI units; what would be rounded to 1000.0 goes up
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
