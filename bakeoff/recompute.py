"""Figures of a seal derived again from its rows: findings, verdicts, routing.

Callers may rely on: what is derived is compared with what was sealed to 1e-12, so a number that was edited and signed
again is found and named; the gates, the seed and the resamples are the plan's. The rows of later measurements are not
sealed: of a recheck only the verdict follows from its findings.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from bakeoff import gates, rules
from bakeoff.cases import MEANS
from bakeoff.difference import Difference
from bakeoff.findings import Finding, Judgement, Observations, Observed
from bakeoff.rollout import OPEN, Phase
from bakeoff.sealed import ARMS, Sealed, differ

_PATH = ".predicate.records.judgement.body"
_UNTIMED = {"questions": (), "baseline_ms": (), "candidate_ms": ()}
SLACK = timedelta(seconds=6)
"""By how much an outcome may be ahead of the history of a wall clock, which counts whole seconds."""


def judged(seal: Sealed) -> Judgement:
    """Return what the plan's gates say of the sealed rows, timings and facts."""
    plan = seal.predicate["plan"]["body"]
    profile = rules.parse(plan["gates"], source="the sealed plan")
    return gates.judge(profile, observations(seal), seed=plan["seed"])


def observations(seal: Sealed) -> Observations:
    """Return both arms side by side, as the judgement saw them."""
    plan = seal.predicate["plan"]["body"]
    timed = seal.predicate["records"]["timings"]
    body = _UNTIMED if seal.record("judgement")["body"]["timings"] is None else timed["body"]
    other = {row["question_id"]: row for row in seal.cases("candidate")}
    left = seal.cases("baseline")
    sides = {"baseline": left, "candidate": [other[row["question_id"]] for row in left]}
    facts = (seal.rows or {})["facts"]
    seen = {arm: Observed(_values(sides[arm]), facts[arm], body[f"{arm}_ms"]) for arm in ARMS}
    return Observations(
        questions=[(row["question_id"], row["question"]) for row in left],
        baseline=seen["baseline"],
        candidate=seen["candidate"],
        timed=body["questions"],
        expected=rules.owed(plan["questions"]["measurable"], timed=plan["timed"]),
    )


def _values(cases: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    return {metric: [case[metric] for case in cases] for metric in MEANS}


def findings(seal: Sealed) -> Iterator[Difference]:
    """Yield where a sealed finding is not what the gate says of the rows."""
    again, body = judged(seal), seal.record("judgement")["body"]
    told = body["findings"]
    yield from differ([item.gate for item in again.findings], [item["gate"] for item in told][: len(again.findings)],
                      f"{_PATH}.findings")  # fmt: skip
    for number, item in enumerate(again.findings):
        figures = {**plain(item), "said": told[number].get("said")}  # its words may change from version to version
        yield from differ(figures, told[number], f"{_PATH}.findings[{number}]", close=True)
    yield from differ(_gates(again.warnings), _gates(body["warnings"]), f"{_PATH}.warnings")


def _gates(warnings: Iterable[str]) -> list[str]:
    return [said.partition(":")[0] for said in warnings]


def plain(finding: Finding) -> dict[str, Any]:
    """Return a finding as a judgement keeps it."""
    body = asdict(finding)
    words = {name: body[name].value for name in ("severity", "verdict", "reason")}
    return {**body, **words, "worst": list(body["worst"])}


# --- Routing --------------------------------------------------------------------------------------------------------


def routing(seal: Sealed) -> Iterator[Difference]:
    """Yield where an outcome is not of the arm that its bucket had, or not of the step that was running.

    Under the wall clock a header, a forced unit or a kill switch decides, too, which a seal does not hold: there an
    outcome is measured by its step alone.
    """
    if seal.predicate["rollout"] is None:
        return
    simulated = seal.predicate["rollout"]["clock"] == "simulated"
    slack = timedelta(0) if simulated else SLACK
    since = [datetime.fromisoformat(item["at"]) for item in seal.events]
    states = [item["body"]["state"] for item in seal.events]
    for number, item in enumerate(seal.live()):
        at = datetime.fromisoformat(item.at)
        first, last = bisect_left(since, at - slack) - 1, bisect_right(since, at + slack)
        running = [state for state in states[max(first, 0) : last] if Phase(state["phase"]) in OPEN]
        steps = sorted({state["step"] for state in running})
        if item.step not in steps:
            yield Difference(f"rows:.outcomes[{number}][1]", f"step {' or '.join(map(str, steps))}", str(item.step))
        arms = sorted({ARMS[item.bucket < state["weight_bp"]] for state in running if item.bucket is not None})
        if simulated and arms and item.arm not in arms:
            expected = f"{' or '.join(arms)}, by its bucket {item.bucket}"
            yield Difference(f"rows:.outcomes[{number}][2]", expected, item.arm)


CHECKS: tuple[tuple[str, str, Callable[[Sealed], Iterator[Difference]]], ...] = (
    ("findings again", "every finding and interval follows from the rows", findings),
    ("routing again", "every outcome is of the arm and step that routing gave it", routing),
)
