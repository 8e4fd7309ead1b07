"""The first pass of an ingest: corpus → documents and staged chunks, in transactions of whole documents.

Callers may rely on: a document and all its chunks arrive together or not at all; what an earlier attempt stored is not
cut again; a corpus that changed in between is refused.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bakeoff import chunking, dedup, structure
from bakeoff.adapters import datasets, ingests, staging
from bakeoff.adapters.embedders import Embedder
from bakeoff.adapters.ingests import Ingest
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.tables import Tables
from bakeoff.chunking import Document
from bakeoff.config import Lock
from bakeoff.errors import InputError, StateError

Progress = Callable[[str, int, int | None], None]

_CHUNKS = 2_000
_TOO_LONG, _NO_TOKENS = "a chunk with its prefix", "no tokens in the text"
_DOCUMENTS = 200


@dataclass(slots=True)
class Report:
    """What an ingest found and how long its stages took, over all its attempts."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's wall time to *stage*."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - began

    def to_json(self) -> dict[str, Any]:
        """Return counts and seconds as plain values."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "seconds": {stage: round(value, 4) for stage, value in sorted(self.seconds.items())},
        }

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Report:
        """Continue the report that an earlier attempt left."""
        return cls(Counter(stored.get("counts", {})), defaultdict(float, stored.get("seconds", {})))


@dataclass(slots=True)
class Work:
    """What every step of an ingest needs."""

    conn: Connection
    lock: Lock
    ingest: Ingest
    embedder: Embedder
    progress: Progress
    report: Report

    @property
    def tables(self) -> Tables:
        """The names that belong to the lock's chunk table."""
        return Tables(self.lock)

    def advance(self, stage: ingests.Stage) -> None:
        """Remember that everything before *stage* is done."""
        ingests.advance(self.conn, self.ingest, stage, self.report.to_json())


class _Cutter:
    """Makes staged chunks of documents."""

    def __init__(self, work: Work) -> None:
        self.lock, self.report = work.lock, work.report
        self.tokenizer = work.embedder.tokenizer
        config = work.lock.config
        self.config = config
        self.ranges = structure.ranges if config.chunking.strategy == "structure" else None
        self.room = work.lock.embedder.max_tokens - self.tokenizer.special_tokens
        self.prefix_room = self.room - config.chunking.size

    def _prefix(self, document: Document) -> str:
        """Return the prefix, its title shortened by words until window and prefix fit the embedder; that is counted."""
        title = document.title
        prefix = self.config.prefix.render(title=title, doc_id=document.doc_id)
        shortened = False
        while prefix and title and self.tokenizer.counts([prefix])[0] > self.prefix_room:
            title = title.rpartition(" ")[0]
            prefix = self.config.prefix.render(title=title, doc_id=document.doc_id)
            shortened = True
        self.report.counts["titles_shortened"] += shortened
        return prefix

    def cut(self, document: Document) -> list[staging.Staged]:
        """Return the chunks of *document*. Raises InputError, with the numbers, where one would be cut off."""
        config, lock = self.config, self.lock
        with self.report.timed("tokenise"):
            found = chunking.chunk(document.text, self.tokenizer, config.chunking, structure=self.ranges)
            prefix = self._prefix(document)
            counts = self.tokenizer.counts([prefix + piece.text for piece in found])
        longest = max(counts, default=0)
        if longest > self.room:
            raise InputError(
                f"{_TOO_LONG} has {longest + self.tokenizer.special_tokens} tokens, "
                f"but {lock.embedder.name} reads {lock.embedder.max_tokens}"
            )
        with self.report.timed("dedup"):
            return [self._staged(document, piece, prefix, count) for piece, count in zip(found, counts, strict=True)]

    def _staged(self, document: Document, piece: chunking.Chunk, prefix: str, tokens: int) -> staging.Staged:
        threshold = self.config.chunking.jaccard_threshold
        return staging.Staged(
            doc_id=document.doc_id,
            span_start=piece.start,
            span_end=piece.end,
            text=piece.text,
            prefix=prefix,
            chunk_id=chunking.chunk_id(
                document.doc_id,
                piece.start,
                piece.end,
                chunk_version=self.lock.chunk_version,
                config_hash=self.lock.config_hash,
            ),
            fp=chunking.fingerprint(piece.text),
            token_count=piece.token_count,
            embedding_token_count=tokens + self.tokenizer.special_tokens,
            embedding_sha256=ingests.text_sha256(prefix + piece.text),
            grams=None if threshold is None else dedup.shingles(piece.text),
        )


def cutter(work: Work) -> Callable[[Document], list[staging.Staged]]:
    """Return what makes a document's staged chunks, as this pass does; it raises InputError for one that can't be."""
    return _Cutter(work).cut


