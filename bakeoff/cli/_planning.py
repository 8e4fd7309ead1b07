"""How plans are shown and written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bakeoff import foresight, gate_words, report, strategy
from bakeoff.adapters import files, plans
from bakeoff.adapters.plans import Damaged, Stored
from bakeoff.adapters.postgres import Connection
from bakeoff.cli._plans import DIGITS
from bakeoff.cli._shared import say
from bakeoff.rules import LATENCY


def write(artifacts: Path, stored: Stored, **marks: str) -> Path:
    """Write the plan's artifact, with *marks* of how it was made, and return its path."""
    body = {"plan_sha256": stored.plan_sha256, "created_at": stored.created_at.isoformat(), **marks}
    body |= stored.plan.body()
    return files.write_json(artifacts / "plans" / f"{stored.plan_sha256[:DIGITS]}.json", body)


def again(conn: Connection, stored: Stored) -> None:
    """Say that an equal plan was there already, and where `latest` is another one."""
    newest = plans.find(conn, plans.NEWEST).plan_sha256
    other = "" if newest == stored.plan_sha256 else f"; `latest` is {newest[:DIGITS]}, which was made later"
    made = f"made at {stored.created_at:%Y-%m-%d %H:%M}"
    say(f"plan {stored.plan_sha256[:DIGITS]}, {made}, is equal: nothing new is stored{other}")


def data(stored: Stored, path: Path | None) -> dict[str, Any]:
    """Return a plan as `--json` prints it."""
    table = [
        {"step": row.number, "percent": row.percent, "begins_hour": row.begins_hour, "ends_hour": row.ends_hour}
        for row in strategy.timetable(stored.plan.rollout)
    ]
    return {
        "plan": stored.plan_sha256[:DIGITS],
        "plan_sha256": stored.plan_sha256,
        "created_at": stored.created_at.isoformat(),
        **stored.plan.body(),
        "timetable": table,
        "alternatives": _alternatives(stored),
        "artifact": None if path is None else str(path),
    }


_COLUMNS = ("baseline", "candidate", "questions", "profile", "rollout")


def row(item: Stored | Damaged) -> dict[str, Any]:
    """Return a plan as a row of the listing; of a damaged one little is known."""
    about = {"plan": item.plan_sha256[:DIGITS], "created_at": f"{item.created_at:%Y-%m-%d %H:%M}"}
    if isinstance(item, Damaged):
        return {**about, "state": "damaged", **dict.fromkeys(_COLUMNS)}
    fixed = item.plan
    names = (
        *(fixed.baseline.name, fixed.candidate.name, fixed.questions.name),
        *(fixed.gates.profile, fixed.rollout.strategy),
    )
    return {**about, "state": "stored", **dict(zip(_COLUMNS, names, strict=True))}


def listing(rows: list[dict[str, Any]]) -> str:
    """Return the listing as it is printed."""
    if not rows:
        return "no plans yet\nnext: bakeoff plan --baseline LOCK --candidate LOCK --questions FILE"
    damaged = [item["plan"] for item in rows if item["state"] == "damaged"]
    heads = ("plan", *_COLUMNS, "created_at", *(("state",) if damaged else ()))
    narrow = (("created_at", "created"), ("rollout", None))
    cells = [[item[name] for name in heads] for item in rows]
    notes = ("damaged: no longer what was stored; bakeoff plan … --seed N makes another plan",) if damaged else ()
    return report.table("Plans, newest first", heads, cells, notes=notes, narrow=narrow).terminal()


def _size(metric: str, value: float | None) -> str:
    if value is None:
        return report.NOTHING
    return f"{100 * value:.1f} {'%' if metric == LATENCY else 'pt'}"


def _gate(item: dict[str, Any]) -> tuple[Any, ...]:
    metric, detectable = item["metric"], item["detectable"]
    exact = detectable == 0.0
    shown = "exact" if exact else _size(metric, detectable)
    if detectable is not None and gate_words.sees_nothing(metric, detectable):
        shown = "nothing"
    mark = " BLIND" if item["blind"] else ""
    return (
        item["gate"],
        item["severity"],
        item["n"],
        _size(metric, item["margin"]),
        shown + mark,
        "" if exact else item["because"],
    )


