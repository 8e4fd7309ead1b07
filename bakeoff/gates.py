"""KPI rules and observations → findings → the worst verdict.

Callers may rely on: the order of the questions does not matter; nothing unmeasured passes (no value at all is no data,
too few are inconclusive, NaN is an error); tests for a loss that block share the error rate by Holm, passes need every
gate (an intersection-union test, Berger 1982) and so no correction; adding a gate never makes a judgement pass that did
not, though a failure that shares its error rate with one more test may become inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist

from bakeoff import metrics, paired, plural, power, stats
from bakeoff.cases import YES_NO
from bakeoff.errors import InputError
from bakeoff.findings import Finding, Judgement, Observations, Reason, Values, Worst
from bakeoff.paired import Paired
from bakeoff.rules import FACTS, LATENCY, Gain, Gate, Level, NoWorse, Profile, Stable
from bakeoff.verdicts import Severity, Verdict, overall

WORST = 3
MOST_QUESTIONS = 10_000_000
"""Beyond so many, "more questions would decide it" is no advice."""
ROUNDING = 1e-12
"""3 of 60 reach a minimum effect of 0.05, whatever the last digit of a float says."""
LEAST_TIMINGS = 100
"""A 95th percentile of fewer timings says nothing."""


def judge(profile: Profile, seen: Observations, *, seed: int) -> Judgement:
    """Judge *seen* by every gate of *profile*. Raises InputError where the arms are not aligned."""
    _check(seen)
    tested = {gate.name: _compared(gate, profile, seen, seed) for gate in profile.gates if isinstance(gate, NoWorse)}
    adjusted = _adjusted(profile, tested)
    findings = tuple(_finding(gate, profile, seen, seed, tested.get(gate.name), adjusted) for gate in profile.gates)
    warned = tuple(
        f"{found.gate}: {found.said}"
        for found in findings
        if (found.verdict is not Verdict.PASS and found.severity is Severity.WARN) or found.reason is Reason.SUSPICIOUS
    )
    return Judgement(overall((found.severity, found.verdict) for found in findings), findings, warned)


def _check(seen: Observations) -> None:
    wanted = len(seen.questions)
    for arm in (seen.baseline, seen.candidate):
        for metric, values in arm.values.items():
            if len(values) != wanted:
                raise InputError(
                    f"{len(values)} values of {metric} for {wanted} questions", hint="align them by question"
                )
        if len(arm.timings) != len(seen.timed):
            raise InputError(f"{len(arm.timings)} timings for {len(seen.timed)} timed questions", hint="align them")


def _both(gate: Gate, seen: Observations) -> tuple[Values, Values]:
    """Return the values of both arms that *gate* looks at; a metric that nobody measured has none."""
    if gate.metric == LATENCY:
        return seen.baseline.timings, seen.candidate.timings
    nothing: Values = [None] * len(seen.questions)
    return seen.baseline.values.get(gate.metric, nothing), seen.candidate.values.get(gate.metric, nothing)


def _nan(*values: Values) -> bool:
    return any(value is not None and not math.isfinite(value) for side in values for value in side)


def _compared(gate: NoWorse | Gain, profile: Profile, seen: Observations, seed: int) -> Paired | None:
    """Compare both arms as the metric asks for; None where a value is no number."""
    left, right = _both(gate, seen)
    if _nan(left, right):
        return None
    margin = gate.margin if isinstance(gate, NoWorse) else 0.0
    if gate.metric == LATENCY:
        return paired.p95_ratio(left, right, margin=margin, alpha=profile.alpha, seed=seed)
    if gate.metric in YES_NO:
        return paired.yes_no(left, right, margin=margin, alpha=profile.alpha)
    return paired.mean(left, right, margin=margin, alpha=profile.alpha, seed=seed, resamples=profile.resamples)


def _adjusted(profile: Profile, compared: Mapping[str, Paired | None]) -> dict[str, float]:
    """Return the p-values of "no loss", adjusted over the tests that block; those that only warn stay as they are."""
    raw = {name: found.p_loss for name, found in compared.items() if found is not None and found.p_loss is not None}
    sharing = [gate.name for gate in profile.tested if gate.name in raw]
    return raw | dict(zip(sharing, stats.holm([raw[name] for name in sharing]), strict=True))


def _finding(
    gate: Gate, profile: Profile, seen: Observations, seed: int, found: Paired | None, adjusted: Mapping[str, float]
) -> Finding:
    if isinstance(gate, NoWorse):
        return _no_worse(gate, profile, seen, found, adjusted.get(gate.name))
    if isinstance(gate, Gain):
        return _gain(gate, profile, seen, _compared(gate, profile, seen, seed))
    if isinstance(gate, Stable):
        return _stable(gate, seen)
    if gate.metric in FACTS:
        return _fact(gate, seen)
    return _level(gate, profile, seen, seed)


def _started(gate: Gate, threshold: str) -> Finding:
    """Return what is said of a gate before anything is known: no data."""
    return Finding(
        gate=gate.name,
        metric=gate.metric,
        rule=gate.rule,
        severity=gate.severity,
        verdict=Verdict.NO_DATA,
        reason=Reason.NOTHING_MEASURED,
        said="nothing was measured",
        threshold=threshold,
    )


def _not_a_number(finding: Finding) -> Finding:
    said = "a measured value is not a number"
    return replace(finding, verdict=Verdict.ERROR, reason=Reason.NOT_A_NUMBER, said=said)


def _unfit(gate: Gate, profile: Profile, finding: Finding, found: Paired, expected: int) -> Finding | None:
    """Return the finding of a comparison that can't be judged, or None where it can."""
    seen = found.n + found.only_baseline + found.only_candidate
    missing = found.only_baseline + found.only_candidate
    if seen == 0:
        return finding
    if missing > profile.unmeasured * seen:
        said = (
            f"{plural.counted(found.only_candidate, 'question')} {plural.have(found.only_candidate)} a value for the "
            f"candidate alone and {found.only_baseline} for the baseline alone, of {seen}: more than "
            f"{profile.unmeasured:.0%}"
        )
        return replace(finding, verdict=Verdict.ERROR, reason=Reason.ONE_SIDED, said=said)
    if seen < expected * (1.0 - profile.unmeasured) - ROUNDING:
        said = f"{plural.counted(seen, 'question')} {plural.have(seen)} a value, the plan counts on {expected}"
        return replace(finding, verdict=Verdict.ERROR, reason=Reason.MISSING, said=said)
    least = max(gate.minimum, LEAST_TIMINGS if gate.metric == LATENCY else 2)
    if found.n < least:
        said, further = f"{plural.counted(found.n, 'question')} with a value, fewer than {least}", least - found.n
        return replace(
            finding, verdict=Verdict.INCONCLUSIVE, reason=Reason.TOO_FEW, said=said, further_questions=further
        )
    return None


