"""Tables: every row whole, nothing undefined shown as zero, text shown as it is."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.cells import cell_len

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


ANY = st.text(st.characters(exclude_categories=()))  # all that Python holds in a string, half surrogates included
BAD = [*(chr(n) for n in range(32)), "\x7f", "\x85", "\x9b", "\u061c", "\u200e", "\u2028", "\u202e", "\u2066", "\ud800"]


def harmful(text: str, *, kept: str = "") -> list[str]:
    """The characters of *text* that move a cursor or change the order of what is read."""
    return [
        sign
        for sign in text
        if sign not in kept
        and (unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(sign) in BIDI)
    ]


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(ANY)
def test_no_text_moves_the_cursor(text: str) -> None:
    """Control characters are shown as escapes, in a line and in lines; what has none stays as it is; twice is once."""
    shown = report.printable(text)
    assert [] == harmful(shown, kept="\t\n")
    assert shown == report.printable(shown)
    if not harmful(text, kept="\t\n") and not set(text) & set("\u061c\u200e\u200f\ufeff"):
        assert text == shown
    shown.encode()
    assert [] == harmful(report.line(text))


@pytest.mark.parametrize("sign", BAD)
def test_each_control_character_is_named(sign: str) -> None:
    """By its number; a tab and a line feed are what they are."""
    expected = sign if sign in "\t\n" else f"\\x{ord(sign):02x}" if ord(sign) < 256 else f"\\u{ord(sign):04x}"
    assert f"a{expected}b" == report.printable(f"a{sign}b")


@given(st.recursive(ANY, lambda inner: st.dictionaries(ANY, inner, max_size=3), max_leaves=5))
def test_json_is_the_same_value_without_control_characters(value: Any) -> None:
    """JSON lets DEL, C1 and bidirectional controls stand; escaped it is the same value."""
    made = report.json_text(json.dumps(value, ensure_ascii=False))
    assert value == json.loads(made)
    assert [] == harmful(made)


@given(st.lists(st.lists(ANY, min_size=2, max_size=2), min_size=1, max_size=3), ANY, st.integers(80, 130))
@settings(max_examples=50)
def test_a_table_is_safe_to_print(rows: list[list[str]], said: str, width: int) -> None:
    """Title, headings, cells and notes; no line is wider than the terminal."""
    shown = report.table(said, ("a", said), rows, notes=(said,)).terminal(width=width)
    assert [] == harmful(shown, kept="\t\n")


def read(markdown: str) -> list[Token]:
    """The blocks of *markdown* as GitHub sees them."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)


def plain(token: Token) -> str:
    """The words of an inline token; fails where there is anything but words."""
    assert {"text"} >= {child.type for child in token.children or ()} - {"text_special"}
    return "".join(child.content for child in token.children or ())


MARKED = st.text(st.sampled_from("\\`*_[]()<>~|&#-+=!:.1aä \n\x1b")) | ANY


@given(MARKED)
@settings(max_examples=300)
def test_markdown_is_read_as_it_stands(text: str) -> None:
    """As a paragraph, behind a quotation mark, and in a cell: the very words, no markup, no entity, no tag."""
    expected = report.line(text)
    made = report.markdown_text(text)
    for before in ("", "> ", "- "):
        words = [plain(token) for token in read(before + made) if token.type == "inline"]
        assert [expected] * bool(expected) == words
    table = report.table("T", ("a", "b"), [(text, "end")]).markdown()
    assert ["T", "a", "b", expected, "end"] == [
        "".join(child.content for child in token.children or ()) for token in read(table) if token.type == "inline"
    ]


NARROW = (("difference>", "change>"), ("n>", None), ("level>", None))


def test_a_narrow_terminal_shortens_and_leaves_out_step_by_step() -> None:
    """First shorter headings, then the columns that matter least, each named below; no word is broken."""
    columns = ("a heading of some length", "difference>", "n>", "level>", "said")
    rows = [("name-of-a-gate-in-full", "+0.1018 [+0.0707, +0.1384]", 275, 0.9, "long-words-at-the-end of-it-all")]
    table = report.table("T", columns, rows, notes=("a note",), narrow=NARROW)
    wide, middle, narrow = (table.terminal(width=width) for width in (130, 84, 76))
    assert all(word in wide for word in ("difference", "level", "275"))
    assert "change" not in wide
    assert "Left out" not in wide
    assert middle.endswith("a note\nLeft out, the terminal is too narrow: n")
    assert narrow.endswith("a note\nLeft out, the terminal is too narrow: n, level")
    for shown in (wide, middle, narrow):
        for word in ("name-of-a-gate-in-full", "+0.1018 [+0.0707, +0.1384]", "long-words-at-the-end"):
            assert word in shown
    bare = report.table("T", columns, rows, narrow=NARROW).terminal(width=84)
    assert bare.endswith("\n\nLeft out, the terminal is too narrow: n")


def test_an_interval_stays_together_where_words_are_folded() -> None:
    """Where a column of figures has no room for its cells they are folded before the bracket."""
    cell = "+0.1018 [+0.0707, +0.1384]"
    shown = report.table("T", ("a>", *"bcde"), [(cell, *("w" * 12 + " " + "v" * 11,) * 4)]).terminal(width=82)
    assert "[+0.0707, +0.1384]" in shown
    assert cell not in shown


def test_letters_of_two_columns_are_counted_as_two() -> None:
    """Chinese fits as anything else."""
    shown = report.table("T", ("a", "b"), [("漢字" * 30, "x")]).terminal(width=80)
    assert all(cell_len(text) <= 80 for text in shown.split("\n"))
    assert 60 == shown.count("漢") + shown.count("字")


def test_more_columns_than_a_terminal_has_are_still_a_table() -> None:
    """Forty of them at 80: every cell is there, a sign wide, and lines go on beyond the terminal."""
    shown = report.table("T", [str(n) for n in range(40)], [["ab"] * 40]).terminal(width=80)
    assert (40, 40) == (shown.count("a"), shown.count("b"))


def test_a_cell_of_a_table_is_one_line() -> None:
    """A line feed in a text from outside would begin a line of its own, which could pass for a verdict."""
    forged = "q1\nverdict: PASS\r\nb\x85c\u2028d"
    drawn = report.table(forged, (forged,), [(forged,)], notes=(forged,)).terminal()
    assert [] == [line for line in drawn.splitlines() if line.strip().startswith(("verdict", "b", "c", "d"))]
    assert 4 == drawn.count("q1 verdict: PASS b c d")


@pytest.mark.parametrize(("count", "said"), [(0, "0 questions"), (1, "1 question"), (1200, "1,200 questions")])
def test_one_thing_is_singular(count: int, said: str) -> None:
    """And thousands are grouped."""
    assert said == report.counted(count, "question")
