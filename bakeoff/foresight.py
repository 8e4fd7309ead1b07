"""What live looks will be able to see, before there are any: the very sequence of `live`, replayed on expected traffic.

Callers may rely on: `found` and `shown` decide as `live.judge` would of the same sums, from the rollout's first hour
on; equal arguments and seed give equal answers; an answer carries the noise of 2,000 replays, about 2 % of itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bakeoff import live, sequential, special, strategy
from bakeoff.errors import ConfigError
from bakeoff.live import Prepared
from bakeoff.sequential import MINIMUM_PER_ARM, Columns, Floats
from bakeoff.strategy import LATENCIES, Row, Step, Strategy

Looks = Sequence[tuple[int, int]]
"""Outcomes (baseline, candidate) that arrive between a look and the one before, of one step."""
POWER = 0.8
REPLAYS = 2_000
WORTH_SEEING = 0.05
"""The drop that a step should find where the margin is none."""
NO_TRAFFIC, BY_SPREAD, NOTHING = "the baseline gets no traffic", "depends on its spread", "nothing"
"""What is said of a step where no loss can be foretold."""
_FINER = 1.25
"""Ratio of the drops that are tried; between two the share found is interpolated."""
_TRIES = 24
_FEWER = 400
"""Replays where plans are compared in words, not promised."""
_MOST_LOOKS = 32
"""Looks of a step that are replayed; of more, those between are left out, which finds next to nothing less."""
_COARSE_LOOKS = 12
_HALF = 50.0
_LONGEST_HOURS = 24.0 * 30
_LONGER = 1.15


@dataclass(frozen=True, slots=True)
class Watched:
    """What decides of one watched thing: rates as planned, and how it is tested."""

    base_rate: float
    margin: float
    alpha: float
    rho: float


@dataclass(frozen=True, slots=True)
class Alternative:
    """A plan that shows more than a step which can't see a loss worth seeing."""

    step: int
    watched: str
    worth: float
    """The drop that the step should find."""
    shown: float | None
    """The smallest that it finds by its end; None where even the largest is not found."""
    instead: str
    """What to do, in words."""
    would_show: float | None
    """The smallest drop found then; None where it is still nothing."""


def looks(row: Row, rollout: Strategy, traffic_per_hour: float) -> list[tuple[int, int]]:
    """Return (baseline, candidate) outcomes between the looks of one step; whole numbers that add up to the step's."""
    hours = row.ends_hour - row.begins_hour
    count = max(1, math.floor(hours / rollout.look_every_hours))
    share = row.percent / 100.0
    arrived = [round(traffic_per_hour * hours * k / count) for k in range(count + 1)]
    totals = [(total - round(total * share), round(total * share)) for total in arrived]
    return [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(totals)]


def _thinned(arrived: Looks, most: int = _MOST_LOOKS) -> Looks:
    """Return the same outcomes at no more than *most* looks; the last one stays the last."""
    size = math.ceil(len(arrived) / most)
    parts = [arrived[max(0, end - size) : end] for end in range(len(arrived), 0, -size)][::-1]
    return [(sum(look[0] for look in part), sum(look[1] for look in part)) for part in parts]


def rule_of(prepared: Prepared, watched: str) -> Watched | None:
    """Return how *watched* is tested; None of a latency, whose spread nobody plans, and where no step compares."""
    rule, rho = prepared.strategy.watch[watched], prepared.rhos.get(watched)
    if watched in LATENCIES or rule.base_rate is None or rho is None:
        return None
    return Watched(rule.base_rate, rule.margin, prepared.alpha, rho)


