"""How long one routing decision takes, beside two flag libraries; writes artifacts/bench/routing.json.

Run: `python -m tests.bench.bench_routing`. Every call is timed by itself, in batches that take turns, and nothing is
subtracted: what the timer costs is a row of its own. The same units, 10 % to the candidate: GrowthBook with a forced
value and a coverage, OpenFeature's in-memory provider with a rule that draws our bucket. Then how long after its commit
a router in another process sees a change, 20 times. Bars: p50 at most 5 µs, p99 at most 10 µs, seen within a second.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from time import monotonic_ns, perf_counter_ns
from typing import Any

import numpy as np

from bakeoff import routing
from bakeoff.adapters import policies
from bakeoff.routing import Arm, Policy
from tests import moved
from tests.bench import common, page

CALLS, BATCHES, WARM = 2_000, 50, 500
CHANGES = 20
TIMER = "the timer alone"
POLICY = Policy("r20260105-1", 3, "r20260105-1.aaaaaaaaaaaa", 1000, "b" * 16, "c" * 16)
KEY = "candidate"
ROUTER = """
import sys, time
from bakeoff.adapters.watcher import Watcher
with Watcher(sys.argv[1]) as watcher:
    seen = watcher.policy
    print("ready", flush=True)
    for _ in range(int(sys.argv[2])):
        while watcher.policy == seen:
            time.sleep(0.0002)
        print(time.monotonic_ns(), flush=True)
        seen = watcher.policy
"""
"""A router of its own: it prints when it saw each change, by the clock that all processes of a machine share."""

Call = Callable[[str], bool]


def growthbook() -> Call:
    """Return GrowthBook's decision, with one instance for all calls, which is faster than one a request."""
    from growthbook import GrowthBook

    rule = {"force": True, "coverage": POLICY.weight_bp / routing.BUCKETS, "hashAttribute": "id"}
    features = {KEY: {"defaultValue": False, "rules": [rule]}}
    found = GrowthBook(features=features)

    def call(unit: str) -> bool:
        found.set_attributes({"id": unit})
        return bool(found.eval_feature(KEY).value)

    return call


def openfeature() -> Call:
    """Return OpenFeature's decision, with its details."""
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.flag_evaluation import FlagResolutionDetails
    from openfeature.flag_evaluation import Reason as Because
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

    def rule(flag: InMemoryFlag[bool], context: EvaluationContext) -> FlagResolutionDetails[bool]:
        inside = routing.bucket(POLICY.salt, context.targeting_key or "") < POLICY.weight_bp
        name = "on" if inside else "off"
        return FlagResolutionDetails(value=flag.variants[name], reason=Because.SPLIT, variant=name)

    flag = InMemoryFlag("off", {"on": True, "off": False}, context_evaluator=rule)
    api.set_provider(InMemoryProvider({KEY: flag}))
    client = api.get_client()

    def call(unit: str) -> bool:
        context = EvaluationContext(targeting_key=unit)
        return bool(client.get_boolean_details(KEY, default_value=False, evaluation_context=context).value)

    return call


def calls() -> dict[str, Call]:
    """Return what is timed, by name."""
    forced = POLICY._replace(forced={f"tester-{n}": Arm.CANDIDATE for n in range(1000)})
    return {
        TIMER: lambda _: False,
        "decide": lambda unit: routing.decide(POLICY, client_id=unit).arm is Arm.CANDIDATE,
        "decide, 1,000 forced units, a header": lambda unit: (
            routing.decide(forced, client_id=unit, request_id=unit, header="?").arm is Arm.CANDIDATE
        ),
        "decide, as metadata": lambda unit: (
            routing.as_metadata(routing.decide(POLICY, client_id=unit))["arm"] == "candidate"
        ),
        f"growthbook {version('growthbook')}": growthbook(),
        f"openfeature-sdk {version('openfeature-sdk')}": openfeature(),
    }


def batch(call: Call, units: Sequence[str]) -> list[int]:
    """Return the nanoseconds of each call."""
    spent = []
    for unit in units:
        began = perf_counter_ns()
        call(unit)
        spent.append(perf_counter_ns() - began)
    return spent


def decisions() -> list[dict[str, Any]]:
    """Return the times of a decision of each kind, with the share that it gave the candidate."""
    units = [f"user-{n}" for n in range(CALLS * BATCHES)]
    spent: dict[str, list[int]] = {}
    kinds = calls()
    for call in kinds.values():
        batch(call, units[:WARM])
    for number in range(BATCHES):
        some = units[number * CALLS : (number + 1) * CALLS]
        for name, call in kinds.items():
            spent.setdefault(name, []).extend(batch(call, some))
    rows = []
    for name, call in kinds.items():
        p50, p99 = (float(np.quantile(spent[name], q)) / 1000 for q in (0.5, 0.99))
        share = None if name == TIMER else sum(call(unit) for unit in units[:10_000]) / 10_000
        rows.append({"what": name, "p50_us": round(p50, 2), "p99_us": round(p99, 2), "share": share})
    return rows


def seen_ms() -> list[float]:
    """Return how many milliseconds after its commit a router in another process saw each of the changes."""
    waited = []
    with common.bench() as bench, bench.connect() as conn, tempfile.TemporaryDirectory() as folder:
        moved.started(conn, moved.planned(conn, moved.sides(bench.url)))
        line = [sys.executable, "-c", ROUTER, bench.url, str(CHANGES)]
        with subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise SystemExit("the router in the other process did not start")
            for number in range(CHANGES):
                policies.say(conn, "unkilled" if number % 2 else "killed", by="bench", reason="bench")
                committed = monotonic_ns()
                waited.append((int(process.stdout.readline()) - committed) / 1e6)
    return waited


def main() -> None:
    """Measure, print, save."""
    result: dict[str, Any] = {"machine": common.machine(), "calls": CALLS * BATCHES, "rows": decisions()}
    waited = seen_ms()
    result |= {"changes": CHANGES, "seen_ms": {"median": float(np.median(waited)), "most": max(waited)}}
    common.save("routing", result)
    for found in page.routing(result):
        print(found.terminal(width=120))
        print()


if __name__ == "__main__":
    main()
