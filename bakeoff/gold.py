"""Gold spans and chunks → what was hit, and where a case was lost.

Callers may rely on: spans are half-open byte ranges of a document's stored UTF-8 text; hit values are 1, 0 or None, and
None always means that there was nothing to judge, never a miss.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from bakeoff.errors import ConfigError, InputError

Level = Literal["span", "document", "none"]
Stage = Literal["in_corpus", "indexed", "snapshot", "context", "used", "right"]

STAGES: tuple[Stage, ...] = ("in_corpus", "indexed", "snapshot", "context", "used", "right")
"""The arrows of the funnel, in order."""

DEFAULT_SHARE = 0.5
"""How much of a gold span must be covered for a hit."""

# The UTF-8 forms of everything that str.isspace() calls white space; the encoding is self-synchronising, so that a
# match in bytes never begins inside a character.
_ASCII_SPACE = bytes(code < 128 and chr(code).isspace() for code in range(256))  # noqa: PLR2004  # ASCII ends there
_WIDE_SPACE = re.compile(rb"\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2(?:\x80[\x80-\x8a\xa8\xa9\xaf]|\x81\x9f)|\xe3\x80\x80")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Bytes *start* to *end* (exclusive) of a document. Raises InputError where the range is empty or negative."""

    doc_id: str
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise InputError(
                f"span {self.start}-{self.end} of {self.doc_id} is not a range: expected 0 <= start < end",
                hint="spans count bytes of the stored text, end exclusive",
            )


@dataclass(frozen=True, slots=True)
class Passage:
    """One needed fact; any of its *alternatives* (at least one) holds it: the words may stand in several places."""

    alternatives: tuple[Span, ...]

    def __post_init__(self) -> None:
        if not self.alternatives:
            raise InputError("a passage without a span: expected at least one", hint="leave the passage out")


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its gold."""

    question_id: str
    text: str
    passages: tuple[Passage, ...] = ()
    answers: tuple[str, ...] = ()
    relevant: Mapping[str, int] | None = None
    """Document-level judgements: doc_id → grade; above 0 is relevant."""
    answerable: bool = True
    need: Literal["all", "any"] = "all"
    """Whether every passage is needed or one is enough."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a quote could not be resolved, in words."""

    reason: str


class Cover:
    """The union of spans, per document, ready for many questions: O(log pieces) each."""

    __slots__ = ("_ranges",)

    def __init__(self, pieces: Iterable[Span], *, documents: Container[str] | None = None) -> None:
        """Merge *pieces*, in any order; only those of *documents* where given (the others can't be asked for then)."""
        by_document: dict[str, list[tuple[int, int]]] = {}
        for piece in pieces:
            if documents is None or piece.doc_id in documents:
                by_document.setdefault(piece.doc_id, []).append((piece.start, piece.end))
        self._ranges = {doc_id: _merged(ranges) for doc_id, ranges in by_document.items()}

    def __contains__(self, doc_id: object) -> bool:
        """Say whether any piece is of this document."""
        return doc_id in self._ranges

    def units(self, span: Span) -> int:
        """Return how many units of *span* the pieces cover."""
        starts, ends = self._ranges.get(span.doc_id, ((), ()))
        total = 0
        for index in range(bisect_right(ends, span.start), len(starts)):
            if starts[index] >= span.end:
                break
            total += min(ends[index], span.end) - max(starts[index], span.start)
        return total

    def share(self, span: Span) -> float:
        """Return the covered share of *span*, in [0, 1]."""
        return self.units(span) / (span.end - span.start)

    def spans(self) -> list[Span]:
        """Return the union as spans that neither overlap nor touch, by (doc_id, start)."""
        return [
            Span(doc_id, start, end)
            for doc_id, (starts, ends) in sorted(self._ranges.items())
            for start, end in zip(starts, ends, strict=True)
        ]


