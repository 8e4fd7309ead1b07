"""No data is never a pass: what is missing, broken or too little, one by one for every rule and kind of metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from bakeoff import plural
from bakeoff.errors import InputError
from bakeoff.findings import Reason
from bakeoff.rules import FACTS, LATENCY
from bakeoff.verdicts import Verdict
from tests import judged
from tests.judged import GATES, YES, Values

Make = Callable[[Values], tuple[Values, Values]]
OF_QUESTIONS = [name for name, gate in GATES.items() if gate["metric"] not in FACTS]
NAN = math.nan


def none_of(values: Values) -> Values:
    """As many values, none of them measured."""
    return [None] * len(values)


INPUTS: dict[str, tuple[Make, Verdict]] = {
    "all errors on both sides": (lambda good: (none_of(good), none_of(good)), Verdict.NO_DATA),
    "all errors of the candidate": (lambda good: (good, none_of(good)), Verdict.ERROR),
    "all not a number": (lambda good: ([NAN] * len(good), [NAN] * len(good)), Verdict.ERROR),
    "all of the candidate not a number": (lambda good: (good, [NAN] * len(good)), Verdict.ERROR),
    "all of the baseline not a number": (lambda good: ([NAN] * len(good), good), Verdict.ERROR),
    "one not a number": (lambda good: (good, [NAN, *good[1:]]), Verdict.ERROR),
    "one of the baseline not a number": (lambda good: ([NAN, *good[1:]], good), Verdict.ERROR),
    "one infinite": (lambda good: (good, [math.inf, *good[1:]]), Verdict.ERROR),
    "no question": (lambda _: ([], []), Verdict.NO_DATA),
    "one question": (lambda good: (good[:1], good[:1]), Verdict.INCONCLUSIVE),
    "two questions": (lambda good: (good[:2], good[:2]), Verdict.INCONCLUSIVE),
    "one question too few": (lambda good: (good[:29], good[:29]), Verdict.INCONCLUSIVE),
}


@pytest.mark.parametrize("name", GATES)
def test_the_good_input_passes(name: str) -> None:
    """Without this the tests below would prove nothing: the same gate passes what is measured and good."""
    good = judged.good(GATES[name]["metric"])
    assert Verdict.PASS is judged.finding(GATES[name], good, good).verdict


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("name", OF_QUESTIONS)
def test_a_figure_of_questions_never_passes(name: str, case: str) -> None:
    """Whatever is missing or broken: no data, error or inconclusive, and so is the whole judgement."""
    gate, (make, expected) = GATES[name], INPUTS[case]
    observations = judged.seen(gate["metric"], *make(judged.good(gate["metric"])))
    judgement = judged.judge(judged.profile(gate), observations)
    assert expected is judgement.findings[0].verdict is judgement.verdict


@pytest.mark.parametrize("name", ["level of a fact", "stable"])
def test_a_figure_of_the_whole_never_passes_unmeasured(name: str) -> None:
    """Missing is no data, not a number is an error; only a level has no need of the baseline's."""
    gate = GATES[name]
    assert Verdict.NO_DATA is judged.finding(gate, [2.0], [None]).verdict
    assert Verdict.NO_DATA is judged.finding(gate, [2.0], []).verdict
    for wrong in (NAN, math.inf, -math.inf):
        assert Verdict.ERROR is judged.finding(gate, [2.0], [wrong]).verdict
    without = Verdict.NO_DATA if name == "stable" else Verdict.PASS
    assert without is judged.finding(gate, [None], [2.0]).verdict


@pytest.mark.parametrize("name", GATES)
def test_a_metric_that_nobody_measured_is_no_data(name: str) -> None:
    """Where the arms do not know the metric at all, nothing is made of it."""
    good = judged.good("f1")
    other = judged.seen("em", good, good)
    assert Verdict.NO_DATA is judged.judge(judged.profile(GATES[name]), other).verdict


@pytest.mark.parametrize("name", OF_QUESTIONS)
def test_a_candidate_that_fails_on_the_hard_questions_never_passes(name: str) -> None:
    """Its other answers are perfect; the missing ones are an error that counts them."""
    gate = GATES[name]
    before = judged.good(gate["metric"])
    hard = 200.0 if gate["metric"] == LATENCY else 0.0
    best = 10.0 if gate["metric"] == LATENCY else 1.0
    baseline = [hard if n % 10 == 0 else value for n, value in enumerate(before)]
    candidate: list[float | None] = [None if n % 10 == 0 else best for n in range(len(before))]
    found = judged.finding(gate, baseline, candidate)
    assert (Verdict.ERROR, Reason.ONE_SIDED) == (found.verdict, found.reason)
    assert "0 questions have a value for the candidate alone and 20 for the baseline alone, of 200: more than 0%" == (
        found.said
    )


