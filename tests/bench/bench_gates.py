"""How often gates are wrong, on pairs with real discordance and a known truth; writes artifacts/bench/gates.json.

Run: `python -m tests.bench.bench_gates [BASELINE.json CANDIDATE.json]`, two evaluation artifacts of the same questions;
without them the demo is ingested and evaluated in a database of its own. Each of 1,000 draws takes as many questions as
there are, with replacement, and permutes the arms' labels question by question, which makes "no difference" true; a
loss turns the candidate's value to 0 on random questions (of yes/no figures: that both arms had right), growth
multiplies its timings. Bars: no difference fails at the stated rate at most; a loss as large as the margin passes at
that rate at most; the loss that is called detectable fails in 80 % +- 3 of the draws, each for one gate alone and with
Holm over five; 10,000 resamples of 1,000 pairs in less than a second.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bakeoff import paired, power, stats
from bakeoff.cases import YES_NO
from bakeoff.paired import Paired
from bakeoff.power import Rule
from bakeoff.rules import LATENCY
from tests.bench import common

DRAWS = 1000
RESAMPLES = 2000
"""Fewer than a gate's 10,000, so that the rates take minutes; the p-values of both differ by noise."""
ALPHA = 0.05
POWER = 0.8
MARGINS = {
    "oracle_retrieval_hit_prefilter": 0.09,
    "filter_hit_postfilter": 0.09,
    "reader_used_gold": 0.09,
    "f1": 0.06,
    "precision": 0.06,
    LATENCY: 0.5,
}
"""The demo's gates."""
TOGETHER = [metric for metric in MARGINS if metric != LATENCY]

Floats = NDArray[np.float64]


