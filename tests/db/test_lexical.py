"""Both lexical backends, each other, and BM25 written down plainly."""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from pydoc_data.topics import topics

import bm25s
import numpy as np
import pytest

from bakeoff.adapters import lexical, postgres
from bakeoff.adapters.postgres import Capabilities, Connection
from bakeoff.adapters.retriever import open_retriever
from bakeoff.config import Lock
from bakeoff.errors import StateError

SCIFACT = Path(__file__).resolve().parents[3] / "shared" / "data" / "scifact"
BACKENDS: tuple[lexical.Lexical, ...] = ("pg_textsearch", "lists")
K1, B = 1.2, 0.75
LEXICAL_ONLY = {"dense_weight": 0.0, "snapshot": 60}
QUESTIONS = (
    "how do I catch several exceptions in one except clause?",
    "what is the difference between __new__ and __init__",
    "walrus",
    "which operators have the lowest precedence",
    "when is a default argument evaluated, and when is a default argument shared",
    "import a module from the same package",
    "async for outside of a coroutine",
)


def offered(conn: Connection) -> Sequence[lexical.Lexical]:
    """The backends of this server; lists works everywhere."""
    return BACKENDS if postgres.capabilities(conn).has_textsearch else ("lists",)


def windows(words: int = 120) -> list[str]:
    """The language reference in windows of *words* words."""
    found = []
    for name in sorted(topics):
        parts = topics[name].split()
        found += [" ".join(parts[first : first + words]) for first in range(0, len(parts), words)]
    return found


def lexemes(conn: Connection, texts: Sequence[str]) -> list[Counter[str]]:
    """What PostgreSQL makes of each text: lexemes and how often."""
    rows = conn.execute(
        "SELECT array(SELECT row_to_json(l) FROM (SELECT lexeme, cardinality(positions) AS n "
        "FROM unnest(to_tsvector('english', t))) l) FROM unnest(%s::text[]) WITH ORDINALITY AS x (t, o) ORDER BY o",
        (list(texts),),
    ).fetchall()
    return [Counter({item["lexeme"]: item["n"] for item in row[0]}) for row in rows]


def rounded(length: int) -> int:
    """Length in SmallFloat's 4 bits, by search instead of arithmetic: the largest code that is not above it."""
    codes: list[int] = list(range(40)) + [24 + (8 + low) * 2**shift for shift in range(1, 12) for low in range(8)]
    return max(code for code in codes if code <= length)


def plain_bm25(documents: Sequence[Counter[str]], question: Counter[str], *, exact_length: bool = False) -> list[float]:
    """BM25 straight from its definition."""
    full = [document for document in documents if document]
    mean = sum(document.total() for document in full) / len(full)
    df = {term: sum(1 for document in full if term in document) for term in question}
    scores = []
    for document in documents:
        length = document.total() if exact_length else rounded(document.total())
        score = 0.0
        for term, times in question.items():
            tf = document[term]
            idf = math.log(1 + (len(full) - df[term] + 0.5) / (df[term] + 0.5))
            score += times * idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * length / mean))
        scores.append(score)
    return scores


def found(conn: Connection, lock: Lock, backend: lexical.Lexical, question: str) -> dict[int, float]:
    """Ordinal → BM25 of the lexical leg, in the order of its ranks."""
    axis = np.eye(1, lock.embedder.dimension, dtype=np.float32)[0]
    hits = open_retriever(conn, lock, backend).search(question, axis)
    rows = dict(conn.execute(f"SELECT chunk_id, ordinal FROM {lock.table_name}").fetchall())  # noqa: S608  # the lock's own name
    return {rows[hit.chunk_id]: hit.lexical_score or 0.0 for hit in hits}


Fill = Callable[..., None]
MakeLock = Callable[..., Lock]


@pytest.mark.parametrize("length", [0, 1, 39, 40, 41, 55, 56, 87, 88, 257, 300, 1000, 8192, 16383])
def test_lengths_round_as_the_index_does(length: int) -> None:
    """A length is rounded down to the nearest code of four significant bits."""
    assert rounded(length) == lexical.quantised(length)


