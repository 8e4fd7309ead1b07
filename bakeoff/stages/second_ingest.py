"""A second ingest of some documents, in memory, beside what the first one stored.

Callers may rely on: documents are cut, counted, prefixed and embedded by the code of an ingest itself; whether a chunk
goes as a near-duplicate is decided against every kept chunk, not only against the sample; nothing is written.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bakeoff import chunking, dedup
from bakeoff.adapters import ingests, parity_rows
from bakeoff.adapters.datasets import Corpus
from bakeoff.adapters.parity_rows import ChunkRow, StoredChunk
from bakeoff.adapters.staging import Staged
from bakeoff.chunking import Document
from bakeoff.errors import InputError
from bakeoff.stages import read
from bakeoff.stages.read import Report, Work

LEAST_COSINE = 0.9999
"""Rounding to halfvec and another batch stay above it; another model or another text does not."""

Place = tuple[str, int, int]
"""Document, first byte, byte behind the last: what chunks are ordered by."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How a corpus differs from what was ingested; each a list of document ids."""

    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Again:
    """What a second ingest of the sample came to; the lists name every difference, a line each."""

    documents: int
    chunks: int
    table_chunks: int
    embedded: int
    ids: list[str]
    """Rows of the whole table whose id or fingerprint does not recompute."""
    differences: list[str]
    vectors: list[str]
    moved: Moved | None


def run(work: Work, *, sample: int, vectors: int, corpus: Corpus | None) -> Again:
    """Ingest *sample* documents of *work* again and embed *vectors* of their chunks again; compare with what is stored.

    The documents are the stored ones, or with *corpus* those of their source; of a corpus that changed, only documents
    that are as they were are compared. Raises InputError where *corpus* can't be read.
    """
    seed = work.lock.config.seed
    chosen = parity_rows.sampled(work.conn, work.ingest.ingest_id, count=sample, seed=seed)
    moved = None
    if corpus is not None:
        moved, chosen = _reread(work, corpus, [document.doc_id for document in chosen])
    cut, differences = _cut(work, chosen)
    matches = _Matches(cut, work.lock.config.chunking.jaccard_threshold)
    ids: list[str] = []
    count = _walk(work, matches, ids, differences)
    stored = parity_rows.chunks_of(work.conn, work.lock, [document.doc_id for document in chosen])
    differences += _compare(work, cut, matches, stored)
    embedded, strangers = _embed(work, cut, stored, vectors, seed)
    return Again(len(chosen), len(cut), count, embedded, ids, differences, strangers, moved)


def _reread(work: Work, corpus: Corpus, wanted: Sequence[str]) -> tuple[Moved, list[Document]]:
    """Return how *corpus* differs from what was ingested, and those of *wanted* that are as they were."""
    rejected = ingests.rejects(work.conn, work.ingest.ingest_id)
    uncuttable = {doc_id for _, doc_id, reason in rejected if read.is_uncuttable(reason)}
    moved, same, seen = Moved(), {}, set()
    for group in read.groups(corpus, Report()):
        documents = [item for item in group if isinstance(item, Document)]
        ids = [document.doc_id for document in documents]
        stored = ingests.known_documents(work.conn, work.ingest.ingest_id, ids)
        for document in documents:
            if document.doc_id not in stored:
                moved.new.extend([document.doc_id] * (document.doc_id not in uncuttable))
            elif read.changed(document, stored[document.doc_id]):
                moved.changed.append(document.doc_id)
            else:
                same[document.doc_id] = document
        seen.update(ids)
        same = {doc_id: same[doc_id] for doc_id in wanted if doc_id in same}
        work.progress("read again", len(seen), corpus.size_hint)
    moved.gone.extend(sorted(parity_rows.doc_ids(work.conn, work.ingest.ingest_id) - seen))
    return moved, [same[doc_id] for doc_id in wanted if doc_id in same]


