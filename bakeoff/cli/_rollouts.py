"""How rollouts and their histories are shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bakeoff import canary, report
from bakeoff.adapters import plans, queries, rollouts, webhooks
from bakeoff.adapters.plans import Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.adapters.rollouts import Rollout
from bakeoff.adapters.settings import Settings
from bakeoff.rollout import OPEN, Phase, Reason
from bakeoff.stages import advance, holding

_LATE = timedelta(minutes=10)
_SEEN_S = 5.0
"""How often a status that is watched is read again, whatever was heard."""
_NEXT = {
    Phase.RUNNING: "bakeoff canary watch stays with it (or bakeoff canary tick, by cron)",
    Phase.PAUSED: "bakeoff canary resume --reason TEXT",
    Phase.COMPLETED: "the candidate is in production; bakeoff canary rollback {rollout} --reason TEXT goes back",
    Phase.ROLLED_BACK: "bakeoff canary history {rollout} says why; change the candidate, and make a new plan",
    Phase.ABORTED: "bakeoff canary start --plan PLAN begins again",
}


def once(conn: Connection, ref: str, here: Settings) -> Iterator[dict[str, Any]]:
    """Yield the rollout's status now."""
    yield status(conn, ref, here)


def changing(conn: Connection, ref: str, here: Settings) -> Iterator[dict[str, Any]]:
    """Yield the rollout's status now and whenever it moves, until it has ended."""
    rollout_id = rollouts.find(conn, ref).rollout_id
    conn.execute(queries.get("server.listen"))
    version = None
    while True:
        found = rollouts.find(conn, rollout_id)
        if found.version != version:
            yield status(conn, rollout_id, here)
        version = found.version
        if found.phase not in OPEN:
            return
        for _ in conn.notifies(timeout=_SEEN_S, stop_after=1):
            pass


# --- The rollout as it is -------------------------------------------------------------------------------------------


def status(conn: Connection, ref: str, here: Settings) -> dict[str, Any]:
    """Return all there is to know of a rollout now."""
    found = rollouts.find(conn, ref)
    stored = plans.find(conn, found.plan_sha256)
    now = rollouts.server_time(conn) if found.clock == "wall" else found.state.last_at
    strategy, state = stored.plan.rollout, found.state
    stopped = advance.killed(conn, found)
    held = holding.held(strategy, state, now) if stopped is None else (Reason.KILLED, stopped)
    return {
        **_what(found, stored),
        **_when(stored, found, now),
        "held": None if held is None else {"reason": held[0].value, "said": held[1]},
        "last_look": _last_look(conn, found),
        "unmeasured": state.unmeasured,
        "notices": _notices(conn, found, here),
        "next": _next(found, held),
    }


def _what(found: Rollout, stored: Stored) -> dict[str, Any]:
    fixed, state = stored.plan, found.state
    arms = {
        side: {"name": arm.name, "CONFIG_HASH": arm.config_hash}
        for side, arm in (("baseline", fixed.baseline), ("candidate", fixed.candidate))
    }
    return {
        "rollout": found.rollout_id,
        "plan": found.plan_sha256[:12],
        "strategy": fixed.rollout.strategy,
        **arms,
        "simulated": found.clock == "simulated",
        "version": found.version,
        "phase": found.phase,
        "step": state.step,
        "steps": len(fixed.rollout.steps),
        "percent": state.weight_bp / 100,
    }


def _when(stored: Stored, found: Rollout, now: datetime) -> dict[str, Any]:
    strategy, state = stored.plan.rollout, found.state
    times: dict[str, Any] = {"started_at": state.started_at.isoformat(), "now": now.isoformat()}
    times["ended_at"] = None if state.ended_at is None else state.ended_at.isoformat()
    names = ("step_began_at", "step_ends_at", "hours_left", "next_look_at", "late_hours", "overdue_hours")
    if found.phase not in OPEN:
        return times | dict.fromkeys(names)
    ends, due = canary.due_at(strategy, state), canary.look_due_at(strategy, state)
    left = max(ends - (state.paused_at or now), timedelta())
    late, beyond = now - due, holding.overdue(strategy, state, now)
    figures = (
        state.step_began_at.isoformat(),
        None if state.phase is Phase.PAUSED else ends.isoformat(),
        round(left / timedelta(hours=1), 2),
        due.isoformat(),
        round(late / timedelta(hours=1), 2) if late > _LATE else None,
        None if beyond is None else round(beyond / timedelta(hours=1), 2),
    )
    return times | dict(zip(names, figures, strict=True))


