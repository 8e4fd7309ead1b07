"""Retrieval on SciFact beside published figures; writes artifacts/bench/scifact.json.

Run: `python -m tests.bench.bench_scifact [DIR]`. The set is in BEIR layout. Title and text are embedded and indexed
(prefix policy B), one lock a leg and one for both; the weights of the hybrid are the defaults, not tuned on this set.
Bars: lexical leg alone nDCG@10 within 0.02 of 0.679 (BM25, Anserini), dense MiniLM alone within 0.02 of 0.645 (MTEB),
hybrid above both.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.bench import common

BREADTH = {"dense_candidates": 100, "lexical_candidates": 100, "snapshot": 60, "hnsw_ef_search": 200}
LEGS = (("lexical", "bm25"), ("lexical", "lists"), ("dense", "bm25"), ("hybrid", "bm25"), ("hybrid", "lists"))
PUBLISHED = {"lexical": 0.679, "dense": 0.645}


def configuration(leg: str, lexical: str) -> dict[str, Any]:
    """Return the pipeline of one leg, or of both."""
    weights = {"lexical": {"dense_weight": 0.0}, "dense": {"lexical_weight": 0.0}, "hybrid": {}}[leg]
    return {
        "chunking": {"size": 400},
        "prefix": {"policy": "B", "template": "{title}\n"},
        "embedder": {"max_tokens": 512},
        "index": {"lexical": lexical},
        "retrieval": {
            "dense_candidates": 100,
            "lexical_candidates": 100,
            "snapshot": 60,
            "hnsw_ef_search": 200,
            **weights,
        },
    }


def main() -> None:
    """Measure, print, save."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else common.DATA / "scifact"
    if not folder.is_dir():
        print(f"{folder} is not there: nothing was measured")
        return
    result: dict[str, Any] = {"machine": common.machine(), "legs": {}}
    rows = []
    with common.bench() as bench:
        for leg, lexical in (
            ("lexical", "bm25"),
            ("lexical", "lists"),
            ("dense", "bm25"),
            ("hybrid", "bm25"),
            ("hybrid", "lists"),
        ):
            lock = bench.lock(f"{leg}-{lexical}", configuration(leg, lexical))
            done = bench.ingest(lock, f"beir:{folder}").ingest
            means = bench.evaluate(lock, f"beir:{folder}").run.report["aggregates"]["means"]
            figures = {name: means[name]["mean"] for name in ("ndcg_at_10", "recall_at_10", "reciprocal_rank")}
            result["legs"][f"{leg} ({done.lexical})"] = figures | {
                "n": means["ndcg_at_10"]["n"],
                "chunks": done.report["counts"]["chunks"],
            }
            published = PUBLISHED.get(leg)
            off = None if published is None else figures["ndcg_at_10"] - published
            rows.append([leg, done.lexical, *figures.values(), published, None if off is None else f"{off:+.3f}"])
            common.save("scifact", result)
    columns = ["leg", "lexical index", "nDCG@10>", "R@10>", "MRR>", "published nDCG@10>", "off>"]
    common.table("SciFact, 300 test claims", columns, rows)
    common.save("scifact", result)


if __name__ == "__main__":
    main()
