"""SciPy's functions come at their first use, and are SciPy's own."""

from __future__ import annotations

import subprocess
import sys

import pytest
import scipy.special

from bakeoff import special


@pytest.mark.parametrize("name", special.__all__)
def test_each_function_is_that_of_scipy(name: str) -> None:
    """The very object, not a copy."""
    assert getattr(scipy.special, name) is getattr(special, name)


def test_what_is_not_listed_is_not_there() -> None:
    """A typo is an AttributeError that names it, though SciPy may have more."""
    with pytest.raises(AttributeError, match="has no attribute 'gamma'"):
        special.gamma  # noqa: B018  # that it is missing is the point


def test_nothing_is_brought_in_before_it_is_used() -> None:
    """Neither by this module nor by those that judge."""
    code = (
        "import sys; from bakeoff import gates, plan, sequential, special\n"
        "print('scipy' in sys.modules); special.ndtr(0.0); print('scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ["False", "True"] == done.stdout.split()
