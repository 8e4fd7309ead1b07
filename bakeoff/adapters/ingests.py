"""Ingests in the database: how far each is, its documents, rejects and embeddings.

Callers may rely on: documents and the chunks made of them arrive in one transaction, so a kill leaves whole documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from psycopg import rows
from psycopg.types.json import Jsonb

from bakeoff.adapters import queries
from bakeoff.adapters.postgres import Connection
from bakeoff.config import EmbedderIdentity, Lock
from bakeoff.errors import DatabaseError, StateError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bakeoff.adapters.datasets import Rejected
    from bakeoff.chunking import Document

Stage = Literal["read", "dedup", "embed", "store", "index", "done"]
STAGES: tuple[Stage, ...] = ("read", "dedup", "embed", "store", "index", "done")


@dataclass(frozen=True, slots=True)
class Ingest:
    """One ingest: its lock, its corpus, how far it is, and what it found."""

    ingest_id: str
    config_hash: str
    corpus: str
    stage: Stage
    strict: bool
    lexical: Literal["pg_textsearch", "lists"]
    started_at: datetime
    finished_at: datetime | None
    corpus_sha256: str | None
    table_sha256: str | None
    report: dict[str, Any]


def text_sha256(text: str) -> bytes:
    """Return the SHA-256 of *text* in UTF-8, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def of_lock(conn: Connection, lock: Lock) -> Ingest | None:
    """Return the ingest of *lock*, or None."""
    with conn.cursor(row_factory=rows.class_row(Ingest)) as cursor:
        return cursor.execute(queries.get("ingest.of_lock"), {"config_hash": lock.config_hash}).fetchone()


def finished(conn: Connection, lock: Lock) -> Ingest:
    """Return the finished ingest of *lock*. Raises StateError with the command to run where there is none."""
    found = of_lock(conn, lock)
    command = f"bakeoff shadow-ingest --lock {lock.config_hash} CORPUS"
    if found is None:
        raise StateError(f"{lock.name} ({lock.config_hash}) was not ingested yet", hint=command)
    if found.stage != "done":
        raise StateError(
            f"the ingest of {lock.name} ({lock.config_hash}) stopped at {found.stage!r}", hint=f"{command} resumes it"
        )
    return found


def insert(conn: Connection, ingest: Ingest) -> None:
    """Begin *ingest*."""
    names = ("ingest_id", "config_hash", "corpus", "strict", "lexical", "started_at")
    conn.execute(queries.get("ingest.insert"), {name: getattr(ingest, name) for name in names})


def advance(conn: Connection, ingest: Ingest, stage: Stage, report: dict[str, Any]) -> None:
    """Remember that *ingest* is now at *stage*."""
    conn.execute(
        queries.get("ingest.advance"), {"ingest_id": ingest.ingest_id, "stage": stage, "report": Jsonb(report)}
    )


def set_corpus(conn: Connection, ingest: Ingest, corpus_sha256: str) -> None:
    """Record the digest of what was read."""
    conn.execute(queries.get("ingest.set_corpus"), {"ingest_id": ingest.ingest_id, "corpus_sha256": corpus_sha256})


def finish(conn: Connection, ingest: Ingest, *, at: datetime, table_sha256: str, report: dict[str, Any]) -> None:
    """The chunk table is whole."""
    values = {"ingest_id": ingest.ingest_id, "finished_at": at, "table_sha256": table_sha256, "report": Jsonb(report)}
    conn.execute(queries.get("ingest.finish"), values)


def forget(conn: Connection, ingest: Ingest) -> None:
    """Remove the ingest with its documents and rejects; texts and embeddings stay, and that there was one (`every`)."""
    for query in ("ingest.keep_forgotten", "ingest.forget"):
        conn.execute(queries.get(query), {"ingest_id": ingest.ingest_id})


@dataclass(frozen=True, slots=True)
class Made:
    """One of a lock's ingests, also a forgotten one; what came before it is None of the first that is known."""

    ingest: Ingest
    began_after: datetime | None
    """When the one before it was forgotten, by the server's clock."""
    last_record: int | None
    """The newest record then: what rests on this ingest's table alone has a higher number."""

    @property
    def content(self) -> tuple[str | None, str | None]:
        """What was read and what was made of it, as digests: ingests with the same are one input."""
        return self.ingest.corpus_sha256, self.ingest.table_sha256


def every(conn: Connection, lock: Lock) -> list[Made]:
    """Return all ingests of *lock*, oldest first, but those that versions before schema 9 forgot."""
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        found = cursor.execute(queries.get("ingest.every"), {"config_hash": lock.config_hash}).fetchall()
    around = ("began_after", "last_record")
    return [Made(Ingest(**{k: v for k, v in row.items() if k not in around}), *map(row.get, around)) for row in found]