def test_both_backends_score_as_plain_bm25(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """Every score of either backend is the definition's, over the same lexemes, and so is the set of the best 60."""
    texts = [*windows(), "the of and", "is it"]
    backends = offered(conn)
    lock = make_lock(retrieval=LEXICAL_ONLY)
    fill(lock, texts, backends=backends)
    documents = lexemes(conn, texts)
    for question, terms in zip(QUESTIONS, lexemes(conn, QUESTIONS), strict=True):
        expected = plain_bm25(documents, terms)
        best = sorted((score for score in expected if score > 0), reverse=True)[:60]
        for backend in backends:
            scores = found(conn, lock, backend, question)
            assert best == pytest.approx(list(scores.values()), rel=1e-5)
            assert {o: expected[o] for o in scores} == pytest.approx(scores, rel=1e-5)


def test_scores_are_a_public_librarys_up_to_length_rounding(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """bm25s (method lucene) on the same tokens: times k1 + 1, scores differ by the rounded lengths alone, under 6 %."""
    texts = windows()
    lock = make_lock(retrieval=LEXICAL_ONLY)
    fill(lock, texts, backends=["lists"])
    tokens = [list(document.elements()) for document in lexemes(conn, texts)]
    library = bm25s.BM25(method="lucene", k1=K1, b=B)
    library.index(tokens, show_progress=False)
    for question, terms in zip(QUESTIONS, lexemes(conn, QUESTIONS), strict=True):
        theirs = library.get_scores(list(terms.elements())) * (K1 + 1)
        ours = found(conn, lock, "lists", question)
        assert {ordinal: theirs[ordinal] for ordinal in ours} == pytest.approx(ours, rel=0.06)
        top = set(np.argsort(-theirs, kind="stable")[:10].tolist()) & {o for o in range(len(texts)) if theirs[o] > 0}
        assert len(top) - 2 <= len(top & set(list(ours)[:10]))


@pytest.mark.real
def test_backends_agree_on_scientific_abstracts(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """On 800 SciFact abstracts both backends score 20 claims as plain BM25 does."""
    if not SCIFACT.is_dir():
        pytest.skip("the public data sets are not here")
    rows = [json.loads(line) for line in (SCIFACT / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    claims = [json.loads(line) for line in (SCIFACT / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    chance = random.Random(7)
    texts = [f"{row['title']} {row['text']}" for row in chance.sample(rows, 800)]
    questions = [claim["text"] for claim in chance.sample(claims, 20)]
    lock = make_lock(retrieval=LEXICAL_ONLY)
    backends = offered(conn)
    fill(lock, texts, backends=backends)
    documents = lexemes(conn, texts)
    for question, terms in zip(questions, lexemes(conn, questions), strict=True):
        expected = plain_bm25(documents, terms)
        best = sorted((score for score in expected if score > 0), reverse=True)[:60]
        for backend in backends:
            assert best == pytest.approx(list(found(conn, lock, backend, question).values()), rel=1e-5)


@pytest.mark.parametrize("question", ["", " ", "the of and is", "?!", "xyzzyplugh"])
def test_nothing_to_look_up_finds_nothing(conn: Connection, make_lock: MakeLock, fill: Fill, question: str) -> None:
    """Empty questions, stop words alone and unknown words have no lexical hits and are no error."""
    lock = make_lock(retrieval=LEXICAL_ONLY)
    backends = offered(conn)
    fill(lock, windows()[:50], backends=backends)
    for backend in backends:
        assert {} == found(conn, lock, backend, question)


@pytest.mark.parametrize(
    "question",
    ["it's \\ \" '", "':*&|!<->((", "document_chunks:exception", "$1 %s %(x)s {0} --",
     "\u202e\ufeff 例外 \U0001f600 exception", "a:b:c'::tsquery"],
)  # fmt: skip
def test_any_text_is_a_safe_question(conn: Connection, make_lock: MakeLock, fill: Fill, question: str) -> None:
    """Quotes, operators and placeholders are words or nothing, and both backends read them alike."""
    lock = make_lock(retrieval=LEXICAL_ONLY)
    backends = offered(conn)
    fill(lock, windows()[:200], backends=backends)
    results = [found(conn, lock, backend, question) for backend in backends]
    assert all(results[0] == pytest.approx(result, rel=1e-5) for result in results)


def test_a_repeated_term_counts_as_often_as_it_is_asked(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """A word counts as often as it is asked, 255 times at most; a question of one word alone asks it once."""
    lock = make_lock(retrieval=LEXICAL_ONLY)
    backends = offered(conn)
    fill(lock, windows()[:100], backends=backends)
    for backend in backends:
        once = found(conn, lock, backend, "exception xyzzyplugh")
        for asked, counted in ((2, 2), (300, 255)):
            repeated = found(conn, lock, backend, "xyzzyplugh" + " exception" * asked)
            assert {o: counted * score for o, score in once.items()} == pytest.approx(repeated, rel=1e-5)
        assert once == pytest.approx(found(conn, lock, backend, "exception exception"), rel=1e-5)


def test_a_question_of_two_thousand_words_is_answered_alike(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """A whole page as a question finds the same scores in both backends."""
    texts = windows()[:300]
    lock = make_lock(retrieval=LEXICAL_ONLY)
    backends = offered(conn)
    fill(lock, texts, backends=backends)
    question = " ".join(" ".join(texts).split()[:2000])
    results = [list(found(conn, lock, backend, question).values()) for backend in backends]
    assert all(results[0] == pytest.approx(result, rel=1e-4) for result in results)


def test_more_than_255_occurrences_count_as_255(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """The documented cap: both backends see 255 of 400 occurrences, and a weight under 0.5 % too small."""
    lock = make_lock(retrieval=LEXICAL_ONLY)
    backends = offered(conn)
    fill(lock, ["zebra " * 400, "lion " * 400, "tiger " * 400], backends=backends)
    idf = math.log(1 + 2.5 / 1.5)
    truth = idf * 400 * (K1 + 1) / (400 + K1)
    for backend in backends:
        capped = found(conn, lock, backend, "zebra")[0]
        assert idf * 255 * (K1 + 1) / (255 + K1 * (1 - B + B * rounded(255) / 255)) == pytest.approx(capped, rel=1e-5)
        assert truth == pytest.approx(capped, rel=0.005)


def test_terms_of_long_chunks_are_counted(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """In a chunk of 8,192 words the last word counts as the first does."""
    words = [f"w{number}" for number in range(8190)]
    lock = make_lock(retrieval=LEXICAL_ONLY)
    backends = offered(conn)
    fill(lock, [" ".join(["alpha", *words, "omega"]), "beta"], backends=backends)
    for backend in backends:
        assert found(conn, lock, backend, "alpha") == found(conn, lock, backend, "omega")


def test_a_chunk_with_more_words_than_positions_is_refused(make_lock: MakeLock, fill: Fill) -> None:
    """A chunk of 17,000 words, whose last would be miscounted, is named and refused."""
    with pytest.raises(StateError, match=r"of document doc-000000 has more than 16,383 words") as caught:
        fill(make_lock(), ["few words", " ".join(f"w{number}" for number in range(17000))], backends=["lists"])
    assert caught.value.hint == "lock a smaller chunking.size"


def _capabilities(*, textsearch: str | None, preloaded: str) -> Capabilities:
    return Capabilities("18.1", 180001, "0.8.1", "0.8.1", textsearch, None, preloaded)


def test_the_best_backend_is_chosen_or_a_strict_choice_refused() -> None:
    """`bm25` takes pg_textsearch where it can run, else lists; a strict choice is taken or refused with a hint."""
    able = _capabilities(textsearch="1.0.0", preloaded="pg_textsearch")
    unable = _capabilities(textsearch="1.0.0", preloaded="")
    assert lexical.resolve_lexical("bm25", able) == "pg_textsearch"
    assert lexical.resolve_lexical("pg_textsearch", able) == "pg_textsearch"
    assert lexical.resolve_lexical("lists", able) == "lists"
    assert lexical.resolve_lexical("bm25", unable) == "lists"
    with pytest.raises(StateError, match="does not offer it") as caught:
        lexical.resolve_lexical("pg_textsearch", unable)
    assert re.search("preload it", caught.value.hint or "")