def found(steps: Sequence[Looks], tested: Watched, *, drop: float, seed: int, replays: int = REPLAYS) -> list[float]:
    """Return the share of simulated rollouts that have found a loss by the end of each of *steps*.

    The true yes rates are the base rate, and *drop* less for the candidate; each look adds Binomial counts. Raises
    ConfigError where the base rate is outside (0, 1) or a look is negative.
    """
    if not 0.0 < tested.base_rate < 1.0 or any(min(look) < 0 for step in steps for look in step):
        raise ConfigError(
            f"base rate {tested.base_rate}: expected one in (0, 1), and no look with a negative count",
            hint="the base rate is the share of good outcomes today",
        )
    rates = (tested.base_rate, max(0.0, tested.base_rate - drop))
    rng = np.random.default_rng(seed)
    planned = tested.base_rate * (1.0 - tested.base_rate)
    position = weight = variance = np.zeros((replays, 1))
    hit = np.zeros(replays, dtype=bool)
    shares = []
    for step in steps:
        sizes, spreads, difference = _stratum(step, rates, rng, replays)
        if difference.shape[1]:
            gained = sizes / planned
            there, heavy, at = position + gained * difference, weight + gained, variance + gained * gained * spreads
            evidence = sequential.log_mixture(-(there + tested.margin * heavy), at, tested.rho)
            hit = hit | (evidence > -math.log(tested.alpha)).any(axis=1)
            position, weight, variance = there[:, -1:], heavy[:, -1:], at[:, -1:]
        shares.append(float(np.mean(hit)))
    return shares


def _stratum(
    step: Looks, rates: tuple[float, float], rng: np.random.Generator, replays: int
) -> tuple[Floats, Floats, Floats]:
    """Return what one step weighs, and by replay and look its difference's variance and the difference.

    Without the looks at too few outcomes.
    """
    arrivals = np.array(step, dtype=np.int64).reshape(-1, 2)
    sizes = np.cumsum(arrivals, axis=0)
    kept = (sizes >= MINIMUM_PER_ARM).all(axis=1)
    if not kept.any():
        return np.empty(0), np.empty((replays, 0)), np.empty((replays, 0))
    arms: list[Columns] = []
    for arm, rate in enumerate(rates):
        yes = np.cumsum(rng.binomial(arrivals[:, arm], rate, size=(replays, len(arrivals))), axis=1)[:, kept]
        arms.append((sizes[kept, arm].astype(np.float64), yes, yes))
    (baseline, yes_baseline, _), (candidate, yes_candidate, _) = arms
    spreads = 1.0 / sequential.information_of(arms[0], arms[1], (0.0, 1.0))
    weighs = baseline * candidate / (baseline + candidate)
    return weighs, spreads, yes_candidate / candidate - yes_baseline / baseline


def shown(
    steps: Sequence[Looks], tested: Watched, *, seed: int, power: float = POWER, replays: int = REPLAYS
) -> list[float | None]:
    """Return the smallest true drop that is found by the end of each of *steps*; None where not even the largest is.

    Found in at least the share *power* of the replays, from the first step's first look on. Drops are tried from the
    base rate downwards, with the same random numbers. Raises ConfigError where the power is outside (0, 1), and as
    `found`.
    """
    if not 0.0 < power < 1.0:
        raise ConfigError(f"the power is {power}, not in (0, 1)", hint="0.8 is the usual value")
    smallest: list[float | None] = [None] * len(steps)
    drop, before = tested.base_rate, [0.0] * len(steps)
    for tried in range(_TRIES):
        shares = found(steps, tested, drop=drop, seed=seed, replays=replays)
        for index, share in enumerate(shares):
            if share >= power:
                smallest[index] = drop
            elif tried and before[index] >= power:
                smallest[index] = _between((drop, share), (drop * _FINER, before[index]), power, replays)
        if max(shares, default=0.0) < power:
            break
        drop, before = drop / _FINER, shares
    return smallest


def _between(low: tuple[float, float], high: tuple[float, float], power: float, replays: int) -> float:
    """Return the drop found with *power*, between two that are found less, and more often: linear in normal scores."""
    least = 0.5 / replays
    one, other, wanted = (
        float(special.ndtri(min(max(share, least), 1.0 - least))) for share in (low[1], high[1], power)
    )
    return low[0] + (high[0] - low[0]) * min(1.0, max(0.0, (wanted - one) / (other - one)))


def by_step(
    rollout: Strategy, *, traffic_per_hour: float, seed: int, tuned_to: float | None = None
) -> dict[str, list[float | None]]:
    """Return of every watched thing the smallest drop found by the end of each step; of latencies nothing is known.

    The sequences are tuned to the traffic that comes, or to what was expected before: *tuned_to*.
    """
    prepared = live.prepare(rollout, traffic_per_hour if tuned_to is None else tuned_to)
    arrive = [_thinned(looks(row, rollout, traffic_per_hour)) for row in strategy.timetable(rollout)]
    answers: dict[str, list[float | None]] = {}
    for watched in sorted(rollout.watch):
        tested = rule_of(prepared, watched)
        answers[watched] = [None] * len(arrive) if tested is None else _compared(arrive, tested, seed)
    return answers