def is_same(conn: Connection, lock: Lock, one: str, other: str) -> bool:
    """Return whether two ingests of *lock*, by their ids, are one or have the same content."""
    content = {made.ingest.ingest_id: made.content for made in every(conn, lock) if made.ingest.stage == "done"}
    return one == other or (one in content and content[one] == content.get(other))


def add_documents(conn: Connection, ingest_id: str, documents: Sequence[Document]) -> None:
    """Store documents and their texts."""
    digests = [text_sha256(document.text) for document in documents]
    with conn.cursor() as cursor:
        texts = ({"text_sha256": digest, "body": doc.text} for digest, doc in zip(digests, documents, strict=True))
        cursor.executemany(queries.get("ingest.keep_text"), texts)
        with cursor.copy(queries.get("ingest.copy_documents")) as copy:
            for digest, doc in zip(digests, documents, strict=True):
                copy.write_row((ingest_id, doc.doc_id, doc.title, doc.source, digest))


def add_rejects(conn: Connection, ingest_id: str, rejected: Iterable[Rejected]) -> None:
    """Store what was rejected, and why."""
    with conn.cursor() as cursor, cursor.copy(queries.get("ingest.copy_rejects")) as copy:
        for item in rejected:
            doc_id = None if item.doc_id is None else item.doc_id.replace("\x00", "\\x00")
            copy.write_row((ingest_id, item.source, doc_id, item.reason))


def clear_rejects(conn: Connection, ingest_id: str) -> None:
    """Forget the rejects of an earlier attempt: the corpus is read again."""
    conn.execute(queries.get("ingest.clear_rejects"), {"ingest_id": ingest_id})


def rejects(conn: Connection, ingest_id: str) -> list[tuple[str, str | None, str]]:
    """Return (source, doc_id, reason) of every rejected document."""
    return conn.execute(queries.get("ingest.rejects"), {"ingest_id": ingest_id}).fetchall()


def known_documents(conn: Connection, ingest_id: str, doc_ids: list[str]) -> dict[str, tuple[str, bytes]]:
    """Return title and text digest of those of *doc_ids* that are stored already."""
    values = {"ingest_id": ingest_id, "doc_ids": doc_ids}
    found = conn.execute(queries.get("ingest.known_documents"), values)
    return {doc_id: (title, bytes(digest)) for doc_id, title, digest in found}


def corpus_digest(conn: Connection, ingest_id: str) -> tuple[str, int]:
    """Return the digest of all documents (order of arrival does not matter) and their number."""
    row = conn.execute(queries.get("ingest.corpus_digest"), {"ingest_id": ingest_id}).fetchone()
    if row is None:
        raise DatabaseError("the database gave no corpus digest")
    return row[0], row[1]


def embedder_id(conn: Connection, identity: EmbedderIdentity) -> int:
    """Return the embedder's short number in this database; made where it is new."""
    values = {"fingerprint": identity.fingerprint, "identity": Jsonb(identity.model_dump(mode="json"))}
    row = conn.execute(queries.get("ingest.embedder_id"), values).fetchone()
    if row is None:
        conn.execute(queries.get("ingest.add_embedder"), values)
        row = conn.execute(queries.get("ingest.embedder_id"), values).fetchone()
    if row is None:
        raise DatabaseError("the embedder has no number")
    return int(row[0])


def prepare_arrivals(conn: Connection) -> None:
    """Make this session's temporary table for vectors on their way; once a session."""
    from pgvector.psycopg import register_vector  # which brings in numpy

    register_vector(conn)
    conn.execute(queries.get("ingest.make_arriving"))


def add_embeddings(conn: Connection, embedder: int, digests: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
    """Put vectors, shape (n, dimension), into the cache by the digest of their texts; known ones stay as they are."""
    with conn.transaction(), conn.cursor() as cursor:
        with cursor.copy(queries.get("ingest.copy_arriving")) as copy:
            copy.set_types(["int2", "bytea", "vector"])
            for digest, vector in zip(digests, vectors, strict=True):
                copy.write_row((embedder, digest, vector))
        cursor.execute(queries.get("ingest.keep_arriving"))


class StoredDocuments:
    """The documents of one ingest, as gold quotes are resolved in."""

    def __init__(self, conn: Connection, ingest_id: str) -> None:
        """Read from *conn*."""
        self._conn, self._ingest_id = conn, ingest_id

    def get(self, doc_id: str) -> str | None:
        """Return the text of *doc_id*, or None."""
        values = {"ingest_id": self._ingest_id, "doc_id": doc_id}
        row = self._conn.execute(queries.get("ingest.document"), values).fetchone()
        return None if row is None else str(row[0])

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield (doc_id, text) of every document, in order of id, without holding them all."""
        with self._conn.transaction(), self._conn.cursor(name="documents") as cursor:
            cursor.itersize = 200
            cursor.execute(queries.get("ingest.documents"), {"ingest_id": self._ingest_id})
            yield from cursor
