"""`kpi-check` and `timings`: judge a plan's candidate, for people and for CI."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit, progress, settings
from bakeoff.cli.plan import PlanRef


class Form(StrEnum):
    """What `kpi-check` prints."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    GITHUB = "github"
    MARKDOWN = "markdown"


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("timings", epilog="Example: bakeoff timings --plan latest")(timings)
    root.command("kpi-check", epilog="Example: bakeoff kpi-check --plan latest --format junit --out kpi.xml")(kpi_check)


def timings(
    plan: PlanRef = "latest",
    *,
    as_json: AsJson = False,
) -> None:
    """Time both locks of a plan in turn, question by question, on one worker: what the latency gate judges."""
    import os

    from bakeoff.adapters import clock, locks, plans, postgres
    from bakeoff.cli import _judging
    from bakeoff.stages import timing

    found = settings()
    with database() as conn, progress() as step:
        stored = plans.find(conn, plan)
        sides = tuple(locks.find(conn, arm.config_hash) for arm in (stored.plan.baseline, stored.plan.candidate))
        options = timing.Options(cache_dir=found.values.home / "models", environ=os.environ)
        record = timing.run(
            lambda: postgres.connect(found, autocommit=True),
            stored,
            (sides[0], sides[1]),
            progress=step,
            now=clock.now,
            options=options,
        )
    data = _judging.timings(record)
    emit(data, human=lambda: _judging.timings_text(data), as_json=as_json)


def kpi_check(  # noqa: PLR0913  # one parameter is one option
    plan: PlanRef = "latest",
    *,
    promote_check: Annotated[
        bool, typer.Option("--promote-check", help="Ask for passing probes and parity of this very table too.")
    ] = False,
    gates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Refuse unless the plan's gates are those of this file.")
    ] = None,
    baseline_run: Annotated[str | None, typer.Option(metavar="RUN", help="Instead of the newest that fits.")] = None,
    candidate_run: Annotated[str | None, typer.Option(metavar="RUN", help="Instead of the newest that fits.")] = None,
    probes: Annotated[
        Path, typer.Option(metavar="FILE", help="With --promote-check: the probes that must have passed.")
    ] = Path("configs/probes.yaml"),
    form: Annotated[Form, typer.Option("--format", help="How the findings are printed.")] = Form.TABLE,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there what would be printed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Judge the candidate of a plan by the plan's gates. The exit code is the verdict.

    0 pass · 1 a gate failed · 3 not known: inconclusive, or no data · 5 a measurement is broken · 4 refused: a run, a
    question or a gate is not what the plan fixed.
    """
    from bakeoff.adapters import clock, plans, standard
    from bakeoff.cli import _judging
    from bakeoff.stages import judge
    from bakeoff.verdicts import EXIT_OF, Verdict

    profile = None if gates is None else standard.profile(gates)
    with database() as conn:
        digest = standard.probes(probes).digest if promote_check else ""
        wanted = judge.Wanted(baseline_run, candidate_run, profile, promote_check, digest)
        record = judge.run(conn, plans.find(conn, plan), wanted, now=clock.now())
    path = _judging.write(settings().values.artifacts, record)
    data = _judging.data(record, path)
    _judging.show(data, form=Form.JSON if as_json else form, out=out, emit=emit)
    raise typer.Exit(EXIT_OF[Verdict(data["verdict"])])
