"""Paired comparisons for gates: one-sided tests of "no loss" and of "a loss as large as the margin", with their bounds.

Callers may rely on: pairs with an undefined side are counted, never taken as zero; NaN and infinity are errors; both
ends of an interval are one-sided bounds at alpha, and `p_margin` is at most alpha exactly where the bound on the side
of a loss clears the margin; equal input and seed give equal output, in whatever order the pairs come; equal sides give
a difference of exactly 0, `p_loss` 1 and, at a margin of 0, `p_margin` 1: nothing lost is no evidence of a gain.

`difference` is candidate minus baseline and higher is better, but for `p95_ratio`, where it is growth and higher is
worse; the two p-values always speak of losses, whatever the direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bakeoff import margins, special, stats
from bakeoff.errors import ConfigError, InputError

Values = Sequence[float | None]
Floats = NDArray[np.float64]

TOLERANCE = 1e-12
"""Resampled means this close to a bound under test count against the claim: their last digits are rounding."""


@dataclass(frozen=True, slots=True)
class Paired:
    """A baseline and a candidate on the same questions: the difference, its bounds, and the evidence of a loss."""

    baseline: float | None
    """Mean over the pairs (of timings: the percentile); None without pairs."""
    candidate: float | None
    difference: float | None
    """Candidate minus baseline; of timings candidate / baseline - 1."""
    low: float | None
    """One-sided bound at alpha, as `high`; None with fewer than two pairs."""
    high: float | None
    level: float
    """Of the interval from low to high: 1 - 2 * alpha."""
    n: int
    """Pairs with both sides defined."""
    only_baseline: int
    """Pairs of which only the baseline is defined: the candidate was not measured."""
    only_candidate: int
    neither: int
    spread: float | None
    """Standard deviation of a question's difference (ddof 1); of timings sqrt(n) times the standard error of the
    logarithm of the ratio. None with fewer than two pairs."""
    discordant: float | None
    """Of yes/no values the share of pairs that differ, else None."""
    p_loss: float | None
    """One-sided p-value of "there is no loss"; small where there is one."""
    p_margin: float | None
    """One-sided p-value of "the loss is at least the margin"; small where it is within."""


@dataclass(frozen=True, slots=True)
class _Sides:
    """The pairs with both sides defined, and how many had not."""

    baseline: Floats
    candidate: Floats
    only_baseline: int
    only_candidate: int
    neither: int


def yes_no(baseline: Values, candidate: Values, *, margin: float, alpha: float) -> Paired:
    """Compare values of 0, 1 and None, question by question.

    The interval and `p_margin` are Tango's score test of the paired difference (Tango 1998), `p_loss` is the exact
    one-sided test of McNemar. Without discordant pairs both bounds still keep a distance from 0: n questions without a
    loss leave losses of about 2.7 / n possible at alpha = 0.05. Raises InputError on a value other than 0 and 1 and on
    unequal lengths, ConfigError on a negative margin or an alpha outside (0, 0.5).
    """
    sides = _sides(baseline, candidate, margin, alpha)
    for values in (sides.baseline, sides.candidate):
        if not np.isin(values, (0.0, 1.0)).all():
            wrong = float(values[~np.isin(values, (0.0, 1.0))][0])
            raise InputError(f"a yes/no value is {wrong}", hint="compare graded values as means")
    n = len(sides.baseline)
    if n < 2:  # noqa: PLR2004  # one pair has no spread
        return _unjudged(sides, alpha)
    lost = int(np.count_nonzero(sides.baseline > sides.candidate))
    gained = int(np.count_nonzero(sides.baseline < sides.candidate))
    low, high = margins.tango_interval(lost, gained, n, alpha=alpha)
    return replace(
        _unknown(sides, alpha),
        baseline=float(sides.baseline.mean()),
        candidate=float(sides.candidate.mean()),
        difference=(gained - lost) / n,
        low=low,
        high=high,
        spread=float(np.std(sides.candidate - sides.baseline, ddof=1)),
        discordant=(lost + gained) / n,
        p_loss=float(margins.mcnemar_loss(lost, gained)),
        p_margin=float(margins.tango_within(lost, gained, n, margin=margin)),
    )


def mean(
    baseline: Values, candidate: Values, *, margin: float, alpha: float, seed: int, resamples: int = 10_000
) -> Paired:
    """Compare the means of graded values by a bootstrap of the pairs.

    Bounds are the expanded percentile interval (Hesterberg 2015, section 5.3): the percentile interval is too narrow by
    sqrt((n - 1) / n) and by the normal quantile in place of Student's. p-values are the shares of resampled means on
    the wrong side (with one added to both counts, Davison & Hinkley 1997, section 4.2), taken through the same
    expansion. A resample can't hold a loss that was not seen, so where few questions differ this alone is too sure of
    itself, and two tests guard it, the more cautious having the word: `p_margin` and the bounds are at least as wide
    as those of `margins.graded_within` (for values in [0, 1]), `p_loss` is at least that of flipping the signs of the
    differences at random (Fisher 1935), exact where the two sides could be exchanged. Equal sides therefore give
    bounds a little off 0, as with `yes_no`. Raises as `yes_no`.
    """
    sides = _sides(baseline, candidate, margin, alpha)
    n = len(sides.baseline)
    if n < 2:  # noqa: PLR2004  # one pair has no spread
        return _unjudged(sides, alpha)
    differences = np.sort(sides.candidate - sides.baseline)
    difference, spread = math.fsum(differences) / n, float(np.std(differences, ddof=1))
    rng = np.random.default_rng(seed)
    drawn = _Drawn.of(_resampled_means(differences, rng, resamples), difference, spread / math.sqrt(n), n)
    low, high = drawn.bounds(alpha)
    p_margin = drawn.p_above(-margin, alpha)
    if all(values.min() >= 0.0 and values.max() <= 1.0 for values in (sides.baseline, sides.candidate)):
        low = min(low, -margins.graded_loss_bound(differences, alpha=alpha))
        high = max(high, margins.graded_loss_bound(-differences, alpha=alpha))
        p_margin = max(p_margin, margins.graded_within(differences, margin=margin))
    return replace(
        _unknown(sides, alpha),
        baseline=math.fsum(sides.baseline) / n,
        candidate=math.fsum(sides.candidate) / n,
        difference=difference,
        low=low,
        high=high,
        spread=spread,
        p_loss=max(drawn.p_below(0.0, alpha), _sign_flips(differences, rng, resamples)),
        p_margin=p_margin,
    )


def p95_ratio(
    baseline_ms: Values,
    candidate_ms: Values,
    *,
    margin: float,
    alpha: float,
    seed: int,
    resamples: int = 2_000,
    q: float = 95.0,
) -> Paired:
    """Compare a percentile of timings, candidate / baseline - 1, by a bootstrap of the questions; higher is worse.

    Percentiles are by nearest rank, as `metrics.percentile`; both sides of a resample are of the same questions, so
    that what both find slow cancels. `p_margin` is small where the growth is below the margin, `p_loss` where there is
    growth. Bounds are expanded as those of `mean`. Raises as `mean`, and InputError on a timing that is not above 0.
    """
    sides = _sides(baseline_ms, candidate_ms, margin, alpha)
    n = len(sides.baseline)
    if not 0.0 < q < 100.0:  # noqa: PLR2004  # a percentage
        raise ConfigError(f"percentile {q} is not between 0 and 100", hint="use 50, 95 or 99")
    if n and min(sides.baseline.min(), sides.candidate.min()) <= 0.0:
        raise InputError("a timing is not above 0 ms", hint="a timing that was not taken is null")
    if n < 2:  # noqa: PLR2004  # one pair has no spread
        return _unjudged(sides, alpha, ratio=True)
    first, second = (float(value) for value in _nearest_rank(np.stack([sides.baseline, sides.candidate]), q))
    logs = np.log(_resampled_ratios(sides, np.random.default_rng(seed), resamples, q))
    error = float(np.std(logs, ddof=1))
    drawn = _Drawn.of(logs, math.log(second / first), error, n)
    low, high = drawn.bounds(alpha)
    return replace(
        _unknown(sides, alpha),
        baseline=first,
        candidate=second,
        difference=second / first - 1.0,
        low=math.expm1(low),
        high=math.expm1(high),
        spread=math.sqrt(n) * error,
        p_loss=drawn.p_above(0.0, alpha),
        p_margin=drawn.p_below(math.log1p(margin), alpha),
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Sorted estimates of resamples, with what Student's method needs where n is too small for their tails."""

    values: Floats
    estimate: float
    error: float
    n: int

    @classmethod
    def of(cls, values: Floats, estimate: float, error: float, n: int) -> _Drawn:
        """Sort *values*."""
        return cls(np.sort(values), estimate, error, n)

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Return the one-sided bounds at *alpha*: order statistics, or Student's."""
        rank = self._rank(alpha)
        if rank >= 0:
            return float(self.values[rank]), float(self.values[-1 - rank])
        half = -float(special.stdtrit(self.n - 1, alpha)) * self.error
        return self.estimate - half, self.estimate + half

    def p_above(self, bound: float, alpha: float) -> float:
        """Return the p-value of "the truth is *bound* or less": small where the estimates are above it."""
        return self._p(np.searchsorted(self.values, bound + TOLERANCE, side="right"), self.estimate - bound, alpha)

    def p_below(self, bound: float, alpha: float) -> float:
        """Return the p-value of "the truth is *bound* or more": small where the estimates are below it."""
        against = len(self.values) - np.searchsorted(self.values, bound - TOLERANCE, side="left")
        return self._p(against, bound - self.estimate, alpha)

    def _p(self, against: np.intp, clear: float, alpha: float) -> float:
        if self._rank(alpha) >= 0:
            share = (int(against) + 1) / (len(self.values) + 1)
            shrunk = math.sqrt((self.n - 1) / self.n) * float(special.ndtri(share))
            return float(special.stdtr(self.n - 1, shrunk))
        if self.error <= TOLERANCE:
            return 0.0 if clear > TOLERANCE else 1.0
        return float(special.stdtr(self.n - 1, -clear / self.error))

    def _rank(self, alpha: float) -> int:
        """Return which order statistic is the lower bound; below 0 where it lies beyond the resamples."""
        tail = special.ndtr(math.sqrt(self.n / (self.n - 1)) * special.stdtrit(self.n - 1, alpha))
        return math.floor(float(tail) * (len(self.values) + 1)) - 1


