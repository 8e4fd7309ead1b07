"""What `bakeoff.power` promises: powers that simulation finds, agreement with statsmodels, None for never."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import scipy.stats
import statsmodels.stats.power as sm_power
import statsmodels.stats.proportion as sm_proportion
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import xlogy

from bakeoff import margins, paired, power
from bakeoff.errors import ConfigError
from bakeoff.paired import Paired
from bakeoff.power import Rule

PLAIN = Rule(margin=0.05, minimum_effect=0.0, alpha=0.05, fail_alpha=0.01)
SIDES: list[Literal["two-sided", "larger", "smaller"]] = ["two-sided", "larger", "smaller"]
DRAWS = 20_000
"""A share near 0.8 of so many draws has a standard error of 0.3 points."""


def verdicts(lost: NDArray[Any], gained: NDArray[Any], n: int, rule: Rule) -> tuple[float, float]:
    """Return the shares of passes and of failures, by the rule as it is told, test by test."""
    passed = margins.tango_within(lost, gained, n, margin=rule.margin) <= rule.alpha
    sure = margins.mcnemar_loss(lost, gained) <= rule.fail_alpha
    failed = ~passed & sure & ((lost - gained) / n >= rule.minimum_effect - 1e-12)
    return float(passed.mean()), float(failed.mean())


def drawn(n: int, discordance: float, loss: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw questions one by one: arms that differ at random, then losses among what both had right."""
    rng = np.random.default_rng(n)
    lost, gained = [], []
    for _ in range(DRAWS // 1000):
        draws = rng.random((1000, n))
        lost.append((draws < discordance / 2 + loss).sum(axis=1))
        gained.append((draws > 1.0 - discordance / 2).sum(axis=1))
    return np.concatenate(lost), np.concatenate(gained)


@pytest.mark.parametrize("effect", [0.0, 0.04])
@pytest.mark.parametrize(
    ("n", "discordance", "loss"), [(60, 0.1, 0.1), (150, 0.1, 0.0), (150, 0.2, 0.12), (400, 0.05, 0.05)]
)
def test_yes_no_power_is_what_simulation_finds(n: int, discordance: float, loss: float, effect: float) -> None:
    """Questions drawn one by one pass and fail as often as the sum says, to one point."""
    rule = Rule(0.05, effect, 0.05, 0.01)
    passes, fails = verdicts(*drawn(n, discordance, loss), n, rule)
    assert pytest.approx(passes, abs=0.01) == power.passes_yes_no(n, discordance=discordance, loss=loss, rule=rule)
    assert pytest.approx(fails, abs=0.01) == power.fails_yes_no(n, discordance=discordance, loss=loss, rule=rule)


def every_outcome(n: int, discordance: float, loss: float, rule: Rule) -> tuple[float, float]:
    """Return the probabilities of a pass and of a failure, outcome by outcome."""
    p_gained = discordance / 2
    p_lost = min(p_gained + loss, 1 - p_gained)
    shares = (p_lost, p_gained, 1 - p_lost - p_gained)
    passes = fails = 0.0
    for lost in range(n + 1):
        for gained in range(n + 1 - lost):
            counts = (lost, gained, n - lost - gained)
            logs = [math.lgamma(count + 1) for count in counts]
            terms = [float(xlogy(count, max(0.0, share))) for count, share in zip(counts, shares, strict=True)]
            mass = math.exp(math.lgamma(n + 1) - sum(logs) + sum(terms))
            passed = bool(margins.tango_within(lost, gained, n, margin=rule.margin) <= rule.alpha)
            sure = bool(margins.mcnemar_loss(lost, gained) <= rule.fail_alpha)
            passes += mass * passed
            fails += mass * (sure and not passed and (lost - gained) / n >= rule.minimum_effect - 1e-12)
    return passes, fails


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 24),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.builds(
        Rule, st.sampled_from([0.0, 0.02, 0.2]), st.sampled_from([0.0, 0.1]), st.just(0.05), st.floats(0.01, 0.05)
    ),
)
def test_yes_no_power_is_the_sum_over_every_outcome(n: int, discordance: float, share: float, rule: Rule) -> None:
    """The whole grid of losses and gains, each judged by itself, gives the same probabilities."""
    loss = share * (1.0 - discordance)
    passes, fails = every_outcome(n, discordance, loss, rule)
    assert pytest.approx(passes, abs=1e-7) == power.passes_yes_no(n, discordance=discordance, loss=loss, rule=rule)
    assert pytest.approx(fails, abs=1e-7) == power.fails_yes_no(n, discordance=discordance, loss=loss, rule=rule)


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95])
def test_detectable_yes_no_loss_has_the_power(wanted: float) -> None:
    """A loss of the size that is called detectable fails with the power asked for, and no smaller one does."""
    found = power.detectable_yes_no(150, discordance=0.1, rule=PLAIN, power=wanted)
    assert found is not None
    at = power.fails_yes_no(150, discordance=0.1, loss=found, rule=PLAIN)
    below = power.fails_yes_no(150, discordance=0.1, loss=found - 0.001, rule=PLAIN)
    assert below < wanted <= at < wanted + 0.005


