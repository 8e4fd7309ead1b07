"""What one look at the live outcomes says: go on, hold, or roll back.

Callers may rely on: a candidate that is no worse than the margins allow is ever rolled back with probability at most
the strategy's `alpha`, over all looks and all that is watched; what was not measured never passes, and holds; what
can't be measured (NaN) is an error, neither a pass nor a fail; a loss that is shown rolls back whatever else is said.

`prepare` fixes, before the first look, how alpha is shared and what each sequence is tuned to: every rule and every
floor has an equal part. Rules of shares and means are one sequence over the steps (`strata`), tuned to the traffic
expected by the end of the last step that both arms take part in. Quantiles of latency are bounded within each step
(`binomial`), each side at an equal part, because a load that changes with the share moves pooled quantiles.

Units come back: means count what one unit adds over all steps as one contribution, quantiles count n values as
n / design effect of "no slower than the quantile", both estimated over units, of which an arm needs `MINIMUM_PER_ARM`:
an approximation that needs many, shown in simulations from 150 on. What has no unit counts as independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from bakeoff import binomial, sequential, strata
from bakeoff.rollout import ACTION_OF, Action, Look
from bakeoff.sequential import MINIMUM_PER_ARM
from bakeoff.strata import Values
from bakeoff.strategy import LATENCIES, LiveRule, Strategy
from bakeoff.verdicts import Verdict, worst

WHOLE = 100.0
"""Percent at which the baseline gets nothing."""
_EVEN = 0.5
QUANTILES: Mapping[str, float] = {"latency_p50": 0.5, "latency_p95": 0.95}
SHARE_ALPHA = 0.0005
"""The rate at which units in their right share are ever called a mismatch, over the whole rollout."""
_AHEAD = 1.2
"""Times the scale that is tightest at the expected end: what finds most by then is a little tighter before it.

Measured over base rates 0.5 to 0.99, drops of 5 to 20 points and margins of 0 to 5: the share found is at least 97 % of
what any scale reaches; a mixture of several would catch a drop of 20 points an hour sooner, and miss more small ones.
"""
_AIMED = 0.05
"""The loss beyond the margin that a sequence is tuned to: a rate near 1 varies far more once it has dropped."""
CROSSING = 0.01
"""The share of the units in both arms that is no sign of anything: testers, switches, answers under way at a move."""
_SURELY_SOME = 10.0
"""Outcomes expected in a window whose silence says something: none at all then has a chance of 1 in 20,000."""
_NOTHING = Values()


class Ordered(Protocol):
    """Latencies in ascending order: a list, or an object that knows the ranks which `wanted` asks for."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int, /) -> float:
        """Return the latency of rank *index* + 1."""


@dataclass(frozen=True, slots=True)
class ArmSeen:
    """What is known of one arm within one step."""

    errors: Values = _NOTHING
    """One for each outcome without an error, 0 for one with; all outcomes are here."""
    quality: Values = _NOTHING
    """Of the outcomes that were rated."""
    latency: Ordered = ()
    """Of the outcomes that were timed, ascending; needed of the running step alone."""
    units: int = 0
    """Distinct units that are named."""
    last_at: datetime | None = None
    up_to: Mapping[str, Values] = field(default_factory=dict)
    """By quantile watched, which latencies are at most the arm's own quantile: ones, and zeros for those above it.

    Of units that may be timed more than once; without it every latency is a unit of its own.
    """
    left_out: int = 0
    """Outcomes without a unit that are in none of the figures above; see `comparable`."""