def _expected(gate: Gate, seen: Observations) -> int:
    return seen.expected.get(gate.metric, 0)


def _with(finding: Finding, found: Paired, gate: Gate, seen: Observations) -> Finding:
    return replace(
        finding,
        value=found.candidate,
        baseline=found.baseline,
        difference=found.difference,
        low=found.low,
        high=found.high,
        level=found.level,
        n=found.n,
        worst=_worst(gate, seen),
    )


def _no_worse(
    gate: NoWorse, profile: Profile, seen: Observations, found: Paired | None, p_loss: float | None
) -> Finding:
    finding = _started(gate, f"{'growth' if gate.metric == LATENCY else 'loss'} ≤ {_points(gate, gate.margin)}")
    if found is None:
        return _not_a_number(finding)
    finding = replace(_with(finding, found, gate, seen), p_loss=p_loss)
    if (unfit := _unfit(gate, profile, finding, found, _expected(gate, seen))) is not None:
        return unfit
    sharing = len(profile.tested) if gate.severity is Severity.BLOCK else 1
    rule = power.Rule(gate.margin, gate.minimum_effect, profile.alpha, profile.alpha / max(sharing, 1))
    finding = replace(finding, detectable=_detectable(gate, profile, found, rule))
    what = "growth" if gate.metric == LATENCY else "loss"
    loss = (found.difference or 0.0) * (1.0 if gate.metric == LATENCY else -1.0)
    if found.p_margin is not None and found.p_margin <= profile.alpha:
        said = f"a {what} of {_points(gate, gate.margin)} is ruled out (p {found.p_margin:.2g})"
        return replace(finding, verdict=Verdict.PASS, reason=Reason.WITHIN_MARGIN, said=said)
    if p_loss is not None and p_loss <= profile.alpha and loss >= gate.minimum_effect - ROUNDING:
        said = (
            f"a {what} of {_points(gate, loss)} (p {p_loss:.2g}), and one of {_points(gate, gate.margin)}, the margin, "
            "is not ruled out"
        )
        return replace(finding, verdict=Verdict.FAIL, reason=Reason.LOSS, said=said)
    needed = _needed(gate, profile, found, rule)
    further = None if needed is None else max(needed - found.n, 1)
    said = f"neither a {what} nor its absence is shown within {_points(gate, gate.margin)}"
    return replace(finding, verdict=Verdict.INCONCLUSIVE, reason=Reason.UNDECIDED, said=said, further_questions=further)


