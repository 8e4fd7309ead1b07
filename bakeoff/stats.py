"""Intervals and tests; the seed is an argument.

Callers may rely on: equal input and seed give equal output; pairs with an undefined side are dropped and counted, never
taken as zero; NaN is an error; nothing is claimed from fewer data than a method needs (None instead).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from bakeoff.errors import ConfigError, InputError

_Floats = NDArray[np.float64]

BLOCK = 1 << 16
"""Draws held in memory at once by the bootstrap: 1 MB with their values, so that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean paired difference, candidate minus baseline, with its confidence interval."""

    difference: float | None
    """None without pairs."""
    low: float | None
    """None with fewer than two pairs: one difference says nothing of its spread."""
    high: float | None
    n: int
    """Pairs with both sides defined."""
    dropped: int
    """Pairs with a side undefined."""
    level: float


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """How many cases the candidate gained and lost."""

    gained: int
    """The candidate's value is the greater."""
    lost: int
    """The candidate's value is the smaller."""
    same: int
    dropped: int
    """A side is undefined."""


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of yes among n, with its confidence interval; all None where n is 0."""

    share: float | None
    low: float | None
    high: float | None
    n: int
    level: float


def defined_pairs(
    baseline: Sequence[float | None], candidate: Sequence[float | None]
) -> tuple[list[tuple[float, float]], int]:
    """Return the pairs with both sides defined, and how many were dropped.

    Raises InputError on unequal lengths, NaN and infinity.
    """
    if len(baseline) != len(candidate):
        raise InputError(
            f"{len(baseline)} baseline values against {len(candidate)} of the candidate: not pairs",
            hint="align both by question id, with null where one has no value",
        )
    pairs = [(a, b) for a, b in zip(baseline, candidate, strict=True) if a is not None and b is not None]
    for index, pair in enumerate(pairs):
        if not all(math.isfinite(value) for value in pair):
            raise InputError(f"defined pair {index} is {pair}", hint="find the step that made it; undefined is null")
    return pairs, len(baseline) - len(pairs)


def paired_bootstrap(
    baseline: Sequence[float | None],
    candidate: Sequence[float | None],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Return the mean difference of the pairs and its percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13).

    Cases are resampled as pairs, so that what both configurations find hard cancels. The percentile interval, not BCa:
    a mean of bounded differences over a hundred cases or more is all but unbiased and unskewed, where the two agree to
    a fraction of their width, and BCa's acceleration is undefined when all differences are equal, which happens
    (equal locks). Quantiles are linear between order statistics. Raises InputError on unequal lengths, NaN or infinity,
    ConfigError where resamples < 1 or the level is outside (0, 1).
    """
    _check_level(level)
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}, below 1", hint="10000 is the default")
    pairs, dropped = defined_pairs(baseline, candidate)
    n = len(pairs)
    if n == 0:
        return Interval(None, None, None, 0, dropped, level)
    differences = np.array([b - a for a, b in pairs], dtype=np.float64)
    mean = math.fsum(differences) / n
    if n == 1:
        return Interval(mean, None, None, 1, dropped, level)
    means = resampled_means(differences, np.random.default_rng(seed), resamples)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(mean, float(low), float(high), n, dropped, level)


