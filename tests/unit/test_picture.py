"""A picture that stands alone: a PNG of a known size, the same for the same values."""

from __future__ import annotations

import struct

from bakeoff import plots
from bakeoff.plots import Series

STAIRS = [Series(0, [(0.0, 0.0), (5.0, 0.0), (5.0, 0.8)]), Series(7, [(0.0, 0.1), (5.0, 0.1)], dashed=True)]


def test_picture() -> None:
    """Equal values give equal bytes, other names other ones; colours go round."""
    drawn = plots.picture("Title", STAIRS, ["a", "b"], labels=("x", "y"))
    assert b"\x89PNG\r\n\x1a\n" == drawn[:8]
    assert (1152, 648) == struct.unpack(">II", drawn[16:24])
    assert drawn == plots.picture("Title", STAIRS, ["a", "b"], labels=("x", "y"))
    assert drawn != plots.picture("Title", STAIRS, ["a", "c"], labels=("x", "y"))
