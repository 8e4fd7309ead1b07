"""Canonical JSON: the bytes that every stored hash depends on."""

from __future__ import annotations

import enum
import json
import math
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import canonical
from bakeoff.errors import UsageError

# RFC 8785, appendix B: IEEE 754 bits → JSON.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("bits", sorted(NUMBERS))
def test_numbers_are_written_as_the_standard_says(bits: str) -> None:
    """The standard's own table of numbers."""
    assert NUMBERS[bits].encode() == canonical.encode(struct.unpack(">d", bytes.fromhex(bits))[0])


def test_strings_and_order_are_those_of_the_standard() -> None:
    """Section 3.2.2's object, and 3.2.3's order of keys by UTF-16."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert expected.encode() == canonical.encode(value)
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    found = list(json.loads(canonical.encode(dict.fromkeys(keys))))
    assert ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"] == found


def test_digests_never_change() -> None:
    """Locks, locks' tables and seals store them."""
    assert b'{"a":[1,"\xc3\xa9",null],"b":1}' == canonical.encode({"b": 1, "a": [1.0, "é", None]})
    expected = "bc1cf18b35faeed35a90e60d469b9cc5c970d40065cc5d04155c112f6a751bbc"
    assert expected == canonical.digest({"b": 1, "a": [1.0, "é", None]})
    assert "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" == canonical.sha256_hex(b"")


@given(JSON)
def test_what_is_encoded_can_be_read_back(value: object) -> None:
    """Nothing is lost: any JSON reader gives the value again, and its bytes are the same."""
    data = canonical.encode(value)
    back = json.loads(data, parse_int=float)  # JSON has one kind of number
    assert value == back
    assert data == canonical.encode(back)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON | PLAIN)
def test_the_short_way_gives_the_bytes_of_the_library(value: object) -> None:
    """Values without floats and with ASCII keys are written by Python's own writer, and nobody can tell."""
    assert rfc8785.dumps(value) == canonical.encode(value)  # type: ignore[arg-type]  # any JSON


class Arm(enum.StrEnum):
    """Text of a class of its own."""

    CANDIDATE = "candidate"


@pytest.mark.parametrize(
    "value",
    [Arm.CANDIDATE, {Arm.CANDIDATE: 1}, {"ö": 1, "o": 2}, {"\ufb33": 1, "\U0001f600": 2}, [True, 1], {"a": (1, [{}])}],
)
def test_odd_values_are_those_of_the_library_too(value: object) -> None:
    """Subclasses of text, keys beyond ASCII, nested tuples."""
    assert rfc8785.dumps(value) == canonical.encode(value)  # type: ignore[arg-type]  # any JSON


@given(st.lists(JSON | PLAIN))
def test_many_at_once_are_what_each_is_alone(values: list[object]) -> None:
    """`encode_each` gives the bytes that `encode` gives, one by one."""
    assert [canonical.encode(value) for value in values] == canonical.encode_each(values)


@pytest.mark.parametrize("odd", [["a", "\0", "b"], "\0", [["\0"]], {"a": ["x,", "\0", ",y"]}, '","\0","', ["a", "\0"]])
def test_a_value_like_the_mark_between_values(odd: object) -> None:
    """However much a value looks like what stands between two of them, it stays one value."""
    for values in ([odd], [odd, odd], [1, odd, {}], ["x", odd, "y"]):
        assert [canonical.encode(value) for value in values] == canonical.encode_each(values)


def test_half_a_character_among_many_is_refused() -> None:
    """Where one of many values can't be carried, all are refused, in the words of that one."""
    with pytest.raises(UsageError, match="not canonical JSON"):
        canonical.encode_each([["whole"], ["\ud800"]])


def test_a_value_that_holds_itself_is_refused() -> None:
    """An endless value is an error, not an endless wait."""
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises((RecursionError, UsageError)):
        canonical.encode(endless)


@given(st.dictionaries(st.text(), st.integers(0, 9), min_size=2), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, int], rng: object) -> None:
    """Equal objects have equal digests however they were built."""
    keys = list(value)
    rng.shuffle(keys)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert canonical.digest(value) == canonical.digest({key: value[key] for key in keys})


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 2**53, -(2**53), {1: 2}, {"a": {1}}, b"bytes", "\ud800", [object()]]
)
def test_what_json_can_not_carry_is_refused(value: object) -> None:
    """One line, exit code 2, never a silent change of the value."""
    with pytest.raises(UsageError, match=r"^not canonical JSON: [^\n]+$") as refused:
        canonical.digest(value)
    assert refused.value.__cause__ is not None


def test_the_largest_safe_integers_are_kept() -> None:
    """Up to 2**53 - 1 on both sides of zero."""
    assert b"[9007199254740991,-9007199254740991]" == canonical.encode([2**53 - 1, -(2**53) + 1])
