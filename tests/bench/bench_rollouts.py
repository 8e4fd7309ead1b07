"""What a 48-hour rollout sees, and how often it is wrong; writes artifacts/bench/rollouts.json.

Run: `python -m tests.bench.bench_rollouts [--write]`; `--write` fills runbooks/what-a-rollout-sees.md too.
Steps and looks are those of configs/rollouts/48h.yaml at 200 questions an hour. Good candidates: three gates share the
error (errors and quality as yes/no outcomes of one base rate, and p95 latency), margins 0, which is where a false alarm
is likeliest; 1,000 whole rollouts for each base rate go through the live code. Drops of quality from hour 0: 1,000
rollouts each with the quality gate's third of the error. The best: the same sequence on 20,000 other rollouts, computed
here anew with arrays, with the scale of its mixture chosen for that very drop; both scales see the same draws. What
`plan` prints has to be found by then: the drop that it calls detectable by the end of a step, on those draws.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.special import log_ndtr

from bakeoff import live, plan, rehearsal, report, strategy
from bakeoff.live import Prepared
from bakeoff.rehearsal import Rehearsal, Rehearsed
from bakeoff.sequential import MINIMUM_PER_ARM
from bakeoff.simulation import Fault, Pool
from bakeoff.strategy import Strategy
from tests.bench import common

FILE = common.ROOT / "configs" / "rollouts" / "48h.yaml"
PAGE = common.ROOT / "runbooks" / "what-a-rollout-sees.md"
MARK = "<!-- made by tests/bench/bench_rollouts.py --write: {} -->"
TRAFFIC = 200.0
BASES = (0.5, 0.8, 0.9)
MARGINS = (0.0, 0.02, 0.05)
DROPS = (0.05, 0.10, 0.20)
REPLAYS = 1000
DRAWS = 20_000
GATES = 3
CASES = 1000
SEED = 7
SCALES = 2.0 ** np.arange(-4.0, 4.25, 0.25)
"""Times the planned scale: those that the best one is looked for among."""
POWER = 0.8
PLANNED = 2_000
"""Replays that a plan finds its figures with."""
ALPHA = 0.05
OF_BEST = 0.95

Floats = NDArray[np.float64]


def rollout(**watch: dict[str, Any]) -> Strategy:
    """Return the 48-hour strategy that watches *watch*; each of fewer than three gates has the third of the error."""
    given = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    alpha = given["alpha"] * len(watch) / GATES
    return strategy.parse({**given, "watch": watch, "alpha": alpha}, source=str(FILE))


def pool(rate: float) -> Pool:
    """Return cases of which exactly *rate* are without error, and as many well answered."""
    rng = np.random.default_rng(SEED)
    good = np.arange(CASES) < round(rate * CASES)
    return Pool(good, np.exp(rng.normal(5.0, 0.5, CASES)), rng.permutation(good).astype(np.float64))


def answered(rate: float) -> Pool:
    """Return cases without errors or timings, of which exactly *rate* are well answered."""
    good = np.arange(CASES) < round(rate * CASES)
    return Pool(np.ones(CASES, dtype=np.bool_), np.full(CASES, np.nan), good.astype(np.float64))


def false_alarms(base: float) -> dict[str, Any]:
    """Play good candidates with three gates."""
    rule = {"margin": 0.0, "base_rate": base}
    prepared = live.prepare(rollout(errors=rule, quality=rule, latency_p95={"margin": 0.0}), TRAFFIC)
    same = pool(base)
    found = rehearsal.replays(Rehearsal(prepared, (same, same), TRAFFIC, SEED), REPLAYS)
    return {"base_rate": base, **figures(found)}


def figures(found: Rehearsed) -> dict[str, Any]:
    """Return what is kept of a row."""
    body = found.body()
    kept = ("rolled_back", "completed", "held", "share", "share_low", "share_high", "hours", "users", "because")
    return {name: body[name] for name in kept}


@dataclass(frozen=True, slots=True)
class Paths:
    """The sequence of many rollouts at each look: draws by row."""

    position: Floats
    weight: Floats
    variance: Floats

    def found(self, margin: float, alpha: float, rho: float, looks: int | None = None) -> float:
        """Return the share that some of the first *looks* finds below the margin."""
        position, weight, v = (part[:, :looks] for part in (self.position, self.weight, self.variance))
        inflated = 1.0 + v * rho * rho
        scaled = -(position + margin * weight) * rho / np.sqrt(inflated)
        evidence = math.log(2.0) - 0.5 * np.log(inflated) + 0.5 * scaled * scaled + log_ndtr(scaled)
        return float(np.mean((evidence > -math.log(alpha)).any(axis=1)))


def looks_of(given: Strategy) -> list[int]:
    """Return how many looks each step has."""
    return [round(step.hours / given.look_every_hours) for step in given.steps]


def paths(given: Strategy, rates: tuple[float, float], seed: int, *, from_look: int = 0) -> Paths:
    """Draw rollouts with these shares of good outcomes, the candidate's as the baseline's before *from_look*.

    A step adds once each arm has enough; it weighs n m / (n + m), by the baseline's variance.
    """
    rng = np.random.default_rng((SEED, seed))
    planned = rates[0] * (1.0 - rates[0])
    every: list[tuple[Floats, ...]] = []
    before: tuple[Floats, ...] = (np.zeros((DRAWS, 1)),) * 3
    first = 0
    for step, looks in zip(given.steps, looks_of(given), strict=True):
        share = step.percent / 100.0
        sizes, means, spreads = [], [], []
        late = first + np.arange(looks) >= from_look
        truth = np.full(looks, rates[0]), np.where(late, rates[1], rates[0])
        for rate, part in zip(truth, (1.0 - share, share), strict=True):
            arrived = rng.poisson(TRAFFIC * given.look_every_hours * part, (DRAWS, looks))
            n = np.cumsum(arrived, axis=1).astype(np.float64)
            yes = np.cumsum(rng.binomial(arrived, rate), axis=1)
            centre = (yes + 1.0) / (n + 2.0)
            sizes.append(n)
            means.append(yes / np.maximum(n, 1.0))
            spreads.append(centre - centre * centre)
        (n, m), (one, other) = sizes, spreads
        pooled = (n * one + m * other) / np.maximum(n + m, 1.0)
        variance = np.maximum(one, pooled) / np.maximum(n, 1.0) + np.maximum(other, pooled) / np.maximum(m, 1.0)
        enough = np.minimum(n, m) >= MINIMUM_PER_ARM
        gained = np.where(enough, n * m / np.maximum(n + m, 1.0) / planned, 0.0)
        added = gained * (means[1] - means[0]), gained, gained * gained * variance
        every.append(tuple(old + new for old, new in zip(before, added, strict=True)))
        before = tuple(part[:, -1:] for part in every[-1])
        first += looks
    return Paths(*(np.concatenate(parts, axis=1) for parts in zip(*every, strict=True)))


def drop(base: float, margin: float, lost: float) -> dict[str, Any]:
    """Play candidates that lose quality from hour 0, beside the best that any scale reaches."""
    given = rollout(quality={"margin": margin, "base_rate": base})
    prepared = live.prepare(given, TRAFFIC)
    same = answered(base)
    played = Rehearsal(prepared, (same, same), TRAFFIC, SEED, Fault("quality", -lost))
    found = rehearsal.replays(played, REPLAYS)
    drawn = paths(given, (base, base - lost), 1)
    rho, alpha = prepared.rhos["quality"], prepared.alpha
    planned = drawn.found(margin, alpha, rho)
    best, scale = max((drawn.found(margin, alpha, rho * scale), float(scale)) for scale in SCALES)
    return {
        "base_rate": base,
        "margin": margin,
        "drop": lost,
        **figures(found),
        "arrays_share": planned,
        "best_share": best,
        "best_scale": round(scale, 4),
        "of_best": round(planned / best, 4) if best else None,
    }


def printed(base: float, margin: float) -> list[dict[str, Any]]:
    """Return how often the drop that a plan calls detectable by the end of each step is found by then."""
    given = rollout(quality={"margin": margin, "base_rate": base})
    prepared: Prepared = live.prepare(given, TRAFFIC)
    ends = np.cumsum(looks_of(given)).tolist()
    rows = []
    for sight in plan.steps(given, traffic_per_hour=TRAFFIC, seed=SEED):
        if sight.detectable is None:
            continue
        drawn = paths(given, (base, base - sight.detectable), 2)
        share = drawn.found(margin, prepared.alpha, prepared.rhos["quality"], ends[sight.step - 1])
        step = {"base_rate": base, "margin": margin, "step": sight.step, "hour": ends[sight.step - 1]}
        rows.append({**step, "detectable": sight.detectable, "found": round(share, 4)})
    return rows


def noise(share: float, n: int) -> float:
    """Return three deviations of a share of *n*."""
    return 3.0 * math.sqrt(share * (1.0 - share) / n)


def missed(result: dict[str, Any]) -> list[str]:
    """Return in words every bar that was not met."""
    words = [
        f"good candidates at {row['base_rate']}: {row['share']:.1%} rolled back, above {ALPHA:.0%}"
        for row in result["false_alarms"]
        if row["share"] > ALPHA
    ]
    for row in result["drops"]:
        what = f"drop {row['drop']:.0%} at base {row['base_rate']}, margin {row['margin']:.0%}"
        if row["drop"] > row["margin"] and row["of_best"] < OF_BEST:
            words.append(f"{what}: {row['arrays_share']:.3f} found, {row['of_best']:.1%} of the best")
        gap = abs(row["share"] - row["arrays_share"])
        if gap > max(noise(row["arrays_share"], REPLAYS), 0.01):
            words.append(f"{what}: the live code finds {row['share']:.3f}, the arrays {row['arrays_share']:.3f}")
    words += [
        f"step {row['step']} at base {row['base_rate']}, margin {row['margin']:.0%}: a drop of "
        f"{row['detectable']:.3f} is called detectable and found in {row['found']:.1%}"
        for row in result["printed"]
        if row["found"] < POWER - noise(POWER, PLANNED)
    ]
    return words


def tables(result: dict[str, Any]) -> list[report.Table]:
    """Return the tables of the page."""
    good = [
        (f"{row['base_rate']:g}", f"{row['share']:.1%}", f"[{row['share_low']:.1%}, {row['share_high']:.1%}]")
        for row in result["false_alarms"]
    ]
    lost = [
        (
            f"{row['base_rate']:g}",
            f"{100 * row['margin']:.0f} pt",
            f"{100 * row['drop']:.0f} pt",
            f"{row['share']:.1%}",
            "–" if row["hours"] is None else f"{row['hours'][1]:.0f}",
            "–" if row["users"] is None else f"{row['users'][1]:,.0f}",
            f"{row['best_share']:.1%}" if row["drop"] > row["margin"] else "allowed",
        )
        for row in result["drops"]
    ]
    seen = [
        (f"{row['base_rate']:g}", f"{100 * row['margin']:.0f} pt", row["step"], row["hour"],
         f"{100 * row['detectable']:.1f} pt", f"{row['found']:.1%}")
        for row in result["printed"]
    ]  # fmt: skip
    heads = ("base rate>", "margin>", "drop>", "rolled back>", "median hours>", "people who saw it>", "best possible>")
    return [
        report.table("Good candidates rolled back", ("base rate>", "rolled back>", "95 % interval>"), good),
        report.table("Candidates that lose quality from hour 0", heads, lost),
        report.table(
            "What a plan calls detectable with 80 % power, and how often it is found",
            ("base rate>", "margin>", "step>", "by hour>", "detectable>", "found by then>"),
            seen,
        ),
    ]


def write(made: list[report.Table]) -> None:
    """Put the tables between the marks of the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in zip(("good", "drops", "plan"), made, strict=True):
        begin, end = MARK.format(f"{name} begins"), MARK.format(f"{name} ends")
        head, _, rest = text.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            raise SystemExit(f"{PAGE}: expected {begin} and {end}")
        text = f"{head}{begin}\n{table.markdown().partition(chr(10) * 2)[2]}{end}{tail}"
    PAGE.write_text(text, encoding="utf-8")


def measured() -> dict[str, Any]:
    """Measure everything."""
    result: dict[str, Any] = {"machine": common.machine(), "simulated": True, "traffic_per_hour": TRAFFIC}
    result |= {"replays": REPLAYS, "draws": DRAWS, "gates": GATES, "seed": SEED}
    seconds = common.timed(lambda: result.update(false_alarms=[false_alarms(base) for base in BASES]))
    result["seconds_of_1000_replays"] = round(seconds / len(BASES), 1)
    result["drops"] = [drop(base, margin, lost) for base in BASES for margin in MARGINS for lost in DROPS]
    result["printed"] = [row for base in BASES for margin in MARGINS for row in printed(base, margin)]
    return result | {"missed": missed(result)}


def main() -> int:
    """Measure, print, save; return how many bars were missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    given = parser.parse_args()
    result = measured()
    common.save("rollouts", result)
    made = tables(result)
    for table in made:
        print(table.terminal(width=130))
        print()
    if given.write:
        write(made)
    for words in result["missed"]:
        print(f"missed: {words}")
    return len(result["missed"])


if __name__ == "__main__":
    raise SystemExit(main())
