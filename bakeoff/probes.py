"""The probes of a probes file, typed.

Callers may rely on: `parse` reports every broken probe at once, in words, with its name; a query that does not begin as
one that reads is refused; equal files give equal digests, whatever their comments say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from bakeoff import canonical
from bakeoff.config import Part
from bakeoff.errors import ConfigError
from bakeoff.verdicts import Severity

PARAMETERS = (
    *("ingest_id", "config_hash", "chunk_version", "prefix_policy", "dimension", "token_limit", "embedder_id"),
    *("run_id", "baseline_hash"),
)
"""What an SQL probe may use as `%(name)s`; `run_id` asks for a run, `baseline_hash` for a baseline."""
IDENTIFIERS = ("table", "aliases", "lexemes", "vector_type", "baseline_table")
"""What an SQL probe may use as `{name}`."""
NAMES_IN_NEXT = ("config_hash", "lock", "run_id", "baseline")
"""What is filled into `next`, as `{name}`."""
_PARAMETER = re.compile(r"%\((\w+)\)s")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_READS = ("select", "with", "values", "table")

Number = Annotated[float, Field(strict=False)]


class Expectation(Part):
    """What the value has to be; exactly one key, or `at_least` beside `at_most`."""

    equals: Any = None
    at_least: Number | None = None
    at_most: Number | None = None
    above: Number | None = None
    below: Number | None = None
    between: Annotated[tuple[Number, Number], Field(strict=False)] | None = None
    """Both ends included."""
    empty: Literal[True] | None = None
    """The list, or the rows, hold nothing; what they hold are the offenders."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = self.model_fields_set
        if len(given) != 1 and given != {"at_least", "at_most"}:
            raise ValueError(
                "give exactly one of equals, at_least, at_most, above, below, between, empty (or at_least with at_most)"
            )
        if any(getattr(self, name) is None for name in given):
            raise ValueError("an expectation has a value")
        if isinstance(self.equals, list | Mapping):  # of a list a probe knows the length, an object is an error
            raise ValueError(  # noqa: TRY004  # pydantic reports a ValueError, a TypeError passes it by
                "equals asks for one number, text, true or false: no list and no object could pass"
            )
        if isinstance(self.equals, int) and abs(self.equals) >= canonical.LIMIT:
            raise ValueError(f"equals is {self.equals}: JSON holds integers below 2**53 only; compare text")
        low, high = self.between or (self.at_least, self.at_most)
        if low is not None and high is not None and low > high:
            raise ValueError(f"the lower end {low:g} is above the upper end {high:g}: nothing could pass")
        return self

    @property
    def words(self) -> str:
        """The expectation as it is read: `between 30 and 60`."""
        if self.empty:
            return "none"
        if self.between is not None:
            return f"between {self.between[0]:g} and {self.between[1]:g}"
        if "equals" in self.model_fields_set:
            return f"equal to {self.equals}"
        said = (("at least", self.at_least), ("at most", self.at_most), ("above", self.above), ("below", self.below))
        return " and ".join(f"{name} {value:g}" for name, value in said if value is not None)


class IndexesComplete(Part):
    """Names of the indexes that are missing or not complete."""

    name: Literal["indexes_complete"]


class PlannerUsesIndexes(Part):
    """Names of the indexes that the plan of a retrieval does not use."""

    name: Literal["planner_uses_indexes"]


class AnnRecall(Part):
    """Share of the nearest stored vectors of an exact scan that are among the vector index's candidates."""

    name: Literal["ann_recall"]
    sample: Annotated[int, Field(ge=1, le=1000)] = 20
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 10
    seed: Annotated[int, Field(ge=0)] = 7


class LexicalRecall(Part):
    """Share of the sampled chunks that the lexical index finds by their own first words."""

    name: Literal["lexical_recall"]
    sample: Annotated[int, Field(ge=1, le=1000)] = 20
    words: Annotated[int, Field(ge=1, le=200)] = 40
    seed: Annotated[int, Field(ge=0)] = 7


class ChunkIds(Part):
    """Chunks whose id is not sha1(doc_id|start-end|CHUNK_VERSION|CONFIG_HASH)."""

    name: Literal["chunk_ids"]


class TableDigest(Part):
    """Whether the chunk table, aliases and vectors included, is what its ingest recorded."""

    name: Literal["table_digest"]


class RunFingerprints(Part):
    """What the run says of lock, table, corpus, ingest and embedder and is not the lock's and its ingest's."""

    name: Literal["run_fingerprints"]


class RunCases(Part):
    """Whether the cases of the run are what its evaluation recorded at its end."""

    name: Literal["run_cases"]


class FilterLeaks(Part):
    """Questions whose context holds what the filter forbids, or what the snapshot does not hold."""

    name: Literal["filter_leaks"]


class FilterReturns(Part):
    """Questions whose context holds fewer chunks than the filter allows."""

    name: Literal["filter_returns"]


class LeakedQuestions(Part):
    """Questions of at least `words` words that stand word for word in a document."""

    name: Literal["leaked_questions"]
    words: Annotated[int, Field(ge=3, le=100)] = 5


class ArmsDiffer(Part):
    """What is equal between lock and baseline though their configurations say otherwise."""

    name: Literal["arms_differ"]


Check = Annotated[
    IndexesComplete
    | PlannerUsesIndexes
    | AnnRecall
    | LexicalRecall
    | ChunkIds
    | TableDigest
    | RunFingerprints
    | RunCases
    | FilterLeaks
    | FilterReturns
    | LeakedQuestions
    | ArmsDiffer,
    Field(discriminator="name"),
]
_CHECKS_OF_RUNS = (RunFingerprints, RunCases, FilterLeaks, FilterReturns, LeakedQuestions)


