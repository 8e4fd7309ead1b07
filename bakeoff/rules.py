"""The KPI rules of a gates file, typed: what is measured, against what, and how much it counts.

Callers may rely on: `parse` reports every broken rule at once, in words, with its gate; a rule that contradicts itself,
names an unknown metric or can't be met is refused; equal files give equal digests, whatever their comments say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from bakeoff import canonical
from bakeoff.cases import MEANS, YES_NO
from bakeoff.config import Part
from bakeoff.errors import ConfigError
from bakeoff.verdicts import Severity

LATENCY = "p95_latency_ms"
"""The 95th percentile of a question's whole time, from interleaved single-worker timings. Lower is better."""
FACTS = {
    "max_embedding_token_count": "tokens of the longest text that was embedded",
    "embedding_tokens_over_limit": "embedded texts above the smaller of 1024 tokens and what the embedder reads",
    "dedup_share": "share of the chunks that went as near-duplicates",
    "leaked_prefixes": "lexical texts that are not their chunk's own span",
    "snapshot_size": "mean number of chunks in the snapshot",
    "reader_errors": "questions whose reader failed",
}
"""Figures of a whole run or table: exact, so nothing is tested about them."""
SHARES = {*MEANS, "dedup_share"}
"""Metrics that lie between 0 and 1; the others have no upper end."""
METRICS = {*MEANS, *FACTS, LATENCY}
SILENT = {"faithfulness", "text_precision"}
"""Undefined, not missing, where a reader abstains or nothing was read."""


def owed(measurable: Mapping[str, int], *, timed: int) -> dict[str, int]:
    """Return how many questions must have a value of each metric, whatever a lock answers; *timed* have a latency."""
    return {**{metric: count for metric, count in measurable.items() if metric not in SILENT}, LATENCY: timed}


def _known(metric: str) -> str:
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}; known are {', '.join(sorted(METRICS))}")
    return metric


Metric = Annotated[str, AfterValidator(_known)]


