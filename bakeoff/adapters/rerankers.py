"""Cross-encoders: (question, text) → a score. Any sentence-transformers CrossEncoder, by folder or hub name.

Callers may rely on: torch is imported when one is opened, not before; scores come in the order of the texts and are
deterministic; pairs of one run have one token length, so no score depends on padding, and between batches it differs
by rounding at most (1e-5). A pair beyond `max_tokens` loses the end of its text, as is usual for cross-encoders, and
is counted in `pairs_cut`, so that a run can say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bakeoff.adapters import model_files, sentence_transformer, tokenizer
from bakeoff.adapters.model_files import ModelFolder
from bakeoff.adapters.onnx_bert import plan_runs
from bakeoff.config import RerankerConfig, RerankerIdentity
from bakeoff.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

TOKENS_PER_RUN = 4096


class Reranker(Protocol):
    """An opened cross-encoder."""

    @property
    def identity(self) -> RerankerIdentity:
        """What its scores depend on."""

    @property
    def pairs_cut(self) -> int:
        """How many pairs so far were longer than `max_tokens`."""

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one score per text, (n,): higher is better; the model's own scale."""

    def close(self) -> None:
        """Let go of the model's memory; idempotent."""


class CrossEncoderReranker:
    """A sentence-transformers CrossEncoder; made by `open_reranker`."""

    def __init__(
        self, model: CrossEncoder, tokens: tokenizer.TextTokenizer, identity: RerankerIdentity, max_tokens: int
    ) -> None:
        self.identity = identity
        self.pairs_cut = 0
        self._model: CrossEncoder | None = model
        self._tokens = tokens
        self._max_tokens = max_tokens

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one score per text, (n,): higher is better. Raises ModelError where the model gives NaN."""
        if self._model is None:
            raise ModelError(f"{self.identity.name} is closed", hint="open the reranker again")
        lengths = self._tokens.pair_lengths(question, texts)
        self.pairs_cut += sum(length > self._max_tokens for length in lengths)
        read = [min(length, self._max_tokens) for length in lengths]
        scores = np.empty(len(texts), np.float32)
        for indices in plan_runs(read, tokens_per_run=TOKENS_PER_RUN):
            pairs = [(question, texts[index]) for index in indices]
            scores[indices] = self._model.predict(pairs, batch_size=len(pairs), show_progress_bar=False)
        if not np.isfinite(scores).all():
            raise ModelError(
                f"{self.identity.name} gave NaN or infinity", hint="its weights are damaged: copy them again"
            )
        return scores

    def close(self) -> None:
        """Let go of the model's memory; idempotent."""
        self._model = None


def identify_reranker(cfg: RerankerConfig, *, cache_dir: Path) -> RerankerIdentity:
    """Return what `open_reranker` would open, without importing torch.

    Raises ModelError where files are missing, ConfigError where max_tokens is beyond the model's positions.
    """
    folder = _folder(cfg)
    _max_tokens(cfg, folder)
    return _identify(folder, cache_dir=cache_dir)


def _max_tokens(cfg: RerankerConfig, folder: ModelFolder) -> int:
    positions = sentence_transformer.positions_of(folder) or cfg.max_tokens
    return model_files.check_max_tokens(
        folder.name, cfg.max_tokens, own=cfg.max_tokens, positions=positions, key="reranker.max_tokens"
    )


def open_reranker(cfg: RerankerConfig, *, cache_dir: Path) -> Reranker:
    """Open the cross-encoder that *cfg* names.

    Raises ModelError where packages or files are missing or the model gives more than one score per pair, ConfigError
    where max_tokens is beyond its positions.
    """
    folder = _folder(cfg)
    identity = _identify(folder, cache_dir=cache_dir)
    max_tokens = _max_tokens(cfg, folder)
    tokens = tokenizer.open_tokenizer(folder.path / "tokenizer.json", name=folder.name)
    model_files.calm_openmp()
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder

    sentence_transformer.quiet_loading()
    try:
        model = CrossEncoder(str(folder.path), max_length=max_tokens, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise sentence_transformer.unloadable(folder, error) from error
    if model.num_labels != 1:
        raise ModelError(
            f"{folder.name} gives {model.num_labels} scores per pair, a reranker gives 1",
            hint="name a cross-encoder that was trained to rank",
        )
    return CrossEncoderReranker(model, tokens, identity, max_tokens)


def _folder(cfg: RerankerConfig) -> ModelFolder:
    model_files.need_packages(["sentence_transformers", "torch"], extra="torch", what="a reranker")
    return model_files.resolve(cfg.model)


def _identify(folder: ModelFolder, *, cache_dir: Path) -> RerankerIdentity:
    return RerankerIdentity(name=folder.name, weights_sha256=model_files.digest_weights(folder, cache_dir=cache_dir))
