"""Questions in the BEIR layout: `queries.jsonl` and `qrels/<split>.tsv`.

Callers may rely on: only judged questions are asked and the others are counted; `metadata.answer_spans`, triples of
(document, start, end) in code points, become byte spans, one passage each, all of them needed (unless `metadata.need`
is `any`); the judgements stay beside them as document-level gold.

`metadata.answers` are answers where the question has spans, unless they are labels: single words in capitals
(SUPPORT, CONTRADICT) of which each is given five times or more on average.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff import canonical
from bakeoff.adapters import loaders
from bakeoff.adapters.question_rows import (
    DocumentSource,
    LeftOut,
    Problems,
    QuestionSet,
    gold_level,
    id_problem,
    rows,
    text_problem,
    texts_problem,
)
from bakeoff.errors import InputError
from bakeoff.gold import Passage, Question, Span

DEFAULT_SPLIT = "test"
_LABEL = re.compile(r"[A-Z]+(?:[_ -][A-Z]+)*")
_LABEL_REPEATS = 5
_COLUMNS = 3
_HINT = "the layout is queries.jsonl (_id, text) and qrels/<split>.tsv (query-id, corpus-id, score)"

Triple = tuple[str, int, int]


def load(where: str, texts: DocumentSource) -> QuestionSet:
    """Return the judged questions of *where*, `DIR` or `DIR:split`. Raises InputError where the files can't be used."""
    folder, split = _place(where)
    judged = _judgements(folder / "qrels" / f"{split}.tsv")
    queries = _queries(folder / "queries.jsonl")
    given = {query_id: row for query_id, row in queries.items() if query_id in judged}
    converter = _Converter.of((triple for row in given.values() for triple in _triples(row)), texts)
    labels = _are_labels([answer for row in given.values() for answer in _metadata(row).get("answers") or ()])
    questions: list[Question] = []
    left_out = [LeftOut(one, "judged, but not in queries.jsonl") for one in judged if one not in given]
    for query_id, row in given.items():
        found = [converter.convert(triple) for triple in dict.fromkeys(_triples(row))]
        reasons = [one for one in found if isinstance(one, str)]
        if reasons:
            left_out.append(LeftOut(query_id, "; ".join(dict.fromkeys(reasons))))
        else:
            passages = tuple(Passage((one,)) for one in found if isinstance(one, Span))
            questions.append(_question(row, passages, judged[query_id], labels=labels))
    asked = tuple(questions)
    return QuestionSet(
        name=f"{folder.name or folder.resolve().name}:{split}",
        digest=canonical.digest({"queries": list(given.values()), "qrels": judged}),
        questions=asked,
        left_out=tuple(left_out),
        gold_level=gold_level(asked),
        unjudged=len(queries) - len(given),
        absent_documents=_absent(judged, converter, texts),
    )


def require(where: str) -> None:
    """Raise InputError where the files of *where* can't be used, whatever the corpus."""
    folder, split = _place(where)
    _judgements(folder / "qrels" / f"{split}.tsv")
    _queries(folder / "queries.jsonl")


def _place(where: str) -> tuple[Path, str]:
    if not Path(where).is_dir():
        folder, _, split = where.rpartition(":")
        if folder and re.fullmatch(r"[\w.-]+", split):
            return Path(folder), split
    return Path(where), DEFAULT_SPLIT


def _question(row: dict[str, Any], passages: tuple[Passage, ...], grades: dict[str, int], *, labels: bool) -> Question:
    metadata = _metadata(row)
    answers = tuple(metadata.get("answers") or ()) if passages and not labels else ()
    need = metadata.get("need", "all")
    return Question(row["_id"], row["text"], passages, answers, relevant=dict(grades), need=need)


def _are_labels(answers: list[str]) -> bool:
    """Tell whether *answers*, of a whole set, are class labels (see the module)."""
    if not answers or not all(_LABEL.fullmatch(answer) for answer in answers):
        return False
    return len(answers) >= _LABEL_REPEATS * len(set(answers))


def _absent(judged: dict[str, dict[str, int]], converter: _Converter, texts: DocumentSource) -> tuple[str, ...]:
    """Return the judged documents that the corpus does not hold, by id."""
    documents = {doc_id for grades in judged.values() for doc_id in grades}
    known = {doc_id for doc_id in documents if doc_id in converter.present}
    return tuple(sorted(doc_id for doc_id in documents - known if texts.get(doc_id) is None))


# --- The files --------------------------------------------------------------------------------------------------


