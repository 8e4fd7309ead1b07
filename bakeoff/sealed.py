"""What is inside a seal: its keys at every level, and what of it follows from the rest.

Callers may rely on: the same functions say what follows when a seal is made and when it is verified; a key that is
missing or unknown is named with its place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from bakeoff import difference, evidence, metrics, tallies, withheld
from bakeoff.difference import Difference
from bakeoff.errors import InputError
from bakeoff.evidence import Subject
from bakeoff.verdicts import Verdict

ARMS = ("baseline", "candidate")
ENDED = ("completed", "rolled_back", "aborted")
CASE_KEYS = ("question_id", "question", "snapshot_size", "error", "case_sha256", *tallies.MORE)
"""What a sealed case has beside its figures."""
ONE_OF_EACH = ("timings", "probes", "judgement", "parity")
MANY = {"rechecks": "recheck", "rollback_checks": "rollback_check"}
"""Lists of records, and the kind of record that each holds."""
ROLLBACK_CHECKS = ("routing", "active-lock", "table", "answer")
"""What is checked after a rollback, in order: all of it, whatever the others say."""
ROWS = ("baseline", "candidate", "facts", "outcomes", "lines")
"""What the file of the rows holds; `lines` are those that `withheld` left out of probes and parity."""

_RECORD = ("record_id", "kind", "plan_sha256", "config_hash", "run_id", "at", "verdict", "body", "sha256")
_TREE = {"count": None, "root": None}
_STEP = ("step", "arm", "share_percent", "n", "errors", "quality_mean", "quality_n", "latency_p50", "latency_p95")


def _keys(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names)


@dataclass(frozen=True, slots=True)
class Maybe:
    """The shape of what an object has or leaves out."""

    shape: Any


_MADE = _keys("ingest_id", "corpus", "corpus_sha256", "table_sha256", "lexical", "started_at", "finished_at")
_INGEST: dict[str, Any] = {**_MADE, "report": None, "again": Maybe([_MADE])}
_EVALUATION: dict[str, Any] = {
    **_keys("run_id", "questions_sha256", "corpus_sha256", "table_sha256", "settings", "started_at", "finished_at"),
    **_keys("question_set", "cases_sha256", "identity_sha256", "rows_sha256", "aggregates"),
    "rows": _TREE,
}
_ROLLOUT: dict[str, Any] = {
    **_keys("rollout_id", "plan_sha256", "salt", "clock", "version", "state"),
    "events": [_keys("version", "at", "since", "event", "body")],
    "routing": [_keys("at", "event", "bucket", "unit", "arm", "by", "reason")],
    "outcomes": {"by_step": [_keys(*_STEP, "latency_n", "first_at", "last_at", "units")], "rows": _TREE},
}
PREDICATE: dict[str, Any] = {
    **_keys("number", "previous", "sealed_at", "clock", "outcome", "verdict"),
    "locks": dict.fromkeys(ARMS, _keys("body", "sha256")),
    "plan": _keys("sha256", "created_at", "body"),
    "ingests": dict.fromkeys(ARMS, _INGEST),
    "evaluations": dict.fromkeys(ARMS, _EVALUATION),
    "records": {**dict.fromkeys(ONE_OF_EACH, (_keys(*_RECORD),)), **{kind: [_keys(*_RECORD)] for kind in MANY}},
    "rollout": (_ROLLOUT,),
    "forced": [_keys("what", "by", "why", "at")],
    "accepted": _keys("blind", "known_scores"),
    "environment": {
        **_keys("bakeoff", "python", "platform", "postgres", "pgvector", "textsearch", "packages"),
        "models": dict.fromkeys(ARMS),
    },
}
"""The keys of a seal's predicate: an object, a list of such, one that may be null (in a tuple) or left out (`Maybe`);
None: anything."""
HEAD: dict[str, Any] = _keys("count", "sha256", "previous")
PROOF: dict[str, Any] = _keys("kind", "envelope", "arm", "index", "row", "path")
"""The keys of a file that discloses one row."""
CLOSE = 1e-12
"""By how much a figure that was computed again may differ: sums may be taken in another order."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal that was opened; *rows* are None where their file is not there."""

    predicate: dict[str, Any]
    subjects: tuple[Subject, ...] = ()
    rows: dict[str, Any] | None = None
    """As numbers."""
    written: dict[str, Any] | None = None
    """The rows as they stand in their file."""

    def record(self, kind: str) -> dict[str, Any]:
        """Return one of the records, as it was recorded where the rows are there. Raises ValueError without one."""
        found = self.predicate["records"][kind]
        if found is None:
            raise ValueError(f"there is no record of {kind}")
        return self.whole(kind, found)

    def whole(self, kind: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a sealed *record* with what stays with the rows put back; as it is without them. Raises InputError."""
        if self.rows is None:
            return dict(record)
        asked = [(row["question_id"], row["question"]) for row in self.rows["baseline"]]
        lines = self.rows["lines"].get(kind, ())
        return {**record, "body": withheld.whole(kind, record["body"], asked, lines)}

    def records(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield (kind, path, record as it is sealed) of every record."""
        given = self.predicate["records"]
        for kind in ONE_OF_EACH:
            if given[kind] is not None:
                yield kind, f".predicate.records.{kind}", given[kind]
        for name, kind in MANY.items():
            for number, record in enumerate(given[name]):
                yield kind, f".predicate.records.{name}[{number}]", record

    def ingests(self, arm: str) -> list[dict[str, Any]]:
        """Return the ingest that an arm was judged on, then those that made its table anew with the same content."""
        judged = self.predicate["ingests"][arm]
        return [judged, *judged.get("again", [])]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The history of the rollout; empty where there was none."""
        rollout = self.predicate["rollout"]
        return [] if rollout is None else list(rollout["events"])

    @property
    def routing(self) -> list[dict[str, Any]]:
        """What people said about routing beside the rollout; empty where there was none."""
        rollout = self.predicate["rollout"]
        return [] if rollout is None else list(rollout["routing"])

    def cases(self, arm: str) -> list[dict[str, Any]]:
        """Return the sealed cases of an arm."""
        return [] if self.rows is None else list(self.rows[arm])

    def live(self) -> list[Live]:
        """Return the live outcomes."""
        return [] if self.rows is None else [Live(*item) for item in self.rows["outcomes"]]


def differ(expected: Any, found: Any, path: str, *, close: bool = False) -> Iterator[Difference]:
    """Yield the first difference of *found*, which stands at *path*; figures may be apart by `CLOSE` where *close*."""
    one = difference.first(expected, _snapped(expected, found) if close else found)
    if one is not None:
        below = "" if one.path == "." else one.path
        yield Difference(f"{path}{below}" or ".", one.expected, one.found)


def _snapped(expected: Any, found: Any) -> Any:
    """Return *found* with every figure that is as good as the expected one replaced by it."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return {key: _snapped(expected.get(key), item) for key, item in found.items()}
    if isinstance(expected, list) and isinstance(found, list):
        pairs = itertools.zip_longest(expected[: len(found)], found)
        return [_snapped(one, other) for one, other in pairs]
    if isinstance(expected, float) and isinstance(found, float):
        return expected if math.isclose(expected, found, rel_tol=CLOSE, abs_tol=CLOSE) else found
    return found


def unlike(shape: Any, found: Any, path: str) -> Iterator[Difference]:
    """Yield where *found* at *path* has other keys than *shape*, as `PREDICATE` writes it."""
    if shape is None or (isinstance(shape, tuple) and found is None):
        return
    if isinstance(shape, Maybe):
        shape = shape.shape
    if isinstance(shape, tuple):
        (shape,) = shape
    if isinstance(shape, list):
        if not isinstance(found, list):
            yield Difference(path, "a list", type(found).__name__)
            return
        for number, item in enumerate(found):
            yield from unlike(shape[0], item, f"{path}[{number}]")
        return
    if not isinstance(found, Mapping):
        yield Difference(path, "an object", "null" if found is None else type(found).__name__)
        return
    needed = (name for name, below in shape.items() if not isinstance(below, Maybe))
    yield from (Difference(f"{path}.{name}", "a value", "nothing") for name in needed if name not in found)
    yield from (Difference(f"{path}.{name}", "nothing", "an unknown key") for name in found if name not in shape)
    for name in shape:
        if name in found:
            yield from unlike(shape[name], found[name], f"{path}.{name}")


def no_decimals(value: Any, path: str) -> Iterator[Difference]:
    """Yield where *value*, as it was written, has a figure that is not written as one: the shortest decimal string."""
    if isinstance(value, float):
        yield Difference(path, "a decimal string", f"the JSON number {value}")
    elif isinstance(value, str):
        try:
            evidence.from_decimals(value)
        except InputError:
            yield Difference(path, repr(float(value)), value)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from no_decimals(item, f"{path}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from no_decimals(item, f"{path}[{number}]")


def outcome(judgement: str, phase: str | None) -> str:
    """Return what a bakeoff came to, of the judgement's verdict and the phase of the rollout, None without one."""
    if phase is not None:
        return phase if phase in ENDED else "open"
    return "judged" if judgement == Verdict.PASS else "stopped"


_BY_HAND = ("rollback", "abort")
_SAID = {"killed": "kill", "unkilled": "unkill", "forced": "force to {arm}", "unforced": "unforce"}
"""What people say about routing that sends somebody elsewhere than the rollout does."""


def forced(
    judgement: Mapping[str, Any], events: Sequence[Mapping[str, Any]], routing: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return what people did against or beside what the figures said: who, what, why, when, in order of time.

    A start past a judgement that did not pass, promotions out of turn, rollbacks and aborts by hand; the kill switch
    and units of a forced arm. *judgement* is its record, *events* and *routing* are those of the rollout, all as they
    are sealed.
    """
    found = []
    passed = judgement["verdict"] == Verdict.PASS
    for item in events:
        event = item["body"]["event"]
        if (event["kind"] == "start" and not passed) or event.get("force") or event["kind"] in _BY_HAND:
            found.append({"what": event["kind"], "by": event["by"], "why": event["why"], "at": item["at"]})
    for item in routing:
        if (what := _SAID.get(item["event"])) is not None:
            told = what.format(arm=item["arm"])
            found.append({"what": told, "by": item["by"], "why": item["reason"], "at": item["at"]})
    return sorted(found, key=lambda one: datetime.fromisoformat(one["at"]))


class Live(NamedTuple):
    """One live outcome as it is sealed: of its unit the bucket, and a number that is the rollout's own.

    There are ten thousand of them to a rollout: a tuple is made in a quarter of the time of a frozen dataclass.
    """

    at: str
    step: int
    arm: str
    bucket: int | None
    ok: bool
    latency_ms: float | None
    quality: float | None
    unit: int | None
    """Units are numbered from 0 as they first appear; None: nobody was named."""
    arrived: int | None
    """Its place in the order in which the outcomes were recorded, from 0; None: not known."""


def by_step(outcomes: Sequence[Live], events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the live outcomes add up to by step and arm."""
    groups: dict[tuple[int, int], list[Live]] = {}
    for item in outcomes:
        groups.setdefault((item.step, ARMS.index(item.arm)), []).append(item)
    states = [item["body"]["state"] for item in events]
    shares = {state["step"]: state["weight_bp"] / 100 for state in reversed(states) if state["phase"] not in ENDED}
    return [_summed(step, arm, groups[step, arm], shares.get(step)) for step, arm in sorted(groups)]


def _summed(step: int, arm: int, items: Sequence[Live], share: float | None) -> dict[str, Any]:
    rated = [item.quality for item in items if item.quality is not None]
    timed = sorted(item.latency_ms for item in items if item.latency_ms is not None)
    instants = [item.at for item in items]
    return {
        "step": step,
        "arm": ARMS[arm],
        "share_percent": None if share is None else share if arm else 100.0 - share,
        "n": len(items),
        "errors": sum(not item.ok for item in items),
        "quality_mean": math.fsum(rated) / len(rated) if rated else None,
        "quality_n": len(rated),
        "latency_p50": metrics.percentile(timed, 50).value,
        "latency_p95": metrics.percentile(timed, 95).value,
        "latency_n": len(timed),
        "first_at": min(instants),
        "last_at": max(instants),
        "units": len({item.unit for item in items if item.unit is not None}),
    }