def resampled_means(values: _Floats, rng: np.random.Generator, resamples: int) -> _Floats:
    """Return the means of *resamples* samples of *values*, with replacement, in blocks of bounded memory."""
    n = len(values)
    means = np.empty(resamples)
    rows = min(resamples, max(1, BLOCK // n))
    drawn = np.empty((rows, n))  # written over by each block: fresh memory would cost more than the draws
    for first in range(0, resamples, rows):
        block = drawn[: resamples - first]
        np.take(values, rng.integers(0, n, size=block.shape), out=block, mode="clip")
        np.mean(block, axis=1, out=means[first : first + rows])
    return means


def paired_counts(baseline: Sequence[float | None], candidate: Sequence[float | None]) -> PairedCounts:
    """Count the cases gained and lost; of yes/no values these are McNemar's discordant pairs. Raises InputError."""
    pairs, dropped = defined_pairs(baseline, candidate)
    gained = sum(b > a for a, b in pairs)
    lost = sum(b < a for a, b in pairs)
    return PairedCounts(gained, lost, len(pairs) - gained - lost, dropped)


def mcnemar_exact(b: int, c: int) -> float:
    """Return the two-sided exact p-value for *b* and *c* discordant pairs under "either way is as likely".

    2 * P(X <= min(b, c)) for X ~ Binomial(b + c, 1/2), at most 1 (McNemar 1947 in its exact form); 1 without discordant
    pairs. Computed in whole numbers, so that it is correctly rounded. Raises InputError on a negative count.
    """
    if b < 0 or c < 0:
        raise InputError(f"discordant counts {b} and {c}: expected at least 0", hint="pass the counts of paired_counts")
    n = b + c
    term = 1
    total = 1
    for i in range(min(b, c)):
        term = term * (n - i) // (i + 1)
        total += term
    return min(1.0, 2 * total / (1 << n))


def wilson(successes: int, n: int, *, level: float = 0.95) -> Proportion:
    """Return the share of *successes* among *n* with its score interval (Wilson 1927, no continuity correction).

    Raises InputError unless 0 <= successes <= n, ConfigError where the level is outside (0, 1).
    """
    _check_level(level)
    if not 0 <= successes <= n:
        raise InputError(f"{successes} successes of {n}: expected 0 <= successes <= n", hint="count each case once")
    if n == 0:
        return Proportion(None, None, None, 0, level)
    z = NormalDist().inv_cdf((1.0 + level) / 2.0)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Proportion(share, low, high, n, level)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for testing all of them, in the order given (Holm 1979, step-down).

    Compare each with the wanted family-wise error. Raises InputError where one is not in [0, 1].
    """
    for p in pvalues:
        if not 0.0 <= p <= 1.0:
            raise InputError(f"p-value {p} is not in [0, 1]", hint="leave out what was not tested")
    adjusted = [0.0] * len(pvalues)
    highest = 0.0
    for position, index in enumerate(sorted(range(len(pvalues)), key=lambda i: pvalues[i])):
        highest = max(highest, min(1.0, (len(pvalues) - position) * pvalues[index]))
        adjusted[index] = highest
    return adjusted


@dataclass(frozen=True, slots=True)
class Tested:
    """A test statistic with its p-value."""

    statistic: float
    freedom: float
    """Degrees of freedom."""
    p: float
    """Two-sided for t, the upper tail for chi-square."""


def t_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return the mean of *values*, as `difference`, with Student's interval (Student 1908); `dropped` is 0.

    Raises InputError on NaN and infinity, ConfigError where the level is outside (0, 1).
    """
    _check_level(level)
    kept = _finite(values)
    n = len(kept)
    if n < 2:  # noqa: PLR2004  # one value says nothing of the spread
        return Interval(kept[0] if n else None, None, None, n, 0, level)
    from scipy import special

    mean, variance = _moments(kept)
    half = float(special.stdtrit(n - 1, (1.0 + level) / 2.0)) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, n, 0, level)


def welch(first: Sequence[float], second: Sequence[float]) -> Tested | None:
    """Test whether two independent samples have the same mean, whatever their variances (Welch 1947).

    The statistic is of first - second. None where a sample has fewer than two values or neither varies: there is no
    spread to measure the difference by. Raises InputError on NaN and infinity.
    """
    one, two = _finite(first), _finite(second)
    if min(len(one), len(two)) < 2:  # noqa: PLR2004  # one value says nothing of the spread
        return None
    from scipy import special

    (mean_one, variance_one), (mean_two, variance_two) = _moments(one), _moments(two)
    error_one, error_two = variance_one / len(one), variance_two / len(two)
    error = error_one + error_two
    if error == 0.0:
        return None
    freedom = error**2 / (error_one**2 / (len(one) - 1) + error_two**2 / (len(two) - 1))
    statistic = (mean_one - mean_two) / math.sqrt(error)
    return Tested(statistic, freedom, 2.0 * float(special.stdtr(freedom, -abs(statistic))))


def chi_square(table: Sequence[Sequence[int]]) -> Tested | None:
    """Test whether the rows of a table of counts have the same distribution over its columns (Pearson 1900).

    No continuity correction. Rows and columns of nothing but 0 are left out; None where fewer than two of either
    remain. Raises InputError on a negative count and on rows of unequal length.
    """
    if len({len(row) for row in table}) > 1:
        raise InputError("the rows of the table have unequal lengths", hint="give each row the same columns")
    counts = np.array(_counts([count for row in table for count in row])).reshape(
        len(table), len(table[0]) if table else 0
    )
    counts = counts[counts.any(axis=1)][:, counts.any(axis=0)]
    if min(counts.shape) < 2:  # noqa: PLR2004  # nothing to compare
        return None
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return _pearson(counts, expected, (counts.shape[0] - 1) * (counts.shape[1] - 1))


def goodness(observed: Sequence[int], shares: Sequence[float]) -> Tested | None:
    """Test whether *observed* counts come in the proportion of *shares* (Pearson 1900); these need not add up to 1.

    None where nothing was observed or there is one cell only. The approximation asks for five expected in each cell.
    Raises InputError on a negative count, unequal lengths, or a share that is not above 0.
    """
    counts = np.array(_counts(observed))
    if len(observed) != len(shares):
        raise InputError(f"{len(observed)} counts against {len(shares)} shares", hint="give each count its share")
    weights = np.array(_finite(shares))
    if len(weights) and weights.min() <= 0.0:
        raise InputError(f"a share is {weights.min()}, not above 0", hint="leave out what gets no traffic")
    if len(counts) < 2 or not counts.any():  # noqa: PLR2004  # nothing to compare
        return None
    return _pearson(counts, counts.sum() * weights / weights.sum(), len(counts) - 1)


def srm(observed: Sequence[int], shares: Sequence[float], *, alpha: float = 0.0005) -> bool | None:
    """Say whether the units of an experiment's arms do not come in the *shares* they were given; None as `goodness`.

    Sample-ratio mismatch (Fabijan et al. 2019), at a rate low enough to be asked every hour: a mismatch means that
    assignment or logging is broken, and no figure of the experiment is to be believed. Raises as `goodness`,
    ConfigError where alpha is outside (0, 1).
    """
    _check_level(alpha)
    found = goodness(observed, shares)
    return None if found is None else found.p < alpha


def _pearson(counts: _Floats, expected: _Floats, freedom: int) -> Tested:
    from scipy import special

    statistic = math.fsum(((counts - expected) ** 2 / expected).ravel())
    return Tested(statistic, freedom, float(special.chdtrc(freedom, statistic)))


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and variance (ddof 1)."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _finite(values: Sequence[float]) -> list[float]:
    for index, value in enumerate(values):
        if not math.isfinite(value):
            raise InputError(f"value {index} is {value}", hint="find the step that made it; undefined is null")
    return [float(value) for value in values]


def _counts(values: Sequence[int]) -> list[float]:
    for index, value in enumerate(values):
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"count {index} is {value}: expected at least 0", hint="count each unit once")
    return [float(value) for value in values]


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ConfigError(f"the confidence level is {level}, not in (0, 1)", hint="0.95 is the usual value")
