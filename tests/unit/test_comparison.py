"""Two runs side by side: paired, equal runs differ by nothing, gained and lost questions are named."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff import comparison, stats
from bakeoff.cases import MEANS, YES_NO
from bakeoff.comparison import Moved
from bakeoff.errors import StateError

Case = dict[str, Any]
VALUES = {name: st.sampled_from([0, 1, None] if name in YES_NO else [0.0, 0.3, 1.0, None]) for name in MEANS}
CASES = st.lists(
    st.fixed_dictionaries(VALUES | {"lost_at": st.sampled_from([None, "snapshot", "right"])}), max_size=8
).map(lambda found: [{"question_id": f"q{n}", "question": f"text {n}", **item} for n, item in enumerate(found)])


def case(name: str, *, hit: int | None = 1, f1: float | None = 1.0, lost_at: str | None = None) -> Case:
    """A case result with the same value in every yes/no figure, and in every other one."""
    figures = {item: hit if item in YES_NO else f1 for item in MEANS}
    return {"question_id": name, "question": f"text of {name}", "lost_at": lost_at, **figures}


@given(CASES, st.integers(0, 2**31))
@settings(max_examples=40)
def test_equal_runs_differ_by_exactly_nothing(run: list[Case], seed: int) -> None:
    """Not a bit: differences, intervals, counts; and no p-value below 1."""
    found = comparison.compare(run, copy.deepcopy(run), seed=seed, resamples=50)
    for item in found.differences:
        assert item.baseline == item.candidate
        assert {item.interval.difference, item.interval.low, item.interval.high} <= {0.0, None}
        assert (0, 0) == (item.counts.gained, item.counts.lost)
        assert item.p_value in {1.0, None}
    assert dict.fromkeys(YES_NO, ()) == found.gained == found.lost


@given(CASES, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_of_the_candidates_cases_does_not_matter(run: list[Case], rng: Any) -> None:
    """Cases are paired by their question."""
    other = [{**item, "answer_right": 1} for item in run]
    mixed = list(other)
    rng.shuffle(mixed)
    assert comparison.compare(run, other, seed=1, resamples=20) == comparison.compare(run, mixed, seed=1, resamples=20)


@given(CASES, st.data())
@settings(max_examples=40)
def test_gained_and_lost_are_the_questions_that_moved(run: list[Case], data: st.DataObject) -> None:
    """Exactly those whose hit changed between 0 and 1; undefined on a side is no move. The other way is the mirror."""
    other = [{**item, **{name: data.draw(VALUES[name]) for name in YES_NO}} for item in run]
    found = comparison.compare(run, other, seed=1, resamples=20)
    back = comparison.compare(other, run, seed=1, resamples=20)
    for name in YES_NO:
        moves = {a["question_id"]: (a[name], b[name]) for a, b in zip(run, other, strict=True)}
        assert [key for key, move in moves.items() if move == (0, 1)] == [
            item.question_id for item in found.gained[name]
        ]
        assert [key for key, move in moves.items() if move == (1, 0)] == [item.question_id for item in found.lost[name]]
        assert [item.question_id for item in found.gained[name]] == [item.question_id for item in back.lost[name]]
        difference = next(item for item in found.differences if item.name == name)
        assert (len(found.gained[name]), len(found.lost[name])) == (difference.counts.gained, difference.counts.lost)


def test_a_comparison_counted_by_hand() -> None:
    """Two gained, one lost, two undefined on a side and so in no mean."""
    baseline = [case("a", hit=0, f1=0.0, lost_at="snapshot"), case("b", hit=0, f1=0.5), case("c"), case("d", hit=None, f1=None), case("e")]  # fmt: skip  # noqa: E501  # five cases
    candidate = [
        case("a"),
        case("b", f1=1.0),
        case("c", hit=0, f1=0.0, lost_at="right"),
        case("d"),
        case("e", hit=None, f1=None),
    ]
    found = comparison.compare(baseline, candidate, seed=7, resamples=100)
    assert 5 == found.questions
    assert list(MEANS) == [item.name for item in found.differences]
    hits, f1 = found.differences[0], next(item for item in found.differences if item.name == "f1")
    assert (1 / 3, 2 / 3, 1 / 3, 1.0) == (hits.baseline, hits.candidate, hits.interval.difference, hits.p_value)
    assert stats.PairedCounts(gained=2, lost=1, same=0, dropped=2) == hits.counts
    assert (1 / 2, 2 / 3, 1 / 6, None) == (f1.baseline, f1.candidate, f1.interval.difference, f1.p_value)
    assert (Moved("c", "text of c", None, "right"),) == found.lost["answer_right"]
    assert Moved("a", "text of a", "snapshot", None) == found.gained["answer_right"][0]


def test_p_values_are_adjusted_for_all_yes_no_figures() -> None:
    """Ten questions gained in all four figures: four times McNemar's 2/1024."""
    names = "abcdefghij"
    found = comparison.compare([case(n, hit=0) for n in names], [case(n) for n in names], seed=1, resamples=20)
    assert [4 * 2 / 1024] * 4 == [item.p_value for item in found.differences if item.name in YES_NO]


def test_a_figure_that_neither_run_has_is_not_tested() -> None:
    """No p-value, no mean, and it does not make the others' p-values larger."""
    left = [case(n, hit=0) | {"answer_right": None} for n in "abcdefghij"]
    right = [case(n) | {"answer_right": None} for n in "abcdefghij"]
    found = {item.name: item for item in comparison.compare(left, right, seed=1, resamples=20).differences}
    none = found["answer_right"]
    assert (None, None, None, None) == (none.baseline, none.candidate, none.interval.difference, none.p_value)
    assert 3 * 2 / 1024 == found["reader_used_gold"].p_value


def test_the_seed_decides_the_interval() -> None:
    """Equal seeds give equal comparisons, to the bit."""
    left, right = [case(str(n), f1=n / 9) for n in range(9)], [case(str(n), f1=(n % 3) / 3) for n in range(9)]
    first = comparison.compare(left, right, seed=1, resamples=200)
    assert first == comparison.compare(left, right, seed=1, resamples=200)
    assert first != comparison.compare(left, right, seed=2, resamples=200)


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ([case("a")], "the runs do not have the same questions (2 and 1): the first that differs is 'b'"),
        (
            [case("a"), case("b") | {"question": "reworded"}],
            "the runs do not have the same questions (2 and 2): the first that differs is 'b'",
        ),
        (
            [case("a"), case("b"), case("aa")],
            "the runs do not have the same questions (2 and 3): the first that differs is 'aa'",
        ),
    ],
)
def test_other_questions_are_refused(candidate: list[Case], message: str) -> None:
    """A difference between different questions would mean nothing."""
    with pytest.raises(StateError) as refused:
        comparison.compare([case("a"), case("b")], candidate, seed=1)
    assert (message, "evaluate both locks on the same question file") == (str(refused.value), refused.value.hint)
