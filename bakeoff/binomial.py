"""Always-valid statements about counts: whether units come in the share they were given, and where a quantile lies.

Callers may rely on: both are exact, for every number of counts, and may be asked after every one of them; the same
arguments give the same answer.

The method: k yes of n with rate p have, against a mixture of all rates by a Beta prior, the likelihood ratio
B(a + k, b + n - k) / B(a, b) / (p^k (1 - p)^(n - k)), a martingale where p is true (Lindon & Malek 2022); truncated to
the rates on one side of p it is one-sided. Of a quantile, k counts the values up to it (Howard & Ramdas 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from bakeoff import special
from bakeoff.errors import ConfigError

_PRIOR_OF_SHARES = 100.0
"""Units that the prior of a share weighs: shares off by a tenth of themselves are what it looks for."""


def share_p(baseline: int, candidate: int, *, share: float) -> float:
    """Return the always-valid p-value of "each unit is the candidate's with probability *share*".

    The smallest over all looks is one, too. Raises ConfigError on a negative count or a share outside (0, 1).
    """
    if min(baseline, candidate) < 0 or not 0.0 < share < 1.0:
        raise ConfigError(f"{baseline} and {candidate} units, share {share}: expected counts and a share in (0, 1)")
    a, b = _PRIOR_OF_SHARES * share, _PRIOR_OF_SHARES * (1.0 - share)
    return min(1.0, math.exp(-_log_ratio(candidate, baseline + candidate, share, a, b)))


def prior(n: float, *, alpha: float) -> float:
    """Return how many values the prior weighs that makes the ranks tightest at *n* values, at least 2.

    By the normal mixture's best scale (`sequential.best_rho`): a rate's prior variance is p(1 - p) / (weight + 1).
    """
    scale = -float(special.lambertw(-4.0 * alpha * alpha / math.e, -1).real) - 1.0
    return max(2.0, n / scale - 1.0)


@lru_cache(maxsize=1 << 16)
def ranks(n: int, *, p: float, alpha: float, weight: float) -> tuple[int | None, int | None]:
    """Return the ranks (from 1) of the order statistics that bound the *p* quantile from below and from above.

    Each bound is ever wrong with probability at most *alpha*; None where *n* values do not bound that side. *weight* is
    `prior` at the number of values that is expected. Raises ConfigError where p is outside (0, 1), alpha outside
    (0, 0.5), or the weight not above 0.
    """
    if not (0.0 < p < 1.0 and 0.0 < alpha < 0.5 and weight > 0.0):  # noqa: PLR2004  # one-sided
        raise ConfigError(f"quantile {p}, alpha {alpha}, weight {weight}: expected (0, 1), (0, 0.5) and above 0")
    a, b = weight * p, weight * (1.0 - p)
    before = float(special.betainc(a, b, p))
    bar = -math.log(alpha)

    def few(count: int) -> bool:
        share = float(special.betainc(a + count, b + n - count, p)) / before
        return share > 0.0 and _log_ratio(count, n, p, a, b) + math.log(share) >= bar

    def many(count: int) -> bool:
        share = float(special.betainc(b + n - count, a + count, 1.0 - p)) / (1.0 - before)
        return share > 0.0 and _log_ratio(count, n, p, a, b) + math.log(share) >= bar

    middle = math.floor(n * p)
    below = _first(0, middle, lambda count: not few(count))  # at `middle` there are not too few
    above = _first(min(n, middle + 1), n + 1, many)
    return below or None, (above if above <= n else None)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Return the first count from *low* on for which *holds*, as it does for all above; *high* where none does."""
    while low < high:
        tried = (low + high) // 2
        low, high = (low, tried) if holds(tried) else (tried + 1, high)
    return low


def _log_ratio(count: int, n: int, p: float, a: float, b: float) -> float:
    after = math.lgamma(a + count) + math.lgamma(b + n - count) - math.lgamma(a + b + n)
    prior_ = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return after - prior_ - count * math.log(p) - (n - count) * math.log1p(-p)
