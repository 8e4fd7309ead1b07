"""How judgements and timings are worded for a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff import gate_words
from bakeoff.cli import _judging, _planning
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


def timed(p95: float, *, failed: int = 0, reliable: bool = True) -> dict[str, Any]:
    """One lock's timings, as `--json` prints them."""
    return {"p50_ms": 1.0, "p95_ms": p95, "p95_reliable": reliable, "failed": failed}


def test_too_few_timings_and_failed_answers_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A p95 of a few questions is marked; some failed answers are said and no failure, unlike all of a lock."""
    data = {"record": 1, "plan": "1" * 12, "questions": 9, "of": 1, "first_error": "away"}
    data |= {"baseline": timed(2.0, reliable=False), "candidate": timed(3.0, failed=2)}
    rows = [line.split() for line in _judging.timings_text(data).splitlines()]
    assert ["baseline", "1.0", "2.0", "(too", "few)"] in rows
    assert ["candidate", "1.0", "3.0"] in rows
    assert 0 == _judging.timings_exit_code(data)
    said = "bakeoff: answers failed (baseline 0, candidate 2, of 9 questions), the first with: away\n"
    assert said == capsys.readouterr().err
    assert 5 == _judging.timings_exit_code(data | {"baseline": timed(2.0, failed=9)})
    capsys.readouterr()
    assert 0 == _judging.timings_exit_code(data | {"candidate": timed(3.0)})
    assert "" == capsys.readouterr().err


def test_timings_are_advised_where_there_are_none() -> None:
    """Where they are there and say nothing, because every answer failed, taking them again is no advice."""
    slow = finding("slow", Verdict.NO_DATA, metric="p95_latency_ms")
    assert any("bakeoff timings" in line for line in printed(slow))
    there = {"record": 12, "sha256": "0" * 64}
    assert not any("bakeoff timings" in line for line in printed(slow, timings=there))


def test_timings_name_their_plan_and_the_next_command_too() -> None:
    """With one question, in the singular."""
    arms = {side: timed(2.0) for side in ("baseline", "candidate")}
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


def test_repeated_evaluations_are_said() -> None:
    """Whoever evaluates again may choose: how often each side was, and the run judged by; once says nothing."""
    lines = printed(finding("g"), runs_made={"baseline": 2, "candidate": 3})
    expected = "; ".join(
        f"{side} evaluated {times} times for this plan, judged by run 20260102T030405-abcdef"
        for side, times in (("candidate", 3), ("baseline", 2))
    )
    assert expected in lines
    once = printed(finding("g"), runs_made={"baseline": 1, "candidate": 1})
    assert printed(finding("g")) == once


def test_what_the_plan_was_made_in_spite_of_is_said() -> None:
    """Gates that see too little, scores that were known."""
    lines = printed(finding("g"), accepted_blind=["f1", "em"], known_scores=["run-1"])
    assert ["accepted blind: f1, em", "planned after these runs were known: run-1"] == lines[-5:-3]


def test_a_share_sees_no_change_beyond_the_whole() -> None:
    """More than 100 points can't be lost, so nothing would be seen; a latency may well grow by more than 100 %."""
    assert any(line.split()[-2:] == ["nothing", "2"] for line in printed(finding("g", detectable=1.2, n=2)))
    assert any(line.split()[-2:] == ["100.0", "2"] for line in printed(finding("g", detectable=1.0, n=2)))
    slow = finding("g", detectable=1.2, n=2, metric="p95_latency_ms")
    assert any(line.split()[-2:] == ["120.0", "2"] for line in printed(slow))
    blind = {"metric": "f1", "rule": "no_worse", "detectable": 1.2}
    assert "nothing" == gate_words.sight(blind)
    assert "it could not have seen any change that there can be" == gate_words.sight_said(blind)
    row = {"gate": "g", "severity": "block", "n": 2, "margin": 0.1, "because": "so", "blind": True, **blind}
    assert "nothing BLIND" == _planning._gate(row)[4]
    assert "99.0 pt BLIND" == _planning._gate(row | {"detectable": 0.99})[4]
