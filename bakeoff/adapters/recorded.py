"""What was recorded of both arms, as pools to draw simulated traffic from.

Callers may rely on: cases of a run are what its evaluation recorded, or IntegrityError is raised; both arms' quality is
the same figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bakeoff.adapters import evaluations, queries
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.postgres import Connection
from bakeoff.simulation import Pool

QUALITIES = ("answer_right", "f1", "reader_used_gold", "filter_hit_postfilter")
"""What may stand for an answer's quality, the best known first."""
_MOST = 10_000
"""Outcomes of an arm, at most, that a pool holds."""


@dataclass(frozen=True, slots=True)
class _Case:
    question_id: str
    ok: bool
    total_ms: float | None
    qualities: tuple[float | None, ...]


def _cases(conn: Connection, run: Run) -> list[_Case]:
    evaluations.check(conn, run)
    rows = conn.execute(queries.get("simulation.cases"), {"run_id": run.run_id}).fetchall()
    return [_Case(name, ok, total, tuple(qualities)) for name, ok, total, *qualities in rows]


def of_runs(
    conn: Connection, runs: Sequence[Run], timed: Sequence[Mapping[str, float | None]] | None
) -> tuple[list[Pool], str | None]:
    """Return the pool of each of *runs*, and which figure is its quality; None where none was measured in all of them.

    *timed* has milliseconds by question for each run; without it those of the evaluations are taken.
    """
    every = [_cases(conn, run) for run in runs]
    chosen = next(
        (
            place
            for place in range(len(QUALITIES))
            if all(any(case.qualities[place] is not None for case in cases) for cases in every)
        ),
        None,
    )
    pools = []
    for arm, cases in enumerate(every):
        took: Mapping[str, Any] = (
            timed[arm] if timed is not None else {case.question_id: case.total_ms for case in cases}
        )
        pools.append(
            Pool.of(
                (case.ok, took.get(case.question_id), None if chosen is None else case.qualities[chosen])
                for case in cases
            )
        )
    return pools, None if chosen is None else QUALITIES[chosen]


def of_rollout(conn: Connection, rollout_id: str, arm: int) -> Pool:
    """Return the pool of the newest outcomes of one arm of a rollout. Raises InputError where there are none."""
    values = {"rollout_id": rollout_id, "arm": arm, "limit": _MOST}
    return Pool.of(conn.execute(queries.get("simulation.recorded"), values).fetchall())
