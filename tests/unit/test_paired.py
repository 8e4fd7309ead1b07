"""What `bakeoff.paired` promises: p-values and bounds that agree, stated error rates, nothing claimed from nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bakeoff import metrics, paired
from bakeoff.errors import ConfigError, InputError
from bakeoff.paired import Paired, Values

Compare = Callable[..., Paired]
MEAN = partial(paired.mean, seed=1, resamples=999)
RATIO = partial(paired.p95_ratio, seed=1, resamples=999)
GRADES = st.none() | st.floats(0.0, 1.0).map(lambda value: round(value, 2))
COLUMNS = st.lists(st.tuples(GRADES, GRADES), max_size=25)
YES_NO = st.lists(st.tuples(st.sampled_from([0, 1, None]), st.sampled_from([0, 1, None])), max_size=40)


def sides(rows: list[tuple[float | None, float | None]]) -> tuple[list[float | None], list[float | None]]:
    """Split *rows* into the two arms."""
    return [a for a, _ in rows], [b for _, b in rows]


def agrees(found: Paired, margin: float, alpha: float) -> bool:
    """Say whether p_margin and the lower bound say the same, but for a margin that is the bound's own digits."""
    assert found.low is not None
    assert found.p_margin is not None
    if abs(found.low + margin) < 1e-9:
        return True
    return (found.p_margin <= alpha) == (found.low > -margin)


@given(YES_NO, st.floats(0.0, 0.6), st.floats(0.01, 0.3))
def test_yes_no_p_values_agree_with_the_bounds(
    rows: list[tuple[float | None, float | None]], margin: float, alpha: float
) -> None:
    """A loss of the margin is rejected exactly where the lower bound is above it."""
    found = paired.yes_no(*sides(rows), margin=margin, alpha=alpha)
    if found.n >= 2:
        assert agrees(found, margin, alpha)


@settings(max_examples=60)
@given(COLUMNS, st.floats(0.0, 0.6), st.floats(0.01, 0.3))
def test_mean_p_values_agree_with_the_bounds(
    rows: list[tuple[float | None, float | None]], margin: float, alpha: float
) -> None:
    """So with means, also of so few pairs that Student's method has to help."""
    found = MEAN(*sides(rows), margin=margin, alpha=alpha)
    if found.n >= 2:
        assert agrees(found, margin, alpha)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0.5, 50.0), st.floats(0.5, 50.0)), min_size=2, max_size=25),
    st.floats(0.0, 1.0),
    st.floats(0.01, 0.3),
)
def test_ratio_p_values_agree_with_the_bounds(rows: list[tuple[float, float]], margin: float, alpha: float) -> None:
    """Growth of the margin is rejected exactly where the upper bound is below it."""
    found = RATIO([a for a, _ in rows], [b for _, b in rows], margin=margin, alpha=alpha)
    assert found.high is not None
    assert found.p_margin is not None
    if abs(found.high - margin) > 1e-9:
        assert (found.p_margin <= alpha) == (found.high < margin)


@settings(max_examples=40)
@given(YES_NO)
@example([(0, 0), (0, 0), (0, 0), (0, 1), (1, 0)])
def test_swapping_the_arms_negates(rows: list[tuple[float | None, float | None]]) -> None:
    """The arms swapped, the difference and its bounds change sign, and the counts of the undefined change places."""
    for compare in (paired.yes_no, MEAN):
        there = compare(*sides(rows), margin=0.05, alpha=0.05)
        back = compare(*reversed(sides(rows)), margin=0.05, alpha=0.05)
        assert (there.only_baseline, there.only_candidate) == (back.only_candidate, back.only_baseline)
        for one, other in ((there.difference, back.difference), (there.low, back.high), (there.high, back.low)):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert pytest.approx(one, abs=1e-9) == -other


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([0, 1, None]), st.sampled_from([0, 1])), max_size=30))
def test_order_of_the_pairs_does_not_matter(rows: list[tuple[float | None, float]]) -> None:
    """The same pairs in another order give the same answer, to the last digit, resampled or not."""
    shuffled = sorted(rows, key=lambda row: (row[1], row[0] is None, row[0]))
    baseline, candidate = [a for a, _ in rows], [b for _, b in rows]
    other_baseline, other_candidate = [a for a, _ in shuffled], [b for _, b in shuffled]
    for compare in (paired.yes_no, MEAN):
        one = compare(baseline, candidate, margin=0.05, alpha=0.05)
        assert one == compare(other_baseline, other_candidate, margin=0.05, alpha=0.05)
    slow = [None if a is None else a + 1.5 for a in baseline], [b + 1.5 for b in candidate]
    other = [None if a is None else a + 1.5 for a in other_baseline], [b + 1.5 for b in other_candidate]
    assert RATIO(*slow, margin=0.05, alpha=0.05) == RATIO(*other, margin=0.05, alpha=0.05)


