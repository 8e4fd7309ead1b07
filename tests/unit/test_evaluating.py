"""How figures of an evaluation are shown."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff.cli import _evaluating

AGGREGATES = {"means": {name: {"mean": 0.25, "n": 2, "undefined": 0} for name in _evaluating.NAMES}}
SIDE = {"lock": "l", "run_id": "r", "CONFIG_HASH": "c", "notes": [], "aggregates": AGGREGATES}


def line(name: str, difference: float) -> str:
    """The row of a comparison that shows *name*."""
    item = {
        "name": name,
        "baseline": 0.01234,
        "candidate": 0.01234 + difference,
        "interval": {"difference": difference, "low": difference, "high": difference, "n": 2},
        "counts": {"gained": 0, "lost": 1},
        "p_value": None,
    }
    data: dict[str, Any] = {"baseline": SIDE, "candidate": SIDE, "questions": 2, "differences": [item], "left_out": []}
    moved: dict[str, Any] = {which: {"filter_hit_postfilter": []} for which in ("gained", "lost")}
    text = _evaluating.comparison_text(data | moved | {"errors": {"baseline": 0, "candidate": 0}})
    return next(row for row in text.splitlines() if row.startswith(f" {_evaluating.NAMES[name]}"))


@pytest.mark.parametrize(
    ("name", "difference", "shown"),
    [
        ("f1", -0.0004, "+0.000"),
        ("f1", -0.0006, "-0.001"),
        ("text_precision", -0.0004, "-0.0004"),
        ("text_iou", -0.0004, "-0.0004"),
        ("text_iou", -0.00004, "+0.0000"),
        ("f1", 0.0, "+0.000"),
    ],
)
def test_no_difference_is_shown_as_less_than_nothing(name: str, difference: float, shown: str) -> None:
    """What is rounded to nothing has no minus; figures that are small by nature have a fourth digit."""
    assert f" {shown} " in line(name, difference)
    assert f"{shown} … {shown}" in line(name, difference)
    assert f"{0.01234:.{len(shown) - 3}f}" in line(name, difference)
