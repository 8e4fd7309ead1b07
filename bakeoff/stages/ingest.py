"""Shadow ingest: a corpus under a lock into a chunk table of its own, beside the one in production.

Callers may rely on: the rows of production's table are never touched; a kill at any point is continued by the same call
with the identical table as a result; a second call on the same corpus checks the rows, builds lost indexes (or a lost
table) anew, and else does nothing; two calls at once: one is refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from bakeoff.adapters import chunks, datasets, ingests, lexical, locks, postgres, rollouts, staging
from bakeoff.adapters.embedders import Embedder
from bakeoff.adapters.ingests import Ingest
from bakeoff.adapters.postgres import Connect, Connection
from bakeoff.adapters.tables import Tables, table_digest
from bakeoff.chunking import Document
from bakeoff.config import Lock
from bakeoff.errors import InputError, ModelError, StateError
from bakeoff.stages import read, repair, verify
from bakeoff.stages.read import Progress, Report, Work

_DEDUP_BATCH = 5_000
_EMBED_BATCH = 1_024
_STORE_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Ingested:
    """A finished ingest.

    *unchanged*: there was nothing to do; *resumed*: an earlier attempt was continued; *repaired*: lost indexes were
    built anew, no row was touched; *replaced*: the table was lost, and everything was made anew.
    """

    ingest: Ingest
    lock: Lock
    unchanged: bool = False
    resumed: bool = False
    repaired: bool = False
    replaced: bool = False


def _find_duplicates(work: Work, connect: Connect, threshold: float, total: int) -> None:
    with connect() as reading:
        order = staging.rarity(reading, work.tables)
    for first in range(0, total, _DEDUP_BATCH):
        places = (first, first + _DEDUP_BATCH)
        with work.conn.transaction():
            staging.dedup_batch(work.conn, work.tables, places, order=order, threshold=threshold)
        work.progress("dedup", min(places[1], total), total)
    work.tables.run(work.conn, "record_twins")


def _dedup(work: Work, connect: Connect) -> None:
    threshold = work.lock.config.chunking.jaccard_threshold
    tables = work.tables
    with work.report.timed("dedup"):
        total = staging.arrange(work.conn, tables, dedup_on=threshold is not None)
        if threshold is not None:
            _find_duplicates(work, connect, threshold, total)
    gone = tables.number(work.conn, "count_fate")
    work.report.counts["chunks_read"], work.report.counts["duplicates"] = total, gone
    work.report.counts["chunks"] = total - gone
    work.advance("embed")


def _check_vectors(work: Work, vectors: NDArray[np.float32], expected: int) -> None:
    shape = (expected, work.lock.embedder.dimension)
    if vectors.shape != shape or not np.isfinite(vectors).all():
        raise ModelError(
            f"{work.lock.embedder.name} gave vectors of shape {vectors.shape}, expected {shape}, all finite",
            hint="the lock was made with another model: lock the configuration again",
        )


def _embed(work: Work, connect: Connect) -> None:
    tables, embedder = work.tables, ingests.embedder_id(work.conn, work.lock.embedder)
    values = {"embedder_id": embedder}
    with work.report.timed("look_up"), work.conn.transaction():
        tables.drop_helpers(work.conn, ("pending",))
        tables.run(work.conn, "make_pending", values)
    waiting = tables.number(work.conn, "count_pending")
    distinct = tables.number(work.conn, "count_distinct")
    ingests.prepare_arrivals(work.conn)
    done = 0
    with connect() as reading:
        for batch in staging.pending(reading, tables, batch=_EMBED_BATCH):
            with work.report.timed("embed"):
                vectors = work.embedder.encode_passages([body for _, body, _ in batch])
            _check_vectors(work, vectors, len(batch))
            with work.report.timed("copy_vectors"):
                ingests.add_embeddings(work.conn, embedder, [digest for digest, _, _ in batch], vectors)
            done += len(batch)
            work.report.counts["embedded"] += len(batch)
            work.advance("embed")
            work.progress("embed", done, waiting)
    work.report.counts["reused"] = distinct - work.report.counts["embedded"]
    work.advance("store")


def _store(work: Work) -> None:
    tables, conn = work.tables, work.conn
    values = {"embedder_id": ingests.embedder_id(conn, work.lock.embedder), "ingest_id": work.ingest.ingest_id}
    total = work.report.counts["chunks_read"]
    begin = tables.number(conn, "stored_up_to") + 1
    with work.report.timed("store"):
        for first in range(begin, total, _STORE_BATCH):
            staging.store_range(conn, tables, first, first + _STORE_BATCH, values)
            work.progress("store", min(first + _STORE_BATCH, total), total)
        with conn.transaction():
            tables.run(conn, "clear_aliases")
            tables.run(conn, "store_aliases")
    stored = tables.number(conn, "count_rows")
    if stored != work.report.counts["chunks"]:
        raise StateError(
            f"the chunk table holds {stored} chunks where {work.report.counts['chunks']} survived",
            hint=f"bakeoff shadow-ingest --restart --lock {work.lock.config_hash} CORPUS",
        )
    work.advance("index")


def _index(work: Work, now: Callable[[], datetime], connect: Connect) -> None:
    conn, lock = work.conn, work.lock
    with work.report.timed("index"), connect() as watcher:
        chunks.build_indexes(conn, lock, work.ingest.lexical, progress=work.progress, watcher=watcher)
    with work.report.timed("vacuum"):
        work.progress("vacuum", 0, None)
        chunks.vacuum(conn, lock, work.ingest.lexical)
    with work.report.timed("check"):
        plan = repair.planned(connect, lock, work.ingest)
        digest = table_digest(conn, work.tables)
    report = work.report.to_json() | {"plan": list(plan), "server": _server(conn)}
    with conn.transaction():
        ingests.finish(conn, work.ingest, at=now(), table_sha256=digest, report=report)
        work.tables.drop_helpers(conn)


def _server(conn: Connection) -> dict[str, str | None]:
    found = postgres.capabilities(conn)
    return {
        "postgresql": found.server_version,
        "pgvector": found.vector_installed,
        "pg_textsearch": found.textsearch_installed,
    }


def _begin(conn: Connection, lock: Lock, corpus: str, *, strict: bool, now: datetime) -> Ingest:
    backend = lexical.resolve_lexical(lock.config.index.lexical, postgres.capabilities(conn))
    ingest = Ingest(
        ingest_id=f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}",
        config_hash=lock.config_hash,
        corpus=corpus,
        stage="read",
        strict=strict,
        lexical=backend,
        started_at=now,
        finished_at=None,
        corpus_sha256=None,
        table_sha256=None,
        report={},
    )
    with conn.transaction():
        chunks.create(conn, lock)
        Tables(lock).run(conn, "make_staging")
        ingests.insert(conn, ingest)
    return ingest


def _unchanged(conn: Connection, ingest: Ingest, corpus: datasets.Corpus, progress: Progress) -> bool:
    """Return whether *corpus* is what the finished *ingest* read, document by document."""
    rejected = ingests.rejects(conn, ingest.ingest_id)
    uncuttable = {doc_id for _, doc_id, reason in rejected if read.is_uncuttable(reason)}
    looked_at, same = 0, 0
    for group in read.groups(corpus, Report()):
        documents = [item for item in group if isinstance(item, Document)]
        stored = ingests.known_documents(conn, ingest.ingest_id, [document.doc_id for document in documents])
        if any(read.changed(item, stored[item.doc_id]) for item in documents if item.doc_id in stored):
            return False
        if any(item.doc_id not in stored and item.doc_id not in uncuttable for item in documents):
            return False
        looked_at, same = looked_at + len(group), same + len(stored)
        progress("compare", looked_at, corpus.size_hint)
    return same == ingests.corpus_digest(conn, ingest.ingest_id)[1]


def forget(conn: Connection, lock: Lock) -> None:
    """Remove the ingest of *lock* with its tables; embeddings stay, and what runs name the ingest by.

    Raises StateError where the lock is active and has a finished table (one that was lost leaves nothing to protect),
    or is one of a rollout that is on its way. Nothing is dropped then.
    """
    with conn.transaction():
        locks.serialise(conn)  # an activation or a start at the same time comes before this check, or finds no ingest
        found = ingests.of_lock(conn, lock)
        unfinished = found is not None and found.stage != "done"
        if not unfinished:
            _refuse_rolling(conn, lock)
        if locks.active_since(conn, lock) is not None and chunks.exists(conn, lock) and not unfinished:
            raise StateError(f"{lock.name} ({lock.config_hash}) is in production", hint="activate another lock first")
        Tables(lock).drop_helpers(conn)
        chunks.drop(conn, lock)
        if found is not None:
            ingests.forget(conn, found)


def _refuse_rolling(conn: Connection, lock: Lock) -> None:
    """Raise StateError where a rollout that is on its way, also a simulated one, has *lock* as one of its two."""
    found = rollouts.current(conn)
    if found is not None and lock.config_hash in (found.baseline, found.candidate):
        side = "baseline" if lock.config_hash == found.baseline else "candidate"
        raise StateError(
            f"{lock.name} ({lock.config_hash}) is the {side} of {found.rollout_id}, which is {found.phase}: "
            "its table is not made anew meanwhile",
            hint="bakeoff canary abort --reason TEXT, or bakeoff canary rollback --reason TEXT, first",
        )


def _continue(work: Work, corpus: datasets.Corpus, connect: Connect, now: Callable[[], datetime]) -> None:
    steps: dict[ingests.Stage, Callable[[], None]] = {
        "read": lambda: read.run(work, corpus),
        "dedup": lambda: _dedup(work, connect),
        "embed": lambda: _embed(work, connect),
        "store": lambda: _store(work),
        "index": lambda: _index(work, now, connect),
    }
    for stage in ingests.STAGES[ingests.STAGES.index(work.ingest.stage) : -1]:
        steps[stage]()


def run(
    connect: Connect,
    lock: Lock,
    corpus: datasets.Corpus,
    embedder: Embedder,
    *,
    progress: Progress,
    now: Callable[[], datetime],
    options: Options,
) -> Ingested:
    """Ingest *corpus* under *lock*; continue where an earlier attempt stopped, build anew what was lost since.

    Raises StateError where another ingest of the lock runs, the lock is archived, or it was made from another corpus,
    and where a table would be made anew that is in production or one of a rollout on its way;
    IntegrityError where the rows of a finished ingest were changed; InputError for the first bad document under
    `strict`, with nothing left behind; ModelError where the embedder is not the lock's.
    """
    _check_embedder(lock, embedder)
    with connect() as conn:
        busy = f"another ingest into {lock.table_name} runs right now"
        with postgres.try_lock(conn, f"ingest {lock.table_name}", busy=busy):
            _refuse_archived(conn, lock)
            found = None if options.restart else ingests.of_lock(conn, lock)
            replaced = found is not None and chunks.lost(conn, lock) is not None
            if found is not None and (found.stage == "done" or (replaced and found.stage != "read")):
                _require_unchanged(conn, lock, found, corpus, progress)
            if replaced or options.restart:
                forget(conn, lock)
                found = None
            if found is not None and found.stage == "done":
                return _again(conn, connect, lock, found, progress, now)
            begun = found or _begin(conn, lock, corpus.name, strict=options.strict, now=now())
            ingest = _continued(conn, lock, begun, corpus, progress, strict=options.strict)
            work = Work(conn, lock, ingest, embedder, progress, Report.of(ingest.report))
            try:
                _continue(work, corpus, connect, now)
            except InputError:
                forget(conn, lock)  # a corpus that can't be used leaves nothing behind
                raise
            return Ingested(ingests.finished(conn, lock), lock, resumed=found is not None, replaced=replaced)


@dataclass(frozen=True, slots=True)
class Options:
    """`strict`: stop at the first bad document. `restart`: forget an earlier ingest of the lock first."""

    strict: bool = False
    restart: bool = False


def _require_unchanged(
    conn: Connection, lock: Lock, found: Ingest, corpus: datasets.Corpus, progress: Progress
) -> None:
    if not _unchanged(conn, found, corpus, progress):
        raise StateError(
            f"the ingest of {lock.name} ({lock.config_hash}) read {found.corpus} as it was on "
            f"{found.started_at:%Y-%m-%d}; {corpus.name} differs from it",
            hint="--restart makes the table anew; a table in production is never rebuilt: lock and ingest another",
        )


def _refuse_archived(conn: Connection, lock: Lock) -> None:
    if locks.is_archived(conn, lock):
        raise StateError(
            f"{lock.name} ({lock.config_hash}) is archived", hint=f"bakeoff locks archive --restore {lock.config_hash}"
        )


def _again(
    conn: Connection, connect: Connect, lock: Lock, found: Ingest, progress: Progress, now: Callable[[], datetime]
) -> Ingested:
    """Leave a finished ingest as it is, but for indexes that were lost. Raises IntegrityError where rows changed."""
    verify.table(conn, lock, found)
    repaired = repair.indexes(conn, connect, lock, found, progress=progress, now=now)
    if repaired is not None:
        return Ingested(repaired, lock, repaired=True)
    return Ingested(found, lock, unchanged=True)


def _continued(
    conn: Connection, lock: Lock, found: Ingest, corpus: datasets.Corpus, progress: Progress, *, strict: bool
) -> Ingest:
    """Return *found* for another attempt; one that has read everything is not finished in another corpus's name."""
    if found.stage != "read":
        _require_unchanged(conn, lock, found, corpus, progress)
    return replace(found, strict=strict)


def _check_embedder(lock: Lock, embedder: Embedder) -> None:
    if embedder.identity.fingerprint != lock.embedder.fingerprint:
        raise ModelError(
            f"the embedder {embedder.identity.name} is not the one that {lock.config_hash} was locked with "
            f"({embedder.identity.fingerprint[:16]}, locked {lock.embedder.fingerprint[:16]})",
            hint="install the version of the model that the lock names, or lock the configuration again",
        )
