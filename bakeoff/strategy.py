"""How traffic moves to the candidate: named steps, as data.

Callers may rely on: `parse` reports every broken rule at once; shares only grow; a strategy says when each step begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from bakeoff.config import Part
from bakeoff.errors import ConfigError


class Step(Part):
    """A share of the traffic for some hours."""

    percent: Annotated[float, Field(gt=0.0, le=100.0, strict=False)]
    hours: Annotated[float, Field(gt=0.0, le=24.0 * 90, strict=False)]
    approval: bool = False
    """Whether a person must let this step begin."""
    minimum_outcomes: Annotated[int, Field(ge=0)] = 0
    """Outcomes of the candidate that this step must have seen before the next one begins."""


class LiveRule(Part):
    """What is watched while traffic moves: no worse than the baseline by more than a margin."""

    margin: Annotated[float, Field(ge=0.0, lt=1.0, strict=False)]
    base_rate: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Share of outcomes that are good (answered well, without error) today; for planning only."""


class Strategy(Part):
    """A rollout file: its steps, how often it looks, what it watches."""

    strategy: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    about: str = ""
    look_every_hours: Annotated[float, Field(gt=0.0, le=24.0, strict=False)] = 1.0
    alpha: Annotated[float, Field(gt=0.0, le=0.2)] = 0.05
    """The rate at which a good candidate may be rolled back over the whole rollout, shared by what is watched."""
    watch: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], LiveRule] = Field(min_length=1)
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
        return self.model_copy(update={"steps": steps})


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


def parse(data: Any, *, source: str) -> Strategy:
    """Return the strategy in *data*, the value of a rollout file. Raises ConfigError with every problem at once."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{source}: expected keys and values", hint="see configs/rollouts/48h.yaml")
    try:
        return Strategy.model_validate(dict(data))
    except ValidationError as error:
        problems = tuple(
            ": ".join([*map(str, item["loc"]), str(item["msg"]).removeprefix("Value error, ")])
            for item in error.errors()
            if item["type"] != "too_short" or not item["input"]  # else what there is was refused item by item
        )
        raise ConfigError(
            f"{source} is no rollout file that can be used",
            problems=problems,
            hint="configs/rollouts/48h.yaml shows every key with comments",
        ) from error
