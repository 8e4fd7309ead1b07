"""Near-duplicates by exact Jaccard similarity of word 3-gram sets.

Callers may rely on: similarity is exact over 64-bit hashes of the 3-grams (a collision is as good as impossible); the
sketch finds every pair that reaches the threshold (prefix filtering, no probability involved: Chaudhuri, Ganti &
Kaushik 2006; Bayardo, Ma & Srikant 2007); survivors depend on the set of chunks alone, not on their order of arrival.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # scripts without blanks: every character a word
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_GRAM = 3
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _scramble(values: Hashes) -> Hashes:
    """Spread the bits, so that hash order is as good as random (SplitMix64's finaliser, Steele, Lea & Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def shingles(text: str) -> Hashes:
    """Return the sorted, distinct 64-bit hashes of the word 3-grams of *text*, case folded.

    A text of fewer than three words is one gram of all its words; a text without words is one gram of itself.
    """
    words = [_word_hash(word) for word in _WORD.findall(text.casefold())]
    if not words:
        words = [_word_hash(text)]
    values = np.asarray(words, dtype=np.uint64)
    if len(values) < _GRAM:
        values = np.concatenate((np.zeros(_GRAM - len(values), dtype=np.uint64), values))
    grams = sum(
        (np.roll(values, -shift)[: len(values) - _GRAM + 1] * mix for shift, mix in enumerate(_MIX)), np.uint64(0)
    )
    return np.unique(_scramble(np.asarray(grams, dtype=np.uint64)))


class Rarity:
    """About how often each hash occurs in a corpus, in memory that does not grow (16 MB): an order, rarest first.

    Hashes that share a counter seem commoner than they are. That costs time, never a pair: any order of all hashes
    will do for `sketch`, and with the rarest first few chunks share one by chance.
    """

    _COUNTERS = 1 << 22

    def __init__(self) -> None:
        """Count nothing yet."""
        self._counts = np.zeros(self._COUNTERS, dtype=np.uint32)

    def _places(self, grams: Hashes) -> NDArray[np.int64]:
        return (grams & np.uint64(self._COUNTERS - 1)).astype(np.int64)

    def add(self, grams: Hashes) -> None:
        """Count the hashes of one chunk, or of many at once."""
        places, times = np.unique(self._places(grams), return_counts=True)
        self._counts[places] += times.astype(np.uint32)

    def ordered(self, grams: Hashes) -> Hashes:
        """Return *grams* rarest first, ties by hash."""
        return grams[np.lexsort((grams, self._counts[self._places(grams)]))]


def sketch(grams: Hashes, threshold: float) -> Hashes:
    """Return the first hashes of *grams* that any set with Jaccard ≥ *threshold* must share one of with it.

    *grams* are in an order that is common to all sets: ascending, or that of one `Rarity`.

    Two sets with Jaccard ≥ t share at least ⌈t·|x|⌉ elements, so the first |x| − ⌈t·|x|⌉ + 1 of each in one order meet.
    """
    size = len(grams)
    needed = math.ceil(threshold * size - 1e-9)  # 0.7 times 10 must not become 8 by a rounding error
    return grams[: size - max(needed, 1) + 1]


def jaccard(left: Hashes, right: Hashes) -> float:
    """Return |left ∩ right| / |left ∪ right| of two sorted, distinct arrays, in [0, 1]; neither may be empty."""
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def duplicates_of(
    candidates: Iterable[tuple[int, int]],
    grams: Mapping[int, Hashes],
    threshold: float,
) -> dict[int, int]:
    """Return which chunk of a batch goes, and the kept chunk it is a near-duplicate of.

    *candidates* are pairs (later, earlier) of positions in (doc_id, start) order, sorted; an earlier one from before
    the batch must be a kept one. A chunk goes if its Jaccard with a kept earlier chunk reaches *threshold*; of several,
    the earliest is its survivor.
    """
    gone: dict[int, int] = {}
    for later, earlier in candidates:
        if later not in gone and earlier not in gone and jaccard(grams[later], grams[earlier]) >= threshold:
            gone[later] = earlier
    return gone
