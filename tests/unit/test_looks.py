"""Looks of a sealed rollout: what follows from their findings, what they count, and what they say when taken again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from bakeoff import history, looks, relook
from bakeoff.difference import Difference
from bakeoff.rollout import Action, Look, body_of
from bakeoff.sealed import Live, Sealed
from bakeoff.verdicts import Verdict
from tests.looked_again import EVENTS, FIRST_LOOK, finding_of, looks_of, summed_again
from tests.sealed import Sample
from tests.sealed_parts import iso
from tests.tampering import small

ARRIVED = (None, None, 4, 2, 3)
"""When outcomes of five minutes arrived: two before that was written down, one after all others."""
STORIES = ["completed", "rolled_back", "forced", "judged", "stopped"]


def opened(sample: Sample) -> Sealed:
    """The seal as claims see it."""
    return Sealed(sample.predicate, (), sample.rows, sample.written)


def place(found: Iterator[Difference]) -> str | None:
    """Where the first difference is, or None."""
    one = next(found, None)
    return None if one is None else one.path


@pytest.mark.parametrize("story", STORIES)
def test_healthy(story: str) -> None:
    """All of it follows; without the rows, too, as far as it can be asked."""
    seal = opened(small(story=story))
    assert (None, None, None) == (place(looks.taken_right(seal)), place(relook.again(seal)), relook.left(seal))
    assert None is place(looks.taken_right(Sealed(seal.predicate)))


def test_the_sample_has_what_is_to_be_seen() -> None:
    """Looks that compare, that hold, that leave something out; units that come back, in a later step, too."""
    sample = small()
    names = {item["watched"] for item in looks_of(sample)[1]["findings"]}
    assert {"errors", "quality", "quality_at_least", "latency_p95", "without_unit", "crossing"} <= names
    assert None is not finding_of(sample, "errors", 1)["difference"]
    assert None is not finding_of(sample, "latency_p95", 1)["value"]
    units = [(row[7], row[1]) for row in sample.rows["outcomes"] if row[7] is not None]
    assert len({unit for unit, _ in units}) < len(set(units)) < len(units)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "an action of a finding": (lambda look: look["findings"][0].update(action="rollback"), "findings[0].action"),
    "an action of a recheck": (lambda look: look["findings"][-1].update(action="hold"), "findings[{last}].action"),
    "what was watched": (lambda look: look["findings"][0].update(watched="sales"), "findings[1]"),
    "a guard left out": (lambda look: look["findings"].pop(5), "findings[5]"),
    "a finding of a recheck": (lambda look: look["findings"][-1].update(said="fine"), "findings"),
    "a mark": (lambda look: look.update(rechecked=False), "rechecked"),
    "the verdict": (lambda look: look.update(verdict="no_data"), "verdict"),
    "the action": (lambda look: look.update(action="error"), "action"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_follows(name: str) -> None:
    """Verdict and action follow from the findings, and these are of what the plan watches."""
    change, path = CHANGES[name]
    sample = small()
    change(looks_of(sample)[0])
    last = len(looks_of(sample)[0]["findings"]) - 1
    assert f"{FIRST_LOOK}.{path.format(last=last)}" == place(looks.decided(opened(sample)))


def test_a_look_that_could_not_be_taken() -> None:
    """It has no findings and knows nothing: an error, and no other verdict; nothing of it can be taken again."""
    sample = small()
    look = looks_of(sample)[1]
    look.update(findings=[], known=None, verdict="error", action="error", rechecked=False)
    seal = opened(sample)
    assert (None, None) == (place(looks.taken_right(seal)), place(relook.again(seal)))
    assert "3 of 4 looks follow from the outcomes; 1 could not be taken" == relook.left(seal)
    look.update(verdict="pass", action="go")
    assert f"{EVENTS}[2].body.event.verdict" == place(looks.decided(seal))


COUNTS: dict[str, tuple[Callable[[Sample], object], str]] = {
    "of the candidate": (lambda s: looks_of(s)[0].update(candidate_outcomes=7), "candidate_outcomes"),
    "of errors": (lambda s: finding_of(s, "errors").update(n_baseline=7), "findings[0].n_baseline"),
    "of the floor": (lambda s: finding_of(s, "quality_at_least").update(n_candidate=999), "findings[2].n_candidate"),
    "of latencies": (lambda s: finding_of(s, "latency_p95").update(n_candidate=999), "findings[3].n_candidate"),
    "of all": (lambda s: looks_of(s)[0].update(known=999), "known"),
    "of nothing": (lambda s: looks_of(s)[0].update(known=-1), "known"),
    "of who knows what": (lambda s: looks_of(s)[0].update(known=None), "known"),
    "of less": (lambda s: looks_of(s)[0].update(known=3), "candidate_outcomes"),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    """A look counts the outcomes that there were."""
    change, path = COUNTS[name]
    sample = small()
    change(sample)
    assert f"{FIRST_LOOK}.{path}" == place(looks.counted(opened(sample)))


def test_an_outcome_that_came_late() -> None:
    """A look did not know it, a later one did: taken again, each is what it was; without its place nothing is."""
    sample = small()
    rows = sample.rows["outcomes"]
    late = [*rows[3]]
    late[4:8] = [False, 999.0, 0.0, None]
    rows.insert(3, late)
    for number, row in enumerate(rows):
        row[8] = number - (number > 3)
    late[8] = len(rows) - 1
    summed_again(sample)
    seal = opened(sample)
    assert (None, None) == (place(looks.counted(seal)), place(relook.again(seal)))
    late[8] = None
    assert "rows:.outcomes[0][8]" in [one.path for one in history.live(seal)]
    late[8] = 0
    assert f"{FIRST_LOOK}.findings[0].baseline" == place(relook.again(seal))


def test_nothing_is_said_after_a_wrong_count() -> None:
    """One thing differs, and what would follow from it is not said."""
    sample = small()
    looks_of(sample)[0]["known"] = 999
    seal = opened(sample)
    assert [[f"{FIRST_LOOK}.known"]] * 2 == [[one.path for one in of(seal)] for of in (looks.counted, relook.again)]


AGAIN: dict[str, tuple[Callable[[Sample], object], str]] = {
    "a reach": (lambda s: finding_of(s, "errors", 1).update(low=-0.5), "findings[0].low"),
    "a count of units": (lambda s: finding_of(s, "share_mismatch", 1).update(n_candidate=1), "findings[5].n_candidate"),
    "a count of those left out": (
        lambda s: finding_of(s, "without_unit", 1).update(n_baseline=1),
        "findings[4].n_baseline",
    ),
    "a finding too few": (lambda s: looks_of(s)[1]["findings"].pop(1), "findings"),
    "what the step counted": (lambda s: looks_of(s)[1].update(candidate_outcomes=1), "candidate_outcomes"),
}


@pytest.mark.parametrize("name", AGAIN)
def test_taken_again(name: str) -> None:
    """Every figure of a look follows from the outcomes that it knew."""
    change, path = AGAIN[name]
    sample = small()
    change(sample)
    assert f"{EVENTS}[2].body.event.{path}" == place(relook.again(opened(sample)))


def test_words_may_change() -> None:
    """What a look said is not compared: another version may put it otherwise."""
    sample = small()
    for look in looks_of(sample):
        for finding in look["findings"]:
            finding["said"] = "otherwise"
    assert None is place(relook.again(opened(sample)))


def test_nothing_was_left_out() -> None:
    """A look that says that outcomes were left out, and none were."""
    sample = small()
    for row in sample.rows["outcomes"]:
        if row[7] is None:
            row[3], row[7] = 9_999, 500
    said = [one for one in relook.again(opened(sample)) if one.expected == "nothing left out"]
    assert (f"{FIRST_LOOK}.findings[4]", "without_unit") == (said[0].path, said[0].found)


def test_outcomes_in_order() -> None:
    """They are in order of time, and no two arrived at one place."""
    sample = small()
    rows = sample.rows["outcomes"]
    rows[5][0], rows[6][0] = rows[6][0], rows[5][0]
    summed_again(sample)
    assert "rows:.outcomes[6][0]" == place(history.live(opened(sample)))
    sample = small()
    sample.rows["outcomes"][6][8] = 5
    assert "rows:.outcomes[6][8]" == place(history.live(opened(sample)))


def test_outcomes_of_which_it_is_not_known_when_they_arrived() -> None:
    """They were there before those of which it is known, whose places go on from there, in any order of time."""
    sample = small()
    rows = sample.rows["outcomes"]
    for row in rows[:7]:
        row[8] = None
    assert None is place(history.live(opened(sample)))
    rows[7][8], rows[9][8] = rows[9][8], rows[7][8]
    assert None is place(history.live(opened(sample)))
    rows[5][8] = 6
    assert None is place(history.live(opened(sample)))
    rows[5][8] = 5
    assert "rows:.outcomes[5][8]" == place(history.live(opened(sample)))


@pytest.mark.parametrize(("known", "fresh"), [(2, [0, 1]), (4, [0, 1, 3, 4]), (5, [0, 1, 2, 3, 4]), (1, None)])
def test_late_outcomes_after_some_of_which_it_is_not_known_when_they_arrived(
    known: int, fresh: list[int] | None
) -> None:
    """A look knows these first: they were written by a version from before it, so it can't leave one of them out."""
    found = [
        Live(iso(number), 1, "baseline", None, ok=True, latency_ms=None, quality=None, unit=None, arrived=at)
        for number, at in enumerate(ARRIVED)
    ]
    look = looks.Taken("look", datetime.fromisoformat(iso(9)), {"known": known}, {})
    (one,) = looks.known([look], found)
    if fresh is None:
        assert Difference("rows:.outcomes[1][8]", "when it arrived, as others came late", "null") == one
    else:
        assert looks.Known(look, tuple(fresh)) == one


