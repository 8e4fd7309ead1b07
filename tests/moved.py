"""Rollouts without a corpus behind them: two locks, a plan of them, and the store that moves traffic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bakeoff import canary, rules, strategy
from bakeoff.adapters import locks, plans, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.config import Lock
from bakeoff.plan import Arm, Asked, Plan
from bakeoff.rollout import Action, Advance, Event, Look, Rollback, Start
from bakeoff.strategy import Strategy
from bakeoff.verdicts import Verdict
from tests import support

GREEN = Look(Action.GO, Verdict.PASS, 1000, "fine", rechecked=True)
SLOW = Rollback("ada", "slow")
BEGAN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
USUAL = strategy.parse(
    {
        "strategy": "usual",
        "watch": {"errors": {"margin": 0.01, "base_rate": 0.99}, "quality": {"margin": 0.05, "base_rate": 0.8}},
        "steps": [{"percent": 10, "hours": 16}, {"percent": 50, "hours": 16}, {"percent": 100, "hours": 16}],
    },
    source="test",
)
PROFILE = rules.parse(
    {
        "profile": "test",
        "gates": [{"name": "leakage", "rule": "level", "metric": "leaked_prefixes", "at_most": 0}],
    },
    source="test",
)


def after(hours: float) -> datetime:
    """So many hours after the beginning."""
    return BEGAN + timedelta(hours=hours)


def sides(url: str) -> tuple[Lock, Lock]:
    """Two locks, the first in production."""
    baseline = support.make_lock(url, name="baseline")
    candidate = support.make_lock(url, support.parts(chunking={"size": 50}), name="candidate")
    with support.connector(url)() as conn:
        locks.add_event(conn, baseline, "activated", at=support.NOW, reason="first")
    return baseline, candidate


def _arm(lock: Lock) -> Arm:
    return Arm(name=lock.name, CHUNK_VERSION=lock.chunk_version, CONFIG_HASH=lock.config_hash)


def planned(
    conn: Connection,
    locked: tuple[Lock, Lock],
    rollout: Strategy = USUAL,
    *,
    seed: int = 7,
    at: datetime = support.NOW,
) -> Stored:
    """A stored plan of both locks."""
    made = Plan(
        baseline=_arm(locked[0]),
        candidate=_arm(locked[1]),
        questions=Asked(name="test", sha256="a" * 64, used=10, measurable={}),
        corpus_sha256="b" * 64,
        gold_share=0.5,
        gates=PROFILE,
        rollout=rollout,
        seed=seed,
        timed=10,
        traffic_per_hour=200.0,
        sight=(),
        steps=(),
    )
    return plans.insert(conn, made, at=at)


def started(conn: Connection, stored: Stored, *, at: datetime = BEGAN) -> Rollout:
    """A rollout of *stored* that has just begun."""
    return rollouts.start(conn, stored, Start("ada", "test"), clock="wall", at=at)


def send(conn: Connection, found: Rollout, event: Event, at: datetime | None = None) -> Rollout:
    """Give *event* to the rules, now or *at* another instant, and store what follows."""
    now = at or rollouts.server_time(conn)
    outcome = canary.step(plans.find(conn, found.plan_sha256).plan.rollout, found.state, event, now)
    assert outcome.accepted, outcome.said
    return rollouts.move(conn, found, event, outcome, at=now)


def finished(conn: Connection, stored: Stored) -> Rollout:
    """A rollout that went all the way."""
    found = started(conn, stored)
    for hour in (16, 32, 48):
        found = send(conn, send(conn, found, GREEN, after(hour)), Advance(), after(hour))
    return found


def in_production(conn: Connection) -> str:
    """CONFIG_HASH of the lock in production."""
    found = locks.active(conn)
    assert found is not None
    return found[0].config_hash


def recorded_as_told(conn: Connection) -> None:
    """From here on an event is written at the instant that it tells of, or at that of `recorded_at`: a test's clock."""
    conn.execute(
        "CREATE FUNCTION recorded_as_told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.recorded_at := coalesce(nullif(current_setting('test.recorded_at', true), '')::timestamptz, NEW.at); "
        "RETURN NEW; END $$"
    )
    for table in ("rollout_events", "lock_events", "route_events"):
        trigger = f"BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION recorded_as_told()"
        conn.execute(f"CREATE TRIGGER recorded_as_told {trigger}".encode())


def recorded_at(conn: Connection, at: datetime | None) -> None:
    """What this session does from here on is written *at* this instant; None: at the one that it tells of."""
    conn.execute("SELECT set_config('test.recorded_at', %s, false)", ("" if at is None else at.isoformat(),))