def _cut(work: Work, documents: Sequence[Document]) -> tuple[list[Staged], list[str]]:
    """Return the chunks of *documents*, and what a second ingest would reject though the first did not."""
    cut = read.cutter(work)
    made: list[Staged] = []
    rejected = []
    for number, document in enumerate(documents, start=1):
        try:
            made += cut(document)
        except InputError as error:
            rejected.append(f"{document.doc_id}: rejected the second time: {error}")
        work.progress("cut again", number, len(documents))
    return sorted(made, key=_place), rejected


def _place(chunk: Staged | StoredChunk | ChunkRow) -> Place:
    return chunk.doc_id, chunk.span_start, chunk.span_end


class _Matches:
    """For each of some chunks the earliest kept one that it is a near-duplicate of; without a threshold none is."""

    def __init__(self, cut: Sequence[Staged], threshold: float | None) -> None:
        self._places = [_place(chunk) for chunk in cut]
        self.survivor: dict[Place, ChunkRow] = {}
        grams = [chunk.grams for chunk in cut if chunk.grams is not None]
        self._threshold = threshold if grams else None
        if self._threshold is None:
            return
        self._sizes = np.asarray([len(found) for found in grams])
        hashes, owners = np.concatenate(grams), np.repeat(np.arange(len(grams)), self._sizes)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners = hashes[order], owners[order]

    def see(self, row: ChunkRow) -> None:
        """Compare a kept chunk with all of them at once, by the exact similarity of deduplication."""
        if self._threshold is None:
            return
        grams = dedup.shingles(row.text)
        first = np.searchsorted(self._hashes, grams, side="left")
        times = np.searchsorted(self._hashes, grams, side="right") - first
        within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        owners = self._owners[np.repeat(first, times) + within]
        shared = np.bincount(owners, minlength=len(self._sizes))
        alike = shared / (self._sizes + len(grams) - shared)
        for index in np.flatnonzero(alike >= self._threshold).tolist():
            place = self._places[index]
            earlier = self.survivor.get(place)
            if _place(row) < place and (earlier is None or _place(row) < _place(earlier)):
                self.survivor[place] = row


def _walk(work: Work, matches: _Matches, ids: list[str], differences: list[str]) -> int:
    """Look at every row once: recompute its ids, check its place, compare its words; return how many there are."""
    lock, last, count = work.lock, None, 0
    for row in parity_rows.every_chunk(work.conn, lock):
        count += 1
        problem = _wrong_id(row, lock.chunk_version, lock.config_hash)
        if problem is not None:
            ids.append(problem)
        if last is not None and _place(row) <= last:
            differences.append(
                f"{_named(_place(row))}: stands behind {_named(last)}, not in order of document and place"
            )
        last = _place(row)
        matches.see(row)
    work.progress("compare", count, count)
    return count


def _wrong_id(row: ChunkRow, version: str, config_hash: str) -> str | None:
    try:
        made = chunking.chunk_id(
            row.doc_id, row.span_start, row.span_end, chunk_version=version, config_hash=config_hash
        )
    except InputError as error:
        return f"{row.chunk_id[:12]}: {error}"
    if made != row.chunk_id:
        return f"{_named(_place(row))}: its id is {row.chunk_id[:12]}…, recomputed {made[:12]}…"
    made = chunking.fingerprint(row.text)
    return None if made == row.fp else f"{_named(_place(row))}: its fingerprint is {row.fp}, recomputed {made}"


def _named(place: Place) -> str:
    return f"{place[0]} {place[1]}-{place[2]}"


