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
    if sees_nothing(str(item.get("metric")), seen):
        return "nothing"
    return f"{100 * seen:.1f} %" if item.get("metric") == LATENCY else report.number(seen)


def sees_nothing(metric: str, detectable: float) -> bool:
    """Return whether the smallest change to be seen is larger than any: a share can't move by more than the whole."""
    return metric not in FACTS and metric != LATENCY and detectable > 1.0


def sight_said(item: Item) -> str | None:
    """Return that in a sentence, by what the gate asks for, or None where there is nothing to say."""
    seen = sight(item)
    if seen == report.NOTHING:
        return None
    if sees_nothing(str(item.get("metric")), item["detectable"]):
        return "it could not have seen any change that there can be"
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


def evaluations(judgement: Mapping[str, Any]) -> str | None:
    """Return how often each side was evaluated for the plan and by which run it is judged; None: once at most."""
    made: Mapping[str, int] = judgement.get("runs_made") or {}
    said = [
        f"{side} evaluated {made[side]} times for this plan, judged by run {judgement[side]['run_id']}"
        for side in ("candidate", "baseline")
        if made.get(side, 0) > 1
    ]
    return "; ".join(said) or None


def repeated(judgement: Mapping[str, Any]) -> list[str]:
    """Return what was measured more than once, so that somebody may have chosen, and by which of it was judged."""
    return [said for said in (evaluations(judgement), timings(judgement)) if said]


def accepted(judgement: Mapping[str, Any]) -> list[str]:
    """Return what the plan was made in spite of: gates that can't see what they ask for, scores that were known."""
    named = (("accepted_blind", "accepted blind"), ("known_scores", "planned after these runs were known"))
    return [report.line(f"{what}: {', '.join(judgement[name])}") for name, what in named if judgement.get(name)]
