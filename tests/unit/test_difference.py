"""The first difference of two JSON values: found wherever it is, named by its place, and none where there is none."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import difference
from bakeoff.difference import Difference

LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3)
)


@given(VALUES)
def test_a_value_does_not_differ_from_its_copy(value: Any) -> None:
    """Nor from itself with its keys the other way round."""
    assert difference.first(value, copy.deepcopy(value)) is None
    if isinstance(value, dict):
        assert difference.first(value, dict(reversed(value.items()))) is None


@given(VALUES, VALUES)
def test_a_difference_has_two_sides(left: Any, right: Any) -> None:
    """It is found from either side, or from neither."""
    one, other = difference.first(left, right), difference.first(right, left)
    assert (one is None) == (other is None)


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        (1, 2, ".: expected 1, found 2"),
        ({"a": {"b": 1.5}}, {"a": {"b": 1.25}}, ".a.b: expected 1.5, found 1.25"),
        ({"a": [1, 2, 3]}, {"a": [1, 3]}, ".a[1]: expected 2, found 3"),
        ({"a": [1, 2]}, {"a": [1]}, ".a[1]: expected 2, found nothing"),
        ({"a": [1]}, {"a": [1, None]}, ".a[1]: expected nothing, found null"),
        ({"a": 1}, {}, ".a: expected 1, found nothing"),
        ({}, {"a": 1}, ".a: expected nothing, found 1"),
        ({"a": None}, {}, ".a: expected null, found nothing"),
        ({"no word": {"é": 1}}, {"no word": {"é": 2}}, '.["no word"]["é"]: expected 1, found 2'),
        ([{"a": 1}], [{"a": True}], "[0].a: expected 1, found true"),
        ([1], {"0": 1}, '.: expected [1], found {"0": 1}'),
        ({"a": {}}, {"a": []}, ".a: expected {}, found []"),
    ],
)
def test_the_place_and_both_values_are_named(expected: Any, found: Any, said: str) -> None:
    """As jq names places; what is missing is nothing, which is not null; true is not 1."""
    assert said == str(difference.first(expected, found))


def test_one_and_one_point_zero_are_one_number() -> None:
    """JSON has one kind of number."""
    assert difference.first({"a": 1}, {"a": 1.0}) is None


def test_the_first_of_several_is_given() -> None:
    """In the order of the expected keys; what only the found value has comes last."""
    first = difference.first({"b": 1, "a": 1}, {"new": 0, "a": 2, "b": 2})
    assert Difference(".b", "1", "2") == first
    assert Difference(".new", "nothing", "0") == difference.first({"b": 1}, {"new": 0, "b": 1})


def test_ids_are_looked_at_first() -> None:
    """An item that is another one is named by its id, not by a figure that happens to come first."""
    expected, found = [{"f1": 0.5, "id": "a"}], [{"f1": 0.7, "id": "b"}]
    assert Difference("[0].f1", "0.5", "0.7") == difference.first(expected, found)
    assert Difference("[0].id", '"a"', '"b"') == difference.first(expected, found, ids=("id", "name"))


def test_long_values_are_cut() -> None:
    """A whole case is not printed."""
    found = difference.first({"a": "x" * 100}, {"a": 1})
    assert found is not None
    assert difference.SHOWN == len(found.expected)
    assert found.expected.endswith("x…")
    short = difference.first("x" * (difference.SHOWN - 2), 1)
    assert short is not None
    assert f'"{"x" * (difference.SHOWN - 2)}"' == short.expected