def _queries(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of *path* by id. Raises InputError with every problem."""
    problems = Problems(path)
    first: dict[str, int] = {}
    given = {}
    for number, row in rows(problems):
        for what in _row_problems(row):
            problems.add(number, what)
        query_id = row.get("_id")
        if isinstance(query_id, str):
            if first.setdefault(query_id, number) != number:
                problems.add(number, f"the _id {query_id} is already that of line {first[query_id]}")
            given[query_id] = row
    problems.stop(hint=_HINT)
    if not given:
        raise InputError(f"{path} holds no questions", hint=_HINT)
    return given


def _row_problems(row: dict[str, Any]) -> Iterator[str]:
    missing = [key for key in ("_id", "text") if key not in row]
    if missing:
        yield f"there is no {', no '.join(missing)}"
    told = (("_id", id_problem), ("text", text_problem))
    found = [problem(row[key], key) for key, problem in told if key in row]
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, dict):
        yield f"metadata is {loaders.type_name(metadata)}, expected an object"
        metadata = {}
    found.append(texts_problem(metadata.get("answers") or [], "metadata.answers"))
    yield from (what for what in found if what)
    spans = metadata.get("answer_spans") or []
    if not isinstance(spans, list) or not all(_is_triple(span) for span in spans):
        yield "metadata.answer_spans is not a list of [document, start, end] with whole numbers"
    if metadata.get("need", "all") not in ("all", "any"):
        yield 'metadata.need is neither "all" nor "any"'


def _is_triple(span: object) -> bool:
    return (
        isinstance(span, list)
        and len(span) == _COLUMNS
        and isinstance(span[0], str)
        and all(type(place) is int for place in span[1:])
    )


def _metadata(row: dict[str, Any]) -> dict[str, Any]:
    return row.get("metadata") or {}


def _triples(row: dict[str, Any]) -> list[Triple]:
    return [(doc_id, start, end) for doc_id, start, end in _metadata(row).get("answer_spans") or ()]


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    """Return query id → document id → grade. Raises InputError with every problem."""
    problems = Problems(path)
    judged: dict[str, dict[str, int]] = {}
    with loaders.opened(path) as file:
        for number, raw in enumerate(file, start=1):
            try:
                cells = raw.decode("utf-8").rstrip("\r\n").split("\t")
            except UnicodeDecodeError as error:
                problems.add(number, f"not UTF-8 (byte {error.start} of the line)")
                continue
            if cells == [""] or (number == 1 and cells[-1] == "score"):
                continue
            if len(cells) != _COLUMNS or not re.fullmatch(r"-?\d{1,9}", cells[-1]):
                problems.add(number, "expected query-id, corpus-id and a whole score with tabs between")
                continue
            query_id, doc_id, grade = cells[0], cells[1], int(cells[2])
            if judged.setdefault(query_id, {}).setdefault(doc_id, grade) != grade:
                problems.add(number, f"{doc_id} is already judged {judged[query_id][doc_id]} for {query_id}")
    problems.stop(hint=_HINT)
    if not judged:
        raise InputError(f"{path} holds no judgements", hint=_HINT)
    return judged


# --- Code points → bytes ----------------------------------------------------------------------------------------


def byte_offsets(text: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return, for each code point of *text* and for its end, how many UTF-8 bytes come before it: len(text) + 1 values.

    Code points below U+0080 take one byte, below U+0800 two, below U+10000 three, the others four (RFC 3629).
    """
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    widths = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)  # noqa: PLR2004 - RFC 3629
    offsets = np.zeros(len(points) + 1, dtype=np.int64)
    np.cumsum(widths, out=offsets[1:])
    return offsets


@dataclass(frozen=True, slots=True)
class _Converter:
    """Every span of a file, converted with each document read once."""

    spans: dict[Triple, Span | str]
    present: frozenset[str]

    @classmethod
    def of(cls, triples: Iterator[Triple], texts: DocumentSource) -> _Converter:
        """Convert *triples* against *texts*."""
        by_document: dict[str, set[Triple]] = {}
        for triple in triples:
            by_document.setdefault(triple[0], set()).add(triple)
        spans: dict[Triple, Span | str] = {}
        present = set()
        for doc_id, wanted in by_document.items():
            text = texts.get(doc_id)
            if text is None:
                spans.update(dict.fromkeys(wanted, f"document {doc_id} is not in the corpus"))
                continue
            present.add(doc_id)
            offsets = byte_offsets(text)
            spans.update((triple, _span(triple, offsets)) for triple in wanted)
        return cls(spans, frozenset(present))

    def convert(self, triple: Triple) -> Span | str:
        """Return *triple* in bytes, or why it can't be."""
        return self.spans[triple]


def _span(triple: Triple, offsets: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Span | str:
    doc_id, start, end = triple
    if not 0 <= start < end < len(offsets):
        return f"the span {start}-{end} is no range in the {len(offsets) - 1} characters of {doc_id}"
    return Span(doc_id, int(offsets[start]), int(offsets[end]))
