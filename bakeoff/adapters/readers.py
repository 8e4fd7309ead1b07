"""A question and its context → an answer with the spans that it stands on.

Callers may rely on: `read` raises nothing for what a reader's service does wrong: the answer's `error` says it; an
answer either has text, or abstained, or has an error; used spans are exact bytes of their documents. The extractive
reader is deterministic and offline.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

from bakeoff.adapters import llm
from bakeoff.cases import Used
from bakeoff.config import ExtractiveReaderConfig, OpenAIReaderConfig, ReaderConfig
from bakeoff.errors import ReaderError
from bakeoff.fusion import Hit
from bakeoff.sentences import sentences

RANK_PRIOR = 0.1
"""A sentence's score is raised by this share, divided by its chunk's place in the context: close calls go to the
better chunk, a clear match in a later chunk still wins."""
LENGTH_PRIOR = 0.15
"""How much of BM25's length normalisation (Robertson & Zaragoza 2009, its b) is applied: a long code block holds many
words by chance."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader said: text, or abstained, or an error."""

    text: str | None
    used: tuple[Used, ...] = ()
    abstained: bool = False
    error: str | None = None
    input_tokens: int | None = None
    """As the service counts them; None: not counted."""
    output_tokens: int | None = None


class Reader(Protocol):
    """Answers questions from retrieved chunks."""

    def read(self, question: str, context: Sequence[Hit]) -> Answer:
        """Answer *question* from *context*, best chunk first."""

    def close(self) -> None:
        """Give back connections; the reader is not used afterwards."""


def open_reader(cfg: ReaderConfig, *, environ: Mapping[str, str], seed: int | None = None) -> Reader:
    """Return the reader that *cfg* names; *environ* holds the service's key, *seed* is the lock's.

    Raises ConfigError where the service's address or key can't be used.
    """
    if isinstance(cfg, ExtractiveReaderConfig):
        return ExtractiveReader(cfg)
    return OpenAIReader(cfg, llm.ChatClient.from_config(cfg, environ=environ, seed=seed))


_CJK = "\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\U00020000-\U0003ffff"
_ASCII_WORD = re.compile(r"[a-z0-9_]+")
_CHARACTERS = re.compile(rf"[{_CJK}]")
_OTHER_WORD = re.compile(rf"[^\W{_CJK}]+")
_WORD = re.compile(rf"([{_CJK}]+)|[^\W{_CJK}]+")
_STOP_WORDS = (
    "a about all also am an and any are as at be been but by can could did do does for from get had has have he her "
    "him his how i if in into is it its just like me my no not of on one or our out she should so some than that the "
    "their them then there these they this those to up use used using us was way we were what when where which who "
    "whose why will with would you your"
)
_LEAST_STEM = 3


@lru_cache(maxsize=1 << 16)
def _fold(word: str) -> str:
    """Return *word* without the commonest English endings, so that raise, raises, raised and raising are one term."""
    word = word.strip("_") or word
    if len(word) <= _LEAST_STEM or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed", "ly"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= _LEAST_STEM:
            word = stem[:-1] if stem[-1] == stem[-2] and stem[-1] not in "lsz" else stem
            break
    return word.removesuffix("e") if len(word) > _LEAST_STEM else word


def _terms(text: str) -> set[str]:
    """Return the terms of *text*: folded words, and the character pairs of scripts written without spaces."""
    lowered = text.lower()
    if lowered.isascii():
        return set(map(_fold, _ASCII_WORD.findall(lowered)))
    terms: set[str] = set()
    for match in _WORD.finditer(lowered):
        run = match[1]
        if run is None:
            terms.add(_fold(match[0]))
        elif len(run) == 1:
            terms.add(run)
        else:
            terms.update(map("".join, pairwise(run)))
    return terms


def _question_terms(question: str) -> set[str]:
    """Return the terms that carry the question; all of them where it is made of stop words alone."""
    terms = _terms(question)
    return (terms - _terms(_STOP_WORDS)) or terms


@dataclass(frozen=True, slots=True)
class _Candidate:
    hit: Hit
    place: int
    """Of its chunk in the context, from 1."""
    start: int
    """Code points in the chunk."""
    end: int
    matched: frozenset[str]

    @property
    def text(self) -> str:
        return self.hit.text[self.start : self.end]

    def span(self) -> Used:
        """Return the sentence as exact bytes of its document."""
        text = self.text
        start = self.hit.start + len(self.hit.text[: self.start].encode())
        return Used(self.hit.chunk_id, self.hit.doc_id, start, start + len(text.encode()), text)


def _candidates(terms: set[str], context: Sequence[Hit]) -> list[_Candidate]:
    """Return every sentence of *context* with those of *terms* that are in it.

    A pair of characters is looked for as it is; only words need to be cut out and folded first.
    """
    pairs = {term for term in terms if _CHARACTERS.match(term)}
    words = terms - pairs
    found = []
    for place, hit in enumerate(context, start=1):
        for start, end in sentences(hit.text):
            text = hit.text[start:end].lower()
            cut = _ASCII_WORD if text.isascii() else _OTHER_WORD
            matched = words.intersection(map(_fold, cut.findall(text))) if words else set()
            matched |= {pair for pair in pairs if pair in text}
            found.append(_Candidate(hit, place, start, end, frozenset(matched)))
    return found


