"""What gates look at and what they say: observations of both arms, findings, the judgement.

Callers may rely on: a finding carries all that its verdict rests on; None is not measured, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bakeoff.verdicts import Severity, Verdict

Values = Sequence[float | None]


class Reason(StrEnum):
    """Why a gate came to its verdict."""

    WITHIN_MARGIN = "within_margin"
    LOSS = "loss"
    UNDECIDED = "undecided"
    REACHED = "reached"
    NOT_REACHED = "not_reached"
    SUSPICIOUS = "suspicious"
    TOO_FEW = "too_few"
    NOTHING_MEASURED = "nothing_measured"
    ONE_SIDED = "one_sided"
    MISSING = "missing"
    NOT_A_NUMBER = "not_a_number"


@dataclass(frozen=True, slots=True)
class Observed:
    """What was measured of one arm; *values* are aligned with the questions, *timings* in ms with those timed."""

    values: Mapping[str, Values]
    facts: Mapping[str, float | None]
    timings: Values = ()


@dataclass(frozen=True, slots=True)
class Observations:
    """Both arms on the same questions; *questions* holds (id, text), *timed* the ids that `timings` belong to."""

    questions: Sequence[tuple[str, str]]
    baseline: Observed
    candidate: Observed
    timed: Sequence[str] = ()
    expected: Mapping[str, int] = field(default_factory=dict)
    """Questions that the plan counts on for each metric; with fewer values a gate is an error, not a verdict."""


@dataclass(frozen=True, slots=True)
class Worst:
    """A question that speaks most against the candidate."""

    question_id: str
    question: str
    baseline: float | None
    candidate: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one gate found, with all that its verdict rests on."""

    gate: str
    metric: str
    rule: str
    severity: Severity
    verdict: Verdict
    reason: Reason
    said: str
    """The reason in words, with the comparison."""
    threshold: str
    """What was asked for, in words."""
    value: float | None = None
    baseline: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    n: int = 0
    p_loss: float | None = None
    """One-sided p of "no loss", Holm-adjusted over the gates that share the error rate."""
    detectable: float | None = None
    """The loss that this gate would have failed with the profile's power, given what was observed."""
    further_questions: int | None = None
    """How many more would decide an inconclusive gate, if what was observed were the truth.

    Of one that saw too few (`too_few`) how many more it needs at least to be judged at all: that may decide nothing.
    """
    worst: tuple[Worst, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """All findings, in the order of the gates, and the worst verdict of those that block."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = field(default=())
