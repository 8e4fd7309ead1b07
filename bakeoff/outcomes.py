"""One live outcome, as a service reports it: a line of JSON.

Callers may rely on: what is not exactly as described is refused with its place, what is wrong and what was expected;
equal lines have equal ids.

Keys: `arm` ("baseline" or "candidate") and `ok` (whether it was answered without an error) are needed. `at` is an
instant with its zone, the moment of reading by default. `unit` is who must not switch arms, `latency_ms` how long it
took, `quality` how good a rating found the answer, 0 to 1: without a rating it is left out, 0 is the worst rating. `id`
names the outcome, so that it is stored once however often it is sent; it needs `at`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from bakeoff.errors import InputError

ARMS: Mapping[str, int] = {"baseline": 0, "candidate": 1}
_NEEDED = frozenset({"arm", "ok"})
_KEYS = _NEEDED | {"at", "unit", "latency_ms", "quality", "id"}
_EARLY = timedelta(seconds=5)
"""By how much a service's clock may be ahead."""
_LONGEST = 200
"""Characters of a unit or an id."""
_SHOWN = 60
_SLOWEST_MS = 1e9
_TINIEST = 1e-37
"""What is smaller is stored as 0: single precision ends here."""
_DERIVED = "~"
"""What a derived id begins with, and a given one does not."""
_EXAMPLE = 'a line is {"arm": "candidate", "ok": true, "at": "2026-01-02T03:04:05Z", "unit": "u1", "latency_ms": 120}'


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request."""

    at: datetime
    """UTC."""
    arm: int
    """0 the baseline's, 1 the candidate's."""
    unit: str | None
    ok: bool
    latency_ms: float | None
    quality: float | None
    outcome_id: str
    """As given, or made of the line."""

    @property
    def derived(self) -> bool:
        """Whether the id was not given: equal lines are told apart by how many went before them in their input."""
        return self.outcome_id.startswith(_DERIVED)


def parse(line: str, *, where: str, now: datetime, started_at: datetime) -> Outcome:
    """Return the outcome in *line*, which stands at *where*.

    Raises InputError where it is no such object, or where it is from before *started_at* or after *now*.
    """
    try:
        found = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        what = str(error).partition(": line 1")[0] if isinstance(error, ValueError) else "nested too deeply"
        raise _wrong(where, what, "one JSON object on the line") from error
    if not isinstance(found, dict):
        raise _wrong(where, f"a JSON {type(found).__name__}", "an object")
    if found.keys() - _KEYS or _NEEDED - found.keys():
        raise _wrong_keys(where, found)
    arm, ok = found["arm"], found["ok"]
    if not isinstance(arm, str) or arm not in ARMS:
        raise _wrong(where, f"arm is {_shown(arm)}", '"baseline" or "candidate"')
    if not isinstance(ok, bool):
        raise _wrong(where, f"ok is {_shown(ok)}", "true or false")
    unit, given = _name(found, "unit", where), _name(found, "id", where)
    latency = _number(found, "latency_ms", where, most=_SLOWEST_MS)
    quality = _number(found, "quality", where, most=1.0)
    at = _instant(found.get("at"), where, now, started_at)
    if given is None:
        given = _derived(line)
    elif "at" not in found:
        raise _wrong(where, "an id without at", "both: an outcome is known by both")
    elif given.startswith(_DERIVED):
        raise _wrong(where, f"id is {_shown(given)}", f"one that does not begin with {_DERIVED}")
    return Outcome(at, ARMS[arm], unit, ok, latency, quality, given)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {_shown(next(key for key in keys if keys.count(key) > 1))} stands there twice")
    return found


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)


def _wrong(where: str, what: str, expected: str) -> InputError:
    return InputError(f"{where}: {what}, expected {expected}", hint=f"nothing was stored; {_EXAMPLE}")


def _wrong_keys(where: str, found: Mapping[str, Any]) -> InputError:
    if missing := sorted(_NEEDED - found.keys()):
        return _wrong(where, f"no {' and no '.join(missing)}", "arm and ok on every line")
    unknown = min(found.keys() - _KEYS)
    return _wrong(where, f"unknown key {_shown(unknown)}", f"one of {', '.join(sorted(_KEYS))}")


def _shown(value: Any) -> str:
    """Return *value* as JSON, cut short: one line, whatever it holds."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _name(found: Mapping[str, Any], key: str, where: str) -> str | None:
    value = found.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST or not value.isprintable():
        raise _wrong(where, f"{key} is {_shown(value)}", f"1 to {_LONGEST} printable characters")
    return value


def _number(found: Mapping[str, Any], key: str, where: str, *, most: float) -> float | None:
    value = found.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= most:
        raise _wrong(where, f"{key} is {_shown(value)}", f"a number from 0 to {most:g}")
    return float(value) if value >= _TINIEST else 0.0


def _instant(given: Any, where: str, now: datetime, started_at: datetime) -> datetime:
    if given is None:
        return now
    try:
        at = datetime.fromisoformat(given)
        utc = at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(where, f"at is {_shown(given)}", "an instant with its zone, as 2026-01-02T03:04:05Z") from error
    if at.tzinfo is None:
        raise _wrong(where, f"at is {_shown(given)}, without a zone", "one, as in 2026-01-02T03:04:05Z")
    if utc > now + _EARLY:
        raise _wrong(where, f"at is {_shown(given)}, in the future", "now or before")
    if utc < started_at:
        raise _wrong(
            where, f"at is {_shown(given)}", f"at least {started_at:%Y-%m-%dT%H:%M:%SZ}, when the rollout began"
        )
    return utc


def _derived(line: str) -> str:
    """Return an id of the line as it is spelled: the same input sent again makes the same ids."""
    return _DERIVED + hashlib.blake2b(line.strip().encode(), digest_size=12).hexdigest()
