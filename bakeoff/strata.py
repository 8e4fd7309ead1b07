"""Two arms compared over the steps of a rollout, whose shares of traffic differ: one always-valid sequence for all.

Callers may rely on: a step adds nothing before each arm has `MINIMUM_PER_ARM` values of as many units in it; a change
of the base rate or of the shares between steps is no difference between the arms; figures are plain floats and nothing
here needs NumPy or SciPy, so that a look takes microseconds.

The method: within step s the difference d_s of the arms' means weighs h_s = n m / (n + m), by the variance of one value
that was planned with; S = sum of h_s d_s, seen at its variance, the sum of h_s^2 var(d_s), is a Brownian motion with
drift, whatever the shares (independent increments, Jennison & Turnbull 2000, section 11); the one-sided normal mixture
bounds it (Howard, Ramdas, McAuliffe & Sekhon 2021, section 3.2). Weights are counts alone: by 1 / variance a step in
which nothing failed would outweigh a later one in which much does. Outcomes of one unit are correlated: a step's
variance is multiplied by the design effect of its units, and what the same units add in several steps is added to the
variance of S as their covariance (the sum over units of their residuals' products, Liang & Zeger 1986). Where units
come back, S is correlated over time more than a Brownian motion of its variance, and so exceeds the bound less often
(Slepian 1962); all of this leans on the normal theory over units: hundreds of people, not dozens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from bakeoff.sequential import MINIMUM_PER_ARM, Sums

_NOTHING = Sums()
_ROOT_2 = math.sqrt(2.0)
_ROOT_2_PI = math.sqrt(2.0 * math.pi)
_FAR = -30.0
"""Below it the lower tail is taken from its asymptotic series, exact to a double's last digits there."""
_SURE = 5.0
"""Above it the upper tail is what is computed."""
_CLOSE = 1e-12


@dataclass(frozen=True, slots=True)
class Units:
    """How an arm's values fall on units (people, sessions); a value without a unit is a unit of its own."""

    count: int
    totals_squared: float
    """Sum over units of (sum of the unit's values)^2."""
    totals_by_sizes: float
    """Sum over units of (sum of the unit's values) * (number of them)."""
    sizes_squared: float
    """Sum over units of (number of values)^2."""


@dataclass(frozen=True, slots=True)
class Together:
    """What the units of these values have in common with an earlier step's: sums over the units that are in both.

    A product's first factor is of these values, its second of the earlier ones.
    """

    step: int
    """The earlier one, from 1."""
    arm: int
    """Of the earlier values: 0 the baseline's, 1 the candidate's."""
    totals: float
    """Sum of total * total."""
    totals_by_sizes: float
    """Sum of total * number of values."""
    sizes_by_totals: float
    """Sum of number of values * total."""
    sizes: float
    """Sum of number of values * number of values."""

    def residuals(self, mean: float, earlier: float) -> float:
        """Return the sum over units of the products of their residuals, by the means of these values and *earlier*."""
        return self.totals - earlier * self.totals_by_sizes - mean * self.sizes_by_totals + mean * earlier * self.sizes


@dataclass(frozen=True, slots=True)
class Values:
    """All that is kept of an arm's values of one kind within one step."""

    sums: Sums = _NOTHING
    units: Units | None = None
    """None: every value is a unit of its own."""
    earlier: tuple[Together, ...] = ()
    """What their units have in common with those of earlier steps, of both arms."""

    @classmethod
    def yes_no(cls, yes: int, n: int) -> Self:
        """Return *yes* ones among *n* values without units. Raises InputError unless 0 <= yes <= n."""
        return cls(Sums.yes_no(yes, n))

    @property
    def n(self) -> int:
        """How many values there are."""
        return self.sums.n

    @property
    def mean(self) -> float | None:
        """Their mean; None without values."""
        return self.sums.total / self.sums.n if self.sums.n else None

    @property
    def finite(self) -> bool:
        """Whether every sum is a number."""
        numbers = [self.sums.total, self.sums.squares]
        if self.units is not None:
            numbers += [self.units.totals_squared, self.units.totals_by_sizes, self.units.sizes_squared]
        numbers += [one.totals + one.totals_by_sizes + one.sizes_by_totals for one in self.earlier]
        return all(map(math.isfinite, numbers))

    @property
    def enough(self) -> bool:
        """Whether the normal theory can be leant on: enough values, of enough units."""
        return min(self.n, self.n if self.units is None else self.units.count) >= MINIMUM_PER_ARM

    @property
    def design_effect(self) -> float:
        """By how much the mean varies more than that of as many independent values would; at least 1.

        The ratio estimator's variance over units beside the plain one (Kish 1965, section 8.2).
        """
        units, n = self.units, self.n
        if units is None or n < 2 or units.count < 2:  # noqa: PLR2004  # one value or unit has no spread
            return 1.0
        mean = self.sums.total / n
        plain = (self.sums.squares - n * mean * mean) / (n - 1)
        if plain <= 0.0:
            return 1.0
        between = units.totals_squared - 2.0 * mean * units.totals_by_sizes + mean * mean * units.sizes_squared
        return max(1.0, between * units.count / (units.count - 1) / (n * plain))


@dataclass(frozen=True, slots=True)
class Seen:
    """The sequence at one look: a Brownian motion's position, its variance there, and what the steps weigh in all."""

    position: float = 0.0
    weight: float = 0.0
    variance: float = 0.0

    @property
    def difference(self) -> float | None:
        """Candidate minus baseline, weighted over the steps; None while nothing is known."""
        return self.position / self.weight if self.weight > 0.0 else None