def permuted(rng: np.random.Generator, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Draw so many questions with replacement, and whether each has its arms swapped."""
    return np.asarray(rng.integers(0, count, count)), np.asarray(rng.random(count) < 0.5)


@dataclass(frozen=True, slots=True)
class Gate:
    """A figure of all questions in both arms, NaN where it is undefined, and its margin."""

    metric: str
    margin: float
    both: Floats

    def rule(self, gates: int) -> Rule:
        """Return the decision rule beside so many gates."""
        return Rule(self.margin, 0.0, ALPHA, ALPHA / gates)

    @property
    def used(self) -> int:
        """Questions with a value in both arms."""
        return int(np.isfinite(self.both).all(axis=0).sum())

    def drawn(
        self, rng: np.random.Generator, rows: NDArray[np.int64], swapped: NDArray[np.bool_], loss: float
    ) -> Floats:
        """Return both arms of the questions *rows*, labels permuted, with *loss* taken from the candidate."""
        arms = self.both[:, rows]
        arms = np.where(swapped, arms[::-1], arms)
        if self.metric == LATENCY:
            return np.stack([arms[0], arms[1] * (1.0 + loss)])
        able = (np.nan_to_num(arms) == 1.0).all(axis=0) if self.metric in YES_NO else np.isfinite(arms).all(axis=0)
        hit = able & (rng.random(len(rows)) < loss / self.losable)
        return np.stack([arms[0], np.where(hit, 0.0, arms[1])])

    @property
    def losable(self) -> float:
        """What would be lost if every question that can lose did."""
        arms = self.both[:, np.isfinite(self.both).all(axis=0)]
        return float((arms == 1.0).all(axis=0).mean() if self.metric in YES_NO else arms.mean())

    def compared(self, arms: Floats, seed: int) -> Paired:
        """Compare as the gate does."""
        left, right = ([None if math.isnan(value) else value for value in side] for side in arms.tolist())
        if self.metric == LATENCY:
            return paired.p95_ratio(left, right, margin=self.margin, alpha=ALPHA, seed=seed)
        if self.metric in YES_NO:
            return paired.yes_no(left, right, margin=self.margin, alpha=ALPHA)
        return paired.mean(left, right, margin=self.margin, alpha=ALPHA, seed=seed, resamples=RESAMPLES)

    def spread(self, loss: float) -> float:
        """Return a question's deviation at *loss*: with labels permuted, losses and all; of timings a measured mean."""
        rng = np.random.default_rng(1)
        count = self.both.shape[1]
        found = []
        for seed in range(40):
            arms = self.drawn(rng, *permuted(rng, count), loss)
            found.append(self.compared(arms, seed).spread or 0.0)
        return statistics.fmean(found)

    def detectable(self, gates: int) -> float | None:
        """Return the loss that is called detectable when discordance or spread are assumed as they are."""
        rule = self.rule(gates)
        if self.metric in YES_NO:
            values = self.both[:, np.isfinite(self.both).all(axis=0)]
            discordance = float((values[0] != values[1]).mean())
            return power.detectable_yes_no(self.used, discordance=discordance, rule=rule, power=POWER)
        loss = 0.0
        for _ in range(4):  # losses add to the spread: assume the spread at the loss itself
            shown = power.detectable_p95_ratio if self.metric == LATENCY else power.detectable_mean
            loss = shown(self.used, spread=self.spread(loss), rule=rule, power=POWER)
        return loss


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


def gates() -> list[Gate]:
    """Return the demo's gates with the figures of both arms, question by question."""
    arms = [{case["question_id"]: case for case in artifact["case_results"]} for artifact in artifacts()]

    def value(case: dict[str, Any], metric: str) -> float:
        found = case["latency_ms"]["total"] if metric == LATENCY else case[metric]
        return math.nan if found is None else float(found)

    return [
        Gate(metric, margin, np.array([[value(arm[key], metric) for key in arms[0]] for arm in arms]))
        for metric, margin in MARGINS.items()
    ]


def rates(all_gates: list[Gate]) -> tuple[list[dict[str, Any]], float]:
    """Return what each gate did over all draws, and how often any of those judged together failed for nothing."""
    losses = {gate.metric: (gate.detectable(1), gate.detectable(len(TOGETHER))) for gate in all_gates}
    counts: dict[str, dict[str, int]] = {
        gate.metric: dict.fromkeys(("no", "margin", "one", "five"), 0) for gate in all_gates
    }
    family = 0
    count = all_gates[0].both.shape[1]
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        rows, swapped = permuted(rng, count)
        null = {gate.metric: gate.compared(gate.drawn(rng, rows, swapped, 0.0), seed) for gate in all_gates}
        family += any(failed(null[metric], null, metric) for metric in TOGETHER)
        for gate in all_gates:
            seen = counts[gate.metric]
            seen["no"] += failed(null[gate.metric], {}, gate.metric)
            at_margin = gate.compared(gate.drawn(rng, rows, swapped, gate.margin), seed)
            seen["margin"] += at_margin.p_margin is not None and at_margin.p_margin <= ALPHA
            for key, loss, others in zip(("one", "five"), losses[gate.metric], ({}, null), strict=True):
                if loss is not None:
                    found = gate.compared(gate.drawn(rng, rows, swapped, loss), seed)
                    seen[key] += failed(found, others, gate.metric)
    return [row(gate, losses[gate.metric], counts[gate.metric]) for gate in all_gates], family / DRAWS


def failed(found: Paired, others: dict[str, Paired], metric: str) -> bool:
    """Say whether a gate fails, alone or with Holm over it and *others*."""
    assert found.p_loss is not None
    assert found.p_margin is not None
    beside = [other.p_loss for name, other in others.items() if name in TOGETHER and name != metric]
    family = [found.p_loss, *(p for p in beside if p is not None)][: len(TOGETHER)]
    return found.p_margin > ALPHA and stats.holm(family)[0] <= ALPHA


def row(gate: Gate, losses: tuple[float | None, float | None], counts: dict[str, int]) -> dict[str, Any]:
    """Return the rates of one gate."""
    return {
        "metric": gate.metric,
        "questions": gate.used,
        "margin": gate.margin,
        "false_fail": counts["no"] / DRAWS,
        "pass_at_margin": counts["margin"] / DRAWS,
        "detectable_alone": losses[0],
        "fails_there_alone": counts["one"] / DRAWS,
        "detectable_of_five": losses[1],
        "fails_there_of_five": counts["five"] / DRAWS,
    }


def bootstrap_seconds() -> float:
    """Return the median seconds of 10,000 resamples of 1,000 pairs."""
    rng = np.random.default_rng(7)
    left, right = (np.where(rng.random(1000) < 0.7, rng.random(1000), 0.0).tolist() for _ in range(2))
    return statistics.median(
        common.timed(lambda: paired.mean(left, right, margin=0.05, alpha=ALPHA, seed=7)) for _ in range(9)
    )


def main() -> None:
    """Measure, print, save."""
    result: dict[str, Any] = {"machine": common.machine(), "draws": DRAWS, "resamples": RESAMPLES, "alpha": ALPHA}
    result["bootstrap_10000_of_1000_pairs_s"] = round(bootstrap_seconds(), 4)
    result["gates"], result["any_of_five_fails_for_nothing"] = rates(gates())
    common.save("gates", result)
    shown = [
        [
            one["metric"],
            one["questions"],
            f"{one['false_fail']:.1%}",
            f"{one['pass_at_margin']:.1%}",
            *("-" if one[name] is None else f"{one[name]:.3f}" for name in ("detectable_alone",)),
            f"{one['fails_there_alone']:.1%}",
            *("-" if one[name] is None else f"{one[name]:.3f}" for name in ("detectable_of_five",)),
            f"{one['fails_there_of_five']:.1%}",
        ]
        for one in result["gates"]
    ]
    columns = ["gate", "n>", "false fail>", "pass at margin>", "detectable>", "failed>", "of five>", "failed>"]
    common.table(f"Error rates over {DRAWS} draws (bars: ≤ 5 %, ≤ 5 %, 80 % ± 3)", columns, shown)
    extra = [
        ["any of five gates fails for nothing", f"{result['any_of_five_fails_for_nothing']:.1%}", "≤ 5 %"],
        ["10,000 resamples of 1,000 pairs, s", f"{result['bootstrap_10000_of_1000_pairs_s']:.3f}", "< 1"],
    ]
    common.table("Together", ["figure", "measured>", "bar>"], extra)


if __name__ == "__main__":
    main()
