"""How a simulation is asked for, shown, written and drawn."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bakeoff import report, simulation
from bakeoff.adapters import files
from bakeoff.adapters.records import Record
from bakeoff.errors import ConfigError, UsageError
from bakeoff.simulation import Fault

_TRAFFIC = re.compile(r"(\d+\.?\d*|\.\d+)(?:/h)?")
_MOST = 100_000
_FAR = 0.05
_LABELS = ("hours since the start (simulated)", "share rolled back")
_NOTES = (
    "rolled back: for a candidate as good as the baseline these are false alarms",
    "hours: from the fault, or the start, until it was rolled back: median [quartiles]; people: who saw it by then",
    "plan sees: the smallest drop from hour 0 that is found in 80 % of the rollouts by the end of that step",
)


def faults(given: Sequence[str], at_hour: float | None) -> tuple[Fault, ...]:
    """Return the faults that were typed; *at_hour* is for those that name no hour. Raises ConfigError in words."""
    found = [simulation.parse(text) for text in given]
    if at_hour is not None:
        if not found:
            raise ConfigError(f"--at-hour {at_hour:g}, but there is no fault", hint="add --fault quality:-0.10")
        found = [
            fault if "@" in text else replace(fault, at_hour=at_hour) for text, fault in zip(given, found, strict=True)
        ]
    return tuple(dict.fromkeys(found))


def traffic(text: str | None) -> float | None:
    """Return the questions an hour in `200/h` or `200`. Raises ConfigError where it is something else, or nothing."""
    if text is None:
        return None
    match = _TRAFFIC.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"traffic {text!r}: expected questions an hour, as 200/h", hint="--traffic 200/h")
    found = float(match[1])
    simulation.check_traffic(found, 1)
    return found


def count(replays: int) -> int:
    """Return *replays*. Raises ConfigError where they are none, or too many to wait for."""
    if not 1 <= replays <= _MOST:
        raise ConfigError(f"{replays} replays: expected 1 to {_MOST}", hint="1000 is usual")
    return replays


def check_plot(path: Path | None) -> None:
    """Raise UsageError where nothing can be drawn into *path*, OutsideError where it can't be written or drawn."""
    if path is None:
        return
    if path.suffix not in (".png", ".html"):
        raise UsageError(f"--plot {path}: expected a name that ends with .png or .html", hint="--plot caught.png")
    from bakeoff import plots

    plots.require()
    files.require_writable(path)


def write(artifacts: Path, record: Record) -> Path:
    """Write the simulation's artifact and return its path."""
    name = f"{str(record.plan_sha256)[:12]}-{record.record_id}.json"
    body = {"record": record.record_id, "sha256": record.sha256, "at": record.at.isoformat(), **record.body}
    return files.write_json(artifacts / "simulations" / name, body)


def data(record: Record, path: Path, drawn: Path | None) -> dict[str, Any]:
    """Return a simulation as `--json` prints it."""
    body = {"record": record.record_id, "at": record.at.isoformat(), **record.body}
    return {**body, "artifact": str(path), "plot": None if drawn is None else str(drawn)}