def test_loss_that_few_questions_can_t_show_is_none() -> None:
    """Six questions never fail at 1 %: the smallest p-value is 1/64."""
    assert power.detectable_yes_no(6, discordance=0.1, rule=PLAIN) is None
    assert power.fails_yes_no(6, discordance=0.1, loss=0.9, rule=PLAIN) == 0.0


@settings(max_examples=30)
@given(st.integers(20, 400), st.floats(0.01, 0.5), st.floats(0.0, 0.4))
def test_yes_no_errors_keep_their_rates(n: int, discordance: float, loss: float) -> None:
    """No difference fails at fail_alpha at most; passing and failing exclude each other."""
    assert power.fails_yes_no(n, discordance=discordance, loss=0.0, rule=PLAIN) <= PLAIN.fail_alpha + 1e-9
    both = [
        find(n, discordance=discordance, loss=loss, rule=PLAIN) for find in (power.passes_yes_no, power.fails_yes_no)
    ]
    assert sum(both) <= 1.0 + 1e-9


@pytest.mark.parametrize("n", [30, 100, 300])
@pytest.mark.parametrize("effect", [0.0, 0.06])
def test_power_of_means_is_what_simulation_finds(n: int, effect: float) -> None:
    """Normal differences pass and fail by Student's test as often as the theory says, to 2 points."""
    rule, spread = Rule(0.05, effect, 0.05, 0.01), 0.25
    for loss in (0.0, 0.05, power.detectable_mean(n, spread=spread, rule=rule)):
        values = np.random.default_rng(n).normal(-loss, spread, (DRAWS, n))
        mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(n)
        t_pass, t_fail = (float(scipy.stats.t.isf(alpha, n - 1)) for alpha in (rule.alpha, rule.fail_alpha))
        passed = mean - t_pass * error > -rule.margin
        failed = ~passed & (mean + t_fail * error < 0.0) & (-mean >= effect)
        assert pytest.approx(float(passed.mean()), abs=0.02) == power.passes_mean(
            n, spread=spread, loss=loss, rule=rule
        )
        assert pytest.approx(float(failed.mean()), abs=0.02) == power.fails_mean(n, spread=spread, loss=loss, rule=rule)


@given(st.integers(2, 500), st.floats(0.01, 1.0), st.floats(0.05, 0.95))
def test_detectable_mean_loss_has_the_power(n: int, spread: float, wanted: float) -> None:
    """`detectable_mean` is `fails_mean` solved for the loss."""
    found = power.detectable_mean(n, spread=spread, rule=PLAIN, power=wanted)
    assert pytest.approx(wanted, abs=1e-6) == power.fails_mean(n, spread=spread, loss=found, rule=PLAIN)


