"""How often gates are wrong, on pairs with real discordance and a known truth; writes artifacts/bench/gates.json.

Run: `python -m tests.bench.bench_gates [BASELINE.json CANDIDATE.json]`, two evaluation artifacts of the same questions;
without them the demo is ingested and evaluated in a database of its own. Each of 1,000 draws takes as many questions as
there are, with replacement, and permutes the arms' labels question by question, which makes "no difference" true; a
loss turns the candidate's value to 0 on random questions (of yes/no figures: that both arms had right), growth
multiplies its timings. Timings are drawn smoothed: of a few hundred the same ones would come several times, and a 95th
percentile would hop between a dozen values, as that of real timings does not. What a gate can detect is what
`plan.sight` says of the demo's gates with these questions, where each gate assumes what these pairs show: their
discordance, the spread at a loss as large as the margin, that of their timings. Bars: no difference fails at the stated
rate at most; a loss as large as the margin passes at that rate at most; the loss that is called detectable fails in
80 % +- 3 of the draws, each for one gate alone and with Holm over all. A rate of one gate alone that misses its bar by
what 1,000 draws may do by chance is drawn again, 5,000 times.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bakeoff import gates as judging
from bakeoff import paired, plan, power, rules, stats
from bakeoff.cases import YES_NO
from bakeoff.findings import Observations, Observed
from bakeoff.gold import Passage, Question, Span
from bakeoff.paired import Paired
from bakeoff.rules import LATENCY, NoWorse, Profile
from bakeoff.verdicts import Verdict
from tests.bench import common, page

DRAWS = 1000
MORE_DRAWS = 5000
RESAMPLES = 2000
"""Fewer than a gate's 10,000, so that the rates take minutes; the p-values of both differ by noise."""
PROCESSES = 2
CHECKED = 5
"""Draws that `gates.judge` judges too, whole: it has to say the same."""
WITHIN = 0.03
"""How far from the stated power the detectable loss may be failed."""

Floats = NDArray[np.float64]


