"""Which plan a command is about; for commands that show no plan, and start without what that takes."""

from __future__ import annotations

from bakeoff.adapters import plans
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.cli._shared import say

DIGITS = 12
"""Of a plan's digest as it was stored: this version may say more of a plan than the one that made it."""


def found(conn: Connection, ref: str) -> Stored:
    """Return the plan that *ref* means; where `latest` has others behind it, stderr says which one was taken."""
    stored = plans.find(conn, ref)
    many = plans.count(conn) if ref == plans.NEWEST else 1
    if many > 1:
        say(f"plan {stored.plan_sha256[:DIGITS]} (newest of {many})")
    return stored
