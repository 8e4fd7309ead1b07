"""sentence-transformers as a backend, and as the peer that the ONNX backend must agree with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from bakeoff.adapters import embedders, model_files, sentence_transformer
from bakeoff.adapters.embedders import Embedder
from bakeoff.config import EmbedderConfig
from bakeoff.errors import ConfigError, ModelError

WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for this module."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def onnx(cache_dir: Path) -> Iterator[Embedder]:
    """MiniLM through ONNX Runtime, reading all its positions."""
    embedder = embedders.open_embedder(EmbedderConfig(max_tokens=512), cache_dir=cache_dir)
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def torch(cache_dir: Path) -> Iterator[Embedder]:
    """The same MiniLM through sentence-transformers."""
    cfg = EmbedderConfig(backend="sentence-transformers", max_tokens=512)
    embedder = embedders.open_embedder(cfg, cache_dir=cache_dir)
    yield embedder
    embedder.close()


def real_texts(embedder: Embedder, count: int) -> list[str]:
    """Return *count* stretches of Python's own documentation, 5 to 512 tokens long with the special ones."""
    book = "\n".join(topics[name] for name in sorted(topics))[:400_000]
    tokens = embedder.tokenizer.offsets(book)
    lengths = (3 + 507 * (np.arange(count) / (count - 1)) ** 6).round().astype(int)
    starts = np.arange(count) * ((len(tokens) - 512) // count)
    return [
        book[tokens[start][0] : tokens[start + length - 1][1]]
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]


def test_onnx_and_sentence_transformers_agree(onnx: Embedder, torch: Embedder) -> None:
    """On 200 real texts of 5 to 512 tokens the same weights give the same directions: cosine ≥ 0.9999."""
    texts = real_texts(onnx, 200)
    lengths = [count + 2 for count in onnx.tokenizer.counts(texts)]
    assert (min(lengths), max(lengths)) == (5, 512)
    cosines = (onnx.encode_passages(texts) * torch.encode_passages(texts)).sum(axis=1)
    assert float(cosines.min()) >= 0.9999


def test_identities_share_weights_and_tokenizer_but_not_the_fingerprint(onnx: Embedder, torch: Embedder) -> None:
    """The backend is part of what a vector depends on."""
    assert torch.identity.weights_sha256 == onnx.identity.weights_sha256 == WEIGHTS
    assert torch.identity.tokenizer == onnx.identity.tokenizer
    assert torch.identity.fingerprint != onnx.identity.fingerprint


def test_identify_equals_what_is_opened(torch: Embedder, cache_dir: Path) -> None:
    """The identity comes from files alone, and is the opened model's."""
    cfg = EmbedderConfig(backend="sentence-transformers", max_tokens=512)
    assert embedders.identify(cfg, cache_dir=cache_dir) == torch.identity


def test_a_vector_hardly_depends_on_its_batch(torch: Embedder) -> None:
    """Between any two batches the cosine is ≥ 1 - 1e-6, whatever torch's kernels do."""
    texts = real_texts(torch, 12)
    together = torch.encode_passages(texts + [text[:60] for text in texts])[: len(texts)]
    alone = np.vstack([torch.encode_passages([text]) for text in texts])
    cosines = (together.astype(np.float64) * alone).sum(axis=1)
    assert float(cosines.min()) >= 1 - 1e-6


def test_blank_text_and_limits(torch: Embedder, cache_dir: Path) -> None:
    """Blank text has a unit vector, long text is refused, max_tokens ends at the positions."""
    np.testing.assert_allclose(np.linalg.norm(torch.encode_queries(["", " "]), axis=1), 1.0, atol=1e-6)
    with pytest.raises(
        ModelError, match=r"text 0 of 1 has 513 tokens with special ones, but all-MiniLM-L6-v2 reads 512"
    ):
        torch.encode_queries(["word " * 511])
    with pytest.raises(ConfigError, match=r"embedder.max_tokens is 600, but all-MiniLM-L6-v2 has 512 positions"):
        embedders.identify(EmbedderConfig(backend="sentence-transformers", max_tokens=600), cache_dir=cache_dir)


def test_both_backends_read_prompts_and_cls_pooling_alike(tmp_path: Path, cache_dir: Path) -> None:
    """A folder that asks for cls pooling and prefixes gets them from either backend."""
    source = model_files.resolve("all-MiniLM-L6-v2").path
    folder = tmp_path / "cls-model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(source / "model.safetensors")
    pooling = {"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    prompts = {"prompts": {"query": "question: ", "document": "text: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    opened = [
        embedders.open_embedder(EmbedderConfig(backend=backend, model=str(folder)), cache_dir=cache_dir)
        for backend in ("onnx", "sentence-transformers")
    ]
    texts = ["a cat sat on the mat", "the statement ends the loop"]
    for encode in ("encode_passages", "encode_queries"):
        one, other = (getattr(embedder, encode)(texts) for embedder in opened)
        assert float((one * other).sum(axis=1).min()) >= 0.9999
    assert opened[0].identity.weights_sha256 == opened[1].identity.weights_sha256 != WEIGHTS
    # The library itself, asked by name, is the judge of what a prompt means.
    judge = opened[1]._model.encode_query(texts, normalize_embeddings=True)  # type: ignore[attr-defined]  # its own model
    assert float((judge * opened[0].encode_queries(texts)).sum(axis=1).min()) >= 0.9999


def test_a_model_that_no_hub_can_give_is_refused(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub name that is neither here nor reachable is one line with a way out."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*_args: object, **_options: object) -> str:
        raise LocalEntryNotFoundError("no network\nno luck")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    cfg = EmbedderConfig(backend="sentence-transformers", model="BAAI/bge-large-en-v1.5")
    with pytest.raises(
        ModelError, match=r"BAAI/bge-large-en-v1.5 is neither on this machine nor can its hub"
    ) as caught:
        embedders.identify(cfg, cache_dir=cache_dir)
    assert "\n" not in str(caught.value)


def test_a_model_from_the_hub_is_read_from_its_folder(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub's client has fetched is identified by its files, under the hub's name."""
    import huggingface_hub

    source = model_files.resolve("all-MiniLM-L6-v2").path
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_args, **_options: str(source))
    cfg = EmbedderConfig(backend="sentence-transformers", model="someone/their-model")
    identity = embedders.identify(cfg, cache_dir=cache_dir)
    assert (identity.name, identity.weights_sha256) == ("someone/their-model", WEIGHTS)


def test_positions_follow_the_family(tmp_path: Path) -> None:
    """RoBERTa's first two rows are not for tokens; a model without the setting has no limit."""
    folder = model_files.ModelFolder("m", tmp_path)
    for config, expected in (
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "t5"}, None),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert sentence_transformer.positions_of(folder) == expected
