"""Take in live outcomes: every line of an input, or none of them.

Callers may rely on: an outcome belongs to the step that routers knew of at its own time, however late it arrives and
whenever it is taken in, also of a move while the input is read; outcomes from after the rollout's end are counted and
left out; the input is read once, line by line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO

from bakeoff import outcomes
from bakeoff.adapters import live_outcomes
from bakeoff.adapters.live_outcomes import Added
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import InputError
from bakeoff.outcomes import Outcome

_LONGEST_LINE = 1 << 16
_LONGEST = timedelta(days=400)
"""After its start a simulated rollout has no outcomes: its clock has no now to compare with."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of an input."""

    rollout: Rollout
    added: Added

    @property
    def late(self) -> int:
        """Outcomes from after the rollout's end, which were left out."""
        return self.added.late


def run(
    conn: Connection,
    found: Rollout,
    stream: BinaryIO,
    *,
    source: str,
    now: Callable[[], datetime],
    progress: Callable[[str, int, int | None], None] = lambda *_: None,
) -> Observed:
    """Store every outcome in *stream*, JSON lines called *source*, for the rollout *found*, in one transaction.

    Raises InputError at the first line that can't be used; nothing of the input is stored then.
    """
    read = _read(stream, found, source, now, progress)
    return Observed(found, live_outcomes.add(conn, found.rollout_id, ((None, item) for item in read)))


def _read(
    stream: BinaryIO,
    found: Rollout,
    source: str,
    now: Callable[[], datetime],
    progress: Callable[[str, int, int | None], None],
) -> Iterator[Outcome]:
    """Yield the outcome of every line that is not blank."""
    simulated = found.clock == "simulated"
    number = 0
    while line := stream.readline(_LONGEST_LINE + 1):
        number += 1
        where = f"{source}:{number}"
        if len(line) > _LONGEST_LINE:
            raise InputError(f"{where}: a line of more than {_LONGEST_LINE} bytes", hint="one outcome is one line")
        if line.isspace():
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: not UTF-8 at byte {error.start}", hint="write JSON lines as UTF-8") from error
        limit = found.started_at + _LONGEST if simulated else now()
        yield outcomes.parse(text, where=where, now=limit, started_at=found.started_at)
        if not number % _SAID:
            progress("read", number, None)


_SAID = 10_000
"""Lines between two words about the progress."""
