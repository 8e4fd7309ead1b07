"""Counts in words: one thing is singular, none and many are plural."""

from __future__ import annotations

import pytest

from bakeoff import plural


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, ("0 chunks", "all 0 chunks", "are", "have", "go")),
        (1, ("1 chunk", "the 1 chunk", "is", "has", "goes")),
        (1200, ("1,200 chunks", "all 1,200 chunks", "are", "have", "go")),
    ],
)
def test_nouns_and_verbs_agree(count: int, said: tuple[str, ...]) -> None:
    """Of the noun, with an article, and of the verbs; thousands are grouped."""
    words = (plural.counted(count, "chunk"), plural.every(count, "chunk"))
    assert said == (*words, plural.are(count), plural.have(count), plural.verb(count, "goes", "go"))
