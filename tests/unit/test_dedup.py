"""Near-duplicates: exact similarity, a sketch that misses nothing, survivors that depend on the set alone."""

from __future__ import annotations

import random
import re
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import dedup
from bakeoff.dedup import Hashes

THRESHOLDS = ("0.1", "0.3", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0")
TEXTS = st.lists(
    st.text("ab  ", max_size=24) | st.lists(st.sampled_from("abcd"), max_size=14).map(" ".join), max_size=9
)


def grams_of(text: str) -> frozenset[tuple[str, ...]]:
    """The word 3-grams of *text* as the module's docstrings say, written another way."""
    words = re.findall(r"[a-z0-9]+", text.lower()) or [f"\0{text}"]
    return frozenset(tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2)))


def similar(left: str, right: str, threshold: str) -> bool:
    """Whether the exact Jaccard similarity reaches the threshold, in whole numbers."""
    a, b = grams_of(left), grams_of(right)
    return Fraction(len(a & b), len(a | b)) >= Fraction(threshold)


def rarest_first(hashes: list[Hashes]) -> list[Hashes]:
    """The same hashes in the order of how often the corpus has them."""
    rarity = dedup.Rarity()
    for item in hashes:
        rarity.add(item)
    return [rarity.ordered(item) for item in hashes]


def candidates(hashes: list[Hashes], threshold: str) -> list[tuple[int, int]]:
    """The pairs (later, earlier) that share a hash of their sketches, as the database finds them."""
    sketches = [set(dedup.sketch(item, float(threshold)).tolist()) for item in hashes]
    return sorted((b, a) for a, b in combinations(range(len(hashes)), 2) if sketches[a] & sketches[b])


def greedy(texts: list[str], threshold: str) -> dict[int, int]:
    """Each text goes if one that is kept before it is similar; the first of those is its survivor."""
    kept: list[int] = []
    gone: dict[int, int] = {}
    for index, text in enumerate(texts):
        survivor = next((other for other in kept if similar(texts[other], text, threshold)), None)
        if survivor is None:
            kept.append(index)
        else:
            gone[index] = survivor
    return gone


@given(TEXTS, st.sampled_from(THRESHOLDS))
def test_the_sketch_finds_every_pair(texts: list[str], threshold: str) -> None:
    """No pair that reaches the threshold is missed, also where the threshold is no binary fraction."""
    hashes = [dedup.shingles(text) for text in texts]
    found, rare = set(candidates(hashes, threshold)), set(candidates(rarest_first(hashes), threshold))
    for a, b in combinations(range(len(texts)), 2):
        assert (b, a) in found & rare or not similar(texts[a], texts[b], threshold)
        exact = len(grams_of(texts[a]) & grams_of(texts[b])) / len(grams_of(texts[a]) | grams_of(texts[b]))
        assert exact == dedup.jaccard(hashes[a], hashes[b])


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60), st.sampled_from(THRESHOLDS), st.integers(0, 9))
def test_the_sketch_finds_every_pair_of_sets(both: int, left: int, right: int, threshold: str, seed: int) -> None:
    """The same on sets of any size and overlap."""
    drawn = np.random.default_rng(seed).permutation(both + left + right).astype(np.uint64)
    a, b = np.sort(drawn[: both + left]), np.sort(np.concatenate((drawn[:both], drawn[both + left :])))
    if Fraction(both, both + left + right) >= Fraction(threshold):
        assert set(dedup.sketch(a, float(threshold)).tolist()) & set(dedup.sketch(b, float(threshold)).tolist())


@pytest.mark.parametrize("threshold", [tenth / 100 for tenth in range(1, 101)])
def test_the_sketch_is_as_short_as_it_can_be(threshold: float) -> None:
    """|x| - ⌈t·|x|⌉ + 1 hashes, the smallest ones: 0.07 * 100 is 7, whatever its floating point product is."""
    grams = np.arange(100, dtype=np.uint64)
    assert list(range(100 - round(threshold * 100) + 1)) == dedup.sketch(grams, threshold).tolist()


@given(TEXTS, st.sampled_from(THRESHOLDS), st.integers(1, 5))
def test_survivors_equal_those_of_a_plain_search(texts: list[str], threshold: str, batch: int) -> None:
    """Whatever the size of the batches: earlier ones are known by what was kept of them."""
    hashes = [dedup.shingles(text) for text in texts]
    pairs = candidates(hashes, threshold)
    gone: dict[int, int] = {}
    for first in range(0, len(texts), batch):
        part = [(b, a) for b, a in pairs if first <= b < first + batch and (a >= first or a not in gone)]
        gone |= dedup.duplicates_of(part, dict(enumerate(hashes)), float(threshold))
    assert greedy(texts, threshold) == gone


