"""What `ask` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bakeoff import report
from bakeoff.config import Lock
from bakeoff.fusion import Hit
from bakeoff.stages.answer import Answered

_LONGEST = 44


def to_json(lock: Lock, question: str, answered: Answered) -> dict[str, Any]:
    """Return the answer with its snapshot, context and timings as plain values."""
    return {
        "lock": {"name": lock.name, "CHUNK_VERSION": lock.chunk_version, "CONFIG_HASH": lock.config_hash},
        "question": question,
        "answer": asdict(answered.answer),
        "retrieved_context": [asdict(hit) for hit in answered.context],
        "retrieval_snapshot": [asdict(hit) for hit in answered.snapshot],
        "latency_ms": answered.latency_ms,
    }


def _row(hit: Hit) -> tuple[Any, ...]:
    text = " ".join(hit.text.split())
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    dense = report.NOTHING if hit.dense_rank is None else f"{hit.dense_rank} ({hit.dense_score:.2f})"
    lexical = report.NOTHING if hit.lexical_rank is None else f"{hit.lexical_rank} ({hit.lexical_score:.1f})"
    return hit.rank, f"{hit.score:.4f}", dense, lexical, f"{hit.doc_id} {hit.start}-{hit.end}", shown


def text(answered: Answered) -> str:
    """Return the answer, where it stands, and the context."""
    said = answered.answer
    if said.error:
        head = [f"no answer: {said.error}"]
    elif said.abstained or not said.text:
        head = ["the reader found no answer in the context"]
    else:
        head = [said.text, "", *(f"  from {used.doc_id}, bytes {used.start}-{used.end}" for used in said.used)]
    columns = ("rank>", "score>", "dense>", "BM25>", "where", "text")
    table = report.table(
        f"Context: {len(answered.context)} of {len(answered.snapshot)} chunks", columns, map(_row, answered.context)
    )
    spent = " · ".join(f"{step} {ms:.1f}" for step, ms in answered.latency_ms.items())
    return "\n".join([*head, "", table.terminal(), f"ms: {spent}"])
