"""What a check says: the verdicts, how bad each is, how much a check counts, and the worst of many.

Callers may rely on: the order fail > error > no_data > inconclusive > pass; adding a finding never improves the worst
verdict; no finding at all is no data, never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from bakeoff import errors


class Verdict(StrEnum):
    """What one check, or all of them together, came to; the later the worse."""

    PASS = "pass"  # noqa: S105  # a verdict, no password
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "no_data"
    ERROR = "error"
    FAIL = "fail"


class Severity(StrEnum):
    """How much a check counts: `block` decides, `warn` is said, `dry-run` is measured and shown, no more."""

    BLOCK = "block"
    WARN = "warn"
    DRY_RUN = "dry-run"


_BADNESS = {verdict: place for place, verdict in enumerate(Verdict)}

EXIT_OF = {
    Verdict.PASS: 0,
    Verdict.FAIL: errors.NoError.exit_code,
    Verdict.INCONCLUSIVE: errors.NotKnownError.exit_code,
    Verdict.NO_DATA: errors.NotKnownError.exit_code,
    Verdict.ERROR: errors.OutsideError.exit_code,
}
"""The exit code of a command that ends with a verdict."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of *verdicts*; of none at all: no data."""
    return max(verdicts, key=_BADNESS.__getitem__, default=Verdict.NO_DATA)


def overall(findings: Iterable[tuple[Severity, Verdict]]) -> Verdict:
    """Return the worst verdict of the findings that block; where none blocks, nothing was asked: no data."""
    return worst(verdict for severity, verdict in findings if severity is Severity.BLOCK)


UNKNOWN = (Verdict.INCONCLUSIVE, Verdict.NO_DATA)


def again(verdict: Verdict, before: Verdict | None) -> Verdict:
    """Return what a gate comes to that is judged again: not known is a pass where it was not known *before* either."""
    return Verdict.PASS if verdict in UNKNOWN and before in UNKNOWN else verdict
