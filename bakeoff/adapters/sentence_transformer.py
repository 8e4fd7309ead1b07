"""Any sentence-transformers model, by known name, folder or hub name; torch is imported when one is opened.

Callers may rely on: unit norm; prompts as the model's own settings name them; no text is cut off (refused instead).
Texts of one run have one token length, so nothing is padded; torch's matrix kernels still change with the size of a
run, so between batches a vector may differ in its last bits: cosine ≥ 1 - 1e-6. Only safetensors weights are read,
never pickles, and no code that a model brings along is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bakeoff import canonical
from bakeoff.adapters import model_files, recipes, tokenizer
from bakeoff.adapters.model_files import ModelFolder
from bakeoff.adapters.onnx_bert import plan_runs, unit_rows
from bakeoff.config import EmbedderConfig, EmbedderIdentity
from bakeoff.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOKENS_PER_RUN = 4096
_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl"}
"""Families whose first two position rows are not for tokens."""
_NO_LIMIT = 2**31 - 1

Vectors = NDArray[np.float32]


class SentenceTransformerEmbedder:
    """One opened model; made by `open_embedder`."""

    def __init__(
        self,
        model: SentenceTransformer,
        tokens: tokenizer.TextTokenizer,
        identity: EmbedderIdentity,
        prefixes: tuple[str, str],
    ) -> None:
        self.identity = identity
        self.tokenizer = tokens
        self._model: SentenceTransformer | None = model
        self._query_prefix, self._passage_prefix = prefixes

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of *texts* as documents: (n, dimension), unit norm. Raises ModelError on one too long."""
        return self._encode(texts, self._passage_prefix)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of *texts* as questions: (n, dimension), unit norm. Raises ModelError on one too long."""
        return self._encode(texts, self._query_prefix)

    def close(self) -> None:
        """Let go of the model's memory; idempotent."""
        self._model = None

    def _encode(self, texts: Sequence[str], prefix: str) -> Vectors:
        if self._model is None:
            raise ModelError(f"{self.identity.name} is closed", hint="open the embedder again")
        lengths = [len(row) for row in self.tokenizer.ids([prefix + text for text in texts])]
        model_files.check_lengths(self.identity.name, lengths, self.identity.max_tokens)
        vectors = np.empty((len(texts), self.identity.dimension), np.float32)
        for indices in plan_runs(lengths, tokens_per_run=TOKENS_PER_RUN):
            # The prompt goes in by name of its text, since a model may leave a prompt's tokens out of its pooling.
            found = self._model.encode(
                [texts[index] for index in indices], prompt=prefix, batch_size=len(indices), show_progress_bar=False
            )
            vectors[indices] = unit_rows(found)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.identity.name} gave NaN or infinity", hint="its weights are damaged: copy them again"
            )
        return vectors


def identify(cfg: EmbedderConfig, *, cache_dir: Path) -> EmbedderIdentity:
    """Return what `open_embedder` would open, from the model's files alone: torch is not imported."""
    return _identify(cfg, _folder(cfg), cache_dir=cache_dir)


def open_embedder(cfg: EmbedderConfig, *, cache_dir: Path) -> SentenceTransformerEmbedder:
    """Open the model that *cfg* names, on the device that torch prefers.

    Raises ModelError where packages or files are missing or the model can't be loaded, ConfigError where precision or
    max_tokens don't fit it.
    """
    folder = _folder(cfg)
    identity = _identify(cfg, folder, cache_dir=cache_dir)
    tokens = tokenizer.open_tokenizer(folder.path / "tokenizer.json", name=folder.name)
    prefixes = recipes.read_prefixes(folder)
    tokens.special_tokens += tokens.counts([prefixes[1]])[0]
    model_files.calm_openmp()
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    quiet_loading()
    try:
        model = SentenceTransformer(str(folder.path), local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        raise unloadable(folder, error) from error
    model.max_seq_length = identity.max_tokens
    vector = model.encode(["dimension"], show_progress_bar=False)
    if vector.shape[1] != identity.dimension:
        raise ModelError(
            f"{folder.name} gives {vector.shape[1]} dimensions, but its settings say {identity.dimension}",
            hint="correct config.json or the pooling settings of the model's folder",
        )
    return SentenceTransformerEmbedder(model, tokens, identity, prefixes)


def quiet_loading() -> None:
    """Keep transformers' progress bars off stderr: loading local files takes a moment, and the bar is not ours."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the library has no annotation here


def unloadable(folder: ModelFolder, error: Exception) -> ModelError:
    """Return the one-line error for a model that its library can't load."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return ModelError(
        f"{folder.name} can't be loaded from {folder.path}: {first}", hint="check that the folder is a complete model"
    )


def positions_of(folder: ModelFolder) -> int | None:
    """Return how many tokens the model has positions for, None where it has no such limit."""
    config = folder.read_settings("config.json")
    if not config:
        raise ModelError(f"{folder.name}: no config.json in {folder.path}", hint="give the folder of a whole model")
    found = config.get("max_position_embeddings")
    if found is None:
        return None
    return int(found) - (2 if config.get("model_type") in _OFFSET_POSITIONS else 0)


def _folder(cfg: EmbedderConfig) -> ModelFolder:
    model_files.check_precision("sentence-transformers", cfg.precision, ("fp32",))
    model_files.need_packages(
        ["sentence_transformers", "torch"], extra="torch", what="the sentence-transformers backend"
    )
    return model_files.resolve(cfg.model)


def _identify(cfg: EmbedderConfig, folder: ModelFolder, *, cache_dir: Path) -> EmbedderIdentity:
    positions = positions_of(folder)
    settings = folder.read_settings("sentence_bert_config.json")
    own = settings.get("max_seq_length") or folder.read_settings("tokenizer_config.json").get("model_max_length")
    limit = _NO_LIMIT if positions is None else positions
    return EmbedderIdentity(
        name=folder.name,
        backend="sentence-transformers",
        precision="fp32",
        weights_sha256=_digest(folder, cache_dir=cache_dir),
        dimension=_dimension(folder),
        max_tokens=model_files.check_max_tokens(folder.name, cfg.max_tokens, own=int(own or limit), positions=limit),
        positions=positions,
        tokenizer=tokenizer.identify_tokenizer(folder.path / "tokenizer.json", name=folder.name),
    )


def _module_paths(folder: ModelFolder) -> list[str]:
    modules = folder.read_modules()
    return [str(module["path"]) for module in modules if module.get("path")]


def _dimension(folder: ModelFolder) -> int:
    """Return the width of the last module that says one, else the encoder's."""
    width = folder.read_settings("config.json").get("hidden_size", 0)
    for path in _module_paths(folder):
        settings = folder.read_settings(f"{path}/config.json")
        for key in ("out_features", "embedding_dimension", "word_embedding_dimension"):
            width = settings.get(key, width)
            if key in settings:
                break
    return int(width)


def _digest(folder: ModelFolder, *, cache_dir: Path) -> str:
    weights = model_files.digest_weights(folder, cache_dir=cache_dir)
    try:
        return recipes.read_recipe(folder).fold_into(weights)
    except ModelError:
        # Not a kind that recipes reads: every setting and weight of every module belongs to the identity.
        names = ["modules.json", "config.json", "config_sentence_transformers.json"]
        inside = [file for path in _module_paths(folder) for file in sorted((folder.path / path).glob("*"))]
        files = [*(folder.path / name for name in names), *inside]
        settings = {
            str(file.relative_to(folder.path)): model_files.digest_file(file, cache_dir=cache_dir)
            for file in files
            if file.is_file()
        }
        return canonical.digest({"weights": weights, "settings": settings})
