"""What a plan can see: blind gates are accepted as such, margins are those of its gates and steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bakeoff import provenance
from bakeoff.difference import Difference
from bakeoff.sealed import Sealed
from tests import sealed as samples
from tests.sealed import Sample
from tests.tampering import small

BODY = ".predicate.plan.body"


def body(sample: Sample) -> dict[str, Any]:
    """The plan."""
    found: dict[str, Any] = sample.predicate["plan"]["body"]
    return found


def first(sample: Sample) -> Difference | None:
    """The first difference, or None."""
    found: Iterator[Difference] = provenance.foresight(Sealed(sample.predicate))
    return next(found, None)


def test_healthy() -> None:
    """Nothing differs; the sample has a gate that is blind, and accepted."""
    sample = small(story="judged")
    assert None is first(sample)
    assert body(sample)["accepted_blind"]
    assert any(item["margin"] is not None and not item["blind"] for item in body(samples.made(story="judged"))["sight"])


def _sight(number: int, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda plan: plan["sight"][number].update(values)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a gate is said to be blind": (_sight(3, blind=True), "accepted_blind["),
    "a blind gate is not accepted": (lambda plan: plan["accepted_blind"].pop(), "accepted_blind["),
    "a gate is said to see": (_sight(5, blind=False), "accepted_blind["),
    "a gate that sees too little": (_sight(1, detectable=0.9, blind=False), "sight[1].blind"),
    "a gate that sees nothing": (_sight(1, detectable=None, blind=False), "sight[1].blind"),
    "another margin": (_sight(0, margin=0.1), "sight[0].margin"),
    "another severity": (_sight(0, severity="warn"), "sight[0].severity"),
    "another metric": (_sight(0, metric="em"), "sight[0].metric"),
    "a gate that is not looked at": (lambda plan: plan["sight"].pop(0), "sight[0].gate"),
    "more than there are": (lambda plan: plan["questions"]["measurable"].update(f1=25), "questions.measurable.f1"),
    "another margin of a step": (lambda plan: plan["steps"][0].update(margin=0.4), "steps[0].margin"),
    "another share of a step": (lambda plan: plan["steps"][-1].update(percent=99.0), "steps[5].percent"),
    "another watched thing": (lambda plan: plan["steps"][0].update(watched="quality"), "steps[0].watched"),
    "a step too few": (lambda plan: plan["steps"].pop(), "steps[5]"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_foresight(name: str) -> None:
    """Whatever is changed on one side alone is found where it stands."""
    change, path = CHANGES[name]
    sample = small(story="judged")
    change(body(sample))
    found = first(sample)
    assert found is not None
    assert found.path.startswith(f"{BODY}.{path}")


def test_rounding_is_no_difference() -> None:
    """A plan rounds what it sees: that may lie a hair above the margin."""
    sample = small(story="judged")
    _sight(1, blind=False, detectable=body(sample)["sight"][1]["margin"] + 5e-7)(body(sample))
    found = first(sample)
    assert found is None or found.path.startswith(f"{BODY}.accepted_blind")
