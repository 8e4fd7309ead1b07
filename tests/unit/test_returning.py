"""What `bakeoff.live` promises of people who come back, and of requests that name nobody: whole rollouts, played."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bakeoff import live, strategy
from bakeoff.live import ArmSeen, Prepared, StepSeen
from bakeoff.rollout import Action
from bakeoff.sequential import Sums
from bakeoff.strata import Together, Units, Values

NOW = datetime(2026, 1, 5, 20, 0, tzinfo=UTC)
LADDER = (1, 2, 5, 10, 20, 30, 40, 60, 80, 100)
Floats = NDArray[np.float64]


def prepared(name: str, percents: tuple[int, ...], rule: dict[str, Any], traffic: float) -> Prepared:
    """48 hours in equal steps, one thing watched."""
    steps = [{"percent": percent, "hours": 48 / len(percents)} for percent in percents]
    given = strategy.parse({"strategy": "test", "watch": {name: rule}, "steps": steps}, source="test")
    return live.prepare(given, traffic)


@dataclass(slots=True)
class Cell:
    """An arm within a step: who had which value."""

    people: int
    who: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def by_person(self, values: Floats | None = None) -> tuple[Floats, Floats]:
        """The sum of values, and how many there are."""
        given = np.array(self.values) if values is None else values
        who = np.array(self.who, dtype=np.int64)
        totals = np.bincount(who, given, self.people).astype(np.float64)
        return totals, np.bincount(who, minlength=self.people).astype(np.float64)

    def seen(self, values: Floats | None = None, before: dict[tuple[int, int], Cell] | None = None) -> Values:
        """The sums of all values, grouped."""
        totals, sizes = self.by_person(values)
        given = np.array(self.values) if values is None else values
        units = Units(int((sizes > 0).sum()), *map(float, (totals @ totals, totals @ sizes, sizes @ sizes)))
        earlier = []
        for (step, arm), cell in (before or {}).items():
            other, others = cell.by_person()
            products = map(float, (totals @ other, totals @ others, sizes @ other, sizes @ others))
            earlier.append(Together(step, arm, *products))
        return Values(Sums(len(given), float(given.sum()), float(given @ given)), units, tuple(earlier))

    def timed(self) -> ArmSeen:
        """Its values as latencies of the 95th percentile."""
        values = np.array(self.values)
        ordered = np.sort(values)
        at = ordered[math.ceil(0.95 * len(ordered)) - 1] if len(ordered) else 0.0
        return ArmSeen(latency=ordered.tolist(), up_to={"latency_p95": self.seen((values <= at).astype(np.float64))})


def looks(
    rules: Prepared, rng: np.random.Generator, *, people: int, spread: float, latency: bool
) -> Iterator[tuple[int, list[StepSeen]]]:
    """What every hourly look sees of two equal arms: people have habits, which differ by *spread*."""
    habit, bucket = rng.normal(0.0, spread, people), rng.random(people)
    cells: dict[tuple[int, int], Cell] = {}
    past: list[StepSeen] = []
    for number, step in enumerate(rules.strategy.steps[:-1], start=1):
        before = dict(cells)
        arms = cells[number, 0], cells[number, 1] = Cell(people), Cell(people)
        for _ in range(int(step.hours)):
            who = rng.integers(0, people, rng.poisson(rules.traffic_per_hour * step.hours / int(step.hours)))
            noise = rng.normal(0.0, 0.5, len(who)), rng.random(len(who))
            rated = noise[1] < 1.0 / (1.0 + np.exp(-habit[who]))
            values = np.exp(5.0 + habit[who] + noise[0]) if latency else rated.astype(np.float64)
            for arm, mine in enumerate((bucket[who] >= step.percent / 100, bucket[who] < step.percent / 100)):
                arms[arm].who += who[mine].tolist()
                arms[arm].values += values[mine].tolist()
            sides = [cell.timed() if latency else ArmSeen(quality=cell.seen(before=before)) for cell in arms]
            running = StepSeen(number, sides[0], sides[1])
            yield number, [*past, running]
        past.append(running)


def refused(rules: Prepared, seen: Iterator[tuple[int, list[StepSeen]]]) -> bool:
    """Whether some look of one rollout asks to roll back."""
    return any(
        live.judge(rules, steps, now=NOW, step=number, step_began_at=NOW).action is Action.ROLL_BACK
        for number, steps in seen
    )


def ungrouped(seen: Iterator[tuple[int, list[StepSeen]]]) -> Iterator[tuple[int, list[StepSeen]]]:
    """The same, as if every latency were somebody else's."""
    for number, steps in seen:
        yield number, [replace(s, baseline=_alone(s.baseline), candidate=_alone(s.candidate)) for s in steps]