def test_rules() -> None:
    """A look names the rules that it is taken by; one of a version that knew no others named none, nor what it knew."""
    assert looks.RULES == (body_of(Look(Action.GO, Verdict.PASS, 1, "fine"))["rules"],)
    sample = small()
    look = looks_of(sample)[0]
    del look["rules"], look["known"]
    assert f"{FIRST_LOOK}.known" == place(looks.decided(opened(sample)))
    look.update(findings=[], verdict="error", action="error", rechecked=False)
    assert None is place(looks.decided(opened(sample)))


def test_what_was_said_about_routing_in_order() -> None:
    """It is in order of time, and all of it but shadow is in the list of what was forced."""
    sample = small(story="forced", clock="wall")
    word = {"bucket": None, "unit": None, "by": "bob", "reason": "PANIC", "arm": None}
    sample.predicate["rollout"]["routing"] = [
        {**word, "at": iso(70), "event": "killed"},
        {**word, "at": iso(90), "event": "unkilled"},
        {**word, "at": iso(95), "event": "shadow_off"},
        {**word, "at": iso(100), "event": "forced", "arm": "candidate"},
    ]
    assert ".predicate.forced[1].what" == place(history.forced(opened(sample)))
    told = sample.predicate["forced"]
    for number, (what, at) in enumerate([("kill", 70), ("unkill", 90), ("force to candidate", 100)], start=1):
        told.insert(number, {"what": what, "by": "bob", "why": "PANIC", "at": iso(at)})
    assert None is place(history.forced(opened(sample)))
    assert ["start", "kill", "unkill", "force to candidate", "promote"] == [item["what"] for item in told]
    sample.predicate["rollout"]["routing"].reverse()
    assert ".predicate.rollout.routing[3].at" == place(history.forced(opened(sample)))


def test_nobody_is_named() -> None:
    """Where no outcome has a unit each is one of its own: all are compared, and nothing is left out."""
    sample = small()
    for row in sample.rows["outcomes"]:
        row[3] = row[7] = None
    said = {one.path: one for one in relook.again(opened(sample))}
    assert "nothing left out" == said[f"{FIRST_LOOK}.findings[4]"].expected
    assert {(row[1], row[2]) for row in sample.rows["outcomes"]} >= {(1, "baseline"), (1, "candidate")}


def test_an_arm_without_outcomes_in_a_step() -> None:
    """It has nothing to compare, and that is what the look counts."""
    sample = small()
    rows = [row for row in sample.rows["outcomes"] if (row[1], row[2]) != (2, "baseline")]
    sample.rows["outcomes"] = [[*row[:8], number] for number, row in enumerate(rows)]
    for look in looks_of(sample):
        look["known"] = sum(row[0] <= look["taken_at"] for row in rows)
    said = [one.path for one in relook.again(opened(sample))]
    assert [] == [path for path in said if path.startswith((FIRST_LOOK, f"{EVENTS}[2]"))]
    assert f"{EVENTS}[4].body.event.findings[4]" in said