@pytest.mark.parametrize("name", [name for name in OF_QUESTIONS if "level" not in name])
def test_the_share_that_may_be_one_sided_is_the_profiles(name: str) -> None:
    """Up to that share the others are judged, above it nothing is; values that both lack are no matter."""
    good = judged.good(GATES[name]["metric"])
    one: list[float | None] = [None, *good[1:]]
    eleven: list[float | None] = [*none_of(good[:11]), *good[11:]]
    for left, right in ((good, one), (one, good)):
        assert Verdict.ERROR is judged.finding(GATES[name], left, right).verdict
        assert Verdict.PASS is judged.finding(GATES[name], left, right, unmeasured=0.05).verdict
    assert Verdict.ERROR is judged.finding(GATES[name], good, eleven, unmeasured=0.05).verdict
    both = judged.finding(GATES[name], eleven, eleven)
    assert (Verdict.PASS, 189) == (both.verdict, both.n)


@pytest.mark.parametrize("name", OF_QUESTIONS)
def test_below_the_minimum_it_says_how_many_are_missing(name: str) -> None:
    """The minimum of the gate holds; of timings a hundred are needed in any case."""
    gate = GATES[name] | {"minimum": 60}
    least = 100 if gate["metric"] == LATENCY else 60
    good = judged.good(gate["metric"])
    found = judged.finding(gate, good[: least - 1], good[: least - 1])
    assert (Verdict.INCONCLUSIVE, Reason.TOO_FEW, 1) == (found.verdict, found.reason, found.further_questions)
    assert f"{least - 1} questions with a value, fewer than {least}" == found.said
    assert Reason.TOO_FEW is not judged.finding(gate, good[:least], good[:least]).reason


@pytest.mark.parametrize("name", OF_QUESTIONS)
def test_fewer_values_than_the_plan_counts_on_are_an_error(name: str) -> None:
    """Lost on both sides alike they would be seen by nobody else; up to the share that may be missing they may."""
    gate = GATES[name]
    good = judged.good(gate["metric"])
    thin: list[float | None] = [*none_of(good[:11]), *good[11:]]
    for values, share, expected, verdict in (
        (good, 0.0, 200, Verdict.PASS),
        (good, 0.0, 201, Verdict.ERROR),
        (thin, 0.0, 200, Verdict.ERROR),
        (thin, 0.05, 200, Verdict.ERROR),
        (thin, 0.055, 200, Verdict.PASS),
        (thin, 0.0, 189, Verdict.PASS),
        (none_of(good), 0.0, 200, Verdict.NO_DATA),
    ):
        observed = replace(judged.seen(gate["metric"], values, values), expected={gate["metric"]: expected})
        (found,) = judged.judge(judged.profile(gate, unmeasured=share), observed).findings
        assert verdict is found.verdict
        if verdict is Verdict.ERROR:
            count = sum(value is not None for value in values)
            assert Reason.MISSING is found.reason
            assert (
                f"{plural.counted(count, 'question')} {plural.have(count)} a value, the plan counts on {expected}"
                == found.said
            )


def test_arms_that_are_not_aligned_are_refused() -> None:
    """As many values as questions, as many timings as were timed: otherwise nobody knows what belongs together."""
    good = judged.good(YES)
    observations = judged.seen(YES, good, good[:-1])
    with pytest.raises(InputError, match="199 values of reader_used_gold for 200 questions"):
        judged.judge(judged.profile(GATES["loss of a share"]), observations)
    timed = replace(judged.seen(LATENCY, judged.good(LATENCY), judged.good(LATENCY)), timed=["q0000"])
    with pytest.raises(InputError, match="200 timings for 1 timed questions"):
        judged.judge(judged.profile(GATES["loss of time"]), timed)


@pytest.mark.parametrize(("count", "said"), [(1, "1 question with a value,"), (3, "3 questions with a value,")])
def test_one_question_is_singular(count: int, said: str) -> None:
    """In what is said of too few."""
    found = judged.finding(GATES["loss of a share"] | {"minimum": 30}, judged.good(YES, count), judged.good(YES, count))
    assert found.said.startswith(said)
    assert (Reason.TOO_FEW, 30 - count) == (found.reason, found.further_questions)
