"""The live outcomes of a rollout as they are sealed: what is left of them, and what a seal kept of those that are not.

Callers may rely on: an outcome that was sealed once is in every later seal of its rollout, pruned or not; no outcome is
counted twice; no part holds a client's id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bakeoff import canonical, evidence, merkle, routing
from bakeoff.adapters import seals
from bakeoff.adapters.policies import Said
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.sealed import ARMS, Live

_UNIT, _ARRIVED = 7, 8
"""Places in a sealed row, after what an outcome says of itself."""
_BUCKET = 3


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Live outcomes in order of time, as they are sealed."""

    rows: list[list[Any]]
    """At, step, arm, bucket, ok, latency, quality, number of the unit, place of arrival; figures as text."""
    numbers: Mapping[str, int]
    """The number of each unit whose name is known."""
    said: tuple[Said, ...] = ()
    """What people said about routing meanwhile."""
    doubtful: int = 0
    """How many units came after that seal that may be among those of before."""

    def live(self) -> list[Live]:
        """Return them with figures as numbers."""
        return [
            Live(at, step, arm, bucket, ok, _number(latency), _number(quality), unit, arrived)
            for at, step, arm, bucket, ok, latency, quality, unit, arrived in self.rows
        ]

    def lines(self) -> list[bytes]:
        """Return each as canonical JSON."""
        return canonical.encode_each(self.rows)

    def routing(self, salt: str) -> list[dict[str, Any]]:
        """Return what people said about routing; units as rows, and by their bucket."""
        names = ("event", "arm", "by", "reason")
        return [
            {name: getattr(word, name) for name in names}
            | {"at": word.at.astimezone(UTC).isoformat(), "unit": self.numbers.get(word.value)}
            | {"bucket": routing.bucket(salt, word.value) if word.value else None}
            for word in self.said
        ]


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def collected(conn: Connection, found: Rollout) -> Outcomes:
    """Return the outcomes of a rollout: those in the database or, where some of a seal are gone, of both.

    A seal has no names, so units of before are known again by the outcomes of theirs that are left, and by what people
    said of them. Another unit that came since counts as one of its own, though it may be among those of before: its
    outcomes were recorded after every look, so that no look counts units otherwise; `doubtful` says how many there
    are. What was sealed keeps its places of arrival, what came since has the places after them; units are numbered
    anew in order of appearance. Raises IntegrityError where the newest seal of the rollout was changed.
    """
    there = _left(conn, found)
    last = seals.of_rollout(conn, found.rollout_id)
    if last is None:
        return there
    told = json.loads(last.envelope.payload)["predicate"]["rollout"]
    tree = told["outcomes"]["rows"]
    if tree["count"] == 0 or tree["root"] == merkle.root(there.lines()).hex():
        return there
    before = _sealed(conn, last)
    if not Counter(map(_key, before)) - Counter(map(_key, there.rows)):
        return there
    return _merged(there, before, _named(there, told["routing"], found.salt))


def came_since(conn: Connection, found: Rollout, last: seals.Stored) -> list[datetime]:
    """Return when the outcomes of a rollout happened that are in the database, and not in its seal *last*."""
    sealed = Counter(map(_key, _sealed(conn, last)))
    came = []
    for row in _left(conn, found).rows:
        sealed[_key(row)] -= 1
        if sealed[_key(row)] < 0:
            came.append(_instant(row))
    return came


def _sealed(conn: Connection, last: seals.Stored) -> list[list[Any]]:
    return list(json.loads(seals.rows_file(conn, last))["outcomes"])


