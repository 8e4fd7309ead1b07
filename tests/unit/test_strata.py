"""What `bakeoff.strata` promises: plain floats equal to `sequential`, steps that add up, units that are correlated."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from bakeoff import sequential, strata
from bakeoff.sequential import Sums
from bakeoff.strata import Together, Units, Values

PLANNED = 0.16
"""The variance of one value that is planned with."""


@given(st.floats(-300.0, 300.0))
def test_the_normal_tail_is_that_of_scipy(x: float) -> None:
    """To nine digits, far into both tails."""
    assert pytest.approx(float(special.log_ndtr(x)), rel=1e-9, abs=1e-300) == strata.log_ndtr(x)


def test_boundary_solves_the_mixture() -> None:
    """At the boundary the half-normal mixture's likelihood ratio is 1 / alpha, found by numerical integration."""
    for information, alpha, rho in ((1.0, 0.05, 1.0), (400.0, 0.05, 0.1), (5000.0, 0.01, 0.02)):
        reach = strata.reach(information, alpha=alpha, rho=rho)
        drifts = np.linspace(0.0, 12.0 * rho, 400_001)
        weights = np.exp(-0.5 * (drifts / rho) ** 2) * 2.0 / math.sqrt(2.0 * math.pi) / rho
        ratio = np.trapezoid(weights * np.exp(drifts * reach - 0.5 * drifts**2 * information), drifts)
        assert pytest.approx(1.0 / alpha, rel=1e-6) == float(ratio)


@given(st.floats(0.01, 1e6), st.floats(1e-3, 0.2), st.floats(1e-4, 10.0))
def test_at_the_boundary_the_evidence_is_enough(information: float, alpha: float, rho: float) -> None:
    """There the mixture's likelihood ratio is 1 / alpha, to nine digits; so it is by what replays use."""
    reach = strata.reach(information, alpha=alpha, rho=rho)
    assert pytest.approx(-math.log(alpha), rel=1e-9) == strata.evidence(reach, information, rho)
    replayed = sequential.log_mixture(np.asarray(reach), np.asarray(information), rho)
    assert pytest.approx(-math.log(alpha), rel=1e-9) == float(replayed)


