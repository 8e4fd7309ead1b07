"""What `bakeoff.sequential` promises of sums and scales; of looks: `test_strata`, `test_foresight`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff import sequential, strata
from bakeoff.errors import ConfigError, InputError
from bakeoff.sequential import Sums


def test_best_rho_is_the_best() -> None:
    """At the information it is chosen for, no other scale gives a boundary lower by more than 0.05 %."""
    rho = sequential.best_rho(500.0, alpha=0.05)
    at = strata.reach(500.0, alpha=0.05, rho=rho)
    others = [strata.reach(500.0, alpha=0.05, rho=float(rho * by)) for by in np.geomspace(0.1, 10, 41)]
    assert at <= min(others) * 1.0005


@given(st.lists(st.floats(1.0, 5.0), max_size=60), st.lists(st.floats(1.0, 5.0), max_size=60))
def test_sums_add_up(one: list[float], other: list[float]) -> None:
    """Sums of two batches are the sums of all."""
    joined = Sums.of(one + other)
    added = Sums.of(one) + Sums.of(other)
    assert joined.n == added.n
    assert [joined.total, joined.squares] == pytest.approx([added.total, added.squares])


def test_impossible_settings_are_refused() -> None:
    """Each is named."""
    with pytest.raises(ConfigError, match="alpha"):
        sequential.best_rho(500.0, alpha=0.5)
    with pytest.raises(ConfigError, match="information"):
        sequential.best_rho(0.0, alpha=0.05)
    with pytest.raises(ConfigError, match="sizes 0"):
        sequential.expected_information(0, 1, variance=0.1)
    with pytest.raises(InputError, match="3 yes of 2"):
        Sums.yes_no(3, 2)
    with pytest.raises(InputError, match="NaN"):
        Sums.of([1.0, math.nan])
