"""Canonical JSON bytes (RFC 8785) and their digests; nothing else in the package hashes an object.

Callers may rely on: equal values give equal bytes on every machine and Python version; NaN, infinity, and integers
of 2**53 and more are refused with `UsageError`, since no two JSON readers agree on them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

import rfc8785

from bakeoff.errors import UsageError

LIMIT = 2**53
"""From here on integers are not the same for all who read JSON."""
_ARRAYS = {list, tuple}
_NESTED = {dict, *_ARRAYS}
_KINDS = {str, int, bool, type(None), *_NESTED}
_DEEPEST = 200
_MARK: Any = "\0"
_WRITER = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":"))


def encode(value: object) -> bytes:
    """Return the RFC 8785 bytes of *value*. Raises UsageError where JSON can't carry it."""
    try:
        return _WRITER.encode(value).encode() if _is_plain([value]) else _standard(value)
    except UnicodeEncodeError:
        return _standard(value)  # half a character, which the library refuses in its words


def encode_each(values: Sequence[object]) -> list[bytes]:
    """Return the RFC 8785 bytes of each of *values*, as `encode` does, thousands of small ones in a third of the time.

    They are written at once, with a mark between them; where a value has that mark itself, one by one.
    """
    try:
        if values and _is_plain(values):
            marked = [_MARK] * (2 * len(values) - 1)
            marked[::2] = values
            found = _WRITER.encode(marked).encode()[1:-1].split(b",%s," % _WRITER.encode(_MARK).encode())
            if len(found) == len(values):
                return found
    except UnicodeEncodeError:
        pass  # half a character: `encode` says in which value
    return [encode(value) for value in values]


def _standard(value: object) -> bytes:
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # the library checks the value itself
    except rfc8785.CanonicalizationError as error:
        raise UsageError(f"not canonical JSON: {error}") from error


def _is_plain(values: Collection[Any]) -> bool:
    """Return whether Python's own writer, some ten times as fast, gives the standard's bytes for all *values*.

    It writes floats in another way, and sorts keys by code points instead of UTF-16 units, which is the same for ASCII.
    The values are looked at level by level, each level at once.
    """
    level = values
    for _ in range(_DEEPEST):
        kinds = set(map(type, level))
        if not kinds <= _KINDS:
            return False
        if int in kinds and not _are_safe([item for item in level if type(item) is int]):
            return False
        if not kinds & _NESTED:
            return True
        objects = [item for item in level if type(item) is dict]
        keys = set(chain.from_iterable(objects))
        if not (set(map(type, keys)) <= {str} and "".join(keys).isascii()):
            return False
        arrays = (item for item in level if type(item) in _ARRAYS)
        level = [*chain.from_iterable(arrays), *chain.from_iterable(map(dict.values, objects))]
    return False  # too deep for the writer, or endless: the library says so


def _are_safe(numbers: list[int]) -> bool:
    return min(numbers) > -LIMIT and max(numbers) < LIMIT


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of *data* as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical bytes of *value*, 64 hex digits."""
    return sha256_hex(encode(value))