@dataclass(slots=True)
class _Batch:
    """Documents, their chunks and rejects, until there are enough for one transaction."""

    documents: list[Document] = field(default_factory=list)
    chunks: list[staging.Staged] = field(default_factory=list)
    rejected: list[datasets.Rejected] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.chunks) >= _CHUNKS or len(self.documents) + len(self.rejected) >= _DOCUMENTS


def _reject(work: Work, batch: _Batch, rejected: datasets.Rejected) -> None:
    if work.ingest.strict:
        raise InputError(f"{rejected.source}: {rejected.reason}", hint="correct it, or ingest without --strict")
    batch.rejected.append(rejected)


def _flush(work: Work, batch: _Batch) -> None:
    with work.report.timed("copy_staging"), work.conn.transaction():
        ingests.add_documents(work.conn, work.ingest.ingest_id, batch.documents)
        staging.add(work.conn, work.tables, batch.chunks)
        ingests.add_rejects(work.conn, work.ingest.ingest_id, batch.rejected)
        work.advance("read")
    work.report.counts["documents_new"] += len(batch.documents)


def _cut_into(work: Work, cutter: _Cutter, batch: _Batch, document: Document) -> None:
    try:
        found = cutter.cut(document)
    except InputError as error:
        _reject(work, batch, datasets.Rejected(document.source, document.doc_id, str(error)))
        return
    if not found:
        _reject(work, batch, datasets.Rejected(document.source, document.doc_id, _NO_TOKENS))
        return
    batch.documents.append(document)
    batch.chunks.extend(found)


def groups(corpus: datasets.Corpus, report: Report) -> Iterator[list[Document | datasets.Rejected]]:
    """Yield the corpus in groups, so that what is stored already is asked for once a group."""
    items = iter(corpus)
    while True:
        group: list[Document | datasets.Rejected] = []
        with report.timed("read"):
            for item in items:
                group.append(item)
                if len(group) == _DOCUMENTS:
                    break
        if not group:
            return
        yield group


def is_uncuttable(reason: str) -> bool:
    """Return whether *reason* is one for which this pass, not the loader, rejects a document."""
    return reason.startswith(_TOO_LONG) or reason == _NO_TOKENS


def changed(document: Document, stored: tuple[str, bytes]) -> bool:
    """Return whether *document* is not what was *stored* (title, text digest) under its id."""
    return stored != (document.title, ingests.text_sha256(document.text))


def _moved(work: Work, what: str) -> StateError:
    return StateError(
        f"the corpus is not the one that this ingest began with: {what}",
        hint=f"bakeoff shadow-ingest --restart --lock {work.lock.config_hash} CORPUS begins anew",
    )


def run(work: Work, corpus: datasets.Corpus) -> None:
    """Read *corpus* into documents and staged chunks. Raises StateError where it changed since an earlier attempt.

    Raises InputError for the first bad document where the ingest is strict.
    """
    ingests.clear_rejects(work.conn, work.ingest.ingest_id)
    work.report.counts["documents_new"] = 0
    cutter, batch, seen, read = _Cutter(work), _Batch(), 0, 0
    for group in groups(corpus, work.report):
        ids = [item.doc_id for item in group if isinstance(item, Document)]
        stored = ingests.known_documents(work.conn, work.ingest.ingest_id, ids)
        for item in group:
            read += 1
            if isinstance(item, datasets.Rejected):
                _reject(work, batch, item)
            elif item.doc_id in stored:
                seen += 1
                if changed(item, stored[item.doc_id]):
                    raise _moved(work, f"{item.doc_id} differs")
            else:
                _cut_into(work, cutter, batch, item)
            if batch.full:
                _flush(work, batch)
                batch = _Batch()
        work.progress("read", read, corpus.size_hint)
    _flush(work, batch)
    _finish(work, seen)


def _finish(work: Work, seen: int) -> None:
    """Record the corpus. *seen* documents came from an earlier attempt and are in the corpus still."""
    corpus_sha256, documents = ingests.corpus_digest(work.conn, work.ingest.ingest_id)
    if documents != seen + work.report.counts["documents_new"]:
        raise _moved(work, f"{documents - seen - work.report.counts['documents_new']} documents are gone")
    rejected = len(ingests.rejects(work.conn, work.ingest.ingest_id))
    if documents == 0:
        raise InputError(
            f"{work.ingest.corpus} has no document that can be ingested ({rejected} rejected)",
            hint="bakeoff shadow-ingest --strict stops at the first one and says why",
        )
    del work.report.counts["documents_new"]
    work.report.counts["documents"], work.report.counts["rejected"] = documents, rejected
    with work.conn.transaction():
        ingests.set_corpus(work.conn, work.ingest, corpus_sha256)
        work.advance("dedup")
