"""Retrieval and answer metrics per case, and their aggregates.

Callers may rely on: every metric is in [0, 1] or None; None means undefined or not measured, never zero, and stays
visible in every aggregate; NaN is an error. Retrieval metrics agree with trec_eval's where both are defined.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from bakeoff.errors import ConfigError, InputError

RIGHT_RECALL = 0.75
"""An answer that holds at least this share of a gold answer's tokens counts as right, however much more it says."""

TAIL = 5
"""How many timings should lie beyond a percentile before it is relied on: 100 timings for a p95, 500 for a p99."""

_ARTICLES = frozenset({"a", "an", "the"})
_FUNCTION_WORDS = frozenset(
    "and are as at be been but by can do does for from had has "  # noqa: SIM905  # as literals they would fill a page
    "have he her his if in into is it its may must no not of on or our shall she should so such than that their them "
    "then there these they this those to was we were what when where which who will with would you your".split()
)
# Scripts written without spaces between words: kana, bopomofo, Han and its extensions.
_UNSPACED = "\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def ranked_documents(doc_ids: Iterable[str]) -> list[str]:
    """Return the documents of ranked chunks, each at its first, best rank."""
    return list(dict.fromkeys(doc_ids))


def relevant(grades: Mapping[str, int]) -> frozenset[str]:
    """Return the documents that *grades* judge relevant: those above 0."""
    return frozenset(doc_id for doc_id, grade in grades.items() if grade > 0)


def recall_at(ranked: Sequence[str], gold: AbstractSet[str], *, k: int) -> float | None:
    """Share of *gold* among the first *k* of *ranked*; None where *gold* is empty.

    trec_eval's recall_k. Raises ConfigError where k < 1, InputError where *ranked* names an id twice.
    """
    _check(ranked, k)
    return sum(item in gold for item in ranked[:k]) / len(gold) if gold else None


def precision_at(ranked: Sequence[str], gold: AbstractSet[str], *, k: int) -> float | None:
    """Share of the first *k* places of *ranked* that *gold* fills; None where *gold* is empty.

    trec_eval's P_k: divided by k even where fewer were retrieved. Raises as `recall_at`.
    """
    _check(ranked, k)
    return sum(item in gold for item in ranked[:k]) / k if gold else None


def reciprocal_rank(ranked: Sequence[str], gold: AbstractSet[str], *, k: int | None = None) -> float | None:
    """1 / rank of the first of *gold* in *ranked* (its first *k*), 0 without one; None where *gold* is empty.

    trec_eval's recip_rank (Voorhees 1999). Raises as `recall_at`.
    """
    _check(ranked, k)
    if not gold:
        return None
    return next((1.0 / rank for rank, item in enumerate(ranked[:k], start=1) if item in gold), 0.0)


def average_precision(ranked: Sequence[str], gold: AbstractSet[str], *, k: int | None = None) -> float | None:
    """Mean, over *gold*, of the precision at the rank of each, 0 for one not retrieved; None where *gold* is empty.

    trec_eval's map and map_cut_k for one query. Raises as `recall_at`.
    """
    _check(ranked, k)
    if not gold:
        return None
    ranks = [rank for rank, item in enumerate(ranked[:k], start=1) if item in gold]
    return math.fsum(found / rank for found, rank in enumerate(ranks, start=1)) / len(gold)


def ndcg_at(ranked: Sequence[str], grades: Mapping[str, int], *, k: int) -> float | None:
    """Normalised discounted cumulative gain of the first *k* of *ranked*; None where no grade is above 0.

    DCG = sum of grade / log2(rank + 1), linear gains, grades below 0 count as 0, and the ideal ranking is over all
    judged documents (Järvelin & Kekäläinen 2002 in trec_eval's form, ndcg_cut_k). Raises as `recall_at`.
    """
    _check(ranked, k)
    ideal = _dcg(sorted((max(grade, 0) for grade in grades.values()), reverse=True)[:k])
    return _dcg([max(grades.get(item, 0), 0) for item in ranked[:k]]) / ideal if ideal else None


def _dcg(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1) if gain)


def _check(ranked: Sequence[str], k: int | None) -> None:
    if k is not None and k < 1:
        raise ConfigError(f"the cut-off is {k}, below 1", hint="10 is the usual value")
    if len(set(ranked)) != len(ranked):
        twice = next(item for item, count in Counter(ranked).items() if count > 1)
        raise InputError(f"the ranking names {twice} more than once", hint="fold chunks with ranked_documents first")


