"""Ways to change what a rollout was seen to do, for somebody who has the key, and signs it again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.sealed import Sample
from tests.sealed_rollout import summed
from tests.tampering import Files, signed

EVENTS = ".predicate.rollout.events"
FIRST_LOOK = f"{EVENTS}[1].body.event"


def summed_again(sample: Sample) -> None:
    """Make figures by step and roots those of the outcomes that are there now."""
    rollout = sample.predicate["rollout"]
    rollout["outcomes"] = summed(sample.rows["outcomes"], rollout["events"])
    sample.resign()


def looks_of(sample: Sample) -> list[dict[str, Any]]:
    """Every look."""
    events = [item["body"]["event"] for item in sample.predicate["rollout"]["events"]]
    return [event for event in events if event["kind"] == "look"]


def finding_of(sample: Sample, name: str, look: int = 0) -> dict[str, Any]:
    """What a look found of one thing."""
    found: dict[str, Any] = next(item for item in looks_of(sample)[look]["findings"] if item["watched"] == name)
    return found


def candidate_was_bad() -> Files:
    """Every outcome of the candidate failed and was rated worst; the looks say what they said."""

    def change(sample: Sample) -> None:
        for row in sample.rows["outcomes"]:
            if row[2] == "candidate":
                row[4], row[6] = False, None if row[6] is None else 0.0
        summed_again(sample)

    return signed(change)


def verdicts_were_bad() -> Files:
    """Looks failed, and the rollout went on."""

    def change(sample: Sample) -> None:
        for look in looks_of(sample):
            look["verdict"] = "fail"

    return signed(change)


def nothing_was_found() -> Files:
    """Looks without findings that were green."""

    def change(sample: Sample) -> None:
        for look in looks_of(sample)[1:]:
            look["findings"] = []

    return signed(change)


def finding_failed() -> Files:
    """What was watched failed within a look that passed."""
    return signed(lambda sample: finding_of(sample, "quality", 1).update(verdict="fail", action="rollback"))


def bound_edited() -> Files:
    """An interval of a look ends elsewhere."""
    return signed(lambda sample: finding_of(sample, "quality", 1).update(high=0.5))


def quantile_edited() -> Files:
    """A quantile of a look is another one."""
    return signed(lambda sample: finding_of(sample, "latency_p95", 1).update(value=90.5))


def margin_of_a_look() -> Files:
    """A look went by another margin than the plan's."""
    return signed(lambda sample: finding_of(sample, "errors", 1).update(margin=0.4))


def counts_edited() -> Files:
    """A thousand times the outcomes, where a look says how many it counted."""

    def change(sample: Sample) -> None:
        rollout = sample.predicate["rollout"]
        for event in rollout["events"]:
            for part in (event["body"]["event"], event["body"]["state"]):
                if "candidate_outcomes" in part:
                    part["candidate_outcomes"] *= 1000
        rollout["state"]["candidate_outcomes"] *= 1000

    return signed(change)


def outcomes_dropped() -> Files:
    """No outcome is left."""

    def change(sample: Sample) -> None:
        sample.rows["outcomes"] = []
        summed_again(sample)

    return signed(change)


def bad_outcomes_dropped() -> Files:
    """What went wrong with the candidate is left out."""

    def change(sample: Sample) -> None:
        sample.rows["outcomes"] = [row for row in sample.rows["outcomes"] if row[2] == "baseline" or row[4]]
        _numbered_again(sample)

    return signed(change)


def _numbered_again(sample: Sample) -> None:
    units: dict[int, int] = {}
    for place, row in enumerate(sample.rows["outcomes"]):
        row[7:] = [None if row[7] is None else units.setdefault(row[7], len(units)), place]
    summed_again(sample)


def outcomes_reversed() -> Files:
    """The outcomes are in reversed order."""

    def change(sample: Sample) -> None:
        sample.rows["outcomes"].reverse()
        summed_again(sample)

    return signed(change)


def unit_split() -> Files:
    """Somebody who came back is said to be somebody else: two people weigh more than one."""

    def change(sample: Sample) -> None:
        rows = sample.rows["outcomes"]
        last = max(row[7] for row in rows if row[7] is not None)
        units = [row[7] for row in rows]
        number = next(
            place
            for place, unit in enumerate(units)
            if unit is not None and unit in units[:place] and unit not in units[place + 1 :]
        )
        rows[number][7] = last + 1
        _numbered_again(sample)
        for place, row in enumerate(rows):
            row[8] = place

    return signed(change)


def bucket_edited() -> Files:
    """One of somebody's outcomes is of another bucket."""

    def change(sample: Sample) -> None:
        rows = sample.rows["outcomes"]
        row = next(row for place, row in enumerate(rows) if row[7] in {other[7] for other in rows[:place]} - {None})
        row[3] = (row[3] + 1) % 10_000
        summed_again(sample)

    return signed(change)


def recheck_dropped() -> Files:
    """A look says that the KPIs were measured anew, and no record of it is there."""
    return signed(lambda sample: sample.predicate["records"]["rechecks"].clear())


def _at(sample: Sample, *path: str, days: float) -> None:
    part: Any = sample.predicate
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = (datetime.fromisoformat(part[path[-1]]) + timedelta(days=days)).isoformat()


def ingest_finished_later() -> Files:
    """The candidate's ingest ended a year after it was evaluated."""
    return signed(lambda sample: _at(sample, "ingests", "candidate", "finished_at", days=365))


def planned_before_the_locks() -> Files:
    """The plan was made years before the locks that it is of."""

    def change(sample: Sample) -> None:
        _at(sample, "plan", "created_at", days=-2000)
        known = sample.predicate["plan"]["body"]["known_scores"]
        assert [] == list(known)

    return signed(change)


LOOKS_AGAIN: dict[Callable[[], Files], tuple[str, str]] = {
    candidate_was_bad: ("looks again", f"{FIRST_LOOK}.findings[0].value"),
    verdicts_were_bad: ("looks", f"{FIRST_LOOK}.verdict"),
    nothing_was_found: ("looks", f"{EVENTS}[2].body.event.findings[0]"),
    finding_failed: ("looks", f"{EVENTS}[2].body.event.verdict"),
    bound_edited: ("looks again", f"{EVENTS}[2].body.event.findings[1].high"),
    quantile_edited: ("looks again", f"{EVENTS}[2].body.event.findings[3].value"),
    margin_of_a_look: ("looks", f"{EVENTS}[2].body.event.findings[0].margin"),
    counts_edited: ("looks", f"{FIRST_LOOK}.candidate_outcomes"),
    outcomes_dropped: ("looks", f"{FIRST_LOOK}.known"),
    bad_outcomes_dropped: ("looks", f"{FIRST_LOOK}.known"),
    outcomes_reversed: ("live outcomes", "rows:.outcomes[0][7]"),
    unit_split: ("looks again", f"{FIRST_LOOK}.findings[5].n_baseline"),
    bucket_edited: ("live outcomes", "rows:.outcomes[10][3]"),
    recheck_dropped: ("looks", f"{FIRST_LOOK}.findings"),
    ingest_finished_later: ("clock", ".predicate.ingests.candidate.finished_at"),
    planned_before_the_locks: ("clock", ".predicate.plan.created_at"),
}
"""Each way with the claim that names it, and the place."""
