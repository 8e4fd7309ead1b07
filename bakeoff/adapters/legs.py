"""All candidates of each leg of a retrieval, those that fusion leaves out too: what an evaluation wants to know.

Callers may rely on: the candidates are those that the retrieval statement fuses; a leg of weight 0 has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import rows, sql

from bakeoff.adapters import chunks, queries, retriever
from bakeoff.adapters.lexical import Lexical
from bakeoff.adapters.postgres import Connection
from bakeoff.config import Lock


@dataclass(frozen=True, slots=True)
class Piece:
    """A candidate chunk: its id, and bytes *start* to *end* of its document."""

    chunk_id: str
    doc_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Legs:
    """The candidates of both legs, best first."""

    dense: tuple[Piece, ...]
    lexical: tuple[Piece, ...]


def candidates(conn: Connection, lock: Lock, lexical: Lexical, question: str, vector: NDArray[np.float32]) -> Legs:
    """Return the candidates of *question* and its unit-length *vector*, on a connection that a Retriever has opened."""
    retrieval, name = lock.config.retrieval, chunks.names(lock)
    values: dict[str, Any] = {
        "question": retriever.checked(question),
        "vector": retriever.as_parameter(vector, lock),
        "dense_candidates": retrieval.dense_candidates,
        "lexical_candidates": retrieval.lexical_candidates,
        "lexical_index": name.lexical_index,
        "language": lock.config.index.language,
    }
    tables = {"table": sql.Identifier(name.table), "lexemes": sql.Identifier(name.lexemes)}

    def leg(query: str, weight: float) -> tuple[Piece, ...]:
        if weight == 0.0:
            return ()
        with conn.cursor(row_factory=rows.class_row(Piece)) as cursor:
            statement = queries.get(f"legs.{query}").format(**tables)
            return tuple(cursor.execute(statement, values, prepare=True).fetchall())

    return Legs(leg("dense", retrieval.dense_weight), leg(f"lexical_{lexical}", retrieval.lexical_weight))
