"""What is sealed: an in-toto statement over digests and figures, in bytes that anybody can make again.

Callers may rely on: a statement is canonical JSON (RFC 8785) without a single float: figures are decimal strings, which
read back to the very number; bytes that are not the canonical ones of what they say are refused; a chain of seals is
checked from its first to its head, so that neither a changed, a missing nor a cut-off seal goes unseen.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bakeoff import canonical
from bakeoff.errors import InputError

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:bakeoff:seal:v1"
HEAD = "urn:bakeoff:head:v1"
_NUMBER = re.compile(r"'*-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BEGIN = frozenset("'-0123456789")
"""How text begins that may look like a number."""


def as_decimals(value: Any) -> Any:
    """Return plain JSON with every float as its shortest decimal string; text that looks like one gets a `'` in front.

    Raises InputError on NaN and infinity: nothing sealed was not measured.
    """
    if isinstance(value, str):
        return f"'{value}" if value[:1] in _BEGIN and _NUMBER.fullmatch(value) else value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{value} can't be sealed", hint="what was not measured is null")
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): as_decimals(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_decimals(item) for item in value]
    return value


def from_decimals(value: Any) -> Any:
    """Return what `as_decimals` was given, and would give *value* for again.

    Raises InputError where *value* has a float of its own, or a figure in other digits than the shortest.
    """
    kind = type(value)
    if kind is str:
        return _read(value) if value[:1] in _BEGIN else value
    if kind is dict:
        return {key: from_decimals(item) for key, item in value.items()}
    if kind is list:
        return [from_decimals(item) for item in value]
    if kind is float:
        raise InputError(f"{value} is a JSON number: figures are sealed as decimal strings")
    return value


@lru_cache(maxsize=1 << 16)
def _read(text: str) -> str | float:
    """Return what stands in *text*; the same few figures come again and again."""
    if not _NUMBER.fullmatch(text):
        return text
    if text.startswith("'"):
        return text[1:]
    if text != (shortest := repr(float(text))):
        raise InputError(f"{text} is not how {shortest} is sealed")
    return float(text)


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact that is sealed by its digest."""

    name: str
    sha256: str


def statement(subjects: Sequence[Subject], predicate: Mapping[str, Any], *, kind: str = PREDICATE) -> bytes:
    """Return the canonical bytes of the statement that *predicate* holds of *subjects*, sorted by name."""
    return canonical.encode(
        {
            "_type": STATEMENT,
            "subject": [
                {"name": item.name, "digest": {"sha256": item.sha256}} for item in sorted(subjects, key=_by_name)
            ],
            "predicateType": kind,
            "predicate": as_decimals(predicate),
        }
    )


def _by_name(subject: Subject) -> str:
    return subject.name


def opened(payload: bytes, *, kind: str = PREDICATE) -> tuple[tuple[Subject, ...], dict[str, Any]]:
    """Return the subjects and the predicate of a statement, its figures as numbers again.

    Raises InputError, saying where, unless *payload* is the canonical bytes of a statement of *kind*.
    """
    try:
        body = json.loads(payload.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"the payload is not JSON: {error}") from error
    if canonical.encode(body) != payload:
        raise InputError("the payload is not canonical JSON (RFC 8785): it was written by something else")
    if not isinstance(body, dict) or set(body) != {"_type", "subject", "predicateType", "predicate"}:
        raise InputError("the payload is no in-toto statement: expected _type, subject, predicateType, predicate")
    for name, expected in (("_type", STATEMENT), ("predicateType", kind)):
        if body[name] != expected:
            raise InputError(f"{name}: expected {expected}, found {body[name]!r}")
    try:
        subjects = tuple(Subject(item["name"], item["digest"]["sha256"]) for item in body["subject"])
    except (TypeError, KeyError) as error:
        raise InputError(f"subject: expected names and sha256 digests: {error!r}") from error
    if not isinstance(body["predicate"], dict):
        raise InputError("predicate: expected keys and values")
    return subjects, from_decimals(body["predicate"])
