"""Checks of evaluated cases that need no database: does the filter keep its rules, was a question given away.

Callers may rely on: each function returns what is wrong in words, or None; what the filter should have given is what
`fusion.select` gives, the filter itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from bakeoff import fusion
from bakeoff.config import FilterConfig
from bakeoff.fusion import Hit

_ENDS = " \t\n?!.\"'"


def _hits(case: Mapping[str, Any], name: str) -> list[Hit]:
    return [Hit(text="", **row) for row in case[name]]


def filter_leak(case: Mapping[str, Any], rules: FilterConfig) -> str | None:
    """Return what the context of *case* holds that *rules* forbid or the snapshot does not have, or None."""
    context = _hits(case, "retrieved_context")
    there = {row["chunk_id"] for row in case["retrieval_snapshot"]}
    strange = [hit.chunk_id for hit in context if hit.chunk_id not in there]
    if strange:
        return f"chunk {strange[0]} is not in the snapshot"
    if len(context) > rules.context:
        return f"{len(context)} chunks, above filter.context ({rules.context})"
    doc_id, most = max(Counter(hit.doc_id for hit in context).items(), key=lambda item: item[1], default=("", 0))
    if rules.max_per_document is not None and most > rules.max_per_document:
        return f"{most} chunks of {doc_id}, above filter.max_per_document ({rules.max_per_document})"
    tokens = sum(hit.token_count for hit in context)
    if rules.token_budget is not None and len(context) > 1 and tokens > rules.token_budget:
        return f"{tokens} tokens, above filter.token_budget ({rules.token_budget})"
    return _too_far(context, rules.min_similarity)


def _too_far(context: list[Hit], least: float | None) -> str | None:
    if least is None:
        return None
    for hit in context:
        if hit.lexical_rank is None and hit.dense_score is not None and hit.dense_score < least:
            return f"chunk {hit.chunk_id} at {hit.dense_score:.3f}, below filter.min_similarity ({least})"
    return None


def filter_shortfall(case: Mapping[str, Any], rules: FilterConfig) -> str | None:
    """Return by how many chunks the context of *case* is shorter than *rules* make it, or None."""
    wanted, found = len(fusion.select(_hits(case, "retrieval_snapshot"), rules)), len(case["retrieved_context"])
    return f"{found} chunks, where the filter gives {wanted}" if found < wanted else None


def folded(text: str) -> str:
    """Return *text* without the differences of case and white space that hide a copy."""
    return " ".join(text.casefold().split())


class Verbatim:
    """Questions, to be looked for word for word in many documents; those of fewer than *words* words are left out.

    A question is looked for only in documents that hold all its inner words, its longest one first, so that a corpus is
    read once whatever the number of questions.
    """

    def __init__(self, questions: Mapping[str, str], *, words: int) -> None:
        """Take *questions*, text by id."""
        self._by_word: dict[str, list[tuple[str, str, frozenset[str]]]] = defaultdict(list)
        for question_id, text in questions.items():
            plain = folded(text).strip(_ENDS)
            inner = plain.split()[1:-1]
            if len(inner) + 2 >= max(words, 3):
                self._by_word[max(inner, key=len)].append((question_id, plain, frozenset(inner)))

    def found_in(self, text: str) -> Iterator[str]:
        """Yield the ids of the questions that stand in *text*."""
        plain = folded(text)
        words = set(plain.split())
        for word in self._by_word.keys() & words:
            for question_id, question, inner in self._by_word[word]:
                if inner <= words and question in plain:
                    yield question_id
