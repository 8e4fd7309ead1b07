"""Hybrid retrieval: one round trip, both legs, a total order, the lock's own indexes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bakeoff import fusion
from bakeoff.adapters import lexical, postgres
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.retriever import exact_neighbours, open_retriever, plan_check
from bakeoff.config import Lock
from bakeoff.errors import BakeoffError, InputError, ModelError, StateError

MakeLock = Callable[..., Lock]
Fill = Callable[..., None]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]

TEXTS = [" ".join(topics[name].split()[first : first + 100]) for name in sorted(topics) for first in (0, 100, 200, 300)]
TEXTS = [text for text in TEXTS if text]
QUESTIONS = (
    "how do I catch several exceptions in one except clause?",
    "which operators have the lowest precedence",
    "is a default argument evaluated once",
)


def offered(conn: Connection) -> Sequence[lexical.Lexical]:
    """The backends of this server; lists works everywhere."""
    return ("pg_textsearch", "lists") if postgres.capabilities(conn).has_textsearch else ("lists",)


def place(hit: fusion.Hit) -> str:
    """The chunk's place in (doc_id, start) order, as a text that sorts as it does: ties go by it."""
    return f"{hit.doc_id} {hit.start:012d}"


def test_the_snapshot_is_the_fusion_of_both_legs(
    conn: Connection, make_lock: MakeLock, fill: Fill, embed: Embed
) -> None:
    """Order and scores are fusion.rrf over the legs' ranks, and every chunk carries what both legs said of it."""
    both = make_lock(retrieval={"dense_weight": 0.7, "lexical_weight": 1.3, "rrf_k": 10, "snapshot": 100})
    backends = offered(conn)
    fill(both, TEXTS, backends=backends)
    table = {"table_name": both.table_name}
    dense_only = make_lock(retrieval={"lexical_weight": 0.0, "snapshot": 60}).model_copy(update=table)
    lexical_only = make_lock(retrieval={"dense_weight": 0.0, "snapshot": 60}).model_copy(update=table)
    for backend in backends:
        for question, vector in zip(QUESTIONS, embed(QUESTIONS), strict=True):
            hits = open_retriever(conn, both, backend).search(question, vector)
            dense = open_retriever(conn, dense_only, backend).search(question, vector)
            words = open_retriever(conn, lexical_only, backend).search(question, vector)
            legs = [([place(hit) for hit in dense], 0.7), ([place(hit) for hit in words], 1.3)]
            assert fusion.rrf(legs, k=10)[:100] == [(place(hit), hit.score) for hit in hits]
            assert list(range(1, len(hits) + 1)) == [hit.rank for hit in hits]
            near = {hit.chunk_id: hit.dense_rank for hit in dense}
            found = {hit.chunk_id: (hit.lexical_rank, hit.lexical_score) for hit in words}
            assert [near.get(hit.chunk_id) for hit in hits] == [hit.dense_rank for hit in hits]
            assert [found.get(hit.chunk_id, (None, None)) for hit in hits] == [
                (hit.lexical_rank, hit.lexical_score) for hit in hits
            ]
            cosine = {text: float(v @ vector) for text, v in zip(TEXTS, embed(TEXTS), strict=True)}
            assert [cosine[hit.text] for hit in hits] == pytest.approx([hit.dense_score for hit in hits], abs=1e-5)


def test_a_search_is_one_round_trip(
    conn: Connection, make_lock: MakeLock, fill: Fill, embed: Embed, tmp_path: Path
) -> None:
    """From the first search on, the client sends one Sync: bind, execute, wait once."""
    lock = make_lock()
    backends = offered(conn)
    fill(lock, TEXTS[:100], backends=backends)
    for backend in backends:
        retriever = open_retriever(conn, lock, backend)
        for number, question in enumerate(QUESTIONS):
            vector = embed([question])[0]
            log = tmp_path / f"{backend}-{number}"
            with log.open("w") as file:
                conn.pgconn.trace(file.fileno())
                hits = retriever.search(question, vector)
                conn.pgconn.untrace()
            sent = re.findall(r"\tF\t\d+\t(\w+)", log.read_text())
            assert hits
            assert ["Bind", "Describe", "Execute", "Sync"] == sent


def test_equal_scores_are_ordered_by_place(conn: Connection, make_lock: MakeLock, fill: Fill, embed: Embed) -> None:
    """Thirty chunks of one text tie in both legs; they come in the order of their places."""
    lock = make_lock()
    backends = offered(conn)
    fill(lock, ["an apple a day"] * 30, backends=backends)
    for backend in backends:
        hits = open_retriever(conn, lock, backend).search("apple", embed(["apple"])[0])
        assert sorted(map(place, hits)) == [place(hit) for hit in hits]
        assert [(rank, rank, rank) for rank in range(1, 31)] == [
            (hit.rank, hit.dense_rank, hit.lexical_rank) for hit in hits
        ]


@pytest.mark.parametrize("index", ["hnsw", "ivfflat"])
@pytest.mark.parametrize("storage", ["vector", "halfvec"])
@pytest.mark.parametrize("size", [1, 5, 79, len(TEXTS)])
def test_plans_use_the_indexes_at_any_size(
    conn: Connection, make_lock: MakeLock, fill: Fill, index: str, storage: str, size: int
) -> None:
    """The planner searches a table of one chunk as it searches a large one, with every kind of index."""
    lock = make_lock(index={"vector": index, "storage": storage, "ivfflat_lists": 4})
    backends = offered(conn)
    fill(lock, TEXTS[:size], backends=backends)
    for backend in backends:
        check = plan_check(conn, lock, backend)
        assert check.ok, "\n".join(check.plan)


