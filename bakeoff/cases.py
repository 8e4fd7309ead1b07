"""One evaluated question → its case result; many case results → aggregates.

Callers may rely on: a case result is plain JSON without timings, equal for equal input; hit fields are 0, 1 or null, so
that they can be added; nothing undefined is counted as zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bakeoff import gold, metrics
from bakeoff.fusion import Hit
from bakeoff.gold import Cover, Located, Question, Span

K = 10
"""The cut of document-level metrics."""

YES_NO = ("oracle_retrieval_hit_prefilter", "filter_hit_postfilter", "reader_used_gold", "answer_right")
"""The per-case figures that are 0, 1 or null."""

MEANS = (
    *YES_NO,
    "em",
    "precision",
    "recall",
    "f1",
    "faithfulness",
    "text_recall",
    "text_precision",
    "text_iou",
    "ndcg_at_10",
    "recall_at_10",
    "reciprocal_rank",
)
"""The per-case figures that are averaged, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Used:
    """Bytes *start* to *end* of a document that the reader says it used, and the chunk they stand in."""

    chunk_id: str
    doc_id: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What the pipeline did with one question."""

    snapshot: Sequence[Hit]
    context: Sequence[Hit]
    dense: Sequence[Located]
    """All candidates of the dense leg, those that fusion left out too."""
    lexical: Sequence[Located]
    aliases: Mapping[str, Sequence[Span]]
    answer: str | None
    """Blank: the reader abstained. None: there is no answer, `error` says why."""
    used: tuple[Used, ...] | None
    abstained: bool
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    pairs_cut: int | None = None
    """Texts that the reranker read without their end; None: there is no reranker."""


def _funnel(
    question: Question, seen: Observed, right: bool | None, corpus: Container[str], indexed: Cover, share: float
) -> gold.Funnel:  # the whole evidence of one case
    trace = gold.Trace(
        dense=gold.pieces(seen.dense, seen.aliases),
        lexical=gold.pieces(seen.lexical, seen.aliases),
        snapshot=gold.pieces(seen.snapshot, seen.aliases),
        context=gold.pieces(seen.context, seen.aliases),
        used=None if seen.used is None else gold.pieces(seen.used, seen.aliases),
        right=right,
    )
    return gold.funnel(question, trace, corpus=corpus, indexed=indexed, share=share)


def _answer_scores(question: Question, seen: Observed) -> dict[str, float | None]:
    """Compare the answer with the gold answers, and with what was read."""
    scores = metrics.answer_scores(seen.answer, question.answers, answerable=question.answerable)
    return {
        "em": None if scores is None else scores.em,
        "precision": None if scores is None else scores.precision,
        "recall": None if scores is None else scores.recall,
        "f1": None if scores is None else scores.f1,
        "faithfulness": metrics.grounded_share(seen.answer, [hit.text for hit in seen.context]),
    }


def _text_overlap(question: Question, seen: Observed) -> dict[str, float | None]:
    """Compare the context's text with the gold; without gold there is nothing to compare."""
    if not question.passages:
        return {"text_recall": None, "text_precision": None, "text_iou": None}
    read = [Span(hit.doc_id, hit.start, hit.end) for hit in seen.context]
    others = [span for hit in seen.context for span in seen.aliases.get(hit.chunk_id, ())]
    found = gold.overlap(gold.nearest(question, Cover([*read, *others])), read, aliases=others)
    return {"text_recall": found.recall, "text_precision": found.precision, "text_iou": found.iou}


def _documents(question: Question, seen: Observed) -> dict[str, float | None]:
    """Return nDCG, recall and reciprocal rank of documents; None without document-level judgements."""
    if not question.relevant:
        return {"ndcg_at_10": None, "recall_at_10": None, "reciprocal_rank": None}
    ranked = metrics.ranked_documents(_with_aliases(seen))
    relevant = metrics.relevant(question.relevant)
    return {
        "ndcg_at_10": metrics.ndcg_at(ranked, question.relevant, k=K),
        "recall_at_10": metrics.recall_at(ranked, relevant, k=K),
        "reciprocal_rank": metrics.reciprocal_rank(ranked, relevant),
    }


def _with_aliases(seen: Observed) -> list[str]:
    """Return the documents of the snapshot in order; a near-duplicate's document comes right behind its survivor's."""
    found: list[str] = []
    for hit in seen.snapshot:
        found.append(hit.doc_id)
        found.extend(span.doc_id for span in seen.aliases.get(hit.chunk_id, ()))
    return found


