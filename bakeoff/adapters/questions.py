"""Question files → questions whose gold is spans of the stored texts.

Callers may rely on: a file with anything wrong in it raises one InputError that lists every problem; a question whose
gold is not in this corpus is left out with the reason, never guessed; each document is read once, whatever the number
of questions; the digest is over the content as given and so the same for every corpus.

A question is one line of JSON: `id`, `question`, `gold` (a list of `{"doc", "quote"}`), and where wanted `answers`,
`tags`, and `need` (`all` passages, the default, or `any`). One that the corpus can't answer has an empty `gold` and the
tag `unanswerable`. The quotes are gold answers too: a reader that answers with the passage itself is right.
`beir:DIR[:split]` reads the BEIR layout instead (see `beir`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff import canonical
from bakeoff.adapters import beir
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
from bakeoff.gold import Folded, Passage, Question, Span

__all__ = ["DocumentSource", "LeftOut", "QuestionSet", "load_questions", "require"]

UNANSWERABLE = "unanswerable"
_REQUIRED = ("id", "question", "gold")
_KEYS = frozenset({*_REQUIRED, "answers", "tags", "need"})
_GOLD_KEYS = frozenset({"doc", "quote"})
_HINT = 'a line looks like {"id": "q1", "question": "...", "gold": [{"doc": "...", "quote": "..."}], "answers": []}'


def load_questions(spec: str, texts: DocumentSource) -> QuestionSet:
    """Return the questions that *spec* names, their gold resolved against *texts*.

    *spec* is a JSON lines file of the form above, or `beir:DIR[:split]`. Raises InputError where it can't be used.
    """
    if spec.startswith("beir:"):
        return beir.load(spec.removeprefix("beir:"), texts)
    path = _file(spec)
    given = _parse(path)
    resolved = _resolve({(doc, quote) for row in given for doc, quote in _gold(row)}, texts)
    questions: list[Question] = []
    left_out: list[LeftOut] = []
    for row in given:
        found = [resolved[pair] for pair in _gold(row)]
        reasons = [one for one in found if isinstance(one, str)]
        if reasons:
            left_out.append(LeftOut(row["id"], "; ".join(dict.fromkeys(reasons))))
        else:
            questions.append(_question(row, tuple(one for one in found if isinstance(one, Passage))))
    asked = tuple(questions)
    return QuestionSet(path.stem, canonical.digest(given), asked, tuple(left_out), gold_level(asked))


def require(spec: str) -> None:
    """Raise InputError where the questions that *spec* names can't be used, whatever the corpus."""
    if spec.startswith("beir:"):
        beir.require(spec.removeprefix("beir:"))
    else:
        _parse(_file(spec))


def _file(spec: str) -> Path:
    if Path(spec).is_dir():
        raise InputError(f"{spec} is a folder, expected a .jsonl file", hint=f"for the BEIR layout: beir:{spec}")
    return Path(spec)


def _gold(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["doc"], one["quote"]) for one in row["gold"]]


def _question(row: dict[str, Any], passages: tuple[Passage, ...]) -> Question:
    return Question(
        question_id=row["id"],
        text=row["question"],
        passages=passages,
        answers=_answers(row),
        answerable=bool(passages),
        need=row.get("need", "all"),
        tags=tuple(row.get("tags", ())),
    )


