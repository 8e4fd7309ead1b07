"""`simulate`: how often and how soon a plan's rollout would catch a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit, progress, settings
from bakeoff.cli.plan import PlanRef

Faults = Annotated[
    list[str] | None,
    typer.Option(metavar="WHAT:SIZE[@HOUR]", help="quality:-0.10, errors:+0.05 or latency:+0.30; may be given again."),
]
AtHour = Annotated[
    float | None, typer.Option("--at-hour", metavar="H", help="Hour at which faults begin that name none.")
]
Traffic = Annotated[
    str | None, typer.Option(metavar="N/h", help="Questions an hour, both arms together; default: the plan's.")
]
Replays = Annotated[int, typer.Option(metavar="N", help="Rollouts played for each row.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**53 - 1, help="Default: the plan's.")]
Hours = Annotated[
    float | None, typer.Option("--monitor-hours", metavar="H", help="How long the rollout takes; same shares.")
]
Recorded = Annotated[
    str | None,
    typer.Option("--from-rollout", metavar="ROLLOUT", help="Draw from its recorded outcomes, not the evaluations."),
]
Plot = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the share rolled back by hour as .png or .html.")
]


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    example = "Example: bakeoff simulate --plan latest --fault quality:-0.10 --traffic 200/h --plot caught.png"
    root.command("simulate", epilog=example)(simulate)


def simulate(  # noqa: PLR0913  # one parameter is one option
    plan: PlanRef = "latest",
    *,
    fault: Faults = None,
    at_hour: AtHour = None,
    traffic: Traffic = None,
    replays: Replays = 1000,
    seed: Seed = None,
    monitor_hours: Hours = None,
    from_rollout: Recorded = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Play the rollout of a plan many times on its recorded cases, with and without a fault in the candidate.

    Says how often and after how many hours each was rolled back, and how many people saw the fault until then. Nothing
    of it is real traffic: everything it prints and writes says `simulated`.
    """
    from bakeoff.adapters import clock, files
    from bakeoff.cli import _plans, _simulating
    from bakeoff.stages import simulate as stage

    found = settings()
    options = stage.Options(
        faults=_simulating.faults(fault or [], at_hour),
        traffic_per_hour=_simulating.traffic(traffic),
        replays=_simulating.count(replays),
        seed=seed,
        monitor_hours=monitor_hours,
        from_rollout=from_rollout,
    )
    _simulating.check_plot(plot)
    files.require_folder(found.values.artifacts / "simulations")
    with database() as conn:
        stored = _plans.found(conn, plan)
        with progress() as step:
            record = stage.run(conn, stored, options=options, now=clock.now(), progress=step)
    path = _simulating.write(found.values.artifacts, record)
    data = _simulating.data(record, path, None if plot is None else _simulating.draw(plot, record))
    emit(data, human=lambda: _simulating.text(data), as_json=as_json)
