"""What is active, what was judged, where traffic is, what is wrong, and what to do next.

Callers may rely on: it changes nothing and is quick: no table is read whole; a part that can't be read is a problem
with its reason, and the other parts are there all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import rows

from bakeoff import canary, gate_words
from bakeoff.adapters import locks, plans, queries, records, rollouts
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.records import About
from bakeoff.adapters.rollouts import Rollout
from bakeoff.errors import BakeoffError, NotFoundError
from bakeoff.rollout import OPEN, Phase, Reason
from bakeoff.stages import advance, doctor, holding

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Status:
    """Everything in plain values; None: there is none."""

    at: str
    active: Body | None
    plan: Body | None
    judgement: Body | None
    rollout: Body | None
    routing: Body
    notices: Body
    problems: tuple[Body, ...]
    next: str

    def body(self) -> Body:
        """Return it as plain JSON."""
        return {**asdict(self), "problems": list(self.problems)}


def run(conn: Connection) -> Status:
    """Look at everything that can be looked at quickly."""
    now = rollouts.server_time(conn)
    problems = [asdict(item) for item in doctor.quick(conn) if item.level != "ok"]
    parts: dict[str, Body | None] = {}
    for name, look in _PARTS.items():
        try:
            parts[name] = look(conn, now)
        except BakeoffError as error:
            parts[name] = None
            found = {"check": name, "level": "fail", "detail": str(error), "next": error.hint or ""}
            problems += [found] * all(item["detail"] != found["detail"] for item in problems)
    return Status(
        at=now.isoformat(),
        active=parts["active"],
        plan=parts["plan"],
        judgement=parts["judgement"],
        rollout=parts["rollout"],
        routing=parts["routing"] or {},
        notices=parts["notices"] or {},
        problems=tuple(problems),
        next=_next(parts, problems),
    )


def _active(conn: Connection, now: datetime) -> Body | None:
    del now
    found = locks.active(conn)
    if found is None:
        return None
    lock, since = found
    named = {"lock": lock.name, "CHUNK_VERSION": lock.chunk_version, "CONFIG_HASH": lock.config_hash}
    return {**named, "since": _iso(since)}


def _plan(conn: Connection, now: datetime) -> Body | None:
    del now
    try:
        stored = plans.find(conn, plans.NEWEST)
    except NotFoundError:
        return None
    fixed = stored.plan
    return {
        "plan": fixed.short,
        "plan_sha256": stored.plan_sha256,
        "created_at": _iso(stored.created_at),
        "baseline": fixed.baseline.name,
        "candidate": fixed.candidate.name,
        "baseline_hash": fixed.baseline.config_hash,
        "candidate_hash": fixed.candidate.config_hash,
    }


def _judgement(conn: Connection, now: datetime) -> Body | None:
    newest = _plan(conn, now)
    found = None if newest is None else records.latest(conn, "judgement", About(plan_sha256=newest["plan_sha256"]))
    if found is None:
        return None
    asked = {"promote_check": found.body["promote_check"], "plan": str(found.plan_sha256)[:12]}
    asked |= {"accepted": gate_words.accepted(found.body)}
    return {"record": found.record_id, "verdict": found.verdict, "at": _iso(found.at), **asked}


def _rollout(conn: Connection, now: datetime) -> Body | None:
    """Return the rollout on its way, else the one that ended last."""
    found = rollouts.current(conn) or next(iter(rollouts.listing(conn)), None)
    if found is None:
        return None
    stored = plans.find(conn, found.plan_sha256)
    body: Body = {
        "rollout_id": found.rollout_id,
        "plan": stored.plan.short,
        "phase": found.phase,
        "percent": found.weight_bp / 100,
        "step": found.state.step,
        "of": len(stored.plan.rollout.steps),
        "clock": found.clock,
        "started_at": _iso(found.started_at),
        "updated_at": _iso(found.updated_at),
        "said": rollouts.history(conn, found.rollout_id)[-1].body["said"],
    }
    return body | (_under_way(conn, stored, found, now) if found.phase in OPEN else {})


def _under_way(conn: Connection, stored: Stored, found: Rollout, now: datetime) -> Body:
    """Return what a rollout waits for; on a simulated clock now is its last event."""
    strategy, state = stored.plan.rollout, found.state
    at = now if found.clock == "wall" else state.last_at
    stopped, beyond = advance.killed(conn, found), holding.overdue(strategy, state, at)
    held = holding.held(strategy, state, at) if stopped is None else (Reason.KILLED, stopped)
    return {
        "looked_at": None if state.looked_at is None else _iso(state.looked_at),
        "look_at": _iso(canary.look_due_at(strategy, state)),
        "step_ends_at": _iso(canary.due_at(strategy, state)),
        "held": None if held is None else {"reason": held[0].value, "said": held[1] + _of_look(conn, found, held[0])},
        "overdue_hours": None if beyond is None else round(beyond / timedelta(hours=1), 2),
        "controller": _at_work(conn, found),
    }


def _of_look(conn: Connection, found: Rollout, reason: Reason) -> str:
    """Return what the last look said where it is what holds a rollout, else ''."""
    if reason is not Reason.NOT_GREEN:
        return ""
    looks = [item for item in rollouts.history(conn, found.rollout_id) if item.event == "look"]
    return f": {looks[-1].body['event']['said']}" if looks else ""


def _at_work(conn: Connection, found: Rollout) -> bool:
    """Return whether a controller watches: it holds the lock on the rollout. One that ticks from cron is not seen."""
    row = conn.execute(queries.get("status.at_work"), {"name": f"watch {found.rollout_id}"}).fetchone()
    return row is not None and bool(row[0])


def _routing(conn: Connection, now: datetime) -> Body:
    """Return the kill switch, the forced units and the shadow, folded from what people said."""
    del now
    with conn.cursor(row_factory=rows.dict_row) as cursor:
        events = cursor.execute(queries.get("status.route_events")).fetchall()
    killed: Body | None = None
    forced: dict[str, str] = {}
    shadow = True  # as long as nobody said otherwise
    for item in events:
        said = {"at": _iso(item["at"]), "by": item["by"], "reason": item["reason"]}
        if item["event"] in {"killed", "unkilled"}:
            killed = said if item["event"] == "killed" else None
        elif item["event"] in {"shadow_on", "shadow_off"}:
            shadow = item["event"] == "shadow_on"
        elif item["event"] == "forced":
            forced[item["value"]] = item["arm"]
        else:
            forced.pop(item["value"], None)
    return {"killed": killed, "forced": forced, "shadow": shadow}


def _notices(conn: Connection, now: datetime) -> Body:
    del now
    row = conn.execute(queries.get("status.unsent")).fetchone() or (0, None, 0, "")
    since = None if row[1] is None else _iso(row[1])
    return {"unsent": row[0], "since": since, "attempts": row[2], "last_error": row[3]}


_PARTS: Mapping[str, Callable[[Connection, datetime], Body | None]] = {
    "active": _active,
    "plan": _plan,
    "judgement": _judgement,
    "rollout": _rollout,
    "routing": _routing,
    "notices": _notices,
}


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _next(parts: Mapping[str, Body | None], problems: list[Body]) -> str:
    """Return the one thing to do next, a command where there is one."""
    urgent = [item["next"] for item in problems if item["level"] == "fail" and item["next"]]
    rollout, plan, routing = parts["rollout"], parts["plan"], parts["routing"]
    if urgent:
        return str(urgent[0])
    if routing and routing["killed"]:
        return "the kill switch is on: find out why; bakeoff route unkill --reason TEXT"
    if rollout is not None and rollout["phase"] in OPEN:
        return _next_of_open(rollout)
    return "bakeoff run --corpus CORPUS --questions FILE" if plan is None else _next_of_plan(parts, plan, rollout)


def _next_of_plan(parts: Mapping[str, Body | None], plan: Body, rollout: Body | None) -> str:
    """Return what to do next of the newest plan while no traffic is on its way."""
    judgement = parts["judgement"]
    explain = f"bakeoff explain {plan['baseline_hash']} {plan['candidate_hash']}"
    if judgement is None:
        return "bakeoff run --resume, or bakeoff kpi-check --promote-check"
    own = rollout is not None and rollout["plan"] == plan["plan"]
    rehearsed = own and rollout is not None and _is_good_rehearsal(rollout)
    if rollout is not None and own and not rehearsed:
        return "nothing" if rollout["phase"] == Phase.COMPLETED else explain
    if judgement["verdict"] == "fail":
        return explain
    if judgement["verdict"] in {"inconclusive", "no_data"} and judgement["promote_check"]:
        return "runbooks/gate-inconclusive.md: more questions, or bakeoff run --resume --force --reason TEXT"
    if judgement["verdict"] != "pass" or not judgement["promote_check"]:
        return f"bakeoff kpi-check --plan {plan['plan']} --promote-check"
    return _next_start(parts["active"], plan, rehearsed=rehearsed)


def _is_good_rehearsal(rollout: Body) -> bool:
    return bool(rollout["clock"] == "simulated" and rollout["phase"] == Phase.COMPLETED)


def _next_start(active: Body | None, plan: Body, *, rehearsed: bool) -> str:
    """Return how to begin the rollout of a plan that passed, or what would refuse it."""
    if active is None or active["CONFIG_HASH"] != plan["baseline_hash"]:
        named, digest = plan["baseline"], plan["baseline_hash"]
        following = f"bakeoff locks activate {digest}, or plan against what is in production"
        return f"the plan's baseline {named} ({digest}) is not in production: {following}"
    start = f"bakeoff canary start --plan {plan['plan']}"
    return f"it was rehearsed: {start}, or the bakeoff run with --clock wall" if rehearsed else start


def _next_of_open(rollout: Body) -> str:
    held = rollout["held"]
    if rollout["phase"] == Phase.PAUSED:
        return "bakeoff canary resume, or bakeoff canary rollback --reason TEXT"
    reason = None if held is None else held["reason"]
    if reason == Reason.NOT_APPROVED:
        return "bakeoff canary approve --reason TEXT"
    if rollout["clock"] == "simulated":
        return "bakeoff run --resume"
    if reason == Reason.NOT_GREEN and "was not measured" in held["said"]:
        return "bakeoff observe: what is watched has to be among the outcomes"
    if reason == Reason.CLOCK_WENT_BACK:
        return "set the database server's clock right: nothing but a rollback is possible before"
    return _next_of_running(rollout)


def _next_of_running(rollout: Body) -> str:
    """Return what a rollout with real traffic, which nothing but time may hold, needs of people."""
    if rollout["overdue_hours"] is not None:
        return f"bakeoff canary status: held {rollout['overdue_hours']:g} h beyond its hours; roll back, or force it on"
    look = f"{datetime.fromisoformat(rollout['look_at']):%Y-%m-%d %H:%M} UTC"
    if not rollout["controller"]:
        return f"bakeoff canary watch, unless cron ticks: the next look is due at {look}"
    return f"nothing before the next look at {look}"
