"""Live outcomes in a real database: all of an input or nothing, nothing twice, what a look needs, whole days pruned."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import numpy as np
import pytest

from bakeoff import canary, live, strategy
from bakeoff.adapters import live_outcomes, plans, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import InputError
from bakeoff.live import ArmSeen, StepSeen
from bakeoff.rollout import Abort, Action, Advance, Event, Look, Start
from bakeoff.sequential import Sums
from bakeoff.stages import observe
from bakeoff.strata import Together, Units, Values
from bakeoff.verdicts import Verdict
from tests import moved, support
from tests.moved import after

WATCHING = strategy.parse(
    {
        "strategy": "timed",
        "watch": {
            "errors": {"margin": 0.01, "base_rate": 0.99},
            "quality": {"margin": 0.05, "base_rate": 0.8},
            "latency_p95": {"margin": 0.25},
        },
        "steps": [{"percent": 10, "hours": 16}, {"percent": 100, "hours": 32}],
    },
    source="test",
)


@pytest.fixture
def connected(database_url: str) -> Iterator[Connection]:
    """An autocommit connection, as stages have; moves are written at the instants that the tests give them."""
    with support.connector(database_url)() as conn:
        moved.recorded_as_told(conn)
        yield conn


@pytest.fixture
def stored(connected: Connection, database_url: str) -> Stored:
    """A plan that watches everything."""
    return moved.planned(connected, moved.sides(database_url), WATCHING)


@pytest.fixture
def found(connected: Connection, stored: Stored) -> Rollout:
    """A rollout at its first step."""
    return moved.started(connected, stored)


def line(hours: float, arm: str = "baseline", **keys: Any) -> dict[str, Any]:
    """An outcome so many hours after the beginning."""
    return {"at": after(hours).isoformat(), "arm": arm, "ok": True, **keys}


def take(conn: Connection, found: Rollout, lines: list[dict[str, Any]], *, hours: float = 100.0) -> observe.Observed:
    """Take in *lines* as an input of their own, so many hours after the beginning."""
    text = "".join(json.dumps(item) + "\n" for item in lines)
    return observe.run(conn, found, io.BytesIO(text.encode()), source="test", now=lambda: after(hours))


def send(conn: Connection, found: Rollout, event: Event, at: datetime) -> Rollout:
    """Give *event* to the rules and store what follows."""
    outcome = canary.step(plans.find(conn, found.plan_sha256).plan.rollout, found.state, event, at)
    assert outcome.accepted, outcome.said
    return rollouts.move(conn, found, event, outcome, at=at)


def stored_rows(url: str) -> list[tuple[Any, ...]]:
    """Everything that is stored."""
    return support.rows(url, "SELECT arm, step, ok, unit, latency_ms, quality FROM outcomes ORDER BY at, outcome_id")


def test_what_is_read_is_what_was_said(connected: Connection, found: Rollout, database_url: str) -> None:
    """Every figure, a name that is hard to write, and nothing where nothing was measured."""
    name = "a\\b\u00e9 '\"{}%s"
    took = take(
        connected, found, [line(1, unit=name, latency_ms=12.5, quality=0.25, id=name), line(2, "candidate", ok=False)]
    )
    assert (2, 0, 0) == (took.added.stored, took.added.known, took.late)
    assert [(0, 1, True, name, 12.5, 0.25), (1, 1, False, None, None, None)] == stored_rows(database_url)
    assert [(name,)] == support.rows(database_url, "SELECT outcome_id FROM outcomes WHERE arm = 0")


def test_nothing_is_stored_twice(connected: Connection, found: Rollout) -> None:
    """The same input again, with ids or without; equal lines of one input are as many as they are."""
    lines = [line(1, id="x"), line(1, id="y"), line(2), line(2), line(2), line(3)]
    assert (6, 0) == (take(connected, found, lines).added.stored, take(connected, found, lines).added.stored)
    more = take(connected, found, [*lines, line(2), line(1, id="x"), line(4)])
    assert (2, 7) == (more.added.stored, more.added.known)


def test_a_broken_line_stores_nothing(connected: Connection, found: Rollout, database_url: str) -> None:
    """In the middle of 50,000: its number is said, and neither rows nor partitions stay."""
    lines = [line(index / 10_000) for index in range(50_000)]
    lines[33_332]["latency_ms"] = -1
    with pytest.raises(InputError, match="test:33333: latency_ms is -1, expected a number from 0"):
        take(connected, found, lines)
    assert [] == stored_rows(database_url)
    assert [] == live_outcomes.days(connected, before=date(2030, 1, 1))
    assert 0 == take(connected, found, []).added.read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff\n", "test:1: not UTF-8 at byte 0"),
        (b"\n  \n" + b"x" * 70_000, "test:3: a line of more than 65536 bytes"),
        (b"\n{}", "test:2: no arm and no ok"),
    ],
    ids=["bytes", "long", "blank before"],
)
def test_what_is_no_line_is_refused(connected: Connection, found: Rollout, text: bytes, said: str) -> None:
    """With its number; blank lines are counted and skipped."""
    with pytest.raises(InputError, match=said):
        observe.run(connected, found, io.BytesIO(text), source="test", now=lambda: after(1))


def test_an_outcome_is_of_the_step_of_its_time(connected: Connection, found: Rollout, database_url: str) -> None:
    """However late it comes; after the end it is counted and left out."""
    green = Look(Action.GO, Verdict.PASS, 1000, "fine", rechecked=True)
    second = send(connected, send(connected, found, green, after(16)), Advance(), after(16))
    ended = send(connected, second, Abort("ada", "enough"), after(20))
    took = take(connected, ended, [line(15.9), line(16), line(19.9, "candidate"), line(20), line(30)])
    assert (3, 2) == (took.added.stored, took.late)
    assert [1, 2, 2] == [row[1] for row in stored_rows(database_url)]


def test_a_simulated_clock_has_no_now(connected: Connection, stored: Stored) -> None:
    """Outcomes of its future are taken, up to a year and a bit after its start."""
    simulated = rollouts.start(connected, stored, Start("ada", "test"), clock="simulated", at=moved.BEGAN)
    assert 1 == take(connected, simulated, [line(40)], hours=0).added.stored
    with pytest.raises(InputError, match="in the future"):
        take(connected, simulated, [line(24 * 500)], hours=0)


def test_a_look_sees_what_was_stored(connected: Connection, found: Rollout) -> None:
    """Sums, units, crossings and ranks are those of the lines themselves; what is later than the look is not seen."""
    rng = np.random.default_rng(3)
    lines = []
    for index in range(3_000):
        keys: dict[str, Any] = {"ok": bool(rng.random() < 0.9), "latency_ms": float(rng.integers(1, 10**6)) / 8}
        if index % 3:
            keys["unit"] = f"u{rng.integers(400)}"
        if index % 2:
            keys["quality"] = float(rng.integers(0, 5)) / 4
        lines.append(line(index / 1000, ("baseline", "candidate")[int(rng.random() < 0.2)], id=str(index), **keys))
    take(connected, found, lines)
    until = after(2.5)
    kept = [item for item in lines if datetime.fromisoformat(item["at"]) <= until]
    prepared = live.prepare(WATCHING, 1000.0)
    (seen,) = live_outcomes.seen(connected, found.rollout_id, until=until, prepared=prepared, step=1)
    arms = [[item for item in kept if item["arm"] == arm] for arm in ("baseline", "candidate")]
    crossing = len(
        {item["unit"] for item in arms[0] if "unit" in item} & {item["unit"] for item in arms[1] if "unit" in item}
    )
    assert StepSeen(1, by_hand(arms[0]), by_hand(arms[1]), crossing) == StepSeen(
        1, without_latency(seen.baseline), without_latency(seen.candidate), seen.crossing
    )
    assert crossing > 0
    for arm, side in enumerate((seen.baseline, seen.candidate)):
        ordered = sorted(item["latency_ms"] for item in arms[arm])
        assert len(ordered) == len(side.latency)
        for rank in live.wanted(prepared, 1, arm, len(ordered), side.up_to):
            assert ordered[rank - 1] == side.latency[rank - 1]
        middle = ordered[math.ceil(0.95 * len(ordered)) - 1]
        up_to = values([(item.get("unit"), float(item["latency_ms"] <= middle)) for item in arms[arm]])
        assert {"latency_p95": up_to} == side.up_to
    found_by_hand = [StepSeen(1, by_hand(arms[0], timed=True), by_hand(arms[1], timed=True), crossing)]
    assert live.judge(prepared, found_by_hand, now=until, step=1, step_began_at=moved.BEGAN) == live.judge(
        prepared, [seen], now=until, step=1, step_began_at=moved.BEGAN
    )


def without_latency(side: ArmSeen) -> ArmSeen:
    """The same arm, untimed."""
    return ArmSeen(side.errors, side.quality, (), side.units, side.last_at)


def by_hand(lines: list[dict[str, Any]], *, timed: bool = False) -> ArmSeen:
    """What is known of one arm, counted in Python."""
    rated = [item for item in lines if "quality" in item]
    ordered = sorted(item["latency_ms"] for item in lines)
    middle = ordered[math.ceil(0.95 * len(ordered)) - 1]
    up_to = {"latency_p95": values([(item.get("unit"), float(item["latency_ms"] <= middle)) for item in lines])}
    return ArmSeen(
        values([(item.get("unit"), float(item["ok"])) for item in lines]),
        values([(item.get("unit"), item["quality"]) for item in rated]),
        ordered if timed else (),
        len({item["unit"] for item in lines if "unit" in item}),
        max(datetime.fromisoformat(item["at"]) for item in lines),
        up_to if timed else {},
    )


def values(given: list[tuple[str | None, float]]) -> Values:
    """The sums of values, by unit; one without a unit is a unit of its own."""
    units: dict[object, list[float]] = {}
    for index, (unit, value) in enumerate(given):
        units.setdefault(index if unit is None else unit, []).append(value)
    totals = [(sum(one), float(len(one))) for one in units.values()]
    squares = (sum(a * a for a, _ in totals), sum(a * b for a, b in totals), sum(b * b for _, b in totals))
    return Values(Sums.of([value for _, value in given]), Units(len(totals), *squares))


def test_people_who_come_back_are_known_from_earlier_steps(
    connected: Connection, found: Rollout, database_url: str
) -> None:
    """What the units of a step have in common with those of each arm of the steps before, by hand the same."""
    rng = np.random.default_rng(4)
    green = Look(Action.GO, Verdict.PASS, 1000, "fine", rechecked=True)
    second = send(connected, send(connected, found, green, after(16)), Advance(), after(16))
    lines = [
        line(
            hours,
            ("baseline", "candidate")[int(rng.random() < 0.4)],
            id=f"{hours}-{index}",
            unit=f"u{rng.integers(30)}",
            ok=bool(rng.random() < 0.7),
            **({"quality": float(rng.integers(0, 5)) / 4} if index % 2 else {}),
        )
        for hours in (1, 17)
        for index in range(200)
    ]
    take(connected, second, lines)
    assert [(1,), (2,)] == support.rows(database_url, "SELECT DISTINCT step FROM outcomes ORDER BY step")
    first, later = live_outcomes.seen(connected, found.rollout_id, until=after(20))
    assert () == first.baseline.errors.earlier == first.candidate.quality.earlier
    for arm, side in (("baseline", later.baseline), ("candidate", later.candidate)):
        for name, mine in (("ok", side.errors), ("quality", side.quality)):
            cells = [
                cell(lines, 17, arm, name),
                *(cell(lines, 1, before, name) for before in ("baseline", "candidate")),
            ]
            assert (
                tuple(
                    Together(
                        1,
                        number,
                        *(
                            sum(cells[0][u][i] * before[u][j] for u in cells[0].keys() & before)
                            for i in (0, 1)
                            for j in (0, 1)
                        ),
                    )
                    for number, before in enumerate(cells[1:])
                )
                == mine.earlier
            )


def cell(lines: list[dict[str, Any]], hours: float, arm: str, name: str) -> dict[str, tuple[float, float]]:
    """By unit the sum of values of one arm at one hour, and how many there are."""
    found: dict[str, tuple[float, float]] = {}
    for item in lines:
        if (item["arm"], item["id"].split("-")[0]) == (arm, str(hours)):
            total, size = found.get(item["unit"], (0.0, 0.0))
            has = name in item
            found[item["unit"]] = (total + float(item[name]) if has else total, size + has)
    return found


def test_outcomes_that_only_the_baseline_has_are_left_out(connected: Connection, found: Rollout) -> None:
    """Without a unit always means the baseline: counted, not compared, and no silence; of both arms they are kept."""
    lines = [line(1, "baseline", id=f"b{index}", unit=f"u{index}", latency_ms=9.0) for index in range(90)]
    lines += [line(1, "candidate", id=f"c{index}", unit=f"v{index}", latency_ms=9.0) for index in range(10)]
    lines += [line(2, "baseline", id=f"n{index}", latency_ms=1.0) for index in range(40)]
    take(connected, found, lines)
    prepared = live.prepare(WATCHING, 1000.0)
    (seen,) = live_outcomes.seen(connected, found.rollout_id, until=after(3), prepared=prepared, step=1)
    assert (90, 40, 90, 90) == (
        seen.baseline.errors.n,
        seen.baseline.left_out,
        seen.baseline.units,
        len(seen.baseline.latency),
    )
    assert (10, 0, after(2)) == (seen.candidate.errors.n, seen.candidate.left_out, seen.baseline.last_at)
    take(connected, found, [line(2, "candidate", id=f"m{index}", latency_ms=1.0) for index in range(4)])
    (seen,) = live_outcomes.seen(connected, found.rollout_id, until=after(3), prepared=prepared, step=1)
    assert (130, 0, 90, 130) == (
        seen.baseline.errors.n,
        seen.baseline.left_out,
        seen.baseline.units,
        len(seen.baseline.latency),
    )
    assert (14, 0) == (seen.candidate.errors.n, seen.candidate.left_out)


def test_little_is_seen_of_little(connected: Connection, found: Rollout) -> None:
    """Nothing at all, and one arm without a timing."""
    prepared = live.prepare(WATCHING, 1000.0)
    assert [] == live_outcomes.seen(connected, found.rollout_id, until=after(9), prepared=prepared, step=1)
    take(connected, found, [line(1, "candidate", id="x")])
    (seen,) = live_outcomes.seen(connected, found.rollout_id, until=after(9), prepared=prepared, step=1)
    assert (0, 1, 0) == (seen.baseline.errors.n, seen.candidate.errors.n, len(seen.candidate.latency))
    assert () == live_outcomes.seen(connected, found.rollout_id, until=after(9))[0].candidate.latency
