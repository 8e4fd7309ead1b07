"""`status` and the doctor's look at rollouts: what is where, what is wrong, what to do next."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from bakeoff.adapters import locks, policies, records, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import About
from bakeoff.adapters.rollouts import Rollout
from bakeoff.cli import _status
from bakeoff.config import Lock
from bakeoff.rollout import Abort, Action, Advance, Look, Pause, Rollback, Start
from bakeoff.stages import doctor, status
from bakeoff.verdicts import Verdict
from tests import support
from tests.moved import GREEN, planned, send


def began(conn: Connection, stored: Stored, *, ago: float = 0.0, clock: rollouts.Clock = "wall") -> Rollout:
    """A rollout that began so many hours ago, by the server's clock."""
    at = rollouts.server_time(conn) - timedelta(hours=ago)
    return rollouts.start(conn, stored, Start("ann", "better"), clock=clock, at=at)


def told(conn: Connection) -> None:
    """Tick every notice off."""
    with conn.transaction():
        for kind in ("moved", "verify"):
            for notice in rollouts.unsent(conn, kind, limit=9):
                rollouts.ticked_off(conn, notice, at=rollouts.server_time(conn))


def judged(conn: Connection, stored: Stored, verdict: Verdict, *, promote_check: bool = True) -> None:
    """Record a judgement of the plan."""
    body: dict[str, Any] = {"promote_check": promote_check, "verdict": verdict.value}
    records.add(conn, "judgement", body, about=About(stored.plan_sha256), at=support.NOW, verdict=verdict)


def seen(conn: Connection) -> dict[str, Any]:
    """The status as plain values; it changed nothing."""
    before = conn.execute("SELECT count(*) FROM rollout_events").fetchone()
    body = status.run(conn).body()
    assert before == conn.execute("SELECT count(*) FROM rollout_events").fetchone()
    return body


def test_an_empty_project(connected: Connection) -> None:
    """There is nothing, nothing is wrong, and the next command begins everything."""
    found = seen(connected)
    assert (None, None, None, None) == tuple(found[name] for name in ("active", "plan", "judgement", "rollout"))
    assert {"killed": None, "forced": {}, "shadow": True} == found["routing"]
    assert (0, []) == (found["notices"]["unsent"], found["problems"])
    assert "bakeoff run --corpus CORPUS --questions FILE" == found["next"]


@pytest.mark.parametrize(
    ("verdict", "promote_check", "following"),
    [
        (Verdict.PASS, True, "bakeoff canary start --plan {short}"),
        (Verdict.PASS, False, "bakeoff kpi-check --plan {short} --promote-check"),
        (
            Verdict.INCONCLUSIVE,
            True,
            "runbooks/gate-inconclusive.md: more questions, or bakeoff run --resume --force --reason TEXT",
        ),
        (Verdict.INCONCLUSIVE, False, "bakeoff kpi-check --plan {short} --promote-check"),
        (Verdict.FAIL, True, "bakeoff explain {base} {cand}"),
    ],
)
def test_what_follows_a_judgement(
    connected: Connection, stored: Stored, verdict: Verdict, *, promote_check: bool, following: str
) -> None:
    """Traffic only after a pass that asked for probes and parity."""
    assert "bakeoff run --resume, or bakeoff kpi-check --promote-check" == seen(connected)["next"]
    judged(connected, stored, verdict, promote_check=promote_check)
    found = seen(connected)
    fixed = stored.plan
    names = {"short": fixed.short, "base": fixed.baseline.config_hash, "cand": fixed.candidate.config_hash}
    assert following.format(**names) == found["next"]
    assert (verdict.value, fixed.short) == (found["judgement"]["verdict"], found["judgement"]["plan"])
    assert fixed.short == found["plan"]["plan"]
    assert fixed.baseline.config_hash == found["active"]["CONFIG_HASH"]


def test_a_rollout_on_its_way(connected: Connection, stored: Stored) -> None:
    """Share, step, the next look and what holds it; nothing to do before that look."""
    judged(connected, stored, Verdict.PASS)
    made = began(connected, stored)
    told(connected)
    found = seen(connected)
    rollout = found["rollout"]
    assert (made.rollout_id, "running", 10.0, 1) == tuple(
        rollout[name] for name in ("rollout_id", "phase", "percent", "step")
    )
    assert (made.started_at + timedelta(hours=1)).isoformat() == rollout["look_at"]
    assert "not_due" == rollout["held"]["reason"]
    assert [] == found["problems"]
    at = f"{datetime.fromisoformat(rollout['look_at']):%Y-%m-%d %H:%M} UTC"
    assert f"bakeoff canary watch, unless cron ticks: the next look is due at {at}" == found["next"]
    assert rollout["controller"] is False
    connected.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"watch {made.rollout_id}",))
    found = seen(connected)
    assert found["rollout"]["controller"] is True
    assert f"nothing before the next look at {at}" == found["next"]