@dataclass(frozen=True, slots=True)
class StepSeen:
    """What is known of one step."""

    step: int
    """From 1."""
    baseline: ArmSeen = ArmSeen()
    candidate: ArmSeen = ArmSeen()
    crossing: int = 0
    """Named units with outcomes of both arms."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A strategy with all that is fixed before its first look."""

    strategy: Strategy
    traffic_per_hour: float
    alpha: float
    """The part of one rule or one floor."""
    rhos: Mapping[str, float]
    """Of the rules of shares and means; without one nothing can ever be compared."""
    floor_rhos: Mapping[str, float]
    weights: Mapping[tuple[int, int], float]
    """What the prior of a quantile weighs, by step and arm."""

    @property
    def latency_alpha(self) -> float:
        """The part of one side of one quantile in one step."""
        return self.alpha / (2.0 * max(1, sum(step.percent < WHOLE for step in self.strategy.steps)))

    def share(self, step: int) -> float:
        """Return the candidate's share of the traffic in *step*, from 1."""
        return self.strategy.steps[step - 1].percent / WHOLE


def prepare(strategy: Strategy, traffic_per_hour: float) -> Prepared:
    """Fix how alpha is shared and what each sequence is tuned to, from the questions expected in an hour."""
    rules = {name: rule for name, rule in strategy.watch.items() if name not in LATENCIES}
    floors = {name: rule.at_least for name, rule in rules.items() if rule.at_least is not None}
    alpha = strategy.alpha / (len(strategy.watch) + len(floors))
    arrive = [
        (
            traffic_per_hour * step.hours * (1.0 - step.percent / WHOLE),
            traffic_per_hour * step.hours * step.percent / WHOLE,
        )
        for step in strategy.steps
    ]
    informed = {name: _expected(rule, arrive) for name, rule in rules.items()}
    candidates = sum(candidate for _, candidate in arrive)
    tail = alpha / (2.0 * len(strategy.steps))
    return Prepared(
        strategy=strategy,
        traffic_per_hour=traffic_per_hour,
        alpha=alpha,
        rhos={name: _AHEAD * sequential.best_rho(at, alpha=alpha) for name, at in informed.items() if at > 0.0},
        floor_rhos={
            name: _AHEAD * sequential.best_rho(candidates / (floor * (1.0 - floor)), alpha=alpha)
            for name, floor in floors.items()
        },
        weights={
            (number, arm): binomial.prior(n, alpha=tail)
            for number, counts in enumerate(arrive, start=1)
            for arm, n in enumerate(counts)
        },
    )


def _planned(rule: LiveRule) -> float:
    """Return the variance of one value that is planned with."""
    rate = rule.base_rate or _EVEN
    return rate * (1.0 - rate)


def _expected(rule: LiveRule, arrive: Sequence[tuple[float, float]]) -> float:
    """Return the variance by the end of the rollout where the candidate lost what the sequence is tuned to."""
    rate = rule.base_rate or _EVEN
    lost = max(rate - rule.margin - _AIMED, rate / 2.0)
    before, after, planned = rate * (1.0 - rate), lost * (1.0 - lost), _planned(rule)
    both = [(n, m, n * m / (n + m) / planned) for n, m in arrive if min(n, m) > 0.0]
    return sum(weighs * weighs * (before / n + after / m) for n, m, weighs in both)


def comparable(baseline: tuple[int, int], candidate: tuple[int, int]) -> bool:
    """Return whether outcomes without a unit can be compared, from (those without, all) of each arm.

    A request without any id always goes to the baseline: such outcomes are another kind of traffic. Where a service
    assigns by request they come in both arms, as the same part of each; one arm's part must be half the other's.
    """
    parts = [alone / n for alone, n in (baseline, candidate) if n]
    return not parts or min(parts) >= _EVEN * max(parts)


def wanted(prepared: Prepared, step: int, arm: int, n: int, up_to: Mapping[str, Values] | None = None) -> list[int]:
    """Return the ranks, from 1, of the latencies that a look at *n* of them needs; *arm* 0 is the baseline."""
    if n < MINIMUM_PER_ARM:
        return []
    found = set()
    for name in sorted(LATENCIES & prepared.strategy.watch.keys()):
        found |= {math.ceil(QUANTILES[name] * n), *_ranks(prepared, name, step, arm, n, (up_to or {}).get(name))}
    return sorted(rank for rank in found if rank is not None)


