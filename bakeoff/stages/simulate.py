"""Rehearse a plan's rollout on recorded cases, before any traffic moves: how often and how soon a fault is caught.

Callers may rely on: whatever comes of it says that it is simulated; it is judged by the code that judges live; equal
recordings, plan, options and seed give equal figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from bakeoff import live, plan, rehearsal
from bakeoff.adapters import evaluations, recorded, records, rollouts
from bakeoff.adapters.evaluations import Run
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import About, Record
from bakeoff.errors import ConfigError, NotKnownError
from bakeoff.rehearsal import Rehearsal
from bakeoff.simulation import UNITS, Fault, Pool
from bakeoff.strategy import Strategy

AS_GOOD = "as good as the baseline"
"""Both arms are drawn from the baseline's cases."""
AS_EVALUATED = "as evaluated"
"""Each arm is drawn from its own cases."""
LABEL = "simulated: recorded cases drawn again, no real traffic"

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Both arms' pools, baseline first, and where they come from."""

    pools: tuple[Pool, Pool]
    quality: str | None
    """Which figure of a case its quality is; None: none was measured."""
    source: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """What is simulated; None: as the plan has it."""

    faults: tuple[Fault, ...] = ()
    traffic_per_hour: float | None = None
    replays: int = 1000
    seed: int | None = None
    monitor_hours: float | None = None
    """How long the whole rollout takes."""
    from_rollout: str | None = None
    """Draw from the outcomes of this rollout, not from the evaluations."""
    units: int = UNITS
    """People who ask."""


def pools_of(conn: Connection, stored: Stored) -> tuple[Pool, Pool]:
    """Return the recorded cases of both arms of a plan, baseline first: of the runs that were judged, if there are.

    A rollout measures anew while it goes on: newer runs must not change the traffic that is drawn for it.
    """
    found = records.latest(conn, "judgement", About(plan_sha256=stored.plan_sha256))
    sides = ("baseline", "candidate")
    runs = None if found is None else [evaluations.find(conn, found.body[side]["run_id"]) for side in sides]
    return recorded_of(conn, stored, runs).pools


def recorded_of(conn: Connection, stored: Stored, runs: Sequence[Run] | None = None) -> Recorded:
    """Return the cases that were recorded of a plan's locks: those of *runs*, or the newest; and its timings.

    Raises NotKnownError where a side was not evaluated on them.
    """
    runs = runs or [_run_of(conn, stored, side) for side in ("baseline", "candidate")]
    record = records.latest(conn, "timings", About(plan_sha256=stored.plan_sha256))
    timed = None
    if record is not None:
        names = record.body["questions"]
        timed = [dict(zip(names, record.body[f"{side}_ms"], strict=True)) for side in ("baseline", "candidate")]
    pools, quality = recorded.of_runs(conn, runs, timed)
    source = {
        "baseline_run": runs[0].run_id,
        "candidate_run": runs[1].run_id,
        "timings_record": None if record is None else record.record_id,
    }
    return Recorded((pools[0], pools[1]), quality, source)


def _run_of(conn: Connection, stored: Stored, side: str) -> Run:
    fixed = stored.plan
    arm = fixed.baseline if side == "baseline" else fixed.candidate
    ground = evaluations.Ground(fixed.questions.sha256, fixed.corpus_sha256, fixed.gold_share)
    run = evaluations.for_plan(conn, arm.config_hash, ground)
    if run is None:
        raise NotKnownError(
            f"{side} {arm.name} ({arm.config_hash}) has no finished evaluation on the plan's questions "
            f"{fixed.questions.name}: there is nothing to draw simulated traffic from",
            hint=f"bakeoff evaluate --lock {arm.config_hash} --questions FILE",
        )
    return run


def _of_rollout(conn: Connection, ref: str) -> Recorded:
    found = rollouts.find(conn, ref)
    pools = recorded.of_rollout(conn, found.rollout_id, 0), recorded.of_rollout(conn, found.rollout_id, 1)
    return Recorded(pools, "quality", {"rollout": found.rollout_id, "clock": found.clock})


