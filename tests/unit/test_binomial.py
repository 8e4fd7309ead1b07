"""What `bakeoff.binomial` promises: exact statements about shares of units and about quantiles, at every look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import binomial
from bakeoff.errors import ConfigError


def test_units_in_their_share_are_no_mismatch() -> None:
    """Asked after every one of 2,000 units: below 0.05 in no more than 5 % of runs, at 10 % and at half."""
    rng = np.random.default_rng(1)
    for share in (0.1, 0.5):
        wrong = 0
        for _ in range(150):
            drawn = np.cumsum(rng.random(2_000) < share)
            looks = range(50, 2_001, 50)
            wrong += (
                min(binomial.share_p(look - int(drawn[look - 1]), int(drawn[look - 1]), share=share) for look in looks)
                < 0.05
            )
        assert wrong <= 10


def test_units_in_another_share_are_found() -> None:
    """13 % instead of 10 % of 5,000 units; 10.2 % are within chance; no unit says nothing."""
    assert binomial.share_p(4350, 650, share=0.1) < 1e-6
    assert binomial.share_p(4490, 510, share=0.1) > 0.5
    assert 1.0 == binomial.share_p(0, 0, share=0.1)


def test_the_ratio_is_the_mixtures() -> None:
    """1 / p is the likelihood of the counts under the Beta prior beside that of the share, by numerical integration."""
    rates = np.linspace(1e-6, 1 - 1e-6, 200_001)
    density = rates ** (100 * 0.1 - 1) * (1 - rates) ** (100 * 0.9 - 1)
    density /= np.trapezoid(density, rates)
    ratio = np.trapezoid(density * (rates / 0.1) ** 60 * ((1 - rates) / 0.9) ** 240, rates)
    assert pytest.approx(1 / float(ratio), rel=1e-5) == binomial.share_p(240, 60, share=0.1)


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_quantiles_stay_within_their_bounds(p: float) -> None:
    """Over 60 looks at a skewed latency each bound is wrong in no more than 5 % of runs."""
    rng = np.random.default_rng(2)
    truth = -math.log1p(-p)
    weight = binomial.prior(600, alpha=0.05)
    wrong = [0, 0]
    for _ in range(200):
        values = rng.exponential(size=600)
        low = high = False
        for n in range(10, 601, 10):
            ordered = np.sort(values[:n])
            below, above = binomial.ranks(n, p=p, alpha=0.05, weight=weight)
            low |= below is not None and ordered[below - 1] > truth
            high |= above is not None and ordered[above - 1] < truth
        wrong[0] += low
        wrong[1] += high
    assert max(wrong) <= 14  # 10 expected at most, and chance


@given(st.integers(0, 3_000), st.sampled_from([0.5, 0.95]), st.floats(0.001, 0.2))
def test_ranks_lie_around_the_quantile(n: int, p: float, alpha: float) -> None:
    """In order, within the sample; too few values bound nothing."""
    below, above = binomial.ranks(n, p=p, alpha=alpha, weight=binomial.prior(1000, alpha=alpha))
    assert below is None or 1 <= below <= math.ceil(n * p)
    assert above is None or math.ceil(n * p) <= above <= n
    if n < 5:
        assert (None, None) == (below, above)


def test_ranks_are_pinned() -> None:
    """Of 320 values at one in a hundred."""
    weight = binomial.prior(320, alpha=0.01)
    assert [(131, 190), (290, 316)] == [binomial.ranks(320, p=p, alpha=0.01, weight=weight) for p in (0.5, 0.95)]


def test_more_values_are_tighter() -> None:
    """As a share of the order."""
    weight = binomial.prior(1000, alpha=0.01)
    spans = []
    for n in (100, 1_000, 10_000):
        below, above = binomial.ranks(n, p=0.5, alpha=0.01, weight=weight)
        assert below is not None
        assert above is not None
        spans.append((above - below) / n)
    assert sorted(spans, reverse=True) == spans
    assert 2.0 == binomial.prior(0.0, alpha=0.01)


def test_impossible_settings_are_refused() -> None:
    """Each is named."""
    with pytest.raises(ConfigError, match="share 1"):
        binomial.share_p(1, 1, share=1.0)
    with pytest.raises(ConfigError, match="-1 and 1 units"):
        binomial.share_p(-1, 1, share=0.5)
    with pytest.raises(ConfigError, match="quantile 1"):
        binomial.ranks(10, p=1.0, alpha=0.05, weight=3.0)
