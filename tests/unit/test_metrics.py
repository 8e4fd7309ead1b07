"""What `bakeoff.metrics` promises: trec_eval's figures, SQuAD's words, None where nothing is defined."""

from __future__ import annotations

import math
import re
import string
from collections import Counter

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import metrics
from bakeoff.errors import ConfigError, InputError
from bakeoff.metrics import Aggregate, AnswerScores, Percentile

DOCS = [f"d{index}" for index in range(15)]
RANKED = st.lists(st.sampled_from(DOCS), unique=True, min_size=1, max_size=15)
GRADES = st.dictionaries(st.sampled_from(DOCS), st.integers(-1, 3), max_size=8)
WORDS = st.lists(st.sampled_from(["a", "The", "cat", "sat.", "mat", "don't", "7", "-", "im"]), max_size=8).map(" ".join)
PERFECT = AnswerScores(1.0, 1.0, 1.0, 1.0)
NOTHING = AnswerScores(0.0, 0.0, 0.0, 0.0)


def computed(ranked: list[str], grades: dict[str, int], k: int) -> dict[str, float | None]:
    """Return every retrieval metric under ir_measures' name for it."""
    gold = metrics.relevant(grades)
    return {
        f"nDCG@{k}": metrics.ndcg_at(ranked, grades, k=k),
        f"R@{k}": metrics.recall_at(ranked, gold, k=k),
        f"P@{k}": metrics.precision_at(ranked, gold, k=k),
        "RR": metrics.reciprocal_rank(ranked, gold),
        f"RR@{k}": metrics.reciprocal_rank(ranked, gold, k=k),
        "AP": metrics.average_precision(ranked, gold),
        f"AP@{k}": metrics.average_precision(ranked, gold, k=k),
    }


@given(ranked=RANKED, grades=GRADES.filter(lambda grades: max(grades.values(), default=0) > 0), k=st.integers(1, 20))
def test_retrieval_agrees_with_ir_measures(ranked: list[str], grades: dict[str, int], k: int) -> None:
    """Every retrieval metric is trec_eval's to 1e-9 and in [0, 1], with graded and with negative judgements."""
    found = computed(ranked, grades, k)
    run = [ir_measures.ScoredDoc("q", doc, float(-rank)) for rank, doc in enumerate(ranked)]
    qrels = [ir_measures.Qrel("q", doc, grade) for doc, grade in grades.items()]
    wanted = {
        str(metric.measure): metric.value
        for metric in ir_measures.iter_calc(map(ir_measures.parse_measure, found), qrels, run)
    }
    assert wanted == pytest.approx(found, abs=1e-9)
    assert all(value is not None and 0.0 <= value <= 1.0 + 1e-12 for value in found.values())


@given(ranked=RANKED, k=st.integers(1, 20))
def test_retrieval_without_gold_is_undefined(ranked: list[str], k: int) -> None:
    """Without a relevant document every metric is None, not 0."""
    assert {None} == set(computed(ranked, {"d1": 0, "d2": -1}, k).values())


@given(grades=st.dictionaries(st.sampled_from(DOCS), st.integers(1, 3), min_size=1), k=st.integers(15, 20))
def test_the_ideal_ranking_scores_one(grades: dict[str, int], k: int) -> None:
    """The judged documents by grade score 1, but for precision, which knows no ideal beyond the gold."""
    found = computed(sorted(grades, key=lambda doc: -grades[doc]), grades, k)
    assert len(grades) / k == found.pop(f"P@{k}")
    assert dict.fromkeys(found, 1.0) == pytest.approx(found, abs=1e-12)


def test_retrieval_of_nothing_is_zero() -> None:
    """An empty ranking of a judged question scores 0."""
    assert {0.0} == set(computed([], {"d1": 1}, 5).values())


def test_ranked_documents_keep_the_first_place() -> None:
    """Ranked chunks fold to documents at their best rank."""
    assert ["b", "a", "c"] == metrics.ranked_documents(["b", "a", "b", "c", "a"])


