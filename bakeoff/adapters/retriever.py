"""Hybrid retrieval over a lock's chunk table: a vector and a question → the snapshot, in one round trip.

Callers may rely on: `Retriever.search` sends one statement and waits once (on an autocommit connection, or inside a
transaction that has begun); the order is total: score, then the chunk's place in (doc_id, start) order, so
that locks which differ in nothing that matters rank alike; a leg of weight 0 is not run; any text is a safe
question, and one of stop words alone finds nothing in the lexical leg. Opening sets the session's planner up for index
scans, prepares the statement, and refuses where the plan would not use the lock's indexes.

Fusion is reciprocal rank fusion as `fusion.rrf` computes it: weight / (rrf_k + rank), summed over the legs. Candidates
that tie at the end of the lexical leg are taken in storage order, which is that of (doc_id, start).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.rows import class_row, tuple_row

from bakeoff.adapters import chunks, queries
from bakeoff.errors import InputError, ModelError, StateError
from bakeoff.fusion import Hit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from psycopg import Cursor

    from bakeoff.adapters.lexical import Lexical
    from bakeoff.adapters.postgres import Connection
    from bakeoff.config import Lock

LONGEST_QUESTION = 500_000
"""Bytes; a tsvector holds 1 MiB of lexemes and positions."""
UNIT_TOLERANCE = 1e-2
"""How far a question's vector may be from length 1; int8 and halfvec rounding stay below a tenth of it."""


@dataclass(frozen=True, slots=True)
class PlanCheck:
    """Whether the retrieval statement uses the lock's indexes; a leg that is switched off counts as used."""

    dense_index_used: bool
    lexical_index_used: bool
    plan: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether both legs use their indexes."""
        return self.dense_index_used and self.lexical_index_used


class Retriever:
    """One lock's retrieval on one connection; open it with `open_retriever`."""

    def __init__(self, cursor: Cursor[Hit], statement: bytes, parameters: dict[str, Any], lock: Lock) -> None:
        """Keep what every search needs: *parameters* is all but the question and its vector."""
        self._cursor = cursor
        self._statement = statement
        self._parameters = parameters
        self._lock = lock

    def search(self, question: str, vector: Sequence[float] | NDArray[np.float32]) -> list[Hit]:
        """Return the snapshot for *question* and its unit-length *vector*, best first.

        Raises InputError for a question that PostgreSQL can't hold, ModelError for a vector of another dimension or
        length.
        """
        parameters = {**self._parameters, "question": checked(question), "vector": as_parameter(vector, self._lock)}
        return self._cursor.execute(self._statement, parameters, prepare=True).fetchall()


def open_retriever(conn: Connection, lock: Lock, lexical: Lexical) -> Retriever:
    """Return a Retriever of *lock* on *conn*, whose session settings it changes.

    Raises StateError where the chunk table or an index is missing, or where the plan would not use the indexes.
    """
    if not chunks.exists(conn, lock):
        raise StateError(
            f"the chunk table {lock.table_name} does not exist",
            hint=f"bakeoff shadow-ingest --lock {lock.config_hash} CORPUS makes it anew",
        )
    check = plan_check(conn, lock, lexical)
    if not check.ok:
        unused = "vector" if not check.dense_index_used else "lexical"
        raise StateError(
            f"retrieval from {lock.table_name} would not use its {unused} index ({lexical})",
            hint=f"bakeoff shadow-ingest --lock {lock.config_hash} CORPUS builds it anew, and leaves the rows alone",
        )
    cursor = conn.cursor(binary=True, row_factory=class_row(Hit))
    retriever = Retriever(cursor, statement_for(lock, lexical).as_bytes(conn), _parameters(lock), lock)
    retriever.search("", _axis(lock))
    return retriever


def plan_check(conn: Connection, lock: Lock, lexical: Lexical) -> PlanCheck:
    """EXPLAIN the retrieval statement under the session settings it runs with, which are set for the session.

    An index that is not there is not used: without one there is no plan to look at.
    """
    prepare_session(conn, lock, lexical)
    retrieval, (dense_index, lexical_index) = lock.config.retrieval, chunks.served_by(lock, lexical)
    dense_off, lexical_off = retrieval.dense_weight == 0.0, retrieval.lexical_weight == 0.0
    gone = chunks.missing(conn, lock, lexical)
    if (dense_index in gone and not dense_off) or (lexical_index in gone and not lexical_off):
        return PlanCheck(dense_off or dense_index not in gone, lexical_off or lexical_index not in gone, plan=())
    statement = queries.get("retrieve.explain").format(statement=statement_for(lock, lexical))
    parameters = {**_parameters(lock), "question": "", "vector": as_parameter(_axis(lock), lock)}
    with conn.cursor(row_factory=tuple_row) as cursor:
        lines = tuple(str(row[0]) for row in cursor.execute(statement, parameters).fetchall())
    return PlanCheck(
        dense_index_used=dense_off or _uses(lines, dense_index),
        lexical_index_used=lexical_off or _uses(lines, lexical_index),
        plan=lines,
    )