def test_what_a_look_holds_for_is_said(connected: Connection, stored: Stored) -> None:
    """In the look's own words; where something was not measured, the command that brings it."""
    judged(connected, stored, Verdict.PASS)
    made = began(connected, stored, ago=16.5)
    said = "quality was not measured in this step"
    send(connected, made, Look(Action.HOLD, Verdict.NO_DATA, 10, said), made.started_at + timedelta(hours=16.2))
    told(connected)
    found = seen(connected)
    assert f"the last look says hold: {said}" == found["rollout"]["held"]["said"]
    assert found["next"].startswith("bakeoff observe")


def test_a_paused_one(connected: Connection, stored: Stored) -> None:
    """It waits for people; that nobody looks is no problem then."""
    judged(connected, stored, Verdict.PASS)
    send(connected, began(connected, stored, ago=9), Pause("ann", "lunch"))
    told(connected)
    found = seen(connected)
    assert ("paused", []) == (found["rollout"]["phase"], found["problems"])
    assert "bakeoff canary resume, or bakeoff canary rollback --reason TEXT" == found["next"]


@pytest.mark.parametrize(("ago", "wrong"), [(1.9, False), (2.1, True)])
def test_a_controller_that_is_down(connected: Connection, stored: Stored, ago: float, *, wrong: bool) -> None:
    """More than two intervals without a look: it fails, here and in the doctor, with the command that helps."""
    judged(connected, stored, Verdict.PASS)
    made = began(connected, stored, ago=ago)
    told(connected)
    problems = [item for item in seen(connected)["problems"] if item["check"] == "rollout"]
    assert wrong == bool(problems)
    (finding,) = [item for item in doctor.quick(connected) if item.check == "rollout"]
    assert ("fail" if wrong else "ok") == finding.level
    if wrong:
        assert f"{made.rollout_id} running, 10 % to the candidate: nobody looked for 2.1 hours" in finding.detail
        assert finding.next.startswith("bakeoff canary watch")
        assert seen(connected)["next"] == finding.next


def test_a_simulated_one_needs_no_controller(connected: Connection, stored: Stored) -> None:
    """Its hours do not pass by themselves: the run goes on."""
    judged(connected, stored, Verdict.PASS)
    began(connected, stored, ago=30, clock="simulated")
    told(connected)
    found = seen(connected)
    assert ([], "bakeoff run --resume") == (found["problems"], found["next"])
    assert "simulated" == found["rollout"]["clock"]


def test_what_nobody_was_told(connected: Connection, stored: Stored) -> None:
    """Unsent notices are counted with the last error; a warning, no failure."""
    judged(connected, stored, Verdict.PASS)
    began(connected, stored)
    with connected.transaction():
        (notice,) = rollouts.unsent(connected, "moved", limit=9)
        rollouts.failed(connected, notice, error="connection refused")
    found = seen(connected)
    assert (1, 1, "connection refused") == tuple(
        found["notices"][name] for name in ("unsent", "attempts", "last_error")
    )
    assert [("notices", "warn")] == [(item["check"], item["level"]) for item in found["problems"]]


def test_after_it_ended(connected: Connection, stored: Stored) -> None:
    """Completed: nothing to do. Rolled back afterwards: see what was lost; the baseline is active."""
    judged(connected, stored, Verdict.PASS)
    found = began(connected, stored, ago=48)
    for hour in (16, 32, 48):
        at = found.started_at + timedelta(hours=hour)
        found = send(connected, send(connected, found, GREEN, at), Advance(), at)
    told(connected)
    body = seen(connected)
    assert ("completed", "nothing") == (body["rollout"]["phase"], body["next"])
    assert stored.plan.candidate.config_hash == body["active"]["CONFIG_HASH"]
    rollouts.roll_back(connected, found.rollout_id, Rollback("ann", "slow"), at=rollouts.server_time(connected))
    told(connected)
    body = seen(connected)
    assert ("rolled_back", 0.0) == (body["rollout"]["phase"], body["rollout"]["percent"])
    assert body["next"].startswith("bakeoff explain ")
    assert stored.plan.baseline.config_hash == body["active"]["CONFIG_HASH"]