def _answers(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the gold answers: those given, and the quotes, white space folded (all as one, or under `any` each)."""
    quotes = [" ".join(quote.split()) for _, quote in _gold(row)]
    joined = quotes if row.get("need") == "any" else [" ".join(quotes)] * bool(quotes)
    return tuple(dict.fromkeys((*row.get("answers", ()), *joined)))


# --- The file ---------------------------------------------------------------------------------------------------


def _parse(path: Path) -> list[dict[str, Any]]:
    """Return the rows of *path*, checked. Raises InputError with every problem."""
    problems = Problems(path)
    first: dict[str, int] = {}
    given = []
    for number, row in rows(problems):
        for what in _row_problems(row):
            problems.add(number, what)
        question_id = row.get("id")
        if isinstance(question_id, str) and first.setdefault(question_id, number) != number:
            problems.add(number, f"the id {question_id} is already that of line {first[question_id]}")
        given.append(row)
    problems.stop(hint=_HINT)
    if not given:
        raise InputError(f"{path} holds no questions", hint=_HINT)
    return given


def _row_problems(row: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one question."""
    missing = [key for key in _REQUIRED if key not in row]
    if missing:
        yield f"there is no {', no '.join(missing)}"
    unknown = sorted(row.keys() - _KEYS)
    if unknown:
        yield f"unknown key {', '.join(unknown)}; known are {', '.join(sorted(_KEYS))}"
    told = (("id", id_problem), ("question", text_problem))
    found = [problem(row[key], key) for key, problem in told if key in row]
    found += [texts_problem(row[key], key) for key in ("answers", "tags") if key in row]
    yield from (what for what in found if what)
    if row.get("need", "all") not in ("all", "any"):
        yield 'need is neither "all" nor "any"'
    if "gold" in row:
        yield from _gold_problems(row["gold"], row.get("tags", []))


def _gold_problems(gold: object, tags: object) -> Iterator[str]:
    if not isinstance(gold, list):
        yield "gold is not a list"
        return
    unanswerable = isinstance(tags, list) and UNANSWERABLE in tags
    if not gold and not unanswerable:
        yield f"gold is empty, but the tag {UNANSWERABLE} is not there"
    if gold and unanswerable:
        yield f"the tag {UNANSWERABLE} is there, but gold is not empty"
    for one in gold:
        if not isinstance(one, dict) or one.keys() != _GOLD_KEYS:
            yield 'an entry of gold is not {"doc", "quote"}'
            continue
        yield from (said for key in sorted(_GOLD_KEYS) if (said := text_problem(one[key], f"{key} of gold")))


# --- Quotes → spans ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Index:
    """Quotes by a word that a document must hold to hold the quote."""

    by_word: dict[str, list[str]]
    others: list[str]
    """Quotes of one or two words: any document may hold them."""

    @classmethod
    def of(cls, quotes: Iterable[str]) -> _Index:
        """Index *quotes* by their longest inner word; the first and the last one may be parts of longer words."""
        by_word: dict[str, list[str]] = {}
        others: list[str] = []
        for quote in quotes:
            inner = quote.split()[1:-1]
            if inner:
                by_word.setdefault(max(inner, key=len), []).append(quote)
            else:
                others.append(quote)
        return cls(by_word, others)

    def possible(self, text: str) -> list[str]:
        """Return the quotes that *text* may hold."""
        words = self.by_word.keys() & set(text.split())
        return [*self.others, *(quote for word in sorted(words) for quote in self.by_word[word])]


def _resolve(pairs: set[tuple[str, str]], texts: DocumentSource) -> dict[tuple[str, str], Passage | str]:
    """Return what each (document, quote) names, or why nothing; the rules are those of `gold.resolve`.

    That function wants every folded text at hand; here each text is seen once and only the places found are kept.
    """
    if not pairs:
        return {}
    index = _Index.of(sorted({quote for _, quote in pairs}))
    named = {doc for doc, _ in pairs}
    present: set[str] = set()
    places: dict[str, list[Span]] = {}
    for doc_id, text in texts.items():
        if doc_id in named:
            present.add(doc_id)
        possible = index.possible(text)
        if possible:
            folded = Folded(text)
            for quote in possible:
                spans = (Span(doc_id, start, end) for start, end in folded.locate(quote))
                places.setdefault(quote, []).extend(spans)
    return {pair: _passage(*pair, places.get(pair[1], []), present) for pair in sorted(pairs)}


def _passage(doc_id: str, quote: str, places: list[Span], present: set[str]) -> Passage | str:
    if doc_id not in present:
        return f"document {doc_id} is not in the corpus"
    here = [span for span in places if span.doc_id == doc_id]
    if len(here) != 1:
        shown = quote if len(quote) <= 60 else quote[:59] + "…"  # noqa: PLR2004 - as much as a line bears
        found = f"occurs {len(here)} times in" if here else "is not in document"
        return f"the quote {' '.join(shown.split())!r} {found} {doc_id}"
    return Passage((*here, *sorted(span for span in places if span.doc_id != doc_id)))
