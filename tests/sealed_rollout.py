"""The rollout of a sealed story: live outcomes, looks at them, routing, and what all of it adds up to."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bakeoff import canary, evidence, live, relook, rollout, sealed
from bakeoff import plan as planning
from bakeoff.rollout import Advance, Event, Look, Phase, Promote, Rollback, Start, State
from bakeoff.sealed import ARMS, Live
from tests.sealed_parts import BEGAN, RECHECKED, Options, iso, tree

BEGINS = 60.0
"""Minutes after the story began."""
PEOPLE = 200
WEIGHTS = {1: 5_000, 2: 10_000}


def _script(story: str) -> list[tuple[float, Event | None]]:
    """What happens when, in minutes from the start; None: a look."""
    start: list[tuple[float, Event | None]] = [(0, Start("ada", "go")), (60, None)]
    if story == "rolled_back":
        return [*start, (90, Rollback("ada", "enough"))]
    if story == "forced":
        start[0] = (0, Start("ada", "forced, the judgement is inconclusive: go"))
        hurry = Promote("ada", force=True, why="in a hurry")
        return [*start, (100, hurry), (160, None), (220, None), (220, Advance())]
    return [*start, (120, None), (120, Advance()), (180, None), (240, None), (240, Advance())]


def _second(script: list[tuple[float, Event | None]]) -> float:
    """When the second step began."""
    return next((at for at, event in script[1:] if isinstance(event, Promote | Advance)), script[-1][0])


def outcomes_of(rng: random.Random, options: Options, script: list[tuple[float, Event | None]]) -> list[Any]:
    """Live outcomes, each of the arm of its bucket, of people who come back."""
    last, second = script[-1][0], _second(script)
    buckets = [rng.randrange(10_000) for _ in range(PEOPLE)]
    numbers: dict[int, int] = {}
    found = []
    for number in range(options.outcomes):
        minutes = last * (number + 0.5) / options.outcomes
        step = 1 + (minutes >= second)
        who = None if number % 11 == 0 else rng.randrange(PEOPLE)
        unit = None if who is None else numbers.setdefault(who, len(numbers))
        bucket = None if who is None else buckets[who]
        arm = ARMS[bucket is not None and bucket < WEIGHTS[step]]
        latency = None if number % 7 == 0 else round(50 + 100 * rng.random(), 3)
        quality = round(rng.random(), 4) if number % 3 else None
        row = [iso(BEGINS + minutes), step, arm, bucket, rng.random() < 0.98, latency, quality, unit, number]
        found.append(row)
    return found


def looked(fixed: planning.Plan, rows: list[Any], state: State, at: datetime) -> Look:
    """What a look finds."""
    prepared = live.prepare(fixed.rollout, fixed.traffic_per_hour)
    known = relook.Known(prepared)
    seen = [Live(*row) for row in rows if datetime.fromisoformat(row[0]) <= at]
    for one in seen:
        known.add(one)
    made = live.judge(prepared, known.steps(state.step), now=at, step=state.step, step_began_at=state.step_began_at)
    return replace(made, known=len(seen), taken_at=at)


def history(
    fixed: planning.Plan, script: list[tuple[float, Event | None]], rows: list[Any]
) -> tuple[list[dict[str, Any]], State]:
    """The events of a rollout, and where they lead; for the first look the KPIs are measured anew."""
    state: State | None = None
    events: list[dict[str, Any]] = []
    for version, (minutes, told) in enumerate(script, start=1):
        at = BEGAN + timedelta(minutes=BEGINS + minutes)
        event = told
        if event is None:
            assert state is not None
            event = looked(fixed, rows, state, at)
            if version == 2:
                event = replace(event, findings=(*event.findings, *RECHECKED), rechecked=True)
        done = canary.step(fixed.rollout, state, event, at)
        if not done.accepted:  # too few outcomes to go on by
            event = Promote("ada", force=True, why="nobody asks")
            done = canary.step(fixed.rollout, state, event, at)
        assert done.accepted, done.said
        state = done.state
        body = {"event": rollout.body_of(event), "state": state.body(), "reason": done.reason.value, "said": done.said}
        when = at.isoformat()
        events.append({"version": version, "at": when, "since": when, "event": event.kind, "body": body})
        if state.phase is Phase.ROLLED_BACK:  # bad luck is found, too
            break
    assert state is not None
    return events, state


def rolled(
    rng: random.Random, options: Options, fixed: planning.Plan
) -> tuple[dict[str, Any] | None, list[Any], list[dict[str, Any]]]:
    """The rollout, its live outcomes, its events."""
    if options.story in ("judged", "stopped"):
        return None, [], []
    script = _script(options.story)
    rows = outcomes_of(rng, options, script)
    events, state = history(fixed, script, rows)
    rows = [row for row in rows if datetime.fromisoformat(row[0]) < state.last_at]
    made = {
        "rollout_id": "r20260102-1", "plan_sha256": fixed.digest, "salt": f"r20260102-1.{fixed.digest[:12]}",
        "clock": options.clock, "version": len(events), "state": state.body(), "events": events, "routing": [],
        "outcomes": summed(rows, events),
    }  # fmt: skip
    return made, rows, events


def summed(rows: list[Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    """What the outcomes add up to."""
    return {"by_step": sealed.by_step([Live(*row) for row in rows], events), "rows": tree(evidence.as_decimals(rows))}
