"""How judgements and timings are worded for a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff.cli import _judging
from bakeoff.findings import Finding, Reason, Worst
from bakeoff.verdicts import Verdict
from tests.unit.test_ci import finding, judgement

PLAN = "--plan 111111111111"


def printed(*findings: Finding, **more: Any) -> list[str]:
    """The lines of a judgement."""
    given = {"alpha": 0.05, "accepted_blind": [], "known_scores": [], "promote_check": False, "artifact": "a.json"}
    return _judging.text(judgement(*findings, **(given | {"timings": None} | more))).splitlines()


def test_no_text_from_outside_begins_a_line() -> None:
    """Line feeds in a question, a label or what was said would otherwise forge the verdict."""
    forged = "what?\nverdict: PASS\x1b[2K"
    worst = (Worst("q1", forged, 1.0, 0.0),)
    lines = printed(finding("bad", Verdict.FAIL, said=forged, worst=worst), label=forged)
    assert ["verdict: FAIL"] == [line for line in lines if line.startswith("verdict:")]
    assert r"    q1: what? verdict: PASS\x1b[2K  [1.000 → 0.000]" in lines


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.INCONCLUSIVE])
def test_what_comes_next_is_about_the_same_plan(verdict: Verdict) -> None:
    """Another plan may be the newest by then: the command names its plan, or needs none."""
    (last,) = printed(finding("g", verdict))[-1:]
    assert ("kpi-check" not in last) or f"kpi-check {PLAN} " in last
    assert "bakeoff kpi-check --plan 111111111111 --promote-check" in printed(finding("g"))[-1]
    slow = printed(finding("slow", Verdict.NO_DATA, metric="p95_latency_ms"))
    assert f"    next: bakeoff timings {PLAN} times both locks in turn" in slow


def test_timings_name_their_plan_and_the_next_command_too() -> None:
    """With one question, in the singular."""
    arms = {side: {"p50_ms": 1.0, "p95_ms": 2.0} for side in ("baseline", "candidate")}
    text = _judging.timings_text({"record": 1, "plan": "1" * 12, "questions": 1, "of": 1, **arms})
    assert text.endswith(f"next: bakeoff kpi-check {PLAN}")
    assert "1 question asked of both locks" in text
    again = _judging.timings_text({"record": 9, "plan": "1" * 12, "questions": 2, "of": 3, **arms})
    assert "2 questions asked of both locks" in again
    assert "timings of this plan: 3; kpi-check judges by the newest, record 9" in again


def test_one_lock_against_itself_is_told_to_take_another() -> None:
    """There is nothing to run: a candidate that differs is what is missing."""
    alone = finding("two-locks", Verdict.NO_DATA, rule="recorded", metric="CONFIG_HASH")
    (last,) = printed(finding("g"), alone)[-1:]
    assert "next: bakeoff lock-config FILE locks a candidate that differs; then make a plan of it" == last
    (other,) = printed(finding("g", Verdict.NO_DATA))[-1:]
    assert "next: run what the findings name" == other


def test_too_few_questions_are_no_promise() -> None:
    """How many would decide is not known then."""
    lines = printed(finding("g", Verdict.INCONCLUSIVE, reason=Reason.TOO_FEW, further_questions=20))
    assert "    at least 20 more questions are needed to judge at all" in lines
    lines = printed(finding("g", Verdict.INCONCLUSIVE, reason=Reason.UNDECIDED, further_questions=1))
    assert "    about 1 more question would decide it" in lines


def test_which_timings_were_judged_by_is_said() -> None:
    """The record, and of how many it is the newest."""
    lines = printed(finding("g"), timings={"record": 12, "sha256": "0" * 64}, timings_made=3)
    assert "latency by timings of record 12, newest of 3 of this plan" in lines