def test_p95_spread_is_the_quantile_s() -> None:
    """Log-normal timings: the logarithm of the ratio of two percentiles varies as the formula says."""
    n, draws = 2000, 1500
    rng = np.random.default_rng(2)
    logs = [np.quantile(rng.normal(3.0, 0.5, (draws, n)), 0.95, axis=1) for _ in range(2)]
    found = math.sqrt(n) * float(np.std(logs[1] - logs[0]))
    assert pytest.approx(found, rel=0.05) == power.p95_spread(0.5)
    assert pytest.approx(power.p95_spread(0.5) / 2) == power.p95_spread(0.5, correlation=0.75)


def test_detectable_growth_has_the_power() -> None:
    """`detectable_p95_ratio` is `fails_p95_ratio` solved for the growth; more questions see less."""
    rule = Rule(0.1, 0.05, 0.05, 0.01)
    few, many = (power.detectable_p95_ratio(n, spread=power.p95_spread(0.3), rule=rule) for n in (150, 1000))
    assert pytest.approx(0.8) == power.fails_p95_ratio(150, spread=power.p95_spread(0.3), growth=few, rule=rule)
    assert 0.05 < many < few


def observed(difference: float | None, spread: float | None, n: int = 100) -> Paired:
    """Return a comparison of which only the difference and the spread matter."""
    return Paired(
        baseline=0.7, candidate=0.7, difference=difference, low=None, high=None, level=0.9, n=n, only_baseline=0,
        only_candidate=0, neither=0, spread=spread, discordant=None, p_loss=None, p_margin=None,
    )  # fmt: skip


@pytest.mark.parametrize(("difference", "side"), [(0.0, "pass"), (-0.02, "pass"), (-0.05, "fail"), (-0.1, "fail")])
def test_questions_needed_decide(difference: float, side: str) -> None:
    """So many questions decide with the power asked for, one fewer does not."""
    n = power.questions_needed(observed(difference, 0.3), margin=0.05, alpha=0.05, fail_alpha=0.01)
    assert n is not None
    find = power.passes_mean if side == "pass" else power.fails_mean
    at, below = (find(size, spread=0.3, loss=-difference, rule=PLAIN) for size in (n, n - 1))
    assert below < 0.8 <= at


def test_questions_needed_is_never_where_nothing_can_be_decided() -> None:
    """No spread, no difference, or a truth that lies on the bound: None."""
    for found in (observed(None, None), observed(0.0, 0.0), observed(0.0, None)):
        assert power.questions_needed(found, margin=0.05, alpha=0.05, fail_alpha=0.01) is None
    assert power.questions_needed(observed(0.0, 0.3), margin=0.0, alpha=0.05, fail_alpha=0.01) is None


def test_questions_needed_of_timings_counts_growth_as_loss() -> None:
    """A percentile that grew far beyond the margin needs few questions to fail, one that fell few to pass."""
    grown, same, fallen = (
        power.questions_needed(observed(growth, 1.0), margin=0.1, alpha=0.05, fail_alpha=0.01, ratio=True)
        for growth in (0.5, 0.08, -0.3)
    )
    assert grown is not None
    assert same is not None
    assert fallen is not None
    assert max(grown, fallen) < 200 < same


def test_questions_needed_of_a_real_comparison() -> None:
    """What `paired` returns can be asked, and more pairs of the same kind are then decided."""
    rng = np.random.default_rng(5)
    baseline = rng.random(5000)
    candidate = np.clip(baseline + rng.normal(-0.01, 0.15, 5000), 0.0, 1.0)
    few = paired.mean(baseline[:60].tolist(), candidate[:60].tolist(), margin=0.03, alpha=0.05, seed=1)
    needed = power.questions_needed(few, margin=0.03, alpha=0.05, fail_alpha=0.01, power=0.95)
    assert needed is not None
    enough = paired.mean(baseline.tolist(), candidate.tolist(), margin=0.03, alpha=0.05, seed=1, resamples=999)
    assert enough.p_margin is not None
    assert enough.p_margin <= 0.05


