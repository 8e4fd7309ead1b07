"""What a plan said that it would see, computed again."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff import foreseen
from bakeoff.difference import Difference
from bakeoff.sealed import Sealed
from tests.tampering import small

BODY = ".predicate.plan.body"


def first(change: tuple[str, int, str, Any] | None = None) -> Difference | None:
    """The first difference after a change of the plan."""
    predicate = small(story="judged").predicate
    if change is not None:
        part, number, name, value = change
        predicate["plan"]["body"][part][number][name] = value
    return next(foreseen.again(Sealed(predicate)), None)


def test_healthy() -> None:
    """It follows from gates, questions and traffic; a digit that was rounded away is none of it."""
    assert None is first()
    shown = small(story="judged").predicate["plan"]["body"]["sight"][1]["detectable"]
    assert None is first(("sight", 1, "detectable", shown + 1e-6))


@pytest.mark.parametrize(
    "change",
    [
        ("sight", 0, "n", 9_999),
        ("sight", 1, "detectable", 0.01),
        ("sight", 1, "detectable", None),
        ("sight", 5, "detectable", 0.01),
        ("sight", 2, "blind", True),
        ("sight", 5, "blind", False),
        ("steps", 0, "baseline_outcomes", 1),
        ("steps", 0, "candidate_outcomes", 9_999),
    ],
    ids=str,
)
def test_every_figure(change: tuple[str, int, str, Any]) -> None:
    """Each is found where it stands."""
    part, number, name, _ = change
    found = first(change)
    assert found is not None
    assert f"{BODY}.{part}[{number}].{name}" == found.path