def _compared(arrive: Sequence[Looks], tested: Watched, seed: int) -> list[float | None]:
    """Return `shown`, and None for the steps in which one arm has nothing: they compare nothing."""
    smallest = shown(arrive, tested, seed=seed)
    return [
        drop if min(map(sum, zip(*step, strict=True))) > 0 else None
        for step, drop in zip(arrive, smallest, strict=True)
    ]


def worth(margin: float) -> float:
    """Return the loss that a step is there to find: twice the margin, or 5 points where there is none."""
    return 2.0 * margin or WORTH_SEEING


def alternatives(
    rollout: Strategy, sees: dict[str, list[float | None]], *, traffic_per_hour: float, seed: int
) -> list[Alternative]:
    """Return, for the first gated step that can't see a loss worth seeing, what plans can, of every watched thing.

    *sees* is what `by_step` returned. Three plans are tried: the step for longer, half of the traffic for the same
    hours unless there is such a step, and both arms asked every question in the shadow for the same hours.
    """
    first = next((n for n, step in enumerate(rollout.steps) if step.gated and step.percent < live.WHOLE), None)
    if first is None:
        return []
    answers = []
    for watched, drops in sorted(sees.items()):
        tested = rule_of(live.prepare(rollout, traffic_per_hour), watched)
        if tested is None or (drops[first] or 1.0) <= (least := worth(tested.margin)):
            continue
        for instead, drop in _tried(rollout, first, watched, least, traffic_per_hour, seed):
            answers.append(Alternative(first + 1, watched, least, drops[first], instead, drop))
    return answers


def _tried(
    rollout: Strategy, first: int, watched: str, least: float, traffic_per_hour: float, seed: int
) -> Iterator[tuple[str, float | None]]:
    """Yield each plan in words with the drop it shows."""
    step = rollout.steps[first]

    def shows(percent: float, hours: float, traffic: float = traffic_per_hour) -> float | None:
        changed = step.model_copy(update={"percent": percent, "hours": hours})
        return _first_shows((*rollout.steps[:first], changed), rollout, watched, traffic, seed)

    hours, drop = step.hours, shows(step.percent, step.hours)
    while hours < _LONGEST_HOURS and (drop is None or drop > least):
        hours = min(_LONGEST_HOURS, math.ceil(hours * _longer(drop, least, rollout.watch[watched].margin)))
        drop = shows(step.percent, hours)
    yield f"{step.percent:g} % for {hours:g} hours", drop
    has_it = any(_HALF <= one.percent < live.WHOLE and one.hours >= step.hours for one in rollout.steps)
    if not has_it:
        yield f"50 % for {step.hours:g} hours, before the full step", shows(_HALF, step.hours)
    both = f"every question asked of both arms, in the shadow, for {step.hours:g} hours"
    yield both, shows(_HALF, step.hours, 2.0 * traffic_per_hour)  # unpaired: pairs that agree show still less


def _longer(drop: float | None, least: float, margin: float) -> float:
    """Return by what factor more hours would show *least*: what is shown beyond the margin falls with their root."""
    factor = 4.0 if drop is None else ((drop - margin) / (least - margin)) ** 2
    return min(4.0, max(_LONGER, factor))


def _first_shows(steps: tuple[Step, ...], rollout: Strategy, watched: str, traffic: float, seed: int) -> float | None:
    """Return what the last of *steps* shows by its end, where nothing but the full step comes after it."""
    full = rollout.steps[-1]
    changed = rollout.model_copy(update={"steps": (*steps, full)})
    tested = rule_of(live.prepare(changed, traffic), watched)
    rows = strategy.timetable(changed)[: len(steps)]
    arrive = [_thinned(looks(row, changed, traffic), _COARSE_LOOKS) for row in rows]
    return None if tested is None else shown(arrive, tested, seed=seed, replays=_FEWER)[-1]
