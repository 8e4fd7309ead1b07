"""Drop old live outcomes, but for those that something still rests on.

Callers may rely on: all of it is done or nothing; outcomes of a rollout on its way stay, and so do those of one that
ended, until a seal has them; a day stays or goes as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date
from enum import StrEnum

from bakeoff.adapters import live_outcomes, rollouts, seals
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.rollout import OPEN
from bakeoff.stages import seal_live


class Why(StrEnum):
    """What keeps the outcomes of a rollout."""

    ON_ITS_WAY = "on its way"
    UNSEALED = "not sealed as it stands"
    LATER = "some came after its seal"


@dataclass(frozen=True, slots=True)
class Kept:
    """Days on which a rollout has outcomes that are needed."""

    rollout_id: str
    why: Why
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of the days before a date."""

    dropped: tuple[date, ...]
    kept: tuple[date, ...]
    by: tuple[Kept, ...] = ()
    """Which rollouts keep them."""
    lost: tuple[Kept, ...] = ()
    """Rollouts whose outcomes were dropped though no seal has them, since that was asked for."""


def run(conn: Connection, *, before: date, unsealed: bool = False) -> Pruned:
    """Drop the outcomes of whole days before *before*, but for those that a rollout keeps.

    A rollout on its way keeps every day since its start. One that ended keeps the days on which it has outcomes until
    there is a seal of it as it stands, and after that those of outcomes that came since; with *unsealed* it keeps
    none. Raises IntegrityError where a seal was changed.
    """
    with conn.transaction():
        live_outcomes.lock_to_drop(conn)
        days = live_outcomes.days(conn, before=before)
        found = [item for each in rollouts.listing(conn) if (item := _kept(conn, each, days)) is not None]
        by = [item for item in found if item.why is Why.ON_ITS_WAY or not unsealed]
        kept = {day for item in by for day in item.days}
        for day in days:
            if day not in kept:
                live_outcomes.drop(conn, day)
    gone = tuple(day for day in days if day not in kept)
    lost = {item: tuple(day for day in item.days if day in gone) for item in found if item not in by}
    return Pruned(gone, tuple(sorted(kept)), tuple(by), _named(lost))


def _named(lost: Mapping[Kept, tuple[date, ...]]) -> tuple[Kept, ...]:
    return tuple(Kept(item.rollout_id, item.why, days) for item, days in lost.items() if days)


def _kept(conn: Connection, found: Rollout, days: list[date]) -> Kept | None:
    """Return which of *days* a rollout keeps, or None."""
    if found.phase in OPEN:
        why, own = Why.ON_ITS_WAY, [day for day in days if day >= found.started_at.date()]
    else:
        why, own = _ended(conn, found, live_outcomes.days_of(conn, found.rollout_id, days))
    return Kept(found.rollout_id, why, tuple(own)) if own else None


def _ended(conn: Connection, found: Rollout, days: list[date]) -> tuple[Why, list[date]]:
    """Return which of *days*, on which a rollout that ended has outcomes, no seal has all of."""
    last = seals.of_rollout(conn, found.rollout_id) if days else None
    if last is None or json.loads(last.envelope.payload)["predicate"]["rollout"]["version"] != found.version:
        return Why.UNSEALED, days
    came = {at.astimezone(UTC).date() for at in seal_live.came_since(conn, found, last)}
    return Why.LATER, [day for day in days if day in came]
