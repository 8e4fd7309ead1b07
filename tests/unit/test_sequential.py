"""What `bakeoff.sequential` promises: errors bounded over all looks, and the drops that a plan's traffic shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import sequential
from bakeoff.errors import ConfigError, InputError
from bakeoff.sequential import Sums

HOURS = 48
REPLAYS = 4_000


def hourly(baseline: int, candidate: int) -> list[tuple[int, int]]:
    """Return 48 looks with so many requests between two."""
    return [(baseline, candidate)] * HOURS


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.9, 0.98])
@pytest.mark.parametrize(("baseline", "candidate"), [(100, 100), (180, 20), (20, 180), (36, 4), (4, 36)])
def test_looking_every_hour_finds_no_loss_that_is_not_there(rate: float, baseline: int, candidate: int) -> None:
    """Over 48 hourly looks equal arms are called a loss in no more than 5 % of runs, whatever their shares."""
    looks = hourly(baseline, candidate)
    rho = sequential.plan_rho(looks, base_rate=rate, alpha=0.05)
    assert rho is not None
    wrong = sequential.share_found(looks, rates=(rate, rate), margin=0.0, alpha=0.05, rho=rho, seed=1, replays=REPLAYS)
    assert wrong <= 0.05


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.9])
def test_errors_are_bounded_while_shares_change(rate: float) -> None:
    """So too while a rollout moves from 10 % to 90 %, and at a drop exactly as large as the margin."""
    looks = [(180, 20)] * 12 + [(100, 100)] * 12 + [(20, 180)] * 24
    rho = sequential.plan_rho(looks, base_rate=rate, alpha=0.05)
    assert rho is not None
    for margin in (0.0, 0.03):
        wrong = sequential.share_found(
            looks, rates=(rate, rate - margin), margin=margin, alpha=0.05, rho=rho, seed=3, replays=REPLAYS
        )
        assert wrong <= 0.05


def test_drop_that_is_shown_is_found_with_the_power() -> None:
    """Fresh replays find the drop in 80 % ± 3 of runs; more traffic shows less; a margin asks for more."""
    looks = hourly(100, 100)
    found = sequential.drop_shown(looks, base_rate=0.8, margin=0.0, alpha=0.05, seed=2)
    rho = sequential.plan_rho(looks, base_rate=0.8, alpha=0.05)
    assert found is not None
    assert rho is not None
    rates = (0.8, 0.8 - found)
    share = sequential.share_found(looks, rates=rates, margin=0.0, alpha=0.05, rho=rho, seed=9, replays=REPLAYS)
    assert pytest.approx(0.8, abs=0.03) == share
    more = sequential.drop_shown(hourly(400, 400), base_rate=0.8, margin=0.0, alpha=0.05, seed=2)
    wider = sequential.drop_shown(looks, base_rate=0.8, margin=0.02, alpha=0.05, seed=2)
    assert more is not None
    assert wider is not None
    assert more < found < wider < found + 0.03


@pytest.mark.parametrize("looks", [[], [(100, 0)] * 48, [(5, 5)], [(1, 1)] * 20])
def test_traffic_that_shows_nothing_is_none(looks: list[tuple[int, int]]) -> None:
    """No look, an arm without requests, and too few of them: no drop can be shown."""
    assert sequential.drop_shown(looks, base_rate=0.8, margin=0.0, alpha=0.05, seed=1) is None


def test_plan_and_live_looks_decide_alike() -> None:
    """What `bounds` says look by look is what `share_found` counts: bound, p-value and replay agree."""
    looks, rates, alpha = hourly(30, 20), (0.8, 0.72), 0.05
    rho = sequential.plan_rho(looks, base_rate=0.8, alpha=alpha)
    assert rho is not None
    rng = np.random.default_rng(4)
    counts = [rng.binomial(30, rates[0], (1, HOURS)), rng.binomial(20, rates[1], (1, HOURS))]
    baseline, candidate, called = Sums(), Sums(), False
    for hour in range(HOURS):
        baseline += Sums.yes_no(int(counts[0][0, hour]), 30)
        candidate += Sums.yes_no(int(counts[1][0, hour]), 20)
        found = sequential.bounds(baseline, candidate, alpha=alpha, rho=rho)
        if found.high is not None:
            assert found.p_loss is not None
            assert (found.high < 0.0) == (found.p_loss < alpha)
            called |= found.high < 0.0
    once = sequential.share_found(looks, rates=rates, margin=0.0, alpha=alpha, rho=rho, seed=4, replays=1)
    assert float(called) == once


def test_boundary_solves_the_mixture() -> None:
    """At the boundary the half-normal mixture's likelihood ratio is 1 / alpha, found by numerical integration."""
    for information, alpha, rho in ((1.0, 0.05, 1.0), (400.0, 0.05, 0.1), (5000.0, 0.01, 0.02)):
        reach = float(sequential.boundary(np.asarray(information), alpha=alpha, rho=rho))
        drifts = np.linspace(0.0, 12.0 * rho, 400_001)
        weights = np.exp(-0.5 * (drifts / rho) ** 2) * 2.0 / math.sqrt(2.0 * math.pi) / rho
        ratio = np.trapezoid(weights * np.exp(drifts * reach - 0.5 * drifts**2 * information), drifts)
        assert pytest.approx(1.0 / alpha, rel=1e-6) == float(ratio)


