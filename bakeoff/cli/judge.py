"""`kpi-check` and `timings`: judge a plan's candidate, for people and for CI."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bakeoff.cli._shared import AsJson, database, emit, progress, settings
from bakeoff.cli.plan import PlanRef

if TYPE_CHECKING:
    from bakeoff.adapters.postgres import Connection
    from bakeoff.rules import Profile


class Form(StrEnum):
    """What `kpi-check` prints."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    GITHUB = "github"
    MARKDOWN = "markdown"


OneRun = Annotated[
    str | None, typer.Option(metavar="RUN", help="A run id, or an artifact, in place of the newest that fits.")
]
Shape = Annotated[Form, typer.Option("--format", help="How the findings are printed; json is --json, errors included.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this file to *root*."""
    root.command("timings", epilog="Example: bakeoff timings --plan latest")(timings)
    root.command("kpi-check", epilog="Example: bakeoff kpi-check --plan latest --format junit --out kpi.xml")(kpi_check)


def timings(
    plan: PlanRef = "latest",
    *,
    as_json: AsJson = False,
) -> None:
    """Time both locks of a plan in turn, question by question, on one worker: what the latency gate judges.

    Exit codes: 0 also where a reader failed on some questions, which stderr says; 5 where that of a lock failed on all.
    """
    import os

    from bakeoff.adapters import clock, locks, postgres, records
    from bakeoff.cli import _judging, _plans
    from bakeoff.stages import timing

    found = settings()
    with database() as conn, progress() as step:
        stored = _plans.found(conn, plan)
        sides = tuple(locks.find(conn, arm.config_hash) for arm in (stored.plan.baseline, stored.plan.candidate))
        options = timing.Options(cache_dir=found.values.home / "models", environ=os.environ)
        timed = timing.run(
            lambda: postgres.connect(found, autocommit=True),
            stored,
            (sides[0], sides[1]),
            progress=step,
            now=clock.now,
            options=options,
        )
        of = records.count(conn, "timings", records.About(plan_sha256=stored.plan_sha256))
    data = _judging.timings(timed.record, of=of, first_error=timed.first_error)
    emit(data, human=lambda: _judging.timings_text(data), as_json=as_json)
    raise typer.Exit(_judging.timings_exit_code(data))


def _profile(file: Path) -> Profile:
    from bakeoff.adapters import standard

    return standard.profile(file)


def _probes_digest(file: Path) -> str:
    """Return the digest of the probes in *file*; their schema is not even loaded where nobody asks."""
    from bakeoff.adapters import standard

    return standard.probes(file).digest


def _run_id(conn: Connection, ref: str | None) -> str | None:
    """Return *ref*, of an artifact the id of its run; what reads artifacts is loaded only where one is named."""
    if ref is None or not (ref.endswith(".json") or "/" in ref):
        return ref
    from bakeoff.stages import copies

    return copies.find(conn, ref).run_id


def kpi_check(  # noqa: PLR0913  # one parameter is one option
    plan: PlanRef = "latest",
    *,
    promote_check: Annotated[
        bool, typer.Option("--promote-check", help="Ask for passing probes and parity of this very table too.")
    ] = False,
    gates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Refuse unless the plan's gates are those of this file.")
    ] = None,
    baseline_run: OneRun = None,
    candidate_run: OneRun = None,
    probes: Annotated[
        Path, typer.Option(metavar="FILE", help="With --promote-check: the probes that must have passed.")
    ] = Path("configs/probes.yaml"),
    form: Shape = Form.TABLE,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write there what would be printed; with --json stdout has its object too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge the candidate of a plan by the plan's gates. The exit code is the verdict.

    0 pass · 1 a gate failed · 3 not known: inconclusive, or no data · 5 a measurement is broken · 4 refused: a run, a
    question or a gate is not what the plan fixed.
    """
    from bakeoff.adapters import clock, files, postgres
    from bakeoff.cli import _judging, _plans
    from bakeoff.stages import judge
    from bakeoff.verdicts import EXIT_OF, Verdict

    found = settings()
    files.require_folder(found.values.artifacts / "judgements")
    files.require_writable(out)
    profile = None if gates is None else _profile(gates)
    with database() as conn:
        digest = _probes_digest(probes) if promote_check else ""
        runs = (_run_id(conn, baseline_run), _run_id(conn, candidate_run))
        wanted = judge.Wanted(*runs, profile, promote_check, digest)
        more = partial(postgres.connect, found, autocommit=True)
        record = judge.run(conn, _plans.found(conn, plan), wanted, connect=more, now=clock.now())
    path = _judging.write(found.values.artifacts, record)
    data = _judging.data(record, path)
    _judging.show(data, form=form, out=out, as_json=as_json)
    raise typer.Exit(EXIT_OF[Verdict(data["verdict"])])
