"""What a comparison will be able to see: power, detectable losses and sample sizes, before any score exists.

Callers may rely on: assumptions are arguments, nothing is measured here; powers of yes/no gates are exact sums under
the verdict rule itself, with the very tests of `margins`; those of means and percentiles are normal theory; None is
"never".

The rule of a gate: it passes where "the loss is at least the margin" is rejected at alpha, else fails where "there is
no loss" is rejected at fail_alpha and the observed loss reaches the minimum effect, else it is inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bakeoff import special
from bakeoff.errors import ConfigError
from bakeoff.margins import Floats, mcnemar_loss, tango_within
from bakeoff.paired import Paired

Alternative = Literal["two-sided", "larger", "smaller"]

_NEGLIGIBLE = 1e-8
"""Mass of each tail that a sum over outcomes leaves out."""
_HALVINGS = 17
_LARGEST = 1 << 40
"""No sample size above this is looked for."""
_EQUAL = 1e-12
"""An observed loss this close below the minimum effect has reached it: 3/60 is 0.05."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What decides a gate."""

    margin: float
    minimum_effect: float
    alpha: float
    """One-sided error rate of a pass."""
    fail_alpha: float
    """One-sided error rate of a failure: alpha / number of gates, Holm's first step."""


def fails_yes_no(n: int, *, discordance: float, loss: float, rule: Rule) -> float:
    """Return the probability that a yes/no gate fails at a true *loss*.

    The model: *discordance* is the share of questions on which the arms differ where nothing is lost, half of them each
    way, and a loss takes right answers from questions that both had right: a question is lost with probability
    discordance / 2 + loss and gained with discordance / 2. Exact but for 1e-8 of each tail of the gains. Raises
    ConfigError where n < 2, a share is outside [0, 1] or the two add up to more than 1.
    """
    return _region(n, discordance, lambda lost, gained: _failed(lost, gained, n, rule)).probability(loss)


def passes_yes_no(n: int, *, discordance: float, loss: float, rule: Rule) -> float:
    """Return the probability that a yes/no gate passes at a true *loss*; the model and errors of `fails_yes_no`."""
    return 1.0 - _region(n, discordance, lambda lost, gained: ~_passed(lost, gained, n, rule)).probability(loss)


def detectable_yes_no(n: int, *, discordance: float, rule: Rule, power: float = 0.8) -> float | None:
    """Return the smallest loss that a yes/no gate fails with probability *power*; None where none is.

    Found by bisection to 1e-5, in the model of `fails_yes_no`, whose errors it raises.
    """
    _check_power(power)
    failing = _region(n, discordance, lambda lost, gained: _failed(lost, gained, n, rule))
    return _smallest(failing.probability, power, 1.0 - discordance)


def fails_mean(n: int, *, spread: float, loss: float, rule: Rule) -> float:
    """Return the probability that a gate on a mean fails at a true *loss*; *spread* is a question's deviation.

    Normal theory with Student's quantiles: the observed loss has the standard error s = spread / sqrt(n) and must
    exceed t_fail * s, the minimum effect and margin - t_alpha * s. Raises ConfigError where n < 2 or the spread is not
    above 0.
    """
    _check_mean(n, spread)
    error = spread / math.sqrt(n)
    return float(special.stdtr(n - 1, (loss - _needed_loss(n, error, rule)) / error))


def passes_mean(n: int, *, spread: float, loss: float, rule: Rule) -> float:
    """Return the probability that a gate on a mean passes at a true *loss*, by the theory of `fails_mean`."""
    _check_mean(n, spread)
    error = spread / math.sqrt(n)
    return float(special.stdtr(n - 1, (rule.margin - loss) / error - _t(n, rule.alpha)))


def detectable_mean(n: int, *, spread: float, rule: Rule, power: float = 0.8) -> float:
    """Return the smallest loss that a gate on a mean fails with probability *power*: `fails_mean` solved for it."""
    _check_power(power)
    _check_mean(n, spread)
    error = spread / math.sqrt(n)
    return _needed_loss(n, error, rule) + _t(n, 1.0 - power) * error


