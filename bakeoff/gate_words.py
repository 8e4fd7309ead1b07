"""What a gate found, in the words and units that every form of a judgement shares.

Callers may rely on: a judgement that an older version stored is worded too; nothing is promised that was not estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bakeoff import report
from bakeoff.findings import Reason
from bakeoff.rules import FACTS, LATENCY

Item = Mapping[str, Any]
"""A finding as plain JSON."""


def sight(item: Item) -> str:
    """Return the smallest change that a gate would have seen, percent of a latency; `–` where none is known."""
    seen = item.get("detectable")
    if seen is None or item.get("metric") in FACTS:
        return report.NOTHING
    return f"{100 * seen:.1f} %" if item.get("metric") == LATENCY else report.number(seen)


def sight_said(item: Item) -> str | None:
    """Return that in a sentence, by what the gate asks for, or None where there is nothing to say."""
    seen = sight(item)
    if seen == report.NOTHING:
        return None
    if item.get("rule") != "no_worse":
        return f"smallest distance from what is asked for that it would have shown: {seen}"
    return f"smallest {'growth' if item.get('metric') == LATENCY else 'loss'} it would have seen: {seen}"


def further(item: Item) -> str | None:
    """Return how many more questions an open gate wants; where too few were asked nothing says how many decide it."""
    more = item.get("further_questions")
    if more is None:
        return None
    named = report.counted(more, "more question")
    if item.get("reason") == Reason.TOO_FEW.value:
        return f"at least {named} {'is' if more == 1 else 'are'} needed to judge at all"
    return f"about {named} would decide it"


def count(item: Item) -> int | None:
    """Return how many questions a gate looked at; None where it looked at a record, which has none."""
    return None if item.get("rule") == "recorded" else item.get("n", 0)


def timings(judgement: Mapping[str, Any]) -> str | None:
    """Return which timings of how many a latency was judged by, or None where there are none."""
    used = judgement.get("timings")
    if not used:
        return None
    many = judgement.get("timings_made") or 1
    return f"latency by timings of record {used.get('record')}" + (f", newest of {many} of this plan" * (many > 1))
