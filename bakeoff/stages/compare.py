"""Compare two stored evaluations of the same questions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bakeoff import comparison
from bakeoff.adapters import evaluations
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import StateError


@dataclass(frozen=True, slots=True)
class Compared:
    """Both runs and their comparison."""

    baseline: Run
    candidate: Run
    result: comparison.Comparison

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return {
            "kind": "comparison",
            "baseline": _side(self.baseline),
            "candidate": _side(self.candidate),
            "questions": self.result.questions,
            "left_out": _left_out(self.baseline, self.candidate),
            "differences": [asdict(difference) for difference in self.result.differences],
            "gained": {name: [asdict(item) for item in moved] for name, moved in self.result.gained.items()},
            "lost": {name: [asdict(item) for item in moved] for name, moved in self.result.lost.items()},
        }


def _side(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "lock": run.lock_name,
        "CHUNK_VERSION": run.chunk_version,
        "CONFIG_HASH": run.config_hash,
        "table_sha256": run.table_sha256,
        "aggregates": run.report["aggregates"],
    }


def _left_out(*runs: Run) -> list[dict[str, Any]]:
    found = {item["question_id"]: item for run in runs for item in run.report["questions"]["left_out"]}
    return [found[key] for key in sorted(found)]


def run(conn: Connection, baseline: Run, candidate: Run, *, seed: int) -> Compared:
    """Compare two finished runs. Raises StateError where one is unfinished or their questions differ."""
    for side in (baseline, candidate):
        if side.finished_at is None:
            raise StateError(
                f"run {side.run_id} was interrupted",
                hint=f"bakeoff evaluate --lock {side.config_hash} --questions FILE continues it",
            )
    if baseline.questions_sha256 != candidate.questions_sha256:
        raise StateError(
            f"{baseline.run_id} was asked {baseline.question_set}, {candidate.run_id} {candidate.question_set} "
            "(or another version of it): their differences would mean nothing",
            hint="evaluate both locks on the same question file",
        )
    left = [case for case, _ in evaluations.cases(conn, baseline.run_id)]
    right = [case for case, _ in evaluations.cases(conn, candidate.run_id)]
    return Compared(baseline, candidate, comparison.compare(left, right, seed=seed))
