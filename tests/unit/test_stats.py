"""What `bakeoff.stats` promises: agreement with scipy, reproducible draws, nothing claimed from nothing."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Literal

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bakeoff import stats
from bakeoff.errors import ConfigError, InputError

VALUES = st.none() | st.floats(-5.0, 5.0)
PAIRS = st.lists(st.tuples(VALUES, VALUES), max_size=30)


def columns(pairs: list[tuple[float | None, float | None]]) -> tuple[list[float | None], list[float | None]]:
    """Split *pairs* into the two runs."""
    return [a for a, _ in pairs], [b for _, b in pairs]


def scipy_interval(differences: list[float], method: Literal["percentile", "BCa"]) -> tuple[float, float]:
    """Return scipy's 95 % interval of the mean."""
    found = scipy.stats.bootstrap(
        (differences,), np.mean, n_resamples=10_000, method=method, rng=np.random.default_rng(1)
    ).confidence_interval
    return float(found.low), float(found.high)


@pytest.mark.parametrize("method", ["percentile", "BCa"])
@pytest.mark.parametrize("n", [150, 400])
def test_bootstrap_agrees_with_scipy(n: int, method: Literal["percentile", "BCa"]) -> None:
    """On yes/no and on graded pairs both ends are scipy's, percentile and BCa, but for the noise of the draws."""
    rng = np.random.default_rng(n)
    for a, b in (
        (rng.random(n) < 0.6, rng.random(n) < 0.7),
        (rng.beta(2, 3, n), rng.beta(2.2, 3, n)),
    ):
        baseline, candidate = a.astype(float), b.astype(float)
        found = stats.paired_bootstrap(baseline.tolist(), candidate.tolist(), seed=7)
        low, high = scipy_interval((candidate - baseline).tolist(), method)
        assert found.low is not None
        assert found.high is not None
        # A 2.5 % quantile of 10,000 draws has a standard error near 0.8 % of the interval's width.
        assert [low, high] == pytest.approx([found.low, found.high], abs=0.05 * (high - low))


def test_bootstrap_is_the_seed_s() -> None:
    """Equal seeds give equal intervals, other seeds others."""
    baseline, candidate = [0.0, 1.0, 0.5, 0.25] * 20, [1.0, 1.0, 0.25, 0.5] * 20
    first = stats.paired_bootstrap(baseline, candidate, seed=7, resamples=500)
    assert first == stats.paired_bootstrap(baseline, candidate, seed=7, resamples=500)
    assert first != stats.paired_bootstrap(baseline, candidate, seed=8, resamples=500)


def test_bootstrap_blocks_draw_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks, the last one short, draw the same samples as a single block."""
    baseline, candidate = [0.0, 1.0, 0.5], [1.0, 1.0, 0.25]
    whole = stats.paired_bootstrap(baseline, candidate, seed=7, resamples=101)
    monkeypatch.setattr(stats, "BLOCK", 6)
    assert whole == stats.paired_bootstrap(baseline, candidate, seed=7, resamples=101)


def test_bootstrap_is_pinned() -> None:
    """The draws behind a stored interval never change."""
    found = stats.paired_bootstrap([0, 1, 0, 1, 1, 0, 0, 1], [1, 1, 0, 1, 0, 1, 1, 1], seed=7, resamples=1000)
    assert (0.25, -0.25, 0.625, 8, 0) == (found.difference, found.low, found.high, found.n, found.dropped)


@settings(deadline=None)
@given(pairs=PAIRS)
@example(pairs=[])
@example(pairs=[(0.0, 1.0)])
@example(pairs=[(None, 1.0), (0.0, 1.0), (0.5, 1.5)])
def test_bootstrap_holds_the_differences(pairs: list[tuple[float | None, float | None]]) -> None:
    """Ends are ordered and within the differences; undefined pairs are counted; too few pairs give None, not 0."""
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    found = stats.paired_bootstrap(*columns(pairs), seed=7, resamples=50)
    assert (len(both), len(pairs) - len(both)) == (found.n, found.dropped)
    assert (found.difference is None) == (not both)
    assert (found.low is None) == (found.high is None) == (len(both) < 2)
    if found.low is not None and found.high is not None and found.difference is not None:
        differences = [b - a for a, b in both]
        assert min(differences) - 1e-9 <= found.low <= found.high <= max(differences) + 1e-9
        assert math.fsum(differences) / len(differences) == found.difference


def test_bootstrap_of_equal_runs_is_zero() -> None:
    """Equal runs differ by exactly nothing, where BCa would have no interval."""
    found = stats.paired_bootstrap([0.1, 0.7, None], [0.1, 0.7, 0.3], seed=7)
    assert stats.Interval(0.0, 0.0, 0.0, 2, 1, 0.95) == found


@pytest.mark.parametrize("level", [0.0, 1.0, float("nan")])
def test_levels_are_checked(level: float) -> None:
    """A level outside (0, 1) is refused by both intervals."""
    with pytest.raises(ConfigError, match="confidence level"):
        stats.paired_bootstrap([1.0], [1.0], seed=7, level=level)
    with pytest.raises(ConfigError, match="confidence level"):
        stats.wilson(1, 2, level=level)


def test_bootstrap_refuses_bad_input() -> None:
    """Runs of unequal length, NaN, and no resamples are refused in words."""
    with pytest.raises(InputError, match="2 baseline values against 1 of the candidate"):
        stats.paired_bootstrap([1.0, 2.0], [1.0], seed=7)
    with pytest.raises(InputError, match="defined pair 1 is"):
        stats.paired_bootstrap([None, 1.0, 2.0], [1.0, 1.0, float("nan")], seed=7)
    with pytest.raises(ConfigError, match="resamples is 0"):
        stats.paired_bootstrap([1.0], [1.0], seed=7, resamples=0)


@given(pairs=PAIRS)
def test_counts_add_up(pairs: list[tuple[float | None, float | None]]) -> None:
    """Every pair is counted once, and swapping the runs swaps gained and lost."""
    baseline, candidate = columns(pairs)
    found = stats.paired_counts(baseline, candidate)
    assert len(pairs) == found.gained + found.lost + found.same + found.dropped
    swapped = stats.PairedCounts(found.lost, found.gained, found.same, found.dropped)
    assert swapped == stats.paired_counts(candidate, baseline)


def test_counts_known() -> None:
    """Gained is the candidate's, lost the baseline's, and a null on one side is neither."""
    found = stats.paired_counts([0, 0, 1, 1, None, 1], [1, 1, 0, 1, 1, None])
    assert stats.PairedCounts(gained=2, lost=1, same=1, dropped=2) == found


@given(b=st.integers(0, 400), c=st.integers(0, 400))
@example(b=0, c=0)
@example(b=5, c=5)
def test_mcnemar_agrees_with_scipy(b: int, c: int) -> None:
    """The p-value is scipy's two-sided exact binomial test, and symmetric."""
    wanted = scipy.stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert wanted == pytest.approx(stats.mcnemar_exact(b, c), rel=1e-9, abs=1e-300)
    assert stats.mcnemar_exact(c, b) == stats.mcnemar_exact(b, c)


