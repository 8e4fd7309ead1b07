"""Always-valid comparisons: two arms may be looked at after every request, for as long as one likes.

Callers may rely on: by the mixture here, at any stopping time, however chosen, "there is no loss" is rejected wrongly
with probability at most alpha over the whole run (asymptotically: variances are estimated, so nothing is claimed of an
arm with fewer than `MINIMUM_PER_ARM` values); state is sums, to be added to as requests arrive; nothing here keeps any.
Looks of one rollout are judged by `strata`; this has what they share with replays of thousands.

The method: candidate mean minus baseline mean, seen at information 1 / variance, is a Brownian motion with drift for
any shares of traffic, also changing ones. Robbins' one-sided normal mixture bounds it (Howard, Ramdas, McAuliffe &
Sekhon 2021, section 3.2), with estimated variance as in Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bakeoff import special
from bakeoff.errors import ConfigError, InputError

Floats = NDArray[np.float64]
Columns = tuple[Any, Any, Any]
"""n, total and sum of squares, by look or by replay and look."""

MINIMUM_PER_ARM = 30
"""Values that each arm needs before the normal theory is leant on."""


@dataclass(frozen=True, slots=True)
class Sums:
    """All that is kept of an arm's values; add as they come."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Sums:
        """Return the sums of *values*. Raises InputError on NaN and infinity."""
        kept = list(values)
        if not all(math.isfinite(value) for value in kept):
            raise InputError("a live value is NaN or infinite", hint="leave out what was not measured")
        return cls(len(kept), math.fsum(kept), math.fsum(value * value for value in kept))

    @classmethod
    def yes_no(cls, yes: int, n: int) -> Sums:
        """Return the sums of *yes* ones and *n* - *yes* zeros. Raises InputError unless 0 <= yes <= n."""
        if not 0 <= yes <= n:
            raise InputError(f"{yes} yes of {n}: expected 0 <= yes <= n", hint="count each request once")
        return cls(n, float(yes), float(yes))

    def __add__(self, other: Sums) -> Sums:
        """Return the sums of both sets of values."""
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares)


def best_rho(information: float, *, alpha: float) -> float:
    """Return the mixture's scale that makes the bounds tightest at *information* (1 / variance of the difference).

    sqrt((-W(-a^2 / e) - 1) / information) with Lambert's W on its lower branch and a = 2 * alpha, the one-sided form
    of Waudby-Smith et al. (2024, appendix B); a rate of 2 * alpha is the two-sided mixture's. Looks at a tenth or ten
    times the information lose little. Raises ConfigError where the information is not above 0 or alpha is outside
    (0, 0.5).
    """
    _check_alpha(alpha)
    if not information > 0.0:
        raise ConfigError(f"the information is {information}, not above 0", hint="use expected_information")
    return math.sqrt((-float(special.lambertw(-4.0 * alpha * alpha / math.e, -1).real) - 1.0) / information)


def expected_information(n_baseline: int, n_candidate: int, *, variance: float) -> float:
    """Return 1 / variance of the difference of two means of so many values each of *variance*."""
    if min(n_baseline, n_candidate) < 1 or not variance > 0.0:
        raise ConfigError(f"sizes {n_baseline} and {n_candidate}, variance {variance}: expected all above 0")
    return 1.0 / (variance / n_baseline + variance / n_candidate)


def information_of(baseline: Columns, candidate: Columns, span: tuple[float, float]) -> Floats:
    """Return 1 / variance of the difference of the arms' means.

    Each arm's variance is that of its values and of two more, one at each end of their *span* (Agresti & Caffo 2000 add
    the same), and at least that within both arms taken together: a small arm that happens to be without a no has no
    variance of its own, and that is when its mean is furthest off.
    """
    low, high = span
    spreads, sizes = [], []
    for n, total, squares in (baseline, candidate):
        centre = (total + low + high) / (n + 2)
        spreads.append((squares + low * low + high * high) / (n + 2) - centre * centre)
        sizes.append(n)
    pooled = (sizes[0] * spreads[0] + sizes[1] * spreads[1]) / (sizes[0] + sizes[1])
    return np.asarray(1.0 / sum(np.maximum(own, pooled) / n for own, n in zip(spreads, sizes, strict=True)))


def log_mixture(position: Floats, information: Floats, rho: float) -> Floats:
    """Return the logarithm of the mixture's likelihood ratio at *position* of a Brownian motion."""
    inflated = 1.0 + information * rho * rho
    scaled = position * rho / np.sqrt(inflated)
    return np.asarray(math.log(2.0) - 0.5 * np.log(inflated) + 0.5 * scaled * scaled + special.log_ndtr(scaled))


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 0.5:  # noqa: PLR2004  # one-sided
        raise ConfigError(f"alpha is {alpha}, not in (0, 0.5)", hint="0.05 is the usual value")