def _row(item: dict[str, Any], sight: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    share = f"{item['share']:.1%} [{item['share_low']:.1%}, {item['share_high']:.1%}]"
    hours, users = item["hours"], item["users"]
    because = ", ".join(item["because"])
    return (
        item["candidate"],
        share,
        report.NOTHING if hours is None else f"{hours[1]:.0f} [{hours[0]:.0f}, {hours[2]:.0f}]",
        report.NOTHING if users is None else f"{users[1]:,.0f}",
        str(item["held"]),
        because or report.NOTHING,
        _planned(item["harm"], sight),
    )


def _planned(harm: dict[str, Any] | None, sight: Sequence[dict[str, Any]]) -> str:
    """Return what the plan says can be seen of what a fault harms, at the end of its best step."""
    if harm is None:
        return ""
    seen = [
        (one["detectable"], one["step"])
        for one in sight
        if one["watched"].partition("_")[0] == harm["what"] and one["detectable"] is not None
    ]
    if not seen:
        return "not foretold" if harm["what"] == "latency" else "nothing"
    size, step = min(seen)
    unit = f"{100 * size:.0f} %" if harm["what"] == "latency" else f"{100 * size:.1f} pt"
    return f"{unit}, step {step}"


def _recorded(side: str, figures: dict[str, Any], quality: str | None) -> str:
    """Return in words what one arm's cases are like."""
    parts = [f"{figures['cases']} cases", f"{figures['without_error']:.1%} without an error"]
    parts.append(
        "quality not measured" if figures["quality"] is None else f"quality {figures['quality']:.1%} ({quality})"
    )
    if figures["p95_latency_ms"] is not None:
        parts.append(f"p95 latency {figures['p95_latency_ms']:.0f} ms")
    return f"  {side}: {', '.join(parts)}"


def _surprises(shown: dict[str, Any]) -> list[str]:
    """Return where the baseline's cases are not what the plan counts on."""
    figures = shown["recorded"]["baseline"]
    found = []
    for name, words, rate in (
        ("errors", "outcomes without an error", "without_error"),
        ("quality", "quality", "quality"),
    ):
        planned, recorded = shown["watched"].get(name), figures[rate]
        if planned is None:
            continue
        if recorded is None:
            found.append(f"note: {name} is watched and was not measured: every rollout is held")
        elif abs(recorded - planned) > _FAR:
            found.append(f"note: the plan counts on {planned:.0%} {words}, the baseline's cases have {recorded:.0%}")
    return found


def _tuned(shown: dict[str, Any]) -> list[str]:
    """Return that the looks are tuned to other traffic than comes, where they are."""
    if shown["traffic_per_hour"] == shown["tuned_to"]:
        return []
    return [f"looks: tuned to the {shown['tuned_to']:g} questions an hour of the plan, as they will be live"]


def text(shown: dict[str, Any]) -> str:
    """Return what a person wants to know of a simulation."""
    replays = shown["rows"][0]["replays"]
    table = report.table(
        f"SIMULATED: {replays} rollouts a row ({shown['strategy']}, {shown['hours']:g} h, "
        f"{shown['traffic_per_hour']:g} questions an hour of {shown['people']:,} people, seed {shown['seed']})",
        ("candidate", "rolled back>", "hours>", "people>", "held>", "because of", "plan sees"),
        [_row(item, shown["sight"]) for item in shown["rows"]],
        notes=(*_NOTES, *shown["left_out"], *_tuned(shown)),
        narrow=(("held>", None), ("because of", None)),
    )
    lines = [
        f"plan {shown['plan_sha256'][:12]}, drawn from what was recorded:",
        *(_recorded(side, figures, shown["quality"]) for side, figures in shown["recorded"].items()),
        *_surprises(shown),
        table.terminal(),
        f"written to: {shown['artifact']}",
    ]
    if shown["plot"]:
        lines.append(f"drawn to: {shown['plot']}")
    return "\n".join(lines)


def draw(path: Path, record: Record) -> Path:
    """Draw the share that was rolled back by hour, a line for each row of a simulation, and return *path*."""
    from bakeoff import plots

    rows, end = record.body["rows"], record.body["hours"]
    names = [row["candidate"] for row in rows]
    series = [
        plots.Series(arm, _stairs(row["by_hour"], end), dashed=row["harm"] is None) for arm, row in enumerate(rows)
    ]
    title = f"Simulated: {record.body['strategy']}, {record.body['traffic_per_hour']:g} questions an hour"
    if path.suffix == ".png":
        return files.write(path, plots.picture(title, series, names, labels=_LABELS))
    drawn = plots.lines("caught", f"{title}: share rolled back by hour", series, labels=_LABELS, cap=True)
    return files.write(path, _page(title, drawn, names).encode())


def _stairs(points: Sequence[Sequence[float]], end: float) -> list[tuple[float, float]]:
    """Return the corners of a line that stays where it is between two points, from hour 0 to the last."""
    found, level = [(0.0, 0.0)], 0.0
    for hour, share in points:
        found += [(hour, level), (hour, share)]
        level = share
    return [*found, (max(end, found[-1][0]), level)]


def _page(title: str, drawn: str, names: Sequence[str]) -> str:
    from bakeoff.adapters import templates

    keys = "".join(
        f'<li style="color: var(--arm-{arm % 6})">{html.escape(name)}</li>' for arm, name in enumerate(names)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{templates.read('report.css')}</style></head>"
        f"<body><main><h1>{html.escape(title)}</h1><ul>{keys}</ul>{drawn}</main></body></html>\n"
    )
