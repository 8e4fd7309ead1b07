"""Results → tables for the terminal and for Markdown.

Callers may rely on: a table shows every row it was given; None is shown as `–`, never as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

NOTHING = "–"


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

    def terminal(self, *, width: int | None = None) -> str:
        """Return the table as it is printed to a terminal of *width* columns."""
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable

        drawn = RichTable(
            title=self.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
        )
        for name in self.columns:
            drawn.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left", overflow="fold")
        for row in self.rows:
            drawn.add_row(*(_escaped(cell) for cell in row))
        out = StringIO()
        console = Console(file=out, width=width or _terminal_width(), highlight=False)
        console.print(_escaped(self.title), style="bold")
        console.print(drawn)
        for note in self.notes:
            console.print(_escaped(note))
        return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n"))


def _terminal_width() -> int:
    import shutil

    return max(shutil.get_terminal_size((110, 24)).columns, 80)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


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
        if abs(count) < 1000:  # noqa: PLR2004  # SI units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
