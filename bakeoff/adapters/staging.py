"""Chunks on their way from a document to the chunk table, in tables of their own beside it.

Callers may rely on: every step can be repeated after a kill; memory does not grow with the corpus, since chunks, 3-gram
sets and texts that wait for a vector stay in the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import sql

from bakeoff import dedup
from bakeoff.adapters import queries
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.tables import Tables
from bakeoff.gold import Span

_CURSOR_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Staged:
    """One chunk on its way, with the digest of the text that is embedded and what deduplication compares."""

    doc_id: str
    span_start: int
    span_end: int
    text: str
    prefix: str
    chunk_id: str
    fp: str
    token_count: int
    embedding_token_count: int
    embedding_sha256: bytes
    grams: dedup.Hashes | None


def add(conn: Connection, tables: Tables, staged: Sequence[Staged]) -> None:
    """Copy chunks into the staging table (binary)."""
    with conn.cursor() as cursor, cursor.copy(tables.query("copy_staging")) as copy:
        copy.set_types(["text", "int4", "int4", "text", "text", "text", "text", "int4", "int4", "bytea", "bytea"])
        for item in staged:
            grams = None if item.grams is None else item.grams.tobytes()
            copy.write_row(
                (
                    *(item.doc_id, item.span_start, item.span_end, item.text, item.prefix, item.chunk_id, item.fp),
                    *(item.token_count, item.embedding_token_count, item.embedding_sha256, grams),
                )
            )


def arrange(conn: Connection, tables: Tables, *, dedup_on: bool) -> int:
    """Give every staged chunk its place in (doc_id, start) order, find equal texts; return the number of chunks."""
    with conn.transaction():
        tables.drop_helpers(conn, ("order", "fate", "kept", "pending"))
        for name in ("make_order", "index_order", "make_fate", "make_kept"):
            tables.run(conn, name)
        if dedup_on:
            tables.run(conn, "find_twins")
    for helper in ("order", "staging"):
        table = sql.Identifier(f"{tables.lock.table_name}_{helper}")
        conn.execute(queries.get("server.analyze").format(table=table))
    return tables.number(conn, "count_staged")


def _unpacked(rows: Sequence[tuple[int, bytes]]) -> dict[int, dedup.Hashes]:
    return {ord_: np.frombuffer(grams, dtype=np.uint64) for ord_, grams in rows}


def rarity(reading: Connection, tables: Tables) -> dedup.Rarity:
    """Count the 3-grams of all staged chunks; *reading* holds a cursor open meanwhile."""
    counted = dedup.Rarity()
    with reading.transaction(), reading.cursor(name="grams") as cursor:
        cursor.itersize = _CURSOR_ROWS
        cursor.execute(tables.query("all_grams"))
        while rows := cursor.fetchmany(_CURSOR_ROWS):
            counted.add(np.frombuffer(b"".join(grams for (grams,) in rows), dtype=np.uint64))
    return counted


def _copy_sketches(conn: Connection, grams: dict[int, dedup.Hashes], order: dedup.Rarity, threshold: float) -> None:
    with conn.cursor() as cursor, cursor.copy(queries.get("ingest.copy_sketched")) as copy:
        copy.set_types(["int8", "int4", "int4"])
        for ord_, found in grams.items():
            for h in dedup.sketch(order.ordered(found), threshold).view(np.int64).tolist():
                copy.write_row((h, ord_, len(found)))


def dedup_batch(
    conn: Connection, tables: Tables, places: tuple[int, int], *, order: dedup.Rarity, threshold: float
) -> int:
    """Decide which chunks of *places* (first, behind the last) go, and record it; return how many went.

    Runs in the caller's transaction.
    """
    values: dict[str, Any] = {"first": places[0], "last": places[1], "t": threshold}
    conn.execute(queries.get("ingest.make_sketched"))
    batch = _unpacked(conn.execute(tables.query("batch_grams"), values).fetchall())
    _copy_sketches(conn, batch, order, threshold)
    pairs = conn.execute(tables.query("candidates"), values).fetchall()
    earlier = {ord_ for _, ord_ in pairs} - batch.keys()
    kept = _unpacked(conn.execute(tables.query("grams"), {"ords": sorted(earlier)}).fetchall())
    gone = dedup.duplicates_of(pairs, batch | kept, threshold)
    with conn.cursor() as cursor, cursor.copy(tables.query("copy_fate")) as copy:
        for ord_, survivor in gone.items():
            copy.write_row((ord_, survivor))
    tables.run(conn, "keep_batch", {"gone": list(gone)})
    return len(gone)


def pending(conn: Connection, tables: Tables, *, batch: int) -> Iterator[list[tuple[bytes, str, int]]]:
    """Yield (text digest, text, tokens) of the texts that wait for a vector, shortest first, *batch* at a time.

    *conn* must not be the one that writes: it holds a cursor open meanwhile.
    """
    with conn.transaction(), conn.cursor(name="pending") as cursor:
        cursor.itersize = batch
        cursor.execute(tables.query("pending"))
        while rows := cursor.fetchmany(batch):
            yield [(bytes(digest), body, tokens) for digest, body, tokens in rows]


def store_range(conn: Connection, tables: Tables, first: int, last: int, values: dict[str, Any]) -> int:
    """Move the surviving chunks of the places [first, last) into the chunk table; return how many."""
    config = tables.lock.config
    vector_type = sql.SQL("public.{}({})").format(
        sql.Identifier(config.index.storage), sql.Literal(tables.lock.embedder.dimension)
    )
    more = {"first": first, "last": last, "prefixed": config.prefix.policy == "B"}
    return conn.execute(tables.query("store", vector_type=vector_type), values | more).rowcount


def all_spans(conn: Connection, tables: Tables) -> Iterator[tuple[str, int, int]]:
    """Yield (doc_id, start, end) of everything that the index can find: chunks and aliases."""
    with conn.transaction(), conn.cursor(name="spans") as cursor:
        cursor.itersize = 10_000
        yield from cursor.execute(tables.query("all_spans"))


def aliases_of(conn: Connection, tables: Tables, chunk_ids: set[str]) -> dict[str, list[Span]]:
    """Return the spans of the near-duplicates that each of *chunk_ids* stands for, in order."""
    found: dict[str, list[Span]] = {}
    for chunk_id, doc_id, start, end in conn.execute(tables.query("aliases_of"), {"chunk_ids": sorted(chunk_ids)}):
        found.setdefault(chunk_id, []).append(Span(doc_id, start, end))
    return found
