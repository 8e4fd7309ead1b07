"""Within `shared` equal configurations are one opened model; outside nothing is kept."""

from __future__ import annotations

import numpy as np

from bakeoff.adapters import embedders
from bakeoff.config import EmbedderConfig
from tests.support import CACHE

CONFIG = EmbedderConfig.model_validate({"backend": "static", "model": "wordllama"})
OTHER = EmbedderConfig.model_validate({"backend": "static", "model": "wordllama", "max_tokens": 64})


def test_equal_configurations_share_one_model() -> None:
    """Twice the same is one; one that is done with leaves it open; vectors and identity are the model's own."""
    alone = embedders.open_embedder(CONFIG, cache_dir=CACHE)
    with embedders.shared():
        first = embedders.open_embedder(CONFIG, cache_dir=CACHE)
        first.close()
        second = embedders.open_embedder(CONFIG, cache_dir=CACHE)
        assert first is second
        assert first is not embedders.open_embedder(OTHER, cache_dir=CACHE)
        assert alone.identity == second.identity
        assert alone.tokenizer.special_tokens == second.tokenizer.special_tokens
        for name in ("encode_passages", "encode_queries"):
            expected, found = (getattr(each, name)(["a lamp", ""]) for each in (alone, second))
            np.testing.assert_array_equal(expected, found)
    alone.close()


def test_outside_nothing_is_kept() -> None:
    """After the block, and before it, each call opens a model of its own."""
    with embedders.shared():
        within = embedders.open_embedder(CONFIG, cache_dir=CACHE)
    assert within is not embedders.open_embedder(CONFIG, cache_dir=CACHE)
    assert embedders.open_embedder(CONFIG, cache_dir=CACHE) is not embedders.open_embedder(CONFIG, cache_dir=CACHE)