def _compare(work: Work, cut: Sequence[Staged], matches: _Matches, stored: Sequence[StoredChunk]) -> Iterator[str]:
    """Yield every difference between the chunks made again and those that the table or its aliases hold."""
    made = {_place(chunk): chunk for chunk in cut}
    kept = {_place(chunk): chunk for chunk in stored}
    documents = sorted({doc_id for doc_id, _, _ in made} | {doc_id for doc_id, _, _ in kept})
    gone: dict[Place, list[str]] = {}
    for span, survivor in parity_rows.gone_from(work.conn, work.lock, documents):
        gone.setdefault((span.doc_id, span.start, span.end), []).append(survivor)
    for place, chunk in made.items():
        expected = matches.survivor.get(place)
        found = _fate(kept.get(place), gone.get(place, []), expected)
        if found is None and expected is None:
            found = _fields(chunk, kept[place], both=work.lock.config.prefix.policy == "B")
        if found is not None:
            yield f"{_named(place)}: {found}"
    for place in sorted((kept.keys() | gone.keys()) - made.keys()):
        yield f"{_named(place)}: stored, but a second ingest does not make it"
    yield from _ordinals(list(made), kept)


def _fate(kept: StoredChunk | None, gone: Sequence[str], expected: ChunkRow | None) -> str | None:
    """Say how a chunk's fate differs: kept, or gone with an alias of the survivor that is *expected*; None: it fits."""
    if expected is None:
        if kept is None:
            return f"went as a near-duplicate of {gone[0][:12]}…, but is none" if gone else "is not in the table"
        return f"is in the table and an alias of {gone[0][:12]}… too" if gone else None
    if kept is not None:
        return f"is in the table, but is a near-duplicate of {_named(_place(expected))}"
    if list(gone) != [expected.chunk_id]:
        named = ", ".join(f"{survivor[:12]}…" for survivor in gone) or "none"
        return f"went as a near-duplicate of {_named(_place(expected))}, but its alias is of {named}"
    return None


def _fields(made: Staged, kept: StoredChunk, *, both: bool) -> str | None:
    """Name the columns in which a kept chunk differs from the one made again; *both*: the prefix is in both texts."""
    names = ("chunk_id", "text", "prefix", "token_count", "embedding_token_count", "fp")
    differing = [name for name in names if getattr(made, name) != getattr(kept, name)]
    if kept.lexical_text != (made.prefix + made.text if both else made.text):
        differing.append("lexical_text")
    return f"differs in {', '.join(differing)}" if differing else None


def _ordinals(places: Sequence[Place], kept: Mapping[Place, StoredChunk]) -> Iterator[str]:
    """Yield the documents whose chunks are not numbered in their order, those that went counted."""
    offsets: dict[str, set[int]] = {}
    numbers: dict[str, int] = {}
    for place in places:
        number = numbers[place[0]] = numbers.get(place[0], -1) + 1
        if place in kept:
            offsets.setdefault(place[0], set()).add(kept[place].ordinal - number)
    for doc_id, found in offsets.items():
        if len(found) > 1:
            yield f"{doc_id}: its chunks are not numbered in their order"


def _embed(
    work: Work, cut: Sequence[Staged], stored: Sequence[StoredChunk], count: int, seed: int
) -> tuple[int, list[str]]:
    """Embed up to *count* of the kept chunks again; return how many, and those whose stored vector is another."""
    kept = {_place(chunk): chunk.chunk_id for chunk in stored}
    among = [chunk for chunk in cut if _place(chunk) in kept]
    chosen = random.Random(seed).sample(among, min(count, len(among)))
    if not chosen:
        return 0, []
    work.progress("embed again", 0, len(chosen))
    made = work.embedder.encode_passages([chunk.prefix + chunk.text for chunk in chosen]).astype(np.float64)
    known = parity_rows.vectors(work.conn, work.lock, [kept[_place(chunk)] for chunk in chosen])
    strangers = []
    for chunk, vector in zip(chosen, made, strict=True):
        other = known[kept[_place(chunk)]].astype(np.float64)
        lengths = float(np.linalg.norm(vector) * np.linalg.norm(other))
        cosine = float(vector @ other) / lengths if lengths else 0.0
        if not cosine >= LEAST_COSINE:  # NaN is none either
            strangers.append(f"{_named(_place(chunk))}: cosine {cosine:.5f} with the vector made again")
    work.progress("embed again", len(chosen), len(chosen))
    return len(chosen), strangers
