"""Compare two stored evaluations of the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bakeoff import comparison
from bakeoff.adapters import evaluations
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import StateError

Timed = tuple[evaluations.Case, dict[str, float]]


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
            "errors": {"baseline": _errors(self.baseline), "candidate": _errors(self.candidate)},
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
        "corpus": run.report["corpus"],
        "notes": run.report["notes"],
        "aggregates": run.report["aggregates"],
    }


def _errors(run: Run) -> int:
    return int(run.report["aggregates"]["errors"])


def _left_out(*runs: Run) -> list[dict[str, Any]]:
    found = {item["question_id"]: item for run in runs for item in run.report["questions"]["left_out"]}
    return [found[key] for key in sorted(found)]


def run(conn: Connection, baseline: Run, candidate: Run, *, seed: int) -> Compared:
    """Compare two finished runs.

    Raises StateError where one is unfinished or their questions or corpora differ, IntegrityError where the cases of
    one are not what its evaluation recorded.
    """
    left, right = matched(conn, baseline, candidate)
    return of_cases(baseline, candidate, [case for case, _ in left], [case for case, _ in right], seed=seed)


def of_cases(
    baseline: Run, candidate: Run, left: Sequence[evaluations.Case], right: Sequence[evaluations.Case], *, seed: int
) -> Compared:
    """Compare the cases of two runs that were `matched` before."""
    return Compared(baseline, candidate, comparison.compare(left, right, seed=seed))


def matched(conn: Connection, baseline: Run, candidate: Run) -> tuple[list[Timed], list[Timed]]:
    """Return the cases of two runs that can be compared, each with its timings in ms by step.

    Raises what `run` raises.
    """
    for side in (baseline, candidate):
        if side.finished_at is None:
            raise StateError(
                f"run {side.run_id} was interrupted",
                hint=f"bakeoff evaluate --lock {side.config_hash} --questions FILE continues it",
            )
    _check_same_ground(conn, baseline, candidate)
    return evaluations.cases_of_finished(conn, baseline), evaluations.cases_of_finished(conn, candidate)


def _check_same_ground(conn: Connection, baseline: Run, candidate: Run) -> None:
    """Raise StateError where the runs had other questions or another corpus; the hint names runs that had not."""
    pair = evaluations.matching_pair(conn, baseline, candidate)
    instead = (
        None if pair is None else f"the newest runs of these locks that match: bakeoff compare {pair[0]} {pair[1]}"
    )
    if baseline.questions_sha256 != candidate.questions_sha256:
        raise StateError(
            f"{baseline.run_id} was asked {baseline.question_set}, {candidate.run_id} {candidate.question_set} "
            "(or another version of it): their differences would mean nothing",
            hint=instead or "evaluate both locks on the same question file",
        )
    if baseline.corpus_sha256 != candidate.corpus_sha256:
        raise StateError(
            f"{baseline.run_id} was run on {_corpus(baseline)}, {candidate.run_id} on {_corpus(candidate)}: "
            "their differences would mean nothing",
            hint=instead or "ingest the same corpus under both locks, then evaluate both",
        )


def _corpus(run: Run) -> str:
    corpus = run.report["corpus"]
    return f"{corpus['source']} ({corpus['documents']} documents, {corpus['sha256'][:12]})"