def p95_spread(log_spread: float, *, q: float = 95.0, correlation: float = 0.0) -> float:
    """Return what stands for a question's deviation in the logarithm of the ratio of two percentiles.

    sqrt(n) times its standard error, from the asymptotic variance of a quantile, p (1 - p) / f(x)^2 (Mosteller 1946),
    with log-normal timings of deviation *log_spread* in both arms; *correlation* is that of "this question is beyond
    the percentile" between the arms. 0 is the cautious assumption; a tail heavier than the log-normal's makes the
    figure too small: measure it (`Paired.spread` of `paired.p95_ratio`) where timings exist. Raises ConfigError on
    arguments outside their ranges.
    """
    if log_spread <= 0.0 or not 0.0 < q < 100.0 or not -1.0 <= correlation < 1.0:  # noqa: PLR2004  # a percentage
        raise ConfigError(
            f"log_spread {log_spread}, q {q}, correlation {correlation}: expected above 0, in (0, 100), in [-1, 1)",
            hint="0.5 is a usual deviation of the logarithm of latencies",
        )
    share = q / 100.0
    density = math.exp(-(float(special.ndtri(share)) ** 2) / 2.0) / math.sqrt(2.0 * math.pi)
    return log_spread * math.sqrt(share * (1.0 - share)) / density * math.sqrt(2.0 * (1.0 - correlation))


def fails_p95_ratio(n: int, *, spread: float, growth: float, rule: Rule) -> float:
    """Return the probability that a latency gate fails at a true *growth*; *spread* is that of `p95_spread`.

    `fails_mean` on the scale of logarithms, where growth, margin and minimum effect are log(1 + x).
    """
    return fails_mean(n, spread=spread, loss=math.log1p(growth), rule=_in_logarithms(rule))


def detectable_p95_ratio(n: int, *, spread: float, rule: Rule, power: float = 0.8) -> float:
    """Return the smallest growth of the percentile that a latency gate fails with probability *power*.

    *spread* is that of `p95_spread` or a measured one. An approximation: good for hundreds of questions, rough at one
    hundred, where only five timings lie beyond the percentile.
    """
    return math.expm1(detectable_mean(n, spread=spread, rule=_in_logarithms(rule), power=power))


def questions_needed(
    observed: Paired,
    *,
    margin: float,
    alpha: float,
    fail_alpha: float,
    power: float = 0.8,
    ratio: bool = False,
) -> int | None:
    """Return how many questions in all would decide a gate if what was *observed* were the truth; None for never.

    The smallest number at which it would either pass or fail with probability *power*, by normal theory; *ratio* says
    that the difference is the growth of a percentile (`paired.p95_ratio`), where higher is worse. None too where
    nothing can be said: fewer than two pairs, or no spread. Raises ConfigError on a power outside (0, 1).
    """
    _check_power(power)
    if observed.difference is None or not observed.spread:
        return None
    gain = -math.log1p(observed.difference) if ratio else observed.difference
    rule = Rule(math.log1p(margin) if ratio else margin, 0.0, alpha, fail_alpha)
    spread = observed.spread

    def decided(n: int) -> bool:
        passes = passes_mean(n, spread=spread, loss=-gain, rule=rule)
        return passes >= power or fails_mean(n, spread=spread, loss=-gain, rule=rule) >= power

    high = 2
    while not decided(high):
        high *= 2
        if high > _LARGEST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high


def two_proportions(
    first: float,
    second: float,
    *,
    n_first: float,
    n_second: float,
    alpha: float,
    alternative: Alternative = "two-sided",
) -> float:
    """Return the power of the z-test of two independent proportions, pooled under "they are equal" (Fleiss 1981).

    *alternative* speaks of first - second. Raises ConfigError where a share is outside [0, 1] or a size is not above 0.
    """
    ratio = n_second / n_first
    null, real = _proportion_spreads(first, second, ratio)
    shift = (first - second) * math.sqrt(n_first)
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    z = float(-special.ndtri(tail))
    found = 0.0
    if alternative != "smaller":
        found += float(special.ndtr((shift - z * null) / real))
    if alternative != "larger":
        found += float(special.ndtr((-shift - z * null) / real))
    return found