def test_best_rho_is_the_best() -> None:
    """At the information it is chosen for, no other scale gives a boundary lower by more than 0.05 %."""
    rho = sequential.best_rho(500.0, alpha=0.05)
    at = float(sequential.boundary(np.asarray(500.0), alpha=0.05, rho=rho))
    others = [
        float(sequential.boundary(np.asarray(500.0), alpha=0.05, rho=rho * by)) for by in np.geomspace(0.1, 10, 41)
    ]
    assert at <= min(others) * 1.0005


@given(st.lists(st.floats(1.0, 5.0), max_size=60), st.lists(st.floats(1.0, 5.0), max_size=60))
def test_sums_add_up(one: list[float], other: list[float]) -> None:
    """Sums of two batches are the sums of all; swapped arms give the negated bounds."""
    joined = Sums.of(one + other)
    added = Sums.of(one) + Sums.of(other)
    assert joined.n == added.n
    assert [joined.total, joined.squares] == pytest.approx([added.total, added.squares])
    there, back = (
        sequential.bounds(a, b, alpha=0.05, rho=0.1, span=(1.0, 5.0))
        for a, b in ((Sums.of(one), Sums.of(other)), (Sums.of(other), Sums.of(one)))
    )
    if there.low is None or back.high is None:
        assert min(len(one), len(other)) < sequential.MINIMUM_PER_ARM
    else:
        assert pytest.approx(there.low) == -back.high


def test_small_arm_says_nothing() -> None:
    """Below 30 values in an arm there are no bounds; n is told all the same."""
    found = sequential.bounds(Sums.yes_no(20, 29), Sums.yes_no(500, 900), alpha=0.05, rho=0.1)
    assert (None, None, None, None, 29, 900) == (
        found.difference, found.low, found.high, found.p_loss, found.n_baseline, found.n_candidate,
    )  # fmt: skip


def test_p_value_never_leaves_zero_to_one() -> None:
    """A candidate far ahead has p_loss 1, one far behind next to 0, even with hundreds of thousands of requests."""
    ahead, behind = Sums.yes_no(400_000, 400_000), Sums.yes_no(0, 400_000)
    assert sequential.bounds(behind, ahead, alpha=0.05, rho=0.1).p_loss == 1.0
    found = sequential.bounds(ahead, behind, alpha=0.05, rho=0.1).p_loss
    assert found is not None
    assert 0.0 <= found < 1e-12


def test_impossible_settings_are_refused() -> None:
    """Each is named."""
    arm = Sums.yes_no(30, 40)
    with pytest.raises(ConfigError, match="alpha"):
        sequential.bounds(arm, arm, alpha=0.5, rho=0.1)
    with pytest.raises(ConfigError, match="rho"):
        sequential.bounds(arm, arm, alpha=0.05, rho=0.0)
    with pytest.raises(ConfigError, match="span"):
        sequential.bounds(arm, arm, alpha=0.05, rho=0.1, span=(1.0, 1.0))
    with pytest.raises(ConfigError, match="information"):
        sequential.best_rho(0.0, alpha=0.05)
    with pytest.raises(ConfigError, match="sizes 0"):
        sequential.expected_information(0, 1, variance=0.1)
    with pytest.raises(ConfigError, match="base rate 1"):
        sequential.drop_shown(hourly(10, 10), base_rate=1.0, margin=0.0, alpha=0.05, seed=1)
    with pytest.raises(InputError, match="3 yes of 2"):
        Sums.yes_no(3, 2)
    with pytest.raises(InputError, match="NaN"):
        Sums.of([1.0, math.nan])
