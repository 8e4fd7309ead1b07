"""A judged plan of two real locks, ready to be rolled out, and rollouts of it under a simulated clock."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bakeoff import strategy
from bakeoff.adapters import clock, locks, plans, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.rollouts import Clock, Rollout
from bakeoff.config import Lock
from bakeoff.rollout import Event
from bakeoff.stages import advance, answer, plan, recheck, watch
from bakeoff.stages.advance import Ticked
from bakeoff.strategy import Strategy
from tests import judged, planned, support
from tests.planned import GATES, Planned, copied
from tests.support import Connect

BEGAN = datetime.fromisoformat("2026-03-02T08:00:00+00:00")
OPTIONS = recheck.Options(cache_dir=support.CACHE)
TRAFFIC = 400.0
USUAL: Mapping[str, Any] = {
    "strategy": "short",
    "watch": {"errors": {"margin": 0.02, "base_rate": 0.98}, "quality": {"margin": 0.1, "base_rate": 0.6}},
    "steps": [{"percent": 20, "hours": 2}, {"percent": 50, "hours": 2}, {"percent": 100, "hours": 2}],
    "recheck_at_steps": False,
}
"""Six hours, looked at each hour; nothing is measured anew."""


def parsed(**given: Any) -> Strategy:
    """The usual strategy, changed."""
    return strategy.parse({**USUAL, **given}, source="test")


@dataclass(frozen=True)
class Rolled:
    """A database with a judged plan; the narrow lock is in production, the wide one wants to replace it."""

    made: Planned
    plan_sha256: str

    @property
    def url(self) -> str:
        """Where the database is."""
        return self.made.url

    @property
    def connect(self) -> Connect:
        """What stages take."""
        return support.connector(self.made.url)

    @property
    def stored(self) -> Stored:
        """The plan."""
        with self.connect() as conn:
            return plans.find(conn, self.plan_sha256)

    def start(self, *, clock: Clock = "simulated", now: datetime = BEGAN, **given: Any) -> Rollout:
        """Begin; nobody made probes, which is forced."""
        options: dict[str, Any] = {"by": "ada", "why": "a test", "force": True} | given
        with self.connect() as conn:
            return advance.start(conn, self.stored, clock=clock, now=lambda: now, **options)

    def found(self) -> Rollout:
        """The newest rollout as it is now."""
        with self.connect() as conn:
            return rollouts.find(conn)

    def tick(self, now: datetime, **options: Any) -> Ticked:
        """One turn of a controller."""
        return advance.tick(self.connect, rollouts.NEWEST, now=now, options=OPTIONS, **options)

    def act(self, event: Event, now: datetime) -> Rollout:
        """What a person asks for."""
        with self.connect() as conn:
            return advance.act(conn, rollouts.NEWEST, event, now=now)

    def drive(self, **options: Any) -> Ticked:
        """Let a simulated rollout go on until it ends."""
        around = watch.Around(options=OPTIONS)
        return watch.simulated(self.connect, rollouts.NEWEST, tell=lambda _: None, around=around, **options)

    def history(self) -> list[tuple[Any, ...]]:
        """All that happened, without numbers of rows."""
        with self.connect() as conn:
            found = rollouts.find(conn)
            return [(item.version, item.at, item.event, item.body) for item in rollouts.history(conn, found.rollout_id)]

    def told(self) -> list[str]:
        """What happened, in short."""
        return [f"{event}: {body['reason']}" for _, _, event, body in self.history()]

    def check(self) -> None:
        """The history makes the state."""
        with self.connect() as conn:
            rollouts.check_history(conn, rollouts.find(conn), self.stored.plan.rollout)

    def outcomes(self) -> list[tuple[Any, ...]]:
        """How many outcomes there are by step and arm, and what they add up to."""
        query = (
            "SELECT step, arm, count(*), count(DISTINCT outcome_id), sum(ok::int), min(at), max(at) FROM outcomes "
            "GROUP BY step, arm ORDER BY step, arm"
        )
        return support.rows(self.url, query)


class Steady:
    """Stands in for `time` where answers are timed: latencies do not depend on what else the machine does."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._turns = itertools.count()
        self._now = 0.0

    def perf_counter(self) -> float:
        """One to two milliseconds more than the last time, in seconds."""
        self._now += 0.001 + next(self._turns) * 37 % 101 / 101_000
        return self._now


def add_plan(
    made: Planned, rollout: Strategy, *, traffic: float = TRAFFIC, sides: tuple[Lock, Lock] | None = None
) -> Stored:
    """Plan the wide lock in place of the narrow one, or other *sides*."""
    with support.connector(made.url)() as conn:
        return plan.run(
            conn,
            plan.Sides(*(sides or (made.narrow, made.wide))),
            str(made.questions),
            (judged.profile(*GATES), rollout),
            now=support.NOW,
            options=plan.Options(traffic_per_hour=traffic, accept_known_scores=True),
        )


def judge(made: Planned, stored: Stored) -> Rolled:
    """Judge as a promotion asks for it; nobody made probes, so that it is no data."""
    assert "no_data" == made.judge(stored, promote_check=True).verdict
    return Rolled(made, stored.plan_sha256)


@contextmanager
def rolled(server_url: str, template: str, folder: Path, rollout: Strategy | None = None) -> Iterator[Rolled]:
    """Planned, evaluated, judged, the narrow lock in production."""
    with ExitStack() as stack:
        with patch.object(clock, "now", lambda: planned.LATER):  # when it is judged, and before any rollout begins
            made = stack.enter_context(planned.planned(server_url, template, folder))
            stored = add_plan(made, rollout or parsed())
            with patch.object(answer, "time", Steady()):
                made.evaluate(made.narrow)
                made.evaluate(made.wide)
        with support.connector(made.url)() as conn:
            locks.add_event(conn, made.narrow, "activated", at=support.NOW, reason="first")
        yield judge(made, stored)


@contextmanager
def copy_of(server_url: str, source: Rolled) -> Iterator[Rolled]:
    """A copy of the database, to be moved."""
    with copied(server_url, source.made) as made:
        yield replace(source, made=made)


def with_strategy(source: Rolled, **given: Any) -> Rolled:
    """The same locks and runs under a plan with another strategy, in the same database."""
    return judge(source.made, add_plan(source.made, parsed(**given)))