@given(st.integers(30, 5_000), st.integers(30, 5_000), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_one_step_says_what_replays_say(n: int, m: int, good: float, better: float) -> None:
    """The difference of the means, seen at the same information where the planned spread is what is found."""
    arms = Values.yes_no(int(n * good), n), Values.yes_no(int(m * better), m)
    columns = [(np.float64(arm.n), arm.sums.total, arm.sums.squares) for arm in arms]
    information = float(sequential.information_of(columns[0], columns[1], (0.0, 1.0)))
    at = strata.seen([arms], n * m / (n + m) / information)
    assert pytest.approx(information) == at.weight == pytest.approx(at.variance)
    assert pytest.approx(int(m * better) / m - int(n * good) / n, abs=1e-9) == at.difference


def test_sure_evidence_is_a_number() -> None:
    """Of hundreds of thousands of answers, all of them wrong in one arm: overwhelming one way, nothing the other."""
    ahead, behind = Values.yes_no(400_000, 400_000), Values.yes_no(0, 400_000)
    lost, gained = (strata.seen([pair], PLANNED) for pair in ((ahead, behind), (behind, ahead)))
    assert 1e4 < strata.evidence(-lost.position, lost.variance, 0.1) < math.inf
    assert -math.inf < strata.evidence(-gained.position, gained.variance, 0.1) < 0.0


def test_another_base_rate_in_another_step_is_no_loss() -> None:
    """90 % then 50 % good in both arms: taken together the candidate would look far worse; by steps it is equal."""
    steps = [(Values.yes_no(1620, 1800), Values.yes_no(180, 200)), (Values.yes_no(500, 1000), Values.yes_no(500, 1000))]
    assert 0.0 == strata.seen(steps, PLANNED).difference
    baseline, candidate = (steps[0][arm].sums + steps[1][arm].sums for arm in (0, 1))
    assert candidate.total / candidate.n - baseline.total / baseline.n < -0.15


def test_a_step_without_a_failure_does_not_outweigh_the_next() -> None:
    """Nothing failed in the first step, then every third answer of the candidate: that is seen at once."""
    clean, broken = (
        (Values.yes_no(3200, 3200), Values.yes_no(320, 320)),
        (Values.yes_no(99, 100), Values.yes_no(66, 100)),
    )
    at = strata.seen([clean, broken], 0.01)
    assert at.difference is not None
    assert at.difference + strata.reach(at.variance, alpha=0.01, rho=0.02) / at.weight < -0.01


def test_a_small_step_adds_nothing() -> None:
    """Fewer than 30 values of an arm, or of fewer than 30 units; then everything of the step counts."""
    enough, few = Values.yes_no(40, 50), Values.yes_no(20, 29)
    assert strata.Seen() == strata.seen([(enough, few), (few, enough)], PLANNED)
    assert None is strata.Seen().difference
    one_unit = Values(Sums(50, 40.0, 40.0), Units(1, 1600.0, 2000.0, 2500.0))
    assert strata.Seen() == strata.seen([(enough, one_unit)], PLANNED)
    assert strata.seen([(enough, few), (enough, enough)], PLANNED) == strata.seen([(enough, enough)], PLANNED)
    assert None is Values().mean
    assert 0.8 == enough.mean


def test_values_of_one_unit_count_less() -> None:
    """Ten equal values of each of 40 people are 40 values; values without units, or one each, are what they are."""
    alike = Values(Sums(400, 320.0, 320.0), Units(40, 3200.0, 3200.0, 4000.0))
    assert pytest.approx(10.0, rel=0.03) == alike.design_effect
    single = Values(Sums(400, 320.0, 320.0), Units(400, 320.0, 320.0, 400.0))
    assert pytest.approx(1.0, abs=1e-9) == single.design_effect
    plain = Values.yes_no(320, 400)
    assert 1.0 == plain.design_effect
    base = Values.yes_no(320, 400)
    alone = strata.seen([(base, plain)], PLANNED)
    assert strata.seen([(base, single)], PLANNED).variance == pytest.approx(alone.variance)
    assert strata.seen([(base, alike)], PLANNED).variance > 4 * alone.variance
    assert strata.seen([(base, alike)], PLANNED).weight == alone.weight
    constant = Values(Sums(40, 40.0, 40.0), Units(10, 160.0, 160.0, 160.0))
    assert 1.0 == constant.design_effect


def test_people_in_two_steps_count_once() -> None:
    """The same habits twice are four times the variance, not twice; people who changed arms offset each other."""
    rng = np.random.default_rng(8)
    sides = [(5.0 * rng.integers(0, 2, size), np.full(size, 5.0)) for size in (200, 100)]
    first = [_values(*side) for side in sides]
    again = [
        replace(values, earlier=(_together(1, arm, side, side),))
        for arm, (values, side) in enumerate(zip(first, sides, strict=True))
    ]
    alone = strata.seen([(first[0], first[1])], PLANNED)
    twice = strata.seen([(first[0], first[1]), (again[0], again[1])], PLANNED)
    unknown = strata.seen([(first[0], first[1])] * 2, PLANNED)
    assert pytest.approx(2.0 * alone.variance) == unknown.variance
    assert pytest.approx(4.0 * alone.variance, rel=0.05) == twice.variance
    assert (unknown.position, unknown.weight) == (twice.position, twice.weight)
    changed = replace(first[0], earlier=(_together(1, 1, sides[0], (sides[0][0][:100], sides[0][1][:100])),))
    moved = strata.seen([(first[0], first[1]), (changed, first[1])], PLANNED)
    assert unknown.variance == moved.variance
    few = strata.seen([(Values.yes_no(1, 2), first[1]), (again[0], again[1])], PLANNED)
    assert alone == few


def test_a_floor_counts_people_once() -> None:
    """The candidate's own, over the steps, too."""
    side = (5.0 * np.random.default_rng(9).integers(0, 2, 200), np.full(200, 5.0))
    first = _values(*side)
    again = replace(first, earlier=(_together(1, 0, side, side), _together(1, 1, side, side)))
    alone, twice = strata.floors_seen([first], 0.5), strata.floors_seen([first, again], 0.5)
    assert pytest.approx(4.0 * alone.variance, rel=0.05) == twice.variance


def _together(
    step: int, arm: int, side: tuple[np.ndarray, np.ndarray], before: tuple[np.ndarray, np.ndarray]
) -> Together:
    """What people have in common with the same people before: sums and sizes of each."""
    n = len(before[0])
    return Together(step, arm, *(float(one[:n] @ other) for one in side for other in before))


def test_what_is_no_number_is_known() -> None:
    """In any sum, of values or of units."""
    assert Values.yes_no(1, 2).finite
    assert not Values(Sums(1, math.nan, 1.0)).finite
    assert not Values(Sums(1, 1.0, 1.0), Units(1, math.inf, 1.0, 1.0)).finite
    assert not Values(Sums(1, 1.0, 1.0), earlier=(Together(1, 0, math.nan, 1.0, 1.0, 1.0),)).finite


def test_a_floor_is_of_one_arm() -> None:
    """Its difference is the mean minus the floor; a good arm's variance is at least the floor's."""
    at = strata.floors_seen([Values.yes_no(1000, 1000), Values.yes_no(10, 20)], 0.9)
    assert at.difference == pytest.approx(0.1)
    assert pytest.approx([1000 / 0.09, 1000 / 0.09]) == [at.weight, at.variance]
    below = strata.floors_seen([Values.yes_no(400, 1000)], 0.9)
    assert below.difference == pytest.approx(-0.5)
    assert below.variance > 2.5 * below.weight


def test_correlated_people_are_not_called_a_loss() -> None:
    """People with habits of their own, who come again and again, in two steps: a loss in no more than 5 % of runs."""
    rng = np.random.default_rng(5)
    called = 0
    for _ in range(300):
        called += _one_run(rng)
    assert called <= 15


def _one_run(rng: np.random.Generator) -> bool:
    """Whether some of 20 looks at two arms of 60 and 240 people says that there is a loss."""
    rates = [rng.beta(1.6, 0.4, size=size) for size in (240, 60)]
    good = [np.zeros(len(rate)) for rate in rates]
    asked = [np.zeros(len(rate)) for rate in rates]
    for _ in range(20):
        for arm, rate in enumerate(rates):
            came = rng.poisson(1.0, size=len(rate))
            good[arm] += rng.binomial(came, rate)
            asked[arm] += came
        arms = [_values(yes, n) for yes, n in zip(good, asked, strict=True)]
        at = strata.seen([(arms[0], arms[1])], PLANNED)
        if strata.evidence(-at.position, at.variance, 0.3) > -math.log(0.05):
            return True
    return False


def _values(yes: np.ndarray, n: np.ndarray) -> Values:
    total = float(yes.sum())
    units = Units(int((n > 0).sum()), float((yes**2).sum()), float((yes * n).sum()), float((n**2).sum()))
    return Values(Sums(int(n.sum()), total, total), units)


def test_information_grows_with_values() -> None:
    """More values never say less."""
    grown = [strata.seen([(Values.yes_no(8 * k, 10 * k), Values.yes_no(8 * k, 10 * k))], PLANNED) for k in range(3, 30)]
    assert all(one.weight < other.weight and one.variance < other.variance for one, other in pairwise(grown))
