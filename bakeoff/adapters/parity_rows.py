"""What parity checks read: the cases of a run, the rows of a chunk table, a seeded sample of documents.

Callers may rely on: nothing is written; memory does not grow with the table, since `every_chunk` streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import rows

from bakeoff.adapters import queries
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.tables import Tables
from bakeoff.chunking import Document
from bakeoff.config import Lock
from bakeoff.gold import Span

_CURSOR_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One case, as far as parity asks; *oracle* is None where the figure is null or absent."""

    question_id: str
    eval_path: str | None
    has_oracle: bool
    oracle: str | None
    has_gold: bool
    retrieved: int


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """One chunk's identity and text."""

    chunk_id: str
    ordinal: int
    doc_id: str
    span_start: int
    span_end: int
    fp: str
    text: str


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """One chunk with all that a second ingest makes again, but for its vector."""

    chunk_id: str
    ordinal: int
    doc_id: str
    span_start: int
    span_end: int
    text: str
    prefix: str
    lexical_text: str
    token_count: int
    embedding_token_count: int
    fp: str


@dataclass(frozen=True, slots=True)
class Long:
    """A chunk whose embedded text is too long, and how many of them there are."""

    chunk_id: str
    doc_id: str
    tokens: int
    count: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """A chunk whose lexical text is not its own span; *prefixed*: it begins with the contextual prefix."""

    chunk_id: str
    doc_id: str
    prefixed: bool


def cases(conn: Connection, run_id: str) -> list[CaseRow]:
    """Return what parity asks of every case of a run, in the order of the questions."""
    with conn.cursor(row_factory=rows.class_row(CaseRow)) as cursor:
        return cursor.execute(queries.get("parity.cases"), {"run_id": run_id}).fetchall()


def too_long(conn: Connection, lock: Lock, limit: int, *, most: int) -> list[Long]:
    """Return the longest chunks above *limit* tokens, at most *most* of them; each knows how many there are."""
    statement = queries.get("parity.over_limit").format(**Tables(lock).names())
    return [Long(*row) for row in conn.execute(statement, {"limit": limit, "most": most})]


def longest(conn: Connection, lock: Lock) -> int | None:
    """Return the tokens of the longest text that was embedded; None: the table is empty."""
    row = conn.execute(queries.get("parity.longest").format(**Tables(lock).names())).fetchone()
    return None if row is None else row[0]


def foreign(conn: Connection, lock: Lock, ingest_id: str) -> list[Foreign]:
    """Return the chunks whose lexical text is not their own bytes of the stored document, under policy B prefixed."""
    statement = queries.get("parity.not_own_span").format(**Tables(lock).names())
    prefix = lock.config.prefix
    values = {"lead": prefix.template.partition("{")[0], "prefixed": prefix.policy == "B"}
    return [Foreign(*row) for row in conn.execute(statement, {"ingest_id": ingest_id} | values)]


def every_chunk(conn: Connection, lock: Lock) -> Iterator[ChunkRow]:
    """Yield every chunk in the order of the table, without holding them all."""
    with conn.transaction(), conn.cursor(name="chunks", row_factory=rows.class_row(ChunkRow)) as cursor:
        cursor.itersize = _CURSOR_ROWS
        cursor.execute(queries.get("parity.chunks").format(**Tables(lock).names()))
        yield from cursor


def sampled(conn: Connection, ingest_id: str, *, count: int, seed: int) -> list[Document]:
    """Return *count* stored documents (all, where there are fewer), chosen by *seed*, in order of id."""
    values = {"ingest_id": ingest_id, "count": count, "seed": seed}
    found = conn.execute(queries.get("parity.sampled_documents"), values)
    return [Document(doc_id, title, body, source) for doc_id, title, source, body in found]


def doc_ids(conn: Connection, ingest_id: str) -> set[str]:
    """Return the ids of all documents of an ingest."""
    return {doc_id for (doc_id,) in conn.execute(queries.get("parity.doc_ids"), {"ingest_id": ingest_id})}


def chunks_of(conn: Connection, lock: Lock, ids: Sequence[str]) -> list[StoredChunk]:
    """Return the chunks of the documents *ids*, in order of document and place."""
    statement = queries.get("parity.chunks_of_documents").format(**Tables(lock).names())
    with conn.cursor(row_factory=rows.class_row(StoredChunk)) as cursor:
        return cursor.execute(statement, {"doc_ids": list(ids)}).fetchall()


def gone_from(conn: Connection, lock: Lock, ids: Sequence[str]) -> list[tuple[Span, str]]:
    """Return the spans of the documents *ids* that went as near-duplicates, with the chunk_id of each survivor."""
    statement = queries.get("parity.aliases_of_documents").format(**Tables(lock).names())
    found = conn.execute(statement, {"doc_ids": list(ids)})
    return [(Span(doc_id, start, end), survivor) for doc_id, start, end, survivor in found]


def vectors(conn: Connection, lock: Lock, chunk_ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return the stored vectors of some chunks, each of shape (dimension,)."""
    statement = queries.get("parity.vectors").format(**Tables(lock).names())
    found = conn.execute(statement, {"chunk_ids": list(chunk_ids)})
    return {chunk_id: np.asarray(values, dtype=np.float32) for chunk_id, values in found}
