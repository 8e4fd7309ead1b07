"""The values of a report, made by hand: one baseline and any number of candidates."""

from __future__ import annotations

from typing import Any

from bakeoff.cases import MEANS
from bakeoff.gold import STAGES
from bakeoff.summary import FUNNEL

EVIL = "</td><script>alert(1)</script><img src=x onerror=alert(2)> 'quoted' \"twice\" & $x^2$"
SCORES = ("dense", "lexical", "fused")


def _run(index: int, said: str) -> dict[str, Any]:
    step = {
        "p50": {"value": 1.0, "n": 20, "reliable": True},
        "p95": {"value": 2.0, "n": 20, "reliable": True},
        "curve": [(0.0, 0.05), (1.0, 0.5), (2.0 + index, 1.0)],
    }
    hits = {"gold": {"n": 2, "shares": [0.25, 0.75]}, "other": {"n": 5, "shares": [0.8, 0.2]}}
    return {
        "run_id": f"run-{index}",
        "lock": f"lock{index}{said}",
        "config_hash": f"{index:016x}",
        "chunk_version": f"2026-01-02-v{index}",
        "table_sha256": "a" * 64,
        "corpus_sha256": "b" * 64,
        "questions_sha256": "c" * 64,
        "cases_sha256": None,
        "questions": {"name": f"asked{said}", "used": 20},
        "corpus": {"source": f"books{said}", "documents": 3},
        "notes": [f"a note{said}"],
        "reader": "extractive",
        "lexical": "lists",
        "finished_at": "2026-01-02T03:04:05+00:00",
        "aggregates": {
            "errors": 0,
            "abstained": 1,
            "means": {name: {"mean": None if name == "em" else 0.5, "n": 0 if name == "em" else 20} for name in MEANS},
            "funnel": {name: {"yes": 15, "no": 5, "not_judged": 0} for name in FUNNEL},
        },
        "latency": {"read": dict(step), "total": dict(step)},
        "scores": dict.fromkeys(SCORES, hits),
    }


def _moved(name: str, kind: str, arrow: str, said: str) -> dict[str, Any]:
    side = {"stood": f"rank 3 of 9, read{said}", "answer_right": 1, "text": f"an answer{said}", "abstained": False}
    return {
        "question_id": name,
        "question": f"What is {name}?{said}",
        "kind": kind,
        "arrow": arrow,
        "legs": ["dense"] if arrow == "snapshot" else [],
        "gold": [{"doc_id": f"d{said}", "start": 1, "end": 9, "text": f"the gold{said}"}],
        "baseline": {**side, "error": None},
        "candidate": {**side, "error": None},
    }


def _judgement(said: str) -> dict[str, Any]:
    figures = {"baseline": 0.5, "value": 0.6, "difference": 0.1, "low": 0.02, "high": 0.18, "n": 20, "detectable": 0.09}
    about = {"metric": "oracle_retrieval_hit_prefilter", "rule": "no_worse"}
    passed = {**about, "gate": "oracle", "verdict": "pass", "severity": "block", "threshold": "at least 0", **figures}
    worst = [{"question_id": f"q{n}"} for n in range(1, 6)]
    failed = {**passed, "gate": "f1", "verdict": "fail", "said": f"lost 0.1{said}", "further_questions": 120}
    return {
        "verdict": "fail",
        "profile": "demo",
        "label": f"a label{said}",
        "baseline": {"run_id": "run-0"},
        "plan_sha256": "d" * 64,
        "at": "2026-01-02T03:04:05+00:00",
        "findings": [passed, {**failed, "worst": worst}],
        "warnings": ["a warning"],
    }


def _comparison(index: int, said: str) -> dict[str, Any]:
    interval = {"difference": 0.0, "low": -0.1, "high": 0.2, "n": 20, "dropped": 0, "level": 0.95}
    counts = {"gained": 2, "lost": 1, "same": 17, "dropped": 0}
    return {
        "run_id": f"run-{index}",
        "lock": f"lock{index}{said}",
        "conclusion": f"1 of 20 questions come less far in the funnel, 1 further{said}",
        "questions": 20,
        "lost": 1,
        "gained": 1,
        "arrows": [{"arrow": stage, "lost": 0, "gained": 0, "legs": {}} for stage in STAGES],
        "unmeasured": [
            {"question_id": f"u{n}", "question": "?", "stage": "used", "side": "candidate", "later": None}
            for n in range(2)
        ],
        "moved": [_moved("q1", "lost", "context", said), _moved("q2", "gained", "snapshot", said)],
        "judgement": _judgement(said) if index == 1 else None,
        "differences": [
            {
                "name": name,
                "baseline": 0.5,
                "candidate": 0.5,
                "interval": dict(interval),
                "counts": counts,
                "p_value": 0.5 if name == "answer_right" else None,
            }
            for name in MEANS
        ],
    }


def report(candidates: int, said: str = "") -> dict[str, Any]:
    """A report of a baseline and so many candidates; *said* is a part of everything that comes from outside."""
    return {
        "kind": "report",
        "runs": [_run(index, said) for index in range(candidates + 1)],
        "warnings": [],
        "score_edges": {name: [0.0, 0.5, 1.0] for name in SCORES},
        "comparisons": [_comparison(index, said) for index in range(1, candidates + 1)],
    }
