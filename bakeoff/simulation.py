"""Simulated traffic: recorded cases drawn again as live outcomes, and faults of a known size put into them.

Callers may rely on: equal arguments give equal outcomes with equal ids; a stretch of time has the outcomes of its
parts, wherever it is cut; the arm of an outcome is the one that its unit is routed to; nothing is drawn that was
not recorded, but for the fault; whatever rests on this says that it is simulated.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from bakeoff import routing
from bakeoff.errors import ConfigError, InputError
from bakeoff.outcomes import Outcome

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Harm = Literal["quality", "errors", "latency"]

UNITS = 2_000
"""People who ask, unless it is said otherwise."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR = 3.6e9
"""Microseconds."""
_MOST_TRAFFIC = 1e9
_DRAWS = 4
"""Random words of an outcome, one block of the generator: its instant, its unit, its case, whether a fault hits it."""
_FAULT = re.compile(r"([a-z]+):([-+]?(?:\d+\.?\d*|\.\d+))(?:@(\d+\.?\d*|\.\d+))?")
_SIZES: dict[Harm, tuple[float, float, str]] = {
    "quality": (-1.0, 0.0, "a share that is lost, as quality:-0.10"),
    "errors": (0.0, 1.0, "a share of the outcomes that fails, as errors:+0.05"),
    "latency": (0.0, 100.0, "the ratio by which it grows, as latency:+0.30"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """One arm's recorded cases, by index; `latency_ms` and `quality` (in 0..1) are NaN where not measured."""

    ok: Bools
    latency_ms: Floats
    quality: Floats

    @classmethod
    def of(cls, cases: Iterable[tuple[bool, float | None, float | None]]) -> Self:
        """Return the pool of *cases*: without error, milliseconds, quality. Raises InputError where there is none."""
        rows = list(cases)
        if not rows:
            raise InputError("there are no recorded cases to draw from", hint="evaluate both locks of the plan first")
        ok, latency, quality = zip(*rows, strict=True)
        return cls(np.array(ok, dtype=np.bool_), _floats(latency), _floats(quality))

    def __len__(self) -> int:
        """Return how many cases there are."""
        return len(self.ok)


def _floats(values: Iterable[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with the candidate, by how much, from which hour of the rollout on.

    Raises ConfigError where the size or the hour is out of range.
    """

    what: Harm
    size: float
    """Of quality what its mean loses, below 0; of errors the share that fails; of latency the ratio it grows by."""
    at_hour: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no fault."""
        low, high, words = _SIZES[self.what]
        inside = low <= self.size < high if self.what == "quality" else low < self.size <= high
        if not inside:
            raise ConfigError(f"a fault of {self.what} of size {self.size:+g}: expected {words}")
        if not 0.0 <= self.at_hour < math.inf:
            raise ConfigError(f"a fault from hour {self.at_hour:g}: expected 0 or more hours after the start")

    def __str__(self) -> str:
        """Return the fault as it is typed."""
        return f"{self.what}:{self.size:+g}" + (f"@{self.at_hour:g}" if self.at_hour else "")


def parse(text: str) -> Fault:
    """Return the fault that *text* (`quality:-0.10`, `errors:+0.05@12`) names. Raises ConfigError in words."""
    match = _FAULT.fullmatch(text.strip())
    if match is None or match[1] not in get_args(Harm):
        raise ConfigError(
            f"fault {text!r}: expected quality, errors or latency, a size, and @HOUR where it comes later",
            hint="quality:-0.10, errors:+0.05 or latency:+0.30@20",
        )
    what: Any = match[1]
    return Fault(what, float(match[2]), float(match[3] or 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Injected:
    """The cases as they are, the same ones as a fault leaves them, and the share that it hits."""

    pool: Pool
    harmed: Pool
    share: float

    def drawn(self, cases: NDArray[np.int64], hit: Bools) -> Pool:
        """Return the cases of these indices, *hit* by the fault or not."""
        if not self.share:
            return Pool(*(column[cases] for column in _columns(self.pool)))
        ways = zip(_columns(self.pool), _columns(self.harmed), strict=True)
        return Pool(*(np.where(hit, bad[cases], good[cases]) for good, bad in ways))


def _columns(pool: Pool) -> tuple[Any, Any, Any]:
    return pool.ok, pool.latency_ms, pool.quality


def inject(pool: Pool, fault: Fault | None) -> Injected:
    """Return *pool* with *fault* in it: on average it is of exactly its size.

    A hit of quality leaves 0, one of errors a failure that nobody rates; latency is hit everywhere. Raises ConfigError
    where the pool has not that much to lose.
    """
    if fault is None:
        return Injected(pool, pool, 0.0)
    if fault.what == "latency":
        return Injected(pool, Pool(pool.ok, pool.latency_ms * (1.0 + fault.size), pool.quality), 1.0)
    unrated = np.where(np.isnan(pool.quality), np.nan, 0.0)
    if fault.what == "quality":
        rated = pool.quality[~np.isnan(pool.quality)]
        share = _share(-fault.size, float(rated.mean()) if len(rated) else 0.0, fault)
        return Injected(pool, Pool(pool.ok, pool.latency_ms, unrated), share)
    share = _share(fault.size, float(pool.ok.mean()), fault)
    return Injected(pool, Pool(np.zeros_like(pool.ok), pool.latency_ms, np.full_like(unrated, np.nan)), share)


def _share(lost: float, mean: float, fault: Fault) -> float:
    if lost > mean:
        good = "quality" if fault.what == "quality" else "share without an error"
        raise ConfigError(f"fault {fault}: the recorded {good} is {mean:.3f}, less than what it would lose")
    return lost / mean


def outcomes(  # noqa: PLR0913  # one value for each thing that traffic depends on
    pools: tuple[Pool, Pool],
    *,
    salt: str,
    weight_bp: int,
    since: datetime,
    until: datetime,
    traffic_per_hour: float,
    seed: int,
    fault: Fault | None = None,
    started_at: datetime | None = None,
    units: int = UNITS,
) -> list[Outcome]:
    """Return the outcomes from *since* to just before *until* (aware) at a share of *weight_bp* basis points.

    *pools* are those of baseline and candidate; the hours of *fault* count from *started_at*. They arrive evenly, each
    at a random instant of its own slot of 1 / *traffic_per_hour*. Raises ConfigError on traffic or units not above 0,
    and where a fault that comes later does not know since when.
    """
    check_traffic(traffic_per_hour, units)
    slot = _HOUR / traffic_per_hour
    begin, end = ((at - _EPOCH) / _MICROSECOND for at in (since, until))
    first = max(0, math.floor(begin / slot) - 1)
    numbers = np.arange(first, max(first, math.ceil(end / slot) + 1))
    draws = _uniform(seed, salt, first, len(numbers))
    at = np.floor((numbers + draws[:, 0]) * slot).astype(np.int64)
    inside = (begin <= at) & (at < end)
    numbers, at, draws = numbers[inside], at[inside], draws[inside]
    who = (draws[:, 1] * units).astype(np.int64)
    arms = (_buckets(salt, units)[who] < weight_bp).astype(np.int64)
    hit = at >= _from(fault, started_at)
    sides = [_drawn(inject(pool, fault if arm else None), draws, hit) for arm, pool in enumerate(pools)]
    columns = [np.where(arms == 1, after, before) for before, after in zip(*map(_columns, sides), strict=True)]
    rows = zip(*(column.tolist() for column in (numbers, at, arms, who, *columns)), strict=True)
    return [_outcome(f"simulated-{seed}-{number}", *row) for number, *row in rows]


def _outcome(outcome_id: str, moment: int, arm: int, unit: int, ok: bool, latency: float, quality: float) -> Outcome:
    return Outcome(
        at=_EPOCH + timedelta(microseconds=moment),
        arm=arm,
        unit=f"u{unit}",
        ok=ok,
        latency_ms=None if math.isnan(latency) else round(latency, 3),
        quality=None if math.isnan(quality) else quality,
        outcome_id=outcome_id,
    )


def check_traffic(traffic_per_hour: float, units: int) -> None:
    """Raise ConfigError unless there is traffic, of somebody."""
    if not 0.0 < traffic_per_hour <= _MOST_TRAFFIC:
        raise ConfigError(
            f"traffic of {traffic_per_hour:g} questions an hour: expected above 0, at most {_MOST_TRAFFIC:g}",
            hint="200/h is what a plan assumes unless it is told otherwise",
        )
    if units < 1:
        raise ConfigError(f"{units} people ask: expected 1 or more")


def _drawn(arm: Injected, draws: Floats, hit: Bools) -> Pool:
    cases = (draws[:, 2] * len(arm.pool)).astype(np.int64)
    return arm.drawn(cases, hit & (draws[:, 3] < arm.share))


def _from(fault: Fault | None, started_at: datetime | None) -> float:
    """Return the microsecond from which on a fault hits."""
    if fault is None or not fault.at_hour:
        return -math.inf
    if started_at is None:
        raise ConfigError(f"fault {fault}: its hour counts from the start, and no start is given")
    return (started_at - _EPOCH) / _MICROSECOND + fault.at_hour * _HOUR


def _uniform(seed: int, salt: str, first: int, count: int) -> Floats:
    """Return `_DRAWS` numbers in [0, 1) for each of *count* outcomes from number *first* on, whatever was asked before.

    Philox is a counter with a key (Salmon, Moraes, Dror & Shaw 2011): a block of four words at each count.
    """
    key = np.frombuffer(hashlib.sha256(f"{seed}|{salt}".encode()).digest()[:16], dtype="<u8").astype(np.uint64)
    words = np.random.Philox(key=key, counter=first).random_raw(_DRAWS * count)
    shift, scale = np.uint64(11), 2.0**-53
    return np.asarray((words >> shift) * scale).reshape(count, _DRAWS)


@lru_cache(maxsize=8)
def _buckets(salt: str, units: int) -> NDArray[np.int64]:
    return np.array([routing.bucket(salt, f"u{number}") for number in range(units)], dtype=np.int64)
