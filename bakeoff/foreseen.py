"""What a plan said that it would see, derived again from its gates, its questions and its traffic.

Callers may rely on: figures of gates are those that the plan's own code computes; of the steps the outcomes that were
expected are, what could be seen of them is not: that is a simulation of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from bakeoff import canonical, foresight, plan, rules, strategy
from bakeoff.difference import Difference
from bakeoff.sealed import Sealed, differ
from bakeoff.strategy import Strategy

SAID = "what gates see and how many outcomes steps expect follows; not checked: what steps see, a simulation"
_PATH = ".predicate.plan.body"
_ROUNDED = 2e-6
"""By how much figures may be apart that were rounded to six digits."""


def again(seal: Sealed) -> Iterator[Difference]:
    """Yield where what a gate can see, or how many outcomes a step expects, does not follow from the plan."""
    body = seal.predicate["plan"]["body"]
    profile = rules.parse(body["gates"], source="the sealed plan")
    counts = {**body["questions"]["measurable"], rules.LATENCY: body["timed"]}
    for number, item in enumerate(plan.sight(profile, counts)):
        told, path = body["sight"][number], f"{_PATH}.sight[{number}]"
        yield from differ(item.n, told["n"], f"{path}.n")
        shown = told["detectable"]
        same = None not in {shown, item.detectable} and abs(float(shown) - float(item.detectable or 0.0)) <= _ROUNDED
        if not same:
            yield from differ(item.detectable, shown, f"{path}.detectable")
        yield from differ(item.blind, told["blind"], f"{path}.blind")
    yield from _expected(seal)


def _expected(seal: Sealed) -> Iterator[Difference]:
    """Yield where a step expects other outcomes than its share of the traffic."""
    body = seal.predicate["plan"]["body"]
    rollout = Strategy.model_validate_json(canonical.encode(body["rollout"]))
    expected = {}
    for row in strategy.timetable(rollout):
        arms = foresight.looks(row, rollout, body["traffic_per_hour"])
        expected[row.number] = [sum(look[arm] for look in arms) for arm in (0, 1)]
    for number, item in enumerate(body["steps"]):
        told = [item["baseline_outcomes"], item["candidate_outcomes"]]
        for name, one, other in zip(("baseline", "candidate"), expected[item["step"]], told, strict=True):
            yield from differ(one, other, f"{_PATH}.steps[{number}].{name}_outcomes")