def seen(steps: Iterable[tuple[Values, Values]], spread: float) -> Seen:
    """Return where the sequence stands after *steps*, each the (baseline, candidate) values in 0..1 of one, from 1 on.

    *spread* is the variance of one value that was planned with: it fixes the scale of the weights, nothing else.
    """
    position = weight = variance = 0.0
    common = _Common()
    for number, (baseline, candidate) in enumerate(steps, start=1):
        if baseline.enough and candidate.enough:
            gained = baseline.n * candidate.n / ((baseline.n + candidate.n) * spread)
            one, other = baseline.sums, candidate.sums
            position += gained * (other.total / other.n - one.total / one.n)
            weight += gained
            variance += gained * gained * _variance(baseline, candidate)
            common.add(number, 0, baseline, -gained)
            common.add(number, 1, candidate, gained)
    return Seen(position, weight, variance + common.variance)


def floors_seen(steps: Iterable[Values], floor: float) -> Seen:
    """Return where the sequence of one arm's mean minus *floor* stands after its values of all *steps*, from 1 on.

    The variance is at least that of a yes/no rate which is just at the floor: a good arm has next to none of its own.
    """
    planned = floor * (1.0 - floor)
    position = weight = variance = 0.0
    common = _Common()
    for number, values in enumerate(steps, start=1):
        if values.enough:
            gained = values.n / planned
            position += (values.sums.total / values.n - floor) * gained
            weight += gained
            variance += gained * gained * max(_spread(values.sums), planned) * values.design_effect / values.n
            common.add(number, 1, values, gained)
    return Seen(position, weight, variance + common.variance)


class _Common:
    """What the units that are in several steps add to the variance of the sum over the steps."""

    __slots__ = ("_known", "_twice")

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[float, float]] = {}
        self._twice = 0.0

    def add(self, step: int, arm: int, values: Values, weighs: float) -> None:
        """Add the mean of *values* times *weighs*; in an order in which earlier steps come first."""
        mean, each = values.sums.total / values.n, weighs / values.n
        for shared in values.earlier:
            before = self._known.get((shared.step, shared.arm))
            if before is not None:
                self._twice += 2.0 * each * before[1] * shared.residuals(mean, before[0])
        self._known[step, arm] = mean, each

    @property
    def variance(self) -> float:
        """At least 0: units that changed arms offset each other, and less than independent steps is never claimed."""
        return max(0.0, self._twice)


def evidence(position: float, information: float, rho: float) -> float:
    """Return the logarithm of the half-normal mixture's likelihood ratio, as `sequential` has it, of plain floats."""
    inflated = 1.0 + information * rho * rho
    scaled = position * rho / math.sqrt(inflated)
    return math.log(2.0) - 0.5 * math.log(inflated) + 0.5 * scaled * scaled + log_ndtr(scaled)


def reach(information: float, *, alpha: float, rho: float) -> float:
    """Return what a Brownian motion ever exceeds with probability at most *alpha*, by its variance, *information*.

    Where the half-normal mixture's likelihood ratio, 2 / sqrt(1 + v) * exp(s^2 / 2) * Phi(s) with v = information *
    rho^2 and s = x * rho / sqrt(1 + v), reaches 1 / alpha; solved by Newton's method, from above.
    """
    inflated = 1.0 + information * rho * rho
    target = 0.5 * math.log(inflated) - math.log(2.0 * alpha)
    scaled = math.sqrt(2.0 * (target + math.log(2.0)))
    step = math.inf
    while step > _CLOSE * scaled:  # from above and convex: each step is down, and there is a last one
        log_share = log_ndtr(scaled)
        slope = scaled + math.exp(-0.5 * scaled * scaled - log_share) / _ROOT_2_PI
        step = (0.5 * scaled * scaled + log_share - target) / slope
        scaled -= step
    return scaled * math.sqrt(inflated) / rho


def log_ndtr(x: float) -> float:
    """Return the logarithm of the standard normal distribution function (Abramowitz & Stegun 1964, 7.1.2, 26.2.12)."""
    if x > _SURE:
        return math.log1p(-0.5 * math.erfc(x / _ROOT_2))
    if x > _FAR:
        return math.log(0.5 * math.erfc(-x / _ROOT_2))
    inverse = 1.0 / (x * x)
    series = 1.0 - inverse * (1.0 - 3.0 * inverse * (1.0 - 5.0 * inverse * (1.0 - 7.0 * inverse)))
    return -0.5 * x * x - math.log(-x * _ROOT_2_PI) + math.log(series)


def _variance(baseline: Values, candidate: Values) -> float:
    """Return the variance of the difference of the means; without units exactly what `sequential` takes."""
    one, other = _spread(baseline.sums), _spread(candidate.sums)
    pooled = (baseline.n * one + candidate.n * other) / (baseline.n + candidate.n)
    return (
        max(one, pooled) * baseline.design_effect / baseline.n
        + max(other, pooled) * candidate.design_effect / candidate.n
    )


def _spread(sums: Sums) -> float:
    """Return the variance of values in 0..1 and of two more, 0 and 1 (Agresti & Caffo 2000 add the same)."""
    centre = (sums.total + 1.0) / (sums.n + 2)
    return (sums.squares + 1.0) / (sums.n + 2) - centre * centre
