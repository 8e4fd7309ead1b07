"""Merkle trees as certificate transparency defines them: one root over many rows, and a short proof for each of them.

Callers may rely on: the root is RFC 6962's (section 2.1) with SHA-256, so any other implementation gets the same; a
leaf can't pass for a node; `root_from` gives the root again from one row and its path, without the other rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from bakeoff.errors import InputError

_LEAF, _NODE = b"\x00", b"\x01"


def leaf(row: bytes) -> bytes:
    """Return the hash of one row, 32 bytes."""
    return hashlib.sha256(_LEAF + row).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _split(count: int) -> int:
    """Return the largest power of two below *count*, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def root(rows: Sequence[bytes]) -> bytes:
    """Return the tree hash of *rows* in their order, 32 bytes; of no rows the hash of nothing."""
    digest_of = hashlib.sha256
    return _root([digest_of(_LEAF + row).digest() for row in rows])  # `leaf`, for thousands of rows


def _root(leaves: Sequence[bytes]) -> bytes:
    """Return the tree hash: by pairs, level by level, the last of an odd level going up as it is.

    That is the tree of the definition, which splits at the largest power of two, from below.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level, digest_of = list(leaves), hashlib.sha256
    while len(level) > 1:
        both = zip(level[::2], level[1::2], strict=False)
        pairs = [digest_of(_NODE + left + right).digest() for left, right in both]
        level = [*pairs, *level[2 * len(pairs) :]]
    return level[0]


def path(rows: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of row *index*, lowest hash first. Raises InputError where there is no such row."""
    if not 0 <= index < len(rows):
        raise InputError(f"row {index} of {len(rows)}: there is none", hint="rows are counted from 0")
    return _path([leaf(row) for row in rows], index)


def _path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*_path(leaves[:middle], index), _root(leaves[middle:])]
    return [*_path(leaves[middle:], index - middle), _root(leaves[:middle])]


def root_from(row: bytes, index: int, count: int, siblings: Sequence[bytes]) -> bytes:
    """Return the root that *row* at *index* of *count* rows has with its audit path *siblings*.

    Raises InputError where the path has another length than a tree of *count* rows gives it.
    """
    if not 0 <= index < count:
        raise InputError(f"row {index} of {count}: there is none", hint="rows are counted from 0")
    turns = []
    while count > 1:
        middle = _split(count)
        turns.append(index >= middle)
        index, count = (index - middle, count - middle) if index >= middle else (index, middle)
    if len(turns) != len(siblings):
        raise InputError(f"a path of {len(siblings)} hashes, the tree gives this row {len(turns)}")
    found = leaf(row)
    for right, sibling in zip(reversed(turns), siblings, strict=True):
        found = _node(sibling, found) if right else _node(found, sibling)
    return found