def _hit(hit: Hit) -> dict[str, Any]:
    body = asdict(hit)
    del body["text"]
    return body


def _gold(question: Question) -> dict[str, Any]:
    return {
        "level": gold.level(question),
        "need": question.need,
        "passages": [[asdict(span) for span in passage.alternatives] for passage in question.passages],
        "relevant": None if question.relevant is None else dict(question.relevant),
        "answers": list(question.answers),
    }


def _answer(seen: Observed) -> dict[str, Any]:
    return {
        "text": seen.answer,
        "abstained": seen.abstained,
        "error": seen.error,
        "used": None if seen.used is None else [asdict(used) for used in seen.used],
    }


def judge(
    question: Question, seen: Observed, *, corpus: Container[str], indexed: Cover, share: float
) -> dict[str, Any]:
    """Return the case result of *question*: gold, funnel, metrics, what was retrieved, and the answer."""
    right = metrics.right(seen.answer, question.answers, answerable=question.answerable)
    funnel = _funnel(question, seen, right, corpus, indexed, share)
    return {
        "question_id": question.question_id,
        "question": question.text,
        "answerable": question.answerable,
        "tags": list(question.tags),
        "gold": _gold(question),
        "funnel": {name: value for name, value in asdict(funnel).items() if name != "level"},
        "lost_at": funnel.lost_at,
        "oracle_retrieval_hit_prefilter": funnel.snapshot,
        "filter_hit_postfilter": funnel.context,
        "reader_used_gold": funnel.used,
        "answer_right": funnel.right,
        **_answer_scores(question, seen),
        **_text_overlap(question, seen),
        **_documents(question, seen),
        "retrieval_snapshot": [_hit(hit) for hit in seen.snapshot],
        "retrieved_context": [_hit(hit) for hit in seen.context],
        "answer": _answer(seen),
        "pairs_cut": seen.pairs_cut,
        "token_counts": {
            "context": sum(hit.token_count for hit in seen.context),
            "input": seen.input_tokens,
            "output": seen.output_tokens,
        },
    }


def _mean(results: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    return asdict(metrics.aggregate(result[name] for result in results))


def _funnel_counts(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    names = ("in_corpus", "indexed", "dense", "lexical", "snapshot", "context", "used", "right")
    return {
        name: {
            "yes": sum(result["funnel"][name] == 1 for result in results),
            "no": sum(result["funnel"][name] == 0 for result in results),
            "not_judged": sum(result["funnel"][name] is None for result in results),
        }
        for name in names
    }


def latency(timings: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return p50 and p95 in ms by step; `reliable` is false where there are too few timings to believe it."""
    steps = sorted({step for item in timings for step in item})
    return {
        step: {
            f"p{q}": asdict(metrics.percentile([item[step] for item in timings if step in item], q)) for q in (50, 95)
        }
        for step in steps
    }


def aggregates(results: Sequence[Mapping[str, Any]], timings: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return means with their n, the funnel, where cases were lost, sizes, latency, and the means by tag."""
    cut = [result["pairs_cut"] for result in results if result["pairs_cut"] is not None]
    sizes = [len(result["retrieval_snapshot"]) for result in results]
    contexts = [len(result["retrieved_context"]) for result in results]
    return {
        "questions": len(results),
        "answerable": sum(bool(result["answerable"]) for result in results),
        "means": {name: _mean(results, name) for name in MEANS},
        "funnel": _funnel_counts(results),
        "lost_at": dict(sorted(Counter(result["lost_at"] for result in results if result["lost_at"]).items())),
        "errors": sum(result["answer"]["error"] is not None for result in results),
        "abstained": sum(bool(result["answer"]["abstained"]) for result in results),
        "pairs_cut": sum(cut) if cut else None,
        "snapshot_size": {"least": min(sizes, default=None), "most": max(sizes, default=None)},
        "context_size": {"least": min(contexts, default=None), "most": max(contexts, default=None)},
        "context_tokens": asdict(metrics.aggregate(float(result["token_counts"]["context"]) for result in results)),
        "latency_ms": latency(timings),
        "by_tag": _by_tag(results),
    }


def _by_tag(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        tag: {
            "questions": len(chosen := [result for result in results if tag in result["tags"]]),
            "means": {name: _mean(chosen, name) for name in MEANS},
        }
        for tag in sorted({tag for result in results for tag in result["tags"]})
    }