def test_rankings_are_checked() -> None:
    """A cut-off below 1 and a document named twice are refused in words."""
    with pytest.raises(ConfigError, match="cut-off is 0, below 1"):
        metrics.recall_at(["a"], {"a"}, k=0)
    with pytest.raises(InputError, match="names b more than once"):
        metrics.ndcg_at(["a", "b", "b"], {"a": 1}, k=5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat, a dog\nand an owl!", ["cat", "dog", "and", "owl"]),
        ("don't  x_y", ["dont", "xy"]),
        ("\u201cDéjà\u201d vu \u2013 non", ["déjà", "vu", "non"]),
        ("well—known", ["well", "known"]),
        ("共有 12 個\uff0cabc中文", ["共", "有", "12", "個", "abc", "中", "文"]),
        ("\uff76\uff85\u3000\uff21\uff22", ["カ", "ナ", "ab"]),
        ("한국 사람", ["한국", "사람"]),
        ("+=", ["+="]),
        ("The", ["the"]),
        ("a //", ["a", "//"]),
        (" \n", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    """Words are compared without case, punctuation and articles; scripts without spaces by character."""
    assert expected == metrics.tokens(text)


@given(text=st.text(string.ascii_letters + string.punctuation + " \n", max_size=40))
def test_tokens_are_squad_s_on_ascii(text: str) -> None:
    """On ASCII the normalisation is SQuAD's definition, wherever that leaves a word."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    wanted = re.sub(r"\b(?:a|an|the)\b", " ", bare).split()
    found = metrics.tokens(text)
    assert found == (wanted or text.lower().split())


def test_answer_scores_known() -> None:
    """Two of four words said, two of three wanted: 0.5, 2/3, and their harmonic mean."""
    found = metrics.answer_scores("the red cat sat down", ["a red cat's mat", "red cat here"])
    assert AnswerScores(0.0, 0.5, 2 / 3, 2 * 0.5 * (2 / 3) / (0.5 + 2 / 3)) == found


def test_answer_scores_take_the_best_gold() -> None:
    """The best gold by F1 counts, an exact match before the same words in another order."""
    assert PERFECT == metrics.answer_scores("The mat cat", ["dog", "cat mat", "mat cat!"])
    assert AnswerScores(0.0, 1.0, 1.0, 1.0) == metrics.answer_scores("mat cat", ["cat mat"])


def test_answer_scores_in_chinese() -> None:
    """Characters are the words of a script without spaces."""
    assert AnswerScores(0.0, 0.5, 1.0, 1.0 / 1.5) == metrics.answer_scores("在北京市", ["北京"])


@pytest.mark.parametrize(
    ("answer", "golds", "answerable", "scores", "is_right"),
    [
        (None, ["x"], True, None, None),
        (None, [], False, None, None),
        ("", [], False, PERFECT, True),
        (" \n", [], False, PERFECT, True),
        ("x", [], False, NOTHING, False),
        ("", ["x"], True, NOTHING, False),
        ("x", [], True, None, None),
        ("x", [" "], True, None, None),
        ("y", ["x"], True, NOTHING, False),
        ("x", ["x"], True, PERFECT, True),
    ],
)
def test_answers_not_given_abstained_unanswerable(
    answer: str | None, golds: list[str], answerable: bool, scores: AnswerScores | None, is_right: bool | None
) -> None:
    """Not given is not measured; an abstention is right only where the question can't be answered."""
    assert scores == metrics.answer_scores(answer, golds, answerable=answerable)
    assert is_right == metrics.right(answer, golds, answerable=answerable)


def test_right_at_the_threshold() -> None:
    """Three of four gold words are right, two of three are not, and any gold may be the one."""
    assert metrics.right("so one two three it is", ["one two three four"]) is True
    assert metrics.right("so one two it is", ["one two three"]) is False
    assert metrics.right("long answer that says tea", ["long answer of other words", "tea"]) is True


@given(answer=WORDS, golds=st.lists(WORDS.filter(str.strip), min_size=1, max_size=3))
def test_answer_scores_are_shares(answer: str, golds: list[str]) -> None:
    """Scores are in [0, 1]; F1 is of token counts; the gold itself scores 1; an exact match is always right."""
    found = metrics.answer_scores(answer, golds)
    assert found is not None
    assert all(0.0 <= value <= 1.0 for value in (found.em, found.precision, found.recall, found.f1))
    said = Counter(metrics.tokens(answer))
    best = max(
        2 * (said & wanted).total() / (said.total() + wanted.total())
        for wanted in (Counter(metrics.tokens(gold)) for gold in golds)
    )
    assert best == pytest.approx(found.f1, abs=1e-12)
    assert PERFECT == metrics.answer_scores(golds[-1], golds)
    assert found.em == 0.0 or metrics.right(answer, golds)


@pytest.mark.parametrize(
    ("answer", "context", "expected"),
    [
        ("The cat sat on the mat.", ["a cat", "MAT!"], 2 / 3),
        ("The cat", ["the cat sat"], 1.0),
        ("cat cat dog", ["dog"], 1 / 3),
        ("it is", ["it"], 0.5),
        ("cat", [], 0.0),
        ("", ["cat"], None),
        (None, ["cat"], None),
    ],
)
def test_grounded_share(answer: str | None, context: list[str], expected: float | None) -> None:
    """The share of content words, repeats counted, that the context holds; None where nothing was said."""
    assert expected == metrics.grounded_share(answer, context)


def test_aggregate_keeps_undefined_apart() -> None:
    """A mean is over defined values only, exact, and the others are counted; of none it is None."""
    assert Aggregate(0.5, 2, 1) == metrics.aggregate([0.0, None, 1.0])
    assert Aggregate(0.1, 10, 0) == metrics.aggregate([0.1] * 10)
    assert Aggregate(None, 0, 2) == metrics.aggregate([None, None])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_is_an_error(value: float) -> None:
    """NaN and infinity are refused by every aggregate."""
    with pytest.raises(InputError, match=f"a measured value is {value}"):
        metrics.aggregate([1.0, value])
    with pytest.raises(InputError, match=f"a measured value is {value}"):
        metrics.percentile([1.0, value], 50)


@given(timings=st.lists(st.floats(0, 1e6), min_size=1, max_size=60), q=st.floats(0.5, 99.5))
def test_percentile_is_the_nearest_rank(timings: list[float], q: float) -> None:
    """It is the smallest timing that at least q percent of all do not exceed; numpy's inverted CDF but for rounding."""
    found = metrics.percentile(timings, q).value
    n = len(timings)
    assert found in timings
    assert sum(timing <= found for timing in timings) * 100 >= q * n * (1 - 1e-12)
    assert sum(timing < found for timing in timings) * 100 < q * n
    if not math.isclose(q * n / 100, round(q * n / 100), abs_tol=1e-6):
        assert np.percentile(timings, q, method="inverted_cdf") == found


def test_percentile_known() -> None:
    """The 95th of 100 is the 95th smallest and can be relied on; of 99 it can't; of none it is None."""
    assert Percentile(95.0, 100, reliable=True) == metrics.percentile(range(100, 0, -1), 95)
    assert Percentile(95.0, 99, reliable=False) == metrics.percentile(range(99, 0, -1), 95)
    assert Percentile(5.0, 10, reliable=True) == metrics.percentile(range(1, 11), 50)
    assert Percentile(None, 0, reliable=False) == metrics.percentile([], 95)


@pytest.mark.parametrize("q", [0, 100, -1, math.nan])
def test_percentile_refuses_its_edges(q: float) -> None:
    """A percentile outside (0, 100) is refused."""
    with pytest.raises(ConfigError, match=f"percentile {q} is not between"):
        metrics.percentile([1.0], q)
