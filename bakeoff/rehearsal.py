"""Whole rollouts played on simulated traffic: how often and how soon a fault is caught, and a good candidate refused.

Callers may rely on: every replay goes through `canary.step` and `live.judge`, the code that runs live, look by look; a
replay depends on the seed and its number alone, so that any of them can be played again; nothing here is real traffic,
and `Rehearsed.body` says so.

Outcomes are drawn look by look: as many as a Poisson process brings, each of a random person whose bucket says the arm,
each a recorded case of that arm, drawn with replacement (the bootstrap, Efron 1979).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bakeoff import canary, live, simulation, stats
from bakeoff.errors import ConfigError
from bakeoff.live import ArmSeen, Prepared, StepSeen
from bakeoff.rollout import OPEN, Action, Advance, Approve, Phase, Reason, Start, State
from bakeoff.sequential import Sums
from bakeoff.simulation import Fault, Floats, Injected, Pool
from bakeoff.strata import Together, Units, Values
from bakeoff.strategy import Strategy

End = Literal["completed", "rolled_back", "held"]
Ints = NDArray[np.int64]

START = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday, midnight: steps that wait for a time of day wait from here."""
_BUCKETS = 10_000
_HOUR = timedelta(hours=1)
_LONGEST = 2.0
"""Times the strategy's hours after which a rollout that is still open counts as held, and a day for every step."""
_DAY_HOURS = 24.0
NOT_MEASURED = "left out: the KPIs are not measured anew, no rollout waits for them or is rolled back by them"
AT_ONCE = "left out: whoever has to approve a step does so at once"


@dataclass(frozen=True, slots=True)
class Replay:
    """How one rollout went."""

    end: End
    hours: float
    """From its start to its end."""
    because: tuple[str, ...]
    """What was watched and failed, where it was rolled back."""
    outcomes: int
    """Of the candidate, from the fault on until the end."""
    units: int
    """People who had one of them."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is played: a prepared strategy, both arms' pools, a fault or none, and how much traffic of how many people.

    *units* None: every outcome is somebody else's, and nobody is named.
    """

    prepared: Prepared
    pools: tuple[Pool, Pool]
    traffic_per_hour: float
    seed: int
    fault: Fault | None = None
    units: int | None = simulation.UNITS

    def __post_init__(self) -> None:
        """Refuse what has no traffic."""
        simulation.check_traffic(self.traffic_per_hour, 1 if self.units is None else self.units)

    @property
    def strategy(self) -> Strategy:
        """What moves the traffic."""
        return self.prepared.strategy


class _Ranked:
    """Latencies counted by value: as many as there are outcomes, found by rank."""

    __slots__ = ("_counts", "_sums", "_values")

    def __init__(self, values: Floats, counts: Ints) -> None:
        self._values, self._counts = values, counts
        self._sums = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._sums[-1]) if len(self._sums) else 0

    def __getitem__(self, index: int, /) -> float:
        return float(self._values[np.searchsorted(self._sums, index + 1)])


class _Summed:
    """Sums of one kind of values of one arm within one step, by unit where units are known."""

    __slots__ = ("_before", "_cells", "_n", "_squares", "_total", "of_units", "sizes")

    def __init__(self, units: int | None, before: Mapping[tuple[int, int], _Summed]) -> None:
        self._n, self._total, self._squares = 0, 0.0, 0.0
        self.of_units = None if units is None else np.zeros(units)
        self.sizes = np.zeros(0 if units is None else units)
        self._cells = tuple(before)
        rows = [row for one in before.values() for row in (one.of_units, one.sizes)]
        self._before = np.array(rows) if units is not None and rows else None

    def add(self, values: Floats, who: Ints) -> None:
        self._n += len(values)
        self._total += float(values.sum())
        self._squares += float(values @ values)
        if self.of_units is not None:
            self.of_units += np.bincount(who, values, len(self.of_units))
            self.sizes += np.bincount(who, minlength=len(self.sizes))

    def seen(self) -> Values:
        sums = Sums(self._n, self._total, self._squares)
        if self.of_units is None:
            return Values(sums)
        totals, sizes = self.of_units, self.sizes
        squares = float(totals @ totals), float(totals @ sizes), float(sizes @ sizes)
        units = Units(int(np.count_nonzero(sizes)), *squares)
        return Values(sums, units, self._earlier(totals, sizes))

    def _earlier(self, totals: Floats, sizes: Floats) -> tuple[Together, ...]:
        """Return what the units have in common with those of the steps before."""
        if self._before is None or not self._n:
            return ()
        by_totals, by_sizes = (self._before @ totals).tolist(), (self._before @ sizes).tolist()
        return tuple(
            Together(step, arm, by_totals[2 * k], by_totals[2 * k + 1], by_sizes[2 * k], by_sizes[2 * k + 1])
            for k, (step, arm) in enumerate(self._cells)
        )