class ExtractiveReader:
    """Answers with the sentences of the context that say most of the question."""

    def __init__(self, cfg: ExtractiveReaderConfig) -> None:
        self._cfg = cfg

    def close(self) -> None:
        """Do nothing: there is nothing open."""

    def read(self, question: str, context: Sequence[Hit]) -> Answer:
        """Answer with the best sentences of *context*, in document order; abstain where none says enough.

        The weight of a term is its IDF over the context's sentences, ln(1 + (N - n + 0.5) / (n + 0.5)) (Robertson &
        Zaragoza 2009). A sentence's share is the weight of the question's terms in it, divided by the weight of all;
        its score is share · (1 + RANK_PRIOR / place) / (1 - b + b · length / mean length), b = LENGTH_PRIOR. Ties go to
        the better chunk, then to the earlier sentence.
        """
        terms = _question_terms(question)
        found = _candidates(terms, context)
        if not found:
            return Answer(None, abstained=True)
        counts = Counter(term for candidate in found for term in candidate.matched)
        weights = {term: math.log1p((len(found) - counts[term] + 0.5) / (counts[term] + 0.5)) for term in sorted(terms)}
        total = math.fsum(weights.values())
        mean = sum(one.end - one.start for one in found) / len(found)

        def share(one: _Candidate) -> float:
            return math.fsum(weights[term] for term in one.matched) / total if total else 0.0

        def order(one: _Candidate) -> tuple[float, float, int, int]:
            length = 1.0 - LENGTH_PRIOR + LENGTH_PRIOR * (one.end - one.start) / mean
            prior = 1.0 + RANK_PRIOR / one.place
            value = share(one) * prior / length
            return -value, -prior, one.place, one.start

        ranked = sorted(found, key=order)
        if share(ranked[0]) < self._cfg.abstain_below:
            return Answer(None, abstained=True)
        used = _in_document_order(_distinct(ranked, self._cfg.sentences), context)
        return Answer(" ".join(" ".join(span.text.split()) for span in used), used)


def _distinct(ranked: Sequence[_Candidate], wanted: int) -> list[Used]:
    """Return the first *wanted* spans that say different things: overlapping chunks repeat each other's sentences."""
    chosen: list[Used] = []
    for candidate in ranked:
        span = candidate.span()
        if not any(span.text == other.text or _overlap(span, other) for other in chosen):
            chosen.append(span)
            if len(chosen) == wanted:
                break
    return chosen


def _overlap(one: Used, other: Used) -> bool:
    return one.doc_id == other.doc_id and one.start < other.end and other.start < one.end


def _in_document_order(spans: Sequence[Used], context: Sequence[Hit]) -> tuple[Used, ...]:
    """Return *spans* by document, the one with the best chunk first, and by place in it."""
    first: dict[str, int] = {}
    for place, hit in enumerate(context):
        first.setdefault(hit.doc_id, place)
    return tuple(sorted(spans, key=lambda span: (first[span.doc_id], span.start)))


_CITATION = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_MARK = re.compile(r"[ \t]*(?<![\w)])" + _CITATION.pattern)  # not x[1]: that is code
_ABSTENTION = "NOT FOUND"


class OpenAIReader:
    """Answers through an OpenAI-compatible chat completions service."""

    def __init__(self, cfg: OpenAIReaderConfig, client: llm.ChatClient) -> None:
        self._cfg = cfg
        self._client = client

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def read(self, question: str, context: Sequence[Hit]) -> Answer:
        """Ask the service with numbered passages; cited ones become whole-chunk spans, its marks leave the text.

        Without a context it abstains and asks nobody. What the service does wrong becomes the answer's `error`.
        """
        if not context:
            return Answer(None, abstained=True)
        try:
            reply = self._client.complete(system=self._cfg.system_prompt, user=prompt(question, context))
        except ReaderError as error:
            return Answer(None, error=str(error))
        counted = Answer(None, input_tokens=reply.input_tokens, output_tokens=reply.output_tokens)
        if reply.text.lstrip(" \t\r\n\"'*`").upper().startswith(_ABSTENTION):
            return replace(counted, abstained=True)
        used = tuple(
            Used(hit.chunk_id, hit.doc_id, hit.start, hit.end, hit.text) for hit in _cited(reply.text, context)
        )
        return replace(counted, text=_MARK.sub("", reply.text).strip() or reply.text.strip(), used=used)


def prompt(question: str, context: Sequence[Hit]) -> str:
    """Return the user's message: the chunks of *context* numbered from 1, then *question*."""
    passages = "\n\n".join(f"[{number}] {hit.text}" for number, hit in enumerate(context, start=1))
    return f"Passages:\n\n{passages}\n\nQuestion: {question}"


def _cited(reply: str, context: Sequence[Hit]) -> list[Hit]:
    """Return the chunks that *reply* cites, each once, in order of citation; numbers of no passage are ignored."""
    numbers = (int(number) for group in _CITATION.findall(reply) for number in re.split(r"\D+", group))
    return [context[number - 1] for number in dict.fromkeys(numbers) if 1 <= number <= len(context)]
