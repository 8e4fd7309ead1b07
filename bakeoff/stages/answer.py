"""One question through the pipeline of a lock: embed → retrieve → rerank → filter → read.

Callers may rely on: nothing is cached; every step is timed by itself; a reader's failure is in the answer, not raised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bakeoff import fusion
from bakeoff.adapters import embedders, ingests, legs, readers, rerankers, retriever
from bakeoff.adapters.embedders import Embedder
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.readers import Answer, Reader
from bakeoff.adapters.rerankers import Reranker
from bakeoff.config import Lock
from bakeoff.errors import ModelError
from bakeoff.fusion import Hit

EVAL_PATH = "bakeoff"
"""What `eval_path` says for the real pipeline; anything else says another name."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one question gave: the snapshot, the context, the answer, and milliseconds by step.

    `wait` is the time until the models were free: `total` holds it, `embed` and `rerank` do not.
    """

    snapshot: list[Hit]
    context: list[Hit]
    answer: Answer
    vector: NDArray[np.float32]
    latency_ms: dict[str, float]
    pairs_cut: int | None = None
    """Texts that the reranker read without their end; None: there is no reranker."""


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a lock, opened once and shared by all workers; one at a time uses them (they use every core)."""

    embedder: Embedder
    reranker: Reranker | None
    reader: Reader
    turn: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def models(lock: Lock, *, cache_dir: Path, environ: Mapping[str, str]) -> Iterator[Models]:
    """Open the embedder, reranker and reader of *lock*. Raises ModelError where one is not what was locked."""
    embedder = embedders.open_embedder(lock.config.embedder, cache_dir=cache_dir)
    try:
        if embedder.identity.fingerprint != lock.embedder.fingerprint:
            raise ModelError(
                f"the embedder {embedder.identity.name} is not the one that {lock.config_hash} was locked with",
                hint="install the version of the model that the lock names, or lock the configuration again",
            )
        reranker = rerankers.open_reranker(lock.config.reranker, cache_dir=cache_dir) if lock.config.reranker else None
        if reranker is not None and reranker.identity != lock.reranker:
            raise ModelError(
                f"the reranker {reranker.identity.name} is not the one that {lock.config_hash} was locked with"
            )
        reader = readers.open_reader(lock.config.reader, environ=environ, seed=lock.config.seed)
        try:
            yield Models(embedder, reranker, reader)
        finally:
            reader.close()
    finally:
        embedder.close()


class Pipeline:
    """The pipeline of a lock on one connection; for one thread at a time."""

    def __init__(self, conn: Connection, lock: Lock, opened: Models) -> None:
        """Open retrieval on *conn*. Raises StateError where the lock has no finished ingest."""
        self.conn, self.lock, self._models = conn, lock, opened
        self._lexical = ingests.finished(conn, lock).lexical
        self._retriever = retriever.open_retriever(conn, lock, self._lexical)

    def legs(self, question: str, vector: NDArray[np.float32]) -> legs.Legs:
        """Return all candidates of each leg, untimed: what the funnel wants to know beside the snapshot."""
        return legs.candidates(self.conn, self.lock, self._lexical, question, vector)

    def answer(self, question: str) -> Answered:
        """Answer *question*."""
        latency: dict[str, float] = {}
        with _timed(latency, "total"):
            with self._turn(latency), _timed(latency, "embed"):
                vector = self._models.embedder.encode_queries([question])[0]
            with _timed(latency, "retrieve"):
                snapshot = self._retriever.search(question, vector)
            snapshot, pairs_cut = self._rerank(question, snapshot, latency)
            with _timed(latency, "filter"):
                context = fusion.select(snapshot, self.lock.config.retrieval.filter)
            with _timed(latency, "read"):
                answer = self._models.reader.read(question, context)
        return Answered(snapshot, context, answer, vector, latency, pairs_cut)

    def _rerank(self, question: str, snapshot: list[Hit], latency: dict[str, float]) -> tuple[list[Hit], int | None]:
        config, reranker = self.lock.config.reranker, self._models.reranker
        if config is None or reranker is None:
            return snapshot, None
        with self._turn(latency), _timed(latency, "rerank"):
            before = reranker.pairs_cut
            scores = reranker.score(question, [hit.text for hit in snapshot[: config.depth]])
            ranked = fusion.rerank(snapshot, [float(score) for score in scores], config.depth)
            return ranked, reranker.pairs_cut - before

    @contextmanager
    def _turn(self, latency: dict[str, float]) -> Iterator[None]:
        """Hold the models; the time until they were free is counted as `wait`."""
        with _timed(latency, "wait"):
            self._models.turn.acquire()
        try:
            yield
        finally:
            self._models.turn.release()


@contextmanager
def _timed(latency: dict[str, float], step: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    latency[step] = round(latency.get(step, 0.0) + (time.perf_counter() - began) * 1000, 3)
