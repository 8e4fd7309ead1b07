"""`observe`: live outcomes from any service."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakeoff.cli._shared import AsJson, database, emit, group, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bakeoff.stages.observe import Observed
    from bakeoff.stages.prune import Kept, Pruned

app = group("Take in live outcomes, by arm; drop old ones.")


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("observe", epilog="Example: bakeoff observe outcomes.jsonl")(observe)
    root.add_typer(app, name="outcomes")


def observe(
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="JSON lines; - is standard input.")] = "-",
    *,
    rollout: Annotated[
        str,
        typer.Option(metavar="R", help="A rollout's id; `latest` moves real traffic, or did last: no rehearsal."),
    ] = "latest",
    as_json: AsJson = False,
) -> None:
    """Store live outcomes, one JSON object a line: arm, ok, and if known at, unit, latency_ms, quality, id.

    Everything is stored or, where a line is broken, nothing. A line with an id and its time, or one that says exactly
    the same again in another input, is stored once; give `at`, or sending a file twice is two moments. It is stored
    when the input ends: of one that never does, as of `tail -f`, nothing is; send a file every minute instead.

    Give `unit`, the id that chose the arm: outcomes of one unit are not independent. Requests without any id always go
    to the baseline, so outcomes without a unit are compared only where they are a like part of both arms (by a factor
    of two), as where a service assigns by request; otherwise a look leaves them out and says how many.
    """
    from bakeoff.adapters import clock, rollouts
    from bakeoff.errors import InputError
    from bakeoff.stages import observe as stage

    if file != "-" and (Path(file).is_dir() or not Path(file).exists()):
        what = "is a folder" if Path(file).is_dir() else "is not there"
        raise InputError(f"{file} {what}", hint="name a file of JSON lines, or - for standard input")
    with database() as conn, progress() as step:
        found = rollouts.with_traffic(conn, rollout)
        with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as stream:
            source = "standard input" if file == "-" else file
            result = stage.run(conn, found, stream, source=source, now=clock.now, progress=step)
    data = _data(result)
    emit(data, human=lambda: _text(data), as_json=as_json)


def _data(result: Observed) -> dict[str, Any]:
    added = result.added
    counts = {"stored": added.stored, "known": added.known, "late": result.late}
    return {"rollout": result.rollout.rollout_id, **counts}


def _text(data: dict[str, Any]) -> str:
    extra = f", {data['known']:,} were there already" if data["known"] else ""
    late = f", {data['late']:,} from after its end left out" if data["late"] else ""
    return f"{data['rollout']}: {data['stored']:,} outcomes stored{extra}{late}\nnext: bakeoff canary status"


@app.command(epilog="Example: bakeoff outcomes prune --before 2026-01-31")
def prune(
    *,
    before: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="The first day that is kept.")],
    unsealed: Annotated[
        bool, typer.Option("--unsealed", help="Drop what no seal holds, too: it can't be sealed any more.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Drop the outcomes of whole days, UTC, but for those that a rollout still needs.

    Needed are the days since the start of a rollout that is on its way, and those of one that ended until a seal holds
    its outcomes; which rollout keeps what is said. What was sealed once is in every later seal of its rollout.
    """
    from bakeoff.stages import prune as stage

    with database() as conn:
        pruned = stage.run(conn, before=before.date(), unsealed=unsealed)
    data = _days(pruned)
    emit(data, human=lambda: _pruned(data), as_json=as_json)


def _days(pruned: Pruned) -> dict[str, Any]:
    def each(items: Sequence[Kept]) -> list[dict[str, Any]]:
        return [
            {"rollout": item.rollout_id, "why": item.why.value, "days": [f"{day:%Y-%m-%d}" for day in item.days]}
            for item in items
        ]

    days = {name: [f"{day:%Y-%m-%d}" for day in getattr(pruned, name)] for name in ("dropped", "kept")}
    return {**days, "kept_by": each(pruned.by), "lost": each(pruned.lost)}


def _pruned(data: dict[str, Any]) -> str:
    from bakeoff import plural, report

    kept = f"; {_counted(data['kept'])} {plural.verb(len(data['kept']), 'stays', 'stay')}" if data["kept"] else ""
    lines = [f"{_counted(data['dropped'])} dropped{kept}"]
    lines += [
        f"{item['rollout']}, {item['why']}: {_counted(item['days'])} of its outcomes "
        f"{plural.are(len(item['days']))} in no seal now"
        for item in data["lost"]
    ]
    if data["kept_by"]:
        cells = [
            (item["rollout"], len(item["days"]), item["days"][0], item["days"][-1], item["why"])
            for item in data["kept_by"]
        ]
        lines.append(report.table("Days that stay", ("rollout", "days>", "first", "last", "why"), cells).terminal())
    sealable = [item["rollout"] for item in data["kept_by"] if item["why"] != "on its way"]
    lines += [f"next: bakeoff seal --plan {sealable[-1]}, then prune again"] if sealable else []
    return "\n".join(lines)


def _counted(days: Sequence[str]) -> str:
    from bakeoff import plural

    return plural.counted(len(days), "day")
