"""Gather what a report says of stored evaluations: of one run, or of a baseline and its candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bakeoff import explain, plots
from bakeoff.adapters import evaluations, records
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.postgres import Connection
from bakeoff.errors import StateError, UsageError
from bakeoff.stages import compare
from bakeoff.stages import explain as explaining
from bakeoff.stages.compare import Timed

SCORES = {"dense": "dense_score", "lexical": "lexical_score", "fused": "score"}
"""The scores whose distribution is shown, and where a chunk carries them."""

_SIDE = ("run_id", "config_hash", "chunk_version", "table_sha256", "corpus_sha256", "question_set", "questions_sha256")
_REPORTED = ("corpus", "notes", "reader", "lexical", "cases_sha256")
_SHOWN_GOLD = 3

Groups = Mapping[str, tuple[list[float], list[float]]]
"""By score: the values of chunks that hold gold, and those of the others."""


def run(conn: Connection, runs: Sequence[Run], *, seed: int) -> dict[str, Any]:
    """Return the report of *runs*, the first being the baseline of all others, as plain values.

    Raises StateError where a run is unfinished or was asked other questions than the first, or of another corpus;
    IntegrityError where the cases of one are not what its evaluation recorded; UsageError where a run is named twice.
    """
    names = [item.run_id for item in runs]
    if len(set(names)) < len(names):
        raise UsageError(f"a run is named twice: {', '.join(names)}", hint="name each run once, the baseline first")
    cases, comparisons = _compared(conn, runs, seed)
    groups = [_groups(conn, item, found) for item, found in zip(runs, cases, strict=True)]
    at = {score: plots.edges([values for group in groups for values in group[score]]) for score in SCORES}
    sides = [_side(item, found, group, at) for item, found, group in zip(runs, cases, groups, strict=True)]
    tables = [explaining.table_of(conn, item) for item in runs]
    return {
        "kind": "report",
        "runs": [{**side, "table": table} for side, table in zip(sides, tables, strict=True)],
        "warnings": explaining.warnings(runs, tables),
        "score_edges": at,
        "comparisons": comparisons,
    }


def _compared(conn: Connection, runs: Sequence[Run], seed: int) -> tuple[list[list[Timed]], list[dict[str, Any]]]:
    """Return the cases of every run, and the comparison of each with the first."""
    baseline, *candidates = runs
    if not candidates:
        if baseline.finished_at is None:
            raise StateError(
                f"run {baseline.run_id} was interrupted",
                hint=f"bakeoff evaluate --lock {baseline.config_hash} --questions FILE continues it",
            )
        return [evaluations.cases_of_finished(conn, baseline)], []
    cases: list[list[Timed]] = []
    comparisons = []
    for candidate in candidates:
        left, right = compare.matched(conn, baseline, candidate)
        cases = [*(cases or [left]), right]
        comparisons.append(_comparison(conn, (baseline, left), (candidate, right), seed))
    return cases, comparisons


def _comparison(
    conn: Connection, left: tuple[Run, list[Timed]], right: tuple[Run, list[Timed]], seed: int
) -> dict[str, Any]:
    a, b = ([case for case, _ in found] for _, found in (left, right))
    found = explaining.of_cases(conn, (left[0], a), (right[0], b)).to_json()
    judged = records.latest_judgement(conn, baseline=left[0].run_id, candidate=right[0].run_id)
    return {
        "run_id": right[0].run_id,
        "lock": right[0].lock_name,
        "differences": compare.of_cases(left[0], right[0], a, b, seed=seed).to_json()["differences"],
        "judgement": None if judged is None else {**judged.body, "at": judged.at.isoformat()},
        **{name: found[name] for name in ("conclusion", "questions", "lost", "gained", "arrows", "unmeasured")},
        "moved": [_slim(item) for item in found["moved"]],
    }


def _slim(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report shows of a question that moved; `explain` shows the rest."""
    spans = [span for passage in item["gold"]["passages"] for span in passage[:1]]
    sides = {
        side: {name: item[side][name] for name in ("stood", "answer_right")}
        | {name: item[side]["answer"][name] for name in ("text", "abstained", "error")}
        for side in ("baseline", "candidate")
    }
    kept = ("question_id", "question", "kind", "arrow", "legs")
    return {**{name: item[name] for name in kept}, "gold": spans[:_SHOWN_GOLD], **sides}


def _groups(conn: Connection, run_: Run, cases: Sequence[Timed]) -> Groups:
    """Return every score of the snapshots' chunks, those that hold gold apart; questions without gold have neither."""
    share = run_.settings["gold_share"]
    known = explaining.aliases(conn, run_, (case for case, _ in cases))
    found: dict[str, tuple[list[float], list[float]]] = {score: ([], []) for score in SCORES}
    for case, _ in cases:
        for chunk in explain.chunks(case, known):
            if chunk.gold is None:
                continue
            for score, name in SCORES.items():
                value = getattr(chunk, name)
                if value is not None:
                    found[score][chunk.gold < share].append(value)
    return found


def _side(run_: Run, cases: Sequence[Timed], groups: Groups, at: Mapping[str, list[float]]) -> dict[str, Any]:
    aggregates = run_.report["aggregates"]
    timings: dict[str, list[float]] = {}
    for _, found in cases:
        for step, took in found.items():
            timings.setdefault(step, []).append(took)
    return {
        **{name: getattr(run_, name) for name in _SIDE},
        "lock": run_.lock_name,
        "settings": run_.settings,
        "finished_at": None if run_.finished_at is None else run_.finished_at.isoformat(),
        "questions": run_.report["questions"],
        **{name: run_.report.get(name) for name in _REPORTED},
        "aggregates": aggregates,
        "latency": {
            step: {**aggregates["latency_ms"][step], "curve": plots.curve(took)}
            for step, took in sorted(timings.items())
        },
        "scores": {
            score: {
                kind: {"n": len(values), "shares": plots.shares(values, at[score])}
                for kind, values in zip(("gold", "other"), both, strict=True)
            }
            for score, both in groups.items()
        },
    }
