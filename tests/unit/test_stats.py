"""What `bakeoff.stats` promises: agreement with scipy, reproducible draws, nothing claimed from nothing."""

from __future__ import annotations

import itertools
import math
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