@pytest.mark.parametrize("parts", [{}, {"storage": "halfvec"}, {"vector": "ivfflat", "ivfflat_lists": 10}])
def test_the_vector_index_finds_the_nearest(
    conn: Connection, make_lock: MakeLock, fill: Fill, embed: Embed, parts: dict[str, Any]
) -> None:
    """Recall at 40 against the exact scan is at least 0.95 over the questions."""
    lock = make_lock(index=parts, retrieval={"lexical_weight": 0.0, "ivfflat_probes": 8})
    fill(lock, TEXTS, backends=["lists"])
    retriever = open_retriever(conn, lock, "lists")
    shares = []
    for vector in embed([*QUESTIONS, *(text[:80] for text in TEXTS[::20])]):
        exact = exact_neighbours(conn, lock, vector, limit=40)
        shares.append(len(set(exact) & {hit.chunk_id for hit in retriever.search("", vector)}) / 40)
    assert np.mean(shares) >= 0.95


def test_exact_neighbours_are_those_of_numpy(conn: Connection, make_lock: MakeLock, fill: Fill, embed: Embed) -> None:
    """The exact scan orders all chunks by cosine similarity, whatever indexes there are."""
    lock = make_lock()
    fill(lock, TEXTS[:50], backends=["lists"])
    vector, table = embed(QUESTIONS)[0], embed(TEXTS[:50])
    open_retriever(conn, lock, "lists")
    rows = dict(conn.execute(f"SELECT chunk_id, ordinal FROM {lock.table_name}").fetchall())  # noqa: S608  # the lock's own name
    scores = [float(table[rows[chunk]] @ vector) for chunk in exact_neighbours(conn, lock, vector, limit=50)]
    assert sorted((table @ vector).tolist(), reverse=True) == pytest.approx(scores, abs=1e-6)


def test_a_switched_off_leg_needs_no_index(conn: Connection, make_lock: MakeLock, fill: Fill, embed: Embed) -> None:
    """With a weight of 0 the leg is not run: no index of its kind is asked for, and its ranks are None."""
    lock = make_lock(retrieval={"lexical_weight": 0.0})
    fill(lock, TEXTS[:20], backends=["lists"])
    conn.execute(f"DROP TABLE {lock.table_name}_lexemes")
    hits = open_retriever(conn, lock, "lists").search("exception", embed(["exception"])[0])
    assert {None} == {hit.lexical_rank for hit in hits}
    assert 20 == len(hits)


def test_a_missing_index_is_refused_by_name(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """Retrieval that would scan the whole table is refused when it is opened, not slow later."""
    lock = make_lock()
    fill(lock, TEXTS[:20], backends=["lists"])
    conn.execute(f"DROP INDEX {lock.table_name}_dense")
    with pytest.raises(StateError, match=f"retrieval from {lock.table_name} would not use its vector index"):
        open_retriever(conn, lock, "lists")


def test_a_lock_that_was_not_ingested_is_refused(conn: Connection, make_lock: MakeLock) -> None:
    """A lock without a chunk table can't be searched, and the message says which table and what to do."""
    lock = make_lock()
    with pytest.raises(StateError, match=f"the chunk table {lock.table_name} does not exist") as caught:
        open_retriever(conn, lock, "lists")
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("question", "vector", "error", "message"),
    [
        ("a\0b", [1.0] + [0.0] * 31, InputError, "the question has a NUL at character 1"),
        ("\ud800", [1.0] + [0.0] * 31, InputError, "the question is not valid Unicode: surrogates not allowed"),
        ("x" * 500_001, [1.0] + [0.0] * 31, InputError, "the question has 500001 bytes, above 500000"),
        ("x", [1.0], ModelError, r"the question's vector has shape \(1,\), but the chunks have 32 dimensions"),
        ("x", [2.0] + [0.0] * 31, ModelError, "the question's vector has length 2, not 1"),
        ("x", [float("nan")] * 32, ModelError, "the question's vector has length nan, not 1"),
    ],
)
def test_bad_questions_are_refused_in_words(  # four of them are the case
    conn: Connection,
    make_lock: MakeLock,
    fill: Fill,
    question: str,
    vector: list[float],
    error: type[BakeoffError],
    message: str,
) -> None:
    """What PostgreSQL or the index could not take is refused before it is sent, and the connection stays usable."""
    lock = make_lock()
    fill(lock, TEXTS[:5], backends=["lists"])
    retriever = open_retriever(conn, lock, "lists")
    with pytest.raises(error, match=f"^{message}"):
        retriever.search(question, vector)
    assert retriever.search("python", [1.0] + [0.0] * 31)


def test_questions_of_any_length_are_answered(conn: Connection, make_lock: MakeLock, fill: Fill, embed: Embed) -> None:
    """One word or two thousand: the snapshot is full."""
    lock = make_lock(retrieval={"snapshot": 30})
    backends = offered(conn)
    fill(lock, TEXTS, backends=backends)
    page = " ".join(TEXTS).split()
    for backend in backends:
        retriever = open_retriever(conn, lock, backend)
        for words in (1, 10, 100, 2000):
            question = " ".join(page[:words])
            assert 30 == len(retriever.search(question, embed([question])[0]))
