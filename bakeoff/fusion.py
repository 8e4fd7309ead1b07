"""Ranked lists → one, total order; snapshot → context.

Callers may rely on: every order is total (ties break by id), no result depends on the order in which legs arrive, and
nothing is mutated: functions return new lists of frozen hits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bakeoff.config import FilterConfig
from bakeoff.errors import ConfigError, ModelError


@dataclass(frozen=True, slots=True)
class Hit:
    """One retrieved chunk with what both legs said of it."""

    chunk_id: str
    fp: str
    """The fingerprint of the chunk's text, equal under every lock that holds the same text."""
    doc_id: str
    start: int
    """First byte of the chunk in its document."""
    end: int
    """One past its last byte."""
    text: str
    token_count: int
    rank: int
    """From 1, in the snapshot."""
    score: float
    """The fused score; higher is better."""
    dense_rank: int | None
    """From 1 in the dense leg; None: the leg did not find it."""
    dense_score: float | None
    """Cosine similarity."""
    lexical_rank: int | None
    """From 1 in the lexical leg; None: the leg did not find it."""
    lexical_score: float | None
    """BM25."""
    rerank_score: float | None = None


def rrf(legs: Sequence[tuple[Sequence[str], float]], *, k: int) -> list[tuple[str, float]]:
    """Fuse *legs*, pairs of (ids from best to worst, weight), by reciprocal rank.

    score(id) = sum over legs of weight / (k + rank), ranks from 1 (Cormack, Clarke & Büttcher, SIGIR 2009; the weights
    are the usual extension). Returns (id, score) in the total order (-score, id). The sum is correctly rounded, so that
    the order of the legs can't change a bit of it. A leg of weight 0 is switched off: it brings no ids. An id that a
    leg names twice counts at its better rank. Raises ConfigError where k < 1 or a weight is negative or not finite.
    """
    if k < 1:
        raise ConfigError(f"rrf k is {k}, below 1", hint="60 is the usual value")
    shares: dict[str, list[float]] = {}
    for ids, weight in legs:
        if not (math.isfinite(weight) and weight >= 0.0):
            raise ConfigError(
                f"a leg's weight is {weight}, not a finite number of at least 0", hint="use 0 to switch it off"
            )
        if weight == 0.0:
            continue
        seen: set[str] = set()
        for rank, item in enumerate(ids, start=1):
            if item not in seen:
                seen.add(item)
                shares.setdefault(item, []).append(weight / (k + rank))
    # fsum, because a + b + c depends on the order of three legs where its correctly rounded value does not.
    fused = [(item, math.fsum(values)) for item, values in shares.items()]
    return sorted(fused, key=lambda pair: (-pair[1], pair[0]))


def select(hits: Sequence[Hit], filter: FilterConfig) -> list[Hit]:  # noqa: A002  # the configuration's own word for it
    """Return the context: those of *hits*, best first, that are read.

    In snapshot order, a chunk is left out where the dense leg alone found it and its cosine similarity is below
    `min_similarity`; where `max_per_document` chunks of its document are in already; or where it does not fit into what
    is left of `token_budget`. A chunk that does not fit is skipped and the search goes on, since a later, shorter one
    may still fit: an unused budget answers nothing. The first chunk that passes the other rules is read whatever its
    length. At most `context` chunks; their `rank` stays the snapshot's.
    """
    chosen: list[Hit] = []
    per_document: Counter[str] = Counter()
    tokens = 0
    for hit in hits:
        if len(chosen) == filter.context:
            break
        if _too_far(hit, filter.min_similarity):
            continue
        if filter.max_per_document is not None and per_document[hit.doc_id] >= filter.max_per_document:
            continue
        if chosen and filter.token_budget is not None and tokens + hit.token_count > filter.token_budget:
            continue
        chosen.append(hit)
        per_document[hit.doc_id] += 1
        tokens += hit.token_count
    return chosen


def _too_far(hit: Hit, min_similarity: float | None) -> bool:
    """Say whether only the dense leg found *hit*, and too far away: a lexical match is evidence of its own."""
    if min_similarity is None or hit.lexical_rank is not None or hit.dense_score is None:
        return False
    return hit.dense_score < min_similarity


def rerank(hits: Sequence[Hit], scores: Sequence[float], depth: int) -> list[Hit]:
    """Reorder the first *depth* of *hits* by (-score, doc_id, start); the rest keep their order behind them.

    Ties go by place, not by chunk_id, which differs from lock to lock.

    *scores* belong to the first min(depth, len(hits)) hits, in their order, and are kept as `rerank_score`; ranks are
    numbered anew from 1. Raises ConfigError where depth < 1, ModelError where the reranker gave another number of
    scores or one that is not finite.
    """
    if depth < 1:
        raise ConfigError(f"rerank depth is {depth}, below 1", hint="40 is the usual value")
    head = hits[:depth]
    if len(scores) != len(head):
        raise ModelError(
            f"the reranker gave {len(scores)} scores for {len(head)} chunks", hint="check the reranker model"
        )
    for hit, score in zip(head, scores, strict=True):
        if not math.isfinite(score):
            raise ModelError(f"the reranker scored chunk {hit.chunk_id} {score}", hint="check the reranker model")
    scored = [replace(hit, rerank_score=float(score)) for hit, score in zip(head, scores, strict=True)]
    scored.sort(key=lambda hit: (-(hit.rerank_score or 0.0), hit.doc_id, hit.start))
    return [replace(hit, rank=rank) for rank, hit in enumerate([*scored, *hits[depth:]], start=1)]
