"""Curves and histograms are the values' own; plots are equal bytes, named, escaped, and follow the page's colours."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import plots
from bakeoff.plots import Bar, Series

VALUES = st.lists(st.floats(0.001, 1000.0), min_size=1, max_size=400)
LINE = [(0.5, 0.0), (1.0, 0.5), (2.0, 1.0)]


@given(VALUES)
def test_a_curve_is_the_empirical_distribution(values: list[float]) -> None:
    """Each of its points: so many of the values are at or below; first and last value are always there."""
    found = plots.curve(values)
    assert len(found) == min(len(values), plots.POINTS)
    assert (round(min(values), 4), round(max(values), 4), 1.0) == (found[0][0], found[-1][0], found[-1][1])
    ordered = sorted(values)
    for value, share in found:
        assert value == round(ordered[round(share * len(values)) - 1], 4)


def test_a_curve_counted_by_hand() -> None:
    """Of three values each is a third; of none there is none."""
    assert [(1.0, 0.33333), (2.0, 0.66667), (9.0, 1.0)] == plots.curve([9.0, 1.0, 2.0])
    assert [] == plots.curve([])


@given(VALUES, VALUES)
def test_histograms_share_their_bins_and_lose_nothing(left: list[float], right: list[float]) -> None:
    """Both groups lie between the edges, and the shares of each add up to 1."""
    at = plots.edges([left, right])
    assert plots.BINS + 1 == len(at)
    for group in (left, right):
        found = plots.shares(group, at)
        assert found is not None
        assert pytest.approx(1.0, abs=1e-4) == sum(found)
        assert np.histogram(group, bins=at)[0].tolist() == [round(share * len(group)) for share in found]


def test_no_values_have_no_histogram() -> None:
    """Not a flat one; equal values have one bin that is not empty."""
    assert [] == plots.edges([]) == plots.edges([[], []])
    assert plots.shares([], [0.0, 1.0]) is None
    at = plots.edges([[3.0, 3.0]])
    assert (3.0, 4.0) == (at[0], at[-1])
    assert [1.0] == [share for share in plots.shares([3.0, 3.0], at) or () if share]


def test_the_outline_of_a_histogram() -> None:
    """Up, along, down."""
    assert [(0, 0.0), (0, 0.2), (1, 0.2), (1, 0.8), (2, 0.8), (2, 0.0)] == plots.steps([0.2, 0.8], [0, 1, 2])


def _lines(about: str, points: Sequence[tuple[float, float]] = LINE, **options: bool) -> str:
    series = [Series(0, points), Series(7, points, dashed=True)]
    return plots.lines("p", about, series, labels=("x", "y"), **options)


SHOWN = [Bar("a", 0.1, 0.0, 0.2), Bar("$b$", 0.1, None, None), Bar("c", None, None, None), Bar("d", 0.1, 0.0, None)]
KINDS: dict[str, Callable[[str], str]] = {
    "lines": _lines,
    "log": lambda about: _lines(about, log=True, cap=True),
    "wide": lambda about: _lines(about, [(0.001, 0.1), (9.0, 1.0)], log=True),
    "bars": lambda about: plots.bars("p", about, ["one", "<two>"], [[0.5, None], [0.1, 1.0]], label="share"),
    "no bars": lambda about: plots.bars("p", about, [], [], label="share"),
    "intervals": lambda about: plots.intervals("p", about, SHOWN, label="difference", arm=1),
    "no intervals": lambda about: plots.intervals("p", about, [], label="difference", arm=1),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_plot_can_stand_on_any_page(kind: str) -> None:
    """Well-formed, equal bytes each time, its own ids, no address, no colour that the style sheet does not know."""
    svg = KINDS[kind]("about")
    assert svg == KINDS[kind]("about")
    ET.fromstring(svg)  # noqa: S314  # our own drawing
    assert all(found.startswith("p-") for found in re.findall(r'\bid="([^"]*)"', svg))
    assert all(found.startswith("p-") for found in re.findall(r'(?:url\(|href=")#([^")]*)', svg))
    assert set(re.findall(r"#[0-9a-f]{6}", svg)) <= {"#ffffff"}
    assert {"http://www.w3.org/2000/svg"} == set(re.findall(r"https?://[^\"]*", svg))
    assert "font-family" not in svg
    assert "<style" not in svg
    assert "var(--ink)" in svg


def test_words_stay_words_and_are_escaped() -> None:
    """Names are text that can be searched, with their own signs; the spoken name cannot leave its attribute."""
    svg = KINDS["bars"]('"><script>')
    assert "&lt;two&gt;" in svg
    assert 'aria-label="&quot;&gt;&lt;script&gt;"' in svg
    assert "$b$" in KINDS["intervals"]("about")


def test_marks_of_a_logarithmic_axis_do_not_crowd() -> None:
    """A wide range has a mark a decade, in plain figures."""
    narrow, wide = (set(re.findall(r">([\d.]+)</text>", KINDS[kind]("about"))) for kind in ("log", "wide"))
    assert {"0.5", "1", "2"} <= narrow
    assert "0.01" in wide
    assert "0.02" not in wide
