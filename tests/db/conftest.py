"""Chunk tables of real text: the language reference that every Python brings along."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bakeoff import config
from bakeoff.adapters import chunks, lexical
from bakeoff.adapters.postgres import Connection

DIMENSION = 32
_VERSIONS = count(1)

Vectors = NDArray[np.float32]


def vectors_of(texts: Sequence[str], dimension: int = DIMENSION) -> Vectors:
    """Unit vectors of hashed words: texts that share words are near each other."""
    table = np.zeros((len(texts), dimension), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"\w+", text.lower()) or ["nothing"]:
            digest = hashlib.sha256(word.encode()).digest()
            table[row, digest[0] % dimension] += 1.0 if digest[1] % 2 else -1.0
        table[row, 0] += 0.01
    normed: Vectors = table / np.linalg.norm(table, axis=1, keepdims=True)
    return normed


@pytest.fixture
def embed() -> Callable[[Sequence[str]], Vectors]:
    """Makes the vectors that `fill` stores."""
    return vectors_of


@pytest.fixture
def stage_of() -> Callable[[int, str], chunks.StagedChunk]:
    """Makes a staged chunk of an ordinal and a text."""
    return staged_chunk


@pytest.fixture
def put() -> Callable[..., None]:
    """Stores texts in a chunk table that exists."""
    return lambda conn, lock, texts: store(conn, lock, texts, vectors_of(texts))


@pytest.fixture
def make_lock() -> Callable[..., config.Lock]:
    """Makes locks, each with a table of its own."""

    def make(*, dimension: int = DIMENSION, **parts: Any) -> config.Lock:
        number = next(_VERSIONS)
        created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        tokenizer = config.TokenizerIdentity(name="words", sha256="0" * 64)
        return config.Lock(
            name="test",
            chunk_version=f"2026-01-02-v{number}",
            config_hash=f"{number:016x}",
            table_name=config.table_name(created, number),
            created_at=created,
            config=config.parse(parts, source="test"),
            embedder=config.EmbedderIdentity(
                name="hashed-words",
                backend="static",
                precision="fp32",
                weights_sha256="0" * 64,
                dimension=dimension,
                max_tokens=512,
                positions=None,
                tokenizer=tokenizer,
            ),
        )

    return make


@pytest.fixture
def fill(conn: Connection) -> Callable[..., None]:
    """Fills a lock's new chunk table with texts and vectors and builds its indexes, all in the test's transaction."""

    def go(
        lock: config.Lock,
        texts: Sequence[str],
        vectors: Vectors | None = None,
        *,
        backends: Sequence[lexical.Lexical] = ("pg_textsearch", "gin"),
    ) -> None:
        chunks.create(conn, lock)
        store(conn, lock, texts, vectors_of(texts, lock.embedder.dimension) if vectors is None else vectors)
        for backend in backends:
            chunks.build_indexes(conn, lock, backend)

    return go


def store(conn: Connection, lock: config.Lock, texts: Sequence[str], vectors: Vectors) -> None:
    """Put *texts* through stage and cache into the chunk table."""
    staged = [staged_chunk(ordinal, text) for ordinal, text in enumerate(texts)]
    row = conn.execute(EMBEDDER, {"f": lock.config_hash * 4}).fetchone()
    assert row is not None
    known = {chunk.text_sha256: vector for chunk, vector in zip(staged, vectors, strict=True)}
    with conn.cursor() as cursor:
        cursor.executemany(EMBEDDING, [(row[0], key, str(vector.tolist())) for key, vector in known.items()])
    chunks.stage(conn, staged)
    chunks.store(conn, lock, embedder_id=row[0], staged=len(staged))
    conn.execute("DROP TABLE chunk_stage")


EMBEDDER = "INSERT INTO embedders (fingerprint, identity) VALUES (%(f)s, '{}') RETURNING embedder_id"
EMBEDDING = "INSERT INTO embeddings (embedder_id, text_sha256, embedding) VALUES (%s, %s, %s)"


def staged_chunk(ordinal: int, text: str) -> chunks.StagedChunk:
    """A chunk whose id depends on its ordinal alone."""
    digest = hashlib.sha256(text.encode())
    words = len(text.split())
    return chunks.StagedChunk(
        chunk_id=hashlib.sha1(f"{ordinal}".encode(), usedforsecurity=False).hexdigest(),
        ordinal=ordinal,
        doc_id=f"doc-{ordinal // 10:05d}",
        span_start=ordinal % 10 * 1000,
        span_end=ordinal % 10 * 1000 + len(text.encode()) + 1,
        token_count=words,
        embedding_token_count=words + 2,
        ingest_run_id="run",
        fp=digest.hexdigest()[:16],
        prefix="",
        text=text,
        lexical_text=text,
        text_sha256=digest.digest(),
    )
