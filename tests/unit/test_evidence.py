"""Statements: decimal strings that read back, canonical bytes, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import canonical, evidence
from bakeoff.errors import InputError
from bakeoff.evidence import Subject

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.sampled_from(["1", "0.5", "-3e7", "'1", "''2.5", "18.1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
SUBJECTS = (Subject("runs/b.json", "b" * 64), Subject("plans/a.json", "a" * 64))


def same(one: Any, other: Any) -> bool:
    """Equal, and numbers of the same type."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(PLAIN)
def test_decimals_read_back(value: Any) -> None:
    """Whatever JSON: it comes back to the last bit, and nothing sealed is a float."""
    sealed = evidence.as_decimals(value)
    assert same(value, evidence.from_decimals(sealed))
    assert "." not in "".join(str(item) for item in _numbers(sealed))


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [found for item in value.values() for found in _numbers(item)]
    if isinstance(value, list):
        return [found for item in value for found in _numbers(item)]
    return [value] if isinstance(value, float) else []


def test_pinned_bytes() -> None:
    """The bytes of a small statement: others verify them."""
    expected = (
        b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"n":3,"share":"0.1","version":"\'18.1"},'
        b'"predicateType":"urn:bakeoff:seal:v1","subject":[{"digest":{"sha256":"'
        + b"a"
        * 64
        + b'"},"name":"plans/a.json"},'
        b'{"digest":{"sha256":"' + b"b" * 64 + b'"},"name":"runs/b.json"}]}'
    )
    assert expected == evidence.statement(SUBJECTS, {"version": "18.1", "share": 0.1, "n": 3})


def test_round_trip() -> None:
    """What was stated is what is opened."""
    predicate = {"version": "18.1", "share": 0.1, "n": 3, "rows": [None, True, 1.0]}
    subjects, found = evidence.opened(evidence.statement(SUBJECTS, predicate))
    assert (tuple(sorted(SUBJECTS, key=lambda item: item.name)), predicate) == (subjects, found)


def without(**given: Any) -> bytes:
    """A statement with some keys changed; None takes one away."""
    body = json.loads(evidence.statement(SUBJECTS, {"n": 1})) | given
    return canonical.encode({name: value for name, value in body.items() if value is not None})


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"\xff", "not JSON"),
        (b"{}", "no in-toto statement"),
        (b'{"a": 1}', "not canonical JSON"),
        (without(predicate=None), "no in-toto statement"),
        (without(_type="x"), "_type: expected https://in-toto.io/Statement/v1, found 'x'"),
        (without(predicateType="x"), "predicateType: expected urn:bakeoff:seal:v1"),
        (without(subject=[{"name": "a"}]), "subject: expected names and sha256 digests"),
        (without(predicate=[]), "predicate: expected keys and values"),
        (without(predicate={"share": 0.5}), "0.5 is a JSON number"),
    ],
)
def test_refused(payload: bytes, said: str) -> None:
    """What is no statement of ours is refused, and says why."""
    with pytest.raises(InputError, match=said):
        evidence.opened(payload)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_unmeasured_is_sealed(value: float) -> None:
    """NaN and infinity are no evidence."""
    with pytest.raises(InputError, match="can't be sealed"):
        evidence.statement((), {"share": value})
