"""Gates: what passes, fails and stays open, by rule and kind of metric, and what a finding carries."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff import paired, power, stats
from bakeoff.findings import Finding, Observations, Observed, Reason
from bakeoff.rules import FACTS, LATENCY, Gate
from bakeoff.verdicts import Severity, Verdict
from tests import judged
from tests.judged import GATES, YES, Values

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
ORDER = list(Verdict)
SHARE, MEAN, TIME = GATES["loss of a share"], GATES["loss of a mean"], GATES["loss of time"]


def share(yes: int, count: int = 200) -> list[float | None]:
    """So many yes, first of all."""
    return [float(n < yes) for n in range(count)]


def noise(count: int = 200, spread: float = 0.2) -> list[float]:
    """Figures around 0 that add up to 0."""
    rng = random.Random(3)
    half = [rng.uniform(-spread, spread) for _ in range(count // 2)]
    return [*half, *(-value for value in half)]


def graded(shift: float, count: int = 200, size: float = 1.0) -> list[float | None]:
    """A mean of 0.5 and *shift*, with noise that differs from question to question."""
    return [0.5 + shift + size * value for value in noise(count)]


def timings(factor: float, count: int = 200) -> list[float | None]:
    """Latencies around 100 ms that grow by *factor*, in ms."""
    return [factor * (100.0 + 30.0 * math.sin(7.0 * n)) for n in range(count)]


def said(gate: dict[str, Any], baseline: Values, candidate: Values) -> tuple[Verdict, Reason]:
    """Verdict and reason of one gate."""
    found = judged.finding(gate, baseline, candidate)
    return found.verdict, found.reason


Case = tuple[dict[str, Any], Values, Values, Verdict, Reason]
NO_LOSS: dict[str, Case] = {
    "equal shares": (SHARE, share(150), share(150), PASS, Reason.WITHIN_MARGIN),
    "a small loss of a share": (SHARE, share(150), share(146), PASS, Reason.WITHIN_MARGIN),
    "a large loss of a share": (SHARE, share(150), share(120), FAIL, Reason.LOSS),
    "a gain of a share": (SHARE, share(120), share(150), PASS, Reason.WITHIN_MARGIN),
    "a share nobody knows": (SHARE, [0.0, 1.0] * 25, [1.0, 0.0] * 25, OPEN, Reason.UNDECIDED),
    "equal means": (MEAN, graded(0.0), graded(0.0), PASS, Reason.WITHIN_MARGIN),
    "a small loss of a mean": (MEAN, graded(0.0), graded(-0.02, size=0.5), PASS, Reason.WITHIN_MARGIN),
    "a large loss of a mean": (MEAN, graded(0.0), graded(-0.2), FAIL, Reason.LOSS),
    "a mean nobody knows": (MEAN, [0.0, 1.0] * 20, [1.0, 0.0] * 20, OPEN, Reason.UNDECIDED),
    "equal times": (TIME, timings(1.0), timings(1.0), PASS, Reason.WITHIN_MARGIN),
    "faster": (TIME, timings(1.0), timings(0.3), PASS, Reason.WITHIN_MARGIN),
    "a little slower": (TIME, timings(1.0), timings(1.2), PASS, Reason.WITHIN_MARGIN),
    "much slower": (TIME, timings(1.0), timings(3.0), FAIL, Reason.LOSS),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_LOSS)
def test_no_worse(name: str) -> None:
    """Within the margin passes, a loss beyond it fails, what nobody knows stays open; slower is worse, not better."""
    gate, baseline, candidate, verdict, reason = NO_LOSS[name]
    assert (verdict, reason) == said(gate, baseline, candidate)


GAIN = {"rule": "gain", "metric": YES, "at_least": 0.05, "suspicious_above": 0.15}
LEVEL = {"rule": "level", "metric": YES, "at_least": 0.45}
OTHERS: dict[str, Case] = {
    "gain reached": (GAIN, share(100), share(112), PASS, Reason.REACHED),
    "gain reached exactly": (GAIN, share(100), share(110), PASS, Reason.REACHED),
    "gain surely not": (GAIN, share(100), share(90), FAIL, Reason.NOT_REACHED),
    "gain not sure": (GAIN, share(100), share(108), OPEN, Reason.UNDECIDED),
    "gain suspicious": (GAIN, share(100), share(140), PASS, Reason.SUSPICIOUS),
    "gain of a mean": (GAIN | {"metric": "f1"}, graded(0.0), graded(0.1), PASS, Reason.REACHED),
    "no gain of a mean": (GAIN | {"metric": "f1"}, graded(0.0), graded(-0.1), FAIL, Reason.NOT_REACHED),
    "level reached": (LEVEL, share(0), share(90), PASS, Reason.REACHED),
    "level missed by chance": (LEVEL, share(200), share(88), OPEN, Reason.UNDECIDED),
    "level surely missed": (LEVEL, share(0), share(40), FAIL, Reason.NOT_REACHED),
    "level of a mean": (LEVEL | {"metric": "f1"}, graded(0.0), graded(-0.04), PASS, Reason.REACHED),
    "mean surely too low": (LEVEL | {"metric": "f1"}, graded(0.0), graded(-0.3), FAIL, Reason.NOT_REACHED),
    "mean too high": (
        {"rule": "level", "metric": "f1", "at_most": 0.4}, graded(0.0), graded(0.1), FAIL, Reason.NOT_REACHED,
    ),
    "time within": (
        {"rule": "level", "metric": LATENCY, "at_most": 130}, timings(9.0), timings(1.0), PASS, Reason.REACHED,
    ),
    "time beyond": (
        {"rule": "level", "metric": LATENCY, "at_most": 129}, timings(1.0), timings(1.0), FAIL, Reason.NOT_REACHED,
    ),
    "fact within": (GATES["level of a fact"], [9.0], [5.0], PASS, Reason.REACHED),
    "fact beyond": (GATES["level of a fact"], [5.0], [6.0], FAIL, Reason.NOT_REACHED),
    "fact below": (
        {"rule": "level", "metric": "dedup_share", "at_least": 0.1, "at_most": 0.35}, [0.2], [0.09], FAIL,
        Reason.NOT_REACHED,
    ),
    "stable up": (GATES["stable"], [100.0], [110.0], PASS, Reason.REACHED),
    "stable down": (GATES["stable"], [100.0], [90.0], PASS, Reason.REACHED),
    "unstable": (GATES["stable"], [100.0], [111.0], FAIL, Reason.NOT_REACHED),
    "from nothing": (GATES["stable"], [0.0], [1.0], FAIL, Reason.NOT_REACHED),
    "nothing stays": (GATES["stable"], [0.0], [0.0], PASS, Reason.REACHED),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_gains_levels_and_what_is_stable(name: str) -> None:
    """Reached on the point estimate, failed when surely missed, open between; figures of the whole are exact."""
    gate, baseline, candidate, verdict, reason = OTHERS[name]
    assert (verdict, reason) == said(gate, baseline, candidate)


def test_a_gain_too_good_to_be_believed_is_a_warning() -> None:
    """It passes, whatever its severity, and is said aloud."""
    gate, baseline, candidate, *_ = OTHERS["gain suspicious"]
    (line,) = judged.judge(judged.profile(gate), judged.seen(gate["metric"], baseline, candidate)).warnings
    assert "more than 15 pt" in line


@pytest.mark.parametrize("name", [name for name, case in (NO_LOSS | OTHERS).items() if case[3] is OPEN])
def test_what_is_open_says_how_many_questions_would_decide(name: str) -> None:
    """A number, and a gate that sees so many more of the same is decided."""
    gate, baseline, candidate, *_ = (NO_LOSS | OTHERS)[name]
    found = judged.finding(gate, baseline, candidate)
    assert found.further_questions is not None
    times = 2 * math.ceil((found.n + found.further_questions) / found.n)
    assert OPEN is not judged.finding(gate, [*baseline] * times, [*candidate] * times).verdict


def test_slower_candidates_are_told_how_many_timings_would_decide() -> None:
    """Growth is counted as growth on the scale of ratios: the number is that of a loss, not of a gain."""
    rng = random.Random(5)
    before = [math.exp(rng.gauss(4.0, 0.8)) for _ in range(120)]
    after = [1.5 * math.exp(rng.gauss(4.0, 0.8)) for _ in range(120)]
    found = judged.finding(TIME | {"margin": 0.3}, before, after)
    assert OPEN is found.verdict
    compared = paired.p95_ratio(before, after, margin=0.3, alpha=0.05, seed=7)
    assert compared.spread is not None
    needed = power.questions_needed(compared, margin=0.3, alpha=0.05, fail_alpha=0.05, ratio=True)
    assert needed is not None
    assert needed - 120 == found.further_questions
    rule = power.Rule(0.3, 0.0, 0.05, 0.05)
    assert found.detectable == power.detectable_p95_ratio(120, spread=compared.spread, rule=rule)


def test_equal_arms_without_enough_questions_are_told_how_many() -> None:
    """No difference on too few questions rules no loss out: so many more without a difference would."""
    few = judged.finding(SHARE | {"margin": 0.05}, share(30, 40), share(30, 40))
    assert (OPEN, Reason.UNDECIDED) == (few.verdict, few.reason)
    assert few.further_questions == 52 - 40
    assert PASS is judged.finding(SHARE | {"margin": 0.05}, share(30, 52), share(30, 52)).verdict
    assert OPEN is judged.finding(SHARE | {"margin": 0.05}, share(30, 51), share(30, 51)).verdict
    never = judged.finding(SHARE | {"margin": 0.0}, share(30), share(30))
    assert (OPEN, None) == (never.verdict, never.further_questions)


@pytest.mark.parametrize("name", [name for name, gate in GATES.items() if gate["rule"] != "level"])
def test_equal_arms_differ_by_exactly_nothing(name: str) -> None:
    """The same lock against itself: 0, not nearly 0, and every test for a loss passes."""
    good = judged.good(GATES[name]["metric"])
    found = judged.finding(GATES[name], good, good)
    assert (PASS, 0.0) == (found.verdict, found.difference)
    assert found.value == found.baseline
    assert () == found.worst
    assert None is found.p_loss or found.p_loss == 1.0


@given(st.floats(-0.3, 0.3), st.sampled_from([200, 400]))
def test_a_constant_shift_is_found_as_it_is(shift: float, count: int) -> None:
    """A shift of every question is the difference; beyond the margin it fails, within it passes."""
    before: Values = [0.5 + n % 3 / 10 - 0.1 for n in range(count)]
    after: Values = [value + shift for value in before if value is not None]
    found = judged.finding(MEAN, before, after)
    assert shift == pytest.approx(found.difference, abs=1e-12)
    if abs(shift + 0.1) > 0.05:
        assert (PASS if shift > -0.1 else FAIL) is found.verdict


def test_the_blocking_tests_share_the_error_rate() -> None:
    """Holm over the tests that block alone: each of their p-values is adjusted, those that warn keep theirs."""
    observed = two_metrics(share(100), share(94), graded(0.0), graded(-0.03))
    first, second = SHARE | {"name": "a", "margin": 0.01}, MEAN | {"name": "b", "margin": 0.01}
    alone = [judged.judge(judged.profile(gate), observed).findings[0].p_loss for gate in (first, second)]
    raw = [p for p in alone if p is not None]
    together = judged.judge(judged.profile(first, second), observed).findings
    assert stats.holm(raw) == [found.p_loss for found in together]
    assert raw != [found.p_loss for found in together]
    warned = judged.judge(judged.profile(first, second | {"severity": "warn"}), observed).findings
    assert raw == [found.p_loss for found in warned]


def two_metrics(yes_before: Values, yes_after: Values, before: Values, after: Values) -> Observations:
    """Both arms with a share and a mean."""
    whole = judged.seen(YES, yes_before, yes_after)
    left, right = {YES: yes_before, "f1": before}, {YES: yes_after, "f1": after}
    return replace(whole, baseline=Observed(left, {}), candidate=Observed(right, {}))


@pytest.mark.parametrize("severity", ["warn", "dry-run"])
def test_what_does_not_block_decides_nothing(severity: str) -> None:
    """It is measured and found; what warns is among the warnings, a dry run is not; neither touches the verdict."""
    observed = two_metrics(share(150), share(150), graded(0.0), graded(-0.3))
    quiet = MEAN | {"name": "quiet", "severity": severity}
    judgement = judged.judge(judged.profile(SHARE, quiet), observed)
    assert PASS is judgement.verdict
    assert (FAIL, Severity(severity)) == (judgement.findings[1].verdict, judgement.findings[1].severity)
    assert (severity == "warn") == bool(judgement.warnings)
    assert all(line.startswith("quiet: a loss of 30 pt") for line in judgement.warnings)


def test_a_loss_below_the_minimum_effect_is_never_failed() -> None:
    """However sure it is."""
    gate = MEAN | {"margin": 0.05, "minimum_effect": 0.04}
    before: Values = [0.5] * 400
    after: Values = [0.765, 0.165] * 200
    assert OPEN is judged.finding(gate, before, after).verdict
    assert FAIL is judged.finding(gate | {"minimum_effect": 0.03}, before, after).verdict


def test_a_finding_carries_what_its_verdict_rests_on() -> None:
    """Value, baseline, threshold, difference, interval, n, p and what it would have seen."""
    found = judged.finding(SHARE, share(150), share(120))
    assert ("g", YES, "no_worse", "loss ≤ 10 pt") == (found.gate, found.metric, found.rule, found.threshold)
    assert (0.75, 0.6, 200) == (found.baseline, found.value, found.n)
    assert found.difference == pytest.approx(-0.15)
    assert found.level == pytest.approx(0.9)
    assert found.low is not None
    assert found.high is not None
    assert found.low < -0.15 < found.high < 0.0
    assert found.p_loss == pytest.approx(0.5**30)
    assert found.detectable is not None
    rule = power.Rule(0.1, 0.0, 0.05, 0.05)
    assert found.detectable == power.detectable_yes_no(200, discordance=0.0, rule=rule)
    assert "a loss of 15 pt (p 9.3e-10), and one of 10 pt, the margin, is not ruled out" == found.said


@pytest.mark.parametrize("name", GATES)
def test_every_finding_has_value_baseline_threshold_and_n(name: str) -> None:
    """Whatever the rule and the metric; an interval wherever there is chance in the figure."""
    gate = GATES[name]
    found = judged.finding(gate, judged.good(gate["metric"]), judged.good(gate["metric"]))
    assert found.value is not None
    assert found.baseline is not None
    assert found.threshold
    assert found.n == (1 if gate["metric"] in FACTS else 200)
    assert (None in (found.low, found.high)) == (gate["metric"] in FACTS)


WORST = {
    "shares": (SHARE, [1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0, 0.0], ["q0000", "q0003", "q0004"]),
    "means": (MEAN, [0.9, 0.9, 0.9, 0.9, 0.9], [0.8, 0.1, 0.9, 0.5, 0.5], ["q0001", "q0003", "q0004"]),
    "times": (TIME, [10.0, 10.0, 10.0, 10.0, 10.0], [11.0, 9.0, 30.0, 10.0, 20.0], ["q0002", "q0004", "q0000"]),
    "gains": (GATES["gain of a mean"], [0.5, 0.5, 0.5], [0.6, 0.4, 0.5], ["q0001"]),
    "levels": (GATES["level of a mean"], [0.9, 0.9, 0.9, 0.9], [0.5, 0.1, 0.5, 0.9], ["q0001", "q0000", "q0002"]),
    "levels from above": (
        {"rule": "level", "metric": "f1", "at_most": 0.5}, [0.9] * 4, [0.5, 0.1, 0.5, 0.9], ["q0003", "q0000", "q0002"],
    ),
    "levels of time": (GATES["level of time"], [9.0] * 4, [5.0, 1.0, 5.0, 9.0], ["q0003", "q0000", "q0002"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WORST)
def test_the_three_questions_that_speak_most_against(name: str) -> None:
    """The worst first, ties by id, never one that speaks for the candidate; each with its text and both values."""
    gate, baseline, candidate, expected = WORST[name]
    found = judged.finding(gate, baseline, candidate)
    assert expected == [item.question_id for item in found.worst]
    for item in found.worst:
        place = int(item.question_id[1:])
        assert (f"question {place}", baseline[place], candidate[place]) == (
            item.question, item.baseline, item.candidate
        )  # fmt: skip


def everything(values: list[tuple[float, float]], order: list[int]) -> list[Finding]:
    """What every gate of questions says of *values* in this order."""
    rows = [values[place] for place in order]
    asked = [(f"q{place:03d}", "") for place in order]
    graded_, times = ([[row[arm] for row in rows] for arm in (0, 1)] for _ in range(2))
    arms = [
        Observed({"f1": graded_[arm], YES: [float(value > 0.5) for value in graded_[arm]]}, {},
                 [1.0 + value for value in times[arm]])
        for arm in (0, 1)
    ]  # fmt: skip
    gates = [gate | {"name": f"g{n}", "minimum": 2} for n, gate in enumerate(GATES.values())]
    observed = Observations(asked, arms[0], arms[1], [question_id for question_id, _ in asked])
    return list(judged.judge(judged.profile(*gates), observed).findings)


PAIRS = st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=40)


@settings(max_examples=25)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_questions_does_not_matter(values: list[tuple[float, float]], rng: random.Random) -> None:
    """Every finding is the same to the last digit, however the questions come."""
    order = list(range(len(values)))
    rng.shuffle(order)
    assert everything(values, list(range(len(values)))) == everything(values, order)


SOME = st.lists(st.sampled_from(sorted(GATES)), min_size=1, max_size=4, unique=True)


@settings(max_examples=40)
@given(SOME, st.sampled_from(sorted(GATES)), st.sampled_from(["block", "warn", "dry-run"]), PAIRS)
def test_a_further_gate_never_makes_it_pass(
    names: list[str], more: str, severity: str, values: list[tuple[float, float]]
) -> None:
    """One more gate makes the verdict no better, but that a failure that shares its rate may become inconclusive."""
    rows = values * 4
    arms = [
        Observed({"f1": [row[arm] for row in rows], YES: [float(row[arm] > 0.5) for row in rows]},
                 {"leaked_prefixes": float(round(10 * rows[0][arm]))}, [1.0 + row[arm] for row in rows])
        for arm in (0, 1)
    ]  # fmt: skip
    asked = [(f"q{n}", "") for n in range(len(rows))]
    observed = Observations(asked, arms[0], arms[1], [question_id for question_id, _ in asked])
    first = [GATES[name] | {"name": f"g{n}", "minimum": 2} for n, name in enumerate(names)]
    before = judged.judge(judged.profile(*first), observed).verdict
    extra = GATES[more] | {"name": "more", "minimum": 2, "severity": severity}
    after = judged.judge(judged.profile(*first, extra), observed).verdict
    if severity != "block":
        assert before is after
    elif (before, after) != (FAIL, OPEN):
        assert ORDER.index(after) >= ORDER.index(before)


def test_growth_is_called_growth() -> None:
    """Time grows, shares and means are lost; what was asked for is called alike."""
    slow = judged.finding(TIME, timings(1.0), timings(3.0))
    assert "growth ≤ 50 %" == slow.threshold
    assert slow.said.startswith("a growth of 200 % (p ")
    assert slow.said.endswith(", and one of 50 %, the margin, is not ruled out")
    assert judged.finding(TIME, timings(1.0), timings(1.0)).said.startswith("a growth of 50 % is ruled out (p ")
    assert judged.finding(MEAN, graded(0.0), graded(0.0)).said.startswith("a loss of 10 pt is ruled out (p ")


def test_findings_come_in_the_order_of_the_gates() -> None:
    """One of each, with its name and metric."""
    gates: list[Gate] = list(judged.profile(*(gate | {"name": f"g{n}"} for n, gate in enumerate(GATES.values()))).gates)
    found = everything([(0.5, 0.5)] * 3, [2, 1, 0])
    assert [gate.name for gate in gates] == [item.gate for item in found]
    assert [gate.metric for gate in gates] == [item.metric for item in found]