def judge(prepared: Prepared, seen: Sequence[StepSeen], *, now: datetime, step: int, step_began_at: datetime) -> Look:
    """Return what the outcomes *seen* so far, of all steps, say at *now*, an aware instant within *step* (from 1)."""
    running = next((item for item in seen if item.step == step), StepSeen(step))
    findings = []
    for name, rule in prepared.strategy.watch.items():
        if name in LATENCIES:
            findings.append(_quantile(prepared, name, rule, running))
            continue
        findings.append(_mean(prepared, name, rule, seen, running))
        if rule.at_least is not None:
            findings.append(_floor(prepared, name, rule.at_least, seen, running))
    findings += _guards(prepared, running, now, step_began_at)
    verdict = worst(Verdict(item["verdict"]) for item in findings)
    actions = {item["action"] for item in findings}
    action = next((one for one in (Action.ROLL_BACK, Action.ERROR, Action.HOLD) if one in actions), Action.GO)
    said = "; ".join(str(item["said"]) for item in findings if item["action"] == action)
    return Look(
        action=action,
        verdict=verdict,
        findings=tuple(findings),
        candidate_outcomes=running.candidate.errors.n,
        said=said if action is not Action.GO else "nothing watched is worse than its margin allows",
    )


def _finding(watched: str, verdict: Verdict, said: str, **figures: Any) -> dict[str, Any]:
    """Return a finding as plain JSON: figures that were not measured are None."""
    return {
        "watched": watched,
        "verdict": verdict.value,
        "action": ACTION_OF[verdict].value,
        "value": None,
        "baseline": None,
        "difference": None,
        "low": None,
        "high": None,
        "margin": None,
        "n_baseline": None,
        "n_candidate": None,
        **figures,
        "said": said,
    }


def _mean(prepared: Prepared, name: str, rule: LiveRule, seen: Sequence[StepSeen], running: StepSeen) -> dict[str, Any]:
    """Compare the arms' means over all steps; whether enough was seen is asked of the running one."""
    known = {item.step: (getattr(item.baseline, name), getattr(item.candidate, name)) for item in seen}
    gated = range(1, 1 + sum(step.percent < WHOLE for step in prepared.strategy.steps))
    pairs = [known.get(step, (_NOTHING, _NOTHING)) for step in gated]
    baseline, candidate = getattr(running.baseline, name), getattr(running.candidate, name)
    figures: dict[str, Any] = {"margin": rule.margin, "n_baseline": baseline.n, "n_candidate": candidate.n}
    if not all(values.finite for pair in (*pairs, (baseline, candidate)) for values in pair):
        return _finding(name, Verdict.ERROR, f"{name} is NaN or infinite", **figures)
    figures |= {"value": candidate.mean, "baseline": baseline.mean}
    at, rho = strata.seen(pairs, _planned(rule)), prepared.rhos.get(name)
    difference = at.difference
    shown = False
    if difference is not None and rho is not None:
        reach = strata.reach(at.variance, alpha=prepared.alpha, rho=rho) / at.weight
        figures |= {"difference": difference, "low": difference - reach, "high": difference + reach}
        shown = difference + reach < -rule.margin
    if shown:
        said = f"{name} lost {_points(-difference)} of {_points(rule.margin)} allowed"  # type: ignore[operator]  # shown
        return _finding(name, Verdict.FAIL, said, **figures)
    alone = prepared.share(running.step) >= 1.0
    return _measured(name, candidate if alone else min(baseline, candidate, key=_size), figures, alone=alone)


def _measured(name: str, least: Values, figures: dict[str, Any], *, alone: bool) -> dict[str, Any]:
    """Return what is said where no loss was shown: whether the arm with the *least* values has enough of them."""
    if not least.n:
        return _finding(name, Verdict.NO_DATA, f"{name} was not measured in this step", **figures)
    if not least.enough:
        few = f"{name}: {_size(least)} values or units in this step, {MINIMUM_PER_ARM} are needed"
        return _finding(name, Verdict.INCONCLUSIVE, few, **figures)
    said = f"{name}: not compared, the baseline gets no traffic" if alone else f"{name}: no loss shown"
    return _finding(name, Verdict.PASS, said, **figures)