class _Arm:
    """What was seen of one arm within one step."""

    __slots__ = ("_last_at", "_latencies", "_named", "_values", "errors", "quality")

    def __init__(self, units: int | None, values: Floats, before: Mapping[tuple[int, int], _Arm]) -> None:
        self.errors: _Summed = _Summed(units, {cell: arm.errors for cell, arm in before.items()})
        self.quality: _Summed = _Summed(units, {cell: arm.quality for cell, arm in before.items()})
        self._named = units is not None
        self._values = values
        self._latencies = np.zeros(len(values), dtype=np.int64)
        self._last_at: datetime | None = None

    def add(self, cases: Pool, who: Ints, last_at: datetime) -> None:
        self.errors.add(cases.ok.astype(np.float64), who)
        rated = ~np.isnan(cases.quality)
        self.quality.add(cases.quality[rated], who[rated])
        timed = cases.latency_ms[~np.isnan(cases.latency_ms)]
        if len(self._values):
            self._latencies += np.bincount(np.searchsorted(self._values, timed), minlength=len(self._values))
        self._last_at = last_at

    def seen(self) -> ArmSeen:
        errors = self.errors.seen()
        units = errors.units.count if errors.units is not None else 0
        latency = _Ranked(self._values, self._latencies)
        named = units if self._named else 0
        return ArmSeen(errors, self.quality.seen(), latency, units=named, last_at=self._last_at)


class _Play:
    """One rollout while it is played."""

    def __init__(self, rehearsal: Rehearsal, arms: tuple[Injected, Injected], values: Floats, number: int) -> None:
        self._given, self._arms, self._values = rehearsal, arms, values
        self._rng = np.random.default_rng((rehearsal.seed, number))
        self._steps: dict[int, tuple[_Arm, _Arm]] = {}
        self._frozen: dict[int, StepSeen] = {}
        self._saw = np.zeros(rehearsal.units or 0, dtype=np.bool_)
        self._outcomes = 0
        self._buckets = self._rng.integers(0, _BUCKETS, rehearsal.units or 0)

    def _arrive(self, state: State, since: datetime, until: datetime) -> None:
        """Add the outcomes between two looks to the running step."""
        given, rng = self._given, self._rng
        begin, hours = (since - START) / _HOUR, (until - since) / _HOUR
        n = int(rng.poisson(given.traffic_per_hour * hours))
        at = begin + rng.random(n) * hours
        who = rng.integers(0, given.units or 1, n)
        buckets = self._buckets[who] if given.units else rng.integers(0, _BUCKETS, n)
        case, luck = rng.random(n), rng.random(n)
        harmed = at >= (given.fault.at_hour if given.fault else 0.0)
        if state.step not in self._steps:
            self._steps[state.step] = (self._arm(), self._arm())
        sides = self._steps[state.step]
        for arm, mine in enumerate((buckets >= state.weight_bp, buckets < state.weight_bp)):
            if not mine.any():
                continue
            known = self._arms[arm]
            drawn = (case[mine] * len(known.pool)).astype(np.int64)
            cases = known.drawn(drawn, harmed[mine] & (luck[mine] < known.share))
            sides[arm].add(cases, who[mine], START + float(at[mine].max()) * _HOUR)
        exposed = harmed & (buckets < state.weight_bp)
        self._outcomes += int(exposed.sum())
        if given.units:
            self._saw[who[exposed]] = True

    def _arm(self) -> _Arm:
        before = {(step, number): arm for step, arms in self._steps.items() for number, arm in enumerate(arms)}
        return _Arm(self._given.units, self._values, before)

    def _seen(self, running: int) -> list[StepSeen]:
        """Return what is known of every step; of one that is over nothing changes any more."""
        found = []
        for step, (baseline, candidate) in self._steps.items():
            if step not in self._frozen:
                made = StepSeen(step, baseline.seen(), candidate.seen())
                if step == running:
                    found.append(made)
                    continue
                self._frozen[step] = made
            found.append(self._frozen[step])
        return found

    def to_its_end(self) -> Replay:
        """Look whenever a look is due until the rollout ends, or is held for too long."""
        # The offline KPIs are no part of a rehearsal: nothing waits for them.
        strategy = self._given.strategy.model_copy(update={"recheck_at_steps": False})
        state = canary.step(strategy, None, Start(by="simulation"), START).state
        longest = START + timedelta(hours=_LONGEST * strategy.hours + _DAY_HOURS * len(strategy.steps))
        now, because = START, ()
        while state.phase in OPEN and now < longest:
            since, now = now, canary.look_due_at(strategy, state)
            self._arrive(state, since, now)
            seen, began = self._seen(state.step), state.step_began_at
            look = live.judge(self._given.prepared, seen, now=now, step=state.step, step_began_at=began)
            state = _advanced(strategy, canary.step(strategy, state, look, now).state, now)
            if look.action is Action.ROLL_BACK:
                because = tuple(item["watched"] for item in look.findings if item["action"] == Action.ROLL_BACK)
        end: End = "held"
        if state.phase not in OPEN:
            end = "completed" if state.phase is Phase.COMPLETED else "rolled_back"
        units = int(self._saw.sum()) if self._given.units else self._outcomes
        return Replay(end, (now - START) / _HOUR, because, self._outcomes, units)


