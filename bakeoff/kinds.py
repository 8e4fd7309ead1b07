"""The kinds of values that stand in a seal: instants, digests, counts, verdicts, each at its place.

Callers may rely on: a value of another kind is named with its place, what was expected and what was found, before
anything is computed with it; keys that are not listed are not looked at, and keys that are missing are another claim's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from bakeoff import canonical, sealed, tallies
from bakeoff.config import Lock
from bakeoff.difference import SHOWN, Difference
from bakeoff.rollout import Action, Phase
from bakeoff.sealed import ARMS
from bakeoff.strategy import Strategy
from bakeoff.verdicts import Severity, Verdict

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ANY = "*"
"""Every key of an object."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value, in words, and whether a value is of it."""

    name: str
    holds: Callable[[Any], bool]

    def or_null(self) -> Kind:
        """Return the kind of values that are of this one, or null."""
        return Kind(f"{self.name} or null", lambda value: value is None or self.holds(value))


def _is_instant(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _one_of(names: Iterable[str]) -> Kind:
    known = tuple(names)
    return Kind(f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known)


TEXT = Kind("text", lambda value: isinstance(value, str))
COUNT = Kind("a count", _is_count)
FIGURE = Kind("a figure", lambda value: type(value) in {int, float})
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
INSTANT = Kind("an instant with its zone", _is_instant)
DIGEST = Kind("a SHA-256 in hex", lambda value: isinstance(value, str) and _DIGEST.fullmatch(value) is not None)
OBJECT = Kind("an object", lambda value: isinstance(value, Mapping))
LIST = Kind("a list", lambda value: isinstance(value, list))
VERDICT, SEVERITY, ACTION, PHASE = map(_one_of, (Verdict, Severity, Action, Phase))

_TREE = {"count": COUNT, "root": DIGEST}
_MEAN = {"mean": FIGURE.or_null(), "n": COUNT, "undefined": COUNT}
_TOLD = {"gate": TEXT, "rule": TEXT, "severity": SEVERITY, "verdict": VERDICT}
_GATE = {**_TOLD, "worst": [{"row": COUNT, "baseline": FIGURE.or_null(), "candidate": FIGURE.or_null()}]}
_CHECK = {"severity": SEVERITY, "verdict": VERDICT}
_SIDE = {"lock": TEXT, "CONFIG_HASH": TEXT, "run_id": TEXT, "table_sha256": DIGEST, "cases_sha256": DIGEST}
_BODIES: dict[str, dict[str, Any]] = {
    "judgement": {"verdict": VERDICT, "findings": [_GATE], "promote_check": TRUTH, "seed": COUNT, "warnings": [TEXT],
                  **dict.fromkeys(ARMS, _SIDE)},
    "probes": {"verdict": VERDICT, "findings": [{**_CHECK, "offenders": COUNT}], "inputs": OBJECT, "at": INSTANT},
    "parity": {"verdict": VERDICT, "findings": [{**_CHECK, "examples": COUNT}], "at": INSTANT,
               "sample": {ANY: COUNT}},
    "timings": {"questions": [COUNT], "baseline_ms": [FIGURE.or_null()], "candidate_ms": [FIGURE.or_null()],
                "tables": {ANY: DIGEST}},
    "rechecks": {"verdict": VERDICT, "findings": [{"verdict": VERDICT, "action": ACTION}], "simulated": TRUTH,
                 "judgement": {"verdict": VERDICT, "findings": [_TOLD]}},
    "rollback_checks": {"verdict": VERDICT, "version": COUNT, "findings": [{"verdict": VERDICT}]},
}  # fmt: skip
_TIMES = ("started_at", "step_began_at", "last_at", "looked_at", "rechecked_at", "paused_at", "ended_at")
_STATE = {
    "phase": PHASE,
    "step": COUNT,
    "weight_bp": COUNT,
    "action": ACTION.or_null(),
    **dict.fromkeys(_TIMES, INSTANT.or_null()),
}
_EVENT = {
    "kind": TEXT,
    "action": ACTION,
    "verdict": VERDICT,
    "findings": [{"verdict": VERDICT, "action": ACTION}],
    **dict.fromkeys(("candidate_outcomes", "rules"), COUNT),
    "known": COUNT.or_null(),
    "taken_at": INSTANT.or_null(),
    "rechecked": TRUTH,
}
_EVENT_AT = {
    "version": COUNT,
    "at": INSTANT,
    "since": INSTANT,
    "event": TEXT,
    "body": {"event": _EVENT, "state": _STATE},
}
_SIGHT = {"n": COUNT, "severity": SEVERITY, "blind": TRUTH, **dict.fromkeys(("margin", "detectable"), FIGURE.or_null())}
_STEP = {**dict.fromkeys(("step", "baseline_outcomes", "candidate_outcomes"), COUNT), "percent": FIGURE}
_PLAN: dict[str, Any] = {
    **dict.fromkeys(("seed", "timed"), COUNT),
    **dict.fromkeys(("gold_share", "traffic_per_hour"), FIGURE),
    "accepted_blind": [TEXT],
    "known_scores": [TEXT],
    **{arm: {ANY: TEXT} for arm in ARMS},
    "corpus_sha256": DIGEST,
    "questions": {"name": TEXT, "sha256": DIGEST, "used": COUNT, "measurable": {ANY: COUNT}},
    "gates": {"alpha": FIGURE, "power": FIGURE, "gates": [{"name": TEXT, "severity": SEVERITY, "margin": FIGURE}]},
    "sight": [_SIGHT],
    "steps": [{**_STEP, "watched": TEXT, "margin": FIGURE}],
}
_AGGREGATES = {
    **dict.fromkeys(("questions", "answerable", "errors", "abstained"), COUNT),
    "pairs_cut": COUNT.or_null(),
    "means": {ANY: _MEAN},
    "funnel": {ANY: {ANY: COUNT}},
    "lost_at": {ANY: COUNT},
    "latency_ms": {ANY: {ANY: {"n": COUNT, "reliable": TRUTH, "value": FIGURE.or_null()}}},
    "context_tokens": _MEAN,
    "by_tag": {ANY: {"questions": COUNT, "means": {ANY: _MEAN}}},
}
_RUN: dict[str, Any] = {
    **dict.fromkeys(("run_id", "question_set"), TEXT),
    **dict.fromkeys(("questions_sha256", "corpus_sha256", "table_sha256", "cases_sha256"), DIGEST),
    **dict.fromkeys(("identity_sha256", "rows_sha256"), DIGEST.or_null()),
    **dict.fromkeys(("started_at", "finished_at"), INSTANT),
    "settings": {"gold_share": FIGURE},
    "rows": _TREE,
    "aggregates": {"aggregates": _AGGREGATES, "notes": [TEXT], "questions": OBJECT, "corpus": OBJECT},
}
_MADE: dict[str, Any] = {
    **dict.fromkeys(("ingest_id", "corpus", "lexical"), TEXT),
    **dict.fromkeys(("corpus_sha256", "table_sha256"), DIGEST),
    **dict.fromkeys(("started_at", "finished_at"), INSTANT),
}
_INGEST: dict[str, Any] = {**_MADE, "report": {"counts": {ANY: COUNT}}, "again": [_MADE]}
_RECORD: dict[str, Any] = {
    "record_id": COUNT,
    "kind": TEXT,
    "at": INSTANT,
    "sha256": DIGEST,
    **dict.fromkeys(("config_hash", "run_id"), TEXT.or_null()),
    "plan_sha256": DIGEST.or_null(),
    "verdict": VERDICT.or_null(),
}
_RECORDS = {name: {**_RECORD, "body": body} for name, body in _BODIES.items()}
SEAL: dict[str, Any] = {
    "number": COUNT,
    "previous": DIGEST.or_null(),
    "sealed_at": INSTANT,
    "clock": TEXT,
    "outcome": TEXT,
    "verdict": VERDICT,
    "locks": {arm: {"sha256": DIGEST} for arm in ARMS},
    "plan": {"sha256": DIGEST, "created_at": INSTANT, "body": _PLAN},
    "ingests": dict.fromkeys(ARMS, _INGEST),
    "evaluations": dict.fromkeys(ARMS, _RUN),
    "records": {**_RECORDS, **{name: [_RECORDS[name]] for name in ("rechecks", "rollback_checks")}},
    "rollout": {
        "rollout_id": TEXT,
        "plan_sha256": DIGEST,
        "salt": TEXT,
        "clock": TEXT,
        "version": COUNT,
        "state": _STATE,
        "events": [_EVENT_AT],
        "outcomes": {"rows": _TREE, "by_step": [{"n": COUNT, "units": COUNT, "first_at": INSTANT, "last_at": INSTANT}]},
    },
    "forced": [{"what": TEXT, "by": TEXT, "why": TEXT, "at": INSTANT}],
    "accepted": {"blind": [TEXT], "known_scores": [TEXT]},
}
"""The kinds of a seal's values by their keys: an object, a list of such, or a kind."""
ROW: dict[str, Any] = {
    **dict.fromkeys(("question_id", "question"), TEXT),
    "error": TEXT.or_null(),
    "case_sha256": DIGEST,
    "tags": [TEXT],
    **dict.fromkeys(("answerable", "abstained"), TRUTH),
    **dict.fromkeys(("snapshot_size", "context_size", "context_tokens"), COUNT),
    **dict.fromkeys(("pairs_cut", *tallies.LEGS), COUNT.or_null()),
    ANY: FIGURE.or_null(),
}
"""The kinds of a row's values; what is not named is a figure."""
_LATE = (FIGURE.or_null(), FIGURE.or_null(), COUNT.or_null(), COUNT.or_null())
OUTCOME = (INSTANT, COUNT, _one_of(ARMS), COUNT.or_null(), TRUTH, *_LATE)
"""The kinds of a live outcome's values, in the order of `sealed.Live`."""
_MAY_BE_NULL = frozenset(
    {".predicate.rollout", *(f".predicate.records.{name}" for name in ("timings", "probes", "parity"))}
)


def values(predicate: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield where a key is missing or unknown, a value is not of its kind, or a lock or the strategy is none."""
    yield from sealed.unlike(sealed.PREDICATE, predicate, ".predicate")
    yield from unlike(SEAL, predicate, ".predicate")
    for arm in ARMS:
        yield from _none(Lock, predicate["locks"][arm]["body"], f".predicate.locks.{arm}.body")
    yield from _none(Strategy, predicate["plan"]["body"]["rollout"], ".predicate.plan.body.rollout")


def rows(found: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield where a value of the rows, as numbers, is not of its kind."""
    for arm in ARMS:
        yield from unlike([ROW], found[arm], f"rows:.{arm}")


def outcomes(found: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield where a live outcome of the rows, as numbers, has other values or kinds than `sealed.Live`."""
    for number, row in enumerate(found["outcomes"]):
        path = f"rows:.outcomes[{number}]"
        if not isinstance(row, list) or len(row) != len(OUTCOME):
            yield Difference(path, f"a list of {len(OUTCOME)}", _shown(row))
            return
        for place, (kind, value) in enumerate(zip(OUTCOME, row, strict=True)):
            yield from unlike(kind, value, f"{path}[{place}]")


def unlike(shape: Any, found: Any, path: str) -> Iterator[Difference]:
    """Yield where *found* at *path* is of other kinds than *shape*, as `SEAL` writes it."""
    if isinstance(shape, Kind):
        if not shape.holds(found):
            yield Difference(path, shape.name, _shown(found))
    elif found is None and path in _MAY_BE_NULL:
        return
    elif isinstance(shape, list):
        if not isinstance(found, list):
            yield Difference(path, LIST.name, _shown(found))
            return
        for number, item in enumerate(found):
            yield from unlike(shape[0], item, f"{path}[{number}]")
    elif not isinstance(found, Mapping):
        yield Difference(path, OBJECT.name, _shown(found))
    else:
        for name, item in found.items():
            if (below := shape.get(name, shape.get(ANY))) is not None:
                yield from unlike(below, item, f"{path}{_key(name)}")


def _none(model: type[BaseModel], body: Any, path: str) -> Iterator[Difference]:
    """Yield the first thing for which *body* at *path* is no *model*."""
    try:
        model.model_validate_json(canonical.encode(body))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        yield Difference(f"{path}{_place(first['loc'], body)}", first["msg"], _shown(first["input"]))


def _place(loc: Iterable[int | str], value: Any) -> str:
    """Return where *loc*, pydantic's, is in *value*: it names variants of a union, too, which are no keys."""
    path = ""
    for part in loc:
        there = isinstance(value, list | Mapping) and part in (
            value if isinstance(value, Mapping) else range(len(value))
        )
        if there:
            path, value = f"{path}{_key(part)}", value[part]
    return path


def _key(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _WORD.fullmatch(part) else f"[{json.dumps(part, ensure_ascii=False)}]"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