def _size(values: Values) -> int:
    return min(values.n, values.n if values.units is None else values.units.count)


def _points(share: float) -> str:
    return f"{100.0 * share:.1f} pt"


def _floor(prepared: Prepared, name: str, floor: float, seen: Sequence[StepSeen], running: StepSeen) -> dict[str, Any]:
    """Ask whether the candidate's own mean, over all steps, is below *floor*."""
    watched = f"{name}_at_least"
    known: dict[int, Values] = {item.step: getattr(item.candidate, name) for item in seen}
    values = [known.get(step, _NOTHING) for step in range(1, len(prepared.strategy.steps) + 1)]
    own: Values = getattr(running.candidate, name)
    figures: dict[str, Any] = {"value": own.mean, "margin": floor, "n_candidate": own.n}
    if not all(item.finite for item in values):
        return _finding(watched, Verdict.ERROR, f"{name} is NaN or infinite", **figures | {"value": None})
    at = strata.floors_seen(values, floor)
    if at.difference is not None:
        reach = strata.reach(at.variance, alpha=prepared.alpha, rho=prepared.floor_rhos[name]) / at.weight
        figures |= {"difference": at.difference, "low": at.difference - reach, "high": at.difference + reach}
        if at.difference + reach < 0.0:
            said = f"{name} is {at.difference + floor:.1%}, below the floor of {floor:.1%}"
            return _finding(watched, Verdict.FAIL, said, **figures)
    found = _measured(name, own, figures, alone=False)
    said = f"{name}: not shown to be below {floor:.1%}" if found["verdict"] == Verdict.PASS else found["said"]
    return {**found, "watched": watched, "said": said}


def _quantile(prepared: Prepared, name: str, rule: LiveRule, running: StepSeen) -> dict[str, Any]:
    """Ask whether the candidate's quantile surely exceeds the baseline's by more than the margin, within this step."""
    sides = (running.baseline.latency, running.candidate.latency)
    counts = [len(side) for side in sides]
    alone = prepared.share(running.step) >= 1.0
    figures: dict[str, Any] = {"margin": rule.margin, "n_baseline": counts[0], "n_candidate": counts[1]}
    grouped = [arm.up_to.get(name) for arm in (running.baseline, running.candidate)]
    sizes = [n if group is None else _size(group) for n, group in zip(counts, grouped, strict=True)]
    least = sizes[1] if alone else min(sizes)
    if not least:
        return _finding(name, Verdict.NO_DATA, f"{name} was not measured in this step", **figures)
    if least < MINIMUM_PER_ARM:
        few = f"{name}: {least} values or units in this step, {MINIMUM_PER_ARM} are needed"
        return _finding(name, Verdict.INCONCLUSIVE, few, **figures)
    points: list[list[float | None]] = []
    for arm, side in enumerate(sides):
        bounds = _ranks(prepared, name, running.step, arm, len(side), grouped[arm])
        at = [math.ceil(QUANTILES[name] * len(side)), *bounds]
        points.append([None if rank is None or not len(side) else side[rank - 1] for rank in at])
    if not all(math.isfinite(point) for side in points for point in side if point is not None):
        return _finding(name, Verdict.ERROR, f"{name} is NaN or infinite", **figures)
    (before, before_low, before_high), (after, after_low, after_high) = points
    figures |= {"value": after, "baseline": before, "difference": _growth(after, before)}
    figures |= {"low": _growth(after_low, before_high), "high": _growth(after_high, before_low)}
    if alone:
        return _finding(name, Verdict.PASS, f"{name}: not compared, the baseline gets no traffic", **figures)
    if figures["low"] is not None and figures["low"] > rule.margin:
        said = f"{name} grew from {before:.0f} to {after:.0f} ms, by more than {rule.margin:.0%}"
        return _finding(name, Verdict.FAIL, said, **figures)
    return _finding(name, Verdict.PASS, f"{name}: no growth beyond {rule.margin:.0%} shown", **figures)


