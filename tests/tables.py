"""Chunk tables of given texts and vectors, filled the way an ingest fills them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bakeoff.adapters import chunks, ingests, staging
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.tables import Tables
from bakeoff.config import Lock

PER_DOCUMENT = 10


def staged_chunk(ordinal: int, text: str) -> staging.Staged:
    """Return a chunk whose id and place depend on its ordinal alone."""
    digest = hashlib.sha256(text.encode())
    words = len(text.split())
    return staging.Staged(
        doc_id=f"doc-{ordinal // PER_DOCUMENT:06d}",
        span_start=ordinal % PER_DOCUMENT * 100_000,
        span_end=ordinal % PER_DOCUMENT * 100_000 + len(text.encode()) + 1,
        text=text,
        prefix="",
        chunk_id=hashlib.sha1(f"{ordinal}".encode(), usedforsecurity=False).hexdigest(),
        fp=digest.hexdigest()[:16],
        token_count=words,
        embedding_token_count=words + 2,
        embedding_sha256=digest.digest(),
        grams=None,
    )


def fill(conn: Connection, lock: Lock, texts: Sequence[str], vectors: NDArray[np.float32]) -> dict[str, float]:
    """Put *texts* with their *vectors* into the chunk table of *lock*, which exists; return seconds by step."""
    tables, rows = Tables(lock), [staged_chunk(ordinal, text) for ordinal, text in enumerate(texts)]
    embedder = ingests.embedder_id(conn, lock.embedder)
    ingests.prepare_arrivals(conn)
    ingests.add_embeddings(conn, embedder, [row.embedding_sha256 for row in rows], vectors)
    took = {}
    with conn.transaction():
        tables.run(conn, "make_staging")
        began = time.perf_counter()
        staging.add(conn, tables, rows)
        took["copy_to_staging"] = time.perf_counter() - began
        count = staging.arrange(conn, tables, dedup_on=False)
        began = time.perf_counter()
        staging.store_range(conn, tables, 0, count, {"embedder_id": embedder, "ingest_id": "run"})
        took["look_up_and_insert"] = time.perf_counter() - began
        tables.drop_helpers(conn)
    assert count == chunks.count(conn, lock) == len(texts)
    return took
