"""Live outcomes in the database: a partition a day, written in one transaction an input, read as sums.

Callers may rely on: of an input everything is stored or nothing; what is there already is stored no second time; memory
does not grow with the input; what a look needs is summed up by the server, of one state: nothing is stored meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from psycopg import rows, sql

from bakeoff import live
from bakeoff.adapters import policies, queries
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import DatabaseError
from bakeoff.live import ArmSeen, Prepared, StepSeen
from bakeoff.outcomes import Outcome
from bakeoff.rollout import OPEN
from bakeoff.sequential import Sums
from bakeoff.strata import Together, Units, Values
from bakeoff.strategy import LATENCIES

_BATCH = 2_000
"""Lines handed to the driver at once."""
_NULL = "\\N"


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an input."""

    read: int
    """Outcomes of the rollout's steps."""
    stored: int
    late: int = 0
    """Outcomes from after the rollout's end, which were left out."""

    @property
    def known(self) -> int:
        """Outcomes that were there already."""
        return self.read - self.stored


@dataclass(frozen=True, slots=True)
class Ranked:
    """Some of many ordered latencies: those of the ranks that a look asks for."""

    n: int
    known: Mapping[int, float]
    """By rank, from 1."""

    def __len__(self) -> int:
        """Return how many there are."""
        return self.n

    def __getitem__(self, index: int, /) -> float:
        """Return the latency of rank *index* + 1."""
        return self.known[index + 1]


@dataclass(frozen=True, slots=True)
class Timed:
    """What a look asks of an arm's latencies."""

    ranked: live.Ordered = ()
    up_to: Mapping[str, Values] = field(default_factory=dict)


_UNTIMED = Timed()


def add(conn: Connection, rollout_id: str, arrived: Iterable[tuple[int | None, Outcome]]) -> Added:
    """Store the outcomes *arrived* in one transaction, each with its step; days get their partition as they come.

    One whose step is None belongs to the step of its time, by what is known of it once all have arrived; it is left out
    where that is after the rollout's end.
    """
    numbered = enumerate(arrived)
    read = 0
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(queries.get("outcomes.make_arriving"))
        with cursor.copy(queries.get("outcomes.copy_arriving")) as copy:
            while lines := [_line(number, step, item) for number, (step, item) in islice(numbered, _BATCH)]:
                copy.write("".join(lines))
                read += len(lines)
        cursor.execute(queries.get("outcomes.lock_to_add"), {"rollout_id": rollout_id})
        cursor.execute(queries.get("outcomes.set_steps"), _steps(conn, rollout_id))
        late = cursor.execute(queries.get("outcomes.leave_late")).rowcount
        cursor.execute(queries.get("outcomes.make_days"))
        stored = 0
        for name in ("keep_named", "keep_derived"):
            stored += cursor.execute(queries.get(f"outcomes.{name}"), {"rollout_id": rollout_id}).rowcount
    return Added(read - late, stored, late)


def _steps(conn: Connection, rollout_id: str) -> dict[str, Any]:
    """Return from when on which step was running, None for none, in order."""
    moments = policies.moments(conn, rollout_id)
    return {
        "since": [moment.since for moment in moments],
        "steps": [moment.step if moment.phase in OPEN else None for moment in moments],
    }


def _line(number: int, step: int | None, item: Outcome) -> str:
    """Return a row as COPY reads text: of what `outcomes` lets pass only the backslash has to be escaped."""
    known = _NULL if step is None else step
    unit = _NULL if item.unit is None else item.unit.replace("\\", "\\\\")
    latency = _NULL if item.latency_ms is None else item.latency_ms
    quality = _NULL if item.quality is None else item.quality
    name = item.outcome_id.replace("\\", "\\\\")
    return (
        f"{number}\t{item.at}\t{name}\t{item.derived}\t{item.arm}\t{known}\t{item.ok}\t{unit}\t{latency}\t{quality}\n"
    )


def seen(
    conn: Connection, rollout_id: str, *, until: datetime, prepared: Prepared | None = None, step: int | None = None
) -> list[StepSeen]:
    """Return what is known of every step by *until*; with *prepared*, also the latencies of *step* that it asks for."""
    values = {"rollout_id": rollout_id, "until": until}
    with conn.transaction():
        conn.execute(queries.get("outcomes.lock_to_look"), {"rollout_id": rollout_id})
        return _seen(conn, values, prepared, step)