def _last_look(conn: Connection, found: Rollout) -> dict[str, Any] | None:
    looks = [item for item in rollouts.history(conn, found.rollout_id) if item.event == "look"]
    if not looks:
        return None
    last = looks[-1]
    event = last.body["event"]
    names = ("action", "verdict", "said", "rechecked", "candidate_outcomes", "findings")
    return {"at": last.at.isoformat(), "step": last.body["state"]["step"], **{name: event[name] for name in names}}


def _notices(conn: Connection, found: Rollout, here: Settings) -> dict[str, Any]:
    receiver = webhooks.of(here)
    told = [item for item in rollouts.notices(conn, found.rollout_id) if item.kind in rollouts.TOLD]
    unsent = [item for item in told if item.sent_at is None]
    own = next((item.last_error for item in reversed(unsent) if item.attempts), None)
    return {
        "webhook": None if receiver is None else receiver.shown,
        "signed": receiver is not None and receiver.secret is not None,
        "sent": len(told) - len(unsent),
        "unsent": len(unsent),
        "given_up": sum(item.attempts >= webhooks.ATTEMPTS for item in unsent),
        "too_old": sum(item.attempts == 0 and item.last_error == rollouts.TOO_OLD for item in unsent),
        "last_error": own or rollouts.last_error(conn),
    }


def _next(found: Rollout, held: tuple[Reason, str] | None) -> str:
    phase = found.state.phase
    if held is not None and held[0] is Reason.KILLED:
        return "find out why; bakeoff route unkill --reason TEXT"
    if held is not None and held[0] is Reason.NOT_APPROVED and phase is Phase.RUNNING:
        return "bakeoff canary approve --reason TEXT"
    if phase is Phase.RUNNING and found.clock == "simulated":
        return "bakeoff canary watch --clock simulated"
    if phase is Phase.COMPLETED and found.clock == "simulated":
        return (
            f"nothing in production changed; bakeoff canary start --plan {found.plan_sha256[:12]} begins with traffic"
        )
    return _NEXT[phase].format(rollout=found.rollout_id)


def status_text(data: dict[str, Any]) -> str:
    """Return a rollout as it is printed."""
    sides = f"{data['candidate']['name']} in place of {data['baseline']['name']}"
    marked = ", SIMULATED clock" if data["simulated"] else ""
    phase, step = data["phase"].replace("_", " "), f"step {data['step']} of {data['steps']}"
    lines = [
        f"{data['rollout']} {phase}: {data['percent']:g} % to the candidate, {step} ({data['strategy']}{marked})",
        f"  {sides}, plan {data['plan']}, since {_minute(data['started_at'])}",
    ]
    if data["ended_at"] is not None:
        lines.append(f"  ended {_minute(data['ended_at'])}")
    else:
        lines += _under_way(data)
    lines.append(_notices_text(data["notices"]))
    if (look := data["last_look"]) is not None:
        lines += ["", _look_table(look)]
    return "\n".join([*lines, f"next: {data['next']}"])


def _under_way(data: dict[str, Any]) -> list[str]:
    held, look = data["held"], data["last_look"]
    lines = [f"  {data['hours_left']:g} h left in this step; the next look is due {_minute(data['next_look_at'])}"]
    if data["late_hours"] is not None:
        lines.append(f"  late by {data['late_hours']:g} h: no controller is at work")
    lines.append(f"  held: {report.line(held['said'])}" if held else "  nothing holds it")
    if data["overdue_hours"] is not None:
        lines.append(f"  {data['overdue_hours']:g} h beyond the step's hours: roll back, or force it on")
    if look is None:
        lines.append("  no look yet")
    if data["unmeasured"]:
        lines.append(f"  looks in a row that could not be taken: {data['unmeasured']}")
    return lines


