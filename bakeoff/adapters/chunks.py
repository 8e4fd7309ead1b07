"""The chunk table of a lock: made, filled, indexed, dropped.

Callers may rely on: names come from the lock alone; chunks are stored in the order of their ordinals, which is that of
(doc_id, start); building an index twice builds it once; nothing here commits but `build_indexes` and `vacuum`, which
need an autocommit connection.

Storage: texts stay uncompressed outside the row and vectors inside it. With 450-token chunks and 384 dimensions an
insert then stores 25,000 chunks/s where PostgreSQL's defaults store 17,600, and an exact scan takes half the time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from bakeoff.adapters import lexical as lexical_index
from bakeoff.adapters import queries
from bakeoff.adapters.lexical import Lexical
from bakeoff.config import IndexConfig, Lock
from bakeoff.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bakeoff.adapters.postgres import Connection

BYTES_INSIDE = 6000
"""A vector up to this size stays in its row; a page holds 8,160 bytes and the other columns need room."""
MEMORY_KB = (65_536, 1_048_576)
"""Bounds of maintenance_work_mem for an index build."""
POLL_SECONDS = 0.25

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total), in the units of the server's own report; total 0 means not known yet."""


@dataclass(frozen=True, slots=True)
class Names:
    """What belongs to one chunk table."""

    table: str
    aliases: str
    lexemes: str
    dense_index: str
    lexical_index: str
    ordinal_index: str


def names(lock: Lock) -> Names:
    """Return the names that belong to *lock*'s chunk table."""
    table = lock.table_name
    return Names(
        table=table,
        aliases=f"{table}_aliases",
        lexemes=lexical_index.lists_name(table),
        dense_index=f"{table}_dense",
        lexical_index=lexical_index.index_name(table),
        ordinal_index=f"{table}_ordinal",
    )


def create(conn: Connection, lock: Lock) -> None:
    """Make the empty chunk table and its alias table. Raises StateError where it exists."""
    name = names(lock)
    if exists(conn, lock):
        raise StateError(f"the chunk table {name.table} exists", hint="resume its ingest, or drop it first")
    table = sql.Identifier(name.table)
    conn.execute(
        queries.get("chunks.create_table").format(
            table=table,
            ordinal_index=sql.Identifier(name.ordinal_index),
            vector_type=sql.Identifier(lock.config.index.storage),
            dimension=sql.Literal(lock.embedder.dimension),
        )
    )
    conn.execute(queries.get("chunks.store_texts_outside").format(table=table))
    width = 4 if lock.config.index.storage == "vector" else 2
    if lock.embedder.dimension * width <= BYTES_INSIDE:
        conn.execute(queries.get("chunks.store_vectors_inside").format(table=table))
    conn.execute(queries.get("chunks.create_aliases").format(aliases=sql.Identifier(name.aliases), table=table))


def exists(conn: Connection, lock: Lock) -> bool:
    """Return whether the chunk table is there."""
    return _relation(conn, names(lock).table)[0]


def lost(conn: Connection, lock: Lock) -> str | None:
    """Return the name of the table of chunks or aliases that is not there, or None."""
    name = names(lock)
    return next((table for table in (name.table, name.aliases) if not _relation(conn, table)[0]), None)


def served_by(lock: Lock, lexical: Lexical) -> tuple[str, str]:
    """Return the names of the indexes that retrieval goes by: the vector one, the lexical one."""
    name = names(lock)
    return name.dense_index, name.lexical_index if lexical == "pg_textsearch" else f"{name.lexemes}_pkey"


def missing(conn: Connection, lock: Lock, lexical: Lexical) -> tuple[str, ...]:
    """Return the names of those indexes that are not there or not complete."""
    return tuple(index for index in served_by(lock, lexical) if not _relation(conn, index)[1])


def drop_indexes(conn: Connection, lock: Lock, indexes: Collection[str]) -> None:
    """Remove those of `served_by` that *indexes* names; inverted lists go with their table."""
    name = names(lock)
    for index in (name.dense_index, name.lexical_index):
        if index in indexes:
            conn.execute(queries.get("chunks.drop_index").format(index=sql.Identifier(index)))
    if f"{name.lexemes}_pkey" in indexes:
        conn.execute(queries.get("chunks.drop_table").format(table=sql.Identifier(name.lexemes)))


def count(conn: Connection, lock: Lock) -> int:
    """Return how many chunks the table holds."""
    row = conn.execute(queries.get("chunks.count").format(table=sql.Identifier(lock.table_name))).fetchone()
    return 0 if row is None else int(row[0])


