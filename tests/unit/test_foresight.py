"""What `bakeoff.foresight` promises: errors bounded over all looks and steps, and the drops that are found by then."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from bakeoff import foresight, live, sequential, strategy
from bakeoff.errors import ConfigError
from bakeoff.foresight import Looks, Watched
from bakeoff.live import ArmSeen, StepSeen
from bakeoff.rollout import Action
from bakeoff.strata import Values
from bakeoff.strategy import Strategy

REPLAYS = 4_000
NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def rollout(rate: float = 0.8, margin: float = 0.05, **more: Any) -> Strategy:
    """48 hours at 10, 50 and 100 %."""
    given = {
        "strategy": "test",
        "watch": {"quality": {"margin": margin, "base_rate": rate}},
        "steps": [{"percent": percent, "hours": 16} for percent in (10, 50, 100)],
    }
    return strategy.parse(given | more, source="test")


def hourly(baseline: int, candidate: int, hours: int = 48) -> list[tuple[int, int]]:
    """So many looks with so many outcomes between two."""
    return [(baseline, candidate)] * hours


def tuned(steps: list[Looks], rate: float, margin: float = 0.0, alpha: float = 0.05) -> Watched:
    """A sequence that is tuned to the end of *steps*."""
    information = sum(
        sequential.expected_information(sum(a for a, _ in step), sum(b for _, b in step), variance=rate * (1 - rate))
        for step in steps
    )
    return Watched(rate, margin, alpha, sequential.best_rho(information, alpha=alpha))


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.9, 0.98])
@pytest.mark.parametrize(("baseline", "candidate"), [(100, 100), (180, 20), (20, 180), (36, 4), (4, 36)])
def test_looking_every_hour_finds_no_loss_that_is_not_there(rate: float, baseline: int, candidate: int) -> None:
    """Over 48 hourly looks equal arms are called a loss in no more than 5 % of runs, whatever their shares."""
    looks: list[Looks] = [hourly(baseline, candidate)]
    (wrong,) = foresight.found(looks, tuned(looks, rate), drop=0.0, seed=1, replays=REPLAYS)
    assert wrong <= 0.05


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.9])
def test_errors_are_bounded_while_shares_change(rate: float) -> None:
    """So too while a rollout moves from 10 % to 90 %, and at a drop exactly as large as the margin."""
    steps: list[Looks] = [hourly(180, 20, 12), hourly(100, 100, 12), hourly(20, 180, 24)]
    for margin in (0.0, 0.03):
        shares = foresight.found(steps, tuned(steps, rate, margin), drop=margin, seed=3, replays=REPLAYS)
        assert sorted(shares) == shares
        assert shares[-1] <= 0.05


def test_drop_that_is_shown_is_found_with_the_power() -> None:
    """Fresh replays find the drop in 80 % ± 3 of runs; more traffic shows less; a margin asks for more."""
    looks: list[Looks] = [hourly(100, 100)]
    (shown,) = foresight.shown(looks, tuned(looks, 0.8), seed=2)
    assert shown is not None
    (share,) = foresight.found(looks, tuned(looks, 0.8), drop=shown, seed=9, replays=REPLAYS)
    assert pytest.approx(0.8, abs=0.03) == share
    many: list[Looks] = [hourly(400, 400)]
    (more,), (wider,) = (
        foresight.shown(many, tuned(many, 0.8), seed=2, replays=400),
        foresight.shown(looks, tuned(looks, 0.8, 0.02), seed=2, replays=400),
    )
    assert more is not None
    assert wider is not None
    assert more < shown < wider < shown + 0.03


@pytest.mark.parametrize("looks", [[], [(100, 0)] * 48, [(5, 5)], [(1, 1)] * 20])
def test_traffic_that_shows_nothing_is_none(looks: list[tuple[int, int]]) -> None:
    """No look, an arm without outcomes, and too few of them: no drop can be shown."""
    assert [None] == foresight.shown([looks], Watched(0.8, 0.0, 0.05, 0.1), seed=1)


@pytest.mark.parametrize("drop", [0.06, 0.13])
def test_what_is_foreseen_is_what_the_live_looks_do(drop: float) -> None:
    """The same counts, look by look through `live.judge`, are rolled back in the very replays that are counted."""
    given = rollout(0.8, 0.02)
    prepared = live.prepare(given, 200.0)
    rule = foresight.rule_of(prepared, "quality")
    assert rule is not None
    steps = [hourly(45, 5, 16), hourly(25, 25, 16), hourly(0, 50, 16)]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        hit: list[bool] = []
        past: list[StepSeen] = []
        for number, step in enumerate(steps, start=1):
            arms = []
            for arm, rate in enumerate((0.8, 0.8 - drop)):
                sizes = np.cumsum([look[arm] for look in step])
                if sizes[0] or arm:
                    yes = np.cumsum(rng.binomial([look[arm] for look in step], rate, size=(1, len(step))), axis=1)[0]
                else:  # at 100 % nothing is drawn for a comparison there is none of
                    yes = sizes
                arms.append([Values.yes_no(int(a), int(b)) for a, b in zip(yes, sizes, strict=True)])
            for one, other in zip(*arms, strict=True):
                now = StepSeen(number, ArmSeen(one, one, last_at=NOW), ArmSeen(other, other, last_at=NOW))
                look = live.judge(prepared, [*past, now], now=NOW, step=number, step_began_at=NOW)
                hit.append(look.action == Action.ROLL_BACK)
            past.append(now)
        shares = foresight.found(steps[:2], rule, drop=drop, seed=seed, replays=1)
        assert [float(any(hit[:16])), float(any(hit[:32]))] == shares


def test_steps_see_more_and_more() -> None:
    """What is found by the end of the first step is found by the next; the full step and a latency see nothing."""
    given = rollout(watch={"quality": {"margin": 0.05, "base_rate": 0.8}, "latency_p95": {"margin": 0.2}})
    found = foresight.by_step(given, traffic_per_hour=200.0, seed=7)
    assert [None, None, None] == found["latency_p95"]
    first, second, full = found["quality"]
    assert None is full
    assert first is not None
    assert second is not None
    assert 0.05 < second < first < 0.2


def test_many_looks_are_thinned() -> None:
    """No outcome is lost, and the sight is that of every look to within its noise."""
    often = rollout(look_every_hours=0.1)
    looks = foresight.looks(strategy.timetable(often)[0], often, 200.0)
    assert 160 == len(looks)
    thin = foresight._thinned(looks)  # what `by_step` replays
    assert len(thin) <= 32
    assert (sum(a for a, _ in looks), sum(b for _, b in looks)) == (sum(a for a, _ in thin), sum(b for _, b in thin))
    every, fewer = (foresight.by_step(given, traffic_per_hour=200.0, seed=7)["quality"] for given in (often, rollout()))
    assert every[1] == pytest.approx(fewer[1], rel=0.05)


def told(given: Strategy, traffic: float = 200.0) -> list[foresight.Alternative]:
    """The alternatives to a rollout."""
    sees = foresight.by_step(given, traffic_per_hour=traffic, seed=7)
    return foresight.alternatives(given, sees, traffic_per_hour=traffic, seed=7)


def test_a_step_that_cant_see_names_the_plans_that_can() -> None:
    """A longer step shows what is worth seeing; half of the traffic and paired shadow show more than the step."""
    steps = [{"percent": 10, "hours": 16}, {"percent": 100, "hours": 16}]
    longer, half, shadow = told(rollout(steps=steps))
    assert (1, "quality", 0.1) == (longer.step, longer.watched, longer.worth)
    assert longer.shown is not None
    assert longer.shown > 0.1
    shows = [item.would_show for item in (longer, half, shadow)]
    assert all(show is not None and show < longer.shown for show in shows)
    assert shows[0] is not None
    assert shows[0] <= 0.1
    assert longer.instead.startswith("10 % for ")
    assert "50 % for 16 hours, before the full step" == half.instead
    assert "every question asked of both arms, in the shadow, for 16 hours" == shadow.instead


def test_a_plan_is_not_offered_the_step_that_it_has() -> None:
    """Half of the traffic for as long is in it; one that is too short is not that step."""
    assert ["10", "every"] == [item.instead.split()[0] for item in told(rollout())]
    short = [{"percent": 10, "hours": 16}, {"percent": 50, "hours": 2}, {"percent": 100, "hours": 16}]
    assert ["10", "50", "every"] == [item.instead.split()[0] for item in told(rollout(steps=short))]


def test_a_step_that_sees_enough_needs_no_other_plan() -> None:
    """Much traffic; and where no step is gated and compares, nothing can be said."""
    assert [] == told(rollout(), 20_000.0)
    assert [] == told(rollout(steps=[{"percent": 100, "hours": 1}]))
    assert [] == told(rollout(watch={"latency_p50": {"margin": 0.2}}))


def test_a_step_that_sees_nothing_at_all() -> None:
    """So little traffic that no month shows it: said as None; at half of the traffic only two plans are left."""
    longer, *_ = told(rollout(), 0.05)
    assert (None, "10 % for 720 hours", None) == (longer.shown, longer.instead, longer.would_show)
    halves = rollout(steps=[{"percent": 50, "hours": 2}, {"percent": 100, "hours": 1}])
    assert 2 == len(told(halves))
    assert 0.05 == foresight.worth(0.0)


def test_endless_traffic_shows_the_smallest_drop_that_is_tried() -> None:
    """A half of a percent of the base rate: no smaller one is promised."""
    looks: list[Looks] = [[(10**8, 10**8)]]
    (shown,) = foresight.shown(looks, tuned(looks, 0.8), seed=1, replays=50)
    assert pytest.approx(0.8 / 1.25**23) == shown


def test_impossible_settings_are_refused() -> None:
    """Each is named."""
    with pytest.raises(ConfigError, match="base rate 1"):
        foresight.found([hourly(10, 10)], Watched(1.0, 0.0, 0.05, 0.1), drop=0.1, seed=1)
    with pytest.raises(ConfigError, match="negative"):
        foresight.found([[(-1, 10)]], Watched(0.5, 0.0, 0.05, 0.1), drop=0.1, seed=1)
    with pytest.raises(ConfigError, match="power is 1"):
        foresight.shown([hourly(10, 10)], Watched(0.5, 0.0, 0.05, 0.1), seed=1, power=1.0)
