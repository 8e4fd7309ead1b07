"""Merkle roots and inclusion proofs: the published vectors, and what no proof may do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import merkle
from bakeoff.errors import InputError

LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")] + [
    bytes.fromhex("606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
ROWS = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


@pytest.mark.parametrize("count", range(9))
def test_published_roots(count: int) -> None:
    """The roots that certificate transparency publishes for its eight test leaves."""
    assert ROOTS[count] == merkle.root(LEAVES[:count]).hex()


@given(ROWS, st.data())
def test_every_row_proves_itself(rows: list[bytes], data: st.DataObject) -> None:
    """A row and its path give the root; another row, place or path does not."""
    index = data.draw(st.integers(0, len(rows) - 1))
    root, siblings = merkle.root(rows), merkle.path(rows, index)
    assert root == merkle.root_from(rows[index], index, len(rows), siblings)
    assert root != merkle.root_from(rows[index] + b"x", index, len(rows), siblings)
    if siblings:
        other = [siblings[0][::-1] + b"" if siblings[0] != siblings[0][::-1] else b"\0" * 32, *siblings[1:]]
        assert root != merkle.root_from(rows[index], index, len(rows), other)


@given(ROWS, st.data())
def test_any_change_changes_the_root(rows: list[bytes], data: st.DataObject) -> None:
    """A row that is changed, left out, added or moved makes another root."""
    index = data.draw(st.integers(0, len(rows) - 1))
    root = merkle.root(rows)
    assert root != merkle.root([*rows[:index], rows[index] + b"x", *rows[index + 1 :]])
    assert root != merkle.root([*rows[:index], *rows[index + 1 :]])
    assert root != merkle.root([*rows, b""])
    if rows != rows[::-1]:
        assert root != merkle.root(rows[::-1])


def test_a_node_is_no_leaf() -> None:
    """Two rows can't be passed off as one: leaves and nodes are hashed apart (RFC 6962, 2.1)."""
    forged = merkle.leaf(LEAVES[0]) + merkle.leaf(LEAVES[1])
    assert merkle.root(LEAVES[:2]) != merkle.root([forged])


def test_refusals() -> None:
    """Rows that are not there, and paths that no such tree gives, are named."""
    with pytest.raises(InputError, match="row 3 of 3: there is none"):
        merkle.path(LEAVES[:3], 3)
    with pytest.raises(InputError, match="row -1 of 3: there is none"):
        merkle.root_from(b"", -1, 3, [])
    with pytest.raises(InputError, match="a path of 1 hashes, the tree gives this row 2"):
        merkle.root_from(LEAVES[0], 0, 3, [b"\0" * 32])
