"""Cross-encoders through the real loading code, on a small one made here with seeded random weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bakeoff.adapters import model_files, rerankers
from bakeoff.adapters.rerankers import Reranker
from bakeoff.config import RerankerConfig
from bakeoff.errors import ConfigError, ModelError

QUESTION = "how does a loop end ?"
TEXTS = [
    "the break statement ends the nearest enclosing loop which is a for or while loop",
    "cat",
    "",
    "the dog",
    "a cat with the dog is a cat with a dog for a while",
    "statement is break",
]


def make_cross_encoder(folder: Path, *, labels: int = 1) -> Path:
    """Save a two-layer BertForSequenceClassification with seeded random weights and a vocabulary of a few words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {
        word: index for index, word in enumerate([*special, *dict.fromkeys(" ".join([QUESTION, *TEXTS]).split())])
    }
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a vocabulary entry
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(7)
    config: Any = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    config.num_labels = labels
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small cross-encoder's folder."""
    return make_cross_encoder(tmp_path_factory.mktemp("rerankers") / "tiny-ranker")


@pytest.fixture
def reranker(folder: Path, tmp_path: Path) -> Iterator[Reranker]:
    """The small cross-encoder, opened."""
    opened = rerankers.open_reranker(RerankerConfig(model=str(folder), max_tokens=64), cache_dir=tmp_path)
    yield opened
    opened.close()


def test_scores_are_one_per_text_in_order_and_differ(reranker: Reranker) -> None:
    """Each text has its own finite score."""
    scores = reranker.score(QUESTION, TEXTS)
    assert scores.dtype == np.float32
    assert scores.shape == (len(TEXTS),)
    assert len(np.unique(scores.round(4))) == len(TEXTS)


def test_a_score_does_not_depend_on_its_batch(reranker: Reranker) -> None:
    """Alone, in any company and in any order, a pair has the same score."""
    together = reranker.score(QUESTION, TEXTS)
    alone = np.concatenate([reranker.score(QUESTION, [text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(reranker.score(QUESTION, TEXTS[::-1])[::-1], together, atol=1e-5)


def test_scores_are_the_library_s_own(reranker: Reranker, folder: Path) -> None:
    """What comes out is what CrossEncoder.predict gives for the same pairs."""
    from sentence_transformers import CrossEncoder

    judge = CrossEncoder(str(folder), local_files_only=True)
    expected = judge.predict([(QUESTION, text) for text in TEXTS], show_progress_bar=False)
    np.testing.assert_allclose(reranker.score(QUESTION, TEXTS), expected, atol=1e-5)


def test_opening_again_gives_the_same_scores(reranker: Reranker, folder: Path, tmp_path: Path) -> None:
    """A reranker is deterministic over loads."""
    again = rerankers.open_reranker(RerankerConfig(model=str(folder), max_tokens=64), cache_dir=tmp_path)
    np.testing.assert_array_equal(again.score(QUESTION, TEXTS), reranker.score(QUESTION, TEXTS))


def test_no_texts_give_no_scores(reranker: Reranker) -> None:
    """An empty snapshot is not an error."""
    assert reranker.score(QUESTION, []).shape == (0,)


def test_pairs_that_are_cut_are_counted(folder: Path, tmp_path: Path) -> None:
    """A text beyond max_tokens loses its end, and the reranker says how often."""
    opened = rerankers.open_reranker(RerankerConfig(model=str(folder), max_tokens=16), cache_dir=tmp_path)
    long = "the cat " * 30
    scores = opened.score(QUESTION, ["cat", long, long + "break"])
    assert opened.pairs_cut == 2
    assert scores[1] == pytest.approx(scores[2], abs=1e-6)


def test_max_tokens_above_the_positions_is_refused(folder: Path, tmp_path: Path) -> None:
    """The numbers are in the message."""
    with pytest.raises(ConfigError, match=r"reranker.max_tokens is 512, but tiny-ranker has 64 positions"):
        rerankers.open_reranker(RerankerConfig(model=str(folder)), cache_dir=tmp_path)


def test_the_identity_is_the_weights(reranker: Reranker, folder: Path, tmp_path: Path) -> None:
    """Name of the folder, digest of its file; known without torch."""
    digest = model_files.digest_file(folder / "model.safetensors", cache_dir=tmp_path)
    assert (reranker.identity.name, reranker.identity.weights_sha256) == ("tiny-ranker", digest)
    program = (
        "import sys; from pathlib import Path; from bakeoff.adapters import rerankers; "
        "from bakeoff.config import RerankerConfig; "
        "cfg = RerankerConfig(model=sys.argv[1], max_tokens=64); "
        "i = rerankers.identify_reranker(cfg, cache_dir=Path(sys.argv[2])); "
        "print(i.weights_sha256, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [digest, "False"]


def test_a_model_with_several_scores_is_refused(tmp_path: Path) -> None:
    """A classifier is not a ranker."""
    made = make_cross_encoder(tmp_path / "classifier", labels=3)
    with pytest.raises(ModelError, match=r"classifier gives 3 scores per pair, a reranker gives 1"):
        rerankers.open_reranker(RerankerConfig(model=str(made), max_tokens=64), cache_dir=tmp_path)


def test_a_broken_folder_and_a_closed_reranker_are_one_line(tmp_path: Path, reranker: Reranker) -> None:
    """Neither a half-copied model nor a closed one is a traceback."""
    made = make_cross_encoder(tmp_path / "broken")
    (made / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"broken can't be loaded from") as caught:
        rerankers.open_reranker(RerankerConfig(model=str(made), max_tokens=64), cache_dir=tmp_path)
    assert "\n" not in str(caught.value)
    (made / "config.json").write_text(json.dumps({}))
    with pytest.raises(ModelError, match=r"no config.json|can't be loaded"):
        rerankers.open_reranker(RerankerConfig(model=str(made), max_tokens=64), cache_dir=tmp_path)
    reranker.close()
    with pytest.raises(ModelError, match=r"is closed"):
        reranker.score(QUESTION, TEXTS)
