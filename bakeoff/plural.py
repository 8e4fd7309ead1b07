"""Counts in words, for every layer that says how many there are."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """Return `1 question`, `1,200 questions`: how many there are of *what*, a noun in the singular."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def every(count: int, what: str) -> str:
    """Return `the 1 question`, `all 1,200 questions`."""
    return f"{verb(count, 'the', 'all')} {counted(count, what)}"


def are(count: int) -> str:
    """Return `is` of one thing, `are` of more or of none."""
    return verb(count, "is", "are")


def have(count: int) -> str:
    """Return `has` of one thing, `have` of more or of none."""
    return verb(count, "has", "have")


def verb(count: int, singular: str, plural: str) -> str:
    """Return the form of a verb that *count* things ask for."""
    return singular if count == 1 else plural