def permuted(rng: np.random.Generator, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Draw so many questions with replacement, and whether each has its arms swapped."""
    return np.asarray(rng.integers(0, count, count)), np.asarray(rng.random(count) < 0.5)


@dataclass(frozen=True, slots=True)
class Figure:
    """A gate with its figure of all questions in both arms, NaN where it is undefined."""

    gate: NoWorse
    alpha: float
    both: Floats

    @property
    def defined(self) -> Floats:
        """The questions with a value in both arms."""
        return self.both[:, np.isfinite(self.both).all(axis=0)]

    def drawn(
        self, rng: np.random.Generator, rows: NDArray[np.int64], swapped: NDArray[np.bool_], loss: float
    ) -> Floats:
        """Return both arms of the questions *rows*, labels permuted, with *loss* taken from the candidate."""
        arms = self.both[:, rows]
        arms = np.where(swapped, arms[::-1], arms)
        if self.gate.metric == LATENCY:
            arms = arms * np.exp(self.jitter * rng.standard_normal(arms.shape))
            return np.stack([arms[0], arms[1] * (1.0 + loss)])
        yes_no = self.gate.metric in YES_NO
        able = (np.nan_to_num(arms) == 1.0).all(axis=0) if yes_no else np.isfinite(arms).all(axis=0)
        hit = able & (rng.random(len(rows)) < loss / self.losable)
        return np.stack([arms[0], np.where(hit, 0.0, arms[1])])

    @property
    def jitter(self) -> float:
        """Deviation by which logarithms of timings are moved: Silverman's bandwidth (1986), 0.9 s n^(-1/5)."""
        return float(0.9 * np.log(self.defined).std() * self.defined.shape[1] ** -0.2)

    @property
    def losable(self) -> float:
        """What would be lost if every question that can lose did."""
        arms = self.defined
        return float((arms == 1.0).all(axis=0).mean() if self.gate.metric in YES_NO else arms.mean())

    def compared(self, arms: Floats, seed: int) -> Paired:
        """Compare as the gate does."""
        left, right = values(arms)
        margin, alpha = self.gate.margin, self.alpha
        if self.gate.metric == LATENCY:
            return paired.p95_ratio(left, right, margin=margin, alpha=alpha, seed=seed)
        if self.gate.metric in YES_NO:
            return paired.yes_no(left, right, margin=margin, alpha=alpha)
        return paired.mean(left, right, margin=margin, alpha=alpha, seed=seed, resamples=RESAMPLES)

    def measured(self) -> NoWorse:
        """Return the gate with what it assumes for planning as these pairs show it."""
        if self.gate.metric in YES_NO:
            arms = self.defined
            return self.gate.model_copy(update={"discordance": float((arms[0] != arms[1]).mean())})
        rng = np.random.default_rng(1)
        shown = [
            self.compared(self.drawn(rng, *permuted(rng, self.both.shape[1]), self.gate.margin), seed).spread or 0.0
            for seed in range(100)
        ]
        spread = statistics.fmean(shown)
        return self.gate.model_copy(
            update={"spread": spread / power.p95_spread(1.0) if self.gate.metric == LATENCY else spread}
        )


def values(arms: Floats) -> tuple[list[float | None], list[float | None]]:
    """Return both arms as gates get them: None where there is no value."""
    left, right = ([None if math.isnan(value) else value for value in side] for side in arms.tolist())
    return left, right


def artifacts() -> list[dict[str, Any]]:
    """Return the two evaluations to take pairs from."""
    if len(sys.argv) > 2:
        return [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:3]]
    with common.bench() as bench:
        found = []
        for name in ("baseline", "candidate"):
            text = (common.ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
            lock = bench.lock(name, yaml.safe_load(text))
            bench.ingest(lock, "python")
            found.append(bench.evaluate(lock, str(common.ROOT / "configs" / "demo" / "questions.jsonl")).artifact)
        return found


def question(case: dict[str, Any]) -> Question:
    """Return the question of a case result."""
    gold = case["gold"]
    passages = [[Span(**span) for span in alternatives] for alternatives in gold["passages"]]
    return Question(
        case["question_id"],
        case["question"],
        passages=tuple(Passage(tuple(alternatives)) for alternatives in passages),
        answers=tuple(gold["answers"]),
        relevant=gold["relevant"],
        answerable=case["answerable"],
        need=gold["need"],
    )


def read() -> tuple[Profile, dict[str, int], list[Figure]]:
    """Return the demo's gates, how many questions each metric can be measured on, and the figures of both arms."""
    path = common.ROOT / "configs" / "demo" / "gates.yaml"
    profile = rules.parse(yaml.safe_load(path.read_text(encoding="utf-8")), source=str(path))
    arms = [{case["question_id"]: case for case in artifact["case_results"]} for artifact in artifacts()]
    asked = [question(case) for case in arms[0].values()]

    def value(case: dict[str, Any], metric: str) -> float:
        found = case["latency_ms"]["total"] if metric == LATENCY else case[metric]
        return math.nan if found is None else float(found)

    figures = [
        Figure(gate, profile.alpha, np.array([[value(arm[key], gate.metric) for key in arms[0]] for arm in arms]))
        for gate in profile.tested
    ]
    return profile, plan.measurable(asked), figures


def planned(profile: Profile, counts: dict[str, int], gates: Iterable[rules.Gate]) -> dict[str, plan.GateSight]:
    """Return what a plan says of *gates* in place of those of *profile*."""
    given = profile.model_copy(update={"gates": tuple(gates)})
    return {item.gate: item for item in plan.sight(given, counts)}


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses that a plan calls detectable: of one gate alone, and beside all others."""

    alone: float
    beside: float


@dataclass(frozen=True, slots=True)
class Work:
    """What every process of the bench has."""

    profile: Profile
    figures: list[Figure]
    losses: dict[str, Losses]


def failed(found: Paired, others: Iterable[Paired], alpha: float) -> bool:
    """Say whether a gate fails, with Holm over it and *others*."""
    family = [one.p_loss for one in (found, *others) if one.p_loss is not None]
    return not passed(found, alpha) and stats.holm(family)[0] <= alpha


def passed(found: Paired, alpha: float) -> bool:
    """Say whether a gate passes."""
    return found.p_margin is not None and found.p_margin <= alpha


def rates(work: Work, seeds: range) -> tuple[dict[str, Counter[str]], int]:
    """Return how often each gate did what over the draws of *seeds*, and how often any failed for nothing."""
    figures, alpha = work.figures, work.profile.alpha
    counts: dict[str, Counter[str]] = {figure.gate.name: Counter() for figure in figures}
    family = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rows, swapped = permuted(rng, figures[0].both.shape[1])
        null_arms = {one.gate.name: one.drawn(rng, rows, swapped, 0.0) for one in figures}
        null = {one.gate.name: one.compared(null_arms[one.gate.name], seed) for one in figures}
        for figure in figures:
            name = figure.gate.name
            others = [found for key, found in null.items() if key != name]
            at_margin, alone, beside = (
                figure.drawn(rng, rows, swapped, loss)
                for loss in (figure.gate.margin, work.losses[name].alone, work.losses[name].beside)
            )
            fails = failed(figure.compared(beside, seed), others, alpha)
            counts[name].update(
                no=failed(null[name], (), alpha),
                no_beside=failed(null[name], others, alpha),
                margin=passed(figure.compared(at_margin, seed), alpha),
                alone=failed(figure.compared(alone, seed), (), alpha),
                beside=fails,
            )
            if seed < CHECKED:
                agree(work.profile, null_arms | {name: beside}, name, seed, fails=fails)
        family += any(
            failed(found, [other for other in null.values() if other is not found], alpha) for found in null.values()
        )
    return counts, family


def agree(profile: Profile, arms: dict[str, Floats], name: str, seed: int, *, fails: bool) -> None:
    """Stop unless `gates.judge` finds of the gate *name* what was found here."""
    tested = profile.model_copy(update={"gates": profile.tested, "resamples": RESAMPLES})
    sides: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for gate in profile.tested:
        for side, found in zip(sides, values(arms[gate.name]), strict=True):
            side[gate.metric] = found
    asked = [(str(number), "") for number in range(len(arms[name][0]))]
    both = [Observed(side, {}, side[LATENCY]) for side in sides]
    judged = judging.judge(tested, Observations(asked, both[0], both[1], [key for key, _ in asked]), seed=seed)
    (finding,) = [item for item in judged.findings if item.gate == name]
    if (finding.verdict is Verdict.FAIL) != fails:
        raise SystemExit(f"draw {seed}: gates.judge says {finding.verdict} of {name}, this bench fails: {fails}")


def again(figure: Figure, loss: float, key: str) -> float:
    """Return one rate of a gate alone over more draws, none of them drawn before."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        seeds = [range(DRAWS + first, DRAWS + MORE_DRAWS, PROCESSES) for first in range(PROCESSES)]
        return sum(pool.map(counted, repeat(figure), repeat(loss), repeat(key), seeds)) / MORE_DRAWS


def counted(figure: Figure, loss: float, key: str, seeds: range) -> int:
    """Return in how many draws a gate passes (*key* `margin`), or else fails."""
    count = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        found = figure.compared(figure.drawn(rng, *permuted(rng, figure.both.shape[1]), loss), seed)
        count += passed(found, figure.alpha) if key == "margin" else failed(found, (), figure.alpha)
    return count


def borderline(rate: float, low: float, high: float) -> bool:
    """Say whether a rate lies outside low to high, but not by more than three deviations of the draws."""
    reach = [3.0 * math.sqrt(bound * (1.0 - bound) / DRAWS) for bound in (low, high)]
    return not low <= rate <= high and low - reach[0] <= rate <= high + reach[1]


def row(figure: Figure, gate: NoWorse, losses: Losses, seen: Counter[str], profile: Profile) -> dict[str, Any]:
    """Return the rates of one gate."""
    near = (profile.power - WITHIN, profile.power + WITHIN)
    asked = {"no": (0.0, (0.0, profile.alpha)), "margin": (gate.margin, (0.0, profile.alpha)),
             "alone": (losses.alone, near)}  # fmt: skip
    more = {key: again(figure, loss, key) for key, (loss, bar) in asked.items() if borderline(seen[key] / DRAWS, *bar)}
    return {
        "gate": gate.name,
        "metric": gate.metric,
        "questions": figure.defined.shape[1],
        "margin": gate.margin,
        "assumed": figure.gate.discordance or figure.gate.spread,
        "measured": gate.discordance or gate.spread,
        "false_fail": seen["no"] / DRAWS,
        "false_fail_beside": seen["no_beside"] / DRAWS,
        "pass_at_margin": seen["margin"] / DRAWS,
        "detectable_alone": losses.alone,
        "fails_there_alone": seen["alone"] / DRAWS,
        "detectable_beside": losses.beside,
        "fails_there_beside": seen["beside"] / DRAWS,
        "more_draws": more,
    }


def bootstrap_seconds() -> float:
    """Return the median seconds of 10,000 resamples of 1,000 pairs."""
    rng = np.random.default_rng(7)
    left, right = (np.where(rng.random(1000) < 0.7, rng.random(1000), 0.0).tolist() for _ in range(2))
    return statistics.median(
        common.timed(lambda: paired.mean(left, right, margin=0.05, alpha=0.05, seed=7)) for _ in range(9)
    )


def measured() -> dict[str, Any]:
    """Measure everything."""
    result: dict[str, Any] = {"machine": common.machine(), "draws": DRAWS, "more_draws": MORE_DRAWS}
    result["bootstrap_10000_of_1000_pairs_s"] = round(bootstrap_seconds(), 4)
    profile, counts, figures = read()
    gates = {figure.gate.name: figure.measured() for figure in figures}
    beside = planned(profile, counts, (gates.get(gate.name, gate) for gate in profile.gates))
    losses = {}
    for name, gate in gates.items():
        alone = planned(profile, counts, [gate])[name]
        if alone.detectable is None or beside[name].detectable is None:
            raise SystemExit(f"{name}: the plan calls no loss detectable")
        losses[name] = Losses(alone.detectable, beside[name].detectable or 0.0)
    work = Work(profile, figures, losses)
    with ProcessPoolExecutor(PROCESSES) as pool:
        parts = list(pool.map(rates, repeat(work), [range(first, DRAWS, PROCESSES) for first in range(PROCESSES)]))
    seen = {name: sum((counts[name] for counts, _ in parts), Counter[str]()) for name in gates}
    result |= {"resamples": RESAMPLES, "alpha": profile.alpha, "power": profile.power, "profile": profile.profile}
    result["gates"] = [row(one, gates[(n := one.gate.name)], losses[n], seen[n], profile) for one in figures]
    return result | {"any_fails_for_nothing": sum(family for _, family in parts) / DRAWS}


def main() -> None:
    """Measure, print, save."""
    result = measured()
    common.save("gates", result)
    for found in page.gates(result):
        print(found.terminal(width=130))
        print()


if __name__ == "__main__":
    main()