def exact_neighbours(
    conn: Connection, lock: Lock, vector: Sequence[float] | NDArray[np.float32], *, limit: int
) -> list[str]:
    """Return the ids of the *limit* nearest chunks by a scan of all vectors, nearest first, ties by id."""
    register_vector(conn)
    statement = queries.get("retrieve.exact").format(table=sql.Identifier(lock.table_name))
    parameters = {"vector": as_parameter(vector, lock), "limit": limit}
    with conn.cursor(row_factory=tuple_row) as cursor:
        return [str(row[0]) for row in cursor.execute(statement, parameters).fetchall()]


def prepare_session(conn: Connection, lock: Lock, lexical: Lexical) -> None:
    """Set what makes the planner choose the indexes on a table of any size, and how far they look."""
    retrieval = lock.config.retrieval
    settings = {
        "enable_seqscan": "off",  # a small table must be searched as a large one is
        "enable_bitmapscan": "off",
        "jit": "off",  # compiling takes longer than the search
        "max_parallel_workers_per_gather": "0",  # so does starting a worker
        "plan_cache_mode": "force_generic_plan",  # planned once, when the retriever is opened
        "work_mem": "64MB",
        "hnsw.ef_search": str(retrieval.hnsw_ef_search),
        "ivfflat.probes": str(retrieval.ivfflat_probes),
    }
    if lexical == "pg_textsearch":
        # A LIMIT that is a parameter is not seen by its planner hook; this is how many rows it then scores in full.
        settings["pg_textsearch.default_limit"] = str(retrieval.lexical_candidates)
    register_vector(conn)
    with conn.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute(queries.get("retrieve.set"), {"name": name, "value": value})


def statement_for(lock: Lock, lexical: Lexical) -> sql.Composed:
    """Return the retrieval statement of *lock*, without a leg of weight 0."""
    retrieval = lock.config.retrieval
    if retrieval.lexical_weight == 0.0:
        query = "retrieve.dense"
    elif retrieval.dense_weight == 0.0:
        query = f"retrieve.lexical_{lexical}"
    else:
        query = f"retrieve.hybrid_{lexical}"
    name = chunks.names(lock)
    return queries.get(query).format(table=sql.Identifier(name.table), lexemes=sql.Identifier(name.lexemes))


def checked(question: str) -> str:
    """Return *question*. Raises InputError where PostgreSQL could not hold it."""
    try:
        size = len(question.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"the question is not valid Unicode: {error.reason}", hint="send it as UTF-8") from error
    if "\0" in question:
        raise InputError(f"the question has a NUL at character {question.index(chr(0))}", hint="remove it")
    if size > LONGEST_QUESTION:
        raise InputError(f"the question has {size} bytes, above {LONGEST_QUESTION}", hint="ask a shorter question")
    return question


def as_parameter(vector: Sequence[float] | NDArray[np.float32], lock: Lock) -> Vector | HalfVector:
    """Return *vector* as the table stores vectors. Raises ModelError where its dimension or length is wrong."""
    array = np.asarray(vector, dtype=np.float32)
    if array.shape != (lock.embedder.dimension,):
        raise ModelError(
            f"the question's vector has shape {array.shape}, but the chunks have {lock.embedder.dimension} dimensions",
            hint="embed the question with the lock's embedder",
        )
    length = float(np.linalg.norm(array))
    if not abs(length - 1.0) <= UNIT_TOLERANCE:
        raise ModelError(
            f"the question's vector has length {length:.4g}, not 1", hint="normalise the embedder's output"
        )
    return Vector(array) if lock.config.index.storage == "vector" else HalfVector(array)


def _axis(lock: Lock) -> NDArray[np.float32]:
    """Return some vector of length 1, to plan and to warm up with."""
    axis = np.zeros(lock.embedder.dimension, dtype=np.float32)
    axis[0] = 1.0
    return axis


def _parameters(lock: Lock) -> dict[str, Any]:
    retrieval, name = lock.config.retrieval, chunks.names(lock)
    return {
        "dense_candidates": retrieval.dense_candidates,
        "lexical_candidates": retrieval.lexical_candidates,
        "dense_weight": retrieval.dense_weight,
        "lexical_weight": retrieval.lexical_weight,
        "rrf_k": retrieval.rrf_k,
        "snapshot": retrieval.snapshot,
        "lexical_index": name.lexical_index,
        "language": lock.config.index.language,
    }


def _uses(plan: Sequence[str], index: str) -> bool:
    """Say whether an index scan of *plan* is on *index*."""
    return any(f"Index Scan using {index} on " in line for line in plan)
