"""How traffic moves to the candidate: named steps, as data.

Callers may rely on: `parse` reports every broken rule at once; shares only grow; a strategy says when each step begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from bakeoff.config import Part
from bakeoff.errors import ConfigError

LATENCIES = frozenset({"latency_p50", "latency_p95"})
WATCHED = LATENCIES | {"errors", "quality"}
"""What can be watched live: the share without an error, the mean quality, quantiles of the latency."""
_ROUNDING = 1e-9
_TIME_OF_DAY = r"^([01]\d|2[0-3]):[0-5]\d$"


class Step(Part):
    """A share of the traffic for some hours."""

    percent: Annotated[float, Field(gt=0.0, le=100.0, strict=False)]
    hours: Annotated[float, Field(gt=0.0, le=24.0 * 90, strict=False)]
    gated: bool = True
    """Whether this step ends only after a green look within it; without, its hours alone end it."""
    approval: bool = False
    """Whether a person must let this step begin."""
    minimum_outcomes: Annotated[int, Field(ge=0)] = 0
    """Outcomes of the candidate that this step must have seen before the next one begins."""
    earliest: Annotated[str, Field(pattern=_TIME_OF_DAY)] | None = None
    """Time of day, UTC, before which this step does not begin."""
    latest: Annotated[str, Field(pattern=_TIME_OF_DAY)] | None = None
    """Time of day, UTC, from which on this step does not begin; before `earliest` means past midnight."""

    def may_begin(self, now: datetime) -> bool:
        """Return whether the time of day of *now*, an aware instant, is one at which this step may begin."""
        clock = f"{now.astimezone(UTC):%H:%M}"
        since, until = self.earliest or "00:00", self.latest or "24:00"
        return since <= clock < until if since < until else clock >= since or clock < until


class LiveRule(Part):
    """What is watched while traffic moves: no worse than the baseline by more than a margin."""

    margin: Annotated[float, Field(ge=0.0, lt=1.0, strict=False)]
    """A share of the outcomes; of a latency, the ratio by which it may grow."""
    base_rate: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Share of outcomes that are good (answered well, without error) today; for planning only. None of a latency."""
    at_least: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """A floor of the candidate alone, seen at every share, also where the baseline gets no traffic any more."""


Action = Literal["warn", "hold", "rollback"]


class Guards(Part):
    """What makes live figures untrustworthy, and what is done about it."""

    share_mismatch: Action = "hold"
    """Units do not arrive in the shares that the step gives: the arms are not comparable."""
    silence: Action = "hold"
    """An arm that should have traffic had no outcome for `silence_hours`."""
    silence_hours: Annotated[float, Field(gt=0.0, le=24.0 * 7, strict=False)] = 2.0
    crossing: Action = "warn"
    """Units with outcomes of both arms within one step."""
    unmeasured: Literal["hold", "rollback"] = "rollback"
    """What `unmeasured_limit` looks in a row that could not be taken lead to."""
    unmeasured_limit: Annotated[int, Field(ge=1, le=100)] = 4


class Strategy(Part):
    """A rollout file: its steps, how often it looks, what it watches."""

    strategy: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    about: str = ""
    look_every_hours: Annotated[float, Field(gt=0.0, le=24.0, strict=False)] = 1.0
    alpha: Annotated[float, Field(gt=0.0, le=0.2)] = 0.05
    """The rate at which a good candidate may be rolled back over the whole rollout, shared by what is watched."""
    watch: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], LiveRule] = Field(min_length=1)
    guards: Guards = Guards()
    recheck_at_steps: bool = True
    """Whether the offline KPIs are measured again on the live table before every step."""
    recheck_every_hours: Annotated[float, Field(gt=0.0, le=24.0 * 7, strict=False)] | None = None
    """How often they are measured again within a step; None: at steps alone."""
    give_up_hours: Annotated[float, Field(gt=0.0, le=24.0 * 365, strict=False)] | None = None
    """A rollout that has not completed so long after its start is rolled back; None: it may be held for ever."""
    steps: Annotated[tuple[Step, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _grows(self) -> Self:
        problems = [
            f"step {n} goes from {before.percent:g} % to {after.percent:g} %: shares only grow"
            for n, (before, after) in enumerate(pairwise(self.steps), start=2)
            if after.percent <= before.percent
        ]
        if self.steps[-1].percent != 100.0:  # noqa: PLR2004  # the whole traffic
            problems.append(f"the last step is {self.steps[-1].percent:g} %: a rollout ends at 100 %")
        problems += [
            f"{name} needs a base_rate, the share of good outcomes today"
            for name, rule in self.watch.items()
            if name not in LATENCIES and rule.base_rate is None
        ]
        problems += [
            f"{name} is a latency: a floor (at_least) is for shares and means"
            for name, rule in self.watch.items()
            if name in LATENCIES and rule.at_least is not None
        ]
        problems += [
            f"step {n} is {step.percent:g} %: shares are whole hundredths of a percent"
            for n, step in enumerate(self.steps, start=1)
            if abs(step.percent * 100.0 - round(step.percent * 100.0)) > _ROUNDING
        ]
        if self.give_up_hours is not None and self.give_up_hours <= self.hours:
            problems.append(f"give_up_hours is {self.give_up_hours:g}, not above the {self.hours:g} hours of the steps")
        if unknown := sorted(self.watch.keys() - WATCHED):
            problems.append(f"nothing live is called {', '.join(unknown)}: expected {', '.join(sorted(WATCHED))}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def hours(self) -> float:
        """How long the whole rollout takes, at least."""
        return sum(step.hours for step in self.steps)

    def stretched(self, hours: float) -> Strategy:
        """Return the same shape over *hours* in all. Raises ConfigError where that is not above 0, or has no end."""
        if not 0.0 < hours < math.inf:
            raise ConfigError(f"the rollout would last {hours:g} hours", hint="give more than 0, 48 is usual")
        factor = hours / self.hours
        steps = tuple(step.model_copy(update={"hours": step.hours * factor}) for step in self.steps)
        give_up = None if self.give_up_hours is None else self.give_up_hours * factor
        given = {**self.model_dump(), "steps": [step.model_dump() for step in steps], "give_up_hours": give_up}
        try:
            return Strategy.model_validate(given)
        except ValidationError as error:
            raise ConfigError(
                f"the rollout would last {hours:g} hours: {_problems(error)[0]}", hint="give fewer hours, 48 is usual"
            ) from error


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the time-table."""

    number: int
    percent: float
    begins_hour: float
    ends_hour: float
    approval: bool
    minimum_outcomes: int


def timetable(strategy: Strategy) -> list[Row]:
    """Return when each step begins and ends, in hours from the start, if nothing holds it up."""
    rows, begins = [], 0.0
    for number, step in enumerate(strategy.steps, start=1):
        ends = begins + step.hours
        rows.append(Row(number, step.percent, begins, ends, step.approval, step.minimum_outcomes))
        begins = ends
    return rows


def _problems(error: ValidationError) -> tuple[str, ...]:
    return tuple(
        ": ".join([*map(str, item["loc"]), str(item["msg"]).removeprefix("Value error, ")])
        for item in error.errors()
        if item["type"] != "too_short" or not item["input"]  # else what there is was refused item by item
    )


def parse(data: Any, *, source: str) -> Strategy:
    """Return the strategy in *data*, the value of a rollout file. Raises ConfigError with every problem at once."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{source}: expected keys and values", hint="see configs/rollouts/48h.yaml")
    try:
        return Strategy.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError(
            f"{source} is no rollout file that can be used",
            problems=_problems(error),
            hint="configs/rollouts/48h.yaml shows every key with comments",
        ) from error