def test_mcnemar_known_and_refused() -> None:
    """Ten to two is p = 158/4096; a negative count is refused."""
    assert 158 / 4096 == stats.mcnemar_exact(10, 2)
    with pytest.raises(InputError, match="-1 and 2"):
        stats.mcnemar_exact(-1, 2)


@given(n=st.integers(1, 3000), data=st.data(), level=st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(n: int, data: st.DataObject, level: float) -> None:
    """Both ends are scipy's Wilson interval, in [0, 1], around the share."""
    successes = data.draw(st.integers(0, n))
    found = stats.wilson(successes, n, level=level)
    wanted = scipy.stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert found.share is not None
    assert found.low is not None
    assert found.high is not None
    assert [wanted.low, wanted.high] == pytest.approx([found.low, found.high], abs=1e-9)
    assert 0.0 <= found.low <= found.share <= found.high <= 1.0


def test_wilson_edges() -> None:
    """Nothing observed is None, all or none reach the end exactly, impossible counts are refused."""
    assert stats.Proportion(None, None, None, 0, 0.95) == stats.wilson(0, 0)
    assert 0.0 == stats.wilson(0, 9).low
    assert 1.0 == stats.wilson(9, 9).high
    for successes, n in ((3, 2), (-1, 2)):
        with pytest.raises(InputError, match=f"{successes} successes of {n}"):
            stats.wilson(successes, n)


def closed_test(pvalues: list[float]) -> list[float]:
    """Return adjusted p-values by the closure of Bonferroni's test over all subsets: Holm's definition, brute force."""
    subsets = [s for size in range(1, len(pvalues) + 1) for s in itertools.combinations(range(len(pvalues)), size)]
    return [
        max(min(1.0, len(s) * min(pvalues[j] for j in s)) for s in subsets if index in s)
        for index in range(len(pvalues))
    ]


@given(pvalues=st.lists(st.floats(0.0, 1.0), max_size=6))
def test_holm_is_the_closed_test(pvalues: list[float]) -> None:
    """Holm's adjustment is the closed Bonferroni test, never below the raw value."""
    found = stats.holm(pvalues)
    assert closed_test(pvalues) == pytest.approx(found, abs=1e-12)
    assert all(raw <= adjusted <= 1.0 for raw, adjusted in zip(pvalues, found, strict=True))


@given(pvalues=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6), seed=st.randoms())
def test_holm_keeps_the_order_given(pvalues: list[float], seed: object) -> None:
    """Shuffling the tests shuffles the answers with them."""
    order = list(range(len(pvalues)))
    seed.shuffle(order)  # type: ignore[attr-defined]  # hypothesis' random.Random
    found = stats.holm(pvalues)
    assert [found[i] for i in order] == stats.holm([pvalues[i] for i in order])


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_holm_refuses_what_is_no_p_value(p: float) -> None:
    """A value outside [0, 1] is refused."""
    with pytest.raises(InputError, match="not in"):
        stats.holm([0.5, p])


SAMPLES = st.lists(st.floats(-100.0, 100.0).map(lambda value: round(value, 3)), min_size=2, max_size=30)


