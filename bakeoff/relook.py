"""Looks of a rollout taken again from the sealed outcomes: what each found, to 1e-12, its verdict, its action.

Callers may rely on: a look is judged by `live.judge`, which judged it then, from the outcomes that it knew; words may
change over the years, figures, verdicts and actions may not.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bakeoff import live, looks
from bakeoff.difference import Difference
from bakeoff.live import ArmSeen, Prepared, StepSeen
from bakeoff.looks import LEFT_OUT, Taken
from bakeoff.sealed import ARMS, Live, Sealed, differ
from bakeoff.sequential import Sums
from bakeoff.strata import Together, Units, Values
from bakeoff.strategy import LATENCIES, Strategy

_Pair = tuple[float, float]
"""What a unit's values add up to, and how many they are."""
_Cell = tuple[int, int]
"""A step, from 1, and an arm."""


@dataclass(slots=True)
class _Seen:
    """The outcomes of one arm within one step, by unit; those without a unit are units of their own."""

    good: dict[int, _Pair] = field(default_factory=dict)
    rated: dict[int, _Pair] = field(default_factory=dict)
    squares: float = 0.0
    alone: list[Live] = field(default_factory=list)
    timed: list[tuple[float, int | None]] = field(default_factory=list)
    last_at: datetime | None = None
    count: int = 0

    def add(self, one: Live) -> None:
        """Add an outcome."""
        at = datetime.fromisoformat(one.at)
        self.last_at = at if self.last_at is None else max(self.last_at, at)
        self.count += 1
        if one.latency_ms is not None:
            self.timed.append((one.latency_ms, one.unit))
        if one.unit is None:
            self.alone.append(one)
            return
        _add(self.good, one.unit, float(one.ok))
        if one.quality is not None:
            value = _single(one.quality)
            _add(self.rated, one.unit, value)
            self.squares += value * value


def _add(sums: dict[int, _Pair], unit: int, value: float) -> None:
    total, n = sums.get(unit, (0.0, 0.0))
    sums[unit] = total + value, n + 1.0


def _single(value: float) -> float:
    """Return *value* as the database adds it up: it keeps single precision, and shows the shortest decimals of it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


# --- What a look sees -----------------------------------------------------------------------------------------------


class Known:
    """All outcomes that a look knows; what did not change since the look before is not summed up again."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self.cells: dict[_Cell, _Seen] = {}
        self._summed: dict[_Cell, tuple[tuple[Any, ...], ArmSeen]] = {}

    def add(self, one: Live) -> None:
        """Add an outcome."""
        self.cells.setdefault((one.step, ARMS.index(one.arm)), _Seen()).add(one)

    def steps(self, running: int) -> list[StepSeen]:
        """Return what `adapters.live_outcomes.seen` returned in step *running* when just these were there."""
        unnamed = live.comparable(self._without_unit(0), self._without_unit(1))
        found = []
        for step in sorted({step for step, _ in self.cells}):
            both = [self._arm((step, arm), unnamed=unnamed, running=step == running) for arm in (0, 1)]
            units = [self.cells[step, arm].good.keys() if (step, arm) in self.cells else set[int]() for arm in (0, 1)]
            found.append(StepSeen(step, both[0], both[1], len(units[0] & units[1])))
        return found

    def _without_unit(self, arm: int) -> tuple[int, int]:
        """Return how many outcomes of an arm have no unit, and how many there are."""
        own = [seen for (_, which), seen in self.cells.items() if which == arm]
        return sum(len(seen.alone) for seen in own), sum(seen.count for seen in own)

    def _arm(self, cell: _Cell, *, unnamed: bool, running: bool) -> ArmSeen:
        before = [other for other in sorted(self.cells) if other[0] <= cell[0]]
        stamp = (unnamed, running, *(self.cells[other].count for other in before))
        known = self._summed.get(cell)
        if known is None or known[0] != stamp:
            prepared = self._prepared if running else None
            known = self._summed[cell] = stamp, _arm(self.cells, cell, prepared, unnamed=unnamed)
        return known[1]


def _arm(known: Mapping[_Cell, _Seen], cell: _Cell, prepared: Prepared | None, *, unnamed: bool) -> ArmSeen:
    seen = known.get(cell)
    if seen is None:
        return ArmSeen()
    alone = seen.alone if unnamed else []
    rated = [_single(one.quality) for one in alone if one.quality is not None]
    timed = [item for item in seen.timed if unnamed or item[1] is not None] if prepared is not None else []
    return ArmSeen(
        errors=_values(seen.good, [float(one.ok) for one in alone], None, _earlier(known, cell, "good")),
        quality=_values(seen.rated, rated, seen.squares, _earlier(known, cell, "rated")),
        latency=sorted(value for value, _ in timed),
        units=len(seen.good),
        last_at=seen.last_at,
        up_to={} if prepared is None else _up_to(prepared, timed),
        left_out=0 if unnamed else len(seen.alone),
    )


