"""What a probe measured → its finding: the value against what was expected.

Callers may rely on: a value that was not measured never passes; NaN is an error; a finding names at most
`OFFENDERS_KEPT` offenders.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bakeoff import canonical
from bakeoff.probes import Expectation, Probe
from bakeoff.verdicts import Severity, Verdict

OFFENDERS_KEPT = 20
OFFENDERS_SHOWN = 3
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a probe measured: a number, a string, a truth value, or how many offenders there are."""

    value: Any
    offenders: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Why a probe could not be measured, and the verdict that makes: no data, or an error."""

    verdict: Verdict
    reason: str
    next: str = ""


Result = Measured | Unmeasured


@dataclass(frozen=True, slots=True)
class Finding:
    """One probe's verdict with what an auditor needs: the value, what was expected, and who offends."""

    name: str
    kind: str
    about: str
    severity: Severity
    verdict: Verdict
    value: Any
    expected: str
    reason: str
    offenders: tuple[str, ...]
    next: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        return asdict(self) | {"offenders": list(self.offenders)}


def _with_offenders(result: Result, offenders: Any) -> Result:
    if not isinstance(offenders, list | tuple):
        return Unmeasured(Verdict.ERROR, f"its offenders are {offenders!r}; expected a list")
    return Measured(result.value, tuple(map(_spoken, offenders))) if isinstance(result, Measured) else result


def measured(value: Any) -> Result:
    """Return what a probe gave as a result: a list is its offenders, nothing is no data, NaN an error.

    An object with `value` and, if it likes, `offenders` says both.
    """
    if isinstance(value, Mapping) and "value" in value and set(value) <= {"value", "offenders"}:
        return _with_offenders(measured(value["value"]), value.get("offenders") or ())
    if value is None:
        return Unmeasured(Verdict.NO_DATA, "it gave null: there is nothing to measure")
    if (odd := _not_for_json(value)) is not None:
        return Unmeasured(Verdict.ERROR, f"it gave {value}{odd}")
    if isinstance(value, Mapping):
        return Unmeasured(Verdict.ERROR, "it gave an object; expected a number, a string, true, false or a list")
    if isinstance(value, list | tuple):
        return Measured(len(value), tuple(map(_spoken, value)))
    return Measured(value)


def _not_for_json(value: Any) -> str | None:
    """Return in words why JSON can't hold a number, or None."""
    if isinstance(value, float) and not math.isfinite(value):
        return ", which is no number"
    if isinstance(value, int) and abs(value) >= canonical.LIMIT:
        return ": JSON holds integers below 2**53 only; give it as text"
    return None


def judge(probe: Probe, result: Result, *, names: Mapping[str, str]) -> Finding:
    """Return the finding of *probe*; *names* are filled into what to do next."""
    if isinstance(result, Unmeasured):
        advice = result.next or probe.next
        return _finding(probe, result.verdict, None, result.reason, (), _filled(advice, names))
    verdict, reason = compared(probe.expect, result.value)
    reason = f"{reason}; {result.note}" if result.note else reason
    advice = "" if verdict is Verdict.PASS else _filled(probe.next, names)
    return _finding(probe, verdict, result.value, reason, result.offenders, advice)


def _finding(
    probe: Probe,
    verdict: Verdict,
    value: Any,
    reason: str,
    offenders: tuple[str, ...],
    advice: str,
) -> Finding:
    shown = () if verdict is Verdict.PASS else offenders[:OFFENDERS_KEPT]
    return Finding(
        *(probe.name, probe.kind, probe.about, probe.severity, verdict),
        *(value, probe.expect.words, reason, shown, advice),
    )


def compared(expect: Expectation, value: Any) -> tuple[Verdict, str]:
    """Return the verdict on *value*, and the comparison in words."""
    if "equals" in expect.model_fields_set:
        same = value == expect.equals and isinstance(value, bool) == isinstance(expect.equals, bool)
        return _said(same, value, expect)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Verdict.ERROR, f"it gave {_spoken(value)}, expected a number {expect.words}"
    if expect.empty:
        return _said(value == 0, f"{value} found", expect)
    low, high = expect.between or (expect.at_least, expect.at_most)
    inside = (low is None or value >= low) and (high is None or value <= high)
    strictly = (expect.above is None or value > expect.above) and (expect.below is None or value < expect.below)
    return _said(inside and strictly, value, expect)


def _said(holds: bool, value: Any, expect: Expectation) -> tuple[Verdict, str]:
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return (Verdict.PASS if holds else Verdict.FAIL), f"{shown}, expected {expect.words}"


def _spoken(value: Any) -> str:
    """Return an offender as a line: the text itself, or the cells of a row."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_spoken(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(_spoken(item) for item in value)
    return str(value)


def _filled(text: str, names: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: names.get(match[1], match[0]), text)