def two_proportions_size(
    first: float, second: float, *, power: float = 0.8, alpha: float, ratio: float = 1.0, sides: int = 2
) -> float:
    """Return the size of the first sample (the second is *ratio* times it) that the z-test of proportions needs.

    Not rounded; of a two-sided test the tail on the far side is neglected, as usual (Fleiss 1981). Raises ConfigError
    on equal proportions and as `two_proportions`.
    """
    _check_power(power)
    if first == second:
        raise ConfigError(f"both proportions are {first}", hint="there is no difference to find")
    null, real = _proportion_spreads(first, second, ratio)
    z_alpha, z_power = -float(special.ndtri(alpha / sides)), float(special.ndtri(power))
    return ((z_alpha * null + z_power * real) / (first - second)) ** 2


def two_means(
    effect: float, *, n_first: float, n_second: float, alpha: float, alternative: Alternative = "two-sided"
) -> float:
    """Return the power of Student's test of two independent means; *effect* is their difference by the deviation.

    By the non-central t distribution (Cohen 1988). Raises ConfigError where a size is not above 1.
    """
    if min(n_first, n_second) <= 1:
        raise ConfigError(
            f"sample sizes {n_first} and {n_second}: expected above 1", hint="a mean of one has no spread"
        )
    freedom = n_first + n_second - 2
    centre = effect * math.sqrt(n_first * n_second / (n_first + n_second))
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    t = -float(special.stdtrit(freedom, tail))
    found = 0.0
    if alternative != "smaller":
        found += float(special.nctdtr(freedom, -centre, -t))  # the mirror image: no digits are lost near 1
    if alternative != "larger":
        found += float(special.nctdtr(freedom, centre, -t))
    return found


def two_means_size(
    effect: float, *, power: float = 0.8, alpha: float, ratio: float = 1.0, alternative: Alternative = "two-sided"
) -> float:
    """Return the size of the first sample (the second is *ratio* times it) that Student's test of two means needs.

    Not rounded; found by bisection on `two_means`. Raises ConfigError where no size below 2^40 is enough.
    """
    _check_power(power)

    def enough(n: float) -> bool:
        return two_means(effect, n_first=n, n_second=ratio * n, alpha=alpha, alternative=alternative) >= power

    low = 1.0 + 1e-9 if ratio >= 1.0 else (1.0 + 1e-9) / ratio
    high = low * 2.0
    while not enough(high):
        high *= 2.0
        if high > _LARGEST:
            raise ConfigError(f"an effect of {effect} is not found by any sample", hint="name the side it lies on")
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _passed(lost: NDArray[np.int64], gained: NDArray[np.int64], n: int, rule: Rule) -> NDArray[np.bool_]:
    return np.asarray(tango_within(lost, gained, n, margin=rule.margin) <= rule.alpha)


def _failed(lost: NDArray[np.int64], gained: NDArray[np.int64], n: int, rule: Rule) -> NDArray[np.bool_]:
    sure = mcnemar_loss(lost, gained) <= rule.fail_alpha
    matters = (lost - gained) / n >= rule.minimum_effect - _EQUAL
    return np.asarray(sure & matters & ~_passed(lost, gained, n, rule))


@dataclass(frozen=True, slots=True)
class _Region:
    """Outcomes of a yes/no gate: for each number of gains the least number of losses from which on they belong."""

    n: int
    gained: NDArray[np.int64]
    """The counts of gains that hold all but a negligible part."""
    lost: NDArray[np.int64]
    """For each of them the least number of losses; n - gained + 1 where no number is enough."""
    weights: Floats
    """Probability of each count of gains."""
    p_gained: float

    def probability(self, loss: float) -> float:
        """Return the probability of the region at a true *loss*: given the gains, losses are binomial."""
        _check_shares(self.n, 2.0 * self.p_gained, loss)
        p_lost = min(self.p_gained + loss, 1.0 - self.p_gained)
        others = self.n - self.gained
        share = min(1.0, p_lost / (1.0 - self.p_gained))
        inside = np.clip(self.lost, 1, others)
        beyond = special.betainc(np.maximum(inside, 1), np.maximum(others - inside + 1, 1), share)
        tails = np.where(self.lost <= 0, 1.0, np.where(self.lost > others, 0.0, beyond))
        return float((self.weights * tails).sum())