@given(SAMPLES, SAMPLES)
def test_welch_agrees_with_scipy(first: list[float], second: list[float]) -> None:
    """Statistic, degrees of freedom and p-value are scipy's; None where nothing varies."""
    found = stats.welch(first, second)
    if len(set(first)) == len(set(second)) == 1:
        assert found is None
        return
    assert found is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy warns of a sample that does not vary
        expected = scipy.stats.ttest_ind(first, second, equal_var=False)
    assert [expected.statistic, expected.df, expected.pvalue] == pytest.approx(
        [found.statistic, found.freedom, found.p], rel=1e-9, abs=1e-9
    )


@given(SAMPLES, st.floats(0.5, 0.999))
def test_student_s_interval_agrees_with_scipy(values: list[float], level: float) -> None:
    """Both ends are scipy's to 1e-9."""
    found = stats.t_interval(values, level=level)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(scipy.stats.t.ppf((1.0 + level) / 2.0, len(values) - 1)) * error
    mean = float(np.mean(values))
    assert found.low is not None
    assert found.high is not None
    assert [mean - reach, mean + reach] == pytest.approx([found.low, found.high], rel=1e-9, abs=1e-9)


def test_student_s_interval_of_nearly_nothing() -> None:
    """No value: no mean; one value: no interval; a level of 1 is refused."""
    assert stats.Interval(None, None, None, 0, 0, 0.95) == stats.t_interval([])
    assert stats.Interval(2.5, None, None, 1, 0, 0.95) == stats.t_interval([2.5])
    with pytest.raises(ConfigError, match="level"):
        stats.t_interval([1.0, 2.0], level=1.0)


@given(st.lists(st.lists(st.integers(1, 500), min_size=3, max_size=3), min_size=2, max_size=5))
def test_chi_square_agrees_with_scipy(table: list[list[int]]) -> None:
    """Statistic, degrees of freedom and p-value of a table are scipy's; empty rows and columns change nothing."""
    expected = scipy.stats.chi2_contingency(table, correction=False)
    for given_table in (table, [[*row, 0] for row in table] + [[0, 0, 0, 0]]):
        found = stats.chi_square(given_table)
        assert found is not None
        assert [expected.statistic, expected.dof, expected.pvalue] == pytest.approx(
            [found.statistic, found.freedom, found.p], rel=1e-9, abs=1e-9
        )


@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0.05, 1.0)), min_size=2, max_size=5))
def test_goodness_agrees_with_scipy(cells: list[tuple[int, float]]) -> None:
    """Counts against shares, whatever the shares add up to, as scipy; None without counts."""
    counts, shares = [count for count, _ in cells], [share for _, share in cells]
    found = stats.goodness(counts, shares)
    if not any(counts):
        assert found is None
        return
    assert found is not None
    expected = scipy.stats.chisquare(counts, sum(counts) * np.array(shares) / sum(shares))
    assert [expected.statistic, expected.pvalue] == pytest.approx([found.statistic, found.p], rel=1e-9, abs=1e-9)


def test_srm_is_a_mismatch_that_chance_does_not_explain() -> None:
    """Half and half: 5,000 to 5,100 is chance, 5,000 to 5,400 is not; one in ten of 10,000 may be 1,050, not 1,150."""
    assert [False, True] == [stats.srm([5000, other], [0.5, 0.5]) for other in (5100, 5400)]
    assert [False, True] == [stats.srm([10_000 - one, one], [0.9, 0.1]) for one in (1050, 1150)]
    assert stats.srm([0, 0], [0.5, 0.5]) is None
    with pytest.raises(ConfigError, match="level"):
        stats.srm([1, 1], [0.5, 0.5], alpha=0.0)


@pytest.mark.parametrize("table", [[], [[]], [[1, 2]], [[0, 0], [0, 0]], [[1, 0], [2, 0]], [[0, 0], [3, 4]]])
def test_table_with_nothing_to_compare_is_none(table: list[list[int]]) -> None:
    """Fewer than two rows or columns with counts: no test."""
    assert stats.chi_square(table) is None


@pytest.mark.parametrize("values", [[], [1.0]])
def test_welch_claims_nothing_from_one_value(values: list[float]) -> None:
    """A sample of fewer than two has no spread."""
    assert stats.welch(values, [1.0, 2.0]) is None
    assert stats.welch([1.0, 2.0], values) is None


def test_tests_refuse_what_is_no_count_and_no_number() -> None:
    """NaN, negative counts, ragged tables and shares of nothing are refused, each in words."""
    with pytest.raises(InputError, match="value 1 is nan"):
        stats.welch([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(InputError, match="value 0 is inf"):
        stats.t_interval([math.inf, 1.0])
    with pytest.raises(InputError, match="count 1 is -1"):
        stats.chi_square([[1, -1], [2, 3]])
    with pytest.raises(InputError, match="unequal lengths"):
        stats.chi_square([[1], [2, 3]])
    with pytest.raises(InputError, match="2 counts against 1"):
        stats.goodness([1, 2], [1.0])
    with pytest.raises(InputError, match="not above 0"):
        stats.srm([1, 2], [1.0, 0.0])
