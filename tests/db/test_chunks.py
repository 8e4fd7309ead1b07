"""The chunk table: filled from the cache of embeddings, indexed once, dropped without a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

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
Stage = Callable[[int, str], chunks.StagedChunk]


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
    assert [(0, "doc-00000", 0, 11, 2, 4, "run", "", "first text", "first text")] == [row[:10] for row in rows[:1]]
    stored = np.array([np.fromstring(row[10][1:-1], sep=",") for row in rows])
    assert embed(texts) == pytest.approx(stored, abs=1e-6)
    assert 2 == chunks.count(conn, lock)


@pytest.mark.parametrize(("storage", "dimension"), [("vector", 8), ("vector", 2000), ("halfvec", 8), ("halfvec", 4000)])
def test_the_longest_indexable_vectors_fit(
    conn: Connection, make_lock: MakeLock, fill: Fill, storage: str, dimension: int
) -> None:
    """Vectors of every dimension that an index can hold are stored and indexed, beside long texts and ids."""
    lock = make_lock(dimension=dimension, index={"storage": storage})
    fill(lock, ["word " * 2000, "other"], backends=["gin"])
    assert 2 == chunks.count(conn, lock)


def test_a_missing_vector_stops_the_store(conn: Connection, make_lock: MakeLock, stage_of: Stage) -> None:
    """A chunk whose text was never embedded is counted and refused, not left out."""
    lock = make_lock()
    chunks.create(conn, lock)
    staged = chunks.stage(conn, [stage_of(0, "never embedded")])
    with pytest.raises(StateError, match="1 of 1 chunks have no vector"):
        chunks.store(conn, lock, embedder_id=1, staged=staged)


def test_a_table_is_made_once_and_dropped_whole(conn: Connection, make_lock: MakeLock, fill: Fill) -> None:
    """Making it twice is refused; after dropping, nothing of it is left and dropping again is no error."""
    lock = make_lock()
    fill(lock, ["one", "two"], backends=["gin"])
    with pytest.raises(StateError, match=f"the chunk table {lock.table_name} exists"):
        chunks.create(conn, lock)
    chunks.drop(conn, lock)
    chunks.drop(conn, lock)
    left = conn.execute("SELECT relname FROM pg_class WHERE relname LIKE %s", (f"{lock.table_name}%",)).fetchall()
    assert [] == left
    assert not chunks.exists(conn, lock)


def test_wrong_rows_are_refused_by_the_table(conn: Connection, make_lock: MakeLock, stage_of: Stage) -> None:
    """An id that is no SHA-1 and a span that is empty never get in."""
    lock = make_lock()
    chunks.create(conn, lock)
    insert = (
        f"INSERT INTO {lock.table_name} (chunk_id, ordinal, doc_id, span_start, span_end, token_count, "  # noqa: S608  # the lock's own name
        "embedding_token_count, ingest_run_id, fp, prefix, text, lexical_text, embedding) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, array_fill(1, ARRAY[32])::vector)"
    )
    good = stage_of(0, "text")
    for bad in (replace(good, chunk_id="x"), replace(good, span_end=good.span_start), replace(good, fp="")):
        values = [getattr(bad, name) for name in chunks.StagedChunk.__slots__[:-1]]
        with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
            conn.execute(insert, values)


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
            chunks.build_indexes(conn, lock, "gin", progress=lambda *seen: told.append(seen), watcher=watcher)
        stages = [name for name, done, total in told if (done, total) == (0, 0)]
        assert ["vector index", "lexical index"] * 2 == stages
        assert all(done <= total for _, done, total in told)
        oid = conn.execute("SELECT to_regclass(%s)::oid", (chunks.names(lock).dense_index,)).fetchone()
        conn.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s", oid)
        chunks.build_indexes(conn, lock, "gin")
        valid = conn.execute(queries.get("chunks.relation"), {"name": chunks.names(lock).dense_index}).fetchone()
        assert (True, True) == valid
        chunks.vacuum(conn, lock, "gin")
        analysed = conn.execute("SELECT reltuples FROM pg_class WHERE relname = %s", (lock.table_name,)).fetchone()
        assert (300.0,) == analysed