def _merged(ranges: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Return starts and ends of the union of *ranges*, ascending, those that touch joined."""
    ranges.sort()
    starts: list[int] = []
    ends: list[int] = []
    for start, end in ranges:
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends


class Located(Protocol):
    """What `pieces` needs of a retrieved chunk; `fusion.Hit` is one."""

    @property
    def chunk_id(self) -> str:
        """The id that aliases are kept under."""

    @property
    def doc_id(self) -> str:
        """The document of the chunk's own span."""

    @property
    def start(self) -> int:
        """Its first byte."""

    @property
    def end(self) -> int:
        """One past its last byte."""


def pieces(chunks: Iterable[Located], aliases: Mapping[str, Sequence[Span]]) -> list[Span]:
    """Return the spans that *chunks* stand for: their own, and those of the near-duplicates kept as *aliases*."""
    spans = []
    for chunk in chunks:
        spans.append(Span(chunk.doc_id, chunk.start, chunk.end))
        spans.extend(aliases.get(chunk.chunk_id, ()))
    return spans


def covered(span: Span, pieces: Iterable[Span]) -> float:
    """Return the share of the units of *span* in the union of *pieces*, in [0, 1]."""
    return Cover(pieces, documents={span.doc_id}).share(span)


def level(question: Question) -> Level:
    """Say what the gold of *question* is: spans, else documents (a grade above 0), else nothing to hit."""
    if question.passages:
        return "span"
    return "document" if _relevant(question) else "none"


def _relevant(question: Question) -> list[str]:
    return [doc_id for doc_id, grade in (question.relevant or {}).items() if grade > 0]


def hit(question: Question, cover: Cover, *, share: float = DEFAULT_SHARE) -> Literal[0, 1] | None:
    """Say whether *cover*, the union of some chunks, holds the gold of *question*; None where it has no gold.

    A passage is hit when at least *share* of the units of one of its alternatives is covered; the question when all of
    its passages are, or any of them under `need="any"`. With document-level gold alone one chunk of one relevant
    document is a hit. Raises ConfigError where *share* is outside (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"the gold share is {share}, not in (0, 1]", hint=f"{DEFAULT_SHARE} is the default")
    if not question.passages:
        relevant = _relevant(question)
        return _bit(any(doc_id in cover for doc_id in relevant)) if relevant else None
    found = (any(cover.share(span) >= share for span in passage.alternatives) for passage in question.passages)
    return _bit(all(found) if question.need == "all" else any(found))


def _bit(value: bool) -> Literal[0, 1]:
    return 1 if value else 0


@dataclass(frozen=True, slots=True)
class Funnel:
    """How far the gold of one case came: each stage 1, 0, or None where there was nothing to judge."""

    level: Level
    in_corpus: Literal[0, 1] | None
    indexed: Literal[0, 1] | None
    dense: Literal[0, 1] | None
    """The dense leg on its own: informative, no arrow of the funnel."""
    lexical: Literal[0, 1] | None
    """The lexical leg on its own: informative, no arrow of the funnel."""
    snapshot: Literal[0, 1] | None
    context: Literal[0, 1] | None
    used: Literal[0, 1] | None
    right: Literal[0, 1] | None

    @property
    def lost_at(self) -> Stage | None:
        """The first arrow where the case is lost: the first of `STAGES` that is 0; None: not lost, or not judged."""
        return next((stage for stage in STAGES if getattr(self, stage) == 0), None)


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans (aliases included, see `pieces`) that one case had at each stage; None: the stage did not run."""

    dense: Sequence[Span] | None
    lexical: Sequence[Span] | None
    snapshot: Sequence[Span] | None
    context: Sequence[Span] | None
    used: Sequence[Span] | None
    """Of the chunks that the reader says it used; None: it does not say."""
    right: bool | None
    """Whether the answer is right; None: nothing to compare it with, or no reader."""


def funnel(
    question: Question, trace: Trace, *, corpus: Container[str], indexed: Cover, share: float = DEFAULT_SHARE
) -> Funnel:
    """Return how far the gold of *question* came.

    *corpus* holds the doc_ids that were offered to the ingest, *indexed* is the `Cover` of the pieces of all indexed
    chunks, built once for all questions. Used means: any passage is covered by what the reader used, also where all are
    needed: a reader that used gold used gold; whether all of it reached the reader is what `context` says.
    """
    documents, used = _gold_documents(question), trace.used

    def at(stage: Sequence[Span] | None) -> Literal[0, 1] | None:
        return None if stage is None else hit(question, Cover(stage, documents=documents), share=share)

    return Funnel(
        level=level(question),
        in_corpus=in_corpus(question, corpus),
        indexed=hit(question, indexed, share=share),
        dense=at(trace.dense),
        lexical=at(trace.lexical),
        snapshot=at(trace.snapshot),
        context=at(trace.context),
        used=None
        if used is None
        else hit(replace(question, need="any"), Cover(used, documents=documents), share=share),
        right=None if trace.right is None else _bit(trace.right),
    )


def _gold_documents(question: Question) -> set[str]:
    if question.passages:
        return {span.doc_id for passage in question.passages for span in passage.alternatives}
    return set(_relevant(question))


def in_corpus(question: Question, corpus: Container[str]) -> Literal[0, 1] | None:
    """Say whether as many passages as are needed (document level: any relevant document) are in *corpus*."""
    if question.passages:
        found = (any(span.doc_id in corpus for span in passage.alternatives) for passage in question.passages)
        return _bit(all(found) if question.need == "all" else any(found))
    relevant = _relevant(question)
    return _bit(any(doc_id in corpus for doc_id in relevant)) if relevant else None


class Folded:
    """A text in which every run of white space is one space, with the way back to its bytes. Made once, asked often."""

    __slots__ = ("_body", "_places", "_shifts")

    def __init__(self, text: str) -> None:
        """Fold *text*: 10 to 30 ms per MB; keeps as much memory as its UTF-8 form."""
        import numpy as np  # brought in by whoever folds: most who need this module's nouns have no use for it

        raw = np.frombuffer(text.encode(), dtype=np.uint8)
        blank = np.frombuffer(_ASCII_SPACE, dtype=np.bool_)[raw]
        if not text.isascii():
            for wide in _WIDE_SPACE.finditer(raw.data):
                blank[wide.start() : wide.end()] = True
        before = np.concatenate(([False], blank[:-1])) if len(raw) else blank
        first = blank & ~before
        self._body = np.where(first, np.uint8(0x20), raw)[~blank | first].tobytes()
        starts = np.flatnonzero(first)
        ends = np.append(np.flatnonzero(before & ~blank), len(raw))[: len(starts)]
        shifts = np.cumsum(ends - starts - 1)
        changed = ends - starts > 1
        self._places: list[int] = (ends - shifts)[changed].tolist()  # folded offsets just behind the runs that shrank
        self._shifts: list[int] = shifts[changed].tolist()  # and what leads back from there on

    def locate(self, quote: str) -> list[tuple[int, int]]:
        """Return the byte spans, in the unfolded text, of each occurrence of *quote*; overlapping ones count apart.

        White space around the quote is ignored, a quote of nothing else occurs nowhere.
        """
        wanted = " ".join(quote.split()).encode()
        spans = []
        at = self._body.find(wanted) if wanted else -1
        while at >= 0:
            spans.append((self._raw(at), self._raw(at + len(wanted))))
            at = self._body.find(wanted, at + 1)
        return spans

    def _raw(self, place: int) -> int:
        index = bisect_right(self._places, place)
        return place + (self._shifts[index - 1] if index else 0)


def locate(quote: str, text: str) -> list[tuple[int, int]]:
    """Return the byte spans of *quote* in *text*, any run of white space being equal to any other; see `Folded`."""
    return Folded(text).locate(quote)


def resolve(quote: str, doc_id: str, docs: Mapping[str, Folded]) -> Passage | Problem:
    """Return the passage that *quote* of document *doc_id* names, or why it names none.

    It must occur exactly once in its document, so that nothing is guessed. Occurrences in other documents hold the same
    fact, so each becomes a further alternative, behind the named one, by (doc_id, start).
    """
    if doc_id not in docs:
        return Problem(f"document {doc_id} is not in the corpus")
    if not quote.strip():
        return Problem("the quote is empty")
    here = docs[doc_id].locate(quote)
    if len(here) != 1:
        return Problem(f"occurs {len(here)} times in {doc_id}" if here else f"not in document {doc_id}")
    others = (Span(other, *ends) for other in sorted(docs) if other != doc_id for ends in docs[other].locate(quote))
    return Passage((Span(doc_id, *here[0]), *others))


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of the gold was retrieved, and how much of what was retrieved is gold; shares in [0, 1]."""

    recall: float | None
    precision: float | None
    iou: float | None


def overlap(gold: Iterable[Span], retrieved: Sequence[Span], *, aliases: Iterable[Span] = ()) -> Overlap:
    """Return recall, precision and intersection over union of *retrieved* against *gold*.

    With G the units of the gold (each counted once), R the units of the retrieved chunks (a unit in two of them counted
    twice, chunks of other documents counted: all of it is read) and H the units of the gold in any retrieved chunk
    (once): recall = H / G, precision = H / R, IoU = H / (R + G - H). These are the measures of the report "Evaluating
    Chunking Strategies for Retrieval" (Smith & Troynikov, Chroma 2024); a unit is a byte or a code point, as long as
    both sides use the same. *aliases*, the spans of near-duplicates that retrieved chunks stand for, may hold gold but
    are not read, so they count in H (in precision and IoU up to R) and not in R. Recall is None without gold, precision
    None where nothing was retrieved, IoU None without gold.
    """
    wanted = Cover(gold)
    gold_spans = wanted.spans()
    total = _units(gold_spans)
    read = _units(retrieved)
    cover = Cover((*retrieved, *aliases) if retrieved else (), documents=wanted)
    found = sum(cover.units(span) for span in gold_spans)
    shared = min(found, read)
    return Overlap(
        recall=found / total if total else None,
        precision=shared / read if read else None,
        iou=shared / (read + total - found) if total else None,
    )


def precision_omega(gold: Iterable[Span], chunks: Iterable[Span]) -> float | None:
    """Return the best precision that *chunks*, all of an index, allow: every chunk that holds gold is retrieved.

    H / (U + M): H the units of the gold in any chunk, U the units of the union of the chunks that share at least one
    unit with it, M the units of the gold in no chunk (the report's precision-omega, see `overlap`; unlike precision it
    counts a unit in two chunks once). None without gold.
    """
    wanted = Cover(gold)
    holding = Cover(chunk for chunk in chunks if chunk.doc_id in wanted and wanted.units(chunk))
    gold_spans = wanted.spans()
    total = _units(gold_spans)
    found = sum(holding.units(span) for span in gold_spans)
    return found / (_units(holding.spans()) + total - found) if total else None


def _units(spans: Iterable[Span]) -> int:
    return sum(span.end - span.start for span in spans)


def nearest(question: Question, cover: Cover) -> list[Span]:
    """Return one gold span per passage, for `overlap`: the alternative that *cover* holds most of, else the first."""
    return [max(passage.alternatives, key=cover.share) for passage in question.passages]
