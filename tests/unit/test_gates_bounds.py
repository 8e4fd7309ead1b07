"""Gates at their bounds: rounding decides nothing, and no advice is given that nobody could follow."""

from __future__ import annotations

import pytest

from bakeoff.gates import MOST_QUESTIONS
from bakeoff.verdicts import Verdict
from tests import judged
from tests.judged import GATES, Values

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
MEAN = GATES["loss of a mean"]
ROUND = {
    "a gain": ({"rule": "gain", "metric": "f1", "at_least": 0.05}, [0.0] * 60, [1.0] * 3 + [0.0] * 57),
    "a gain from below": (
        {"rule": "gain", "metric": "f1", "at_least": 0.05}, [0.1 + 0.2] * 60, [0.35] * 60,
    ),
    "a level from below": ({"rule": "level", "metric": "f1", "at_least": 0.3}, [0.0] * 60, [0.3 - 1e-16] * 60),
    "a level from above": ({"rule": "level", "metric": "f1", "at_most": 0.3}, [0.0] * 60, [0.1 + 0.2] * 60),
    "a figure of the whole": (
        {"rule": "level", "metric": "dedup_share", "at_most": 0.3}, [0.0], [0.1 + 0.2],
    ),
    "a change": ({"rule": "stable", "metric": "dedup_share", "within": 0.1}, [0.3], [0.33 + 1e-16]),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUND)
def test_the_last_digit_of_a_float_decides_nothing(name: str) -> None:
    """What reaches a bound but for rounding reaches it; a millionth beyond it does not."""
    gate, before, after = ROUND[name]
    assert PASS is judged.finding(gate, before, after).verdict
    down = gate["rule"] == "gain" or "at_least" in gate
    beyond = [value - 1e-6 if down else value + 1e-6 for value in after]
    assert PASS is not judged.finding(gate, before, beyond).verdict


def test_a_minimum_effect_is_reached_but_for_rounding() -> None:
    """A mean loss of 0.04999999999999998 is one of 0.05."""
    gate = MEAN | {"margin": 0.05, "minimum_effect": 0.05}
    before: Values = [0.3] * 60
    lost: Values = [0.25] * 60
    found = judged.finding(gate, before, lost)
    assert found.difference is not None
    assert (True, FAIL) == (-0.05 < found.difference < -0.05 + 1e-12, found.verdict)
    assert OPEN is judged.finding(gate, [0.0, *before], [0.2, *lost]).verdict


def test_no_number_is_given_that_nobody_could_ask() -> None:
    """A gap that would take more than ten million questions to show has none."""
    before: Values = [0.0, 1.0] * 100
    after: Values = [1.0, 0.0] * 100
    gate = {"rule": "gain", "metric": "f1"}
    wide, hair = (judged.finding(gate | {"at_least": least}, before, after) for least in (0.01, 0.0001))
    assert (OPEN, OPEN) == (wide.verdict, hair.verdict)
    assert wide.further_questions is not None
    assert 10_000 < wide.further_questions < MOST_QUESTIONS
    assert None is hair.further_questions
