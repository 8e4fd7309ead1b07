"""Always-valid comparisons: two arms may be looked at after every request, for as long as one likes.

Callers may rely on: at any stopping time, however chosen, each one-sided bound is wrong with probability at most alpha
over the whole run (asymptotically: variances are estimated, so nothing is claimed of an arm with fewer than
`MINIMUM_PER_ARM` values); state is two triples of sums, to be added to as requests arrive; nothing here keeps any.

The method: candidate mean minus baseline mean, seen at information 1 / variance, is a Brownian motion with drift for
any shares of traffic, also changing ones. Robbins' one-sided normal mixture bounds it (Howard, Ramdas, McAuliffe &
Sekhon 2021, section 3.2), with estimated variance as in Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bakeoff.errors import ConfigError, InputError

Floats = NDArray[np.float64]
_Columns = tuple[Any, Any, Any]
"""n, total and sum of squares, by look or by replay and look."""

MINIMUM_PER_ARM = 30
"""Values that each arm needs before the normal theory is leant on."""

_ROUNDS = 12
"""Steps of Newton's method: five reach a double's last digits."""
_REPLAYS = 2_000
_STEPS = 12
"""Halvings of the drop that is looked for: to 1/4096 of the base rate, less than the noise of the replays."""


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

    def columns(self) -> _Columns:
        """Return the three figures as arrays without dimensions."""
        return np.float64(self.n), np.float64(self.total), np.float64(self.squares)

    def __add__(self, other: Sums) -> Sums:
        """Return the sums of both sets of values."""
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Candidate minus baseline at one look; all None while an arm is too small."""

    difference: float | None
    low: float | None
    """Time-uniform one-sided bound at alpha, as `high`."""
    high: float | None
    p_loss: float | None
    """Always-valid p-value of "the drop is at most the margin"; the smallest over all looks is one, too."""
    n_baseline: int
    n_candidate: int


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


def bounds(
    baseline: Sums,
    candidate: Sums,
    *,
    alpha: float,
    rho: float,
    margin: float = 0.0,
    span: tuple[float, float] = (0.0, 1.0),
) -> Bounds:
    """Return the time-uniform bounds of candidate minus baseline, of whatever has arrived by now.

    *rho* must be fixed before the first look (`best_rho`); *span* is what values can be at least and at most, (0, 1)
    for yes/no. Raises ConfigError where alpha is outside (0, 0.5), rho not above 0 or the span is empty.
    """
    _check_alpha(alpha)
    if not rho > 0.0:
        raise ConfigError(f"rho is {rho}, not above 0", hint="use best_rho")
    if not span[0] < span[1]:
        raise ConfigError(f"values span {span}: expected the lower end first", hint="(0, 1) for yes/no")
    if min(baseline.n, candidate.n) < MINIMUM_PER_ARM:
        return Bounds(None, None, None, None, baseline.n, candidate.n)
    difference = candidate.total / candidate.n - baseline.total / baseline.n
    information = float(_information(baseline.columns(), candidate.columns(), span))
    reach = float(boundary(np.asarray(information), alpha=alpha, rho=rho)) / information
    evidence = float(_log_mixture(np.asarray(-(difference + margin) * information), np.asarray(information), rho))
    return Bounds(
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        p_loss=min(1.0, math.exp(-evidence)),
        n_baseline=baseline.n,
        n_candidate=candidate.n,
    )


def boundary(information: Floats, *, alpha: float, rho: float) -> Floats:
    """Return what a Brownian motion ever exceeds with probability at most *alpha*, by its variance, *information*.

    Where the half-normal mixture's likelihood ratio, 2 / sqrt(1 + v) * exp(s^2 / 2) * Phi(s) with v = information *
    rho^2 and s = x * rho / sqrt(1 + v), reaches 1 / alpha; solved by Newton's method, from above.
    """
    inflated = 1.0 + np.asarray(information, dtype=np.float64) * rho * rho
    target = 0.5 * np.log(inflated) - math.log(2.0 * alpha)
    scaled = np.sqrt(2.0 * (target + math.log(2.0)))  # where Phi is at its least, 1/2: never below the solution
    for _ in range(_ROUNDS):
        log_share = special.log_ndtr(scaled)
        slope = scaled + np.exp(-0.5 * scaled * scaled - log_share) / math.sqrt(2.0 * math.pi)
        scaled = scaled - (0.5 * scaled * scaled + log_share - target) / slope
    return np.asarray(scaled * np.sqrt(inflated) / rho)


