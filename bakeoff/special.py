"""SciPy's special functions, brought in at their first use: to start SciPy takes longer than most commands run.

Callers may rely on: `special.NAME` is `scipy.special.NAME` for every function listed here; importing this module brings
in nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scipy.special import (
        betainc,
        gammaln,
        lambertw,
        log_ndtr,
        nctdtr,
        ndtr,
        ndtri,
        stdtr,
        stdtrit,
        xlogy,
    )

__all__ = [
    "betainc",
    "gammaln",
    "lambertw",
    "log_ndtr",
    "nctdtr",
    "ndtr",
    "ndtri",
    "stdtr",
    "stdtrit",
    "xlogy",
]


def __getattr__(name: str) -> Any:
    """Return the function *name*, with all others from then on. Raises AttributeError where it is not listed here."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load()
    return globals()[name]


def load() -> None:
    """Bring in the functions: for a caller that can do so in a thread while it waits for something else."""
    from scipy import special

    globals().update({each: getattr(special, each) for each in __all__})
