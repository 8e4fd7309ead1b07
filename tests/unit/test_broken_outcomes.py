"""Live outcomes of a seal with values of a wrong kind: row and column are named."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff import kinds
from tests.tampering import small

BROKEN: dict[int, tuple[Any, str]] = {
    0: (None, "an instant with its zone"),
    1: ("first", "a count"),
    2: ("both", "one of baseline, candidate"),
    5: ("slow", "a figure or null"),
    6: ("good", "a figure or null"),
}


@pytest.mark.parametrize("column", BROKEN)
def test_a_live_outcome_that_breaks_the_arithmetic(column: int) -> None:
    """Row and column are named, and no claim that rests on outcomes is at home nowhere."""
    value, expected = BROKEN[column]
    sample = small()
    sample.rows["outcomes"][5][column] = value
    found = sample.resign().check(recompute=True)
    assert found.failed is not None
    assert ("live outcomes", f"rows:.outcomes[5][{column}]") == (found.failed.name, found.failed.path)
    assert expected == found.failed.expected
    assert [] == [claim.name for claim in found.claims if claim.path in (".", "rows:.")]


def test_a_live_outcome_of_other_length() -> None:
    """It is named as a whole, and no more is said."""
    sample = small()
    sample.rows["outcomes"][5].append(1)
    assert ["rows:.outcomes[5]"] == [one.path for one in kinds.outcomes(sample.rows)]
    found = sample.resign().check().failed
    assert found is not None
    assert ("live outcomes", "rows:.outcomes[5]", "a list of 9") == (found.name, found.path, found.expected)


def test_outcomes_that_are_none_of_the_trouble() -> None:
    """Where each value is of its kind the claim is at home with the outcomes, and says what broke it."""
    sample = small()
    del sample.predicate["rollout"]["events"][1]["body"]["state"]["weight_bp"]
    found = {claim.name: claim for claim in sample.check().claims}["live outcomes"]
    assert (False, "rows:.outcomes") == (found.holds, found.path)
    assert "weight_bp" in str(found.found)