def drop_shown(
    looks: Sequence[tuple[int, int]],
    *,
    base_rate: float,
    margin: float,
    alpha: float,
    seed: int,
    power: float = 0.8,
) -> float | None:
    """Return the smallest true drop of a yes/no rate that is found by the last look; None where none is.

    *looks* are the requests (baseline, candidate) that arrive between a look and the one before; found means that at
    some look "the drop is at most *margin*" is rejected at *alpha*, in at least the share *power* of 2,000 replays.
    Bisection over the drop with the same random numbers at each; the answer carries their noise, about 2 % of itself.
    Raises ConfigError where the base rate or the power is outside (0, 1) or a look is negative.
    """
    arrivals = np.array(looks, dtype=np.int64).reshape(-1, 2)
    if not (0.0 < base_rate < 1.0 and 0.0 < power < 1.0) or (arrivals < 0).any():
        raise ConfigError(
            f"base rate {base_rate}, power {power}: expected both in (0, 1), and no look with a negative count",
            hint="0.8 is the usual power",
        )
    rho = plan_rho(looks, base_rate=base_rate, alpha=alpha)
    if rho is None:
        return None

    def found(drop: float) -> float:
        rates = (base_rate, max(0.0, base_rate - drop))
        return share_found(looks, rates=rates, margin=margin, alpha=alpha, rho=rho, seed=seed)

    low, high = 0.0, base_rate
    if found(high) < power:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def plan_rho(looks: Sequence[tuple[int, int]], *, base_rate: float, alpha: float) -> float | None:
    """Return the scale that is best at the last of *looks* for a yes/no rate; None where an arm gets no request."""
    baseline, candidate = sum(a for a, _ in looks), sum(b for _, b in looks)
    if min(baseline, candidate) < 1:
        return None
    variance = base_rate * (1.0 - base_rate)
    return best_rho(expected_information(baseline, candidate, variance=variance), alpha=alpha)


def share_found(
    looks: Sequence[tuple[int, int]],
    *,
    rates: tuple[float, float],
    margin: float,
    alpha: float,
    rho: float,
    seed: int,
    replays: int = _REPLAYS,
) -> float:
    """Return the share of simulated runs in which some look finds a drop above *margin*.

    *rates* are the true yes rates of baseline and candidate; each look adds Binomial counts, and what `bounds` would
    say of the sums is asked at each.
    """
    rng = np.random.default_rng(seed)
    arrivals = np.array(looks, dtype=np.int64).reshape(-1, 2)
    sizes = np.cumsum(arrivals, axis=0)
    kept = (sizes >= MINIMUM_PER_ARM).all(axis=1)
    arms = []
    for arm, rate in enumerate(rates):
        yes = np.cumsum(rng.binomial(arrivals[:, arm], rate, size=(replays, len(arrivals))), axis=1)[:, kept]
        arms.append((sizes[kept, arm].astype(np.float64), yes, yes))
    (n_baseline, yes_baseline, _), (n_candidate, yes_candidate, _) = arms
    information = _information(arms[0], arms[1], (0.0, 1.0))
    loss = yes_baseline / n_baseline - yes_candidate / n_candidate - margin
    evidence = _log_mixture(loss * information, information, rho)
    return float(np.mean((evidence > -math.log(alpha)).any(axis=1)))


def _information(baseline: _Columns, candidate: _Columns, span: tuple[float, float]) -> Floats:
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


def _log_mixture(position: Floats, information: Floats, rho: float) -> Floats:
    """Return the logarithm of the mixture's likelihood ratio at *position* of a Brownian motion."""
    inflated = 1.0 + information * rho * rho
    scaled = position * rho / np.sqrt(inflated)
    return np.asarray(math.log(2.0) - 0.5 * np.log(inflated) + 0.5 * scaled * scaled + special.log_ndtr(scaled))


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 0.5:  # noqa: PLR2004  # one-sided
        raise ConfigError(f"alpha is {alpha}, not in (0, 0.5)", hint="0.05 is the usual value")
