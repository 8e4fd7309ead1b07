"""The wall clock, read at the edge and handed down as an argument."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current instant, UTC, to the second: artifacts need no more and it reads well."""
    return datetime.now(tz=UTC).replace(microsecond=0)