def _detectable(gate: NoWorse, profile: Profile, found: Paired, rule: power.Rule) -> float | None:
    if found.discordant is not None:
        both_ways = max(found.discordant - abs(found.difference or 0.0), 0.0)  # without what was lost or gained
        return power.detectable_yes_no(found.n, discordance=both_ways, rule=rule, power=profile.power)
    if not found.spread:
        return None  # arms that are equal everywhere do not show how a loss would spread
    shown = power.detectable_p95_ratio if gate.metric == LATENCY else power.detectable_mean
    return shown(found.n, spread=found.spread, rule=rule, power=profile.power)


def _needed(gate: NoWorse, profile: Profile, found: Paired, rule: power.Rule) -> int | None:
    """Return how many questions in all would decide what is undecided; None: no number, or none can be told."""
    if found.spread == 0.0 and found.difference == 0.0:
        return _needed_by_equals(gate.margin, profile)
    return power.questions_needed(
        found,
        margin=gate.margin,
        alpha=profile.alpha,
        fail_alpha=rule.fail_alpha,
        power=profile.power,
        ratio=gate.metric == LATENCY,
    )


def _needed_by_equals(margin: float, profile: Profile) -> int | None:
    """Return how many questions without any difference rule a loss of *margin* out, by Tango's test.

    Its statistic is then sqrt(n * margin / (1 - margin)). The test of means asks for one or two more.
    """
    if margin == 0.0:
        return None
    z = NormalDist().inv_cdf(1.0 - profile.alpha)
    return math.ceil(z * z * (1.0 - margin) / margin)


def _gain(gate: Gain, profile: Profile, seen: Observations, found: Paired | None) -> Finding:
    finding = _started(gate, f"gain ≥ {_points(gate, gate.at_least)}")
    if found is None:
        return _not_a_number(finding)
    finding = _with(finding, found, gate, seen)
    if (unfit := _unfit(gate, profile, finding, found, _expected(gate, seen))) is not None:
        return unfit
    finding = replace(finding, detectable=_shown(profile, found))
    gained = found.difference or 0.0
    said = f"{_points(gate, gained, sign=True)} of {_points(gate, gate.at_least)}"
    if gate.suspicious_above is not None and gained > gate.suspicious_above:
        said += f": more than {_points(gate, gate.suspicious_above)} is too good to be believed unseen"
        return replace(finding, verdict=Verdict.PASS, reason=Reason.SUSPICIOUS, said=said)
    return _towards(finding, profile, found, at_least=gate.at_least, said=said)