def _advanced(strategy: Strategy, state: State, now: datetime) -> State:
    """Return the state after every step that may begin at *now*; whoever has to approve does so at once."""
    while state.phase in OPEN:
        outcome = canary.step(strategy, state, Advance(), now)
        if outcome.reason is Reason.NOT_APPROVED:
            outcome = canary.step(strategy, state, Approve(by="simulation"), now)
        if not outcome.accepted:
            break
        state = outcome.state
    return state


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How many rollouts went."""

    replays: tuple[Replay, ...]
    fault: Fault | None

    @property
    def caught(self) -> list[Replay]:
        """Those that were rolled back; with a fault, not before it was there."""
        return [one for one in self.replays if one.end == "rolled_back" and one.hours >= self._from]

    @property
    def _from(self) -> float:
        return self.fault.at_hour if self.fault else 0.0

    @property
    def share(self) -> stats.Proportion:
        """The share that was rolled back, with its 95 % interval (Wilson 1927)."""
        return stats.wilson(len(self.caught), len(self.replays))

    def by_hour(self) -> list[tuple[float, float]]:
        """Return the share that was rolled back by each hour at which one was, from the start of the rollout on."""
        hours = sorted(one.hours for one in self.caught)
        return [(hour, place / len(self.replays)) for place, hour in enumerate(hours, start=1)]

    def body(self) -> dict[str, Any]:
        """Return the figures as plain JSON, labelled as simulated."""
        ends = Counter(one.end for one in self.replays)
        caught, share = self.caught, self.share
        because = Counter(name for one in caught for name in one.because)
        points = dict(self.by_hour())
        return {
            "simulated": True,
            "fault": None if self.fault is None else str(self.fault),
            "replays": len(self.replays),
            "rolled_back": len(caught),
            "before_the_fault": ends["rolled_back"] - len(caught),
            "completed": ends["completed"],
            "held": ends["held"],
            "share": share.share,
            "share_low": share.low,
            "share_high": share.high,
            "hours": _quartiles([one.hours - self._from for one in caught]),
            "users": _quartiles([float(one.units) for one in caught]),
            "outcomes": _quartiles([float(one.outcomes) for one in caught]),
            "because": dict(sorted(because.items())),
            "by_hour": [[round(hour, 4), round(so_far, 6)] for hour, so_far in points.items()],
        }


def _quartiles(values: Sequence[float]) -> list[float] | None:
    """Return the lower quartile, the median and the upper one; None without values."""
    return [round(float(at), 4) for at in np.percentile(values, (25, 50, 75))] if values else None


def left_out(strategy: Strategy) -> tuple[str, ...]:
    """Return in words what *strategy* asks for and no replay has."""
    measures = strategy.recheck_at_steps or strategy.recheck_every_hours is not None
    asks = any(step.approval for step in strategy.steps)
    return (NOT_MEASURED,) * measures + (AT_ONCE,) * asks


def check(rehearsal: Rehearsal) -> tuple[Injected, Injected]:
    """Return both arms with the fault in the candidate's. Raises ConfigError where it has less to lose than that."""
    baseline, candidate = rehearsal.pools
    return simulation.inject(baseline, None), simulation.inject(candidate, rehearsal.fault)


def play(rehearsal: Rehearsal, numbers: Iterable[int]) -> Iterator[Replay]:
    """Play the replays of these *numbers*, one after the other. Raises ConfigError as `check` does."""
    arms = check(rehearsal)
    every = np.concatenate([pool.latency_ms for arm in arms for pool in (arm.pool, arm.harmed)])
    values = np.unique(every[~np.isnan(every)])
    for number in numbers:
        yield _Play(rehearsal, arms, values, number).to_its_end()


def replays(rehearsal: Rehearsal, count: int, *, progress: Callable[[int], None] = lambda _: None) -> Rehearsed:
    """Play *count* rollouts, saying how many are done. Raises ConfigError where that is not 1 or more; see `play`."""
    if count < 1:
        raise ConfigError(f"{count} replays: expected 1 or more", hint="1000 is usual")
    found = []
    for done, replay in enumerate(play(rehearsal, range(count)), start=1):
        found.append(replay)
        progress(done)
    return Rehearsed(tuple(found), rehearsal.fault)
