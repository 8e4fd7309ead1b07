"""How `status` is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bakeoff import report

Body = Mapping[str, Any]


def _when(at: str) -> str:
    return at[:16].replace("T", " ") + " UTC"


def _rollout(found: Body | None) -> list[tuple[str, str]]:
    if found is None:
        return [("rollout", "none yet")]
    share = f"{found['percent']:g} % to the candidate"
    said = f"{found['rollout_id']} {found['phase'].replace('_', ' ')}, {share}, step {found['step']} of {found['of']}"
    rows = [("rollout", said + (", clock: simulated" if found["clock"] == "simulated" else ""))]
    rows.append(("", f"plan {found['plan']}, since {_when(found['started_at'])}; last: {found['said']}"))
    if "look_at" in found:
        rows.append(("next look", f"{_when(found['look_at'])}; the step's hours end at {_when(found['step_ends_at'])}"))
        if found["clock"] == "wall" and found["phase"] == "running":
            rows.append(("controller", "at work" if found["controller"] else "no controller is at work"))
        rows.append(("held by", "nothing" if found["held"] is None else found["held"]["said"]))
    return rows


def _routing(found: Body) -> list[tuple[str, str]]:
    killed, forced = found.get("killed"), found.get("forced") or {}
    said = f"ON since {_when(killed['at'])} by {killed['by']}: {killed['reason']}" if killed else "off"
    units = ", ".join(f"{unit} → {arm}" for unit, arm in sorted(forced.items())) or "none"
    rows = [("kill switch", said), ("forced units", units)]
    return rows if found.get("shadow", True) else [*rows, ("shadow", "off")]


def _notices(found: Body) -> list[tuple[str, str]]:
    if not found.get("unsent"):
        return []
    error = f": {found['last_error']}" if found["last_error"] else ""
    return [("notices", f"{found['unsent']} not told since {_when(found['since'])}{error}")]


def text(data: Body) -> str:
    """Return the status as it is printed."""
    active, plan, judged = data["active"], data["plan"], data["judgement"]
    rows: list[tuple[str, str]] = [
        ("active", f"{active['lock']} {active['CONFIG_HASH']} since {_when(active['since'])}" if active else "no lock"),
        (
            "plan",
            f"{plan['plan']}: {plan['candidate']} against {plan['baseline']}, {_when(plan['created_at'])}"
            if plan
            else "none yet",
        ),
    ]
    if judged:
        check = ("with" if judged["promote_check"] else "without") + " the promote check"
        said = f"{judged['verdict'].upper()} at {_when(judged['at'])}, {check} (record {judged['record']})"
        rows.append(("judgement", "; ".join((said, *judged["accepted"]))))
    else:
        rows.append(("judgement", "none of this plan yet"))
    rows += [*_rollout(data["rollout"]), *_routing(data["routing"]), *_notices(data["notices"])]
    lines = [report.table(f"Status at {_when(data['at'])}", ("", "what"), rows).terminal()]
    for item in data["problems"]:
        lines.append(report.line(f"{item['level']}: {item['check']}: {item['detail']}"))
        lines += [f"  → {report.line(item['next'])}"] * bool(item["next"])
    if not data["problems"]:
        lines.append("nothing is wrong that a quick look sees")
    return "\n".join([*lines, f"next: {data['next']}"])