def bytes_taken(conn: Connection, lock: Lock) -> int:
    """Return what the chunk table takes with all that belongs to it; 0 where there is none."""
    name = names(lock)
    tables = [name.table, name.aliases, name.lexemes]
    row = conn.execute(queries.get("chunks.bytes_taken"), {"tables": tables}).fetchone()
    return 0 if row is None else int(row[0])


def drop(conn: Connection, lock: Lock) -> None:
    """Remove the chunk table and all that belongs to it; nothing happens where there is none."""
    name = names(lock)
    for table in (name.lexemes, name.aliases, name.table):
        conn.execute(queries.get("chunks.drop_table").format(table=sql.Identifier(table)))


def build_indexes(
    conn: Connection,
    lock: Lock,
    lexical: Lexical,
    *,
    progress: Progress | None = None,
    watcher: Connection | None = None,
) -> None:
    """Build the vector and the lexical index of *lock* where they are missing, incomplete ones anew.

    *watcher* is a second connection, autocommit, over which the server is asked how far *conn* is; without it
    *progress* hears of the start and the end of each stage only. Raises StateError for a chunk that can't be indexed.
    """
    index, name = lock.config.index, names(lock)
    _drop_incomplete(conn, name)
    memory_kb = _build_memory_kb(count(conn, lock), lock)
    conn.execute(queries.get("retrieve.set"), {"name": "maintenance_work_mem", "value": f"{memory_kb}kB"})
    with _reported(conn, "vector index", progress, watcher):
        conn.execute(_dense_index(index, name))
    with _reported(conn, "lexical index", progress, watcher):
        lexical_index.build(conn, name.table, index, lexical)


def vacuum(conn: Connection, lock: Lock, lexical: Lexical) -> None:
    """VACUUM ANALYZE what was just written. Needs an autocommit connection."""
    name = names(lock)
    for table in (name.table, name.aliases, *([name.lexemes] if lexical == "lists" else [])):
        conn.execute(queries.get("chunks.vacuum").format(table=sql.Identifier(table)))


def _relation(conn: Connection, name: str) -> tuple[bool, bool]:
    row = conn.execute(queries.get("chunks.relation"), {"name": name}).fetchone()
    return (False, False) if row is None else (bool(row[0]), bool(row[1]))


def _drop_incomplete(conn: Connection, name: Names) -> None:
    for index in (name.dense_index, name.lexical_index):
        present, valid = _relation(conn, index)
        if present and not valid:
            conn.execute(queries.get("chunks.drop_index").format(index=sql.Identifier(index)))


def _dense_index(index: IndexConfig, name: Names) -> sql.Composed:
    """Return the statement that builds the vector index.

    The operators are cosine although vectors are of unit length: HNSW then walks by inner product over vectors that it
    normalised itself, so it costs no more, halfvec's rounding of lengths can't reorder neighbours, and a zero vector is
    left out where under inner product it would rank above every opposite.
    """
    parts = {
        "index": sql.Identifier(name.dense_index),
        "table": sql.Identifier(name.table),
        "operators": sql.Identifier(f"{index.storage}_cosine_ops"),
    }
    if index.vector == "ivfflat":
        return queries.get("chunks.build_ivfflat").format(**parts, lists=sql.Literal(index.ivfflat_lists))
    return queries.get("chunks.build_hnsw").format(
        **parts, m=sql.Literal(index.hnsw_m), ef_construction=sql.Literal(index.hnsw_ef_construction)
    )


def _build_memory_kb(chunks: int, lock: Lock) -> int:
    """Return maintenance_work_mem for a graph that is built in memory: vectors and 2 m neighbours of 8 bytes, twice."""
    width = lock.embedder.dimension * 4 + lock.config.index.hnsw_m * 2 * 8 + 200
    low, high = MEMORY_KB
    return min(high, max(low, 2 * chunks * width // 1024))


@contextmanager
def _reported(conn: Connection, name: str, progress: Progress | None, watcher: Connection | None) -> Iterator[None]:
    """Tell *progress* of the start, the middle (where there is a *watcher*) and the end of a build on *conn*."""
    if progress is None:
        yield
        return
    tell, pid, last, done = progress, conn.info.backend_pid, [0], threading.Event()

    def poll(eyes: Connection) -> None:
        while not done.wait(POLL_SECONDS):
            row = eyes.execute(queries.get("chunks.index_progress"), {"pid": pid}).fetchone()
            if row is not None:
                last[0] = int(row[2])
                tell(name, int(row[1]), int(row[2]))

    tell(name, 0, 0)
    thread = None if watcher is None else threading.Thread(target=poll, args=(watcher,), daemon=True)
    if thread is not None:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if thread is not None:
            thread.join()
    tell(name, last[0] or 1, last[0] or 1)