class _Punctuation(dict[int, str]):
    """A table for `str.translate`: punctuation goes, a dash beyond ASCII parts words; filled as characters come."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        kept = character
        if character in string.punctuation:
            kept = ""
        elif category.startswith("P"):
            kept = " " if category == "Pd" else ""
        self[code] = kept
        return kept


_PUNCTUATION = _Punctuation()


def tokens(text: str) -> list[str]:
    """Return the words that answers are compared by.

    SQuAD's normalisation (Rajpurkar et al. 2016): lower case, no punctuation, no English articles, split at white
    space. Added for other scripts: compatibility forms are folded (NFKC), and a character of a script without spaces
    (Chinese, Japanese) is a token. A text of nothing but punctuation and articles keeps its words as they are, so that
    an answer such as `+=` can be compared at all; only a blank text has no tokens.
    """
    folded = _folded(text)
    return [word for word in _words(folded) if word not in _ARTICLES] or folded.split()


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def _words(folded: str) -> list[str]:
    bare = folded.translate(_PUNCTUATION)
    return bare.split() if bare.isascii() else _TOKEN.findall(bare)


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """An answer against the gold answer that suits it best; each in [0, 1]."""

    em: float
    """1 where the normalised answer equals the gold answer."""
    precision: float
    recall: float
    f1: float


_PERFECT = AnswerScores(1.0, 1.0, 1.0, 1.0)
_NOTHING = AnswerScores(0.0, 0.0, 0.0, 0.0)


def answer_scores(answer: str | None, golds: Iterable[str], *, answerable: bool = True) -> AnswerScores | None:
    """Compare *answer* with each of *golds* and return the scores of the best by F1 (then EM, then recall).

    Precision, recall and F1 are over tokens with repeats (SQuAD 1.1). An *answer* of None was not given (no reader, or
    it failed): not measured, None. A blank one is an abstention: all 1 where the question is not *answerable* (SQuAD
    2.0), else all 0. None too where an answerable question has no gold answer.
    """
    if answer is None:
        return None
    if not answerable:
        return _NOTHING if answer.strip() else _PERFECT
    said = tokens(answer)
    scores = [_pair_scores(said, wanted) for wanted in _gold_tokens(golds)]
    return max(scores, key=lambda score: (score.f1, score.em, score.recall), default=None)


def right(answer: str | None, golds: Iterable[str], *, answerable: bool = True) -> bool | None:
    """Say whether *answer* is right: an exact match, or at least `RIGHT_RECALL` of the tokens of any of *golds*.

    Lenient on purpose towards answers of whole sentences: precision says what that costs. Where the question is not
    *answerable* only a blank answer is right. None as in `answer_scores`.
    """
    if answer is None:
        return None
    if not answerable:
        return not answer.strip()
    said = tokens(answer)
    recalls = [_pair_scores(said, wanted).recall for wanted in _gold_tokens(golds)]
    return max(recalls) >= RIGHT_RECALL if recalls else None


def _gold_tokens(golds: Iterable[str]) -> list[list[str]]:
    return [found for gold in golds if (found := tokens(gold))]


def _pair_scores(said: list[str], wanted: list[str]) -> AnswerScores:
    shared = (Counter(said) & Counter(wanted)).total()
    if shared == 0:
        return _NOTHING
    precision, recall = shared / len(said), shared / len(wanted)
    return AnswerScores(float(said == wanted), precision, recall, 2 * precision * recall / (precision + recall))


def grounded_share(answer: str | None, context_texts: Iterable[str]) -> float | None:
    """Share of the content tokens of *answer*, with repeats, that occur anywhere in *context_texts*.

    Content tokens are those of `tokens` that are no function words (all of them where nothing else is left). A check of
    words, deterministic and cheap: 1 does not prove an answer faithful, a low share shows one that is not. None where
    the answer is blank or was not given.
    """
    said = [] if answer is None else tokens(answer)
    content = [token for token in said if token not in _FUNCTION_WORDS] or said
    if not content:
        return None
    context: set[str] = set()
    for text in context_texts:
        context.update(_words(_folded(text)))
    return sum(token in context for token in content) / len(content)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A mean with what it is a mean of."""

    mean: float | None
    """None where nothing was defined."""
    n: int
    """Cases with a value."""
    undefined: int
    """Cases without one; they are not in the mean."""


def aggregate(values: Iterable[float | None]) -> Aggregate:
    """Return the mean of those of *values* that are defined. Raises InputError on NaN and infinity."""
    defined: list[float] = []
    undefined = 0
    for value in values:
        if value is None:
            undefined += 1
        else:
            defined.append(_finite(value))
    return Aggregate(math.fsum(defined) / len(defined) if defined else None, len(defined), undefined)


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile of timings."""

    value: float | None
    """In the unit of the timings; None where there are none."""
    n: int
    reliable: bool
    """Whether at least `TAIL` timings are expected beyond it, on its shorter side."""


def percentile(timings: Iterable[float], q: float) -> Percentile:
    """Return the *q*-th percentile of *timings* by nearest rank: the ceil(q·n/100)-th smallest, one that happened.

    Reliable where n · min(q, 100 - q) / 100 reaches `TAIL`, which asks for 100 timings of a p95. Raises ConfigError
    where q is outside (0, 100), InputError on NaN and infinity.
    """
    if not 0.0 < q < 100.0:  # noqa: PLR2004  # a percentage
        raise ConfigError(f"percentile {q} is not between 0 and 100", hint="use 50, 95 or 99")
    ordered = sorted(map(_finite, timings))
    n = len(ordered)
    value = ordered[math.ceil(q * n / 100) - 1] if ordered else None
    return Percentile(value, n, reliable=n * min(q, 100 - q) >= 100 * TAIL)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise InputError(f"a measured value is {value}", hint="find the step that made it; undefined values are null")
    return float(value)
