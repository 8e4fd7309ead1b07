"""Tables: every row whole, nothing undefined shown as zero, text shown as it is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff import report

LETTERS = [chr(code) for code in range(0x100, 0x17F)]  # one for each cell, none in titles or rules


def _rows(lengths: list[list[int]]) -> list[list[str]]:
    letters = iter(LETTERS)
    return [[next(letters) * length for length in row] for row in lengths]


@given(
    st.integers(1, 7).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 300), min_size=n, max_size=n), min_size=1, max_size=8)
    ),
    st.integers(80, 200),
)
@settings(max_examples=40)
def test_every_row_is_whole_at_any_width(lengths: list[list[int]], width: int) -> None:
    """A cell that is too long goes on in the next line; nothing is cut and no line is wider than the terminal."""
    rows = _rows(lengths)
    columns = [f"{n}>" if n % 2 else f"{n}" for n in range(len(lengths[0]))]
    shown = report.table("Title", columns, rows).terminal(width=width)
    for text in (cell for row in rows for cell in row if cell):
        assert len(text) == shown.count(text[0])
    assert all(len(line) <= width for line in shown.split("\n"))


@pytest.mark.parametrize("width", [80, 110, 200])
def test_a_short_row_is_one_line_in_order(width: int) -> None:
    """Columns stand side by side, figures to the right."""
    shown = report.table("T", ("name", "n>"), [("alpha", 1), ("b", 22)], notes=("a note",)).terminal(width=width)
    assert ["T", "", " name     n", " ──────────", " alpha    1", " b       22", "", "a note"] == shown.split("\n")


@pytest.mark.parametrize("text", ["[red]x[/red]", ":warning:", "[/]", "a\\[b]", "[link=x]y[/link]", "10:b:20"])
def test_text_is_shown_as_it_is(text: str) -> None:
    """No markup, no emoji codes: in the title, the headings, the cells and the notes."""
    shown = report.table(text, (text,), [(text,)], notes=(text,)).terminal(width=100)
    assert 4 == shown.count(text)


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS says how wide; below 80 columns a table would be folded beyond reading."""
    table = report.table("T", ("a",), [("x" * 120,)])
    monkeypatch.setenv("COLUMNS", "140")
    assert "x" * 120 in table.terminal()
    monkeypatch.setenv("COLUMNS", "20")
    assert table.terminal(width=80) == table.terminal()


def test_nothing_is_a_dash() -> None:
    """Undefined is never zero, in no form."""
    assert ("–", "–", "–") == (report.number(None), report.signed(None), report.cell(None))
    table = report.table("T", ("a", "b>"), [("x", None)])
    assert "| x | – |" in table.markdown()
    assert re.search(r"x +–$", table.terminal(width=80), re.MULTILINE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "–"), (True, "yes"), (False, "no"), (0, "0"), (0.0, "0.000"), (1.23456, "1.235"), ("a|b", "a|b"), ("", "")],
)
def test_a_cell_shows_any_plain_value(value: Any, expected: str) -> None:
    """Yes and no for truth, three decimals for fractions."""
    assert expected == report.cell(value)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (report.number(0.5, digits=1), "0.5"),
        (report.signed(0.0), "+0.000"),
        (report.signed(-0.25, digits=2), "-0.25"),
        (report.signed(3, digits=0), "+3"),
    ],
)
def test_numbers_have_so_many_decimals(made: str, expected: str) -> None:
    """And differences their sign."""
    assert expected == made


def test_markdown_is_a_table_of_plain_lines() -> None:
    """Headings that end in `>` are for figures; pipes are escaped; line breaks of any kind would end the row."""
    table = report.table("T", ("name", "n>"), [("a|b", 1), ("x\ny\r\nz\u2028w", None)], notes=("first", "second"))
    expected = "**T**\n\n| name | n |\n| --- | ---: |\n| a\\|b | 1 |\n| x y z w | – |\n\nfirst\nsecond\n"
    assert expected == table.markdown()
    assert "**T**\n\n| a |\n| --- |\n" == report.table("T", ("a",), []).markdown()


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_markdown_has_a_line_for_each_row(rows: list[tuple[str, str]]) -> None:
    """Whatever is in the cells: as many lines as rows, each with the same columns."""
    lines = report.table("T", ("a", "b"), rows).markdown().splitlines()
    assert 4 + len(rows) == len(lines)
    assert {3} == {len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:]}


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_940, "999.9 kB"), (999_960, "1.0 MB"), (12_345_678, "12.3 MB"),
     (5e9, "5.0 GB"), (5e12, "5.0 TB"), (5e15, "5000.0 TB")],
)  # fmt: skip
def test_a_size_is_in_words(count: float, expected: str) -> None:
    """SI units, one decimal, never 1000.0 of one."""
    assert expected == report.size(count)