def _left(conn: Connection, found: Rollout) -> Outcomes:
    """Return the outcomes that are in the database.

    Who asked is sealed as a bucket of 10,000 and a number in order of appearance, not as a person.
    """
    rows, numbers, buckets = list[list[Any]](), dict[str, int](), dict[str, int]()
    for at, step, arm, unit, ok, latency, quality, arrived in seals.outcomes(conn, found.rollout_id):
        if unit is not None and unit not in numbers:
            numbers[unit], buckets[unit] = len(numbers), routing.bucket(found.salt, unit)
        bucket, number = (None, None) if unit is None else (buckets[unit], numbers[unit])
        iso = at.astimezone(UTC).isoformat()
        rows.append([iso, step, ARMS[arm], bucket, ok, _figure(latency), _figure(quality), number, arrived])
    return Outcomes(rows, numbers, tuple(_said(conn, found)))


def _figure(value: float | None) -> str | None:
    return None if value is None else repr(value)


def _said(conn: Connection, found: Rollout) -> list[Said]:
    """Return what people said about routing while it moved real traffic, and what held when it began."""
    if found.clock != "wall":
        return []
    return seals.said(conn, since=found.started_at, until=found.state.ended_at or found.updated_at)


def _key(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return what an outcome says of itself: of a unit the bucket."""
    return tuple(row[:_UNIT])


def _named(there: Outcomes, sealed: Sequence[Mapping[str, Any]], salt: str) -> dict[str, int]:
    """Return the numbers that units had in a seal, of those that people named then and were *sealed* with a number."""
    known = dict[str, int]()
    told = [item for item in evidence.from_decimals(list(sealed)) if item["unit"] is not None]
    for word, item in zip(there.said, there.routing(salt), strict=True):
        same = [one["unit"] for one in told if one | {"unit": None} == item | {"unit": None}]
        known |= {word.value: same[0]} if same else {}
    return known


def _merged(there: Outcomes, before: Sequence[Sequence[Any]], known: dict[str, int]) -> Outcomes:
    """Return what was sealed *before* with what came since; *known* are numbers of sealed units, by their names."""
    names = {number: name for name, number in there.numbers.items()}
    places: dict[tuple[Any, ...], list[int]] = {}
    for number in reversed(range(len(before))):
        places.setdefault(_key(before[number]), []).append(number)
    fresh = list[list[Any]]()
    for row in there.rows:
        same = places.get(_key(row))
        if not same:
            fresh.append(row)
            continue
        unit = before[same.pop()][_UNIT]
        if unit is not None:
            known.setdefault(names[row[_UNIT]], unit)
    fresh.sort(key=_arrived)
    came = [[*row[:_UNIT], names.get(row[_UNIT]), len(before) + n] for n, row in enumerate(fresh)]
    for row in came:
        row[_UNIT] = known.get(row[_UNIT], row[_UNIT])
    doubtful = _doubtful(before, came, known)
    rows, numbers = _numbered(sorted([*map(list, before), *came], key=_instant))
    return Outcomes(
        rows,
        {name: numbers[unit] for name, unit in known.items()}
        | {u: n for u, n in numbers.items() if isinstance(u, str)},
        there.said,
        doubtful=doubtful,
    )


def _arrived(row: Sequence[Any]) -> int:
    return -1 if row[_ARRIVED] is None else int(row[_ARRIVED])


def _instant(row: Sequence[Any]) -> datetime:
    return datetime.fromisoformat(row[0])


def _numbered(rows: list[list[Any]]) -> tuple[list[list[Any]], dict[int | str, int]]:
    """Return *rows* with their units numbered in order of appearance, and the number of each: of a seal, or by name."""
    numbers: dict[int | str, int] = {}
    for row in rows:
        if row[_UNIT] is not None:
            row[_UNIT] = numbers.setdefault(row[_UNIT], len(numbers))
    return rows, numbers


def _doubtful(before: Sequence[Sequence[Any]], came: Sequence[Sequence[Any]], known: Mapping[str, int]) -> int:
    """Return how many units that *came* since have the bucket of a unit of *before* whose name is not known."""
    named = set(known.values())
    nameless = {row[_BUCKET] for row in before if row[_UNIT] is not None and row[_UNIT] not in named}
    return len({row[_UNIT] for row in came if isinstance(row[_UNIT], str) and row[_BUCKET] in nameless})
