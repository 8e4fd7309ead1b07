"""Figures of a seal derived again from its rows: findings, verdicts, looks, routing.

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

from bakeoff import foreseen, gates, relook, rules, withheld
from bakeoff.cases import MEANS
from bakeoff.difference import Difference
from bakeoff.findings import Finding, Judgement, Observations, Observed
from bakeoff.rollout import OPEN, Phase
from bakeoff.sealed import ARMS, Live, Sealed, differ

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
    body = _UNTIMED if seal.record("judgement")["body"]["timings"] is None else seal.record("timings")["body"]
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
    again, body = judged(seal), seal.predicate["records"]["judgement"]["body"]
    told = body["findings"]
    places = {row["question_id"]: number for number, row in enumerate(seal.cases("baseline"))}
    yield from differ([item.gate for item in again.findings], [item["gate"] for item in told][: len(again.findings)],
                      f"{_PATH}.findings")  # fmt: skip
    for number, item in enumerate(again.findings):
        figures = {
            **withheld.finding(plain(item), places),
            "said": told[number].get("said"),
        }  # its words may change from version to version
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

    Under the wall clock a header or a process's BAKEOFF_RAG decides, too, which nothing records: there an outcome is
    measured by its step alone, and `unexplained` counts the arms.
    """
    if seal.predicate["rollout"] is None:
        return
    simulated = seal.predicate["rollout"]["clock"] == "simulated"
    history = _History(seal)
    for number, item in enumerate(seal.live()):
        at = datetime.fromisoformat(item.at)
        steps = sorted({state["step"] for state in history.running(at)})
        if item.step not in steps:
            yield Difference(f"rows:.outcomes[{number}][1]", f"step {' or '.join(map(str, steps))}", str(item.step))
        arms = sorted(history.arms(item, at)) if simulated else []
        if arms and item.arm not in arms:
            expected = f"{' or '.join(arms)}, by its bucket {item.bucket}"
            yield Difference(f"rows:.outcomes[{number}][2]", expected, item.arm)


def unexplained(seal: Sealed) -> str | None:
    """Return in words how many arms can't be derived again, or None where there are none."""
    rollout = seal.predicate["rollout"]
    if rollout is None or rollout["clock"] == "simulated":
        return None
    history, outcomes = _History(seal), seal.live()
    alone = sum(item.unit is None for item in outcomes)
    others = sum(
        item.unit is not None and item.arm not in history.arms(item, datetime.fromisoformat(item.at))
        for item in outcomes
    )
    if not alone + others:
        return None
    return (
        f"steps hold; of {len(outcomes)} arms {others} are not those of bucket, kill switch and forced units, and "
        f"{alone} name no unit: headers, BAKEOFF_RAG and request ids are not recorded"
    )


class _History:
    """What routed when: the rollout's states, and what people said beside it."""

    def __init__(self, seal: Sealed) -> None:
        simulated = seal.predicate["rollout"]["clock"] == "simulated"
        self._slack = timedelta(0) if simulated else SLACK
        self._since = [datetime.fromisoformat(item["since"]) for item in seal.events]
        self._states = [item["body"]["state"] for item in seal.events]
        self._said: dict[Any, list[tuple[datetime, str | None]]] = {}
        for item in seal.routing:
            at = datetime.fromisoformat(item["at"])
            if item["event"] in _KILLED:
                self._said.setdefault(_SWITCH, []).append((at, _KILLED[item["event"]]))
            elif item["unit"] is not None:
                self._said.setdefault(item["unit"], []).append((at, item["arm"]))

    def running(self, at: datetime) -> list[dict[str, Any]]:
        """Return the states that routed at *at*, give or take what clocks differ by."""
        first, last = bisect_left(self._since, at - self._slack) - 1, bisect_right(self._since, at + self._slack)
        return [state for state in self._states[max(first, 0) : last] if Phase(state["phase"]) in OPEN]

    def arms(self, item: Live, at: datetime) -> set[str]:
        """Return the arms that *item* may have been routed to at *at*; none where no unit is named."""
        if item.bucket is None:
            return set()
        by_bucket = {ARMS[item.bucket < state["weight_bp"]] for state in self.running(at)}
        found: set[str] = set()
        for forced in self._held(item.unit, at):
            found |= by_bucket if forced is None else {forced}
        switched = self._held(_SWITCH, at)
        return {arm for arm in switched if arm is not None} | (found if None in switched else set())

    def _held(self, topic: Any, at: datetime) -> set[str | None]:
        """Return the arms that what was said on *topic* may have fixed at *at*; None: it fixed none."""
        words = self._said.get(topic, [])
        before = [arm for since, arm in words if since <= at - self._slack]
        return {before[-1] if before else None} | {arm for since, arm in words if abs(since - at) <= self._slack}


_SWITCH = "switch"
_KILLED = {"killed": ARMS[0], "unkilled": None}
"""The arm that the kill switch fixes."""


def nothing(_: Sealed) -> None:
    """Say that nothing is left unchecked."""


Check = Callable[[Sealed], Iterator[Difference]]
Left = Callable[[Sealed], str | None]

CHECKS: tuple[tuple[str, str, Check, Left], ...] = (
    ("foresight again", foreseen.SAID, foreseen.again, nothing),
    ("findings again", "every gate's finding and interval follows from the rows", findings, nothing),
    ("looks again", "every finding of every look follows from the outcomes that it knew", relook.again, relook.left),
    ("routing again", "every outcome is of the arm and step that routing gave it", routing, unexplained),
)
"""Each with what it says where all holds, and with what says what of it could not be checked."""