@pytest.mark.parametrize("side", SIDES)
@given(first=st.floats(0.05, 0.95), second=st.floats(0.05, 0.95), n=st.integers(10, 3000), ratio=st.floats(0.2, 5.0))
@settings(max_examples=40)
def test_two_proportions_agree_with_statsmodels(
    side: Literal["two-sided", "larger", "smaller"], first: float, second: float, n: int, ratio: float
) -> None:
    """The power of the z-test of two proportions is statsmodels' to 1e-9."""
    expected = sm_proportion.power_proportions_2indep(
        first - second, second, n, ratio=ratio, alpha=0.03, alternative=side, return_results=False
    )
    found = power.two_proportions(first, second, n_first=n, n_second=n * ratio, alpha=0.03, alternative=side)
    assert pytest.approx(float(expected), abs=1e-9) == found


@given(
    first=st.floats(0.05, 0.45), second=st.floats(0.5, 0.95), ratio=st.floats(0.2, 5.0), sides=st.sampled_from([1, 2])
)
@settings(max_examples=40)
def test_sizes_for_proportions_agree_with_statsmodels(first: float, second: float, ratio: float, sides: int) -> None:
    """The size that the z-test of two proportions needs is statsmodels' to 1e-9."""
    expected = sm_proportion.samplesize_proportions_2indep_onetail(
        first - second, second, 0.8, ratio=ratio, alpha=0.05, alternative="two-sided" if sides == 2 else "smaller"
    )
    found = power.two_proportions_size(first, second, alpha=0.05, ratio=ratio, sides=sides)
    assert pytest.approx(float(expected), rel=1e-9) == found


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("effect", "n", "ratio"), [(0.2, 100, 1.0), (-0.5, 12, 2.0), (0.8, 25, 0.5), (0.05, 4000, 1.0)]
)
def test_two_means_agree_with_statsmodels(
    side: Literal["two-sided", "larger", "smaller"], effect: float, n: int, ratio: float
) -> None:
    """The power of Student's test of two means is statsmodels' to 1e-9."""
    expected = sm_power.TTestIndPower().power(effect, n, 0.05, ratio=ratio, alternative=side)
    found = power.two_means(effect, n_first=n, n_second=n * ratio, alpha=0.05, alternative=side)
    assert pytest.approx(float(expected), abs=1e-9) == found


@pytest.mark.parametrize("effect", [0.1, 0.3, 0.8, 1.5])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_sizes_for_means_agree_with_statsmodels(effect: float, ratio: float) -> None:
    """The size that Student's test needs is statsmodels', whose own solver stops near 1e-8."""
    expected = sm_power.TTestIndPower().solve_power(effect, power=0.8, alpha=0.05, ratio=ratio)
    found = power.two_means_size(effect, alpha=0.05, ratio=ratio)
    assert pytest.approx(float(expected), rel=1e-7) == found
    assert pytest.approx(0.8, abs=1e-9) == power.two_means(effect, n_first=found, n_second=ratio * found, alpha=0.05)


def test_impossible_assumptions_are_refused() -> None:
    """Each is named."""
    with pytest.raises(ConfigError, match="n is 1"):
        power.fails_yes_no(1, discordance=0.1, loss=0.1, rule=PLAIN)
    with pytest.raises(ConfigError, match=r"loss 0\.95"):
        power.fails_yes_no(10, discordance=0.1, loss=0.95, rule=PLAIN)
    with pytest.raises(ConfigError, match=r"spread 0\.0"):
        power.fails_mean(10, spread=0.0, loss=0.1, rule=PLAIN)
    with pytest.raises(ConfigError, match=r"power is 1\.0"):
        power.detectable_mean(10, spread=0.1, rule=PLAIN, power=1.0)
    with pytest.raises(ConfigError, match=r"correlation 1\.0"):
        power.p95_spread(0.5, correlation=1.0)
    with pytest.raises(ConfigError, match="proportions"):
        power.two_proportions(1.1, 0.5, n_first=10, n_second=10, alpha=0.05)
    with pytest.raises(ConfigError, match="both proportions"):
        power.two_proportions_size(0.5, 0.5, alpha=0.05)
    with pytest.raises(ConfigError, match="above 1"):
        power.two_means(0.5, n_first=1, n_second=10, alpha=0.05)
    with pytest.raises(ConfigError, match="not found by any sample"):
        power.two_means_size(-0.5, alpha=0.05, alternative="larger")