def _region(
    n: int, discordance: float, belongs: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]
) -> _Region:
    """Return the outcomes that *belongs* marks: whoever has lost more belongs as well, so halving finds the least."""
    _check_shares(n, discordance, 0.0)
    p_gained = discordance / 2.0
    gained = _likely(n, p_gained)
    low, high = np.full_like(gained, -1), n - gained + 1
    while (wide := high - low > 1).any():
        middle = (low + high) // 2
        marked = belongs(np.where(wide, middle, 0), gained)
        low, high = np.where(wide & ~marked, middle, low), np.where(wide & marked, middle, high)
    logs = (
        special.gammaln(n + 1) - special.gammaln(gained + 1) - special.gammaln(n - gained + 1)
        + special.xlogy(gained, p_gained) + special.xlogy(n - gained, 1.0 - p_gained)
    )  # fmt: skip
    return _Region(n, gained, high, np.exp(logs), p_gained)


def _check_shares(n: int, discordance: float, loss: float) -> None:
    if n < 2 or not (0.0 <= discordance <= 1.0 and 0.0 <= loss <= 1.0 - discordance + _EQUAL):  # noqa: PLR2004  # a pair
        raise ConfigError(
            f"n is {n}, discordance {discordance}, loss {loss}: expected n >= 2 and shares that add up to at most 1",
            hint="discordance and loss are shares of the questions, as 0.1",
        )


def _likely(n: int, share: float) -> NDArray[np.int64]:
    """Return the counts of Binomial(n, share) that hold all but a negligible part of it (Bernstein's bound)."""
    log = -math.log(_NEGLIGIBLE)
    reach = math.sqrt(2.0 * n * share * (1.0 - share) * log) + 2.0 * log / 3.0
    return np.arange(max(0, math.floor(n * share - reach)), min(n, math.ceil(n * share + reach)) + 1)


def _smallest(power_at: Callable[[float], float], power: float, largest: float) -> float | None:
    low, high = 0.0, largest
    if power_at(high) < power:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return high


def _needed_loss(n: int, error: float, rule: Rule) -> float:
    return max(_t(n, rule.fail_alpha) * error, rule.minimum_effect, rule.margin - _t(n, rule.alpha) * error)


def _t(n: int, tail: float) -> float:
    return -float(special.stdtrit(n - 1, tail))


def _in_logarithms(rule: Rule) -> Rule:
    return Rule(math.log1p(rule.margin), math.log1p(rule.minimum_effect), rule.alpha, rule.fail_alpha)


def _proportion_spreads(first: float, second: float, ratio: float) -> tuple[float, float]:
    """Return the deviations of sqrt(n_first) * (first - second): pooled, and with both proportions as they are."""
    if not (0.0 <= first <= 1.0 and 0.0 <= second <= 1.0 and ratio > 0.0):
        raise ConfigError(f"proportions {first} and {second}, ratio {ratio}: expected shares and a ratio above 0")
    pooled = (first + ratio * second) / (1.0 + ratio)
    null = math.sqrt(pooled * (1.0 - pooled) * (1.0 + 1.0 / ratio))
    return null, math.sqrt(first * (1.0 - first) + second * (1.0 - second) / ratio)


def _check_power(power: float) -> None:
    if not 0.0 < power < 1.0:
        raise ConfigError(f"the power is {power}, not in (0, 1)", hint="0.8 is the usual value")


def _check_mean(n: int, spread: float) -> None:
    if n < 2 or spread <= 0.0:  # noqa: PLR2004  # one question has no spread
        raise ConfigError(f"n is {n} and the spread {spread}: expected n >= 2 and a spread above 0")