def _towards(finding: Finding, profile: Profile, found: Paired, *, at_least: float, said: str) -> Finding:
    """Judge a point estimate against a wanted figure: reached, or surely not, or not known."""
    point, high = found.difference or 0.0, found.high
    if point >= at_least - ROUNDING:
        return replace(finding, verdict=Verdict.PASS, reason=Reason.REACHED, said=said)
    if high is not None and high < at_least:
        return replace(finding, verdict=Verdict.FAIL, reason=Reason.NOT_REACHED, said=f"{said}, and surely below it")
    return replace(
        finding,
        verdict=Verdict.INCONCLUSIVE,
        reason=Reason.UNDECIDED,
        said=f"{said}, but too few questions to be sure",
        further_questions=_further(profile, found, at_least - point),
    )


def _z(profile: Profile) -> float:
    """Return how many standard errors a difference must have to be shown with the profile's power."""
    return NormalDist().inv_cdf(1.0 - profile.alpha) + NormalDist().inv_cdf(profile.power)


def _shown(profile: Profile, found: Paired) -> float | None:
    """Return the distance from a bound that these questions would show, by normal theory."""
    return _z(profile) * found.spread / math.sqrt(found.n) if found.spread else None


def _further(profile: Profile, found: Paired, gap: float) -> int | None:
    """Return how many more questions would show that what was observed misses a bound by *gap*, by normal theory."""
    if not found.spread:
        return None
    wanted = (_z(profile) * found.spread / gap) ** 2
    return None if wanted > MOST_QUESTIONS else max(math.ceil(wanted) - found.n, 1)


def _level(gate: Level, profile: Profile, seen: Observations, seed: int) -> Finding:
    """Judge the candidate's own mean by its interval, or its own p95 as it is."""
    finding = _started(gate, _bounds(gate))
    left, right = _both(gate, seen)
    if _nan(left, right):
        return _not_a_number(finding)
    zeros: Values = [None if value is None else 0.0 for value in right]
    if gate.metric in YES_NO:
        found = paired.yes_no(zeros, right, margin=0.0, alpha=profile.alpha)
    else:
        found = paired.mean(zeros, right, margin=0.0, alpha=profile.alpha, seed=seed, resamples=profile.resamples)
    gone = sum(a is not None and b is None for a, b in zip(left, right, strict=True))
    point, low, high = found.difference, found.low, found.high
    if gate.metric == LATENCY:
        point = low = high = _own(gate, right)
    elif gate.metric in YES_NO and found.n:
        share = stats.wilson(round(sum(value or 0.0 for value in right)), found.n, level=1.0 - 2.0 * profile.alpha)
        low, high = share.low, share.high
    level = None if gate.metric == LATENCY else found.level
    finding = replace(finding, value=point, low=low, high=high, level=level, n=found.n, worst=_worst(gate, seen))
    finding = replace(finding, baseline=_own(gate, left))
    if (unfit := _unfit(gate, profile, finding, replace(found, only_baseline=gone), _expected(gate, seen))) is not None:
        return unfit
    seen_from = None if gate.metric == LATENCY else _shown(profile, found)
    finding = _between(gate, replace(finding, detectable=seen_from), point or 0.0, low, high)
    if finding.verdict is not Verdict.INCONCLUSIVE:
        return finding
    missed = [abs(point - bound) for bound in (gate.at_least, gate.at_most) if bound is not None and point is not None]
    return replace(finding, further_questions=_further(profile, found, min(missed)))


def _own(gate: Level, values: Values) -> float | None:
    """Return an arm's own figure: the 95th percentile of timings, the mean of anything else."""
    known = [value for value in values if value is not None]
    if gate.metric == LATENCY:
        return metrics.percentile(known, 95).value
    return math.fsum(known) / len(known) if known else None


