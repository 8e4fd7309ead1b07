"""One row disclosed: it is proved without the others, and no other row is proved by its path."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff import claims, sealed
from tests.sealed_files import proof
from tests.tampering import small


def test_a_row_is_proved() -> None:
    """Every row of either arm, without the others."""
    sample = small()
    for arm in sealed.ARMS:
        for index in range(len(sample.rows[arm])):
            found = claims.prove(proof(sample, index, arm=arm), sample.envelope(), keys=sample.keys)
            assert (None, "row", True) == (found.failed, found.claims[-1].name, found.claims[-1].holds)


def unproved() -> dict[str, tuple[dict[str, Any], str]]:
    """Ways in which a proof is none, with the place that is named."""
    whole, other = (proof(small(), index) for index in (4, 5))
    return {
        "another row": ({"row": other["row"]}, ".row"),
        "another arm": ({"arm": "candidate"}, ".row"),
        "no arm": ({"arm": "both"}, ".arm"),
        "another place": ({"index": 5}, ".row"),
        "no place": ({"index": "4"}, "."),
        "a short path": ({"path": whole["path"][1:]}, "."),
        "another path": ({"path": other["path"]}, ".row"),
        "an unknown key": ({"note": 1}, ".note"),
        "another kind": ({"kind": "row"}, ".kind"),
    }


@pytest.mark.parametrize("way", unproved())
def test_proofs_that_are_none(way: str) -> None:
    """A row that was not sealed is not proved by the path of another."""
    sample, (change, path) = small(), unproved()[way]
    found = claims.prove(proof(sample, 4) | change, sample.envelope(), keys=sample.keys).failed
    assert found is not None
    assert ("row", path) == (found.name, found.path)


def test_a_proof_of_an_unsigned_seal() -> None:
    """Nothing is said of the row then."""
    sample = small()
    found = claims.prove(proof(sample, 4), sample.envelope(), keys={})
    assert ["signature"] == [claim.name for claim in found.claims]