def _notices_text(told: dict[str, Any]) -> str:
    if told["webhook"] is None:
        return f"  no webhook set (BAKEOFF_WEBHOOK_URL); notices not sent: {told['unsent']}"
    more = f", {told['given_up']} given up" if told["given_up"] else ""
    more += f", {told['too_old']} {rollouts.TOO_OLD}" if told["too_old"] else ""
    error = f"; the last error: {report.line(told['last_error'])}" if told["last_error"] else ""
    return f"  notices to {told['webhook']}: {told['sent']} sent, {told['unsent']} unsent{more}{error}"


def _look_table(look: dict[str, Any]) -> str:
    rows = [
        (
            item["watched"],
            item["verdict"],
            *(_figure(item["watched"], item[name]) for name in ("baseline", "value", "difference")),
            _span(item),
            _figure(item["watched"], item["margin"]),
            item["said"],
        )
        for item in look["findings"]
    ]
    title = f"Look at {_minute(look['at'])}, step {look['step']}: {look['action']}; {look['said']}"
    columns = ("watched", "verdict", "baseline>", "candidate>", "change>", "bounds>", "margin>", "said")
    narrow = (("bounds>", None), ("baseline>", "base>"), ("candidate>", "cand>"), ("said", None))
    return report.table(title, columns, rows, narrow=narrow).terminal()


def _figure(watched: str, value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.0f}" if watched.startswith("latency") and abs(value) > 1 else f"{value:.3g}"


def _span(item: dict[str, Any]) -> str | None:
    if item["low"] is None or item["high"] is None:
        return None
    return f"[{item['low']:.3g}, {item['high']:.3g}]"


def _minute(at: str) -> str:
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M} UTC"


def tick_text(data: dict[str, Any]) -> str:
    """Return what a tick did, as it is printed."""
    done = [report.line(f"{item['event']}: {item['said']}") for item in data["events"]]
    held = report.line(data["held"]["said"]) if data["held"] else "nothing"
    quiet = f"{data['rollout']}: nothing was due; held: {held}"
    if done and data["held"] and data["held"].get("reason") != Reason.NOT_DUE:
        done.append(f"held: {held}")
    due = "" if data["next_look_at"] is None else f"the next look is due {_minute(data['next_look_at'])}"
    return "\n".join([*(done or [quiet]), *([due] if due else [])])


# --- What happened --------------------------------------------------------------------------------------------------


def history(conn: Connection, ref: str, *, check: bool) -> dict[str, Any]:
    """Return everything that moved a rollout. Raises IntegrityError where *check* finds that it was changed."""
    found = rollouts.find(conn, ref)
    if check:
        rollouts.check_history(conn, found, plans.find(conn, found.plan_sha256).plan.rollout)
    rows = [
        {
            "version": item.version,
            "at": item.at.isoformat(),
            "recorded_at": item.recorded_at.isoformat(),
            "event": item.event,
            "percent": item.body["state"]["weight_bp"] / 100,
            "phase": item.body["state"]["phase"],
            "by": item.body["event"].get("by", "clock"),
            "reason": item.body["reason"],
            "said": _with_reason(item.body),
        }
        for item in rollouts.history(conn, found.rollout_id)
    ]
    return {"rollout": found.rollout_id, "simulated": found.clock == "simulated", "checked": check, "events": rows}


def _with_reason(body: dict[str, Any]) -> str:
    """Return what was said, with the reason that a person gave."""
    said, why = str(body["said"]), body["event"].get("why")
    return said if not why or why in said else f"{said} ({why})"


def history_text(data: dict[str, Any]) -> str:
    """Return a history as it is printed."""
    rows = [
        (f"{datetime.fromisoformat(row['at']):%Y-%m-%d %H:%M:%S}", row["event"], f"{row['percent']:g}", row["by"],
         row["said"])
        for row in data["events"]
    ]  # fmt: skip
    title = f"{data['rollout']}" + (", SIMULATED clock" if data["simulated"] else "") + "; times are UTC"
    notes = ("replayed: the history makes the stored state",) if data["checked"] else ()
    return report.table(title, ("at", "event", "share, %>", "who", "what"), rows, notes=notes).terminal()