def _growth(after: float | None, before: float | None) -> float | None:
    """Return by what ratio *after* exceeds *before*; None where one is not known or nothing can be divided by."""
    return None if after is None or not before else after / before - 1.0


def _ranks(
    prepared: Prepared, name: str, step: int, arm: int, n: int, up_to: Values | None
) -> tuple[int | None, int | None]:
    """Return the ranks of the bounds: those of as many independent values as *n* of these units are worth, scaled."""
    worth = n if up_to is None else max(1, math.floor(n / up_to.design_effect))
    weight = prepared.weights[step, arm]
    low, high = binomial.ranks(worth, p=QUANTILES[name], alpha=prepared.latency_alpha, weight=weight)
    if worth < n:
        low = None if low is None else max(1, low * n // worth)
        high = None if high is None else min(n, -(-high * n // worth))
    return low, high


def _guards(prepared: Prepared, running: StepSeen, now: datetime, began_at: datetime) -> list[dict[str, Any]]:
    """Return a finding for each guard: what makes the figures untrustworthy, or that nothing does."""
    share, guards = prepared.share(running.step), prepared.strategy.guards
    units = (running.baseline.units, running.candidate.units)
    mismatch = None
    if share < 1.0 and binomial.share_p(*units, share=share) < SHARE_ALPHA / len(prepared.strategy.steps):
        mismatch = (
            f"{units[1]} of {sum(units)} units are the candidate's, not its share, {share:.0%} (switches thrown?)"
        )
    both = f"{running.crossing} units had outcomes of both arms in this step"
    crossing = both if running.crossing > CROSSING * sum(units) else None
    silent = _silent(prepared, running, now, began_at)
    found = _left_out(running, alone=share >= 1.0)
    for name, what in (("share_mismatch", mismatch), ("silence", silent), ("crossing", crossing)):
        severity = getattr(guards, name)
        verdict = Verdict.PASS
        if what is not None:
            verdict = {"rollback": Verdict.FAIL, "hold": Verdict.INCONCLUSIVE}.get(severity, Verdict.PASS)
        counts = {} if name == "silence" else {"n_baseline": units[0], "n_candidate": units[1]}
        quiet = f"{both}, at most {CROSSING:.0%}" if name == "crossing" and running.crossing else f"{name}: none"
        found.append(_finding(name, verdict, what or quiet, **counts))
    return found


def _left_out(running: StepSeen, *, alone: bool) -> list[dict[str, Any]]:
    """Return what is said of outcomes that are not compared; where nothing is left of an arm the step holds."""
    counts = (running.baseline.left_out, running.candidate.left_out)
    if not sum(counts):
        return []
    emptied = not running.candidate.errors.n or not (alone or running.baseline.errors.n)
    said = f"{sum(counts)} outcomes without a unit are not compared: they do not come in both arms alike"
    verdict = Verdict.NO_DATA if emptied else Verdict.PASS
    return [_finding("without_unit", verdict, said, n_baseline=counts[0], n_candidate=counts[1])]


def _silent(prepared: Prepared, running: StepSeen, now: datetime, began_at: datetime) -> str | None:
    """Return which arm should have had outcomes for long, and had none."""
    share = prepared.share(running.step)
    for word, arm, part in (("candidate", running.candidate, share), ("baseline", running.baseline, 1.0 - share)):
        if part <= 0.0:
            continue
        hours = max(prepared.strategy.guards.silence_hours, _SURELY_SOME / (part * prepared.traffic_per_hour))
        since = max(began_at, arm.last_at or began_at)
        if now - since >= timedelta(hours=hours):
            return f"the {word} had no outcome for {(now - since) / timedelta(hours=1):.1f} hours"
    return None