@given(TEXTS, st.sampled_from(THRESHOLDS), st.randoms(use_true_random=False))
def test_survivors_do_not_depend_on_arrival(texts: list[str], threshold: str, rng: random.Random) -> None:
    """Chunks are put in the order of their documents first; the order in which they came leaves no trace."""
    arrived = list(enumerate(texts))
    rng.shuffle(arrived)
    hashes = [dedup.shingles(text) for _, text in sorted(arrived)]
    assert greedy(texts, threshold) == dedup.duplicates_of(
        candidates(hashes, threshold), dict(enumerate(hashes)), float(threshold)
    )


@given(TEXTS, st.sampled_from(THRESHOLDS))
def test_survivors_do_not_depend_on_the_order_of_hashes(texts: list[str], threshold: str) -> None:
    """Rarest first looks at fewer pairs by chance and finds the same near-duplicates."""
    hashes = [dedup.shingles(text) for text in texts]
    pairs = candidates(rarest_first(hashes), threshold)
    assert greedy(texts, threshold) == dedup.duplicates_of(pairs, dict(enumerate(hashes)), float(threshold))


def test_rarity_puts_what_few_chunks_hold_first() -> None:
    """Counted over all chunks, one by one or at once; ties in the order of the hashes."""
    chunks = [np.array(item, dtype=np.uint64) for item in ([1, 2, 3, 9], [1, 2], [1, 9], [5])]
    one_by_one, at_once = dedup.Rarity(), dedup.Rarity()
    for chunk in chunks:
        one_by_one.add(chunk)
    at_once.add(np.concatenate(chunks))
    assert [3, 2, 9, 1] == one_by_one.ordered(chunks[0]).tolist() == at_once.ordered(chunks[0]).tolist()
    assert [1, 2, 3, 9] == dedup.Rarity().ordered(chunks[0]).tolist()


def test_a_chain_keeps_what_is_not_similar_to_a_kept_one() -> None:
    """What is similar only to one that is gone stays; of two survivors the first counts."""
    words = [f"w{n}" for n in range(20)]
    texts = [" ".join(words[:12]), " ".join(words[2:14]), " ".join(words[4:16]), " ".join(words[2:14])]
    hashes = [dedup.shingles(text) for text in texts]
    assert {1: 0, 3: 0} == dedup.duplicates_of(candidates(hashes, "0.6"), dict(enumerate(hashes)), 0.6)


def test_shingles_never_change() -> None:
    """Staging tables store them as they are."""
    expected = [1706722041188365231, 5840113042286045123, 7794369552559418959]
    assert expected == dedup.shingles("the quick brown fox jumps").tolist()
    assert [3378682441789706482] == dedup.shingles("Hi").tolist()
    assert [16008620663322649795] == dedup.shingles("...").tolist()


@given(st.text())
def test_any_text_has_sorted_distinct_grams(text: str) -> None:
    """Empty, blank, one word, any script: at least one gram, ready for merging; equal to itself."""
    grams = dedup.shingles(text)
    assert grams.dtype == np.uint64
    assert len(grams) >= 1
    assert np.all(grams[1:] > grams[:-1])
    assert 1.0 == dedup.jaccard(grams, dedup.shingles(text))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("The Quick, brown fox.", "the quick brown FOX", 1.0),
        ("Straße zum Meer", "STRASSE ZUM MEER", 1.0),
        ("one two", "one two three", 0.0),
        ("one", "one two", 0.0),
        ("", "", 1.0),
        ("...", "???", 0.0),
        ("世界你好", "世界你好", 1.0),
        ("世界你好吗", "世界你好吧", 0.5),
        ("Python語はやさしい", "Python語はやさしく", 2 / 3),
        ("日本abc日本", "日本 abc 日本", 1.0),
        ("한국어문", "한국어물", 1 / 3),
    ],
)
def test_similarity_of_plain_cases(left: str, right: str, expected: float) -> None:
    """Case and punctuation do not count; a character of a script without blanks is a word, beside Latin ones too."""
    assert expected == dedup.jaccard(dedup.shingles(left), dedup.shingles(right))
