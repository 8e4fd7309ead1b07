"""The aggregates of an evaluation, told by the rows that were sealed of its cases.

Callers may rely on: the figures are those of `cases.aggregates` over the same cases, but for latencies, which no row
tells; nothing undefined is counted as zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bakeoff.metrics import TAIL

FUNNEL = {
    "in_corpus": "in_corpus",
    "indexed": "indexed",
    "dense": "dense",
    "lexical": "lexical",
    "snapshot": "oracle_retrieval_hit_prefilter",
    "context": "filter_hit_postfilter",
    "used": "reader_used_gold",
    "right": "answer_right",
}
"""The figure of a row that tells of each step of the funnel: 1, 0, or null where there was nothing to judge."""
LEGS = ("in_corpus", "indexed", "dense", "lexical")
"""Steps of the funnel that no mean is taken of."""
ARROWS = ("in_corpus", "indexed", "snapshot", "context", "used", "right")
"""Steps that a case can be lost at, in order (`gold.STAGES`, which needs numpy)."""
MORE = ("answerable", "tags", "abstained", "context_size", "context_tokens", "pairs_cut", *LEGS)
"""What a row tells beside its figures, for these aggregates alone."""
UNTOLD = ("latency_ms",)
"""Aggregates that do not follow from the rows, but for how many timings there are (`timed`)."""
_QUANTILES = {"p50": 50, "p95": 95}

Row = Mapping[str, Any]


def aggregates(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Return all that `cases.aggregates` says of the cases of *rows*, but for `UNTOLD`; *names* are those of means."""
    cut = [row["pairs_cut"] for row in rows if row["pairs_cut"] is not None]
    lost = Counter(step for row in rows if (step := lost_at(row)) is not None)
    return {
        "questions": len(rows),
        "answerable": sum(bool(row["answerable"]) for row in rows),
        "means": means(rows, names),
        "funnel": {step: _counted([row[name] for row in rows]) for step, name in FUNNEL.items()},
        "lost_at": dict(sorted(lost.items())),
        "errors": sum(row["error"] is not None for row in rows),
        "abstained": sum(bool(row["abstained"]) for row in rows),
        "pairs_cut": sum(cut) if cut else None,
        "snapshot_size": _spread([row["snapshot_size"] for row in rows]),
        "context_size": _spread([row["context_size"] for row in rows]),
        "context_tokens": _mean([row["context_tokens"] for row in rows]),
        "by_tag": {tag: _of_tag(rows, tag, names) for tag in sorted({tag for row in rows for tag in row["tags"]})},
    }


def timed(count: int) -> dict[str, dict[str, Any]]:
    """Return by quantile what an evaluation says of *count* timings of a step, but for how long it took."""
    reliable = {name: count * min(q, 100 - q) >= 100 * TAIL for name, q in _QUANTILES.items()}
    return {name: {"n": count, "reliable": reliable[name]} for name in _QUANTILES}


def counted(quantiles: Mapping[str, Row]) -> dict[str, dict[str, Any]]:
    """Return what is said of a step's timings beside the *quantiles* themselves, as `timed` does."""
    return {name: {key: value for key, value in item.items() if key != "value"} for name, item in quantiles.items()}


def means(rows: Sequence[Row], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the mean of each figure over the *rows* that have it, with how many have and have not."""
    return {name: _mean([row[name] for row in rows]) for name in names}


def _mean(values: Sequence[float | None]) -> dict[str, Any]:
    """Return what `metrics.aggregate` does, quicker: what was sealed is finite."""
    defined = [value for value in values if value is not None]
    mean = math.fsum(defined) / len(defined) if defined else None
    return {"mean": mean, "n": len(defined), "undefined": len(values) - len(defined)}


def lost_at(row: Row) -> str | None:
    """Return the first arrow of the funnel where the case of *row* was lost; None: not lost, or not judged."""
    return next((step for step in ARROWS if row[FUNNEL[step]] == 0), None)


def _counted(values: Sequence[Any]) -> dict[str, int]:
    return {
        "yes": sum(value == 1 for value in values),
        "no": sum(value == 0 for value in values),
        "not_judged": sum(value is None for value in values),
    }


def _spread(sizes: Sequence[int]) -> dict[str, int | None]:
    return {"least": min(sizes, default=None), "most": max(sizes, default=None)}


def _of_tag(rows: Sequence[Row], tag: str, names: Sequence[str]) -> dict[str, Any]:
    chosen = [row for row in rows if tag in row["tags"]]
    return {"questions": len(chosen), "means": means(chosen, names)}