class _Gate(Part):
    """What every rule has."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    metric: Metric
    severity: Severity = Field(default=Severity.BLOCK, strict=False)
    about: str = ""
    minimum: Annotated[int, Field(ge=2)] = 30
    """Questions with a value, at least; below it the gate is inconclusive."""


class NoWorse(_Gate):
    """The candidate is no worse than the baseline by more than a margin: a paired non-inferiority test."""

    rule: Literal["no_worse"]
    margin: Annotated[float, Field(ge=0.0, le=1.0)]
    """How much worse is still no loss: points of the metric as a share of 1; of latency, growth as a share."""
    minimum_effect: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """A smaller loss than this is never failed, however sure it is."""
    discordance: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Share of the questions on which both arms are expected to differ where there is no loss; for planning only."""
    spread: Annotated[float, Field(gt=0.0, le=2.0)] | None = None
    """Expected standard deviation of a question's difference where there is a loss as large as the margin, which lost
    answers widen; of latency, of a timing's logarithm. For planning only."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.metric in FACTS:
            raise ValueError(f"no_worse tests figures of questions; {self.metric} is a figure of the whole: use stable")
        problems = []
        if self.margin >= 1.0 and self.metric != LATENCY:
            problems.append(f"margin is {self.margin}: nothing could ever fail")
        if self.minimum_effect > self.margin:
            problems.append(f"minimum_effect is {self.minimum_effect}, above the margin {self.margin}")
        wanted, other = ("discordance", "spread") if self.metric in YES_NO else ("spread", "discordance")
        if getattr(self, wanted) is None:
            problems.append(f"{wanted} is missing: without it nobody can say what this gate will see")
        if getattr(self, other) is not None:
            problems.append(f"{self.metric} has a {wanted}, no {other}")
        if problems:
            raise ValueError("\n".join(problems))
        return self


class Gain(_Gate):
    """The candidate is better than the baseline by a wanted figure; far more than that is suspicious."""

    rule: Literal["gain"]
    at_least: Annotated[float, Field(gt=-1.0, le=1.0)]
    suspicious_above: Annotated[float, Field(gt=-1.0, le=1.0)] | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.metric not in MEANS:
            raise ValueError(f"gain needs a figure of questions, higher is better; {self.metric} is none")
        if self.suspicious_above is not None and self.suspicious_above <= self.at_least:
            raise ValueError(f"suspicious_above is {self.suspicious_above}, not above at_least ({self.at_least})")
        return self


class Level(_Gate):
    """The candidate's own figure lies within bounds, whatever the baseline's is."""

    rule: Literal["level"]
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        low, high = self.at_least, self.at_most
        if low is None and high is None:
            raise ValueError("level needs at_least, at_most or both")
        if low is not None and high is not None and low > high:
            raise ValueError(f"at_least is {low}, above at_most ({high}): nothing could pass")
        if high is not None and high < 0.0:
            raise ValueError(f"at_most is {high}, and {self.metric} is never below 0: nothing could pass")
        if low is not None and low > 1.0 and self.metric in SHARES:
            raise ValueError(f"at_least is {low}, and {self.metric} is never above 1: nothing could pass")
        if (low is None or low <= 0.0) and (high is None or (high >= 1.0 and self.metric in SHARES)):
            raise ValueError(f"{_bounds(low, high)} holds whatever {self.metric} is: nothing could ever fail")
        return self


def _bounds(low: float | None, high: float | None) -> str:
    return " and ".join(
        f"{word} {bound}" for word, bound in (("at_least", low), ("at_most", high)) if bound is not None
    )


class Stable(_Gate):
    """A figure of the whole changes by no more than a share of the baseline's."""

    rule: Literal["stable"]
    within: Annotated[float, Field(ge=0.0, le=10.0)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.metric not in FACTS:
            raise ValueError(f"stable compares figures of the whole; {self.metric} is one of questions: use no_worse")
        return self


Gate = Annotated[NoWorse | Gain | Level | Stable, Field(discriminator="rule")]


def _between(sound: Sequence[Gate], named: Sequence[tuple[str, str]]) -> list[str]:
    """Return what is wrong between gates: the *sound* ones, and name and severity of all."""
    twice = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
    problems = [f"gate {name} stands twice" for name in twice]
    levels = [gate for gate in sound if isinstance(gate, Level)]
    problems += [
        f"gates {low.name} and {high.name} contradict each other: "
        f"{low.metric} at least {low.at_least} and at most {high.at_most}"
        for low in levels
        for high in levels
        if low is not high and low.metric == high.metric
        if low.at_least is not None and high.at_most is not None and low.at_least > high.at_most
    ]
    problems += [
        f"gates {gain.name} and {high.name} contradict each other: "
        f"a gain of {gain.at_least} in {gain.metric} and at most {high.at_most}"
        for gain in sound
        for high in levels
        if isinstance(gain, Gain) and gain.metric == high.metric
        if high.at_most is not None and gain.at_least > high.at_most
    ]
    if named and {severity for _, severity in named} <= {Severity.WARN, Severity.DRY_RUN}:
        problems.append("no gate blocks: nothing could ever fail")
    return problems


class Profile(Part):
    """A gates file: the gates, and how sure they have to be."""

    profile: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    label: Annotated[str, Field(max_length=300)] = ""
    """Shown in every artifact; says what this profile is not good for."""
    alpha: Annotated[float, Field(gt=0.0, le=0.2)] = 0.05
    """The stated rate, one-sided: of passing a loss as large as the margin, and of failing where there is none."""
    power: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.8
    resamples: Annotated[int, Field(ge=1000, le=200_000)] = 10_000
    unmeasured: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Share of the questions that only one side may have a value for; above it a gate is an error."""
    gates: Annotated[tuple[Gate, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        problems = _between(self.gates, [(gate.name, gate.severity) for gate in self.gates])
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def tested(self) -> tuple[NoWorse, ...]:
        """The gates that share the error rate: the tests for a loss that block."""
        return tuple(g for g in self.gates if isinstance(g, NoWorse) and g.severity is Severity.BLOCK)

    @property
    def digest(self) -> str:
        """SHA-256 of the profile as canonical JSON."""
        return canonical.digest(self.model_dump(mode="json"))


_PROFILE: TypeAdapter[Profile] = TypeAdapter(Profile)
_GATE: TypeAdapter[Gate] = TypeAdapter(Gate)


def parse(data: Any, *, source: str) -> Profile:
    """Return the profile in *data*, the value of a gates file. Raises ConfigError with every problem at once."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{source}: expected keys and values", hint="see configs/gates.yaml")
    try:
        return _PROFILE.validate_python(dict(data))
    except ValidationError as error:
        problems = [line for item in error.errors() for line in _lines(item, data)]
        raise ConfigError(
            f"{source} is no gates file that can be used",
            problems=tuple(dict.fromkeys([*problems, *_hidden(data.get("gates"))])),
            hint="configs/gates.yaml shows every rule with comments",
        ) from error


def _hidden(gates: Any) -> list[str]:
    """Return what is wrong between gates though some of them are wrong on their own, where pydantic stops."""
    given = [gate for gate in gates if isinstance(gate, Mapping)] if isinstance(gates, list | tuple) else []
    sound = []
    for gate in given:
        try:
            sound.append(_GATE.validate_python(gate))
        except ValidationError:
            continue  # named already
    named = [(str(gate["name"]), str(gate.get("severity", Severity.BLOCK))) for gate in given if "name" in gate]
    return _between(sound, named)


def _lines(item: Any, data: Mapping[str, Any]) -> list[str]:
    """Return a problem of pydantic's in words, a line each, with the name of its gate."""
    if item["type"] == "too_short" and item["input"]:
        return []  # what there is was refused item by item
    place = [str(part) for part in item["loc"] if part not in {"no_worse", "gain", "level", "stable"}]
    if place[:1] == ["gates"] and len(place) > 1 and place[1].isdigit():
        place[:2] = [f"gate {_name(data['gates'], int(place[1]))}"]
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "union_tag_invalid":
        message = "rule must be no_worse, gain, level or stable"
    elif item["type"] == "union_tag_not_found":
        message = "rule is missing: no_worse, gain, level or stable"
    return [": ".join([*place, line]) for line in message.split("\n")]


def _name(gates: Any, place: int) -> str:
    gate = gates[place] if isinstance(gates, list | tuple) and place < len(gates) else None
    name = gate.get("name") if isinstance(gate, Mapping) else None
    return str(name) if name else f"number {place + 1}"