def run(
    conn: Connection, stored: Stored, *, options: Options, now: datetime, progress: Progress = lambda *_: None
) -> Record:
    """Play the plan's rollout with a good candidate, the evaluated one, and one for each fault; store the figures.

    Sequences are tuned as they will be live, to the traffic that the plan expects, in what is played and in what the
    plan sees. Raises NotKnownError where a side was not evaluated, ConfigError where traffic, replays, hours or a fault
    can't be used.
    """
    fixed = stored.plan
    traffic = fixed.traffic_per_hour if options.traffic_per_hour is None else options.traffic_per_hour
    strategy = fixed.rollout if options.monitor_hours is None else fixed.rollout.stretched(options.monitor_hours)
    seed = fixed.seed if options.seed is None else options.seed
    _check_hours(options.faults, strategy.hours)
    found = recorded_of(conn, stored) if options.from_rollout is None else _of_rollout(conn, options.from_rollout)
    same = found.pools[0], found.pools[0]
    prepared = live.prepare(strategy, fixed.traffic_per_hour)
    good = Rehearsal(prepared, same, traffic, seed, units=options.units)
    rows = [(AS_GOOD, good), (AS_EVALUATED, replace(good, pools=found.pools))]
    rows += [(f"as good, with {fault}", replace(good, fault=fault)) for fault in options.faults]
    body = {
        "kind": "simulation",
        "simulated": True,
        "label": LABEL,
        "plan_sha256": stored.plan_sha256,
        "strategy": strategy.strategy,
        "hours": strategy.hours,
        "look_every_hours": strategy.look_every_hours,
        "alpha": strategy.alpha,
        "watched": {name: rule.base_rate for name, rule in sorted(strategy.watch.items())},
        "traffic_per_hour": traffic,
        "tuned_to": fixed.traffic_per_hour,
        "people": options.units,
        "seed": seed,
        "quality": found.quality,
        "source": found.source,
        "recorded": {side: _figures(pool) for side, pool in zip(("baseline", "candidate"), found.pools, strict=True)},
        "left_out": list(rehearsal.left_out(strategy)),
        "rows": _played(rows, options.replays, progress),
        "sight": [item.model_dump(mode="json") for item in _sight(fixed, strategy, traffic)],
    }
    about = About(stored.plan_sha256, fixed.candidate.config_hash)
    return records.add(conn, "simulation", body, about=about, at=now)


def _sight(fixed: plan.Plan, strategy: Strategy, traffic_per_hour: float) -> tuple[plan.StepSight, ...]:
    """Return what the plan sees of this traffic within these hours, by looks that are tuned to its own."""
    tuned_to = fixed.traffic_per_hour
    if (strategy, traffic_per_hour) == (fixed.rollout, tuned_to):
        return fixed.steps
    return plan.steps(strategy, traffic_per_hour=traffic_per_hour, seed=fixed.seed, tuned_to=tuned_to)


def _check_hours(faults: Sequence[Fault], hours: float) -> None:
    """Raise ConfigError where a fault would begin after the rollout's end: nobody would ever see it."""
    late = next((fault for fault in faults if fault.at_hour >= hours), None)
    if late is not None:
        raise ConfigError(
            f"fault {late}: the rollout is over after {hours:g} hours", hint="a fault begins within the rollout"
        )


def _figures(pool: Pool) -> dict[str, Any]:
    """Return what a pool is like; None: not measured."""
    rated, timed = (values[~np.isnan(values)] for values in (pool.quality, pool.latency_ms))
    return {
        "cases": len(pool),
        "quality": round(float(rated.mean()), 6) if len(rated) else None,
        "without_error": round(float(pool.ok.mean()), 6),
        "p95_latency_ms": round(float(np.percentile(timed, 95)), 3) if len(timed) else None,
    }


def _played(rows: list[tuple[str, Rehearsal]], count: int, progress: Progress) -> list[dict[str, Any]]:
    """Return the figures of every row."""
    for _, one in rows:
        rehearsal.check(one)  # all of them before the first is played
    found = []
    for number, (name, one) in enumerate(rows):

        def step(done: int, before: int = number * count) -> None:
            progress("replays", before + done, len(rows) * count)

        harm = None if one.fault is None else asdict(one.fault)
        found.append({"candidate": name, "harm": harm, **rehearsal.replays(one, count, progress=step).body()})
    return found