def test_what_people_said_about_routing(connected: Connection, stored: Stored) -> None:
    """The last word counts: the kill switch with who and why, units with their arm, the shadow."""
    judged(connected, stored, Verdict.PASS)
    insert = "INSERT INTO route_events (at, event, value, arm, by, reason) VALUES (now(), %s, %s, %s, 'ann', 'because')"
    for event, value, arm in (
        ("killed", "", None), ("unkilled", "", None), ("forced", "u1", "candidate"), ("forced", "u2", "baseline"),
        ("unforced", "u2", None), ("shadow_off", "", None),
    ):  # fmt: skip
        connected.execute(insert, (event, value, arm))
    found = seen(connected)
    assert {"killed": None, "forced": {"u1": "candidate"}, "shadow": False} == found["routing"]
    assert [True] == [
        line.split() == ["shadow", "off"] for line in _status.text(found).splitlines() if "shadow" in line
    ]
    connected.execute(insert, ("shadow_on", "", None))
    found = seen(connected)
    assert found["routing"]["shadow"] is True
    assert "shadow" not in _status.text(found)
    connected.execute(insert, ("killed", "", None))
    found = seen(connected)
    assert ("ann", "because") == (found["routing"]["killed"]["by"], found["routing"]["killed"]["reason"])
    assert found["next"].startswith("the kill switch is on")


def test_the_kill_switch_holds_a_rollout(connected: Connection, stored: Stored) -> None:
    """As `canary status` says it; a rehearsal routes nobody, and is not held by it."""
    judged(connected, stored, Verdict.PASS)
    policies.say(connected, "killed", by="ben", reason="wrong prices")
    found = began(connected, stored, clock="simulated")
    assert "not_due" == seen(connected)["rollout"]["held"]["reason"]
    send(connected, found, Abort("ann", "off"), found.started_at)
    began(connected, stored, ago=0.5)
    found_now = seen(connected)
    said = "the kill switch is on, by ben: wrong prices"
    assert {"reason": "killed", "said": said} == found_now["rollout"]["held"]
    assert [True] == [said in line for line in _status.text(found_now).splitlines() if "held by" in line]


@pytest.mark.parametrize("rehearsed", [True, False])
def test_no_start_that_is_refused_is_proposed(connected: Connection, stored: Stored, *, rehearsed: bool) -> None:
    """The plan's baseline is not in production: what the refusal would say is said before."""
    judged(connected, stored, Verdict.PASS)
    fixed = stored.plan
    if rehearsed:
        found = began(connected, stored, clock="simulated")
        for hour in (16, 32, 48):
            at = found.started_at + timedelta(hours=hour)
            found = send(connected, send(connected, found, GREEN, at), Advance(), at)
    assert f"bakeoff canary start --plan {fixed.short}" in seen(connected)["next"]
    other = locks.find(connected, fixed.candidate.config_hash)
    locks.add_event(connected, other, "activated", at=support.NOW, reason="by hand")
    name, digest = fixed.baseline.name, fixed.baseline.config_hash
    following = f"bakeoff locks activate {digest}, or plan against what is in production"
    assert f"the plan's baseline {name} ({digest}) is not in production: {following}" == seen(connected)["next"]


def test_a_rehearsal_of_another_plan_is_none_of_this_one(
    connected: Connection, locked: tuple[Lock, Lock], stored: Stored
) -> None:
    """The newest plan was not rehearsed: nobody is told that it was."""
    found = began(connected, stored, clock="simulated")
    for hour in (16, 32, 48):
        at = found.started_at + timedelta(hours=hour)
        found = send(connected, send(connected, found, GREEN, at), Advance(), at)
    newer = planned(connected, locked, seed=8, at=support.NOW + timedelta(hours=1))
    judged(connected, newer, Verdict.PASS)
    assert f"bakeoff canary start --plan {newer.plan.short}" == seen(connected)["next"]


def test_a_history_that_was_changed(connected: Connection, stored: Stored, database_url: str) -> None:
    """An event that does not follow: a failure with the way back; the rest of the status is there."""
    judged(connected, stored, Verdict.PASS)
    began(connected, stored)
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SET search_path = bakeoff, public")
        conn.execute("ALTER TABLE rollout_events DISABLE TRIGGER USER")
        conn.execute("UPDATE rollout_events SET body = jsonb_set(body, '{state,weight_bp}', '9000')")
    found = seen(connected)
    (problem,) = [item for item in found["problems"] if item["check"] == "rollout"]
    assert "version 1 (start) does not follow from its history" in problem["detail"]
    assert found["next"].startswith("bakeoff canary rollback")
    assert found["active"] is not None


def test_a_damaged_lock_takes_nothing_with_it(connected: Connection, stored: Stored, database_url: str) -> None:
    """A lock whose row was changed is named; the plan is shown all the same."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SET search_path = bakeoff, public")
        conn.execute("ALTER TABLE locks DISABLE TRIGGER USER")
        conn.execute(
            "UPDATE locks SET body_sha256 = repeat('0', 64) WHERE config_hash = %s", (stored.plan.baseline.config_hash,)
        )
    found = seen(connected)
    assert found["plan"] is not None
    assert {"fail"} == {item["level"] for item in found["problems"]}
    assert not [item for item in locks.everything(connected) if isinstance(item, locks.LockState) and item.active]
