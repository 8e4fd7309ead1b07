"""What `bakeoff.margins` promises: published figures, the likelihood it claims to maximise, its stated error rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from bakeoff import margins

N = 40
COUNTS = st.tuples(st.integers(0, N // 2), st.integers(0, N // 2))


def graded(lost: int, gained: int, n: int) -> NDArray[np.float64]:
    """Return the differences of so many questions lost and gained."""
    return np.array([-1.0] * lost + [1.0] * gained + [0.0] * (n - lost - gained))


def likeliest_share_of_gains(lost: int, gained: int, n: int, loss: float) -> float:
    """Return the share of gains that maximises the likelihood where losses outweigh gains by *loss*, by search."""

    def unlikeliness(share: float) -> float:
        shares = [share + loss, share, 1.0 - 2.0 * share - loss]
        counts = [lost, gained, n - lost - gained]
        terms = [count * math.log(max(p, 1e-300)) for count, p in zip(counts, shares, strict=True) if count]
        return -math.fsum(terms)

    found = minimize_scalar(
        unlikeliness, bounds=(max(0.0, -loss), (1.0 - loss) / 2.0), method="bounded", options={"xatol": 1e-12}
    )
    return float(found.x)


def test_interval_is_the_published_one() -> None:
    """7 lost and 1 gained of 21 children: -0.517 to -0.026 at 95 % (Fagerland, Lydersen & Laake 2014, table IV)."""
    low, high = margins.tango_interval(7, 1, 21, alpha=0.025)
    assert (-0.517, -0.026) == (round(low, 3), round(high, 3))


@pytest.mark.parametrize(("lost", "gained"), [(7, 1), (1, 7), (3, 3), (0, 5), (5, 0), (12, 4)])
@pytest.mark.parametrize("loss", [0.02, 0.1, 0.4, 0.7])
def test_tango_measures_the_spread_at_the_restricted_maximum(lost: int, gained: int, loss: float) -> None:
    """The score uses the likelihood's maximum under the hypothesis, as a numerical search finds it."""
    n = 21
    share = likeliest_share_of_gains(lost, gained, n, loss)
    score = (gained - lost + n * loss) / math.sqrt(n * (2.0 * share + loss * (1.0 - loss)))
    found = float(margins.tango_within(lost, gained, n, margin=loss))
    assert pytest.approx(float(scipy.stats.norm.sf(score)), abs=1e-6) == found


@given(COUNTS, st.floats(0.001, 0.3))
def test_bounds_are_where_the_test_turns(counts: tuple[int, int], alpha: float) -> None:
    """At either bound the score is the quantile of alpha."""
    lost, gained = counts
    low, high = margins.tango_interval(lost, gained, N, alpha=alpha)
    assert -1.0 <= low <= (gained - lost) / N <= high <= 1.0
    if low > -1.0 + 1e-9:
        assert pytest.approx(alpha, abs=1e-6) == float(margins.tango_within(lost, gained, N, margin=-low))
    if high < 1.0 - 1e-9:
        assert pytest.approx(alpha, abs=1e-6) == float(margins.tango_within(gained, lost, N, margin=high))


@given(COUNTS, st.floats(0.0, 0.9), st.floats(0.0, 0.9))
def test_evidence_grows_with_the_margin(counts: tuple[int, int], one: float, other: float) -> None:
    """A wider margin is never harder to show."""
    narrow, wide = sorted((one, other))
    lost, gained = counts
    exact = margins.tango_within(lost, gained, N, margin=narrow), margins.tango_within(lost, gained, N, margin=wide)
    assert exact[1] <= exact[0] + 1e-12
    values = graded(lost, gained, N) * 0.7
    assert margins.graded_within(values, margin=wide) <= margins.graded_within(values, margin=narrow) + 1e-9


def test_margin_and_losses_of_nothing_prove_nothing() -> None:
    """Without discordant pairs and without a margin there is no evidence: 1, not 0 / 0."""
    assert float(margins.tango_within(0, 0, 10, margin=0.0)) == 1.0
    assert margins.graded_within(np.zeros(10), margin=0.0) == 1.0


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(lost: int, gained: int) -> None:
    """The one-sided p-value is scipy's exact binomial test."""
    expected = 1.0
    if lost + gained:
        expected = scipy.stats.binomtest(gained, lost + gained, 0.5, alternative="less").pvalue
    assert pytest.approx(expected, abs=1e-12, rel=1e-9) == float(margins.mcnemar_loss(lost, gained))


@given(COUNTS, st.floats(0.001, 0.9))
def test_graded_test_is_tango_s_on_yes_no_values(counts: tuple[int, int], margin: float) -> None:
    """On differences of -1, 0 and 1 the score is Tango's, against Student's distribution."""
    lost, gained = counts
    found = margins.graded_within(graded(lost, gained, N), margin=margin)
    if (gained - lost) / N + margin > 1e-9:
        score = scipy.stats.norm.isf(float(margins.tango_within(lost, gained, N, margin=margin)))
        assert pytest.approx(float(scipy.stats.t.sf(score, N - 1)), rel=1e-5, abs=1e-12) == found
    else:
        assert found >= 0.5 - 1e-9


def test_graded_bound_is_where_the_test_turns() -> None:
    """The p-value at the bound is alpha, with few differences, many, and none."""
    rng = np.random.default_rng(4)
    for share in (0.0, 0.05, 0.4):
        values = np.where(rng.random(80) < share, rng.uniform(-1.0, 1.0, 80), 0.0)
        bound = margins.graded_loss_bound(values, alpha=0.05)
        assert pytest.approx(0.05, abs=1e-6) == margins.graded_within(values, margin=bound)


def test_nothing_loses_more_than_everything() -> None:
    """A mean loss of 1 or more is impossible, unless all was lost."""
    assert margins.graded_within(np.array([0.0, -1.0, 0.5]), margin=1.0) == 0.0
    assert margins.graded_within(np.full(3, -1.0), margin=1.0) == 1.0
    assert pytest.approx(1.0) == margins.graded_loss_bound(np.full(3, -1.0), alpha=0.05)


@pytest.mark.parametrize("n", [30, 100, 300])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_graded_test_keeps_its_rate(n: int, share: float) -> None:
    """Where questions seldom differ and losses are heavy, a loss as large as the margin passes in 5 % at most."""
    rng = np.random.default_rng(n)
    margin, draws = 0.05, 600
    passed = 0
    for _ in range(draws):
        noise = np.where(rng.random(n) < share, rng.uniform(-1.0, 1.0, n), 0.0)
        lost = (noise == 0.0) & (rng.random(n) < margin / 0.8 / (1.0 - share))
        differences = np.where(lost, -rng.beta(4.0, 1.0, n), noise)
        passed += margins.graded_within(differences, margin=margin) <= 0.05
    # Two standard errors of 600 draws are 1.8 points.
    assert passed / draws <= 0.068