def _alone(side: ArmSeen) -> ArmSeen:
    return ArmSeen(latency=side.latency)


def test_people_who_come_back_are_not_called_slow() -> None:
    """60 rollouts of equal arms, 150 people with speeds of their own: at most 5 %; counted alone they would be many."""
    rules = prepared("latency_p95", (10, 50, 100), {"margin": 0.0}, 200.0)
    for people, alone, least, most in ((150, False, 0, 3), (150, True, 9, 60)):
        count = 0
        for number in range(60):
            seen = looks(rules, np.random.default_rng((3, number)), people=people, spread=1.0, latency=True)
            count += refused(rules, ungrouped(seen) if alone else seen)
        assert least <= count <= most


def test_people_who_stay_over_many_steps_are_no_loss() -> None:
    """60 rollouts of equal arms on ten steps, 400 people who like nearly all answers or nearly none: at most 5 %."""
    rules = prepared("quality", LADDER, {"margin": 0.0, "base_rate": 0.5}, 200.0)
    count = sum(
        refused(rules, looks(rules, np.random.default_rng((3, number)), people=400, spread=4.0, latency=False))
        for number in range(60)
    )
    assert count <= 3


def test_people_who_come_back_are_still_seen_to_wait() -> None:
    """A candidate that takes twice as long is found, with as many people as a service has."""
    rules = prepared("latency_p95", (10, 50, 100), {"margin": 0.0}, 200.0)
    found = 0
    for number in range(10):
        seen = looks(rules, np.random.default_rng((4, number)), people=2_000, spread=0.3, latency=True)
        found += refused(rules, ((n, [replace(s, candidate=_slower(s.candidate)) for s in steps]) for n, steps in seen))
    assert 10 == found


def _slower(side: ArmSeen) -> ArmSeen:
    return replace(side, latency=[2.0 * side.latency[rank] for rank in range(len(side.latency))])


@pytest.mark.parametrize("left_out", [True, False], ids=["left out", "compared"])
def test_requests_that_name_nobody_are_another_kind_of_traffic(left_out: bool) -> None:
    """A tenth of the traffic, always the baseline's and better rated: left out, it refuses no good candidate."""
    rules = prepared("quality", (10, 50, 100), {"margin": 0.0, "base_rate": 0.8}, 2000.0)
    count = 0
    for number in range(60):
        rng = np.random.default_rng((5, number))
        count += refused(rules, _with_nobody(rules, rng, left_out=left_out))
    assert count <= 3 if left_out else count >= 50


def _with_nobody(rules: Prepared, rng: np.random.Generator, *, left_out: bool) -> Iterator[tuple[int, list[StepSeen]]]:
    past: list[StepSeen] = []
    for number, step in enumerate(rules.strategy.steps, start=1):
        good, n = np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
        for _ in range(16):
            named = 0.9 * rules.traffic_per_hour
            share = step.percent / 100
            came = rng.poisson((named * (1.0 - share), named * share, 0.1 * rules.traffic_per_hour))
            n += came
            good += rng.binomial(came, (0.8, 0.8, 0.9))
            assert not live.comparable((int(n[2]), int(n[0] + n[2])), (0, int(n[1])))
            kept = [0] if left_out else [0, 2]
            baseline = Values.yes_no(int(good[kept].sum()), int(n[kept].sum()))
            candidate = Values.yes_no(int(good[1]), int(n[1]))
            running = StepSeen(number, ArmSeen(baseline, baseline), ArmSeen(candidate, candidate))
            yield number, [*past, running]
        past.append(running)
