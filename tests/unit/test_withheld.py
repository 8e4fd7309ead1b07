"""What a seal leaves to the rows: texts and ids of questions, lines of what was found; and how it comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import withheld
from bakeoff.errors import InputError

ASKED = [("q0", "Where is it?"), ("q1", "When was it?"), ("q2", "Who was it?")]
PLACES = {"q0": 0, "q1": 1, "q2": 2}
WORST = {"question_id": "q1", "question": "When was it?", "baseline": 1.0, "candidate": None}
JUDGEMENT: dict[str, Any] = {"findings": [{"gate": "f1", "worst": [WORST]}, {"gate": "em", "worst": []}], "seed": 7}
PROBES = {"kind": "probes", "findings": [{"offenders": ["Where is it?", "b"]}, {"offenders": []}, {"offenders": ["c"]}]}
BODIES: dict[str, dict[str, Any]] = {
    "judgement": JUDGEMENT,
    "timings": {"questions": ["q2", "q0", "q1"], "baseline_ms": [1.0, 2.0, 3.0]},
    "recheck": {"verdict": "pass", "judgement": JUDGEMENT},
    "recheck of an error": {"verdict": "error", "findings": []},
    "probes": PROBES,
    "parity": {"findings": [{"check": "chunk-ids", "examples": ["q1 is gone"]}]},
    "rollback_check": {"findings": [{"check": "table"}]},
}


@pytest.mark.parametrize("name", BODIES)
def test_there_and_back(name: str) -> None:
    """What was recorded comes back to the last key, and no question is named meanwhile."""
    kind, body = name.split(" ", maxsplit=1)[0], BODIES[name]
    left, lines = withheld.without(kind, body, PLACES)
    assert body == withheld.whole(kind, left, ASKED, lines)
    said = json.dumps(left)
    assert [] == [text for pair in ASKED for text in pair if text in said]


def test_what_is_left() -> None:
    """Rows for questions, counts for lines, figures as they were."""
    left, lines = withheld.without("judgement", JUDGEMENT, PLACES)
    assert ([{"row": 1, "baseline": 1.0, "candidate": None}], []) == (left["findings"][0]["worst"], lines)
    left, lines = withheld.without("probes", PROBES, PLACES)
    assert ([2, 0, 1], ["Where is it?", "b", "c"]) == ([item["offenders"] for item in left["findings"]], lines)
    assert {"worst": [{"row": 1, "baseline": 1.0, "candidate": None}], "gate": "f1"} == withheld.finding(
        JUDGEMENT["findings"][0], PLACES
    )


@given(st.lists(st.lists(st.text(), max_size=3), max_size=5))
def test_lines_of_any_number(found: list[list[str]]) -> None:
    """Every finding gets its own lines back."""
    body = {"findings": [{"examples": lines} for lines in found]}
    left, lines = withheld.without("parity", body, {})
    assert body == withheld.whole("parity", left, [], lines)


def test_a_question_that_nobody_asked() -> None:
    """A record of other questions is refused, with the question."""
    with pytest.raises(InputError, match="question 'q1' is not one of those that were judged"):
        withheld.without("judgement", JUDGEMENT, {"q0": 0})
    with pytest.raises(InputError, match="question 'q2' is not one of those that were judged"):
        withheld.without("timings", BODIES["timings"], {"q0": 0})


@pytest.mark.parametrize("row", [3, -1, 1.0, "1", True, None])
def test_a_row_that_is_none(row: Any) -> None:
    """A number of one of the rows, nothing that passes for one."""
    with pytest.raises(InputError, match=f"row {row!r} is none of 3"):
        withheld.whole("timings", {"questions": [row]}, ASKED, [])


@pytest.mark.parametrize(("counts", "there"), [([2], 1), ([1], 2), ([3, -1], 2)])
def test_other_lines_than_were_left_out(counts: list[int], there: int) -> None:
    """More, fewer, or less than none."""
    body = {"findings": [{"offenders": count} for count in counts]}
    with pytest.raises(InputError, match=f"offenders: {sum(counts)} lines are named, {there} are there"):
        withheld.whole("probes", body, [], ["x"] * there)


def test_questions_of_a_report() -> None:
    """Questions that were left out, and documents that are not there, are counted; a report without them stays."""
    report = {"used": 3, "left_out": [{"question_id": "q9", "reason": "gone"}], "absent_documents": ["d", "e"]}
    assert {"used": 3, "left_out": 1, "absent_documents": 2} == withheld.questions(report)
    assert {"used": 3} == withheld.questions({"used": 3})