def _seen(conn: Connection, values: dict[str, Any], prepared: Prepared | None, step: int | None) -> list[StepSeen]:
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        found = cursor.execute(queries.get("outcomes.sums"), values).fetchall()
        steps = sorted({row["step"] for row in found})
        together = cursor.execute(queries.get("outcomes.together"), values).fetchall() if len(steps) > 1 else []
    unnamed = live.comparable(*(_without_unit(found, arm) for arm in (0, 1)))
    latencies: dict[int, Timed] = {}
    if prepared is not None and step is not None and step in steps:
        latencies = _latencies(conn, prepared, step, {**values, "unnamed": unnamed})

    def arm(number: int, which: int) -> ArmSeen:
        parts, earlier = (
            [row for row in given if (row["step"], row["arm"]) == (number, which)] for given in (found, together)
        )
        timed = latencies.get(which, _UNTIMED) if number == step else _UNTIMED
        return _arm(parts, earlier, timed, unnamed=unnamed)

    return [
        StepSeen(number, arm(number, 0), arm(number, 1), max(row["crossing"] for row in found if row["step"] == number))
        for number in steps
    ]


def _without_unit(found: Sequence[Mapping[str, Any]], arm: int) -> tuple[int, int]:
    """Return how many outcomes of *arm* have no unit, and how many there are."""
    own = [row for row in found if row["arm"] == arm]
    return sum(row["n"] for row in own if not row["named"]), sum(row["n"] for row in own)


_SUMMED = (
    *("n", "good", "rated", "quality", "squares", "clusters", "good_good", "good_n", "n_n"),
    *("rated_clusters", "quality_quality", "quality_rated", "rated_rated"),
)


def _arm(
    parts: Sequence[Mapping[str, Any]], earlier: Sequence[Mapping[str, Any]], timed: Timed, *, unnamed: bool
) -> ArmSeen:
    """Return what is known of one arm, from its outcomes with a unit and, where they are compared, those without."""
    if not parts:
        return ArmSeen()
    row = {name: sum(part[name] for part in parts if part["named"] or unnamed) for name in _SUMMED}
    errors = Units(row["clusters"], row["good_good"], row["good_n"], row["n_n"])
    rated = Units(row["rated_clusters"], row["quality_quality"], row["quality_rated"], row["rated_rated"])
    return ArmSeen(
        errors=Values(Sums(row["n"], row["good"], row["good"]), errors, _earlier(earlier, "good", "n")),
        quality=Values(
            Sums(row["rated"], row["quality"], row["squares"]), rated, _earlier(earlier, "quality", "rated")
        ),
        latency=timed.ranked,
        units=sum(part["clusters"] for part in parts if part["named"]),
        last_at=max(part["last_at"] for part in parts).astimezone(UTC),
        up_to=timed.up_to,
        left_out=0 if unnamed else sum(part["n"] for part in parts if not part["named"]),
    )


def _earlier(found: Sequence[Mapping[str, Any]], total: str, size: str) -> tuple[Together, ...]:
    products = (f"{total}_{total}", f"{total}_{size}", f"{size}_{total}", f"{size}_{size}")
    return tuple(Together(row["before_step"], row["before_arm"], *(row[name] for name in products)) for row in found)


def _latencies(conn: Connection, prepared: Prepared, step: int, values: dict[str, Any]) -> dict[int, Timed]:
    """Return by arm the order statistics that a look at *step* needs, and how many values they are worth."""
    if not (names := sorted(LATENCIES & prepared.strategy.watch.keys())):
        return {}
    asked = {**values, "step": step, "shares": [live.QUANTILES[name] for name in names]}
    up_to: dict[int, dict[str, Values]] = {}
    for arm, share, n, total, *units in conn.execute(queries.get("outcomes.timed"), asked).fetchall():
        name = next(name for name in names if live.QUANTILES[name] == share)
        up_to.setdefault(arm, {})[name] = Values(Sums(n, total, total), Units(*units))
    answers = {}
    for arm, known in up_to.items():
        n = known[names[0]].n
        ranks = live.wanted(prepared, step, arm, n, known)
        shares = [(rank - 0.5) / n for rank in ranks]  # half a rank from both neighbours: no rounding reaches them
        row = conn.execute(queries.get("outcomes.quantiles"), {**asked, "arm": arm, "shares": shares}).fetchone()
        if row is None:
            raise DatabaseError(f"the database did not say the latencies of step {step}")
        answers[arm] = Timed(Ranked(n, dict(zip(ranks, row[0] or (), strict=True))), known)
    return answers


def days(conn: Connection, *, before: date) -> list[date]:
    """Return the days before *before* that outcomes may be of, oldest first."""
    return [day for (day,) in conn.execute(queries.get("outcomes.days")).fetchall() if day < before]


def days_of(conn: Connection, rollout_id: str, among: Sequence[date]) -> list[date]:
    """Return the days *among* some on which a rollout has outcomes."""
    values = {"rollout_id": rollout_id, "days": list(among)}
    return [day for (day,) in conn.execute(queries.get("outcomes.days_of"), values).fetchall()]


def lock_to_drop(conn: Connection) -> None:
    """Let nothing be stored until the caller's transaction ends."""
    conn.execute(queries.get("outcomes.lock_to_drop"))


def drop(conn: Connection, day: date) -> None:
    """Remove every outcome of a day."""
    table = sql.Identifier(f"outcomes_{day:%Y%m%d}")
    conn.execute(queries.get("outcomes.drop_day").format(table=table))