def _values(
    units: Mapping[int, _Pair], alone: Sequence[float], squares: float | None, earlier: tuple[Together, ...]
) -> Values:
    """Return the sums of named units and of values that stand *alone*; *squares* None: values are 0 or 1."""
    n = int(sum(size for _, size in units.values())) + len(alone)
    total = math.fsum([*(one for one, _ in units.values()), *alone])
    lone = math.fsum(value * value for value in alone)
    return Values(
        Sums(n, total, total if squares is None else squares + lone),
        Units(
            len(units) + len(alone),
            math.fsum(one * one for one, _ in units.values()) + lone,
            math.fsum(one * size for one, size in units.values()) + math.fsum(alone),
            math.fsum(size * size for _, size in units.values()) + len(alone),
        ),
        earlier,
    )


def _earlier(known: Mapping[_Cell, _Seen], cell: _Cell, name: str) -> tuple[Together, ...]:
    """Return what the units of a cell have in common with those of the steps before, of both arms."""
    own: dict[int, _Pair] = getattr(known[cell], name)
    named, found = known[cell].good, []
    for before in sorted(other for other in known if other[0] < cell[0]):
        others, there = getattr(known[before], name), known[before].good
        shared = [(own[unit], others[unit]) for unit in own if unit in others]
        if shared or not named.keys().isdisjoint(there):
            products = [math.fsum(one[i] * other[k] for one, other in shared) for i in (0, 1) for k in (0, 1)]
            found.append(Together(*before, *products))
    return tuple(found)


def _up_to(prepared: Prepared, timed: Sequence[tuple[float, int | None]]) -> dict[str, Values]:
    """Return by watched quantile how the latencies up to it fall on units."""
    if not timed:
        return {}
    ordered = sorted(value for value, _ in timed)
    found = {}
    for name in sorted(LATENCIES & prepared.strategy.watch.keys()):
        limit = ordered[math.ceil(live.QUANTILES[name] * len(ordered)) - 1]
        units: dict[int, _Pair] = {}
        alone = []
        for value, unit in timed:
            if unit is None:
                alone.append(float(value <= limit))
            else:
                _add(units, unit, float(value <= limit))
        found[name] = _values(units, alone, None, ())
    return found


# --- Looks again ----------------------------------------------------------------------------------------------------


def again(seal: Sealed) -> Iterator[Difference]:
    """Yield where a look did not find what the outcomes that it knew say."""
    if seal.predicate["rollout"] is None:
        return
    plan = seal.predicate["plan"]["body"]
    prepared = live.prepare(Strategy.model_validate(plan["rollout"]), plan["traffic_per_hour"])
    outcomes, known = seal.live(), Known(prepared)
    for item in looks.known(looks.taken(seal), outcomes):
        if isinstance(item, Difference):
            yield item
            continue
        for number in item.fresh:
            known.add(outcomes[number])
        yield from _differs(item.look, prepared, known)


def _differs(look: Taken, prepared: Prepared, known: Known) -> Iterator[Difference]:
    step, began = look.before["step"], datetime.fromisoformat(look.before["step_began_at"])
    made = live.judge(prepared, known.steps(step), now=look.at, step=step, step_began_at=began)
    wanted = {item["watched"]: item for item in made.findings}
    for number, item in enumerate(look.body["findings"]):
        if item["watched"] in wanted:
            figures = {**wanted.pop(item["watched"]), "said": item["said"]}
            yield from differ(figures, item, f"{look.path}.findings[{number}]", close=True)
        elif item["watched"] == LEFT_OUT:
            yield Difference(f"{look.path}.findings[{number}]", "nothing left out", item["watched"])
    if wanted:
        yield Difference(f"{look.path}.findings", f"a finding of {' and '.join(sorted(wanted))}", "none")
    yield from differ(made.candidate_outcomes, look.body["candidate_outcomes"], f"{look.path}.candidate_outcomes")


def left(seal: Sealed) -> str | None:
    """Return in words which looks can't be taken again, or None."""
    every = looks.taken(seal)
    missing = sum(look.known is None for look in every)
    if not missing:
        return None
    return f"{len(every) - missing} of {len(every)} looks follow from the outcomes; {missing} could not be taken"