def _resampled_means(differences: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Return the means of resamples of the sorted *differences*; of swapped arms they are these, negated.

    So that a comparison and its reverse draw the same questions, the lesser of both in order is drawn from; where both
    are the same, half of the means are drawn and the others are these, negated (one more than *resamples* if odd).
    """
    swapped = -differences[::-1]
    if np.array_equal(swapped, differences):
        half = stats.resampled_means(differences, rng, (resamples + 1) // 2)
        return np.concatenate([half, 0.0 - half])  # no -0.0 where both sides are equal
    if swapped.tolist() < differences.tolist():
        return -stats.resampled_means(swapped, rng, resamples)
    return stats.resampled_means(differences, rng, resamples)


def _sign_flips(differences: Floats, rng: np.random.Generator, resamples: int) -> float:
    """Return the share of random signs under which the *differences* add up to no more than they do."""
    sizes = np.abs(differences[differences != 0.0])
    if not len(sizes):
        return 1.0
    limit = math.fsum(differences) + TOLERANCE * len(differences)
    rows = max(1, stats.BLOCK // len(sizes))
    total, at_most = sizes.sum(), 0
    for first in range(0, resamples, rows):
        signs = rng.integers(0, 2, size=(min(rows, resamples - first), len(sizes)), dtype=np.int8)
        at_most += int(np.count_nonzero(2.0 * (signs @ sizes) - total <= limit))
    return (at_most + 1) / (resamples + 1)


def _nearest_rank(values: Floats, q: float) -> Floats:
    """Return the percentile of each row: its ceil(q * n / 100)-th smallest."""
    place = math.ceil(q * values.shape[-1] / 100.0) - 1
    return np.asarray(np.partition(values, place, axis=-1)[..., place])


def _resampled_ratios(sides: _Sides, rng: np.random.Generator, resamples: int, q: float) -> Floats:
    """Return candidate / baseline of the percentile in *resamples* samples of the questions, with replacement."""
    n = len(sides.baseline)
    ratios = np.empty(resamples)
    rows = max(1, stats.BLOCK // n)
    for first in range(0, resamples, rows):
        drawn = rng.integers(0, n, size=(min(rows, resamples - first), n), dtype=np.int32)
        ratios[first : first + rows] = _nearest_rank(sides.candidate[drawn], q) / _nearest_rank(
            sides.baseline[drawn], q
        )
    return ratios


def _sides(baseline: Values, candidate: Values, margin: float, alpha: float) -> _Sides:
    """Check the arguments and return the pairs with both sides defined, sorted, so that their order can't matter."""
    if not 0.0 <= margin < math.inf:
        raise ConfigError(f"the margin is {margin}, below 0", hint="0.05 allows a loss of 5 points")
    if not 0.0 < alpha < 0.5:  # noqa: PLR2004  # one-sided: beyond a half the bounds would cross
        raise ConfigError(f"alpha is {alpha}, not in (0, 0.5)", hint="0.05 is the usual value")
    pairs, _ = stats.defined_pairs(baseline, candidate)
    absent = [(a is None, b is None) for a, b in zip(baseline, candidate, strict=True)]
    table = np.array(sorted(pairs), dtype=np.float64).reshape(-1, 2)
    return _Sides(
        baseline=table[:, 0],
        candidate=table[:, 1],
        only_baseline=absent.count((False, True)),
        only_candidate=absent.count((True, False)),
        neither=absent.count((True, True)),
    )


def _unjudged(sides: _Sides, alpha: float, *, ratio: bool = False) -> Paired:
    """Return what can be said of no pair or of one: no interval, no p-value."""
    found = _unknown(sides, alpha)
    if not found.n:
        return found
    first, second = float(sides.baseline[0]), float(sides.candidate[0])
    return replace(
        found, baseline=first, candidate=second, difference=second / first - 1.0 if ratio else second - first
    )


def _unknown(sides: _Sides, alpha: float) -> Paired:
    """Return a comparison of which only the numbers of pairs are known."""
    return Paired(
        baseline=None,
        candidate=None,
        difference=None,
        low=None,
        high=None,
        level=1.0 - 2.0 * alpha,
        n=len(sides.baseline),
        only_baseline=sides.only_baseline,
        only_candidate=sides.only_candidate,
        neither=sides.neither,
        spread=None,
        discordant=None,
        p_loss=None,
        p_margin=None,
    )
