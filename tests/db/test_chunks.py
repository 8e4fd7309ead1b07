"""The chunk table: filled from the cache of embeddings, indexed once, dropped without a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from bakeoff.adapters import chunks, postgres, queries
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock
from bakeoff.errors import StateError

MakeLock = Callable[..., Lock]
Fill = Callable[..., None]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def test_a_stored_chunk_keeps_every_field(conn: Connection, make_lock: MakeLock, fill: Fill, embed: Embed) -> None:
    """What was staged is what is stored, with the vector that the cache knows."""
    lock, texts = make_lock(), ["first text", "second text"]
    fill(lock, texts, backends=[])
    fields = (
        "ordinal, doc_id, span_start, span_end, token_count, embedding_token_count, ingest_run_id, prefix, text, "
        "lexical_text"
    )
    rows = conn.execute(
        f"SELECT {fields}, embedding::text FROM {lock.table_name} ORDER BY ordinal"  # noqa: S608  # the lock's own name
    ).fetchall()
    assert [(0, "doc-000000", 0, 11, 2, 4, "run", "", "first text", "first text")] == [row[:10] for row in rows[:1]]
    stored = np.array([np.fromstring(row[10][1:-1], sep=",") for row in rows])
    assert embed(texts) == pytest.approx(stored, abs=1e-6)
    assert 2 == chunks.count(conn, lock)


@pytest.mark.parametrize(("storage", "dimension"), [("vector", 8), ("vector", 2000), ("halfvec", 8), ("halfvec", 4000)])
def test_the_longest_indexable_vectors_fit(
    conn: Connection, make_lock: MakeLock, fill: Fill, storage: str, dimension: int
) -> None:
    """Vectors of every dimension that an index can hold are stored and indexed, beside long texts and ids."""
    lock = make_lock(dimension=dimension, index={"storage": storage})
    fill(lock, ["word " * 2000, "other"], backends=["lists"])
    assert 2 == chunks.count(conn, lock)


def test_a_table_is_made_once_and_dropped_whole(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """Making it twice is refused; after dropping, nothing of it is left and dropping again is no error."""
    lock = make_lock()
    fill(lock, ["one", "two"], backends=["lists"])
    with pytest.raises(StateError, match=f"the chunk table {lock.table_name} exists"):
        chunks.create(conn, lock)
    chunks.drop(conn, lock)
    chunks.drop(conn, lock)
    left = conn.execute("SELECT relname FROM pg_class WHERE relname LIKE %s", (f"{lock.table_name}%",)).fetchall()
    assert [] == left
    assert not chunks.exists(conn, lock)


@pytest.mark.parametrize(
    "change", ["chunk_id = 'x'", "span_end = span_start", "span_start = -1", "fp = ''", "embedding = NULL"]
)
def test_wrong_rows_are_refused_by_the_table(conn: Connection, make_lock: MakeLock, fill: Fill, change: str) -> None:
    """An id that is no SHA-1, a span that is empty, a chunk without a vector: they never get in."""
    lock = make_lock()
    fill(lock, ["text"], backends=[])
    with pytest.raises(psycopg.errors.IntegrityError), conn.transaction():
        conn.execute(f"UPDATE {lock.table_name} SET {change}")  # noqa: S608  # the lock's own name


def test_indexes_are_built_once_and_reported(database_url: str, make_lock: MakeLock, put: Callable[..., None]) -> None:
    """Each stage tells its start and its end; a second build changes nothing; a half-built index is built anew."""
    lock = make_lock()
    with postgres.open_url(database_url) as conn:
        chunks.create(conn, lock)
        put(conn, lock, [f"text number {number}" for number in range(300)])
    with (
        postgres.open_url(database_url, autocommit=True) as conn,
        postgres.open_url(database_url, autocommit=True) as watcher,
    ):
        told: list[tuple[str, int, int]] = []
        for _ in range(2):
            chunks.build_indexes(conn, lock, "lists", progress=lambda *seen: told.append(seen), watcher=watcher)
        stages = [name for name, done, total in told if (done, total) == (0, 0)]
        assert ["vector index", "lexical index"] * 2 == stages
        assert all(done <= total for _, done, total in told)
        oid = conn.execute("SELECT to_regclass(%s)::oid", (chunks.names(lock).dense_index,)).fetchone()
        conn.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s", oid)
        chunks.build_indexes(conn, lock, "lists")
        valid = conn.execute(queries.get("chunks.relation"), {"name": chunks.names(lock).dense_index}).fetchone()
        assert (True, True) == valid
        chunks.vacuum(conn, lock, "lists")
        analysed = conn.execute("SELECT reltuples FROM pg_class WHERE relname = %s", (lock.table_name,)).fetchone()
        assert (300.0,) == analysed
