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
    """Roll back, check that it is so, tell the receiver; return what to print, and the exit code."""
    by = settings.operator(_shared.settings())
    with database() as conn:
        found = rollouts.find(conn, ref)
        at = rollouts.server_time(conn) if found.clock == "wall" else found.state.last_at
        after, moved = rollouts.roll_back(conn, found.rollout_id, Rollback(by, why), at=at)
        return _told(conn, after, moved=moved)


def _told(conn: Connection, found: Rollout, *, moved: bool) -> tuple[dict[str, Any], int]:
    from bakeoff.cli import _rolling, _rollouts
    from bakeoff.verdicts import EXIT_OF, Verdict

    here = _rolling.site()
    done = _rolling.settle(here)
    data = _rollouts.status(conn, found.rollout_id, here.settings)
    own = [item for item in done.checks if item.body["rollout"] == found.rollout_id]
    checks = own[-1].body["findings"] if own else []
    return {**data, "moved": moved, "checks": checks}, EXIT_OF[Verdict(own[-1].body["verdict"])] if own else 0


def text(data: dict[str, Any]) -> str:
    """Return what a rollback came to, as it is printed."""
    from bakeoff import report

    if not data["moved"]:
        return f"{data['rollout']} is {data['phase'].replace('_', ' ')} already: nothing is left of it"
    lines = [f"{data['rollout']} rolled back: {data['baseline']['name']} answers everything"]
    lines += [f"  {item['verdict']:<5} {item['check']}: {report.line(item['said'])}" for item in data["checks"]]
    return "\n".join([*lines, f"next: {data['next']}"])
