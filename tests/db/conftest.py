"""Chunk tables of real text, and databases with locks that were evaluated, to be judged or broken."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bakeoff import config
from bakeoff.adapters import chunks, lexical
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from tests import moved, parity_site, support, tables
from tests.parity_site import Site
from tests.planned import Planned, copied, evaluated

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
def put() -> Callable[..., object]:
    """Stores texts in a chunk table that exists."""
    return lambda conn, lock, texts: tables.fill(conn, lock, texts, vectors_of(texts))


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
                weights_sha256=f"{number:064x}",
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
        backends: Sequence[lexical.Lexical] = ("pg_textsearch", "lists"),
    ) -> None:
        chunks.create(conn, lock)
        made = vectors_of(texts, lock.embedder.dimension) if vectors is None else vectors
        tables.fill(conn, lock, texts, made)
        for backend in backends:
            chunks.build_indexes(conn, lock, backend)

    return go


@pytest.fixture(scope="module")
def base(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    """Planned in both directions, then evaluated."""
    with evaluated(server_url, template, tmp_path_factory.mktemp("planned")) as found:
        yield found


@pytest.fixture
def made(server_url: str, base: Planned) -> Iterator[Planned]:
    """What the module's `base` is, in a database of the test's own."""
    with copied(server_url, base) as found:
        yield found


@pytest.fixture(scope="module")
def site(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all tests of a module that only read it."""
    with parity_site.new(server_url, template, tmp_path_factory.mktemp("parity")) as found:
        yield found


@pytest.fixture
def broken(server_url: str, site: Site, tmp_path: Path) -> Iterator[Site]:
    """A copy of the site, to be broken."""
    with parity_site.copy_of(server_url, site, tmp_path) as found:
        yield found


@pytest.fixture
def connected(database_url: str) -> Iterator[Connection]:
    """An autocommit connection, as stages have."""
    with support.connector(database_url)() as conn:
        yield conn


@pytest.fixture
def locked(database_url: str) -> tuple[config.Lock, config.Lock]:
    """Two locks, the first in production."""
    return moved.sides(database_url)


@pytest.fixture
def stored(connected: Connection, locked: tuple[config.Lock, config.Lock]) -> Stored:
    """A plan of them."""
    return moved.planned(connected, locked)
