"""Promises of the sentence splitter."""

# ruff: noqa: RUF001  # full-width marks are what is tested

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.sentences import sentences

PIECES = [
    "Dr. Smith",
    "e.g. this",
    "Yes!",
    "no. ",
    "no. 5",
    "\n",
    "\n\n",
    "  ",
    "\t",
    "- item",
    "1. first",
    "```",
    "~~~",
    ">>> 1 + 1",
    "Title\n=====\n",
    "| a | b |",
    "# Head",
    "like this:",
    "    code()",
    "。",
    "你好！",
    "？」",
    "…",
    "\r\n",
    "\x1c",
    "\u2028",
    ".",
    "é",
]


def cut(text: str) -> list[str]:
    """Return the sentences of *text* themselves."""
    return [text[start:end] for start, end in sentences(text)]


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=20).map(" ".join)))
def test_spans_hold_every_visible_character_once(text: str) -> None:
    """Spans are ordered, disjoint, trimmed, and what is between them is blank."""
    at = 0
    for start, end in sentences(text):
        assert at <= start < end
        assert text[at:start].strip() == ""
        assert text[start:end] == text[start:end].strip()
        at = end
    assert text[at:].strip() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("A line that\nis wrapped. Next\none.", ["A line that\nis wrapped.", "Next\none."]),
        ("Some, e.g. Foo, i.e. Bar. Then", ["Some, e.g. Foo, i.e. Bar.", "Then"]),
        ("Use etc. for more. Etc. End.", ["Use etc. for more.", "Etc.", "End."]),
        ("See fig. 5 of J. Smith et al. (2019). End", ["See fig. 5 of J. Smith et al. (2019).", "End"]),
        ("The answer is no. Then", ["The answer is no.", "Then"]),
        ('He said "Go." Then left.', ['He said "Go."', "Then left."]),
        ("Version 3.11 is out. So use 3.11.", ["Version 3.11 is out.", "So use 3.11."]),
        ("他丢了308分。真的吗？「是！」好", ["他丢了308分。", "真的吗？", "「是！」", "好"]),
        ("- one\n- two\n  more. Yes", ["- one", "- two\n  more.", "Yes"]),
        ("1. First. Second\n2. Third", ["1. First.", "Second", "2. Third"]),
        ("Head\n====\nText. More", ["Head\n====", "Text.", "More"]),
        ("Head\n~~~~\nText. More", ["Head\n~~~~", "Text.", "More"]),
        ("## Head. Two\ntext", ["## Head. Two", "text"]),
        ("| a. B | c |\n| d | e |", ["| a. B | c |", "| d | e |"]),
        ("```py\nx = 1. \n\nY. Z\n```\nEnd. Fin", ["```py\nx = 1. \n\nY. Z\n```", "End.", "Fin"]),
        ("```\nnever closed. Yes\n\nEnd. Fin", ["```", "never closed.", "Yes", "End.", "Fin"]),
        (
            "For example:\n\n   x = 1  # Set. Done\n\n   y. Z\n\nEnd. Fin",
            ["For example:", "x = 1  # Set. Done", "y. Z", "End.", "Fin"],
        ),
        ("f(x)\n\n   Return it. Always.", ["f(x)", "Return it.", "Always."]),
        ("Do:\n>>> f. G\n1. 2\n\nEnd. Fin", ["Do:", ">>> f. G\n1. 2", "End.", "Fin"]),
        (" \n\t ", []),
        ("", []),
    ],
)
def test_boundaries(text: str, expected: list[str]) -> None:
    """Boundaries are where a reader puts them, in prose, lists, code, tables and Chinese."""
    assert expected == cut(text)


def test_many_unclosed_fences_stay_cheap() -> None:
    """Work grows with the text, not with its square: 20,000 unclosed fences are split at once."""
    text = "```x\n" * 20_000
    assert len(sentences(text)) == 20_000
