"""How plans are shown and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bakeoff import report, strategy
from bakeoff.adapters import files
from bakeoff.adapters.plans import Stored
from bakeoff.rules import LATENCY


def write(artifacts: Path, stored: Stored) -> Path:
    """Write the plan's artifact and return its path."""
    body = {"plan_sha256": stored.plan_sha256, "created_at": stored.created_at.isoformat(), **stored.plan.body()}
    return files.write_json(artifacts / "plans" / f"{stored.plan.short}.json", body)


def data(stored: Stored, path: Path | None) -> dict[str, Any]:
    """Return a plan as `--json` prints it."""
    table = [
        {"step": row.number, "percent": row.percent, "begins_hour": row.begins_hour, "ends_hour": row.ends_hour}
        for row in strategy.timetable(stored.plan.rollout)
    ]
    return {
        "plan": stored.plan.short,
        "plan_sha256": stored.plan_sha256,
        "created_at": stored.created_at.isoformat(),
        **stored.plan.body(),
        "timetable": table,
        "artifact": None if path is None else str(path),
    }


def row(stored: Stored) -> dict[str, Any]:
    """Return a plan as a row of the listing."""
    fixed = stored.plan
    return {
        "plan": fixed.short,
        "baseline": fixed.baseline.name,
        "candidate": fixed.candidate.name,
        "questions": fixed.questions.name,
        "profile": fixed.gates.profile,
        "rollout": fixed.rollout.strategy,
        "created_at": f"{stored.created_at:%Y-%m-%d %H:%M}",
    }


def listing(rows: list[dict[str, Any]]) -> str:
    """Return the listing as it is printed."""
    if not rows:
        return "no plans yet\nnext: bakeoff plan --baseline LOCK --candidate LOCK --questions FILE"
    heads = tuple(rows[0])
    return report.table("Plans, newest first", heads, [list(item.values()) for item in rows]).terminal()


def _size(metric: str, value: float | None) -> str:
    if value is None:
        return report.NOTHING
    return f"{100 * value:.1f} {'%' if metric == LATENCY else 'pt'}"


def _gate(item: dict[str, Any]) -> tuple[Any, ...]:
    exact = item["detectable"] == 0.0
    shown = "exact" if exact else _size(item["metric"], item["detectable"])
    mark = "BLIND" if item["blind"] else ""
    return (
        item["gate"],
        item["severity"],
        item["n"],
        _size(item["metric"], item["margin"]),
        shown,
        mark,
        item["because"],
    )


def _step(item: dict[str, Any]) -> tuple[Any, ...]:
    if not item["baseline_outcomes"]:
        shown = "the baseline gets no traffic"
    elif item["detectable"] is None:
        shown = "nothing"
    else:
        shown = f"{100 * item['detectable']:.1f} pt"
    counts = item["baseline_outcomes"], item["candidate_outcomes"]
    return item["step"], f"{item['percent']:g} %", item["watched"], *counts, f"{100 * item['margin']:.1f} pt", shown


def text(data: dict[str, Any]) -> str:
    """Return what a person wants to know of a plan: what it fixes, and what it will see."""
    power, label = f"{data['gates']['power']:.0%}", data["gates"]["label"]
    gates = report.table(
        f"What the gates will see ({data['gates']['profile']}): the smallest difference shown with {power} power",
        ("gate", "severity", "questions>", "margin>", "sees>", "", "if"),
        [_gate(item) for item in data["sight"]],
    )
    hours = [f"{item['percent']:g} % from hour {item['begins_hour']:g}" for item in data["timetable"]]
    steps = report.table(
        f"What the steps will see ({data['rollout']['strategy']}, {data['traffic_per_hour']:g} questions an hour): "
        "the smallest drop found within the step with 80 % power, looking as often as it likes",
        ("step>", "share>", "watched", "baseline>", "candidate>", "margin>", "sees>"),
        [_step(item) for item in data["steps"]],
        notes=(f"time-table: {', '.join(hours)}, done at hour {data['timetable'][-1]['ends_hour']:g}",),
    )
    sides = " against ".join(f"{data[side]['name']} {data[side]['CONFIG_HASH']}" for side in ("candidate", "baseline"))
    asked = data["questions"]
    lines = [
        f"plan {data['plan']}: {sides}",
        f"on {asked['name']} ({asked['used']} questions, {asked['sha256'][:12]}), seed {data['seed']}",
        *([f"note: {label}"] if label else []),
        gates.terminal(),
        steps.terminal(),
    ]
    if data["accepted_blind"]:
        lines.append(f"accepted blind: {', '.join(data['accepted_blind'])}")
    if data["known_scores"]:
        lines.append(f"accepted though the candidate was evaluated before: {', '.join(data['known_scores'])}")
    if data["artifact"]:
        lines.append(f"written to: {data['artifact']}")
    return "\n".join([*lines, f"next: bakeoff evaluate both locks, then bakeoff kpi-check --plan {data['plan']}"])
