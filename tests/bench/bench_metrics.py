"""How many cases a second the metrics and statistics take, beside the models; writes artifacts/bench/metrics.json.

Run: `python tests/bench/bench_metrics.py`. Bars: at least 2,000 cases a second, each with 40 hits of which 8 are read,
and less than a second for the 10,000-fold bootstrap of 1,000 pairs.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bakeoff import gold, metrics, stats
from bakeoff.fusion import Hit
from bakeoff.gold import Cover, Passage, Question, Span, Trace

CASES, HITS, CONTEXT, DOCUMENTS, ROUNDS = 1000, 40, 8, 200, 5
LENGTH, CHUNK = 40_000, 1000
OUT = Path(__file__).parents[2] / "artifacts" / "bench" / "metrics.json"


def hit(rng: random.Random, words: list[str], rank: int) -> Hit:
    """Return a chunk of 1,000 bytes somewhere, some 200 tokens of text."""
    start = rng.randrange(LENGTH // CHUNK) * CHUNK
    document = f"d{rng.randrange(DOCUMENTS)}"
    text = " ".join(rng.choices(words, k=160))
    return Hit(f"{document}-{start}", "", document, start, start + CHUNK, text, 200, rank, 1.0, rank, 0.5, rank, 1.0)


def case(rng: random.Random, words: list[str], number: int) -> tuple[Question, list[Hit], str]:
    """Return a question with two passages, its snapshot and an answer of a sentence."""
    hits = list({made.chunk_id: made for made in (hit(rng, words, rank) for rank in range(1, HITS + 1))}.values())
    wanted = [rng.choice(hits), hit(rng, words, 0)]
    passages = tuple(Passage((Span(one.doc_id, one.start + 100, one.start + 300),)) for one in wanted)
    answer = " ".join(hits[0].text.split()[:25])
    relevant = {one.doc_id: 1 for one in wanted}
    golds = (" ".join(answer.split()[5:9]), " ".join(rng.choices(words, k=5)))
    return Question(f"q{number}", "?", passages, golds, relevant), hits, answer


def measure(question: Question, hits: list[Hit], answer: str, indexed: Cover) -> list[float | None]:
    """Compute all that an evaluation records of one case."""
    spans = gold.pieces(hits, {})
    read = spans[:CONTEXT]
    is_right = metrics.right(answer, question.answers)
    trace = Trace(dense=spans, lexical=spans, snapshot=spans, context=read, used=read[:1], right=is_right)
    found = gold.funnel(question, trace, corpus={f"d{number}" for number in range(3)}, indexed=indexed)
    share = gold.overlap(gold.nearest(question, Cover(read)), read)
    grades = question.relevant or {}
    relevant = metrics.relevant(grades)
    ranked = metrics.ranked_documents(one.doc_id for one in hits)
    scores = metrics.answer_scores(answer, question.answers)
    return [
        None if found.snapshot is None else float(found.snapshot),
        share.recall,
        share.precision,
        share.iou,
        metrics.ndcg_at(ranked, grades, k=10),
        metrics.recall_at(ranked, relevant, k=10),
        metrics.precision_at(ranked, relevant, k=10),
        metrics.reciprocal_rank(ranked, relevant),
        metrics.average_precision(ranked, relevant),
        None if scores is None else scores.f1,
        metrics.grounded_share(answer, [one.text for one in hits[:CONTEXT]]),
    ]


def compare(a: list[list[float | None]], b: list[list[float | None]]) -> None:
    """Aggregate and compare two runs, metric by metric, with intervals and exact tests."""
    pvalues = []
    for left, right in zip(zip(*a, strict=True), zip(*b, strict=True), strict=True):
        metrics.aggregate(left)
        metrics.aggregate(right)
        stats.paired_bootstrap(left, right, seed=7)
        counts = stats.paired_counts(left, right)
        pvalues.append(stats.mcnemar_exact(counts.lost, counts.gained))
    stats.holm(pvalues)


def seconds(work: Callable[[], Any]) -> float:
    """Return the median wall time of *work*."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def main() -> None:
    """Measure, print, write."""
    rng = random.Random(7)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 10))) for _ in range(5000)]
    cases = [case(rng, words, number) for number in range(CASES)]
    indexed = Cover(
        Span(f"d{doc}", start, start + CHUNK) for doc in range(DOCUMENTS) for start in range(0, LENGTH, CHUNK)
    )
    runs = [[measure(*one, indexed) for one in cases], [measure(*one, indexed) for one in reversed(cases)]]
    metrics_s = seconds(lambda: [measure(*one, indexed) for one in cases])
    compare_s = seconds(lambda: compare(*runs))
    yes = [float(rng.random() < share) for share in (0.6, 0.7) for _ in range(1000)]  # fmt: skip
    bootstrap_s = seconds(lambda: stats.paired_bootstrap(yes[:1000], yes[1000:], seed=7))
    text = " ".join(rng.choices(words, k=100_000))[:700_000]
    folded = gold.Folded(text)
    result = {
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "cases": CASES,
        "hits_per_case": HITS,
        "metrics_cases_per_s": round(CASES / metrics_s),
        "metrics_and_statistics_cases_per_s": round(2 * CASES / (2 * metrics_s + compare_s)),
        "compare_1000_cases_11_metrics_s": round(compare_s, 3),
        "bootstrap_10000_of_1000_pairs_s": round(bootstrap_s, 3),
        "fold_700_kb_ms": round(1000 * seconds(lambda: gold.Folded(text)), 2),
        "locate_in_700_kb_ms": round(1000 * seconds(lambda: folded.locate(text[-60:])), 3),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