@settings(max_examples=40)
@given(COLUMNS, st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_evidence_grows_with_the_margin(
    rows: list[tuple[float | None, float | None]], one: float, other: float
) -> None:
    """A wider margin is never harder to show, and says nothing of whether there is a loss."""
    narrow, wide = (MEAN(*sides(rows), margin=margin, alpha=0.05) for margin in sorted((one, other)))
    if narrow.p_margin is not None and wide.p_margin is not None:
        assert wide.p_margin <= narrow.p_margin + 1e-9
    assert narrow.p_loss == wide.p_loss


@pytest.mark.parametrize("compare", [paired.yes_no, MEAN, RATIO], ids=["yes_no", "mean", "p95_ratio"])
def test_equal_sides_are_no_loss(compare: Compare) -> None:
    """Equal arms differ by exactly 0 and nothing speaks for a loss; without a margin nothing speaks for a gain."""
    same = [1.0] * 200
    found = compare(same, same, margin=0.05, alpha=0.05)
    assert (0.0, 1.0, 0.0) == (found.difference, found.p_loss, found.spread)
    assert found.low is not None
    assert found.high is not None
    assert -0.02 < found.low <= 0.0 <= found.high < 0.02
    assert found.p_margin is not None
    assert found.p_margin <= 0.01
    assert compare(same, same, margin=0.0, alpha=0.05).p_margin == 1.0


@pytest.mark.parametrize("compare", [paired.yes_no, MEAN, RATIO], ids=["yes_no", "mean", "p95_ratio"])
def test_nothing_is_claimed_from_nothing(compare: Compare) -> None:
    """No pair: nothing; one pair: its difference, and neither bounds nor p-values."""
    none = compare([1.0, None, None], [None, 1.0, None], margin=0.05, alpha=0.05)
    assert (0, 1, 1, 1) == (none.n, none.only_baseline, none.only_candidate, none.neither)
    assert (None, None, None) == (none.baseline, none.candidate, none.difference)
    one = compare([1.0], [1.0], margin=0.05, alpha=0.05)
    assert (1.0, 1.0, 0.0) == (one.baseline, one.candidate, one.difference)
    for found in (none, one):
        assert [None] * 5 == [found.low, found.high, found.spread, found.p_loss, found.p_margin]
        assert found.level == 0.9


@pytest.mark.parametrize("compare", [paired.yes_no, MEAN, RATIO], ids=["yes_no", "mean", "p95_ratio"])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_handful_that_is_all_equal_never_fails(compare: Compare, n: int) -> None:
    """Two, three or four equal pairs are decided without a crash: no loss, and no gain shown either."""
    found = compare([1.0] * n, [1.0] * n, margin=0.0, alpha=0.01)
    assert (0.0, 1.0, 1.0) == (found.difference, found.p_loss, found.p_margin)


@pytest.mark.parametrize("compare", [paired.yes_no, MEAN, RATIO], ids=["yes_no", "mean", "p95_ratio"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_is_an_error(compare: Compare, bad: float) -> None:
    """NaN and infinity are refused, and so are columns of unequal lengths."""
    with pytest.raises(InputError, match="defined pair 1"):
        compare([1.0, 1.0], [1.0, bad], margin=0.05, alpha=0.05)
    with pytest.raises(InputError, match="not pairs"):
        compare([1.0, 1.0], [1.0], margin=0.05, alpha=0.05)


@pytest.mark.parametrize("compare", [paired.yes_no, MEAN, RATIO], ids=["yes_no", "mean", "p95_ratio"])
def test_impossible_settings_are_refused(compare: Compare) -> None:
    """A negative margin and an alpha that is no small rate are refused."""
    for margin in (-0.01, math.nan, math.inf):
        with pytest.raises(ConfigError, match="margin"):
            compare([1.0], [1.0], margin=margin, alpha=0.05)
    for alpha in (0.0, 0.5, math.nan):
        with pytest.raises(ConfigError, match="alpha"):
            compare([1.0], [1.0], margin=0.05, alpha=alpha)


def test_yes_no_refuses_what_is_graded() -> None:
    """A value that is neither 0 nor 1 is refused by name."""
    with pytest.raises(InputError, match=r"yes/no value is 0\.5"):
        paired.yes_no([0, 1], [1, 0.5], margin=0.05, alpha=0.05)


def test_timings_are_above_zero() -> None:
    """A timing of 0 was not taken; a percentile outside (0, 100) does not exist."""
    with pytest.raises(InputError, match="not above 0"):
        RATIO([0.0, 1.0], [1.0, 1.0], margin=0.05, alpha=0.05)
    with pytest.raises(ConfigError, match="percentile 100"):
        RATIO([1.0], [1.0], margin=0.05, alpha=0.05, q=100.0)


def test_ratio_is_of_nearest_ranks() -> None:
    """Baseline and candidate are the percentiles that `metrics` reports; growth is their ratio less 1; up is worse."""
    rng = np.random.default_rng(3)
    baseline = rng.lognormal(2.0, 0.5, 200).tolist()
    slower = (np.array(baseline) * 1.5).tolist()
    found = RATIO(baseline, slower, margin=0.1, alpha=0.05)
    assert metrics.percentile(baseline, 95).value == found.baseline
    assert metrics.percentile(slower, 95).value == found.candidate
    assert pytest.approx(0.5) == found.difference
    assert found.p_loss is not None
    assert found.p_margin is not None
    assert found.p_loss < 0.01
    assert found.p_margin > 0.9
    back = RATIO(slower, baseline, margin=0.1, alpha=0.05)
    assert back.p_margin is not None
    assert back.p_margin < 0.01
    one = RATIO([2.0], [3.0], margin=0.1, alpha=0.05)
    assert one.difference == 0.5


def test_mean_agrees_with_scipy() -> None:
    """With many pairs the bounds are Student's, but for the noise of the draws, and the spread is numpy's."""
    rng = np.random.default_rng(8)
    baseline, candidate = rng.beta(2, 3, 400), rng.beta(2.2, 3, 400)
    found = paired.mean(baseline.tolist(), candidate.tolist(), margin=0.05, alpha=0.05, seed=2)
    student = scipy.stats.ttest_rel(candidate, baseline).confidence_interval(0.9)
    assert found.low is not None
    assert found.high is not None
    assert [student.low, student.high] == pytest.approx(
        [found.low, found.high], abs=0.05 * (student.high - student.low)
    )
    assert pytest.approx(float(np.std(candidate - baseline, ddof=1)), rel=1e-12) == found.spread
    assert pytest.approx(float((candidate - baseline).mean()), rel=1e-12) == found.difference


def test_values_beyond_zero_and_one_have_no_floor() -> None:
    """Figures that aren't shares are compared by the bootstrap alone."""
    baseline = [float(value) for value in range(40)]
    found = MEAN(baseline, [value + 1.0 for value in baseline], margin=0.0, alpha=0.05)
    assert (1.0, 1.0) == (found.low, found.high)


def test_handful_of_differences_is_no_proof_of_a_loss() -> None:
    """Three losses and nothing else would happen by chance in one of eight: no resampling makes that a loss."""
    baseline = [1.0] * 60
    candidate: Values = [0.2, 0.4, 0.6, *[1.0] * 57]
    found = MEAN(baseline, candidate, margin=0.05, alpha=0.05)
    assert found.p_loss == pytest.approx(1 / 8, abs=0.04)


def test_equal_seeds_give_equal_answers() -> None:
    """The seed decides every draw."""
    rng = np.random.default_rng(1)
    baseline, candidate = rng.random(50).tolist(), rng.random(50).tolist()
    for compare in (paired.mean, paired.p95_ratio):
        one, same, other = (
            compare(baseline, candidate, margin=0.05, alpha=0.05, seed=seed, resamples=300) for seed in (1, 1, 2)
        )
        assert one == same
        assert one != other


@pytest.mark.parametrize("n", [40, 150])
def test_no_difference_fails_at_the_stated_rate(n: int) -> None:
    """Where the arms' labels mean nothing, graded gates find a loss in no more than 5 % of draws."""
    rng = np.random.default_rng(n)
    draws, failed = 200, 0
    for seed in range(draws):
        differ = rng.random(n) < 0.15
        baseline = rng.beta(2, 2, n)
        candidate = np.where(differ, rng.beta(2, 2, n), baseline)
        found = paired.mean(baseline.tolist(), candidate.tolist(), margin=0.05, alpha=0.05, seed=seed, resamples=300)
        assert found.p_loss is not None
        failed += found.p_loss <= 0.05
    assert failed / draws <= 0.08  # two standard errors of 200 draws are 3 points
