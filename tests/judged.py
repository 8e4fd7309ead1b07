"""Profiles and observations for tests of gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bakeoff import gates, rules
from bakeoff.findings import Finding, Judgement, Observations, Observed
from bakeoff.rules import LATENCY, Profile

Values = Sequence[float | None]
YES = "reader_used_gold"
GATES: dict[str, dict[str, Any]] = {
    "loss of a share": {"rule": "no_worse", "metric": YES, "margin": 0.1, "discordance": 0.1},
    "loss of a mean": {"rule": "no_worse", "metric": "f1", "margin": 0.1, "spread": 0.2},
    "loss of time": {"rule": "no_worse", "metric": LATENCY, "margin": 0.5, "spread": 0.4},
    "gain of a share": {"rule": "gain", "metric": YES, "at_least": 0.0},
    "gain of a mean": {"rule": "gain", "metric": "f1", "at_least": 0.0},
    "level of a share": {"rule": "level", "metric": YES, "at_least": 0.2},
    "level of a mean": {"rule": "level", "metric": "f1", "at_least": 0.2},
    "level of time": {"rule": "level", "metric": LATENCY, "at_most": 500},
    "level of a fact": {"rule": "level", "metric": "leaked_prefixes", "at_most": 5},
    "stable": {"rule": "stable", "metric": "leaked_prefixes", "within": 0.1},
}
"""A gate of every rule and kind of metric; each passes where both arms are the same and good."""


def profile(*given: dict[str, Any], **more: Any) -> Profile:
    """A profile of *given* gates; those without a name are called `g`."""
    items = [{"name": "g", **gate} for gate in given]
    return rules.parse({"profile": "test", "resamples": 1000, "gates": items, **more}, source="test")


def seen(metric: str, baseline: Values, candidate: Values) -> Observations:
    """Both arms' values of one metric, aligned; of latency they are timings, of a fact the only value."""
    count = len(baseline)
    asked = [(f"q{n:04d}", f"question {n}") for n in range(count)]
    if metric in rules.FACTS:
        facts = [{metric: side[0] if side else None} for side in (baseline, candidate)]
        return Observations([], Observed({}, facts[0]), Observed({}, facts[1]))
    if metric == LATENCY:
        timed = [question_id for question_id, _ in asked]
        return Observations(asked, Observed({}, {}, baseline), Observed({}, {}, candidate), timed)
    return Observations(asked, Observed({metric: baseline}, {}), Observed({metric: candidate}, {}))


def judge(given: Profile, observations: Observations) -> Judgement:
    """Judge under a fixed seed."""
    return gates.judge(given, observations, seed=7)


def finding(gate: dict[str, Any], baseline: Values, candidate: Values, **more: Any) -> Finding:
    """What one gate says of these values."""
    judgement = judge(profile(gate, **more), seen(gate["metric"], baseline, candidate))
    (found,) = judgement.findings
    return found


def good(metric: str, count: int = 200) -> list[float | None]:
    """Values of a good arm."""
    if metric in rules.FACTS:
        return [2.0]
    if metric == LATENCY:
        return [50.0 + n % 37 for n in range(count)]
    if metric == YES:
        return [float(n % 5 > 0) for n in range(count)]
    return [0.5 + (n % 5) / 10 for n in range(count)]