def _alternatives(stored: Stored) -> list[dict[str, Any]]:
    """Return plans that show what the first step can't see."""
    fixed = stored.plan
    sees: dict[str, list[float | None]] = {}
    for item in fixed.steps:
        sees.setdefault(item.watched, []).append(item.detectable)
    found = foresight.alternatives(fixed.rollout, sees, traffic_per_hour=fixed.traffic_per_hour, seed=fixed.seed)
    return [asdict(item) for item in found]


def _instead(items: list[dict[str, Any]]) -> list[str]:
    """Return in words what shows more, one line for each watched thing that the first step can't see enough of."""
    lines: dict[str, list[str]] = {}
    for item in items:
        what = "nothing" if item["shown"] is None else f"no less than {100 * item['shown']:.1f} pt"
        worth = f"{100 * item['worth']:.1f} pt is worth seeing (twice the margin, 5 pt where it is none)"
        found = lines.setdefault(f"step {item['step']} sees {what} of {item['watched']}, {worth}", [])
        if item["would_show"] is not None and item["would_show"] <= item["worth"]:
            found.append(f"{item['instead']}: {100 * item['would_show']:.1f} pt")
    nothing = "neither a longer step nor the shadow sees it: it takes more traffic, or a wider margin"
    return [f"{begins}; {'instead ' + '; '.join(found) if found else nothing}" for begins, found in lines.items()]


def _step(item: dict[str, Any]) -> tuple[Any, ...]:
    if not item["baseline_outcomes"]:
        shown = foresight.NO_TRAFFIC
    elif item["watched"] in strategy.LATENCIES:
        shown = foresight.BY_SPREAD
    elif item["detectable"] is None:
        shown = foresight.NOTHING
    else:
        shown = f"{100 * item['detectable']:.1f} pt"
    counts, unit = (item["baseline_outcomes"], item["candidate_outcomes"]), "pt"
    if item["watched"] in strategy.LATENCIES:
        unit = "%"
    return item["step"], f"{item['percent']:g} %", item["watched"], *counts, f"{100 * item['margin']:.1f} {unit}", shown


def text(data: dict[str, Any]) -> str:
    """Return what a person wants to know of a plan: what it fixes, and what it will see."""
    power, label = f"{data['gates']['power']:.0%}", data["gates"]["label"]
    gates = report.table(
        f"What the gates will see ({data['gates']['profile']}): the smallest difference shown with {power} power",
        ("gate", "severity", "questions>", "margin>", "sees>", "if"),
        [_gate(item) for item in data["sight"]],
        notes=("exact: a figure of the whole, without chance",),
        narrow=(("questions>", "n>"), ("severity", None)),
    )
    hours = [f"{item['percent']:g} % from hour {item['begins_hour']:g}" for item in data["timetable"]]
    steps = report.table(
        f"What the steps will see ({data['rollout']['strategy']}, {data['traffic_per_hour']:g} questions an hour): "
        "the smallest drop that is there from hour 0 and found by the step's end with 80 % power, looking every "
        f"{data['rollout']['look_every_hours']:g} h",
        ("step>", "share>", "watched", "baseline>", "candidate>", "margin>", "sees>"),
        [_step(item) for item in data["steps"]],
        notes=(
            f"time-table: {', '.join(hours)}, done at hour {data['timetable'][-1]['ends_hour']:g}",
            *_instead(data["alternatives"]),
        ),
    )
    sides = " against ".join(f"{data[side]['name']} {data[side]['CONFIG_HASH']}" for side in ("candidate", "baseline"))
    asked, many = data["questions"], report.counted(data["questions"]["used"], "question")
    lines = [
        f"plan {data['plan']}: {sides}",
        f"on {asked['name']} ({many}, {asked['sha256'][:12]}), seed {data['seed']}",
        *([report.line(f"note: {label}")] if label else []),
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
