"""Two evaluations of the same questions, side by side.

Callers may rely on: every difference is paired by question; its interval comes from a paired bootstrap under a seed;
yes/no figures carry McNemar's exact p-value, adjusted by Holm over all of them; equal runs differ by exactly 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bakeoff import stats
from bakeoff.cases import MEANS, YES_NO
from bakeoff.errors import StateError

Case = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both runs over the questions where both have it."""

    name: str
    baseline: float | None
    candidate: float | None
    interval: stats.Interval
    counts: stats.PairedCounts
    p_value: float | None
    """Exact McNemar, Holm-adjusted; None for figures that are not yes/no."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A question whose hit changed, and the arrow of the funnel where either side lost it."""

    question_id: str
    question: str
    baseline_lost_at: str | None
    candidate_lost_at: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences, and for each yes/no figure the questions gained and lost."""

    differences: tuple[Difference, ...]
    gained: dict[str, tuple[Moved, ...]]
    lost: dict[str, tuple[Moved, ...]]
    questions: int


def _mean(values: Sequence[float | None], others: Sequence[float | None]) -> float | None:
    both = [value for value, other in zip(values, others, strict=True) if value is not None and other is not None]
    return sum(both) / len(both) if both else None


def _moved(a: Case, b: Case) -> Moved:
    return Moved(a["question_id"], a["question"], a["lost_at"], b["lost_at"])


def _check_same_questions(baseline: Sequence[Case], candidate: Sequence[Case]) -> None:
    left = {case["question_id"]: case["question"] for case in baseline}
    right = {case["question_id"]: case["question"] for case in candidate}
    if left != right:
        only = sorted(left.items() ^ right.items())
        raise StateError(
            f"the runs do not have the same questions ({len(left)} and {len(right)}): the first that differs is "
            f"{only[0][0]!r}",
            hint="evaluate both locks on the same question file",
        )


def compare(baseline: Sequence[Case], candidate: Sequence[Case], *, seed: int, resamples: int = 10_000) -> Comparison:
    """Compare two runs' cases. Raises StateError where their questions differ."""
    _check_same_questions(baseline, candidate)
    by_id = {case["question_id"]: case for case in candidate}
    pairs = [(case, by_id[case["question_id"]]) for case in baseline]
    p_values = _p_values(pairs)
    differences = []
    for name in MEANS:
        left, right = [a[name] for a, _ in pairs], [b[name] for _, b in pairs]
        differences.append(
            Difference(
                name=name,
                baseline=_mean(left, right),
                candidate=_mean(right, left),
                interval=stats.paired_bootstrap(left, right, seed=seed, resamples=resamples),
                counts=stats.paired_counts(left, right),
                p_value=p_values.get(name),
            )
        )
    gained = {name: tuple(_moved(a, b) for a, b in pairs if (a[name], b[name]) == (0, 1)) for name in YES_NO}
    lost = {name: tuple(_moved(a, b) for a, b in pairs if (a[name], b[name]) == (1, 0)) for name in YES_NO}
    return Comparison(tuple(differences), gained, lost, len(pairs))


def _p_values(pairs: Sequence[tuple[Case, Case]]) -> dict[str, float]:
    counts = {name: stats.paired_counts([a[name] for a, _ in pairs], [b[name] for _, b in pairs]) for name in YES_NO}
    judged = {name: count for name, count in counts.items() if count.gained + count.lost + count.same}
    raw = [stats.mcnemar_exact(count.lost, count.gained) for count in judged.values()]
    return dict(zip(judged, stats.holm(raw), strict=True))
