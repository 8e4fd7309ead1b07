"""Tests of paired differences that hold where few pairs differ: McNemar's, Tango's, and Tango's for graded values.

Callers may rely on: tests of a margin measure the spread under the hypothesis under test, so that a loss that happens
not to be in the sample still counts; p-values fall, or stay, as a margin grows; each bound is the margin at which its
test turns; on values of 0 and 1 the graded test is Tango's but for Student's quantile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bakeoff import special

Floats = NDArray[np.float64]

_HALVINGS = 42
"""Steps of bisection: an interval of 2 is narrower than 1e-12 after them."""

_TINY = 1e-12
"""A mean this close to the margin lies on it: what is left is rounding."""


def mcnemar_loss(lost: object, gained: object) -> Floats:
    """Return the exact one-sided p-value of "a loss is no likelier than a gain" (McNemar 1947), element by element.

    P(X <= gained) for X ~ Binomial(lost + gained, 1/2), as the incomplete beta function; 1 where nothing was lost.
    """
    losses, gains = np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64)
    return np.asarray(np.where(losses == 0.0, 1.0, special.betainc(np.maximum(losses, 1.0), gains + 1.0, 0.5)))


def tango_within(lost: object, gained: object, n: int, *, margin: float) -> Floats:
    """Return the p-value of "the true difference is -*margin* or worse", element by element (Tango 1998).

    1 where the score statistic is 0 / 0: a margin of 0 and no discordant pair.
    """
    return np.asarray(special.ndtr(-_score(np.asarray(gained), np.asarray(lost), n, margin)))


def tango_interval(lost: int, gained: int, n: int, *, alpha: float) -> tuple[float, float]:
    """Return the bounds of the paired difference that Tango's test rejects at *alpha*, one-sided, on either side."""
    z = float(-special.ndtri(alpha))
    return -_loss_bound(lost, gained, n, z), _loss_bound(gained, lost, n, z)


def _loss_bound(lost: int, gained: int, n: int, z: float) -> float:
    """Return the largest loss in [-1, 1] that the score test at *z* does not reject: its statistic grows with it."""
    inside, outside = (lost - gained) / n, 1.0
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2.0
        if float(_score(np.asarray(gained), np.asarray(lost), n, middle)) < z:
            inside = middle
        else:
            outside = middle
    return inside


def _score(gained: NDArray[Any], lost: NDArray[Any], n: int, loss: float) -> Floats:
    """Return Tango's score statistic of the hypothesis that losses outweigh gains by the share *loss*.

    (gained - lost + n * loss) / sqrt(n * (2 * q + loss * (1 - loss))), where q is the likeliest share of gains under
    the hypothesis: the larger root of 2n q^2 - B q - C = 0. For a negative loss the two sides change places, so that
    no digits are lost. -inf where it is 0 / 0.
    """
    if loss < 0.0:
        return -_score(lost, gained, n, -loss)
    linear = lost * (1.0 + loss) + gained * (1.0 - loss) - 2.0 * n * loss
    constant = gained * loss * (1.0 - loss)
    root = np.sqrt(linear * linear + 8.0 * n * constant)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(linear > 0.0, (linear + root) / (4.0 * n), 2.0 * constant / (root - linear))
        share = np.where((linear <= 0.0) & (constant == 0.0), 0.0, share)
        above = gained - lost + n * loss
        found = above / np.sqrt(n * (2.0 * share + loss * (1.0 - loss)))
    return np.asarray(np.where(np.isnan(found), -np.inf, found))


def graded_within(differences: Floats, *, margin: float) -> float:
    """Return the p-value of "the true mean of *differences* is -*margin* or worse"; they lie in [-1, 1].

    A score test as Tango's: the mean plus the margin, by its standard error under the likeliest distribution on
    [-1, 1] whose mean is -margin (the restricted nonparametric maximum likelihood, Owen 2001, chapter 2), against
    Student's distribution. That distribution reweighs what was observed and, where this can't reach the mean, puts the
    rest on -1. 1 where all differences equal -margin.
    """
    values, counts = np.unique(differences, return_counts=True)
    return float(special.stdtr(len(differences) - 1, -_graded_score(values, counts, margin)))


def graded_loss_bound(differences: Floats, *, alpha: float) -> float:
    """Return the largest mean loss in [-1, 1] that `graded_within` does not reject at *alpha*."""
    n = len(differences)
    values, counts = np.unique(differences, return_counts=True)

    def surplus(loss: float) -> float:
        return float(special.stdtr(n - 1, -_graded_score(values, counts, loss))) - alpha

    return _crossing(surplus, -float(values @ counts) / n, 1.0)


def _graded_score(values: Floats, counts: NDArray[np.intp], loss: float) -> float:
    """Return the score statistic of "the mean is -*loss*" for *values* seen *counts* times.

    The likeliest weights are proportional to 1 / (1 + lever * (value + loss)), the lever between 0 and 1 / (1 - loss),
    where the weight of -1 would turn negative (Owen 2001, section 2.9); weights that then add up to less than 1 leave
    the rest to -1. A mean on the other side of -loss is measured by its plain spread: only its sign matters.
    """
    n = int(counts.sum())
    above = values + loss
    mean = float(above @ counts) / n
    squares = float((above * above) @ counts)
    if mean <= _TINY:
        return min(mean, 0.0) * n / math.sqrt(squares) if squares > _TINY * _TINY else -math.inf
    if loss >= 1.0:
        return math.inf
    with np.errstate(divide="ignore"):  # the weight of an observed -1 is infinite at the longest lever
        lever = _crossing(lambda at: float((above / (1.0 + at * above)) @ counts), 0.0, 1.0 / (1.0 - loss))
    weights = counts / n / (1.0 + lever * above)
    rest = max(0.0, 1.0 - float(weights.sum()))
    variance = float(weights @ (above * above)) + rest * (1.0 - loss) ** 2
    return mean / math.sqrt(variance / n)


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where *falling* leaves the positive values, *high* where it does not.

    By false position, each third step a bisection (so that it ends), an end that stays giving way (the Illinois rule,
    Dowell & Jarratt 1971): about a dozen steps to 1e-12 of the interval.
    """
    width, at_low, at_high = 1e-12 * (high - low), falling(low), falling(high)
    if at_high >= 0.0:
        return high
    step = 0
    while high - low > width:
        step += 1
        by_secant = step % 3 and math.isfinite(at_high)
        middle = (low * at_high - high * at_low) / (at_high - at_low) if by_secant else (low + high) / 2.0
        value = falling(middle)
        if value > 0.0:
            low, at_low, at_high = middle, value, at_high / 2.0
        else:
            high, at_high, at_low = middle, value, at_low / 2.0
    return low
