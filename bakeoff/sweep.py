"""A sweep file: many configurations as changes of one, and how they are to be narrowed.

Callers may rely on: everything wrong with a file, or with any configuration, is reported at once, with the combination;
the order of a grid, of a list and of keys changes nothing; equal configurations are one.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from bakeoff.cases import MEANS
from bakeoff.config import Part, PipelineConfig
from bakeoff.config import parse as parse_config
from bakeoff.errors import ConfigError

Changes = Mapping[str, Any]
"""Dotted keys with their values; a value that is a mapping stands in place of the whole section."""
_KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_HINT = "configs/sweep.yaml shows every key with comments"


class Sweep(Part):
    """A sweep file: the configurations, what they are scored by, and how they are narrowed."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,40}$")] = "sweep"
    """Locks that the sweep makes are called `<name>-<first digits of CONFIG_HASH>`."""
    about: str = ""
    base: str | dict[str, Any] | None = None
    """What every configuration changes: a file (beside the sweep file), a configuration, or None: the baseline's."""
    corpus: str | None = None
    grid: dict[str, Annotated[tuple[Any, ...], Field(strict=False)]] | None = None
    configurations: Annotated[tuple[dict[str, Any], ...] | None, Field(alias="list", strict=False)] = None
    metric: str = "filter_hit_postfilter"
    eta: Annotated[int, Field(ge=2, le=10)] = 2
    """Every rung keeps one candidate in *eta*. 2 drops fewer good ones by bad luck: questions are few."""
    first_rung: Annotated[int, Field(ge=1)] | None = None
    """Questions of the first rung, eta times as many in each later one; None: so that the last one asks them all."""
    holdout: Annotated[float, Field(ge=0.05, le=0.95)] = 0.3
    finalists: Annotated[int, Field(ge=1, le=20)] = 3
    alpha: Annotated[float, Field(gt=0.0, le=0.2)] = 0.05
    """The rate at which a winner is proposed though no candidate is better."""
    minimum_effect: Annotated[float, Field(ge=0.0, lt=1.0, strict=False)] = 0.0
    max_candidates: Annotated[int, Field(ge=1, le=1000)] = 64
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in MEANS:
            raise ValueError(f"unknown metric {value!r}; known are {', '.join(MEANS)}")
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.grid is None) is (self.configurations is None):
            raise ValueError("expected either grid or list")
        if not (self.grid or self.configurations):
            raise ValueError(f"{'list' if self.grid is None else 'grid'} is empty: there is nothing to try")
        empty = sorted(key for key, values in (self.grid or {}).items() if not values)
        wrong = sorted({key for changes in (self.grid or {}, *(self.configurations or ())) for key in changes})
        problems = [f"grid: {key} has no values" for key in empty]
        problems += [f"{key!r} is no dotted key" for key in wrong if not _KEY.fullmatch(key)]
        count = math.prod(len(values) for values in (self.grid or {}).values())
        count = len(self.configurations or ()) or count
        if count > self.max_candidates:
            problems.append(f"{count} configurations, above max_candidates ({self.max_candidates})")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def changes(self) -> tuple[Changes, ...]:
        """What each configuration changes in the base."""
        if self.configurations is not None:
            return self.configurations
        grid = self.grid or {}
        keys = sorted(grid)
        return tuple(dict(zip(keys, chosen, strict=True)) for chosen in product(*(grid[key] for key in keys)))


def parse(data: Any, *, source: str) -> Sweep:
    """Return the sweep in *data*, the value of a sweep file. Raises ConfigError with every problem at once."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{source}: expected keys and values", hint=_HINT)
    try:
        return Sweep.model_validate(dict(data))
    except ValidationError as error:
        problems = tuple(
            ": ".join([*map(str, item["loc"]), _words(item["type"], str(item["msg"]))]) for item in error.errors()
        )
        raise ConfigError(f"{source} is no sweep that can be run", problems=problems, hint=_HINT) from error


def _words(kind: str, message: str) -> str:
    return "unknown key" if kind == "extra_forbidden" else message.removeprefix("Value error, ")


# --- The configurations -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration, and what it changes in the base, in words."""

    label: str
    config: PipelineConfig


def label(changes: Changes) -> str:
    """Return *changes* in words, the same in any order of the keys."""
    shown = (f"{key}={json.dumps(changes[key], ensure_ascii=False, default=str)}" for key in sorted(changes))
    return " ".join(shown) or "the base as it is"


def merged(base: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Return *base* with *changes*, those of whole sections first. Raises ConfigError where a key leads nowhere."""
    found = copy.deepcopy(dict(base))
    for key in sorted(changes):  # a section sorts before its own keys
        *path, last = key.split(".")
        below = found
        for part in path:
            section = below.get(part)
            if section is None:
                section = below[part] = {}
            if not isinstance(section, dict):
                raise ConfigError(f"{key}: {part} is not a section", hint="configs/baseline.yaml shows every key")
            below = section
        below[last] = copy.deepcopy(changes[key])
    return found


def candidates(sweep: Sweep, base: Mapping[str, Any], *, source: str) -> tuple[Candidate, ...]:
    """Return the configurations, each once, in the order of their labels.

    Raises ConfigError that lists everything wrong with any of them.
    """
    found: dict[PipelineConfig, str] = {}
    problems: list[str] = []
    for changes in sweep.changes:
        name = label(changes)
        where = f"{source} [{name}]"
        try:
            config = parse_config(merged(base, changes), source=where)
        except ConfigError as error:
            problems += error.problems or (f"{where}: {error}",)
        else:
            found[config] = min(name, found.get(config, name))
    refuse(problems, source=source)
    return tuple(sorted((Candidate(name, config) for config, name in found.items()), key=lambda item: item.label))


def refuse(problems: Sequence[str], *, source: str) -> None:
    """Raise ConfigError where there is any of *problems* with the configurations."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(
            f"{count} in the configurations of {source}",
            problems=tuple(problems),
            hint="correct the keys above; configs/baseline.yaml shows them all",
        )