class When(Part):
    """Asks the probe only where a jq program over the lock gives true; *otherwise* says why it is not asked."""

    lock: Annotated[str, Field(min_length=1)]
    otherwise: Annotated[str, Field(min_length=1)]


class _Probe(Part):
    """What every probe has."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    about: Annotated[str, Field(min_length=1)]
    """What it shows."""
    severity: Severity = Field(default=Severity.BLOCK, strict=False)
    expect: Expectation
    next: Annotated[str, Field(min_length=1)]
    """What to do where it fails; {config_hash}, {lock}, {run_id} and {baseline} are filled in."""
    when: When | None = None

    @field_validator("next")
    @classmethod
    def _known_names(cls, value: str) -> str:
        unknown = sorted(set(_PLACEHOLDER.findall(value)) - set(NAMES_IN_NEXT))
        if unknown:
            raise ValueError(f"unknown {{{unknown[0]}}}; known are {', '.join(NAMES_IN_NEXT)}")
        return value


class JqProbe(_Probe):
    """A jq program over the evaluation's artifact, or over the lock, that gives one value."""

    kind: Literal["jq"]
    over: Literal["run", "lock"] = "run"
    program: Annotated[str, Field(min_length=1, max_length=10_000)]

    @property
    def needs_run(self) -> bool:
        """Whether it looks at a run."""
        return self.over == "run"

    @property
    def needs_baseline(self) -> bool:
        """Whether it looks at a second lock."""
        return False


class SqlProbe(_Probe):
    """A query that only reads. Its first column is the value; where `empty` is expected, its rows are offenders."""

    kind: Literal["sql"]
    query: Annotated[str, Field(min_length=1, max_length=10_000)]

    @field_validator("query")
    @classmethod
    def _sound(cls, value: str) -> str:
        words = re.findall(r"\w+", _COMMENTS.sub(" ", value))
        if not words or words[0].lower() not in _READS:
            begins = words[0].upper() if words else "nothing"
            raise ValueError(
                f"begins with {begins}: a probe only reads, so it begins with SELECT, WITH, VALUES or TABLE"
            )
        unknown = sorted(set(_PARAMETER.findall(value)) - set(PARAMETERS))
        if unknown:
            raise ValueError(f"unknown parameter %({unknown[0]})s; known are {', '.join(PARAMETERS)}")
        return value.strip().removesuffix(";")

    @property
    def needs_run(self) -> bool:
        """Whether it looks at a run."""
        return "%(run_id)s" in self.query

    @property
    def needs_baseline(self) -> bool:
        """Whether it looks at a second lock."""
        return "%(baseline_hash)s" in self.query or "{baseline_table}" in self.query


class CheckProbe(_Probe):
    """A built-in check, by its name, with its parameters."""

    kind: Literal["check"]
    check: Check

    @property
    def needs_run(self) -> bool:
        """Whether it looks at a run."""
        return isinstance(self.check, _CHECKS_OF_RUNS)

    @property
    def needs_baseline(self) -> bool:
        """Whether it looks at a second lock."""
        return isinstance(self.check, ArmsDiffer)


Probe = JqProbe | SqlProbe | CheckProbe


class ProbeFile(Part):
    """A probes file."""

    probes: Annotated[tuple[Annotated[Probe, Field(discriminator="kind")], ...], Field(strict=False)]

    @model_validator(mode="after")
    def _some_and_once(self) -> Self:
        if not self.probes:
            raise ValueError("there is no probe in it: nothing would be asked")
        twice = [name for name, count in Counter(probe.name for probe in self.probes).items() if count > 1]
        if twice:
            raise ValueError("\n".join(f"probe {name} stands twice" for name in twice))
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the probes as canonical JSON."""
        return canonical.digest(self.model_dump(mode="json"))


_ADAPTER: TypeAdapter[ProbeFile] = TypeAdapter(ProbeFile)
_TAGS = {"jq", "sql", "check"}


def parse(data: Any, *, source: str) -> ProbeFile:
    """Return the probes in *data*, the value of a probes file. Raises ConfigError with every problem at once."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{source}: expected the key `probes` with a list", hint="see configs/probes.yaml")
    try:
        return _ADAPTER.validate_python(dict(data))
    except ValidationError as error:
        problems = tuple(line for item in error.errors() for line in _lines(item, data))
        alone = len(problems) == 1
        raise ConfigError(
            f"{source}: {problems[0]}" if alone else f"{len(problems)} problems in {source}",
            problems=() if alone else problems,
            hint="configs/probes.yaml shows every kind of probe with comments",
        ) from error


def _lines(item: Any, data: Mapping[str, Any]) -> list[str]:
    """Return a problem of pydantic's in words, a line each, with the name of its probe."""
    place = [str(part) for part in item["loc"]]
    if place[:1] == ["probes"] and len(place) > 1 and place[1].isdigit():
        kind = place[2:3] if place[2:3] and place[2] in _TAGS else []
        rest = place[2 + len(kind) :]
        if kind == ["check"] and rest[:1] == ["check"]:
            del rest[1:2]  # the check's name, which is no key
        place = [f"probe {_name(data['probes'], int(place[1]))}", *rest]
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown key"
    elif item["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        known = item["ctx"].get("expected_tags", "'jq', 'sql', 'check'")
        key = str(item["ctx"]["discriminator"]).strip("'")
        message = f"{key} must be one of {known}"
    return [": ".join([*place, line]) for line in message.split("\n")]


def _name(probes: Any, place: int) -> str:
    probe = probes[place] if isinstance(probes, list | tuple) and place < len(probes) else None
    name = probe.get("name") if isinstance(probe, Mapping) else None
    return str(name) if name else f"number {place + 1}"
