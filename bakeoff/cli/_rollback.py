"""The way back, as fast as it can be: what it needs is imported first, what checks it and tells of it later."""

from __future__ import annotations

from typing import Any

from bakeoff.adapters import rollouts, settings
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.cli import _shared
from bakeoff.cli._shared import database
from bakeoff.rollout import Rollback


def run(ref: str, why: str) -> tuple[dict[str, Any], int]:
    """Roll back, check that it is so, tell the receiver; return what to print, and the exit code.

    A rehearsal is meant by its id alone: whoever names none wants production back.
    """
    by = settings.operator(_shared.settings())
    with database() as conn:
        found = rollouts.with_traffic(conn, ref)
        at = None if found.clock == "wall" else found.state.last_at
        after, moved = rollouts.roll_back(conn, found.rollout_id, Rollback(by, why), at=at)
        return _told(conn, after, moved=moved)


def _told(conn: Connection, found: Rollout, *, moved: bool) -> tuple[dict[str, Any], int]:
    from bakeoff.cli import _rolling, _rollouts
    from bakeoff.verdicts import EXIT_OF, Verdict

    here = _rolling.site()
    done = _rolling.settle(here)
    data = {**_rollouts.status(conn, found.rollout_id, here.settings), "moved": moved, "checks": []}
    if not moved or found.clock == "simulated":
        data["next"] = _left(conn) or data["next"]
    own = [item for item in done.checks if item.body["rollout"] == found.rollout_id]
    if not own:
        return data, 0
    return {**data, "checks": own[-1].body["findings"]}, EXIT_OF[Verdict(own[-1].body["verdict"])]


def _left(conn: Connection) -> str | None:
    """Return the way back from another rollout, whose candidate is in production still, or None."""
    brought = rollouts.brought(conn)
    if brought is None:
        return None
    rollout_id, name, config_hash = brought
    return f"{name} ({config_hash}) is in production; bakeoff canary rollback {rollout_id} --reason TEXT takes it out"


def text(data: dict[str, Any]) -> str:
    """Return what a rollback came to, as it is printed."""
    from bakeoff import report

    which = f"{data['rollout']}, a rehearsal," if data["simulated"] else data["rollout"]
    if not data["moved"]:
        said = f"{which} is {data['phase'].replace('_', ' ')} already: nothing is left of it"
    elif data["simulated"]:
        said = f"{which} rolled back: nothing in production changed"
    else:
        said = f"{which} rolled back: {data['baseline']['name']} answers everything"
    lines = [f"  {item['verdict']:<5} {item['check']}: {report.line(item['said'])}" for item in data["checks"]]
    return "\n".join([said, *lines, f"next: {data['next']}"])
