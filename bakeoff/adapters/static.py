"""Static embeddings (WordLlama): the mean of token vectors; thousands of texts a second, for rehearsals and CI.

Callers may rely on: unit norm; each text is summed alone, so a vector can't depend on its batch; text without tokens
gets the vector of a single space. The package's two files are read directly: importing it would configure the root
logger and pull in an HTTP client.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bakeoff.adapters import model_files, tokenizer
from bakeoff.adapters.onnx_bert import unit_rows
from bakeoff.config import EmbedderConfig, EmbedderIdentity
from bakeoff.errors import ModelError

MODEL = "wordllama"
NO_LIMIT = 2**31 - 1
"""`max_tokens` of a model that reads any length."""
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_TENSOR = "embedding.weight"
_DIMENSION = 256

Vectors = NDArray[np.float32]


class StaticEmbedder:
    """One opened table of token vectors; made by `open_embedder`."""

    def __init__(self, table: Vectors, tokens: tokenizer.TextTokenizer, identity: EmbedderIdentity) -> None:
        self.identity = identity
        self.tokenizer = tokens
        self._table: Vectors | None = table
        self._blank = tokens.ids([" "], special=False)[0]

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of *texts*: (n, 256), unit norm. Raises ModelError on a text above max_tokens."""
        return self._encode(texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of *texts*: (n, 256), unit norm; the same as for passages."""
        return self._encode(texts)

    def close(self) -> None:
        """Let go of the table; idempotent."""
        self._table = None

    def _encode(self, texts: Sequence[str]) -> Vectors:
        if self._table is None:
            raise ModelError(f"{self.identity.name} is closed", hint="open the embedder again")
        ids = self.tokenizer.ids(texts, special=False)
        model_files.check_lengths(self.identity.name, [len(row) for row in ids], self.identity.max_tokens)
        sums = np.empty((len(ids), self.identity.dimension), np.float32)
        for index, row in enumerate(ids):
            sums[index] = self._table[row or self._blank].mean(axis=0)
        return unit_rows(sums)


def identify(cfg: EmbedderConfig, *, cache_dir: Path) -> EmbedderIdentity:
    """Return what `open_embedder` would open. Raises ModelError and ConfigError as it does."""
    folder = _folder(cfg)
    return EmbedderIdentity(
        name=MODEL,
        backend="static",
        precision="fp32",
        weights_sha256=model_files.digest_file(folder / _WEIGHTS, cache_dir=cache_dir),
        dimension=_DIMENSION,
        max_tokens=cfg.max_tokens or NO_LIMIT,
        positions=None,
        tokenizer=tokenizer.identify_tokenizer(folder / _TOKENIZER, name=MODEL),
    )


def open_embedder(cfg: EmbedderConfig, *, cache_dir: Path) -> StaticEmbedder:
    """Open the table. Raises ModelError where the package is missing or damaged, ConfigError on another precision."""
    identity = identify(cfg, cache_dir=cache_dir)
    folder = _folder(cfg)
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        table = load_file(folder / _WEIGHTS)[_TENSOR].astype(np.float32)
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{MODEL}: its weights can't be read: {error}", hint="install wordllama again") from error
    tokens = tokenizer.open_tokenizer(folder / _TOKENIZER, name=MODEL)
    tokens.special_tokens = 0  # its tokenizer could add one, its model does without
    return StaticEmbedder(table, tokens, identity)


def _folder(cfg: EmbedderConfig) -> Path:
    model_files.check_precision("static", cfg.precision, ("fp32",))
    if cfg.model != MODEL:
        raise ModelError(f"the static backend has no model {cfg.model}", hint=f"set embedder.model to {MODEL}")
    model_files.need_packages(["wordllama", "safetensors", "tokenizers"], extra="static", what="the static backend")
    return Path(str(model_files.package_folder("wordllama")))