def _between(gate: Level, finding: Finding, point: float, low: float | None, high: float | None) -> Finding:
    least, most = gate.at_least, gate.at_most
    said = f"{point:.4g}, asked for {_bounds(gate)}"
    if (least is None or point >= least - ROUNDING) and (most is None or point <= most + ROUNDING):
        return replace(finding, verdict=Verdict.PASS, reason=Reason.REACHED, said=said)
    below = least is not None and high is not None and high < least
    above = most is not None and low is not None and low > most
    if below or above:
        return replace(finding, verdict=Verdict.FAIL, reason=Reason.NOT_REACHED, said=said)
    said = f"{said}: missed, but by no more than chance may do"
    return replace(finding, verdict=Verdict.INCONCLUSIVE, reason=Reason.UNDECIDED, said=said)


def _fact(gate: Level, seen: Observations) -> Finding:
    """Judge a figure of the whole: exact, so its bounds are."""
    finding = replace(_started(gate, _bounds(gate)), baseline=seen.baseline.facts.get(gate.metric))
    value = seen.candidate.facts.get(gate.metric)
    if value is None:
        return finding
    if not math.isfinite(value):
        return _not_a_number(finding)
    return _between(gate, replace(finding, value=value, n=1, detectable=0.0), value, value, value)


def _stable(gate: Stable, seen: Observations) -> Finding:
    finding = _started(gate, f"change ≤ {100 * gate.within:g} %")
    before, after = seen.baseline.facts.get(gate.metric), seen.candidate.facts.get(gate.metric)
    if before is None or after is None:
        return finding
    if not (math.isfinite(before) and math.isfinite(after)):
        return _not_a_number(finding)
    change = abs(after - before)
    said = f"{before:g} became {after:g}"
    finding = replace(finding, value=after, baseline=before, difference=after - before, n=1, said=said, detectable=0.0)
    if change <= gate.within * abs(before) + ROUNDING:
        return replace(finding, verdict=Verdict.PASS, reason=Reason.REACHED)
    return replace(finding, verdict=Verdict.FAIL, reason=Reason.NOT_REACHED)


def _worst(gate: Gate, seen: Observations) -> tuple[Worst, ...]:
    """Return the questions that speak most against the candidate, the worst first, ties by id."""
    left, right = _both(gate, seen)
    texts = dict(seen.questions)
    ids = seen.timed if gate.metric == LATENCY else [question_id for question_id, _ in seen.questions]
    high_is_bad = gate.metric == LATENCY or (isinstance(gate, Level) and gate.at_least is None)
    ranked: list[tuple[float, Worst]] = []
    for question_id, a, b in zip(ids, left, right, strict=True):
        if b is None or (a is None and gate.rule != "level"):
            continue
        lower = -b if gate.rule == "level" else (a or 0.0) - b
        against = -lower if high_is_bad else lower
        if against > 0.0 or gate.rule == "level":
            ranked.append((against, Worst(question_id, texts.get(question_id, ""), a, b)))
    ranked.sort(key=lambda item: (-item[0], item[1].question_id))
    return tuple(worst for _, worst in ranked[:WORST])


def _points(gate: Gate, value: float, *, sign: bool = False) -> str:
    """Return a difference in words: percent of a latency, points (hundredths, `pt`) of anything else."""
    shown = f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"
    return f"{shown.removesuffix('.0')} {'%' if gate.metric == LATENCY else 'pt'}"


def _bounds(gate: Level) -> str:
    unit = " ms" if gate.metric == LATENCY else ""
    if gate.at_least is not None and gate.at_most is not None:
        return f"{gate.at_least:g} … {gate.at_most:g}{unit}"
    return f"≥ {gate.at_least:g}{unit}" if gate.at_least is not None else f"≤ {gate.at_most:g}{unit}"
